"""Saving and loading restorers: identity, storage, and every way in which a file can be wrong."""

from __future__ import annotations

import argparse
import errno
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lightendiff.models.presets import PRESETS
from lightendiff.restorer import Restorer
from lightendiff.weights.folder import CheckpointError, save_restorer
from lightendiff.weights.load import load_restorer
from lightendiff.weights.published import published_name


@pytest.fixture(scope="module")
def tiny() -> Restorer:
    torch.manual_seed(0)
    return Restorer(PRESETS["tiny"]).eval()


@pytest.fixture
def folder(tiny: Restorer, tmp_path: Path) -> Path:
    save_restorer(tiny, tmp_path / "saved")
    return tmp_path / "saved"


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    """Every name and shape of the published checkpoint; each tensor stores a single zero, so files are small."""
    own = Restorer(PRESETS["paper"]).state_dict()
    return {f"module.{published_name(name)}": torch.zeros(1).expand(tensor.shape) for name, tensor in own.items()}


def error(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_restorer(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_round_trip_is_exact(tiny: Restorer, folder: Path) -> None:
    loaded = load_restorer(folder)
    assert loaded.config == tiny.config.for_restoring
    assert not loaded.training
    expected = {name: t for name, t in tiny.state_dict().items() if not name.startswith("model.retinex.")}
    assert list(loaded.state_dict()) == list(expected)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())
    dark = torch.rand(1, 3, 37, 50) * 0.2
    noise = torch.randn(tiny.noise_shape(dark))
    with torch.no_grad():
        assert torch.equal(loaded(dark, noise=noise), tiny(dark, noise=noise))


def test_safetensors_file_is_known_by_its_content(folder: Path) -> None:
    renamed = folder / "weights.bin"
    (folder / "model.safetensors").rename(renamed)
    assert load_restorer(renamed).config == PRESETS["tiny"].for_restoring


def test_half_storage_loads_into_float32(tiny: Restorer, tmp_path: Path) -> None:
    save_restorer(tiny, tmp_path / "full")
    save_restorer(tiny, tmp_path / "half", half=True)
    sizes = [(tmp_path / kind / "model.safetensors").stat().st_size for kind in ("half", "full")]
    assert 0.4 < sizes[0] / sizes[1] < 0.7
    for name, tensor in load_restorer(tmp_path / "half").state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, tiny.state_dict()[name].half().float())


def test_channels_last_weights(tiny: Restorer, tmp_path: Path) -> None:
    save_restorer(Restorer(tiny.config).to(memory_format=torch.channels_last), tmp_path)
    assert load_restorer(tmp_path).config == tiny.config.for_restoring


def test_weights_that_float16_cannot_hold(tmp_path: Path) -> None:
    restorer = Restorer(PRESETS["tiny"])
    with torch.no_grad():
        restorer.unet.conv_out.bias[0] = 1e5
    save_restorer(restorer, tmp_path / "full")
    with pytest.raises(ValueError, match=r"unet\.conv_out\.bias has values that are not finite in torch.float16"):
        save_restorer(restorer, tmp_path / "half", half=True)
    assert not (tmp_path / "half").exists()


def test_failed_saving_keeps_the_old_files(tiny: Restorer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == {"config.json", "model.safetensors"}

    def full_disk(number: int) -> None:
        os.ftruncate(number, 1000)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    message = r"No space left on device; what was saved before is unchanged: .*model\.safetensors"
    with pytest.raises(OSError, match=message):
        save_restorer(tiny, folder, half=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_restorer(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_incomplete_folder(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"no {name} in it" in error(folder)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"unet_chanels": [8]}, "unknown configuration keys ['unet_chanels']"),
        ({"architecture": "other"}, "other"),
        ({"unet_channels": [7, 9]}, "channels: expected positive multiples"),
        ({"channels": 8}, "config.json: "),
        ({"scheduler": {"beta_schedule": "other"}}, "other"),
        ({"scheduler": {"betas": 1}}, "betas"),
    ],
)
def test_unusable_configuration(folder: Path, change: dict[str, Any], expected: str) -> None:
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(CheckpointError) as caught:
        load_restorer(folder)
    assert str(caught.value).startswith(f"{config}: ")
    assert expected in str(caught.value)


