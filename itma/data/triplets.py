"""A table of triplets: what training and evaluation take, whichever data set it came from."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from itma.data.images import Images, Preprocess
from itma.errors import DataError, UnknownNameError
from itma.records import Triplet

Sample = tuple[int, int, str]
"""A row by itself: reference and target, as indices of images, and sentence."""


class Rows(NamedTuple):
    """Some training samples."""

    references: np.ndarray
    """(rows,) int64: index of each row's reference image."""
    targets: np.ndarray
    """(rows,) int64: index of each row's target image."""
    feedback: list[str]
    """(rows): each row's sentence."""

    @classmethod
    def of(cls, rows: Sequence[Sample]) -> "Rows":
        """From the rows one by one."""
        references, targets = (np.array([row[end] for row in rows], dtype=np.int64) for end in (0, 1))
        return cls(references, targets, [sentence for *_, sentence in rows])

    def part(self, begin: int, end: int) -> "Rows":
        """Those from `begin` to before `end`."""
        return Rows(self.references[begin:end], self.targets[begin:end], self.feedback[begin:end])


Draw = Callable[["Triplets", np.ndarray, np.random.Generator], Rows]
"""Turns rows of a table into training samples, by a data set's published rule: the table, indices of its rows, and the
only source of chance. Rows of one reference may stand side by side (see `itma.data.batching.Plan`)."""

_TRIES, _DRAWS = 30, 3_000
"""Draws after which a row counts as having no target that is there; and, in training, after which it is an error. A row
that passes the first has targets enough for the second to be next to impossible."""
UNKNOWN_TARGET = -1
"""Stands for the target of a query whose target was never published."""
METRICS = ("recall_subset", "map")
"""What a protocol can ask for besides recall: recall within each query's own few candidates (Liu et al. 2021,
arXiv:2108.04024), and mean average precision over all of a query's targets (Baldrati et al. 2023, arXiv:2303.15247)."""


