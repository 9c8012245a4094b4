from __future__ import annotations

import io
import os
import struct
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, JpegImagePlugin, TiffImagePlugin
from PIL.PngImagePlugin import PngImageFile, PngInfo

from lightendiff.images import ImageError, Picture, read_picture, shown, write_picture

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r d="t" tiff:Orientation="6"/></x:xmpmeta>'
DEPTHS = {np.uint8: 255, np.uint16: 65535}
MAKE, ARTIST, ORIENTATION, EXIF_IFD, GPS_IFD, MAKER_NOTE, EXPOSURE = 271, 315, 274, 34665, 34853, 37500, 33434


def make_exif(orientation: int = 1, endian: str = "<") -> bytes:
    exif = Image.Exif()
    exif.endian = endian
    exif[MAKE], exif[ARTIST], exif[ORIENTATION] = "Camera", "Someone", orientation
    exif[EXIF_IFD] = {EXPOSURE: TiffImagePlugin.IFDRational(1, 8), MAKER_NOTE: b"\x01\x02secret\xff"}
    exif[GPS_IFD] = {1: "N", 2: (48.0, 8.0, 0.0)}
    return exif.tobytes()[6:]


def make_array(dtype: type, channels: int, size: tuple[int, int] = (11, 7), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, DEPTHS[dtype] + 1, (*size, channels), dtype=dtype)


def make_picture(dtype: type = np.uint8, channels: int = 3, alpha: bool = False, **fields: object) -> Picture:
    return Picture(
        make_array(dtype, channels), make_array(dtype, 1, seed=1)[..., 0] if alpha else None, **fields  # type: ignore[arg-type]
    )  # fmt: skip


def assert_metadata(picture: Picture) -> None:
    exif = Image.Exif()
    exif.load(picture.exif)
    assert (exif[MAKE], exif[ARTIST], exif.get(ORIENTATION, 1)) == ("Camera", "Someone", 1)
    inner = exif.get_ifd(EXIF_IFD)
    assert inner[EXPOSURE] == 0.125
    assert inner[MAKER_NOTE] == b"\x01\x02secret\xff"
    assert exif.get_ifd(GPS_IFD)[2] == (48.0, 8.0, 0.0)
    assert picture.icc_profile == ICC
    assert b"xmpmeta" in picture.xmp
    assert picture.dpi == pytest.approx((300, 150), abs=0.02)


# -------------------------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", DEPTHS)
@pytest.mark.parametrize("name", ["p.png", "p.tif", "p.webp", "p.heic", "p.avif", "p.jpg"])
def test_round_trip(tmp_path, name, dtype, channels, alpha, order):
    exif = make_exif(endian=order)
    lossless = {"lossless": True}
    picture = make_picture(
        dtype, channels, alpha, format="WEBP", exif=exif, icc_profile=ICC, xmp=XMP, dpi=(300, 150), encoding=lossless
    )
    notes = write_picture(tmp_path / name, picture)
    again = read_picture(tmp_path / name)
    assert again.notes == ()
    deep = name in ("p.png", "p.tif")
    assert any("16 bit" in note for note in notes) == (dtype is np.uint16 and not deep)
    assert any("transparency" in note for note in notes) == (alpha and name == "p.jpg")
    expected, expected_alpha = picture.pixels, picture.alpha
    if dtype is np.uint16 and not deep:
        expected = np.rint(expected / 257.0).astype(np.uint8)
        expected_alpha = None if expected_alpha is None else np.rint(expected_alpha / 257.0).astype(np.uint8)
    colour_with_alpha = name in ("p.heic", "p.avif") or (name == "p.tif" and dtype is np.uint16)
    if name == "p.webp" or (alpha and colour_with_alpha):  # grey as three equal channels
        expected = np.broadcast_to(expected, (*expected.shape[:2], 3))
    assert again.pixels.shape == expected.shape
    assert again.pixels.dtype == expected.dtype
    assert (again.alpha is not None) == (alpha and name != "p.jpg")
    if name in ("p.jpg", "p.heic", "p.avif"):
        assert np.abs(again.pixels.astype(int) - expected).mean() < 12  # noise at quality 95
    else:
        np.testing.assert_array_equal(again.pixels, expected)
        np.testing.assert_array_equal(again.alpha, expected_alpha) if alpha else None
    if name in ("p.webp", "p.heic", "p.avif"):
        again = Picture(**{**vars(again), "dpi": (300, 150)})  # these have no field for it
    assert_metadata(again)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
