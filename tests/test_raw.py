"""RAW photos: a small DNG, written here byte by byte, through LibRaw."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lightendiff.batch.plan import plan
from lightendiff.batch.run import restore_files
from lightendiff.images import ImageError, decode_picture, read_picture

BLACK, WHITE = 512, 16383
NEUTRAL = (0.5, 1.0, 0.8)  # what the sensor sees of grey, relative to green
FROM_XYZ = (3.2406, -1.5372, -0.4986, -0.9689, 1.8758, 0.0415, 0.0557, -0.2040, 1.0570)  # linear sRGB of CIE XYZ
ARTIST, EXPOSURE, EXIF_IFD, ORIENTATION = 315, 33434, 34665, 274


def make_dng(light: np.ndarray, orientation: int = 1) -> bytes:
    """A DNG of light (h, w, 3), relative to white, through a sensor of 14 bit whose primaries are those of sRGB."""
    height, width = light.shape[:2]
    seen = light * NEUTRAL
    mosaic = seen[..., 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = seen[::2, ::2, 0], seen[1::2, 1::2, 2]  # R G / G B
    values = np.rint(BLACK + mosaic * (WHITE - BLACK)).astype("<u2").tobytes()
    data = bytearray(b"II*\0\0\0\0\0")

    def append(block: bytes) -> int:
        data.extend(bytes(len(data) % 2))
        data.extend(block)
        return len(data) - len(block)

    def directory(entries: list[tuple[int, str, tuple]]) -> int:
        packed = b""
        for tag, code, numbers in entries:
            kind = {"B": 1, "s": 2, "H": 3, "I": 4, "R": 5, "r": 10}[code]
            if code == "s":
                block, count = numbers[0] + b"\0", len(numbers[0]) + 1
            elif code in "Rr":
                pairs = [part for number in numbers for part in (round(number * 10000), 10000)]
                block, count = struct.pack("<" + {"R": "I", "r": "i"}[code] * len(pairs), *pairs), len(numbers)
            else:
                block, count = struct.pack("<" + code * len(numbers), *numbers), len(numbers)
            place = block.ljust(4, b"\0") if len(block) <= 4 else struct.pack("<I", append(block))
            packed += struct.pack("<HHI", tag, kind, count) + place
        return append(struct.pack("<H", len(entries)) + packed + bytes(4))

    strip = append(values)
    exif = directory([(EXPOSURE, "R", (0.125,)), (37500, "s", (b"a maker note",))])
    first = directory(
        [
            (254, "I", (0,)), (256, "I", (width,)), (257, "I", (height,)), (258, "H", (16,)), (259, "H", (1,)),
            (262, "H", (32803,)), (271, "s", (b"Maker",)), (272, "s", (b"Model",)), (273, "I", (strip,)),
            (ORIENTATION, "H", (orientation,)), (277, "H", (1,)), (278, "I", (height,)), (279, "I", (len(values),)),
            (284, "H", (1,)), (ARTIST, "s", (b"Someone",)), (33421, "H", (2, 2)), (33422, "B", (0, 1, 1, 2)),
            (EXIF_IFD, "I", (exif,)), (50706, "B", (1, 4, 0, 0)), (50707, "B", (1, 1, 0, 0)),
            (50708, "s", (b"Maker Model",)), (50714, "H", (BLACK,)), (50717, "H", (WHITE,)), (50721, "r", FROM_XYZ),
            (50728, "R", NEUTRAL), (50778, "H", (21,)),
        ]
    )  # fmt: skip
    struct.pack_into("<I", data, 4, first)
    return bytes(data)


def code_value(linear: float) -> float:
    """sRGB's transfer curve, IEC 61966-2-1, to 16 bit."""
    return 65535 * (12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055)


