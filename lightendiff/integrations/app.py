"""`lightendiff.app.server` under its earlier name."""

from ..app.server import build, launch

__all__ = ["build", "launch"]
