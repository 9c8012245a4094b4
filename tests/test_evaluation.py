"""Measuring: figures that can be computed by hand, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lightendiff.data.datasets import Darkened, SelfMade
from lightendiff.data.pictures import Sample
from lightendiff.evaluation import measure as ev


@pytest.fixture(scope="module")
def report(load_script):
    return load_script(Path(__file__).parents[1] / "benchmarks" / "report.py")


def flat(value: int | tuple[int, int, int], height: int = 32, width: int = 40) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def sample_of(dark: np.ndarray, target: np.ndarray, name: str = "dark → target") -> Sample:
    return Sample(dark.transpose(2, 0, 1), target.transpose(2, 0, 1), dark.mean() / 255, name)


def row_of(psnr: float) -> ev.Row:
    return ev.Row(sample_of(flat(1), flat(2)), flat(2), ev.Figures(psnr, psnr / 100, psnr + 1, psnr / 10), psnr / 1000)


def test_identical_pictures():
    picture = np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)
    figures = ev.measure(picture, picture)
    assert figures.psnr == figures.matched_psnr == math.inf
    assert figures.ssim == pytest.approx(1.0)
    assert figures.delta_e == 0.0


def test_exposure_error_alone_is_gone_once_brightness_matches():
    figures = ev.measure(flat(50), flat(100))
    assert figures.psnr == pytest.approx(20 * math.log10(255 / 50), abs=1e-4)
    assert figures.matched_psnr == math.inf


def test_delta_e_is_of_block_means():
    grey = flat(120)
    noisy = grey.copy()
    noisy[::2, ::2] = 90  # two of these four times in each 8×8 block: the same mean as below
    noisy[1::2, 1::2] = 150
    assert ev.delta_e(noisy, grey) == 0.0
    assert ev.delta_e(flat((130, 120, 110)), grey) > 2.0
    # For two greys ΔE₀₀ is ΔL / S_L, here from L* = 50.03 and 54.76 (120 and 132 in sRGB).
    low, high = (116 * np.cbrt(((v / 255 + 0.055) / 1.055) ** 2.4) - 16 for v in (120, 132))
    middle = ((low + high) / 2 - 50) ** 2
    expected = (high - low) / (1 + 0.015 * middle / math.sqrt(20 + middle))
    assert ev.delta_e(flat(132), grey) == pytest.approx(expected, abs=2e-3)


def test_delta_e_leaves_out_cut_blocks():
    cut = flat(120, 35, 40)
    cut[32:] = 255
    assert ev.delta_e(cut, flat(120, 35, 40)) == 0.0
    assert ev.delta_e(flat(120, 3, 5), flat(120, 3, 5)) == 0.0  # smaller than a block: one block


@pytest.mark.parametrize("output", [flat(3, 32, 41), flat(3).astype(np.uint16), flat(3)[..., 0]])
def test_measure_refuses_other_shapes_and_types(output):
    with pytest.raises(ValueError, match=r"output: expected \(h, w, 3\) uint8 .*got"):
        ev.measure(output, flat(3))


def test_evaluate_measures_what_the_answer_returns(report):
    source = SelfMade(count=3, size=(24, 32))
    source.load()
    rows = ev.evaluate(lambda sample: sample.dark.transpose(1, 2, 0), source.pairs())
    assert [row.sample.name for row in rows] == [sample.name for sample in source.pairs()]
    for row in rows:
        expected = ev.measure(row.sample.dark.transpose(1, 2, 0), row.sample.target.transpose(1, 2, 0))
        assert row.figures == expected
        assert row.seconds >= 0
    perfect = ev.evaluate(lambda sample: sample.target.transpose(1, 2, 0), source.pairs())
    assert report.mean_figures(perfect).psnr == math.inf


@pytest.mark.parametrize("change", [{"darken": True}, {"paired": False}])
def test_evaluate_refuses_what_has_no_dark_picture_or_reference(change):
    assert not Darkened.validates
    sample = replace(sample_of(flat(1), flat(2)), **change)
    with pytest.raises(ValueError, match="samples: expected dark pictures with their own references"):
        ev.evaluate(lambda sample: flat(2), [sample])


def test_means_and_median(report):
    rows = [row_of(20.0), row_of(22.0), row_of(30.0)]
    assert report.mean_figures(rows) == ev.Figures(24.0, pytest.approx(0.24), 25.0, pytest.approx(2.4))
    assert report.seconds_per_picture(rows) == pytest.approx(0.022)
    with pytest.raises(ValueError, match="rows"):
        report.mean_figures([])


def test_spread_over_seeds(report):
    # Each picture varies by ±1, but in opposite directions: the set's mean doesn't vary.
    runs = [[row_of(19.0), row_of(31.0)], [row_of(21.0), row_of(29.0)]]
    whole, single = report.psnr_spread(runs)
    assert whole == pytest.approx(0.0)
    assert single == pytest.approx(math.sqrt(2.0))
    assert report.psnr_spread(runs[:1]) == (0.0, 0.0)


def test_coverage_counts_references_between_the_darkest_and_the_brightest_run(report):
    def run(*levels: int) -> list[ev.Row]:
        samples = [sample_of(flat(1), flat(target)) for target in (50, 100, 150)]
        figures = ev.Figures(20.0, 0.8, 21.0, 5.0)
        return [ev.Row(s, flat(level), figures, 0.1) for s, level in zip(samples, levels, strict=True)]

    assert report.brightness_coverage([run(40, 90, 160), run(60, 80, 170)]) == pytest.approx(1 / 3)
    assert report.brightness_coverage([run(50, 100, 0)]) == pytest.approx(2 / 3)


def test_best_median_worst():
    ranked = ev.best_median_worst([row_of(v) for v in (20.0, 25.0, 18.0, 30.0, 22.0)])
    assert [(name, row.figures.psnr) for name, row in ranked] == [("best", 30.0), ("median", 22.0), ("worst", 18.0)]
    assert [name for name, _ in ev.best_median_worst([row_of(1.0), row_of(2.0)])] == ["best", "worst"]
    assert [name for name, _ in ev.best_median_worst([row_of(1.0)])] == ["best"]


def test_whites_and_shadows(report):
    dark = flat(10, 3, 10)
    dark[1] = 100
    dark[2] = 240
    dark[2, 0] = (255, 255, 239)  # not white in all channels
    output = dark * 1
    output[0] = 30
    output[2, 1] = (255, 255, 224)  # one channel is enough to see it
    output[2, 2] = 225
    figures = report.measure_wild(dark, output)
    assert figures == report.WildFigures(whites=9, greyed=1, shadows=10.0, lifted=30.0)
    assert figures.greyed_share == pytest.approx(1 / 9)
    assert figures.lift == pytest.approx(3.0)
    black = report.measure_wild(flat(0), flat(9))
    assert math.isnan(black.greyed_share)
    assert math.isnan(black.lift)
    with pytest.raises(ValueError, match="output: expected the shape and dtype of dark"):
        report.measure_wild(dark, output[1:])


def test_table_and_machine(report):
    assert ev.markdown_table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert "torch" in report.describe_machine()
    assert "\n" not in report.describe_machine()
