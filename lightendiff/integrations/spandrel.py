"""Our networks for spandrel, and so for the programs that load their models with it.

A file of weights doesn't say all that a configuration does: groups of normalisations, the scheduler and the steps
leave no trace in it. So those networks are recognised whose configuration is a preset, by every name and shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ..models.presets import PRESETS, PresetName, build_autoencoder, build_unet
from ..restorer import Restorer
from ..runtime import memory
from ..weights.folder import DECOMPOSITION

try:
    from spandrel import MAIN_REGISTRY, Architecture, ArchSupport, ImageModelDescriptor, ModelTiling, StateDict
except ImportError as error:
    raise ImportError(
        "lightendiff.integrations.spandrel needs spandrel: pip install 'lightendiff[spandrel]'"
    ) from error

ID = "LightenDiff"


class LightenArchitecture(Architecture[Restorer]):
    """What spandrel has to know of our networks: how to recognise their weights, and how to load them."""

    def __init__(self) -> None:
        super().__init__(id=ID, name=ID, detect=lambda state_dict: preset_of(state_dict) is not None)

    def load(self, state_dict: StateDict) -> ImageModelDescriptor[Restorer]:
        """A descriptor that restores (b, 3, h, w) in [0, 1] as `LightenPipeline` does in float32, from seed 0.

        Raises:
            ValueError: these are the weights of no preset.
        """
        name = preset_of(state_dict)
        if name is None:
            raise ValueError(
                f"state_dict: expected the names and shapes of a preset ({', '.join(PRESETS)}), got others"
            )
        config = PRESETS[name]
        if not any(tensor.startswith(DECOMPOSITION) for tensor in state_dict):
            config = config.for_restoring
        return ImageModelDescriptor(
            Restorer(config).eval(),
            state_dict,
            architecture=self,
            purpose="Restoration",
            tags=[name, f"{config.num_inference_steps} steps"],
            supports_half=False,
            supports_bfloat16=True,
            scale=1,
            input_channels=3,
            output_channels=3,
            tiling=ModelTiling.INTERNAL,  # the UNet has to see the whole picture
            call_fn=restore,
        )


def install() -> None:
    """Have `spandrel.ModelLoader()` recognise and load our `model.safetensors` files. A second call changes nothing."""
    MAIN_REGISTRY.add(ArchSupport.from_architecture(LightenArchitecture()), ignore_duplicates=True)


def preset_of(state_dict: Mapping[str, Any]) -> PresetName | None:
    """The preset whose tensors, with the decomposition or stored without it, have exactly these names and shapes, or
    None.
    """
    if "unet.conv_in.weight" not in state_dict:  # most files, without the work below
        return None
    shapes = {name: tuple(getattr(tensor, "shape", ())) for name, tensor in state_dict.items()}
    return next((name for name in PRESETS for whole in (True, False) if _shapes(name, whole) == shapes), None)


@lru_cache
def _shapes(name: PresetName, whole: bool) -> dict[str, tuple[int, ...]]:
    config = PRESETS[name] if whole else PRESETS[name].for_restoring
    with torch.device("meta"):
        parts = {"model": build_autoencoder(config), "unet": build_unet(config)}
    return {
        f"{part}.{tensor}": tuple(value.shape)
        for part, module in parts.items()
        for tensor, value in module.state_dict().items()
    }


def restore(restorer: Restorer, image: Tensor) -> Tensor:
    """What a descriptor calls: (b, 3, h, w) → the same in its dtype.

    As many pictures at a time, and in windows as large, as there is memory for.
    """
    dtype = restorer.unet.conv_in.weight.dtype
    restorer.autocast_dtype = None if dtype == torch.float32 else dtype
    height, width = image.shape[2:]
    count, tile = memory.fit(restorer.config, len(image), height, width, memory.budget(image.device))
    parts = (
        restorer(part, generator=[torch.Generator().manual_seed(0) for _ in part], tile=tile)
        for part in image.split(count)
    )
    return torch.cat([part.to(image.dtype) for part in parts])
