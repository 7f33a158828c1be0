"""HTML written element by element: text is escaped unless it is already markup, and every element is closed."""

import html

VOID = frozenset("br hr img input link meta".split())
"""Elements that have no end tag."""


class Markup(str):
    """Text that is HTML already and is not escaped again."""

    __slots__ = ()


Piece = Markup | str | None
"""What an element may hold: markup as it is, text that is escaped, or nothing."""


def element(tag: str, attributes: dict[str, str | int | float | None] | None = None, *children: Piece) -> Markup:
    """One element with everything in it escaped that is not `Markup`.

    Args:
        tag: the element's name.
        attributes: name → value; those that are None are left out.
        children: what stands inside, in order.

    >>> element("p", {"class": "says"}, "1 < 2", element("b", None, "!"))
    '<p class="says">1 &lt; 2<b>!</b></p>'
    """
    given = "".join(
        f' {name}="{html.escape(_text(value))}"' for name, value in (attributes or {}).items() if value is not None
    )
    inside = joined(*children)
    return Markup(f"<{tag}{given}>" if tag in VOID else f"<{tag}{given}>{inside}</{tag}>")


def joined(*children: Piece) -> Markup:
    """Several pieces one after another, escaped where they are text."""
    return Markup("".join(child if isinstance(child, Markup) else html.escape(child or "") for child in children))


def _text(value: str | int | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
