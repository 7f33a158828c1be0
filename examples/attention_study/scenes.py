"""The shapes world as a laboratory: for every query, the pixels of the thing it concerns, and images without things.

Images are counted as in the world's split; masks are (height, width) bool.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from itma.data.synthetic.shapes import Change, ShapesSplit, World, render, visible

GROUPS = {"add": "add", "remove": "remove", "make colour": "change", "make shape": "change", "make size": "change"}
"""Kind of feedback → what it does to a thing."""


@dataclass(frozen=True, eq=False)
class Scene:
    """One query with its reference taken apart."""

    row: int
    """Of the split's queries."""
    group: str
    """`add`, `remove` or `change`."""
    reference: int
    target: int
    feedback: str
    naming: tuple[int, ...]
    """Which words of the feedback name the thing concerned."""
    concerned: int | None
    """Which thing of the reference; none where one is to be added."""
    mask: torch.Tensor
    """The pixels of the thing concerned; of one to be added, those it would have in the reference."""
    things: torch.Tensor
    """(things, height, width) bool: the pixels of all things of the reference."""

    @property
    def parts(self) -> torch.Tensor:
        """(3, height, width) float32: the thing concerned, all others, the floor; they sum to 1 everywhere."""
        others = self.things.any(0) & ~self.mask
        return torch.stack([self.mask, others, ~(self.mask | others)]).float()


def naming(sentence: str) -> tuple[int, ...]:
    """Which words of a sentence of the shapes world name the thing concerned.

    >>> naming("make small red object blue"), naming("add large red cube to top-left"), naming("remove sphere")
    ((1, 2, 3), (1, 2, 3, 5), (1,))
    """
    change = Change.parse(sentence)
    count = len(sentence.split())
    if change.kind == "add":
        return tuple(word for word in range(1, count) if word != 4)
    return tuple(range(1, count if change.kind == "remove" else count - 1))


def scenes(world: World, split: str, rows: Sequence[int]) -> list[Scene]:
    """Some queries of a split, taken apart; a thing that others hide wholly leaves its query out."""
    part = world.split(split)
    masks: dict[int, torch.Tensor] = {}
    cases = []
    for row in rows:
        reference, target = int(part.references[row]), int(part.targets[row])
        if reference not in masks:
            masks[reference] = world.masks(split, reference)
        concerned: int | None = int(part.things[row])
        if part.kinds[row] == "add":
            look = world.look(split, reference)
            mask = visible(part.scenes[target], look, world.config.height, world.config.width)[int(part.things[row])]
            concerned = None
        else:
            mask = masks[reference][int(part.things[row])]
        if mask.any():
            sentence = part.feedback[row]
            cases.append(
                Scene(
                    row,
                    GROUPS[part.kinds[row]],
                    reference,
                    target,
                    sentence,
                    naming(sentence),
                    concerned,
                    mask,
                    masks[reference],
                )
            )
    return cases


def without_each(world: World, split: str, image: int) -> torch.Tensor:
    """(things, 3, height, width) uint8: an image as it would be without each of its things, shadows and all."""
    part: ShapesSplit = world.split(split)
    scene, look = part.scenes[image], world.look(split, image)
    fewer = [scene[:thing] + scene[thing + 1 :] for thing in range(len(scene))]
    return render(fewer, [look] * len(fewer), world.config.height, world.config.width)


def chosen(part: ShapesSplit, most: int | None, seed: int = 0) -> list[int]:
    """Rows of a split: all, or so many, drawn evenly from all."""
    rows = np.arange(len(part.feedback))
    if most is not None and most < len(rows):
        rows = np.sort(np.random.Generator(np.random.PCG64(seed)).choice(rows, most, replace=False))
    return [int(row) for row in rows]
