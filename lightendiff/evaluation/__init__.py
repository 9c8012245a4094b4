"""How good restored pictures are: figures against references, by us and by pyiqa, and sheets to look at."""
