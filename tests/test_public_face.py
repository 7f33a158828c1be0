"""The public names are a list that is kept here: adding or losing one is a decision, never an accident."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import itma

NAMES = [
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


def test_the_public_names_are_exactly_these() -> None:
    assert itma.__all__ == NAMES
    assert set(NAMES) <= set(dir(itma))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "__version__"])
def test_a_public_name_resolves_and_explains_itself(name: str) -> None:
    assert (getattr(itma, name).__doc__ or "").strip()


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        itma.nonsense  # noqa: B018 - looking it up is the test


@pytest.mark.parametrize("name", NAMES)
def test_no_module_can_take_the_place_of_a_public_name(name: str) -> None:
    # importing itma.x binds the module to the attribute x of itma, over whatever stood there
    assert importlib.util.find_spec(f"itma.{name}") is None


def test_type_checkers_see_what_is_loaded_on_demand() -> None:
    tree = ast.parse(Path(itma.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    names = {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert names == itma._HOMES
    assert {*names, "__version__"} == set(NAMES)


@pytest.mark.parametrize("module", ["itma", "itma.cli"])
def test_importing_the_package_or_its_command_line_loads_nothing_heavy(module: str) -> None:
    heavy = {"torch", "transformers", "tokenizers", "numpy", "PIL", "tensorboard", "fastapi", "uvicorn", "sqlite3"}
    heavy |= {"lance", "pyarrow"}
    program = f"import {module}, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert module in loaded
    assert not heavy & set(loaded)
