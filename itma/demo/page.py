"""The demo's report: what was measured and found, as one HTML file that needs nothing beside itself.

The page holds its style, its images and its charts; it loads nothing, which its content security policy makes
sure of. It is complete without its one script, which puts a copy button on the commands. What it says stands in
`templates/report.html`; Jinja escapes every text that comes from outside.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from itma import io
from itma.data.images import to_image
from itma.demo.charts import DASHES, MARKS
from itma.demo.numbers import comparison, curves, percent, recall_by_kind, verdict
from itma.demo.story import DemoStory
from itma.display import data_url


def write_page(story: DemoStory, path: str | Path) -> None:
    """Write the story's page to `path`, whole or not at all.

    Raises:
        StorageError: the file could not be written; what was there before is untouched.
    """
    io.write_text(path, page(story))


def page(story: DemoStory) -> str:
    """The story as the text of one HTML file, without a reference to anything outside it."""
    script = _beside("report.js")
    # of the queries that were answered rightly at once that in the fewest words; failing that, the first one as it is
    examples = [example for example in (*story.successes, *story.failures) if example.hits]
    right = [example for example in examples if example.hits[0].right]
    hero = min(right or examples[:1], key=lambda example: len(example.feedback.split()), default=None)
    return render(
        "report.html",
        script=script,
        title="itma demo: an image and a sentence",
        story=story,
        first=story.models[0],
        hero=hero,
        verdict=verdict(story.models),
        columns=comparison(story.models),
        kinds=recall_by_kind(story.models),
        curves=curves(story.models),
    )


@dataclass(frozen=True)
class TurnOnPage:
    """One turn for a page of conversations."""

    text: str
    """The sentence, and what else is to be known of it."""
    images: Sequence[tuple[str, str, str]]
    """(address, caption, and one of `start`, `right`, `wrong`) of each."""


def conversations_page(title: str, head: str, conversations: Sequence[tuple[str, Sequence[TurnOnPage]]]) -> str:
    """Conversations with a simulated user as the text of one HTML file, in the style of the report.

    Args:
        title: of the page.
        head: what stands under it.
        conversations: the heading of each, and its turns, each with its images in a row.
    """
    return render("conversations.html", title=title, head=head, conversations=conversations)


def render(template: str, script: str = "", **values: Any) -> str:
    """A template beside this file, filled in: one HTML file with its style, which loads nothing and runs one script.

    Args:
        template: its name.
        script: the one script that its policy allows; empty: none.
        values: what the template asks for besides.
    """
    style = _beside("report.css")
    policy = f"default-src 'none'; img-src data:; style-src '{_digest(style)}'"
    if script:
        policy += f"; script-src '{_digest(script)}'"
        values |= {"script": Markup(script)}
    return _templates().get_template(template).render(style=Markup(style), policy=policy, **values).lstrip()


def _beside(name: str) -> str:
    return (resources.files("itma.demo") / "templates" / name).read_text(encoding="utf-8")


def _templates() -> Environment:
    """What fills in the templates beside this file; it escapes every text."""
    environment = Environment(
        loader=PackageLoader("itma.demo"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"percent": percent, "data_url": lambda pixels: data_url(to_image(pixels), optimize=True)}
    environment.globals |= {"dashes": DASHES, "marks": MARKS}
    return environment


def _digest(text: str) -> str:
    """What the policy names a style or script by, so that no other one runs."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
