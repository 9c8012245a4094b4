"""`lightendiff.video.restore` under its earlier name."""

from ..video.restore import VideoSummary, restore_video

__all__ = ["VideoSummary", "restore_video"]
