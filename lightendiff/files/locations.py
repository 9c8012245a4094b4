"""Where files are: paths of this machine, and addresses such as `s3://bucket/photos`, on whatever fsspec knows.

Both have the few names of pathlib that are needed here (`name`, `stem`, `suffix`, `parent`, `with_name`, `/`,
`read_bytes`, `str`); what else differs between them is in `storage`. fsspec is imported for addresses only.

An address is known by its name: that two of them lead to one place can't be seen, other than for links and other
spellings of local paths.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, TypeAlias

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::[^/]*)*://")  # at least two letters: C:// is a drive
_LOCAL = re.compile(r"(file|local)://")


@dataclass(frozen=True)
class RemotePath:
    """A file or folder on one of fsspec's file systems.

    Attributes:
        fs: the file system.
        path: as that names it, without protocol and without a slash at the end.
    """

    fs: Any
    path: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def stem(self) -> str:
        return PurePath(self.name).stem

    @property
    def suffix(self) -> str:
        return PurePath(self.name).suffix

    @property
    def parent(self) -> RemotePath:
        return RemotePath(self.fs, self.path.rpartition("/")[0])

    def with_name(self, name: str) -> RemotePath:
        return self.parent / name

    def __truediv__(self, name: str | PurePath) -> RemotePath:
        below = name.as_posix() if isinstance(name, PurePath) else name
        if below == ".":
            return self
        return RemotePath(self.fs, f"{self.path.rstrip('/')}/{below}" if self.path else below)

    def read_bytes(self) -> bytes:
        with one_kind_of_error():
            content: bytes = self.fs.cat_file(self.path)
            return content

    def size(self) -> int:
        """Bytes, or 0 where the store doesn't say."""
        with one_kind_of_error():
            return self.fs.info(self.path).get("size") or 0

    def __str__(self) -> str:
        address: str = self.fs.unstrip_protocol(self.path)
        return address


Location: TypeAlias = Path | RemotePath


def is_address(given: object) -> bool:
    """Whether it's text such as `s3://bucket/photos`; `file://` is one, too."""
    return isinstance(given, str) and _ADDRESS.match(given) is not None


def located(given: str | os.PathLike[str] | RemotePath) -> Location:
    """The location that a user's text, or a path, names. What follows `file://` is a path of this machine.

    Raises:
        ImportError: fsspec, or what it needs for this protocol, isn't installed.
        ValueError: an unknown protocol, several protocols chained by `::`, or `.` or `..` in an address.
        OSError: a server can't be reached.
    """
    if isinstance(given, RemotePath):
        return given
    if not isinstance(given, str) or not _ADDRESS.match(given):
        return Path(given)
    if here := _LOCAL.match(given):
        return Path(given[here.end() :])
    if "::" in given:  # the same file could be read under one name and replaced under another
        raise ValueError("expected an address with one protocol, without ::")
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise ImportError("addresses need fsspec: pip install 'lightendiff[remote]'") from error
    with one_kind_of_error():
        fs, path = url_to_fs(given)
    fs.invalidate_cache()  # what it may have listed before
    if {".", ".."} & set(path.split("/")):
        raise ValueError("expected an address without . or .. between slashes")
    return RemotePath(fs, path)


def shown(text: object) -> str:
    """A path, an address or a message as one printable line, whatever characters or undecodable bytes are in it."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))


def why(error: Exception) -> str:
    """What went wrong with a file, as one line for the user."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (said or type(error).__name__).splitlines()[0]


@contextlib.contextmanager
def one_kind_of_error() -> Iterator[None]:
    """Whatever a remote file system raises beside ValueError and ImportError, as an OSError."""
    try:
        yield
    except FileNotFoundError as error:  # which has the name for a text
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from error
    except (OSError, ValueError, ImportError):
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {why(error)}") from error