def test_bmp_round_trip(tmp_path, channels, alpha):
    picture = make_picture(np.uint8, channels, alpha, icc_profile=ICC, dpi=(300, 150))
    notes = write_picture(tmp_path / "p.bmp", picture)
    assert len(notes) == 1
    assert "BMP holds no EXIF" in notes[0]
    again = read_picture(tmp_path / "p.bmp")
    expected = picture.pixels.repeat(3, axis=2) if channels == 1 and alpha else picture.pixels
    np.testing.assert_array_equal(again.pixels, expected)
    if alpha:
        np.testing.assert_array_equal(again.alpha, picture.alpha)
    assert again.dpi == pytest.approx((300, 150), abs=0.02)


def test_tiff_and_png_files_agree_with_other_readers(tmp_path):
    picture = make_picture(np.uint16, 3, exif=make_exif(), icc_profile=ICC, xmp=XMP)
    for name in ("p.png", "p.tif"):
        write_picture(tmp_path / name, picture)
        with Image.open(tmp_path / name) as image:
            image.load()
            assert image.info["icc_profile"] == ICC
            assert image.getexif()[MAKE] == "Camera"
            np.testing.assert_array_equal(np.asarray(image), picture.pixels >> 8)  # Pillow truncates
    with Image.open(tmp_path / "p.png") as image:
        assert image.info["xmp"] == XMP


def test_large_strips(tmp_path):
    picture = Picture(np.arange(3 * 700 * 900, dtype=np.uint16).reshape(900, 700, 3))
    write_picture(tmp_path / "p.tif", picture)
    np.testing.assert_array_equal(read_picture(tmp_path / "p.tif").pixels, picture.pixels)


def test_png_chunks_survive(tmp_path):
    info = PngInfo()
    info.add_text("Title", "Night")
    info.add_itxt("Beschreibung", "Höhle", "de", "Beschreibung")
    info.add(b"gAMA", struct.pack(">I", 100000))
    Image.fromarray(make_array(np.uint8, 3)).save(tmp_path / "a.png", pnginfo=info, dpi=(300, 300))
    picture = read_picture(tmp_path / "a.png")
    write_picture(tmp_path / "b.png", picture)
    with Image.open(tmp_path / "b.png") as image:
        image.load()
        assert image.text["Title"] == "Night"
        assert image.text["Beschreibung"] == "Höhle"
        assert image.info["gamma"] == 1.0
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.02)


def test_jpeg_keeps_its_quality_and_segments(tmp_path):
    caption = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0\0\0\0\0"
    array = make_array(np.uint8, 3, (40, 56))
    extra = b"\xff\xed" + struct.pack(">H", len(caption) + 2) + caption
    Image.fromarray(array).save(
        tmp_path / "a.jpg", quality=61, subsampling=1, progressive=True, comment=b"hello", extra=extra
    )
    picture = read_picture(tmp_path / "a.jpg")
    write_picture(tmp_path / "b.jpg", picture)
    write_picture(tmp_path / "c.jpg", picture, quality=98)
    with Image.open(tmp_path / "a.jpg") as a, Image.open(tmp_path / "b.jpg") as b, Image.open(tmp_path / "c.jpg") as c:
        assert b.quantization == a.quantization
        assert JpegImagePlugin.get_sampling(b) == 1
        assert b.info["progressive"]
        assert b.info["comment"] == b"hello"
        assert ("APP13", caption) in b.applist
        assert max(c.quantization[0]) < min(max(a.quantization[0]), 8)


def test_webp_stays_lossy_or_lossless(tmp_path):
    array = make_array(np.uint8, 3, (32, 32))
    for lossless in (False, True):
        Image.fromarray(array).save(tmp_path / "a.webp", lossless=lossless, quality=50, icc_profile=ICC)
        picture = read_picture(tmp_path / "a.webp")
        assert picture.encoding == {"lossless": lossless}
        write_picture(tmp_path / "b.webp", picture)
        assert (read_picture(tmp_path / "b.webp").pixels == picture.pixels).all() == lossless


