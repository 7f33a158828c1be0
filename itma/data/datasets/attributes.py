"""Triplets made from a table of attributes: for a shop that knows colour and sleeve of its items but has no captions.

Two items that differ in one or two attributes and agree in the rest become a reference and a target, and the difference
a sentence: “blue instead of red, and with long sleeves”. `itma.data.datasets.own` reads what is written.
"""

import csv
import hashlib
import io
import json
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from itma.data.datasets import own
from itma.data.datasets.image_finder import IMAGES, Finder
from itma.data.datasets.pairs import Pairs, find_pairs
from itma.data.datasets.tables import Row, Table, read_table
from itma.data.datasets.templates import NO, YES, Templates, default_text, read_templates
from itma.errors import ConfigError, DataError, UnknownNameError
from itma.io import file_sum, parse_json, write_text

log = logging.getLogger(__name__)

IMAGE_COLUMNS = ("file", "picture", "image", "path", "filename")
TRIPLETS, TEMPLATES, MADE = own.FILES[0], "templates.toml", "made.json"
MOST_ATTRIBUTES = 60

_UNKNOWN = frozenset({"", "?", "-", "–", "n/a", "na", "nan", "null", "unknown"})
_YES_OR_NO = ({YES: YES, NO: NO}, {"yes": YES, "no": NO}, {"y": YES, "n": NO}, {"t": YES, "f": NO}, {"1": YES, "0": NO})
_FEW = 20
"""A column of so many different values is taken for an attribute, whatever the values are."""


@dataclass(frozen=True)
class Summary:
    """What was made from a table of attributes."""

    folder: Path
    """Holds `triplets.jsonl`, `labels.csv`, their sums in `made.json`, and the templates unless these are elsewhere."""
    items: int
    train: int
    """Triplets to learn from."""
    test: int
    """Triplets to be measured on; their items are in no training triplet."""
    kinds: Mapping[str, int]
    """The attributes that change → triplets."""
    attributes: Mapping[str, int]
    """Attribute → how many values it has."""
    left_out: Mapping[str, str]
    """Column that was not taken for an attribute → why."""
    without_pair: int
    """Items that differ from every other in too many attributes."""
    missing: int
    """Images that are not there."""
    templates: Path
    """Where the sentence templates are."""

    def __str__(self) -> str:
        counts = f"{self.train:,} triplets for training and {self.test:,} for testing, from {self.items:,} items"
        lines = [
            f"{counts}, in {self.folder}",
            "attributes: " + ", ".join(f"{name} ({count:,} values)" for name, count in self.attributes.items()),
            *(f"not an attribute: {name} ({why})" for name, why in self.left_out.items()),
            *(f"  {count:>9,} × {kind}" for kind, count in self.kinds.items()),
        ]
        if self.without_pair:
            lines.append(
                f"{self.without_pair:,} items are in no triplet as a reference: nothing is near enough to them"
            )
        if self.missing:
            lines.append(f"{self.missing:,} of {self.items:,} images are not there")
        lines.append(f"sentence templates, to be edited: {self.templates}")
        return "\n".join(lines)


class _Items(NamedTuple):
    """The images of a table, each once."""

    table: Table
    rows: Sequence[Row]
    names: Sequence[str]
    """(items): the images as the table names them."""
    owners: Sequence[str]
    """(items): the id of each; without such a column, its image."""
    others: Sequence[str]
    """The columns beside image and id."""


class _Column(NamedTuple):
    """One attribute of all items."""

    values: Sequence[str]
    """As they are spelt most often; `true` and `false` where they are yes or no."""
    codes: np.ndarray
    """(items,) int64: index into `values`; −1 where unknown."""

    def of(self, item: int) -> str:
        """What an item has; empty where that is unknown."""
        return "" if self.codes[item] < 0 else self.values[self.codes[item]]


