"""`LightenPipeline`: a dark picture of any common type in, the restored one of the same type out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .diffusion.options import MAX_EXPOSURE, Sampling, checked_integer, checked_number, plausible_exposures
from .diffusion.sampling import Callback as StepCallback
from .diffusion.scheduler import Generators
from .limits import MAX_PIXELS
from .progress import Progress, Rising
from .restorer import Adjust, Restorer
from .runtime import bar, habits, memory, retry
from .runtime.compile import Backend, compile_networks
from .runtime.conversion import Pixels, as_pixels, from_unit, to_unit
from .runtime.devices import best_device, best_precision, check_precision, existing_device
from .runtime.forks import forks_use_one_thread
from .tiling import smallest_side
from .weights import hub
from .weights.folder import CONFIG_NAME, save_restorer
from .weights.load import load

SHIPPED_WEIGHTS = Path(__file__).parent / "weights" / "default"

__all__ = ["MAX_EXPOSURE", "SHIPPED_WEIGHTS", "BoundPipeline", "LightenPipeline", "shipped"]

ImageT = TypeVar("ImageT")
Check = Callable[[int, int], None]
PathT = TypeVar("PathT", str, Path)


class LightenPipeline:
    """A restorer made ready to use: on a device, in a precision, for pictures of any common type.

    Args:
        restorer: taken over, not copied: put into evaluation mode, without gradients, on the device.
        device: None for the best there is: CUDA, else MPS, else the CPU.
        dtype: precision of the networks, float32, bfloat16 or float16. None for bfloat16 where the device calculates
            in it natively, and float32 elsewhere and for the published architecture.

    Attributes:
        restorer: the network, `(b, 3, h, w)` float → the same.

    Raises:
        ValueError: there is no such device, or `dtype` is another one.

    Example:
        >>> import numpy as np
        >>> pipe = LightenPipeline.from_pretrained()
        >>> dark = np.full((48, 64, 3), 12, np.uint8)
        >>> restored = pipe(dark)
        >>> restored.shape, restored.dtype, bool(restored.mean() > 3 * dark.mean())
        ((48, 64, 3), dtype('uint8'), True)
    """

    def __init__(
        self, restorer: Restorer, device: str | torch.device | None = None, dtype: torch.dtype | None = None
    ) -> None:
        check_precision(dtype)
        forks_use_one_thread()
        self.restorer = restorer.eval().requires_grad_(False)
        self._chosen_dtype, self._source, self._bar_options = dtype, "given as a restorer", dict[str, Any]()
        self.to(best_device() if device is None else device)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        *,
        torch_dtype: torch.dtype | None = None,
        **unknown: Any,
    ) -> LightenPipeline:
        """Load weights; `device` and `dtype` as above, which `torch_dtype` is another name of.

        Args:
            path: a folder written by `save_pretrained` or by training, the `.safetensors` file in it, or the published
                `stage2_weight.pth.tar`, recognised by its content. None for the weights that come with the package.
                Text of the form `owner/name` or `owner/name@revision` that is no path of this machine is a repository
                on the Hugging Face Hub, of which `config.json` and `model.safetensors` are downloaded.

        Raises:
            FileNotFoundError: nothing is there, or the package came without weights.
            ImportError, ConnectionError: of the Hub; see `hub.download`.
            CheckpointError: what is there is no usable checkpoint; see `weights.load.load_restorer`.
            ValueError: as the constructor.
            TypeError: there is no such argument.
        """
        if unknown:
            raise habits.unexpected("from_pretrained", unknown, habits.LOADING)
        if dtype is not None and torch_dtype is not None:
            raise ValueError(f"dtype: expected it alone, not torch_dtype, too, got {dtype} and {torch_dtype}")
        dtype = torch_dtype if dtype is None else dtype
        check_precision(dtype)
        device = best_device() if device is None else existing_device(device)  # wrong ones fail before loading
        source = "shipped" if path is None else str(path)
        if path is None:
            path = SHIPPED_WEIGHTS
            if not (path / CONFIG_NAME).is_file():
                raise FileNotFoundError(f"this copy of lightendiff came without weights (none in {path}); give a path")
        pipe = cls(load(path), device, dtype)
        pipe._source = source
        return pipe

    def save_pretrained(self, folder: str | Path, half: bool = False) -> None:
        """Write `config.json` and `model.safetensors`: `from_pretrained` makes the same of it, bit for bit.

        With `half` the weights are stored as float16, in half the space; those that need more digits are rounded.

        Raises:
            ValueError: a weight isn't finite, or is too large for float16.
            OSError: the files can't be written; those of before are as they were.
        """
        save_restorer(self.restorer, folder, half)

    def push_to_hub(
        self,
        name: str,
        *,
        private: bool = False,
        half: bool = False,
        card: str | None = None,
        message: str = "Weights",
    ) -> str:
        """Upload what `save_pretrained` writes, and a model card, to the Hugging Face Hub: `from_pretrained(name)`.

        Args:
            name: `owner/name`; made where it doesn't exist.
            private: whether a new repository is to be seen by its owner only.
            half: as `save_pretrained`'s.
            card: text of the model card; None for a short one, where the repository has none yet.
            message: of the commit.

        Returns:
            The commit's address.

        Raises:
            ImportError, ValueError, OSError: see `hub.upload`.
        """
        return hub.upload(self.restorer, name, private, half, card, message)

    def to(
        self, device: str | torch.device | torch.dtype | None = None, dtype: torch.dtype | None = None
    ) -> LightenPipeline:
        """Move to a device, or change the precision, or both, and return self.

        A precision that was never given is chosen anew for the device. As in PyTorch, it may be the only argument.
        """
        if isinstance(device, torch.dtype):
            device, dtype = None, device
        check_precision(dtype)
        device = self.device if device is None else existing_device(device)
        self._chosen_dtype = dtype or self._chosen_dtype
        dtype = self._chosen_dtype or best_precision(self.restorer.model.preferred_dtype, device)
        self.restorer.autocast_dtype = None if dtype == torch.float32 else dtype
        self.restorer.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stub
        self._held = memory.held(device)
        return self

    def compile(self, backend: Backend = "inductor") -> LightenPipeline:
        """Have `torch.compile` compile the networks, in place, when they first run, and return self.

        Results are the same up to rounding. They compile for the size of the first pictures, once more for other
        sizes, and again after a change of device or precision. What can't be compiled, for want of a C++ compiler for
        example, runs as it is, with a RuntimeWarning.

        It pays for many pictures only: on two cores of an AMD EPYC, in float32 at 600×400 with torch 2.14, compiling
        took more than 85 s (19 s with the compiler's cache of an earlier run), and then a picture 0.59 s in place of
        0.64 s, so that the time comes back after some 1500 pictures. On GPUs it wasn't measured.

        Args:
            backend: "inductor", or another one of `torch.compile`'s.
        """
        compile_networks(self.restorer, backend)
        return self

    def set_progress_bar_config(self, **options: Any) -> None:
        """How lists of pictures draw a bar, which they do on a terminal when they take longer than a second.

        Args:
            options: of tqdm: `disable=True` for none, `disable=False` for one in notebooks and log files, too; `desc`,
                `unit`, `leave` and so on.
        """
        self._bar_options = options

    def __repr__(self) -> str:
        config = self.restorer.config
        return (
            f"{type(self).__name__}(weights={self._source!r}, architecture={config.architecture!r}, "
            f"num_inference_steps={config.num_inference_steps}, device={str(self.device)!r}, dtype={self.dtype})"
        )

    if not TYPE_CHECKING:  # to type checkers, it would mean that there is every attribute

        def __getattr__(self, name: str) -> NoReturn:
            hint = f": {habits.ATTRIBUTES[name]}" if name in habits.ATTRIBUTES else ""
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")

    @property
    def device(self) -> torch.device:
        """Where the networks are; pictures may be anywhere."""
        return next(self.restorer.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The precision that the networks run in."""
        return self.restorer.autocast_dtype or torch.float32

    @overload
    def __call__(self, image: PathT, **options: Any) -> Image.Image: ...

    @overload
    def __call__(self, image: list[PathT], **options: Any) -> list[Image.Image]: ...

    @overload
    def __call__(
        self,
        image: ImageT,
        *,
        num_inference_steps: int | None = None,
        start_timestep: int | None = None,
        eta: float = 0.0,
        seed: int | None = 0,
        generator: Generators = None,
        strength: float = 1.0,
        exposure: float | Sequence[float] = 0.0,
        adjust: Adjust | None = None,
        callback: StepCallback | None = None,
        batch_size: int = 1,
        tile: int | None = None,
        max_memory: float | None = None,
        progress: Progress | None = None,
    ) -> ImageT: ...

    def __call__(
        self,
        image: Any,
        *,
        num_inference_steps: int | None = None,
        start_timestep: int | None = None,
        eta: float = 0.0,
        seed: int | None = 0,
        generator: Generators = None,
        strength: float = 1.0,
        exposure: float | Sequence[float] = 0.0,
        adjust: Adjust | None = None,
        callback: StepCallback | None = None,
        batch_size: int = 1,
        tile: int | None = None,
        max_memory: float | None = None,
        progress: Progress | None = None,
        **unknown: Any,
    ) -> Any:
        """Restore a picture, or a list of them.

        What comes in as the left comes out as the right, in the same size, and on the same device:

        - PIL image: a new one of the same mode, with alpha and `info` as they were. Mode `1` becomes `L`, `P` becomes
          `RGB` or `RGBA`; a colour that stands for "transparent" becomes alpha. `I` holds 0…65535, `F` [0, 1].
          A profile in `info` is followed: its colours are restored as those of sRGB and come back in its space. What
          lies behind alpha 0 is replaced by what continues the rest.
        - NumPy array (h, w) or (h, w, c), of uint8, uint16 or floats in [0, 1]: shape and dtype are kept.
        - Torch tensor (c, h, w) or a batch (b, c, h, w), of uint8, uint16 or floats in [0, 1], on any device: shape,
          dtype, device and subclass are kept; no gradient passes.
        - `images.Picture`, as `read_picture` gives it: one with the same metadata.
        - Path or address of a picture file, as text or `Path`: a PIL image, upright, with the file's profile, EXIF
          block and resolution in `info`. `lightendiff.restore_file` writes a file that keeps everything.
        - List or tuple of these, of any types and sizes: a list or tuple.

        Three channels are R, G, B (`integrations.opencv.lighten` takes B, G, R); one is grey, which is restored as
        three equal channels whose luma is returned. A fourth, or a second beside grey, is alpha, which is kept.
        Any size from 1×1 up. Calculated in float32 around the networks, so uint16 and float32 keep their precision.
        The input is never changed. Everything is checked before anything is restored.

        Where memory runs out, a picture is restored in smaller windows and in the end on the CPU; where the output
        isn't finite in the pipeline's precision, in float32. Either is a RuntimeWarning.

        The same arguments give the same picture. A picture's noise depends on its own generator only, so that its
        result doesn't depend on what else is restored with it, except that `batch_size` > 1 may round differently.

        Args:
            image: what to restore.
            num_inference_steps: sampling steps; None for what the weights were made for.
            start_timestep: start from the dark picture's latent noised to this timestep; None for what the weights
                were made for, which may be pure noise.
            eta: 0 for deterministic DDIM, 1 for as much noise in each step as DDPM, or between.
            seed: of every picture's noise; the same numbers on every device. None to draw one for each picture from
                PyTorch's global generator, that is, another result every time.
            generator: in place of the seed: a list with one generator per picture (a batch counts as b of them), or a
                single one that the pictures draw from in turn. They are on the CPU or the pipeline's device.
            strength: 0 returns a copy of the input, 1 the restored picture, between is a linear blend of both.
            exposure: stops by which the result is to be brighter than what is chosen automatically, from -3 to 3;
                lights roll off instead of clipping. A list has one for each picture (a batch counts as b of them). Not
                for the published architecture.
            adjust: a function of the restored latents of each batch and the dark ones, both (b, c, h/8, w/8) in [0, 1],
                that returns the latents to render; called anew where a batch has to be tried again.
            callback: called as (step index, timestep, x₀ estimate (b, c, h/8, w/8) in [-1, 1]) after each step of
                each batch.
            batch_size: how many pictures of equal size are restored at a time; more are quicker on a GPU.
            tile: encode and decode in windows of at most so many pixels to a side, which limits the memory to that of
                one window; the result is the same. None for windows of at most as many pixels as 2048² has, or of
                fewer where less memory is free, and only where a picture is larger than that.
            max_memory: in place of `tile`, the most memory to take, in GB: of a GPU where the pipeline is on one, else
                of the machine, including what the process held when the pipeline was made. Windows become as large as
                that allows. By an estimate that is meant to be an upper bound, measured on a CPU with the package's
                own architecture.
            progress: called with the share of the work that is done, of all pictures, in (0, 1]: after each window that
                is encoded or decoded, each sampling step and each strip of colours. It never falls and ends with 1.
                What it raises, `lightendiff.Stopped` for example, ends the call and reaches the caller.

        Returns:
            The type that came in.

        Raises:
            TypeError: a picture or an option is of another type or dtype than these, or there is no such option.
            ImageError: a file can't be read; it is a ValueError.
            ValueError: a picture has another shape, no pixels, or values that are NaN or outside [0, 1]; an option is
                out of its range; what is free, or `max_memory`, doesn't suffice for the smallest windows, or those
                are much more work than the picture's size is worth; generators or exposures don't match the pictures.
                For a list the message has the picture's index.
            RuntimeError: memory runs out even in small windows on the CPU, or the networks' output isn't finite even in
                float32.
        """
        if unknown:
            raise habits.unexpected("the pipeline", unknown, habits.CALLING)
        exposures: list[float] | None = None
        if np.ndim(exposure):
            exposures, exposure = np.asarray(exposure).tolist(), 0.0
        sampling = Sampling(num_inference_steps, start_timestep, eta, cast(float, exposure), strength)
        many = isinstance(image, (list, tuple))
        with bar.shown(len(image) if many else 1, progress, self._bar_options) as progress:
            return self.restore(
                image,
                sampling,
                exposures=exposures,
                seed=seed,
                generator=generator,
                adjust=adjust,
                callback=callback,
                batch_size=batch_size,
                tile=tile,
                max_memory=max_memory,
                progress=progress,
            )

    def restore(
        self,
        image: ImageT,
        sampling: Sampling | None = None,
        *,
        exposures: Sequence[float] | None = None,
        seed: int | None = 0,
        generator: Generators = None,
        adjust: Adjust | None = None,
        callback: StepCallback | None = None,
        batch_size: int = 1,
        tile: int | None = None,
        max_memory: float | None = None,
        progress: Progress | None = None,
    ) -> ImageT:
        """What calling the pipeline does, which describes it, with the options that `Sampling` has as one value.

        `exposures`, one for each picture, take the place of that one's.
        """
        sampling = Sampling() if sampling is None else sampling
        each_sampling = [replace(sampling, exposure=stops) for stops in exposures or ()]
        for each in (sampling, *each_sampling):
            self.restorer.check(each)
        tile, max_memory = self._windows(tile, max_memory)
        for name, function, arguments in (("adjust", adjust, 2), ("callback", callback, 3), ("progress", progress, 1)):
            if function is not None and not callable(function):
                kind = type(function).__name__
                plural = "s" if arguments > 1 else ""
                raise TypeError(f"{name}: expected a function of {arguments} argument{plural}, got {kind}")
        batch_size = checked_integer("batch_size", batch_size, 1)
        many = isinstance(image, (list, tuple))
        given: list[Any] = list(image) if isinstance(image, (list, tuple)) else [image]
        pictures = [as_pixels(each, f"image[{i}]" if many else "image") for i, each in enumerate(given)]
        count = sum(len(picture.pixels) for picture in pictures)
        generators = self._generators(generator, seed, count)
        if exposures is None:
            each_sampling = [sampling] * count
        elif len(exposures) != count:
            raise ValueError(f"exposure: expected one, or one per picture, {count} of them, got {len(exposures)}")
        results: list[Any]
        if sampling.strength == 0:
            results = [_copied(each, picture) for each, picture in zip(given, pictures, strict=True)]
            if progress is not None:
                progress(1.0)
        else:
            run = partial(retry.restore, self.restorer, adjust=adjust, callback=callback)
            results = self._restored(pictures, generators, each_sampling, run, batch_size, tile, max_memory, progress)
        if not many:
            return cast(ImageT, results[0])
        return cast(ImageT, tuple(results) if isinstance(image, tuple) else results)

    def variants(self, image: ImageT, n: int = 3, **options: Any) -> list[ImageT]:
        """One picture at `n` plausible exposures, from the darkest to the brightest.

        How bright a scene is meant to be can't be known from a dark picture. The automatic exposure is the best guess;
        these are spread as the references of scenes that nobody trained on are about it. An odd `n` contains it.

        Args:
            image: one picture, of any type that the call takes.
            n: from 1 to 100.
            options: as of the call; `exposure` is in place of the automatic one, as the middle.

        Raises:
            TypeError, ValueError: as the call; also for a list, and where the architecture can't change exposures.
        """
        n = checked_integer("n", n, 1, 100)
        if isinstance(image, list | tuple):
            raise TypeError("image: expected one picture, got a list; call variants for each")
        middle = checked_number("exposure", options.pop("exposure", 0.0), -MAX_EXPOSURE, MAX_EXPOSURE)
        stops = (middle + each for each in plausible_exposures(n))
        exposures = [max(-MAX_EXPOSURE, min(MAX_EXPOSURE, each)) for each in stops]
        return self([image] * n, exposure=exposures, **options)

    def bind(
        self,
        *,
        seed: int | None = 0,
        tile: int | None = None,
        max_memory: float | None = None,
        progress: Progress | None = None,
        **sampling: Any,
    ) -> BoundPipeline:
        """This pipeline with options that are checked now, for many pictures.

        Args:
            seed, tile, max_memory, progress: as in the call.
            sampling: fields of `Sampling`, which the call has, too.

        Raises:
            TypeError, ValueError: as the call, for these options.
        """
        options = Sampling(**sampling)
        self.restorer.check(options)
        self._generators(None, seed, 0)
        return BoundPipeline(self, options, seed, *self._windows(tile, max_memory), progress)

    def _windows(self, tile: int | None, max_memory: float | None) -> tuple[int | None, float | None]:
        """Both, checked."""
        if tile is not None:
            config = self.restorer.config
            tile = checked_integer("tile", tile, smallest_side(config.halo, config.multiple))
        if max_memory is not None:
            max_memory = checked_number("max_memory", max_memory, 0, float("inf"))
            if tile is not None:
                raise ValueError(f"tile: expected None beside max_memory, got both, {tile} and {max_memory:g}")
        return tile, max_memory

    def _generators(self, generator: Generators, seed: int | None, count: int) -> list[torch.Generator]:
        """One generator per picture, some of which may be the same one."""
        if seed is not None:
            seed = checked_integer("seed", seed, 0, 2**64 - 1)
        if generator is None:
            seeds = [int(torch.randint(2**63 - 1, ())) if seed is None else seed for _ in range(count)]
            return [torch.Generator().manual_seed(each) for each in seeds]
        if isinstance(generator, torch.Generator):
            generators = [generator] * count
        elif isinstance(generator, (list, tuple)) and all(isinstance(each, torch.Generator) for each in generator):
            generators = list(generator)
        else:
            kind = type(generator).__name__
            raise TypeError(f"generator: expected a torch.Generator or a list of them, got {kind} {generator!r}")
        if len(generators) != count:
            raise ValueError(f"generator: expected one, or one per picture, {count} of them, got {len(generators)}")
        for each in generators:
            if each.device.type not in ("cpu", self.device.type):
                raise ValueError(f"generator: expected one on the CPU or on {self.device}, got one on {each.device}")
        return generators

    def _restored(
        self,
        pictures: list[Pixels],
        generators: list[torch.Generator],
        sampling: list[Sampling],
        run: Callable[..., Tensor],
        batch_size: int,
        tile: int | None,
        max_memory: float | None,
        progress: Progress | None,
    ) -> list[Any]:
        """The pictures as they came, each restored by `run(dark, generators, tile, sampling, progress=progress)`."""
        # Made outside of inference mode, so that callers may go on to use the results in training.
        outputs = [torch.empty_like(picture.pixels) for picture in pictures]
        sources = [pixels for picture in pictures for pixels in picture.pixels]
        targets = [output[i] for output in outputs for i in range(len(output))]
        if len(set(generators)) < len(generators):
            batch_size = 1  # drawing in turn, a picture must have drawn all of its noise before the next one begins
        sizes = [source.shape[1:] for source in sources]
        together = _batches(list(zip(sizes, sampling, strict=True)), batch_size)
        batches = self._with_windows(together, sizes, tile, max_memory)
        rising = None if progress is None else Rising(progress, sum(source[0].numel() for source in sources))
        with torch.inference_mode():
            for batch, window in batches:
                told = None if rising is None else rising.part(sum(sources[i][0].numel() for i in batch))
                dark = torch.cat([to_unit(sources[i], self.device) for i in batch])
                restored = run(dark, [generators[i] for i in batch], window, sampling[batch[0]], progress=told)
                for i, pixels in zip(batch, restored, strict=True):
                    from_unit(pixels, targets[i])
        return [picture.back(output) for picture, output in zip(pictures, outputs, strict=True)]

    def _with_windows(
        self, batches: list[list[int]], sizes: Sequence[torch.Size], tile: int | None, max_memory: float | None
    ) -> list[tuple[list[int], int | None]]:
        """Batches, smaller where memory is scarce, each with the side of its windows; None for whole pictures."""
        check = self._check(tile, max_memory)
        for height, width in set(sizes):
            check(height, width)
        if tile is not None:
            return [(batch, tile) for batch in batches]
        config, result = self.restorer.config, []
        budget = memory.budget(self.device) if max_memory is None else 1e9 * max_memory - self._held
        limits = {} if max_memory is None else {"largest": float("inf")}
        for batch in batches:
            height, width = sizes[batch[0]]
            count, window = memory.fit(config, len(batch), height, width, budget, **limits)
            result += [(batch[k : k + count], window) for k in range(0, len(batch), count)]
        return result

    def _check(self, tile: int | None, max_memory: float | None, max_pixels: int = MAX_PIXELS) -> Check:
        """What raises a ValueError for the height and width of a picture that takes more than is free now, or given."""
        return partial(
            memory.check,
            config=self.restorer.config,
            tile=tile,
            max_memory=max_memory,
            held=self._held,
            free=memory.free(self.device),
            max_pixels=max_pixels,
        )


@dataclass(frozen=True)
class BoundPipeline:
    """A pipeline with its options, as `LightenPipeline.bind` checks and makes it: picture in, the restored one out."""

    pipe: LightenPipeline
    sampling: Sampling
    seed: int | None
    tile: int | None
    max_memory: float | None
    progress: Progress | None = None

    def __call__(self, image: ImageT, *, adjust: Adjust | None = None, batch_size: int = 1) -> ImageT:
        """As the pipeline's call, with these options."""
        return self.pipe.restore(
            image,
            self.sampling,
            seed=self.seed,
            adjust=adjust,
            batch_size=batch_size,
            tile=self.tile,
            max_memory=self.max_memory,
            progress=self.progress,
        )

    def check(self, max_pixels: int = MAX_PIXELS) -> Check:
        """A function of a picture's height and width that raises a ValueError where the call would.

        That is where it takes more memory than is free now, or than `max_memory`, or where padding and the borders of
        windows are most of its work. With it, files are refused by their headers.
        """
        return self.pipe._check(self.tile, self.max_memory, max_pixels)

    @property
    def many(self) -> Callable[[list[np.ndarray]], list[np.ndarray]] | None:
        """Restores several pictures at a time, for GPUs; None on a CPU, where each takes as long as alone."""
        if self.pipe.device.type != "cuda":
            return None
        return lambda pictures: self(pictures, batch_size=len(pictures))


@lru_cache(maxsize=1)
def shipped() -> LightenPipeline:
    """The pipeline of the package's own weights, loaded once: for functions that needn't be given one."""
    return LightenPipeline.from_pretrained()


def _copied(image: Any, picture: Pixels) -> Any:
    """What strength 0 returns."""
    if isinstance(image, Tensor):
        return image.detach().clone()
    return image.copy() if hasattr(image, "copy") else picture.back(picture.pixels.clone())


def _batches(kinds: Sequence[Hashable], limit: int) -> list[list[int]]:
    """Indices of the pictures to restore together: of equal kind, at most `limit`; in order where that is 1."""
    groups: defaultdict[Hashable, list[int]] = defaultdict(list)
    for i, kind in enumerate(kinds):
        groups[kind if limit > 1 else i].append(i)
    return [group[k : k + limit] for group in groups.values() for k in range(0, len(group), limit)]
