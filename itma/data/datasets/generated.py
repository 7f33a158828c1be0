"""Data that is made by rules and needs no folder: the worlds of shapes and of clothes, see `itma.data.synthetic`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch

from itma.data.datasets.base import DataConfig, Dataset, register
from itma.data.triplets import Split, by_label
from itma.errors import ConfigError, UnknownNameError
from itma.io import parse_json, refuse_stream, write_text

if TYPE_CHECKING:
    from itma.data.synthetic import shapes, wardrobe
    from itma.data.synthetic.user import User

Size = TypeVar("Size")

GENERATED = "generated.json"
"""The file that says of a folder that it holds a generated world, whichever data set's layout it has."""


def read_splits(root: str | Path) -> tuple[str, ...] | None:
    """The splits of a folder that `itma generate` wrote in a published layout. None: it did not write it."""
    refuse_stream(Path(root) / GENERATED)
    try:
        return tuple(map(str, parse_json((Path(root) / GENERATED).read_text(encoding="utf-8"))["splits"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Generated(Dataset):
    """A world that is drawn by rules, in memory, or read from the folder that `write` wrote."""

    generated = has_user = True
    limit = "Trained on generated images ({name}): answers on photographs are poor."
    layouts: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """The data sets in whose published layout it can be written, so that their loaders and other people's read it, each
    with the splits that are written."""

    def mark(self, folder: Path, layout: str | None = None) -> None:
        """Note in a written folder that it holds a generated world, so that nobody expects the published numbers."""
        splits = self.layouts.get(layout or next(iter(self.layouts), ""), ())
        plain = {"world": self.config.name, "size": self.config.size, "seed": self.config.seed, "splits": splits}
        write_text(folder / GENERATED, json.dumps(plain, indent=2) + "\n")

    def write(
        self, folder: Path, *, layout: str | None = None, progress: bool = False, device: torch.device | None = None
    ) -> None:
        """Write the world to a new folder, so that it is rendered only once.

        Args:
            folder: must not exist yet.
            layout: one of `layouts`. None: the world's own.
            progress: show a progress bar.
            device: where it is rendered.

        Raises:
            UnknownNameError: it is not written in that layout.
            StorageError: the folder exists, the disk is full, or nothing can be written there.
        """
        if layout is not None and layout not in self.layouts:
            raise UnknownNameError(f"layout of the {self.config.name} world", layout, self.layouts)
        self.world().write(folder, layout=layout, progress=progress, device=device)

    def world(self) -> "shapes.World | wardrobe.World":
        """The world of the settings, in memory."""
        raise NotImplementedError


@register("shapes")
class Shapes(Generated):
    """Scenes of coloured solids: "make red cube blue"."""

    preset = "demo"
    example = "make red cube blue"
    layouts: ClassVar[Mapping[str, tuple[str, ...]]] = {"css": ("train", "test")}

    def world(self) -> "shapes.World":
        """See `Generated`."""
        from itma.data.synthetic import shapes

        return shapes.World(shapes_config(self.config))

    def load(self, split: str, *, progress: bool = False, device: torch.device | None = None) -> Split:
        """See `Dataset`."""
        from itma.data.synthetic import shapes

        if self.config.root is not None:
            folder = shapes.read(Path(self.config.root))
            if split not in folder:
                raise UnknownNameError("split", split, folder)
            triplets = folder[split]
        else:
            triplets = self.world().triplets(split, progress=progress, device=device)
        if split == "train":
            triplets = self.with_conversations(triplets)
        return Split.of(triplets, by_label(triplets))

    def user(self, split: str) -> "User[Any]":
        """See `Dataset`."""
        from itma.data.synthetic import shapes
        from itma.data.synthetic.shapes.user import ShapesUser

        root = self.config.root
        config = shapes_config(self.config) if root is None else shapes.read_config(root)
        part = shapes.World(config).split(split)
        return ShapesUser(part.scenes, part.labels, family=1 + config.changes, wording=split)

    def sentences(self, split: str) -> Sequence[str]:
        """See `Dataset`."""
        return self.world().split(split).feedback if self.config.root is None else super().sentences(split)


@register("wardrobe")
class Wardrobe(Generated):
    """Drawn clothes with the sentences of a shop: "the same in navy, with long sleeves"."""

    preset = "wardrobe"
    example = "the same in red with long sleeves"
    layouts: ClassVar[Mapping[str, tuple[str, ...]]] = {"fashioniq": ("train", "val"), "fashion200k": ("train", "test")}

    def world(self) -> "wardrobe.World":
        """See `Generated`."""
        from itma.data.synthetic import wardrobe

        return wardrobe.World(wardrobe_config(self.config))

    def load(self, split: str, *, progress: bool = False, device: torch.device | None = None) -> Split:
        """See `Dataset`."""
        from itma.data.synthetic import wardrobe

        if split not in wardrobe.SPLITS:
            raise UnknownNameError("split", split, wardrobe.SPLITS)
        if self.config.root is not None:
            config = wardrobe.read_config(self.config.root)
            part, images = wardrobe.read(self.config.root, split)
            triplets, seed = wardrobe.table(part, images, config), config.seed
        else:
            world = self.world()
            part, triplets, seed = world.split(split), world.triplets(split, progress=progress), self.config.seed
        if split == "train":
            return Split(self.with_conversations(triplets))
        return wardrobe.add_protocols(triplets, known=wardrobe.find_known_requests(part, seed))

    def user(self, split: str) -> "User[Any]":
        """See `Dataset`."""
        from itma.data.synthetic.wardrobe.user import WardrobeUser

        part, config = self._split(split)
        return WardrobeUser(part.products, part.labels, family=config.members, wording=split)

    def sentences(self, split: str) -> Sequence[str]:
        """See `Dataset`."""
        part, _ = self._split(split)
        return [*part.requests, *(" and ".join(pair) for pair in part.captions)]

    def _split(self, split: str) -> "tuple[wardrobe.WardrobeSplit, wardrobe.WardrobeConfig]":
        """What one split shows and asks, and the configuration that made it."""
        from itma.data.synthetic import wardrobe

        if self.config.root is not None:
            return wardrobe.read(self.config.root, split)[0], wardrobe.read_config(self.config.root)
        world = self.world()
        return world.split(split), world.config


def shapes_config(config: DataConfig) -> "shapes.ShapesConfig":
    """The shapes world's own configuration."""
    from itma.data.synthetic import shapes

    return replace(_size(config, shapes.SIZES), seed=config.seed)


def wardrobe_config(config: DataConfig) -> "wardrobe.WardrobeConfig":
    """The wardrobe world's own configuration."""
    from itma.data.synthetic import wardrobe

    return replace(_size(config, wardrobe.SIZES), seed=config.seed)


def _size(config: DataConfig, sizes: Mapping[str, Size]) -> Size:
    if config.size not in sizes:
        raise UnknownNameError(f"size of the {config.name} world", config.size, sizes)
    if config.seed < 0:
        raise ConfigError(f"data.seed={config.seed} must not be negative")
    return sizes[config.size]
