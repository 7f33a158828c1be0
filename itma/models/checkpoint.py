"""What a run folder and a checkpoint look like: the names of their files, their sums, and where a name leads."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from itma.errors import HubError, RunError, UnknownNameError
from itma.io import file_sum, is_lfs_pointer, parse_json
from itma.models.hub import fetch_network
from itma.models.hub_names import hub_name
from itma.models.shipped import list_shipped, locate
from itma.models.towers import holds_towers, towers_sum

FORMAT = 1
RUN, POINTER, METRICS, STATE = "run.json", "checkpoints.json", "metrics.jsonl", "state.json"
"""What training leaves of a run besides its checkpoints, and in each of them; see `itma.training.run`."""
CHECKPOINTS = ("best", "last")
"""What a run's pointer names."""
WEIGHTS, CONFIG, TOKENIZER, MANIFEST = "model.safetensors", "config.json", "tokenizer.json", "manifest.json"
FILES = (WEIGHTS, CONFIG, TOKENIZER, MANIFEST)
"""What `Retriever.save` leaves; with them alone `load` rebuilds the model."""


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object; nothing where there is no such file.

    Raises:
        RunError: it is damaged.
    """
    if not path.is_file():
        return None
    try:
        plain = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{str(path)!r} is damaged: {error}") from error
    if not isinstance(plain, dict):
        raise RunError(f"{str(path)!r} is damaged: it holds no JSON object but {str(plain)[:60]}")
    return plain


def verify(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Check files against the sums that were written beside them, and give those sums.

    Raises:
        RunError: a file is missing or differs from what was saved.
    """
    way_out = "copy or train it again"
    if (sums := read_json(folder / MANIFEST)) is None:
        raise RunError(f"{str(folder / MANIFEST)!r} is missing; {way_out}")
    check_sums(folder, {name: sums.get(name) for name in names}, way_out)
    return sums


def check_sums(folder: Path, sums: Mapping[str, str | None], way_out: str) -> None:
    """Check files against their sums.

    Args:
        folder: where they are.
        sums: name → the sum that was written down.
        way_out: what a person can do where a file is not as it was.

    Raises:
        RunError: a file is missing or differs from what was saved.
    """
    for name, expected in sums.items():
        path = folder / name
        if not path.is_file():
            raise RunError(f"{str(path)!r} is missing; {way_out}")
        if is_lfs_pointer(path):
            raise RunError(
                f"{str(path)!r} is a pointer of git-lfs, not the file itself; fetch it in that folder with: git lfs "
                "pull"
            )
        if file_sum(path) != expected:
            raise RunError(f"{str(path)!r} is damaged: it differs from what was saved; {way_out}")


def weights_sum(folder: str | Path, which: str = "best") -> str:
    """sha256 of the weights that `Retriever.load` opens, by which a report says what it measured.

    Raises:
        RunError: there are none, see `checkpoint_folder`.
        DataError: a folder of CLIP or SigLIP lacks them.
    """
    checkpoint = checkpoint_folder(folder, which)
    return towers_sum(checkpoint) if holds_towers(checkpoint) else file_sum(checkpoint / WEIGHTS)


def checkpoint_folder(folder: str | Path, which: str = "best") -> Path:
    """The checkpoint that a run folder points at, or the folder itself where it is one, or that of a shipped model.

    A name on the hub is fetched into the hub's cache where it is not there yet.

    Raises:
        RunError: there is no such folder, or it is neither a run nor a checkpoint, or the hub does not have it.
    """
    if which not in CHECKPOINTS:
        raise UnknownNameError("checkpoint", which, CHECKPOINTS)
    folder, others = locate(folder), f"these models come with itma: {', '.join(list_shipped())}"
    if (name := hub_name(folder)) is not None:
        try:
            folder = fetch_network(name)
        except HubError as error:
            raise RunError(f"{name!r} is no folder here, and the hub does not give it: {error}; {others}") from error
    if not folder.is_dir():
        raise RunError(f"the run folder {str(folder)!r} does not exist; itma train makes one, and {others}")
    if (pointer := read_json(folder / POINTER)) is not None:
        name = pointer.get(which)
        if not isinstance(name, str) or Path(name).name != name:
            raise RunError(
                f"{str(folder / POINTER)!r} is damaged: expected an object that names a folder for last and best, not "
                f"{pointer!r}"
            )
        return folder / name
    if (folder / CONFIG).is_file() or (folder / WEIGHTS).is_file():
        return folder
    if (folder / RUN).is_file():
        raise RunError(
            f"the run {str(folder)!r} has no checkpoint yet; wait for its first, or go on with it: itma train --resume "
            f"{folder}"
        )
    raise RunError(f"{str(folder)!r} holds no model: expected {POINTER} or {CONFIG} in it")
