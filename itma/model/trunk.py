"""Picture → feature maps at several depths: an adapter over the backbones of `transformers`.

`transformers` is imported only when a trunk is built, because it takes seconds to import.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import nn

from itma.errors import ConfigError, DataError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

KNOWN: dict[str, dict[str, Any]] = {
    "resnet-small": {"embedding_size": 32, "hidden_sizes": [32, 64, 128, 256], "depths": [1, 1, 1, 1]},
    "resnet-18": {"embedding_size": 64, "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2]},
    "resnet-50": {
        "embedding_size": 64,
        "hidden_sizes": [256, 512, 1024, 2048],
        "depths": [3, 4, 6, 3],
        "layer_type": "bottleneck",
    },
}
"""Trunks known by a short name, as settings of `transformers.ResNetConfig`; built from scratch unless weights are
given. `resnet-small` is meant for pictures of about 96×64 pixels."""


@dataclass(frozen=True)
class TrunkConfig:
    """Which picture network, and where its feature maps are taken.

    >>> TrunkConfig("resnet-18", levels=(3, 4)).levels
    (3, 4)
    """

    name: str = "resnet-small"
    """A name in `KNOWN` (weights from scratch), a local folder as `transformers` writes it, or a name on its hub."""
    levels: tuple[int, ...] = (3,)
    """The stages whose maps are used, ascending; stage 1…4 has stride 4, 8, 16, 32 pixels."""
    weights: str | None = None
    """A `.safetensors` or `.pth` file of the backbone's weights; absent: from scratch, or what `name` brings."""

    def __post_init__(self) -> None:
        if not self.levels or list(self.levels) != sorted(set(self.levels)) or min(self.levels) < 1:
            raise ConfigError(
                f"trunk.levels={self.levels} must name one or more stages in ascending order, each once, e.g. 3,4"
            )


class Trunk(nn.Module):
    """A backbone of `transformers` that returns one feature map for each level.

    Stages deeper than the deepest level are left out, so that every weight has a part in the answer.

    Args:
        backbone: the configuration of the backbone, in the dictionary form of `transformers`.
        levels: stages to return, ascending.
    """

    def __init__(self, backbone: dict[str, Any], levels: Sequence[int]) -> None:
        super().__init__()
        from transformers import AutoBackbone, AutoConfig

        settings = dict(backbone)
        config = AutoConfig.for_model(settings.pop("model_type"), **settings)
        self.levels = tuple(levels)
        self.backbone = AutoBackbone.from_config(_cut(config, self.levels))
        self.channels: tuple[int, ...] = tuple(self.backbone.channels)

    @classmethod
    def build(cls, config: TrunkConfig) -> "Trunk":
        """The trunk that `config` names, with the weights it names.

        Raises:
            ConfigError: the name is neither known nor a folder or hub name, or has no such level.
            DataError: the weights cannot be read or do not fit.
        """
        from transformers import AutoConfig, ResNetConfig

        if config.name in KNOWN:
            settings = {"layer_type": "basic", **KNOWN[config.name]}
            trunk = cls(ResNetConfig(**settings).to_dict(), config.levels)
        else:
            try:
                hub = AutoConfig.from_pretrained(config.name)
                trunk = cls(hub.to_dict(), config.levels)
                if config.weights is None:
                    trunk.backbone = type(trunk.backbone).from_pretrained(config.name, config=trunk.backbone.config)
            except (OSError, ValueError, KeyError) as error:
                raise ConfigError(
                    f"no trunk {config.name!r}: choose from {', '.join(sorted(KNOWN))}, or give a local folder with "
                    f"config.json and weights, or a name on the hub ({type(error).__name__}: {error})"
                ) from error
        if config.weights is not None:
            trunk.load_weights(config.weights)
        return trunk

    def load_weights(self, path: str | Path) -> None:
        """Fill the backbone from a `.safetensors` or `.pth` file of its own state.

        Tensors of stages that were left out are passed over; every tensor of the backbone must be there. A `.pth`
        file is opened by torch's allow-list of plain tensors; nothing else in it is run.

        Raises:
            DataError: the file cannot be read, or lacks a tensor, or one has another shape.
        """
        path = Path(path)
        try:
            if path.suffix == ".safetensors":
                given = load_file(path)
            else:
                given = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError as error:
            raise DataError(f"the trunk weights {str(path)!r} do not exist") from error
        except Exception as error:  # safetensors and torch raise many kinds on damaged files
            raise DataError(f"the trunk weights {str(path)!r} cannot be read: {error}") from error
        own = self.backbone.state_dict()
        prefix = next((p for p in ("", "resnet.", "backbone.", "model.") if p + next(iter(own)) in given), "")
        lacking = [name for name in own if prefix + name not in given]
        if lacking:
            raise DataError(
                f"the trunk weights {str(path)!r} lack {len(lacking)} of {len(own)} tensors, e.g. {lacking[0]!r}; "
                "expected the state of the same backbone"
            )
        wrong = [name for name in own if given[prefix + name].shape != own[name].shape]
        if wrong:
            name = wrong[0]
            raise DataError(
                f"the trunk weights {str(path)!r} do not fit: {name!r} is {tuple(given[prefix + name].shape)}, "
                f"expected {tuple(own[name].shape)}"
            )
        self.backbone.load_state_dict({name: given[prefix + name] for name in own})

    @property
    def description(self) -> dict[str, Any]:
        """The backbone's configuration; with it the trunk can be built again without its name."""
        settings: dict[str, Any] = self.backbone.config.to_diff_dict()
        return {**settings, "model_type": self.backbone.config.model_type}

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """(pictures, 3, height, width) normalised → for each level (pictures, channels, rows, columns)."""
        return list(self.backbone(pictures).feature_maps)


def _cut(config: "PretrainedConfig", levels: Sequence[int]) -> "PretrainedConfig":
    """The configuration without the stages deeper than the deepest level."""
    stages = len(getattr(config, "stage_names", [])) - 1 or 4
    if max(levels) > stages:
        raise ConfigError(f"trunk.levels={tuple(levels)}: this trunk has the levels 1 to {stages}")
    settings = config.to_dict()
    for name in ("depths", "hidden_sizes"):
        if isinstance(settings.get(name), list) and len(settings[name]) == stages:
            settings[name] = settings[name][: max(levels)]
    for name in ("stage_names", "_out_features", "_out_indices", "out_features", "out_indices"):
        settings.pop(name, None)
    settings["out_features"] = [f"stage{level}" for level in levels]
    return type(config)(**settings)