@dataclass(frozen=True)
class Triplets:
    """Rows of (reference, feedback, target), as indices into one collection of images.

    In an evaluation the images are also the gallery, unless a protocol names another.
    """

    name: str
    """The data set and the split, e.g. `shapes/test`."""
    images: Images
    labels: np.ndarray
    """(images,) int64: images of one label count as the same; each is a target where one of them is."""
    references: np.ndarray
    """(rows,) int64: index of each row's reference image."""
    targets: np.ndarray
    """(rows,) int64: index of each row's target image."""
    feedback: Sequence[str]
    """(rows): each row's sentence."""
    kinds: Sequence[str] = ()
    """(rows) or empty: the kind of change, for results by kind."""
    draw: Draw | None = None
    """How training samples come from rows; None: they are the rows as they stand."""
    draws_targets: bool = False
    """Whether `draw` chooses targets too; those of the table are then examples."""
    aspects: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Further labels of the images, (images,) int64 each, e.g. of the adjective alone."""
    present: np.ndarray | None = None
    """(images,) bool: which images may be used; None: all. Samples with another target are drawn anew."""
    groups: Mapping[str, Sequence[str | tuple[str, ...]]] = field(default_factory=dict)
    """Further ways to divide the rows, (rows) each, for results of each part: what divides → the part of each row, or
    the parts where a row belongs to several."""
    further_targets: np.ndarray | None = None
    """(rows, most) int64: what is right besides each row's target, −1 where there is no more. Only mean average
    precision counts it; recall is that of the target."""
    subsets: np.ndarray | None = None
    """(rows, size) int64: the few images among which a row's target is sought too, −1 where there are no more."""

    def __post_init__(self) -> None:
        rows, images = len(self.feedback), len(self.images.names)
        if not len(self.references) == len(self.targets) == rows:
            raise DataError(
                f"{self.name}: {len(self.references)} references, {len(self.targets)} targets and {rows} sentences; "
                "there must be one of each in every row"
            )
        of_images = {"labels": self.labels, **{f"labels of {name!r}": own for name, own in self.aspects.items()}}
        of_rows = {
            "kinds": self.kinds or self.feedback,
            **{f"parts by {name!r}": own for name, own in self.groups.items()},
        }
        for count, of, columns in ((images, "images", of_images), (rows, "rows", of_rows)):
            for what, values in columns.items():
                if len(values) != count:
                    raise DataError(f"{self.name}: {len(values)} {what} for {count} {of}")
        indices = {"reference": self.references, "target": self.targets}
        for what, table in (("further target", self.further_targets), ("image of a subset", self.subsets)):
            if table is None:
                continue
            if table.ndim != 2 or len(table) != rows:
                raise DataError(f"{self.name}: the {what}s are of shape {table.shape}; expected ({rows}, most)")
            indices[what] = table
        for what, some in indices.items():
            least = 0 if what == "reference" else UNKNOWN_TARGET
            if some.size and not (least <= some.min() and some.max() < images):
                raise DataError(f"{self.name}: a {what} lies outside the {images} images")
        if self.subsets is not None:
            outside = (self.targets != UNKNOWN_TARGET) & ~(self.subsets == self.targets[:, None]).any(1)
            for row in np.flatnonzero(outside)[:1].tolist():
                raise DataError(f"{self.name}, row {row + 1:,}: its target is not in its subset, where it is sought")

    @classmethod
    def of(
        cls,
        name: str,
        images: Images,
        rows: Iterable[tuple[Any, Any, str]],
        labels: np.ndarray | None = None,
        *,
        keys: Iterable[Hashable] | None = None,
        **more: Any,
    ) -> "Triplets":
        """A table from its rows.

        Args:
            name, images: see the fields.
            rows: one by one: reference, target and sentence.
            labels: see the field. None: each image counts as itself alone.
            keys: (images) what rows call each image. None: by its index.
            more: further fields.
        """
        if keys is not None:
            number = {UNKNOWN_TARGET: UNKNOWN_TARGET, **{key: index for index, key in enumerate(keys)}}
            rows = [(number[reference], number[target], sentence) for reference, target, sentence in rows]
        labels = np.arange(len(images.names)) if labels is None else labels
        return cls(name, images, labels, *Rows.of(list(rows)), **more)

    @classmethod
    def drawn(cls, name: str, images: Images, labels: np.ndarray, references: np.ndarray, draw: Draw) -> "Triplets":
        """A table of references to which `draw` chooses targets and sentences; those of the table are examples."""
        blank = cls(name, images, labels, references, references, [""] * len(references))
        samples = draw(blank, np.arange(len(references)), np.random.Generator(np.random.PCG64(0)))
        return cls(name, images, labels, *samples, draw=draw, draws_targets=True)

    def __len__(self) -> int:
        return len(self.feedback)

    def __getitem__(self, row: int) -> Triplet:
        names = self.images.names
        return Triplet(names[self.references[row]], self.feedback[row], names[self.targets[row]])

    def draw_samples(self, rows: np.ndarray, random: np.random.Generator) -> Rows:
        """Training samples from some rows, by the data set's rule.

        Raises:
            DataError: for a row no sample with present images was found.
        """
        if self.draw is None:
            return Rows(self.references[rows], self.targets[rows], [self.feedback[row] for row in rows.tolist()])
        samples, pending = self._draws(rows, random, _DRAWS)
        if not len(pending):
            return samples
        name = self.images.names[samples.references[pending[0]]]
        raise DataError(
            f"{self.name}: after {_DRAWS} draws there is no target with an image for the reference {name!r}"
        )

    def _draws(self, rows: np.ndarray, random: np.random.Generator, most: int) -> tuple[Rows, np.ndarray]:
        """Samples, drawn anew where their target is not there, and the places where `most` draws found none."""
        assert self.draw is not None
        samples = self.draw(self, rows, random)
        present = np.ones(len(self.labels), dtype=bool) if self.present is None else self.present
        pending = np.flatnonzero(~present[samples.targets])
        targets, feedback = samples.targets.copy(), list(samples.feedback)
        for _ in range(most - 1):
            if not len(pending):
                break
            fresh = self.draw(self, rows[pending], random)
            targets[pending] = fresh.targets
            for index, sentence in zip(pending.tolist(), fresh.feedback, strict=True):
                feedback[index] = sentence
            pending = pending[~present[fresh.targets]]
        return Rows(samples.references, targets, feedback), pending

    def askable(self) -> np.ndarray:
        """(rows,) bool: for which rows a few draws find a target that is there."""
        usable = np.ones(len(self), dtype=bool)
        if self.draws_targets and len(self):
            usable[self._draws(np.arange(len(self)), np.random.Generator(np.random.PCG64(0)), _TRIES)[1]] = False
        return usable

    def only(self, rows: np.ndarray) -> "Triplets":
        """Some of the rows, over the same images.

        Args:
            rows: (rows,) int64 indices.
        """
        return replace(
            self,
            references=self.references[rows],
            targets=self.targets[rows],
            feedback=[self.feedback[row] for row in rows.tolist()],
            kinds=[self.kinds[row] for row in rows.tolist()] if self.kinds else (),
            groups={name: [parts[row] for row in rows.tolist()] for name, parts in self.groups.items()},
            further_targets=None if self.further_targets is None else self.further_targets[rows],
            subsets=None if self.subsets is None else self.subsets[rows],
        )


