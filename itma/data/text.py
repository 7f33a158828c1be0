"""Sentences → word ids and a mask. The tokenizer is saved with the model, so a run folder alone reads sentences."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import tokenizers
import torch

from itma.errors import ConfigError, DataError, RunError
from itma.files import write_text

log = logging.getLogger(__name__)

PADDING, UNKNOWN = "<pad>", "<unk>"
MAX_WORDS = 64
"""Longer sentences are cut after this many words; FashionIQ's longest pair of captions has fewer than 50."""


class Tokens(NamedTuple):
    """Sentences as numbers."""

    ids: torch.Tensor
    """(sentences, words) int64; padding is 0."""
    mask: torch.Tensor
    """(sentences, words) bool; true where there is a word."""

    def to(self, device: torch.device) -> "Tokens":
        """The same on another device."""
        return Tokens(self.ids.to(device), self.mask.to(device))


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
        core: a tokenizer of the `tokenizers` library; its padding token has the id 0.
        max_words: sentences are cut after so many tokens.
    """

    def __init__(self, core: tokenizers.Tokenizer, max_words: int = MAX_WORDS) -> None:
        if max_words < 1:
            raise ConfigError(f"max_words={max_words} must be at least 1")
        self._core, self.max_words = core, max_words

    @classmethod
    def fit(cls, sentences: Iterable[str], *, max_words: int = MAX_WORDS) -> "Tokenizer":
        """A tokenizer that knows every word of `sentences`; frequent words first, then by alphabet.

        Raises:
            DataError: there is no word in any of the sentences.
        """
        core = tokenizers.Tokenizer(tokenizers.models.WordLevel({PADDING: 0, UNKNOWN: 1}, unk_token=UNKNOWN))
        punctuation = tokenizers.Regex(r"[\p{P}$+<=>^`|~]")  # "middle-left" is one word, as in the published code
        core.normalizer = tokenizers.normalizers.Sequence(
            [
                tokenizers.normalizers.NFKC(),
                tokenizers.normalizers.Lowercase(),
                tokenizers.normalizers.Replace(punctuation, ""),
            ]
        )
        core.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
        counts: dict[str, int] = {}
        blank = cls(core)
        for sentence in sentences:
            for word in blank.words(sentence):
                counts[word] = counts.get(word, 0) + 1
        if not counts:
            raise DataError("there is no word in any of the training sentences; check the column of the feedback")
        ordered = sorted(counts, key=lambda word: (-counts[word], word))
        vocabulary = {word: index for index, word in enumerate([PADDING, UNKNOWN, *ordered])}
        core.model = tokenizers.models.WordLevel(vocabulary, unk_token=UNKNOWN)
        return cls(core, max_words)

    @property
    def vocabulary(self) -> dict[str, int]:
        """Word → id, in the order of ids."""
        return dict(sorted(self._core.get_vocab().items(), key=lambda item: item[1]))

    def __len__(self) -> int:
        return self._core.get_vocab_size()

    def words(self, sentence: str) -> list[str]:
        """The words of a sentence as the tokenizer sees them, known or not."""
        plain = self._core.normalizer.normalize_str(sentence)
        return [word for word, _ in self._core.pre_tokenizer.pre_tokenize_str(plain)]

    def unknown(self, sentence: str) -> list[str]:
        """Those words of a sentence that training never saw."""
        return [word for word in self.words(sentence) if self._core.token_to_id(word) is None]

    def __call__(self, sentences: Sequence[str]) -> Tokens:
        """Number the known words of a batch of sentences.

        Words that training never saw are left out: their features would be the noise the network began with. A
        sentence without known words gives an empty row. A sentence of more than `max_words` words is cut, with a
        warning in the log.
        """
        unknown = self._core.token_to_id(UNKNOWN)
        rows = [[word for word in row.ids if word != unknown] for row in self._core.encode_batch(list(sentences))]
        cut = sum(len(row) > self.max_words for row in rows)
        if cut:
            log.warning("%d of %d sentences were cut after %d words", cut, len(rows), self.max_words)
        rows = [row[: self.max_words] for row in rows]
        length = max([1, *map(len, rows)])
        ids = torch.tensor([row + [0] * (length - len(row)) for row in rows], dtype=torch.int64).view(len(rows), length)
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        return Tokens(ids, torch.arange(length)[None, :] < lengths[:, None])

    def to_json(self) -> str:
        """The tokenizer as the text of a `tokenizer.json`."""
        return self._core.to_str(pretty=True)

    def save(self, path: str | Path) -> None:
        """Write `tokenizer.json`, readable by the `tokenizers` library."""
        write_text(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path, *, max_words: int = MAX_WORDS) -> "Tokenizer":
        """Read a `tokenizer.json`.

        Raises:
            RunError: the file is missing or damaged.
        """
        try:
            return cls(tokenizers.Tokenizer.from_str(Path(path).read_text(encoding="utf-8")), max_words)
        except FileNotFoundError as error:
            raise RunError(f"the tokenizer {str(path)!r} is missing") from error
        except Exception as error:  # the library raises bare Exception on damaged files
            raise RunError(f"the tokenizer {str(path)!r} is damaged: {error}") from error
