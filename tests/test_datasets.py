from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from jsonargparse import ArgumentParser

from lightendiff.data.datamodule import collate
from lightendiff.data.datasets import (
    Brackets,
    Darkened,
    Mixture,
    PairedFolders,
    Published,
    SelfMade,
    Source,
    UnpairedFolders,
    WellLit,
)
from lightendiff.data.pictures import read_pictures
from lightendiff.images import Picture, write_picture


def write(path: Path, value: int | tuple[int, int, int] | np.ndarray, size: tuple[int, int] = (12, 16)) -> Path:
    """A picture of one RGB colour, or the given RGB pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = value if isinstance(value, np.ndarray) else np.full((*size, 3), value, np.uint8)
    assert cv2.imwrite(str(path), pixels[..., ::-1])
    return path


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """dark/{1,2,3}.png of grey 10, 20, 30 and bright/{1,2,3}.bmp of grey 110, 120, 130."""
    for index in (1, 2, 3):
        write(tmp_path / "dark" / f"{index}.png", 10 * index)
        write(tmp_path / "bright" / f"{index}.bmp", 100 + 10 * index)
    return tmp_path / "dark", tmp_path / "bright"


@pytest.fixture
def brackets(tmp_path: Path) -> Path:
    """a: frames of grey 20, 60, 140, reference 100; b: 30, 90, no reference; c: 200, reference 100."""
    # the order of the file names is not that of brightness
    for scene, frames in {"a": (60, 20, 140), "b": (90, 30), "c": (200,)}.items():
        for index, grey in enumerate(frames):
            write(tmp_path / "sets" / scene / f"{index}.png", grey)
        if scene != "b":
            write(tmp_path / "sets" / scene / "reference.png", 100)
    return tmp_path / "sets"


def greys(source: Source) -> list[tuple[int, int]]:
    return [(int(sample.dark[0, 0, 0]), int(sample.target[0, 0, 0])) for sample in source.pairs()]


def drawn(source: Source, count: int = 200) -> set[tuple[int, int]]:
    samples = (source.draw(np.random.default_rng([0, n])) for n in range(count))
    return {(int(sample.dark[0, 0, 0]), int(sample.target[0, 0, 0])) for sample in samples}


@pytest.mark.parametrize("cached", [True, False])
def test_pairs_are_matched_by_stem(folders: tuple[Path, Path], cached: bool) -> None:
    source = PairedFolders(*folders, cached=cached)
    source.load()
    assert greys(source) == [(10, 110), (20, 120), (30, 130)]
    sample = source.pair(1)
    assert sample.dark.shape == sample.target.shape == (3, 12, 16)
    assert sample.dark.dtype == np.uint8
    assert sample.mean == pytest.approx(20 / 255)
    assert not sample.darken
    assert "2.png" in sample.name
    assert "2.bmp" in sample.name
    assert drawn(source) == {(10, 110), (20, 120), (30, 130)}
    assert {path.name for path in source.files()} == {f"{i}.{suffix}" for i in (1, 2, 3) for suffix in ("png", "bmp")}


def test_pixels_are_rgb(tmp_path: Path) -> None:
    path = write(tmp_path / "red.png", (200, 50, 10))
    assert read_pictures([path])[0].pixels[0, 0].tolist() == [200, 50, 10]


def test_exclude_takes_stems_as_text_or_number(folders: tuple[Path, Path]) -> None:
    source = PairedFolders(*folders, exclude=["1", 3])
    source.load()
    assert greys(source) == [(20, 120)]


@pytest.mark.parametrize(
    ("exclude", "message"), [(["4", "1"], "not in .*: 4$"), (["1", "2", "3"], "exclude leaves no pair in .*dark")]
)
def test_exclude_errors(folders: tuple[Path, Path], exclude: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PairedFolders(*folders, exclude=exclude).load()


def test_files_without_partner_are_named(folders: tuple[Path, Path]) -> None:
    write(folders[0] / "only_dark.png", 1)
    write(folders[1] / "only_bright.png", 1)
    with pytest.raises(ValueError, match=r"2 files without a partner.*only_dark\.png.*only_bright\.png"):
        PairedFolders(*folders).load()


def test_two_files_of_one_stem_are_named(folders: tuple[Path, Path]) -> None:
    write(folders[0] / "1.bmp", 1)
    with pytest.raises(ValueError, match=r"1\.bmp and .*1\.png have the same stem"):
        PairedFolders(*folders).load()


@pytest.mark.parametrize("cached", [True, False])
def test_mismatched_sizes_are_named(folders: tuple[Path, Path], cached: bool) -> None:
    write(folders[1] / "2.bmp", 120, size=(10, 16))
    with pytest.raises(ValueError, match=r"1 pairs differ in size: .*2\.png is 16×12 but .*2\.bmp 16×10"):
        PairedFolders(*folders, cached=cached).load()


@pytest.mark.parametrize("content", [b"", b"no picture"])
@pytest.mark.parametrize("cached", [True, False])
def test_unreadable_pictures_are_named(folders: tuple[Path, Path], content: bytes, cached: bool) -> None:
    (folders[0] / "2.png").write_bytes(content)
    (folders[1] / "3.bmp").write_bytes(content)
    with pytest.raises(ValueError, match=r"2 of 6 pictures can't be read: .*2\.png.*3\.bmp"):
        PairedFolders(*folders, cached=cached).load()


def test_long_lists_of_files_are_shortened(folders: tuple[Path, Path]) -> None:
    for index in range(20):
        write(folders[0] / f"extra{index:02}.png", 1)
    with pytest.raises(ValueError, match=r"extra04\.png and 15 more"):
        PairedFolders(*folders).load()


def test_empty_and_missing_folders(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "note.txt").touch()
    with pytest.raises(ValueError, match=r"no pictures in .*empty"):
        PairedFolders(folders[0], tmp_path / "empty").load()
    with pytest.raises(FileNotFoundError, match="missing is not a folder"):
        PairedFolders(folders[0], tmp_path / "missing").load()


@pytest.mark.parametrize("part", ["", "our485", "train"])
def test_the_folders_of_lol_are_pairs(tmp_path: Path, part: str) -> None:
    write(tmp_path / part / "low" / "1.png", 9)
    write(tmp_path / part / "high" / "1.png", 90)
    source = PairedFolders(tmp_path / part / "low", tmp_path / part / "high")
    source.load()
    assert greys(source) == [(9, 90)]


def test_sources_share_decoded_pictures(folders: tuple[Path, Path]) -> None:
    pairs, lit = PairedFolders(*folders), WellLit(str(folders[1]))
    pairs.load()
    lit.load()
    assert np.shares_memory(pairs.pair(0).target, lit.pair(0).target)


def test_changed_files_are_read_again(folders: tuple[Path, Path]) -> None:
    first = WellLit(str(folders[1]))
    first.load()
    write(folders[1] / "1.bmp", 77, size=(20, 20))
    second = WellLit(str(folders[1]))
    second.load()
    assert second.pair(0).dark[0, 0, 0] == 77


def test_brackets_go_to_the_reference(brackets: Path) -> None:
    source = Brackets(brackets, dark_mean=(15, 70))
    source.load()
    fused = source.pair(2).target  # scene b has no reference.png: its frames are fused
    assert fused.dtype == np.uint8
    assert 30 < fused.mean() < 90
    expected = [(20, 100), (60, 100), (30, int(fused[0, 0, 0]))]
    assert greys(source) == expected
    assert drawn(source) == set(expected)


def test_brackets_draw_scenes_alike_however_many_frames(brackets: Path) -> None:
    source = Brackets(brackets, dark_mean=(15, 70))
    source.load()
    rng = np.random.default_rng(0)
    share = np.mean([source.draw(rng).dark[0, 0, 0] == 30 for _ in range(1000)])
    assert share == pytest.approx(1 / 2, abs=0.06)  # scene b is one of two, though it has one of three frames


def test_brackets_blend_neighbouring_exposures(brackets: Path) -> None:
    source = Brackets(brackets, scenes=["a"], dark_mean=(15, 70), blend=True, ignore_detail=True)
    source.load()
    samples = [source.draw(np.random.default_rng([0, n])) for n in range(200)]
    for sample in samples:
        grey = int(sample.dark[0, 0, 0])
        assert sample.dark.dtype == np.uint8
        assert (sample.dark == grey).all()
        assert sample.mean == pytest.approx(grey / 255)
        assert sample.ignore_detail
        assert (sample.target == 100).all()
    levels = [int(sample.dark[0, 0, 0]) for sample in samples]
    assert min(levels) >= 20
    assert max(levels) == 60
    assert np.mean(np.array(levels) == 60) == pytest.approx(1 / 2, abs=0.1)
    assert len(set(levels)) > 20
    assert greys(source) == [(20, 100), (60, 100)]  # validation takes the frames as they are


def test_brackets_of_true_hue(tmp_path: Path) -> None:
    light = np.array([0.16, 0.08, 0.02])  # linear, of an orange wall
    ratios = light / (light @ [0.2126, 0.7152, 0.0722])

    def code(linear: np.ndarray) -> np.ndarray:
        values = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        return np.round(255 * values.clip(0, 1)).astype(np.uint8)

    for name, picture in {"a": code(light), "b": code(4 * light), "reference": np.uint8([150, 140, 90])}.items():
        write(tmp_path / "scene" / f"{name}.png", np.tile(picture, (32, 36, 1)))
    plain, true = (Brackets(tmp_path, true_hues=asked) for asked in (False, True))
    for source in (plain, true):
        source.load()
    given, target = (source.pair(0).target.astype(float) / 255 for source in (plain, true))
    assert given.shape == target.shape == (3, 32, 36)
    linear = np.where(target <= 0.04045, target / 12.92, ((target + 0.055) / 1.055) ** 2.4).mean((1, 2))
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    reference = ((np.array([150, 140, 90]) / 255 + 0.055) / 1.055) ** 2.4 @ [0.2126, 0.7152, 0.0722]
    np.testing.assert_allclose(linear / luminance, ratios, rtol=0.04)
    np.testing.assert_allclose(luminance, reference, rtol=0.02)


def test_brackets_frame_to_frame(brackets: Path) -> None:
    source = Brackets(brackets, scenes=["a"], target="frames")
    source.load()
    levels = (20, 60, 100, 140)
    assert drawn(source, 400) == {(one, other) for one in levels for other in levels if one != other}
    assert greys(source) == [(20, 100), (60, 100)]  # validation stays frame → reference


def test_brackets_scenes_and_exclude(brackets: Path) -> None:
    source = Brackets(brackets, scenes=["b", "a"], exclude=["b"], dark_mean=(0, 255))
    source.load()
    assert greys(source) == [(20, 100), (60, 100), (140, 100)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scenes": ["a", "z"]}, "scenes that are not in .*: z"),
        ({"exclude": ["y"]}, "exclude names what is not in .*: y"),
        ({"scenes": ["a"], "exclude": ["a"]}, "no scenes left"),
        ({"dark_mean": (1, 2)}, r"no frame of .* has a mean within dark_mean=\(1, 2\)"),
    ],
)
def test_brackets_errors(brackets: Path, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Brackets(brackets, **options).load()


def test_brackets_check_their_files(brackets: Path) -> None:
    with pytest.raises(ValueError, match="target: expected 'reference' or 'frames', got 'all'"):
        Brackets(brackets, target="all")
    write(brackets / "b" / "2.png", 50, size=(4, 4))
    with pytest.raises(ValueError, match=r"1 pairs differ in size: .*1\.png is 16×12 but .*2\.png 4×4"):
        Brackets(brackets).load()
    for name in ("0.png", "2.png"):
        (brackets / "b" / name).unlink()
    with pytest.raises(ValueError, match="b has one frame and no reference"):
        Brackets(brackets).load()


def test_well_lit_pictures_stay_as_they_are(brackets: Path) -> None:
    source = WellLit([str(brackets / "*" / "*.png")], exclude=["reference", "b"], mean=(50, 150))
    source.load()
    assert greys(source) == [(60, 60), (140, 140)]
    assert not source.pair(0).darken


def test_globs_that_overlap_give_each_file_once(folders: tuple[Path, Path]) -> None:
    source = WellLit([str(folders[1]), str(folders[1] / "*.bmp")])
    source.load()
    assert len(source) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"paths": "nowhere/*.png"}, r"no pictures match 'nowhere/\*\.png'"),
        ({"exclude": ["typo"]}, "exclude names what is not in .*: typo"),
        ({"mean": (250, 255)}, r"no picture of .* is left after exclude and mean=\(250, 255\)"),
    ],
)
def test_well_lit_errors(folders: tuple[Path, Path], options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WellLit(**{"paths": str(folders[1]), **options}).load()


def test_darkened_pictures_are_marked(folders: tuple[Path, Path]) -> None:
    source = Darkened(str(folders[1]))
    source.load()
    sample = source.draw(np.random.default_rng(0))
    assert sample.darken
    assert sample.dark is sample.target
    assert not source.validates


def test_unpaired_folders_draw_independently(folders: tuple[Path, Path]) -> None:
    write(folders[1] / "4.png", 140, size=(30, 30))
    source = UnpairedFolders(*folders)
    source.load()
    assert drawn(source, 400) == {(dark, normal) for dark in (10, 20, 30) for normal in (110, 120, 130, 140)}
    assert greys(source)[3] == (10, 140)
    assert not source.pair(0).paired


def test_self_made_pictures_depend_on_their_seed_only() -> None:
    one, same, other = SelfMade(3, (20, 30)), SelfMade(3, (20, 30)), SelfMade(3, (20, 30), seed=1)
    for source in (one, same, other):
        source.load()
    for index in range(3):
        np.testing.assert_array_equal(one.pair(index).target, same.pair(index).target)
        assert (one.pair(index).target != other.pair(index).target).mean() > 0.5
    sample = one.pair(0)
    assert sample.dark.shape == (3, 20, 30)
    assert sample.target.std() > 10
    # a tenth of the light: (dark / target)^2.2 = 0.1
    np.testing.assert_allclose((sample.mean * 255 / sample.target.mean()) ** 2.2, 0.1, rtol=0.02)
    assert not sample.darken


def test_self_made_pictures_for_the_sensor_model() -> None:
    source = SelfMade(1, darken=True)
    source.load()
    assert source.pair(0).darken
    assert not source.validates
    with pytest.raises(ValueError, match=r"count and size: expected positive numbers, got 0 and \(96, 128\)"):
        SelfMade(0)


def test_mixture_follows_its_weights(folders: tuple[Path, Path]) -> None:
    mixture = Mixture([WellLit(str(folders[0])), WellLit(str(folders[1])), SelfMade(1)], [3, 1, 0])
    mixture.load()
    rng = np.random.default_rng(0)
    levels = [mixture.draw(rng).dark[0, 0, 0] for _ in range(2000)]
    assert set(levels) == {10, 20, 30, 110, 120, 130}
    assert np.mean(np.array(levels) < 100) == pytest.approx(3 / 4, abs=0.04)
    assert len(mixture) == 7
    assert greys(mixture)[3] == (110, 110)


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, 2.0, 3.0]])
def test_mixture_rejects_weights(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights: expected"):
        Mixture([SelfMade(), SelfMade()], weights)
    if len(weights) == 2:
        with pytest.raises(ValueError, match="weights: expected"):
            Mixture([SelfMade(weight=weight) for weight in weights])


def test_a_list_of_weights_means_what_weights_of_the_sources_mean() -> None:
    shares = [0.7, 0.1, 0.2]
    by_position = Mixture([SelfMade(4, seed=seed) for seed in range(3)], shares)
    by_source = Mixture([SelfMade(4, seed=seed, weight=share) for seed, share in enumerate(shares)])
    for mixture in (by_position, by_source):
        mixture.load()
    drawn = [[m.draw(np.random.default_rng(n)).name for n in range(50)] for m in (by_position, by_source)]
    assert drawn[0] == drawn[1]
    with pytest.raises(ValueError, match=r"weights: expected null .* weight of their own \(\[1\.0, 2\.0\]\), got"):
        Mixture([SelfMade(), SelfMade(weight=2.0)], [0.7, 0.3])


@pytest.mark.parametrize("given", ["SelfMade", "lightendiff.data.datasets.SelfMade"])
def test_configurations_name_the_package_and_not_its_modules(given: str) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--source", type=Source)
    read = parser.parse_args([f"--source={given}", "--source.count=2"])
    assert read.source.class_path == "lightendiff.data.datasets.SelfMade"
    assert parser.instantiate_classes(read).source.count == 2


@pytest.mark.parametrize("alpha", [False, True])
def test_sources_read_as_restoring_reads(tmp_path: Path, alpha: bool) -> None:
    """16 bits stay 16, grey becomes three channels, alpha isn't multiplied in, and turned pictures are upright."""
    rng = np.random.default_rng(0)
    deep = rng.integers(0, 65536, (8, 6, 3), dtype=np.uint16)
    hidden = rng.integers(0, 65536, (8, 6), dtype=np.uint16) if alpha else None
    for folder in ("low", "high"):
        (tmp_path / folder).mkdir()
        write_picture(tmp_path / folder / "a.png", Picture(deep, hidden))
        write_picture(tmp_path / folder / "b.tif", Picture(deep[..., :1]))
        write_picture(tmp_path / folder / "c.heic", Picture(np.full((8, 6, 3), 99, np.uint8)))
    pairs = PairedFolders(tmp_path / "low", tmp_path / "high")
    pairs.load()
    np.testing.assert_array_equal(pairs.pair(0).dark, deep.transpose(2, 0, 1))
    np.testing.assert_array_equal(pairs.pair(1).dark, np.repeat(deep[..., :1], 3, 2).transpose(2, 0, 1))
    assert pairs.pair(1).mean == pytest.approx(deep[..., 0].mean() / 65535)
    assert abs(int(pairs.pair(2).dark.mean()) - 99) < 3
    batch = collate([pairs.pair(0), pairs.pair(2)])
    np.testing.assert_allclose(batch["dark"][0].numpy(), deep.transpose(2, 0, 1) / 257, rtol=1e-6)
    assert batch["dark"][1].max() < 103
    shallow = read_pictures([tmp_path / "low" / "a.png"])[0].pixels
    np.testing.assert_array_equal(shallow, np.rint(deep / 257).astype(np.uint8))


