"""The site made of docs/ and the docstrings: it builds without a warning, and all its links lead somewhere."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType, SimpleNamespace
from urllib.parse import unquote

import pytest
import yaml
from PIL import Image

import lightendiff

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


class Html(HTMLParser):
    """The identifiers of a page, what it refers to, and the text of its paragraphs."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.references: list[tuple[str, str]] = []  # tag, address
        self.paragraphs: list[str] = []
        self._inside: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if found.get("id"):
            self.ids.add(str(found["id"]))
        for name in ("href", "src"):
            if found.get(name):
                self.references.append((tag, str(found[name])))
        if tag in ("p", "code"):
            self._inside.append(tag)
            if tag == "p":
                self.paragraphs.append("")

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if self._inside and self._inside[-1] == "p":
            self.paragraphs[-1] += data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the site, built as `make docs` does; strictly, as mkdocs.yml says."""
    for module in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        pytest.importorskip(module, reason="needs lightendiff[docs]")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    got = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert got.returncode == 0, got.stderr
    assert got.stderr == ""
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Html]:
    return {path: Html(path) for path in site.rglob("*.html")}


def test_every_document_has_a_page(site: Path) -> None:
    for path in DOCS.rglob("*.md"):
        name = path.relative_to(DOCS).with_suffix("")
        page = site / (name.parent if name.name == "index" else name) / "index.html"
        assert page.is_file(), f"{path} has no page"
    for path in ("CHANGELOG", "CONTRIBUTING", "SECURITY", "benchmarks/RESULTS", "lightendiff/weights/default"):
        assert (site / "repository" / path / "index.html").is_file()
    assert not list(site.rglob("*.py")), "programs belong into the repository"


def test_everything_that_pages_refer_to_is_there(site: Path, pages: dict[Path, Html]) -> None:
    missing = []
    for path, page in pages.items():
        for _, address in page.references:
            target, _, anchor = address.partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            # 404.html is shown for any address, and so refers to things by absolute ones
            place = site / target.lstrip("/") if target.startswith("/") else path.parent / unquote(target)
            place = (place / "index.html" if place.is_dir() else place).resolve() if target else path.resolve()
            if not place.is_file() or (anchor and place.suffix == ".html" and unquote(anchor) not in pages[place].ids):
                missing.append(f"{path.relative_to(site)}: {address}")
    assert not missing


def test_pages_take_nothing_from_other_machines(pages: dict[Path, Html]) -> None:
    foreign = {
        address
        for page in pages.values()
        for tag, address in page.references
        if tag in ("script", "img", "link", "iframe") and re.match(r"https?:|//", address)
    }
    assert not foreign


def test_lists_tables_and_fences_are_not_taken_for_text(site: Path, pages: dict[Path, Html]) -> None:
    """The site's Markdown wants a blank line in front of a list and four spaces before what belongs to an item."""
    wrong = [
        f"{path.relative_to(site)}: {text}"
        for path, page in pages.items()
        for text in page.paragraphs
        if re.search(r"^ *([-*] |\d+\. |```|\|.*\|$)|^:::|\]\(", text, re.M)
    ]
    assert not wrong


@pytest.mark.parametrize("module", ["lightendiff", "lightendiff.training", "lightendiff.data.datasets"])
def test_every_public_name_is_in_the_reference(module: str, site: Path, pages: dict[Path, Html]) -> None:
    try:
        loaded = importlib.import_module(module)
    except ImportError as error:
        pytest.skip(str(error))
    ids = set().union(*(page.ids for path, page in pages.items() if path.relative_to(site).parts[0] == "reference"))
    missing = []
    for name in loaded.__all__:
        defined_in = getattr(getattr(loaded, name), "__module__", module)
        if not name.startswith("_") and not {f"{module}.{name}", f"{defined_in}.{name}"} & ids:
            missing.append(name)
    assert not missing


# ---- what is made of files outside of docs/