@pytest.mark.parametrize("content", ["[]", "{", ""])
def test_configuration_that_is_no_object(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json: "):
        load_restorer(folder)


def test_cut_safetensors(folder: Path) -> None:
    weights = folder / "model.safetensors"
    for size in (0, 5, 100, 5000):
        weights.write_bytes(weights.read_bytes()[:size])
        with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged"):
            load_restorer(folder)


def test_folder_with_other_tensors(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["stray"] = torch.zeros(1)
    weights["unet.conv_out.bias"] = torch.zeros(9)
    del weights["unet.conv_in.weight"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load_restorer(folder)
    assert "1 missing: unet.conv_in.weight" in str(caught.value)
    assert "1 unexpected: stray" in str(caught.value)
    assert "unet.conv_out.bias (expected (3,), got (9,))" in str(caught.value)


def test_published_layout_is_read_strictly(published: dict[str, torch.Tensor], tmp_path: Path) -> None:
    file = tmp_path / "any.name"
    torch.save({"state_dict": published}, file)
    assert load_restorer(file).config == PRESETS["paper"]

    names = list(published)
    weights = {name: published[name] for name in names[20:]}
    weights[names[-1]] = torch.zeros(77)
    weights["module.stray"] = torch.zeros(1)
    torch.save({"state_dict": weights}, file)
    message = error(file)
    assert "20 missing: " + ", ".join(names[:12]) + " and 8 more;" in message
    assert "1 unexpected: module.stray;" in message
    assert f"1 of the wrong shape: {names[-1]} (expected {tuple(published[names[-1]].shape)}, got (77,))" in message


def test_published_layout_without_prefix_and_in_the_old_format(
    published: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    plain = {name.removeprefix("module."): tensor for name, tensor in published.items()}
    torch.save({"state_dict": plain}, tmp_path / "old", _use_new_zipfile_serialization=False)
    assert load_restorer(tmp_path / "old").config == PRESETS["paper"]


@pytest.mark.parametrize(
    "content", [{}, {"weights": {}}, [1], torch.zeros(3), {"state_dict": torch.zeros(3)}, {"state_dict": {"a": 1}}]
)
def test_other_pickles(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pth")
    assert "not a LightenDiffusion checkpoint" in error(tmp_path / "other.pth")


class Malicious:
    """Creates a file when it is unpickled the ordinary way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


class Stranger:
    """Harmless, but not a plain value."""


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["state_dict", "config", "optimizer"])
def test_pickled_code_does_not_run(
    published: dict[str, torch.Tensor], tmp_path: Path, place: str, zipped: bool
) -> None:
    trace, file = tmp_path / "trace", tmp_path / "stage2_weight.pth.tar"
    content: dict[str, Any] = {"state_dict": published, "config": argparse.Namespace()}
    torch.save(content | {place: Malicious(trace)}, file, _use_new_zipfile_serialization=zipped)
    assert "mkdir" in error(file)
    assert not trace.exists()
    torch.load(file, weights_only=False)  # the trap is a real one
    assert trace.exists()


def test_unknown_classes_are_refused(published: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save({"state_dict": published, "params": Stranger()}, tmp_path / "file")
    message = error(tmp_path / "file")
    assert "refused" in message
    assert "Stranger" in message


def test_damaged_files(published: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save({"state_dict": published}, tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    torch.save({"state_dict": published}, tmp_path / "old", _use_new_zipfile_serialization=False)
    torch.save({"pytorch-lightning_version": "2.6", "state_dict": {}}, tmp_path / "last.ckpt")
    assert "a checkpoint of train.py, to go on training from" in error(tmp_path / "last.ckpt")
    old = (tmp_path / "old").read_bytes()
    broken = {
        "cut": whole[: len(whole) // 2],
        "head": whole[:20],
        "old-cut": old[: len(old) // 2],
        "empty": b"",
        "text": b"hello, this is no checkpoint at all",
        "bytes": bytes(range(256)) * 20,
        "picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "pickle": pickle.dumps({"state_dict": {}}),
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
        assert "not a" in error(tmp_path / name)


def test_names_map_one_to_one() -> None:
    names = [published_name(name) for name in Restorer(PRESETS["paper"]).state_dict()]
    assert len(names) == len(set(names)) == 480
    assert published_name("unet.down.2.attentions.1.query.weight") == "Unet.down.2.attn.1.q.weight"
    assert published_name("unet.up.3.resample.conv.bias") == "Unet.up.3.upsample.conv.bias"
    assert published_name("model.decoder.blocks.4.conv2.bias") == "decom.ReconNet.block_up4.model.2.bias"
    with pytest.raises(KeyError, match="stray"):
        published_name("stray.weight")


def test_file_permissions_follow_the_umask(tiny: Restorer, folder: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    assert all(path.stat().st_mode & 0o777 == 0o666 & ~umask for path in folder.iterdir())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"decoder_blocks": [2**31, 1, 1, 1]}, "decoder_blocks: expected a list of 0 to 8 integers from 0 to 64"),
        ({"num_inference_steps": "2"}, "num_inference_steps: expected an integer from 1 to 100000, got '2'"),
        ({"num_inference_steps": 2.5}, "num_inference_steps: expected an integer from 1 to 100000, got 2.5"),
        ({"num_inference_steps": True}, "num_inference_steps: expected an integer from 1 to 100000, got True"),
        ({"num_inference_steps": 1001}, "num_inference_steps: expected no more than the schedule's 1000 timesteps"),
        ({"start_timestep": 1000}, "start_timestep: expected no more than the schedule's 1000 timesteps, got 1000"),
        ({"context": 0}, "context: expected an integer from 1 to 1048576 or null, got 0"),
        ({"channels": 8}, "channels: expected a list of 1 to 8 integers"),
        ({"channels": [8, "16", 16, 16]}, "channels: expected a list of 1 to 8 integers"),
        ({"architecture": None}, "architecture: expected text, got None"),
        ({"unet_residual": 1}, "unet_residual: expected true or false, got 1"),
        ({"input_colours": "yes"}, "input_colours: expected true or false, got 'yes'"),
        ({"scheduler": []}, "scheduler: expected the arguments of DDIMScheduler by name, got []"),
        ({"scheduler": {"num_train_timesteps": 10**12}}, "scheduler.num_train_timesteps: expected an integer from 1"),
    ],
)
def test_fields_are_checked_before_anything_is_built(folder: Path, change: dict[str, Any], expected: str) -> None:
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    assert error(folder).startswith(f"{config}: {expected}")


def test_every_field_of_a_configuration_is_checked() -> None:
    from lightendiff.models.checking import _FIELDS

    assert set(_FIELDS) == set(PRESETS["tiny"].to_dict())


def test_shapes_are_compared_before_anything_is_allocated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = folder / "config.json"
    wide = {"channels": [8192] * 4, "encoder_blocks": [64] * 4, "decoder_blocks": [64] * 4}
    config.write_text(json.dumps(json.loads(config.read_text()) | wide))
    monkeypatch.setattr("lightendiff.weights.folder.Restorer", None)  # which would take terabytes
    monkeypatch.setattr("safetensors.torch.load_file", None)
    assert "tensors don't fit the network; " in error(folder)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64, torch.uint8])
def test_tensors_of_odd_types(folder: Path, dtype: torch.dtype) -> None:
    weights = load_file(folder / "model.safetensors")
    name = next(iter(weights))
    save_file(weights | {name: weights[name].to(dtype)}, folder / "model.safetensors")
    expected = f"expected tensors of float16, bfloat16, float32, float64, got {name} ({dtype})"
    assert error(folder) == f"{folder / 'model.safetensors'}: {expected}"


def test_an_archive_that_inflates(tmp_path: Path) -> None:
    path, packed = tmp_path / "a.pth", tmp_path / "b.pth"
    torch.save({"state_dict": {"zeros": torch.zeros(10**6)}}, path)
    with zipfile.ZipFile(path) as plain, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as small:
        for each in plain.infolist():
            small.writestr(each.filename, plain.read(each))
    assert packed.stat().st_size < path.stat().st_size / 100
    assert error(packed) == f"{packed}: expected an archive as torch.save writes it, got a compressed one"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
@pytest.mark.parametrize("name", [None, "config.json", "model.safetensors"])
def test_a_pipe_is_not_waited_for(folder: Path, tmp_path: Path, name: str | None) -> None:
    path = folder / name if name else tmp_path / "pipe"
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    message = error(folder if name else path)
    assert f"no {name} in it" in message if name else message == f"{path}: expected a file or a folder, got neither"


def test_shapes_are_known_without_pytorchs_compiler() -> None:
    """Which takes a second to import."""
    code = (
        "import sys; from lightendiff.models.presets import PRESETS; from lightendiff.restorer import Restorer\n"
        "from lightendiff.weights.folder import _shapes\n"
        "shapes = [_shapes(config) for config in PRESETS.values()]\n"
        "print('torch._dynamo' in sys.modules, shapes == [{n: tuple(t.shape) for n, t in "
        "Restorer(config).state_dict().items()} for config in PRESETS.values()])"
    )
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert got.stdout.split() == ["False", "True"]
