"""Write docs/configuration.md from the signatures and docstrings of what a configuration can name.

python docs/make_configuration.py            writes the page
python docs/make_configuration.py --check    exit code 1 if the page isn't what it would write
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args

from lightning.pytorch.callbacks import Callback

from lightendiff import training
from lightendiff.data import datasets
from lightendiff.data.augment import Augmentation
from lightendiff.data.datamodule import LowLightData
from lightendiff.data.datasets.published import LAYOUTS, Split
from lightendiff.data.degradations import SensorModel
from lightendiff.models.presets import PRESETS
from lightendiff.training import losses
from lightendiff.training.base import RestorationTraining

PAGE = Path(__file__).with_name("configuration.md")

HEAD = """\
# Configuration

Written by `python docs/make_configuration.py` from the code; edit the docstrings instead.

A run is described by a YAML file, or several of which later ones replace what earlier ones say, and by options that
replace single fields: `python train.py fit --config configs/finetune.yaml --trainer.max_steps 500`. What comes
later wins, so options follow the files. Lists are replaced as a whole. A field that doesn't exist is an error. The
files in `configs/` are complete examples; a run writes what it ran with to `config.yaml` in its first logger's folder.
[Training](training.md) says which fields matter when.

| top level | what |
| --- | --- |
| `seed_everything` | of the weights' initialisation and, where they are null, of the two seeds below |
| `trainer` | all arguments of [Lightning's Trainer][]; `max_steps` is required: the learning rate decays over it |
| `model` | the stage, as `class_path`, and its fields, as `init_args` |
| `data` | sources and how they are drawn from |
| `ckpt_path` | where to resume |

How the presets are made up is in `lightendiff/models/presets.py`.

[Lightning's Trainer]: https://lightning.ai/docs/pytorch/stable/common/trainer.html
"""


def sources() -> list[type]:
    """What `lightendiff.data.datasets` offers, in its order."""
    return [cls for name in datasets.__all__ if not inspect.isabstract(cls := getattr(datasets, name))]


def trained(base: type) -> list[type]:
    """What `lightendiff.training` offers of a kind."""
    return [cls for name in sorted(training.__all__) if issubclass(cls := getattr(training, name), base)]


def entries(docstring: str, section: str) -> dict[str, str]:
    """The descriptions in a docstring's section, by name; `a, b: text` describes both."""
    found: dict[str, str] = {}
    match = re.search(rf"^{section}:\n((?:    .*\n|\n)+)", inspect.cleandoc(docstring) + "\n", re.MULTILINE)
    if match is None:
        return found
    for entry in re.split(r"^    (?=\S)", match[1], flags=re.MULTILINE)[1:]:
        names, _, text = entry.partition(":")
        found |= dict.fromkeys((name.strip() for name in names.split(",")), " ".join(text.split()))
    return found


def described(cls: type) -> dict[str, str]:
    """What the docstrings of a class and of those above it say of its fields; its own come first."""
    found: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        for section in ("Attributes", "Args"):
            found |= entries(vars(each).get("__doc__") or "", section)
    return found


def fields_of(cls: type) -> Iterator[tuple[str, str, str]]:
    """Name, type and default of each field that a configuration can give `cls` itself; "" where it must be given."""
    if is_dataclass(cls):
        for field in (each for each in fields(cls) if each.init):
            yield field.name, str(field.type), "" if field.default is MISSING else shown(field.default)
        return
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD:
            default = "" if parameter.default is parameter.empty else shown(parameter.default)
            yield parameter.name, str(parameter.annotation), default


def shown(value: Any) -> str:
    """A default as YAML has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(shown, value))}]"
    if is_dataclass(value):
        return f"{{{', '.join(f'{field.name}: {shown(getattr(value, field.name))}' for field in fields(value))}}}"
    return repr(value) if isinstance(value, float) else str(value)


def type_of(annotation: str) -> str:
    """An annotation in the words of YAML."""
    for name, choices in (
        ("PresetName", list(PRESETS)),
        ("LayoutName", list(LAYOUTS)),
        ("Split", list(get_args(Split))),
    ):
        annotation = annotation.replace(name, f"Literal{choices}")
    annotation = re.sub(r"Literal\[(.*?)\]", lambda match: match[1].replace(", ", " or "), annotation)
    for python, yaml in ((" | ", " or "), ("None", "null"), ("Sequence", "list"), ("tuple", "list"), ("dict", "map")):
        annotation = annotation.replace(python, yaml)
    return annotation


def table(cls: type) -> str:
    texts, lines = described(cls), ["| field | type | default | what |", "| --- | --- | --- | --- |"]
    for name, kind, default in fields_of(cls):
        if name not in texts:
            raise ValueError(f"the docstring of {cls.__name__} doesn't describe {name}")
        text = re.sub(r"\bNone\b", "null", texts[name]).replace("|", "\\|")
        lines.append(f"| `{name}` | {type_of(kind)} | {f'`{default}`' if default else 'required'} | {text} |")
    return "\n".join(lines)


def section(cls: type, path: str) -> str:
    summary = inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    return f"### `{path}`\n\n{summary}\n\n{table(cls)}\n"


def render() -> str:
    parts = [HEAD]
    parts += ["## Stages: `model`\n", "Each has the fields of its own table and those that both share.\n"]
    parts += [section(stage, f"lightendiff.training.{stage.__name__}") for stage in trained(RestorationTraining)]
    parts += ["### Fields of both stages\n", table(RestorationTraining) + "\n"]
    parts += ["## Losses: `model.init_args.…_loss`\n"]
    parts += [section(loss, loss.__name__) for loss in losses.Loss.__subclasses__()]
    parts += ["## The sensor model: `model.init_args.sensor`\n", table(SensorModel) + "\n"]
    parts += ["## Augmentation: `model.init_args.augmentation`\n", table(Augmentation) + "\n"]
    parts += ["## Data: `data`\n", table(LowLightData) + "\n"]
    parts += ["## Sources: entries of `data.train` and `data.val`\n"]
    parts += ["`Darkened` and `UnpairedFolders` have no references and can't be in `data.val`.\n"]
    parts += [section(source, f"lightendiff.data.datasets.{source.__name__}") for source in sources()]
    parts += ["## Callbacks: entries of `trainer.callbacks`\n"]
    parts += [section(callback, f"lightendiff.training.{callback.__name__}") for callback in trained(Callback)]
    return "\n".join(parts)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write docs/configuration.md from signatures and docstrings.")
    parser.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    args = parser.parse_args(argv)
    text = render()
    if not args.check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        print(f"{PAGE} is not up to date: run python docs/make_configuration.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
