"""The demo's report: what was measured and found, as one HTML file that needs nothing beside itself.

The page holds its style, its pictures and its charts; it loads nothing, which its content security policy makes
sure of. It is complete without its one script, which puts a copy button on the commands.
"""

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image

from itma import io
from itma.demo.markup import Markup, Piece, element, joined
from itma.demo.numbers import by_kind, comparison, curves, percent
from itma.demo.story import Asked, DemoStory, Example, ModelResult, Shown

__all__ = ["Asked", "DemoStory", "Example", "ModelResult", "Shown", "page", "write_page"]


def write_page(story: DemoStory, path: str | Path) -> None:
    """Write the story's page to `path`, whole or not at all.

    Raises:
        StorageError: the file could not be written; what was there before is untouched.
    """
    io.write_text(path, page(story))


def page(story: DemoStory) -> str:
    """The story as the text of one HTML file, without a reference to anything outside it."""
    style = Markup((resources.files("itma.demo") / "page.css").read_text(encoding="utf-8"))
    sections = [
        _section("numbers", "How well it finds", comparison(story.models)),
        _section("kinds", "By kind of feedback", by_kind(story.models)),
        _section("training", "How they learned", curves(story.models)),
        _section("answers", "What it finds", _answers(story)),
        _section("failures", "Where it fails", _failures(story)),
        _section("catalogue", "Questions to the catalogue", _questions(story.asked)),
        _section("next", "What to type next", _commands(story.commands)),
    ]
    shown = [section for section in sections if section is not None]
    head = element(
        "head",
        None,
        element("meta", {"charset": "utf-8"}),
        element("meta", {"http-equiv": "Content-Security-Policy", "content": _policy(style)}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        element("title", None, "itma demo: a picture and a sentence"),
        element("style", None, style),
    )
    body = element(
        "body",
        None,
        element("header", None, *_opening(story)),
        element("nav", {"aria-label": "Sections"}, *(_link(name, title) for name, title, _ in shown)),
        element("main", None, _how_to_read(story), *(section for _, _, section in shown)),
        element("footer", None, element("p", None, f"Made with {story.made_with}")),
        element("script", None, Markup(_SCRIPT)),
    )
    return f"<!DOCTYPE html>\n{element('html', {'lang': 'en'}, head, body)}\n"


_SCRIPT = """
for (const block of document.querySelectorAll(".command")) {
  if (!navigator.clipboard) break;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(block.querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  block.append(button);
}
"""

_Section = tuple[str, str, Markup]


def _policy(style: str) -> str:
    """Nothing may be loaded, and no style or script runs but our own two, known by their hashes."""

    def known(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return f"default-src 'none'; img-src data:; style-src {known(style)}; script-src {known(_SCRIPT)}"


def _section(name: str, title: str, pieces: Sequence[Piece]) -> _Section | None:
    if not pieces:
        return None
    return name, title, element("section", {"id": name}, element("h2", None, title), *pieces)


def _link(name: str, title: str) -> Markup:
    return element("a", {"href": f"#{name}"}, title)


# --- the top of the page ------------------------------------------------------------------------------------------


def _opening(story: DemoStory) -> list[Piece]:
    lead = (
        "Give itma a picture and say what should change: it puts the pictures that fit both first. All below was "
        "computed by one run of the demo, failures included."
    )
    return [
        element("p", {"class": "brand"}, "itma demo"),
        element("h1", None, "Find pictures with a picture and a sentence"),
        element("p", {"class": "lead"}, lead),
        element("p", {"class": "world"}, story.world) if story.world else None,
        _hero(story),
    ]


_FEW_WORDS = 7
"""Words of a sentence that is easily read at the top of a page."""


def _hero(story: DemoStory) -> Markup | None:
    """A query that was answered rightly at once, in few words if there is one; failing that, the first one as it is."""
    examples = [example for example in (*story.successes, *story.failures) if example.hits]
    right = [example for example in examples if example.hits[0].right]
    short = [example for example in right if len(example.feedback.split()) <= _FEW_WORDS]
    example = next(iter([*short, *right, *examples]), None)
    if example is None:
        return None
    return element(
        "div",
        {"class": "hero"},
        _picture(example.reference, "the reference picture", "like this one …"),
        element("p", {"class": "says"}, f"“{example.feedback}”"),
        _hit(example.hits[0], 1, before="first hit, score "),
    )


def _how_to_read(story: DemoStory) -> Markup:
    report = story.models[0].report
    terms = [
        ("Reference, feedback", "the picture that is pointed at, and the sentence that says what should change."),
        ("Gallery", f"the {report.gallery:,} pictures that are ranked for each of {report.queries:,} queries."),
        ("Score", "how near a picture is to the query: the cosine of their embeddings, at most 1. Higher is nearer."),
        ("Rank", "the place of the right picture in the gallery; 1 is the best. Several pictures may be right."),
        ("Recall@k", "the share of queries with a right picture among the first k hits."),
    ]
    frame = element(
        "div",
        None,
        element("dt", None, "A green frame and ", element("span", {"class": "right-word"}, "✓ right")),
        element("dd", None, "mark a hit that is a right picture."),
    )
    pairs = (element("div", None, element("dt", None, term), element("dd", None, meaning)) for term, meaning in terms)
    return element(
        "section",
        {"id": "reading"},
        element("h2", None, "How to read this page"),
        element("dl", None, *pairs, frame),
    )


# --- the pictures -------------------------------------------------------------------------------------------------


def _answers(story: DemoStory) -> list[Piece]:
    if not story.successes:
        return []
    told = f"Queries and the first hits of {story.models[0].title}, best first."
    return [element("p", None, told), *(_example(example, story, missed=False) for example in story.successes)]


def _failures(story: DemoStory) -> list[Piece]:
    report = story.models[0].report
    share = report.recall.get(1)
    told = "" if share is None else f"In {percent(1 - share)} of the queries the first hit is not a right picture. "
    if not story.failures:
        return [element("p", None, f"{told}No query was picked for this page that failed.")]
    told += "Some of them, with a right picture at the end of each row and the rank it was given:"
    return [element("p", None, told), *(_example(example, story, missed=True) for example in story.failures)]


def _example(example: Example, story: DemoStory, *, missed: bool) -> Markup:
    place = f"right picture: rank {example.rank:,} of {story.models[0].report.gallery:,}"
    kind = joined(element("span", {"class": "kind"}, example.kind), " ") if example.kind else None
    wanted = _picture(example.target, "a right picture", f"right: rank {example.rank:,}", "wanted")
    return element(
        "article",
        {"class": "query"},
        _picture(example.reference, "the reference picture", "reference"),
        element("p", {"class": "says"}, f"“{example.feedback}”"),
        element("p", {"class": "about"}, kind, place),
        _hits(example.hits, wanted if missed else None),
    )


def _questions(asked: Sequence[Asked]) -> list[Piece]:
    return [
        element(
            "article",
            {"class": "query"},
            element("div", {"class": "picture none"}, "no picture")
            if question.reference is None
            else _picture(question.reference, "the reference picture", "reference"),
            element("p", {"class": "says"}, f"“{question.feedback}”")
            if question.feedback is not None
            else element("p", {"class": "says none"}, "no words"),
            element("h3", {"class": "about"}, question.title),
            _hits(question.hits, None),
        )
        for question in asked
    ]


def _hits(hits: Sequence[Shown], wanted: Markup | None) -> Markup:
    items = [element("li", None, _hit(hit, place)) for place, hit in enumerate(hits, start=1)]
    if wanted:
        items.append(element("li", {"class": "wanted"}, wanted))
    return element("ol", {"class": "hits"}, *items)


def _hit(hit: Shown, place: int, *, before: str = "") -> Markup:
    score = f"{hit.score:.3f}".replace("-", "−")
    right = joined(" ", element("span", {"class": "right-word"}, "✓ right")) if hit.right else None
    spoken = f"hit {place}, score {score}, {'right' if hit.right else 'not right'}"
    return _picture(hit.pixels, spoken, joined(before, score, right), "right" if hit.right else "")


def _picture(pixels: torch.Tensor, spoken: str, caption: Piece, name: str = "") -> Markup:
    height, width = pixels.shape[1:]
    image = element("img", {"src": _data(pixels), "alt": spoken, "width": width, "height": height})
    return element("figure", {"class": f"picture {name}".strip()}, image, element("figcaption", None, caption))


def _data(pixels: torch.Tensor) -> str:
    file = BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).contiguous().cpu().numpy()).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


# --- the end of the page ------------------------------------------------------------------------------------------


def _commands(commands: Sequence[tuple[str, str]]) -> list[Piece]:
    return [
        element(
            "div",
            None,
            element("p", None, why),
            element("div", {"class": "command"}, element("pre", {"tabindex": 0}, element("code", None, command))),
        )
        for command, why in commands
    ]
