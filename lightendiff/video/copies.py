"""What else is in a video file than the video: sound, subtitles, data, tags, chapters, as the restored one gets it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

from .clock import Clock, packets
from .frames import Source, av, is_cover, opened

_STALE = ("encoder", "bps", "number_of_bytes", "number_of_frames", "duration", "rotate", "_statistics")  # tags
_BRANDS = ("encoder", "major_brand", "minor_version", "compatible_brands")
_TECHNICAL = (*_STALE, "handler_name", "vendor_id", "language", "alpha_mode", "stereo_mode", "filename", "mimetype")
_PICTURES = {"mjpeg": ("image/jpeg", "jpg"), "png": ("image/png", "png"), "bmp": ("image/bmp", "bmp")}  # as covers
_MACINTOSH = {  # languages that MOV knows by their other code of ISO 639-2
    "deu": "ger", "nld": "dut", "isl": "ice", "zho": "chi", "ell": "gre", "sqi": "alb", "fas": "per", "fre": "fra",
    "hye": "arm", "ron": "rum", "ces": "cze", "slk": "slo", "msa": "may", "cym": "wel", "eus": "baq", "kat": "geo",
}  # fmt: skip
MOVIES = ("mp4", "mov")  # formats that write edit lists and timecode tracks
_PREROLL = 2  # packets before the cut that a decoder of sound needs, and that an edit list hides
_PLAIN_TAGS = {  # those that MP4 and MOV have places for of their own
    "title", "artist", "album_artist", "composer", "album", "date", "comment", "genre", "copyright", "grouping",
    "lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords", "track", "disc", "creation_time",
    "location", "make", "model", "author", "software",
}  # fmt: skip


def copied_streams(source: Source, given: Any, format: str, notes: list[str]) -> list[Any]:
    """The streams besides the restored one that a format holds; for each of the others there is a note."""
    held = []
    for stream in given.streams:
        if stream.index == source.stream.index or is_timecode(stream) or is_chapters(given, stream):
            continue
        if _holds(format, stream):
            held.append(stream)
            if stream.type == "video" and not is_cover(stream):
                notes.append(f"{named(stream)} is copied, not restored")
        else:
            notes.append(not_copied(stream, format))
    return held


def not_copied(stream: Any, format: str) -> str:
    """The note for a stream that is left out."""
    return f"{named(stream)} isn't copied: {format} can't hold it"


def named(stream: Any) -> str:
    codec = stream.codec_context.name if stream.codec_context is not None else "of an unknown kind"
    return f"{stream.type} stream {stream.index} ({codec})"


def is_timecode(stream: Any) -> bool:
    """Whether a stream is a timecode track: MP4 and MOV get a new one from the tag, and others the tag."""
    return stream.type == "data" and "timecode" in stream.metadata


def is_chapters(given: Any, stream: Any) -> bool:
    """Whether a stream holds the names of the chapters, which are written anew."""
    return stream.type == "data" and stream.discard == 48 and bool(given.chapters())


def timecode(given: Any) -> str | None:
    """That of the first stream that has one."""
    found = (value for stream in given.streams for key, value in stream.metadata.items() if key.lower() == "timecode")
    return next(found, None)


def copied_packets(given: Any, indices: set[int], format: str) -> Iterator[Any]:
    """The packets of these streams, on the restored video's clock, with time stamps that increase.

    What an edit list cuts away isn't among them, but for what a decoder needs before the cut where the format has edit
    lists, too; elsewhere it would be heard, and all else would begin later.
    """
    last: dict[int, Fraction] = {}
    before: dict[int, list[Any]] = {}  # the last ones that were cut away
    clock = Clock(given)
    for packet in packets(given, clock, []):
        index = packet.stream.index
        if index not in indices or not packet.size:
            continue
        if packet.dts is None:  # a cover has no time
            packet.dts = packet.pts = packet.pts or 0
        if packet.is_discard:
            if format in MOVIES and index not in last and packet.stream.type == "audio":
                before[index] = [*before.get(index, []), packet][-_PREROLL:]
            continue
        for each in (*before.pop(index, []), packet):
            unit = Fraction(each.time_base)
            if index in last and each.dts * unit <= last[index]:
                shift = last[index] // unit + 1 - each.dts
                each.dts += shift
                each.pts = max(each.pts if each.pts is not None else each.dts, each.dts)
            last[index] = each.dts * unit
            yield each


def is_attached(stream: Any, format: str) -> bool:
    """Whether a stream is a cover, of which a format makes an attachment."""
    return format == "matroska" and is_cover(stream) and stream.codec_context.name in _PICTURES


def attachment(path: Path, stream: Any) -> tuple[str, str, bytes]:
    """Name, kind and content of a cover that becomes an attachment."""
    with opened(path) as given:
        packet = next(each for each in given.demux(given.streams[stream.index]) if each.size)
        mimetype, suffix = _PICTURES[stream.codec_context.name]
        return stream.metadata.get("filename", f"cover.{suffix}"), mimetype, bytes(packet)


def tags(stream: Any, format: str) -> dict[str, str]:
    """A stream's tags, as a format that has other names for them gets them."""
    own = {key: value for key, value in stream.metadata.items() if not key.lower().startswith(_STALE)}
    if format in MOVIES and own.get("title"):  # players show the handler's name, and no title is stored
        own["handler_name"] = own["title"]
    if format == "mov" and "language" in own:
        own["language"] = _MACINTOSH.get(own["language"], own["language"])
    return own


