"""Adapters to the libraries that pictures come from: one module each, which imports its library and nothing more.

`app` and `video` are second names of what lies in `lightendiff.app` and `lightendiff.video`.
"""
