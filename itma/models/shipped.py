"""Models that come with the package: trained on the generated worlds, small, ready to be searched with.

A name stands wherever a run folder can stand, unless there is a run of that name: `itma index wardrobe PHOTOS shop`. A
folder of images may be called `photos` all the same.
"""

import re
from pathlib import Path

from itma.errors import RunError, UnknownNameError
from itma.models.hub_names import find_cached_folder, hub_name

_OF_MODELS = ("checkpoints.json", "config.json", "run.json", "model.safetensors", "onnx.json")
"""Files by which a folder is a run or a model, whole or not."""
_FOLDER = Path(__file__).parent.parent / "weights"


def list_shipped() -> dict[str, Path]:
    """Name → folder, of the models in this installation; each holds what `itma.hub.sharing.save_pretrained` leaves."""
    return {path.parent.name: path.parent for path in sorted(_FOLDER.glob("*/config.json"))}


def find_shipped_folder(name: str) -> Path:
    """The folder of one of them.

    Raises:
        UnknownNameError: there is none of that name.
    """
    models = list_shipped()
    if name not in models:
        raise UnknownNameError("model that comes with itma", name, models)
    return models[name]


def is_shipped(run: str | Path) -> bool:
    """Whether this names a model of the package, and no run or model that is there.

    >>> is_shipped("runs/mine")
    False
    """
    path = Path(run)
    if len(path.parts) != 1 or path.name not in list_shipped():
        return False
    return not path.is_file() and not any((path / name).exists() for name in _OF_MODELS)


def locate(run: str | Path) -> Path:
    """The folder that is meant: of that path, of the model that comes with itma, or of the hub's cache by that name.

    A name on the hub that is not in the cache stays as it is.

    Raises:
        RunError: it is no text and no path.
    """
    if not isinstance(run, str | Path):
        raise RunError(f"{run!r:.60} is a {type(run).__name__}; expected the path of a run, or the name of a model")
    if address := re.match(r"(?:hf|https?):/+(?:huggingface\.co/)?(?P<name>[^/]+/[^/?#]+)", str(run)):
        raise RunError(f"{str(run)!r} is an address; of a model on the hub give the name alone: {address['name']}")
    if is_shipped(run):
        return find_shipped_folder(Path(run).name)
    name = hub_name(run)
    return (None if name is None else find_cached_folder(name)) or Path(run)
