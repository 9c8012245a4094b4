"""Train a restorer: `python train.py fit --config configs/default_stage1.yaml`. Every field can be overridden."""

from __future__ import annotations

from lightning.pytorch.cli import ArgsType, LightningCLI

from lightendiff.data.datamodule import LowLightData
from lightendiff.training.base import RestorationTraining


def main(args: ArgsType = None, run: bool = True) -> LightningCLI:
    """Run the command line with `args` (by default the process's own) and return what it built and ran.

    Without `run`, `args` has no subcommand, and trainer, model and data are only built.
    """
    return LightningCLI(
        RestorationTraining,
        LowLightData,
        subclass_mode_model=True,
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
        trainer_defaults={
            "use_distributed_sampler": False,
            "plugins": [{"class_path": "lightendiff.training.WholeCheckpoints"}],
        },
        args=args,
        run=run,
    )


if __name__ == "__main__":
    main()
