"""Checkpoints of the published code → run folders that every other command accepts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itma import __version__
from itma.api import Settings
from itma.config import to_plain
from itma.data.datasets import NAMES, DataConfig
from itma.data.vocabulary import UNKNOWN, Order, words_for
from itma.errors import ConfigError, DataError, RunError
from itma.interop.published import Checkpoint, LeftOut, open_checkpoint, rebuild, shape
from itma.io import file_sum, new_folder
from itma.models.checkpoint import POINTER
from itma.models.retriever import Retriever, RetrieverConfig
from itma.training.config import TrainConfig
from itma.training.losses import ClassificationOptions
from itma.training.run import write_settings

_DATA = {"css3d": "css", "fashion200k": "fashion200k", "mitstates": "mitstates", "fashioniq": "fashioniq"}
"""The published name of each data set → ours."""
_LOSSES: dict[object, str] = {"batch_based_classification": "classification", "soft_triplet": "soft-triplet"}


@dataclass(frozen=True)
class Imported:
    """A published checkpoint that became a run."""

    folder: Path
    model: str
    """The published name of the model."""
    composer: str
    code: str
    """`tirg` or `maaf`: whose code wrote the checkpoint."""
    steps: int
    words: int
    """Words that have an embedding, besides the unknown one."""
    tensors: int
    """Tensors of the checkpoint that were used, or are copies of such."""
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    """What the person should know before relying on it."""

    def __str__(self) -> str:
        counts = f"{self.steps:,} steps, {self.words:,} words, {self.tensors} tensors"
        lines = [
            f"imported into {self.folder}: {self.model} of {self.code.upper()}'s code as {self.composer!r}, {counts}",
            *(f"no part in its answers: {left_out}" for left_out in self.left_out),
            *(f"note: {note}" for note in self.notes),
        ]
        return "\n".join(lines)


def import_published(
    checkpoint: str | Path,
    out: str | Path,
    *,
    words: str | Path | None = None,
    data: str | None = None,
    order: Order | None = None,
    size: tuple[int, int] | None = None,
) -> Imported:
    """Turn a checkpoint of TIRG's, MAAF's or ITMA's code into a run folder.

    The checkpoint is opened by an allow-list; every tensor is used, known to have no part in the answers, or an error.

    Args:
        checkpoint: the `.pth` file.
        out: the run folder; must not exist yet.
        words: the vocabulary, which the file lacks: a list of words, one a line, in the order of their ids, or the
            folder of the data set that the model was trained on. Needed unless the model reads no words.
        data: the data set, where the checkpoint does not name one of ours.
        order: how the code base numbered the words of a data set: `sorted` (TIRG) or in the order of `appearance`
            (MAAF, ITMA); None: by code base.
        size: width and height in pixels of the images that the model was trained on, which the file does not say. None:
            those of the published code, 180×120 for CSS by TIRG's, else 224×224.

    Raises:
        DataError: the checkpoint or the words cannot be read or do not fit each other.
        ConfigError: the checkpoint's options are not supported; the message says why.
        UnknownNameError: no such data set.
        StorageError: `out` exists or cannot be written to; nothing half done is left there.
    """
    out = Path(out)
    if out.exists():
        raise RunError(f"{str(out)!r} exists already; choose a new folder for the imported run")
    original = open_checkpoint(checkpoint)
    config = shape(original, size)
    published = str(original.options.get("dataset"))
    name, file = data or _DATA.get(published, published), None if words is None else Path(words)
    vocabulary = [UNKNOWN]
    if file is not None or config.composer != "image-only":
        vocabulary = _words(original, file, name, order)
    model, left_out = rebuild(original, vocabulary, size)
    root = str(file.resolve()) if file is not None and file.is_dir() else None
    source = DataConfig(name if name in NAMES else "own", root=root)
    settings = Settings(model.config, recipe(original), source)
    skipped = sum(len(each.names) for each in left_out if each.names != ("a[2:]",))
    counts = original.steps, len(vocabulary) - 1, len(original.tensors) - skipped
    notes = tuple(_notes(original, config, size))
    imported = Imported(out, original.model, config.composer, original.code, *counts, tuple(left_out), notes)
    _write(out, model, settings, imported, original)
    return imported


def recipe(checkpoint: Checkpoint) -> TrainConfig:
    """The published training recipe that a checkpoint's options describe, as far as there is a setting for it."""
    option = checkpoint.options

    def number(name: str, default: float) -> float:
        value = option.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"{checkpoint} has {name}={value!r}; expected a number")
        return float(value)

    css = option.get("dataset", "css3d") == "css3d"
    frozen = [("freeze_img_model", "image_encoder"), ("freeze_text_model", "text_encoder")]
    loss = _LOSSES.get(option.get("loss", "soft_triplet"), "classification")
    worst = number("drop_worst_rate", 0.2) if option.get("drop_worst_flag") is True else 0.0
    return TrainConfig(
        steps=max(1, int(number("num_iters", 210_000))),
        batch=int(number("batch_size", 32)),
        per_reference=1,
        loss=loss,
        loss_options=ClassificationOptions(worst) if loss == "classification" else None,
        optimizer="sgd",
        learning_rate=number("learning_rate", 0.01),
        image_encoder_rate=1.0 if css else number("pretrained_weight_lr_factor_image", 0.1),
        weight_decay=number("weight_decay", 1e-6),
        schedule="step",
        decay_every=int(number("learning_rate_decay_frequency", 9_999_999)),
        decay_factor=number("learning_rate_decay", 0.1),
        warmup=0,
        clip=0.0,
        precision="float32",
        frozen=tuple(part for flag, part in frozen if option.get(flag) is True),
        hold_out=0.0,
        metric="test/recall@10",
        evaluate_every=5_000,
        log_every=50,
    )


