"""Words that a model never saw, read as words that it knows, by a table of word vectors that comes with the package.

The table (`itma/weights/words.safetensors`, written by docs/make_word_vectors.py) holds English words in lower case and
without punctuation, each with a vector; the cosine of two says how alike in meaning the words are. It is read when the
first word is looked up in it.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from itma.errors import RunError

PATH = Path(__file__).parent.parent / "weights" / "words.safetensors"
AT_LEAST = 0.5
"""Cosine from which a word is near enough to stand for another; measured with bench/words.py."""
_SAME_STEM = 0.3
"""Cosine from which two words of one stem mean the like: "striped" and "stripes", but not "sweater" and "sweat"."""
_MUCH_NEARER = 0.25
"""By so much a word's cosine must exceed that of another form of the word to be taken instead of it."""
_AS_NEAR = 0.07
"""Cosines that differ by less count as the same, and the more frequent word is taken."""
_REMEMBERED = 4096
"""Words whose reading is remembered."""
_SUFFIXES = ("s", "es", "ed", "d", "er", "r", "est", "st", "ish", "ing", "y", "en", "n", "like")


def key(word: str) -> str:
    """A word as the table has it: lower case, letters and digits alone, without accents.

    >>> key("Knee-Length!"), key("appliqué")
    ('kneelength', 'applique')
    """
    plain = unicodedata.normalize("NFKD", word.lower())
    return "".join(letter for letter in plain if letter.isalnum())


@dataclass(frozen=True, eq=False)
class WordVectors:
    """A table of words."""

    rows: dict[str, int]
    """Word, as `key` gives it, → row."""
    vectors: np.ndarray
    """(words, features) float32, of length 1, or less for a word that means little in a shop of clothes; all 0 for one
    that means nothing by itself ("because")."""


