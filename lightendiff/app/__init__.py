"""The web page that restores photos and videos: serving it, its tabs, and its work on uploaded files."""
