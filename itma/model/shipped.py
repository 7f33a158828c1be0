"""Models that come with the package: trained on the generated worlds, small, ready to be searched with.

A name stands wherever a run folder can stand, unless there is a folder of that name: `itma index wardrobe PHOTOS shop`.
"""

from pathlib import Path

from itma.errors import UnknownNameError

_PLACE = Path(__file__).parent.parent / "weights"


def shipped() -> dict[str, Path]:
    """Name → folder, of the models in this installation; each holds what `Retriever.save_pretrained` leaves."""
    return {path.parent.name: path.parent for path in sorted(_PLACE.glob("*/config.json"))}


def shipped_folder(name: str) -> Path:
    """The folder of one of them.

    Raises:
        UnknownNameError: there is none of that name.
    """
    known = shipped()
    if name not in known:
        raise UnknownNameError("model that comes with itma", name, known)
    return known[name]


def is_shipped(run: str | Path) -> bool:
    """Whether this names a model of the package, and no folder that is there.

    >>> is_shipped("runs/mine")
    False
    """
    path = Path(run)
    return len(path.parts) == 1 and not path.exists() and path.name in shipped()


def located(run: str | Path) -> Path:
    """The folder that is meant: the one of that path, or of the model that comes with itma by that name."""
    return shipped_folder(Path(run).name) if is_shipped(run) else Path(run)
