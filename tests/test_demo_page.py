"""The demo's page: complete in one file, true to the reports, safe with any text, and well-formed."""

import base64
import io
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from itma.demo.charts import Line, average_points, line_chart, spread, ticks
from itma.demo.page import page, write_page
from itma.demo.story import DemoStory, Example, ImageHit, ModelResult, Question
from itma.errors import DataError, StorageError
from itma.records import Interval, Report

STEPS = range(10, 510, 10)


VOID = {"img", "meta", "br"}
"""Elements that have no end tag."""


class Reader(HTMLParser):
    """Collects a page's elements, its text, its images, and the tags that do not balance."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> is never closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if len(attrs) != len(dict(attrs)):
            self.faults.append(f"<{tag}> has an attribute twice")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes something else")

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    @property
    def images(self) -> list[torch.Tensor]:
        sources = [str(attributes["src"]).removeprefix("data:image/png;base64,") for attributes in self.all("img")]
        opened = [Image.open(io.BytesIO(base64.b64decode(source))) for source in sources]
        return [torch.from_numpy(np.array(one)).permute(2, 0, 1) for one in opened]


def image(height: int = 8, width: int = 12) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8)


def hits(right: int | None = 0, count: int = 5) -> list[ImageHit]:
    return [ImageHit(image(), 0.9 - 0.25 * number, number == right) for number in range(count)]


def model(name: str = "itma", title: str = "ITMA", recall: float = 0.6, width: float = 0.02) -> ModelResult:
    shares = {1: recall, 5: recall + 0.111, 10: recall + 0.222, 50: recall + 0.333}
    report = Report(
        model=name,
        protocol="every image of the split is ranked",
        queries=1500,
        gallery=3210,
        recall=shares,
        interval={k: Interval(share - width, share + width) for k, share in shares.items()},
        median_rank=1 / recall,
        mean_reciprocal_rank=recall + 0.05,
        tied_queries=7,
        recall_by_kind={"add": {1: recall + 0.01}, "make colour": {1: recall - 0.02}},
        queries_by_kind={"add": 700, "make colour": 800},
    )
    curve: list[dict[str, float]] = [{"step": step, "loss": 3 / step, "seconds": step / 10} for step in STEPS]
    curve += [{"step": step, "test/recall@1": recall * step / 500} for step in (100, 300, 500)]
    return ModelResult(name, title, report, curve, parameters=1_234_567, seconds=75.0)


def example(feedback: str = "make red cube blue", rank: int = 1) -> Example:
    return Example(image(), feedback, "make colour", hits(0 if rank == 1 else None), rank, image())


def story() -> DemoStory:
    return DemoStory(
        models=[model(), model("tirg", "TIRG", 0.45), model("words-only", "words only", 0.05)],
        successes=[example(), example("remove small object")],
        failures=[example("add large sphere", rank=1042)],
        questions=[
            Question("Both", image(), "make it green", hits(None)),
            Question("The image alone", image(), None, hits(None)),
            Question("The words alone", None, "large sphere", hits(None)),
        ],
        world="Scenes of cubes.",
        commands=[("itma search demo/catalogue --text 'a b' && echo <done>", "Ask it yourself.")],
        made_with="itma 0.1, 2 cores, 280 seconds",
    )


def test_every_element_is_closed_where_it_was_opened() -> None:
    assert Reader(page(story())).faults == []


def test_the_page_refers_to_nothing_outside_itself() -> None:
    text = page(story())
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"data:image/png;base64,[\w+/=]+", "", text))
    reader = Reader(text)
    assert all(str(attributes["src"]).startswith("data:") for attributes in reader.all("img"))
    assert all(str(attributes["href"]).startswith("#") for attributes in reader.all("a"))
    assert {"link", "iframe", "object", "embed"}.isdisjoint(tag for tag, _ in reader.elements)


def test_every_link_leads_to_a_part_of_the_page() -> None:
    reader = Reader(page(story()))
    names = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(names) == len(set(names))
    assert {str(attributes["href"]).removeprefix("#") for attributes in reader.all("a")} <= set(names)


def test_the_page_forbids_itself_to_load_anything() -> None:
    (policy,) = [m["content"] for m in Reader(page(story())).all("meta") if "http-equiv" in m]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy


def test_every_image_is_in_the_page_as_it_was() -> None:
    content = story()
    embedded = {tuple(pixels.flatten().tolist()) for pixels in Reader(page(content)).images}
    originals: list[torch.Tensor] = []
    rows: list[Example | Question] = [*content.successes, *content.failures, *content.questions]
    for row in rows:
        originals += [row.reference] if row.reference is not None else []
        originals += [hit.pixels for hit in row.hits]
    originals += [failure.target for failure in content.failures]
    assert all(tuple(pixels.flatten().tolist()) in embedded for pixels in originals)


def test_every_image_says_what_it_is() -> None:
    assert all(attributes["alt"] for attributes in Reader(page(story())).all("img"))


def test_right_hits_are_framed_and_said_to_be_right() -> None:
    content = replace(story(), successes=[example()], failures=[], questions=[])
    reader = Reader(page(content))
    framed = [attributes for attributes in reader.all("figure") if attributes.get("class") == "image right"]
    spoken = [str(attributes["alt"]) for attributes in reader.all("img") if str(attributes["alt"]).endswith(", right")]
    assert len(framed) == len(spoken) == 2  # at the top of the page and among the answers
    assert "0.900 ✓ right" in reader.text


def test_scores_below_zero_are_shown_with_a_minus_sign() -> None:
    assert "−0.100" in Reader(page(story())).text


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "\"><img src=x onerror='y'>", "a & b &lt; c", "</title>"]
)
def test_text_of_any_kind_stays_text(text: str) -> None:
    content = replace(
        story(),
        models=[replace(model(), title=text, name=text, report=replace(model().report, protocol=text, model=text))],
        successes=[replace(example(text), kind=text)],
        questions=[Question(text, None, text, hits())],
        world=text,
        commands=[(text, text)],
        made_with=text,
    )
    reader = Reader(page(content))
    assert reader.faults == []
    assert len(reader.all("script")) == 1
    assert not any("onerror" in attributes for _, attributes in reader.elements)
    assert reader.text.count(text) >= 8


def test_the_table_holds_the_reports_numbers() -> None:
    content = story()
    (table,) = re.findall(r'<table class="comparison".*?</table>', page(content), flags=re.DOTALL)
    rows = [Reader(row).words for row in re.findall(r"<tr.*?</tr>", table, flags=re.DOTALL)[1:]]
    for result, row in zip(content.models, rows, strict=True):
        report = result.report
        texts = [word for word in row if word.strip() not in ("", "★")]
        inside = report.interval[1]
        assert texts[:3] == [result.title, f"{report.recall[1]:.1%}", f"{inside.low:.1%} to {inside.high:.1%}"]
        assert texts[3:6] == [f"{report.recall[k]:.1%}" for k in (5, 10, 50)]
        assert texts[6:8] == [f"{report.median_rank:,g}", f"{report.mean_reciprocal_rank:.3f}"]
        assert texts[8:] == ["1.23 M", "1 min 15 s"]


def test_the_best_of_each_column_is_marked_by_more_than_colour() -> None:
    stars = [row.count("★") for row in table_rows(page(story()))]
    assert stars == [6, 0, 0]  # four recalls, median rank, mean reciprocal rank


def test_models_that_are_equally_good_are_all_marked() -> None:
    content = replace(story(), models=[model(), model("tirg", "TIRG")])
    assert [row.count("★") for row in table_rows(page(content))] == [6, 6]


def test_a_model_alone_is_not_called_the_best() -> None:
    assert [row.count("★") for row in table_rows(page(replace(story(), models=[model()])))] == [0]


@pytest.mark.parametrize(
    ("recall", "other_recall", "width", "sentence"),
    [
        (0.6, 0.45, 0.02, "do not touch"),
        (0.5, 0.48, 0.05, "do not settle which of the two is better"),
        (0.3, 0.45, 0.02, "Here TIRG is ahead"),
    ],
)
def test_the_page_says_whether_the_numbers_settle_it(
    recall: float, other_recall: float, width: float, sentence: str
) -> None:
    models = [model(recall=recall, width=width), model("tirg", "TIRG", other_recall, width)]
    assert sentence in Reader(page(replace(story(), models=models))).text


def test_the_protocol_and_the_ties_stand_by_the_numbers() -> None:
    text = Reader(page(story())).text
    assert text.count("every image of the split is ranked") == 1
    assert "ITMA 7 of 1,500" in text


def test_protocols_that_differ_are_told_apart() -> None:
    other = model("tirg", "TIRG")
    other = replace(other, report=replace(other.report, protocol="another protocol"))
    text = Reader(page(replace(story(), models=[model(), other]))).text
    assert "Protocol of ITMA" in text
    assert "Protocol of TIRG" in text


def test_each_kind_of_feedback_has_its_recall_and_count() -> None:
    text = Reader(page(story())).text
    assert "add 700 queries" in text
    assert "61.0%" in text
    assert "58.0%" in text


def test_data_without_kinds_has_no_part_about_kinds() -> None:
    plain = replace(model(), report=replace(model().report, recall_by_kind={}, queries_by_kind={}))
    assert "By kind of feedback" not in page(replace(story(), models=[plain]))


def test_no_failures_is_said_in_words() -> None:
    reader = Reader(page(replace(story(), failures=[])))
    assert reader.faults == []
    assert "No query was picked for this page that failed." in reader.text


def test_a_failure_shows_the_right_image_and_its_rank() -> None:
    content = story()
    reader = Reader(page(content))
    assert "rank 1,042 of 3,210" in reader.text
    assert any(torch.equal(content.failures[0].target, pixels) for pixels in reader.images)


def test_the_page_begins_with_the_right_answer_to_the_shortest_sentence() -> None:
    long = [example("hello, i am looking for the same with pockets"), example("is it to be had in green, please?")]
    assert re.search(r'class="says">“is it to be had in green, please\?”', page(replace(story(), successes=long)))


def test_a_story_without_examples_still_makes_a_page() -> None:
    bare = replace(story(), successes=[], failures=[], questions=[], commands=[])
    assert Reader(page(bare)).faults == []


@pytest.mark.parametrize(
    "curve",
    [
        [],
        [{"seconds": 1.0}],
        [{"step": 10.0, "loss": 1.0}],
        [{"loss": 1.0}, {"step": 10.0, "test/recall@1": 0.5}],
        [{"step": 10.0, "loss": math.nan}, {"step": 20.0, "loss": 0.0, "test/recall@1": 0.0}],
        [{"step": 0.0, "loss": -1.0, "validation/recall@1": 1.0}],
    ],
)
def test_curves_may_lack_anything(curve: Sequence[dict[str, float]]) -> None:
    text = page(replace(story(), models=[replace(model(), curve=curve), model("tirg", "TIRG")]))
    assert Reader(text).faults == []
    assert not re.search(r'="[^"]*\b(nan|inf)\b', text)
    assert Reader(page(replace(story(), models=[replace(model(), curve=curve)]))).faults == []


def test_a_model_has_the_same_series_in_every_chart() -> None:
    silent = replace(model(), curve=[])
    text = page(replace(story(), models=[silent, model("tirg", "TIRG", 0.4)]))
    (charts,) = re.findall(r'<div class="charts">.*?</div>', text, flags=re.DOTALL)
    assert "series-1" in charts
    assert "series-0" not in charts


def test_a_chart_says_in_words_where_its_lines_end() -> None:
    chart = line_chart([Line("ITMA", [(1, 0.2), (9, 0.5)], 0)], name="Recall", x_name="steps", show="{:.0%}".format)
    assert chart.spoken == "Recall: ITMA ends at 50%"
    assert re.search(r'aria-label="Recall@1 on test queries: ITMA ends at \d+%; TIRG ends', page(story()))


@given(st.floats(1e-6, 1e9))
def test_ticks_are_few_round_and_reach_the_highest_value(high: float) -> None:
    values = ticks(0, high)
    assert 3 <= len(values) <= 9
    assert values[0] == 0
    assert values[-2] < high * (1 + 1e-6)
    assert values[-1] >= high * (1 - 1e-6)


@given(st.lists(st.floats(0, 300), min_size=1, max_size=8))
def test_labels_never_overlap_nor_leave_the_chart(heights: list[float]) -> None:
    placed = spread(heights, gap=19, low=0, high=300)
    ordered = sorted(placed)
    assert all(after - before >= 19 - 1e-6 for before, after in pairwise(ordered))
    assert ordered[0] >= 0
    assert ordered[-1] <= 300 + 1e-6


def test_a_running_mean_leaves_a_straight_line_as_it_is() -> None:
    straight = [(float(x), 2.0 * x) for x in range(200)]
    assert [y for _, y in average_points(straight)] == pytest.approx([y for _, y in straight])


def test_images_of_any_size_are_shown_with_their_own_sides() -> None:
    content = replace(story(), questions=[Question("Tall", image(30, 7), "x", [])])
    assert any((a["width"], a["height"]) == ("7", "30") for a in Reader(page(content)).all("img"))


@pytest.mark.parametrize("pixels", [torch.zeros(3, 4, 5), torch.zeros(4, 5, 3, dtype=torch.uint8)])
def test_pixels_of_another_form_are_refused_with_their_shape(pixels: torch.Tensor) -> None:
    with pytest.raises(DataError, match=re.escape(str(tuple(pixels.shape)))):
        ImageHit(pixels, 0.5, False)


def test_a_story_without_models_is_refused() -> None:
    with pytest.raises(DataError, match="at least one model"):
        replace(story(), models=[])


def test_a_page_of_the_demo_s_size_stays_small() -> None:
    tile = torch.arange(0, 192, 2, dtype=torch.uint8).expand(3, 64, 96).contiguous()
    five = [ImageHit(tile, 0.5, False)] * 5
    examples = [Example(tile, "make it blue", "make", five, 9, tile)] * 14
    assert len(page(replace(story(), successes=examples, failures=examples)).encode()) < 1_000_000


def test_the_page_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    content = story()
    write_page(content, path)
    assert path.read_text(encoding="utf-8") == page(content)
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_a_page_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "report.html" / "taken").mkdir(parents=True)
    with pytest.raises(StorageError, match="report"):
        write_page(story(), tmp_path / "report.html")


def table_rows(text: str) -> list[str]:
    """The rows of the comparison, without its head."""
    (table,) = re.findall(r'<table class="comparison".*?</table>', text, flags=re.DOTALL)
    return [str(row) for row in re.findall(r"<tr.*?</tr>", table, flags=re.DOTALL)[1:]]
