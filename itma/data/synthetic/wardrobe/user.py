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

    def wishes(self, image: int, target: int, dice: Dice) -> list[Wish]:
        """See `User`. The category comes first: what else differs can only be said of things of one kind."""
        product, goal = self.truths[image], self.truths[target]
        if product.category != goal.category:
            closest = as_category(product, goal.category)
            names = [name for name in differences(product, closest) if name != "category"]
            closest = closest.with_values(**{name: goal.attributes[name] for name in names})
            return [self._wish("category", product, closest, dice)]
        apart = dice.shuffle(differences(product, goal))
        return [self._wish(name, product, product.with_values(**{name: goal.attributes[name]}), dice) for name in apart]

    def _wish(self, fact: str, here: Product, then: Product, dice: Dice) -> Wish:
        return Wish(fact, fact, grammar.request(here, then, dice, self.wording))
