"""Integrated gradients: how the score comes about along a straight path from nothing to the query.

Sundararajan et al. 2017, arXiv:1703.01365, equation 1. The path begins at an image in the mean colour of the model's
preprocessing and at word vectors of zeros, and changes both together; its integral is by Gauss and Legendre.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from itma.errors import ConfigError, ExplanationError
from itma.explanations.case import Case
from itma.models.embedder import unit
from itma.models.retriever import Retriever
from itma.records import STEPS

_AT_ONCE = 8
"""Of them, those that are worked on together."""


@dataclass(frozen=True, eq=False)
class Gradients:
    """What each pixel and each word adds to the score."""

    pixels: np.ndarray | None
    """(height, width) float32: the sum over the colours; None where there is no reference."""
    words: np.ndarray
    """(words,) float32: the sum over a word's features."""
    marks: float
    """What tokens add that stand in no word, such as [CLS]."""
    begin: float
    """The score at the beginning of the path."""
    end: float
    """The score at its end: that of the query."""
    steps: int

    @property
    def gap(self) -> float:
        """What the parts leave unexplained: 0 if they sum to end − begin, as they do for ever more steps."""
        pixels = 0.0 if self.pixels is None else float(self.pixels.sum(dtype=np.float64))
        return self.end - self.begin - pixels - float(self.words.sum()) - self.marks

    @property
    def rough(self) -> bool:
        """Whether so much is unexplained that the parts are not to be trusted: a tenth of the change, and 0.02.

        More steps do not help where the score jumps, e.g. where a layer norm meets features that are all alike.
        """
        return abs(self.gap) > max(0.02, 0.1 * abs(self.end - self.begin))


def gradients_of(case: Case, *, steps: int = STEPS) -> Gradients:
    """Integrated gradients of a query's score.

    Args:
        case: what is explained.
        steps: points of the path; more are more exact.

    Raises:
        ConfigError: there is no step.
        ExplanationError: the model reads nothing of the query, or several turns of it one by one.
    """
    if steps < 1:
        raise ConfigError(f"steps={steps} must be at least 1")
    model, device = case.model, case.model.device
    reads = case.text is not None and model.text_encoder is not None
    if case.reference is None and not reads:
        raise ExplanationError(f"the model {model.name!r} reads nothing of this query")
    case.check_one_turn("a gradient is")
    with answering(model):
        pixels = None if case.reference is None else model.preprocess.normalise(case.reference[None].to(device))
        tokens = None
        vectors = torch.zeros(1, 0, 0, device=device)
        if case.text is not None and model.text_encoder is not None:
            tokens = model.tokenizer([case.text]).to(device)
            with torch.no_grad():
                vectors = model.text_encoder.table(tokens.ids)
        target = case.target.clone().to(device)  # a copy, which gradients may pass

        def scores(shares: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
            """The score at some points of the path, and the inputs there."""
            count = len(shares)
            inputs = []
            maps = None
            if pixels is not None:
                inputs.append((shares[:, None, None, None] * pixels).requires_grad_())
                maps = model.image_encoder(inputs[-1])
            if tokens is not None and model.text_encoder is not None:
                inputs.append((shares[:, None, None] * vectors).requires_grad_())
                repeated = type(tokens)(tokens.ids.expand(count, -1), tokens.mask.expand(count, -1))
                # cuDNN's recurrent networks have no backward pass in evaluation mode
                with beginning_with(model.text_encoder.table, inputs[-1]), torch.backends.cudnn.flags(enabled=False):
                    return model.follow(unit(model.compose(maps, repeated))) @ target, inputs
            return unit(model.compose(maps, None)) @ target, inputs

        nodes, weights = np.polynomial.legendre.leggauss(steps)
        shares = torch.tensor((nodes + 1) / 2, dtype=torch.float32, device=device)
        weight = torch.tensor(weights / 2, dtype=torch.float32, device=device)
        sums: list[torch.Tensor] = []
        for first in range(0, steps, _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            values, inputs = scores(shares[part])
            # a model may not read one of its inputs: zeros then
            slopes = torch.autograd.grad(values.sum(), inputs, materialize_grads=True)
            added = [torch.tensordot(weight[part], slope, 1) for slope in slopes]
            sums = added if not sums else [one + other for one, other in zip(sums, added, strict=True)]
        with torch.no_grad():
            begin, end = scores(torch.tensor([0.0, 1.0], device=device))[0].tolist()
    by_pixel = None if pixels is None else (sums.pop(0) * pixels[0]).sum(0).cpu().numpy()
    by_token = (sums[0] * vectors[0]).sum(1).cpu().numpy() if sums else np.zeros(0, dtype=np.float32)
    by_word = [by_token[list(word.tokens)].sum() if len(by_token) else 0.0 for word in case.words()]
    marks = float(by_token.sum()) - float(np.sum(by_word))
    return Gradients(by_pixel, np.array(by_word, dtype=np.float32), marks, begin, end, steps)


@contextmanager
def answering(model: Retriever) -> Iterator[None]:
    """Evaluation mode with gradients, and back to what it was."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@contextmanager
def beginning_with(table: nn.Module, vectors: torch.Tensor) -> Iterator[None]:
    """In this thread, let a table answer with other vectors than those of the tokens it is asked for."""
    thread = threading.get_ident()

    def instead(module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        if threading.get_ident() != thread:  # others may be searching with the same model
            return output
        # SigLIP reads a sentence filled up to its full length: what fills it stays as it is
        return torch.cat([vectors, output[:, vectors.shape[1] :]], 1)

    hook = table.register_forward_hook(instead)
    try:
        yield
    finally:
        hook.remove()
