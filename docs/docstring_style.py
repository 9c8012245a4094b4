"""For griffe, which reads the docstrings: what they write in fewer words than its Google style.

`a, b: text` in a section describes both; `Example:` is the section that Google calls "Examples".
"""

from __future__ import annotations

import re
from typing import Any

import griffe

ENTRY = re.compile(r"^(?P<indent> +)(?P<names>\w+(?:, \w+)+)(?P<text>: .*\n?(?:(?P=indent) +\S.*\n?)*)", re.M)
EXAMPLE = re.compile(r"^Example:$", re.M)


class HouseStyle(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = EXAMPLE.sub("Examples:", ENTRY.sub(split, obj.docstring.value))


def split(match: re.Match[str]) -> str:
    text = match["text"] if match["text"].endswith("\n") else match["text"] + "\n"
    return "".join(f"{match['indent']}{name}{text}" for name in match["names"].split(", "))
