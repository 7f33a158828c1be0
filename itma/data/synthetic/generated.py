"""What all generated worlds share: splits that are made when asked for, random choices, and images read back."""

import errno
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from PIL import Image

from itma.data.images import FileImages, MemoryImages
from itma.errors import ConfigError, DataError
from itma.io import new_folder, parse_json, refuse_stream
from itma.progress import bar

T = TypeVar("T")


class Part(Protocol):
    """One split of a world."""

    @property
    def name(self) -> str:
        """Of the split."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """One for each image."""
        ...


class Config(Protocol):
    """What every world's configuration has."""

    @property
    def height(self) -> int:
        """Of an image, in pixels."""
        ...

    @property
    def width(self) -> int:
        """Of an image, in pixels."""
        ...

    @property
    def seed(self) -> int:
        """Decides everything that is drawn."""
        ...


ConfigT = TypeVar("ConfigT", bound=Config)
PartT = TypeVar("PartT", bound=Part)


class GeneratedWorld(ABC, Generic[ConfigT, PartT]):
    """A world whose splits are a function of its configuration.

    Args:
        config: its size and seed.
    """

    def __init__(self, config: ConfigT) -> None:
        self.config = config
        self._splits: dict[str, PartT] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.config!r})"

    def split(self, name: str) -> PartT:
        """A split, made when it is first asked for.

        Raises:
            UnknownNameError: there is no such split.
        """
        if name not in self._splits:
            self._splits[name] = self._make(name)
        return self._splits[name]

    @abstractmethod
    def _make(self, name: str) -> PartT:
        """Make a split; raises UnknownNameError where there is none of that name."""

    @abstractmethod
    def _batches(self, split: str, device: str | torch.device) -> Iterator[tuple[int, torch.Tensor]]:
        """All images of a split in batches, (n, 3, height, width) uint8, each with the number of its first one."""

    def _check_index(self, split: str, index: int) -> int:
        images = len(self.split(split).names)
        if not 0 <= index < images:
            raise DataError(f"there is no image {index} in {split}; its {images:,} images count from 0")
        return int(index)

    def draw_images(
        self, split: str, *, progress: bool = False, device: str | torch.device | None = None
    ) -> MemoryImages:
        """All images of a split, drawn into memory.

        Args:
            split: its name.
            progress: show a progress bar.
            device: where to draw, if the world can do so elsewhere than on the CPU; the images come back to it.

        Raises:
            UnknownNameError: there is no such split.
        """
        names = self.split(split).names
        pixels = torch.empty((len(names), 3, self.config.height, self.config.width), dtype=torch.uint8)
        with bar(f"drawing {split} images", show=progress, total=len(pixels), unit="image") as shown:
            for start, batch in self._batches(split, device or "cpu"):
                pixels[start : start + len(batch)] = batch
                shown.update(len(batch))
        return MemoryImages(names, pixels)

    def _write(
        self,
        folder: str | Path,
        splits: Sequence[PartT],
        describe: Callable[[Path], None],
        place: Callable[[PartT, str], str],
        *,
        progress: bool,
        device: str | torch.device | None = None,
        **saving: Any,
    ) -> None:
        """Write some splits to a new folder, which appears in one step when all is written.

        Args:
            folder: must not exist yet.
            splits: whose images are written.
            describe: writes all but the images into a folder.
            place: where the image of that name is, relative to the folder.
            progress: show a progress bar.
            device: see `draw_images`.
            saving: options for Pillow.

        Raises:
            StorageError: the folder exists, the disk is full, or nothing can be written there.
        """
        total = sum(len(split.names) for split in splits)
        with new_folder(folder) as draft:
            if Path(folder).exists():  # before any image is drawn; a rename would replace an empty folder
                raise FileExistsError(errno.EEXIST, "it exists", str(folder))
            describe(draft)
            with bar("writing images", show=progress, total=total, unit="image") as shown:
                for split in splits:
                    for start, batch in self._batches(split.name, device or "cpu"):
                        for name, image in zip(split.names[start:], batch.cpu(), strict=False):
                            path = draft / place(split, name)
                            path.parent.mkdir(parents=True, exist_ok=True)
                            Image.fromarray(image.permute(1, 2, 0).numpy()).save(path, **saving)
                        shown.update(len(batch))


def check_config(config: Config, sides: tuple[int, int], counts: Sequence[str]) -> None:
    """Refuse images of impossible sizes, counts below 1, and negative seeds.

    Args:
        config: of a world.
        sides: the least and the largest side of an image, in pixels.
        counts: names of fields.

    Raises:
        ConfigError: one of them; the message names it.
    """
    height, width = config.height, config.width
    if min(height, width) < sides[0] or max(height, width) > sides[1]:
        raise ConfigError(
            f"images of {height}×{width} pixels are not possible; both must be {sides[0]} to {sides[1]:,}"
        )
    for name in counts:
        if getattr(config, name) < 1:
            raise ConfigError(f"{name}={getattr(config, name)} must be at least 1")
    if config.seed < 0:
        raise ConfigError(f"seed={config.seed} must not be negative")


def read_written(folder: Path, name: str, world: str, title: str) -> Any:
    """A JSON file of a written world.

    Args:
        folder: the world's.
        name: of the file.
        world: as `itma generate` knows it.
        title: what it is called.

    Raises:
        DataError: the folder is not a written world, or the file is damaged.
    """
    advice = f"write one with: itma generate {world}"
    if not folder.is_dir():
        raise DataError(f"there is no folder {str(folder)!r}; {advice} {folder}")
    refuse_stream(folder / name)
    try:
        return parse_json((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{str(folder)!r} is not a written {title}: {name} is missing; {advice} FOLDER") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{str(folder / name)!r} is damaged: {error}") from error


def find_written_images(folder: Path, names: Sequence[str], files: Sequence[str]) -> FileImages:
    """The images of a written world.

    Args:
        folder: that they are in.
        names: what they are called.
        files: of each, its file's name.

    Raises:
        DataError: some are not there.
    """
    images = FileImages(names, [folder / file for file in files])
    missing = images.missing().nonzero()[0]
    if len(missing):
        raise DataError(
            f"{len(missing):,} of {len(files):,} images are missing from {str(folder)!r}, for example "
            f"{files[missing[0]]}; write the world again"
        )
    return images


class Dice:
    """Random choices made from `random.Random(text).random()` alone, whose values Python promises to keep."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed).random

    def below(self, count: int) -> int:
        """A whole number from 0 to count − 1."""
        return int(self.random() * count)

    def between(self, low: float, high: float) -> float:
        """A number from `low` to below `high`."""
        return low + (high - low) * self.random()

    def choose(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[self.below(len(items))]

    def shuffle(self, items: Sequence[T]) -> list[T]:
        """The items in random order."""
        mixed = list(items)
        for last in range(len(mixed) - 1, 0, -1):
            other = self.below(last + 1)
            mixed[last], mixed[other] = mixed[other], mixed[last]
        return mixed
