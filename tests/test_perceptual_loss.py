"""The perceptual loss, with backbones made here: torchvision's own weights aren't."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models import vgg11, vgg16

from lightendiff.cli.train import main
from lightendiff.training import ContentTransfer
from lightendiff.training.perceptual import MEAN, PerceptualLoss

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vgg11 that was never trained, as torchvision's file of it, without the classifier that makes it large."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("backbone") / "vgg11.pth"
    weights = vgg11(weights=None).features.state_dict()
    torch.save({f"features.{name}": tensor for name, tensor in weights.items()}, path)
    return path


def test_it_is_the_distance_of_features(backbone: Path) -> None:
    loss, picture = PerceptualLoss(str(backbone), weight=0.5), torch.rand(2, 3, 32, 32)
    assert loss(picture, picture).item() == 0
    other = torch.rand(2, 3, 32, 32).requires_grad_()
    value = loss(other, picture)
    x, y = ((each - torch.tensor(MEAN)[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
            for each in (other, picture))  # fmt: skip
    layers = vgg11(weights=None).features
    layers.load_state_dict({n.removeprefix("features."): t for n, t in torch.load(backbone).items()})
    distances = []
    for index, layer in enumerate(layers):
        if index in (2, 5, 10, 15):
            distances.append((x - y).abs().mean())
        x, y = layer(x), layer(y)
    torch.testing.assert_close(value, 0.5 * sum(distances) / 4)
    value.backward()
    assert other.grad is not None
    assert other.grad.abs().sum() > 0


def test_it_is_no_part_of_what_is_trained(backbone: Path) -> None:
    plain, given = (
        ContentTransfer(preset="tiny", perceptual_loss=each) for each in (None, PerceptualLoss(str(backbone)))
    )
    assert plain.state_dict().keys() == given.state_dict().keys()
    pictures = {name: torch.rand(1, 3, 32, 32) for name in ("dark", "target")}
    losses = given.losses({**pictures, "mean": torch.rand(1)}, given.generator(0))
    assert losses["perceptual"] > 0


def test_it_is_configured_in_one_line(backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = str(ROOT / "configs" / "smoke_stage1.yaml")
    cli = main(["--config", config, f"--model.init_args.perceptual_loss={{backbone: {backbone}}}"], run=False)
    assert cli.model.perceptual_loss.weight == 0.05


def test_files_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    with pytest.raises(ValueError, match="backbone: expected a file with a VGG's weights, there is no"):
        PerceptualLoss(str(path))
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"backbone: .*other\.pth can't be read"):
        PerceptualLoss(str(path))
    torch.save({"features.0.weight": torch.ones(4, 3, 3, 3)}, path)
    with pytest.raises(
        ValueError, match=r"backbone: expected weights of vgg11, vgg13, vgg16 or vgg19, got others from"
    ):
        PerceptualLoss(str(path))
    torch.save({f"features.{n}": t[:1] for n, t in vgg16(weights=None).features.state_dict().items()}, path)
    with pytest.raises(ValueError, match="doesn't fit vgg16"):
        PerceptualLoss(str(path))