def _words(checkpoint: Checkpoint, source: Path | None, name: str, order: Order | None) -> list[str]:
    if source is None:
        raise DataError(
            f"{checkpoint} lacks its vocabulary; give it with --words: a list of words, one a line, in the order of "
            "their ids, or the folder of the data set that the model was trained on"
        )
    if checkpoint.options.get("train_on_validation_set") is True and source.is_dir():
        raise DataError(
            f"{checkpoint} was trained with --train_on_validation_set, on files that were never published, so its "
            "words cannot be built again; give the list of words"
        )
    rare = checkpoint.options.get("threshold_rare_words", 0)
    rare = rare if isinstance(rare, int) else 0
    order = order or ("sorted" if checkpoint.code == "tirg" else "appearance")
    return words_for(source, checkpoint.ids, name=name, order=order, rare=rare)


def _notes(checkpoint: Checkpoint, config: RetrieverConfig, size: tuple[int, int] | None) -> list[str]:
    notes = []
    if size is None:
        width, height = config.preprocess.width, config.preprocess.height
        notes.append(
            f"it is taken to have seen images of {width}×{height} pixels, which the file does not say; if it was "
            "trained on others, import it with --size WIDTHxHEIGHT, or its recall will be far too low"
        )
    if checkpoint.options.get("image_with_unk_string") is True:
        notes.append(
            "it was trained with image_with_unk_string, where targets are composed with an unknown word; that is not "
            "done here in further training, and the published code does not do it when it measures"
        )
    if checkpoint.options.get("whole_model_path"):
        notes.append("it went on from another checkpoint, whose words come first in its vocabulary; check them")
    return notes


def _write(out: Path, model: Retriever, settings: Settings, imported: Imported, checkpoint: Checkpoint) -> None:
    name = f"step-{imported.steps:06d}"
    made_with: Mapping[str, Any] = {
        "itma": __version__,
        "imported_from": {
            "file": checkpoint.path.name,
            "sha256": file_sum(checkpoint.path),
            "code": checkpoint.code,
            "model": checkpoint.model,
            "left_out": {each.why: list(each.names) for each in imported.left_out},
            "options": {key: _plain(value) for key, value in checkpoint.options.items()},
        },
    }
    with new_folder(out) as draft:
        model.save(draft / name)
        write_settings(draft, {**to_plain(settings), "made_with": made_with})
        (draft / POINTER).write_text(json.dumps({"last": name, "best": name}, indent=2) + "\n", encoding="utf-8")


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
