"""The published network: its arrays where ../shared has them, and a second, plain computation of all of it here."""

from __future__ import annotations

import argparse
import importlib.util
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lightendiff.diffusion.options import Sampling
from lightendiff.models.paper import PaperDecoder, PaperEncoder
from lightendiff.models.presets import PRESETS
from lightendiff.pipeline import LightenPipeline
from lightendiff.restorer import Restorer
from lightendiff.weights.published import published_name

SHARED = Path(__file__).parents[2] / "shared" / "paper_checkpoint"
Weights = dict[str, Tensor]


def write_published(weights: Weights, path: Path) -> None:
    """A file laid out like the published one, with an EMA copy that must not be taken."""
    named = {f"module.{name}": tensor for name, tensor in weights.items()}
    data = argparse.Namespace(patch_size=512, conditional=True)
    torch.save(
        {
            "step": 1000,
            "epoch": 9,
            "state_dict": named,
            "optimizer": {"state": {0: {"step": 3, "exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 2e-5}]},
            "ema_helper": {name: torch.zeros(1).expand(tensor.shape) for name, tensor in named.items()},
            "params": argparse.Namespace(config="unsupervised.yml", seed=230),
            "config": argparse.Namespace(data=data, device=torch.device("cpu")),
        },
        path,
    )


# ---- against the arrays that the published code computed


@pytest.fixture(scope="module")
def shared() -> ModuleType:
    if not SHARED.is_dir():
        pytest.skip("needs ../shared/paper_checkpoint")
    spec = importlib.util.spec_from_file_location("published_weights", SHARED / "weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pipe(shared: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> LightenPipeline:
    path = tmp_path_factory.mktemp("published") / "stage2_weight.pth.tar"
    write_published({name: torch.from_numpy(array) for name, array in shared.state_dict(1).items()}, path)
    return LightenPipeline.from_pretrained(path, device="cpu")


def test_names_and_shapes(shared: ModuleType) -> None:
    own = {
        published_name(name): tuple(tensor.shape) for name, tensor in Restorer(PRESETS["paper"]).state_dict().items()
    }
    assert own == dict(shared.layout())


@torch.no_grad()
def test_published_arrays(shared: ModuleType, pipe: LightenPipeline, tmp_path: Path) -> None:
    dark, noise = (torch.from_numpy(array) for array in shared.inputs(1, 1, 64, 128))
    with np.load(SHARED / "expected.npz") as arrays:
        expected = {name: torch.from_numpy(array) for name, array in arrays.items()}
    restorer = pipe.restorer

    latent, skips = restorer.model.encode(dark)
    reflectance, illumination = restorer.model.decompose(latent)
    condition = 2 * latent - 1
    assert torch.equal(restorer.model.condition(dark, latent), condition)
    eps = restorer.unet(noise, torch.tensor([500]), condition)
    sampled = 2 * restorer.sample_latent(latent, condition, noise, Sampling(20)) - 1
    image = restorer(dark, Sampling(20), noise=noise, clamp=False)

    for name, value, tolerance in (
        ("low_fea", latent, 1e-5),
        ("low_R", reflectance, 1e-4),
        ("low_L", illumination, 1e-4),
        ("eps_t500", eps, 1e-4),
        ("latent", sampled, 1e-3 * expected["latent"].abs().max().item()),
        ("pred", image, 1e-3),
        ("pred", restorer.model.decode(((sampled + 1) / 2).clamp(0, 1), skips), 1e-3),
    ):
        torch.testing.assert_close(value, expected[name], atol=tolerance, rtol=0, msg=lambda m, n=name: f"{n}: {m}")

    pipe.save_pretrained(tmp_path / "ours")
    again = LightenPipeline.from_pretrained(tmp_path / "ours", device="cpu").restorer
    assert torch.equal(again(dark, Sampling(20), noise=noise, clamp=False), image)


# ---- the same without ../shared: README's description computed once more from published names, without modules


def conv(w: Weights, name: str, x: Tensor, **options: int) -> Tensor:
    weight = w[f"{name}.weight"]
    options = {"padding": weight.shape[-1] // 2, **options}
    return F.conv2d(x, weight, w[f"{name}.bias"], **options)


def residual(w: Weights, name: str, x: Tensor) -> Tensor:
    h = F.leaky_relu(conv(w, f"{name}.model.0", x), 0.01)
    return conv(w, f"{name}.model.2", h) + conv(w, f"{name}.conv", x)


def chain(w: Weights, name: str, x: Tensor) -> Tensor:
    for i in range(3):
        x = conv(w, f"{name}.conv{i}", x if i == 0 else F.leaky_relu(x, 0.01))
    return x


def encode(w: Weights, image: Tensor) -> tuple[Tensor, list[Tensor]]:
    net, skips = "decom.ReconNet", []
    x = conv(w, f"{net}.pyramid.convs.1", conv(w, f"{net}.pyramid.convs.0", image))
    for i in range(3):
        x = conv(w, f"{net}.pyramid.down{i}", residual(w, f"{net}.pyramid.block{i}", x), stride=2)
        skips.append(x)
    return chain(w, f"{net}.channel_down", x).sigmoid(), skips


def decode(w: Weights, latent: Tensor, skips: list[Tensor]) -> Tensor:
    net = "decom.ReconNet"
    x = chain(w, f"{net}.channel_up", latent)
    for i, skip in enumerate(reversed(skips)):
        x = residual(w, f"{net}.block_up{2 * i + 1}", residual(w, f"{net}.block_up{2 * i}", x) + skip)
        up = f"{net}.up_sampling{i}.conv"
        x = F.conv_transpose2d(x, w[f"{up}.weight"], w[f"{up}.bias"], stride=2, padding=1, output_padding=1)
        x = F.leaky_relu(x, 0.01)
    return conv(w, f"{net}.conv3", F.leaky_relu(conv(w, f"{net}.conv2", x), 0.01))


def decompose(w: Weights, latent: Tensor) -> tuple[Tensor, Tensor]:
    net = "decom.retinex"
    brightest = latent.max(dim=1, keepdim=True).values
    r, i = conv(w, f"{net}.conv0", latent / brightest), conv(w, f"{net}.conv1", brightest)
    for k in range(2):
        r, i = residual(w, f"{net}.blocks0.{k}", r), residual(w, f"{net}.blocks1.{k}", i)

    def projected(kind: str, x: Tensor) -> Tensor:
        x = conv(w, f"{net}.cross_attention.{kind}.depth_conv", x, groups=64)
        return conv(w, f"{net}.cross_attention.{kind}.point_conv", x)

    q, k, v = projected("query", i), projected("key", r), projected("value", r)
    cross = torch.einsum("bcyx,bdyx->bycd", q, k).div(math.sqrt(8)).softmax(-1)
    cross = torch.einsum("bycd,bdyx->bcyx", cross, v)
    qkv = conv(w, f"{net}.self_attention.qkv_dwconv", conv(w, f"{net}.self_attention.qkv", i), groups=192)
    q, k, v = (x.reshape(len(x), 8, 8, -1) for x in qkv.chunk(3, dim=1))
    q, k = (x / x.norm(dim=-1, keepdim=True) for x in (q, k))
    content = torch.einsum("bhcn,bhdn->bhcd", q, k).softmax(-1)
    content = torch.einsum("bhcd,bhdn->bhcn", content, v).reshape(i.shape)
    content = conv(w, f"{net}.self_attention.project_out", content)
    reflectance = conv(w, f"{net}.conv0_1.1", residual(w, f"{net}.conv0_1.0", cross + content))
    illumination = conv(w, f"{net}.conv1_1.1", residual(w, f"{net}.conv1_1.0", i - content))
    return reflectance.sigmoid(), illumination.sigmoid().repeat(1, 3, 1, 1)


def denoise(w: Weights, x: Tensor, t: int, condition: Tensor) -> Tensor:
    def linear(name: str, values: Tensor) -> Tensor:
        return F.linear(values, w[f"Unet.{name}.weight"], w[f"Unet.{name}.bias"])

    def norm(name: str, values: Tensor) -> Tensor:
        return F.group_norm(values, 32, w[f"Unet.{name}.weight"], w[f"Unet.{name}.bias"], eps=1e-6)

    def block(name: str, values: Tensor) -> Tensor:
        h = conv(w, f"Unet.{name}.conv1", F.silu(norm(f"{name}.norm1", values)))
        h = h + linear(f"{name}.temb_proj", F.silu(embedding))[:, :, None, None]
        h = conv(w, f"Unet.{name}.conv2", F.silu(norm(f"{name}.norm2", h)))
        shortcut = f"Unet.{name}.nin_shortcut"
        return h + (conv(w, shortcut, values) if f"{shortcut}.weight" in w else values)

    def attend(name: str, values: Tensor) -> Tensor:
        h = norm(f"{name}.norm", values)
        q, k, v = (conv(w, f"Unet.{name}.{kind}", h).flatten(2) for kind in "qkv")
        scores = torch.einsum("bcn,bcm->bnm", q, k) / math.sqrt(values.shape[1])
        h = torch.einsum("bnm,bcm->bcn", scores.softmax(-1), v).view_as(values)
        return values + conv(w, f"Unet.{name}.proj_out", h)

    angles = t * torch.tensor([10000 ** (-i / 31) for i in range(32)])
    embedding = torch.cat([angles.sin(), angles.cos()])[None]
    embedding = linear("temb.dense.1", F.silu(linear("temb.dense.0", embedding)))
    h = conv(w, "Unet.conv_in", torch.cat([condition, x], dim=1))
    skips = [h]
    for i in range(4):
        for k in range(2):
            h = block(f"down.{i}.block.{k}", h)
            h = attend(f"down.{i}.attn.{k}", h) if i == 2 else h
            skips.append(h)
        if i < 3:
            h = conv(w, f"Unet.down.{i}.downsample.conv", F.pad(h, (0, 1, 0, 1)), stride=2, padding=0)
            skips.append(h)
    h = block("mid.block_2", attend("mid.attn_1", block("mid.block_1", h)))
    for i in (3, 2, 1, 0):
        for k in range(3):
            h = block(f"up.{i}.block.{k}", torch.cat([h, skips.pop()], dim=1))
            h = attend(f"up.{i}.attn.{k}", h) if i == 2 else h
        if i > 0:
            h = conv(w, f"Unet.up.{i}.upsample.conv", F.interpolate(h, scale_factor=2, mode="nearest"))
    return conv(w, "Unet.conv_out", F.silu(norm("norm_out", h)))


@torch.no_grad()
def test_whole_network_against_a_plain_computation(tmp_path: Path) -> None:
    torch.manual_seed(0)
    original = Restorer(PRESETS["paper"])
    weights = {published_name(name): tensor for name, tensor in original.state_dict().items()}
    for tensor in weights.values():  # values that show through every layer, which new weights' don't
        fan_in = tensor[0].numel()
        tensor.copy_(
            torch.randn(tensor.shape) / fan_in**0.5 if tensor.ndim > 1 else 1 + 0.1 * torch.randn(tensor.shape)
        )
    write_published(weights, tmp_path / "renamed.bin")
    restorer = LightenPipeline.from_pretrained(tmp_path / "renamed.bin", device="cpu").restorer
    dark, x = torch.rand(1, 3, 64, 128) * 0.3, torch.randn(1, 3, 8, 16)

    latent, skips = restorer.model.encode(dark)
    expected_latent, expected_skips = encode(weights, dark)
    torch.testing.assert_close(latent, expected_latent, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(skips, expected_skips, atol=1e-4, rtol=1e-4)
    assert [tuple(skip.shape) for skip in skips] == [(1, 64, 32, 64), (1, 128, 16, 32), (1, 256, 8, 16)]
    torch.testing.assert_close(restorer.model.decompose(latent), decompose(weights, latent), atol=1e-5, rtol=1e-4)
    condition = 2 * latent - 1
    for t in (0, 500, 999):
        expected = denoise(weights, x, t, condition)
        torch.testing.assert_close(restorer.unet(x, torch.tensor([t]), condition), expected, atol=1e-5, rtol=1e-4)
    decoded = restorer.model.decode(x.sigmoid(), skips)
    torch.testing.assert_close(decoded, decode(weights, x.sigmoid(), skips), atol=1e-4, rtol=1e-4)


def test_parameter_counts() -> None:
    restorer = Restorer(PRESETS["paper"])
    millions = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (restorer.unet, restorer.model)]
    assert [round(count, 1) for count in millions] == [20.8, 7.1]


def test_scheduler_is_the_published_one() -> None:
    scheduler = Restorer(PRESETS["paper"]).scheduler
    betas = np.linspace(1e-4, 0.02, 1000)
    np.testing.assert_allclose(scheduler.alphas_cumprod.numpy(), np.cumprod(1 - betas), rtol=1e-6)
    assert scheduler.timestep_list(20) == list(range(950, -1, -50))
    assert scheduler.config.prediction_type == "epsilon"
    assert not scheduler.config.clip_sample


@torch.no_grad()
def test_encoder_and_decoder_of_other_widths() -> None:
    encoder, decoder = PaperEncoder(2, (4, 8, 16)), PaperDecoder(2, (4, 8, 16))
    latent, skips = encoder(torch.rand(2, 3, 24, 40))
    assert latent.shape == (2, 2, 3, 5)
    assert [skip.shape[1:] for skip in skips] == [(4, 12, 20), (8, 6, 10), (16, 3, 5)]
    assert 0 < latent.min() <= latent.max() < 1
    before = [skip.clone() for skip in skips]
    assert decoder(latent, skips).shape == (2, 3, 24, 40)
    assert all(torch.equal(a, b) for a, b in zip(before, skips, strict=True))  # decoded again with other latents
    with pytest.raises(ValueError, match=r"channels: expected the widths of three levels, got \(4, 8\)"):
        PaperEncoder(2, (4, 8))


def test_gradients_reach_every_parameter() -> None:
    torch.manual_seed(0)
    model = Restorer(PRESETS["paper"]).model
    latent, skips = model.encode(torch.rand(1, 3, 32, 32))
    loss = model.decode(latent, skips).square().mean() + sum(part.mean() for part in model.decompose(latent))
    loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
