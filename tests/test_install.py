"""What an installation without extras can do, what it says of the rest, and what a wheel carries."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
EXTRAS = (
    "av cv2 fsspec gradio huggingface_hub jsonargparse kornia lightning onnx onnxscript onnxruntime pillow_heif "
    "pytorch_lightning rawpy shtab skimage spandrel tensorboard torchmetrics torchvision yaml"
).split()
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
    assert not set(got.stdout.split()) & set(EXTRAS)


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
    hook = HOOK.replace("raise ModuleNotFoundError(f\"No module named {name!r}\"", 'raise ImportError("libGL.so.1: no"')
    got = run_bare("import lightendiff.data.synthetic", hook=hook)
    assert "making scenes needs cv2, which can't be imported: libGL.so.1: no" in got.stderr
