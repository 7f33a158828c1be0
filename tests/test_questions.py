"""Many questions at once: each is answered as if it stood alone, and one that makes no sense harms nobody else."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itma.errors import ConfigError, DataError, FeedbackError, UnknownItemError, UnknownNameError
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.duplicates import one_of_each
from itma.retrieval.ingest.rows import Item
from itma.retrieval.request import SearchRequest
from tests import made_up

pytest.importorskip("lance")


def noise(seed: int) -> Image.Image:
    random = np.random.Generator(np.random.PCG64(seed))
    return Image.fromarray(random.integers(0, 256, size=(20, 30, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """Thirty items of noise with a number and a colour each."""
    folder = tmp_path_factory.mktemp("questions")
    (folder / "photos").mkdir()
    for number in range(3):
        noise(number).save(folder / f"photos/{number}.png")
    built = Catalogue.build(made_up.model(), folder / "photos", folder / "catalogue")
    built.add([Item(f"item-{n}", noise(n), fields={"number": n, "colour": ("red", "blue")[n % 2]}) for n in range(30)])
    return built


QUESTIONS = [
    SearchRequest(text="make red cube", k=4),
    SearchRequest(text="make blue cube", k=9, where={"colour": "red"}),
    SearchRequest(id="item-3", k=3),
    SearchRequest(id="0.png", text="make red cube", fields=["number"]),
    SearchRequest(image=noise(7), k=5),
    SearchRequest(image=noise(8), text="make blue cube", exclude=["item-8"]),
    SearchRequest(image=noise(8), text="make blue cube", emphasis=0.4, unlike=["item-1"]),
    SearchRequest(id="1.png", text="make blue cube", emphasis=-0.4, distinct="colour"),
    SearchRequest(embedding=np.arange(1, 17), where="number < 10"),
    SearchRequest(id="1.png", text="make blue cube", earlier=["make red cube", "cube"]),
    SearchRequest(id="1.png", earlier=["make red cube"]),
]


def test_questions_together_are_answered_as_one_by_one(catalogue: Catalogue) -> None:
    for question, together in zip(QUESTIONS, catalogue.answer(QUESTIONS), strict=True):
        (alone,) = catalogue.answer([question])
        assert not isinstance(alone, Exception) and not isinstance(together, Exception)
        assert [hit.id for hit in together] == [hit.id for hit in alone]
        assert [hit.score for hit in together] == pytest.approx([hit.score for hit in alone], abs=2e-6)
        assert [hit.fields for hit in together] == [hit.fields for hit in alone]


def test_a_question_that_makes_no_sense_has_its_error_and_the_others_their_hits(catalogue: Catalogue) -> None:
    bad = {
        UnknownItemError: SearchRequest(id="nobody"),
        UnknownNameError: SearchRequest(text="make red cube", where={"colr": "red"}),
        FeedbackError: SearchRequest(text="xyzzy"),
        DataError: SearchRequest(),
    }
    answers = catalogue.answer([*bad.values(), QUESTIONS[0]])
    for kind, answer in zip(bad, answers[:-1], strict=True):
        assert isinstance(answer, kind)
    assert answers[-1] == catalogue.search(text="make red cube", k=4)


def test_what_is_unlike_is_no_hit_and_sinks(catalogue: Catalogue) -> None:
    plain = catalogue.search(id="item-3", k=100)
    away = catalogue.search(id="item-3", k=100, unlike=[plain[0].id])
    assert plain[0].id not in [hit.id for hit in away]
    near = catalogue.search(id=plain[0].id, k=1)[0].id
    score = {hit.id: hit.score for hit in plain}
    moved = {hit.id: hit.score for hit in away}
    assert near == "item-3" or moved[near] < score[near]


def test_emphasis_goes_from_the_image_alone_to_the_sentence_alone(catalogue: Catalogue) -> None:
    image, words = noise(4), "make blue cube"
    for emphasis, alone in ((-1, catalogue.search(image)), (1, catalogue.search(text=words))):
        hits = catalogue.search(image, words, emphasis=emphasis)
        assert [hit.id for hit in hits] == [hit.id for hit in alone]
        # scores are rounded, and processors differ in the last digit
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in alone], abs=3e-6)
    joined = catalogue.search(image, words)
    assert joined not in (catalogue.search(image, words, emphasis=0.5), catalogue.search(image))


def test_what_was_said_earlier_counts_before_what_is_said_now(
    catalogue: Catalogue, caplog: pytest.LogCaptureFixture
) -> None:
    hits = catalogue.search(id="1.png", text="make blue cube", earlier=["make red cube", " "])
    assert not caplog.messages  # the word between them is nobody's
    assert hits == catalogue.search(id="1.png", text="make red cube then make blue cube")
    assert hits != catalogue.search(id="1.png", text="make blue cube")
    assert catalogue.search(id="1.png", text="", earlier=[""]) == catalogue.search(id="1.png")
    with pytest.raises(FeedbackError, match="none of the words 'xyzzy'"):
        catalogue.search(id="1.png", text="xyzzy", earlier=["xyzzy"])


def test_an_emphasis_that_has_no_effect_is_noted(catalogue: Catalogue) -> None:
    image, words = noise(4), "make blue cube"
    for alone in ({"image": image}, {"text": words}, {"id": "1.png"}):
        hits = catalogue.search(**alone, emphasis=0.4)  # type: ignore[arg-type]
        assert any("emphasis has no effect" in note for note in hits.notes)
    assert not any("emphasis" in note for note in catalogue.search(image, words, emphasis=0.4).notes)


def test_an_emphasis_beyond_its_range_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(ConfigError, match=r"emphasis=1\.5"):
        catalogue.search(noise(4), "make red cube", emphasis=1.5)


@pytest.mark.parametrize("rows", [1, 7, 33, 100])
def test_pages_hold_every_item_once(catalogue: Catalogue, rows: int) -> None:
    page = catalogue.page(rows)
    items = list(page.items)
    while page.next is not None:
        page = catalogue.page(rows, after=page.next)
        items += page.items
    assert sorted(item.id for item in items) == catalogue.ids
    assert {item.id: item.fields.get("number") for item in items}["item-17"] == 17


def test_a_page_holds_what_matches(catalogue: Catalogue) -> None:
    page = catalogue.page(5, where={"colour": "red"}, fields=["number"])
    assert len(page.items) == 5
    assert all(item.fields["number"] % 2 == 0 for item in page.items)


@pytest.mark.parametrize("mark", ["", "x", "-1", "1.2.3", "9" * 30, "１"])
def test_a_mark_that_is_none_is_refused(catalogue: Catalogue, mark: str) -> None:
    with pytest.raises(DataError, match="no mark of a page"):
        catalogue.page(5, after=mark)


def test_a_write_makes_another_stamp(tmp_path: Path) -> None:
    catalogue = Catalogue.from_embeddings([Item("a", embedding=np.ones(4))], tmp_path / "catalogue")
    before = catalogue.stamp
    catalogue.add([Item("b", embedding=np.ones(4))])
    assert catalogue.stamp != before


@pytest.mark.parametrize("distinct", ["colour", 1.0])
def test_a_hit_that_another_process_removed_meanwhile_is_no_error_where_hits_are_to_differ(
    catalogue: Catalogue, distinct: str | float
) -> None:
    hits = [("gone", 0.9), ("item-0", 0.8), ("item-1", 0.7)]
    assert one_of_each(catalogue.snapshot.items, hits, distinct) == hits[1:]
