"""The stages as verbs: generate → train → evaluate → index → search; each hands on what the next one takes.

Every command of the command line is one call of a function here.
"""

import logging
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from itma import __version__, errors
from itma.config import Setting, change, check_changes, describe_settings, from_plain, to_plain
from itma.data.datasets import REGISTRY as DATASETS
from itma.data.datasets import WORLDS, DataConfig, dataset_named
from itma.data.datasets.generated import Generated
from itma.data.images import Preprocess, to_pixels
from itma.data.sources import cache_images, load, other_size
from itma.data.tokenizer import EARLIER, typical
from itma.data.triplets import Split, Triplets, by_label, hold_out
from itma.device import device_named
from itma.export.runtime import OnnxRetriever
from itma.export.runtimes import open_model
from itma.io import check_path, check_writable, free_folder
from itma.models.checkpoint import RUN, checkpoint_folder, weights_sum
from itma.models.hub_names import hub_name
from itma.models.provenance import checkpoint_choice, read_provenance, show_name
from itma.models.retriever import Retriever, RetrieverConfig
from itma.models.shipped import is_shipped, locate
from itma.models.towers import FIRST, Towers, holds_towers, read_towers
from itma.records import Hits, Report
from itma.registry import needs, require
from itma.retrieval.request import IndexOptions, SearchRequest, takes
from itma.training import run as runs
from itma.training.config import TrainConfig
from itma.training.presets import OVER_TOWERS, preset_for, preset_named, with_composer

if TYPE_CHECKING:  # what one verb alone needs is imported in it: a search waits for no training code, nor the reverse
    from itma.evaluation.evaluate import Evaluation
    from itma.retrieval.catalogue import Catalogue
    from itma.training.loop import Look, Measures

log = logging.getLogger(__name__)

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Settings:
    """All settings of a training run; `run.json` holds them."""

    model: RetrieverConfig
    train: TrainConfig
    data: DataConfig

    @property
    def needs(self) -> list[dict[str, str]]:
        """The parts that do not come with itma, and where they come from."""
        data = {} if self.data.external else {"data set": self.data.name}
        return needs({**self.model.parts, "loss": self.train.loss, **data})


