"""What is explained: one query, and the image that it is compared with.

Pixels are uint8 (3, height, width) as the model sees them; n stands for variants of the query.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from itma.data.tokenizer import Tokenizer
from itma.errors import ExplanationError
from itma.models.retriever import Retriever

AT_ONCE = 32
"""Images that go through the model together."""

RankOf = Callable[[np.ndarray, np.ndarray], np.ndarray | None]
"""(n, dim) queries and (n,) scores of the target → (n,) the target's ranks; nothing where they are not counted."""


@dataclass(frozen=True)
class Word:
    """A word of the feedback as it was written."""

    text: str
    begin: int
    """Its first character's place in the sentence."""
    end: int
    """One past its last character."""
    tokens: tuple[int, ...]
    """Which of the model's tokens it became; none where the model does not read it."""


@dataclass(frozen=True, eq=False)
class Case:
    """One query, the image it is compared with, and what counts that image's rank.

    Raises:
        ExplanationError: there is neither a reference nor a feedback.
    """

    model: Retriever
    target: torch.Tensor
    """(dim,) float32 of length 1: the embedding of the image that is asked about."""
    reference: torch.Tensor | None = None
    text: str | None = None
    """The feedback; None where it has no word that the model reads."""
    target_pixels: torch.Tensor | None = None
    """None where the image is not there any more."""
    rank_of: RankOf | None = None
    items: int | None = None
    """How many images a rank is counted among."""
    reference_name: str = ""
    target_name: str = ""

    def __post_init__(self) -> None:
        if self.reference is None and self.text is None:
            raise ExplanationError("a query needs a reference image, a feedback sentence, or both; both are absent")

    def words(self) -> tuple[Word, ...]:
        """The words of the feedback, in their order; see `words_of`."""
        return () if self.text is None else words_of(self.model.tokenizer, self.text)

    def check_one_turn(self, what: str) -> None:
        """Refuse a conversation whose turns the model reads one by one.

        Args:
            what: is looked at, for the message.

        Raises:
            ExplanationError: there are several turns.
        """
        if self.text is not None and self.model.by_turn and len(self.model.turns([self.text])[0]) > 1:
            raise ExplanationError(
                f"the model {self.model.name!r} reads a conversation turn by turn, and {what} that of one sentence; "
                "leave out what was said earlier, or ask for words or regions"
            )

    def embed(self, references: torch.Tensor | None, texts: Sequence[str] | None) -> torch.Tensor:
        """(n, dim) on the CPU: variants of the query, with n references, n sentences, or both."""
        count = len(references if references is not None else texts or ())
        parts = []
        for first in range(0, count, AT_ONCE):
            images = None if references is None else references[first : first + AT_ONCE]
            sentences = None if texts is None else texts[first : first + AT_ONCE]
            parts.append(self.model.embed_queries(images, sentences).cpu())
        return torch.cat(parts)

    @cached_property
    def query(self) -> torch.Tensor:
        """(1, dim) on the CPU: the query itself."""
        return self.embed_said(None if self.text is None else [self.text])

    @cached_property
    def maps(self) -> list[torch.Tensor] | None:
        """The reference's feature maps, each (1, …); None where there is no reference."""
        return None if self.reference is None else self.model.feature_maps(self.reference[None])

    def embed_said(self, texts: Sequence[str] | None) -> torch.Tensor:
        """(n, dim) on the CPU: the reference with each of n sentences, or once alone."""
        count = 1 if texts is None else len(texts)
        maps = None if self.maps is None else [level.expand(count, -1, -1, -1) for level in self.maps]
        return self.model.embed_queries_from(maps, texts).cpu()

    def scores(self, queries: torch.Tensor) -> np.ndarray:
        """(n, dim) → (n,) float32: the target's scores."""
        scores: np.ndarray = (queries @ self.target).numpy()
        return scores

    def ranks(self, queries: torch.Tensor, scores: np.ndarray) -> np.ndarray | None:
        """(n,) int64: the target's ranks, where they are counted."""
        return None if self.rank_of is None else self.rank_of(queries.numpy(), scores)


def words_of(tokenizer: Tokenizer, text: str) -> tuple[Word, ...]:
    """The words of a sentence, in their order.

    A word is what stands between blanks; a tokenizer may make several tokens of it, or none.
    """
    pieces, words = tokenizer.pieces(text), []
    for match in re.finditer(r"\S+", text):
        begin, end = match.span()
        tokens = tuple(index for index, piece in enumerate(pieces) if piece.begin < end and begin < piece.end)
        words.append(Word(match.group(), begin, end, tokens))
    return tuple(words)
