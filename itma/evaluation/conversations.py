"""How a model does over several turns: conversations with a simulated user, and what they come to, turn by turn."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from itma.data.conversations import check_turns, join_turns
from itma.data.synthetic.generated import Dice
from itma.data.synthetic.user import User, Wish
from itma.data.triplets import Triplets
from itma.errors import ConfigError, DataError
from itma.evaluation.evaluate import embed_gallery
from itma.evaluation.ranking import bootstrap_interval
from itma.evaluation.tables import Table
from itma.models.embedder import Embedder
from itma.progress import bar
from itma.records import Interval

FORMAT = 1
_SHOWN = 5
"""Hits that are kept of each turn."""


@dataclass(frozen=True)
class PlayedTurn:
    """One turn and what came of it; images are numbers of the split."""

    reference: int
    wish: Wish
    hits: tuple[int, ...]
    """Best first, without the images that were shown before."""
    rank: int
    """Of the target's best image among those that were not shown yet."""
    granted: bool
    """Whether the best hit has what was wished."""


@dataclass(frozen=True)
class PlayedConversation:
    """A conversation from its first image to the target, or to its last turn."""

    target: int
    turns: tuple[PlayedTurn, ...]

    @property
    def succeeded(self) -> bool:
        """Whether the target was the best hit in the end."""
        return self.turns[-1].rank == 1

    def rank(self, turn: int) -> int:
        """The target's rank at a turn, from 1; 1 after it was found."""
        return self.turns[min(turn, len(self.turns)) - 1].rank if self.succeeded else self.turns[turn - 1].rank


def play(
    model: Embedder,
    triplets: Triplets,
    user: User[object],
    *,
    count: int = 200,
    turns: int = 4,
    seed: int = 0,
    forgetful: bool = False,
    batch: int = 64,
    progress: bool = False,
) -> list[PlayedConversation]:
    """Let a simulated user talk to a model.

    The user looks at an image and says one thing that is still wrong. The model is told all that was said, and its best
    hit becomes the next reference; images that were shown are left out of later answers. A conversation ends when the
    target, or an image of its label, is the best hit (ties do not lower a rank), or after the last turn. All
    conversations go on side by side.

    Args:
        model: who answers.
        triplets: the split, of whose images those of the user's gallery are searched, as far as they are there.
        user: who knows what is true of them.
        count: conversations.
        turns: of each, at most.
        seed: decides where they start, where they lead, and what is said first.
        forgetful: tell the model the last sentence alone.
        batch: images or queries that are embedded at a time.
        progress: show progress bars.

    Raises:
        ConfigError: there is no conversation, or of one turn only.
        DataError: the split is too small for conversations, or its images are others than the user knows.
    """
    if count < 1 or batch < 1:
        raise ConfigError(f"count={count} conversations and batch={batch} must be at least 1")
    check_turns(turns)
    if not np.array_equal(user.labels, triplets.labels):
        raise DataError(
            f"the images of {triplets.name} are others than the user knows: was the world written by another version? "
            "Write it again: itma generate"
        )
    pairs = user.pairs(count, seed, triplets.present)
    dice = [Dice(f"conversations/{seed}/{number}") for number in range(count)]
    ranked = user.gallery if triplets.present is None else user.gallery[triplets.present[user.gallery]]
    embedded = embed_gallery(model, triplets, ranked, batch, progress).cpu()
    labels = torch.from_numpy(triplets.labels)
    images = [[start] for start, _ in pairs]
    sentences: list[list[str]] = [[] for _ in pairs]
    conversations: list[list[PlayedTurn]] = [[] for _ in pairs]
    active = list(range(count))
    with bar("talking", show=progress, total=count * turns, unit="turns") as meter:
        for _ in range(turns):
            wishes = {one: user.wishes(images[one][-1], pairs[one][1], dice[one])[0] for one in active}
            for one in active:
                sentences[one] = [*([] if forgetful else sentences[one]), wishes[one].sentence]
            for first in range(0, len(active), batch):
                part = active[first : first + batch]
                pixels = triplets.images.load([images[one][-1] for one in part], model.preprocess)
                queries = model.embed_queries(pixels, [join_turns(sentences[one]) for one in part]).cpu()
                for one, own in zip(part, queries @ embedded.T, strict=True):
                    target, scores = pairs[one][1], torch.full(labels.shape, -torch.inf)
                    scores[ranked] = own
                    hits, rank = _answer(scores, labels == labels[target], images[one])
                    granted = user.grants(wishes[one], hits[0], target)
                    conversations[one].append(PlayedTurn(images[one][-1], wishes[one], hits, rank, granted))
                    images[one].append(hits[0])
                meter.update(len(part))
            active = [one for one in active if conversations[one][-1].rank > 1]
    return [PlayedConversation(target, tuple(own)) for (_, target), own in zip(pairs, conversations, strict=True)]


