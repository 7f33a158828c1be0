"""MIT-States: folders are adjectives and nouns, and a query asks for the same noun in another state."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from itma.data.datasets import mitstates
from itma.data.datasets.mitstates import PUBLISHED, TEST_NOUNS, counts, load, protocol
from itma.errors import DataError, UnknownNameError
from itma.measure.evaluate import score

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
    assert list(load(root, "train").triplets.pictures.names) == [
        "mashed apple/a, b%20c.jpg",
        "old boat/1.jpg",
        "ripe apple/1.jpg",
        "ripe apple/2.jpg",
        "sliced apple/1.jpg",
    ]
    assert [name.split()[1].split("/")[0] for name in load(root, "test").triplets.pictures.names] == ["fig"] * 4


def test_a_listing_without_pictures_gives_the_same(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "listing"
    other.mkdir()
    (other / "files.txt").write_bytes(("\ufeff" + "\r\n".join(reversed(FILES.split("\n")))).encode())
    for split in ("train", "test"):
        one, two = load(root, split).triplets, load(other, split).triplets
        assert list(one.pictures.names) == list(two.pictures.names) and one.feedback == two.feedback


def test_a_test_picture_asks_for_every_other_state_of_its_noun(root: Path) -> None:
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
    adjectives = [name.split()[0] for name in triplets.pictures.names]
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
    names = triplets.pictures.names
    seen = set()
    for seed in range(60):
        samples = triplets.drawn(np.arange(len(triplets)), np.random.default_rng(seed))
        for reference, target, said in zip(*samples, strict=True):
            old, new = names[reference].split("/")[0], names[target].split("/")[0]
            assert new == f"{said} apple" and new != old
            seen.add((reference, target))
        pairs = [samples.feedback[row : row + 2] for row in range(0, len(triplets), 2)]
        assert all(one != other for one, other in pairs)  # neighbours ask for different states
    assert len(seen) == 3 + 2 * 2 + 3  # every picture of every other state is drawn


def test_samples_are_a_pure_function_of_their_seed(root: Path) -> None:
    triplets = load(root, "train").triplets
    one, again = (triplets.drawn(np.arange(6), np.random.default_rng(5)) for _ in range(2))
    assert one.targets.tolist() == again.targets.tolist() and one.feedback == again.feedback


def test_a_protocol_of_some_nouns_asks_and_ranks_only_them(tmp_path: Path) -> None:
    (tmp_path / "files.txt").write_text(FILES + "hot tea/1.jpg\ncold tea/1.jpg\n")
    triplets = load(tmp_path, "test").triplets
    (task,) = protocol(triplets, ["tea"]).tasks
    assert [triplets.pictures.names[picture] for picture in task.gallery] == ["cold tea/1.jpg", "hot tea/1.jpg"]
    assert [triplets.feedback[row] for row in task.rows] == ["hot", "cold"]
    with pytest.raises(UnknownNameError, match="unknown noun 'car'; choose from: fig, tea"):
        protocol(triplets, ["car"])


def test_long_file_names_load(tmp_path: Path) -> None:
    name = "x" * 226 + ".jpg"
    (tmp_path / "files.txt").write_text(f"ripe fig/{name}\n")
    assert load(tmp_path, "test").triplets.pictures.names[0].endswith(name)


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
    with pytest.raises(DataError, match="no pictures of MIT-States' test split"):
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
    for split in mitstates.SPLITS:
        assert counts(root, split) == PUBLISHED[split]
