"""Restoring arrays as OpenCV has them: (h, w, 3) with blue first, or grey, or with alpha."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..pipeline import LightenPipeline, shipped
from ..runtime.conversion import swapped


def lighten(bgr: np.ndarray, pipe: LightenPipeline | None = None, **options: Any) -> np.ndarray:
    """Restore a picture as `cv2.imread` returns it.

    Args:
        bgr: (h, w, 3) blue first, (h, w, 4) with alpha, which is kept, or (h, w) grey; uint8, uint16 or floats in
            [0, 1].
        pipe: None for the weights of the package, loaded at the first call.
        options: of the pipeline's call: `strength`, `exposure`, `seed`, `num_inference_steps`, …

    Returns:
        A new array of the same shape and dtype.

    Raises:
        TypeError: not an array, or another dtype.
        ValueError: another shape, or values outside [0, 1].

    Example:
        >>> bgr = np.full((48, 64, 3), 12, np.uint8)
        >>> restored = lighten(bgr, exposure=0.5)
        >>> restored.shape, restored.dtype, bool(restored.mean() > 3 * bgr.mean())
        ((48, 64, 3), dtype('uint8'), True)
    """
    if not isinstance(bgr, np.ndarray):
        hint = ", which cv2.imread returns where it can't read a file" if bgr is None else ""
        raise TypeError(f"bgr: expected a NumPy array, got {type(bgr).__name__}{hint}")
    if bgr.ndim not in (2, 3) or (bgr.ndim == 3 and bgr.shape[2] not in (3, 4)):
        raise ValueError(f"bgr: expected (h, w), (h, w, 3) or (h, w, 4), got {bgr.shape}")
    pipe = shipped() if pipe is None else pipe
    return swapped(pipe(swapped(bgr), **options))