def make(
    table: str | Path,
    out: str | Path,
    *,
    templates: str | Path | None = None,
    differing: tuple[int, int] = (1, 2),
    per_reference: int = 4,
    seed: int = 0,
    split: float = 0.1,
    within: str | None = None,
    attributes: Sequence[str] | None = None,
) -> Summary:
    """Make triplets from a table of attributes: `triplets.jsonl` with a split by item, `labels.csv`, `templates.toml`.

    What is written depends on the table, the templates and the arguments alone. Items of the same attributes have one
    label: in training they are no negatives of each other, and in an evaluation each counts where one of them does.
    An empty cell (also `-`, `?`, `n/a`, `unknown` …) is unknown: in a pair with that item the attribute is passed over.

    Args:
        table: a CSV (or JSON Lines) file with a column `file`, `picture` or `image` that names images relative to the
            table's folder or to `images` in it; if it likes an `id`, of which several rows are one item's images;
            and attributes.
        out: the folder for what is made, for the data set `own`; may be the table's own. Triplets that were made here
            earlier are replaced.
        templates: sentence templates; None: `templates.toml` in `out`, which is written where there is none.
        differing: the least and the largest number of attributes in which a pair differs: 1 or 2.
        per_reference: triplets for each reference, at most.
        seed: decides pairs, sentences and split.
        split: the share of the items for testing, from 0 to below 1.
        within: a column in which the items of a pair always agree, such as the category.
        attributes: the columns to use; None: all that look like attributes.

    Raises:
        ConfigError, UnknownNameError: arguments out of range; no such column.
        DataError: the table has no image column, no attribute or no pair; a row or a template that makes no sense.
        StorageError: the disk is full or the folder cannot be written to.
    """
    if differing not in ((1, 1), (1, 2), (2, 2)):
        raise ConfigError(f"differing={differing} must be (1, 1), (1, 2) or (2, 2)")
    if per_reference < 1 or seed < 0 or not 0 <= split < 1:
        raise ConfigError(
            f"per_reference={per_reference} must be at least 1, seed={seed} at least 0, split={split} from 0 to below 1"
        )
    out = Path(out)
    _check_replaceable(out)
    items = _items(read_table(Path(table)))
    columns, left_out = _attributes(items, attributes, within)
    excuses = "Left out: " + ", ".join(f"{name} ({why})" for name, why in left_out.items()) if left_out else ""
    home = columns.pop(within) if within is not None else None
    if not 1 <= len(columns) <= MOST_ATTRIBUTES:
        raise DataError(
            f"{str(table)!r} has {len(columns)} attributes in which items could differ; 1 to {MOST_ATTRIBUTES} are "
            f"needed, and can be named (attributes=…). {excuses}"
        )
    testing = _testing(items.owners, split, seed)
    pairs = find_pairs(
        np.stack([column.codes for column in columns.values()], axis=1),
        testing.astype(np.int64) if home is None else np.where(home.codes < 0, -1, 2 * home.codes + testing),
        np.unique(np.array(items.owners, dtype=object), return_inverse=True)[1],
        differing=differing,
        per_reference=per_reference,
        seed=seed,
    )
    if not len(pairs.references):
        raise DataError(_no_pair(items, columns, excuses, differing, within))
    file = out / TEMPLATES if templates is None else Path(templates)
    texts = {name: column.values for name, column in columns.items()}
    if templates is None and not file.exists():
        write_text(file, default_text(texts))
    finder = Finder(items.table.path.parent)
    names = [_make_relative(out.resolve(), finder, name) for name in items.names]
    splits = [own.SPLITS[int(test)] for test in testing]
    lines = _lines(pairs, columns, names, splits, read_templates(file, texts), seed)
    _write(out, lines, _labels(names, splits, {**({within: home} if within and home else {}), **columns}))
    tests = int(testing[pairs.references].sum())
    if split and not tests:
        log.warning("%s: the %d test items make no pair; choose another seed or share", table, testing.sum())
    return Summary(
        folder=out,
        items=len(names),
        train=len(lines) - tests,
        test=tests,
        kinds=dict(Counter(line["kind"] for line in lines).most_common()),
        attributes={name: len(column.values) for name, column in columns.items()},
        left_out=left_out,
        without_pair=len(names) - len(np.unique(pairs.references)),
        missing=sum(not finder.exists(finder.path(name)) for name in items.names),
        templates=file,
    )


