"""Steady brightness and colour from frame to frame of a video, without a say in what the scene itself does.

The restorer judges every frame anew, and its judgement wavers: by up to a percent or two from one frame to the next,
which is seen as flicker. What wavers is what it adds, the gain of its latent over the dark picture's, so that is what
is evened out; the picture isn't. Most of a change of light in the scene stays one: the gain follows it with a delay,
as a camera's does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..models.autoencoder import Autoencoder
from ..restorer import Adjust
from ..tone import BLACK, GAMMA, exposed

SMOOTHING = 1.0  # seconds, where nobody says
GRID = 8  # cells to a side in which frames are compared: coarse, so that motion makes little difference
# Mean difference of the cells' log tones from which a frame is another scene. Measured on darkened photos, -3 to -7
# stops: different ones 0.34 to 0.72; pans by a twelfth of the width from frame to frame 0.03 to 0.26; a stop more
# light 0.20 to 0.23.
CUT = 0.28
MAX_STOPS = 1.0  # of correction; more is needed only where the scene fades in from black, and the average is no guide
RIDGE = 1e-3  # variance of log tones below which a picture is too flat to tell how gain depends on them


@dataclass(frozen=True)
class _Frame:
    """What the next frame needs of one: its time, its log tones in cells (3, GRID, GRID), the lines (3, 2) averaged up
    to it, and how many scene cuts there have been."""

    time: float
    cells: Tensor
    lines: Tensor
    cuts: int


@dataclass
class Deflicker:
    """Evens out what a restorer adds to successive frames; one for a video.

    For each channel, the log gain of a frame's latent is fitted as a line a + b · log tone. The frame is moved, in
    exposure, from the mean code value that its own line gives its tones to the one that the average line gives them;

        average_t = w · average_{t-1} + (1 - w) · line_t,      w = exp(-Δt/τ)

    A line, rather than a mean gain, because a mean changes with what is in the picture, without any wavering. A scene
    cut starts the average anew.

    Attributes:
        model: the restorer's autoencoder, which has exposure control.
        seconds: τ; above 0.
    """

    model: Autoencoder
    seconds: float
    _last: _Frame | None = field(default=None, init=False)
    _next: _Frame | None = field(default=None, init=False)

    def at(self, time: float) -> Adjust:
        """The `adjust` to restore the frame at `time` (seconds) with; frames come in order, one in a batch.

        It may be called several times for a frame: the last call counts.
        """
        self._last = self._next
        return partial(self._adjust, time)

    @property
    def cuts(self) -> int:
        """Scene cuts up to now."""
        return 0 if self._next is None else self._next.cuts

    def state(self) -> dict[str, np.ndarray]:
        """All that the next frame depends on, as arrays; empty before the first frame."""
        if self._next is None:
            return {}
        return {name: np.asarray(value) for name, value in vars(self._next).items()}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken; with an empty one, at the beginning."""
        if not state:
            self._next = None
            return
        cells, lines = (torch.from_numpy(np.array(state[name])) for name in ("cells", "lines"))
        self._next = _Frame(float(state["time"]), cells, lines, int(state["cuts"]))

    def _adjust(self, time: float, restored: Tensor, dark: Tensor) -> Tensor:
        if len(restored) != 1:
            raise ValueError(f"restored: expected one frame (1, 3, h, w) at a time, got {tuple(restored.shape)}")
        logs = torch.log(dark)
        cells = F.adaptive_avg_pool2d(logs, GRID)[0].cpu()
        tones = logs[0].flatten(1).double().cpu()
        wanted = torch.log(restored[0].clamp(min=self.model.latent_of_black)).flatten(1).double().cpu()
        own = _lines(tones, wanted - tones)
        average, cuts = own, 0
        if (last := self._last) is not None:
            cuts = last.cuts
            if float((cells - last.cells).abs().mean()) > CUT:
                cuts += 1
            else:
                weight = math.exp(-max(0.0, time - last.time) / self.seconds)
                average = weight * last.lines + (1.0 - weight) * own
        self._next = _Frame(time, cells, average, cuts)
        stops = GAMMA * torch.log2(self._brightness(average, tones) / self._brightness(own, tones))
        stops = stops.clamp(-MAX_STOPS, MAX_STOPS)
        return (
            self.model.apply_tone_curve(restored, partial(_exposed, stops=stops.tolist())) if stops.any() else restored
        )

    def _brightness(self, lines: Tensor, tones: Tensor) -> Tensor:
        """The mean code values (3,) that lines make of log tones (3, n)."""
        latent = torch.exp(tones + lines[:, :1] + lines[:, 1:] * tones)
        return self.model.code_values(latent).mean(dim=1).clamp(min=BLACK)


def _lines(tones: Tensor, gains: Tensor) -> Tensor:
    """Least-squares lines gain ≈ a + b · tone, as (a, b) for each of the channels (3, n): (3, 2)."""
    mean = tones.mean(dim=1)
    x = tones - mean[:, None]
    slope = (x * gains).mean(dim=1) / (x.square().mean(dim=1) + RIDGE)
    return torch.stack([gains.mean(dim=1) - slope * mean, slope], dim=1)


def _exposed(values: Tensor, stops: list[float]) -> Tensor:
    return torch.cat([exposed(values[:, i : i + 1], each) for i, each in enumerate(stops)], dim=1)
