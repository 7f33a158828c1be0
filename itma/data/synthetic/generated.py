"""What all generated worlds share: splits that are made when asked for, random choices, and images read back."""

import errno
import hashlib
import json
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
import torch

from itma.data.images import FileImages, MemoryImages, to_image
from itma.errors import ConfigError, DataError, UnknownNameError
from itma.io import new_folder, parse_json, refuse_stream
from itma.progress import bar

T = TypeVar("T")


@dataclass(frozen=True)
class WorldConfig:
    """What every world's configuration has."""

    height: int
    """Of an image, in pixels."""
    width: int
    """Of an image, in pixels."""

    def check(self, sides: tuple[int, int], **least: int) -> None:
        """Refuse images of impossible sizes and numbers that are too small.

        Args:
            sides: the least and the largest side of an image, in pixels.
            least: name of a field → the least that it may be.

        Raises:
            ConfigError: one of them; the message names it.
        """
        if min(self.height, self.width) < sides[0] or max(self.height, self.width) > sides[1]:
            raise ConfigError(
                f"images of {self.height}×{self.width} pixels are not possible; both must be {sides[0]} to {sides[1]:,}"
            )
        for name, number in least.items():
            if getattr(self, name) < number:
                raise ConfigError(f"{name}={getattr(self, name)} must be at least {number}")


@dataclass(frozen=True)
class WorldSplit(ABC):
    """What one split of every world holds, beside what is true of its images and how its queries are worded."""

    name: str
    names: tuple[str, ...]
    """One for each image: `train_000000`, …"""
    labels: np.ndarray
    """(images,) int64: the same for images of which the same is true, and for no others."""
    references: np.ndarray
    """(queries,) int64: index of the image that is pointed at."""
    targets: np.ndarray
    """(queries,) int64: index of the image that is asked for."""
    kinds: tuple[str, ...]
    """(queries) What changes."""

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(reference, target) of each query."""
        return list(zip(self.references.tolist(), self.targets.tolist(), strict=True))

    @abstractmethod
    def texts(self) -> tuple[list[Any], ...]:
        """What is true of each image, as text; then the sentences of each query, one list for each way to ask."""


ConfigT = TypeVar("ConfigT", bound=WorldConfig)
SplitT = TypeVar("SplitT", bound=WorldSplit)


class GeneratedWorld(ABC, Generic[ConfigT, SplitT]):
    """A world whose splits are a function of its configuration.

    Args:
        config: its size and seed.
    """

    splits: ClassVar[tuple[str, ...]]
    """The names of all."""
    saving: ClassVar[Mapping[str, Any]]
    """Pillow's options for its image files."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config
        self._splits: dict[str, SplitT] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.config!r})"

    def split(self, name: str) -> SplitT:
        """A split, made when it is first asked for.

        Raises:
            UnknownNameError: there is no such split.
        """
        if name not in self.splits:
            raise UnknownNameError("split", name, self.splits)
        if name not in self._splits:
            self._splits[name] = self._make(name)
        return self._splits[name]

    @abstractmethod
    def _make(self, name: str) -> SplitT:
        """Make a split, one of `splits`."""

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
        with bar(f"drawing {split} images", show=progress, total=len(pixels), unit="image") as meter:
            for start, batch in self._batches(split, device or "cpu"):
                pixels[start : start + len(batch)] = batch
                meter.update(len(batch))
        return MemoryImages(names, pixels)

    def fingerprint(self) -> str:
        """SHA-256 (hex) of all that is shown and said: the same everywhere for the same configuration."""
        plain = []
        for split in map(self.split, self.splits):
            truths, *sentences = split.texts()
            plain.append([truths, split.references.tolist(), split.targets.tolist(), *sentences])
        return hashlib.sha256(json.dumps(plain, separators=(",", ":")).encode()).hexdigest()

    @abstractmethod
    def _files(self, layout: str | None) -> "Files[SplitT]":
        """What is written in a layout."""

    def write(
        self,
        folder: str | Path,
        *,
        layout: str | None = None,
        progress: bool = False,
        device: str | torch.device | None = None,
    ) -> None:
        """Write the world to a new folder, which appears in one step when all is written.

        Args:
            folder: must not exist yet.
            layout: one that the world knows, see its class. None: the world's own.
            progress: show a progress bar.
            device: see `draw_images`.

        Raises:
            StorageError: the folder exists, the disk is full, or nothing can be written there.
        """
        files = self._files(layout)
        total = sum(len(split.names) for split in files.splits)
        with new_folder(folder) as draft:
            if Path(folder).exists():  # before any image is drawn; a rename would replace an empty folder
                raise FileExistsError(errno.EEXIST, "it exists", str(folder))
            files.describe(draft)
            with bar("writing images", show=progress, total=total, unit="image") as meter:
                for split in files.splits:
                    for start, batch in self._batches(split.name, device or "cpu"):
                        for name, image in zip(split.names[start:], batch.cpu(), strict=False):
                            path = draft / files.image_path(split, name)
                            path.parent.mkdir(parents=True, exist_ok=True)
                            to_image(image).save(path, **self.saving)
                        meter.update(len(batch))


class Files(NamedTuple, Generic[SplitT]):
    """What a written world consists of."""

    splits: Sequence[SplitT]
    """Whose images are written."""
    describe: Callable[[Path], None]
    """Writes all but the images into a folder."""
    image_path: Callable[[SplitT, str], str]
    """Where the image of that name is, relative to the folder."""


def number_alike(items: Iterable[Hashable]) -> np.ndarray:
    """(items,) int64: the same number for equal items, and for no others."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(item, len(numbers)) for item in items], dtype=np.int64)


@contextmanager
def naming_damage(path: Path, where: str = "") -> Iterator[None]:
    """Whatever goes wrong with a file of a written world becomes a DataError that names it; those that are one stay.

    Args:
        path: the file.
        where: in it; begins with a blank.
    """
    try:
        yield
    except (AttributeError, LookupError, OSError, OverflowError, RecursionError, TypeError, ValueError) as error:
        what = "is missing" if isinstance(error, FileNotFoundError) else f"is damaged{where}: {error!r}"
        raise DataError(f"{str(path)!r} {what}; write the world again") from error


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
    with naming_damage(folder / name):
        if not (folder / name).exists():
            raise DataError(f"{str(folder)!r} is not a written {title}: {name} is missing; {advice} FOLDER")
        refuse_stream(folder / name)
        return parse_json((folder / name).read_text(encoding="utf-8"))


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