def test_format_argument_and_unknown_extension(tmp_path):
    picture = make_picture(format="GIF")
    write_picture(tmp_path / "a.jpg", picture, format="png")
    write_picture(tmp_path / "b.unknown", picture)
    assert [read_picture(tmp_path / name).format for name in ("a.jpg", "b.unknown")] == ["PNG", "PNG"]
    with pytest.raises(ValueError, match=r"format: expected one of .* got 'gif'"):
        write_picture(tmp_path / "a.gif", picture, format="gif")
    with pytest.raises(ValueError, match="quality: expected 1 to 100, got 0"):
        write_picture(tmp_path / "a.jpg", picture, quality=0)


def test_heic_keeps_its_sampling_of_colour_and_takes_a_quality(tmp_path):
    rng = np.random.default_rng(0)
    array = np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((9, 9, 1))).astype(np.uint8)
    write_picture(tmp_path / "fine.heic", Picture(array))
    fine = read_picture(tmp_path / "fine.heic")
    assert (fine.format, fine.encoding) == ("HEIF", {"chroma": 444})
    write_picture(tmp_path / "coarse.heic", Picture(array, format="HEIF", encoding={"chroma": 420}), quality=20)
    coarse = read_picture(tmp_path / "coarse.heic")
    assert coarse.encoding == {"chroma": 420}
    write_picture(tmp_path / "again.heic", coarse)
    assert read_picture(tmp_path / "again.heic").encoding == {"chroma": 420}
    errors = [np.abs(picture.pixels.astype(int) - array).mean() for picture in (fine, coarse)]
    assert errors[0] < 2 < errors[1]


@pytest.mark.parametrize("name", ["p.heic", "p.avif"])
def test_a_high_quality_is_closer_to_the_picture(tmp_path, name):
    picture = make_picture()
    errors = []
    for quality in (30, None, 100):
        write_picture(tmp_path / name, picture, quality=quality)
        errors.append(np.abs(read_picture(tmp_path / name).pixels.astype(int) - picture.pixels).mean())
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("name", ["p.heic", "p.avif"])
def test_colour_spaces_without_a_profile_get_one(tmp_path, name):
    write_picture(tmp_path / name, Picture(np.full((64, 64, 3), (234, 51, 35), np.uint8)))  # sRGB's red in Display P3
    data = bytearray((tmp_path / name).read_bytes())
    at = data.index(b"colrnclx") + 8
    assert read_picture(tmp_path / name).icc_profile == b""

    def described(primaries: int, curve: int) -> Picture:
        struct.pack_into(">HH", data, at, primaries, curve)
        (tmp_path / name).write_bytes(data)
        return read_picture(tmp_path / name)

    picture = described(12, 13)
    assert picture.notes == ()
    shown = ImageCms.profileToProfile(
        Image.fromarray(picture.pixels), io.BytesIO(picture.icc_profile), ImageCms.createProfile("sRGB")
    )
    assert shown is not None
    np.testing.assert_allclose(np.asarray(shown).reshape(-1, 3).mean(0), (255, 0, 0), atol=4)
    assert "Display P3" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(picture.icc_profile)))
    for other in ("q.heic", "q.avif", "q.png"):
        assert write_picture(tmp_path / other, picture) == ()
        assert read_picture(tmp_path / other).icc_profile == picture.icc_profile
    grey = Image.fromarray(np.full((64, 64), 99, np.uint8))
    grey.save(tmp_path / "grey.heic", color_primaries=12)
    assert read_picture(tmp_path / "grey.heic").icc_profile == b""  # colours' profiles don't fit grey
    hdr = described(9, 16)
    assert hdr.notes == ("the brightness curve PQ (HDR) is read as sRGB's, which changes its look",)
    assert hdr.icc_profile not in (b"", picture.icc_profile)


