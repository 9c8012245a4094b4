"""What of a video's frames can't be kept, gathered as they go by: it may come up in any of them."""

from __future__ import annotations

from typing import Any

from .look import Look, is_transparent
from .side_data import described, worth_keeping

_HDR_CURVES = {16: "PQ", 18: "HLG"}


class Watch:
    """Looks at every frame, and says at the end what of them isn't kept.

    Attributes:
        kept: the names of side data that the restored frames have, too.
    """

    def __init__(self, look: Look, kept: set[str]) -> None:
        self.look, self.kept = look, kept
        self._sizes: list[tuple[int, int]] = [look.size]
        self._found: dict[str, None] = {}  # notes in order
        self._side_data: set[str] = set()
        self._corrupt = 0

    def see(self, frame: Any, canvas: Any) -> None:
        """Look at a frame, and at its canvas before that is restored."""
        if (size := (frame.width, frame.height)) not in self._sizes:
            self._sizes.append(size)
        if self.look.alpha and "yuva" not in self.look.pixel_format and is_transparent(canvas):
            self._found["transparency isn't kept"] = None
        if curve := _HDR_CURVES.get(frame.color_trc):
            self._found[f"HDR ({curve}) was restored as if it were standard video"] = None
        if frame.interlaced_frame:
            self._found["interlaced frames were restored whole and stored as progressive ones"] = None
        self._side_data |= worth_keeping(frame)
        self._corrupt += bool(frame.is_corrupt)

    def notes(self) -> list[str]:
        """A line for each thing that isn't kept."""
        notes = [*self.look.notes, *self._found, *described(self._side_data - self.kept)]
        if len(self._sizes) > 1:
            first, *others = (f"{width}×{height}" for width, height in self._sizes)
            notes.append(f"frames of {', '.join(others)} were scaled to the first one's size, {first}")
        if self._corrupt:
            notes.append(f"{self._corrupt} frames are damaged")
        return notes
