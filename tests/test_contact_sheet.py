"""Contact sheets: where pictures lie, that they are not enlarged, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lightendiff.evaluation.contact_sheet import Tile, contact_sheet, save_sheet

GAP, LINE = 8, 20


def flat(height: int, width: int, colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def test_pictures_lie_in_their_cells():
    red, blue = flat(30, 40, (200, 0, 0)), flat(20, 40, (0, 0, 200))
    sheet = contact_sheet([[Tile(red), Tile(blue)], [Tile(blue)]], size=(40, 40))
    assert sheet.shape == (GAP + 30 + GAP + 20 + GAP, 2 * (40 + GAP) + GAP, 3)
    assert sheet.dtype == np.uint8
    np.testing.assert_array_equal(sheet[GAP : GAP + 30, GAP : GAP + 40], red)
    np.testing.assert_array_equal(sheet[GAP : GAP + 20, 40 + 2 * GAP : 80 + 2 * GAP], blue)
    np.testing.assert_array_equal(sheet[2 * GAP + 30 : -GAP, GAP : GAP + 40], blue)
    empty = sheet[2 * GAP + 30 :, 40 + 2 * GAP :]
    assert (empty == sheet[0, 0]).all()


def test_labels_and_headings_take_a_line_each_and_leave_the_pictures_alone():
    picture = np.random.default_rng(0).integers(0, 256, (30, 60, 3), dtype=np.uint8)
    plain = contact_sheet([[Tile(picture)]], size=(60, 60))
    labelled = contact_sheet([[Tile(picture, "21.0 dB")]], headings=["dark"], size=(60, 60))
    assert labelled.shape[0] == plain.shape[0] + 2 * LINE
    np.testing.assert_array_equal(labelled[GAP + LINE : GAP + LINE + 30, GAP:-GAP], picture)
    for text in (labelled[: GAP + LINE], labelled[GAP + LINE + 30 :]):
        assert text.max() > 150
    assert (labelled[:, :GAP] == plain[0, 0]).all()
    assert (labelled[:, -GAP:] == plain[0, 0]).all()


def test_long_labels_end_at_their_picture():
    tile = Tile(flat(20, 80, (0, 0, 0)), "a name that is far too long for a picture this small")
    sheet = contact_sheet([[tile, Tile(flat(20, 80, (0, 0, 0)))]], size=(80, 80))
    assert (sheet[GAP + 20 :, GAP + 80 :] == sheet[0, 0]).all()


@pytest.mark.parametrize(
    ("shape", "shown"), [((300, 200), (150, 100)), ((200, 300), (67, 100)), ((10, 20), (10, 20)), ((1, 900), (1, 100))]
)
def test_pictures_are_shrunk_in_proportion_but_never_enlarged(shape, shown):
    sheet = contact_sheet([[Tile(flat(*shape, (250, 250, 250)))]], size=(100, 150))
    rows, columns = np.nonzero((sheet > 200).all(axis=2))
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == shown


def test_save(tmp_path):
    sheet = contact_sheet([[Tile(flat(20, 30, (10, 200, 100)))]])
    save_sheet(tmp_path / "new" / "sheet.png", sheet)
    save_sheet(tmp_path / "new" / "sheet.jpg", sheet)
    with Image.open(tmp_path / "new" / "sheet.png") as stored:
        np.testing.assert_array_equal(np.asarray(stored), sheet)
    with Image.open(tmp_path / "new" / "sheet.jpg") as stored:
        assert (stored.format, stored.size) == ("JPEG", sheet.shape[1::-1])


def test_refused():
    with pytest.raises(ValueError, match=r"pixels: expected \(h, w, 3\) uint8.*\(4, 4\) float64"):
        Tile(np.zeros((4, 4)))
    tile = Tile(flat(4, 4, (0, 0, 0)))
    with pytest.raises(ValueError, match="rows: expected at least one picture"):
        contact_sheet([[], []])
    with pytest.raises(ValueError, match="headings: expected at most 1"):
        contact_sheet([[tile]], headings=["a", "b"])
    with pytest.raises(ValueError, match="size"):
        contact_sheet([[tile]], size=(0, 10))
