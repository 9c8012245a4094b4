"""DDIMPipeline against that of diffusers, with the same UNet, configuration and generators."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import lightendiff
from lightendiff import DDIMPipeline, DDIMScheduler
from lightendiff.models.unet import UNet

diffusers = pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def unet() -> Any:
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
    return diffusers.UNet2DModel(
        sample_size=16,
        block_out_channels=(16, 16),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=8,
        **blocks,
    ).eval()


def generators(count: int) -> Any:
    return [torch.Generator().manual_seed(seed) for seed in range(count)] if count else torch.Generator().manual_seed(5)


def both(unet: Any, **config: Any) -> tuple[Any, DDIMPipeline]:
    theirs = diffusers.DDIMPipeline(unet, diffusers.DDIMScheduler(**config))
    ours = DDIMPipeline(unet, DDIMScheduler(**config))
    for pipe in (theirs, ours):
        pipe.set_progress_bar_config(disable=True)
    return theirs, ours


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1},
        {"prediction_type": "v_prediction", "timestep_spacing": "trailing"},
        {"prediction_type": "sample", "beta_schedule": "scaled_linear"},
    ],
)
@pytest.mark.parametrize(
    "call",
    [
        {},
        {"eta": 1.0, "num_inference_steps": 10},
        {"eta": 0.5, "use_clipped_model_output": True},
        {"num_inference_steps": 4, "count": 2},
    ],
)
def test_pictures_are_those_of_diffusers(unet: Any, config: dict[str, Any], call: dict[str, Any]) -> None:
    call = {"num_inference_steps": 5, **call}
    count = call.pop("count", 0)
    pictures = [
        pipe(batch_size=2, generator=generators(count), output_type="np", **call).images
        for pipe in both(unet, **config)
    ]
    assert pictures[0].shape == pictures[1].shape == (2, 16, 16, 3)
    np.testing.assert_allclose(pictures[1], pictures[0], atol=1e-4)


def test_pictures_at_zero_terminal_snr_are_those_of_diffusers(unet: Any) -> None:
    # with eta > 0 theirs are not numbers there: it takes the root of a rounded variance below 0
    config = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    options: dict[str, Any] = {"num_inference_steps": 5, "output_type": "np"}
    theirs, ours = (pipe(generator=generators(0), **options).images for pipe in both(unet, **config))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_output_types_agree(unet: Any) -> None:
    _, pipe = both(unet)
    options = {"num_inference_steps": 2, "batch_size": 2}
    arrays, tensors, images = (
        pipe(generator=generators(0), output_type=kind, **options).images for kind in ("np", "pt", "pil")
    )
    np.testing.assert_array_equal(tensors.permute(0, 2, 3, 1).numpy(), arrays)
    np.testing.assert_array_equal(np.stack([np.asarray(image) for image in images]), (255 * arrays).round())
    (plain,) = pipe(generator=generators(0), output_type="pt", return_dict=False, **options)
    assert torch.equal(plain, tensors)


def test_a_picture_depends_on_its_own_generator_alone(unet: Any) -> None:
    _, pipe = both(unet)
    options: dict[str, Any] = {"num_inference_steps": 3, "eta": 1.0, "output_type": "pt"}
    two = pipe(2, generator=generators(2), **options).images
    alone = pipe(1, generator=generators(2)[1:], **options).images
    torch.testing.assert_close(two[1:], alone, atol=1e-5, rtol=0)


def test_each_loads_what_the_other_saved(unet: Any, tmp_path: Path) -> None:
    config = {"beta_schedule": "scaled_linear", "clip_sample": False}
    theirs, ours = both(unet, **config)
    theirs.save_pretrained(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours")
    loaded: list[Any] = [diffusers.DDIMPipeline.from_pretrained(tmp_path / "ours")]
    loaded.append(DDIMPipeline.from_pretrained(tmp_path / "theirs"))
    pictures = []
    for pipe in (ours, *loaded):
        pipe.set_progress_bar_config(disable=True)
        pictures.append(pipe(generator=generators(0), num_inference_steps=3, output_type="np").images)
    np.testing.assert_allclose(pictures[1], pictures[0], atol=1e-4)
    np.testing.assert_allclose(pictures[2], pictures[0], atol=1e-4)


def test_callback_and_device(unet: Any) -> None:
    _, pipe = both(unet)
    calls: list[tuple[int, int]] = []
    pipe.to("cpu")(num_inference_steps=4, callback=lambda index, t, x0: calls.append((index, t)))
    assert calls == [(0, 750), (1, 500), (2, 250), (3, 0)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 3, "generator": [torch.Generator()] * 2}, r"list of 3 \(batch_size\), got 2"),
        ({"batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ({"output_type": "jpeg"}, "output_type: expected 'pil', 'np' or 'pt', got 'jpeg'"),
    ],
)
def test_errors(unet: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        both(unet)[1](**options)


def test_our_unet_in_both_pipelines() -> None:
    torch.manual_seed(0)
    own = UNet(3, 0, (16, 32), blocks_per_level=1, attention_levels=(), norm_groups=8, sample_size=16).eval()

    class Wrapped(diffusers.ModelMixin, diffusers.ConfigMixin):  # type: ignore[misc, name-defined]
        """As diffusers' pipelines call a UNet."""

        config_name = "config.json"

        @diffusers.configuration_utils.register_to_config
        def __init__(self, sample_size: int = 16, in_channels: int = 3) -> None:
            super().__init__()
            self.unet = own

        def forward(self, x: Any, t: Any) -> Any:
            return SimpleNamespace(sample=self.unet(x, t))

    ours, theirs = DDIMPipeline(own, DDIMScheduler()), diffusers.DDIMPipeline(Wrapped(), diffusers.DDIMScheduler())
    pictures = []
    for pipe in (ours, theirs):
        pipe.set_progress_bar_config(disable=True)
        pictures.append(pipe(2, generator=generators(2), eta=1.0, num_inference_steps=5, output_type="np").images)
    np.testing.assert_allclose(pictures[0], pictures[1], atol=1e-4)
    with pytest.raises(ValueError, match="unet: expected one whose config has sample_size and in_channels, got one"):
        DDIMPipeline(UNet(3, 0, (8,), norm_groups=8, attention_levels=()), DDIMScheduler())()


