"""A simulated user: wants one image of a world whose truth is known, and says one thing at a time that is still wrong.

As in Guo et al. 2018 (arXiv:1805.00145), whose user is a captioning network, somebody looks at the best hit, compares
it with the target, and says a difference. Here the difference is true, because the world was made by rules, and it is
said in the world's own grammar.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from itma.data.conversations import Conversation, Turn
from itma.data.synthetic.generated import Dice
from itma.data.triplets import Draw, Rows, Triplets
from itma.errors import DataError

Truth = TypeVar("Truth")

_TRIES = 1_000
"""Targets that are drawn one after the other in search of one with a start that is wrong in more than one way."""
_GRANTED = 0.5
"""How often, in a conversation to learn from, the next image has what was just asked for, if there is such a one."""


@dataclass(frozen=True)
class Wish:
    """One thing that is wrong, and how it is said."""

    kind: str
    """The kind of change, as in results by kind."""
    fact: str
    """Which fact of the image it is about, see `User.facts`."""
    sentence: str


class User(ABC, Generic[Truth]):
    """Looks at images of one split of a world and knows what is true of each.

    Args:
        truths: one for each image.
        labels: (images,) int64: images of one label count as the same.
        family: images that stand side by side and are near misses of one another, unless `near` says which are.
        wording: of which split the sentences are.
    """

    gallery: np.ndarray
    """(ranked,) int64: the images that are searched; all, unless a world says otherwise."""
    targets: np.ndarray
    """(targets,) int64: those of the gallery that the user may want; all, unless a world knows too little of some."""

    def __init__(self, truths: Sequence[Truth], labels: np.ndarray, *, family: int = 1, wording: str) -> None:
        self.truths, self.labels, self.family, self.wording = truths, labels, family, wording
        self.gallery = self.targets = np.arange(len(labels))

    @abstractmethod
    def facts(self, image: int) -> Mapping[str, str]:
        """What is true of an image: fact → value."""

    @abstractmethod
    def wishes(self, image: int, target: int, dice: Dice) -> list[Wish]:
        """All that is wrong with an image that is shown, in random order; empty where nothing is."""

    def title(self, image: int) -> str:
        """What an image is, for reports."""
        return str(self.truths[image])

    def grants(self, wish: Wish, image: int, target: int) -> bool:
        """Whether an image has what was wished of the target."""
        return self.facts(image).get(wish.fact) == self.facts(target).get(wish.fact)

    def near(self, target: int) -> list[int]:
        """Other images of the target's family, in their order, none of the same label."""
        first = target - target % self.family
        return [
            one
            for one in range(first, min(first + self.family, len(self.labels)))
            if self.labels[one] != self.labels[target]
        ]

    def pairs(self, count: int, seed: int, present: np.ndarray | None = None) -> list[tuple[int, int]]:
        """(start, target) of conversations that one sentence does not end: the start is wrong in two ways or more.

        Args:
            count: how many.
            seed: decides which.
            present: (images,) bool, those that may be shown; None: all.

        Raises:
            DataError: the split has no such pairs.
        """
        dice = Dice(f"conversations/{seed}")
        pairs: list[tuple[int, int]] = []
        targets = self.targets if present is None else self.targets[present[self.targets]]
        tries = 0
        while len(targets) and len(pairs) < count and tries < _TRIES:
            tries += 1
            target = int(targets[dice.below(len(targets))])
            starts = [one for one in self._near(target, present) if len(self.wishes(one, target, dice)) >= 2]
            if starts:
                pairs.append((dice.choose(starts), target))
                tries = 0
        if len(pairs) < count:
            raise DataError(
                "no image of the split differs from one near it in two ways; take a larger size of a generated world, "
                "or a table with more products and attributes"
            )
        return pairs

    def _near(self, target: int, present: np.ndarray | None) -> list[int]:
        return [one for one in self.near(target) if present is None or present[one]]

    def talk(self, target: int, turns: int, dice: Dice, present: np.ndarray | None = None) -> Conversation[int] | None:
        """A conversation to learn from, whose images come at random from those near the target; None: there are none.

        Half of the images that follow have what was just asked for, as far as there are any.

        Args:
            target: where it leads.
            turns: how many.
            dice: decides images and sentences.
            present: (images,) bool, those that may be shown; None: all.
        """
        near = self._near(target, present)
        if not near:
            return None
        image, steps = dice.choose(near), []
        for _ in range(turns):
            wish = self.wishes(image, target, dice)[0]
            steps.append(Turn(image, wish.sentence))
            granted = [one for one in near if self.grants(wish, one, target)]
            image = dice.choose(granted if granted and dice.random() < _GRANTED else near)
        return Conversation(tuple(steps), target)


class Conversations:
    """Training samples of which a share are conversations with a user: each has all its turns in the batch.

    Args:
        user: who speaks.
        share: of the samples, from 0 to 1.
        turns: of each conversation.
        rest: how the others are drawn; None: they are the rows as they stand.
    """

    def __init__(self, user: User[Truth], share: float, turns: int, rest: Draw | None) -> None:
        self.user, self.share, self.turns, self.rest = user, share, turns, rest

    def __call__(self, triplets: Triplets, rows: np.ndarray, random: np.random.Generator) -> Rows:
        """See `itma.data.triplets.Draw`. A conversation leads to the target of the first of the rows it replaces."""
        if self.rest is not None:
            samples = self.rest(triplets, rows, random)
        else:
            samples = Rows(triplets.references[rows], triplets.targets[rows], [triplets.feedback[row] for row in rows])
        references, targets, feedback = samples.references.copy(), samples.targets.copy(), list(samples.feedback)
        count = int(self.share * len(rows)) // self.turns
        chosen = random.permutation(len(rows))[: count * self.turns].reshape(count, self.turns)
        seeds = random.integers(2**62, size=count).tolist()
        for own, seed in zip(chosen.tolist(), seeds, strict=True):
            target = int(triplets.targets[rows[own[0]]])
            talk = self.user.talk(target, self.turns, Dice(str(seed)), triplets.present)
            if talk is not None:
                for index, row in zip(own, talk.rows(), strict=True):
                    references[index], feedback[index], targets[index] = row
        return Rows(references, targets, feedback)
