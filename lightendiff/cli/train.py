"""`lightendiff train`, and train.py, which is the same: Lightning's command line for the two stages and their data."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..runtime.extras import needing

if TYPE_CHECKING:
    from lightning.pytorch.cli import ArgsType, LightningCLI

HELP = "train a restorer, or train weights further"
EXAMPLES = """
lightendiff train fit --config configs/smoke_stage1.yaml
lightendiff train fit --config configs/default_stage1.yaml
lightendiff train fit --config configs/finetune.yaml --config mine.yaml
lightendiff train fit --config configs/finetune.yaml --config mine.yaml --ckpt_path runs/finetune/last.ckpt
"""


_PACKAGE = Path(__file__).resolve().parents[1]
# A wheel has them in the package; a copy of the repository beside it.
CONFIGS = _PACKAGE / "configs" if (_PACKAGE / "configs").is_dir() else _PACKAGE.parent / "configs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    names = ", ".join(f"configs/{path.name}" for path in sorted(CONFIGS.glob("*.yaml")))
    parser.epilog = f"Where there is no such file, --config takes one that comes with the package: {names}."
    parser.add_argument(
        "arguments",
        metavar="ARGUMENT",
        nargs=argparse.REMAINDER,
        help="fit or validate, and its options, which `lightendiff train fit --help` lists",
    )


def run(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> int:
    main(args.arguments, prog="lightendiff train")
    return 0


def _with_shipped(args: ArgsType) -> ArgsType:
    """The arguments, with files of configs/ that aren't in the current folder replaced by the package's own."""
    if not isinstance(args, list):
        return args
    found: list[str] = []
    for word in args:
        option, equals, path = word.rpartition("=")
        if option in ("--config", "-c") or (not equals and found and found[-1] in ("--config", "-c")):
            ours = CONFIGS / Path(path).name
            if not Path(path).exists() and Path(path).parent.name in ("", "configs") and ours.is_file():
                path = str(ours)
        found.append(option + equals + path)
    return found


def main(args: ArgsType = None, run: bool = True, prog: str | None = None) -> LightningCLI:
    """Run the command line with `args` (by default the process's own) and return what it built and ran.

    Without `run`, `args` has no subcommand, and trainer, model and data are only built. `prog` is the program's name.
    """
    warnings.filterwarnings("ignore", "LightningCLI's args parameter")  # sys.argv has a command's name, too
    args = _with_shipped(sys.argv[1:] if args is None else args)
    with needing("train", "training"):
        import yaml
        from jsonargparse import set_loader
        from lightning.pytorch import Trainer
        from lightning.pytorch.callbacks import LearningRateMonitor, ProgressBar
        from lightning.pytorch.cli import LightningCLI

        from ..data.datamodule import LowLightData
        from ..training.base import RestorationTraining
        from ..training.earlier import load_configuration
        from ..training.progress import RunProgress, validation_line

    set_loader("lightendiff", load_configuration, exceptions=(ValueError, yaml.YAMLError))

    class TrainingCLI(LightningCLI):
        @staticmethod
        def subcommands() -> dict[str, set[str]]:
            # nothing here is tested or predicted: `validate` measures, `lightendiff restore` restores
            return {name: taken for name, taken in LightningCLI.subcommands().items() if name in ("fit", "validate")}

        def before_fit(self) -> None:
            """The figures at step 0, of weights that are trained further or of new ones."""
            if self.datamodule.val_names and not self.config["fit"].get("ckpt_path"):
                figures = self.trainer.validate(self.model, self.datamodule, verbose=False)
                if self.trainer.is_global_zero:
                    print(validation_line(0, {name: value for each in figures for name, value in each.items()}))

        def _parse_ckpt_path(self) -> None:
            """Leave the configuration as given: the checkpoint's fields are the network's alone, not the run's."""

        def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Any]) -> Trainer:
            given = [*(config.get("callbacks") or []), *callbacks]
            if config.get("logger") is False:  # it refuses to run without
                given = [each for each in given if not isinstance(each, LearningRateMonitor)]
            if config.get("enable_progress_bar") is not False and not any(isinstance(c, ProgressBar) for c in given):
                given.append(RunProgress())
            return super()._instantiate_trainer({**config, "callbacks": given}, [])

    return TrainingCLI(
        RestorationTraining,
        LowLightData,
        subclass_mode_model=True,
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
        trainer_defaults={
            "use_distributed_sampler": False,
            "plugins": [{"class_path": "lightendiff.training.WholeCheckpoints"}],
        },
        parser_kwargs={"prog": prog, "parser_mode": "lightendiff"},
        args=args,
        run=run,
    )
