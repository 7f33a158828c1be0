"""Draws the scenes and sentences of a split: pure Python, the same everywhere for the same seed."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count, islice

from itma.data.synthetic.generated import Dice
from itma.data.synthetic.shapes.config import COMBINATIONS, ShapesConfig
from itma.data.synthetic.shapes.scenes import (
    COLOURS,
    POSITIONS,
    SHAPES,
    THING_SIZES,
    Change,
    Description,
    Kind,
    Scene,
    Thing,
    scene_of,
    unique_descriptions,
)

_WEIGHTS: dict[Kind, float] = {"add": 0.28, "remove": 0.2, "make colour": 0.2, "make shape": 0.18, "make size": 0.14}
"""How often each kind is drawn; some draws come to nothing, so the shares that result differ a little."""
_SHORTEST = 0.5
"""How often a thing is named by a shortest description rather than a longer one."""
_DRAWS_FOR_SHARING = 12
"""Changes of one kind, then of any kind, that are drawn in search of one that applies to enough scenes."""
_DRAWS_FOR_KIND = 6
"""Changes of one kind that are drawn before another kind is tried."""
_DRAWS_FOR_NEWNESS = 60
"""Changes that are drawn in search of one with a scene that this base has not led to yet."""


def base_scenes(config: ShapesConfig, split: str) -> list[Scene]:
    """The references of a split, their numbers of things spread evenly."""
    dice = Dice(f"shapes/{config.seed}/{split}/scenes")
    fewest, most = config.objects
    counts = range(fewest, max(fewest, most - 1) + 1)  # room for one more
    sizes = dice.shuffle([counts[index % len(counts)] for index in range(config.scenes(split))])
    allowed = _in_order(split)
    scenes: list[Scene] = []
    distinct: set[Scene] = set()
    for size in sizes:
        for _ in range(20):  # small scenes can run out: then two references look the same, and share a label
            positions = dice.shuffle(POSITIONS)[:size]
            things = [Thing(*dice.choose(allowed), dice.choose(THING_SIZES), position) for position in positions]
            scene = scene_of(*things)
            if scene not in distinct:
                break
        distinct.add(scene)
        scenes.append(scene)
    return scenes


def modifications(config: ShapesConfig, split: str, bases: Sequence[Scene]) -> Iterator[tuple[Change, list[int]]]:
    """Changes, with the bases that each is asked of, until every base scene has had `config.changes` of them.

    The base that has had the fewest is served first; a change is then asked of others too, up to `config.repeats` bases
    in all.
    """
    dice = Dice(f"shapes/{config.seed}/{split}/changes")
    deck = _Deck(config, split, bases, dice)
    missing = [config.changes] * len(bases)
    queue = [(-config.changes, dice.random(), base) for base in range(len(bases))]
    heapq.heapify(queue)
    while queue:
        need, _, base = heapq.heappop(queue)
        if -need != missing[base]:
            continue
        best: tuple[Change, list[int]] | None = None
        kind = deck.kind()
        for draws in range(2 * _DRAWS_FOR_SHARING):
            change = deck.draw(base, kind if draws < _DRAWS_FOR_SHARING else deck.kind())
            sharing = [base, *deck.others(change, base, missing)]
            if best is None or len(sharing) > len(best[1]):
                best = change, sharing
            if len(sharing) == config.repeats:
                break
        assert best is not None
        change, sharing = best
        for one in sharing:
            deck.scenes[one].add(change.apply(bases[one]))
            missing[one] -= 1
            if missing[one]:
                heapq.heappush(queue, (-missing[one], dice.random(), one))
        yield change, sharing


class _Deck:
    """All that is known about the base scenes of a split while changes are drawn for them."""

    def __init__(self, config: ShapesConfig, split: str, bases: Sequence[Scene], dice: Dice) -> None:
        self.bases, self.dice, self.repeats = bases, dice, config.repeats
        self.fewest, self.most = config.objects
        self.allowed, self.order = COMBINATIONS[split], _in_order(split)
        self.scenes: list[set[Scene]] = [{scene} for scene in bases]
        self.named = [unique_descriptions(scene) for scene in bases]
        self.with_thing: dict[Description, list[int]] = {}
        self.with_room: dict[str, list[int]] = {position: [] for position in POSITIONS}
        for base, scene in enumerate(bases):
            for description in self.named[base]:
                self.with_thing.setdefault(description, []).append(base)
            if len(scene) < self.most:
                for position in _free_positions(scene):
                    self.with_room[position].append(base)

    def kind(self) -> Kind:
        """A random kind of change."""
        point = self.dice.random()
        for kind, weight in _WEIGHTS.items():
            point -= weight
            if point < 0:
                return kind
        return "add"

    def draw(self, base: int, kind: Kind) -> Change:
        """A change that applies to a base, of this kind where possible; new to the base unless that is hard to find."""
        for draws in count(1):  # every thing can be made another size, so that some draw succeeds
            change = self._draw(self.bases[base], self.named[base], kind)
            if change and (draws >= _DRAWS_FOR_NEWNESS or change.apply(self.bases[base]) not in self.scenes[base]):
                return change
            if change is None or draws >= _DRAWS_FOR_KIND:
                kind = self.kind()
        raise AssertionError("counting ended")

    def others(self, change: Change, base: int, missing: Sequence[int]) -> list[int]:
        """Further bases, as many as share a change, that still want one and that this one leads to a new scene."""
        if change.kind == "add":
            position = change.thing.position
            assert position is not None
            candidates = self.with_room[position]
        else:
            candidates = self.with_thing[change.thing]
        start = self.dice.below(len(candidates))
        turned = candidates[start:] + candidates[:start]
        fitting = (other for other in turned if other != base and missing[other] and self._leads_on(change, other))
        return list(islice(fitting, self.repeats - 1))

    def _leads_on(self, change: Change, base: int) -> bool:
        scene = self.bases[base]
        if change.kind == "remove" and len(scene) <= self.fewest:
            return False
        if change.value is not None:
            thing = scene[self.named[base][change.thing]]
            altered = replace(thing, **{change.kind.removeprefix("make "): change.value})
            if altered == thing or (altered.shape, altered.colour) not in self.allowed:
                return False
        return change.apply(scene) not in self.scenes[base]

    def _draw(self, scene: Scene, named: dict[Description, int], kind: Kind) -> Change | None:
        dice = self.dice
        if kind == "add":
            if len(scene) >= self.most:
                return None
            position = dice.choose(_free_positions(scene))
            shape, colour = dice.choose(self.order)
            return Change("add", Description(position, dice.choose(THING_SIZES), colour, shape))
        value = None
        if kind == "remove":
            if len(scene) <= self.fewest:
                return None
            index = dice.below(len(scene))
        else:
            values = [self._values(kind, thing) for thing in scene]
            possible = [index for index, choices in enumerate(values) if choices]
            if not possible:
                return None
            index = dice.choose(possible)
            value = dice.choose(values[index])
        names = [description for description, one in named.items() if one == index]
        shortest = [name for name in names if name.length == names[0].length]
        longer = names[len(shortest) :]
        return Change(kind, dice.choose(shortest if dice.random() < _SHORTEST or not longer else longer), value)

    def _values(self, kind: Kind, thing: Thing) -> list[str]:
        if kind == "make colour":
            return [c for c in COLOURS if c != thing.colour and (thing.shape, c) in self.allowed]
        if kind == "make shape":
            return [s for s in SHAPES if s != thing.shape and (s, thing.colour) in self.allowed]
        return [size for size in THING_SIZES if size != thing.size]


def _free_positions(scene: Scene) -> list[str]:
    filled = {thing.position for thing in scene}
    return [position for position in POSITIONS if position not in filled]


def _in_order(split: str) -> list[tuple[str, str]]:
    return [(shape, colour) for shape in SHAPES for colour in COLOURS if (shape, colour) in COMBINATIONS[split]]