def file_tags(given: Any) -> dict[str, str]:
    return {key: value for key, value in given.metadata.items() if key.lower() not in _BRANDS}


def muxer_options(given: Any, format: str) -> dict[str, str]:
    """What a format's writer is told, so that it keeps what it can."""
    if format not in MOVIES:
        return {}
    options = {"strict": "unofficial"}  # for spherical video
    if any(key.lower() not in _PLAIN_TAGS for key in file_tags(given)):
        options["movflags"] = "use_metadata_tags"
    return options


def shifted_chapters(given: Any) -> list[Any]:
    """The chapters, on the restored video's clock."""
    start = Clock(given).start
    chapters = []
    for each in given.chapters():
        shift = round(start / each["time_base"])
        if each["end"] > shift:
            chapters.append({**each, "start": max(0, each["start"] - shift), "end": each["end"] - shift})
    return chapters


def lost_tags(given: Any, written: Any) -> list[str]:
    """A note on the tags, and one on the chapters, that aren't in the file that was written."""
    kept = {key.lower() for each in (written, *written.streams) for key in each.metadata}
    lost: list[str] = []
    for key in file_tags(given):
        plain = key.lower()
        if plain not in kept and re.sub("-[a-z]{3}$", "", plain) not in kept and not plain.startswith(_TECHNICAL):
            lost.append(key)
    notes = [f"tags aren't kept: {', '.join(sorted(lost))}"] if lost else []
    if timecode(given) is not None and timecode(written) is None:
        notes.append("the timecode isn't kept")
    if given.chapters() and not written.chapters():
        notes.append("chapters aren't kept")
    return notes


def lost_labels(given: Any, written: Any, left_out: set[int]) -> list[str]:
    """Notes on the titles and languages of streams that those of the file that was written don't have."""
    notes = []
    for kind in ("video", "audio", "subtitles"):
        kept = [each for each in getattr(given.streams, kind) if each.index not in left_out and not is_cover(each)]
        copies = [each for each in getattr(written.streams, kind) if not is_cover(each)]
        if len(kept) != len(copies):  # what isn't copied is told elsewhere
            continue
        for own, copy in zip(kept, copies, strict=True):
            title, language = own.metadata.get("title"), own.metadata.get("language", "und")
            if title and title not in (copy.metadata.get("title"), copy.metadata.get("handler_name")):
                notes.append(f"the title of {named(own)} isn't kept: {title}")
            found = copy.metadata.get("language", "und")
            if language != found and _MACINTOSH.get(language) != found:
                notes.append(f"the language of {named(own)} isn't kept: {language}")
    return notes


def _holds(format: str, stream: Any) -> bool:
    """Whether a container can hold a stream as it is, which only a trial can tell."""
    if format in MOVIES and stream.type == "data" and not _is_telemetry(stream):
        return False  # FFmpeg would take any data for a GoPro's
    if is_cover(stream) and format not in ("mp4", "matroska"):
        return False  # FFmpeg would leave it out, or make a film of it
    with suppress(ValueError, av.error.FFmpegError), av.open(io.BytesIO(), "w", format=format) as trial:
        trial.add_stream_from_template(stream)
        trial.start_encoding()
        return True
    return False


def _is_telemetry(stream: Any) -> bool:
    return "GoPro MET" in stream.metadata.get("handler_name", "")
