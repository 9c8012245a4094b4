"""`lightendiff evaluate`: how near restored pictures come to their references.

Every figure is given twice: of the picture itself, and of the picture brought to its reference's mean brightness, which
is another quantity and labelled as such. Pictures are read, restored and let go one at a time.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ..files.locations import shown
from ..files.locks import only_one
from ..runtime.extras import needing
from .arguments import FORMATS, add_loading, add_restoration
from .loading import load_restore

if TYPE_CHECKING:
    import numpy as np

    from ..data.datasets import Source
    from ..data.pictures import Sample
    from ..evaluation.measure import Answer, Figures
    from ..evaluation.perceptual import Measure

HELP = "restore dark pictures and measure how near they come to their references"
EXAMPLES = """
lightendiff evaluate low/ high/
lightendiff evaluate low/ high/ --steps 4 --csv figures.csv --sheet best_median_worst.jpg
lightendiff evaluate dark.png reference.png
lightendiff evaluate lol_v1:LOLdataset lol_v2_real:LOL-v2 sice:SICE my/dark my/bright --weights runs/finetune/export
lightendiff evaluate outputs-of-another-program/ high/ --as-is
"""
NAMES = {"psnr": "PSNR", "ssim": "SSIM", "delta_e": "ΔE00 of 8×8 blocks", "lpips": "LPIPS", "niqe": "NIQE"}
DECIMALS = {"psnr": 2, "ssim": 3, "delta_e": 2, "lpips": 3, "niqe": 2}
# Those of lightendiff.data.datasets.published, which takes torch to import.
LAYOUTS = ("lol_v1", "lol_v2_real", "lol_v2_synthetic", "lsrw_huawei", "lsrw_nikon", "sice", "sid")
Values = dict[str, float | None]  # by the names above; None where a picture can't be judged


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "dark", metavar="DARK", help="a picture, or a folder of them; or a published set, LAYOUT:FOLDER, by itself"
    )
    parser.add_argument(
        "reference",
        metavar="REFERENCE",
        nargs="?",
        help="the picture that it should become, or a folder of such, of the same stems",
    )
    parser.add_argument("more", metavar="SET", nargs="*", help="further ones, for a table with a line for each")
    parser.add_argument(
        "--as-is", action="store_true", help="restore nothing: DARK is compared as it is, another program's results say"
    )
    parser.add_argument("--csv", metavar="FILE", help="write the figures of every picture")
    parser.add_argument("--sheet", metavar="FILE", help="write a picture of the best, the median and the worst by PSNR")
    add_restoration(parser)
    add_loading(parser)


def run(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> int:
    if args.sheet and os.path.splitext(args.sheet)[1][1:].lower() not in FORMATS:
        error(f"argument --sheet: expected a name that ends in one of {', '.join(FORMATS)}, got {args.sheet}")
    if args.as_is and (args.weights or args.steps):
        error("--as-is restores nothing: neither --weights nor --steps goes with it")
    words = [word for word in (args.dark, args.reference, *args.more) if word is not None]
    return evaluate(args, named_sets(words, error), error)


def named_sets(words: Sequence[str], error: Callable[[str], NoReturn]) -> dict[str, tuple[str, ...]]:
    """What is to be measured on, by name: (DARK, REFERENCE), or (LAYOUT, FOLDER) of `lol_v1:LOLdataset`."""
    found: dict[str, tuple[str, ...]] = {}
    left = list(words)
    while left:
        layout, colon, root = left[0].partition(":")
        if colon and layout in LAYOUTS:
            chosen: tuple[str, ...] = (layout, root)
            name, left = layout, left[1:]
        elif len(left) == 1:
            error(f"{left[0]}: expected a REFERENCE after it, or LAYOUT:FOLDER with one of {', '.join(LAYOUTS)}")
        else:
            chosen = (left[0], left[1])
            name, left = left[0], left[2:]
        if name in found:
            error(f"{name}: expected each set once, got it twice")
        found[name] = chosen
    return found


@dataclass(frozen=True)
class Measured:
    """The figures of the pair `index`, plain and brightness-matched."""

    index: int
    name: str
    figures: Figures
    plain: Values
    matched: Values
    seconds: float


def find_pairs(dark: Path, reference: Path) -> Source:
    """The pairs of two files, or of two folders by stem, checked.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: a file and a folder, or the errors of `PairedFolders`; files are named.
    """
    with needing("evaluate", "evaluate"):
        from ..data.datasets.folders import PairedFolders, TwoFiles

    for path in (dark, reference):
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
    if dark.is_dir() != reference.is_dir():
        kinds = ["a folder" if path.is_dir() else "a file" for path in (dark, reference)]
        raise ValueError(f"expected two files or two folders, {dark} is {kinds[0]} and {reference} {kinds[1]}")
    pairs = (PairedFolders if dark.is_dir() else TwoFiles)(dark, reference, cached=False)
    pairs.load()
    return pairs


def find_set(chosen: tuple[str, ...]) -> Source:
    """The pairs of one of `named_sets`, checked; raises what `find_pairs` and `Published` do."""
    if chosen[0] not in LAYOUTS:
        return find_pairs(Path(chosen[0]), Path(chosen[1]))
    with needing("evaluate", "evaluate"):
        from ..data.datasets import Published

    pairs = Published(chosen[0], chosen[1], split="test", cached=False)  # type: ignore[arg-type]
    pairs.load()
    return pairs


def evaluate(args: argparse.Namespace, sets: dict[str, tuple[str, ...]], error: Callable[[str], NoReturn]) -> int:
    """Run the command with arguments that are checked as far as they can be without files; returns the exit code."""
    import torch
    from tqdm import tqdm

    with needing("evaluate", "evaluate"):
        from ..data.pictures import eight_bit
        from ..evaluation.contact_sheet import save_sheet
        from ..evaluation.measure import has_delta_e
        from ..evaluation.perceptual import perceptual_measures

    sources = {name: find_set(chosen) for name, chosen in sets.items()}
    for option, path in (("--csv", args.csv), ("--sheet", args.sheet)):
        if path and any(Path(path).resolve() in pairs.files() for pairs in sources.values()):
            error(f"argument {option}: {path} is one of the pictures that are compared")
    if args.sheet and len(sources) > 1:
        error(f"argument --sheet: expected one set, got {len(sources)}")
    answer, device = as_is, torch.device("cpu")
    if not args.as_is:
        restore = load_restore(args, error)
        device = restore.pipe.device

        def answer(sample: Sample) -> np.ndarray:
            return eight_bit(restore(sample.dark.transpose(1, 2, 0)))

    measures = perceptual_measures(device, lambda line: print(line, file=sys.stderr))
    if not has_delta_e():
        print("note: ΔE is left out: it needs pip install 'lightendiff[evaluate]'", file=sys.stderr)
    everything: dict[str, list[Measured]] = {name: [] for name in sources}
    with _table(args.csv, measures, several=len(sources) > 1) as write:
        for name, pairs in sources.items():
            for index in tqdm(range(len(pairs)), unit="image", desc=name, disable=None, file=sys.stderr, leave=False):
                everything[name].append(measured(index, pairs.pair(index), answer, measures))
                write(name, everything[name][-1])
    rows = [row for each in everything.values() for row in each]
    how = "compared as they are"
    if not args.as_is:
        seconds = statistics.median(row.seconds for row in rows)
        weights = shown(args.weights) if args.weights else "the shipped weights"
        how = f"restored with {weights}, {seconds:.3f} s each (median)"
    several = len(sources) > 1 or next(iter(sets.values()))[0] in LAYOUTS
    print(standard_table(everything, measures, how) if several else summary(rows, measures, how), flush=True)
    if args.sheet:
        (pairs,) = sources.values()
        save_sheet(args.sheet, sheet(rows, pairs, answer, restored=not args.as_is))
    return 0


def as_is(sample: Sample) -> np.ndarray:
    """The dark picture itself, as uint8."""
    from ..data.pictures import eight_bit

    return eight_bit(sample.dark.transpose(1, 2, 0))


def measured(index: int, sample: Sample, answer: Answer, measures: dict[str, Measure]) -> Measured:
    """The figures of one pair. ValueError, which names it, if it is too small for them."""
    from ..data.pictures import eight_bit
    from ..evaluation import measure as ev

    reference = eight_bit(sample.target.transpose(1, 2, 0))
    try:
        [row] = ev.evaluate(answer, [sample])
        matched = ev.at_brightness_of(reference, row.output)
        figures = row.figures, ev.measure(matched, reference)
    except ValueError as error:
        raise ValueError(f"{sample.name}: {error}") from error
    plain, bright = (
        _values(output, reference, f, measures) for output, f in zip((row.output, matched), figures, strict=True)
    )
    return Measured(index, Path(sample.name.split(" → ")[0]).name, row.figures, plain, bright, row.seconds)


def _values(output: np.ndarray, reference: np.ndarray, f: Figures, measures: dict[str, Measure]) -> Values:
    delta_e = None if math.isnan(f.delta_e) else f.delta_e
    perceptual = {name: measure(output, reference) for name, measure in measures.items()}
    return {"psnr": f.psnr, "ssim": f.ssim, "delta_e": delta_e, **perceptual}


@contextmanager
def _table(path: str | None, measures: dict[str, Measure], several: bool) -> Iterator[Callable[[str, Measured], None]]:
    """What writes a line of the table of all pictures, at once, so that an interrupted run leaves those before."""
    if path is None:
        yield lambda name, row: None
        return
    names = ["psnr", "ssim", "delta_e", *measures]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with only_one(Path(path)), open(path, "w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                *(["set"] if several else []),
                "picture",
                *names,
                *(f"{name}_brightness_matched" for name in names),
                "seconds",
            ]
        )

        def write(name: str, row: Measured) -> None:
            cells = [values[name] for values in (row.plain, row.matched) for name in names]
            first = [name, shown(row.name)] if several else [shown(row.name)]
            writer.writerow([*first, *("" if c is None else f"{c:.6g}" for c in cells), f"{row.seconds:.3f}"])
            file.flush()

        yield write


def summary(rows: Sequence[Measured], measures: dict[str, Measure], how: str) -> str:
    """The means over all pictures, as a table, under a line that says what was measured."""
    from ..evaluation.measure import markdown_table

    names = [n for n in ("psnr", "ssim", "delta_e", *measures) if _mean([row.plain[n] for row in rows]) is not None]
    lines = []
    for label in ("plain", "matched"):
        means = [_mean([getattr(row, label)[name] for row in rows]) for name in names]
        cells = ["–" if mean is None else f"{mean:.{DECIMALS[n]}f}" for n, mean in zip(names, means, strict=True)]
        lines.append(["brightness-matched" if label == "matched" else label, *cells])
    table = markdown_table(["", *(NAMES[name] for name in names)], lines)
    return f"{len(rows)} {'pair' if len(rows) == 1 else 'pairs'}, {how}\n\n{table}"


def standard_table(sets: dict[str, list[Measured]], measures: dict[str, Measure], how: str) -> str:
    """A line for each set, with the figures that papers give: plain, and GT-mean, which is brightness-matched."""
    from ..evaluation.measure import markdown_table

    names = [name for name in ("psnr", "ssim", "lpips") if name in ("psnr", "ssim", *measures)]
    lines = []
    for title, rows in sets.items():
        means = [_mean([values[name] for values in chosen]) for chosen in _both(rows) for name in names]
        cells = ["–" if m is None else f"{m:.{DECIMALS[n]}f}" for n, m in zip(names * 2, means, strict=True)]
        lines.append([title, str(len(rows)), *cells])
    head = ["set", "pairs", *(NAMES[name] for name in names), *(f"GT-mean {NAMES[name]}" for name in names)]
    return f"{how}\n\n{markdown_table(head, lines)}"


def _both(rows: Sequence[Measured]) -> tuple[list[Values], list[Values]]:
    return [row.plain for row in rows], [row.matched for row in rows]


def _mean(values: Sequence[float | None]) -> float | None:
    """None where any is missing: a mean over other pictures than its neighbour's would be misread."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def sheet(rows: Sequence[Measured], pairs: Source, answer: Answer, restored: bool) -> np.ndarray:
    """The best, the median and the worst by PSNR: dark, restored (once more, which gives the same) and reference."""
    from ..data.pictures import eight_bit
    from ..evaluation.contact_sheet import Tile, contact_sheet
    from ..evaluation.measure import best_median_worst

    lines = []
    for rank, row in best_median_worst(rows):
        sample, f, title = pairs.pair(row.index), row.figures, f"{rank}: {row.name}"
        label = f"{f.psnr:.2f} dB, SSIM {f.ssim:.3f}, matched {f.matched_psnr:.2f} dB"
        dark, target = as_is(sample), Tile(eight_bit(sample.target.transpose(1, 2, 0)))
        if restored:
            lines.append([Tile(dark, title), Tile(answer(sample), label), target])
        else:
            lines.append([Tile(dark, f"{title}, {label}"), target])
    headings = ("dark", "restored", "reference") if restored else ("compared", "reference")
    return contact_sheet(lines, headings=headings, size=(480, 480))
