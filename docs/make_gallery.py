"""Make the pictures of docs/gallery.md: download the photos of docs/gallery.yaml and restore them at several exposures.

python docs/make_gallery.py                    downloads the photos
python docs/make_gallery.py --photos FOLDER    takes them from FOLDER, where they have their addresses' last names

Nothing that it writes is committed; the site has what is there when it is built.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from PIL import Image, ImageOps

from lightendiff import LightenPipeline

LIST = Path(__file__).with_name("gallery.yaml")
PICTURES = Path(__file__).with_name("gallery")
EXPOSURES = {"darker": -1.0, "automatic": 0.0, "brighter": 1.0}  # in stops, by the end of the file's name
LARGEST_SIDE = 1200  # pixels, on the page
TIMEOUT = 60  # seconds


@dataclass(frozen=True)
class Photo:
    """An entry of the list."""

    name: str  # of the files that are made
    title: str
    says: str  # the caption
    address: str  # of the file, at a fixed commit
    sha256: str
    author: str
    licence: str
    source: str  # the page that states the licence


def read_list(path: Path = LIST) -> list[Photo]:
    return [Photo(**entry) for entry in yaml.safe_load(path.read_text(encoding="utf-8"))]


def fetch(photo: Photo, folder: Path | None) -> bytes:
    """The photo's file, from a folder or from its address.

    Raises:
        OSError: it isn't there, or can't be downloaded.
        ValueError: it is another file than the list means.
    """
    if folder is not None:
        data = (folder / photo.address.rsplit("/", 1)[-1]).read_bytes()
    else:
        with urllib.request.urlopen(photo.address, timeout=TIMEOUT) as answer:
            data = answer.read()
    found = hashlib.sha256(data).hexdigest()
    if found != photo.sha256:
        raise ValueError(f"{photo.address}: expected SHA-256 {photo.sha256}, got {found}")
    return data


def make(photo: Photo, data: bytes, pipe: LightenPipeline, folder: Path) -> None:
    """Write the photo, and it restored at each exposure, as JPEG files into a folder."""
    dark = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    pictures = {"dark": dark} | {end: pipe(dark, exposure=stops) for end, stops in EXPOSURES.items()}
    folder.mkdir(parents=True, exist_ok=True)
    for end, picture in pictures.items():
        picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
        picture.save(folder / f"{photo.name}_{end}.jpg", quality=92, subsampling=0)


def error_of(photo: Photo, folder: Path | None, pipe: LightenPipeline) -> str:
    """What prevented it that the photo's pictures were made, or nothing."""
    try:
        make(photo, fetch(photo, folder), pipe, PICTURES)
    except (OSError, ValueError) as error:
        return f"failed: {photo.name}: {error}"
    return ""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Make the pictures of docs/gallery.md.")
    parser.add_argument("--photos", metavar="FOLDER", type=Path, help="take the photos from here, download nothing")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    photos, pipe = read_list(), LightenPipeline.from_pretrained()
    errors = [error for photo in photos if (error := error_of(photo, args.photos, pipe))]
    print(*errors, sep="\n", end="\n" if errors else "", file=sys.stderr)
    print(f"{len(photos) - len(errors)} of {len(photos)} photos are restored")
    return int(bool(errors))


if __name__ == "__main__":
    sys.exit(main())