def pad(lists: Sequence[Sequence[int]]) -> np.ndarray:
    """Lists of indices as one array, as `Triplets` holds further targets and subsets.

    >>> pad([[4, 2], [], [7]]).tolist()
    [[4, 2], [-1, -1], [7, -1]]

    Returns:
        (rows, longest) int64, −1 after each list's end.
    """
    table = np.full((len(lists), max(map(len, lists), default=0)), UNKNOWN_TARGET, dtype=np.int64)
    for row, some in enumerate(lists):
        table[row, : len(some)] = some
    return table


def encode_aspect(values: Sequence[str | None]) -> np.ndarray:
    """An aspect of `Triplets` from its values: each one's place among those there are, −1 where nothing is said.

    >>> encode_aspect(["red", None, "blue", "red", ""]).tolist()
    [1, -1, 0, 1, -1]
    """
    known = {value: code for code, value in enumerate(sorted({value for value in values if value}))}
    return np.array([known[value] if value else -1 for value in values], dtype=np.int64)


@dataclass(frozen=True)
class Task:
    """Some queries that are ranked against one gallery."""

    name: str
    """What the task is called in a report, e.g. the category; empty where a protocol has only one."""
    rows: np.ndarray
    """(queries,) int64: rows of the triplets."""
    gallery: np.ndarray
    """(ranked,) int64: indices of the images that are ranked; distinct."""
    removed: np.ndarray | None = None
    """(queries,) int64: the image that is taken from each query's gallery as its reference, where that is another
    image of the same thing; None: the reference itself."""
    candidates: np.ndarray | None = None
    """(queries, size) int64: the few images of the gallery that alone are ranked for each query, its target among them,
    −1 where there are no more; only the target counts. None: the whole gallery."""

    @property
    def ranked(self) -> int:
        """How many images are ranked for a query, at most."""
        return len(self.gallery) if self.candidates is None else self.candidates.shape[1]

    def gallery_of(self, query: int) -> np.ndarray:
        """(ranked,) int64: the images that are ranked for one query, by its number in the task."""
        own = self.gallery if self.candidates is None else self.candidates[query]
        return own[own >= 0]

    def references(self, triplets: "Triplets") -> np.ndarray:
        """(queries,) int64: the images that count as references when these are removed."""
        return triplets.references[self.rows] if self.removed is None else self.removed

    @classmethod
    def of_all(cls, triplets: "Triplets") -> "Task":
        """Every row, ranked against every image that may be used."""
        usable = np.arange(len(triplets.labels)) if triplets.present is None else np.flatnonzero(triplets.present)
        return cls("", np.arange(len(triplets)), usable)


@dataclass(frozen=True)
class Protocol:
    """Everything that decides a number: which queries, which gallery, what is excluded, what counts."""

    name: str
    """E.g. `fashioniq/original`."""
    about: str
    """The same in words, printed beside the numbers."""
    tasks: tuple[Task, ...]
    ks: tuple[int, ...] = (1, 5, 10, 50)
    """Recall is reported at these ranks."""
    without_reference: bool = True
    """Whether a query's reference is removed from its gallery."""
    wanted: Mapping[str, int] = field(default_factory=dict)
    """Task → the queries it has where all images are present; filled in where some are missing."""
    metrics: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """What is reported besides recall, of `METRICS`, and at which ranks: `{"map": (5, 10)}`."""

    def __post_init__(self) -> None:
        for ks in (self.ks, *self.metrics.values()):
            if not self.tasks or not ks or min(ks) < 1:
                raise DataError(f"the protocol {self.name!r} needs at least one task, and ks of 1 and more, not {ks}")
        for name in self.metrics:
            if name not in METRICS:
                raise UnknownNameError("metric", name, METRICS)


