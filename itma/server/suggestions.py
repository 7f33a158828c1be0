"""Sentences that show a newcomer what to say to this model."""

from collections.abc import Sequence
from pathlib import Path

from itma.data.tokenizer import typical
from itma.errors import ItmaError
from itma.hub.card import SENTENCES
from itma.retrieval.snapshot import Snapshot
from itma.training.run import read_settings

_SHOWN = 24


def suggestions(snapshot: Snapshot, run: Path | None) -> Sequence[str]:
    """Sentences from the model's training, as its run tells; or one of the kind of its data set; or none.

    Sentences with words that the model does not know are left out.

    Args:
        snapshot: of the catalogue.
        run: the run folder of its model. None: it is not there.
    """
    if run is None or not snapshot.has_model:
        return []
    try:
        settings = read_settings(run)
        tokenizer = snapshot.model.tokenizer
    except ItmaError:
        return []
    data = settings.get("data", {})
    name = data.get("name", "") if isinstance(data, dict) else ""
    examples = settings.get("sentences") or [SENTENCES[name]] * (name in SENTENCES)
    sentences = [sentence for sentence in examples if isinstance(sentence, str)] if isinstance(examples, list) else []
    known = [sentence for sentence in sentences if not tokenizer.unknown(sentence)]
    return typical(known, _SHOWN)
