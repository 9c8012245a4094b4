"""What a user's text or a path names: a file of this machine, or one at an address."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lightendiff.batch.plan import plan
from lightendiff.files.locations import RemotePath, located

pytest.importorskip("fsspec")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a/b.png", "a/b.png"),
        ("file:///a/b c.png", "/a/b c.png"),
        ("local://a/b.png", "a/b.png"),
        ("C://a.png", "C:/a.png"),
        (Path("s3:/bucket"), "s3:/bucket"),
        ("memory", "memory"),
    ],
)
def test_paths_of_this_machine(given, expected):
    assert located(given) == Path(expected)


def test_addresses():
    path = located("memory://photos/2024/a.b.PNG")
    assert isinstance(path, RemotePath)
    assert (path.name, path.stem, path.suffix) == ("a.b.PNG", "a.b", ".PNG")
    assert str(path) == "memory:///photos/2024/a.b.PNG"
    assert path.parent == located("memory://photos/2024/")
    assert path.with_name("c.jpg") == path.parent / "c.jpg" == path.parent.parent / Path("2024", "c.jpg")
    assert located(path) is path


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("nowhere://a", ValueError, "Protocol not known: nowhere"),
        ("simplecache::memory://a", ValueError, "an address with one protocol, without ::"),
        ("simplecache::file:///a", ValueError, "an address with one protocol, without ::"),
        ("memory://a/../b", ValueError, "without . or .. between slashes"),
    ],
)
def test_addresses_that_are_refused(given, error, message):
    with pytest.raises(error, match=message):
        located(given)


def test_without_fsspec_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(ImportError, match=r"addresses need fsspec: pip install 'lightendiff\[remote\]'"):
        located("memory://a")
    assert plan(["memory://a"], "out").problems == [
        "memory://a: addresses need fsspec: pip install 'lightendiff[remote]'"
    ]
