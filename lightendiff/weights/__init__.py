"""Weights on disk and on the Hugging Face Hub. `load` is the one way in; those of the package lie in `default`."""
