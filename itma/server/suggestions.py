"""Sentences that show a newcomer what to say to this model."""

from collections.abc import Sequence

from itma.data.tokenizer import typical
from itma.errors import ItmaError
from itma.hub.card import SENTENCES
from itma.retrieval.catalogue import Catalogue
from itma.training.run import read_settings

_SHOWN = 24


def suggestions(catalogue: Catalogue) -> Sequence[str]:
    """Sentences from the model's training, as its run tells; or one of the kind of its data set; or none.

    Sentences with words that the model does not know are left out.
    """
    run = catalogue.run
    if run is None:
        return []
    try:
        told = read_settings(run)
        tokenizer = catalogue.model.tokenizer
    except ItmaError:
        return []
    data = told.get("data", {})
    name = data.get("name", "") if isinstance(data, dict) else ""
    kept = told.get("sentences") or [SENTENCES[name]] * (name in SENTENCES)
    sentences = [sentence for sentence in kept if isinstance(sentence, str)] if isinstance(kept, list) else []
    known = [sentence for sentence in sentences if not tokenizer.unknown(sentence)]
    return typical(known, _SHOWN)
