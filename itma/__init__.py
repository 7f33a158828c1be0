"""Find images with an image and a sentence.

A reference image and a feedback sentence go in, and a catalogue's images come out, nearest first. The names below are
loaded when they are first used, so that `import itma` itself is cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from itma.api import Settings, evaluate, generate, index, resume, settings_for, train
    from itma.client import Client
    from itma.data.batching import Batch, Plan, load_batch
    from itma.data.datasets.base import DataConfig, Dataset
    from itma.data.datasets.base import register as register_dataset
    from itma.data.images import FileImages, MemoryImages, Preprocess
    from itma.data.sources import load as load_data
    from itma.data.triplets import Protocol, Split, Task, Triplets, by_label, hold_out
    from itma.demo import demo as run_demo
    from itma.errors import (
        BusyError,
        CatalogueError,
        ConfigError,
        DataError,
        ExplanationError,
        FeedbackError,
        FilterError,
        HubError,
        ImageError,
        ItemExistsError,
        ItmaError,
        MissingExtraError,
        MissingPackageError,
        MissingPartError,
        PluginError,
        RunError,
        StorageError,
        TrainingError,
        UnanswerableError,
        UnknownItemError,
        UnknownNameError,
    )
    from itma.explanations.explaining import explain
    from itma.explanations.explanation import Explanation
    from itma.models.composers.base import Composer, FeatureShapes
    from itma.models.composers.base import register as register_composer
    from itma.models.image_encoders.base import ImageEncoder, ImageEncoderConfig
    from itma.models.image_encoders.base import register as register_image_encoder
    from itma.models.retriever import Retriever, RetrieverConfig
    from itma.models.retriever import load_retriever as load
    from itma.models.text_encoders.base import TextEncoder as TextEncoder
    from itma.models.text_encoders.base import TextEncoderConfig, Words
    from itma.models.text_encoders.base import register as register_text_encoder
    from itma.models.trackers import Tracker
    from itma.models.trackers import register as register_tracker
    from itma.records import Hit, Hits, Interval, Report, Triplet
    from itma.retrieval.catalogue import Catalogue
    from itma.retrieval.ingest.rows import Item
    from itma.retrieval.request import IndexOptions, SearchRequest
    from itma.retrieval.stores.engines import register as register_store
    from itma.training.config import TrainConfig
    from itma.training.loop import dropout_seed, make_loss, make_optimizer
    from itma.training.losses import Loss, LossBatch
    from itma.training.losses import register as register_loss

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "BusyError",
    "Catalogue",
    "CatalogueError",
    "Client",
    "Composer",
    "ConfigError",
    "DataConfig",
    "DataError",
    "Dataset",
    "Explanation",
    "ExplanationError",
    "FeatureShapes",
    "FeedbackError",
    "FileImages",
    "FilterError",
    "Hit",
    "Hits",
    "HubError",
    "ImageEncoder",
    "ImageEncoderConfig",
    "ImageError",
    "IndexOptions",
    "Interval",
    "Item",
    "ItemExistsError",
    "ItmaError",
    "Loss",
    "LossBatch",
    "MemoryImages",
    "MissingExtraError",
    "MissingPackageError",
    "MissingPartError",
    "Plan",
    "PluginError",
    "Preprocess",
    "Protocol",
    "Report",
    "Retriever",
    "RetrieverConfig",
    "RunError",
    "SearchRequest",
    "Settings",
    "Split",
    "StorageError",
    "Task",
    "TextEncoder",
    "TextEncoderConfig",
    "Tracker",
    "TrainConfig",
    "TrainingError",
    "Triplet",
    "Triplets",
    "UnanswerableError",
    "UnknownItemError",
    "UnknownNameError",
    "Words",
    "__version__",
    "by_label",
    "dropout_seed",
    "evaluate",
    "explain",
    "generate",
    "hold_out",
    "index",
    "load",
    "load_batch",
    "load_data",
    "make_loss",
    "make_optimizer",
    "register_composer",
    "register_dataset",
    "register_image_encoder",
    "register_loss",
    "register_store",
    "register_text_encoder",
    "register_tracker",
    "resume",
    "run_demo",
    "settings_for",
    "train",
]

_NAMES = {
    "itma.api": "Settings evaluate generate index resume settings_for train",
    "itma.client": "Client",
    "itma.data.batching": "Batch Plan load_batch",
    "itma.data.datasets.base": "DataConfig Dataset register=register_dataset",
    "itma.data.images": "FileImages MemoryImages Preprocess",
    "itma.data.sources": "load=load_data",
    "itma.data.triplets": "Protocol Split Task Triplets by_label hold_out",
    "itma.demo": "demo=run_demo",  # not `demo`: importing the module of that name would put the module in its place
    "itma.errors": " ".join(name for name in __all__ if name.endswith("Error")),
    "itma.explanations.explaining": "explain",
    "itma.explanations.explanation": "Explanation",
    "itma.models.composers.base": "Composer FeatureShapes register=register_composer",
    "itma.models.image_encoders.base": "ImageEncoder ImageEncoderConfig register=register_image_encoder",
    "itma.models.retriever": "Retriever RetrieverConfig load_retriever=load",
    "itma.models.text_encoders.base": "TextEncoder TextEncoderConfig Words register=register_text_encoder",
    "itma.models.trackers": "Tracker register=register_tracker",
    "itma.records": "Hit Hits Interval Report Triplet",
    "itma.retrieval.catalogue": "Catalogue",
    "itma.retrieval.ingest.rows": "Item",
    "itma.retrieval.request": "IndexOptions SearchRequest",
    "itma.retrieval.stores.engines": "register=register_store",
    "itma.training.config": "TrainConfig",
    "itma.training.loop": "dropout_seed make_loss make_optimizer",
    "itma.training.losses": "Loss LossBatch register=register_loss",
}
"""Module → its public names; with `name=public`, those that have another name here."""
_HOMES = {
    name.rpartition("=")[2]: f"{module}:{name.partition('=')[0]}"
    for module, names in _NAMES.items()
    for name in names.split()
}
"""Public name → where it is."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'itma' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    value = globals()[name] = getattr(import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
