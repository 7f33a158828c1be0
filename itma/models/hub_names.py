"""Names of models on the Hugging Face Hub, given where a run folder can stand, and the hub's cache on this machine.

`huggingface_hub` is imported when it is used; it costs a tenth of a second.
"""

import json
import re
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_RUNS_FOLDER = "runs"
"""The folder that training makes by itself: a name that begins with it is a path."""


def hub_name(run: str | Path) -> str | None:
    """`ORG/NAME` where this can only be a name on the hub: nothing is there, not even a folder called ORG.

    >>> hub_name("openai/clip-vit-base-patch32"), hub_name("runs/mine"), hub_name("/data/shop"), hub_name("shop")
    ('openai/clip-vit-base-patch32', None, None, None)
    """
    path = Path(run)
    if len(path.parts) != 2 or not all(_NAME.fullmatch(part) for part in path.parts):
        return None
    parent = path.parent
    return None if parent.name == _RUNS_FOLDER or parent.exists() or path.exists() else path.as_posix()


def find_cached_folder(name: str) -> Path | None:
    """Where the hub's cache holds a model with all its weights; nothing is asked of the network."""
    from huggingface_hub import try_to_load_from_cache

    try:
        config = try_to_load_from_cache(name, "config.json")
    except (OSError, ValueError):
        return None
    folder = Path(config).parent if isinstance(config, str) else None
    return folder if folder is not None and weights_files(folder) else None


def weights_files(folder: Path) -> list[Path]:
    """The files that hold a model's weights, in the hub's form: one, or several with an index; none if any lacks."""
    for whole in ("model.safetensors", "pytorch_model.bin"):
        if (folder / whole).is_file():
            return [folder / whole]
        index = folder / f"{whole}.index.json"
        if index.is_file():
            try:
                named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
                parts = sorted({folder / str(name) for name in named})
            except (OSError, ValueError, KeyError, AttributeError, RecursionError):
                return []
            return parts if all(part.is_file() for part in parts) else []
    return []