def test_ten_bits_are_said_to_become_eight(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pixels = make_array(np.uint16, 3, (64, 64))
    pillow_heif.from_bytes("RGB;16", (64, 64), pixels.tobytes()).save(tmp_path / "deep.heic")
    picture = read_picture(tmp_path / "deep.heic")
    assert picture.pixels.dtype == np.uint8
    assert picture.notes == ("10 bit is rounded to 8",)


def test_a_motion_photo_without_its_video_does_not_claim_one(tmp_path):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1"/></x:xmpmeta>'
    write_picture(tmp_path / "m.jpg", make_picture(xmp=xmp))
    with open(tmp_path / "m.jpg", "ab") as file:
        file.write(b"a video")
    picture = read_picture(tmp_path / "m.jpg")
    assert picture.notes == ("a motion photo's video is left out",)
    assert picture.xmp == xmp.replace(b'MotionPhoto="1"', b'MotionPhoto="0"')


def test_heic_says_what_it_needs(tmp_path, monkeypatch):
    write_picture(tmp_path / "p.heic", make_picture())
    (tmp_path / "p.heic").rename(tmp_path / "p.jpg")  # recognised by its content, as everything is
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for call in (lambda: read_picture(tmp_path / "p.jpg"), lambda: write_picture(tmp_path / "q.heic", make_picture())):
        with pytest.raises(ImageError, match=r"need pillow-heif: pip install 'lightendiff\[heic\]'"):
            call()
    assert not (tmp_path / "q.heic").exists()


# -------------------------------------------------------------------------------------------------------- orientation


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """How a camera stores the upright picture (EXIF 2.32, table 6: where row 0 and column 0 lie)."""
    return {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }[orientation](upright)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png8", "png16", "tif8", "tif16", "webp", "heic", "avif", "jpg"])
def test_orientation(tmp_path, kind, orientation):
    name, dtype = f"a.{kind.rstrip('168')}", np.uint16 if kind.endswith("16") else np.uint8
    upright = np.zeros((16, 24, 3), dtype)
    upright[:8, :8], upright[8:, 16:] = DEPTHS[dtype], DEPTHS[dtype] // 3  # blocks of JPEG's size
    raw = np.ascontiguousarray(stored(upright, orientation))
    source = Picture(raw, format="WEBP", exif=make_exif(orientation), xmp=XMP, encoding={"lossless": True})
    write_picture(tmp_path / name, source)
    picture = read_picture(tmp_path / name)
    lossy = {"jpg": 3, "heic": 12, "avif": 12}.get(kind, 0)
    np.testing.assert_allclose(picture.pixels.astype(int), upright, atol=lossy)
    assert (b'tiff:Orientation="1"' in picture.xmp) == (orientation != 1 or kind == "heic")
    write_picture(tmp_path / f"again-{name}", picture)
    again = read_picture(tmp_path / f"again-{name}")
    np.testing.assert_allclose(again.pixels.astype(int), upright, atol=2 * lossy)
    assert_metadata(Picture(**{**vars(again), "icc_profile": ICC, "dpi": (300, 150)}))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_agrees_with_pillow(tmp_path, orientation):
    from PIL import ImageOps

    image = Image.fromarray(make_array(np.uint8, 3))
    image.save(tmp_path / "a.png", exif=b"Exif\0\0" + make_exif(orientation))
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(
            read_picture(tmp_path / "a.png").pixels, np.asarray(ImageOps.exif_transpose(image))
        )


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize(("kind", "code"), [(1, "B"), (4, "I")])
def test_orientation_as_a_number_of_another_size(tmp_path, endian, kind, code):
    block = bytearray(make_exif(6, endian))
    at = block.index(struct.pack(endian + "HH", ORIENTATION, 3))
    struct.pack_into(endian + "HHI", block, at, ORIENTATION, kind, 1)
    block[at + 8 : at + 12] = struct.pack(endian + code, 6).ljust(4, b"\0")
    picture = make_picture()
    write_picture(tmp_path / "turned.png", Picture(picture.pixels, exif=bytes(block)))
    assert read_picture(tmp_path / "turned.png").pixels.shape == (7, 11, 3)


def test_thumbnail_is_dropped_and_the_rest_unmoved(tmp_path):
    from lightendiff.images.exif import reset_orientation

    exif = bytearray(make_exif(3))
    (count,) = struct.unpack_from("<H", exif, 8)
    struct.pack_into("<I", exif, 10 + 12 * count, 26)  # a second directory, which is the thumbnail's
    upright, orientation = reset_orientation(bytes(exif), drop_thumbnail=True)
    assert orientation == 3
    assert len(upright) == len(exif)
    assert sum(a != b for a, b in zip(upright, exif, strict=True)) == 2  # orientation and the link


# ---------------------------------------------------------------------------------------------------------- odd inputs


def test_palette_bilevel_and_colour_models(tmp_path):
    rgb = Image.fromarray(make_array(np.uint8, 3))
    cases = {
        "P": (rgb.quantize(8), 3, "png"),
        "1": (rgb.convert("1"), 1, "png"),
        "LA": (rgb.convert("LA"), 1, "png"),
        "CMYK": (rgb.convert("CMYK"), 3, "jpg"),
        "CMYK tiff": (rgb.convert("CMYK"), 3, "tif"),
        "LAB": (ImageCms.profileToProfile(
            rgb, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"), 3, "tif"),
    }  # fmt: skip
    for name, (image, channels, extension) in cases.items():
        image.save(tmp_path / f"{name}.{extension}", icc_profile=None)
        picture = read_picture(tmp_path / f"{name}.{extension}")
        assert picture.pixels.shape == (11, 7, channels), name
        assert (picture.alpha is not None) == (name == "LA"), name
        if name == "P":
            np.testing.assert_array_equal(picture.pixels, np.asarray(image.convert("RGB")))
        if name in ("CMYK tiff", "LAB"):
            assert np.abs(picture.pixels.astype(int) - np.asarray(rgb)).mean() < 2, name
        assert bool(picture.notes) == (name[:3] in ("CMY", "LAB")), name
        assert write_picture(tmp_path / f"out.{extension}", picture) == ()


def test_grey_palette_stays_grey_and_transparent_colours_become_alpha(tmp_path):
    grey = Image.fromarray(make_array(np.uint8, 1)[..., 0])
    indexed = Image.fromarray(255 - np.asarray(grey)).convert("P")
    indexed.putpalette([255 - i // 3 for i in range(768)])
    indexed.save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "grey.png").pixels[..., 0], np.asarray(grey))
    indexed.save(tmp_path / "keyed.png", transparency=7)
    keyed = read_picture(tmp_path / "keyed.png")
    np.testing.assert_array_equal(keyed.alpha == 0, np.asarray(indexed) == 7)
    array = make_array(np.uint8, 3)
    Image.fromarray(array).save(tmp_path / "rgb.png", transparency=tuple(int(v) for v in array[2, 3]))
    alpha = read_picture(tmp_path / "rgb.png").alpha
    assert alpha is not None
    assert alpha[2, 3] == 0
    assert (alpha == 0).sum() == 1
    deep = make_array(np.uint16, 1)[..., 0]
    Image.fromarray(deep).save(tmp_path / "deep.png", transparency=int(deep[2, 3]))
    picture = read_picture(tmp_path / "deep.png")
    np.testing.assert_array_equal(picture.pixels[..., 0], deep)
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, np.where(deep == deep[2, 3], 0, 65535))


def test_first_frame_and_that_is_said(tmp_path):
    frames = [Image.fromarray(make_array(np.uint8, 3, seed=seed)) for seed in range(3)]
    words = {"a.png": "frame", "a.tif": "page", "a.webp": "frame", "a.gif": "frame", "a.avif": "frame"}
    for name, word in words.items():
        options = {"lossless": True} if name == "a.webp" else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        picture = read_picture(tmp_path / name)
        assert picture.notes == (f"only the first {word} is restored",)
        if name not in ("a.gif", "a.avif"):
            np.testing.assert_array_equal(picture.pixels, np.asarray(frames[0]))


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiffs_of_other_programs(tmp_path, order):
    tifffile = pytest.importorskip("tifffile")
    deep = make_array(np.uint16, 4)
    path = tmp_path / "a.tif"

    def read(array, **options):
        tifffile.imwrite(path, array, byteorder=order, metadata=None, **options)
        return read_picture(path)

    assert (read(deep[..., 0], photometric="minisblack").pixels[..., 0] == deep[..., 0]).all()
    assert (read(deep[..., :3], photometric="rgb", compression="zlib", predictor=True).pixels == deep[..., :3]).all()
    assert (read(deep[..., :3], photometric="rgb", tile=(16, 16)).pixels == deep[..., :3]).all()
    picture = read(deep, photometric="rgb", extrasamples=["unassalpha"])
    assert (picture.pixels == deep[..., :3]).all()
    assert (picture.alpha == deep[..., 3]).all()
    if order == "<":  # Pillow knows this kind in one byte order only
        assert (read(65535 - deep[..., 0], photometric="miniswhite").pixels[..., 0] == deep[..., 0]).all()
    multiplied = np.rint(deep[..., :3] * (deep[..., 3:] / 65535.0)).astype(np.uint16)
    picture = read(np.concatenate([multiplied, deep[..., 3:]], 2), photometric="rgb", extrasamples=["assocalpha"])
    opaque = deep[..., 3] > 8192
    assert np.abs(picture.pixels[opaque].astype(int) - deep[opaque][:, :3]).max() <= 5  # 65535 / 8192 / 2
    picture = read(deep, photometric="rgb", extrasamples=["unspecified"])
    assert picture.alpha is None
    assert "fourth channel" in picture.notes[0]
    real = (deep[..., :3] / 65535.0).astype(np.float32)
    for array, photometric in ((real, "rgb"), (real[..., 0], "minisblack")):
        picture = read(array, photometric=photometric)
        assert (picture.pixels == deep[..., : picture.pixels.shape[2]]).all()
        assert "floating-point" in picture.notes[0]
    with pytest.raises(ImageError, match=r"outside \[0, 1\]"):
        read(real * 2, photometric="rgb")
    picture = read(np.moveaxis(deep[..., :3], 2, 0), photometric="rgb", planarconfig="separate")
    assert (picture.pixels == deep[..., :3]).all()
    for array in (deep[..., :3], (deep[..., :3] >> 8).astype(np.uint8)):
        picture = read(array, photometric="rgb", bigtiff=True, extratags=[(274, 3, 1, 6, True)])
        assert (picture.pixels == np.rot90(array, -1)).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 7)])
