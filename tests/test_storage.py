"""Paths and addresses through one interface, on this machine, on memory://, and on its own disk through fsspec."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lightendiff.batch.plan import plan
from lightendiff.batch.run import restore_files
from lightendiff.files import storage
from lightendiff.files.locations import Location, RemotePath, located
from lightendiff.images import ImageError, Picture, read_picture, write_picture

fsspec = pytest.importorskip("fsspec")
from fsspec.implementations.local import LocalFileSystem  # noqa: E402

ROOT = Path(__file__).parent.parent


def invert(array: np.ndarray) -> np.ndarray:
    return np.iinfo(array.dtype).max - array


def picture(seed: int = 0) -> Picture:
    return Picture(np.random.default_rng(seed).integers(0, 255, (6, 5, 3), dtype=np.uint8))


def save(path: Location, seed: int = 0) -> Location:
    storage.make_folder(path.parent)
    write_picture(path, picture(seed))
    return path


@pytest.fixture(params=["path", "memory", "disk through fsspec"])
def root(request, tmp_path) -> Location:
    """An empty folder."""
    if request.param == "path":
        return tmp_path
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()
        return located(f"memory://{tmp_path.name}")
    return RemotePath(LocalFileSystem(), str(tmp_path))


def files(root: Location) -> list[str]:
    """Names of all that is there, hidden files too."""
    if isinstance(root, Path):
        return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return sorted(name[len(root.path) + 1 :] for name in root.fs.find(root.path))


# ---------------------------------------------------------------------------------------------------------- operations


def test_kinds(root):
    save(root / "a.png")
    save(root / "sub" / "b.png")
    assert [storage.kind(root / name) for name in ("a.png", "sub")] == ["file", "folder"]
    with pytest.raises(FileNotFoundError, match="No such file or directory"):
        storage.kind(root / "none")


def test_what_is_found(root):
    for name in ("b.png", "a.jpg", "c.txt", ".hidden.png", "sub/c.PNG", "sub/deep/d.png", ".dark/e.png", "out/f.png"):
        storage.make_folder((root / name).parent)
        storage.write_whole(root / name, b"content")

    def found(recursive: bool) -> list[str]:
        paths = []
        for folder, below, names in storage.walk(
            root, recursive, (".png", ".jpg"), root / "out", lambda *problem: pytest.fail(str(problem))
        ):
            for name in names:
                assert folder / name == root / below / name
                assert (folder / name).read_bytes() == b"content"
                paths.append((below / name).as_posix())
        return paths

    assert found(recursive=False) == ["a.jpg", "b.png"]
    assert found(recursive=True) == ["a.jpg", "b.png", "sub/c.PNG", "sub/deep/d.png"]


def test_present(root):
    names = ("a.png", "sub/b.png", "c[1].png")
    for name in names:
        save(root / name)
    there = {root / name for name in names}
    assert storage.present({*there, root / "none.png", root / "nowhere" / "a.png"}) == there


def test_an_empty_file_is_not_there_yet(root):
    storage.write_whole(root / "a.png", b"content")
    storage.write_whole(root / "b.png", b"")
    assert storage.present({root / "a.png", root / "b.png"}) == {root / "a.png"}


def test_what_is_passed_over_is_told(root):
    for name in ("a.png", "c.txt", ".hidden.txt", "sub/d.mp4", ".dark/e.png", "out/f.png"):
        storage.make_folder((root / name).parent)
        storage.write_whole(root / name, b"content")

    def left_out(recursive: bool) -> list[str]:
        names: list[str] = []
        list(storage.walk(root, recursive, (".png",), root / "out", lambda *_: None, names.append))
        return sorted(names)

    assert left_out(recursive=False) == ["c.txt", "sub/"]
    assert left_out(recursive=True) == ["c.txt", "d.mp4"]


def test_writing_replaces_the_whole_file_and_leaves_nothing_else(root):
    for content in (b"first", b"second, which is longer"):
        storage.write_whole(root / "a [1]*.png", content)
        assert (root / "a [1]*.png").read_bytes() == content
    assert files(root) == ["a [1]*.png"]


def test_a_write_that_fails_leaves_what_was_there(root, monkeypatch):
    save(root / "a.png", seed=1)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    if isinstance(root, Path):
        monkeypatch.setattr(os, "replace", full)
    else:
        moves = isinstance(root.fs, LocalFileSystem)
        monkeypatch.setattr(type(root.fs), "mv" if moves else "pipe_file", full)
    with pytest.raises(ImageError, match=r"a\.png: No space left on device"):
        write_picture(root / "a.png", picture(2))
    monkeypatch.undo()
    assert files(root) == ["a.png"]
    np.testing.assert_array_equal(read_picture(root / "a.png").pixels, picture(1).pixels)


def test_file_systems_that_do_not_rename_onto_a_file(tmp_path):
    class Careful(LocalFileSystem):
        def mv(self, path1, path2, **_):
            if os.path.exists(path2):
                raise FileExistsError(17, "File exists")
            os.rename(path1, path2)

    path = RemotePath(Careful(), f"{tmp_path}/a.png")
    for seed in (1, 2):
        write_picture(path, picture(seed))
        np.testing.assert_array_equal(read_picture(path).pixels, picture(seed).pixels)
    assert files(tmp_path) == ["a.png"]


def test_a_renaming_that_fails_half_way_leaves_the_new_file(tmp_path):
    class Careless(LocalFileSystem):
        def mv(self, path1, path2, **_):
            raise FileExistsError(17, "File exists") if os.path.exists(path2) else TimeoutError("timed out")

    (tmp_path / "a.png").write_bytes(b"old")
    with pytest.raises(OSError, match=r"timed out; the new file is .*/\.lightendiff-\w+\.part$"):
        storage.write_whole(RemotePath(Careless(), f"{tmp_path}/a.png"), b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]


def test_errors_of_any_type_are_one_line(root, monkeypatch):
    if isinstance(root, Path):
        pytest.skip("those of this machine are OSErrors")

    class ClientError(Exception):
        pass

    def refuse(*_: object, **__: object) -> None:
        raise ClientError("403 Forbidden\nRequest-Id: 7")

    path = save(root / "a.png")
    for method in ("cat_file", "info", "walk", "ls", "pipe_file"):
        monkeypatch.setattr(type(root.fs), method, refuse)
    with pytest.raises(ImageError, match=r"a\.png: ClientError: 403 Forbidden$"):
        read_picture(path)
    with pytest.raises(ImageError, match=r"a\.png: ClientError: 403 Forbidden$"):
        write_picture(path, picture())
    assert plan([root], "out").problems == [f"{root}: ClientError: 403 Forbidden"]
    with pytest.raises(OSError, match="ClientError: 403 Forbidden"):
        storage.present({path})


def test_a_missing_file_is_told_as_on_this_machine(root):
    with pytest.raises(ImageError, match=r"none\.png: No such file or directory$"):
        read_picture(root / "none.png")
    assert plan([root / "none.png"], "out").problems == [f"{root / 'none.png'}: No such file or directory"]


# ---------------------------------------------------------------------------------------------------------- whole runs


def test_paths_of_this_machine_do_without_fsspec(tmp_path):
    save(tmp_path / "in" / "a.png")
    code = (
        "import sys; sys.modules['fsspec'] = None\n"
        "from lightendiff.batch.plan import plan\n"
        "from lightendiff.batch.run import restore_files\n"
        "jobs = plan([sys.argv[1], 'file://' + sys.argv[1]], sys.argv[2], recursive=True, skip_existing=True).jobs\n"
        "print(restore_files(jobs, lambda array: array))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "in"), str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert result.stdout.startswith("1 restored, 0 skipped, 0 failed")


def test_a_run_gives_the_same_files_everywhere(root, tmp_path_factory):
    here, out = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("out")
    for number, name in enumerate(("b.png", "a.jpg", "sub/c.tif", "sub/deep/d.webp")):
        save(here / name, number)
        save(root / "in" / name, number)
    restore_files(plan([here], out, recursive=True).jobs, invert)
    for source, target in ((root / "in", root / "out"), (here, root / "up"), (root / "in", out / "down")):
        planned = plan([source], target, recursive=True)
        assert planned.problems == []
        assert restore_files(planned.jobs, invert).restored == 4
        for name in ("a.jpg", "b.png", "sub/c.tif", "sub/deep/d.webp"):
            assert (target / name).read_bytes() == (out / name).read_bytes()
    assert not [name for name in files(root) if ".part" in name]


def test_what_exists_is_skipped(root):
    for name in ("a.png", "sub/b.png"):
        save(root / "in" / name)
    options = {"recursive": True, "skip_existing": True}
    first = plan([root / "in"], root / "out", **options)
    assert len(first.jobs) == 2
    restore_files(first.jobs[:1], invert)
    again = plan([root / "in"], root / "out", **options)
    assert (again.skipped, again.jobs) == ([first.jobs[0].source], first.jobs[1:])


def test_inputs_are_never_overwritten(root):
    photo = save(root / "in" / "a.png", 1)
    save(root / "in" / "a_lit.png")
    for inputs, suffix in (([root / "in"], ""), ([photo], ""), ([photo, root / "in" / "a_lit.png"], "_lit")):
        result = plan(inputs, root / "in", suffix=suffix)
        assert photo not in [job.target for job in result.jobs]
        assert all("would overwrite an input" in problem for problem in result.problems)
        assert result.problems
    save(root / "x" / "b.png")
    save(root / "y" / "b.png")
    both = plan([root / "x", root / "y"], root / "out")
    assert (len(both.jobs), len(both.problems)) == (0, 2)


def test_inputs_at_file_addresses_are_never_overwritten(tmp_path):
    save(tmp_path / "a.png")
    for inputs, out in (([f"file://{tmp_path}"], tmp_path), ([tmp_path], f"file://{tmp_path}/")):
        assert plan(inputs, out).jobs == []
    assert len(plan([tmp_path / "a.png", f"file://{tmp_path}/a.png"], tmp_path / "out").jobs) == 1


def test_results_beside_their_sources_are_not_restored_again(root):
    save(root / "a.png")
    save(root / "sub" / "b.png")
    first = plan([root], root, recursive=True, suffix="_lit")
    restore_files(first.jobs, invert)
    assert plan([root], root, recursive=True, suffix="_lit") == first


@pytest.mark.parametrize("processes", [1, 2, 3, 9])
def test_shares_are_exact(root, processes):
    paths = [save(root / "in" / f"{number}.png") for number in range(7)]
    inputs = [root / "in", root / "missing"]
    shares = [plan(inputs, root / "out", share=(rank, processes)) for rank in range(processes)]
    assert sorted(str(job.source) for share in shares for job in share.jobs) == [str(path) for path in paths]
    assert sum(len(share.problems) for share in shares) == 1
    for number in (0, 3):
        save(root / "out" / f"{number}.png")
    again = [plan(inputs, root / "out", share=(rank, processes), skip_existing=True) for rank in range(processes)]
    for before, after in zip(shares, again, strict=True):
        assert {*after.skipped, *(job.source for job in after.jobs)} == {job.source for job in before.jobs}


def test_names_in_a_store_do_not_lead_out_of_the_output_folder(tmp_path):
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    save(RemotePath(fs, "/in/a.png"))
    content = fs.cat_file("/in/a.png")
    for name in ("/in/../up.png", "/in/x/../../../up.png", "/in//root.png"):
        fs.pipe_file(name, content)
    out = tmp_path / "out"
    restore_files(plan(["memory://in"], out, recursive=True).jobs, invert)
    assert files(tmp_path) == ["out/a.png"]
