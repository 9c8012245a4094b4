"""HEIC photos, which phones take: recognised here, decoded and encoded by pillow-heif as one of Pillow's formats."""

from __future__ import annotations

import struct

_HEVC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}


def is_heic(data: bytes) -> bool:
    """Whether a file begins as HEIF with pictures that HEVC has compressed (ISO/IEC 23008-12)."""
    if data[4:8] != b"ftyp":
        return False
    (end,) = struct.unpack_from(">I", data)
    brands = {data[start : start + 4] for start in (8, *range(16, min(end, 256), 4))}
    return bool(brands & _HEVC)


def make_known() -> None:
    """Make Pillow read and write HEIC, as "HEIF". ImportError tells how to install what that needs."""
    try:
        import pillow_heif
    except ImportError as error:
        raise ImportError("HEIC photos need pillow-heif: pip install 'lightendiff[heic]'") from error
    pillow_heif.register_heif_opener()
