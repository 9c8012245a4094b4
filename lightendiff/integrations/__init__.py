"""Adapters to the libraries that pictures come from: one module each, which imports its library and nothing more."""
