"""The values that go from one part to the next: frozen, and checked when they are made."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, SupportsIndex, overload

from itma import display

Fill = Literal["mean", "blur"]
"""What an explanation covers a region with: the mean colour of the image, or the image itself, blurred."""
STEPS = 32
"""Points of the path that an explanation's gradients are summed along."""


@dataclass(frozen=True)
class Triplet:
    """One example to learn from or to be measured on: a reference, a feedback and a target.

    >>> Triplet("a.png", "make red cube blue", "b.png").target
    'b.png'
    """

    reference: str
    feedback: str
    target: str


@dataclass(frozen=True)
class Hit:
    """One answer of a search."""

    rank: int
    """1 for the best."""
    id: str
    """The image's id in its catalogue."""
    score: float
    """Cosine of the query's and the image's embeddings, from −1 to 1; larger is nearer."""
    path: str
    """Where the image's file was when it was indexed; empty where there is none."""
    fields: Mapping[str, object] = field(default_factory=dict)
    """The metadata that was asked for."""

    def __str__(self) -> str:
        fields = "".join(f"  {name}={value}" for name, value in self.fields.items())
        return f"{self.rank:4d}  {self.score:+.4f}  {self.id}{fields}"

    def _repr_html_(self) -> str:
        return Hits([self])._repr_html_()


class Hits(list[Hit]):
    """The answers of a search, best first, with what is to be known of them: a list that notebooks show as images."""

    def __init__(self, hits: Iterable[Hit] = (), notes: Sequence[str] = ()) -> None:
        super().__init__(hits)
        self.notes = tuple(notes)
        """Sentences for the person who asked: what was left out as the reference itself, why nothing was found."""

    @overload
    def __getitem__(self, index: SupportsIndex) -> Hit: ...

    @overload
    def __getitem__(self, index: slice) -> "Hits": ...

    def __getitem__(self, index: SupportsIndex | slice) -> "Hit | Hits":
        return Hits(super().__getitem__(index), self.notes) if isinstance(index, slice) else super().__getitem__(index)

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    def _repr_html_(self) -> str:
        return display.cards([(hit.path, f"{hit.rank}  {hit.score:+.3f}", hit.id, hit.fields) for hit in self])

    def to_pandas(self) -> Any:
        """A row for each hit: rank, id, score, path, and the metadata that was asked for.

        Raises:
            MissingPackageError: pandas is not installed.
        """
        plain = [{"rank": hit.rank, "id": hit.id, "score": hit.score, "path": hit.path, **hit.fields} for hit in self]
        return display.frame(plain)


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Part:
    """What an evaluation found on one task of a protocol, e.g. one category."""

    name: str
    queries: int
    wanted: int
    """Queries that the task has where all images are present."""
    gallery: int
    recall: Mapping[int, float]
    interval: Mapping[int, Interval]
    median_rank: float
    metrics: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    """As `Report.metrics`."""


