"""Measure picture quality: python benchmarks/quality.py --data data [--weights FOLDER] (see --help).

Sets: `lol_val`, the validation pairs of LOL v1, scenes never trained on; `brackets_val`, the dark frames of the bracket
scenes that configs/default_stage1.yaml keeps out of training, against their fused references; `lol_kept`, the training
pairs that it keeps out, whose scenes are seen; `well_lit`, the references of the first two against themselves.
PSNR and SSIM are plain, over RGB in 8 bits; the brightness-matched PSNR is another quantity and has its own column.
With --wild, the pictures of a folder and the brightest frame of each of those bracket scenes show what becomes of
whites and shadows. Pictures that another program has restored are measured in the same way with --outputs.

How hard a set is: --tone-curves gives every picture the tone curves that suit its reference best, which no program
can know; `brackets_train`, measured only when named, is the other scenes; --csv lists each picture's figures.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
import report
import torch
import yaml
from tqdm import tqdm

from lightendiff import LightenPipeline
from lightendiff.data import datasets as ds
from lightendiff.data.pictures import Sample, eight_bit, list_pictures, read_pictures
from lightendiff.evaluation import measure as ev
from lightendiff.evaluation.contact_sheet import Tile, contact_sheet, save_sheet

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "default_stage1.yaml"
SETS = ("lol_val", "brackets_val", "lol_kept", "well_lit")
ALL_SETS = (*SETS, "brackets_train")
WILD_ROWS, WILD_SIZE = 4, (640, 640)  # so many pictures of that size on a sheet


# -------------------------------------------------------------------------------------------------- what is measured on


@dataclass(frozen=True)
class KeptOut:
    """What no training run sees, as the configuration names it."""

    pictures: list[str]  # stems in lol_v1/train
    scenes: list[str]
    dark_mean: tuple[float, float]


def read_kept_out(config: Path = CONFIG) -> KeptOut:
    data = yaml.safe_load(config.read_text(encoding="utf-8"))["data"]
    pairs = [s for s in data["train"] if s["class_path"].endswith("PairedFolders") and "exclude" in s["init_args"]]
    if len(pairs) != 1:
        raise ValueError(f"{config}: expected one training set of PairedFolders with exclude, got {len(pairs)}")
    brackets = data["val"]["brackets_val"]["init_args"]
    low, high = brackets["dark_mean"]
    return KeptOut([str(stem) for stem in pairs[0]["init_args"]["exclude"]], brackets["scenes"], (low, high))


def make_source(name: str, args: argparse.Namespace, kept: KeptOut) -> ds.Source:
    lol, brackets = args.data / "lol_v1", args.data / "brackets"
    match name:
        case "lol_val":
            return ds.PairedFolders(lol / "val" / "low", lol / "val" / "high")
        case "brackets_val":
            return ds.Brackets(brackets, scenes=kept.scenes, dark_mean=kept.dark_mean)
        case "brackets_train":
            return ds.Brackets(brackets, exclude=kept.scenes, dark_mean=kept.dark_mean)
        case "lol_kept":
            stems = [path.stem for path in list_pictures(lol / "train" / "low")]
            if missing := sorted(set(kept.pictures) - set(stems)):
                raise ValueError(f"{lol / 'train'} lacks what {CONFIG.name} keeps out: {', '.join(missing)}")
            others = [stem for stem in stems if stem not in kept.pictures]
            return ds.PairedFolders(lol / "train" / "low", lol / "train" / "high", exclude=others)
        case "well_lit":
            references = [str(path) for scene in kept.scenes for path in (brackets / scene).glob("reference.*")]
            return ds.WellLit([str(lol / "val" / "high"), *references])
        case "wild":
            return ds.WellLit([str(args.wild)])
        case "brackets_bright":
            return ds.WellLit([str(brightest_frame(brackets / scene)) for scene in kept.scenes])
    raise ValueError(f"name: expected a set, got {name!r}")


def brightest_frame(scene: Path) -> Path:
    frames = read_pictures([path for path in list_pictures(scene) if path.stem != "reference"], cached=False)
    return max(frames, key=lambda frame: frame.mean).path


def key(sample: Sample) -> str:
    """What a sample's output is called: its stem, in a folder for each scene of the brackets."""
    path = Path(sample.name.split(" → ")[0])
    return f"{path.parent.name}/{path.stem}" if path.parent.parent.name == "brackets" else path.stem


# ----------------------------------------------------------------------------------------------------- what is measured


def restoring(pipe: LightenPipeline, steps: int | None, seed: int = 0) -> ev.Answer:
    def answer(sample: Sample) -> np.ndarray:
        return pipe(sample.dark.transpose(1, 2, 0), num_inference_steps=steps, seed=seed)

    return answer


