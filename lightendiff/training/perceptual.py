"""A perceptual loss, with a backbone file that the user has: none comes with the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import vgg11, vgg13, vgg16, vgg19

from .losses import Loss

_BY_CONVOLUTIONS = {8: vgg11, 10: vgg13, 13: vgg16, 16: vgg19}
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the pictures that they were trained on
LEVELS = 4  # of five: what the deepest sees is content, which isn't in doubt


@dataclass(frozen=True)
class PerceptualLoss(Loss):
    """L1 distance of a VGG's features before each pooling (Johnson et al., ECCV 2016), averaged over four levels.

    Attributes:
        backbone: file with the weights of vgg11, vgg13, vgg16 or vgg19, a state dict as torchvision's files hold it.
        weight: beside the image loss.

    Raises:
        ValueError: there is no such file, or it holds something else.
    """

    backbone: str
    weight: float = 0.05
    features: list[nn.Module] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight: expected at least 0, got {self.weight}")
        object.__setattr__(self, "features", read_backbone(self.backbone))  # a list: no part of what is trained

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Of pictures (b, 3, h, w) in [0, 1], h and w at least 8."""
        mean, deviation = (target.new_tensor(each)[:, None, None] for each in (MEAN, DEVIATION))
        x, y = ((image.clamp(0.0, 1.0) - mean) / deviation for image in (prediction, target))
        total = prediction.new_zeros(())
        for level in self.features:
            level.to(x.device)
            x = level(x)
            with torch.no_grad():
                y = level(y)
            total = total + F.l1_loss(x, y) / len(self.features)
            x, y = F.max_pool2d(x, 2), F.max_pool2d(y, 2)
        return self.weight * total


def read_backbone(path: str) -> list[nn.Module]:
    """The convolutions of a VGG, level by level, frozen. ValueError, one line, for a file of something else."""
    if not Path(path).is_file():
        raise ValueError(f"backbone: expected a file with a VGG's weights, there is no {path}")
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler fails on arbitrary bytes with nearly any exception
        raise ValueError(f"backbone: {path} can't be read: {str(error).splitlines()[0]}") from error
    weights = {str(name): each for name, each in held.items()} if isinstance(held, Mapping) else {}
    weights = {name.removeprefix("features."): each for name, each in weights.items() if name.startswith("features.")}
    build = _BY_CONVOLUTIONS.get(sum(each.ndim == 4 for each in weights.values()))
    if build is None:
        raise ValueError(f"backbone: expected weights of vgg11, vgg13, vgg16 or vgg19, got others from {path}")
    layers = build(weights=None, init_weights=False).features
    try:
        layers.load_state_dict(weights)
    except RuntimeError as error:  # which lists all names
        raise ValueError(f"backbone: {path} doesn't fit {build.__name__}") from error
    levels: list[nn.Module] = []
    begin = 0
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.MaxPool2d):
            levels.append(nn.Sequential(*layers[begin:index]))
            begin = index + 1
    return [level.requires_grad_(False).eval() for level in levels[:LEVELS]]
