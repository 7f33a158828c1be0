"""MIT-States: folders are adjectives and nouns, and a query asks for the same noun in another state."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from itma.data import datasets
from itma.data.datasets.mitstates import TEST_NOUNS, MitStates, protocol
from itma.errors import DataError, UnknownNameError
from itma.evaluation.evaluate import score

load = partial(datasets.load, "mitstates")


FILES = """\
ripe apple/1.jpg
ripe apple/2.jpg
sliced apple/1.jpg
mashed apple/a, b%20c.jpg
adj apple/1.jpg
old boat/1.jpg
ripe fig/1.jpg
sliced fig/1.jpg
sliced fig/2.jpg
diced fig/1.jpg
blank/1.jpg
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for line in FILES.splitlines():
        path = tmp_path / "images" / line
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def test_splits_share_no_noun_and_odd_folders_are_passed_over(root: Path) -> None:
    assert list(load(root, "train").triplets.images.names) == [
        "mashed apple/a, b%20c.jpg",
        "old boat/1.jpg",
        "ripe apple/1.jpg",
        "ripe apple/2.jpg",
        "sliced apple/1.jpg",
    ]
    assert [name.split()[1].split("/")[0] for name in load(root, "test").triplets.images.names] == ["fig"] * 4


def test_a_listing_without_images_gives_the_same(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "listing"
    other.mkdir()
    (other / "files.txt").write_bytes(("\ufeff" + "\r\n".join(reversed(FILES.split("\n")))).encode())
    for split in ("train", "test"):
        one, two = load(root, split).triplets, load(other, split).triplets
        assert list(one.images.names) == list(two.images.names) and one.feedback == two.feedback


def test_a_test_image_asks_for_every_other_state_of_its_noun(root: Path) -> None:
    split = load(root, "test")
    rows = [(row.reference, row.feedback, row.target) for row in (split.triplets[index] for index in range(8))]
    assert rows == [
        ("diced fig/1.jpg", "ripe", "ripe fig/1.jpg"),
        ("diced fig/1.jpg", "sliced", "sliced fig/1.jpg"),
        ("ripe fig/1.jpg", "diced", "diced fig/1.jpg"),
        ("ripe fig/1.jpg", "sliced", "sliced fig/1.jpg"),
        ("sliced fig/1.jpg", "diced", "diced fig/1.jpg"),
        ("sliced fig/1.jpg", "ripe", "ripe fig/1.jpg"),
        ("sliced fig/2.jpg", "diced", "diced fig/1.jpg"),
        ("sliced fig/2.jpg", "ripe", "ripe fig/1.jpg"),
    ]
    assert len(split.triplets) == 8 and list(split.protocols) == ["mitstates"]
    assert split.triplets.labels.tolist() == [0, 1, 2, 2]


def test_the_adjective_alone_and_the_noun_alone_are_told_apart(root: Path) -> None:
    triplets = load(root, "test").triplets
    assert set(triplets.aspects) == {"adjective", "noun"}
    adjectives = [name.split()[0] for name in triplets.images.names]
    same = triplets.aspects["adjective"][:, None] == triplets.aspects["adjective"]
    assert same.tolist() == [[one == other for other in adjectives] for one in adjectives]
    assert len(set(triplets.aspects["noun"].tolist())) == 1


def test_a_training_sample_is_another_state_of_the_same_noun(root: Path) -> None:
    triplets = load(root, "train").triplets
    assert triplets.draws_targets and [triplets[row].reference for row in range(4)] == [
        "mashed apple/a, b%20c.jpg",
        "mashed apple/a, b%20c.jpg",
        "ripe apple/1.jpg",
        "ripe apple/1.jpg",
    ]  # the boat has no other state
    names = triplets.images.names
    drawn = set()
    for seed in range(60):
        samples = triplets.draw_samples(np.arange(len(triplets)), np.random.default_rng(seed))
        for reference, target, state in zip(*samples, strict=True):
            old, new = names[reference].split("/")[0], names[target].split("/")[0]
            assert new == f"{state} apple" and new != old
            drawn.add((reference, target))
        pairs = [samples.feedback[row : row + 2] for row in range(0, len(triplets), 2)]
        assert all(one != other for one, other in pairs)  # neighbours ask for different states
    assert len(drawn) == 3 + 2 * 2 + 3  # every image of every other state is drawn


def test_samples_are_a_pure_function_of_their_seed(root: Path) -> None:
    triplets = load(root, "train").triplets
    one, again = (triplets.draw_samples(np.arange(6), np.random.default_rng(5)) for _ in range(2))
    assert one.targets.tolist() == again.targets.tolist() and one.feedback == again.feedback


def test_neighbouring_samples_of_one_reference_differ_however_many_stand_together(root: Path) -> None:
    triplets = load(root, "train").triplets
    feedback = triplets.draw_samples(np.zeros(200, dtype=np.int64), np.random.default_rng(0)).feedback
    assert all(one != other for one, other in pairwise(feedback)) and set(feedback) == {"ripe", "sliced"}


def test_a_noun_of_two_states_has_one_answer(tmp_path: Path) -> None:
    (tmp_path / "files.txt").write_text("ripe pear/1.jpg\ncut pear/1.jpg\n")
    samples = load(tmp_path, "train").triplets
    drawn = samples.draw_samples(np.arange(4), np.random.default_rng(0))
    assert drawn.feedback == ["ripe", "ripe", "cut", "cut"] and drawn.targets.tolist() == [1, 1, 0, 0]


def test_every_other_state_is_as_likely_as_the_next(tmp_path: Path) -> None:
    states = [("a", 1), ("b", 5), ("c", 2), ("d", 1)]
    (tmp_path / "files.txt").write_text("".join(f"{s} pear/{n}.jpg\n" for s, count in states for n in range(count)))
    triplets = load(tmp_path, "train").triplets
    rows = np.tile(np.flatnonzero(triplets.references == 6)[:1], 20_000)
    drawn = triplets.draw_samples(np.stack([rows, np.zeros_like(rows)], 1).reshape(-1), np.random.default_rng(0))
    shares = np.bincount(drawn.targets[::2], minlength=9) / 20_000  # of c, with another reference between
    assert shares == pytest.approx(np.array([1 / 3, *[1 / 15] * 5, 0, 0, 1 / 3]), abs=0.02)


def test_images_that_are_not_there_are_not_drawn(root: Path) -> None:
    triplets = load(root, "train").triplets
    present = np.array([True, True, False, True, True])
    triplets = replace(triplets, present=present)
    for seed in range(20):
        samples = triplets.draw_samples(np.arange(2), np.random.default_rng(seed))
        assert present[samples.targets].all() and samples.feedback[0] != samples.feedback[1]


def test_the_examples_of_the_table_hold_every_adjective(tmp_path: Path) -> None:
    states = "cut fresh mashed old ripe sliced young".split()
    (tmp_path / "files.txt").write_text("".join(f"{state} pear/{n}.jpg\n" for state in states for n in range(9)))
    one, again = load(tmp_path, "train").triplets, load(tmp_path, "train").triplets
    assert set(one.feedback) == set(states)  # the words that a model will know come from them
    assert one.feedback == again.feedback and one.targets.tolist() == again.targets.tolist()


def test_what_is_no_image_is_left_out_and_said(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = list(load(root, "train").triplets.images.names)
    for name in ("ripe apple/Thumbs.db", "ripe apple/.DS_Store", "sliced apple/notes.txt"):
        (root / "images" / name).touch()
    (root / "images" / "read me").touch()
    (root / "images" / "ripe apple" / "3.JPG").touch()
    assert list(load(root, "train").triplets.images.names) == sorted([*names, "ripe apple/3.JPG"])
    assert "2 files do not end in .jpg and are left out, e.g. ripe apple/Thumbs.db" in caplog.text
    assert "1 images of train are no references, since their nouns have one adjective only (boat)" in caplog.text


def test_a_listing_that_repeats_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "files.txt").write_text("ripe fig/1.jpg\n\nripe fig/2.jpg\nripe fig/1.jpg\n")
    with pytest.raises(DataError, match=r"row 4: 'ripe fig/1\.jpg' already stands in row 1"):
        load(tmp_path, "test")


def test_a_folder_of_three_words_is_refused(root: Path) -> None:
    (root / "images" / "very ripe fig").mkdir()
    with pytest.raises(DataError, match="very ripe fig' is not named '<adjective> <noun>'; rename it"):
        load(root, "test")


def test_a_protocol_of_some_nouns_asks_and_ranks_only_them(tmp_path: Path) -> None:
    (tmp_path / "files.txt").write_text(FILES + "hot tea/1.jpg\ncold tea/1.jpg\n")
    triplets = load(tmp_path, "test").triplets
    (task,) = protocol(triplets, ["tea"]).tasks
    assert [triplets.images.names[image] for image in task.gallery] == ["cold tea/1.jpg", "hot tea/1.jpg"]
    assert [triplets.feedback[row] for row in task.rows] == ["hot", "cold"]
    with pytest.raises(UnknownNameError, match="unknown noun 'car'; choose from: fig, tea"):
        protocol(triplets, ["car"])


def test_long_file_names_load(tmp_path: Path) -> None:
    name = "x" * 226 + ".jpg"
    (tmp_path / "files.txt").write_text(f"ripe fig/{name}\n")
    assert load(tmp_path, "test").triplets.images.names[0].endswith(name)


def test_wrong_input_is_named(tmp_path: Path, root: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown split of MIT-States 'val'"):
        load(root, "val")
    with pytest.raises(DataError, match=r"is not the folder of MIT-States: expected images .* instead"):
        load(root / "images", "train")
    (tmp_path / "listing").mkdir()
    (tmp_path / "listing/files.txt").write_text("ripe fig/1.jpg\nripe fig\n")
    with pytest.raises(DataError, match=r"files\.txt', row 2: 'ripe fig' is not of the form"):
        load(tmp_path / "listing", "test")
    (tmp_path / "flat/images").mkdir(parents=True)
    (tmp_path / "flat/images/1.jpg").touch()
    with pytest.raises(DataError, match=r"no folders named '<adjective> <noun>'; found: 1\.jpg"):
        load(tmp_path / "flat", "train")
    (tmp_path / "listing/files.txt").write_text("ripe apple/1.jpg\n")
    with pytest.raises(DataError, match="no images of MIT-States' test split"):
        load(tmp_path / "listing", "test")


def test_every_query_has_a_target_besides_its_reference(root: Path) -> None:
    split = load(root, "test")
    rows = np.eye(4, dtype=np.float32)
    evaluation = score(split.triplets, split.protocol(), rows[split.triplets.references], rows)
    assert (evaluation.ranks >= 1).all() and len(evaluation.ranks) == 8


@pytest.mark.realdata
def test_the_published_listing_has_the_published_sizes(real_data: Callable[[str], Path]) -> None:
    root = real_data("mitstates")
    assert len(TEST_NOUNS) == 49
    for split in MitStates.splits:
        assert MitStates(datasets.DataConfig("mitstates")).counts(root, split) == MitStates.published[split]
