"""Triplets by the name of their data set: what `itma train NAME` and `itma evaluate NAME` look up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from itma.data.triplets import Triplets
from itma.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from itma.data.worlds.shapes import ShapesConfig


@dataclass(frozen=True)
class DataConfig:
    """Which data: stored with a run, so that an evaluation finds the same again.

    >>> DataConfig("shapes", size="tiny").size
    'tiny'
    """

    name: str = "shapes"
    """The data set's name."""
    size: str = "demo"
    """Of a generated world: one of its sizes."""
    seed: int = 0
    """Of a generated world: decides its scenes, sentences and pictures."""
    root: str | None = None
    """A folder that holds the data; absent: the world is generated in memory."""

    def __post_init__(self) -> None:
        if self.name not in SOURCES:
            raise UnknownNameError("data set", self.name, SOURCES)


Load = Callable[[DataConfig, str, bool, torch.device | None], Triplets]


def load(config: DataConfig, split: str, *, progress: bool = False, device: torch.device | None = None) -> Triplets:
    """The triplets of one split.

    Args:
        config: which data.
        split: `train` or `test`.
        progress: show a progress bar while pictures are generated.
        device: where a generated world is rendered; the pictures come back to the CPU.

    Raises:
        UnknownNameError: no such split or size.
        DataError: the data under `config.root` cannot be read.
    """
    return SOURCES[config.name](config, split, progress, device)


def _shapes(config: DataConfig, split: str, progress: bool, device: torch.device | None) -> Triplets:
    from itma.data.worlds import shapes

    if config.root is not None:
        folder = shapes.read(Path(config.root))
        return folder[split] if split in folder else _no_split(split, folder)
    return shapes.World(shapes_config(config)).triplets(split, progress=progress, device=device)


def shapes_config(config: DataConfig) -> "ShapesConfig":
    """The shapes world's own configuration."""
    from itma.data.worlds import shapes

    if config.size not in shapes.SIZES:
        raise UnknownNameError("size of the shapes world", config.size, shapes.SIZES)
    if config.seed < 0:
        raise ConfigError(f"data.seed={config.seed} must not be negative")
    return replace(shapes.SIZES[config.size], seed=config.seed)


def _no_split(split: str, known: Mapping[str, Triplets]) -> Triplets:
    raise UnknownNameError("split", split, known)


SOURCES: dict[str, Load] = {"shapes": _shapes}
"""Data set by name."""
