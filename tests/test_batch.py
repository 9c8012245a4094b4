from __future__ import annotations

import os
import threading
import time
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lightendiff.batch.plan import Job, output_name, plan
from lightendiff.batch.run import restore_files, restored
from lightendiff.files import storage
from lightendiff.images import Picture, read_picture, write_picture

compared = partial(restored, compare=True)


def invert(array: np.ndarray) -> np.ndarray:
    return np.iinfo(array.dtype).max - array


def save(path: Path, seed: int = 0, dtype: type = np.uint8, channels: int = 3, size: tuple[int, int] = (6, 5)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (*size, channels), dtype=dtype)
    write_picture(path, Picture(values), format=None if path.suffix else "png")
    return path


def names(jobs: list[Job], out: Path) -> list[str]:
    return [job.target.relative_to(out).as_posix() for job in jobs]


def tree(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


# --------------------------------------------------------------------------------------------------------- planning


@pytest.mark.parametrize(
    ("name", "format", "suffix", "expected"),
    [
        ("a.png", None, "", "a.png"),
        ("a.JPEG", None, "_lit", "a_lit.JPEG"),
        ("a.JPEG", "jpg", "", "a.JPEG"),
        ("a.png", "jpg", "", "a.jpg"),
        ("a.b.tif", "png", "-x", "a.b-x.png"),
        ("a.gif", None, "", "a.png"),
        ("a.NEF", None, "", "a.tif"),
        ("IMG_1.HEIC", None, "", "IMG_1.HEIC"),
        ("a.heif", "heic", "", "a.heif"),
        ("a.heic", "jpg", "", "a.jpg"),
        ("a.dng", "png", "_lit", "a_lit.png"),
        ("a.gif", "webp", "", "a.webp"),
        ("photo", None, "_lit", "photo_lit"),
        ("photo", "tiff", "", "photo.tiff"),
        ("sub/a.png", "bmp", "", "sub/a.bmp"),
    ],
)
def test_output_name(name, format, suffix, expected):
    assert output_name(Path(name), format, suffix) == Path(expected)


def test_files_and_folders_are_mirrored(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    for name in ("b.png", "a.jpg", "sub/c.tif", "sub/deep/d.webp", ".hidden/e.png", "._a.jpg"):
        save(photos / name)
    (photos / "notes.txt").write_text("no picture")
    single = save(tmp_path / "nächtlich 夜.png")
    flat = plan([photos, single], out)
    assert (names(flat.jobs, out), flat.problems) == (["a.jpg", "b.png", "nächtlich 夜.png"], [])
    deep = plan([photos, single], out, recursive=True)
    assert names(deep.jobs, out) == ["a.jpg", "b.png", "sub/c.tif", "sub/deep/d.webp", "nächtlich 夜.png"]
    assert not out.exists()


def test_a_picture_named_twice_is_done_once(tmp_path):
    first = save(tmp_path / "in" / "a.png")
    result = plan([first, tmp_path / "in", tmp_path / "in" / ".." / "in" / "a.png"], tmp_path / "out")
    assert [job.source for job in result.jobs] == [first]
    assert result.problems == []


def test_missing_and_empty_inputs_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    os.symlink(tmp_path / "nowhere", tmp_path / "dangling.png")
    os.mkfifo(tmp_path / "pipe.png")
    inputs = ["none.png", "empty", "dangling.png", "pipe.png", "x" * 300]
    result = plan([tmp_path / name for name in inputs], tmp_path / "out")
    assert result.jobs == []
    assert [problem.rsplit(": ", 1)[1] for problem in result.problems] == [
        "No such file or directory",
        "no pictures in this folder (folders inside it are entered with --recursive)",
        "not a file or folder",
        "not a file or folder",
        "No such file or directory",
    ]


def test_what_is_left_out_of_folders_is_counted(tmp_path):
    folder = tmp_path / "in"
    (folder / "sub" / "deep").mkdir(parents=True)
    for name in ("a.png", "b.jxl", "c.tga", "d.MP4", "sub/e.mov", "sub/f.png", ".hidden.txt"):
        (folder / name).write_bytes(b"content")
    os.symlink(tmp_path / "nowhere", folder / "dead.png")
    os.mkfifo(folder / "pipe.png")
    flat = plan([folder], tmp_path / "out")
    assert flat.left_out == {"other files": 4, "videos": 1, "folders": 1}
    assert [job.source.name for job in flat.jobs] == ["a.png"]
    assert plan([folder], tmp_path / "out", recursive=True).left_out == {"other files": 4, "videos": 2}
    assert plan([folder], tmp_path / "out", share=(1, 2)).left_out == {}  # the first process says it
    assert plan([folder / "a.png"], tmp_path / "out").left_out == {}


@pytest.mark.parametrize("content", [b"", b"content"])
def test_an_empty_output_is_not_done(tmp_path, content):
    (tmp_path / "a.png").write_bytes(b"content")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_bytes(content)
    planned = plan([tmp_path / "a.png"], tmp_path / "out", skip_existing=True)
    assert (len(planned.jobs), len(planned.skipped)) == ((0, 1) if content else (1, 0))


def test_inputs_are_never_overwritten(tmp_path):
    photo, other = save(tmp_path / "a.png"), save(tmp_path / "sub" / "b.png")
    os.symlink(photo, tmp_path / "link.png")
    for inputs, out in (([photo], tmp_path), ([tmp_path], tmp_path), ([other], tmp_path / "sub" / ".." / "sub")):
        result = plan(inputs, out)
        assert result.jobs == []
        assert all("would overwrite an input" in problem for problem in result.problems)
    # the output is an input under another name, by a link or by the suffix
    save(tmp_path / "x" / "link.png")
    assert "would overwrite" in plan([tmp_path / "x" / "link.png", photo], tmp_path).problems[0]
    save(tmp_path / "a_lit.png")
    result = plan([photo, tmp_path / "a_lit.png"], tmp_path, suffix="_lit")
    assert names(result.jobs, tmp_path) == ["a_lit_lit.png"]
    assert result.problems == [f"{photo}: the output {tmp_path / 'a_lit.png'} would overwrite an input"]


def test_two_inputs_for_one_output_are_both_named(tmp_path):
    paths = [save(tmp_path / "x" / "a.png"), save(tmp_path / "y" / "a.png"), save(tmp_path / "y" / "b.png")]
    result = plan(paths, tmp_path / "out")
    assert names(result.jobs, tmp_path / "out") == ["b.png"]
    target = tmp_path / "out" / "a.png"
    assert result.problems == [
        f"{paths[0]}: {paths[1]} would also be written to {target}",
        f"{paths[1]}: {paths[0]} would also be written to {target}",
    ]
    save(tmp_path / "y" / "b.jpg")
    assert len(plan([tmp_path / "y"], tmp_path / "out", format="png").problems) == 2


@pytest.mark.parametrize("processes", [1, 2, 3, 9])
def test_shares_are_the_same_whatever_was_written_before(tmp_path, processes):
    paths = [save(tmp_path / "in" / f"{i}.png") for i in range(7)]
    inputs, out = [tmp_path / "in", tmp_path / "missing"], tmp_path / "out"
    shares = [plan(inputs, out, share=(rank, processes)) for rank in range(processes)]
    assert sorted(job.source for share in shares for job in share.jobs) == paths
    assert sum(len(share.problems) for share in shares) == 1
    assert max(len(share.jobs) for share in shares) - min(len(share.jobs) for share in shares) <= 1
    for name in ("0.png", "3.png"):
        save(out / name)
    again = [plan(inputs, out, share=(rank, processes), skip_existing=True) for rank in range(processes)]
    for before, after in zip(shares, again, strict=True):
        assert sorted([*after.skipped, *(job.source for job in after.jobs)]) == [job.source for job in before.jobs]


def test_names_that_differ_in_case_collide_where_the_file_system_says_so(tmp_path, monkeypatch):
    paths = [save(tmp_path / "x" / "a.png"), save(tmp_path / "y" / "A.png")]
    ignores = storage.ignores_case(tmp_path / "not" / "there")
    assert ignores == (tmp_path / "X").exists()
    monkeypatch.setattr(storage, "ignores_case", lambda _: True)
    assert len(plan(paths, tmp_path / "out").problems) == 2
    monkeypatch.setattr(storage, "ignores_case", lambda _: False)
    assert len(plan(paths, tmp_path / "out").problems) == 0


def test_an_output_folder_inside_the_input_is_not_read(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "out" / "old.png")
    save(tmp_path / "sub" / "b.png")
    out = tmp_path / "out"
    assert names(plan([tmp_path], out, recursive=True).jobs, out) == ["a.png", "sub/b.png"]
    assert names(plan([tmp_path, out], tmp_path / "else").jobs, tmp_path / "else") == ["a.png", "old.png"]


def test_results_beside_their_sources_are_not_restored_again(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "sub" / "b.png")
    options = {"recursive": True, "suffix": "_lit"}
    first = plan([tmp_path], tmp_path, **options)
    assert names(first.jobs, tmp_path) == ["a_lit.png", "sub/b_lit.png"]
    restore_files(first.jobs, invert)
    assert plan([tmp_path], tmp_path, **options) == first
    again = plan([tmp_path], tmp_path, **options, skip_existing=True)
    assert (len(again.jobs), len(again.skipped), again.problems) == (0, 2, [])


def test_loops_of_links_end(tmp_path):
    save(tmp_path / "in" / "a.png")
    save(tmp_path / "far" / "b.png")
    os.symlink(tmp_path / "in", tmp_path / "in" / "loop")
    os.symlink(tmp_path / "far", tmp_path / "in" / "linked")
    os.symlink(tmp_path / "far", tmp_path / "far" / "loop")
    out = tmp_path / "out"
    assert names(plan([tmp_path / "in"], out, recursive=True).jobs, out) == ["a.png", "linked/b.png"]


def test_a_link_in_the_output_folder_does_not_lead_out_of_it(tmp_path):
    save(tmp_path / "in" / "sub" / "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "out" / "sub")
    result = plan([tmp_path / "in"], tmp_path / "out", recursive=True)
    assert result.jobs == []
    assert "would lie outside" in result.problems[0]


# --------------------------------------------------------------------------------------------------------- restoring


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_restored_keeps_shape_alpha_and_metadata(dtype, channels):
    seen = []

    def restore(array):
        seen.append(array.shape)
        return invert(array)

    picture = Picture(np.full((4, 3, channels), 7, dtype), np.full((4, 3), 9, dtype), icc_profile=b"profile")
    result = restored(picture, restore)
    np.testing.assert_array_equal(result.pixels, invert(picture.pixels))
    assert result.alpha is picture.alpha
    assert result.icc_profile == b"profile"
    both = restored(picture, restore, compare=True)
    np.testing.assert_array_equal(both.pixels, np.concatenate([picture.pixels, invert(picture.pixels)], axis=1))
    assert both.alpha is not None
    assert both.alpha.shape == (4, 6)
    assert seen == [(4, 3) if channels == 1 else (4, 3, 3)] * 2


def test_a_restorer_that_changes_the_kind_is_an_error():
    picture = Picture(np.zeros((4, 3, 3), np.uint8))
    with pytest.raises(ValueError, match=r"expected shape \(4, 3, 3\) and dtype uint8 back, got \(3, 3, 3\)"):
        restored(picture, lambda array: array[1:])
    with pytest.raises(ValueError, match="float32"):
        restored(picture, lambda array: array.astype(np.float32))


def test_a_run_over_a_folder(tmp_path):
    photos, out = tmp_path / "in", tmp_path / "out"
    for number in range(7):
        save(photos / f"{number}.png", seed=number, dtype=np.uint16)
    (photos / "text.png").write_text("not a picture")
    (photos / "3.png").write_bytes((photos / "3.png").read_bytes()[:60])
    failures: list[str] = []
    ticks: list[int] = []
    jobs = plan([photos], out).jobs
    summary = restore_files(jobs, invert, failed=failures.append, done=lambda: ticks.append(1))
    assert (summary.restored, summary.failed, len(ticks)) == (6, 2, 8)
    assert sorted(line.split(": ")[0] for line in failures) == [str(photos / "3.png"), str(photos / "text.png")]
    assert tree(out) == [f"{number}.png" for number in (0, 1, 2, 4, 5, 6)]
    for name in tree(out):
        np.testing.assert_array_equal(read_picture(out / name).pixels, invert(read_picture(photos / name).pixels))
    assert str(summary).startswith("6 restored, 0 skipped, 2 failed in ")
    assert "images/s" in str(summary)


def test_errors_of_restoring_and_writing_name_their_file(tmp_path, monkeypatch):
    for number in range(6):
        save(tmp_path / "in" / f"{number}.png", size=(number + 1, 5))

    def restore(array):
        if len(array) == 3:
            raise RuntimeError("out of memory\nand a long story")
        return invert(array)

    original = os.replace

    def replace(source, target):
        if Path(target).name == "4.png":
            raise OSError(28, "No space left on device")
        original(source, target)

    monkeypatch.setattr(os, "replace", replace)
    failures: list[str] = []
    out = tmp_path / "out"
    summary = restore_files(plan([tmp_path / "in"], out).jobs, restore, failed=failures.append)
    assert (summary.restored, summary.failed) == (4, 2)
    assert failures == [
        f"{tmp_path / 'in' / '2.png'}: RuntimeError: out of memory",
        f"{tmp_path / 'in' / '4.png'}: cannot write {out / '4.png'}: No space left on device",
    ]
    assert tree(out) == ["0.png", "1.png", "3.png", "5.png"]  # and nothing partial


def test_a_file_in_the_way_of_a_folder(tmp_path):
    save(tmp_path / "in" / "sub" / "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").write_text("a file")
    failures: list[str] = []
    jobs = plan([tmp_path / "in"], tmp_path / "out", recursive=True).jobs
    assert restore_files(jobs, invert, failed=failures.append).failed == 1
    assert "cannot write" in failures[0]
    assert (tmp_path / "out" / "sub").read_text() == "a file"


def test_files_that_vanish_meanwhile(tmp_path):
    paths = [save(tmp_path / f"{number}.png") for number in range(8)]
    failures: list[str] = []

    def restore(array):
        paths[7].unlink(missing_ok=True)
        return array

    summary = restore_files(plan(paths, tmp_path / "out").jobs, restore, failed=failures.append)
    assert (summary.restored, summary.failed) == (7, 1)
    assert failures == [f"{paths[7]}: No such file or directory"]


def test_the_result_does_not_depend_on_the_rest_of_the_run(tmp_path):
    def restore(array):
        noise = np.random.default_rng(5).integers(0, 9, array.shape).astype(array.dtype)
        return array // 2 + noise

    for number in range(3):
        save(tmp_path / "in" / f"{number}.png", seed=number)
    restore_files(plan([tmp_path / "in"], tmp_path / "all").jobs, restore)
    restore_files(plan([tmp_path / "in" / "2.png"], tmp_path / "one").jobs, restore)
    assert (tmp_path / "all" / "2.png").read_bytes() == (tmp_path / "one" / "2.png").read_bytes()


def test_pictures_of_equal_size_are_restored_together(tmp_path):
    sizes = [(6, 5), (4, 7), (6, 5), (6, 5), (4, 7), (6, 5), (4, 7), (6, 5)]
    for number, size in enumerate(sizes):
        save(tmp_path / "in" / f"{number}.png", seed=number, size=size, channels=1 if number == 3 else 3)
    save(tmp_path / "in" / "5.png", seed=5, dtype=np.uint16, size=(6, 5))
    (tmp_path / "in" / "1b.png").write_text("not a picture")
    jobs = plan([tmp_path / "in"], tmp_path / "out").jobs
    batches: list[list[tuple]] = []
    single: list[tuple] = []

    def alone(array):
        single.append((array.shape, array.dtype.name))
        return invert(array)

    def many(arrays):
        batches.append([(array.shape, array.dtype.name) for array in arrays])
        return [invert(array) for array in arrays]

    failures: list[str] = []
    summary = restore_files(jobs, alone, many=many, make=compared, failed=failures.append)
    assert (summary.restored, summary.failed, len(failures)) == (8, 1, 1)
    assert all(len(batch) > 1 and len(set(batch)) == 1 for batch in batches)
    assert sorted([*single, *(kind for batch in batches for kind in batch)]) == sorted(
        [((6, 5, 3), "uint8")] * 3 + [((4, 7, 3), "uint8")] * 3 + [((6, 5), "uint8"), ((6, 5, 3), "uint16")]
    )
    assert max(map(len, batches)) == 3
    for number in range(8):
        dark = read_picture(tmp_path / "in" / f"{number}.png").pixels
        both = read_picture(tmp_path / "out" / f"{number}.png").pixels
        np.testing.assert_array_equal(both, np.concatenate([dark, invert(dark)], axis=1))


def test_batches_end_at_so_many_pictures_and_pixels(tmp_path, monkeypatch):
    for number in range(40):
        save(tmp_path / "in" / f"{number:02}.png", seed=number)
    batches: list[int] = []

    def many(arrays):
        batches.append(len(arrays))
        return [invert(array) for array in arrays]

    def run(out):
        batches.clear()
        assert restore_files(plan([tmp_path / "in"], tmp_path / out).jobs, invert, many=many).restored == 40
        return max(batches)

    assert run("a") == 16
    monkeypatch.setattr("lightendiff.batch.read_ahead._PIXELS_TOGETHER", 5 * 30 + 29)
    assert run("b") == 5


def test_a_large_picture_among_small_ones(tmp_path, monkeypatch):
    for number in range(40):
        save(tmp_path / "in" / f"{number:02}.png", seed=number, size=(50, 40) if number == 19 else (6, 5))
    monkeypatch.setattr("lightendiff.batch.read_ahead._PIXELS_TOGETHER", 1000)
    jobs = plan([tmp_path / "in"], tmp_path / "out").jobs
    assert restore_files(jobs, invert, many=lambda arrays: [invert(array) for array in arrays]).restored == 40


@pytest.mark.parametrize(("limit", "expected"), [(1000, 1), (5000, 3)])
def test_large_pictures_after_small_ones_are_read_only_as_there_is_room(tmp_path, monkeypatch, limit, expected):
    """Batches of 3 and 5 small pictures, of 30 pixels; for the second, all that follow are tried."""
    for number in range(30):
        save(tmp_path / "in" / f"{number:02}.png", seed=number, size=(6, 5) if number < 8 else (50, 40))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)  # one thread, so that it's told what comes after what
    monkeypatch.setattr("lightendiff.batch.read_ahead._PIXELS_TOGETHER", 1500)
    monkeypatch.setattr("lightendiff.batch.read_ahead._PIXELS_AHEAD", limit)
    read: list[int] = []
    ahead: list[int] = []
    batches: list[int] = []

    def reading(path, **options):
        picture = read_picture(path, **options)
        read.append(picture.pixels.shape[0])
        return picture

    def alone(array):
        assert len(array) == 50
        ahead.append(read.count(50) - len(ahead) - 1)
        return invert(array)

    def many(arrays):
        batches.append(len(arrays))
        if len(batches) == 2:
            assert read == [6] * 8 + [50] * expected
        return [invert(array) for array in arrays]

    monkeypatch.setattr("lightendiff.batch.run.read_picture", reading)
    jobs = plan([tmp_path / "in"], tmp_path / "out").jobs
    failures: list[str] = []
    summary = restore_files(jobs, alone, many=many, failed=failures.append)
    assert (summary.restored, failures, batches, len(ahead)) == (30, [], [3, 5], 22)
    assert len(read) == 30
    assert max(ahead) <= expected + 2  # the next two are always read
    for job in jobs:
        np.testing.assert_array_equal(read_picture(job.target).pixels, invert(read_picture(job.source).pixels))


def test_a_batch_that_fails_is_tried_one_by_one(tmp_path):
    for number in range(3):
        save(tmp_path / "in" / f"{number}.png", seed=number)
    bad = read_picture(tmp_path / "in" / "1.png").pixels

    def alone(array):
        if np.array_equal(array, bad):
            raise RuntimeError("out of memory")
        return invert(array)

    failures: list[str] = []
    jobs = plan([tmp_path / "in"], tmp_path / "out").jobs
    summary = restore_files(jobs, alone, many=lambda arrays: [alone(array) for array in arrays], failed=failures.append)
    assert (summary.restored, summary.failed) == (2, 1)
    assert failures == [f"{tmp_path / 'in' / '1.png'}: RuntimeError: out of memory"]


def test_format_compare_and_notes(tmp_path):
    for number in range(2):
        save(tmp_path / "in" / f"{number}.png", seed=number, dtype=np.uint16)
    frames = [Image.new("RGB", (5, 6), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "in" / "9.gif", save_all=True, append_images=frames[1:])
    jobs = plan([tmp_path / "in"], tmp_path / "out", format="jpg").jobs
    summary = restore_files(jobs, invert, format="jpg", make=compared)
    assert tree(tmp_path / "out") == ["0.jpg", "1.jpg", "9.jpg"]
    picture = read_picture(tmp_path / "out" / "9.jpg")
    assert (picture.format, picture.pixels.shape) == ("JPEG", (6, 10, 3))
    assert {note: len(sources) for note, sources in summary.notes.items()} == {
        "JPEG holds 8 bit: 16 bit is rounded": 2,
        "only the first frame is restored": 1,
    }


def test_an_interrupt_finishes_the_file_being_written(tmp_path, monkeypatch):
    for number in range(9):
        save(tmp_path / "in" / f"{number}.png", seed=number)
    writing, go_on = threading.Event(), threading.Event()
    original = os.replace

    def slow(source, target):
        writing.set()
        go_on.wait(10)
        original(source, target)

    def restore(array):
        if writing.wait(0.3):
            threading.Timer(0.2, go_on.set).start()
            raise KeyboardInterrupt
        return invert(array)

    monkeypatch.setattr(os, "replace", slow)
    summary = restore_files(plan([tmp_path / "in"], tmp_path / "out").jobs, restore)
    assert summary.interrupted
    assert str(summary).startswith("interrupted: 1 restored")
    assert tree(tmp_path / "out") == ["0.png"]
    np.testing.assert_array_equal(
        read_picture(tmp_path / "out" / "0.png").pixels, invert(read_picture(tmp_path / "in" / "0.png").pixels)
    )


@pytest.mark.parametrize("many", [None, lambda pictures: [invert(picture) for picture in pictures]])
def test_an_interrupt_while_a_writing_thread_starts(tmp_path, monkeypatch, many):
    for number in range(3):
        save(tmp_path / "in" / f"{number}.png", seed=number)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    start, replace, started = threading.Thread.start, os.replace, []

    def interrupted(thread):
        start(thread)
        if thread.name.startswith("writer"):
            started.append(thread)
            raise KeyboardInterrupt

    def slow(source, target):
        time.sleep(0.2)
        replace(source, target)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    monkeypatch.setattr(os, "replace", slow)
    summary = restore_files(plan([tmp_path / "in"], tmp_path / "out").jobs, invert, many=many)
    assert summary.interrupted
    for thread in started:
        thread.join(5)
    written = tree(tmp_path / "out") if (tmp_path / "out").exists() else []
    assert len(written) == summary.restored


# ------------------------------------------------------------------------------------------------------- many pictures


def test_a_plan_is_a_sequence_of_jobs(tmp_path):
    for name in ("a.png", "b.png", "sub/c.png", "sub/d.png", "z.png"):
        save(tmp_path / "in" / name)
    jobs = plan([tmp_path / "in", save(tmp_path / "x.png")], tmp_path / "out", recursive=True).jobs
    whole = list(jobs)
    assert [job.source.name for job in whole] == ["a.png", "b.png", "z.png", "c.png", "d.png", "x.png"]
    assert [jobs[i] for i in range(-6, 6)] == whole + whole
    assert (jobs[1:5:2], len(jobs), bool(jobs), jobs == whole) == (whole[1:5:2], 6, True, True)
    assert list(jobs + jobs) == whole + whole
    with pytest.raises(IndexError, match="expected below 6, got 6"):
        jobs[6]


def test_many_pictures_take_little_memory_and_few_questions(tmp_path, monkeypatch):
    folder, count = tmp_path / "in", 20_000
    names = [f"IMG_{i:07}.jpg" for i in range(count)]
    monkeypatch.setattr(storage, "walk", lambda *_: iter([(folder, Path(), names)]))
    folder.mkdir()
    asked = []
    monkeypatch.setattr(storage, "_is_there", lambda path: asked.append(path) or True)
    tracemalloc.start()
    planned = plan([folder], tmp_path / "out", skip_existing=True)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(planned.jobs), asked) == (count, [])  # nothing is there, as listing the folder tells
    assert held < 20 * count  # a list of the names, which are there already
    assert peak < 250 * count
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / names[7]).write_bytes(b"content")
    assert len(plan([folder], tmp_path / "out", skip_existing=True).skipped) == 1
    assert asked == [tmp_path / "out" / names[7]]


def test_conflicts_among_many_pictures_are_found(tmp_path):
    for i in range(150):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{i:03}.png").write_bytes(b"content")
    for name in ("007.gif", "100.gif"):
        (tmp_path / "in" / name).write_bytes(b"content")
    planned = plan([tmp_path / "in"], tmp_path / "out")
    assert (len(planned.jobs), len(planned.problems)) == (148, 4)
    assert all("would also be written to" in problem for problem in planned.problems)
    assert len(plan([tmp_path / "in"], tmp_path / "in").problems) == 152
    os.symlink(tmp_path / "in", tmp_path / "link")
    problems = plan([tmp_path / "link"], tmp_path / "in").problems
    assert sum("would overwrite an input" in problem for problem in problems) == 148
