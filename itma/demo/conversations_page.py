"""Conversations with a simulated user as one HTML file that needs nothing beside itself, in the style of the report."""

from collections.abc import Sequence
from dataclasses import dataclass

from itma.demo.page import render


@dataclass(frozen=True)
class ShownTurn:
    """One turn for a page of conversations."""

    said: str
    """The sentence, and what else is to be known of it."""
    images: Sequence[tuple[str, str, str]]
    """(address, caption, and one of `start`, `right`, `wrong`) of each."""


def conversations_page(title: str, head: str, conversations: Sequence[tuple[str, Sequence[ShownTurn]]]) -> str:
    """The text of one HTML file: of each conversation its heading, and every turn with its images in a row."""
    return render("conversations.html", title=title, head=head, conversations=conversations)
