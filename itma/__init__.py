"""Find pictures with a picture and a sentence.

A reference picture and a feedback sentence go in, and a catalogue's pictures come out, nearest first. The names below
are loaded when they are first used, so that `import itma` itself is cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from itma.api import evaluate, explain, generate, index, train
    from itma.client import Client
    from itma.data.images import Preprocess
    from itma.data.triplets import Triplets
    from itma.demo import demo as run_demo
    from itma.errors import ItmaError
    from itma.explanations.explanation import Explanation
    from itma.models.retriever import Retriever
    from itma.records import Hit, Interval, Query, Report, Triplet
    from itma.retrieval.catalogue import Catalogue

__version__ = "0.1.0"

__all__ = [
    "Catalogue",
    "Client",
    "Explanation",
    "Hit",
    "Interval",
    "ItmaError",
    "Preprocess",
    "Query",
    "Report",
    "Retriever",
    "Triplet",
    "Triplets",
    "__version__",
    "evaluate",
    "explain",
    "generate",
    "index",
    "run_demo",
    "train",
]

_HOMES = {
    "Catalogue": "itma.retrieval.catalogue:Catalogue",
    "Client": "itma.client:Client",
    "Explanation": "itma.explanations.explanation:Explanation",
    "Hit": "itma.records:Hit",
    "Interval": "itma.records:Interval",
    "ItmaError": "itma.errors:ItmaError",
    "Preprocess": "itma.data.images:Preprocess",
    "Query": "itma.records:Query",
    "Report": "itma.records:Report",
    "Retriever": "itma.models.retriever:Retriever",
    "Triplet": "itma.records:Triplet",
    "Triplets": "itma.data.triplets:Triplets",
    "evaluate": "itma.api:evaluate",
    "explain": "itma.api:explain",
    "generate": "itma.api:generate",
    "index": "itma.api:index",
    "run_demo": "itma.demo:demo",  # not `demo`: importing the module of that name would put the module in its place
    "train": "itma.api:train",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'itma' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    value = globals()[name] = getattr(import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