@dataclass(frozen=True)
class Report:
    """What an evaluation found, with the protocol that decides the numbers.

    Recalls, the mean reciprocal rank and their intervals are fractions from 0 to 1; `str(report)` shows percent.
    """

    model: str
    """The composer's name and, where known, the run folder."""
    protocol: str
    """Everything that decides the numbers, in words."""
    queries: int
    gallery: int
    recall: Mapping[int, float]
    """k → the share of queries with a target among the first k."""
    interval: Mapping[int, Interval]
    """k → 95 % bootstrap interval of that recall, over queries."""
    median_rank: float
    mean_reciprocal_rank: float
    tied_queries: int
    """Queries whose best target shares its score with an image that is not a target."""
    recall_by_kind: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    """Kind of feedback (`add`, `make colour` …) → k → recall; empty where the data names no kinds."""
    queries_by_kind: Mapping[str, int] = field(default_factory=dict)
    recall_by_group: Mapping[str, Mapping[str, Mapping[int, float]]] = field(default_factory=dict)
    """What divides the queries (`things in the reference`) → part → k → recall."""
    queries_by_group: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    """The protocol's tasks where there are several; `recall` and `interval` are then those of the mean over tasks."""
    wanted: int | None = None
    """Queries that the protocol has where all images are present; None: as many as were asked."""
    recall_by_aspect: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    """Aspect of the label (`adjective`, `noun`) → k → recall where that alone has to be right."""
    weights: str | None = None
    """sha256 of the weights file that was measured, so that a number is never told of another model; None: what was
    measured came from elsewhere."""
    chosen: str = ""
    """How the checkpoint was chosen among those of its run; empty where that is not known."""
    metrics: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    """What the protocol asks for besides recall (`recall_subset`, `map`) → k → its mean over the queries."""
    metric_intervals: Mapping[str, Mapping[int, Interval]] = field(default_factory=dict)
    """Metric → k → 95 % bootstrap interval."""
    metrics_by_group: Mapping[str, Mapping[str, Mapping[str, Mapping[int, float]]]] = field(default_factory=dict)
    """What divides the queries → part → metric → k → its mean."""

    def _repr_html_(self) -> str:
        return display.report(str(self).splitlines()[:2], self._rows(), str(self))

    def to_pandas(self) -> Any:
        """A row for each k: recall and its interval; of the mean, and of each part of the protocol.

        Raises:
            MissingPackageError: pandas is not installed.
        """
        return display.frame(self._rows())

    def _rows(self) -> list[dict[str, Any]]:
        tables = [("mean" if self.parts else "all", self.recall, self.interval)]
        tables += [(part.name, part.recall, part.interval) for part in self.parts]
        unknown = {"low": None, "high": None}
        return [
            {"part": name, "k": k, "recall": share, **(vars(interval[k]) if k in interval else unknown)}
            for name, recall, interval in tables
            for k, share in recall.items()
        ]

    def __str__(self) -> str:
        lines = [
            f"{self.model}: {count_queries(self)} queries against {self.gallery:,} images",
            f"protocol: {self.protocol}",
        ]
        if self.chosen:
            lines.append(f"checkpoint: {self.chosen}")
        lines += _shares("  mean " if self.parts else "  ", self, self.metric_intervals)
        lines.append(f"  median rank {self.median_rank:g}, mean reciprocal rank {self.mean_reciprocal_rank:.3f}")
        lines.append(f"  ties: {self.tied_queries} of {self.queries:,} queries")
        for part in self.parts:
            lines.append(f"  {part.name}: {count_queries(part)} queries against {part.gallery:,} images")
            lines += _shares("    ", part, {})
        for aspect, recall in self.recall_by_aspect.items():
            lines.append(f"  right {aspect}: recall {_at(recall)}")
        for kind, recall in self.recall_by_kind.items():
            first = min(recall)
            lines.append(f"  {kind:<12s} recall@{first} {recall[first]:.1%} of {self.queries_by_kind[kind]:,}")
        for name, divided in self.recall_by_group.items():
            first = min(self.recall)
            lines.append(f"  recall@{first} by {name}:")
            for value, recall in divided.items():
                further = self.metrics_by_group.get(name, {}).get(value, {})
                metrics = "".join(f"  {metric} {_at(values)}" for metric, values in further.items())
                lines.append(f"    {value:<10s} {recall[first]:.1%} of {self.queries_by_group[name][value]:,}{metrics}")
        return "\n".join(lines)


def count_queries(results: Report | Part) -> str:
    """How many queries were asked; of how many, where images were missing."""
    count = f"{results.queries:,}"
    return count if results.wanted in (None, results.queries) else f"{count} of {results.wanted:,}"


def _shares(head: str, results: Report | Part, intervals: Mapping[str, Mapping[int, Interval]]) -> list[str]:
    """A line for each recall, and for each of the metrics, whose intervals are given."""
    tables = [("recall", results.recall, results.interval)]
    tables += [(metric, values, intervals.get(metric, {})) for metric, values in results.metrics.items()]
    return [
        f"{head}{f'{metric}@{k}':<10s} {share:7.1%}{_between(by_k.get(k))}"
        for metric, values, by_k in tables
        for k, share in values.items()
    ]


def _at(values: Mapping[int, float]) -> str:
    return "  ".join(f"@{k} {share:.1%}" for k, share in values.items())


def _between(interval: Interval | None) -> str:
    return "" if interval is None else f"   (95 % interval {interval.low:.1%} to {interval.high:.1%})"
