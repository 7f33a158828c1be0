"""Sentences → word ids and a mask. The tokenizer is saved with the model, so a run folder alone reads sentences."""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tokenizers
import torch

from itma.data.word_vectors import NearWords
from itma.errors import ConfigError, DataError, FeedbackError, RunError
from itma.io import write_text

log = logging.getLogger(__name__)

PADDING, UNKNOWN = "<pad>", "<unk>"
EARLIER = " then "
"""Stands between what was said earlier in a conversation and what is said now."""
MAX_WORDS = 64
"""Longer sentences are cut after this many words; FashionIQ's longest pair of captions has fewer than 50."""


class Tokens(NamedTuple):
    """Sentences as numbers."""

    ids: torch.Tensor
    """(sentences, words) int64; padding is 0."""
    mask: torch.Tensor
    """(sentences, words) bool; true where there is a word."""

    def to(self, device: torch.device) -> "Tokens":
        """The same on another device; a GPU is not waited for."""
        later = device.type == "cuda"
        return Tokens(self.ids.to(device, non_blocking=later), self.mask.to(device, non_blocking=later))


def typical(sentences: Sequence[str], count: int = 24) -> list[str]:
    """Some sentences that show a newcomer what may be said: the frequent ones first, no two of the same first words.

    >>> typical(["make it red", "make it red", "is longer", "make it blue"], 2)
    ['make it red', 'is longer']

    Args:
        sentences: what training asked.
        count: how many, at most.
    """
    looked_at = Counter(" ".join(sentence.split()) for sentence in sentences[:50_000])
    chosen: list[str] = []
    beginnings: Counter[tuple[str, ...]] = Counter()
    ordered = [sentence for sentence, _ in looked_at.most_common() if 2 < len(sentence) <= 60]
    for again in range(4):  # sentences that begin alike come in later turns
        for sentence in ordered:
            beginning = tuple(sentence.lower().split()[:2])
            if len(chosen) < count and beginnings[beginning] <= again and sentence not in chosen:
                beginnings[beginning] += 1
                chosen.append(sentence)
    return chosen


class Piece(NamedTuple):
    """One token that is read, and where it stands in the sentence."""

    text: str
    """As the vocabulary has it."""
    begin: int
    """Its first character's place in the sentence."""
    end: int
    """One past its last character; `begin` of the marks that stand around a sentence."""


_JOINED = r"(?<=\p{N})[.,](?=\p{N})|['\u2019\u2018\u02bc\u00ad\u200d\-\u2010-\u2013\u2212]|[\u0640\u064b-\u0652]"
"""What vanishes within a word: "middle-left" is one word, as in the published code, and "V-neck" with any hyphen;
of Arabic, signs that are written or not as one likes."""
_HYPHENS = re.compile("[\\-\u2010-\u2013\u2212]")
"""What joins two words to one, which may have been meant as two."""
_APART = r"[^\p{L}\p{M}\p{N}\p{So}]+"
"""What else is neither letter, digit nor emoji stands between words."""
_WITHOUT_BLANKS = r"[\p{Han}\p{Hiragana}\p{Katakana}\u30fc\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{So}]\p{M}*"
"""Scripts that put no blanks between words, and Korean, which glues particles to them: each sign is a word."""


def _without_accents(word: str) -> str:
    """A word in small letters, of which accents are left out and ligatures taken apart.

    >>> _without_accents("Größer"), _without_accents("GRÖSSER")
    ('grosser', 'grosser')
    """
    apart = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


def _split_words(core: tokenizers.Tokenizer) -> None:
    """Split sentences into words as our own vocabularies want it."""
    normalizers, splitters, regex = tokenizers.normalizers, tokenizers.pre_tokenizers, tokenizers.Regex
    signs = [normalizers.Replace(regex(sign), other) for sign, other in ((_JOINED, ""), (_APART, " "))]
    core.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), *signs])
    alone = splitters.Split(regex(_WITHOUT_BLANKS), "isolated")
    core.pre_tokenizer = splitters.Sequence([splitters.WhitespaceSplit(), alone])


def _is_own(core: tokenizers.Tokenizer) -> bool:
    """Whether the vocabulary is one of ours, not a published one."""
    return core.token_to_id(PADDING) == 0 and core.token_to_id(UNKNOWN) == 1


