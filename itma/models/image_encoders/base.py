"""What every image encoder is, and the registry that knows them by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from itma.errors import ConfigError
from itma.registry import Registry


@dataclass(frozen=True)
class ImageEncoderConfig:
    """Which image encoder, and where its feature maps are taken.

    >>> ImageEncoderConfig("resnet-18", levels=(3, 4)).levels
    (3, 4)
    """

    name: str = "resnet-small"
    """A name in the registry of image encoders (`resnet-18`, `efficientnet-lite0`, …: new weights), a local folder as
    `transformers` writes it, or a name on its hub: of a backbone with stages, or of CLIP or SigLIP, whose vision tower
    is taken."""
    levels: tuple[int, ...] = (3,)
    """The stages whose maps are used, ascending; a ResNet's stage 1…4 has stride 4, 8, 16, 32 pixels, an
    EfficientNet-Lite's stage 1…7 has 2, 4, 8, 16, 16, 32, 32. Of such a tower: the layers whose cells are used; the
    number after its last layer is its image embedding, a map of one cell."""
    weights: str | None = None
    """A `.safetensors` or `.pth` file of weights, with `transformers`' names or, of a ResNet, with
    torchvision's; of EfficientNet-Lite also `imagenet`, the installed package's weights. Without it the weights are
    new, or those that `name` brings."""

    def __post_init__(self) -> None:
        if not self.levels or list(self.levels) != sorted(set(self.levels)) or min(self.levels) < 1:
            raise ConfigError(
                f"model.image_encoder.levels={self.levels} must name stages in ascending order, once each, e.g. 3,4"
            )


class ImageEncoder(nn.Module):
    """A network that makes one feature map for each level of an image.

    One of your own sets `levels` and `channels` and has `forward`. It is made from its levels alone; with settings of
    its own it overrides `open`, `description` and `reopen`.

    Args:
        levels: which of its stages are wanted, ascending.
    """

    embeds = False
    """Whether the last level is the encoder's own embedding of the image."""
    levels: tuple[int, ...]
    """Its stages whose maps are returned, ascending."""
    channels: tuple[int, ...]
    """Channels of each level's map."""

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.levels = tuple(levels)

    @classmethod
    def open(cls, config: ImageEncoderConfig) -> "ImageEncoder":
        """A new one, with the weights that `config` names.

        Raises:
            ConfigError: there is no such level, or weights are named that it cannot take.
            DataError: the weights cannot be read or do not fit.
        """
        if config.weights is not None:
            raise ConfigError(
                f"model.image_encoder.weights={config.weights!r}: {config.name!r} takes no weights; leave it out"
            )
        return cls(config.levels)

    @classmethod
    def reopen(cls, description: Mapping[str, Any], levels: Sequence[int]) -> "ImageEncoder":
        """The one that a `description` describes, to be filled by `load_state_dict`."""
        return cls(levels)

    @property
    def description(self) -> dict[str, Any]:
        """What rebuilds it besides its name and levels, ready for JSON; see `reopen`."""
        return {}

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """(images, 3, height, width) normalised → for each level (images, channels, rows, columns)."""
        raise NotImplementedError

    def grids(self, height: int, width: int) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each level's map for images of some size in pixels, measured with one forward pass."""
        training = self.training
        first = next(self.parameters())
        try:
            with torch.no_grad():
                maps = self.eval()(torch.zeros(1, 3, height, width, device=first.device, dtype=first.dtype))
        except (RuntimeError, ValueError) as error:
            own = getattr(getattr(getattr(self, "network", None), "config", None), "image_size", None)
            raise ConfigError(
                f"this image encoder takes no images of {height}×{width} pixels ({error}); choose other "
                f"model.preprocess.height and width{f': it was made for {own}' if own else ''}"
            ) from error
        finally:
            self.train(training)
        return tuple((level.shape[2], level.shape[3]) for level in maps)

    @property
    def depth(self) -> int:
        """The deepest level; with all levels up to it frozen, the whole encoder is."""
        return max(self.levels)

    def first_levels(self, count: int) -> list[nn.Module]:
        """The modules of the first so many levels: what stays as it is where they are frozen.

        Raises:
            ConfigError: the encoder cannot be parted there.
        """
        if 0 < count < self.depth:
            raise ConfigError(
                f"train.frozen_levels={count}: this image encoder can only be frozen whole ({self.depth} levels); an "
                "EfficientNet-Lite can be parted after every stage"
            )
        return [self] if count else []

    def begin(self, images: torch.Tensor, frozen: int) -> list[torch.Tensor]:
        """The part of the way that goes through the levels up to `frozen`; `finish` does the rest.

        What comes out does not change while those levels are frozen, so it can be stored instead of computed again.

        Args:
            images: (images, 3, height, width) normalised.
            frozen: the last frozen level.

        Raises:
            ConfigError: the encoder cannot be parted there.
        """
        self.first_levels(frozen)
        return self(images)

    def finish(self, begun: Sequence[torch.Tensor], frozen: int) -> list[torch.Tensor]:
        """What `begin` made → each level's map."""
        return list(begun)


_OWN = ("resnet-small", "resnet-18", "resnet-50", "efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
REGISTRY: Registry[type[ImageEncoder]] = Registry(
    "image encoder", ImageEncoder, dict.fromkeys(_OWN, f"{__package__}.hub")
)
"""Image encoder by name."""
register = REGISTRY.register