def _answer(scores: torch.Tensor, right: torch.Tensor, images: Sequence[int]) -> tuple[tuple[int, ...], int]:
    """The first hits, and the target's rank; of hits that score alike, the target stands first."""
    scores[list(images)] = -torch.inf
    rank = 1 + int((scores[~right] > scores[right].max()).sum())
    order = torch.argsort(right.to(torch.int8), descending=True, stable=True)
    best = order[scores[order].sort(descending=True, stable=True).indices[:_SHOWN]]
    return tuple(best.tolist()), rank


@dataclass(frozen=True)
class Estimate:
    """The mean of some values, with the 95 % bootstrap interval over conversations, or over wishes."""

    mean: float
    interval: Interval

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate":
        """Of at least one value."""
        some = np.array(values, dtype=np.float64)
        return cls(float(some.mean()), bootstrap_interval(some))

    def percent(self) -> str:
        """As percent.

        >>> Estimate(0.5, Interval(0.25, 0.75)).percent()
        '50.0 % (25.0 to 75.0)'
        """
        return f"{100 * self.mean:.1f} % ({100 * self.interval.low:.1f} to {100 * self.interval.high:.1f})"

    def number(self) -> str:
        """As a number.

        >>> Estimate(3.25, Interval(2, 4)).number()
        '3.2 (2.0 to 4.0)'
        """
        return f"{self.mean:.1f} ({self.interval.low:.1f} to {self.interval.high:.1f})"


@dataclass(frozen=True)
class AtTurn:
    """Where the conversations stand after a turn."""

    turn: int
    """From 1."""
    success: Estimate
    """Share in which the target was the best hit by then."""
    rank: Estimate
    """Of the target; 1 where it was found before."""


@dataclass(frozen=True)
class OfKind:
    """What became of the wishes of one kind."""

    kind: str
    wishes: int
    granted: Estimate
    """Share of the wishes that the best hit fulfils."""
    rank: Estimate
    """Of the target after such a wish."""


@dataclass(frozen=True)
class ConversationStudy:
    """What conversations with a simulated user came to; `str()` shows it as text."""

    model: str
    data: str
    conversations: int
    gallery: int
    """Images that are searched."""
    seed: int
    forgetful: bool
    """Whether the model was given the last sentence alone."""
    turns: tuple[AtTurn, ...]
    kinds: tuple[OfKind, ...]

    @classmethod
    def of(cls, played: Sequence[PlayedConversation], turns: int, **about: str | int | bool) -> "ConversationStudy":
        """The study of some conversations of up to `turns` turns; `about`: the other fields."""
        by_turn = []
        for turn in range(1, turns + 1):
            ranks = [one.rank(turn) for one in played]
            by_turn.append(AtTurn(turn, Estimate.of([rank == 1 for rank in ranks]), Estimate.of(ranks)))
        every = [turn for one in played for turn in one.turns]
        by_kind = []
        for kind in sorted({turn.wish.kind for turn in every}):
            own = [turn for turn in every if turn.wish.kind == kind]
            granted, ranks = Estimate.of([turn.granted for turn in own]), [turn.rank for turn in own]
            by_kind.append(OfKind(kind, len(own), granted, Estimate.of(ranks)))
        return cls(conversations=len(played), turns=tuple(by_turn), kinds=tuple(by_kind), **about)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return "\n\n".join([self.head, *(str(table) for table in self.tables())])

    @property
    def head(self) -> str:
        """What was done, in a sentence or two."""
        reads = "the last sentence alone" if self.forgetful else "all that was said"
        return (
            f"{self.model}: {self.conversations:,} conversations with a simulated user on {self.data}, "
            f"{self.gallery:,} images, seed {self.seed}. The model reads {reads}; its best hit is the next reference, "
            "and what was shown is left out."
        )

    def tables(self) -> list[Table]:
        """Success and rank by turn, then wishes by kind."""
        turns = [(str(each.turn), each.success.percent(), each.rank.number()) for each in self.turns]
        kinds = [(each.kind, f"{each.wishes:,}", each.granted.percent(), each.rank.number()) for each in self.kinds]
        return [
            Table(("turn", "success by then", "mean rank"), turns),
            Table(("kind of wish", "wishes", "granted by the best hit", "mean rank after it"), kinds),
        ]

    def markdown(self) -> str:
        """As Markdown."""
        note = "In brackets: 95 % bootstrap intervals over conversations, or over wishes."
        return "\n\n".join(["# Conversations", self.head, *(one.markdown() for one in self.tables()), note]) + "\n"

    def to_json(self) -> str:
        """All of it, for programs."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=2, ensure_ascii=False) + "\n"
