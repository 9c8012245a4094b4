"""Adapters, each against the real library."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import kornia
import numpy as np
import PIL.Image
import pytest
import skimage
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from lightendiff import LightenPipeline
from lightendiff.integrations.kornia import LightenModule
from lightendiff.integrations.opencv import lighten
from lightendiff.integrations.torchvision import LightenTransform
from lightendiff.models.presets import PRESETS, RestorerConfig
from lightendiff.restorer import Restorer


@pytest.fixture(scope="module")
def pipe() -> LightenPipeline:
    torch.manual_seed(0)
    return LightenPipeline(Restorer(PRESETS["tiny"]), device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def weights(pipe: LightenPipeline, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("weights")
    pipe.save_pretrained(folder)
    return str(folder)


def dark(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 60, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


# ---- torchvision


def test_only_the_picture_of_a_sample_is_restored(pipe: LightenPipeline) -> None:
    sample = {
        "image": tv_tensors.Image(dark(3, 40, 60)),
        "boxes": tv_tensors.BoundingBoxes(torch.tensor([[1, 2, 30, 20]]), format="XYXY", canvas_size=(40, 60)),  # type: ignore[call-overload]
        "mask": tv_tensors.Mask(torch.ones(40, 60, dtype=torch.uint8)),
        "labels": torch.tensor([3]),
        "name": "a",
    }
    result = LightenTransform(pipe)(sample)
    assert isinstance(result["image"], tv_tensors.Image)
    assert torch.equal(result["image"], pipe(sample["image"]))
    for key in ("boxes", "mask", "labels", "name"):
        assert result[key] is sample[key]


def test_every_kind_of_picture(pipe: LightenPipeline) -> None:
    transform = LightenTransform(pipe, exposure=0.5)
    image = PIL.Image.fromarray(dark(40, 60, 3).numpy())
    assert np.array_equal(np.asarray(transform(image)), np.asarray(pipe(image, exposure=0.5)))
    pure, label = dark(3, 40, 60), torch.tensor(7)
    restored, same = transform(pure, label)
    assert torch.equal(restored, pipe(pure, exposure=0.5))
    assert same is label
    video = tv_tensors.Video(dark(2, 3, 3, 24, 40))
    restored = transform(video)
    assert isinstance(restored, tv_tensors.Video)
    assert restored.shape == video.shape
    assert torch.equal(restored[1, 2], pipe(torch.Tensor(video[1, 2]).to(torch.uint8), exposure=0.5))


def test_probability_and_darkness(pipe: LightenPipeline) -> None:
    picture = dark(3, 16, 24)
    torch.manual_seed(0)
    changed = [not torch.equal(LightenTransform(pipe, p=0.5)(picture), picture) for _ in range(30)]
    assert 5 < sum(changed) < 25
    assert torch.equal(LightenTransform(pipe, p=0.0)(picture), picture)
    mean = picture.float().mean().item() / 255
    for threshold, restores in ((mean - 0.01, False), (mean + 0.01, True)):
        transform = LightenTransform(pipe, dark_below=threshold)
        image = PIL.Image.fromarray(picture.permute(1, 2, 0).numpy())
        assert torch.equal(transform(picture), picture) != restores
        assert torch.equal(transform(picture / 255), picture / 255) != restores
        assert np.array_equal(np.asarray(transform(image)), np.asarray(image)) != restores
    with pytest.raises(ValueError, match="dark_below: expected a number from 0 to 1, got 60"):
        LightenTransform(dark_below=60)


@pytest.mark.parametrize(("mode", "white"), [("I;16", 65535), ("I", 65535), ("F", 1.0), ("L", 255)])
def test_darkness_of_pictures_of_any_depth(pipe: LightenPipeline, mode: str, white: float) -> None:
    rng, transform = np.random.default_rng(0), LightenTransform(pipe, dark_below=0.3)
    dtype = {"I;16": np.uint16, "I": np.int32, "F": np.float32, "L": np.uint8}[mode]
    for mean, restores in ((0.1, True), (0.8, False)):
        array = (rng.uniform(mean - 0.1, mean + 0.1, (16, 24)) * white).astype(dtype)
        assert np.array_equal(np.asarray(transform(PIL.Image.fromarray(array))), array) != restores


class Pictures(Dataset[Any]):
    def __init__(self, weights: str) -> None:
        self.transform = v2.Compose([LightenTransform(weights), v2.ToDtype(torch.float32, scale=True)])

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(tv_tensors.Image(dark(3, 24, 32, seed=index))), index


@pytest.mark.parametrize(("start", "workers"), [("fork", 2), ("spawn", 1)])  # one, as it imports everything anew
def test_in_a_composition_and_in_workers(pipe: LightenPipeline, weights: str, start: str, workers: int) -> None:
    if start not in torch.multiprocessing.get_all_start_methods():
        pytest.skip(f"this system can't {start}")
    loader = DataLoader(Pictures(weights), batch_size=2, num_workers=workers, multiprocessing_context=start, timeout=60)
    pictures = torch.cat([batch for batch, _ in loader])
    expected = torch.stack([pipe(dark(3, 24, 32, seed=i)) for i in range(4)]).float() / 255
    torch.testing.assert_close(pictures, expected, atol=1.5 / 255, rtol=0)  # in bfloat16 where that pays


def test_what_was_loaded_is_not_pickled(weights: str) -> None:
    transform = LightenTransform(weights)
    small = len(pickle.dumps(transform))
    transform(dark(3, 16, 16))
    assert len(pickle.dumps(transform)) == small < 10_000


# ---- kornia


def module(config: RestorerConfig = PRESETS["tiny"], **options: Any) -> LightenModule:
    torch.manual_seed(0)
    restorer = Restorer(replace(config, context=256))
    torch.nn.init.normal_(restorer.unet.conv_out.weight, std=0.05)
    return LightenModule(restorer, **options)


def test_a_restorer_keeps_its_own_precision() -> None:
    restorer = module().restorer
    restorer.autocast_dtype = torch.bfloat16
    assert LightenModule(restorer).restorer.autocast_dtype is None
    assert restorer.autocast_dtype == torch.bfloat16


def test_a_batch_is_restored_picture_by_picture() -> None:
    lighten_module, pictures = module(), dark(3, 3, 40, 70).float() / 255
    restored = lighten_module(pictures)
    assert restored.shape == pictures.shape
    assert restored.mean() > 2 * pictures.mean()
    torch.testing.assert_close(lighten_module(pictures[1:2]), restored[1:2], atol=1e-4, rtol=1e-4)
    assert module(exposure=1.0)(pictures).mean() > restored.mean()
    assert lighten_module(pictures.half()).dtype == torch.float16
    assert lighten_module(dark(1, 3, 300, 40).float() / 255).shape == (1, 3, 300, 40)  # beyond the context


def test_composes_with_kornia() -> None:
    pictures = dark(2, 3, 32, 48).float() / 255
    flip = kornia.augmentation.RandomHorizontalFlip(p=1.0)
    sequence = kornia.augmentation.container.ImageSequential(module(), flip)
    torch.testing.assert_close(sequence(pictures), module()(pictures).flip(3))


def test_masks_and_boxes_stay_with_the_picture() -> None:
    pictures, masks = dark(2, 3, 32, 48).float() / 255, (torch.arange(48) < 12).float().expand(2, 1, 32, 48)
    boxes = torch.tensor([[[2.0, 3.0, 20.0, 30.0]]]).expand(2, 1, 4)
    flip = kornia.augmentation.RandomHorizontalFlip(p=1.0)
    keys = ["input", "mask", "bbox_xyxy"]
    augment = kornia.augmentation.container.AugmentationSequential(module(), flip, data_keys=keys)
    restored, moved, turned = augment(pictures, masks, boxes)
    torch.testing.assert_close(restored, module()(pictures).flip(3))
    assert torch.equal(moved, masks.flip(3))
    # in kornia a box ends with its last pixel, so that 48 − 1 − x mirrors it
    torch.testing.assert_close(turned, torch.tensor([[[27.0, 3.0, 45.0, 30.0]]]).expand(2, 1, 4))


def test_gradients_reach_the_input_and_not_the_weights() -> None:
    lighten_module, pictures = module(), (dark(1, 3, 32, 32).float() / 255).requires_grad_()
    lighten_module(pictures).mean().backward()
    assert pictures.grad is not None
    assert pictures.grad.abs().max() > 0
    assert all(p.grad is None for p in lighten_module.parameters())


def test_exports(few_layers: RestorerConfig) -> None:
    lighten_module, pictures = module(few_layers), dark(1, 3, 40, 70).float() / 255
    with torch.no_grad():
        program = torch.export.export(lighten_module, (pictures,))
        torch.testing.assert_close(program.module()(pictures), lighten_module(pictures), atol=1e-5, rtol=1e-4)


def test_compiles(few_layers: RestorerConfig) -> None:
    # Tracing is what a module can spoil; the code that Inductor generates from it takes longer than a test may.
    lighten_module, pictures = module(few_layers, num_inference_steps=1), dark(1, 3, 32, 32).float() / 255
    restored = torch.compile(lighten_module, backend="eager")(pictures)
    torch.testing.assert_close(restored, lighten_module(pictures), atol=1e-5, rtol=1e-4)


def test_the_published_architecture_has_no_fixed_noise() -> None:
    with pytest.raises(ValueError, match="weights: expected weights whose UNet sees at most"):
        LightenModule(Restorer(PRESETS["paper"]))


# ---- OpenCV


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_blue_comes_first_and_alpha_stays(pipe: LightenPipeline, tmp_path: Path, dtype: type) -> None:
    values = np.random.default_rng(0).random((30, 40, 4)) * [0.05, 0.1, 0.3, 1.0]
    white = 1.0 if dtype is np.float32 else np.iinfo(dtype).max
    bgra = (values * white).astype(dtype)
    bgra[..., 3] = np.maximum(bgra[..., 3], dtype(0.01 * white))  # all is seen
    before = bgra.copy()
    restored = lighten(bgra, pipe)
    assert restored.dtype == dtype
    assert np.array_equal(bgra, before)
    assert np.array_equal(restored[..., 3], bgra[..., 3])
    rgb = pipe(np.ascontiguousarray(bgra[..., 2::-1]))
    assert np.array_equal(restored[..., :3], rgb[..., ::-1])
    assert np.array_equal(lighten(np.ascontiguousarray(bgra[..., :3]), pipe), restored[..., :3])
    grey = np.ascontiguousarray(bgra[..., 2])
    assert np.array_equal(lighten(grey, pipe, strength=0.5), pipe(grey, strength=0.5))


def test_arrays_of_scikit_image(pipe: LightenPipeline) -> None:
    array = dark(20, 30, 3).numpy()
    restored = pipe(array)
    floats = pipe(skimage.util.img_as_float(array))
    assert floats.dtype == np.float64
    assert np.abs(floats * 255 - restored).max() <= 0.5 + 1e-3
    assert np.array_equal(pipe(array[::-1])[::-1].shape, array.shape)  # a view with negative strides
    grey = skimage.color.rgb2gray(array)
    assert pipe(grey).shape == grey.shape
    assert pipe(grey).mean() > grey.mean()


def test_files_of_opencv(pipe: LightenPipeline, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), dark(20, 30, 3).numpy())
    picture = cv2.imread(str(tmp_path / "a.png"))
    assert picture is not None
    assert lighten(picture, pipe).mean() > picture.mean()


def test_what_is_no_picture() -> None:
    with pytest.raises(TypeError, match="bgr: expected a NumPy array, got NoneType"):
        lighten(None)  # type: ignore[arg-type]  # what imread returns where there is no file
    with pytest.raises(ValueError, match=r"bgr: expected \(h, w\), \(h, w, 3\) or \(h, w, 4\), got \(5, 5, 2\)"):
        lighten(np.zeros((5, 5, 2), np.uint8))


# ---- earlier names


def test_earlier_names_lead_to_the_same_functions() -> None:
    from lightendiff.app import server
    from lightendiff.integrations import app

    assert (app.build, app.launch) == (server.build, server.launch)
    pytest.importorskip("av")
    from lightendiff.integrations import video
    from lightendiff.video import restore

    assert video.restore_video is restore.restore_video
