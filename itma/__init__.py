"""Find images with an image and a sentence.

A reference image and a feedback sentence go in, and a catalogue's images come out, nearest first. The names below are
loaded when they are first used, so that `import itma` itself is cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from itma.client import Client
    from itma.data.batches import Batch, Plan, load_batch
    from itma.data.datasets.base import DataConfig, Dataset
    from itma.data.datasets.base import register as register_dataset
    from itma.data.images import FilePictures, MemoryPictures, Preprocess
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
        ItemExistsError,
        ItmaError,
        MissingExtraError,
        MissingPackageError,
        MissingPartError,
        PictureError,
        PluginError,
        RunError,
        StorageError,
        TrainingError,
        UnanswerableError,
        UnknownItemError,
        UnknownNameError,
    )
    from itma.explanations.explanation import Explanation
    from itma.learn.config import TrainConfig
    from itma.learn.losses import Loss, LossBatch
    from itma.learn.losses import register as register_loss
    from itma.learn.train import dropout_seed, make_loss, make_optimizer
    from itma.model.composers.base import Composer, Place
    from itma.model.composers.base import register as register_composer
    from itma.model.image_encoder import ImageEncoder, TrunkConfig
    from itma.model.image_encoder import register as register_image_encoder
    from itma.model.language import Language as TextEncoder
    from itma.model.language import LanguageConfig, Words
    from itma.model.language import register as register_text_encoder
    from itma.model.retriever import Retriever, RetrieverConfig
    from itma.model.retriever import load_retriever as load
    from itma.records import Hit, Hits, Interval, Report, Triplet
    from itma.search.catalogue import Catalogue
    from itma.search.engines import register as register_store
    from itma.search.rows import Item
    from itma.stages import Settings, evaluate, explain, generate, index, resume, settings_for, train

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
    "FeedbackError",
    "FilePictures",
    "FilterError",
    "Hit",
    "Hits",
    "HubError",
    "ImageEncoder",
    "Interval",
    "Item",
    "ItemExistsError",
    "ItmaError",
    "LanguageConfig",
    "Loss",
    "LossBatch",
    "MemoryPictures",
    "MissingExtraError",
    "MissingPackageError",
    "MissingPartError",
    "PictureError",
    "Place",
    "Plan",
    "PluginError",
    "Preprocess",
    "Protocol",
    "Report",
    "Retriever",
    "RetrieverConfig",
    "RunError",
    "Settings",
    "Split",
    "StorageError",
    "Task",
    "TextEncoder",
    "TrainConfig",
    "TrainingError",
    "Triplet",
    "Triplets",
    "TrunkConfig",
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
    "Batch": "itma.data.batches:Batch",
    "dropout_seed": "itma.learn.train:dropout_seed",
    "make_loss": "itma.learn.train:make_loss",
    "BusyError": "itma.errors:BusyError",
    "Catalogue": "itma.search.catalogue:Catalogue",
    "CatalogueError": "itma.errors:CatalogueError",
    "Client": "itma.client:Client",
    "Composer": "itma.model.composers.base:Composer",
    "ConfigError": "itma.errors:ConfigError",
    "DataConfig": "itma.data.datasets.base:DataConfig",
    "DataError": "itma.errors:DataError",
    "Dataset": "itma.data.datasets.base:Dataset",
    "Explanation": "itma.explanations.explanation:Explanation",
    "ExplanationError": "itma.errors:ExplanationError",
    "FeedbackError": "itma.errors:FeedbackError",
    "FilePictures": "itma.data.images:FilePictures",
    "FilterError": "itma.errors:FilterError",
    "Hit": "itma.records:Hit",
    "Hits": "itma.records:Hits",
    "HubError": "itma.errors:HubError",
    "ImageEncoder": "itma.model.image_encoder:ImageEncoder",
    "Interval": "itma.records:Interval",
    "Item": "itma.search.rows:Item",
    "ItemExistsError": "itma.errors:ItemExistsError",
    "ItmaError": "itma.errors:ItmaError",
    "LanguageConfig": "itma.model.language:LanguageConfig",
    "Loss": "itma.learn.losses:Loss",
    "LossBatch": "itma.learn.losses:LossBatch",
    "MemoryPictures": "itma.data.images:MemoryPictures",
    "MissingExtraError": "itma.errors:MissingExtraError",
    "MissingPackageError": "itma.errors:MissingPackageError",
    "MissingPartError": "itma.errors:MissingPartError",
    "PictureError": "itma.errors:PictureError",
    "Place": "itma.model.composers.base:Place",
    "Plan": "itma.data.batches:Plan",
    "PluginError": "itma.errors:PluginError",
    "Preprocess": "itma.data.images:Preprocess",
    "Protocol": "itma.data.triplets:Protocol",
    "Report": "itma.records:Report",
    "Retriever": "itma.model.retriever:Retriever",
    "RetrieverConfig": "itma.model.retriever:RetrieverConfig",
    "RunError": "itma.errors:RunError",
    "Settings": "itma.stages:Settings",
    "Split": "itma.data.triplets:Split",
    "StorageError": "itma.errors:StorageError",
    "Task": "itma.data.triplets:Task",
    "TextEncoder": "itma.model.language:Language",
    "TrainConfig": "itma.learn.config:TrainConfig",
    "TrainingError": "itma.errors:TrainingError",
    "Triplet": "itma.records:Triplet",
    "Triplets": "itma.data.triplets:Triplets",
    "TrunkConfig": "itma.model.image_encoder:TrunkConfig",
    "UnanswerableError": "itma.errors:UnanswerableError",
    "UnknownItemError": "itma.errors:UnknownItemError",
    "UnknownNameError": "itma.errors:UnknownNameError",
    "Words": "itma.model.language:Words",
    "by_label": "itma.data.triplets:by_label",
    "evaluate": "itma.stages:evaluate",
    "explain": "itma.stages:explain",
    "generate": "itma.stages:generate",
    "hold_out": "itma.data.triplets:hold_out",
    "index": "itma.stages:index",
    "load": "itma.model.retriever:load_retriever",
    "load_batch": "itma.data.batches:load_batch",
    "load_data": "itma.data.sources:load",
    "make_optimizer": "itma.learn.train:make_optimizer",
    "register_composer": "itma.model.composers.base:register",
    "register_dataset": "itma.data.datasets.base:register",
    "register_image_encoder": "itma.model.image_encoder:register",
    "register_loss": "itma.learn.losses:register",
    "register_store": "itma.search.engines:register",
    "register_text_encoder": "itma.model.language:register",
    "resume": "itma.stages:resume",
    "run_demo": "itma.demo:demo",  # not `demo`: importing the module of that name would put the module in its place
    "settings_for": "itma.stages:settings_for",
    "train": "itma.stages:train",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'itma' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    value = globals()[name] = getattr(import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