def settings_for(
    data: str | DataConfig = "shapes",
    *,
    model: str | None = None,
    preset: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings of a preset, with another model or single values changed.

    >>> settings_for(model="tirg", changes={"train.steps": "50"}).train.steps
    50

    Args:
        data: the data set, or its name.
        model: name of the composer; None: the preset's.
        preset: name of the recipe; None: the one that is meant for the data set.
        changes: values by dotted name, e.g. `{"train.learning_rate": "1e-3", "model.options.blocks": "3"}`.

    Raises:
        UnknownNameError, ConfigError: a name that does not exist, or a value that cannot be.
    """
    source = data if isinstance(data, DataConfig) else DataConfig(data)
    recipe = preset_named(preset or preset_for("shapes" if source.external else source.name))
    rest = dict(check_changes(changes or {}))
    composer = rest.pop("model.composer", None) or model or recipe.model.composer
    source = source if source.external else replace(source, size=recipe.size)
    settings = change(Settings(with_composer(recipe.model, composer), recipe.train, source), rest)
    if settings.data.conversations:
        text_encoder = replace(settings.model.text_encoder, earlier=True)
        settings = replace(settings, model=replace(settings.model, text_encoder=text_encoder))
    return settings


def explain_settings(
    name: str | None = None,
    data: str = "shapes",
    *,
    model: str | None = None,
    preset: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> list[Setting]:
    """What settings there are, with value, meaning, choices and default; only those that apply beside the others.

    >>> [setting.name for setting in explain_settings("loss_options")]
    ['train.loss_options.drop_worst', 'train.loss_options.reference_negatives', 'train.loss_options.both_ways']

    Args:
        name: one setting, a group of them, or the last part of a name. None: all.
        data, model, preset, changes: as for `settings_for`.

    Raises:
        UnknownNameError: no setting of that name applies.
    """
    settings = describe_settings(settings_for(data, model=model, preset=preset, changes=changes))
    if name is None:
        return settings
    chosen = [setting for setting in settings if f".{name}." in f".{setting.name}."]
    if not chosen:
        advice = f"For the settings of that data set: itma settings --data {name}." if name in DATASETS else ""
        raise errors.UnknownNameError("setting", name, [setting.name for setting in settings], advice=advice)
    return chosen


def generate(
    world: str,
    folder: str | Path,
    *,
    size: str = "demo",
    seed: int = 0,
    layout: str | None = None,
    device: str = "auto",
    progress: bool = False,
) -> Path:
    """Write a generated world to disk, so that it is rendered only once.

    Args:
        world: name of the world: `shapes` or `wardrobe`.
        folder: where; must not exist yet.
        size: one of the world's sizes.
        seed: decides scenes, sentences and images.
        layout: the data set in whose published layout it is written: `css` of shapes, `fashioniq` or `fashion200k` of
            wardrobe. None: the world's own.

    Returns:
        The folder, for `train(…, changes={"data.root": folder})`.

    Raises:
        UnknownNameError: no such world, size or layout.
        StorageError: the folder exists or cannot be written to.
    """
    folder = check_path(folder, "a new folder")
    data = dataset_named(world)(DataConfig(world, size=size, seed=seed))
    if not isinstance(data, Generated):
        raise errors.UnknownNameError("generated world", world, WORLDS)
    chosen = {} if layout is None else {"layout": layout}  # a world from outside may know none
    data.write(folder, **chosen, progress=progress, device=device_named(device))
    data.mark(folder, layout)
    return folder


def train(
    data: str | None = None,
    *,
    model: str | None = None,
    preset: str | None = None,
    changes: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    start: str | Path | None = None,
    comment: str = "",
    device: str = "auto",
    triplets: tuple[Triplets, Triplets] | None = None,
    progress: bool = False,
) -> Path:
    """Train a model and leave a run folder.

    Args:
        data: name of the data set. None: shapes; or, with `triplets`, data of the triplets' own name.
        model: name of the composer: itma, tirg, …; None: the preset's.
        preset: named recipe that the settings start from; None: the one that is meant for the data set.
        changes: single settings by dotted name; see `settings_for`.
        out: the run folder; None: `runs/<time>_<model><comment>`.
        start: a run whose best checkpoint is gone on from: its model and its words, to which those of the data are
            added, by the recipe of `preset`; images may have another size than its. Or CLIP or SigLIP, a folder or a
            name on the hub: over its networks, which stay as they are, the composer `model` is trained (None: combiner)
            by the recipe `clip`.
        comment: added to the folder's name.
        device: `auto`, `cpu`, `cuda`, …
        triplets: (train, test) where they are in memory already. They count as the data set `data` where their own name
            begins with it, as those that itma loads do; otherwise the run calls them external, by the name `data` or
            their own.
        progress: show progress bars.

    Returns:
        The run folder, for `evaluate`, `index` and `Retriever.load`.

    Raises:
        ItmaError: see `settings_for`, `itma.training.loop.train`.
    """
    source, changes = _source(data, triplets), changes or {}
    towers = None if start is None else _towers_at(start)
    if towers is None:
        settings = settings_for(source, model=model, preset=preset, changes=changes)
    else:
        settings = _over(towers, source, model, preset, changes)
    beginning: Retriever | None = None
    started: dict[str, Any] | None = None
    if start is not None and towers is not None:
        beginning = _over_towers(towers, settings)
        started = {"sha256": weights_sum(start), "path": str(start), "name": show_name(str(start))}
    elif start is not None:
        beginning, weights = Retriever.load(checkpoint_folder(start)), weights_sum(start)
        own = [name for name in changes if name.startswith("model.") and name not in _RESIZES]
        if model is not None or own:
            raise errors.ConfigError(
                f"a run that starts from {str(start)!r} has the model of that run; leave out "
                f"{', '.join(own) or f'the model {model!r}'}"
            )
        sizes = {side: getattr(settings.model.preprocess, side) for name, side in _RESIZES.items() if name in changes}
        beginning = _resized(beginning, replace(beginning.preprocess, **sizes))
        settings = replace(settings, model=beginning.config)
        started = {"sha256": weights, "path": str(start), "seconds": read_provenance(start, weights).seconds}
    name = f"{settings.model.composer}_{comment}" if comment else settings.model.composer
    folder = runs.new_run_folder(name) if out is None else check_path(out, "a folder")
    refuse_trained(folder)
    check_writable(folder)
    if beginning is None:  # before images are drawn or read
        settings.model.find_networks()
    _warn_of_idle(settings, changes)
    return _learn(settings, folder, device, triplets, model=beginning, started=started, progress=progress)


def _warn_of_idle(settings: Settings, changes: Mapping[str, Any]) -> None:
    """Name the settings that were changed and mean nothing beside the others."""
    applying = {setting.name for setting in describe_settings(settings)}
    if idle := [name for name in changes if name not in applying]:
        log.warning(
            "without effect beside the other settings: %s; itma settings lists those that have one", ", ".join(idle)
        )


_RESIZES = {f"model.preprocess.{side}": side for side in ("height", "width")}
"""Settings of a model that a run may change which starts from it."""


def refuse_trained(folder: Path) -> None:
    """Refuse a folder for a new run that holds one with a checkpoint.

    Raises:
        RunError: it does.
    """
    if (folder / RUN).exists() and runs.has_checkpoint(folder):
        raise errors.RunError(
            f"{str(folder)!r} holds a run already; go on with it by resuming (itma train --resume {folder}), or choose "
            "another folder"
        )


def _resized(model: Retriever, preprocess: Preprocess) -> Retriever:
    """A model that a run starts from, for images of that size."""
    size = (preprocess.height, preprocess.width)
    return model if size == (model.preprocess.height, model.preprocess.width) else model.resize(*size)


def _source(data: str | None, triplets: tuple[Triplets, Triplets] | None) -> DataConfig:
    """Which data a training learns from, as the run will call them."""
    if triplets is None:
        return DataConfig(data or "shapes")
    if len(triplets) != 2 or not all(isinstance(part, Triplets) for part in triplets):
        raise errors.ConfigError(
            f"triplets={triplets!r:.60}: expected two `Triplets`, those to learn from and those of the test"
        )
    own = triplets[0].name.removesuffix("/train")
    is_known = data is not None and DATASETS.lookup(data) is not None
    if data is not None and is_known and own.partition("/")[0] == data:
        return DataConfig(data)
    return DataConfig(own if data is None or is_known else data, external=True)


def _towers_at(start: str | Path) -> Towers | None:
    """CLIP or SigLIP, where that is what a run starts from."""
    folder = checkpoint_folder(start)
    return read_towers(folder) if holds_towers(folder) else None


def _over_towers(towers: Towers, settings: Settings) -> Retriever:
    model = Retriever.over(towers, settings.model, seed=settings.train.seed)
    torch.nn.init.constant_(model.scale, settings.train.start_scale)
    return model


def _over(
    towers: Towers, data: DataConfig, model: str | None, preset: str | None, changes: Mapping[str, Any]
) -> Settings:
    """The settings of a model that is trained over towers, which stay as they are unless the settings say otherwise."""
    recipe = preset_named(preset or OVER_TOWERS)
    how = recipe.train if preset else replace(recipe.train, frozen=("image_encoder", "text_encoder.network"))
    rest = dict(check_changes(changes))
    size = data.size if data.external else (recipe if preset else preset_named(preset_for(data.name))).size
    composer = rest.pop("model.composer", "") or model or FIRST
    model_config = RetrieverConfig(composer, **towers.shape_for(composer))
    settings = change(Settings(model_config, how, replace(data, size=size)), rest)
    networks = ("model.image_encoder.name", "model.image_encoder.weights", "model.text_encoder.name")
    if named := [name for name in changes if name in networks]:
        raise errors.ConfigError(
            f"a run that starts from {towers.folder.name!r} has its networks; leave out {named[0]}"
        )
    return settings


def resume(
    folder: str | Path,
    *,
    changes: Mapping[str, Any] | None = None,
    device: str = "auto",
    triplets: tuple[Triplets, Triplets] | None = None,
    progress: bool = False,
) -> Path:
    """Go on with an interrupted run; the end result is that of an uninterrupted one.

    A run that never saved a checkpoint begins at step 0.

    Args:
        folder: the run.
        changes: settings to go on with, by dotted name, e.g. `{"train.steps": "40"}` to extend a run; `run.json` notes
            from which step on they held. Those that decide the model or which rows are held out stay.
        device: `auto`, `cpu`, `cuda`, …
        triplets: (train, test), for a run on external data.
        progress: show progress bars.

    Raises:
        RunError: the folder is no run, or something in it is missing or damaged.
        ConfigError: a setting that a run keeps.
    """
    folder = Path(folder)
    settings = read_run(folder)
    runs.refuse_imported(folder)
    check_writable(folder)
    plain = runs.read_settings(folder)
    started = plain.get("made_with", {}).get("started_from")
    model: Retriever | None = None
    step = 0
    if saved := runs.has_checkpoint(folder):
        model = Retriever.load(folder, which="last")  # what pretrained parts came from may be gone
        step = runs.last_step(folder)
    elif (start := (started or {}).get("path")) is not None:
        if (towers := _towers_at(start)) is not None:
            model = _over_towers(towers, settings)
        else:
            model = _resized(Retriever.load(checkpoint_folder(start)), settings.model.preprocess)
    if changes:
        settings = change(settings, changes)  # refuses names that are none
        if fixed := [name for name in changes if name not in RESUMABLE]:
            raise errors.ConfigError(
                f"{fixed[0]} stays as it is when a run goes on ({str(folder)!r}); begin a new run with it, if need be "
                f"from this one's weights (itma train --start {folder}). These may change: {', '.join(RESUMABLE)}"
            )
        if settings.train.steps < step:
            raise errors.ConfigError(
                f"train.steps={settings.train.steps}: {str(folder)!r} has done {step:,} steps already; give more"
            )
        values = {name: str(value) if isinstance(value, Path) else value for name, value in changes.items()}
        history = [*plain.get("changes", []), {"step": step, "settings": values}]
        runs.write_settings(folder, {**plain, **to_plain(settings), "changes": history})
    if saved and step >= settings.train.steps:
        log.warning(
            "%r has done all its %d steps; to go on: itma train --resume %s --steps N", str(folder), step, folder
        )
    return _learn(settings, folder, device, triplets, model=model, started=started, resume=saved, progress=progress)


RESUMABLE = tuple(
    "train.steps train.learning_rate train.image_encoder_rate train.weight_decay train.schedule train.decay_every "
    "train.decay_factor train.clip train.precision train.evaluate_every train.log_every data.root data.coverage "
    "data.unreadable data.about data.cache".split()
)
"""Settings that may change when a run goes on."""


def read_run(folder: str | Path) -> Settings:
    """The settings a run was made with.

    Raises:
        RunError: the folder is no run, or its settings are damaged.
    """
    return _read(folder, lambda plain: from_plain(Settings, {name: plain[name] for name in ("model", "train", "data")}))


def read_data(folder: str | Path) -> DataConfig:
    """The data a run was trained on; of a checkpoint's folder, its run.

    Raises:
        RunError: the folder is no run, or its settings are damaged.
    """
    there = locate(folder)
    if not (there / RUN).exists() and (there.parent / RUN).is_file():
        folder = there.parent
    return _read(folder, lambda plain: from_plain(DataConfig, plain["data"]), ("data set",))


def _read(folder: str | Path, make: Callable[[dict[str, Any]], Kind], parts: Sequence[str] | None = None) -> Kind:
    """What `make` makes of a run's settings; `parts` are those that have to be known for it."""
    plain = runs.read_settings(folder)
    if "data" not in plain and "started_from" in plain.get("made_with", {}):
        raise errors.RunError(f"{str(folder)!r} was trained on no data set of itma; name the data")
    require(plain.get("needs", ()), f"the run {str(folder)!r}", parts)
    try:
        return make(plain)
    except (KeyError, ValueError) as error:
        raise errors.RunError(f"{str(Path(folder) / RUN)!r} is damaged: {error}") from error


def _learn(
    settings: Settings,
    folder: Path,
    device: str,
    triplets: tuple[Triplets, Triplets] | None,
    *,
    model: Retriever | None,
    started: Mapping[str, Any] | None,
    resume: bool = False,
    progress: bool,
) -> Path:
    from itma.training.loop import train as learn

    torch_device = device_named(device)
    first = int(os.environ.get("RANK", 0)) == 0
    bars = progress and first
    if triplets is None and settings.data.external:
        raise errors.DataError(
            f"{str(folder)!r} learns from external data {settings.data.name!r}, which itma cannot load by name; hand "
            "them over again: itma.api.resume(folder, triplets=(train, test))"
        )
    if triplets is None:
        learning = _load_cached(settings, "train", torch_device, bars)
        test = _to_measure(settings, torch_device, bars)
    else:
        learning, test = (Split(part, {"by label": by_label(part)}) for part in triplets)
    rows, validation = hold_out(learning.triplets, settings.train.hold_out, seed=settings.train.seed)
    if validation is None and settings.train.metric.startswith("validation/"):
        metric = settings.train.metric.replace("validation/", "train/")
        log.warning("no rows are held out (train.hold_out), so the best checkpoint is chosen by %s", metric)
        settings = replace(settings, train=replace(settings.train, metric=metric))
    sentences = [*rows.feedback, EARLIER] if settings.data.conversations else rows.feedback
    if model is None:
        model = Retriever.build(settings.model, sentences, seed=settings.train.seed)
        torch.nn.init.constant_(model.scale, settings.train.start_scale)
    elif not resume and (fresh := model.learn_words(sentences, seed=settings.train.seed)):
        log.info("%d words are new to the model: %s", len(fresh), ", ".join(fresh[:8]) + (" …" if fresh[8:] else ""))
    model.to(torch_device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if first and not resume:
        made_with = environment(torch_device) | ({} if started is None else {"started_from": dict(started)})
        runs.forget(folder)
        about = {"needs": settings.needs, "made_with": made_with, "sentences": typical(learning.triplets.feedback)}
        runs.write_settings(folder, to_plain(settings) | about)
    if first:
        runs.sweep(folder)
    look = _look(rows, validation, test, settings.train)
    with _advising(settings.data):
        learn(model, rows, settings.train, folder, look=look, resume=resume, progress=bars)
    return folder


def _load_cached(settings: Settings, split: str, device: torch.device, progress: bool) -> Split:
    """One split of a run's data, with its images from the cache where there is one."""
    loaded = load(settings.data, split, progress=progress, device=device)
    return cache_images(loaded, settings.data, settings.model.preprocess)


def _to_measure(settings: Settings, device: torch.device, progress: bool) -> Split | None:
    """The split that recall is measured on during training. None: it cannot be had, and nothing else needs it."""
    split = settings.data.measured
    try:
        return _load_cached(settings, split, device, progress)
    except errors.DataError as error:
        if settings.train.metric.startswith("test/"):
            raise
        log.warning("recall on the split %s is not measured during training: %s", split, error)
        return None


@contextmanager
def _advising(source: DataConfig) -> Iterator[None]:
    """Tell whose work stopped at an unreadable image how to see all of them, and how to go on without."""
    try:
        yield
    except errors.ImageError as error:
        if source.root is None or source.unreadable == "missing":
            raise
        raise errors.ImageError(
            error.path,
            f"{error.reason}. itma doctor {source.name} --root {source.root} lists all such images; to leave them out, "
            "as if they were missing: --skip-unreadable",
        ) from error


def environment(device: torch.device) -> dict[str, Any]:
    """What a run was made with, for the record."""
    return {
        "itma": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


_EXPLANATIONS = 2
"""Queries that are explained in TensorBoard at every look."""
_PROBE_ROWS = 400
"""Rows of the training set that are looked at during training, to compare with the test set."""


def _look(learning: Triplets, validation: Triplets | None, test: Split | None, config: TrainConfig) -> "Look":
    """Recall on held-out, training and test rows, example queries as images, and two of them explained."""
    from itma.evaluation.evaluate import evaluate as measure
    from itma.evaluation.strips import query_strip
    from itma.explanations.explaining import case_in, explain_case
    from itma.training.loop import Measures

    probe: Triplets | None = learning
    if len(learning) > _PROBE_ROWS:
        _, probe = hold_out(learning, _PROBE_ROWS / len(learning), seed=config.seed + 1)

    splits = {"validation": validation, "train": probe, "test": None if test is None else test.triplets}

    def look(model: Retriever) -> "Measures":
        numbers: dict[str, float] = {}
        images: dict[str, torch.Tensor] = {}
        last: Evaluation | None = None
        for name, triplets in splits.items():
            if triplets is None:
                continue
            last = None
            try:
                protocols = [test.protocol()] if name == "test" and test is not None else []
                last = measure(model, triplets, protocols=protocols, intervals=False)[0]
                numbers |= {f"{name}/recall@{k}": last.report.recall[k] for k in (1, 10)}
            except errors.ItmaError as error:
                log.warning("recall of %s is not measured: %s", name, error)
        try:
            if last is not None:
                queries = range(0, len(last.rows), max(1, len(last.rows) // 8))
                for query in queries:
                    images[f"queries/{query}"] = query_strip(model.preprocess, last, query)
                for query in queries[:: max(1, len(queries) // 2)][:_EXPLANATIONS]:
                    images[f"explanations/{query}"] = to_pixels(explain_case(case_in(model, last, query)).draw())
        except errors.ItmaError as error:
            log.warning("not all examples are drawn: %s", error)
        return Measures(numbers, images)

    return look


@dataclass(frozen=True)
class Measured:
    """What an evaluation found, and where it was written."""

    reports: tuple[Report, ...]
    """One for each protocol."""
    folder: Path | None
    """None: it was not written; the log says why."""
    replaced: bool = False
    """Whether the folder held earlier results, in whose place these are."""

    def __iter__(self) -> Iterator[Report]:
        return iter(self.reports)

    def __len__(self) -> int:
        return len(self.reports)

    def __getitem__(self, position: int) -> Report:
        return self.reports[position]

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.reports))


def evaluate(
    run: str | Path,
    data: str | None = None,
    *,
    protocol: str | None = None,
    split: str | None = None,
    which: str = "best",
    changes: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    runtime: str = "torch",
    device: str = "auto",
    progress: bool = False,
) -> Report:
    """Measure a trained model by one protocol.

    Args:
        run: a run folder, or a checkpoint folder.
        data: name of the data set. Without it, the one the run was trained on.
        protocol: one of the data set's. Without it, its first.
        split, which, changes, out, runtime, device, progress: see `evaluate_by`.

    Returns:
        The report, which states its protocol.
    """
    return evaluate_by(
        [] if protocol is None else [protocol],
        run,
        data,
        split=split,
        which=which,
        changes=changes,
        out=out,
        runtime=runtime,
        device=device,
        progress=progress,
    )[0]


def evaluate_by(
    protocols: Sequence[str],
    run: str | Path,
    data: str | None = None,
    *,
    split: str | None = None,
    which: str = "best",
    changes: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    runtime: str = "torch",
    device: str = "auto",
    progress: bool = False,
) -> Measured:
    """Measure a trained model by several protocols, from one embedding pass; or embeddings of any model.

    Args:
        protocols: by name; empty: the data set's first.
        run: a run folder, or a checkpoint folder, or an `.npz` file of embeddings, see `itma.evaluation.embeddings`.
        data: name of the data set; None: the one the run was trained on.
        split: None: the one that the data set is measured on (`test`; `val` of FashionIQ).
        which: `best` or `last` checkpoint of the run.
        changes: settings of the data by name, e.g. `{"size": "css"}`, `{"root": "/data/fashioniq"}`.
        out: where `report.json` and `ranks.csv` go. None: `<run>/evaluation-<data>-<split>`, with the runtime
            before it where that is not torch, and nowhere with a warning where the run cannot be written to; of a file
            of embeddings, `<file>-evaluation-<data>-<split>` beside it; of a model
            of itma's own or of the hub, `evaluation-<model>-<data>-<split>` in the present folder, with a number where
            that is taken. Of several protocols each gets a folder of its own in there.
        runtime: what computes the answers: `torch`, `torch-bf16`, `onnx` or `onnx-int8`; see `itma.export.runtimes`.
        device: `auto`, `cpu`, `cuda`, …
        progress: show progress bars.

    Returns:
        One report for each protocol, and the folder.

    Raises:
        RunError, DataError, UnknownNameError: the run or the data cannot be read, or a name does not exist.
        StorageError: `out` cannot be written to, which is found before the work.
        UnwrittenReportError: writing failed after the work; it holds the reports, and its message shows them.
    """
    from itma.evaluation.evaluate import evaluate as measure

    if out is not None:
        check_writable(out)
    if holds_embeddings(run):
        source = _find_embedded_data(run, data, changes or {})
        return _evaluate_embeddings(protocols, Path(run), source, split or source.measured, out)
    torch_device = device_for(runtime, device)
    model = open_model(run, which=which, runtime=runtime, device=torch_device, progress=progress)
    data_split, source, split = load_measured_split(
        run, model.preprocess, data, split=split, changes=changes, device=torch_device, progress=progress
    )
    selection = [data_split.protocol(name) for name in protocols] or [data_split.protocol()]
    other = runtime != "torch"
    if out is None:
        # those of other runtimes are named so that a model card does not take them for the model's own
        out = results_folder(run, f"{runtime}-evaluation" if other else "evaluation", f"{source.name}-{split}")
    folder = _writable(Path(out))
    weights = model.weights if isinstance(model, OnnxRetriever) else weights_sum(run, which)
    about: dict[str, Any] = {"weights": weights, "chosen": "" if weights is None else checkpoint_choice(run, weights)}
    about["model_name"] = f"{model.name} ({run}{f', {runtime}' if other else ''})"
    with _advising(source):
        evaluations = measure(model, data_split.triplets, protocols=selection, progress=progress, **about)
    return _write_evaluations(evaluations, folder)


def holds_embeddings(run: str | Path) -> bool:
    """Whether what is to be measured is a file of ready-made embeddings; see `itma.evaluation.embeddings`."""
    return isinstance(run, str | Path) and Path(run).suffix.lower() == ".npz"


def _evaluate_embeddings(
    protocols: Sequence[str], path: Path, source: DataConfig, split: str, out: str | Path | None
) -> Measured:
    """As `evaluate_by`, of embeddings in a file: the data's images need not be there."""
    from itma.evaluation.embeddings import read_embeddings, score_embeddings

    embeddings = read_embeddings(path)
    data_split = dataset_named(source.name)(source).load(split)
    selection = [data_split.protocol(name) for name in protocols] or [data_split.protocol()]
    folder = _writable(path.with_name(f"{path.stem}-evaluation-{source.name}-{split}") if out is None else Path(out))
    return _write_evaluations(score_embeddings(embeddings, data_split, selection), folder)


def _find_embedded_data(path: str | Path, data: str | None, changes: Mapping[str, Any]) -> DataConfig:
    """What the embeddings in a file are of."""
    if data is None:
        raise errors.DataError(f"{str(path)!r} holds embeddings and does not say of what; name the data")
    return change(DataConfig(data), changes)


def _writable(folder: Path) -> Path | None:
    """Where results go. None: that cannot be written to, and the log says so."""
    try:
        check_writable(str(folder))
    except errors.StorageError as error:
        log.warning("the results are shown, not kept (%s); to keep them: --out FOLDER", error)
        return None
    return folder


def _write_evaluations(evaluations: Sequence["Evaluation"], folder: Path | None) -> Measured:
    """Evaluations, each in a folder of its own where there are several."""
    from itma.evaluation.evaluate import REPORT

    reports = tuple(evaluation.report for evaluation in evaluations)
    replaced = False
    try:
        for evaluation in () if folder is None else evaluations:
            name = evaluation.protocol.name.replace("/", "-")
            own = Path(folder or "", name if len(evaluations) > 1 else "")
            replaced |= (own / REPORT).exists()
            evaluation.write(own)
    except errors.StorageError as error:
        raise errors.UnwrittenReportError(reports, error) from error
    return Measured(reports, folder, replaced)


def results_folder(run: str | Path, what: str, name: str) -> Path:
    """Where results of a model are written if nobody says it: `what` is the kind of work, `name` on what it was done.

    Those of a run stand in it; those of a model of itma's own or of the hub in the present folder, with a number where
    that is taken.
    """
    if not is_shipped(run) and hub_name(run) is None:
        return Path(run) / f"{what}-{name}"
    return free_folder(f"{what}-{str(run).replace('/', '--')}-{name}")


def load_measured_split(
    run: str | Path,
    preprocess: Preprocess,
    data: str | None = None,
    *,
    split: str | None = None,
    changes: Mapping[str, Any] | None = None,
    device: torch.device | None = None,
    progress: bool = False,
) -> tuple[Split, DataConfig, str]:
    """What a run is measured on: the split with its protocols, where it comes from, and its name.

    Args:
        run: a run folder, or a checkpoint folder where `data` is given.
        preprocess: the model's.
        data, split, changes, progress: as for `evaluate_by`.
        device: where a generated world is rendered.
    """
    if data is None:
        if holds_towers(checkpoint_folder(run)):
            raise errors.RunError(f"{str(run)!r} was trained on no data set of itma; name the data to measure it on")
        source = read_data(run)
        if source.external:
            raise errors.RunError(
                f"{str(run)!r} was trained on external data {source.name!r}, which itma cannot load by name; name the "
                "data to measure it on, or measure it in Python: itma.evaluation.evaluate.evaluate(model, triplets)"
            )
    elif (locate(run) / RUN).is_file() and runs.read_settings(run).get("data", {}).get("name") == data:
        # the same size and seed, so that scenes seen in training are never asked for in the test
        source = read_data(run)
    else:
        source = DataConfig(data)
    source = change(source, changes or {})
    split = split or source.measured
    data_split = load(source, split, progress=progress, device=device)
    _warn_of_size(run, data_split, source, preprocess)
    return cache_images(data_split, source, preprocess), source, split


def _warn_of_size(run: str | Path, split: Split, source: DataConfig, preprocess: Preprocess) -> None:
    """Say so where an imported model, whose file lacks its images' size, meets others than it is taken to have seen."""
    path = locate(run) / RUN
    imported = path.is_file() and "imported_from" in (runs.read_settings(run).get("made_with") or {})
    if imported and (size := other_size(split.triplets.images, preprocess)) is not None:
        width, height = size
        log.warning(
            "the images of %s are %d×%d pixels, but the imported model %s is taken to have been trained on %d×%d. If "
            "it was trained on images like these, import it anew with --size %dx%d; else its recall will be far too "
            "low",
            *(source.name, width, height, run, preprocess.width, preprocess.height, width, height),
        )


def device_for(runtime: str, device: str) -> torch.device:
    """The device known by a name, for a runtime.

    Raises:
        ConfigError: it is not there, or the runtime does not work on it.
    """
    if runtime.startswith("torch"):
        return device_named(device)
    if device not in ("auto", "cpu"):
        raise errors.ConfigError(f"the runtime {runtime!r} works on the CPU; leave out --device {device}, or use torch")
    return torch.device("cpu")


def submit(
    run: str | Path,
    out: str | Path,
    data: str | None = None,
    *,
    root: str | Path | None = None,
    which: str = "best",
    skip_unreadable: bool = False,
    device: str = "auto",
    progress: bool = False,
) -> list[Path]:
    """Write a model's answers to queries whose targets are not published, in the form that their owners take.

    Args:
        run: a run folder, or a checkpoint folder; or an `.npz` file of embeddings of the split whose targets are not
            published, see `itma.evaluation.embeddings`, for which the data's images need not be there.
        out: gets the files: of FashionIQ `<category>.predict.json`, of CIRR `recall.json` and `recall_subset.json`, of
            CIRCO `circo.json`.
        data: name of the data set. None: the one the run was trained on, or FashionIQ where nobody takes answers to it.
        root: the data set's folder. None: where it was in training.
        which: `best` or `last` checkpoint of the run.
        skip_unreadable: count images that are there but cannot be read as missing.
        device: `auto`, `cpu`, `cuda`, …
        progress: show progress bars.

    Returns:
        The files.

    Raises:
        RunError, DataError: the run or the data cannot be read, or nobody takes answers to the data.
        StorageError: the files cannot be written.
    """
    from itma.evaluation.embeddings import place_embeddings, read_embeddings
    from itma.evaluation.evaluate import embed, first_of

    torch_device, ready = device_named(device), holds_embeddings(run)
    source = _find_submitted_data(run, data, root)
    if skip_unreadable:
        source = replace(source, unreadable="missing")
    dataset = dataset_named(source.name)(source)
    if not dataset.submitted:
        takers = ", ".join(name for name in DATASETS if dataset_named(name).submitted)
        raise errors.DataError(
            f"nobody takes answers to {source.name}, whose targets are published: measure it with itma evaluate; "
            f"answers are taken to {takers}"
        )
    split = dataset.load(dataset.submitted) if ready else load(source, dataset.submitted, device=torch_device)
    triplets = split.triplets
    submission = dataset.submission(dataset.root, dataset.submitted, triplets)
    tasks = [task for track in submission.tracks for task in track.tasks]
    embedded: tuple[np.ndarray | torch.Tensor, np.ndarray | torch.Tensor]
    if ready:
        embedded = place_embeddings(read_embeddings(run), triplets, tasks, "the submission")
    else:
        model = open_model(run, which=which, device=torch_device, progress=progress)
        embedded = embed(model, triplets, tasks, progress=progress)
    return submission.write(Path(out), first_of(triplets, submission.tracks, *embedded))


def _find_submitted_data(run: str | Path, data: str | None, root: str | Path | None) -> DataConfig:
    """What is answered by `submit`."""
    if holds_embeddings(run):
        return _find_embedded_data(run, data, {} if root is None else {"root": str(root)})
    if data is not None and root is not None:
        return DataConfig(data, root=str(root))
    trained = None if holds_towers(checkpoint_folder(run)) else read_data(run)
    own = trained is not None and not trained.external and bool(dataset_named(trained.name).submitted)
    name = data or (trained.name if trained is not None and own else "fashioniq")
    if root is not None:
        return DataConfig(name, root=str(root))
    if trained is None or trained.name != name:
        raise errors.DataError(f"{str(run)!r} was not trained on {name}; say where that is: --root DIR")
    return replace(trained, categories=())


@takes(IndexOptions)
def index(
    run: str | Path,
    source: str | Path,
    catalogue: str | Path,
    *,
    options: IndexOptions,
    device: str = "auto",
    progress: bool = False,
) -> "Catalogue":
    """Embed all images of a folder or a table, so that they can be searched; a catalogue that exists is updated.

    Args:
        run: the run folder of a trained model.
        source: a folder of images, in a format of `images.FORMATS`, also in sub-folders; or a CSV, JSON Lines or
            Parquet file with a row for each item.
        catalogue: where the catalogue goes.
        options: see `IndexOptions`, whose fields can be given one by one in its place.
        device: `auto`, `cpu`, `cuda`, …
        progress: show a progress bar.

    Returns:
        The catalogue; `outcome` says what was new, and `skipped` names the images that could not be read.
    """
    from itma.retrieval.catalogue import Catalogue

    torch_device = device_for(options.runtime or "torch", device)
    check_path(source, "a folder of images, or of a table")
    return Catalogue.build(
        run, source, catalogue, options=options, update=not options.replace, device=torch_device, progress=progress
    )


@takes(SearchRequest, "request")
def search(
    catalogue: str | Path,
    *,
    request: SearchRequest,
    version: int | None = None,
    run: str | Path | None = None,
    runtime: str | None = None,
    device: str = "auto",
) -> Hits:
    """The k items of a catalogue that fit a reference, a feedback, or both, best first.

    Args:
        catalogue: its folder.
        request: see `SearchRequest`, whose fields can be given one by one in its place.
        version: an earlier state of the catalogue; without it, the newest.
        run: where the run that made the catalogue is now; without it, where it was then.
        runtime: what computes the query's embedding; without it, what computed the catalogue's.
        device: `auto`, `cpu`, `cuda`, …

    Raises:
        CatalogueError, ImageError, FeedbackError, DataError: see `Catalogue.open` and `Catalogue.search`.
    """
    from itma.retrieval.catalogue import Catalogue

    torch_device = device_for(runtime or "torch", device)
    opened = Catalogue.open(catalogue, run, version=version, runtime=runtime, device=torch_device)
    return opened.search(request=request)  # type: ignore[call-arg]
