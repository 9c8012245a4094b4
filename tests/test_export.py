"""The restorer as one graph: equal to PyTorch's for every size, in ONNX Runtime and as a program of torch.export."""

from __future__ import annotations

import copy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightendiff import LightenPipeline
from lightendiff.integrations import export as exporting
from lightendiff.integrations.export import RestorerGraph, _store_in_half, export, export_program
from lightendiff.integrations.kornia import LightenModule
from lightendiff.models.presets import PRESETS, RestorerConfig
from lightendiff.restorer import Restorer

CONTEXT = 128
SIZES = [(1, 16, 16), (1, 1, 1), (2, 37, 53), (1, CONTEXT, 80), (1, 150, 110), (1, 45, 263)]
EXAMPLE = Path(__file__).parents[1] / "examples" / "onnx_numpy.py"


@pytest.fixture(scope="module")
def restorer(few_layers: RestorerConfig) -> Restorer:
    """With weights that float16 holds, none of which is without effect."""
    torch.manual_seed(0)
    restorer = Restorer(replace(few_layers, context=CONTEXT)).eval().requires_grad_(False)
    for parameter in restorer.parameters():
        parameter.copy_((parameter + 0.05 * torch.randn_like(parameter)).half())
    return restorer


@pytest.fixture(scope="module")
def program(restorer: Restorer) -> torch.export.ExportedProgram:
    """Of one step. Every export below is of this one, because tracing takes seconds."""
    return export_program(restorer, num_inference_steps=1)


