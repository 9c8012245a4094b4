"""The documents tell the truth: their Python runs, their commands parse, their YAML builds, their links lead somewhere.

A block of Python that can't run here (it needs a camera, starts a server, downloads) is preceded by a line
`<!-- not run: why -->`; its names are looked up then. The blocks of a document share their variables. What is called
mine.yaml in a command is the YAML block before it.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import contextlib
import doctest
import importlib
import importlib.util
import pkgutil
import re
import shlex
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from lightendiff.cli import arguments

pytestmark = pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")  # sys.argv is pytest's

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    path
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md", "lightendiff/weights/*/*.md", "configs/*.md")
    for path in sorted(ROOT.glob(pattern))
]
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
FENCE = re.compile(r"(?:^<!-- not run: (?P<why>.*?) -->\n+)?^```(?P<kind>\w*)\n(?P<text>.*?)^```", re.M | re.S)
SPAN = re.compile(r"`([^`]+)`")
SHELLS = ("bash", "sh", "console")
SMALL = ["--model.init_args.preset=tiny", "--model.init_args.init_from=null"]  # for speed; test_configs builds the rest
# Programs of others, whose arguments aren't checked; what they are to run is.
FOREIGN = "cd cp curl docker env export ffmpeg git ls mkdir mv nvidia-smi podman seq source srun tensorboard uv xargs"
OURS = re.compile(r"(?:\S*/)?(infer|train|\w+/\w+)\.py$")


@dataclass(frozen=True)
class Block:
    """A fenced block, and where it begins in its document."""

    kind: str
    text: str
    start: int
    not_run: str | None


def read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str, *kinds: str) -> list[Block]:
    found = [Block(m["kind"], m["text"], m.start(), m["why"]) for m in FENCE.finditer(read(document))]
    return [block for block in found if block.kind in kinds]


def prose(document: str) -> str:
    """The document without its fenced blocks, which become as much blank space."""
    return FENCE.sub(lambda match: " " * len(match[0]), read(document))


def with_blocks(*kinds: str) -> list[str]:
    return [name for name in NAMES if blocks(name, *kinds)]


# ---- Python


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """A block that waits for something, like a server, fails instead of hanging."""

    def late(*_: object) -> None:
        pytest.fail(f"a block ran for more than {seconds} s; if it has to, precede it by <!-- not run: why -->")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def make_stand_ins() -> None:
    """Small files of the names that the documents use, in the working directory."""
    rng = np.random.default_rng(0)
    for name in ("photo.jpg", "photo.png", "dark.jpg", "dark.png", "other.jpg", "holiday/a.jpg", "holiday/b.png"):
        Path(name).parent.mkdir(exist_ok=True)
        cv2.imwrite(name, rng.integers(0, 40, (48, 64, 3), dtype=np.uint8))
    for name, code in (("clip.avi", "MJPG"), ("clip.mp4", "mp4v"), ("night.mp4", "mp4v")):
        writer = cv2.VideoWriter(name, cv2.VideoWriter.fourcc(*code), 10.0, (64, 48))
        for _ in range(3):
            writer.write(rng.integers(0, 40, (48, 64, 3), dtype=np.uint8))
        writer.release()


def check_names(tree: ast.Module, known: dict[str, Any]) -> None:
    """Run the imports of a block and look up every other name that it reads."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(list(imports), []), "imports", "exec"), known)
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    bound = {node.id for node in names if isinstance(node.ctx, ast.Store)} | {
        node.name if isinstance(node, ast.FunctionDef | ast.ClassDef) else node.arg
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.arg)
    }
    known |= dict.fromkeys(bound - known.keys())
    unknown = {node.id for node in names} - known.keys() - set(dir(builtins))
    assert not unknown, f"names that nothing defines: {sorted(unknown)}"


