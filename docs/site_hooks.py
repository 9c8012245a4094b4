"""What mkdocs.yml needs beside its plugins: pages for files outside of docs/, and the photos of the gallery.

The documents link to files of the repository by relative paths, which a forge follows. On the site such a file becomes
a page under repository/: Markdown as it is, anything else as a listing. Links are turned to where they lead there.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# A fenced block or a code span, which are left alone, or the target of a link.
LINK = re.compile(r"^```.*?^```|`[^`\n]*`|(?<=\]\()(?P<path>[^)#\s:]+)(?=[)#\s])", re.M | re.S)
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".json": "json"}

PHOTOS = "gallery.yaml"
PICTURES = "gallery"  # where make_gallery.py puts its pictures, in docs/
COLUMNS = {"dark": "the photo", "darker": "−1 stop", "automatic": "automatic", "brighter": "+1 stop"}
MARK = "<!-- gallery -->"


# ---- files outside of docs/


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside of docs/ that pages link to, and those that these link to."""
    waiting = [file for file in files.documentation_pages() if file.inclusion.is_included()]
    while waiting:
        file = waiting.pop()
        for path in targets(file.content_string, of_repository(file.src_uri)):
            source, uri = ROOT / path, place(path)
            if path.startswith("docs/") or uri in files.src_uris or not source.is_file():
                continue  # mkdocs knows the first two, and says that the last lead nowhere
            added = File.generated(config, uri, content=text_of(source))
            files.append(added)
            waiting.append(added)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    if page.file.src_uri == "gallery.md":
        markdown = markdown.replace(MARK, gallery(Path(config.docs_dir)))
    own = of_repository(page.file.src_uri)

    def turn(match: re.Match[str]) -> str:
        if match["path"] is None:
            return match[0]
        path = resolved(match["path"], own)
        if own.startswith("docs/") and path.startswith("docs/"):
            return match[0]
        return posixpath.relpath(place(path), posixpath.dirname(page.file.src_uri))

    return LINK.sub(turn, markdown)


def targets(markdown: str, own: str) -> Iterator[str]:
    """What a document of the repository links to, as paths from the repository's root."""
    for match in LINK.finditer(markdown):
        if match["path"] is not None:
            yield resolved(match["path"], own)


def resolved(link: str, own: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(own), link))


def place(path: str) -> str:
    """Where the site has a file of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return "repository/" + (path if path.endswith(".md") else path + ".md")


def of_repository(uri: str) -> str:
    """Where the repository has a page of the site, one of Markdown."""
    return uri.removeprefix("repository/") if uri.startswith("repository/") else "docs/" + uri


def text_of(source: Path) -> str:
    text = source.read_text(encoding="utf-8")
    if source.suffix == ".md":
        return text
    return f"# {source.name}\n\n```{LANGUAGES.get(source.suffix, 'text')}\n{text}\n```\n"


# ---- the gallery


def gallery(docs: Path) -> str:
    """The photos whose pictures `make_gallery.py` has made, with their captions."""
    photos = yaml.safe_load((docs / PHOTOS).read_text(encoding="utf-8"))
    parts = [figure(photo) for photo in photos if all((docs / name).is_file() for name in pictures_of(photo["name"]))]
    if not parts:
        return (
            '!!! note "The photos aren\'t here"\n\n'
            "    They are downloaded when the gallery is made, and this copy of the site was built without them.\n"
            "    Run `python docs/make_gallery.py`, which restores them, and build the site again.\n"
        )
    return "\n\n".join(parts)


def pictures_of(name: str) -> list[str]:
    return [f"{PICTURES}/{name}_{end}.jpg" for end in COLUMNS]


def figure(photo: dict[str, str]) -> str:
    cells = [
        f"[![{photo['title']}: {label}]({path}){{loading=lazy}}]({path}) {label}"
        for path, label in zip(pictures_of(photo["name"]), COLUMNS.values(), strict=True)
    ]
    return "\n\n".join(
        [
            f"## {photo['title']}",
            '<div class="exposures" markdown>',
            *cells,
            "</div>",
            photo["says"].strip(),
            f"<small markdown>{photo['author']}, {photo['licence']}: [source]({photo['source']}).</small>",
        ]
    )