def reading(folder: Path, name: str) -> ev.Answer:
    """Pictures that another program has restored, by set (or in the folder itself) and `key`, in any format."""

    def answer(sample: Sample) -> np.ndarray:
        path = (folder / name if (folder / name).is_dir() else folder) / key(sample)
        found = [p for p in list_pictures(path.parent) if p.stem == path.name]
        if len(found) != 1:
            raise ValueError(f"{path.parent}: expected one picture {path.name}.*, found {len(found)}")
        return read_pictures(found, cached=False)[0].pixels

    return answer


def with_tone_curves(sample: Sample) -> np.ndarray:
    """Each channel through the curve that comes nearest to the reference: a code value's mean over all its pixels."""
    output = np.empty_like(sample.target)
    for channel, (dark, target) in enumerate(zip(sample.dark, sample.target, strict=True)):
        pixels = np.bincount(dark.ravel(), minlength=256)
        sums = np.bincount(dark.ravel(), target.ravel(), minlength=256)
        output[channel] = np.rint(sums / pixels.clip(min=1))[dark]
    return output.transpose(1, 2, 0)


def evaluate_sets(args: argparse.Namespace, pipe: LightenPipeline | None, kept: KeptOut) -> Iterator[list[str]]:
    """A line of the table for every set and number of steps; sheets as they come."""
    for name in args.sets:
        source = make_source(name, args, kept)
        source.load()
        for steps in args.steps:
            if pipe is None:
                shown, answers = "–", [reading(args.outputs, name) if args.outputs else with_tone_curves]
            else:
                shown = str(steps or pipe.restorer.config.num_inference_steps)
                answers = [restoring(pipe, steps, seed) for seed in range(args.seeds)]
            runs = [ev.evaluate(answer, progress(source, f"{name}, {shown} steps")) for answer in answers]
            if args.sheet:
                save_extremes(args.sheet / (f"{name}.jpg" if len(args.steps) == 1 else f"{name}_{shown}.jpg"), runs[0])
            if args.csv:
                list_figures(args.csv, name, shown, runs)
            yield figures_line(name, shown, runs, timed=pipe is not None)


def evaluate_wild(args: argparse.Namespace, pipe: LightenPipeline | None, kept: KeptOut) -> Iterator[list[str]]:
    """A line of the table for every picture and one for each set; sheets as they come."""
    for name in ("wild", "brackets_bright") if "brackets_val" in args.sets else ("wild",):
        source = make_source(name, args, kept)
        source.load()
        answer = reading(args.outputs, name) if pipe is None else restoring(pipe, args.steps[0])
        found: list[tuple[str, report.WildFigures]] = []
        tiles: list[list[Tile]] = []
        for sample in progress(source, name):
            dark, output = (eight_bit(image) for image in (sample.dark.transpose(1, 2, 0), answer(sample)))
            f = report.measure_wild(dark, output)
            found.append((key(sample), f))
            label = f"darkest third {f.shadows:.1f} to {f.lifted:.1f}; {f.greyed} of {f.whites} whites below 225"
            tiles.append([Tile(dark, key(sample)), Tile(output, label)])
        if args.sheet:
            save_pages(args.sheet, name, tiles)
        yield from wild_lines(name, found)


def progress(source: ds.Source, label: str) -> Iterator[Sample]:
    yield from tqdm(source.pairs(), label, total=len(source), unit="image", disable=None, leave=False)


# -------------------------------------------------------------------------------------------------------- what is shown


def figures_line(label: str, steps: str, runs: Sequence[Sequence[ev.Row]], timed: bool) -> list[str]:
    f = report.mean_figures([row for run in runs for row in run])
    line = [label, steps, str(len(runs[0])), f"{f.psnr:.2f}", f"{f.ssim:.3f}", f"{f.matched_psnr:.2f}"]
    line += [f"{f.delta_e:.2f}", f"{report.seconds_per_picture(runs[0]):.3f}" if timed else "–"]
    if len(runs) > 1:
        line.append("{:.3f} / {:.3f}".format(*report.psnr_spread(runs)))
        line.append(f"{100 * report.brightness_coverage(runs):.0f} %")
    return line


def wild_lines(name: str, found: Sequence[tuple[str, report.WildFigures]]) -> Iterator[list[str]]:
    count = len(found)
    whole = report.WildFigures(
        whites=sum(f.whites for _, f in found),
        greyed=sum(f.greyed for _, f in found),
        shadows=sum(f.shadows for _, f in found) / count,
        lifted=sum(f.lifted for _, f in found) / count,
    )
    for label, f in [*found, (f"**{name}: all {count}**", whole)]:
        share = f"{100 * f.greyed_share:.2f} %" if f.whites else "–"
        yield [label, str(f.whites), share, f"{f.shadows:.1f}", f"{f.lifted:.1f}", f"{f.lift:.2f}"]


