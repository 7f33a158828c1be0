"""How values show themselves in notebooks: small tables and images in HTML, with everything from outside escaped."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from itma.errors import MissingPackageError
from itma.io import write_with

_SIDE, _MOST_PIXELS = 160, 60_000_000
"""Longer side of a thumbnail in pixels; larger files are not opened for one."""
_CARDS = """<div>
{%- for image, head, name, fields in entries -%}
<div style="display:inline-block;vertical-align:top;width:168px;margin:4px;font:12px sans-serif;overflow-wrap:anywhere">
{%- if image %}<img src="{{ image }}"><br>{% endif %}<b>{{ head }}</b><br>{{ name }}
{%- for column, value in fields.items() %}<br>{{ column }}: {{ value }}{% endfor %}</div>
{%- else %}no hits{% endfor %}</div>"""
_REPORT = """<p>{% for line in heads %}{{ line }}{% if not loop.last %}<br>{% endif %}{% endfor %}</p>
<table><tr>{% for column in rows[0] %}<th>{{ column }}</th>{% endfor %}</tr>
{%- for row in rows %}<tr>{% for value in row.values() %}<td>
{%- if value is float %}{{ "%.1f%%" | format(100 * value) }}{% elif value is not none %}{{ value }}{% endif %}</td>
{%- endfor %}</tr>{% endfor %}</table><details><summary>all of it</summary><pre>{{ whole }}</pre></details>"""
_FIGURE = """<img src="{{ image }}" style="max-width:100%"><pre>{{ text }}</pre>"""


def cards(entries: Sequence[tuple[str, str, str, Mapping[str, object]]]) -> str:
    """Images side by side: the path of each, a line above its name, its name, and its metadata."""
    return _fill(_CARDS, entries=[(_thumbnail(path), *rest) for path, *rest in entries])


def report(heads: Sequence[str], rows: Sequence[Mapping[str, Any]], whole: str) -> str:
    """A table of recalls under some lines, with the whole text to unfold."""
    return _fill(_REPORT, heads=heads, rows=rows, whole=whole)


def figure(image: Any, text: str) -> str:
    """A Pillow image with a text below it."""
    return _fill(_FIGURE, image=data_url(image), text=text)


def _fill(template: str, **values: object) -> str:
    from jinja2 import Environment  # only where something is shown

    return Environment(autoescape=True).from_string(template).render(values)


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


def _thumbnail(path: str) -> str:
    """The address of the image at a path, small; empty where it is not there or cannot be read."""
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
    return data_url(small)


def save_image(image: Any, path: Path) -> None:
    """Write a Pillow image, whole or not at all; the name's ending decides the format.

    Raises:
        StorageError: the disk is full or nothing can be written there.
    """
    from PIL import Image

    kind = Image.registered_extensions()[path.suffix.lower()]
    write_with(path, lambda draft: image.save(draft, kind))


def wrap(text: str, font: Any, width: int) -> list[str]:
    """A text in lines that are at most so many pixels wide, but for words that are wider."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def data_url(image: Any, *, optimize: bool = False) -> str:
    """A Pillow image as the address of an HTML image that needs no file; `optimize`: slower and smaller."""
    data = io.BytesIO()
    image.save(data, "PNG", optimize=optimize)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
