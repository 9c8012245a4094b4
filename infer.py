#!/usr/bin/env python
"""Restore dark photos: python infer.py INPUT [INPUT…] -o OUT (see --help)."""

import sys

from lightendiff.cli.restore import main

if __name__ == "__main__":
    sys.exit(main())