def grey(level: float, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    return np.full((*size, 3), level)


@pytest.mark.parametrize("level", [0.0, 0.002, 0.05, 0.3, 0.7])
def test_grey_becomes_its_code_value(tmp_path: Path, level: float) -> None:
    pytest.importorskip("rawpy")
    (tmp_path / "a.dng").write_bytes(make_dng(grey(level)))
    picture = read_picture(tmp_path / "a.dng")
    assert (picture.pixels.shape, picture.pixels.dtype, picture.format) == ((48, 64, 3), np.uint16, "TIFF")
    # a level of the sensor, 1/15871 of white, and one of 16 bit, by the slope of the curve
    step = code_value(level + 1 / 15871 + 1 / 65535) - code_value(level)
    np.testing.assert_allclose(picture.pixels, code_value(level), atol=step + 1, rtol=0)


def test_nothing_is_brightened(tmp_path: Path) -> None:
    """Twice the light is twice the linear value, also in pictures that are dark altogether."""
    pytest.importorskip("rawpy")
    (tmp_path / "a.dng").write_bytes(make_dng(grey(0.01)))
    (tmp_path / "b.dng").write_bytes(make_dng(grey(0.02)))
    a, b = (read_picture(tmp_path / name).pixels.mean() for name in ("a.dng", "b.dng"))
    assert a == pytest.approx(code_value(0.01), rel=0.01)
    assert b == pytest.approx(code_value(0.02), rel=0.01)


def test_colours_are_those_of_srgb(tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    light = grey(1.0) * (0.4, 0.1, 0.2)
    (tmp_path / "a.dng").write_bytes(make_dng(light))
    middle = read_picture(tmp_path / "a.dng").pixels[8:-8, 8:-8].mean(axis=(0, 1))
    np.testing.assert_allclose(middle, [code_value(value) for value in (0.4, 0.1, 0.2)], rtol=0.01)


def test_the_orientation_is_applied(tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    light = grey(0.1)
    light[:, 32:] = 0.4
    (tmp_path / "a.DNG").write_bytes(make_dng(light, orientation=6))  # stored left is upright's top
    picture = read_picture(tmp_path / "a.DNG")
    assert picture.pixels.shape == (64, 48, 3)
    np.testing.assert_allclose(picture.pixels[:24].mean(), code_value(0.1), rtol=0.01)
    np.testing.assert_allclose(picture.pixels[40:].mean(), code_value(0.4), rtol=0.01)


def test_a_restored_raw_photo_is_a_tiff_of_16_bit_with_its_exif_data(tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.dng").write_bytes(make_dng(grey(0.05), orientation=6))
    summary = restore_files(plan([tmp_path / "in"], tmp_path / "out").jobs, lambda array: array * 2)
    assert (summary.restored, summary.notes) == (1, {})
    picture = read_picture(tmp_path / "out" / "a.tif")
    np.testing.assert_array_equal(picture.pixels, 2 * read_picture(tmp_path / "in" / "a.dng").pixels)
    exif = Image.Exif()
    exif.load(picture.exif)
    assert (exif[ARTIST], exif.get(ORIENTATION, 1), 50706 in exif) == ("Someone", 1, False)
    assert dict(exif.get_ifd(EXIF_IFD)) == {EXPOSURE: 0.125}
    restore_files(plan([tmp_path / "in"], tmp_path / "out", format="jpg").jobs, lambda array: array, format="jpg")
    assert read_picture(tmp_path / "out" / "a.jpg").format == "JPEG"


def test_what_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    path = tmp_path / "a.nef"
    path.write_bytes(make_dng(grey(0.1)))
    with pytest.raises(ImageError, match=r"a\.nef: 64×48 is more than the limit of 3,071 pixels"):
        read_picture(path, max_pixels=64 * 48 - 1)
    for content in (b"text", make_dng(grey(0.1))[:300], b"II*\0" + bytes(400)):
        path.write_bytes(content)
        with pytest.raises(ImageError, match=r"a\.nef: not a RAW photo that LibRaw can read"):
            read_picture(path)
    path.write_bytes(b"")
    with pytest.raises(ImageError, match="the file is empty"):
        read_picture(path)


DNG_VERSION = struct.pack("<HHI4B", 50706, 1, 4, 1, 4, 0, 0)
PRIVATE = struct.pack("<HHI4B", 65000, 1, 4, 1, 4, 0, 0)


def as_nef(dng: bytes) -> bytes:
    """With the first directory for a small picture's, and one below it."""
    small = dng.replace(struct.pack("<HHII", 254, 4, 1, 0), struct.pack("<HHII", 254, 4, 1, 1))
    return small.replace(DNG_VERSION, struct.pack("<HHII", 330, 4, 1, 8))


def as_cr2(dng: bytes) -> bytes:
    """With the first directory at 16, after the mark. Nothing else is moved."""
    (first,) = struct.unpack_from("<I", dng, 4)
    moved = dng[first : first + 2 + 12 * struct.unpack_from("<H", dng, first)[0] + 4].replace(DNG_VERSION, PRIVATE)
    return b"II*\0\x10\0\0\0CR\2\0" + bytes(4) + moved + dng[16 + len(moved) :]


@pytest.mark.parametrize("change", [bytes, as_nef, as_cr2])
def test_under_another_name_they_are_refused(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    """Or the thumbnail, which is all of it that readers of TIFF see, would be taken for the photo."""
    data = change(make_dng(grey(0.1)))
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.tif: a RAW photo: those are known by the extension of their file's name"):
        read_picture(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="standard input: a RAW photo"):
        decode_picture(data, "standard input")


def test_without_rawpy_every_photo_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    names = ("a.dng", "b.NEF", "c.cr2", "d.cr3", "e.arw", "f.raf", "g.orf", "h.rw2")
    for name in names:
        (tmp_path / name).write_bytes(b"a photo")
    failures: list[str] = []
    restore_files(plan([tmp_path], tmp_path / "out").jobs, lambda array: array, failed=failures.append)
    needs = "RAW photos need rawpy: pip install 'lightendiff[raw]'"
    assert sorted(failures) == [f"{tmp_path / name}: {needs}" for name in names]
