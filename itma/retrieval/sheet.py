"""A search as one image: the reference, the sentence, and the hits."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from itma.data.images import Source, open_image
from itma.display import save_image, wrap
from itma.errors import ConfigError, ImageError
from itma.records import Hit
from itma.retrieval.request import SearchRequest

_SIDE, _GAP, _LINE, _IN_A_ROW = 180, 10, 18, 5
_GREY, _PALE = (110, 110, 110), (235, 235, 235)


def draw_sheet(reference: Source | None, sentence: str | None, hits: Sequence[Hit]) -> Image.Image:
    """The reference and the sentence on top, below them the hits, five in a row, each with its rank, score and id."""
    rows = max(1, -(-len(hits) // _IN_A_ROW))
    step, width = _SIDE + _GAP, _GAP + _IN_A_ROW * (_SIDE + _GAP)
    top = (_SIDE if reference is not None else 2 * _LINE) + 2 * _GAP
    sheet = Image.new("RGB", (width, top + rows * (step + 2 * _LINE) + _GAP), "white")
    draw, left = ImageDraw.Draw(sheet), _GAP
    if reference is not None:
        _paste(sheet, reference, (_GAP, _GAP))
        left += step
    lines = wrap(sentence or "(no sentence)", ImageFont.load_default(18), width - left - _GAP)
    for index, line in enumerate(lines[:8]):
        draw.text((left, _GAP + index * 24), line, "black" if sentence else _GREY, ImageFont.load_default(18))
    if not hits:
        draw.text((_GAP, top), "nothing found", _GREY, ImageFont.load_default(18))
    for index, hit in enumerate(hits):
        corner = _GAP + index % _IN_A_ROW * step, top + index // _IN_A_ROW * (step + 2 * _LINE)
        _paste(sheet, hit.path or None, corner)
        caption = ", ".join(str(value) for value in hit.fields.values() if value is not None)
        draw.text(
            (corner[0], corner[1] + _SIDE + 2), f"{hit.rank}   {hit.score:.3f}", "black", ImageFont.load_default(13)
        )
        name = whole = caption or hit.id
        length = len(whole)
        while length and draw.textlength(name, ImageFont.load_default(12)) > _SIDE:
            length -= 1
            name = f"{whole[:length]}…" if caption else f"…{whole[-length:]}"
        draw.text((corner[0], corner[1] + _SIDE + _LINE), name, _GREY, ImageFont.load_default(12))
    return sheet


def check_ending(path: Path) -> None:
    """Refuse a name by which no image can be written.

    Raises:
        ConfigError: the ending is that of no format.
    """
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise ConfigError(f"{str(path)!r} does not end in .png, .jpg or .webp, which say what is written")


def save_sheet(path: Path, request: SearchRequest, hits: Sequence[Hit], reference: Source | None) -> Path:
    """Write the image of a search; the name's ending decides the format.

    Raises:
        ConfigError: see `check_ending`.
        StorageError: the file cannot be written.
    """
    check_ending(path)
    save_image(draw_sheet(reference, request.sentence, hits), path)
    return path


def _paste(sheet: Image.Image, source: Source | None, corner: tuple[int, int]) -> None:
    box = (*corner, corner[0] + _SIDE - 1, corner[1] + _SIDE - 1)
    draw = ImageDraw.Draw(sheet)
    try:
        image = None if source is None else open_image(source)
    except ImageError:
        image = None
    if image is None:
        draw.rectangle(box, _PALE)
        draw.text((corner[0] + _GAP, corner[1] + _SIDE // 2), "no image", _GREY, ImageFont.load_default(13))
        return
    image = image.convert("RGB")
    image.thumbnail((_SIDE, _SIDE))
    sheet.paste(image, (corner[0] + (_SIDE - image.width) // 2, corner[1] + (_SIDE - image.height) // 2))