def save_extremes(path: Path, rows: Sequence[ev.Row]) -> None:
    """A sheet of the best, the median and the worst picture by PSNR."""
    lines = []
    for rank, row in ev.best_median_worst(rows):
        f, dark, target = row.figures, row.sample.dark.transpose(1, 2, 0), row.sample.target.transpose(1, 2, 0)
        result = f"{f.psnr:.2f} dB, SSIM {f.ssim:.3f}, matched {f.matched_psnr:.2f} dB, dE {f.delta_e:.1f}"
        start = f"{rank}: {key(row.sample)}, {ev.measure(dark, target).psnr:.2f} dB"
        lines.append([Tile(dark, start), Tile(row.output, result), Tile(target)])
    save_sheet(path, contact_sheet(lines, headings=("dark", "restored", "reference"), size=(480, 480)))


def list_figures(path: Path, name: str, steps: str, runs: Sequence[Sequence[ev.Row]]) -> None:
    """Add a line for each picture and seed to a CSV file."""
    with path.open("a", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        for seed, rows in enumerate(runs):
            for row in rows:
                figures = (f"{value:.3f}" for value in astuple(row.figures))
                lines.writerow([name, steps, seed, key(row.sample), *figures])


def save_pages(folder: Path, name: str, rows: Sequence[Sequence[Tile]]) -> None:
    for page, first in enumerate(range(0, len(rows), WILD_ROWS), start=1):
        sheet = contact_sheet(rows[first : first + WILD_ROWS], headings=("dark", "restored"), size=WILD_SIZE)
        save_sheet(folder / f"{name}_{page}.jpg", sheet)


def describe(args: argparse.Namespace, pipe: LightenPipeline | None) -> str:
    if pipe is None:
        return f"Outputs in {args.outputs}." if args.outputs else "The best tone curves, from the references."
    parameters = sum(p.numel() for p in pipe.restorer.parameters()) / 1e6
    device, dtype = next(pipe.restorer.parameters()).device, pipe.restorer.autocast_dtype or torch.float32
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    what = f"{args.weights or 'The weights of the package'}: {parameters:.2f} M parameters"
    return f"{what}, on {name} in {str(dtype).removeprefix('torch.')}; {report.describe_machine()}."


# ---------------------------------------------------------------------------------------------------------- the command


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder with lol_v1 and brackets")
    parser.add_argument("--sets", nargs="*", choices=ALL_SETS, default=SETS, help="default: the first four")
    parser.add_argument("--wild", type=Path, metavar="FOLDER", help="measure these pictures, which have no references")
    parser.add_argument("--sheet", type=Path, metavar="DIR", help="write contact sheets: best, median, worst; all wild")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--weights", metavar="PATH", help="default: the weights of the package")
    outputs = "another program's outputs, by stem: DIR/lol_val/12.png, DIR/brackets_val/scene040/1_mean023.png, …"
    what.add_argument("--outputs", type=Path, metavar="DIR", help=outputs)
    what.add_argument("--tone-curves", action="store_true", help="the tone curves that suit the references best")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a CSV file with every picture's figures")
    parser.add_argument("--steps", type=int, nargs="+", default=[None], help="a row each (default: the weights' own)")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="average over seeds 0 to N - 1")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    made = args.outputs or args.tone_curves
    if args.seeds < 1 or (made and (args.seeds > 1 or args.steps != [None])):
        parser.error("--seeds must be at least 1, and neither --seeds nor --steps goes with --outputs or --tone-curves")
    if args.tone_curves and args.wild:
        parser.error("--tone-curves needs references, which --wild has not")
    head = ["set", "steps", "pictures", "PSNR", "SSIM", "PSNR, brightness-matched", "ΔE00 of 8×8 blocks", "s/image"]
    if args.seeds > 1:
        head.append("σ of PSNR over seeds: set / picture")
        head.append("references within the seeds' range of brightness")
    wild_head = ["picture", "pixels ≥ 240", "of these now < 225", "mean of the darkest third", "restored", "ratio"]
    try:
        kept = read_kept_out()
        pipe = None if made else LightenPipeline.from_pretrained(args.weights)
        print(describe(args, pipe))
        if args.csv:
            with args.csv.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow(["set", "steps", "seed", "picture", *(f.name for f in fields(ev.Figures))])
        if args.sets:
            print("\n" + ev.markdown_table(head, evaluate_sets(args, pipe, kept)))
        if args.wild:
            print("\n" + ev.markdown_table(wild_head, evaluate_wild(args, pipe, kept)))
    except (OSError, ValueError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
