"""The table of picture formats: every row can do what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lightendiff.images import Picture, read_picture, write_picture
from lightendiff.images.formats import BY_SUFFIX, FORMATS, OPTIONS, TABLE, Format, format_of, written_as


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_every_row_has_its_module(row: Format) -> None:
    assert callable(row.codec().read)
    assert row.written == hasattr(row.codec(), "write")
    assert written_as(row.name).written
    assert all(f".{option}" in row.suffixes for option in row.options)
    assert bool(row.options) == row.written


@pytest.mark.parametrize("row", [row for row in TABLE if row.written], ids=lambda row: row.name)
def test_every_written_format_is_recognised_by_its_content(row: Format, tmp_path: Path) -> None:
    path = tmp_path / f"p{row.suffixes[0]}"
    write_picture(path, Picture(np.full((16, 16, 3), 99, np.uint8)))
    assert format_of(path.read_bytes()) is row
    assert [other.name for other in TABLE if other.recognised and other.recognised(path.read_bytes())] == [row.name]
    assert read_picture(path).format == row.name


def test_names_are_unique() -> None:
    assert len(BY_SUFFIX) == sum(len(row.suffixes) for row in TABLE)
    assert {f".{option}" for option in OPTIONS} <= set(FORMATS)
    assert format_of(b"text") is None
    assert format_of(b"text", "a.NEF") is BY_SUFFIX[".nef"]
