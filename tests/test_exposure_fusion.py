from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from lightendiff.data.pictures import exposure_fusion


def test_fusion_is_the_same_at_every_call() -> None:
    bright = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    frames = [bright // 8, bright // 2, bright]
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(4)
        with ThreadPoolExecutor(3) as pool:
            first, *others = pool.map(exposure_fusion, [frames] * 150)
        assert cv2.getNumThreads() == 4  # as it was for all else
    finally:
        cv2.setNumThreads(before)
    assert first.dtype == np.float32
    assert 0 <= first.min() <= first.max() <= 1
    assert all(np.array_equal(first, other) for other in others)
