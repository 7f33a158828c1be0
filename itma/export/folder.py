"""The folder of an export: graphs, the tokenizer, and a description that tells which model they are.

<checkpoint>/onnx/          or wherever `itma export --out` was told
  maps.onnx                 pixels → feature maps, one for each level
  image.onnx                feature maps → embedding
  query.onnx                feature maps, ids, mask → embedding; only where a query depends on both
  words.onnx                ids, mask → embedding; only where the model reads words
  tokenizer.json            sentence → ids
  onnx.json                 what is needed beside the graphs, and the sums of all files
<checkpoint>/onnx-int8/     the same, and loss.json: what was lost
"""

import importlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from itma.config import from_plain, to_plain
from itma.data.images import Preprocess
from itma.errors import ItmaError, MissingExtraError, RunError
from itma.io import file_sum, parse_json
from itma.models.checkpoint import check_sums

FORMAT = 2
MAPS: Final = "maps.onnx"
IMAGE: Final = "image.onnx"
QUERY: Final = "query.onnx"
WORDS: Final = "words.onnx"
TOKENIZER, DESCRIPTION = "tokenizer.json", "onnx.json"
Graph = Literal["maps.onnx", "image.onnx", "query.onnx", "words.onnx"]
Precision = Literal["float32", "int8"]


@dataclass(frozen=True)
class Reading:
    """How the tokenizer reads, which its file does not say; as for `Tokenizer`."""

    max_words: int
    keep_unknown: bool
    special_tokens: bool
    nearest: bool = False


@dataclass(frozen=True)
class Description:
    """What an export says of itself."""

    name: str
    """The composer's name."""
    precision: Precision
    fingerprint: str
    """Of the model that the graphs are; float32 graphs share it with the torch model."""
    source: str
    """The torch model's fingerprint."""
    reads_words: bool
    reading: Reading
    preprocess: Preprocess
    graphs: tuple[Graph, ...]
    opset: int
    """Version of ONNX's operators."""
    difference: float
    """Largest difference between torch's embeddings and those of the float32 graphs, of any feature."""
    made_with: dict[str, str]
    """Versions of itma, torch and onnx."""
    reads_earlier: bool = False
    made_from: dict[str, str] = field(default_factory=dict)
    """Sums of the checkpoint's files, by name; empty where the model was in memory."""

    def write(self, folder: Path) -> None:
        """Write `onnx.json` with the sums of the files that stand in `folder` already."""
        sums = {name: file_sum(folder / name) for name in (*self.graphs, TOKENIZER)}
        plain = {"format": FORMAT, **to_plain(self), "sums": sums}
        (folder / DESCRIPTION).write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")


def is_export(folder: Path) -> bool:
    """Whether an export was written there, whole or not."""
    return (folder / DESCRIPTION).is_file()


def read(folder: Path) -> Description:
    """What an export says of itself; its files are compared with their sums.

    Raises:
        RunError: the folder is no export, or a file in it is missing, damaged or of a newer format.
    """
    if not is_export(folder):
        raise RunError(f"{str(folder)!r} is no ONNX export: {DESCRIPTION} is missing; make one with: itma export RUN")
    try:
        plain: dict[str, Any] = parse_json((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if (number := plain.pop("format")) > FORMAT:
            raise RunError(
                f"{str(folder)!r} was exported by a newer itma than this one; upgrade with: pip install -U itma"
            )
        if number < FORMAT:
            raise RunError(f"{str(folder)!r} was exported by an older itma than this one; {_AGAIN}")
        sums = plain.pop("sums")
        description = from_plain(Description, plain)
        file_sums = {name: str(sums[name]) for name in (*description.graphs, TOKENIZER)}
    except RunError:
        raise
    except (ItmaError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{str(folder / DESCRIPTION)!r} is damaged ({error}); {_AGAIN}") from error
    check_sums(folder, file_sums, _AGAIN)
    return description


_AGAIN = "write it again (itma export RUN, or itma quantise RUN IMAGES for int8)"


def require_packages(*names: str) -> None:
    """Import packages of the extra.

    Raises:
        MissingExtraError: one is not installed.
    """
    try:
        for name in names:
            importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError("ONNX", "onnx") from error
