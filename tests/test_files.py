"""The rows of docs/files.md: what is kept of a file, and that a note tells of what isn't."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lightendiff.images import ImageError, Picture, decode_picture, encode_picture, read_picture, write_picture
from lightendiff.images.formats import FORMATS, TABLE, Format
from lightendiff.images.icc import colour_profile
from lightendiff.images.iptc import as_raw_profile, as_resources, in_resources

WRITTEN = [row for row in TABLE if row.written]
RECORDS = b"\x1c\x02\x19\x00\x07harbour\x1c\x02\x78\x00\x03the"
PIXELS = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
RDF = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>%s</rdf:RDF></x:xmpmeta>'


def make_exif() -> bytes:
    exif = Image.Exif()
    exif[271] = "Maker"
    return exif.tobytes()[6:]


def with_segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    return jpeg[:2] + b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


# ------------------------------------------------------------------------------------------------- table of formats


@pytest.mark.parametrize("row", WRITTEN, ids=lambda row: row.name)
def test_a_format_holds_what_its_row_says_or_a_note_tells(row: Format) -> None:
    deep = PIXELS.astype(np.uint16) * 257
    blocks = {"exif": make_exif(), "xmp": RDF % b"", "profile": colour_profile("x", gamma=1.8), "iptc": RECORDS}
    blocks["comment"] = b"hello"
    picture = Picture(
        deep,
        deep[..., 0] | 1,
        format="none of them",
        exif=blocks["exif"],
        xmp=blocks["xmp"],
        icc_profile=blocks["profile"],
        iptc=RECORDS,
        comment=b"hello",
    )
    data, notes = encode_picture(picture, format=row.name)
    again, said = decode_picture(data, "a"), " ".join(notes)
    assert again.pixels.itemsize * 8 == row.bits
    assert ("16 bit is rounded" in said) == (row.bits == 8)
    assert (again.alpha is not None) == row.alpha == ("transparency" not in said)
    words = {"exif": "EXIF", "xmp": "XMP", "profile": "colour profile", "iptc": "no IPTC data", "comment": "no comment"}
    for key, block in blocks.items():
        kept = again.icc_profile if key == "profile" else getattr(again, key)
        assert (kept == block) == (key in row.holds), key
        assert (words[key] in said) == (key not in row.holds), key


@pytest.mark.parametrize("number", [b"iptc", b"xmp"])
def test_imagemagicks_raw_profiles_survive_in_png(tmp_path: Path, number: bytes) -> None:
    content = as_resources(RECORDS) if number == b"iptc" else RDF % b""
    info = PngInfo()
    info.add(b"zTXt", as_raw_profile(number.decode(), content))
    Image.fromarray(PIXELS).save(tmp_path / "a.png", pnginfo=info)
    write_picture(tmp_path / "b.png", read_picture(tmp_path / "a.png"))
    again = read_picture(tmp_path / "b.png")
    assert (again.iptc, again.xmp) == ((RECORDS, b"") if number == b"iptc" else (b"", content))


@pytest.mark.parametrize("kind", [1, 4, 7])
def test_records_in_tiff_are_kept_whatever_they_are_called(tmp_path: Path, kind: int) -> None:
    tifffile = pytest.importorskip("tifffile")
    records = RECORDS + bytes(-len(RECORDS) % 4)
    value = np.frombuffer(records, "<u4").tolist() if kind == 4 else records
    tags = [(33723, kind, len(value), tuple(value) if kind == 4 else value, True)]
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, photometric="rgb", extratags=tags)
    picture = read_picture(tmp_path / "a.tif")
    assert (picture.iptc, picture.notes) == (records, ())


def test_records_are_found_among_other_resources() -> None:
    other = b"8BIM" + struct.pack(">H", 0x03ED) + b"\x03abc" + struct.pack(">I", 3) + b"xyz\0"
    assert in_resources(other + as_resources(RECORDS)) == RECORDS
    assert in_resources(other) == in_resources(b"8BIM") == in_resources(b"") == b""


def test_extended_xmp_stays_in_jpeg_and_is_told_elsewhere(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", xmp=RDF % b"")
    block = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + struct.pack(">II", 4, 0) + b"more"
    (tmp_path / "a.jpg").write_bytes(with_segment((tmp_path / "a.jpg").read_bytes(), 0xE1, block))
    picture = read_picture(tmp_path / "a.jpg")
    assert write_picture(tmp_path / "b.jpg", picture) == ()
    assert block in (tmp_path / "b.jpg").read_bytes()
    assert write_picture(tmp_path / "b.png", picture) == ("only JPEG holds extended XMP: it is left out",)


def test_texts_of_png_are_told_elsewhere(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("Title", "Night")
    Image.fromarray(PIXELS).save(tmp_path / "a.png", pnginfo=info)
    notes = write_picture(tmp_path / "a.webp", read_picture(tmp_path / "a.png"))
    assert notes == ("only PNG holds texts of its kind: they are left out (Title)",)


@pytest.mark.parametrize("exif", [b"", make_exif()], ids=["no EXIF", "EXIF"])
@pytest.mark.parametrize("row", WRITTEN, ids=lambda row: row.name)
def test_the_resolution_is_kept_in_every_format(row: Format, exif: bytes) -> None:
    picture = decode_picture(encode_picture(Picture(PIXELS, exif=exif, dpi=(300, 200)), format="JPEG")[0], "a.jpg")
    data, notes = encode_picture(picture, format=row.name)
    again = decode_picture(data, "a")
    assert again.dpi == pytest.approx((300, 200), abs=0.1)
    assert bool(notes) == (bool(exif) and "exif" not in row.holds)
    kept = Image.Exif()
    kept.load(again.exif)
    assert kept.get(271) == ("Maker" if exif and "exif" in row.holds else None)
    assert decode_picture(encode_picture(again, format="PNG")[0], "a").dpi == pytest.approx((300, 200), abs=0.1)


# ----------------------------------------------------------------------------------------------------- what is claimed


def test_a_gain_map_is_no_longer_claimed(tmp_path: Path) -> None:
    item = b'<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="%s"/></rdf:li>'
    claim = (
        b'<rdf:Description hdrgm:Version="1.0" a:b="c">' + item % b"Primary" + item % b"GainMap" + b"</rdf:Description>"
    )
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", xmp=RDF % claim)
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.notes == ("the gain map for HDR screens is left out",)
    assert picture.xmp == RDF % (b'<rdf:Description a:b="c">' + item % b"Primary" + b"</rdf:Description>")


def test_a_gain_map_that_only_a_segment_claims_is_told(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg")
    body = b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0"
    (tmp_path / "a.jpg").write_bytes(with_segment((tmp_path / "a.jpg").read_bytes(), 0xE2, body))
    assert read_picture(tmp_path / "a.jpg").notes == ("the gain map for HDR screens is left out",)


@pytest.mark.parametrize("key", [0, 1])
def test_a_bilevel_pictures_transparent_colour_becomes_alpha(tmp_path: Path, key: int) -> None:
    shape = PIXELS[..., 0] > 100
    Image.fromarray(shape).save(tmp_path / "a.png", transparency=key)
    alpha = read_picture(tmp_path / "a.png").alpha
    assert alpha is not None
    np.testing.assert_array_equal(alpha > 0, shape != bool(key))


# --------------------------------------------------------------------------------------------------- the right picture


EARLY = "the file ends early: what is missing at the end is made up"
SCENE = np.linspace(20, 220, 200 * 300 * 3).reshape(200, 300, 3) + np.random.default_rng(0).normal(0, 9, (200, 300, 3))


def cut_files(folder: Path) -> dict[str, bytes]:
    """Files of one scene, as other programs write them."""
    scene, files = Image.fromarray(SCENE.clip(0, 255).astype(np.uint8)), {}
    options = {"b.webp": {"lossless": True}, "b.jpg": {"progressive": True}, "b.tif": {"compression": "tiff_lzw"}}
    for name in ("a.jpg", "b.jpg", "a.png", "a.webp", "b.webp", "a.gif", "a.bmp", "a.tif", "b.tif"):
        scene.save(folder / name, **options.get(name, {}))
        files[name] = (folder / name).read_bytes()
    return files


@pytest.mark.parametrize("cut", [2, 12, 40])
def test_a_file_that_ends_early_is_restored_with_a_note(tmp_path: Path, cut: int) -> None:
    for name, data in cut_files(tmp_path).items():
        if (name, cut) == ("a.gif", 2) or (name == "b.tif" and cut > 2):  # all is there, or the directory isn't
            continue
        whole = decode_picture(data, name)
        picture = decode_picture(data[:-cut], name)
        assert picture.notes == (*whole.notes, EARLY), name
        same = (picture.pixels == whole.pixels).all(axis=(1, 2))
        assert same.sum() >= 168, name
        assert picture.pixels.shape == whole.pixels.shape


def test_a_file_of_which_much_is_missing_is_refused_and_why(tmp_path: Path) -> None:
    for name, data in cut_files(tmp_path).items():
        with pytest.raises(ImageError, match="truncated"):
            decode_picture(data[: len(data) * 2 // 3], name)


@pytest.mark.parametrize("name", ["a.heic", "a.avif"])
def test_heic_and_avif_that_end_early_are_restored(tmp_path: Path, name: str) -> None:
    if name == "a.heic":
        pytest.importorskip("pillow_heif")
    data, _ = encode_picture(Picture(SCENE.clip(0, 255).astype(np.uint8).repeat(4, 0)), format=FORMATS[name[1:]])
    whole, picture = decode_picture(data, name), decode_picture(data[:-30], name)
    assert picture.notes == (EARLY,)
    np.testing.assert_array_equal(picture.pixels[:600], whole.pixels[:600])
    with pytest.raises(ImageError, match="truncated"):
        decode_picture(data[: len(data) // 2], name)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"rowsperstrip": 8}, {"tile": (16, 16)}], ids=str)
@pytest.mark.parametrize("big", [False, True])
def test_tiffs_that_end_early_are_restored(tmp_path: Path, options: dict, big: bool) -> None:
    tifffile = pytest.importorskip("tifffile")
    deep = (SCENE.clip(0, 255) * 257).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb", bigtiff=big, **options)
    data = (tmp_path / "a.tif").read_bytes()
    picture = decode_picture(data[:-40], "a.tif")
    assert picture.notes == (EARLY,)
    np.testing.assert_array_equal(picture.pixels[:180], deep[:180])
    assert picture.pixels.shape == deep.shape
    with pytest.raises(ImageError, match="truncated"):
        decode_picture(data[: len(data) // 2], "a.tif")


@pytest.mark.parametrize("big", [False, True])
def test_a_tiffs_thumbnail_is_not_the_picture(tmp_path: Path, big: bool) -> None:
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffWriter(tmp_path / "a.tif", bigtiff=big) as file:
        file.write(PIXELS[::4, ::4], photometric="rgb", subfiletype=1)
        file.write(PIXELS, photometric="rgb", subfiletype=0)
    picture = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.pixels, PIXELS)
    assert not any("page" in note for note in picture.notes)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "predictor": True}, {"tile": (16, 16)}])
@pytest.mark.parametrize("order", ["<", ">"])
def test_rare_tiffs_are_read(tmp_path: Path, options: dict, order: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    deep = PIXELS.astype(np.uint16) * 251
    kept = {"photometric": "minisblack", "byteorder": order, **options}
    tifffile.imwrite(tmp_path / "a.tif", deep[..., :2], extrasamples=["unassalpha"], planarconfig="contig", **kept)
    picture = read_picture(tmp_path / "a.tif")
    assert picture.alpha is not None
    np.testing.assert_array_equal(np.dstack([picture.pixels, picture.alpha]), deep[..., :2])
    if "predictor" not in options:
        tifffile.imwrite(tmp_path / "b.tif", deep[..., 0] / 65535.0, **kept)
        np.testing.assert_array_equal(read_picture(tmp_path / "b.tif").pixels, deep[..., :1])


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "predictor": True}, {"tile": (16, 32)}], ids=str)
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_tiffs_of_separate_planes_are_read(tmp_path: Path, channels: int, options: dict, order: str, big: bool) -> None:
    tifffile = pytest.importorskip("tifffile")
    alpha = {"extrasamples": ["unassalpha"]} if channels != 3 else {}
    for dtype in (np.uint8, np.uint16):
        array = np.dstack([PIXELS, PIXELS[..., :1]])[..., :channels].astype(dtype) * dtype(
            1 if dtype is np.uint8 else 251
        )
        kind = {"photometric": "rgb" if channels > 2 else "minisblack", "planarconfig": "separate"}
        planes = np.moveaxis(array, 2, 0)
        tifffile.imwrite(tmp_path / "a.tif", planes, byteorder=order, bigtiff=big, **kind, **alpha, **options)
        picture = read_picture(tmp_path / "a.tif")
        whole = picture.pixels if picture.alpha is None else np.dstack([picture.pixels, picture.alpha])
        np.testing.assert_array_equal(whole, array)


@pytest.mark.parametrize("order", ["<", ">"])
def test_big_tiffs_keep_their_exif(tmp_path: Path, order: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    tags = [(271, 2, 0, "Maker of lamps", True), (700, 7, len(RDF), RDF, True), (274, 3, 1, 6, True)]
    tags += [(315, 2, 0, "me", True), (65000, 16, 2, (1, 2), True)]
    kind = {"photometric": "rgb", "bigtiff": True, "byteorder": order, "resolution": (300, 300), "resolutionunit": 2}
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, extratags=tags, **kind)
    picture = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.pixels, np.rot90(PIXELS, -1))
    assert picture.xmp == RDF
    write_picture(tmp_path / "b.tif", picture)
    with Image.open(tmp_path / "b.tif") as again:
        kept = again.getexif()
        assert (kept[271], kept[315], kept.get(274, 1), kept[282]) == ("Maker of lamps", "me", 1, 300)


def test_lab_of_16_bits_becomes_srgb(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    lab = [(0, 0, 0), (100, 0, 0), (54.29, 80.80, 69.89), (87.82, -79.27, 80.99), (29.57, 68.30, -112.03)]  # of D50
    expected = np.array([(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)])
    codes = np.rint(np.array(lab) * (655.35, 256, 256)).astype(np.int64).astype(np.uint16)
    for name, array in (("a.tif", codes), ("b.tif", codes + np.uint16([0, 32768, 32768]))):
        if name == "b.tif":  # of ICC
            array[:, 0] = np.rint(np.array(lab)[:, 0] * 652.8)
        kind = "cielab" if name == "a.tif" else "icclab"
        tifffile.imwrite(tmp_path / name, np.repeat(array[None], 4, 0), photometric=kind)
        picture = read_picture(tmp_path / name)
        assert np.abs(picture.pixels[0] / 257 - expected).max() < 1
        assert picture.notes == ("LAB colours are converted to sRGB",)


def test_a_refusal_says_what_the_tiff_is(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    deep = np.repeat(PIXELS, 2, 2).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="minisblack", planarconfig="contig")
    with pytest.raises(ImageError, match=r"a TIFF of a kind that is not supported \(6 channels"):
        read_picture(tmp_path / "a.tif")


def test_a_tag_that_holds_a_number_does_not_stop(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, photometric="rgb", extratags=[(700, 4, 1, 10**9, True)])
    picture = read_picture(tmp_path / "a.tif")
    assert picture.notes == ("the TIFF tag 700 holds numbers where bytes belong: it is left out",)
    write_picture(tmp_path / "b.tif", picture)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_needs_no_opencv(monkeypatch: pytest.MonkeyPatch, channels: int, dtype: type) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    pixels = np.dstack([PIXELS, PIXELS[..., :1]])[..., :channels].astype(dtype)
    if dtype is np.uint16:
        pixels = pixels * 251
    colour, alpha = (pixels, None) if channels in (1, 3) else (pixels[..., :-1], pixels[..., -1])
    data, _ = encode_picture(Picture(colour, alpha), format="PNG")
    again = decode_picture(data, "a.png")
    np.testing.assert_array_equal(again.pixels, colour)
    assert (again.alpha is None) == (alpha is None)
    if alpha is not None:
        np.testing.assert_array_equal(again.alpha, alpha)
    assert zlib.crc32(data[12:29]) == struct.unpack(">I", data[29:33])[0]


def test_a_transparent_colour_of_16_bits_becomes_alpha() -> None:
    deep = PIXELS.astype(np.uint16) * 251
    data, _ = encode_picture(Picture(deep), format="PNG")
    body = struct.pack(">3H", *deep[3, 4].tolist())
    chunk = struct.pack(">I", 6) + b"tRNS" + body + struct.pack(">I", zlib.crc32(b"tRNS" + body))
    picture = decode_picture(data[:33] + chunk + data[33:], "a.png")
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha == 0, (deep == deep[3, 4]).all(axis=2))
