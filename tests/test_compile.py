"""Compiled networks restore as the plain ones do, and where they can't be compiled the plain ones run.

What stands in for the compiler takes the graphs as they come, since a real one takes minutes.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightendiff import LightenPipeline
from lightendiff.cli.restore import main
from lightendiff.images import Picture, write_picture
from lightendiff.models.presets import RestorerConfig
from lightendiff.restorer import Restorer
from lightendiff.weights.folder import save_restorer

Graph = torch.fx.GraphModule


@pytest.fixture(autouse=True)
def _nothing_compiled_before() -> Iterator[None]:
    yield
    torch.compiler.reset()


@pytest.fixture(scope="module")
def small(few_layers: RestorerConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inference folder with a new network."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("small")
    save_restorer(Restorer(few_layers), folder)
    return folder


@pytest.fixture
def make(small: Path) -> Callable[[], LightenPipeline]:
    return lambda: LightenPipeline.from_pretrained(small, "cpu", torch.float32)


def dark(size: tuple[int, int] = (40, 56), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 0.2, (*size, 3)).astype(np.float32)


def no_compiler(graph: Graph, inputs: Any) -> Callable[..., Any]:
    raise FileNotFoundError("no C++ compiler\nanywhere")


@contextmanager
def silence() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


def test_compiled_networks_restore_as_plain_ones(make: Callable[[], LightenPipeline]) -> None:
    graphs: list[Graph] = []

    def take(graph: Graph, _: Any) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    plain, compiled = make(), make()
    before = list(compiled.restorer.modules())
    assert compiled.compile(take) is compiled
    pictures = [dark(), dark((33, 64), 1)]  # padded to the same size: for another one all is traced anew
    with silence():
        for restored, expected in zip(compiled(pictures), plain(pictures), strict=True):
            np.testing.assert_allclose(restored, expected, rtol=0, atol=1e-4)
    assert len(graphs) >= 3  # encoder, UNet and decoder
    # the modules are the same ones, and the weights have the same names
    assert all(a is b for a, b in zip(compiled.restorer.modules(), before, strict=True))
    assert compiled.restorer.state_dict().keys() == plain.restorer.state_dict().keys()


def test_without_a_compiler_there_is_one_warning_and_the_same_picture(make: Callable[[], LightenPipeline]) -> None:
    expected, pipe = make()(dark()), make().compile(no_compiler)
    with silence():  # a copy isn't compiled
        copied = LightenPipeline(copy.deepcopy(pipe.restorer), "cpu", torch.float32)
        np.testing.assert_array_equal(copied(dark()), expected)
    with pytest.warns(RuntimeWarning) as warned:
        np.testing.assert_array_equal(pipe(dark()), expected)
    messages = [str(warning.message) for warning in warned if warning.category is RuntimeWarning]
    assert messages == ["the networks run uncompiled: FileNotFoundError: no C++ compiler"]
    with silence():
        np.testing.assert_array_equal(pipe(dark()), expected)
        assert pipe(dark((30, 30))).shape == (30, 30, 3)


def test_the_noise_is_that_of_the_first_attempt(make: Callable[[], LightenPipeline]) -> None:
    first, second = (torch.Generator().manual_seed(4) for _ in range(2))
    expected = make()(dark(), generator=first, eta=1.0)
    with pytest.warns(RuntimeWarning, match="run uncompiled"):
        restored = make().compile(no_compiler)(dark(), generator=second, eta=1.0)
    np.testing.assert_array_equal(restored, expected)


def test_inductor_without_a_compiler(
    make: Callable[[], LightenPipeline], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inductor = pytest.importorskip("torch._inductor.config")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    pipe = make().compile()
    nowhere = inductor.patch({"cpp.cxx": (str(tmp_path / "no-c++"),), "compile_threads": 1})
    with nowhere, pytest.warns(RuntimeWarning, match=r"the networks run uncompiled: .*C\+\+ compiler"):
        restored = pipe(dark())
    np.testing.assert_array_equal(restored, make()(dark()))


def test_where_pytorch_does_not_compile_at_all(
    make: Callable[[], LightenPipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*args: object, **options: object) -> None:
        raise RuntimeError("torch.compile is not supported on Python 3.99+")

    monkeypatch.setattr(torch, "compile", unsupported)
    with pytest.warns(RuntimeWarning, match=r"run uncompiled: RuntimeError: torch.compile is not supported") as warned:
        pipe = make().compile()
    assert len(warned) == 1
    with silence():
        np.testing.assert_array_equal(pipe(dark()), make()(dark()))


def test_errors_that_are_not_of_compiling_stay_errors(make: Callable[[], LightenPipeline]) -> None:
    def stop(*_: object) -> None:
        raise RuntimeError("enough")

    with silence(), pytest.raises(RuntimeError, match="enough"):
        make().compile("eager")(dark(), callback=stop)


def test_the_command_line(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[LightenPipeline] = []
    monkeypatch.setattr(LightenPipeline, "compile", lambda pipe: compiled.append(pipe) or pipe)
    write_picture(tmp_path / "a.png", Picture((255 * dark()).astype(np.uint8)))
    arguments = [str(tmp_path / "a.png"), "--weights", str(weights), "--device", "cpu"]
    assert main([*arguments, "-o", str(tmp_path / "plain")]) == 0
    assert compiled == []
    assert main([*arguments, "-o", str(tmp_path / "out"), "--compile"]) == 0
    assert len(compiled) == 1
    assert (tmp_path / "out" / "a.png").is_file()
