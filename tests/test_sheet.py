"""A search as one image."""

from typing import Any

import pytest
from PIL import ImageDraw

from itma.records import Hit
from itma.retrieval.sheet import draw_sheet


def test_a_name_without_room_shows_where_it_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def note(self: ImageDraw.ImageDraw, corner: object, text: str, *_: Any) -> None:
        drawn.append(text)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    hits = [
        Hit(1, f"shelf/{'long' * 20}.jpg", 0.5, ""),
        Hit(2, "short.jpg", 0.4, ""),
        Hit(3, "a.jpg", 0.3, "", {"name": "a name of many words, " * 9}),
    ]
    draw_sheet(None, "in red", hits)
    first, second, third = drawn[3::3]
    assert first.startswith("…") and first.endswith("long.jpg") and second == "short.jpg"
    assert third.startswith("a name") and third.endswith("…")
