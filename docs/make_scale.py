"""Write the table of docs/scale.md from the measured speed in benchmarks/RESULTS.md.

python docs/make_scale.py            writes the table
python docs/make_scale.py --check    exit code 1 if it isn't what would be written
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).with_name("scale.md")
RESULTS = Path(__file__).parents[1] / "benchmarks" / "RESULTS.md"
TABLE = re.compile(r"(<!-- make_scale -->\n).*?(<!-- end -->)", re.DOTALL)
HOURS_A_YEAR, DAYS = 365.25 * 24, 30


@dataclass(frozen=True)
class Measured:
    """A row of the benchmark: from file to file, one picture after another on one machine."""

    size: str
    device: str
    seconds: float  # per picture


def measured(text: str) -> Iterator[Measured]:
    """The rows for preset `default` of the first table in RESULTS.md that has the column s/image and the size."""
    columns: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if {"preset", "size", "device", "s/image"} <= set(cells):
            columns = cells
        elif columns and not line.startswith("|"):
            return
        elif columns and not set(line) <= set("|- "):
            row = dict(zip(columns, cells, strict=True))
            if row["preset"] == "default":
                yield Measured(row["size"], row["device"], float(row["s/image"]))


def machine_hours(pictures: float, seconds: float) -> float:
    return pictures * seconds / 3600


def table(rows: Sequence[Measured]) -> str:
    head = [
        "picture",
        "device",
        "s/picture",
        "10⁶: machine-hours",
        "10⁹: machine-years",
        f"10⁹ in {DAYS} days: machines",
    ]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        hours = machine_hours(1e9, row.seconds)
        figures = [
            f"{machine_hours(1e6, row.seconds):,.0f}",
            f"{hours / HOURS_A_YEAR:,.1f}",
            f"{hours / DAYS / 24:,.0f}",
        ]
        lines.append([row.size.replace("x", "×"), row.device, f"{row.seconds:g}", *figures])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def render(page: str, results: str) -> str:
    """The page with the table as `results` has it."""
    rows = list(measured(results))
    if not rows:
        raise ValueError(f"{RESULTS}: no table of s/image for preset default")
    text, count = TABLE.subn(lambda match: f"{match[1]}{table(rows)}\n{match[2]}", page)
    if count != 1:
        raise ValueError(f"{PAGE}: expected one place for the table, got {count}")
    return text


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the table of docs/scale.md from benchmarks/RESULTS.md.")
    parser.add_argument("--check", action="store_true", help="only say whether the table is up to date")
    args = parser.parse_args(argv)
    page = PAGE.read_text(encoding="utf-8")
    text = render(page, RESULTS.read_text(encoding="utf-8"))
    if not args.check:
        PAGE.write_text(text, encoding="utf-8")
    elif text != page:
        print(f"{PAGE} is not up to date: run python docs/make_scale.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