def test_a_unet_of_another_library_is_given(unet: Any, tmp_path: Path) -> None:
    both(unet)[1].save_pretrained(tmp_path)
    index = (tmp_path / "model_index.json").read_text()
    (tmp_path / "model_index.json").write_text(index.replace('"diffusers",\n    "UNet2D', '"os",\n    "UNet2D'))
    with pytest.raises(ValueError, match="expected a unet of diffusers, got os"):
        DDIMPipeline.from_pretrained(tmp_path)
    assert DDIMPipeline.from_pretrained(tmp_path, unet=unet).unet is unet


def test_habits_of_the_scheduler(tmp_path: Path) -> None:
    scheduler = DDIMScheduler(clip_sample=False)
    scheduler.save_pretrained(tmp_path / "scheduler")
    assert DDIMScheduler.from_pretrained(tmp_path, subfolder="scheduler").config == scheduler.config
    assert DDIMScheduler.from_pretrained(tmp_path / "scheduler", subfolder=None).config == scheduler.config
    assert diffusers.DDIMScheduler.from_pretrained(tmp_path, subfolder="scheduler").config.clip_sample is False
    scheduler.set_timesteps(4)
    x = torch.randn(1, 3, 4, 4)
    out = scheduler.step(x, 750, x)
    assert out["prev_sample"] is out.prev_sample is out[0]
    assert out["pred_original_sample"] is out[1]


def test_diffusers_pipeline_runs_with_our_scheduler_assigned(unet: Any) -> None:
    theirs, ours = both(unet)
    theirs.scheduler = ours.scheduler
    options: dict[str, Any] = {"num_inference_steps": 3, "output_type": "np"}
    pictures = [pipe(generator=generators(0), **options).images for pipe in (theirs, ours)]
    np.testing.assert_allclose(pictures[0], pictures[1], atol=1e-4)


def test_what_diffusers_pipeline_does_with_our_scheduler(unet: Any, tmp_path: Path) -> None:
    """As docs/usage.md says: given to the constructor it is replaced, assigned it stays but isn't saved."""
    own = DDIMScheduler(clip_sample=False)
    pipe = diffusers.DDIMPipeline(unet, own)
    assert type(pipe.scheduler) is diffusers.DDIMScheduler
    assert pipe.scheduler.config.clip_sample is False
    pipe.scheduler = own
    assert pipe.scheduler is own
    pipe.save_pretrained(tmp_path)
    assert not (tmp_path / "scheduler").exists()


def test_it_is_loaded_lazily() -> None:
    assert "DDIMPipeline" in lightendiff.__all__
    assert lightendiff.DDIMPipeline is DDIMPipeline
