"""A search as one image."""

import errno
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from itma.errors import StorageError
from itma.records import Hit
from itma.retrieval.request import SearchRequest
from itma.retrieval.sheet import draw_sheet, save_sheet


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


def test_what_stood_there_stays_where_the_image_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "sheet.png"
    file.write_bytes(b"before")

    def fill_the_disk(image: Image.Image, path: Path, *_: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(Image.Image, "save", fill_the_disk)
    with pytest.raises(StorageError, match="the disk is full"):
        save_sheet(file, SearchRequest(text="in red"), [], None)
    assert file.read_bytes() == b"before" and list(tmp_path.iterdir()) == [file]
