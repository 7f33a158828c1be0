"""Float32 graphs → int8 graphs: weights and activations of the convolutions, by ranges seen on a person's images."""

import dataclasses
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from itma.export.folder import MAPS, QUERY, TOKENIZER, Description, Graph, require_packages
from itma.export.runtime import OnnxRetriever, by_level
from itma.io import file_sum
from itma.progress import bar

if TYPE_CHECKING:
    from tqdm import tqdm

BATCH = 16
"""Images that are looked at together when the ranges are measured."""


def quantise(
    source: OnnxRetriever, folder: Path, pixels: torch.Tensor, sentences: Sequence[str], *, progress: bool = False
) -> Description:
    """Write the int8 graphs of a float32 export.

    What is not a convolution stays float32; see docs/experiments.md for what else was tried.

    Args:
        source: the float32 export.
        folder: where; exists, and is empty.
        pixels: uint8 (images, 3, height, width) of the model's own size, like those it will meet.
        sentences: one for each image; not looked at where the model does not read words.
        progress: show a progress bar.

    Returns:
        What was written; its fingerprint is that of another model than the float32 one.

    Raises:
        MissingExtraError: the packages for ONNX are not installed.
        StorageError: the folder cannot be written to.
    """
    require_packages("onnx")
    from onnx import load

    full = source.description
    convolving = [
        name for name in full.graphs if any(node.op_type == "Conv" for node in load(source.folder / name).graph.node)
    ]
    with bar("calibrating", show=progress, total=len(convolving) * len(pixels), unit="image") as meter:
        for name in full.graphs:
            if name in convolving:
                _write(source.folder / name, folder / name, _inputs(source, name, pixels, sentences, meter))
            else:
                shutil.copyfile(source.folder / name, folder / name)
    shutil.copyfile(source.folder / TOKENIZER, folder / TOKENIZER)
    digest = hashlib.sha256(full.fingerprint.encode())
    for name in sorted(full.graphs):
        digest.update(file_sum(folder / name).encode())
    description = dataclasses.replace(full, precision="int8", fingerprint=digest.hexdigest())
    description.write(folder)
    return description


def _write(source: Path, target: Path, inputs: Iterator[dict[str, np.ndarray]]) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = target.with_suffix(".prepared")
    quant_pre_process(source, prepared, skip_symbolic_shape=True)  # joins batch norms to their convolutions
    quantize_static(
        prepared,
        target,
        SimpleNamespace(get_next=lambda: next(inputs, None)),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],  # with linear layers no faster; with attention and norms it answers nonsense
        per_channel=True,
        activation_type=QuantType.QUInt8,  # after a ReLU nothing is negative: a signed range would waste its half
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,  # entropy and percentiles are no better, and slower
    )
    prepared.unlink()


def _inputs(
    source: OnnxRetriever, graph: Graph, pixels: torch.Tensor, sentences: Sequence[str], meter: "tqdm[Any]"
) -> Iterator[dict[str, np.ndarray]]:
    """Batches of what a graph takes."""
    for first in range(0, len(pixels), BATCH):
        some = pixels[first : first + BATCH]
        inputs = {"pixels": some} if graph == MAPS else by_level(source.feature_maps(some))
        if graph == QUERY:
            tokens = source.tokenizer(sentences[first : first + BATCH])
            inputs |= {"ids": tokens.ids, "mask": tokens.mask}
        meter.update(len(some))
        yield {name: part.numpy() for name, part in inputs.items()}
