"""Training: the two stages as LightningModules, and their callbacks."""

from ..runtime.extras import needing

with needing("train", "training"):
    from .callbacks import AveragedExport, PictureGrid
    from .checkpointing import WholeCheckpoints
    from .content_transfer import ContentTransfer
    from .latent_diffusion import LatentDiffusion

__all__ = ["AveragedExport", "ContentTransfer", "LatentDiffusion", "PictureGrid", "WholeCheckpoints"]
