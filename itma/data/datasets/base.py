"""What every data set is, the settings that name one, and the registry that knows them by name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch

from itma.config import APPLIES
from itma.data.conversations import check_turns
from itma.data.triplets import Split, Track, Triplets
from itma.data.validation.diagnosis import Finding
from itma.errors import ConfigError, DataError, UnknownNameError
from itma.registry import Registry

if TYPE_CHECKING:
    from itma.data.synthetic.user import User


@dataclass(frozen=True)
class DataConfig:
    """Which data: stored with a run, so that an evaluation finds the same again.

    >>> DataConfig("shapes", size="tiny").size
    'tiny'
    """

    name: str = "shapes"
    """The data set's name."""
    size: str = field(default="demo", metadata={APPLIES: lambda data: data.generated})
    """Of a generated world: one of its sizes."""
    seed: int = field(default=0, metadata={APPLIES: lambda data: data.generated})
    """Of a generated world: decides its scenes, sentences and images."""
    conversations: float = field(default=0.0, metadata={APPLIES: lambda data: data.dataset.has_user})
    """Of data with a simulated user: share of the training samples that are conversations with that user; the loss is
    taken at every turn."""
    turns: int = field(default=3, metadata={APPLIES: lambda data: data.dataset.has_user and data.conversations > 0})
    """Turns of each such conversation."""
    root: str | None = None
    """The folder that holds the data. Without it, a generated world is made in memory."""
    categories: tuple[str, ...] = field(default=(), metadata={APPLIES: lambda data: bool(data.dataset.categories)})
    """Which categories of a data set that has some, e.g. FashionIQ's dress, shirt, toptee. Empty: all."""
    coverage: float = field(default=0.95, metadata={APPLIES: lambda data: not data.generated})
    """Training is refused where a smaller share of the rows has its images."""
    unreadable: Literal["refuse", "missing"] = field(
        default="refuse", metadata={APPLIES: lambda data: not data.generated}
    )
    """What an image file means that is there but cannot be read (empty, damaged, an error page of a shop): the work
    stops at it, or it counts as missing, for which every file is opened once at the start."""
    external: bool = field(default=False, metadata={APPLIES: lambda data: data.external})
    """Whether the data were handed over in Python, so that itma cannot load them by their name."""
    about: str = ""
    """Where the data come from and what their owners allow, in a sentence or two; the model card says it."""
    cache: bool = True
    """Whether images on disk are kept, resized, in a cache folder, where they fit; see `itma cache`."""

    def __post_init__(self) -> None:
        known = self.dataset.categories
        if self.categories and not known:
            raise ConfigError(
                f"{self.name} is not divided into categories; leave out data.categories={','.join(self.categories)}"
            )
        for category in self.categories:
            if category not in known:
                raise UnknownNameError(f"category of {self.name}", category, known)
        if not 0 <= self.coverage <= 1:
            raise ConfigError(f"data.coverage={self.coverage} must be from 0 to 1")
        if not 0 <= self.conversations <= 1:
            raise ConfigError(f"data.conversations={self.conversations} must be a share from 0 to 1")
        if self.conversations and not self.dataset.has_user:
            raise ConfigError(
                f"data.conversations={self.conversations} wants a user who knows what is true of each image, as of "
                f"{_with_user()}; leave it out for {self.name}, whose rows speak for themselves"
            )
        check_turns(self.turns, "data.turns")

    @property
    def dataset(self) -> "type[Dataset]":
        """The data set; of external data nothing more is known than of any."""
        return Dataset if self.external else dataset_named(self.name)

    @property
    def generated(self) -> bool:
        """Whether the data are made by rules."""
        return self.dataset.generated

    @property
    def measured(self) -> str:
        """The split that evaluations take where none is named."""
        return self.dataset.measured


AnnotatedRow = tuple[int, str, Sequence[str]]
"""A row as it stands in the files: its number in the table, where it stands in words, and its captions."""


@dataclass(frozen=True)
class Submission:
    """What the owners of a data set take of a split whose targets they keep."""

    tracks: tuple[Track, ...]
    """The lists they take."""
    write: Callable[[Path, Sequence[Sequence[np.ndarray]]], list[Path]]
    """Writes their files into a folder, from the answers to each track, (rows) indices of images each; the files."""


