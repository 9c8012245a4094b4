"""Reading and writing pictures without losing what they carry: bit depth, alpha, orientation, colour profile, metadata.

Pillow decodes and encodes 8-bit pictures. It can't hold colour of 16 bits, so OpenCV decodes that, and the 16-bit PNG
and all TIFF files are written here; EXIF blocks are patched in place rather than rebuilt, so that maker notes survive.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import secrets
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, JpegImagePlugin, TiffImagePlugin, UnidentifiedImageError

MAX_PIXELS = 300_000_000  # larger pictures are taken for decompression bombs; the largest phone cameras make 200 MP
FORMATS = {  # the formats that can be written, by extension
    ".png": "PNG", ".apng": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG",
    ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".dib": "BMP",
}  # fmt: skip
READABLE = (*FORMATS, ".gif")
_DECODERS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "DIB", "GIF")
_LARGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}
_JPEG_SEGMENT = 65_533  # bytes that fit into one JPEG marker segment
_DEFAULT_QUALITY = 95
_PILLOW_LIMIT = threading.Lock()

_ORIENTATION, _XMP, _ICC, _RESOLUTION_X, _RESOLUTION_Y, _RESOLUTION_UNIT = 274, 700, 34675, 282, 283, 296
_BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _EXTRA = 258, 262, 277, 284, 338
# TIFF tags that describe how the pixels are stored (and Photoshop's layers): meaningless around other pixels.
_STRUCTURE = frozenset(
    {*range(254, 267), 273, *range(277, 282), 284, *range(288, 294), 301, 317, *range(320, 326), 330, *range(332, 343)}
    | {347, *range(512, 533), 559, _XMP, _ICC, 37724}
)
_PNG_KEPT = (b"cHRM", b"gAMA", b"sRGB", b"cICP", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"tIME")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class ImageError(ValueError):
    """A picture that can't be read or written. The message is one line that names the file and the reason."""


