"""What all generated worlds share: splits that are made when asked for, random choices, and images read back."""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch

from itma.data.images import FileImages
from itma.errors import DataError
from itma.progress import bar

T = TypeVar("T")


class Part(Protocol):
    """One split of a world."""

    @property
    def names(self) -> tuple[str, ...]:
        """One for each image."""
        ...


ConfigT = TypeVar("ConfigT")
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

    def _check_index(self, split: str, index: int) -> int:
        images = len(self.split(split).names)
        if not 0 <= index < images:
            raise DataError(f"there is no image {index} in {split}; its {images:,} images count from 0")
        return int(index)


def gather(
    batches: Iterable[tuple[int, torch.Tensor]], shape: tuple[int, int, int, int], what: str, *, progress: bool
) -> torch.Tensor:
    """Images that come in batches, each with the number of its first one, as one tensor of bytes.

    Args:
        batches: (n, 3, height, width) each, on whatever device.
        shape: (images, 3, height, width).
        what: is done, for the progress bar.
        progress: show it.
    """
    pixels = torch.empty(shape, dtype=torch.uint8)
    with bar(what, show=progress, total=len(pixels), unit="image") as shown:
        for start, batch in batches:
            pixels[start : start + len(batch)] = batch
            shown.update(len(batch))
    return pixels


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