class Dataset:
    """Triplets and protocols, from a folder; what is made by rules overrides `load` instead of `read`.

    Args:
        config: which data; `config.root` is the folder.
    """

    title: ClassVar[str] = ""
    """What people call it. Where it says so, a split that is none of `splits` is refused before anything is read."""
    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    """The names of its splits; training takes `train`."""
    measured: ClassVar[str] = "test"
    """The split that evaluations take where none is named."""
    preset: ClassVar[str] = "photos"
    """The preset that is meant for it, where none is named."""
    categories: ClassVar[tuple[str, ...]] = ()
    """What it is divided into, so that `config.categories` can choose some of it; `read` heeds that."""
    image_folders: ClassVar[tuple[str, ...]] = ()
    """Where its images are looked for, relative to its root; empty where its annotation says it."""
    submitted: ClassVar[str] = ""
    """The split whose answers its owners take, since they keep the targets; empty where there is none."""
    generated: ClassVar[bool] = False
    """Whether it is made by rules, so that no image can be missing."""
    has_user: ClassVar[bool] = False
    """Whether `user` knows what is true of each image."""
    example: ClassVar[str] = ""
    """An English feedback of its kind, for cards and for a search page; empty: there is none."""
    limit: ClassVar[str] = "Trained on {name}: other images and other ways to say things were never tried."
    """What a model cannot do that was trained on it alone, for the model's card; `{name}` is the data set's name."""
    published: ClassVar[Mapping[str, Mapping[str, int]]] = {}
    """Split → what `counts` counts → how many the published files hold, where that is known."""

    def __init__(self, config: DataConfig) -> None:
        self.config = config

    @property
    def root(self) -> Path:
        """The folder that holds the data.

        Raises:
            DataError: the settings name none.
        """
        if self.config.root is None:
            raise DataError(f"say where {self.config.name} is on this machine: --root DIR (data.root in settings)")
        return Path(self.config.root)

    def read(self, root: Path, split: str) -> Split:
        """One split, as the files under `root` have it; images that are missing are left out afterwards.

        Raises:
            UnknownNameError: no such split.
            DataError: a file is missing or damaged; the message names file and row, and what was expected.
        """
        raise NotImplementedError

    def load(self, split: str, *, progress: bool = False, device: torch.device | None = None) -> Split:
        """One split.

        Args:
            split: one of `splits`.
            progress: show a progress bar while images are generated.
            device: where a generated world is rendered; the images come back to the CPU.

        Raises:
            UnknownNameError, DataError: see `read`.
        """
        self.check_split(split)
        return self.read(self.root, split)

    def check_split(self, split: str) -> None:
        """Raise UnknownNameError unless there is such a split, as far as that is known."""
        if self.title and split not in self.splits:
            raise UnknownNameError(f"split of {self.title}", split, self.splits)

    def counts(self, root: Path, split: str) -> Mapping[str, int]:
        """For `itma doctor`: what is counted → how many there are. Without any, images and rows are counted."""
        return {}

    def list_rows(self, root: Path, split: str, annotated: Split) -> Iterator[AnnotatedRow]:
        """For `itma doctor`: the rows as they stand in the files; here those of the first protocol, or all."""
        triplets, names = annotated.triplets, annotated.triplets.images.names
        rows = np.arange(len(triplets))
        if annotated.protocols:
            rows = np.sort(np.concatenate([task.rows for task in annotated.protocol().tasks]))
        for row, reference in zip(rows.tolist(), triplets.references[rows].tolist(), strict=True):
            yield row, f"row {row + 1:,} with {names[reference]}", (triplets.feedback[row],)

    def captions(self, root: Path, split: str) -> Mapping[str, str]:
        """For `itma doctor`: image → its caption, where feedback is made from captions of images."""
        return {}

    def galleries(self, root: Path, split: str) -> Mapping[str, np.ndarray]:
        """For `itma doctor`: category → (images,) indices of its images, where there are any."""
        return {}

    def notes(self, root: Path, split: str) -> Sequence[Finding]:
        """For `itma doctor`: what else is unusual about the data."""
        return ()

    def submission(self, root: Path, split: str, triplets: Triplets) -> Submission:
        """What its owners take of `submitted`.

        Args:
            root: the folder that holds the data.
            split: the split's name.
            triplets: its rows, without those whose images are not there.

        Raises:
            DataError: they take nothing, or too little is there for what they take.
        """
        raise DataError(f"nobody takes answers to {self.config.name}; its targets are published: itma evaluate")

    def user(self, split: str) -> "User[Any]":
        """A simulated user who knows what is true of each image of a split.

        Raises:
            DataError: nobody knows that of these data.
        """
        raise DataError(
            f"a simulated user has to know what is true of each image, and of {self.config.name} that is not known; "
            f"take a run on {_with_user()}, or measure annotated sessions: itma evaluate RUN multiturn --protocol "
            "multiturn/by-turn"
        )

    def with_conversations(self, triplets: Triplets) -> Triplets:
        """The training set, of whose samples a share are conversations with `user`, as the settings have it."""
        if not self.config.conversations:
            return triplets
        from itma.data.synthetic.user import Conversations

        draw = Conversations(self.user("train"), self.config.conversations, self.config.turns, triplets.draw)
        return replace(triplets, draw=draw)

    def sentences(self, split: str) -> Sequence[str]:
        """The feedback of one split alone: no image is rendered, and none has to be there."""
        return self.load(split).triplets.feedback


WORLDS = ("shapes", "wardrobe")
"""The package's own data that is generated and needs no folder."""
NAMES = (
    *("birds_to_words", "circo", "cirr", "css", "fashion200k", "fashioniq", "genecis", "lasco", "mitstates"),
    *("multiturn", "own", "products", "shoes", "spot_the_diff"),
)
"""The package's own data sets that are read from a folder."""

REGISTRY: Registry[type[Dataset]] = Registry(
    "data set",
    Dataset,
    {name: f"{__package__}.{'generated' if name in WORLDS else name}" for name in (*WORLDS, *NAMES)},
)
"""Data set by name."""
register = REGISTRY.register
dataset_named = REGISTRY.find


def _with_user() -> str:
    """The data sets that have a user, in words."""
    *others, last = (name for name in REGISTRY if dataset_named(name).has_user)
    return f"{', '.join(others)} or {last}"
