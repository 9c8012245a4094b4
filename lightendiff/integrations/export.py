"""The whole restorer as one graph for every size of picture: ONNX, or a program of `torch.export`.

A graph can't branch on a picture's size as `Restorer` does, so everything is written here such that it needs no branch:
padding as a list of rows and columns, and shrinking for the UNet as a product of matrices, which are identities where
nothing is to be shrunk.
"""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..colour import correct
from ..diffusion.options import Sampling
from ..files.atomic import replace_files
from ..models.unet import Attention
from ..pipeline import LightenPipeline
from ..restorer import Restorer, context_noise, seen_units

Format = Literal["onnx", "torch-export"]
INPUT, OUTPUT = "image", "restored"
DIMS = {0: "batch", 2: "height", 3: "width"}  # those that are free
OPSET = 18
SMALLEST = 256  # values of a tensor that is worth storing in half the space


def export(
    model: LightenPipeline | Restorer,
    path: str | Path,
    format: Format = "onnx",
    num_inference_steps: int | None = None,
    seed: int = 0,
) -> None:
    """Write a restorer as a graph that takes `image` and gives `restored`, both (b, 3, h, w) float32 in [0, 1].

    Batch, height and width are free, from 1×1 up; padding and cropping are in the graph. Noise is too: the same for
    every picture of a size, drawn from `seed`. All is calculated in float32. Weights that float16 holds exactly, as all
    of the shipped ones, are stored in it; ONNX Runtime expands them when it loads the file.

    Args:
        model: not changed.
        path: of the file to write, which is replaced only when the new one is whole; its folder is made.
        format: `onnx`, for opset 18, or `torch-export`, what `torch.export.load` reads.
        num_inference_steps: sampling steps; None for what the weights were made for.
        seed: of the noise; as `LightenModule`'s.

    Raises:
        ImportError: `onnx` or `onnxscript` is missing.
        TypeError: `model` is neither a pipeline nor a restorer.
        OSError: the file can't be written.
        ValueError: `format` is another one, `path` is a folder, the scheduler can't do so many steps, or the
            architecture has no limit to what its UNet sees (the published one), so that no fixed noise would suffice.
    """
    if format not in ("onnx", "torch-export"):
        raise ValueError(f"format: expected 'onnx' or 'torch-export', got {format!r}")
    if format == "onnx":
        _require_onnx()
    path = Path(path)
    if path.is_dir():  # told now, since tracing takes half a minute
        raise ValueError(f"path: expected a file to write, got the folder {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    program = export_program(model, num_inference_steps, seed)
    replace_files({path: _onnx_bytes(program) if format == "onnx" else _program_bytes(program)})


def export_program(
    model: LightenPipeline | Restorer, num_inference_steps: int | None = None, seed: int = 0
) -> torch.export.ExportedProgram:
    """The graph as a program; arguments and errors as `export`'s."""
    if not isinstance(model, (LightenPipeline, Restorer)):
        raise TypeError(f"model: expected a LightenPipeline or a Restorer, got {type(model).__name__}")
    graph = RestorerGraph(model.restorer if isinstance(model, LightenPipeline) else model, num_inference_steps, seed)
    free = {axis: torch.export.Dim(name) for axis, name in DIMS.items()}
    example = torch.full((2, 3, 72, 100), 0.1)
    with torch.no_grad():
        # Deferred: sizes that the tracer can't compare aren't thereby excluded.
        return torch.export.export(
            graph,
            (example,),
            dynamic_shapes={INPUT: free},
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        )


class RestorerGraph(nn.Module):
    """`Restorer.forward` in float32 and from fixed noise, without a branch that depends on the size.

    Args:
        restorer: copied.
        num_inference_steps: as `export`'s.
        seed: as `export`'s.

    Raises:
        ValueError: as `export`.
    """

    noise: Tensor

    def __init__(self, restorer: Restorer, num_inference_steps: int | None = None, seed: int = 0) -> None:
        super().__init__()
        config = restorer.config
        noise = context_noise("model", config, seed)
        self.sampling = Sampling(num_inference_steps)
        restorer.check(self.sampling)
        restorer = copy.deepcopy(restorer).to("cpu", torch.float32, memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # not in torch's stub
        restorer.autocast_dtype = None
        for module in restorer.unet.modules():
            if isinstance(module, Attention):
                module.__class__ = PlainAttention
        self.restorer: Restorer = restorer.eval().requires_grad_(False)
        assert config.context is not None  # or there would be no such noise
        self.limit, self.multiple = config.context, config.multiple
        self.register_buffer("noise", noise, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """(b, 3, h, w) float32 in [0, 1] → the same, restored."""
        model = self.restorer.model
        b, _, h, w = image.shape
        # Sizes in units of `multiple`, as tensors, and as numbers that the tracer knows nothing of: as expressions of
        # h and w they would be in its way at every layer.
        units = [(_length(side) + self.multiple - 1) // self.multiple for side in (h, w)]
        longest = self.multiple * torch.maximum(*units)
        largest = longest.clamp(min=self.limit)
        seen_by_unet = [seen_units(self.multiple * side, largest, self.limit, self.multiple) for side in units]
        height, width, rows, columns = (self.multiple * _number(side.clamp(min=1)) for side in (*units, *seen_by_unet))

        padded = image.index_select(2, _reflected(h, height)).index_select(3, _reflected(w, width))
        mean = image.mean(dim=(1, 2, 3))
        latent, skips = model.encode(padded, mean)
        seen = F.linear(F.linear(padded, _area_means(width, columns)).mT, _area_means(height, rows)).mT
        small = model.latent(seen)
        condition = model.condition(seen, small, mean)
        noise = self.noise.index_select(2, torch.arange(rows // 8)).index_select(3, torch.arange(columns // 8))
        noise = noise.expand(b, -1, -1, -1)
        restored = self.restorer.sample_latent(small, condition, noise, self.sampling)
        restored = restored.clamp(0.0, 1.0)
        same = F.interpolate(restored, size=(height // 8, width // 8), mode="bilinear")  # the identity where it is used
        restored = torch.where(longest <= self.limit, same, model.enlarge(restored, small, latent))
        output = self.restorer.decode(restored, skips)
        if self.restorer.config.input_colours:
            output = correct(padded, output)
        return output.index_select(2, torch.arange(h)).index_select(3, torch.arange(w)).clamp(0.0, 1.0)


class PlainAttention(Attention):
    """The same in plain products: PyTorch's own asks whether there is a single position, which no graph can answer."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (conv(h).flatten(2) for conv in (self.query, self.key, self.value))  # (b, c, h·w)
        weights = torch.softmax(torch.bmm(q.mT, k) * q.shape[1] ** -0.5, dim=2)
        result: Tensor = x + self.project(torch.bmm(v, weights.mT).unflatten(2, x.shape[2:]))
        return result


def _length(side: int) -> Tensor:
    """A side of a tensor as a value in the graph."""
    return torch.arange(side).amax(dim=0) + 1


def _number(length: Tensor) -> int:
    value = length.item()
    torch._check(value >= 1)
    return value  # type: ignore[return-value]


def _reflected(side: int, padded: int) -> Tensor:
    """Which row of the picture each row of the padded one is, as `Restorer` pads: by reflection, as far as it goes."""
    last = side - 1
    return (last - (torch.arange(padded) - last).abs()).clamp(min=0)


def _area_means(length: int, count: int) -> Tensor:
    """(count, length): the means over intervals [⌊i·length/count⌋, ⌈(i + 1)·length/count⌉) of so many rows."""
    i, j = torch.arange(count)[:, None], torch.arange(length)[None, :]
    inside = ((j + 1) * count > i * length) & (j * count < (i + 1) * length)
    weights = inside.float()
    return weights / weights.sum(dim=1, keepdim=True)


def _program_bytes(program: torch.export.ExportedProgram) -> bytes:
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue()


# ---- ONNX


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError("export to ONNX needs onnx and onnxscript: pip install 'lightendiff[onnx]'") from error


def _onnx_bytes(program: torch.export.ExportedProgram) -> bytes:
    import onnx

    result = torch.onnx.export(
        program,
        input_names=[INPUT],
        output_names=[OUTPUT],
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    assert result is not None
    model = result.model_proto
    del model.graph.value_info[:]  # sizes in between, which nobody needs, as long expressions
    for value in (*model.graph.input, *model.graph.output):
        for axis, name in DIMS.items():
            value.type.tensor_type.shape.dim[axis].dim_param = name
    _store_in_half(model.graph)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def _store_in_half(graph: Any) -> None:
    """In an onnx.GraphProto, store as float16 what that holds exactly; casts at the start bring it back."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.size < SMALLEST or not np.array_equal(half.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, name + ".half"))
        casts.append(helper.make_node("Cast", [name + ".half"], [name], name=name + ".cast", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
