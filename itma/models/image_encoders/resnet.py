"""ResNet (He et al. 2016, arXiv:1512.03385) up to a stage, whose tensors are named as `transformers` names them.

`transformers` itself takes seconds to import, more than everything else that a search does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from itma.config import from_plain


@dataclass(frozen=True)
class ResNetShape:
    """What decides a ResNet, with the names and defaults of `transformers.ResNetConfig`.

    >>> ResNetShape(layer_type="basic", hidden_sizes=(64, 128), depths=(2, 2)).depths
    (2, 2)
    """

    embedding_size: int = 64
    """Channels of the stem."""
    hidden_sizes: tuple[int, ...] = (256, 512, 1024, 2048)
    """Channels of each stage."""
    depths: tuple[int, ...] = (3, 4, 6, 3)
    """Blocks of each stage."""
    layer_type: str = "bottleneck"
    """`basic` (two 3×3 convolutions a block) or `bottleneck`."""
    downsample_in_first_stage: bool = False
    downsample_in_bottleneck: bool = False
    """Whether the first 1×1 convolution of a bottleneck has the stride, instead of the 3×3 one."""

    @classmethod
    def read(cls, description: Mapping[str, Any]) -> "ResNetShape | None":
        """The shape in a configuration of `transformers`. None: another network, or a ResNet of another kind."""
        if description.get("model_type") != "resnet":
            return None
        if description.get("hidden_act", "relu") != "relu" or description.get("num_channels", 3) != 3:
            return None
        return from_plain(cls, {name: description[name] for name in cls.__dataclass_fields__ if name in description})


class ResNet(nn.Module):
    """The stem and the stages of a ResNet."""

    def __init__(self, shape: ResNetShape) -> None:
        super().__init__()
        self.shape = shape
        self.embedder = nn.ModuleDict({"embedder": _Unit(3, shape.embedding_size, kernel=7, stride=2)})
        self.pool = nn.MaxPool2d(3, 2, 1)
        inner, stages = shape.embedding_size, nn.ModuleList()
        for index, (out, depth) in enumerate(zip(shape.hidden_sizes, shape.depths, strict=True)):
            stride = 2 if index or shape.downsample_in_first_stage else 1
            blocks = [
                _Block(shape, inner if block == 0 else out, out, 1 if block else stride) for block in range(depth)
            ]
            stages.append(nn.ModuleDict({"layers": nn.Sequential(*blocks)}))
            inner = out
        self.encoder = nn.ModuleDict({"stages": stages})

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """(images, 3, height, width) normalised → each stage's map (images, channels, rows, columns)."""
        maps, x = [], self.pool(self.embedder["embedder"](images))
        for stage in self.encoder["stages"]:  # type: ignore[attr-defined]
            x = stage["layers"](x)
            maps.append(x)
        return maps


class _Convolution(nn.Conv2d):
    """A convolution that begins as in the paper, for ReLU."""

    def reset_parameters(self) -> None:
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")


class _Unit(nn.Module):
    """Convolution, batch norm and, unless `linear`, ReLU."""

    def __init__(self, inner: int, out: int, *, kernel: int = 3, stride: int = 1, linear: bool = False) -> None:
        super().__init__()
        self.convolution = _Convolution(inner, out, kernel, stride, kernel // 2, bias=False)
        self.normalization = nn.BatchNorm2d(out)
        self.linear = linear

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.normalization(self.convolution(x))
        return x if self.linear else x.relu()


class _Block(nn.Module):
    """A residual block; its shortcut is a 1×1 convolution where size or channels change."""

    def __init__(self, shape: ResNetShape, inner: int, out: int, stride: int) -> None:
        super().__init__()
        changes = inner != out or stride != 1
        self.shortcut = _Unit(inner, out, kernel=1, stride=stride, linear=True) if changes else nn.Identity()
        if shape.layer_type == "basic":
            self.layer = nn.Sequential(_Unit(inner, out, stride=stride), _Unit(out, out, linear=True))
        else:
            first, second = (stride, 1) if shape.downsample_in_bottleneck else (1, stride)
            self.layer = nn.Sequential(
                _Unit(inner, out // 4, kernel=1, stride=first),
                _Unit(out // 4, out // 4, stride=second),
                _Unit(out // 4, out, kernel=1, linear=True),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.layer(x) + self.shortcut(x)
        return y.relu()