def _check_replaceable(out: Path) -> None:
    """Refuse to write over triplets that somebody wrote by hand."""
    try:
        sums = parse_json((out / MADE).read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        sums = {}
    for name in (*own.FILES, own.LABELS):
        path = out / name
        if path.exists() and not (isinstance(sums, dict) and sums.get(name) == file_sum(path)):
            raise DataError(
                f"{str(path)!r} was not made from attributes, or edited since; choose another folder, or move it away"
            )


def _items(table: Table) -> _Items:
    """The rows of a table; those that repeat another are left out."""
    image, identity = table.column(*IMAGE_COLUMNS), table.column("id")
    if image is None:
        raise DataError(
            f"{str(table.path)!r} has no column that names images; expected one called "
            f"{', '.join(IMAGE_COLUMNS[:3])}; found: {', '.join(map(repr, table.columns))}"
        )
    first: dict[str, Row] = {}
    imaged = [(row.text(image), row) for row in table.rows if row.text(image).lower() not in _UNKNOWN]
    if not imaged:
        raise DataError(f"{str(table.path)!r}: no row names an image in the column {image!r}; write them there")
    for name, row in imaged:
        earlier = first.setdefault(name, row)
        if earlier.cells != row.cells:
            problem = f"{name!r} stands in line {earlier.line:,} with other values; keep one row for each image"
            raise table.error(row, problem)
    counts = {"name no image": len(table.rows) - len(imaged), "repeat another": len(imaged) - len(first)}
    for what, count in counts.items():
        if count:
            log.warning("%s: %d rows %s and are left out", table.path, count, what)
    owners = [row.text(identity) or name for name, row in first.items()]
    others = [name for name in table.columns if name not in (image, identity)]
    return _Items(table, list(first.values()), list(first), owners, others)


def _attributes(
    items: _Items, named: Sequence[str] | None, within: str | None
) -> tuple[dict[str, _Column], dict[str, str]]:
    """The columns that are attributes, `within` among them, and why the others are not."""
    names = dict.fromkeys([*(items.others if named is None else named), *([] if within is None else [within])])
    for name in names:
        if name not in items.table.columns:
            raise UnknownNameError("column", name, items.table.columns)
    columns = {name: _column(items.rows, name) for name in names}
    left_out = {}
    for name in names if named is None else ():
        why = _why_not(columns[name].values, int((columns[name].codes >= 0).sum()))
        if why is not None and name != within:
            left_out[name] = why
            del columns[name]
    return columns, left_out


def _column(rows: Sequence[Row], name: str) -> _Column:
    """A column as numbers; `Red` and `red` are one value."""
    cells = [row.text(name) for row in rows]
    spellings: dict[str, Counter[str]] = {}
    for cell in cells:
        if cell.casefold() not in _UNKNOWN:
            spellings.setdefault(cell.casefold(), Counter())[cell] += 1
    values = {key: min(counts, key=lambda text: (-counts[text], text)) for key, counts in sorted(spellings.items())}
    values = next((pair for pair in _YES_OR_NO if set(values) == set(pair)), values)
    code_of = {key: code for code, key in enumerate(values)}
    codes = np.array([code_of.get(cell.casefold(), -1) for cell in cells], dtype=np.int64)
    return _Column(list(values.values()), codes)


def _why_not(values: Sequence[str], known: int) -> str | None:
    """Why a column with these values, in so many items, is no attribute."""
    count = len(values)
    if count < 2:
        return f"always {values[0]}" if values else "empty"
    if all(map(_is_number, values)) and count > 2 and (count > _FEW or 2 * count > known):
        return f"{count:,} different numbers"
    if count > max(_FEW, known / 2) or count == known > 3:
        return f"{count:,} different values in {known:,} items, like an id or a text"
    return None


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _testing(owners: Sequence[str], share: float, seed: int) -> np.ndarray:
    """(items,) which items are for testing: a share of the owners, by sums of their names."""
    distinct = sorted(set(owners), key=lambda owner: (hashlib.sha256(f"{seed}:{owner}".encode()).digest(), owner))
    count = min(max(1, round(share * len(distinct))), len(distinct) - 1) if share else 0
    chosen = frozenset(distinct[:count])
    return np.array([owner in chosen for owner in owners], dtype=bool)


def _no_pair(
    items: _Items, columns: Mapping[str, _Column], excuses: str, differing: tuple[int, int], within: str | None
) -> str:
    """What to say where there is no pair."""
    counted = " or ".join(map(str, sorted(set(differing))))
    never = [name for name, column in columns.items() if np.bincount(column.codes + 1)[1:].max(initial=0) < 2]
    agree = f", and in {within}," if within else ""
    counts = ", ".join(f"{name} {len(column.values):,} values" for name, column in columns.items())
    return (
        f"{str(items.table.path)!r}: no two of {len(items.names):,} items differ in {counted} of {len(columns)} "
        f"attributes and agree in the rest{agree} ({counts}). "
        + (f"No two items ever agree in {', '.join(never)}. " if never else "")
        + f"Name fewer attributes (attributes=…), or write values that are nearly the same alike. {excuses}"
    )


def _make_relative(out: Path, finder: Finder, name: str) -> str:
    """The name of an image relative to the folder where the triplets will be."""
    if finder.folder == out or Path(name).is_absolute():
        return name
    inner = "" if finder.exists(finder.folder / name) else IMAGES
    home = finder.folder / inner if finder.exists(finder.folder / inner / name) else finder.folder
    try:
        return (Path(os.path.relpath(home, out)) / name).as_posix()
    except ValueError:  # on another drive
        return (home / name).as_posix()


def _lines(
    pairs: Pairs,
    columns: Mapping[str, _Column],
    names: Sequence[str],
    splits: Sequence[str],
    templates: Templates,
    seed: int,
) -> list[dict[str, str]]:
    """What is written of each pair; its sentence is made by templates drawn at random."""
    sets = [[list(columns)[index] for index in changed] for changed in pairs.sets]
    choices = np.random.Generator(np.random.PCG64([seed, 1])).integers(0, 2**31, (len(pairs.references), 3)).tolist()
    lines = []
    for reference, target, number, choice in zip(*(part.tolist() for part in pairs[:3]), choices, strict=True):
        values = ((name, columns[name].of(reference), columns[name].of(target)) for name in sets[number])
        changes = [templates.sentence(*change, way) for change, way in zip(values, choice, strict=False)]
        line = {
            "reference": names[reference],
            "feedback": changes[0] if len(changes) == 1 else templates.join_changes(changes[0], changes[1], choice[2]),
            "target": names[target],
            "split": splits[reference],
            "kind": ", ".join(sets[number]),
        }
        lines.append(line)
    return lines


def _labels(names: Sequence[str], splits: Sequence[str], columns: Mapping[str, _Column]) -> str:
    """The text of `labels.csv`: items of the same attributes have one label, and the attributes stand beside it."""
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\n")
    further = [title for title in columns if title.strip().lower() not in own.LABEL_COLUMNS]
    lines.writerow([*own.LABEL_COLUMNS, *further])
    for item, name in enumerate(names):
        known = {title: value for title, column in columns.items() if (value := column.of(item))}
        label = "; ".join(f"{title}: {value}" for title, value in known.items())
        lines.writerow([name, label, splits[item], *(known.get(title, "") for title in further)])
    return text.getvalue()


def _write(out: Path, lines: Sequence[Mapping[str, str]], labels: str) -> None:
    write_text(out / own.LABELS, labels)
    write_text(out / TRIPLETS, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    sums = {name: file_sum(out / name) for name in (TRIPLETS, own.LABELS)}
    write_text(out / MADE, json.dumps({"sha256": sums}, indent=2) + "\n")
