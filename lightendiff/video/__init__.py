"""Videos: frames out of a file, restored without flicker, into segments of a new one, with the sound of the old."""
