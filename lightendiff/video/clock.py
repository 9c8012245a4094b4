"""The packets of a file in their order, on a clock that starts at 0 and goes on where the file's own makes a jump.

Broadcasts and recordings count from wherever their clock stood, and begin anew in the middle; the restored video
counts as FFmpeg does when it converts such a file. All readers of a file see the same times.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import av.error

_BROKEN_CLOCKS = 0x0200  # FFmpeg's AVFMT_TS_DISCONT: formats whose clock may jump
_JUMP = 10  # seconds away from what was expected, from which FFmpeg takes it for a jump
PATIENCE = 20  # seconds in which there must be a packet; a file of holes has none
_MOST_ERRORS = 1000  # one after the other, which only a file that isn't read any further has


class Clock:
    """Moves the time stamps of a file's packets.

    Attributes:
        start: seconds that the file's own clock shows at its beginning; 0 where it shows less.
        jumps: how many of them were evened out.
        gave_up: whether reading ended since nothing came any more.
    """

    def __init__(self, container: Any) -> None:
        self.start = max(Fraction(0), Fraction(container.start_time or 0, av.time_base))
        self.jumps, self.gave_up = 0, False
        self._offset = self.start
        self._may_jump = bool(container.format.flags & _BROKEN_CLOCKS)
        self._expected: dict[int, Fraction] = {}  # of each stream's next packet, in seconds of the file's own clock

    def move(self, packet: Any) -> None:
        """Set a packet's time stamps; packets come in the order of the file."""
        unit = Fraction(packet.time_base)
        if self._may_jump and packet.dts is not None and packet.stream.type in ("video", "audio"):
            index, own = packet.stream.index, packet.dts * unit
            jump = own - self._expected.get(index, own)
            if abs(jump) > _JUMP:
                self._offset += jump
                self.jumps += 1
            self._expected[index] = own + (packet.duration or 0) * unit
        shift = round(self._offset / unit)
        if shift:
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift


def packets(container: Any, clock: Clock, damaged: list[str]) -> Iterator[Any]:
    """All packets of a file, each moved by the clock, and at the end an empty one for each stream.

    What can't be read is passed over, with the reason put into `damaged`.
    """
    errors = 0
    while errors < _MOST_ERRORS:
        try:
            for packet in container.demux():
                errors = 0
                if packet.size:
                    clock.move(packet)
                yield packet
            return
        except av.error.InvalidDataError as error:  # noqa: PERF203
            errors += 1
            damaged.append(error.strerror or str(error))
        except av.error.ExitError:
            clock.gave_up = True
            for stream in container.streams:
                last: Any = av.Packet()
                last.stream = stream
                yield last
            return
