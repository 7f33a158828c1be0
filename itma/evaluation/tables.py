"""A table of texts, for people: in columns, or as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Rows of cells under a header.

    >>> print(Table(("model", "recall@1"), (("itma", "41.0 %"),)))
    model  recall@1
    itma   41.0 %
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.header) for row in self.rows)

    def __str__(self) -> str:
        return "\n".join(columns([self.header, *self.rows]))

    def markdown(self) -> str:
        """As Markdown reads it; bars and line ends within cells are escaped."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "\n".join(f"| {' | '.join(map(_escape, line))} |" for line in lines)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines whose columns stand under one another."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _escape(cell: str) -> str:
    return " ".join(cell.replace("|", "\\|").split())
