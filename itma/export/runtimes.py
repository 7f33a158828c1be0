"""What can compute a model's answers: torch in float32 or bf16, or onnxruntime with float32 or int8 graphs."""

import logging
from pathlib import Path

import torch

from itma import __version__
from itma.device import knows_bf16
from itma.errors import RunError, StorageError, UnknownNameError
from itma.export.folder import Precision, is_export
from itma.export.runtime import OnnxRetriever
from itma.models.checkpoint import CONFIG, MANIFEST, TOKENIZER, WEIGHTS, checkpoint_folder, verify
from itma.models.embedder import Embedder
from itma.models.retriever import Retriever
from itma.models.shipped import is_shipped
from itma.models.towers import holds_towers

log = logging.getLogger(__name__)

RUNTIMES: dict[str, Precision | None] = {"torch": None, "torch-bf16": None, "onnx": "float32", "onnx-int8": "int8"}
"""Runtime → precision of its graphs; torch has none."""
FOLDERS: dict[Precision, str] = {"float32": "onnx", "int8": "onnx-int8"}
"""Where exports stand in a checkpoint's folder."""


def open_model(
    run: str | Path,
    *,
    which: str = "best",
    runtime: str = "torch",
    device: torch.device | None = None,
    progress: bool = False,
) -> Embedder:
    """Open a trained model to answer, not to learn.

    The float32 graphs are exported when they are first needed, and again where the checkpoint has changed since.

    Args:
        run: a run folder or a checkpoint folder; for ONNX also a folder that holds an export.
        which: `best` or `last` checkpoint of a run.
        runtime: `torch`, `torch-bf16`, `onnx` or `onnx-int8`.
        device: where torch is to work; None: on the CPU, as ONNX always does.
        progress: show a progress bar where something is exported.

    Raises:
        UnknownNameError: there is no such runtime or checkpoint.
        RunError: the model cannot be opened, or its int8 graphs were not made yet, or of other weights.
        MissingExtraError: the packages for ONNX are not installed.
        StorageError: the graphs cannot be written into the run's folder.
    """
    if runtime not in RUNTIMES:
        raise UnknownNameError("runtime", runtime, RUNTIMES)
    precision = RUNTIMES[runtime]
    if precision is None:
        model = Retriever.load(run, which=which).to(device or torch.device("cpu"))
        if runtime == "torch-bf16":
            model.precision = "bf16"
            if not knows_bf16(model.device):
                log.info("this CPU does not compute in bf16; float32 is taken instead")
        return model
    if is_export(Path(run)):
        exported = OnnxRetriever(run)
        if exported.description.precision != precision:
            raise RunError(
                f"{str(run)!r} holds {exported.description.precision} graphs, but {precision} ones were asked for; "
                f"use --runtime {exported.runtime}"
            )
        return exported
    return open_exported(run, precision, which=which, progress=progress)


def open_exported(
    run: str | Path, precision: Precision, *, which: str = "best", progress: bool = False
) -> OnnxRetriever:
    """The export in a run's checkpoint; float32 is exported where it is absent or of other weights."""
    checkpoint = checkpoint_folder(run, which)
    folder, sums = checkpoint / FOLDERS[precision], checkpoint_sums(checkpoint)
    if is_export(folder):
        exported = OnnxRetriever(folder)
        made_from, version = exported.description.made_from, exported.description.made_with.get("itma")
        # another version may reckon fingerprints in another way; those of int8 graphs stand for themselves
        if made_from == sums and (precision == "int8" or version == __version__):
            return exported
        log.info("the ONNX graphs in %r are of other weights, or of another itma", str(folder))
    if precision == "int8":
        state = "are of other weights than the checkpoint has now" if is_export(folder) else "were not made yet"
        raise RunError(
            f"the int8 graphs of {str(run)!r} {state}; make them with images like those to be searched: "
            f"itma quantise {run} IMAGES"
        )
    return export_run(run, which=which, progress=progress)


def export_run(
    run: str | Path, folder: str | Path | None = None, *, which: str = "best", progress: bool = False
) -> OnnxRetriever:
    """Write a run's model as float32 graphs, checked against torch; see `itma.export.export.export`.

    Args:
        run: a run folder or a checkpoint folder.
        folder: a new folder; None: `onnx` in the checkpoint's, where it takes the place of an older export and
            `--runtime onnx` finds it.
        which: `best` or `last` checkpoint of a run.
        progress: show a progress bar.

    Returns:
        The model as it answers from the graphs; its `folder` says where they are.

    Raises:
        MissingExtraError: the packages for ONNX are not installed.
        RunError: the model cannot be opened or exported, or it comes with itma.
        StorageError: the folder exists already, or cannot be written to.
    """
    from itma.export.export import export

    if folder is None and is_shipped(run):
        raise RunError(
            f"the model {str(run)!r} comes with itma, whose own folder is left alone; export it with itma export {run} "
            "--out FOLDER, and give FOLDER as the run from then on"
        )
    checkpoint = checkpoint_folder(run, which)
    target = checkpoint / FOLDERS["float32"] if folder is None else Path(folder)
    model = Retriever.load(checkpoint)
    try:
        export(model, target, replace=folder is None, made_from=checkpoint_sums(checkpoint), progress=progress)
    except StorageError as error:
        if folder is not None:
            raise
        raise StorageError(
            f"{error} The graphs can stand elsewhere: itma export {run} --out FOLDER, and give FOLDER as the run from "
            "then on"
        ) from error
    return OnnxRetriever(target)


def checkpoint_sums(checkpoint: Path) -> dict[str, str]:
    """Sums of a checkpoint's files that decide its answers, as they were saved.

    Raises:
        RunError: they are missing or damaged.
    """
    if holds_towers(checkpoint):
        raise RunError(
            f"the model in {str(checkpoint)!r} is in the hub's form, which torch alone answers; make a folder that can "
            "be exported with: itma pack NAME FOLDER"
        )
    sums = verify(checkpoint, ())
    try:
        return {name: str(sums[name]) for name in (WEIGHTS, CONFIG, TOKENIZER)}
    except KeyError as error:
        raise RunError(f"{str(checkpoint / MANIFEST)!r} is damaged: the sum of {error} is missing") from error