class Tokenizer:
    """Lower-case words without punctuation, numbered by how often training used them.

    >>> tokenizer = Tokenizer.fit(["make middle-left object red", "remove red object"])
    >>> tokenizer.words("Make it RED!")
    ['make', 'it', 'red']
    >>> tokenizer.unknown("Make it RED!")
    ['it']
    >>> tokenizer(["make red", "remove"]).mask.tolist()
    [[True, True], [True, False]]

    Args:
        core: a tokenizer of the `tokenizers` library; id 0 fills up the rows of a batch.
        max_words: sentences are cut after so many tokens, special ones included.
        keep_unknown: whether a word that is not known is read as the one unknown word, or left out.
        nearest: whether a word that is not known is first looked up among words of like meaning, see `NearWords`; of
            a vocabulary of whole words only. Without one near enough, `keep_unknown` decides.
        special_tokens: whether the marks that the core puts around a sentence are wanted.
    """

    def __init__(
        self,
        core: tokenizers.Tokenizer,
        max_words: int = MAX_WORDS,
        *,
        keep_unknown: bool = False,
        special_tokens: bool = False,
        nearest: bool = False,
    ) -> None:
        if max_words < 1 + 2 * special_tokens:
            raise ConfigError(f"max_words={max_words} must be at least {1 + 2 * special_tokens}")
        self._core, self.max_words = core, max_words
        self.keep_unknown, self.special_tokens, self.nearest = keep_unknown, special_tokens, nearest
        self._near: NearWords | None = None
        self._plain: dict[str, list[str]] | None = None

    @classmethod
    def fit(cls, sentences: Iterable[str], **reading: Any) -> "Tokenizer":
        """A tokenizer that knows every word of `sentences`; frequent words first, then by alphabet.

        Args:
            sentences: what to learn the words from.
            reading: `max_words` and the others, as for `Tokenizer`.

        Raises:
            DataError: there is no word in any of the sentences.
        """
        core = tokenizers.Tokenizer(tokenizers.models.WordLevel({PADDING: 0, UNKNOWN: 1}, unk_token=UNKNOWN))
        _split_words(core)
        blank = cls(core, **reading)
        if not blank.learn(sentences):
            raise DataError("there is no word in any of the training sentences; check the column of the feedback")
        return blank

    def learn(self, sentences: Iterable[str]) -> list[str]:
        """Number the words that are not known yet, frequent ones first, after those that are.

        >>> tokenizer = Tokenizer.fit(["make it red"])
        >>> tokenizer.learn(["make it blue, please", "blue"])
        ['blue', 'please']

        Returns:
            The new words. Of a tokenizer whose vocabulary is no list of whole words, none.
        """
        if not isinstance(self._core.model, tokenizers.models.WordLevel):
            return []
        known = self.vocabulary
        counts = Counter(word for sentence in sentences for word in self.words(sentence) if word not in known)
        fresh = sorted(counts, key=lambda word: (-counts[word], word))
        every = {**known, **{word: len(known) + number for number, word in enumerate(fresh)}}
        self._core.model = tokenizers.models.WordLevel(every, unk_token=self._core.model.unk_token)
        self._near = self._plain = None
        return fresh

    @classmethod
    def from_published(cls, words: Sequence[str], **reading: Any) -> "Tokenizer":
        """The tokenizer of TIRG's and MAAF's code, for words in the order of their ids.

        What is not ASCII and all of ASCII's punctuation is dropped, letters become small, words stand between blanks.

        >>> Tokenizer.from_published(["<UNK>", "red"], keep_unknown=True)(["Café-red, RED!"]).ids.tolist()
        [[0, 1]]

        Args:
            words: the first is the unknown word, which has the id 0, as padding has.
            reading: `max_words` and the others, as for `Tokenizer`.
        """
        vocabulary = {word: index for index, word in enumerate(words)}
        core = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token=words[0]))
        # the last ones are blanks to Python, not to the library
        replaced = {r"[^\x00-\x7f]": "", r"[!-/:-@\[-`{-~]": "", r"[\x1c-\x1f]": " "}
        signs = [tokenizers.normalizers.Replace(tokenizers.Regex(sign), other) for sign, other in replaced.items()]
        core.normalizer = tokenizers.normalizers.Sequence([*signs, tokenizers.normalizers.Lowercase()])
        core.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
        return cls(core, **reading)

    @property
    def vocabulary(self) -> dict[str, int]:
        """Word → id, in the order of ids."""
        return dict(sorted(self._core.get_vocab().items(), key=lambda item: item[1]))

    def __len__(self) -> int:
        return self._core.get_vocab_size()

    def words(self, sentence: str) -> list[str]:
        """The words of a sentence as the tokenizer sees them, known or not."""
        normalizer, splitter = self._core.normalizer, self._core.pre_tokenizer
        plain = sentence if normalizer is None else normalizer.normalize_str(sentence)
        return [plain] if splitter is None else [word for word, _ in splitter.pre_tokenize_str(plain)]

    def unknown(self, sentence: str) -> list[str]:
        """Those words of a sentence that the tokenizer does not know, and does not read as others either."""
        mark, words = self._unknown_id, self.words(sentence)
        if mark is None:
            return []
        if self._reads_near:
            return [word for word, text in self._unknown_words(sentence) if not self._near_words(text)]
        return [word for word in words if mark in self._core.encode(word, add_special_tokens=False).ids]

    def read_as(self, sentence: str) -> dict[str, str]:
        """Word as it was written, in small letters → the known words that it is read as.

        >>> Tokenizer.fit(["make it red"], nearest=True).read_as("make it crimson, or red")
        {'crimson': 'red'}
        """
        if not self._reads_near:
            return {}
        unknown = (text.lower() for _, text in self._unknown_words(sentence))
        return {word: " ".join(near) for word in unknown if (near := self._near_words(word))}

    def _unknown_words(self, sentence: str) -> list[tuple[str, str]]:
        """Words that are not known, as the tokenizer sees them and as they are written."""
        row = self._core.encode(sentence, add_special_tokens=False)
        words = zip(self.words(sentence), row.ids, row.offsets, strict=True)
        return [(word, sentence[begin:end]) for word, id_, (begin, end) in words if id_ == self._unknown_id]

    def check(self, sentence: str) -> None:
        """Refuse a sentence of which nothing would be read, though it has words.

        Raises:
            FeedbackError: it is no text, or no word of it is known.
        """
        if not isinstance(sentence, str):
            raise FeedbackError(f"{sentence!r:.60} is a {type(sentence).__name__}; a sentence is a text")
        words = self.words(sentence)
        unknown = list(dict.fromkeys(self.unknown(sentence)))
        if words and len(unknown) == len(set(words)):
            listed = ", ".join(map(repr, unknown[:8])) + (" …" if len(unknown) > 8 else "")
            known = list(self.vocabulary)[2:]
            longer = [word for word in known if len(word) > 4]  # the most frequent of many say little: a, for, then
            raise FeedbackError(
                f"the model knows none of the words {listed}; it was trained on sentences with words like: "
                f"{', '.join((longer if len(longer) > 12 else known)[:12])}"
            )

    @property
    def _reads_near(self) -> bool:
        """Whether words that are not known are looked up: of our own vocabularies, in which hyphens vanish, always."""
        return _is_own(self._core) or (self.nearest and isinstance(self._core.model, tokenizers.models.WordLevel))

    def _near_words(self, word: str) -> tuple[str, ...]:
        if same := self._spell_otherwise(word):
            return (same,)
        if not self.nearest:  # red-white: the words that a hyphen joins, if all of them are known
            parts = self.words(re.sub(_HYPHENS, " ", word))
            return tuple(parts) if len(parts) > 1 and not any(map(self.unknown, parts)) else ()
        if self._near is None:
            marks = {PADDING, self._core.model.unk_token}
            self._near = NearWords(known for known in self.vocabulary if known not in marks)
        return self._near(word.lower())

    def _spell_otherwise(self, word: str) -> str | None:
        """The one known word that differs in accents or in `ss` for `ß` alone, as capitals are often written."""
        if self._plain is None:
            self._plain = {}
            for known in self.vocabulary:
                self._plain.setdefault(_without_accents(known), []).append(known)
        known_words = self._plain.get(_without_accents("".join(self.words(word))), [])
        return known_words[0] if len(known_words) == 1 else None

    @property
    def _unknown_id(self) -> int | None:
        mark = getattr(self._core.model, "unk_token", None)
        return None if mark is None else self._core.token_to_id(mark)

    def __call__(self, sentences: Sequence[str]) -> Tokens:
        """Number the words of a batch of sentences.

        Words that are not known are read as known ones of like meaning (`nearest`) or as one unknown word
        (`keep_unknown`), and left out otherwise: the features of a word that training never saw would be the noise the
        network began with. A sentence without words gives an empty row. A sentence of more than `max_words` tokens is
        cut, with a warning in the log; its closing mark, where it has one, stays.
        """
        rows, cut = [], 0
        encoded = self._core.encode_batch(list(sentences), add_special_tokens=self.special_tokens)
        for sentence, row in zip(sentences, encoded, strict=True):
            tokens, whole = self._read(sentence, row)
            cut += not whole
            rows.append([id_ for id_, _ in tokens])
        if cut:
            log.warning("%d of %d sentences were cut after %d words", cut, len(rows), self.max_words)
        length = max([1, *map(len, rows)])
        ids_BT = torch.tensor([row + [0] * (length - len(row)) for row in rows], dtype=torch.int64)
        lengths_B = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        return Tokens(ids_BT.view(len(rows), length), torch.arange(length)[None, :] < lengths_B[:, None])

    def marks(self) -> tuple[list[int], list[int]]:
        """Ids of the special tokens that open and that close every sentence."""
        row = self._core.encode("a", add_special_tokens=self.special_tokens)
        inner = [index for index, mark in enumerate(row.special_tokens_mask) if not mark] or [len(row.ids)]
        return row.ids[: inner[0]], row.ids[inner[-1] + 1 :]

    def content(self, sentence: str) -> list[int]:
        """Ids of the tokens that are read of a sentence, without its marks.

        >>> len(Tokenizer.fit(["make it red"]).content("it red"))
        2
        """
        opening, closing = self.marks()
        row = self._core.encode(sentence, add_special_tokens=self.special_tokens)
        tokens, _ = self._read(sentence, row)
        return [id_ for id_, _ in tokens[len(opening) : len(tokens) - len(closing)]]

    def pieces(self, sentence: str) -> list[Piece]:
        """The tokens that are read of a sentence, in the order of their ids in a batch.

        >>> Tokenizer.fit(["make it red"]).pieces("Make this RED!")
        [Piece(text='make', begin=0, end=4), Piece(text='red', begin=10, end=13)]
        """
        row = self._core.encode(sentence, add_special_tokens=self.special_tokens)
        return [Piece(str(self._core.id_to_token(id_)), *span) for id_, span in self._read(sentence, row)[0]]

    def _read(self, sentence: str, row: tokenizers.Encoding) -> tuple[list[tuple[int, tuple[int, int]]], bool]:
        """The tokens that are read, each with its place in the sentence, and whether none of them was cut off."""
        unknown, marks = self._unknown_id, row.special_tokens_mask
        if sum(marks) == len(marks):
            return [], True
        tokens = list(zip(row.ids, row.offsets, strict=True))
        if self._reads_near and unknown in row.ids:
            tokens = [read for token in tokens for read in self._nearest(sentence, token)]
        if not self.keep_unknown:
            tokens = [token for token in tokens if token[0] != unknown]
        if len(tokens) <= self.max_words:
            return tokens, True
        closing = next((count for count, mark in enumerate(reversed(marks)) if not mark), 0)
        return tokens[: self.max_words - closing] + tokens[len(tokens) - closing :], False

    def _nearest(self, sentence: str, token: tuple[int, tuple[int, int]]) -> list[tuple[int, tuple[int, int]]]:
        """The tokens of the known words that a token is read as; itself where it is known, or nothing is near."""
        id_, (begin, end) = token
        near = self._near_words(sentence[begin:end]) if id_ == self._unknown_id else ()
        ids = [self._core.token_to_id(word) for word in near]
        return [(one, (begin, end)) for one in ids if one is not None] or [token]

    def to_json(self) -> str:
        """The tokenizer as the text of a `tokenizer.json`."""
        return self._core.to_str(pretty=True)

    def save(self, path: str | Path) -> None:
        """Write `tokenizer.json`, readable by the `tokenizers` library."""
        write_text(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path, **reading: Any) -> "Tokenizer":
        """Read a `tokenizer.json`.

        Args:
            path: the file.
            reading: `max_words` and the others, as for `Tokenizer`; the file does not hold them.

        Raises:
            RunError: the file is missing or damaged.
        """
        try:
            core = tokenizers.Tokenizer.from_str(Path(path).read_text(encoding="utf-8"))
            if _is_own(core):
                _split_words(core)  # files of earlier versions joined the words on both sides of a comma or slash
            return cls(core, **reading)
        except FileNotFoundError as error:
            raise RunError(f"the tokenizer {str(path)!r} is missing") from error
        except Exception as error:  # the library raises bare Exception on damaged files
            raise RunError(f"the tokenizer {str(path)!r} is damaged: {error}") from error