@cache
def load_word_vectors(path: Path = PATH) -> WordVectors:
    """The table in a file, which is read once.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        with safe_open(path, "np") as file:
            words = (file.metadata() or {})["words"].split()
            stored, scale = file.get_tensor("vectors"), file.get_tensor("scale")
        if stored.ndim != 2 or stored.dtype != np.int8 or len(stored) != len(words):
            raise ValueError(f"{len(words)} words and {stored.dtype} vectors of the shape {stored.shape}")
    except FileNotFoundError as error:
        raise RunError(f"the word vectors {str(path)!r} are missing; {_AGAIN}") from error
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise RunError(f"the word vectors {str(path)!r} are damaged ({error}); {_AGAIN}") from error
    return WordVectors({word: row for row, word in enumerate(words)}, stored * scale)


_AGAIN = "install itma again (pip install --force-reinstall --no-deps itma), or set model.text_encoder.unknown=skip"


class NearWords:
    """For a word that is not known, the known words that say the same.

    >>> near = NearWords(["make", "it", "red", "sweater", "knee", "length"])
    >>> near("crimson"), near("jumper"), near("knee-length"), near("sweaterr"), near("because"), near("elephant")
    (('red',), ('sweater',), ('knee', 'length'), ('sweater',), (), ())

    Args:
        known: the words, frequent ones first.
        table: vectors of words; the package's own by default.
    """

    def __init__(self, known: Iterable[str], table: WordVectors | None = None) -> None:
        self._table = load_word_vectors() if table is None else table
        self._known: dict[str, str] = {}
        for word in known:
            if key(word):
                self._known.setdefault(key(word), word)
        self._stems = {_stem(plain): plain for plain in reversed(self._known)}  # of several, the most frequent
        rows, vectors = self._table.rows, self._table.vectors
        self._words = [plain for plain in self._known if plain in rows and vectors[rows[plain]].any()]
        self._vectors = vectors[[rows[plain] for plain in self._words]]
        self._filled = set(self._words)
        self._spelt: dict[str, list[tuple[int, str]]] = {}
        for number, plain in enumerate(self._known):
            if len(plain) >= 5:
                self._spelt.setdefault(plain[0], []).append((number, plain))
        self._cache: dict[str, tuple[str, ...]] = {}

    def __call__(self, word: str) -> tuple[str, ...]:
        """The known words that stand for a word as it was written; several for a compound one, none if all are far."""
        if word not in self._cache:
            if len(self._cache) >= _REMEMBERED:
                self._cache.clear()
            self._cache[word] = tuple(self._known[plain] for plain in self._compound(word))
        return self._cache[word]

    def _compound(self, word: str) -> list[str]:
        """The known words, as `key` gives them, of a word that may have hyphens."""
        whole = key(word)
        parts = [part for part in map(key, re.split(r"\W|_", word)) if part]
        if len(parts) > 1 and self._form(whole) is None:
            forms = [form for part in parts if (form := part if part in self._known else self._form(part))]
            if len(forms) == len(parts):
                return forms
        if (match := self._single(whole)) is not None:
            return [match]
        if len(parts) > 1:
            each = (part if part in self._known else self._single(part) for part in parts)
            return [part for part in each if part is not None]
        if self._is_empty(whole):
            return []
        row = self._table.rows.get(whole)
        shortest = 3 if row is None else 4
        for end in range(shortest, len(whole) - shortest + 1):
            if whole[:end] in self._filled and whole[end:] in self._filled:
                return [whole[:end], whole[end:]]
        match = self._misspelt(whole) if row is None else None
        return [] if match is None else [match]

    def _single(self, plain: str) -> str | None:
        """Another form of the word, or the nearest word where that is much nearer: "tights" are no "tight"."""
        form, (near, cosine) = self._form(plain), self._nearest(plain)
        own = None if form is None else self._cosine(plain, form)
        if form is None or (own is not None and cosine >= max(AT_LEAST, own + _MUCH_NEARER)):
            return near if cosine >= AT_LEAST else None
        return form

    def _cosine(self, one: str, other: str) -> float | None:
        """Of two words of the table."""
        rows, vectors = self._table.rows, self._table.vectors
        return float(vectors[rows[one]] @ vectors[rows[other]]) if one in rows and other in rows else None

    def _is_empty(self, plain: str) -> bool:
        """Whether the table says that the word means nothing by itself."""
        row = self._table.rows.get(plain)
        return row is not None and not self._table.vectors[row].any()

    def _form(self, plain: str) -> str | None:
        """Another form of the word: singular or plural, "striped" for "stripes"; never of one without a meaning."""
        if self._is_empty(plain):
            return None
        for other in (f"{plain}s", f"{plain}es", plain.removesuffix("s"), plain.removesuffix("es")):
            if len(plain) > 2 and other != plain and other in self._known and not self._is_empty(other):
                return other
        other = self._stems.get(_stem(plain), plain)
        cosine = self._cosine(plain, other)
        return None if other == plain or cosine is None or cosine < _SAME_STEM else other

    def _nearest(self, plain: str) -> tuple[str, float]:
        """Of the known words that are about as near as the nearest, the most frequent; and the largest cosine.

        "Emerald" is as near to "lime" as to "green", and training spoke of green far more often.
        """
        row = self._table.rows.get(plain)
        if row is None or not self._words:
            return "", -1.0
        cosines = self._vectors @ self._table.vectors[row]
        best = float(cosines.max())
        return self._words[int((cosines >= best - _AS_NEAR).argmax())], best

    def _misspelt(self, plain: str) -> str | None:
        """The known word of five letters or more from which few letters differ, of the same first letter."""
        allowed = 0 if len(plain) < 5 else 1 if len(plain) < 7 else 2
        spellings, letters = {plain, plain.removesuffix("s") + "s"}, frozenset(plain)
        near = [
            (changes, number, word)
            for number, word in self._spelt.get(plain[:1], ())
            if abs(len(word) - len(plain)) <= allowed + 1 and len(letters.symmetric_difference(word)) <= 2 * allowed + 1
            if (changes := min(_changes(one, word) for one in spellings)) <= allowed
        ]
        return min(near)[2] if near else None


def _stem(plain: str) -> str:
    """A word without the ending of its form.

    >>> [_stem(word) for word in ("stripes", "striped", "bigger", "big", "woolly", "wool", "flowery", "flowers")]
    ['strip', 'strip', 'big', 'big', 'wol', 'wol', 'flow', 'flow']
    """
    for _ in range(2):
        ends = [end for end in _SUFFIXES if plain.endswith(end) and len(plain) - len(end) >= 3]
        plain = plain.removesuffix(max(ends, key=len)) if ends else plain
    plain = plain.removesuffix("e") if len(plain) > 3 else plain
    return re.sub(r"(.)\1", r"\1", plain)


def _changes(one: str, other: str) -> int:
    """How many letters were added, left out, replaced, or changed places with the next one (Damerau 1964)."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        now = [row]
        for column, sign in enumerate(other, 1):
            best = min(last[column] + 1, now[-1] + 1, last[column - 1] + (letter != sign))
            if row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == sign:
                best = min(best, before[column - 2] + 1)
            now.append(best)
        before, last = last, now
    return last[-1]