@dataclass(frozen=True)
class Track:
    """What the owners of a data set want answered of a split whose targets they keep: one of their lists."""

    tasks: tuple[Task, ...]
    """Together they ask every row once."""
    k: int
    """How many images, best first, answer each query."""
    without_reference: bool = True
    """Whether a query's reference is removed from its gallery."""


def by_label(triplets: Triplets, *, name: str = "by label", ks: tuple[int, ...] = (1, 5, 10, 50)) -> Protocol:
    """All images are ranked and any of the target's label counts, as in Vo et al. 2019."""
    return Protocol(
        name,
        "gallery = all images of the split; any image with the target's label counts; the reference is removed; "
        "ties do not lower a rank",
        (Task.of_all(triplets),),
        ks,
    )


@dataclass(frozen=True)
class Split:
    """One split of a data set, complete as annotated, whether or not its images are there."""

    triplets: Triplets
    """All rows. In an evaluation split the rows of every way to ask (caption orders, single captions) stand here, and
    protocols choose among them."""
    protocols: Mapping[str, Protocol] = field(default_factory=dict)
    """By name, the one to use where none is named first; empty for training."""

    @classmethod
    def of(cls, triplets: Triplets, *protocols: Protocol) -> "Split":
        """A split with some protocols, the one to use where none is named first."""
        return cls(triplets, {protocol.name: protocol for protocol in protocols})

    @property
    def without_targets(self) -> bool:
        """Whether the target of no row was published."""
        return len(self.triplets) > 0 and bool((self.triplets.targets == UNKNOWN_TARGET).all())

    def protocol(self, name: str | None = None) -> Protocol:
        """A protocol by name; None: the first.

        With `/reference-kept` after its name, a query's reference stays in its gallery.

        Raises:
            DataError: the split has none: it is for training, or its targets were never published.
            UnknownNameError: none of that name.
        """
        if not self.protocols and self.without_targets:
            raise DataError(
                f"{self.triplets.name} cannot be evaluated: its targets were never published; measure another split, "
                "or let the data set's owners do it: itma submit writes the answers in their form"
            )
        if not self.protocols:
            raise DataError(f"{self.triplets.name} cannot be evaluated: it is for training")
        plain = next(iter(self.protocols)) if name is None else str(name).removesuffix(_WITH_REFERENCE)
        if plain not in self.protocols:
            raise UnknownNameError("protocol", name, self.protocols)
        protocol = self.protocols[plain]
        if name is None or not name.endswith(_WITH_REFERENCE):
            return protocol
        about = f"{protocol.about}; but the reference is not removed"
        return replace(protocol, name=name, about=about, without_reference=False)


_WITH_REFERENCE = "/reference-kept"


@dataclass(frozen=True)
class Coverage:
    """How much of a split's annotation can be used with the images that are there."""

    images: int
    missing: tuple[str, ...]
    """Names of the images that are not there."""
    rows: int
    usable: int
    """Rows whose reference and target are both there."""

    @property
    def share(self) -> float:
        """Of the rows, from 0 to 1."""
        return self.usable / self.rows if self.rows else 0.0

    def __str__(self) -> str:
        names = ", ".join(self.missing[:3]) + (" …" if len(self.missing) > 3 else "")
        missing = f"; missing: {names}" if self.missing else ""
        return (
            f"{self.images - len(self.missing):,} of {self.images:,} images are there, {self.usable:,} of "
            f"{self.rows:,} rows can be used{missing}"
        )


