"""One state of a catalogue, searched: conditions and columns checked, the nearest found, hits told."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from itma.data.images import Source
from itma.errors import ConfigError, ItmaError, UnknownNameError
from itma.models.embedder import Embedder
from itma.records import Hit
from itma.retrieval import duplicates, query_encoder
from itma.retrieval.exact import Matrix
from itma.retrieval.filters import Filter, Where, filter_of
from itma.retrieval.ingest.rows import shown, stored, unit
from itma.retrieval.manifest import About
from itma.retrieval.queries import Needed, Question, away, embedded
from itma.retrieval.stores.base import Items, metadata_of

_TOGETHER = 10_000
"""Of so many hits and more each question is searched by itself."""
_MANY = 256
"""Queries at once for which reading all embeddings pays with every engine."""


@dataclass
class Asked:
    """What a question asks of the table."""

    where: Filter | None
    columns: list[str]
    out: set[str]
    """Ids that are left out."""
    query: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    """(dim,) of length 1, once it is known."""


class State:
    """A table of items with what its catalogue knows of itself; ids are as a store holds them.

    Args:
        items: the table; who refreshes it decides which version is searched.
        about: of the catalogue.
        pictures: the folder that pictures are named in.
        exact_items: up to so many items all are compared.
    """

    def __init__(self, items: Items, about: About, pictures: Path | None, exact_items: int) -> None:
        self._items, self._about, self.pictures, self._exact_items = items, about, pictures, exact_items
        self._matrix: Matrix | None = None

    @property
    def items(self) -> Items:
        """The table."""
        return self._items

    @property
    def about(self) -> About:
        """Of the catalogue."""
        return self._about

    def asked(self, question: Question) -> "Asked":
        """What a question asks of the table, checked.

        Raises:
            ConfigError, DataError, FilterError, UnknownNameError: see `Catalogue.search`.
        """
        question.check()
        named = [*question.exclude, *question.unlike, *([] if question.id is None else [question.id])]
        return Asked(
            self.condition(question.where),
            self.columns(question.fields),
            {*map(stored, named), *self.items_of(question.image)},
        )

    def condition(self, where: Where | None) -> Filter | None:
        """A condition, checked against the columns there are; errors as for `filter_of`."""
        schema = self._items.schema
        return filter_of(where, {"id": schema.field("id").type, **metadata_of(schema)})

    def columns(self, fields: Sequence[str]) -> list[str]:
        """Columns of metadata, each once; `"*"` stands for all.

        Raises:
            UnknownNameError: there is no such column.
        """
        known = metadata_of(self._items.schema)
        for name in fields:
            if name != "*" and name not in known:
                raise UnknownNameError("column", name, known)
        return list(known) if "*" in fields else list(dict.fromkeys(fields))

    def nearest(self, queries: np.ndarray, k: int, where: Filter | None) -> list[list[tuple[str, float]]]:
        """For each query the k nearest of the items that match, as (id, cosine), best first."""
        matrix = self._current(len(queries))
        if matrix is not None:
            return matrix.nearest(queries, k, where=where)
        effort = None if self._about.ann is None else self._about.ann.effort
        return self._items.nearest(queries, k, where=where, effort=effort)

    def _current(self, queries: int = 1) -> Matrix | None:
        """All embeddings in memory as of the version that is shown; absent where they are too many, or not worth it."""
        if self._matrix is None and self._items.compares_quickly and queries < _MANY:
            return None
        if self._matrix is None or self._matrix.version != self._items.version:
            if self._items.count() > self._exact_items:
                self._matrix = None
            elif self._matrix is None:
                self._matrix = Matrix(self._items)
            else:
                self._matrix.update()
        return self._matrix

    def best(
        self, query: np.ndarray, k: int, where: Filter | None, out: set[str], distinct: str | float | None
    ) -> list[tuple[str, float]]:
        """The k nearest of the items that match, without some and without repetitions.

        Args:
            query: (dim,) of length 1.
            k: how many.
            where: which items may be found.
            out: ids that are left out.
            distinct: see `Catalogue.search`.

        Raises:
            ConfigError: `distinct` is no cosine.
            UnknownNameError: `distinct` is a column that is not there.
        """
        if isinstance(distinct, str):
            self.columns([distinct])
        elif distinct is not None and not -1 <= distinct <= 1:
            raise ConfigError(f"distinct={distinct} is neither a column nor a cosine from -1 to 1")
        count = self._items.count()
        asked = k + len(out) if distinct is None else 4 * k + len(out)
        while True:
            (found,) = self.nearest(query[None], min(asked, max(1, count)), where)
            hits = [hit for hit in found if hit[0] not in out]
            if distinct is not None:
                hits = duplicates.one_of_each(self._items, hits, distinct)
            if len(hits) >= k or len(found) < min(asked, count) or asked >= count:
                return hits[:k]
            asked *= 4

    def hits(self, found: Sequence[tuple[str, float]], columns: Sequence[str]) -> list[Hit]:
        """What was found, as a person gets it, with these columns of metadata."""
        names = [name for name, _ in found]
        rows: dict[str, dict[str, object]] = {}
        if columns or self._matrix is None:
            rows = {row["id"]: row for row in self._items.get(names, ["id", "_picture", *columns]).to_pylist()}
        hits = []
        for rank, (name, score) in enumerate(found, start=1):
            matrix = self._matrix
            picture = matrix.pictures[matrix.row[name]] if matrix is not None else rows[name]["_picture"]
            told = {column: rows[name][column] for column in columns}
            hits.append(Hit(rank, shown(name), score, self.path(picture), told))
        return hits

    def path(self, picture: object) -> str:
        """Where a picture's file is; empty where there is none."""
        return "" if picture is None else str((self.pictures or Path()) / shown(str(picture)))

    def items_of(self, image: Source | None) -> list[str]:
        """The items whose picture the reference is, going by its path."""
        if not isinstance(image, str | Path):
            return []
        names = []
        for follow in (False, True):  # a link may be the item itself, or lead to it
            file = _plain(Path(image), follow)
            names.append(file.as_posix())
            if self.pictures is not None and file.is_relative_to(folder := _plain(self.pictures, follow)):
                names.append(file.relative_to(folder).as_posix())
        wanted = [stored(name) for name in dict.fromkeys(names)]
        matrix = self._current()
        return (
            query_encoder.ids_with_picture(self._items, wanted) if matrix is None else matrix.ids_with_picture(wanted)
        )


