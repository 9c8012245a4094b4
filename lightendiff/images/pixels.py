"""Pixels: from encoded bytes to arrays of 8 or 16 bit grey or sRGB, and back, by Pillow; PNG by OpenCV, too."""

from __future__ import annotations

import contextlib
import io
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from ..limits import check_pixels
from .lab import from_lab
from .picture import Picture

CONVERTED = ("CMYK", "LAB", "YCbCr", "HSV")  # modes of images whose pixels become sRGB here
_BEYOND = 0.1  # of white, by which pixels may lie outside and be taken for the nearest value
_WHITES = (
    (-np.inf, 1.0),
    (16, 255.0),
    (256 * 1.1, 65535.0),
)  # what is white in floats whose largest is above the first
Mend = Callable[[bytes, Callable[[bytes], Image.Image]], Image.Image | None]
_LIMIT_LOCK = threading.Lock()
_limit_users, _pillow_limit = 0, Image.MAX_IMAGE_PIXELS


@contextlib.contextmanager
def _without_pillow_limit() -> Iterator[None]:
    """Pillow's limit of pixels is global: the first thread that decodes lifts it, and the last one puts it back."""
    global _limit_users, _pillow_limit
    with _LIMIT_LOCK:
        if _limit_users == 0:
            _pillow_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _limit_users += 1
    try:
        yield
    finally:
        with _LIMIT_LOCK:
            _limit_users -= 1
            if _limit_users == 0:
                Image.MAX_IMAGE_PIXELS = _pillow_limit


@contextlib.contextmanager
def loaded(data: bytes, max_pixels: int, *decoders: str, mend: Mend | None = None) -> Iterator[Image.Image]:
    """The image, decoded by one of Pillow's `decoders`. Our own limit takes the place of Pillow's.

    mend: makes what it can of a file that ends early; then `info` has "mended".
    """
    with contextlib.ExitStack() as stack:
        with _without_pillow_limit():
            decode = partial(opened, decoders=decoders, max_pixels=max_pixels)
            try:
                image = decode(data)
            except Exception:  # whatever decoders raise over a file that ends early
                mended = mend(data, decode) if mend else None
                if mended is None:
                    raise
                image = mended
                image.info["mended"] = True
            stack.enter_context(image)
        yield image


def opened(data: bytes, decoders: tuple[str, ...], max_pixels: int) -> Image.Image:
    """The decoded image."""
    image: Image.Image = Image.open(io.BytesIO(data), formats=decoders)
    check_pixels(*image.size, max_pixels)
    image.load()
    return image


