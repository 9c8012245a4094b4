"""Finding the pictures in files and folders, and naming what is written.

Everything that can be known beforehand (a picture that would be overwritten, two that would be written to one name) is
settled here, before anything is written.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..files import storage
from ..files.locations import Location, RemotePath, located, why
from ..images import READABLE, shown
from ..images.formats import BY_SUFFIX, FORMATS, written_as
from .conflicts import conflicts
from .jobs import Job, Listed, Part

__all__ = ["Job", "Plan", "output_name", "plan"]

VIDEOS = (
    ".mp4",
    ".m4v",
    ".mov",
    ".mkv",
    ".webm",
    ".ts",
    ".mts",
    ".m2ts",
    ".avi",
    ".mpg",
    ".mpeg",
    ".wmv",
    ".flv",
    ".3gp",
)


@dataclass
class Plan:
    """What there is to do: jobs in order, sources left alone because their target exists, and a line per problem.

    A picture takes the memory of its name only.

    left_out: how many there are in the folders of what isn't restored: "folders", "videos" and "other files".
    """

    jobs: Listed[Job] = field(default_factory=Listed)
    skipped: Listed[Location] = field(default_factory=lambda: Listed(make=Part.source))
    problems: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def plan(
    inputs: Sequence[str | os.PathLike[str] | RemotePath],
    output: str | os.PathLike[str] | RemotePath,
    *,
    recursive: bool = False,
    format: str | None = None,
    suffix: str = "",
    skip_existing: bool = False,
    share: tuple[int, int] = (0, 1),
    named: str | None = None,
) -> Plan:
    """Find the pictures in files and folders and name their outputs in the folder `output`. Nothing is written.

    All of them may be on this machine or at addresses, as in `locations`. A folder's pictures keep their place below
    it. Those whose output would replace an input, would lie outside the output folder, or would have the same name as
    another's become problems instead of jobs.

    With `named`, the output of the one picture has this name, whatever its own is.

    With `share` (r, n), process r of n that plan the same run gets every n-th picture and problem, and the first one
    all that is left out. Which they are
    depends on the pictures found only, not on what the others have already written.

    Raises:
        ImportError, ValueError: as `locations.located`, of the output.
        OSError: whether outputs exist can't be known.
    """
    out, result, parts = located(output), Plan(), list[Part]()

    def problem(name: object, reason: str) -> None:
        result.problems.append(f"{shown(name)}: {reason}")

    def left_out(name: str) -> None:
        result.left_out["folders" if name.endswith("/") else _kind(name)] += 1

    def renamed(name: str) -> str:
        return named or _renamed(name, format, suffix)

    for each in inputs:
        try:
            given = located(each)
            if storage.kind(given) == "file":
                parts.append(Part(given.parent, out, [given.name], renamed))
                continue
            found, ours = False, bool(suffix) and storage.identity(out) == storage.identity(given)
            for folder, below, names in storage.walk(given, recursive, READABLE, out, problem, left_out):
                names = _unfinished(names, suffix) if ours else names
                found = found or bool(names)
                parts.append(Part(folder, out / below, names, renamed))
            if not found:
                hint = "" if recursive else " (folders inside it are entered with --recursive)"
                problem(given, f"no pictures in this folder{hint}")
        except (OSError, ValueError, ImportError) as error:
            problem(each, why(error))
    rank, processes = share
    refused, again = conflicts(parts, out)
    result.problems = result.problems[rank::processes]
    if rank:
        result.left_out.clear()
    todo, skipped, count = list[Part](), list[Part](), 0
    for number, part in enumerate(parts):
        mine: list[str] = []
        for index, name in enumerate(part.names):
            if (number, index) in again:
                continue
            if count % processes == rank:
                if (number, index) in refused:
                    result.problems.append(refused[number, index])
                else:
                    mine.append(name)
            count += 1
        done = storage.present_in(part.target, [renamed(name) for name in mine]) if skip_existing and mine else set()
        todo.append(replace(part, names=[name for name in mine if renamed(name) not in done] if done else mine))
        skipped.append(replace(part, names=[name for name in mine if renamed(name) in done] if done else []))
    result.jobs, result.skipped = Listed(todo), Listed(skipped, Part.source)
    return result


def _kind(name: str) -> str:
    return "videos" if os.path.splitext(name)[1].lower() in VIDEOS else "other files"


def output_name(name: Path, format: str | None, suffix: str) -> Path:
    """The output for an input called `name`: the suffix before the extension, and an extension that fits the format."""
    return name.with_name(_renamed(name.name, format, suffix))


def _renamed(name: str, format: str | None, suffix: str) -> str:
    stem, extension = os.path.splitext(name)
    row = BY_SUFFIX.get(extension.lower())
    if format is not None and FORMATS.get(extension.lower()) != FORMATS[f".{format}"]:
        extension = f".{format}"
    elif row is not None and not row.written:
        extension = written_as(row.name).suffixes[0]
    return stem + suffix + extension


def _unfinished(names: list[str], suffix: str) -> list[str]:
    """Without an earlier run's results, which lie among the inputs when the output folder is the input folder."""
    stems = {os.path.splitext(name)[0] for name in names}
    results = (stem for stem in stems if stem.endswith(suffix) and stem[: -len(suffix)] in stems)
    gone = set(results)
    return [name for name in names if os.path.splitext(name)[0] not in gone]
