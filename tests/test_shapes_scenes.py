"""The shapes world's scenes and sentences: what they say, what they share, and that they are the same everywhere."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itma.data.synthetic.shapes import SIZES, Change, ShapesConfig, ShapesSplit, World
from itma.data.synthetic.shapes.config import COMBINATIONS, HELD_OUT, SPLITS
from itma.data.synthetic.shapes.scenes import (
    COLOURS,
    KINDS,
    POSITIONS,
    SHAPES,
    THING_SIZES,
    Description,
    Scene,
    Thing,
    scene_of,
)
from itma.errors import ConfigError, DataError, FeedbackError, UnknownNameError

MIDDLING = World(ShapesConfig(height=32, width=48, train_scenes=60, test_scenes=60, changes=18, seed=1))
ROWS = [(split, row) for split in SPLITS for row in range(len(MIDDLING.split(split).feedback))]

CONFIGS = st.builds(
    ShapesConfig,
    height=st.just(32),
    width=st.just(48),
    train_scenes=st.integers(1, 6),
    test_scenes=st.integers(1, 6),
    changes=st.integers(1, 12),
    repeats=st.integers(1, 4),
    objects=st.tuples(st.integers(1, 9), st.integers(1, 9)).map(lambda pair: (min(pair), max(pair))),
    seed=st.integers(0, 1000),
)

WORDS = {"position": POSITIONS, "size": THING_SIZES, "colour": COLOURS, "shape": SHAPES}


def attributes(words: list[str]) -> dict[str, str]:
    """The attributes that words state, read one by one and in no particular order."""
    return {name: word for word in words for name, choices in WORDS.items() if word in choices}


def as_sets(scene: Scene) -> list[dict[str, str]]:
    return [vars(thing) for thing in scene]


def changed_the_slow_way(scene: Scene, sentence: str) -> list[dict[str, str]]:
    """The scene that a sentence asks for, from its words alone."""
    verb, *words = sentence.split()
    things = [dict(thing) for thing in as_sets(scene)]
    if verb == "add":
        return [*things, attributes([word for word in words if word != "to"])]
    named, value = (words, {}) if verb == "remove" else (words[:-1], attributes(words[-1:]))
    fitting = [thing for thing in things if attributes(named).items() <= thing.items()]
    assert len(fitting) == 1, f"{sentence!r} fits {len(fitting)} things"
    if verb == "remove":
        things.remove(fitting[0])
    else:
        assert value.items() - fitting[0].items(), f"{sentence!r} changes nothing"
        fitting[0].update(value)
    return things


def by_position(things: list[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(things, key=lambda thing: POSITIONS.index(thing["position"]))


def follows(split: ShapesSplit, row: int) -> bool:
    reference, target = split.scenes[split.references[row]], split.scenes[split.targets[row]]
    return by_position(changed_the_slow_way(reference, split.feedback[row])) == as_sets(target)


@pytest.mark.parametrize(
    ("seed", "size", "digest"),
    [
        (0, "tiny", "c41bb744792eea21d25ce73e8c286b197d93d1411d1f91d5a606051136faf131"),
        (7, "tiny", "725f2c16663ef87f720a70cc76e08e0a85516154f34ffa28102f9af6f60d0fcb"),
        (0, "demo", "500400916701904cbc190e0c31c4af24aa46882ae4ef9cea774bf68e54750c99"),
    ],
)
def test_the_same_seed_gives_the_same_scenes_and_sentences_everywhere(seed: int, size: str, digest: str) -> None:
    assert World(replace(SIZES[size], seed=seed)).fingerprint() == digest


def test_the_scenes_of_the_splits_do_not_depend_on_which_is_asked_for_first() -> None:
    one, other = World(SIZES["tiny"]), World(SIZES["tiny"])
    one.split("train")
    assert one.split("test").feedback == other.split("test").feedback


def test_train_and_test_share_no_combination_of_shape_and_colour() -> None:
    assert not COMBINATIONS["train"] & COMBINATIONS["test"]
    combinations = {
        split: {(thing.shape, thing.colour) for scene in MIDDLING.split(split).scenes for thing in scene}
        for split in SPLITS
    }
    assert combinations == COMBINATIONS


def test_the_held_out_combinations_are_spread_over_colours_and_shapes() -> None:
    assert len(COMBINATIONS["train"]) == 14 and len(COMBINATIONS["test"]) == 10
    for split in SPLITS:
        assert {colour for _, colour in COMBINATIONS[split]} == set(COLOURS)
    assert all(3 <= count <= 4 for count in Counter(shape for shape, _ in COMBINATIONS["test"]).values())
    assert sum(len(shapes) == 2 for shapes in HELD_OUT.values()) == 2


def test_every_sentence_asks_for_exactly_its_target() -> None:
    assert all(follows(MIDDLING.split(split), row) for split, row in ROWS)


@settings(max_examples=30)
@given(CONFIGS)
def test_a_world_of_any_configuration_keeps_its_promises(config: ShapesConfig) -> None:
    fewest, most = config.objects
    for split in map(World(config).split, SPLITS):
        assert len(split.scenes) == len(split.names) == len(split.labels) == config.images(split.name)
        assert Counter(split.references.tolist()) == {
            base * (1 + config.changes): config.changes for base in range(config.scenes(split.name))
        }
        assert all(fewest <= len(scene) <= most for scene in split.scenes)
        assert all((t.shape, t.colour) in COMBINATIONS[split.name] for scene in split.scenes for t in scene)
        assert all(follows(split, row) for row in range(len(split.feedback)))


def test_images_have_the_same_label_exactly_when_their_scenes_are_equal() -> None:
    split = World(ShapesConfig(height=32, width=48, train_scenes=9, test_scenes=9, changes=18, objects=(1, 2))).split(
        "test"
    )
    contents = [frozenset(str(thing) for thing in scene) for scene in split.scenes]
    assert len(set(contents)) < len(contents), "this world was chosen so that some scenes are equal"
    same_label = split.labels[:, None] == split.labels
    assert (same_label == np.array([[one == other for other in contents] for one in contents])).all()


def test_every_target_is_an_image_of_its_own() -> None:
    for split in map(MIDDLING.split, SPLITS):
        images = [*set(split.references.tolist()), *split.targets.tolist()]
        assert sorted(images) == list(range(len(split.scenes)))


def test_the_changes_of_a_base_scene_lead_to_different_scenes() -> None:
    for split in map(MIDDLING.split, SPLITS):
        for base in set(split.references.tolist()):
            labels = split.labels[base : base + 19].tolist()
            assert len(set(labels)) == len(labels)


def test_nearly_every_sentence_is_shared_by_three_base_scenes() -> None:
    for split in map(MIDDLING.split, SPLITS):
        groups = Counter(split.modifications.tolist())
        assert sum(size == 3 for size in groups.values()) > 0.95 * len(groups)
        assert max(groups.values()) == 3


def test_queries_of_one_modification_share_their_sentence_and_stand_together() -> None:
    split = MIDDLING.split("train")
    assert (np.diff(split.modifications) >= 0).all()
    assert len(set(zip(split.modifications.tolist(), split.feedback, strict=True))) == split.modifications[-1] + 1


def test_each_query_names_the_thing_it_concerns() -> None:
    for name, row in ROWS:
        split = MIDDLING.split(name)
        kind, thing = split.kinds[row], int(split.things[row])
        reference, target = split.scenes[split.references[row]], split.scenes[split.targets[row]]
        if kind == "add":
            assert {target[thing]} == set(target) - set(reference)
        else:
            assert {reference[thing]} == set(reference) - set(target)
        if kind.startswith("make"):
            assert {target[thing]} == set(target) - set(reference)


def test_all_kinds_of_change_are_common_in_both_splits() -> None:
    for split in map(MIDDLING.split, SPLITS):
        kinds = Counter(split.kinds)
        assert set(kinds) == set(KINDS)
        assert min(kinds.values()) > 0.05 * len(split.kinds)


def test_short_and_long_descriptions_are_both_common() -> None:
    lengths = Counter(
        Change.parse(sentence).thing.length
        for sentence in MIDDLING.split("train").feedback
        if not sentence.startswith("add")
    )
    assert lengths[1] > 0.3 * lengths.total()
    assert lengths[2] + lengths[3] + lengths[4] > 0.3 * lengths.total()


def test_base_scenes_have_one_to_eight_things_spread_evenly() -> None:
    split = MIDDLING.split("train")
    counts = Counter(len(split.scenes[base]) for base in set(split.references.tolist()))
    assert set(counts) == set(range(1, 9))
    assert max(counts.values()) - min(counts.values()) <= 1


@given(st.sampled_from(ROWS))
def test_a_sentence_is_read_back_as_it_was_written(where: tuple[str, int]) -> None:
    split = MIDDLING.split(where[0])
    change = Change.parse(split.feedback[where[1]])
    assert change.sentence == split.feedback[where[1]]
    assert change.kind == split.kinds[where[1]]


@pytest.mark.parametrize(
    "sentence",
    [
        "",
        "add",
        "make",
        "remove",
        "remove the cube",
        "make object",
        "make red object",
        "make red object object",
        "make red object top-left",
        "remove red small object",
        "remove red",
        "add red cube to top-left",
        "add large red object to top-left",
        "add large red cube near top-left",
        "paint red cube blue",
        "make 🙂 object blue",
    ],
)
def test_a_sentence_that_follows_no_template_is_refused_with_an_example(sentence: str) -> None:
    with pytest.raises(FeedbackError, match=r"expected one like|must all be stated"):
        Change.parse(sentence)


PAIR = scene_of(Thing("cube", "red", "small", "top-right"), Thing("cube", "blue", "small", "top-left"))


@pytest.mark.parametrize(
    ("sentence", "complaint"),
    [
        ("remove cube", "2 things of the scene fit 'cube'"),
        ("remove sphere", "0 things of the scene fit 'sphere'"),
        ("make red object red", "changes nothing"),
        ("add small gray sphere to top-left", "two things stand at top-left"),
    ],
)
def test_a_change_that_does_not_apply_says_why(sentence: str, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        Change.parse(sentence).apply(PAIR)


def test_a_change_of_a_kind_and_value_that_do_not_agree_is_refused() -> None:
    with pytest.raises(FeedbackError, match="'make colour' cannot have the value 'large'"):
        Change("make colour", Description(shape="cube"), "large")
    with pytest.raises(FeedbackError, match="'remove' cannot have the value 'red'"):
        Change("remove", Description(shape="cube"), "red")


def test_a_scene_does_not_depend_on_the_order_of_its_things() -> None:
    assert scene_of(*PAIR) == scene_of(*reversed(PAIR))


def test_an_unknown_word_for_a_thing_lists_the_words_there_are() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown colour 'grey'; choose from:.* gray.*Did you mean 'gray'"):
        Thing("cube", "grey", "small", "top-left")


def test_an_unknown_split_lists_the_splits_there_are() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown split 'tset'; choose from: test, train. Did you mean 'test'"):
        World(SIZES["tiny"]).split("tset")


@pytest.mark.parametrize(
    "wrong",
    [
        {"height": 0},
        {"width": 100_000},
        {"train_scenes": 0},
        {"changes": 0},
        {"repeats": 0},
        {"objects": (0, 9)},
        {"objects": (5, 3)},
        {"objects": (1, 10)},
        {"seed": -1},
    ],
)
def test_a_configuration_that_cannot_be_is_refused_with_its_value(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=str(next(iter(wrong.values()))).replace("(", r"\(").replace(")", r"\)")):
        replace(SIZES["tiny"], **wrong)  # type: ignore[arg-type]