@pytest.mark.parametrize("document", with_blocks("python"))
def test_python_blocks_run(document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_stand_ins()
    variables: dict[str, Any] = {"__name__": "document"}
    for block in blocks(document, "python"):
        line = read(document)[: block.start].count("\n") + 2
        tree = ast.parse("\n" * line + block.text, document)
        try:
            with at_most(30):
                if block.not_run:
                    check_names(tree, variables)
                else:
                    exec(compile(tree, document, "exec"), variables)
        except ImportError as error:
            # ours, which name an extra, are raised from the one that says which package is missing
            missing = getattr(error.__cause__, "name", None) if error.name is None else error.name
            if missing is None or missing.startswith("lightendiff"):
                raise
            pytest.skip(f"{missing} isn't installed")


# ---- commands


def commands(document: str) -> Iterator[tuple[list[str], int]]:
    """Every command of a document, in words, with the place of its block; also those within lines of prose."""
    for block in blocks(document, *SHELLS, ""):
        for line in block.text.replace("\\\n", " ").splitlines():
            line = line.removeprefix("$ ")
            if block.kind or line.startswith(("python ", "torchrun ", "make ")):
                yield from ((words, block.start) for words in split(line))
    for match in SPAN.finditer(prose(document)):
        text = " ".join(match[1].split())
        if re.match(r"(python|torchrun|make|lightendiff|pip install) (?!COMMAND)[^|…]*$", text):
            yield from ((words, match.start()) for words in split(text))


def split(line: str) -> Iterator[list[str]]:
    """A line of shell as commands, each without variables in front of it, redirections and comments."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    skip = False
    for word in [*lexer, ";"]:
        if set(word) <= set("|&;"):
            if words:
                yield words
            words = []
        elif set(word) <= set("<>"):
            skip = True  # and the file's name
        elif skip:
            skip = False
        elif words or not re.match(r"\w+=", word):
            words.append(word)


@pytest.fixture(scope="module")
def check(load_script: Callable[[Path], ModuleType]) -> Callable[..., None]:
    """Whether a command's words are what its program takes: raises AssertionError or SystemExit if they aren't."""

    def script(words: list[str], mine: Path | None) -> None:
        name = OURS.search(words[0])[0]  # type: ignore[index]
        assert (ROOT / name).is_file(), f"no such script: {words[0]}"
        if len(words) == 1:
            return  # only its name
        if name == "infer.py":
            arguments.build_parser().parse_args(words[1:])
        elif name == "train.py":
            train(words[1:], mine)
        else:
            try:
                module = load_script(ROOT / name)
            except ImportError as error:
                pytest.skip(f"{name}: {error}")
            if hasattr(module, "build_parser"):
                module.build_parser().parse_args(words[1:])
            else:
                assert set(words[1:]) <= {"--check"}

    def train(words: list[str], mine: Path | None) -> None:
        assert words.pop(0) == "fit"
        resumed = words.pop(words.index("--ckpt_path") + 1) if "--ckpt_path" in words else None
        words = ["--model.init_args.init_from=null" if w == "--ckpt_path" else w for w in words]
        for index, word in enumerate(words):
            if words[index - 1] == "--config":
                words[index] = str(ROOT / word if (ROOT / word).is_file() else mine)
        cli = load_script(ROOT / "train.py").main([*words, *SMALL], run=False)
        if resumed is not None:
            assert Path(resumed).resolve() == Path(cli.trainer.checkpoint_callback.dirpath, "last.ckpt").resolve()

    def check(words: list[str], mine: Path | None) -> None:
        program, *rest = words
        ours = next((index for index, word in enumerate(words) if OURS.search(word)), None)
        if program == "torchrun":
            torchrun = importlib.import_module("torch.distributed.run").get_args_parser().parse_args(rest)
            check([torchrun.training_script, *torchrun.training_script_args], mine)
        elif program == "make":
            targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
            assert {word for word in rest if "=" not in word} <= targets
        elif program == "pip":
            extras = {extra for word in rest for extra in re.findall(r"\[(.*)\]", word)}
            assert all(f"\n{extra} = [" in read("pyproject.toml") for each in extras for extra in each.split(","))
        elif program == "lightendiff" or rest[:2] == ["-m", "lightendiff"]:
            assert (
                program != "lightendiff"
                or "\nlightendiff = " in read("pyproject.toml").partition("[project.scripts]")[2]
            )
            cli = importlib.import_module("lightendiff.cli.main")
            given = cli._with_command(rest[2:] if program != "lightendiff" else rest)
            cli.build_parser(given).parse_args(given)
        elif program == "python" and rest[0] == "-m":
            assert importlib.util.find_spec(rest[1]), f"no such module: {rest[1]}"
        elif program == "python" and rest[0] == "-c":
            compile(rest[1], "-c", "exec")
        elif ours is not None:
            assert ours == 0 or program in ("python", "python3", *FOREIGN.split())
            script(words[ours:], mine)
        else:
            assert program in (*FOREIGN.split(), "pytest", "ruff", "mypy"), f"an unknown program: {program}"

    return check


@pytest.mark.parametrize("document", [name for name in NAMES if any(commands(name))])
def test_commands_are_what_their_programs_take(
    document: str, check: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    configurations = blocks(document, "yaml")
    monkeypatch.chdir(tmp_path)
    seen = set()
    for words, place in commands(document):
        before = [block for block in configurations if block.start < place] or configurations
        mine = tmp_path / "mine.yaml"
        mine.write_text(before[-1].text if before else "", encoding="utf-8")
        if (key := (*words, mine.read_text() if "mine.yaml" in words else "")) in seen:
            continue
        seen.add(key)
        try:
            check(words, mine)
        except SystemExit as stop:
            if stop.code != 0:  # --help ends with 0
                pytest.fail(f"{shlex.join(words)}\n{capsys.readouterr().err.splitlines()[-1:]}")


@pytest.mark.parametrize("document", with_blocks("yaml"))
def test_yaml_blocks_build_on_the_configuration_for_finetuning(
    document: str, load_script: Callable[[Path], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks(document, "yaml"):
        content = yaml.safe_load(block.text)
        if not set(content) <= {"model", "data", "trainer", "seed_everything"}:
            continue  # another program's, a workflow's for example
        Path("mine.yaml").write_text(block.text, encoding="utf-8")
        configs = ["--config", str(ROOT / "configs" / "finetune.yaml"), "--config", "mine.yaml"]
        cli = load_script(ROOT / "train.py").main([*configs, *SMALL], run=False)
        sources = [source["class_path"].split(".")[-1] for source in content["data"]["train"]]
        assert [type(source).__name__ for source in cli.datamodule.source.sources] == sources
        assert cli.datamodule.val_names == list(content["data"].get("val", {}))


# ---- links, paths and options


def anchors(document: Path) -> set[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", document.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", NAMES)
def test_links_lead_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)", prose(document), re.M):
        path, _, anchor = (target[0] or target[1]).partition("#")
        if path.startswith(("http:", "https:", "mailto:")):
            continue
        linked = (ROOT / document).parent / path if path else ROOT / document
        assert linked.exists(), f"{document} links to {path}, which isn't there"
        assert not anchor or anchor in anchors(linked), f"{document}: {linked.name} has no heading #{anchor}"


@pytest.mark.parametrize("document", NAMES)
def test_files_of_the_repository_that_are_named_exist(document: str) -> None:
    """`lightendiff/models/lean.py`, `configs/default_stage*.yaml`, `lightendiff.data.datasets.Brackets`."""
    missing = []
    for match in SPAN.finditer(prose(document)):
        for word in match[1].split():
            if re.fullmatch(r"(lightendiff|configs|docs|benchmarks|examples|tests)/[\w./*-]+", word):
                missing += [] if any(ROOT.glob(word.rstrip("/"))) else [word]
            elif re.fullmatch(r"lightendiff(\.\w+)+", word):
                try:
                    pkgutil.resolve_name(word)
                except AttributeError:
                    missing.append(word)
                except ImportError as error:  # not of an optional package
                    missing += [word] if str(error.name).startswith("lightendiff") else []
    assert not missing


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """The options of a parser and of its subcommands."""
    found = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= set().union(*map(options_of, action.choices.values()))
    return found


@pytest.fixture(scope="module")
def options(load_script: Callable[[Path], ModuleType]) -> set[str]:
    """Every option that a document may name."""
    found = options_of(arguments.build_parser()) | {"--config", "--ckpt_path", "--check"}
    found |= options_of(importlib.import_module("torch.distributed.run").get_args_parser())
    if importlib.util.find_spec("lightendiff.cli"):
        found |= options_of(importlib.import_module("lightendiff.cli.main").build_parser())
    for script in (*ROOT.glob("benchmarks/*.py"), *ROOT.glob("examples/*.py"), *ROOT.glob("docs/*.py")):
        if "def build_parser" in script.read_text(encoding="utf-8"):
            with contextlib.suppress(ImportError):  # of an optional package
                found |= options_of(load_script(script).build_parser())
    return found


@pytest.mark.parametrize("document", [name for name in NAMES if "`--" in prose(name)])
def test_options_that_are_named_exist(
    document: str, options: set[str], load_script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = [shlex.split(match[1]) for match in SPAN.finditer(prose(document)) if match[1].startswith("--")]
    ours = [words for words in spans if "." not in words[0]]
    assert not {word.split("=")[0] for words in ours for word in words if word.startswith("--")} - options
    monkeypatch.chdir(tmp_path)
    fields = [word for words in spans if "." in words[0] and len(words) > 1 for word in words]
    if fields:
        config = ["--config", str(ROOT / "configs" / "finetune.yaml")]
        load_script(ROOT / "train.py").main([*config, *fields, *SMALL], run=False)


# ---- pages that are made from others, and docstrings


@pytest.mark.parametrize("page", ["configuration", "scale"])
def test_made_pages_are_up_to_date(page: str, load_script: Callable[[Path], ModuleType]) -> None:
    assert load_script(ROOT / "docs" / f"make_{page}.py").main(["--check"]) == 0


def test_every_field_of_the_configurations_is_on_the_page() -> None:
    """Also those that the files in configs/ use, whatever the page was made from."""
    page, missing = read("docs/configuration.md"), []

    def visit(node: Any) -> None:
        if isinstance(node, dict):
            path = str(node.get("class_path", ""))
            if path.startswith("lightendiff."):
                missing.extend([path] * (f"`{path}`" not in page))
                missing.extend(field for field in node.get("init_args", {}) if f"| `{field}` |" not in page)
            for value in node.values():
                visit(value)
        elif isinstance(node, list):
            for value in node:
                visit(value)

    for config in sorted((ROOT / "configs").glob("*.yaml")):
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
        visit(content)
        missing.extend(field for field in content["data"] if f"| `{field}` |" not in page)
    assert not missing


def test_cost_of_many_pictures_by_hand(load_script: Callable[[Path], ModuleType]) -> None:
    scale = load_script(ROOT / "docs" / "make_scale.py")
    results = "| preset | size | device | s/image |\n| --- | --- | --- | --- |\n"
    results += "| paper | 8x8 | cpu | 9 |\n| default | 600x400 | cuda | 0.0036 |\n\n| other |\n"
    assert scale.machine_hours(1e6, 0.0036) == pytest.approx(1.0)
    page = scale.render("a\n<!-- make_scale -->\nold\n<!-- end -->\nb", results)
    # 10⁹ · 3.6 ms are 1,000 hours: 0.114 years, and 1.39 machines in 30 days of 24 hours
    assert page.splitlines()[2:5] == [
        "| picture | device | s/picture | 10⁶: machine-hours | 10⁹: machine-years | 10⁹ in 30 days: machines |",
        "| --- | --- | --- | --- | --- | --- |",
        "| 600×400 | cuda | 0.0036 | 1 | 0.1 | 1 |",
    ]
    with pytest.raises(ValueError, match="no table of s/image"):
        scale.render(page, "nothing")


EXAMPLES = {
    "lightendiff.integrations.kornia": ["LightenModule"],
    "lightendiff.integrations.opencv": ["lighten"],
    "lightendiff.integrations.torchvision": ["LightenTransform"],
    "lightendiff.evaluation.metrics": ["psnr", "ssim"],
    "lightendiff.pipeline": ["LightenPipeline"],
    "lightendiff.diffusion.scheduler": ["DDIMScheduler"],
}


def modules_with_examples() -> list[str]:
    """All modules of the package whose source has a prompt, and those that must have one."""
    files = [path for path in (ROOT / "lightendiff").rglob("*.py") if ">>> " in path.read_text(encoding="utf-8")]
    found = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}
    return sorted(found | EXAMPLES.keys())


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_of_docstrings(name: str) -> None:
    module = importlib.import_module(name)
    failed, attempted = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert failed == 0  # what came instead is on the standard output
    assert attempted > 0
    for public in EXAMPLES.get(name, []):
        assert ">>> " in (getattr(module, public).__doc__ or ""), f"{public} has no example"
