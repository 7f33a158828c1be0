"""A torch model → ONNX graphs, which are compared with it before they take their place."""

import copy
import dataclasses
import inspect
import logging
import os
import random
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from itma import __version__
from itma.data.tokenizer import Tokens
from itma.errors import RunError, StorageError
from itma.export.folder import IMAGE, MAPS, QUERY, TOKENIZER, WORDS, Description, Graph, Reading, require_packages
from itma.export.runtime import OnnxRetriever, by_level
from itma.io import new_folder
from itma.models.embedder import unit
from itma.models.retriever import Retriever
from itma.progress import bar

log = logging.getLogger(__name__)

TOLERANCE = 1e-4
"""How much a feature of an embedding may differ from torch's; float32 rounding makes about 1e-6."""
OPSET = 20
_TRIAL_SIZES = ((1, 1), (2, 3), (5, None))
"""Numbers of images and of words that the graphs are tried with; None: as many words as a sentence may have."""


def export(
    model: Retriever,
    folder: str | Path,
    *,
    replace: bool = False,
    made_from: Mapping[str, str] | None = None,
    progress: bool = False,
) -> Description:
    """Write the functions that serving needs as ONNX graphs: float32, for any number of images and of words.

    `maps.onnx` makes feature maps of images, `image.onnx` embeds them, `query.onnx` with a sentence, `words.onnx`
    sentences alone; each is written where the model has such a function. Images are uint8 of the model's own size: the
    normalisation is in the graph.

    Args:
        model: the model; it stays as it is.
        folder: where; must not exist yet, unless it is to be replaced.
        replace: put the new export in the place of an old one.
        made_from: sums of the files that the model was opened from, so that a later export is known as such.
        progress: show a progress bar.

    Returns:
        What was written.

    Raises:
        MissingExtraError: the packages for ONNX are not installed.
        RunError: a graph cannot be made, or answers otherwise than torch; the message says by how much.
        StorageError: the folder exists, or cannot be written to.
    """
    require_packages("onnx", "onnxruntime", "onnxscript")
    if model.by_turn:
        raise RunError(
            f"the model {model.name!r} follows conversations by the tracker {model.config.tracker!r}, which no graph "
            "of ONNX holds yet; let it answer by torch (--runtime torch)"
        )
    if not replace and os.path.lexists(folder):  # said before the work, not after it
        raise StorageError(f"{str(folder)!r} exists already; choose another name or remove it first")
    plain, words = copy.deepcopy(model).cpu().eval(), model.tokenizer
    kinds: dict[Graph, type[_Graph]] = {MAPS: _Maps, IMAGE: _Images}
    if model.reads_words:
        kinds |= {WORDS: _Words, QUERY: _Queries} if model.composer.reads_images else {WORDS: _Words}
    changed = _with_onnx_lstm(plain)
    graphs = {name: kind(changed) for name, kind in kinds.items()}
    log.info("exporting %r to ONNX in %r", model.name, str(folder))
    with (
        new_folder(folder, replace=replace) as draft,
        bar("exporting to ONNX", show=progress, total=len(graphs) + 1, unit="graph") as meter,
    ):
        for name, graph in graphs.items():
            _write(graph, draft / name, plain)
            meter.update()
        words.save(draft / TOKENIZER)
        fingerprint = model.fingerprint()
        description = Description(
            name=model.name,
            precision="float32",
            fingerprint=fingerprint,
            source=fingerprint,
            reads_words=model.reads_words,
            reads_earlier=model.reads_earlier,
            reading=Reading(words.max_words, words.keep_unknown, words.special_tokens, words.nearest),
            preprocess=model.preprocess,
            graphs=tuple(graphs),
            opset=OPSET,
            difference=0.0,
            made_with={"itma": __version__, "torch": torch.__version__, "onnx": version("onnx")},
            made_from=dict(made_from or {}),
        )
        description.write(draft)
        description = dataclasses.replace(description, difference=_difference(plain, OnnxRetriever(draft)))
        description.write(draft)
        meter.update()
    return description


class _Graph(nn.Module):
    """One function of a model, by the names that its inputs have in the graph."""

    def __init__(self, model: Retriever) -> None:
        super().__init__()
        self.model = model


class _Maps(_Graph):
    """Pixels → feature maps."""

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.model.image_encoder(self.model.preprocess.normalise(pixels)))


class _Images(_Graph):
    """Feature maps → embeddings of gallery images."""

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        return unit(self.model.composer.embed_images(maps))


