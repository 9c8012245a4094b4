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
) -> list[tuple[Location, Path]]:
    """The files below a folder that have one of these extensions, sorted by folder, and their names from there.

    Hidden files and folders, and the folder `leave_out`, are left out; links are followed once. failed(name, reason)
    is called for every folder that can't be listed; left_out(name) for all that isn't hidden and is passed over: files
    with other extensions, pipes and dead links, and folders, whose names end in a slash, where they aren't entered.
    """
    folders: Iterator[tuple[Location, Path, list[str]]] = (
        _walk_remote(root, recursive, leave_out, failed, left_out)
        if isinstance(root, RemotePath)
        else _walk_local(root, recursive, leave_out, failed, left_out)
    )
    found: list[tuple[Location, Path]] = []
    for folder, below, names in folders:
        for name in sorted(name for name in names if name[0] != "."):
            file = folder / name
            if os.path.splitext(name)[1].lower() in extensions and (not isinstance(file, Path) or file.is_file()):
                found.append((file, below / name))
            else:
                left_out(name)
    return found


def _walk_local(
    root: Path, recursive: bool, leave_out: Location, failed: Failed, left_out: LeftOut
) -> Iterator[tuple[Path, Path, list[str]]]:
    entered = {None, identity(root), identity(leave_out)}

    def is_new(folder: Path) -> bool:
        known = identity(folder)
        new = known not in entered
        entered.add(known)
        return new

    waiting = [(root, Path())]  # a stack, since folders may lie in each other more deeply than calls may
    while waiting:
        folder, below = waiting.pop()
        folders, files = list[str](), list[str]()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    (folders if _is_folder(entry) else files).append(entry.name)
        except OSError as error:
            failed(str(folder), why(error))
            continue
        new = [path for path in map(folder.joinpath, sorted(folders)) if path.name[0] != "." and is_new(path)]
        if recursive:
            waiting += [(path, below / path.name) for path in reversed(new)]
        else:
            for path in new:
                left_out(f"{path.name}/")
        yield folder, below, files


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Links to folders, too; False where a link leads nowhere or to itself."""
    with contextlib.suppress(OSError):
        return entry.is_dir()
    return False


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
    """Those that exist, but for empty files, which a power cut may leave.

    Of addresses, whole folders are listed, which takes a request for each of those only.
    """
    found: set[Location] = {each for each in locations if isinstance(each, Path) and _is_there(each)}
    folders: dict[RemotePath, list[RemotePath]] = {}
    for each in locations:
        if isinstance(each, RemotePath):
            folders.setdefault(each.parent, []).append(each)
    for folder, members in folders.items():
        with contextlib.suppress(FileNotFoundError), one_kind_of_error():
            entries = folder.fs.ls(folder.path, detail=True)
            names = {each["name"].strip("/") for each in entries if each["type"] != "file" or each.get("size") != 0}
            found |= {each for each in members if each.path.strip("/") in names}
    return found


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
        while not missing[-1].parent.is_dir() and missing[-1].parent != missing[-1]:
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