# published sets


FILES: dict[tuple[str, str], list[tuple[str, str]]] = {  # (dark, target) of a pair each
    ("lol_v1", "train"): [("our485/low/2.png", "our485/high/2.png")],
    ("lol_v1", "test"): [("eval15/low/1.png", "eval15/high/1.png")],
    ("lol_v2_real", "train"): [
        ("Real_captured/Train/Low/low00001.png", "Real_captured/Train/Normal/normal00001.png"),
        ("Real_captured/Train/Low/low00002.png", "Real_captured/Train/Normal/normal00002.png"),
    ],
    ("lol_v2_real", "test"): [("Real_captured/Test/Low/00690.png", "Real_captured/Test/Normal/00690.png")],
    ("lol_v2_synthetic", "test"): [("Synthetic/Test/Low/r00t.png", "Synthetic/Test/Normal/r00t.png")],
    ("lsrw_huawei", "train"): [("Training data/Huawei/low/1.jpg", "Training data/Huawei/high/1.jpg")],
    ("lsrw_nikon", "test"): [("Eval/Nikon/low/3001.jpg", "Eval/Nikon/high/3001.jpg")],
    ("sice", "train"): [("Dataset_Part1/7/1.JPG", "Dataset_Part1/Label/7.JPG")],
    ("sice", "test"): [("Dataset_Part2/12/2.JPG", "Dataset_Part2/Label/12.png")],
    ("sid", "train"): [
        ("short_sid2/00001/00001_00_0.04s.png", "long_sid2/00001/00001_00_10s.png"),
        ("short_sid2/00001/00001_00_0.1s.png", "long_sid2/00001/00001_00_10s.png"),
    ],
    ("sid", "test"): [("short/10003/10003_00_0.1s.png", "long/10003/10003_00_10s.png")],
}


