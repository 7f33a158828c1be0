"""The simulated user of the wardrobe world: one attribute at a time, as a customer would say it."""

from collections.abc import Mapping

from itma.data.synthetic.generated import Dice
from itma.data.synthetic.user import User, Wish
from itma.data.synthetic.wardrobe import grammar
from itma.data.synthetic.wardrobe.products import Product, as_category, differences


class WardrobeUser(User[Product]):
    """Speaks of products; a fact is an attribute."""

    def facts(self, image: int) -> Mapping[str, str]:
        """See `User`."""
        return self.truths[image].attributes

    def wishes(self, shown: int, target: int, dice: Dice) -> list[Wish]:
        """See `User`. The category comes first: what else differs can only be said of things of one kind."""
        here, there = self.truths[shown], self.truths[target]
        if here.category != there.category:
            then = as_category(here, there.category)
            given = {name: there.attributes[name] for name in differences(here, then) if name != "category"}
            return [self._wish("category", here, then.with_values(**given), dice)]
        apart = dice.shuffle(differences(here, there))
        return [self._wish(name, here, here.with_values(**{name: there.attributes[name]}), dice) for name in apart]

    def _wish(self, fact: str, here: Product, then: Product, dice: Dice) -> Wish:
        return Wish(fact, fact, grammar.request(here, then, dice, self.wording))
