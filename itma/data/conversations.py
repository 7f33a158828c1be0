"""Conversations as data: what was said about which image, turn by turn, until the target is found.

Wherever one text stands for a whole conversation, as in a search with earlier sentences and in a row of `Triplets`,
its sentences are joined by `itma.data.tokenizer.EARLIER`; this module alone joins and parts them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from itma.data.tokenizer import EARLIER
from itma.errors import ConfigError, DataError

Image = TypeVar("Image", int, str)
"""The number or the name of an image."""
MIN_TURNS = 2
"""A session of one turn is a query, not a conversation."""


@dataclass(frozen=True)
class Turn(Generic[Image]):
    """One turn: an image is shown, and somebody says how the target differs."""

    reference: Image
    feedback: str
    """Of this turn alone."""


@dataclass(frozen=True)
class Conversation(Generic[Image]):
    """A session of turns with one target.

    >>> talk = Conversation((Turn(3, "in red"), Turn(5, "longer")), target=8)
    >>> list(talk.rows())
    [(3, 'in red', 8), (5, 'in red then longer', 8)]

    Raises:
        DataError: there is no turn, or one shows the target itself.
    """

    turns: tuple[Turn[Image], ...]
    target: Image

    def __post_init__(self) -> None:
        if not self.turns:
            raise DataError("a conversation has no turn; expected at least one")
        for number, turn in enumerate(self.turns, start=1):
            if turn.reference == self.target:
                raise DataError(f"turn {number}: its image is the target itself, {turn.reference!r}; expected two")

    def rows(self) -> Iterator[tuple[Image, str, Image]]:
        """(reference, all that was said up to now, target) of each turn, so that a loss is taken at each."""
        for count, turn in enumerate(self.turns, start=1):
            yield turn.reference, join_turns(one.feedback for one in self.turns[:count]), self.target


def join_turns(sentences: Iterable[str]) -> str:
    """The sentences of a conversation, first to last, as one text."""
    return EARLIER.join(sentences)


def split_turns(text: str) -> list[str]:
    """The sentences of a conversation from one text.

    >>> split_turns("in red then longer")
    ['in red', 'longer']
    """
    return text.split(EARLIER)


def check_turns(turns: int, name: str = "turns") -> None:
    """Refuse a number of turns that a conversation cannot have.

    Raises:
        ConfigError: it is below 2.
    """
    if turns < MIN_TURNS:
        raise ConfigError(
            f"{name}={turns}: a conversation has at least {MIN_TURNS} turns; a session of one turn is a query, which "
            "itma evaluate measures"
        )
