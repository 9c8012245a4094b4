"""Files that are each replaced whole or not at all, whenever the program or the machine stops."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from .locks import only_one


def replace_files(contents: Mapping[Path, bytes | memoryview]) -> None:
    """Write every file beside the old one and wait for the disk; then rename them into place, in the order given.

    Of two that write the same file at a time the second is refused. What a killed one leaves is a hidden `.NAME.tmp`,
    which the next write takes over.

    Args:
        contents: by path; the folders exist.

    Raises:
        BlockingIOError: another one is writing one of these files; all are as they were.
        OSError: a file can't be written, because the disk is full for example; the message names it, and those of
            before are as they were. Or, when all are written, one can't be renamed; then those that come earlier in the
            order are already the new ones, as they are when the program stops between two renames.
    """
    with ExitStack() as stack:
        for path in sorted(contents):
            stack.enter_context(only_one(path))
        _replace(contents)


def _replace(contents: Mapping[Path, bytes | memoryview]) -> None:
    temporary = {path: path.with_name(f".{path.name}.tmp") for path in contents}
    try:
        for path, content in contents.items():
            _write(temporary[path], content, path)
        for path, written in temporary.items():
            os.replace(written, path)
    finally:
        for written in temporary.values():
            with suppress(OSError):
                written.unlink()
    for folder in {path.parent for path in contents}:
        _sync_folder(folder)


def _write(path: Path, content: bytes | memoryview, target: Path) -> None:
    try:
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # or the new name could outlive a power cut, and the content not
    except OSError as error:
        said = f"{error.strerror or error}; what was saved before is unchanged"
        raise OSError(error.errno, said, str(target)) from error


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # not every system opens folders
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
