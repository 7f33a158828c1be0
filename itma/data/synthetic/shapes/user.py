"""The simulated user of the shapes world: one difference between two scenes at a time, as a sentence of the world."""

from collections.abc import Mapping

from itma.data.synthetic.generated import Dice
from itma.data.synthetic.shapes.scenes import MAKES, Change, Description, Scene, unique_descriptions
from itma.data.synthetic.user import User, Wish


class ShapesUser(User[Scene]):
    """Speaks of scenes; a fact is the thing at a position, or one of its attributes."""

    def facts(self, image: int) -> Mapping[str, str]:
        """See `User`."""
        things = self.truths[image]
        whole = {f"{thing.position}": str(thing) for thing in things}
        return whole | {
            f"{thing.position} {attribute}": getattr(thing, attribute) for thing in things for attribute in MAKES
        }

    def wishes(self, image: int, target: int, dice: Dice) -> list[Wish]:
        """See `User`. What stands there and should not is removed, what is missing added, what differs made right."""
        scene = self.truths[image]
        things, targets = ({thing.position: thing for thing in self.truths[each]} for each in (image, target))
        named: dict[int, list[Description]] = {}
        for description, index in unique_descriptions(scene).items():
            named.setdefault(index, []).append(description)
        wishes = []
        for position, thing in targets.items():
            if position not in things:
                change = Change("add", Description(position, thing.size, thing.colour, thing.shape))
                wishes.append(Wish("add", position, change.sentence))
        for index, thing in enumerate(scene):
            name = dice.choose(named[index])
            if thing.position not in targets:
                wishes.append(Wish("remove", thing.position, Change("remove", name).sentence))
                continue
            for attribute, kind in MAKES.items():
                value = getattr(targets[thing.position], attribute)
                if getattr(thing, attribute) != value:
                    wishes.append(Wish(kind, f"{thing.position} {attribute}", Change(kind, name, value).sentence))
        return dice.shuffle(wishes)