@pytest.fixture(scope="module")
def hooks(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    pytest.importorskip("mkdocs", reason="needs lightendiff[docs]")
    return load_script(DOCS / "site_hooks.py")


def turned(hooks: ModuleType, uri: str, markdown: str) -> str:
    page = SimpleNamespace(file=SimpleNamespace(src_uri=uri))
    return hooks.on_page_markdown(markdown, page, config=None, files=None)


@pytest.mark.parametrize(
    ("uri", "before", "after"),
    [
        ("usage.md", "[a](video.md#x)", "[a](video.md#x)"),
        ("usage.md", "[a](../CONTRIBUTING.md#x)", "[a](repository/CONTRIBUTING.md#x)"),
        ("reference/data.md", "[a](../../train.py)", "[a](../repository/train.py.md)"),
        ("usage.md", "[a](../LICENSE)", "[a](repository/LICENSE.md)"),
        ("usage.md", "[a](https://x.org/../y.md) [b](#here)", "[a](https://x.org/../y.md) [b](#here)"),
        ("usage.md", "`[a](../x.py)`\n\n```\n[a](../x.py)\n```\n", "`[a](../x.py)`\n\n```\n[a](../x.py)\n```\n"),
        ("repository/CHANGELOG.md", "[a](docs/usage.md#x)", "[a](../usage.md#x)"),
        ("repository/CHANGELOG.md", "[a](https://x.org) [b](#here)", "[a](https://x.org) [b](#here)"),
        ("repository/a/b/README.md", "[a](LICENSE) ![b](../../docs/images/b.jpg)", None),
    ],
)
def test_links_out_of_docs_and_back(hooks: ModuleType, uri: str, before: str, after: str | None) -> None:
    expected = "[a](LICENSE.md) ![b](../../../images/b.jpg)" if after is None else after
    assert turned(hooks, uri, before) == expected


def test_docstrings_that_describe_two_arguments_at_once(load_script: Callable[[Path], ModuleType]) -> None:
    griffe = pytest.importorskip("griffe", reason="needs lightendiff[docs]")
    style = load_script(DOCS / "docstring_style.py")
    text = "A thing.\n\nArgs:\n    a, b: both,\n        in two lines.\n    c: one, x: y.\n\nExample:\n    >>> 1\n    1"
    thing = griffe.Function("thing", docstring=griffe.Docstring(text))
    style.HouseStyle().on_object(obj=thing)
    expected = "A thing.\n\nArgs:\n    a: both,\n        in two lines.\n    b: both,\n        in two lines.\n"
    assert thing.docstring.value == expected + "    c: one, x: y.\n\nExamples:\n    >>> 1\n    1"


# ---- the gallery


@pytest.fixture(scope="module")
def make_gallery(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(DOCS / "make_gallery.py")


def test_photos_are_listed_with_what_their_use_requires(make_gallery: ModuleType) -> None:
    photos = make_gallery.read_list()
    assert 6 <= len(photos) == len({photo.name for photo in photos}) == len({photo.sha256 for photo in photos})
    for photo in photos:
        assert re.fullmatch(r"https://raw\.githubusercontent\.com/[\w.-]+/[\w.-]+/[0-9a-f]{40}/\S+", photo.address)
        assert re.fullmatch(r"[0-9a-f]{64}", photo.sha256)
        assert photo.licence in ("CC0 1.0", "public domain")
        assert photo.author
        assert photo.source.startswith("https://")
        assert "/".join(photo.address.split("/")[3:5]) in photo.source


@pytest.fixture
def photo(make_gallery: ModuleType, tmp_path: Path) -> object:
    Image.new("RGB", (32, 48), (9, 12, 7)).save(tmp_path / "dark.png")
    digest = hashlib.sha256((tmp_path / "dark.png").read_bytes()).hexdigest()
    address, source = "https://photos.example/1/dark.png", "https://photos.example"
    return make_gallery.Photo("one", "One", "Says it.", address, digest, "Me", "CC0 1.0", source)


def test_the_gallery_shows_what_was_made(
    make_gallery: ModuleType, hooks: ModuleType, photo: object, weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "gallery.yaml").write_text(yaml.safe_dump([vars(photo), vars(photo) | {"name": "other"}]))
    assert "make_gallery.py" in hooks.gallery(tmp_path)  # how to get them
    pipe = lightendiff.LightenPipeline.from_pretrained(weights, device="cpu")
    make_gallery.make(photo, make_gallery.fetch(photo, tmp_path), pipe, tmp_path / "gallery")
    for name in hooks.pictures_of("one"):
        assert Image.open(tmp_path / name).size == (32, 48)
    page = hooks.gallery(tmp_path)
    assert page.count("](gallery/one_") == 8  # four pictures, each a link to itself
    assert "other" not in page
    assert "Says it." in page
    assert "Me, CC0 1.0: [source](https://photos.example)" in page


def test_another_file_than_the_listed_one_is_refused(
    make_gallery: ModuleType, photo: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_gallery, "PICTURES", tmp_path / "gallery")
    Image.new("RGB", (32, 48)).save(tmp_path / "dark.png")
    with pytest.raises(ValueError, match=r"dark\.png: expected SHA-256 [0-9a-f]{64}, got [0-9a-f]{64}$"):
        make_gallery.fetch(photo, tmp_path)
    (tmp_path / "dark.png").unlink()
    assert make_gallery.error_of(photo, tmp_path, None).startswith("failed: one: ")
    assert not (tmp_path / "gallery").exists()
