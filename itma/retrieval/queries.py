"""Many requests at once → the embeddings that are searched for: the model works on all of them together.

What is asked beyond a reference and a feedback is arithmetic on embeddings, and so works with every model: `unlike` is
the negative example of relevance feedback (Rocchio 1971), `emphasis` lies between the composed query and one of its
halves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from itma.errors import DataError
from itma.models.embedder import Embedder
from itma.models.feedback import readable
from itma.retrieval.ingest.rows import unit
from itma.retrieval.request import SearchRequest

UNLIKE = 0.35
"""Length of the step away from what is not wanted; the query itself is of length 1."""
_AT_ONCE = 64
"""Queries that the model takes together."""


@dataclass(eq=False)
class Needed:
    """What a request needs of the model: a sum of embeddings, each with its weight."""

    request: SearchRequest
    maps: list[torch.Tensor] | None = None
    """Feature maps of the reference, each (1, …)."""
    sentence: str | None = None

    @classmethod
    def of(cls, request: SearchRequest, model: Embedder, maps: list[torch.Tensor] | None) -> "Needed":
        """What a request needs, its sentence read.

        Raises:
            DataError: there is neither a reference nor a sentence.
            FeedbackError: see `readable`.
        """
        if maps is None and not request.has_feedback:
            raise DataError("a query needs a reference image, a feedback sentence, or both; both are empty")
        return cls(request, maps, readable(model, request.sentence, alone=maps is None))

    def parts(self, model: Embedder) -> list[tuple[float, list[torch.Tensor] | None, str | None]]:
        """(weight, maps, sentence) of each query that the model is to embed."""
        emphasis = self.request.emphasis
        if self.maps is None or self.sentence is None or not emphasis or not model.reads_words:
            return [(1.0, self.maps, self.sentence)]
        alone = (self.maps, None) if emphasis < 0 else (None, self.sentence)
        both = [(1 - abs(emphasis), self.maps, self.sentence)] if abs(emphasis) < 1 else []
        return [*both, (abs(emphasis), *alone)]


def embed_requests(needs: Sequence[Needed], model: Embedder) -> list[np.ndarray | Exception]:
    """The embedding (dim,) of length 1 that each request is searched by; or why there is none."""
    answers: list[np.ndarray | Exception] = [np.zeros(0)] * len(needs)
    jobs = [(row, *part) for row, need in enumerate(needs) for part in need.parts(model)]
    sums: dict[int, np.ndarray] = {}
    for imaged in (True, False):
        for worded in (True, False):
            group = [job for job in jobs if (job[2] is not None) == imaged and (job[3] is not None) == worded]
            for first in range(0, len(group), _AT_ONCE):
                part = group[first : first + _AT_ONCE]
                for (row, weight, _, _), answer in zip(part, _together([job[2:] for job in part], model), strict=True):
                    if isinstance(answer, Exception):
                        answers[row] = answer
                    else:
                        sums[row] = (
                            answer if weight == 1 else sums.get(row, np.float32(0)) + np.float32(weight) * answer
                        )
    for row, total in sums.items():
        if not isinstance(answers[row], Exception):
            answers[row] = total if needs[row].request.emphasis == 0 else unit(total[None], None, "the query")[0]
    return answers


def _together(
    part: Sequence[tuple[list[torch.Tensor] | None, str | None]], model: Embedder
) -> Sequence[np.ndarray | Exception]:
    first_maps, first_sentence = part[0]
    try:
        maps = None
        if first_maps is not None:
            rows = [one for one, _ in part if one is not None]
            maps = first_maps if len(rows) == 1 else [torch.cat(level) for level in zip(*rows, strict=True)]
        sentences = None if first_sentence is None else [str(sentence) for _, sentence in part]
        embeddings: np.ndarray = model.embed_queries_from(maps, sentences).cpu().numpy()
        return list(embeddings)
    except Exception as error:
        if len(part) == 1:
            return [error]
        return [answer for one in part for answer in _together([one], model)]  # it is not everybody's fault


def away(query: np.ndarray, unlike: Sequence[np.ndarray]) -> np.ndarray:
    """The query moved away from the mean of what is not wanted; of length 1."""
    if not unlike:
        return query
    step = np.mean(np.stack(unlike), axis=0)
    length = float(np.linalg.norm(step))
    moved = query - (UNLIKE / length) * step if length else query
    embedding: np.ndarray = unit(moved[None], None, "the query")[0]
    return embedding
