"""Tables as people keep them: CSV as spreadsheets write it, or JSON Lines → rows, each with the line it stands on."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from itma.data.datasets.reading import read_lines, read_text
from itma.errors import DataError

JSON_ENDINGS = (".jsonl", ".ndjson")
CSV_ENDINGS = (".csv", ".tsv")

_SEPARATORS = ",;\t|"
_WAY_OUT = "give a table saved as UTF-8 (in spreadsheets: “CSV UTF-8”)"


class Row(NamedTuple):
    """One row of a table."""

    line: int
    """The line of the file on which the row begins, from 1."""
    cells: Mapping[str, object]
    """By column; of a CSV always text, without blanks at its ends."""


@dataclass(frozen=True)
class Table:
    """A file of rows."""

    path: Path
    columns: Sequence[str]
    """In the file's order; a CSV's column without a name is called after its place, e.g. `column 1`."""
    rows: Sequence[Row]

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


def read_table(path: Path) -> Table:
    """Read a CSV or JSON Lines file, whichever its name says; one that ends in `.gz` is unpacked.

    Of a CSV the separator (comma, semicolon, tab or bar) is the one that cuts the header into most columns. Blank
    lines are passed over; a cell may hold separators and line ends where it stands in double quotes.

    Raises:
        DataError: the file is missing, not UTF-8, empty, of another kind, or damaged; the message names the line.
    """
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    if ending in JSON_ENDINGS:
        return _json_lines(path)
    if ending in CSV_ENDINGS:
        return _csv(path)
    raise DataError(
        f"{str(path)!r} is no table that is known here; give a file ending in "
        f"{', '.join((*JSON_ENDINGS, *CSV_ENDINGS))}"
    )


def short(value: object) -> str:
    """A value as JSON, cut to a readable length."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"


def _csv(path: Path) -> Table:
    text = read_text(path, _WAY_OUT)
    columns: list[str] = []
    rows: list[Row] = []
    # Strictly: a quote that is never closed would otherwise swallow the rest of the file as one cell.
    reader = csv.reader(io.StringIO(text), delimiter=_separator(text), strict=True)
    while True:
        line = reader.line_num + 1
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
            columns = _named(path, line, cells)
            continue
        if len(cells) < len(columns) or any(cells[len(columns) :]):
            raise line_error(
                path,
                line,
                f"{len(cells)} cells, but the header has {len(columns)} columns ({_listed(columns)}); put a cell that "
                "holds the separator into double quotes",
            )
        rows.append(Row(line, dict(zip(columns, cells, strict=False))))
    if not columns:
        raise DataError(f"{str(path)!r} is empty; expected a header with the names of the columns, and rows below it")
    return Table(path, tuple(columns), rows)


def _separator(text: str) -> str:
    def columns(separator: str) -> int:
        try:
            rows = csv.reader(io.StringIO(text), delimiter=separator)
            return len(next(row for row in rows if any(cell.strip() for cell in row)))
        except (StopIteration, csv.Error):
            return 0

    return max(_SEPARATORS, key=columns)


def _named(path: Path, line: int, header: Sequence[str]) -> list[str]:
    names = [name or f"column {place}" for place, name in enumerate(header, start=1)]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise line_error(path, line, f"more than one column is called {repeated[0]!r}; give each its own name")
    return names


def _json_lines(path: Path) -> Table:
    columns: dict[str, None] = {}  # unlike a set, keeps the order
    rows = []
    for line, text in enumerate(read_lines(path, _WAY_OUT), start=1):
        if not text.strip():
            continue
        try:
            cells = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise line_error(
                path,
                line,
                f"not JSON ({error}; it begins with {text[:30]!r}); expected one object, {{…}}, on each line",
            ) from error
        if not isinstance(cells, dict):
            raise line_error(path, line, f"{short(cells)} is not an object; expected one object, {{…}}, on each line")
        columns.update(dict.fromkeys(cells))
        rows.append(Row(line, cells))
    if not rows:
        raise DataError(f"{str(path)!r} is empty; expected one JSON object on each line")
    return Table(path, tuple(columns), rows)


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(columns[:8]) + (", …" if len(columns) > 8 else "")
