"""Data by name: what `itma train NAME` and `itma evaluate NAME` look up, generated or on disk."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from itma.data import datasets
from itma.data.image_cache import cached
from itma.data.images import Preprocess
from itma.data.triplets import Coverage, Split, by_label, covered
from itma.errors import ConfigError, DataError, UnknownNameError

if TYPE_CHECKING:
    from itma.data.synthetic.shapes import ShapesConfig
    from itma.data.synthetic.wardrobe import WardrobeConfig

log = logging.getLogger(__name__)

WORLDS = ("shapes", "wardrobe")
"""Data that is generated and needs no folder."""
NAMES = (*WORLDS, *datasets.NAMES)


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
    """The folder that holds the data; absent: a generated world is made in memory."""
    coverage: float = 0.95
    """Training is refused where a smaller share of the rows has its pictures."""
    about: str = ""
    """Where the data come from and what their owners allow, in a sentence or two; the model card says it."""
    cache: bool = True
    """Whether pictures on disk are kept, resized, in a cache folder, where they fit; see `itma cache`."""

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise UnknownNameError("data set", self.name, NAMES)
        if not 0 <= self.coverage <= 1:
            raise ConfigError(f"data.coverage={self.coverage} must be from 0 to 1")

    @property
    def measured(self) -> str:
        """The split that evaluations take where none is named."""
        return "val" if self.name == "fashioniq" else "test"


def load(config: DataConfig, split: str, *, progress: bool = False, device: torch.device | None = None) -> Split:
    """One split: triplets and protocols, without the rows whose pictures are not there.

    Args:
        config: which data.
        split: `train`, `test` or, where there is one, `val`.
        progress: show a progress bar while pictures are generated.
        device: where a generated world is rendered; the pictures come back to the CPU.

    Raises:
        UnknownNameError: no such split or size.
        DataError: the data under `config.root` cannot be read, or is a training split that lacks too many pictures.
    """
    if config.name == "shapes":
        return _shapes(config, split, progress, device)
    if config.name == "wardrobe":
        return _wardrobe(config, split, progress)
    found, coverage = complete(datasets.load(config.name, _root(config), split))
    if not coverage.kept:
        raise DataError(f"{found.triplets.name}: {coverage}; there is nothing to work on")
    if coverage.missing:
        log.warning("%s: %s; itma doctor says more", found.triplets.name, coverage)
    if split == "train" and coverage.share < config.coverage:
        raise DataError(
            f"{found.triplets.name}: {coverage}; that is {coverage.share:.1%}, and training wants at least "
            f"{config.coverage:.0%}. Get the pictures that are missing, or train on what there is: --set "
            f"data.coverage={max(0, int(100 * coverage.share)) / 100:g}"
        )
    return found


def sentences(config: DataConfig, split: str) -> Sequence[str]:
    """The feedback of one split alone: no picture is rendered, and none has to be there.

    Raises:
        UnknownNameError, DataError: see `load`.
    """
    if config.name == "wardrobe":
        return _wardrobe_sentences(config, split)
    if config.name == "shapes" and config.root is None:
        from itma.data.synthetic import shapes

        return shapes.World(shapes_config(config)).split(split).feedback
    if config.name == "shapes":
        return _shapes(config, split, False, None).triplets.feedback
    return datasets.load(config.name, _root(config), split).triplets.feedback


def kept(split: Split, config: DataConfig, preprocess: Preprocess) -> Split:
    """A split whose pictures, where they are files, are decoded once and then read from the cache."""
    if not config.cache:
        return split
    pictures = cached(split.triplets.pictures, preprocess)
    return replace(split, triplets=replace(split.triplets, pictures=pictures))


def complete(split: Split) -> tuple[Split, Coverage]:
    """A split without what needs pictures that are not there, and how much of it that leaves."""
    return covered(split, split.triplets.pictures.missing())


def _root(config: DataConfig) -> str:
    if config.root is None:
        raise DataError(f"say where {config.name} is on this machine: --root DIR (data.root in settings)")
    return config.root


def _shapes(config: DataConfig, split: str, progress: bool, device: torch.device | None) -> Split:
    from itma.data.synthetic import shapes

    if config.root is not None:
        folder = shapes.read(Path(config.root))
        if split not in folder:
            raise UnknownNameError("split", split, folder)
        triplets = folder[split]
    else:
        triplets = shapes.World(shapes_config(config)).triplets(split, progress=progress, device=device)
    protocol = by_label(triplets)
    return Split(triplets, {protocol.name: protocol})


def shapes_config(config: DataConfig) -> "ShapesConfig":
    """The shapes world's own configuration."""
    from itma.data.synthetic import shapes

    _check_world(config, shapes.SIZES)
    return replace(shapes.SIZES[config.size], seed=config.seed)


def wardrobe_config(config: DataConfig) -> "WardrobeConfig":
    """The wardrobe world's own configuration."""
    from itma.data.synthetic import wardrobe

    _check_world(config, wardrobe.SIZES)
    return replace(wardrobe.SIZES[config.size], seed=config.seed)


def _check_world(config: DataConfig, sizes: Collection[str]) -> None:
    if config.size not in sizes:
        raise UnknownNameError(f"size of the {config.name} world", config.size, sizes)
    if config.seed < 0:
        raise ConfigError(f"data.seed={config.seed} must not be negative")


def _wardrobe(config: DataConfig, split: str, progress: bool) -> Split:
    from itma.data.synthetic import wardrobe

    if split not in wardrobe.SPLITS:
        raise UnknownNameError("split", split, wardrobe.SPLITS)
    if config.root is not None:
        written = wardrobe.read_config(config.root)
        part, pictures = wardrobe.read(config.root, split)
        triplets, seed = wardrobe.table(part, pictures, written), written.seed
    else:
        world = wardrobe.World(wardrobe_config(config))
        part, triplets, seed = world.split(split), world.triplets(split, progress=progress), config.seed
    if split == "train":
        return Split(triplets, {})
    return wardrobe.asked(triplets, known=wardrobe.known_requests(part, seed))


def _wardrobe_sentences(config: DataConfig, split: str) -> Sequence[str]:
    from itma.data.synthetic import wardrobe

    if config.root is not None:
        part = wardrobe.read(config.root, split)[0]
    else:
        part = wardrobe.World(wardrobe_config(config)).split(split)
    return [*part.requests, *(" and ".join(pair) for pair in part.captions)]