def decoded(image: Image.Image, notes: list[str]) -> np.ndarray:
    """The decoded image as (h, w) or (h, w, 2, 3 or 4), uint8 or uint16."""
    mode, transparent = image.mode, "transparency" in image.info
    if mode[0] in "IF":
        grey16 = supported(np.asarray(image), notes)
        if not transparent:
            return grey16
        seen = grey16 != image.info["transparency"]
        return np.stack([grey16, seen * np.uint16(65535)], axis=2)
    if mode in CONVERTED:
        notes.append(f"{mode} colours are converted to sRGB")
        if mode == "LAB":
            return from_lab(np.asarray(image), signed=True)
        image = _to_srgb(image)
    elif mode == "P":
        colours = image.palette.colors if image.palette and not image.info.get("icc_profile") else {(0, 0, 1): 0}
        grey = not transparent and all(r == g == b for r, g, b in colours)  # a profile would be of colour
        image = image.convert("L" if grey else "RGBA" if transparent else "RGB")
    elif mode == "1" and transparent:
        shape = np.asarray(image)
        return np.stack([shape, shape != bool(image.info["transparency"])], axis=2) * np.uint8(255)
    elif mode in ("L", "RGB") and transparent:
        image = image.convert({"L": "LA", "RGB": "RGBA"}[mode])
    else:
        straight = {"1": "L", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB"}
        image = image.convert(straight.get(mode, mode))
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise ValueError(f"pixels of kind {mode} are not supported")
    return np.array(image)  # a copy, since Pillow's own memory is read-only


def supported(array: np.ndarray, notes: list[str]) -> np.ndarray:
    """Numbers of other types as uint16: integers up to 65535, and floats whose white is 1, 255 or 65535.

    What lies a little outside, as resampling and subtracted dark frames leave it, becomes the nearest value.

    Raises:
        ValueError: there is NaN, or values lie far outside, and what white is can't be told.
    """
    low, high = array.min(), array.max()
    if array.dtype.kind != "f":
        if high > 65535 or low < -_BEYOND * max(1, high):
            raise ValueError("integer pixels outside 0…65535: save it as 16 bit")
        if low < 0:
            notes.append(f"negative pixels, down to {low}, are taken for 0")
        scale = 257 if array.dtype.itemsize == 1 else 1
        return array.clip(0, 65535).astype(np.uint16) * np.uint16(scale)
    white = next((white for least, white in _WHITES if least < high <= white * (1 + _BEYOND)), 1.0)
    if not (low >= -_BEYOND * white and high <= white * (1 + _BEYOND)):  # NaN isn't, either
        got = f"from {low:.4g} to {high:.4g}" if np.isfinite([low, high]).all() else "that are NaN or infinite"
        raise ValueError(f"floating-point pixels outside [0, 1], {got}: save it as 16 bit")
    if white != 1:
        notes.append(f"floating-point pixels up to {high:.6g} are taken for 0…{white:g}")
    if low < 0 or high > white:
        notes.append(f"floating-point pixels a little outside, from {low:.4g} to {high:.4g}, are taken for the nearest")
    notes.append("floating-point pixels are kept as 16 bit")
    scaled: np.ndarray = np.rint(array.clip(0, white) * array.dtype.type(65535 / white)).astype(np.uint16)
    return scaled


def _to_srgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    with contextlib.suppress(ImageCms.PyCMSError, OSError):  # no usable profile: the plain formula has to do
        if profile:
            source, srgb = io.BytesIO(profile), ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
            if converted is not None:
                return converted
    return image.convert("RGB")


def kept_profile(image: Image.Image) -> bytes:
    """The ICC profile that describes what `decoded` makes of the image."""
    return b"" if image.mode in CONVERTED else image.info.get("icc_profile") or b""


def split_alpha(array: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """(h, w) or (h, w, 1 to 4) as colour (h, w, 1 or 3) and alpha (h, w)."""
    array = array[..., None] if array.ndim == 2 else array
    if array.shape[2] in (1, 3):
        return np.ascontiguousarray(array), None
    return np.ascontiguousarray(array[..., :-1]), np.ascontiguousarray(array[..., -1])


def turned(array: np.ndarray, orientation: int) -> np.ndarray:
    """The upright picture of one stored with that EXIF orientation (2–8); array (h, w, ...)."""
    if orientation >= 5:
        array = np.swapaxes(array, 0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def saved(array: np.ndarray, kind: str, **options: Any) -> bytes:
    """A file of that kind of (h, w, 1 to 4) uint8, with Pillow's options."""
    stream = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(stream, kind, **options)
    return stream.getvalue()


def encoded_png(array: np.ndarray) -> bytes:
    """A PNG file of (h, w, 1, 3 or 4) uint8 or uint16, grey or RGB(A).

    In a photo's noise zlib finds runs of a byte at most, and looking for no more takes a third of the time for the same
    size. OpenCV doesn't hold the interpreter meanwhile, so that a restorer can go on.
    """
    try:
        import cv2
    except ImportError:  # missing, or without the library of the graphics system that opencv-python needs
        return _zlib_png(array)
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}.get(array.shape[2])
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    done, data = cv2.imencode(".png", array if order is None else cv2.cvtColor(array, order), settings)
    if not done:
        raise ValueError("OpenCV can't encode it")
    return data.tobytes()


def _zlib_png(array: np.ndarray) -> bytes:
    """The same without OpenCV, each row as differences to the row above."""
    rows = array.astype(">u2" if array.dtype == np.uint16 else "u1").view(np.uint8).reshape(len(array), -1)
    up = rows.copy()
    up[1:] -= rows[:-1]
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[array.shape[2]]
    header = struct.pack(">IIBBBBB", array.shape[1], len(array), 8 * array.itemsize, kind, 0, 0, 0)
    plain = np.concatenate([np.full((len(array), 1), 2, np.uint8), up], axis=1).tobytes()
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(plain, 1)), (b"IEND", b""))
    packed = (struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def metadata(picture: Picture) -> dict[str, bytes]:
    """What Pillow's encoders take of a picture's metadata."""
    blocks = {"exif": picture.exif, "xmp": picture.xmp, "icc_profile": picture.icc_profile}
    return {name: block for name, block in blocks.items() if block}