def cover(split: Split, missing: np.ndarray) -> tuple[Split, Coverage]:
    """A split without the rows and gallery images that cannot be used, and how much that leaves.

    Args:
        split: as annotated.
        missing: (images,) bool, true where an image is not there.
    """
    triplets = split.triplets
    names = tuple(triplets.images.names[index] for index in np.flatnonzero(missing).tolist())
    if not names:
        return split, Coverage(len(missing), names, len(triplets), len(triplets))
    triplets = replace(triplets, present=~missing)
    usable = ~missing[triplets.references]
    if triplets.draws_targets:
        usable[usable] = triplets.only(np.flatnonzero(usable)).askable()
    elif not split.protocols:
        usable &= (triplets.targets == UNKNOWN_TARGET) | ~missing[triplets.targets]
    tasks = {name: [_cover(task, triplets, usable) for task in each.tasks] for name, each in split.protocols.items()}
    if tasks:
        rows = np.concatenate([task.rows for some in tasks.values() for task in some])
        usable = np.isin(np.arange(len(triplets)), rows)
    coverage = Coverage(len(missing), names, len(triplets), int(usable.sum()))
    number = np.cumsum(usable) - 1  # of each row that stays
    remaining = triplets.only(np.flatnonzero(usable))
    protocols = {
        name: replace(
            protocol,
            tasks=tuple(replace(task, rows=number[task.rows]) for task in tasks[name]),
            wanted={task.name: protocol.wanted.get(task.name, len(task.rows)) for task in protocol.tasks},
        )
        for name, protocol in split.protocols.items()
    }
    return Split(remaining, protocols), coverage


def hold_out(triplets: Triplets, share: float, *, seed: int) -> tuple[Triplets, Triplets | None]:
    """Split off some references with all their rows, to choose checkpoints by.

    Args:
        triplets: the training set.
        share: of the references, from 0 (none) to below 1; at least one is taken where it is above 0.
        seed: decides which.

    Returns:
        What remains to learn from, and what was held out (None where `share` is 0), whose gallery holds only the
        images that its own rows speak of.

    Raises:
        DataError: nothing would remain to learn from.
    """
    if share == 0:
        return triplets, None
    references = np.unique(triplets.references)
    random = np.random.Generator(np.random.PCG64(seed))
    count = max(1, min(round(share * len(references)), len(references) - 1))
    held_out = np.isin(triplets.references, random.permutation(references)[:count])
    if held_out.all():
        raise DataError(
            f"{triplets.name} has {len(references)} reference; holding it out leaves none to learn from: add images, "
            "or hold out none (train.hold_out=0)"
        )
    rest = triplets.only(np.flatnonzero(~held_out))
    rows = np.flatnonzero(held_out)
    if triplets.present is not None:  # where targets are drawn, the table's own may be missing
        rows = rows[triplets.present[triplets.targets[rows]]]
    if not len(rows):
        return rest, None
    part = triplets.only(rows)
    images = np.unique(np.concatenate([part.references, part.targets]))
    references, targets = (np.searchsorted(images, end) for end in (part.references, part.targets))
    name, some = f"{triplets.name} (held out)", SomeImages(triplets.images, images)
    return rest, Triplets(name, some, triplets.labels[images], references, targets, part.feedback, part.kinds)


class SomeImages:
    """Part of a collection of images, numbered anew."""

    def __init__(self, images: Images, chosen: np.ndarray) -> None:
        self._images, self._chosen = images, chosen
        self.names: Sequence[str] = [images.names[index] for index in chosen]

    def load(self, indices: Sequence[int] | np.ndarray, preprocess: Preprocess) -> torch.Tensor:
        """See `Images.load`."""
        return self._images.load(self._chosen[np.asarray(indices)], preprocess)

    def missing(self) -> np.ndarray:
        """See `Images.missing`."""
        return np.asarray(self._images.missing()[self._chosen])


def _cover(task: Task, triplets: Triplets, usable: np.ndarray) -> Task:
    """A task without the images that are not there, and without the queries that then have no target.

    Any image of the target's label will do.
    """
    assert triplets.present is not None
    gallery = task.gallery[triplets.present[task.gallery]]
    labels, references = triplets.labels, task.references(triplets)
    target_labels = labels[triplets.targets[task.rows]]
    there = np.bincount(labels[gallery], minlength=int(labels.max()) + 1)[target_labels]
    there -= np.isin(references, gallery) & (labels[references] == target_labels)
    answerable = usable[task.rows] & (there > 0)
    if task.candidates is not None:  # with fewer of them a query would be easier
        answerable &= (triplets.present[task.candidates] | (task.candidates < 0)).all(1)
    removed, candidates = (None if some is None else some[answerable] for some in (task.removed, task.candidates))
    return Task(task.name, task.rows[answerable], gallery, removed, candidates)
