"""What a model makes of the earlier turns of a conversation, and the registry that knows the ways by name.

Shapes: P turns of all conversations together, B conversations, T turns of the longest, D features of a query.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from itma.config import NoOptions, check_ranges
from itma.registry import Registry


class Tracker(nn.Module):
    """Makes one query of a conversation: what is said now, with what was said before.

    All sentences of a conversation are composed with the current reference: a search sends earlier sentences, not the
    images that they spoke of.

    Args:
        options: its `Options`.
        features: of a query's embedding.
    """

    Options: ClassVar[type] = NoOptions
    """The frozen dataclass of this tracker's own options."""
    by_turn: ClassVar[bool] = False
    """Whether each turn is composed by itself; if not, a conversation is one text."""

    def __init__(self, options: Any, features: int) -> None:
        super().__init__()

    def forward(self, queries_PD: torch.Tensor, turns_B: torch.Tensor) -> torch.Tensor:
        """Embeddings of all turns, conversation by conversation → (B, D), not yet of unit length.

        Args:
            queries_PD: each of length 1.
            turns_B: int64, how many turns each conversation has, at least 1.
        """
        raise NotImplementedError


REGISTRY: Registry[type[Tracker]] = Registry("tracker", Tracker, dict.fromkeys(("joined", "recurrent"), __name__))
"""Tracker by name."""
register = REGISTRY.register
tracker_named = REGISTRY.find


@register("joined")
class Joined(Tracker):
    """All that was said is one text, which the text encoder reads from first to last."""

    def forward(self, queries_PD: torch.Tensor, turns_B: torch.Tensor) -> torch.Tensor:
        """See `Tracker`."""
        return queries_PD


@dataclass(frozen=True)
class RecurrentOptions:
    """Size of the recurrent state.

    >>> RecurrentOptions(width=64).width
    64
    """

    width: int = 256
    """Features of the state that goes from turn to turn."""

    def __post_init__(self) -> None:
        check_ranges(self, "model.tracker_options", at_least_one="width")


@register("recurrent")
class Recurrent(Tracker):
    """A GRU over the turns' queries and a linear map: the state tracker of Guo et al. 2018 (arXiv:1805.00145, §3.2).

    Unlike there, what the state says is added to the query of the last turn, and the current reference stands for those
    of earlier turns, which a search does not know.
    """

    Options = RecurrentOptions
    by_turn = True

    def __init__(self, options: RecurrentOptions, features: int) -> None:
        super().__init__(options, features)
        self.state = nn.GRU(features, options.width, batch_first=True)
        self.output = nn.Linear(options.width, features)

    def forward(self, queries_PD: torch.Tensor, turns_B: torch.Tensor) -> torch.Tensor:
        """See `Tracker`. Padding stands last, so that no turn sees it."""
        rows_B = torch.arange(turns_B.shape[0], device=turns_B.device)
        said_BT = torch.arange(int(turns_B.max()), device=turns_B.device) < turns_B[:, None]
        queries_BTD = queries_PD.new_zeros(*said_BT.shape, queries_PD.shape[1])
        queries_BTD[said_BT] = queries_PD
        states_BTC = self.state(queries_BTD)[0]
        added_BD: torch.Tensor = self.output(states_BTC[rows_B, turns_B - 1])
        return queries_BTD[rows_B, turns_B - 1] + added_BD