@pytest.mark.parametrize(("layout", "split"), FILES)
def test_published_sets(layout: Any, split: Any, tmp_path: Path) -> None:
    for number, (dark, target) in enumerate(FILES[layout, split]):
        write(tmp_path / dark, 10 + number)
        if not (tmp_path / target).exists():
            write(tmp_path / target, 110 + number)
    if layout == "sice":
        write((tmp_path / FILES[layout, split][0][0]).with_name("9.JPG"), 240)  # brighter than its target
    source = Published(layout, tmp_path, split)
    source.load()
    names = [tuple(str(Path(path).relative_to(tmp_path)) for path in s.name.split(" → ")) for s in source.pairs()]
    assert names == FILES[layout, split]
    assert all(sample.dark.mean() < sample.target.mean() for sample in source.pairs())


def test_published_sets_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected pictures of lol_v1 in our485/high, got none"):
        Published("lol_v1", tmp_path).load()
    with pytest.raises(ValueError, match=r"layout: expected one of lol_v1, .*, got 'lol'"):
        Published("lol", tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="split: expected one of train, test, got 'val'"):
        Published("sid", tmp_path, "val")  # type: ignore[arg-type]
    write(tmp_path / "our485" / "low" / "1.png", 10)
    write(tmp_path / "our485" / "high" / "2.png", 10)
    with pytest.raises(ValueError, match=r"1 dark pictures of lol_v1 without a target: .*1\.png"):
        Published("lol_v1", tmp_path).load()
