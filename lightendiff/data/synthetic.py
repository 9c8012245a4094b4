"""`python -m lightendiff.data.synthetic`: the command of `synthesis.scenes`."""

import sys

from .synthesis.scenes import main

if __name__ == "__main__":
    sys.exit(main())
