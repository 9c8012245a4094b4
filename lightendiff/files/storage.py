"""What is done with files, wherever they are: seeing what is there, walking folders, writing whole files.

Each function takes a `Location`, which is a path of this machine or an address.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from .locations import Location, RemotePath, one_kind_of_error, why

Failed = Callable[[str, str], object]  # name, reason
LeftOut = Callable[[str], object]  # name
FEW = 100  # files, from which a folder is listed rather than each of them asked for


def kind(location: Location) -> Literal["file", "folder"]:
    """What is there. OSError if that is neither or can't be known."""
    if isinstance(location, RemotePath):
        with one_kind_of_error():
            return "folder" if location.fs.info(location.path)["type"] == "directory" else "file"
    if os.path.isdir(location):
        return "folder"
    if os.path.isfile(location):
        return "file"
    if os.path.lexists(location):
        raise OSError(errno.EINVAL, "not a file or folder")
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def identity(location: Location) -> Hashable:
    """The same for every name of a file that exists: other spellings, links, other cases where the file system ignores
    case. None for a path where nothing is; an address is its own."""
    if isinstance(location, RemotePath):
        return location
    with contextlib.suppress(OSError):
        status = location.stat()
        return status.st_dev, status.st_ino
    return None


def walk(
    root: Location,
    recursive: bool,
    extensions: Sequence[str],
    leave_out: Location,
    failed: Failed,
    left_out: LeftOut = lambda name: None,
) -> Iterator[tuple[Location, Path, list[str]]]:
    """The files below a folder that have one of these extensions: a folder, its place from there, and sorted names.

    Hidden files and folders, and the folder `leave_out`, are left out; links are followed once. failed(name, reason)
    is called for every folder that can't be listed; left_out(name) for all that isn't hidden and is passed over: files
    with other extensions, pipes and dead links, and folders, whose names end in a slash, where they aren't entered.
    """
    folders: Iterator[tuple[Location, Path, list[str]]] = (
        _walk_remote(root, recursive, leave_out, failed, left_out)
        if isinstance(root, RemotePath)
        else _walk_local(root, recursive, leave_out, failed, left_out)
    )
    for folder, below, names in folders:
        found = []
        for name in sorted(name for name in names if name[0] != "."):
            if os.path.splitext(name)[1].lower() in extensions:
                found.append(name)
            else:
                left_out(name)
        if found:
            yield folder, below, found


def _walk_local(
    root: Path, recursive: bool, leave_out: Location, failed: Failed, left_out: LeftOut
) -> Iterator[tuple[Path, Path, list[str]]]:
    entered = {None, identity(root), identity(leave_out)}
    waiting = [(root, Path())]
    while waiting:
        folder, below = waiting.pop()
        names, folders = list[str](), list[str]()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    kind = _kind_of(entry)
                    if kind is not None:
                        (folders if kind else names).append(entry.name)
                    elif entry.name[0] != ".":
                        left_out(entry.name)
        except OSError as error:
            failed(str(folder), why(error))
            continue
        yield folder, below, names
        new = []
        for name in sorted(name for name in folders if name[0] != "."):
            known = identity(folder / name)
            if known not in entered:
                entered.add(known)
                new.append(name)
        if recursive:
            waiting += [(folder / name, below / name) for name in reversed(new)]
        else:
            for name in new:
                left_out(f"{name}/")


def _kind_of(entry: os.DirEntry[str]) -> bool | None:
    """Whether it's a folder, else a file, or a link to one; None for neither. Only links are looked behind."""
    with contextlib.suppress(OSError):
        return True if entry.is_dir() else False if entry.is_file() else None
    return None


def _walk_remote(
    root: RemotePath, recursive: bool, leave_out: Location, failed: Failed, left_out: LeftOut
) -> Iterator[tuple[RemotePath, Path, list[str]]]:
    depth = {} if recursive else {"maxdepth": 1}
    with one_kind_of_error():
        for name, folders, files in root.fs.walk(root.path, on_error=lambda e: failed(str(root), why(e)), **depth):
            folder = RemotePath(root.fs, name.rstrip("/"))
            folders[:] = sorted(name for name in folders if name[:1] != "." and folder / name != leave_out)
            if not recursive:
                for each in folders:
                    left_out(f"{each}/")
            yield folder, Path(name[len(root.path) :].strip("/")), [name for name in files if name]


