"""Fashion200k: captions that differ in one word are siblings, and a query replaces that word."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itma.data import datasets
from itma.data.datasets.fashion200k import Fashion200k, Groups, feedback, plain, siblings
from itma.errors import DataError, UnknownNameError

DATA = Fashion200k(datasets.DataConfig("fashion200k"))
load = partial(datasets.load, "fashion200k")


TRAIN = """\
women/a/1.jpeg\t0.9\tblack lace dress
women/a/2.jpeg\t0.9\tblack lace dress
women/b/1.jpeg\t0.5\tred lace dress
women/c/1.jpeg\t0.5\tblack silk dress
women/d/1.jpeg\t0.5\tgreen wool coat
"""
TEST = "women/t/1.jpeg\t0.9\tblue 3.5 skirt\nwomen/t/2.jpeg\t0.9\tred 3.5 skirt\nwomen/t/3.jpeg\t0.9\tred 3.5 skirt\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/dress_train_detect_all.txt").write_text(TRAIN)
    (tmp_path / "labels/skirt_test_detect_all.txt").write_text(TEST)
    (tmp_path / "test_queries.txt").write_text("women/t/1.jpeg women/t/2.jpeg\nwomen/t/2.jpeg women/t/1.jpeg\n")
    return tmp_path


def siblings_the_slow_way(captions: list[str], own: str) -> set[str]:
    parents = {own.replace(word, "").replace("  ", " ").strip() for word in own.split()}
    return {
        other
        for other in set(captions) - {own}
        if parents & {other.replace(word, "").replace("  ", " ").strip() for word in other.split()}
    }


@given(st.lists(st.lists(st.sampled_from("a b ab c abc d".split()), min_size=1, max_size=4).map(" ".join), min_size=1))
def test_siblings_share_a_caption_with_one_word_taken_out_wherever_it_stands(captions: list[str]) -> None:
    texts = list(dict.fromkeys(captions))
    parents_of, children = siblings(texts)
    for index, caption in enumerate(texts):
        family = [members(children, parent) for parent in members(parents_of, index)]
        assert all(len(some) == len(set(some)) > 1 and index in some for some in family)
        assert {texts[child] for some in family for child in some} - {caption} == siblings_the_slow_way(texts, caption)


def members(groups: Groups, group: int) -> list[int]:
    indices: list[int] = groups.members[groups.bounds[group] : groups.bounds[group + 1]].tolist()
    return indices


def test_training_rows_are_the_images_whose_caption_has_siblings(root: Path) -> None:
    triplets = load(root, "train").triplets
    assert [triplets.images.names[reference] for reference in triplets.references] == [
        "women/a/1.jpeg",
        "women/a/2.jpeg",
        "women/b/1.jpeg",
        "women/c/1.jpeg",
    ]
    assert triplets.draws_targets and triplets.labels.tolist() == [0, 0, 1, 2, 3]


def test_a_training_sample_goes_to_a_sibling_and_says_how(root: Path) -> None:
    triplets = load(root, "train").triplets
    drawn = set()
    for seed in range(80):
        samples = triplets.draw_samples(np.arange(4), np.random.default_rng(seed))
        assert (triplets.labels[samples.references] != triplets.labels[samples.targets]).all()
        drawn |= {
            (triplets.images.names[reference], sentence, triplets.images.names[target])
            for reference, target, sentence in zip(*samples, strict=True)
        }
    assert {row for row in drawn if row[0] == "women/b/1.jpeg"} == {
        ("women/b/1.jpeg", "replace red with black", "women/a/1.jpeg"),
        ("women/b/1.jpeg", "replace red with black", "women/a/2.jpeg"),
    }
    assert ("women/a/1.jpeg", "replace lace with silk", "women/c/1.jpeg") in drawn
    assert not any("women/d/1.jpeg" in row for row in drawn)


def test_samples_are_a_pure_function_of_their_seed(root: Path) -> None:
    triplets = load(root, "train").triplets
    one, again = (triplets.draw_samples(np.arange(4), np.random.default_rng(5)) for _ in range(2))
    assert one.targets.tolist() == again.targets.tolist() and one.feedback == again.feedback


def test_test_queries_are_those_of_the_file_and_any_image_of_the_caption_counts(root: Path) -> None:
    split = load(root, "test")
    assert [str(split.triplets.feedback[row]) for row in range(2)] == ["replace blue with red", "replace red with blue"]
    assert split.triplets.labels.tolist() == [0, 1, 1]
    assert split.protocol().name == "fashion200k" and split.protocol().tasks[0].gallery.tolist() == [0, 1, 2]


def test_marks_are_written_out() -> None:
    assert plain(" a.b? c&d *e ") == "adotmarkb" + "questionmark candmarkd starmarke"


def test_captions_without_a_difference_take_their_last_words() -> None:
    assert feedback("red dress", "red dress") == "replace dress with dress"
    assert feedback("red red dress", "red dress long") == "replace dress with long"


def test_windows_line_ends_a_byte_order_mark_and_odd_letters_load(root: Path) -> None:
    path = root / "labels/dress_train_detect_all.txt"
    path.write_bytes(("\ufeff" + TRAIN + "women/e/1.jpeg\t0.1\tpiqué cafÃ© top\n\n").replace("\n", "\r\n").encode())
    triplets = load(root, "train").triplets
    assert len(triplets.labels) == 6 and triplets.images.names[0] == "women/a/1.jpeg"


def test_wrong_input_is_named(root: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown split of Fashion200k 'val'"):
        load(root, "val")
    with pytest.raises(DataError, match="is not the folder of Fashion200k: expected labels in it"):
        load(root / "labels", "train")
    (root / "test_queries.txt").write_text("women/t/1.jpeg women/t/2.jpeg\nwomen/t/9.jpeg women/t/2.jpeg\n")
    with pytest.raises(DataError, match=r"test_queries\.txt', row 2: the image 'women/t/9\.jpeg' is in none"):
        load(root, "test")
    (root / "test_queries.txt").write_text("women/t/1.jpeg\n")
    with pytest.raises(DataError, match=r"row 1: expected two paths"):
        load(root, "test")
    (root / "test_queries.txt").unlink()
    with pytest.raises(DataError, match=r"test_queries\.txt' does not exist"):
        load(root, "test")
    (root / "labels/dress_train_detect_all.txt").write_text(TRAIN + "women/x.jpeg black dress\n")
    with pytest.raises(DataError, match=r"dress_train_detect_all\.txt', row 6: expected path, score and caption"):
        load(root, "train")
    (root / "labels/dress_train_detect_all.txt").unlink()
    with pytest.raises(DataError, match=r"no files named '<category>_train_detect_all\.txt'; found: skirt_test"):
        load(root, "train")


def test_samples_are_drawn_with_the_published_chances(tmp_path: Path) -> None:
    texts = ["a b", "a c", "a c", "d b", "e b", "a b"]
    (tmp_path / "labels").mkdir()
    rows = "".join(f"women/{number}.jpeg\t1\t{text}\n" for number, text in enumerate(texts))
    (tmp_path / "labels/x_train_detect_all.txt").write_text(rows)
    triplets = load(tmp_path, "train").triplets
    drawn = triplets.draw_samples(np.zeros(20_000, dtype=np.int64), np.random.default_rng(0))
    shares = np.bincount(drawn.targets, minlength=6) / 20_000
    # Of "a b", parent "a" has two captions and "b" three: both are as likely before the own caption is drawn again.
    other, each = 1 / 2 * 1 / 2, 1 / 2 * 1 / 3
    expected = np.array([0, other / 2, other / 2, each, each, 0]) / (other + 2 * each)
    assert shares == pytest.approx(expected, abs=0.02)


def test_the_examples_of_the_table_are_samples_and_always_the_same(root: Path) -> None:
    one, again = load(root, "train").triplets, load(root, "train").triplets
    assert one.feedback == again.feedback and one.targets.tolist() == again.targets.tolist()
    assert (one.labels[one.references] != one.labels[one.targets]).all()


def test_captions_and_counts_are_told(root: Path) -> None:
    assert DATA.captions(root, "test") == {
        "women/t/1.jpeg": "blue 3dotmark5 skirt",
        "women/t/2.jpeg": "red 3dotmark5 skirt",
        "women/t/3.jpeg": "red 3dotmark5 skirt",
    }
    assert DATA.counts(root, "test") == {"images": 3, "queries": 2} and DATA.counts(root, "train") == {"images": 5}
    assert set(Fashion200k.published["test"]) == {"images", "queries"}


def test_an_image_that_is_listed_again_is_kept_and_said(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "labels/top_test_detect_all.txt").write_text("women/t/1.jpeg\t0.9\tgreen top\n")
    triplets = load(root, "test").triplets
    assert len(triplets.labels) == 4 and triplets.references.tolist() == [3, 1]  # the last one, as published
    assert "1 lines of test name an image again" in caplog.text


def test_odd_names_and_captions_stay_as_they_are(root: Path) -> None:
    name = "women/100%25 silk, red/" + "x" * 225 + ".jpeg"
    (root / "labels/dress_train_detect_all.txt").write_text(
        TRAIN + f"{name}\t0.9\t  womenâ\x80\x99s silk dress  \textra\n"
    )
    assert DATA.captions(root, "train")[name] == "womenâ\x80\x99s silk dress"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("women/x.jpeg\t0.9\t ", "the image 'women/x.jpeg' has no caption"),
        ("women/x.jpeg\t0.9", "expected path, score and caption with tabs between, found 'women/x.jpeg"),
        ("../x.jpeg\t0.9\tred", "'../x.jpeg' is not a path such as"),
        ("/etc/x.jpeg\t0.9\tred", "'/etc/x.jpeg' is not a path such as"),
        ("\t0.9\tred", "'' is not a path such as"),
        ("a\0b.jpeg\t0.9\tred", "'a\\x00b.jpeg' is not a path such as"),
    ],
)
def test_a_line_that_makes_no_sense_is_named(root: Path, line: str, problem: str) -> None:
    (root / "labels/dress_train_detect_all.txt").write_text(TRAIN + line + "\n")
    with pytest.raises(DataError) as error:
        load(root, "train")
    assert f"dress_train_detect_all.txt', row 6: {problem}" in str(error.value) and "get the label" in str(error.value)


def test_a_query_from_an_image_to_itself_is_named(root: Path) -> None:
    (root / "test_queries.txt").write_text("\nwomen/t/1.jpeg women/t/1.jpeg\n")
    with pytest.raises(DataError, match=r"row 2: reference and target are one image, 'women/t/1\.jpeg'"):
        load(root, "test")
    (root / "test_queries.txt").write_text("\n")
    with pytest.raises(DataError, match=r"test_queries\.txt' holds no queries; get it from"):
        load(root, "test")


def test_labels_that_teach_nothing_are_named(root: Path) -> None:
    (root / "labels/dress_train_detect_all.txt").write_text("women/x.jpeg\t0.9\tred dress\n")
    with pytest.raises(DataError, match=r"no two of the 1 captions in '.*labels' differ in one word"):
        load(root, "train")
    (root / "labels/dress_train_detect_all.txt").write_text("\n")
    with pytest.raises(DataError, match=r"the label files of train in '.*labels' are empty"):
        load(root, "train")


@pytest.mark.realdata
def test_the_real_labels_load_and_every_drawn_sample_is_of_siblings(real_data: Callable[[str], Path]) -> None:
    triplets = load(real_data("fashion200k"), "train").triplets
    samples = triplets.draw_samples(np.arange(len(triplets)), np.random.default_rng(0))
    assert len(triplets) > 1_000
    assert (triplets.labels[samples.references] != triplets.labels[samples.targets]).all()
    assert all(sentence.startswith("replace ") and " with " in sentence for sentence in samples.feedback)
