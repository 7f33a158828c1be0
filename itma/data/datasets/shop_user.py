"""The simulated user of a table of products: one attribute at a time that is wrong, in the sentences of a shop."""

from collections.abc import Mapping, Sequence

import numpy as np

from itma.data.datasets import shop_sentences
from itma.data.synthetic.generated import Dice
from itma.data.synthetic.user import User, Wish

_NEAR = 200
"""Images at most that are near a target."""


class ShopUser(User[Mapping[str, str]]):
    """Speaks of products; a fact is an attribute.

    Args:
        attributes: (images) attribute → value, of those that are known.
        codes: attribute → (images,) int64, −1 where it is not known; the attributes that the user speaks of.
        needed: those that a target is known by: a product of which one is not known is no target, and is wrong if it is
            shown. Another attribute is wrong only where both values are known.
        labels: (images,) int64: images of one label count as the same.
        gallery: (ranked,) int64: the images that the user may want or see.
        wording: of which split the sentences are.
    """

    def __init__(
        self,
        attributes: Sequence[Mapping[str, str]],
        codes: Mapping[str, np.ndarray],
        needed: Sequence[str],
        labels: np.ndarray,
        gallery: np.ndarray,
        *,
        wording: str,
    ) -> None:
        super().__init__(attributes, labels, wording=wording)
        self._names, self.gallery = list(codes), gallery
        self._codes = np.stack([codes[name] for name in self._names], 1)
        self._needed = np.array([name in needed for name in self._names])
        known = (self._codes[gallery][:, self._needed] >= 0).all(1)
        self.targets = gallery[known]

    def facts(self, image: int) -> Mapping[str, str]:
        """See `User`."""
        return self.truths[image]

    def wishes(self, shown: int, target: int, dice: Dice) -> list[Wish]:
        """See `User`."""
        here, there = self.truths[shown], self.truths[target]
        (wrong,) = self._wrong(np.array([shown]), target)
        names = dice.shuffle([name for name, apart in zip(self._names, wrong.tolist(), strict=True) if apart])
        return [Wish(name, name, shop_sentences.request(here, there, [name], dice, self.wording)) for name in names]

    def title(self, image: int) -> str:
        """See `User`."""
        return ", ".join(self.truths[image].values())

    def near(self, target: int) -> list[int]:
        """See `User`: images, evenly chosen, that are wrong in half of the attributes at most, or in two."""
        wrong = self._wrong(self.gallery, target).sum(1)
        most = max(2, len(self._names) // 2)
        near = self.gallery[(wrong >= 1) & (wrong <= most) & (self.labels[self.gallery] != self.labels[target])]
        return list(near[:: -(-len(near) // _NEAR) or 1].tolist())

    def _wrong(self, images: np.ndarray, target: int) -> np.ndarray:
        """(images, attributes) bool: in what images differ from a target, as far as that can be said."""
        here, there = self._codes[images], self._codes[target]
        return np.asarray((there >= 0) & (here != there) & (self._needed | (here >= 0)))
