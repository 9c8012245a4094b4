"""`python -m lightendiff.data.synthetic`: the command of `synthesis.scenes`."""

import sys

from ..runtime.extras import needing
from ..runtime.process import tune_process

tune_process()
with needing("train", "making scenes"):
    from .synthesis.scenes import main

if __name__ == "__main__":
    sys.exit(main())
