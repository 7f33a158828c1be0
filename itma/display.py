"""How values show themselves in notebooks: small tables and images in HTML, with everything from outside escaped."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from itma.errors import MissingPackageError
from itma.io import write_with

_SIDE, _MOST_PIXELS = 160, 60_000_000
"""Longer side of a thumbnail in pixels; larger files are not opened for one."""
_CARD = "display:inline-block;vertical-align:top;width:168px;margin:4px;font:12px sans-serif;overflow-wrap:anywhere"


def cards(entries: Sequence[tuple[str, str, str, Mapping[str, object]]]) -> str:
    """Images side by side: the path of each, a line above its name, its name, and its metadata."""
    parts = []
    for path, head, name, fields in entries:
        below = "".join(f"<br>{escape(str(column))}: {escape(str(value))}" for column, value in fields.items())
        parts.append(f'<div style="{_CARD}">{_thumbnail(path)}<b>{escape(head)}</b><br>{escape(name)}{below}</div>')
    return f"<div>{''.join(parts) or 'no hits'}</div>"


def report(heads: Sequence[str], rows: Sequence[Mapping[str, Any]], whole: str) -> str:
    """A table of recalls under some lines, with the whole text to unfold."""
    columns = list(rows[0]) if rows else []
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{_cell(row[column])}</td>" for column in columns) + "</tr>" for row in rows)
    lines = "<br>".join(escape(line) for line in heads)
    more = f"<details><summary>all of it</summary><pre>{escape(whole)}</pre></details>"
    return f"<p>{lines}</p><table><tr>{head}</tr>{body}</table>{more}"


def figure(image: Any, text: str) -> str:
    """A Pillow image with a text below it."""
    return f'<img src="{data_url(image)}" style="max-width:100%"><pre>{escape(text)}</pre>'


def frame(rows: Sequence[Mapping[str, Any]]) -> Any:
    """The rows as a `pandas.DataFrame`.

    Raises:
        MissingPackageError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingPackageError("to_pandas", "pandas") from error
    return pandas.DataFrame(list(rows))


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.1%}" if isinstance(value, float) else escape(str(value))


def _thumbnail(path: str) -> str:
    """The image at a path, small; nothing where it is not there or cannot be read."""
    from PIL import Image, ImageOps

    if not Path(path).is_file():
        return ""
    try:
        with Image.open(path) as image:
            if image.width * image.height > _MOST_PIXELS:
                return ""
            image.draft("RGB", (_SIDE, _SIDE))
            small = ImageOps.exif_transpose(image).convert("RGB")
            if image.mode not in ("RGB", "RGBA", "P"):  # the profile of a grey or of inks fits no RGB
                small.info.pop("icc_profile", None)
            small.thumbnail((_SIDE, _SIDE))
    except Exception:  # a thumbnail is a convenience: whatever is wrong with the file, the hit is shown without it
        return ""
    return f'<img src="{data_url(small)}"><br>'


def save_image(image: Any, path: Path) -> None:
    """Write a Pillow image, whole or not at all; the name's ending decides the format.

    Raises:
        StorageError: the disk is full or nothing can be written there.
    """
    from PIL import Image

    kind = Image.registered_extensions()[path.suffix.lower()]
    write_with(path, lambda draft: image.save(draft, kind))


def data_url(image: Any, *, optimize: bool = False) -> str:
    """A Pillow image as the address of an HTML image that needs no file; `optimize`: slower and smaller."""
    data = io.BytesIO()
    image.save(data, "PNG", optimize=optimize)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
