"""From sources to batches: crops, the endless numbered stream of training samples, and the LightningDataModule."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from lightendiff.data.datasets import Mixture, Source
from lightendiff.data.pictures import Sample
from lightendiff.runtime.extras import needing

with needing("train", "training"):
    import cv2
    import lightning

Batch = dict[str, Any]


def crop_sample(
    sample: Sample, size: tuple[int, int], rng: np.random.Generator, scale: tuple[float, float] = (1.0, 1.0)
) -> Sample:
    """Cut the same random window from both pictures (each its own if they aren't `paired`).

    The window is `s` times as large as `size`, with log s uniform over `scale`, and is resized to (height, width) =
    `size`. Where the picture is smaller than that, s is what still fits, so that small pictures are enlarged.
    """
    if sample.paired and sample.dark.shape != sample.target.shape:
        raise ValueError(f"{sample.name}: sizes differ, {sample.dark.shape[1:]} and {sample.target.shape[1:]}")
    wanted = float(np.exp(rng.uniform(np.log(scale[0]), np.log(scale[1]))))
    window = _window(sample.dark.shape[1:], size, wanted, rng)
    dark = _cut(sample.dark, window, size)
    if sample.dark is sample.target:
        return replace(sample, dark=dark, target=dark)
    if not sample.paired:
        window = _window(sample.target.shape[1:], size, wanted, rng)
    target = _cut(sample.target, window, size)
    return replace(sample, dark=dark, target=target)


def _window(
    shape: tuple[int, ...], size: tuple[int, int], scale: float, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Top, left, height, width of a random window."""
    scale = min(scale, shape[0] / size[0], shape[1] / size[1])
    h, w = (max(1, min(round(scale * want), have)) for want, have in zip(size, shape, strict=True))
    return int(rng.integers(shape[0] - h + 1)), int(rng.integers(shape[1] - w + 1)), h, w


def _cut(picture: np.ndarray, window: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
    top, left, h, w = window
    cut = picture[:, top : top + h, left : left + w]
    if (h, w) != size:
        method = cv2.INTER_AREA if h > size[0] else cv2.INTER_LINEAR
        cut = cv2.resize(np.ascontiguousarray(cut.transpose(1, 2, 0)), size[::-1], interpolation=method).transpose(
            2, 0, 1
        )
    return np.ascontiguousarray(cut)


class TrainingStream(Dataset[Sample]):
    """Sample number n, for any n ≥ 0: a pure function of (seed, n), cropped."""

    def __init__(
        self, source: Source, crop: tuple[int, int], scale: tuple[float, float] = (1.0, 1.0), seed: int = 0
    ) -> None:
        if min(crop) < 1:
            raise ValueError(f"crop: expected a positive (height, width), got {tuple(crop)}")
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale: expected 0 < min ≤ max, got {tuple(scale)}")
        self.source, self.crop, self.scale, self.seed = source, (crop[0], crop[1]), (scale[0], scale[1]), seed

    def __getitem__(self, number: int) -> Sample:
        rng = np.random.default_rng([self.seed, number])
        return replace(crop_sample(self.source.draw(rng), self.crop, rng, self.scale), number=number)


class WholePictures(Dataset[Sample]):
    """The pairs of a source, whole, in order; with `limit`, that many spread evenly over them."""

    def __init__(self, source: Source, limit: int | None = None) -> None:
        count = len(source) if limit is None else min(limit, len(source))
        self.source, self.indices = source, [i * len(source) // count for i in range(count)]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.source.pair(self.indices[index])


class StepSampler(DistributedSampler[int]):
    """Numbers of the samples that this process needs, from the step at which training is when iteration begins.

    Step s of a run with W processes and B samples each uses the numbers s·B·W … (s+1)·B·W − 1, the process of rank r
    the r-th B of them. It is a DistributedSampler so that Lightning leaves it in place whatever
    `use_distributed_sampler` says.
    """

    def __init__(
        self, batch_size: int, steps: int, rank: int = 0, world: int = 1, start: Callable[[], int] = lambda: 0
    ) -> None:
        numbers = cast("Dataset[int]", range(steps * batch_size * world))  # only its length matters
        super().__init__(numbers, num_replicas=world, rank=rank, shuffle=False)
        self.batch_size, self.steps, self.world, self.start = batch_size, steps, world, start

    def __len__(self) -> int:
        return self.steps * self.batch_size

    def __iter__(self) -> Iterator[int]:
        first = self.start()
        for step in range(first, first + self.steps):
            begin = (step * self.world + self.rank) * self.batch_size
            yield from range(begin, begin + self.batch_size)


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples of one size as a batch: `dark`, `target` (b,3,h,w) in 0…255, uint8 or, of 16 bit, float32; `darken`,
    `ignore_detail` bool (b,); `mean` float32 (b,); `names` list of b strings; `number` of the first sample in
    the training stream. Where all are of different scenes' pictures or some are, `paired` bool (b,), and their `tones`
    float32 (b,2,2,3).
    """
    batch = {
        "dark": _stacked([sample.dark for sample in samples]),
        "target": _stacked([sample.target for sample in samples]),
        "darken": torch.tensor([sample.darken for sample in samples]),
        "ignore_detail": torch.tensor([sample.ignore_detail for sample in samples]),
        "mean": torch.tensor([sample.mean for sample in samples], dtype=torch.float32),
        "names": [sample.name for sample in samples],
        "number": samples[0].number,
    }
    if not all(sample.paired for sample in samples):
        batch["paired"] = torch.tensor([sample.paired for sample in samples])
        none = np.zeros((2, 2, 3), np.float32)
        batch["tones"] = torch.from_numpy(np.stack([none if s.tones is None else s.tones for s in samples]))
    return batch


def _stacked(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    if any(picture.dtype == np.uint16 for picture in pictures):
        pictures = [p.astype(np.float32) / (257 if p.dtype == np.uint16 else 1) for p in pictures]
    return torch.from_numpy(np.stack(pictures))


def global_seed() -> int:
    """The seed that Lightning's `seed_everything` was last called with, or 0."""
    return int(os.environ.get("PL_GLOBAL_SEED", "0"))


def _start_worker(_: int) -> None:
    cv2.setNumThreads(0)  # one process per worker is parallel enough, and OpenCV's threads don't survive a fork


class TrainLoader(DataLoader[Sample]):
    """A DataLoader that Lightning knows to be resumable: the stream's position is the trainer's own step count, so all
    there is to store is what the numbering depends on.
    """

    settings: dict[str, Any]

    def state_dict(self) -> dict[str, Any]:
        return self.settings

    def load_state_dict(self, state: dict[str, Any]) -> None:
        # a checkpoint of an earlier version has fewer of them
        changed = {name: value for name, value in state.items() if self.settings.get(name) != value}
        if changed:
            now = {name: self.settings.get(name) for name in changed}
            warnings.warn(f"resumed with {now} where the checkpoint has {changed}: other samples follow", stacklevel=2)


class LowLightData(lightning.LightningDataModule):
    """Training batches drawn from a mixture of sources and named validation sets of whole pictures.

    Training is an endless stream; an "epoch" is `steps_per_epoch` steps of it, after which Lightning validates. A run
    that was interrupted at any step and resumed sees the batches that an uninterrupted one sees, with any number of
    workers.

    Args:
        train: sources; each draw picks one with a probability proportional to its `weight`.
        weights: instead of the sources' own, one number ≥ 0 per source in their order; for configurations of earlier
            versions.
        crop: (height, width) of training crops, multiples of 32, or of 64 for `paper`.
        scale: smallest and largest factor by which a crop's window exceeds `crop` before it is resized.
        batch_size: samples per step and process.
        steps_per_epoch: steps between validations.
        seed: of the stream; None for that of `seed_everything`.
        num_workers: processes that prepare batches; 0 does it in the main process.
        val: validation sets by name; see `val_names` for their order.
        val_limits: by name, how many pairs, spread evenly, to use of a validation set.
    """

    def __init__(
        self,
        train: list[Source],
        weights: list[float] | None = None,
        crop: tuple[int, int] = (256, 256),
        scale: tuple[float, float] = (1.0, 1.0),
        batch_size: int = 8,
        steps_per_epoch: int = 500,
        seed: int | None = None,
        num_workers: int = 0,
        val: dict[str, Source] | None = None,
        val_limits: dict[str, int] | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("batch_size", batch_size), ("steps_per_epoch", steps_per_epoch)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        self.source = Mixture(train, weights)
        seed = global_seed() if seed is None else seed
        self.stream = TrainingStream(self.source, crop, scale, seed)
        self.batch_size, self.steps_per_epoch = batch_size, steps_per_epoch
        self.seed, self.num_workers = seed, num_workers
        self.val, self.val_limits = dict(val or {}), dict(val_limits or {})
        if unknown := self.val_limits.keys() - self.val.keys():
            raise ValueError(f"val_limits names sets that are not in val: {sorted(unknown)}")
        if wrong := [name for name, source in self.val.items() if not source.validates]:
            raise ValueError(f"val: {', '.join(wrong)} has no dark pictures with a reference of their own")

    @property
    def val_names(self) -> list[str]:
        """Names of the validation sets in the order of `val_dataloader()`."""
        return list(self.val)

    def setup(self, stage: str | None = None) -> None:
        """Decode and check all pictures; errors name the files."""
        if stage in (None, "fit"):
            self.source.load()
        for name, source in self.val.items():
            source.load()
            if common := self.source.files() & source.files():
                warnings.warn(
                    f"{len(common)} files of validation set {name!r} are trained on, e.g. {min(common)}", stacklevel=2
                )

    def _position(self) -> int:
        # `processed` counts finished training steps; `ready` also counts a step during which a run was interrupted, and
        # `completed` lacks the step in whose on_train_batch_end a checkpoint was written.
        if self.trainer is None:
            return 0
        position: int = self.trainer.fit_loop.epoch_loop.batch_progress.total.state_dict()["processed"]
        return position

    def train_dataloader(self) -> TrainLoader:
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)
        sampler = StepSampler(self.batch_size, self.steps_per_epoch, rank, world, self._position)
        loader = TrainLoader(self.stream, self.batch_size, sampler=sampler, **self._options(self.num_workers))
        loader.settings = {"seed": self.seed, "batch_size": self.batch_size, "processes": world}
        loader.settings |= {"crop": list(self.stream.crop), "scale": list(self.stream.scale)}
        loader.settings["weights"] = [float(weight) for weight in self.source.weights]
        return loader

    def val_dataloader(self) -> list[DataLoader[Sample]]:
        """One loader per validation set: whole pictures, one per batch, in a fixed order."""
        sets = [WholePictures(source, self.val_limits.get(name)) for name, source in self.val.items()]
        return [DataLoader(pictures, 1, **self._options(0)) for pictures in sets]

    def _options(self, workers: int) -> dict[str, Any]:
        options: dict[str, Any] = {
            "collate_fn": collate,
            "num_workers": workers,
            "pin_memory": torch.cuda.is_available(),
        }
        if workers:
            options |= {"worker_init_fn": _start_worker, "persistent_workers": True, "prefetch_factor": 4}
        return options