@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "tif", "bmp"])
def test_small_and_narrow(tmp_path, size, extension):
    for dtype in DEPTHS:
        write_picture(tmp_path / f"a.{extension}", Picture(make_array(dtype, 3, size)))
        assert read_picture(tmp_path / f"a.{extension}").pixels.shape == (*size, 3)


def test_colour_of_32_bits_in_a_tiff(tmp_path):
    array = make_array(np.uint16, 3)
    done, data = cv2.imencode(".tiff", array[..., ::-1].astype(np.int32))
    assert done
    (tmp_path / "a.tif").write_bytes(data.tobytes())
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").pixels, array)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bomb(tmp_path):
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(bomb)
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(ImageError, match=r"bomb\.png: .*limit of 300,000,000"):
        read_picture(tmp_path / "bomb.png")
    write_picture(tmp_path / "a.png", make_picture())
    for name in ("a.png", "a.tif", "a.heic", "a.avif"):
        write_picture(tmp_path / name, make_picture(np.uint16))
        with pytest.raises(ImageError, match="11 is more than the limit of 76 pixels"):
            read_picture(tmp_path / name, max_pixels=76)
        assert read_picture(tmp_path / name, max_pixels=77).pixels.shape == (11, 7, 3)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_pictures_are_decoded_side_by_side(tmp_path, monkeypatch):
    write_picture(tmp_path / "a.png", make_picture())
    limit, together, load = Image.MAX_IMAGE_PIXELS, threading.Barrier(3), PngImageFile.load

    def load_together(self):
        together.wait(timeout=30)  # until three are decoded at a time
        return load(self)

    monkeypatch.setattr(PngImageFile, "load", load_together)
    with ThreadPoolExecutor(3) as pool:
        pictures = list(pool.map(read_picture, [tmp_path / "a.png"] * 3))
    assert len(pictures) == 3
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "heic", "avif", "tif", "bmp"])
@pytest.mark.parametrize("dtype", DEPTHS)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_files_are_one_line(tmp_path, extension, dtype):
    path = tmp_path / f"a.{extension}"
    write_picture(path, Picture(make_array(dtype, 3, (50, 60)), exif=make_exif()))
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    cases = [b"", b"just text", data[: len(data) // 2], data[:30], data[:4], b"\0" * 500]
    for _ in range(40):
        broken = bytearray(data)
        for position in rng.integers(0, min(len(data), 400), 3):
            broken[position] = rng.integers(256)
        cases.append(bytes(broken))
    for number, case in enumerate(cases):
        path.write_bytes(case)
        message = ""
        try:
            read_picture(path)  # some damage can't be seen
        except ImageError as error:
            message = str(error)
        assert message.startswith(f"{path}: ") or (number >= 6 and not message)
        assert "\n" not in message
    path.write_bytes(b"")
    with pytest.raises(ImageError, match="empty"):
        read_picture(path)
    path.write_bytes(b"just text, whatever its name says")
    with pytest.raises(ImageError, match="not a PNG, JPEG, WebP, HEIC, AVIF, TIFF, BMP or GIF image"):
        read_picture(path)
    with pytest.raises(ImageError, match="No such file"):
        read_picture(tmp_path / "none.png")
    with pytest.raises(ImageError, match="directory"):
        read_picture(tmp_path)


def test_mislabelled_file_is_read_by_content(tmp_path):
    write_picture(tmp_path / "a.jpg", make_picture(), format="png")
    assert read_picture(tmp_path / "a.jpg").format == "PNG"


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_broken_exif_and_profile_do_not_stop(tmp_path):
    for exif in (b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"):
        Image.fromarray(make_array(np.uint8, 3)).save(tmp_path / "a.jpg", exif=exif, icc_profile=b"broken")
        picture = read_picture(tmp_path / "a.jpg")
        assert picture.exif == b""
        assert picture.notes == ("an unreadable EXIF block is left out",)
        assert picture.icc_profile == b"broken"
        write_picture(tmp_path / "b.jpg", picture)
    Image.fromarray(make_array(np.uint8, 3)).convert("CMYK").save(tmp_path / "c.jpg", icc_profile=b"broken")
    assert read_picture(tmp_path / "c.jpg").icc_profile == b""


def test_metadata_too_long_for_jpeg(tmp_path):
    exif = Image.Exif()
    exif[EXIF_IFD] = {MAKER_NOTE: bytes(70_000)}
    picture = make_picture(exif=exif.tobytes()[6:], xmp=b"x" * 70_000, icc_profile=bytes(200_000))
    notes = write_picture(tmp_path / "a.jpg", picture)
    assert [note.split(":")[0] for note in notes] == [f"JPEG holds at most 64 KB of {name}" for name in ("EXIF", "XMP")]
    again = read_picture(tmp_path / "a.jpg")
    assert (again.exif, again.xmp, again.icc_profile) == (b"", b"", bytes(200_000))


def test_too_large_for_the_format(tmp_path):
    wide = Picture(np.zeros((1, 70_000, 3), np.uint8))
    with pytest.raises(ImageError, match="JPEG holds at most 65500 pixels a side, this is 70000×1"):
        write_picture(tmp_path / "a.jpg", wide)
    assert list(tmp_path.iterdir()) == []
    write_picture(tmp_path / "a.png", wide)


# -------------------------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("fault", ["write", "replace"])
def test_nothing_partial_when_writing_fails(tmp_path, monkeypatch, fault):
    target = tmp_path / "a.png"
    target.write_bytes(b"earlier")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if fault == "replace":
        monkeypatch.setattr(os, "replace", full)
    else:

        class Full(io.FileIO):
            def write(self, data):
                super().write(data[: len(data) // 2])
                full()

        monkeypatch.setattr("builtins.open", lambda path, mode: Full(path, mode.replace("b", "")))
    with pytest.raises(ImageError, match=r"a\.png: No space left on device"):
        write_picture(target, make_picture())
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert target.read_bytes() == b"earlier"


def test_file_mode_follows_the_umask_and_long_unicode_names_work(tmp_path):
    name = "夜" * 80 + ".png"  # 244 bytes, near the limit of 255
    previous = os.umask(0o027)
    try:
        write_picture(tmp_path / name, make_picture())
    finally:
        os.umask(previous)
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert read_picture(tmp_path / name).pixels.shape == (11, 7, 3)
    with pytest.raises(ImageError, match=r"[Nn]ame too long"):
        write_picture(tmp_path / ("x" * 300 + ".png"), make_picture())


def test_shown_is_printable():
    assert shown(Path("a\nb\udcff.png")) == "a?b?.png"
    assert shown("nächtlich.png") == "nächtlich.png"


def test_picture_checks_its_arrays():
    with pytest.raises(ValueError, match=r"pixels: expected shape .* got \(3, 3\)"):
        Picture(np.zeros((3, 3), np.uint8))
    with pytest.raises(ValueError, match=r"pixels: expected dtype .* float32"):
        Picture(np.zeros((3, 3, 3), np.float32))
    with pytest.raises(ValueError, match="alpha: expected shape"):
        Picture(np.zeros((3, 3, 3), np.uint8), np.zeros((3, 2), np.uint8))