@pytest.fixture
def traced(program: torch.export.ExportedProgram, monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What was asked to be traced, in place of which `program` is taken."""
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(exporting, "export_program", lambda *arguments: asked.append(arguments) or program)
    return asked


@pytest.fixture(scope="module")
def model(restorer: Restorer, program: torch.export.ExportedProgram, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxscript")
    path = tmp_path_factory.mktemp("export") / "restorer.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "export_program", lambda *arguments: program)
        export(restorer, path)
    return path


def dark(b: int, h: int, w: int) -> torch.Tensor:
    return torch.rand(b, 3, h, w, generator=torch.Generator().manual_seed(h)) * 0.2


def expected(restorer: Restorer, pictures: torch.Tensor, steps: int | None = None) -> torch.Tensor:
    with torch.no_grad():
        return LightenModule(restorer, num_inference_steps=steps)(pictures)


@pytest.mark.parametrize("size", [*SIZES, (3, 129, 128), (1, 5, 700)])
def test_without_branches_it_is_the_restorer(restorer: Restorer, size: tuple[int, int, int]) -> None:
    pictures, restorer = dark(*size), copy.copy(restorer)  # shares the weights
    restorer.config = replace(restorer.config, input_colours=False)
    restored = RestorerGraph(restorer)(pictures)
    assert restored.shape == pictures.shape
    torch.testing.assert_close(restored, expected(restorer, pictures), atol=1e-5, rtol=0)
    assert restored.std() > 0.02  # it isn't black everywhere, or white


def test_colours_are_the_restorers(restorer: Restorer) -> None:
    for size in SIZES:
        pictures = dark(*size)
        difference = (RestorerGraph(restorer)(pictures) - expected(restorer, pictures)).abs()
        assert difference.max() < 1e-4  # near the gamut's edge a channel is a small difference of large numbers
        assert difference.mean() < 1e-6


def test_steps_and_seed(restorer: Restorer) -> None:
    pictures = dark(1, 40, 56)
    one = RestorerGraph(restorer, num_inference_steps=1)(pictures)
    torch.testing.assert_close(one, expected(restorer, pictures, 1), atol=1e-5, rtol=0)
    assert (one - RestorerGraph(restorer)(pictures)).abs().max() > 1e-3
    assert (RestorerGraph(restorer, seed=1)(pictures) - RestorerGraph(restorer)(pictures)).abs().max() > 1e-4


def test_onnx_runtime_gives_the_same_for_every_size(restorer: Restorer, model: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    ends = {end.name: (end.shape, end.type) for end in (*session.get_inputs(), *session.get_outputs())}
    shape = ["batch", 3, "height", "width"]
    assert ends == {"image": (shape, "tensor(float)"), "restored": (shape, "tensor(float)")}
    for size in SIZES:
        pictures = dark(*size)
        (restored,) = session.run(None, {"image": pictures.numpy()})
        torch.testing.assert_close(torch.from_numpy(restored), expected(restorer, pictures, 1), atol=1e-4, rtol=0)


def test_one_file_with_weights_in_half(restorer: Restorer, model: Path) -> None:
    onnx = pytest.importorskip("onnx")
    assert [path.name for path in model.parent.iterdir()] == [model.name]
    graph = onnx.load(model).graph
    sizes = {onnx.TensorProto.FLOAT: 0, onnx.TensorProto.FLOAT16: 0}
    for tensor in graph.initializer:
        if tensor.data_type in sizes:
            sizes[tensor.data_type] += int(np.prod(tensor.dims))
    used = sum(p.numel() for name, p in restorer.named_parameters() if not name.startswith("model.retinex."))
    assert 0.9 * used < sizes[onnx.TensorProto.FLOAT16] <= used
    assert sizes[onnx.TensorProto.FLOAT] < 0.1 * used + RestorerGraph(restorer).noise.numel()


def test_only_what_half_holds_is_stored_in_it() -> None:
    onnx = pytest.importorskip("onnx")
    reference = pytest.importorskip("onnx.reference")
    rng = np.random.default_rng(0)
    values = {"exact": rng.integers(-99, 99, 300) / 8, "rounded": rng.random(300), "large": np.full(300, 7e4)}
    names = list(values)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Concat", names, ["y"], axis=0)],
        "graph",
        [],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [900])],
        [onnx.numpy_helper.from_array(values[name].astype(np.float32), name) for name in names],
    )
    _store_in_half(graph)
    assert [t.name for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT16] == ["exact.half"]
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    (y,) = reference.ReferenceEvaluator(model).run(None, {})
    assert np.array_equal(y, np.concatenate(list(values.values())).astype(np.float32))


def test_a_program_of_torch_export(restorer: Restorer, traced: list[tuple[object, ...]], tmp_path: Path) -> None:
    export(restorer, tmp_path / "restorer.pt2", format="torch-export", num_inference_steps=1, seed=7)
    assert traced == [(restorer, 1, 7)]
    program = torch.export.load(tmp_path / "restorer.pt2").module()
    for size in SIZES:
        pictures = dark(*size)
        with torch.no_grad():
            torch.testing.assert_close(program(pictures), expected(restorer, pictures, 1), atol=1e-4, rtol=0)


def test_the_example_needs_neither_torch_nor_this_package(restorer: Restorer, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    photo = (dark(1, 61, 90)[0].permute(1, 2, 0) * 255).byte().numpy()
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by 90° clockwise when shown
    Image.fromarray(np.rot90(photo)).save(tmp_path / "dark.png", exif=turned)
    start = f"import runpy, sys; sys.modules.update(torch=None, lightendiff=None); sys.argv[0] = {str(EXAMPLE)!r}; "
    command = [sys.executable, "-c", start + "runpy.run_path(sys.argv[0], run_name='__main__')"]
    subprocess.run([*command, model, tmp_path / "dark.png", tmp_path / "restored.png"], check=True, cwd=tmp_path)
    restored = np.asarray(Image.open(tmp_path / "restored.png")).astype(float)
    pictures = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255
    assert np.abs(restored - 255 * expected(restorer, pictures, 1)[0].permute(1, 2, 0).numpy()).max() < 0.6


def test_the_model_stays_as_it_was(restorer: Restorer) -> None:
    pipe = LightenPipeline(Restorer(restorer.config), device="cpu", dtype=torch.bfloat16)
    before = {name: tensor.clone() for name, tensor in pipe.restorer.state_dict().items()}
    graph = RestorerGraph(pipe.restorer)
    graph.restorer.unet.conv_in.weight.zero_()
    assert pipe.dtype == torch.bfloat16
    assert all(torch.equal(tensor, before[name]) for name, tensor in pipe.restorer.state_dict().items())


def test_the_file_s_place_is_looked_at_first(
    restorer: Restorer, traced: list[tuple[object, ...]], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="path: expected a file to write, got the folder "):
        export(restorer, tmp_path, format="torch-export")
    assert traced == []
    export(restorer, tmp_path / "new" / "folder" / "a.pt2", format="torch-export")
    assert (tmp_path / "new" / "folder" / "a.pt2").stat().st_size > 0


def test_what_can_t_be_exported(restorer: Restorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "restorer.onnx"
    path.write_bytes(b"of before")
    with pytest.raises(ValueError, match="format: expected 'onnx' or 'torch-export', got 'tflite'"):
        export(restorer, path, format="tflite")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="model: expected a LightenPipeline or a Restorer, got str"):
        export("weights", path, format="torch-export")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="model: expected weights whose UNet sees at most"):
        export(Restorer(PRESETS["tiny"]), path, format="torch-export")
    with pytest.raises(ValueError, match="num_inference_steps: expected an integer of at least 1, got 0"):
        export(restorer, path, format="torch-export", num_inference_steps=0)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"needs onnx and onnxscript: pip install 'lightendiff\[onnx\]'"):
        export(restorer, path)
    assert path.read_bytes() == b"of before"
