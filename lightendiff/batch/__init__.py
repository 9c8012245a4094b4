"""Many pictures from file to file: what there is to do, reading ahead, and restoring and writing meanwhile."""
