"""Names of ResNet's tensors in torchvision's state dicts, which TIRG's, MAAF's and most other checkpoints use."""

import re

CLASSIFIER = ("fc.weight", "fc.bias")
"""Of torchvision's ResNets: the layer that names ImageNet's classes, which an image encoder has no use for."""

_STEM = {"convolution": "conv1", "normalization": "bn1"}
_STEM_NAME = re.compile(r"embedder\.embedder\.(convolution|normalization)\.(\w+)")
_LAYER_NAME = re.compile(
    r"encoder\.stages\.(\d+)\.layers\.(\d+)\.(layer\.(\d+)|shortcut)\.(convolution|normalization)\.(\w+)"
)


def torchvision_name(name: str) -> str:
    """The name that a tensor of `transformers`' ResNet has in torchvision's.

    >>> torchvision_name("encoder.stages.0.layers.1.layer.0.convolution.weight")
    'layer1.1.conv1.weight'
    >>> torchvision_name("encoder.stages.1.layers.0.shortcut.normalization.bias")
    'layer2.0.downsample.1.bias'

    Raises:
        ValueError: it is no tensor of a ResNet.
    """
    if stem := _STEM_NAME.fullmatch(name):
        return f"{_STEM[stem[1]]}.{stem[2]}"
    if layer := _LAYER_NAME.fullmatch(name):
        stage, block, _, number, kind, tensor = layer.groups()
        if number is None:
            inner = f"downsample.{int(kind == 'normalization')}"
        else:
            inner = f"{'conv' if kind == 'convolution' else 'bn'}{int(number) + 1}"
        return f"layer{int(stage) + 1}.{block}.{inner}.{tensor}"
    raise ValueError(f"{name!r} is no tensor of a ResNet")


def stage_of(name: str) -> int:
    """The stage, from 1, that a tensor of torchvision's name belongs to; 0 for the stem.

    >>> stage_of("layer4.0.conv1.weight"), stage_of("bn1.weight")
    (4, 0)
    """
    match = re.match(r"layer(\d+)\.", name)
    return int(match[1]) if match else 0
