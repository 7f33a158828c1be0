"""An export that answers: onnxruntime instead of torch's modules, on the CPU."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from itma.data.tokenizer import Tokenizer, Tokens
from itma.errors import DataError, RunError
from itma.export.folder import IMAGE, MAPS, QUERY, TOKENIZER, WORDS, Description, read, require_packages
from itma.models.checkpoint import WEIGHTS
from itma.models.embedder import Embedder

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class OnnxRetriever(Embedder):
    """A model that was exported to ONNX; answers as the `Retriever` it was made from, on the CPU.

    A graph is opened when it is first needed, with as many threads as torch has then.

    Args:
        folder: an export.

    Raises:
        RunError: the folder is no export, or is damaged.
        MissingExtraError: onnxruntime is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        require_packages("onnxruntime")
        self.folder = Path(folder)
        self.description: Description = read(self.folder)
        self.name, self.preprocess = self.description.name, self.description.preprocess
        self.reads_words, self.reads_earlier = self.description.reads_words, self.description.reads_earlier
        self.tokenizer = Tokenizer.load(self.folder / TOKENIZER, **dataclasses.asdict(self.description.reading))
        self._sessions: dict[str, InferenceSession] = {}

    @property
    def runtime(self) -> str:
        """`onnx` or `onnx-int8`."""
        return "onnx" if self.description.precision == "float32" else "onnx-int8"

    @property
    def weights(self) -> str | None:
        """sha256 of the weights file that the answers are those of; int8 graphs answer otherwise, and have none."""
        return self.description.made_from.get(WEIGHTS) if self.description.precision == "float32" else None

    def fingerprint(self) -> str:
        """That of the torch model for float32 graphs; int8 graphs have one of their own."""
        return self.description.fingerprint

    def feature_maps(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """uint8 images of the model's own size → one feature map for each level.

        Raises:
            DataError: images of another size, to which the graphs cannot be put.
        """
        shape = (3, self.preprocess.height, self.preprocess.width)
        if pixels.dtype != torch.uint8 or tuple(pixels.shape[1:]) != shape:
            raise DataError(
                f"images of shape {tuple(pixels.shape)} and type {pixels.dtype} were given; exported graphs take "
                f"uint8 images of {shape}, as preprocess.read and preprocess.fitted make them"
            )
        return self._run(MAPS, pixels=pixels)

    def embed_images_from(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """See `Embedder`."""
        return self._run(IMAGE, **by_level(maps))[0]

    def _queries(self, maps: Sequence[torch.Tensor] | None, tokens: Tokens | None) -> torch.Tensor:
        if tokens is None:
            assert maps is not None
            return self.embed_images_from(maps)
        if maps is None or QUERY not in self.description.graphs:
            return self._run(WORDS, ids=tokens.ids, mask=tokens.mask)[0]
        return self._run(QUERY, **by_level(maps), ids=tokens.ids, mask=tokens.mask)[0]

    def _run(self, graph: str, **inputs: torch.Tensor) -> list[torch.Tensor]:
        """The outputs of a graph, which passes over what it does not need."""
        if graph not in self._sessions:
            self._sessions[graph] = session(self.folder / graph)
        running = self._sessions[graph]
        names = [one.name for one in running.get_inputs()]
        return [
            torch.from_numpy(one) for one in running.run(None, {name: inputs[name].cpu().numpy() for name in names})
        ]


def by_level(maps: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Feature maps by the names that they have as inputs and outputs of graphs."""
    return {f"map_{level}": one for level, one in enumerate(maps)}


def session(path: Path) -> "InferenceSession":
    """A graph, opened.

    Raises:
        RunError: onnxruntime cannot open it.
    """
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only: they are raised, and the rest would go past Python's log
    # a thread that waits by spinning takes the processor from torch and from those that decode images
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises many kinds, none of them documented
        raise RunError(
            f"the graph {str(path)!r} cannot be opened by onnxruntime {onnxruntime.__version__}: {error}"
        ) from error