def answered(
    questions: Sequence[Question], state: State, kept: query_encoder.ReferenceMaps, model: Callable[[], Embedder]
) -> list[list[Hit] | ItmaError]:
    """For each question its hits, or the error that a person gets.

    Args:
        questions: what is asked.
        state: what is searched.
        kept: feature maps of items that were references before.
        model: gives what embeds; called where a question needs it.
    """
    answers: list[list[Hit] | ItmaError] = [[] for _ in questions]
    asked: dict[int, Asked] = {}
    for row, question in enumerate(questions):
        try:
            asked[row] = state.asked(question)
        except ItmaError as error:
            answers[row] = error
    for row, found in _queries({row: questions[row] for row in asked}, state, kept, model).items():
        try:
            if isinstance(found, ItmaError):
                raise found
            asked[row].query = away(
                found, [query_encoder.embedding_of_item(state.items, id) for id in questions[row].unlike]
            )
        except ItmaError as error:
            answers[row] = error
            del asked[row]
    together: dict[Filter | None, list[int]] = {}
    for row, one in asked.items():
        together.setdefault(one.where, []).append(row)
    for where, rows in together.items():
        first = _first_hits({row: (questions[row], asked[row]) for row in rows}, where, state)
        for row in rows:
            question, one = questions[row], asked[row]
            try:
                hits = first.get(row)
                if hits is None:
                    hits = state.best(one.query, question.k, one.where, one.out, question.distinct)
                answers[row] = state.hits(hits, one.columns)
            except ItmaError as error:
                answers[row] = error
    return answers


def _first_hits(
    asked: Mapping[int, tuple[Question, Asked]], where: Filter | None, state: State
) -> dict[int, list[tuple[str, float]]]:
    """The hits of all questions that can be compared with the items at once."""
    alike = [row for row, (question, _) in asked.items() if question.distinct is None]
    most = max((question.k + len(one.out) for question, one in asked.values()), default=0)
    if len(alike) < 2 or most > _TOGETHER:
        return {}
    queries = np.stack([asked[row][1].query for row in alike])
    try:
        found = state.nearest(queries, min(most, max(1, state.items.count())), where)
    except ItmaError:  # each question says so by itself
        return {}
    return {
        row: [hit for hit in hits if hit[0] not in asked[row][1].out][: asked[row][0].k]
        for row, hits in zip(alike, found, strict=True)
    }


def _queries(
    questions: Mapping[int, Question], state: State, kept: query_encoder.ReferenceMaps, model: Callable[[], Embedder]
) -> dict[int, np.ndarray | ItmaError]:
    """The embedding that each question is searched by, before what is unlike; or why there is none."""
    found: dict[int, np.ndarray | ItmaError] = {}
    needs: dict[int, Needed] = {}
    pixels: dict[int, torch.Tensor] = {}
    named: dict[int, str] = {}
    for row, question in questions.items():
        try:
            if question.embedding is not None:
                found[row] = unit(np.asarray(question.embedding)[None], state.about.dim, "the query")[0]
            elif question.id is not None and not question.said:
                found[row] = query_encoder.embedding_of_item(state.items, question.id)
            elif question.image is not None or question.pixels is not None:
                given = question.pixels
                pixels[row] = model().preprocess.read(_source(question)) if given is None else given
            elif question.id is None:
                needs[row] = Needed.of(question, model(), None)
            else:
                named[row] = question.id
        except ItmaError as error:
            found[row] = error
    if named:
        try:
            references = kept.of(list(named.values()), state.items, state.about, model(), state.pictures)
        except ItmaError as error:
            references = dict.fromkeys(named.values(), error)
        for row, name in named.items():
            try:
                reference = references[name]
                if isinstance(reference, ItmaError):
                    raise reference
                needs[row] = Needed.of(questions[row], model(), reference)
            except ItmaError as error:
                found[row] = error
    if pixels:
        levels = model().trunk_maps(torch.stack(list(pixels.values())))
        for place, row in enumerate(pixels):
            maps = [level[place : place + 1] for level in levels] if len(pixels) > 1 else list(levels)
            try:
                needs[row] = Needed.of(questions[row], model(), maps)
            except ItmaError as error:
                found[row] = error
    if needs:
        found |= dict(zip(needs, embedded(list(needs.values()), model()), strict=True))
    return found


def _source(question: Question) -> Source:
    assert question.image is not None
    return question.image


def _plain(path: Path, follow: bool) -> Path:
    return path.resolve() if follow else Path(os.path.normpath(path.absolute()))
