"""Where training and validation pictures come from.

A *source* lists its files cheaply when it is made, decodes and checks all of them in `load`, and then answers
`draw(rng)` (one random sample, training) and `pair(i)` (the i-th pair of a fixed order, validation). Pixels are uint8
RGB; what is random depends on nothing but the generator passed in.
"""

from ...runtime.extras import needing

with needing("train", "the sources of training"):
    from .brackets import Brackets
    from .folders import Darkened, PairedFolders, UnpairedFolders, WellLit
    from .published import Published
    from .self_made import SelfMade
    from .source import Mixture, Source

__all__ = [  # noqa: RUF022 - the order of docs/configuration.md
    "Source",
    "PairedFolders",
    "Published",
    "Brackets",
    "WellLit",
    "Darkened",
    "UnpairedFolders",
    "SelfMade",
    "Mixture",
]
