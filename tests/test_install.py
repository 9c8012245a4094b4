"""What an installation without extras can do, what it says of the rest, and what a wheel carries."""

import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import lightendiff
from lightendiff.cli.train import CONFIGS, _with_shipped

ROOT = Path(__file__).parents[1]
EXTRAS = {
    *("av", "cv2", "fsspec", "gradio", "huggingface_hub", "jsonargparse", "kornia", "lightning", "onnx", "onnxscript"),
    *("onnxruntime", "pillow_heif", "pytorch_lightning", "rawpy", "shtab", "skimage", "spandrel", "tensorboard"),
    *("torchmetrics", "torchvision", "yaml"),
}
FRESH = os.environ.get("FRESH_ENVIRONMENT")  # a pip requirement of torch, such as torch==2.13.0; it needs a network

# Run before the command: whatever isn't in the base set can't be imported.
HOOK = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""


def run_bare(code, *argv, hook=HOOK):
    """`code` in a new interpreter that has the base set alone."""
    return subprocess.run(
        [sys.executable, "-c", hook + code, *map(str, argv)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


COMMAND = "from lightendiff.cli.main import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    dark = np.random.default_rng(0).integers(2, 30, (48, 64, 3), dtype=np.uint8)
    for kind in ("jpg", "png", "webp", "tif", "bmp"):
        Image.fromarray(dark).save(folder / f"{kind}.{kind}")
    return folder


def test_the_base_set_restores(photos, tmp_path):
    got = run_bare(COMMAND, "restore", photos, "-o", tmp_path / "out")
    assert got.returncode == 0, got.stderr
    assert got.stdout.startswith("5 restored, 0 skipped, 0 failed")
    for path in photos.iterdir():
        assert np.asarray(Image.open(tmp_path / "out" / path.name)).mean() > 2 * np.asarray(Image.open(path)).mean()


def test_restoring_a_photo_imports_nothing_that_only_others_need(photos, tmp_path):
    """Where the extras are installed, too; OpenCV, which packs PNGs faster, for these alone."""
    code = "from lightendiff.cli.main import main; main(sys.argv[1:]); print(*{n.split('.')[0] for n in sys.modules})"
    (photos / "png.png").unlink()
    got = run_bare(code, "restore", photos, "-o", tmp_path / "out", hook="import sys\n")
    assert got.returncode == 0, got.stderr
    assert {"torch", "PIL"} <= set(got.stdout.split())
    assert not set(got.stdout.split()) & EXTRAS


def test_the_first_run_says_what_the_weights_are_for(photos, tmp_path, monkeypatch, weights):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    said = []
    for name, given in (("own", ["--weights", weights]), ("first", []), ("second", [])):
        got = run_bare(COMMAND, "restore", photos / "jpg.jpg", "-o", tmp_path / name, *given)
        assert got.returncode == 0, got.stderr
        said.append(got.stderr.count("weights: research use"))
    assert said == [0, 1, 0]


@pytest.mark.parametrize(
    ("argv", "extra"),
    [
        (["train", "fit"], "train"),
        (["evaluate", "{photos}", "{photos}"], "evaluate"),
        (["app"], "app"),
        (["export", "{photos}.onnx"], "onnx"),
        (["--print-completion", "bash"], "completion"),
    ],
)
def test_a_command_without_its_extra_names_it(argv, extra, photos):
    got = run_bare(COMMAND, *[word.format(photos=photos) for word in argv])
    assert got.returncode == 1
    assert got.stderr.strip().splitlines()[-1].endswith(f"pip install 'lightendiff[{extra}]'")
    assert "Traceback" not in got.stderr


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("training", "train"),
        ("data.datasets", "train"),
        ("data.datamodule", "train"),
        ("data.augment", "train"),
        ("data.degradations", "train"),
        ("data.synthetic", "train"),
        ("evaluation.metrics", "evaluate"),
        ("integrations.torchvision", "torchvision"),
    ],
)
def test_a_module_without_its_extra_names_it(module, extra):
    got = run_bare(f"import lightendiff.{module}")
    assert got.stderr.strip().splitlines()[-1].endswith(f"pip install 'lightendiff[{extra}]'")


