"""What a model can read of a sentence, said before it answers: one rule for searching, explaining and encoding."""

import logging

from itma.data.tokenizer import EARLIER
from itma.errors import FeedbackError
from itma.models.embedder import Embedder

log = logging.getLogger(__name__)


def readable(model: Embedder, text: str | None, *, alone: bool) -> str | None:
    """The sentence if it has words.

    Raises:
        FeedbackError: no word of it is known, or it has none and stands alone.
    """
    if text is not None and not isinstance(text, str):
        raise FeedbackError(f"{text!r:.60} is a {type(text).__name__}; a sentence is a text")
    words = model.tokenizer.words(text or "")
    if not words:
        if alone:
            raise FeedbackError(f"there is no word in the sentence {text!r}; write one, or give an image as well")
        return None
    if not model.reads_words:
        if not alone:
            log.warning("the model %r does not read words: %r has no effect", model.name, text)
        return text
    model.tokenizer.check(text or "")
    # the word that stands before earlier turns may be ours
    unknown = [word for word in dict.fromkeys(model.tokenizer.unknown(text or "")) if word != EARLIER.strip()]
    if unknown:
        listed = ", ".join(map(repr, unknown[:8])) + (" …" if len(unknown) > 8 else "")
        effect = "reads as one unknown word" if model.tokenizer.keep_unknown else "ignores"
        log.warning("words that the model never saw in training and %s: %s", effect, listed)
    near = model.tokenizer.read_as(text or "")
    if near:
        pairs = ", ".join(f"{word!r} as {other!r}" for word, other in list(near.items())[:8])
        log.warning("words that the model never saw in training and reads as others: %s", pairs)
    return text
