"""Finding the pictures in files and folders, and naming what is written.

Everything that can be known beforehand (a picture that would be overwritten, two that would be written to one name) is
settled here, before anything is written.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..files import storage
from ..files.locations import Location, RemotePath, located, why
from ..images import READABLE, shown
from ..images.formats import BY_SUFFIX, FORMATS, written_as

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


@dataclass(frozen=True)
class Job:
    """A picture to read, and the file to write it to."""

    source: Location
    target: Location


@dataclass
class Plan:
    """What there is to do: jobs in order, sources left alone because their target exists, and a line per problem.

    left_out: how many there are in the folders of what isn't restored: "folders", "videos" and "other files".
    """

    jobs: list[Job] = field(default_factory=list)
    skipped: list[Location] = field(default_factory=list)
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
    out, result = located(output), Plan()
    jobs: dict[tuple[Hashable, Location], Job] = {}  # in order, and each only once, whatever it was called

    def problem(name: object, reason: str) -> None:
        result.problems.append(f"{shown(name)}: {reason}")

    def left_out(name: str) -> None:
        result.left_out["folders" if name.endswith("/") else _kind(name)] += 1

    for each in inputs:
        try:
            given = located(each)
            if storage.kind(given) == "file":
                found = [(given, Path(given.name))]
            else:
                walked = storage.walk(given, recursive, READABLE, out, problem, left_out)
                found = _unfinished(walked, given, out, suffix)
                if not found:
                    hint = "" if recursive else " (folders inside it are entered with --recursive)"
                    problem(given, f"no pictures in this folder{hint}")
        except (OSError, ValueError, ImportError) as error:
            problem(each, why(error))
            continue
        for source, name in found:
            job = Job(source, out / (named or output_name(name, format, suffix)))
            jobs.setdefault((storage.identity(source), job.target), job)
    rank, processes = share
    refused = _conflicts(list(jobs.values()), out)
    mine = list(jobs.values())[rank::processes]
    done = storage.present([job.target for job in mine if job not in refused]) if skip_existing else set()
    result.problems = result.problems[rank::processes]
    if rank:
        result.left_out.clear()
    for job in mine:
        if job in refused:
            result.problems.append(refused[job])
        elif job.target in done:
            result.skipped.append(job.source)
        else:
            result.jobs.append(job)
    return result


def _kind(name: str) -> str:
    return "videos" if os.path.splitext(name)[1].lower() in VIDEOS else "other files"


def output_name(name: Path, format: str | None, suffix: str) -> Path:
    """The output for an input called `name`: the suffix before the extension, and an extension that fits the format."""
    extension = name.suffix
    row = BY_SUFFIX.get(extension.lower())
    if format is not None and FORMATS.get(extension.lower()) != FORMATS[f".{format}"]:
        extension = f".{format}"
    elif row is not None and not row.written:
        extension = written_as(row.name).suffixes[0]
    return name.with_name(name.stem + suffix + extension)


def _unfinished(
    found: list[tuple[Location, Path]], root: Location, out: Location, suffix: str
) -> list[tuple[Location, Path]]:
    """Without an earlier run's results, which lie among the inputs when the output folder is the input folder."""
    if not suffix or storage.identity(out) != storage.identity(root):
        return found
    originals = {name.with_suffix("") for _, name in found}
    return [
        (source, name)
        for source, name in found
        if not (name.stem.endswith(suffix) and name.parent / name.stem[: -len(suffix)] in originals)
    ]


def _conflicts(jobs: Sequence[Job], out: Location) -> dict[Job, str]:
    identities = {job: storage.identity(job.source) for job in jobs}
    sources = set(identities.values()) - {None}
    fold = str.casefold if storage.ignores_case(out) else str
    targets: dict[str, list[Job]] = {}
    refused = {}
    # A link inside the output folder may lead out of it.
    inside = {folder: storage.lies_inside(folder, out) for folder in {job.target.parent for job in jobs}}
    for job in jobs:
        targets.setdefault(fold(str(job.target)), []).append(job)
        if storage.identity(job.target) in sources:
            refused[job] = f"{shown(job.source)}: the output {shown(job.target)} would overwrite an input"
        elif not inside[job.target.parent]:
            refused[job] = f"{shown(job.source)}: the output {shown(job.target)} would lie outside {shown(out)}"
    for group in targets.values():
        if len({identities[job] for job in group}) > 1:
            for job in group:
                other = next(o.source for o in group if o.source != job.source)
                refused[job] = f"{shown(job.source)}: {shown(other)} would also be written to {shown(job.target)}"
    return refused