@dataclass(frozen=True)
class Picture:
    """Pixels, and everything in the file that has to outlive them.

    pixels: (h, w, 1) grey or (h, w, 3) RGB, uint8 or uint16, upright (the EXIF orientation is already applied).
    alpha: (h, w) of the same dtype, or None. format: "PNG", "JPEG", "WEBP", "TIFF", "BMP" or "GIF".
    exif: a TIFF structure with orientation 1, or empty. dpi: horizontal and vertical.
    encoding: how the source was compressed and what only its own format can hold; used when the format is kept.
    notes: what reading had to change, in words for the user.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    format: str = "PNG"
    exif: bytes = b""
    icc_profile: bytes = b""
    xmp: bytes = b""
    dpi: tuple[float, float] | None = None
    encoding: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        pixels, alpha = self.pixels, self.alpha
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
            raise ValueError(f"pixels: expected shape (h, w, 1) or (h, w, 3), got {pixels.shape}")
        if pixels.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"pixels: expected dtype uint8 or uint16, got {pixels.dtype}")
        if alpha is not None and (alpha.shape != pixels.shape[:2] or alpha.dtype != pixels.dtype):
            expected = f"shape {pixels.shape[:2]} and dtype {pixels.dtype}"
            raise ValueError(f"alpha: expected {expected}, got shape {alpha.shape} and dtype {alpha.dtype}")


def shown(path: str | os.PathLike[str]) -> str:
    """The path as one printable line, whatever characters or undecodable bytes are in it."""
    return "".join(letter if letter.isprintable() else "?" for letter in os.fspath(path))


# ---------------------------------------------------------------------------------------------------------- reading


def read_picture(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a PNG, JPEG, WebP, TIFF, BMP or GIF file, recognised by its content; of several frames the first.

    Palettes, 1-bit, CMYK, Lab, 32-bit and floating-point pixels (in [0, 1]) become 8- or 16-bit grey or sRGB.
    Raises ImageError when the file is missing, damaged, of another kind, or has more than max_pixels pixels.
    """
    try:
        return _decode(Path(path).read_bytes(), max_pixels)
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise ImageError(f"{shown(path)}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not a PNG, JPEG, WebP, TIFF, BMP or GIF image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, (ValueError, OSError)) and str(error):
        return str(error).splitlines()[0]
    return f"damaged, or of a kind that is not supported ({type(error).__name__}: {error})".splitlines()[0]


def _decode(data: bytes, max_pixels: int) -> Picture:
    if not data:
        raise ValueError("the file is empty")
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0"):
        picture, orientation = _decode_tiff(data, max_pixels)
    else:
        picture, orientation = _decode_other(data, max_pixels)
    if orientation == 1:
        return picture
    xmp = re.sub(rb'(tiff:Orientation(?:\s*=\s*["\']|>))[2-8]', rb"\g<1>1", picture.xmp)
    alpha = None if picture.alpha is None else _turned(picture.alpha, orientation)
    dpi = picture.dpi if orientation < 5 or picture.dpi is None else picture.dpi[::-1]
    return replace(picture, pixels=_turned(picture.pixels, orientation), alpha=alpha, xmp=xmp, dpi=dpi)


def _turned(array: np.ndarray, orientation: int) -> np.ndarray:
    """The upright picture of one stored with that EXIF orientation (2–8); array (h, w, ...)."""
    if orientation >= 5:
        array = np.swapaxes(array, 0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def _too_many(max_pixels: int) -> str:
    return f"more than the limit of {max_pixels:,} pixels; it can be raised for files you trust"


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ValueError(f"{width}×{height} is {_too_many(max_pixels)}")


@contextlib.contextmanager
def _loaded(data: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """The image, decoded. Our own limit takes the place of Pillow's, which is global and checked again on the way."""
    with contextlib.ExitStack() as stack:
        with _PILLOW_LIMIT:
            pillow_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
            try:
                image = stack.enter_context(Image.open(io.BytesIO(data), formats=_DECODERS))
                _check_size(*image.size, max_pixels)
                image.load()
            except Image.DecompressionBombError as error:
                raise ValueError(_too_many(max_pixels)) from error
            finally:
                Image.MAX_IMAGE_PIXELS = pillow_limit
        yield image


def _decode_other(data: bytes, max_pixels: int) -> tuple[Picture, int]:
    with _loaded(data, max_pixels) as image:
        kind = {"MPO": "JPEG", "DIB": "BMP"}.get(image.format or "", image.format or "")
        notes = ["only the first frame is restored"] if getattr(image, "is_animated", False) else []
        if kind == "PNG" and data[24] == 16 and image.mode[0] != "I":
            array = _decode_deep(data)  # whole: Pillow has complained about damage, which OpenCV may pass over
            if data[25] == 4:  # OpenCV spreads grey with alpha over four channels
                array = array[..., (0, 3)]
        else:
            array = _pixels(image, notes)
        exif, orientation = _exif(image, notes)
        xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
        picture = Picture(
            *_split_alpha(array),
            format=kind,
            exif=exif,
            icc_profile=_profile(image),
            xmp=xmp.encode() if isinstance(xmp, str) else bytes(xmp),
            dpi=_dpi(*image.info.get("dpi", (None, None))),
            encoding=_encoding(kind, image, data),
            notes=tuple(notes),
        )
    return picture, orientation


def _decode_tiff(data: bytes, max_pixels: int) -> tuple[Picture, int]:
    # Decoders turn TIFF pictures by themselves, each in its own way: none may see the orientation.
    big = data[2:3] == b"+"  # BigTIFF, whose rare orientations are left to the decoders
    data, orientation = (data, 1) if big else _upright(data)
    tags = TiffImagePlugin.ImageFileDirectory_v2(data[:16] if big else data[:8])
    stream = io.BytesIO(data)
    stream.seek(tags.next)
    tags.load(stream)
    _check_size(int(tags[256]), int(tags[257]), max_pixels)
    notes = ["only the first page is restored"] if tags.next else []
    bits, samples = max(tags.get(_BITS, (1,))), tags.get(_SAMPLES, 1)
    if bits > 8 and samples >= 3 and tags.get(_PHOTOMETRIC) == 2:
        if tags.get(_PLANAR, 1) != 1 or bits not in (16, 32):
            raise ValueError(f"a {bits}-bit TIFF of separate planes or unusual depth: save it as interleaved 16 bit")
        array = _supported(_decode_deep(data), notes)
        array = _straight_alpha(array, tags.get(_EXTRA, (2,))[0], notes)
        icc_profile = _tag_bytes(tags, _ICC)
    else:
        with _loaded(data, max_pixels) as image:
            array = _pixels(image, notes)
            icc_profile = _profile(image)
        if array.dtype == np.uint16 and bits < 16:
            array = ((array.astype(np.uint32) * 65535 + (2**bits - 1) // 2) // (2**bits - 1)).astype(np.uint16)
        if array.dtype == np.uint16 and tags.get(_PHOTOMETRIC) == 0:
            array = 65535 - array  # white is zero; Pillow turns only 8-bit pictures round
    per_unit = 2.54 if tags.get(_RESOLUTION_UNIT, 2) == 3 else 1.0
    dpi = _dpi(tags.get(_RESOLUTION_X), tags.get(_RESOLUTION_Y), per_unit)
    picture = Picture(
        *_split_alpha(array),
        format="TIFF",
        exif=_tiff_exif(data, notes),
        icc_profile=icc_profile,
        xmp=_tag_bytes(tags, _XMP),
        dpi=dpi,
        notes=tuple(notes),
    )
    return picture, orientation


def _decode_deep(data: bytes) -> np.ndarray:
    """Colour of more than 8 bits as (h, w, 3 or 4), RGB(A)."""
    import cv2

    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.ndim != 3 or array.dtype == np.uint8:
        raise ValueError("damaged, or of a kind that is not supported")
    return cv2.cvtColor(array, cv2.COLOR_BGR2RGB if array.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _pixels(image: Image.Image, notes: list[str]) -> np.ndarray:
    """The decoded image as (h, w) or (h, w, 2, 3 or 4), uint8 or uint16."""
    mode, transparent = image.mode, "transparency" in image.info
    if mode[0] in "IF":
        return _supported(np.asarray(image), notes)
    if mode in ("CMYK", "LAB", "YCbCr", "HSV"):
        notes.append(f"{mode} colours are converted to sRGB")
        image = _to_srgb(image)
    elif mode == "P":
        grey = all(r == g == b for r, g, b in image.palette.colors) if image.palette and not transparent else False
        image = image.convert("L" if grey else "RGBA" if transparent else "RGB")
    elif mode in ("L", "RGB") and transparent:
        image = image.convert({"L": "LA", "RGB": "RGBA"}[mode])
    else:
        straight = {"1": "L", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB"}
        image = image.convert(straight.get(mode, mode))
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise ValueError(f"pixels of kind {mode} are not supported")
    return np.array(image)  # a copy, since Pillow's own memory is read-only


def _supported(array: np.ndarray, notes: list[str]) -> np.ndarray:
    """Integers up to 65535 and floats in [0, 1] as uint16."""
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ValueError("floating-point pixels outside [0, 1]: save it as 16 bit")
        notes.append("floating-point pixels are kept as 16 bit")
        return np.rint(array * 65535.0).astype(np.uint16)
    if array.dtype.itemsize > 2 and (array.min() < 0 or array.max() > 65535):
        raise ValueError("integer pixels outside 0…65535: save it as 16 bit")
    return array.astype(np.uint16)


def _to_srgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    with contextlib.suppress(ImageCms.PyCMSError, OSError):  # no usable profile: the plain formula has to do
        lab = ImageCms.createProfile("LAB") if image.mode == "LAB" else None
        source = io.BytesIO(profile) if profile else lab
        if source is not None:
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
    return image.convert("RGB")


def _profile(image: Image.Image) -> bytes:
    converted = image.mode in ("CMYK", "LAB", "YCbCr", "HSV")  # then the pixels are sRGB now
    return b"" if converted else image.info.get("icc_profile") or b""


def _split_alpha(array: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    array = array[..., None] if array.ndim == 2 else array
    if array.shape[2] in (1, 3):
        return np.ascontiguousarray(array), None
    return np.ascontiguousarray(array[..., :-1]), np.ascontiguousarray(array[..., -1])


def _straight_alpha(array: np.ndarray, kind: int, notes: list[str]) -> np.ndarray:
    """TIFF's ExtraSamples: 0 is any channel (left out), 1 alpha that the colours are multiplied by, 2 plain alpha."""
    if array.shape[2] == 3 or kind == 2:
        return array
    if kind != 1:
        notes.append("a fourth channel that is not alpha is left out")
        return array[..., :3]
    alpha = array[..., 3:].astype(np.float64)
    colour = np.divide(array[..., :3] * 65535.0, alpha, out=np.zeros(array[..., :3].shape), where=alpha > 0)
    return np.concatenate([np.rint(colour.clip(0, 65535)).astype(np.uint16), array[..., 3:]], axis=2)


def _tag_bytes(tags: TiffImagePlugin.ImageFileDirectory_v2, tag: int) -> bytes:
    value = tags.get(tag, b"")  # a tuple of numbers, or the bytes, or a tuple with the bytes, as the tag's type has it
    return b"".join(part for part in value if isinstance(part, bytes)) if isinstance(value, tuple) else bytes(value)


def _dpi(x: Any, y: Any, per_unit: float = 1.0) -> tuple[float, float] | None:
    with contextlib.suppress(TypeError, ValueError):  # missing, or nonsense that is no reason to refuse the picture
        dpi = float(x) * per_unit, float(y) * per_unit
        return dpi if all(0 < value < 1e6 for value in dpi) else None
    return None


def _exif(image: Image.Image, notes: list[str]) -> tuple[bytes, int]:
    """The EXIF block as an upright TIFF structure without its thumbnail (that is a dark one), and its orientation."""
    try:
        block = image.info.get("exif") or b""
        if profile := image.info.get("Raw profile type exif"):  # ImageMagick's way, in hexadecimal
            block = bytes.fromhex("".join(profile.split("\n")[3:]))
        block = re.sub(rb"\A(Exif\0\0)+", b"", block)
        return _upright(block, drop_thumbnail=True) if block else (b"", 1)
    except (ValueError, struct.error, IndexError):
        notes.append("an unreadable EXIF block is left out")
        return b"", 1


def _tiff_exif(data: bytes, notes: list[str]) -> bytes:
    exif = Image.Exif()
    try:
        exif.load_from_fp(io.BytesIO(data))
        for tag in list(exif):
            if tag in _STRUCTURE:
                del exif[tag]
        return exif.tobytes()[6:] if len(exif) else b""
    except Exception:  # Pillow checks few of the values that it packs
        notes.append("unreadable TIFF tags are left out")
        return b""


def _encoding(kind: str, image: Image.Image, data: bytes) -> dict[str, Any]:
    if kind == "JPEG":
        assert isinstance(image, JpegImagePlugin.JpegImageFile)
        segments = [block for name, block in image.applist if name == "APP13"]  # IPTC: captions, keywords, rights
        kept = {"progressive": bool(image.info.get("progressive")), "segments": segments}
        kept["comment"] = image.info.get("comment", b"")
        if image.mode != "CMYK":
            kept["qtables"] = [image.quantization[key] for key in sorted(image.quantization)]
            kept["subsampling"] = max(JpegImagePlugin.get_sampling(image), 0)
        return kept
    if kind == "PNG":
        return {"chunks": [(name, body) for name, body in _png_chunks(data) if _is_kept(name, body)]}
    if kind == "WEBP":
        return {"lossless": data[12:16] == b"VP8L" or (data[12:16] == b"VP8X" and _has_chunk(data, b"VP8L"))}
    return {}


def _has_chunk(webp: bytes, wanted: bytes) -> bool:
    position = 12
    while position + 8 <= len(webp):
        name, size = struct.unpack_from("<4sI", webp, position)
        if name == wanted:
            return True
        position += 8 + size + size % 2
    return False


# ---------------------------------------------------------------------------------------------------------- writing


def write_picture(
    path: str | os.PathLike[str], picture: Picture, *, format: str | None = None, quality: int | None = None
) -> tuple[str, ...]:
    """Write a picture as the format says, else as the extension says, else in its own format.

    quality (1–100) is for JPEG and WebP; without it a JPEG keeps its source's tables and a lossless WebP stays
    lossless, everything else gets 95. The file appears only when whole: it is written under another name in the same
    folder and then renamed. Returns notes on what the format could not hold. Raises ImageError; then nothing is left.
    """
    if format is not None and format.upper() not in _ENCODERS:
        raise ValueError(f"format: expected one of {', '.join(_ENCODERS)}, got {format!r}")
    if quality is not None and not 1 <= quality <= 100:
        raise ValueError(f"quality: expected 1 to 100, got {quality}")
    target = Path(path)
    own = picture.format if picture.format in _ENCODERS else "PNG"
    kind = format.upper() if format else FORMATS.get(target.suffix.lower(), own)
    notes: list[str] = []
    try:
        _write_whole(target, _encode(picture, kind, quality, notes))
    except Exception as error:
        raise ImageError(f"{shown(path)}: {_reason(error)}") from error
    return tuple(notes)


def _write_whole(target: Path, data: bytes) -> None:
    # A short name of its own, since the target's may already be as long as the file system allows.
    temporary = target.with_name(f".lightendiff-{secrets.token_hex(8)}.part")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _encode(picture: Picture, kind: str, quality: int | None, notes: list[str]) -> bytes:
    height, width, channels = picture.pixels.shape
    if max(height, width) > _LARGEST_SIDE.get(kind, 2**31 - 1):
        raise ValueError(f"{kind} holds at most {_LARGEST_SIDE[kind]} pixels a side, this is {width}×{height}")
    pixels, alpha = picture.pixels, picture.alpha
    if alpha is not None and kind == "JPEG":
        if (alpha != np.iinfo(alpha.dtype).max).any():
            notes.append("JPEG holds no transparency: it is left out")
        alpha = None
    if alpha is not None and channels == 1 and (kind == "BMP" or (kind == "TIFF" and pixels.dtype == np.uint16)):
        pixels = pixels.repeat(3, axis=2)  # few programs (not even our reader) take grey with alpha there
    array = pixels if alpha is None else np.concatenate([pixels, alpha[..., None]], axis=2)
    if array.dtype == np.uint16 and kind not in ("PNG", "TIFF"):
        notes.append(f"{kind} holds 8 bit: 16 bit is rounded")
        array = ((array.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if picture.format != kind:
        picture = replace(picture, encoding={})
    return _ENCODERS[kind](array, picture, quality, notes)


def _saved(array: np.ndarray, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(stream, kind, **options)
    return stream.getvalue()


def _encode_jpeg(array: np.ndarray, picture: Picture, quality: int | None, notes: list[str]) -> bytes:
    source = picture.encoding
    exif = b"Exif\0\0" + picture.exif if picture.exif else b""
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + picture.xmp if picture.xmp else b""
    for name, block in (("EXIF", exif), ("XMP", xmp)):
        if len(block) > _JPEG_SEGMENT:
            notes.append(f"JPEG holds at most 64 KB of {name}: it is left out")
    segments = [b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp] if 0 < len(xmp) <= _JPEG_SEGMENT else []
    segments += [b"\xff\xed" + struct.pack(">H", len(block) + 2) + block for block in source.get("segments", ())]
    options: dict[str, Any] = {"progressive": source.get("progressive", False)}
    if quality is None and source.get("qtables"):
        options |= {"qtables": source["qtables"]}
    else:
        options |= {"quality": quality or _DEFAULT_QUALITY}
    if array.shape[2] == 3:
        options |= {"subsampling": source.get("subsampling", 2 if quality and quality < 90 else 0)}
    if len(exif) <= _JPEG_SEGMENT:
        options |= {"exif": exif}
    if picture.dpi:
        options |= {"dpi": picture.dpi}
    if source.get("comment"):
        options |= {"comment": source["comment"]}
    return _saved(array, "JPEG", icc_profile=picture.icc_profile, extra=b"".join(segments), **options)


def _encode_webp(array: np.ndarray, picture: Picture, quality: int | None, notes: list[str]) -> bytes:
    if array.shape[2] == 2:
        array = array[..., (0, 0, 0, 1)]
    options: dict[str, Any] = {"quality": quality or _DEFAULT_QUALITY}
    if quality is None and picture.encoding.get("lossless"):
        options = {"lossless": True, "exact": True}
    metadata = {"exif": picture.exif, "xmp": picture.xmp, "icc_profile": picture.icc_profile}
    return _saved(array, "WEBP", **options, **metadata)


def _encode_bmp(array: np.ndarray, picture: Picture, quality: int | None, notes: list[str]) -> bytes:
    if picture.exif or picture.xmp or picture.icc_profile:
        notes.append("BMP holds no EXIF, XMP or colour profile: they are left out")
    if array.shape[2] != 4:
        return _saved(array, "BMP", **({"dpi": picture.dpi} if picture.dpi else {}))
    # With alpha: a version 4 header with masks, since Pillow's header makes readers ignore the fourth channel.
    height, width = array.shape[:2]
    body = np.ascontiguousarray(array[::-1, :, (2, 1, 0, 3)]).tobytes()
    per_metre = [round(dpi / 0.0254) for dpi in picture.dpi or (96, 96)]
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(body), *per_metre, 0, 0)
    header += struct.pack("<4I4s", *masks, b"BGRs") + bytes(48)
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(body), 0, 0, 14 + len(header)) + header + body


def _encode_png(array: np.ndarray, picture: Picture, quality: int | None, notes: list[str]) -> bytes:
    plain = _deep_png(array) if array.dtype == np.uint16 else _saved(array, "PNG")
    kept: list[tuple[bytes, bytes]] = list(picture.encoding.get("chunks", ()))
    if picture.icc_profile:
        kept.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(picture.icc_profile)))
    if picture.exif:
        kept.append((b"eXIf", picture.exif))
    if picture.xmp:
        kept.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + picture.xmp))
    if picture.dpi and not any(name == b"pHYs" for name, _ in kept):
        kept.append((b"pHYs", struct.pack(">IIB", *(round(dpi / 0.0254) for dpi in picture.dpi), 1)))
    first = len(_PNG_SIGNATURE) + 25  # after the IHDR chunk
    return plain[:first] + b"".join(_png_chunk(*chunk) for chunk in kept) + plain[first:]


def _encode_tiff(array: np.ndarray, picture: Picture, quality: int | None, notes: list[str]) -> bytes:
    """A TIFF file around the EXIF block: its own bytes come first, so that every offset in it stays valid.

    Strips are deflated with horizontal differencing (TIFF 6.0, section 14, and Adobe's supplement 2).
    """
    data = bytearray(picture.exif or b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    order = "<" if data[:2] == b"II" else ">"
    entries = {tag: bytes(data[at : at + 12]) for tag, at in _entries(data, order) if tag not in _STRUCTURE}

    def append(block: bytes) -> int:
        data.extend(bytes(len(data) % 2))
        data.extend(block)
        return len(data) - len(block)

    def add(tag: int, code: str, *values: int) -> None:
        add_block(tag, {"H": 3, "I": 4}[code], len(values), struct.pack(order + code * len(values), *values))

    def add_block(tag: int, kind: int, count: int, block: bytes) -> None:
        place = block.ljust(4, b"\0") if len(block) <= 4 else struct.pack(order + "I", append(block))
        entries[tag] = struct.pack(order + "HHI", tag, kind, count) + place

    height, width, channels = array.shape
    rows = max(1, 2**20 // array[0].nbytes)
    strips = [_deflated(array[top : top + rows], order) for top in range(0, height, rows)]
    add(256, "I", width)
    add(257, "I", height)
    add(258, "H", *(array.dtype.itemsize * 8,) * channels)
    add(259, "H", 8)  # deflate
    add(262, "H", 2 if channels >= 3 else 1)
    add(273, "I", *(append(strip) for strip in strips))
    add(277, "H", channels)
    add(278, "I", rows)
    add(279, "I", *(len(strip) for strip in strips))
    add(284, "H", 1)
    add(317, "H", 2)
    if channels in (2, 4):
        add(338, "H", 2)  # alpha, not multiplied in
    for tag, kind, block in ((_XMP, 1, picture.xmp), (_ICC, 7, picture.icc_profile)):
        if block:
            add_block(tag, kind, len(block), block)
    if picture.dpi and _RESOLUTION_X not in entries:
        for tag, dpi in zip((_RESOLUTION_X, _RESOLUTION_Y), picture.dpi, strict=True):
            add_block(tag, 5, 1, struct.pack(order + "II", round(dpi * 1000), 1000))
        add(_RESOLUTION_UNIT, "H", 2)
    directory = struct.pack(order + "H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
    struct.pack_into(order + "I", data, 4, append(directory))
    return bytes(data)


_ENCODERS = {"PNG": _encode_png, "JPEG": _encode_jpeg, "WEBP": _encode_webp, "TIFF": _encode_tiff, "BMP": _encode_bmp}


# ------------------------------------------------------------------------------------------------- bytes of the formats


def _entries(tiff: bytes | bytearray, order: str) -> Iterator[tuple[int, int]]:
    """(tag, position) of the entries in the first directory of a TIFF structure."""
    (directory,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, directory)
    for position in range(directory + 2, directory + 2 + 12 * count, 12):
        yield struct.unpack_from(order + "H", tiff, position)[0], position


def _upright(tiff: bytes, drop_thumbnail: bool = False) -> tuple[bytes, int]:
    """A TIFF structure with its orientation set to 1 and nothing else changed or moved, and the old orientation."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        raise ValueError("no TIFF structure")
    patched, orientation = bytearray(tiff), 1
    (end,) = struct.unpack_from(order + "I", tiff, 4)
    end += 2
    for tag, position in _entries(tiff, order):
        end = position + 12
        if tag == _ORIENTATION:
            (orientation,) = struct.unpack_from(order + "H", tiff, position + 8)
            struct.pack_into(order + "HIHH", patched, position + 2, 3, 1, 1, 0)
    if drop_thumbnail and end + 4 <= len(patched):
        struct.pack_into(order + "I", patched, end, 0)  # the second directory is the thumbnail's
    return bytes(patched), orientation if 2 <= orientation <= 8 else 1


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = len(_PNG_SIGNATURE)
    while position + 12 <= len(data):
        size, name = struct.unpack_from(">I4s", data, position)
        yield name, data[position + 8 : position + 8 + size]
        position += 12 + size


def _is_kept(name: bytes, body: bytes) -> bool:
    return name in _PNG_KEPT and not body.startswith((b"XML:com.adobe.xmp\0", b"Raw profile type "))


def _png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _deep_png(array: np.ndarray) -> bytes:
    """A 16-bit PNG of (h, w, 1 to 4), its rows filtered by "up" (PNG specification, section 9)."""
    height, width, channels = array.shape
    rows = array.astype(">u2").view(np.uint8).reshape(height, -1)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = 2
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = _png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
    return _PNG_SIGNATURE + header + _png_chunk(b"IDAT", zlib.compress(filtered)) + _png_chunk(b"IEND", b"")


def _deflated(rows: np.ndarray, order: str) -> bytes:
    difference = rows.copy()
    difference[:, 1:] -= rows[:, :-1]
    return zlib.compress(difference.astype(f"{order}u{rows.itemsize}").tobytes())
