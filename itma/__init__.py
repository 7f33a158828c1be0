"""Find images with an image and a sentence.

A reference image and a feedback sentence go in, and a catalogue's images come out, nearest first. The names below are
loaded when they are first used, so that `import itma` itself is cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from itma.api import Settings, evaluate, explain, generate, index, resume, settings_for, train
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
    from itma.records import Hit, Hits, Interval, Report, Triplet
    from itma.retrieval.catalogue import Catalogue
    from itma.retrieval.ingest.rows import Item
    from itma.retrieval.request import SearchRequest
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
    "resume",
    "run_demo",
    "settings_for",
    "train",
]

_HOMES = {
    "Batch": "itma.data.batching:Batch",
    "dropout_seed": "itma.training.loop:dropout_seed",
    "make_loss": "itma.training.loop:make_loss",
    "BusyError": "itma.errors:BusyError",
    "Catalogue": "itma.retrieval.catalogue:Catalogue",
    "CatalogueError": "itma.errors:CatalogueError",
    "Client": "itma.client:Client",
    "Composer": "itma.models.composers.base:Composer",
    "ConfigError": "itma.errors:ConfigError",
    "DataConfig": "itma.data.datasets.base:DataConfig",
    "DataError": "itma.errors:DataError",
    "Dataset": "itma.data.datasets.base:Dataset",
    "Explanation": "itma.explanations.explanation:Explanation",
    "ExplanationError": "itma.errors:ExplanationError",
    "FeedbackError": "itma.errors:FeedbackError",
    "FileImages": "itma.data.images:FileImages",
    "FilterError": "itma.errors:FilterError",
    "Hit": "itma.records:Hit",
    "Hits": "itma.records:Hits",
    "HubError": "itma.errors:HubError",
    "ImageEncoder": "itma.models.image_encoders.base:ImageEncoder",
    "Interval": "itma.records:Interval",
    "Item": "itma.retrieval.ingest.rows:Item",
    "ItemExistsError": "itma.errors:ItemExistsError",
    "ItmaError": "itma.errors:ItmaError",
    "TextEncoderConfig": "itma.models.text_encoders.base:TextEncoderConfig",
    "Loss": "itma.training.losses:Loss",
    "LossBatch": "itma.training.losses:LossBatch",
    "MemoryImages": "itma.data.images:MemoryImages",
    "MissingExtraError": "itma.errors:MissingExtraError",
    "MissingPackageError": "itma.errors:MissingPackageError",
    "MissingPartError": "itma.errors:MissingPartError",
    "ImageError": "itma.errors:ImageError",
    "FeatureShapes": "itma.models.composers.base:FeatureShapes",
    "Plan": "itma.data.batching:Plan",
    "PluginError": "itma.errors:PluginError",
    "Preprocess": "itma.data.images:Preprocess",
    "Protocol": "itma.data.triplets:Protocol",
    "Report": "itma.records:Report",
    "Retriever": "itma.models.retriever:Retriever",
    "RetrieverConfig": "itma.models.retriever:RetrieverConfig",
    "RunError": "itma.errors:RunError",
    "SearchRequest": "itma.retrieval.request:SearchRequest",
    "Settings": "itma.api:Settings",
    "Split": "itma.data.triplets:Split",
    "StorageError": "itma.errors:StorageError",
    "Task": "itma.data.triplets:Task",
    "TextEncoder": "itma.models.text_encoders.base:TextEncoder",
    "TrainConfig": "itma.training.config:TrainConfig",
    "TrainingError": "itma.errors:TrainingError",
    "Triplet": "itma.records:Triplet",
    "Triplets": "itma.data.triplets:Triplets",
    "ImageEncoderConfig": "itma.models.image_encoders.base:ImageEncoderConfig",
    "UnanswerableError": "itma.errors:UnanswerableError",
    "UnknownItemError": "itma.errors:UnknownItemError",
    "UnknownNameError": "itma.errors:UnknownNameError",
    "Words": "itma.models.text_encoders.base:Words",
    "by_label": "itma.data.triplets:by_label",
    "evaluate": "itma.api:evaluate",
    "explain": "itma.api:explain",
    "generate": "itma.api:generate",
    "hold_out": "itma.data.triplets:hold_out",
    "index": "itma.api:index",
    "load": "itma.models.retriever:load_retriever",
    "load_batch": "itma.data.batching:load_batch",
    "load_data": "itma.data.sources:load",
    "make_optimizer": "itma.training.loop:make_optimizer",
    "register_composer": "itma.models.composers.base:register",
    "register_dataset": "itma.data.datasets.base:register",
    "register_image_encoder": "itma.models.image_encoders.base:register",
    "register_loss": "itma.training.losses:register",
    "register_store": "itma.retrieval.stores.engines:register",
    "register_text_encoder": "itma.models.text_encoders.base:register",
    "resume": "itma.api:resume",
    "run_demo": "itma.demo:demo",  # not `demo`: importing the module of that name would put the module in its place
    "settings_for": "itma.api:settings_for",
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
