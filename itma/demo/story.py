"""What the demo has to show: values that know nothing of the page that shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from itma.errors import DataError
from itma.records import Report


@dataclass(frozen=True, eq=False)
class ModelResult:
    """One trained model and what it reached."""

    name: str
    """The composer's name, as typed after `--model`."""
    title: str
    """What the page calls it."""
    report: Report
    curve: Sequence[Mapping[str, float]]
    """The lines of the run's `metrics.jsonl`; a line may lack any key."""
    parameters: int
    """How many numbers were learned."""
    seconds: float
    """How long the training took."""


@dataclass(frozen=True, eq=False)
class ImageHit:
    """One hit."""

    pixels: torch.Tensor
    """uint8 (3, height, width), RGB."""
    score: float
    right: bool

    def __post_init__(self) -> None:
        _check(self.pixels, "a hit")


@dataclass(frozen=True, eq=False)
class Example:
    """One query of an evaluation, with what was found and what was wanted."""

    reference: torch.Tensor
    """uint8 (3, height, width), RGB."""
    feedback: str
    kind: str
    """Kind of feedback; empty where the data names none."""
    hits: Sequence[ImageHit]
    """The first hits, best first."""
    rank: int
    """Rank of the best target, from 1."""
    target: torch.Tensor
    """uint8 (3, height, width), RGB: a right image."""

    def __post_init__(self) -> None:
        _check(self.reference, "a reference")
        _check(self.target, "a target")


@dataclass(frozen=True, eq=False)
class Question:
    """One question asked of the catalogue; the reference or the feedback may be absent."""

    title: str
    reference: torch.Tensor | None
    """uint8 (3, height, width), RGB."""
    feedback: str | None
    hits: Sequence[ImageHit]

    def __post_init__(self) -> None:
        if self.reference is not None:
            _check(self.reference, "a reference")


@dataclass(frozen=True, eq=False)
class DemoStory:
    """Everything that the page shows."""

    models: Sequence[ModelResult]
    """In the order of the page; the first is the one whose answers are shown."""
    successes: Sequence[Example]
    failures: Sequence[Example]
    questions: Sequence[Question]
    world: str
    """A sentence about the data."""
    commands: Sequence[tuple[str, str]]
    """(what to type next, why)."""
    made_with: str
    """Version, seed, machine, seconds."""

    def __post_init__(self) -> None:
        if not self.models:
            raise DataError("the demo's page needs at least one model's result; the story holds none")


def _check(pixels: torch.Tensor, what: str) -> None:
    if pixels.dtype != torch.uint8 or pixels.dim() != 3 or pixels.shape[0] != 3 or not pixels.numel():
        raise DataError(
            f"{what} of the demo's page must be a uint8 tensor of shape (3, height, width); this one is "
            f"{pixels.dtype} of shape {tuple(pixels.shape)}"
        )