def present(locations: Collection[Location]) -> set[Location]:
    """Those that exist, but for empty files, which a power cut may leave."""
    folders: dict[Location, list[str]] = {}
    for each in locations:
        folders.setdefault(each.parent, []).append(each.name)
    return {folder / name for folder, names in folders.items() for name in present_in(folder, names)}


def present_in(folder: Location, names: Collection[str]) -> set[str]:
    """Those that exist in a folder, but for empty files. It is listed, so that none is asked for in vain."""
    if isinstance(folder, RemotePath):
        with contextlib.suppress(FileNotFoundError), one_kind_of_error():
            entries = folder.fs.ls(folder.path, detail=True)
            there = {
                e["name"].rstrip("/").rpartition("/")[2] for e in entries if e["type"] != "file" or e.get("size") != 0
            }
            return there.intersection(names)
        return set()
    if len(names) >= FEW and not ignores_case(folder):
        names = names_in(folder).intersection(names)
    return {name for name in names if _is_there(folder / name)}


def names_in(folder: Path) -> set[str]:
    """The names of all that is in a folder of this machine; none where there is no such folder."""
    with contextlib.suppress(OSError, ValueError):
        return set(os.listdir(folder))
    return set()


def _is_there(path: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        status = path.stat()
        return status.st_size > 0 or not stat.S_ISREG(status.st_mode)
    return False


def lies_inside(folder: Location, root: Location) -> bool:
    """Whether a folder lies in another one, links within that included."""
    if isinstance(root, RemotePath) or isinstance(folder, RemotePath):
        return ".." not in str(folder).split("/")
    return Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root))


def ignores_case(folder: Location) -> bool:
    """Whether the file system of a folder, which need not exist yet, takes "a" and "A" for the same name."""
    if isinstance(folder, RemotePath):
        return False
    for existing in (folder.absolute(), *folder.absolute().parents):
        other = existing.with_name(existing.name.swapcase()) if existing.name else existing
        if other != existing and existing.exists():
            return identity(other) == identity(existing)
    return os.name == "nt"


def make_folder(location: Location) -> None:
    """Make a folder and those above it, where the file system has any."""
    if not isinstance(location, RemotePath):
        missing = [location]
        while not missing[-1].parent.exists():
            missing.append(missing[-1].parent)
        for folder in reversed(missing):  # pathlib's way calls itself for each
            folder.mkdir(exist_ok=True)
    elif _renames(location.fs):
        with one_kind_of_error():
            location.fs.makedirs(location.path, exist_ok=True)


def write_whole(location: Location, data: bytes) -> None:
    """Write a file in an existing folder: all of it, or nothing, and then what was there stays.

    It is written under another name and then renamed. Stores that can't rename, such as S3, show an object only when
    all of it has come. On servers that don't rename onto a file, the old one is removed first; should the renaming fail
    then, the new one stays under the other name, which the error has. The disk isn't waited for: a power cut may leave
    a file empty or cut short.
    """
    # A short name of its own, since the target's may already be as long as the file system allows.
    name = f".lightendiff-{secrets.token_hex(8)}.part"
    if isinstance(location, RemotePath):
        with one_kind_of_error():
            _write_remote(location.fs, location.path, location.with_name(name).path, data)
        return
    temporary = location.with_name(name)
    try:
        with open(temporary, "xb") as file:
            file.write(data)
        os.replace(temporary, location)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _write_remote(fs: Any, path: str, temporary: str, data: bytes) -> None:
    if not _renames(fs):
        fs.pipe_file(path, data)
        return
    removed = False
    try:
        fs.pipe_file(temporary, data)
        try:
            fs.mv(temporary, path)
        except OSError as error:
            if not isinstance(error, FileExistsError) and error.errno != errno.EEXIST:
                raise  # what happened isn't known, after a timeout for example: nothing may be removed
            removed = True  # already now, since the request may be carried out whatever comes back
            fs.rm_file(path)  # some, SMB's for example, don't rename onto a file
            fs.mv(temporary, path)
    except BaseException as error:
        if not removed:
            with contextlib.suppress(Exception):
                fs.rm_file(temporary)
        elif isinstance(error, Exception):  # the temporary one stays, as it may be the only copy
            raise OSError(f"{why(error)}; the new file is {temporary}") from error
        raise


def _renames(fs: Any) -> bool:
    """Whether a file system moves files itself; fsspec's stand-in copies them, and takes * and [ for patterns."""
    from fsspec import AbstractFileSystem

    return type(fs).mv is not AbstractFileSystem.mv