def test_a_library_that_lacks_another_says_what_it_said():
    """opencv-python where there is no libGL."""
    hook = HOOK.replace('raise ModuleNotFoundError(f"No module named {name!r}"', 'raise ImportError("libGL.so.1: no"')
    got = run_bare("import lightendiff.data.synthetic", hook=hook)
    assert "making scenes needs cv2, which can't be imported: libGL.so.1: no" in got.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy of what belongs to it, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("lightendiff", "configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):  # as the Dockerfile does
        shutil.copy(ROOT / name, folder)
    build = "from setuptools.build_meta import *; build_sdist('dist'); build_wheel('dist')"
    done = subprocess.run([sys.executable, "-c", build], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next((folder / "dist").glob("*.whl"))


def test_wheel_and_source_have_configurations_and_weights(wheel):
    with zipfile.ZipFile(wheel) as content:
        inside = set(content.namelist())
    with tarfile.open(next(wheel.parent.glob("*.tar.gz"))) as content:
        source = {name.partition("/")[2] for name in content.getnames()}
    for path in (ROOT / "configs").iterdir():
        assert f"lightendiff/configs/{path.name}" in inside
        assert f"configs/{path.name}" in source
    for path in (ROOT / "lightendiff" / "weights" / "default").iterdir():
        assert f"lightendiff/weights/default/{path.name}" in inside & source
    assert "setup.py" in source
    assert not any(name.startswith(("tests", "configs/")) for name in inside)


def test_the_metadata_has_both_licences(wheel):
    with zipfile.ZipFile(wheel) as content:
        name = next(name for name in content.namelist() if name.endswith("/METADATA"))
        lines = content.read(name).decode().splitlines()
        licences = [name for name in content.namelist() if "/licenses/" in name]
    assert "License-Expression: MIT AND LicenseRef-lightendiff-weights-research" in lines
    assert "License-File: lightendiff/weights/default/LICENSE" in lines
    assert len(licences) == 2


def test_what_describes_the_project_agrees():
    """The citation's version, and the versions of Python, in the metadata and in the workflow."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert citation["version"] == lightendiff.__version__
    assert f'version = "{lightendiff.__version__}"' in project
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    assert re.findall(r"Python :: (3\.\d+)", project) == matrix["python"]
    assert f'requires-python = ">={matrix["python"][0]}"' in project
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}


def test_the_image_is_made_of_what_a_wheel_needs():
    copied = re.findall(r"^COPY (.+) /source", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    kept = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert sorted(" ".join(copied).split()) == sorted(kept)
    assert set(kept) == {"lightendiff", "configs", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"}


def test_training_takes_the_wheels_configurations(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as content:
        content.extractall(tmp_path / "installed")
    code = (
        "import lightendiff, sys; from lightendiff.cli.train import main\n"
        "cli = main(['--config', 'configs/finetune.yaml'], run=False)\n"
        "print(lightendiff.__file__, cli.model.init_from)"
    )
    env = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    got = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert got.returncode == 0, got.stderr
    package, weights = map(Path, got.stdout.split()[-2:])
    assert package.is_relative_to(tmp_path)
    assert weights == package.parent / "weights" / "default"


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (["fit", "--config", "configs/finetune.yaml"], 2),
        (["fit", "--config=finetune.yaml"], 1),
        (["-c", "finetune.yaml"], 1),
    ],
)
def test_configurations_that_are_not_here_are_the_packages(given, taken, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _with_shipped(given)[taken].removeprefix("--config=") == str(CONFIGS / "finetune.yaml")
    (tmp_path / "configs").mkdir()
    for path in (tmp_path / "configs" / "finetune.yaml", tmp_path / "finetune.yaml"):
        path.touch()
    assert _with_shipped(given) == given
    assert _with_shipped(["--config", "other/finetune.yaml"]) == ["--config", "other/finetune.yaml"]


@pytest.mark.skipif(not FRESH, reason="FRESH_ENVIRONMENT names the torch to install, such as torch==2.13.0")
def test_the_base_set_alone_restores_from_a_wheel(wheel, photos, tmp_path):
    """In a new environment; prints its size."""
    venv.create(tmp_path / "venv", with_pip=True)
    binaries = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    subprocess.run([binaries / "pip", "install", "--quiet", FRESH, wheel], check=True)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [binaries / "lightendiff", "restore", photos, "-o", "out"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5 restored")
    size = sum(path.stat().st_size for path in (tmp_path / "venv").rglob("*") if path.is_file()) / 1e6
    print(f"{size:.0f} MB with {FRESH}")
    assert size < 1300 or "cpu" not in FRESH


@pytest.mark.parametrize("module", ["cli.main", "cli.restore", "cli.train", "__main__"])
def test_commands_threads_sleep_while_they_wait(module, monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    code = f"import os, lightendiff.{module}; print('torch' in sys.modules, os.environ.get('OMP_WAIT_POLICY'))"
    assert run_bare(code).stdout.split() == ["False", "PASSIVE"]
    monkeypatch.setenv("GOMP_SPINCOUNT", "1000")
    assert run_bare(code).stdout.split() == ["False", "None"]
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert run_bare(code).stdout.split() == ["False", "ACTIVE"]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_commands_keep_the_memory_that_they_free(monkeypatch):
    for name in [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]:
        monkeypatch.delenv(name)
    code = """
import resource, lightendiff.cli.main
import numpy as np

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.full(50_000_000, 1, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first = faults()
print(faults() < first / 2)
"""
    assert run_bare(code).stdout.split() == ["True"]
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "1000000")
    assert run_bare(code).stdout.split() == ["False"]
