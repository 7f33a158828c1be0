"""Tables as people keep them: CSV as spreadsheets write it, or JSON Lines → rows, each with the line it stands on."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from itma.data.datasets.reading import read_lines, read_text
from itma.data.datasets.reading import short as short
from itma.errors import DataError
from itma.io import parse_json

JSON_ENDINGS = (".jsonl", ".ndjson")
CSV_ENDINGS = (".csv", ".tsv")

_SEPARATORS = ",;\t|"
_TRIED = 50
"""Rows that decide about the separator."""
_OBJECTS = "expected one object, {…}, on each line"
_WAY_OUT = "give a table saved as UTF-8 (in spreadsheets: “CSV UTF-8”)"


class Row(NamedTuple):
    """One row of a table."""

    line: int
    """The line of the file on which the row begins, from 1."""
    cells: Mapping[str, object]
    """By column; of a CSV always text, without blanks at its ends."""

    def text(self, column: str | None) -> str:
        """A cell with single blanks; JSON's `true` and numbers as a CSV has them; empty for a list or nothing."""
        value = None if column is None else self.cells.get(column)
        if isinstance(value, bool):
            return str(value).lower()
        return " ".join(str(value).split()) if isinstance(value, str | int | float) else ""


@dataclass(frozen=True)
class Table:
    """A file of rows."""

    path: Path
    columns: Sequence[str]
    """In the file's order; a CSV's column without a name is called after its place, e.g. `column 1`."""
    rows: Sequence[Row]
    filled: int = 0
    """Rows of a CSV that were shorter than the header; their last cells are empty."""

    @cached_property
    def named(self) -> Mapping[str, str]:
        """Columns by their names in small letters and with single blanks; of several that are alike, the first.

        >>> Table(Path("items.csv"), ["Base_Colour", "Id"], []).named
        {'id': 'Id', 'base colour': 'Base_Colour'}
        """
        return {" ".join(re.split(r"[\s_\-]+", name.strip().lower())): name for name in reversed(self.columns)}

    def column(self, *names: str) -> str | None:
        """The first of some plain names that there is, as it is written in the file."""
        return next((self.named[name] for name in names if name in self.named), None)

    def error(self, row: Row, problem: str) -> DataError:
        """What to raise for one row.

        Args:
            row: one of the table's.
            problem: what is wrong, what was expected, and the way out.
        """
        return line_error(self.path, row.line, problem)


def line_error(path: Path, line: int, problem: str) -> DataError:
    """What to raise for one line of a file, counted from 1."""
    return DataError(f"{str(path)!r}, line {line:,}: {problem}")


def read_table(path: Path, *, fill: bool = False) -> Table:
    """Read a CSV or JSON Lines file, whichever its name says; one that ends in `.gz` is unpacked.

    Of a CSV the separator is what a first line `sep=;` says, or else the one of comma, semicolon, tab and bar that
    cuts most of the first rows into as many cells as the header. Blank lines are passed over; a cell may hold
    separators and line ends where it stands in double quotes.

    Args:
        path: the file.
        fill: take rows of a CSV that lack cells at their end, as spreadsheets write them, and write the sign of unknown
            characters for halves of characters in JSON; else the first are refused.

    Raises:
        DataError: the file is missing, not UTF-8, empty, of another kind, or damaged; the message names the line.
    """
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    if ending in JSON_ENDINGS:
        return _json_lines(path, fill)
    if ending in CSV_ENDINGS:
        return _csv(path, fill)
    raise DataError(
        f"{str(path)!r} is no table that is known here; give a file ending in "
        f"{', '.join((*JSON_ENDINGS, *CSV_ENDINGS))}"
    )


def _csv(path: Path, fill: bool) -> Table:
    text = read_text(path, _WAY_OUT)
    columns: list[str] = []
    rows: list[Row] = []
    filled = 0
    first, _, rest = text.partition("\n")
    directive = re.fullmatch(r'"?sep=(.)"?', first.strip(" \r"), re.IGNORECASE) or re.fullmatch(r'"?sep=(\t)"?', first)
    text = rest if directive else text
    separator = directive[1] if directive else _separator(text)
    # Strictly: a quote that is never closed would otherwise swallow the rest of the file as one cell.
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 1 + (directive is not None)
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            break
        except csv.Error as error:
            problem = f"the quotes of this row do not fit together ({error})"
            raise line_error(path, line, f'{problem}; inside a quoted cell write "" for a quote') from error
        if not any(cells):
            continue
        if not columns:
            columns = _name(path, line, cells)
            continue
        if fill and len(cells) < len(columns):
            filled += 1
            cells += [""] * (len(columns) - len(cells))
        if len(cells) < len(columns) or any(cells[len(columns) :]):
            listed = ", ".join(columns[:8]) + (", …" if len(columns) > 8 else "")
            problem = f"{len(cells)} cells, but the header has {len(columns)} columns ({listed})"
            raise line_error(path, line, f"{problem}; put a cell that holds the separator into double quotes")
        rows.append(Row(line, dict(zip(columns, cells, strict=False))))
    if not columns:
        raise DataError(f"{str(path)!r} is empty; expected a header with the names of the columns, and rows below it")
    return Table(path, tuple(columns), rows, filled)


def _separator(text: str) -> str:
    def fit(separator: str) -> tuple[int, int]:
        """How many of the first rows have as many cells as the header, and how many those are."""
        try:
            rows = csv.reader(io.StringIO(text), delimiter=separator)
            counts = [len(row) for row in islice((row for row in rows if any(map(str.strip, row))), _TRIED)]
        except csv.Error:
            return 0, 0
        return (counts.count(counts[0]), counts[0]) if counts and counts[0] > 1 else (0, 0)

    return max(_SEPARATORS, key=fit)


def _name(path: Path, line: int, header: Sequence[str]) -> list[str]:
    names = [name or f"column {number}" for number, name in enumerate(header, start=1)]
    if repeated := sorted(name for name, times in Counter(names).items() if times > 1):
        raise line_error(path, line, f"more than one column is called {repeated[0]!r}; give each its own name")
    return names


def _json_lines(path: Path, fill: bool) -> Table:
    columns: dict[str, None] = {}  # unlike a set, keeps the order
    rows = []
    for line, text in enumerate(read_lines(path, _WAY_OUT), start=1):
        if not text.strip():
            continue
        try:
            cells = parse_json(text)
            if fill and "\\ud" in text.lower():  # halves of characters, as they are left where a text was cut
                whole = json.dumps(cells, ensure_ascii=False).encode("utf-16", "surrogatepass")
                cells = parse_json(whole.decode("utf-16", "replace"))
        except (ValueError, RecursionError) as error:
            raise line_error(path, line, f"not JSON ({error}; it begins with {text[:30]!r}); {_OBJECTS}") from error
        if not isinstance(cells, dict):
            raise line_error(path, line, f"{short(cells)} is not an object; {_OBJECTS}")
        columns.update(dict.fromkeys(cells))
        rows.append(Row(line, cells))
    if not rows:
        raise DataError(f"{str(path)!r} is empty; expected one JSON object on each line")
    return Table(path, tuple(columns), rows)
