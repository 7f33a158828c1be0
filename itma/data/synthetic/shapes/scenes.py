"""Scenes of coloured solids on a 3×3 grid, and the sentences that change them.

As in CSS ("Colour, Shape, Size"; Vo et al., arXiv:1812.07119, section 4): a sentence adds a thing at a position,
removes a thing, or makes a thing another colour, shape or size. Things are named by any description that only one of
them fits.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, pairwise
from typing import Literal, get_args

from itma.errors import DataError, FeedbackError, UnknownNameError

SHAPES = ("cube", "sphere", "cylinder")
COLOURS = ("gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow")
THING_SIZES = ("small", "large")
POSITIONS = tuple(f"{row}-{column}" for row in ("top", "middle", "bottom") for column in ("left", "center", "right"))
"""Nine positions by row; `top` is farthest from the camera."""

Kind = Literal["add", "remove", "make colour", "make shape", "make size"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MAKES: dict[str, Kind] = {"colour": "make colour", "shape": "make shape", "size": "make size"}
"""Attribute → kind of change that gives it another value."""

_ATTRIBUTES = {"position": POSITIONS, "size": THING_SIZES, "colour": COLOURS, "shape": SHAPES}
_ATTRIBUTE_OF = {word: attribute for attribute, words in _ATTRIBUTES.items() for word in words}


@dataclass(frozen=True)
class Thing:
    """One solid of a scene.

    >>> str(Thing("cube", "red", "small", "top-left"))
    'top-left small red cube'
    """

    shape: str
    """One of `SHAPES`."""
    colour: str
    """One of `COLOURS`."""
    size: str
    """One of `THING_SIZES`."""
    position: str
    """One of `POSITIONS`."""

    def __post_init__(self) -> None:
        for attribute, choices in _ATTRIBUTES.items():
            if getattr(self, attribute) not in choices:
                raise UnknownNameError(attribute, getattr(self, attribute), choices)

    def __str__(self) -> str:
        return f"{self.position} {self.size} {self.colour} {self.shape}"


Scene = tuple[Thing, ...]
"""Things in the order of `POSITIONS`, at most one at each position: scenes of equal content are equal."""


def scene_of(*things: Thing) -> Scene:
    """A scene of these things, whichever order they come in.

    Raises:
        DataError: two things share a position.
    """
    scene = tuple(sorted(things, key=lambda thing: POSITIONS.index(thing.position)))
    for one, other in pairwise(scene):
        if one.position == other.position:
            raise DataError(f"two things stand at {one.position}: {one}, {other}; a position holds one")
    return scene


@dataclass(frozen=True)
class Description:
    """Some attributes of a thing; the absent ones may be anything.

    >>> str(Description(size="small", colour="red"))
    'small red object'
    """

    position: str | None = None
    size: str | None = None
    colour: str | None = None
    shape: str | None = None

    def fits(self, thing: Thing) -> bool:
        """Whether the thing has every attribute that is stated."""
        return all(value in (None, getattr(thing, attribute)) for attribute, value in vars(self).items())

    def find(self, scene: Scene) -> int | None:
        """The index of the one thing that fits; None where none or several do."""
        fitting = [index for index, thing in enumerate(scene) if self.fits(thing)]
        return fitting[0] if len(fitting) == 1 else None

    @property
    def length(self) -> int:
        """How many attributes are stated."""
        return sum(value is not None for value in vars(self).values())

    def __str__(self) -> str:
        return " ".join(word for word in (self.position, self.size, self.colour, self.shape or "object") if word)


_SUBSETS = [subset for length in range(1, 5) for subset in combinations(_ATTRIBUTES, length)]


def descriptions(thing: Thing) -> Iterator[Description]:
    """The fifteen descriptions that fit a thing, the shortest first.

    >>> print(*descriptions(Thing("cube", "red", "small", "top-left")), sep=", ")
    top-left object, small object, red object, cube, top-left small object, ..., top-left small red cube
    """
    for subset in _SUBSETS:
        yield Description(**{attribute: getattr(thing, attribute) for attribute in subset})


def unique_descriptions(scene: Scene) -> dict[Description, int]:
    """Every description that exactly one thing of the scene fits → the index of that thing; never empty.

    >>> pair = scene_of(Thing("cube", "red", "small", "top-left"), Thing("cube", "blue", "small", "top-right"))
    >>> [str(description) for description, index in unique_descriptions(pair).items() if index == 0][:4]
    ['top-left object', 'red object', 'top-left small object', 'top-left red object']
    """
    fitting: dict[Description, list[int]] = {}
    for index, thing in enumerate(scene):
        for description in descriptions(thing):
            fitting.setdefault(description, []).append(index)
    return {description: indices[0] for description, indices in fitting.items() if len(indices) == 1}


@dataclass(frozen=True)
class Change:
    """One modification of a scene, and the sentence that asks for it.

    >>> change = Change.parse("make middle-left small red object blue")
    >>> change.kind, change.value, change.sentence
    ('make colour', 'blue', 'make middle-left small red object blue')
    >>> change.apply(scene_of(Thing("cube", "red", "small", "middle-left")))
    (Thing(shape='cube', colour='blue', size='small', position='middle-left'),)
    """

    kind: Kind
    thing: Description
    """The thing it concerns; for `add`, the whole description of the new thing."""
    value: str | None = None
    """For `make`: the new colour, shape or size."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownNameError("kind of change", self.kind, KINDS)
        if self.kind == "add" and self.thing.length < 4:
            raise FeedbackError(f"to add {str(self.thing)!r}, its position, size, colour and shape must all be stated")
        makes = self.kind.removeprefix("make ") if self.kind.startswith("make ") else None
        if makes != (_ATTRIBUTE_OF.get(self.value) if self.value else None):
            raise FeedbackError(f"a change of kind {self.kind!r} cannot have the value {self.value!r}")

    @cached_property
    def sentence(self) -> str:
        """The feedback."""
        if self.kind == "add":
            return f"add {replace(self.thing, position=None)} to {self.thing.position}"
        if self.kind == "remove":
            return f"remove {self.thing}"
        return f"make {self.thing} {self.value}"

    @classmethod
    def parse(cls, sentence: str) -> "Change":
        """The change that a sentence of this world asks for.

        Raises:
            FeedbackError: the sentence does not follow the templates.
        """
        verb, *words = sentence.split() or [""]
        if verb == "add" and len(words) == 5 and words[3] == "to":
            return cls("add", _describe([words[4], *words[:3]], sentence))
        if verb == "remove" and words:
            return cls("remove", _describe(words, sentence))
        kind = MAKES.get(_ATTRIBUTE_OF.get(words[-1], "")) if words[1:] else None
        if verb == "make" and kind:
            return cls(kind, _describe(words[:-1], sentence), words[-1])
        raise _unreadable_error(sentence)

    def concerns(self, scene: Scene) -> int | None:
        """The index of the thing it removes or alters; None for `add`, or where no single thing fits."""
        return None if self.kind == "add" else self.thing.find(scene)

    def apply(self, scene: Scene) -> Scene:
        """The scene afterwards.

        Raises:
            DataError: the position is taken, no single thing fits the description, or nothing would change.
        """
        if self.kind == "add":
            return scene_of(*scene, Thing(**vars(self.thing)))
        index = self.thing.find(scene)
        if index is None:
            fitting = sum(self.thing.fits(thing) for thing in scene)
            raise DataError(f"{self.sentence!r}: {fitting} things of the scene fit {str(self.thing)!r}; one must")
        if self.value is None:
            return scene[:index] + scene[index + 1 :]
        altered = replace(scene[index], **{self.kind.removeprefix("make "): self.value})
        if altered == scene[index]:
            raise DataError(f"{self.sentence!r} changes nothing: the scene holds {scene[index]} already")
        return (*scene[:index], altered, *scene[index + 1 :])


def _describe(words: list[str], sentence: str) -> Description:
    stated: dict[str, str] = {}
    order = list(_ATTRIBUTES)
    for word in words:
        attribute = "shape" if word == "object" else _ATTRIBUTE_OF.get(word)
        if attribute is None or attribute not in order:
            raise _unreadable_error(sentence)
        order = order[order.index(attribute) + 1 :]  # position, size, colour, shape, in this order
        if word != "object":
            stated[attribute] = word
    if "shape" in order:
        raise _unreadable_error(sentence)
    return Description(**stated)


def _unreadable_error(sentence: str) -> FeedbackError:
    return FeedbackError(
        f"{sentence!r} is not a sentence of the shapes world; expected one like "
        "'add large yellow sphere to top-center', 'remove red object' or 'make middle-left small red object blue'"
    )