class _Queries(_Graph):
    """Feature maps and words → embeddings of queries."""

    def forward(self, maps: list[torch.Tensor], ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return unit(self.model.compose(maps, Tokens(ids, mask)))


class _Words(_Graph):
    """Words → embeddings of queries without a reference."""

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return unit(self.model.compose(None, Tokens(ids, mask)))


def _with_onnx_lstm(model: Retriever) -> Retriever:
    """A copy whose LSTMs become the operator of that name; torch would unroll them for one number of words."""
    changed = copy.deepcopy(model)
    for module in list(changed.modules()):
        for name, part in module.named_children():
            if isinstance(part, nn.LSTM):
                setattr(module, name, _OnnxLstm(part))
    return changed


class _OnnxLstm(nn.Module):
    """The outputs of a torch LSTM by ONNX's operator; the last states are not given."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        assert lstm.batch_first and lstm.bias and not lstm.bidirectional and not lstm.proj_size
        self.layers, self.width = lstm.num_layers, lstm.hidden_size
        for layer in range(self.layers):
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            inner, hidden, *biases = (_gates(getattr(lstm, f"{name}_l{layer}").detach()) for name in names)
            for name, tensor in (("weight_ih", inner), ("weight_hh", hidden), ("bias", torch.cat(biases))):
                self.register_buffer(f"{name}_{layer}", tensor[None])

    def forward(self, words_BTD: torch.Tensor) -> tuple[torch.Tensor, None]:
        words_TBD = words_BTD.transpose(0, 1)
        for layer in range(self.layers):
            T, B = words_TBD.shape[:2]
            weights = (getattr(self, f"{part}_{layer}") for part in ("weight_ih", "weight_hh", "bias"))
            words_T1BD = torch.onnx.ops.symbolic(
                "LSTM",
                (words_TBD, *weights),
                attrs={"hidden_size": self.width},
                dtype=words_TBD.dtype,
                shape=(T, 1, B, self.width),
                version=OPSET,
            )
            words_TBD = words_T1BD.squeeze(1)
        return words_TBD.transpose(0, 1), None


def _gates(rows: torch.Tensor) -> torch.Tensor:
    """Torch's order of an LSTM's gates (input, forget, cell, output) as ONNX's (input, output, forget, cell)."""
    entrance, forget, cell, way_out = rows.chunk(4)
    return torch.cat([entrance, way_out, forget, cell])


def _write(graph: nn.Module, path: Path, model: Retriever) -> None:
    """Write one graph; torch looks at its inputs' sizes as at variables, and refuses what would fix them."""
    batch, words = torch.export.Dim("batch"), torch.export.Dim("words", max=model.tokenizer.max_words)
    tokens = model.tokenizer(_sentences(model, 3, 4))
    pixels = torch.zeros(3, 3, model.preprocess.height, model.preprocess.width, dtype=torch.uint8)
    maps = model.feature_maps(pixels)
    examples: dict[str, tuple[Any, Any]] = {
        "pixels": (pixels, {0: batch}),
        "maps": (maps, [{0: batch} for _ in maps]),
        "ids": (tokens.ids, {0: batch, 1: words}),
        "mask": (tokens.mask, {0: batch, 1: words}),
    }
    names = list(inspect.signature(graph.forward).parameters)
    inputs = [each for name in names for each in (by_level(maps) if name == "maps" else [name])]
    try:
        with _quiet(), torch.no_grad(), torch.autocast("cpu", enabled=False):
            program = torch.export.export(
                graph.eval(),
                tuple(examples[name][0] for name in names),
                dynamic_shapes={name: examples[name][1] for name in names},
            )
            torch.onnx.export(
                program,
                (),
                path,
                input_names=inputs,
                output_names=list(by_level(maps)) if path.name == MAPS else ["embeddings"],
                dynamic_shapes={name: _names_of(examples[name][1]) for name in names},
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # tracing runs all of the model's code, and raises what it likes
        raise RunError(f"the model {model.name!r} cannot be written as {path.name}: {error}") from error


def _names_of(sizes: Any) -> Any:
    """Axis → size as axis → name."""
    if isinstance(sizes, list):
        return [_names_of(each) for each in sizes]
    return {axis: size.__name__ for axis, size in sizes.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Torch's exporter warns of its own parts that are to go, and of torchvision, which is not needed."""
    registry = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registry.level
    registry.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*treespec, LeafSpec", FutureWarning)
            warnings.filterwarnings("ignore", "# The axis name", UserWarning)  # inputs are meant to share theirs
            yield
    finally:
        registry.setLevel(level)


def _sentences(model: Retriever, count: int, words: int | None) -> list[str]:
    """Made of words the model knows: the first as long as asked, the others shorter, the last of several empty."""
    reader = model.tokenizer
    draw, vocabulary = random.Random(0), [word for word in reader.vocabulary if word.isascii() and word.isalnum()]
    longest = reader.max_words - 2 * reader.special_tokens if words is None else words
    lengths = [longest, *(draw.randrange(1, longest + 1) for _ in range(count - 2)), 0][:count]
    return [" ".join(draw.choices(vocabulary, k=length)) for length in lengths]


def _difference(model: Retriever, exported: OnnxRetriever) -> float:
    """The largest difference of any feature between what the two answer.

    Raises:
        RunError: it is more than rounding.
    """
    noise, largest = torch.Generator().manual_seed(0), 0.0
    height, width = model.preprocess.height, model.preprocess.width
    for count, words in _TRIAL_SIZES:
        pixels = torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=noise)
        sentences = _sentences(model, count, words)
        inputs: dict[str, tuple[torch.Tensor | None, list[str] | None]] = {"an image alone": (pixels, None)}
        if model.reads_words:
            inputs |= {"image and words": (pixels, sentences), "words alone": (None, [s for s in sentences if s])}
        answers = {
            what: (model.embed_queries(*query), exported.embed_queries(*query)) for what, query in inputs.items()
        }
        answers["images"] = (model.embed_images(pixels), exported.embed_images(pixels))
        for what, (expected, actual) in answers.items():
            apart = float((expected - actual).abs().max())
            if not apart <= TOLERANCE:  # also where it is no number
                raise RunError(
                    f"the ONNX graphs of the model {model.name!r} answer otherwise than torch: {what}, {count} rows, "
                    f"features up to {apart:.2g} apart where at most {TOLERANCE:g} is rounding; they were not kept. "
                    "Use the model with --runtime torch"
                )
            largest = max(largest, apart)
    return largest
