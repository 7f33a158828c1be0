"""The training loop: seed, data, model, optimizer, steps, save; it reads from top to bottom."""

import inspect
import json
import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

from itma.data.batching import Batch, Plan, hash_seed, load_batch, number_images
from itma.data.triplets import Triplets
from itma.device import knows_bf16, takes_bf16
from itma.errors import ConfigError, ItmaError, TrainingError
from itma.models.checkpoint import METRICS
from itma.models.retriever import PARTS, Retriever
from itma.progress import bar
from itma.training.config import TrainConfig
from itma.training.distributed import Processes, processes, share_batch_norms
from itma.training.losses import Loss, loss_named
from itma.training.run import (
    Progress,
    choose_best,
    forget_metrics_after,
    has_checkpoint,
    load_checkpoint,
    read_metrics,
    save_checkpoint,
)
from itma.training.speed import count_products, load_ahead, peak, to_device
from itma.training.step import NO_REFERENCE, Learner, add_gradients, check_chunks
from itma.training.views import Views, change_images, make_views

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measures:
    """What a look at the model found: numbers for the log, images for TensorBoard."""

    numbers: Mapping[str, float]
    images: Mapping[str, torch.Tensor]
    """Name → uint8 (3, height, width)."""


_NO_PIXELS = torch.zeros(0, 3, 1, 1, dtype=torch.uint8)

Look = Callable[[Retriever], Measures]
"""Measures a model during training."""


class TrainingInterrupted(TrainingError):
    """Ctrl-C was pressed; the run is saved and can be resumed."""


def train(
    model: Retriever,
    triplets: Triplets,
    config: TrainConfig,
    folder: str | Path,
    *,
    loss: Loss | None = None,
    look: Look | None = None,
    resume: bool = False,
    stop_after: int | None = None,
    progress: bool = False,
) -> Progress:
    """Teach `model` from `triplets` and leave a run in `folder`.

    Under `torchrun`, each process works on its share of every batch, and the loss is that of the whole batch.

    Args:
        model: new, or the same as the run's where `resume` is true; it is changed in place.
        triplets: what to learn from.
        config: how; `config.seed` decides every random choice.
        folder: the run folder; made if absent.
        loss: what is made small; None: the one that `config.loss` names.
        look: called every `config.evaluate_every` steps and at the end, after the checkpoint is saved; its number
            `config.metric` chooses the best checkpoint. Without that number the best one stays, or is the last. What it
            cannot measure (`ItmaError`, no memory, no disk) is a warning.
        resume: go on from the last checkpoint in `folder`, or from step 0 where there is none; the result is that of an
            uninterrupted run.
        stop_after: leave off after this step, as if interrupted there.
        progress: show a progress bar.

    Raises:
        TrainingError: the loss or the gradient is no longer a number; the last checkpoint is kept.
        TrainingInterrupted: Ctrl-C or a polite kill; the run was saved.
        StorageError: a checkpoint could not be written; the earlier ones are untouched.
    """
    folder = Path(folder)
    with processes(model.device) as world, _polite_stop() as stop:
        progress = progress and world.first
        model.freeze(config.frozen, levels=config.frozen_levels, fixed_norms=config.fixed_norms)
        loss = check_loss(loss or make_loss(config), triplets)
        if config.precision == "bf16" and not knows_bf16(model.device):
            log.info("this CPU does not compute in bf16; train.precision=float32 is taken instead")
        check_chunks(model, config)
        optimizer = make_optimizer(model, config)
        now = Progress(0, None, None)
        if resume and has_checkpoint(folder):
            now = load_checkpoint(folder, model, optimizer, loss)
        learner = Learner(model, loss, config, world, _distribute(model, world))
        plan = Plan(
            triplets.references,
            batch=config.batch,
            seed=config.seed,
            per_reference=config.per_reference,
            targets=triplets.targets,
            per_family=config.per_family,
        )
        dtype = torch.bfloat16 if takes_bf16(config.precision, model.device) else torch.float32
        record = _Record(folder, now.step, peak(model.device, dtype)) if world.first else None
        if record and not now.measured:  # the run was ended between the checkpoint and its measures
            now = _measure(model, look, now, config, record, folder)
        if model.device.type == "cuda" and not config.views and not config.grounds:
            triplets = to_device(triplets, model.preprocess, model.device, progress=progress)
        views = None
        if config.views and now.step < config.steps:
            used = np.arange(len(triplets.labels)) if triplets.present is None else np.flatnonzero(triplets.present)
            views = make_views(model, triplets.images, used, config, progress=progress)
        unread: list[torch.Tensor] = []
        """(loss, recall, gradient length) of steps, which the device may still be working on."""
        numbers: dict[str, float] = {}
        with (
            bar(f"training {model.name}", show=progress, total=config.steps, unit="step", done=now.step) as meter,
            closing(_batches(learner, triplets, plan, range(now.step, config.steps), views)) as batches,
        ):
            for step, (parts, labels) in batches:
                rate = config.rate(step)
                for group in optimizer.param_groups:
                    group["lr"] = rate * group["factor"]
                torch.manual_seed(dropout_seed(config.seed, step, world.rank))
                model.train()
                optimizer.zero_grad(set_to_none=True)
                mean, right = torch.zeros((), device=model.device), torch.zeros((), device=model.device)
                first = record is not None and record.operations is None
                with count_products(model) if first else nullcontext(None) as operations:
                    for index, batch in enumerate(parts):
                        last, share = index == len(parts) - 1, 1 / len(parts)
                        amount, recall = add_gradients(learner, batch, labels[index], share=share, last=last)
                        mean, right = mean + share * amount, right + share * recall
                if record and operations:
                    record.operations = operations()
                length = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip or math.inf)
                unread.append(torch.stack([mean, right, length]))
                count = step + 1
                due = count % config.evaluate_every == 0 or count == config.steps
                stopping = stop.is_set() or count == stop_after
                if answers_at_once(model.device) or due or stopping or count % config.log_every == 0:
                    values = torch.stack(unread).tolist()
                    unread.clear()
                    for number, (value, _, size) in enumerate(values, start=count + 1 - len(values)):
                        if not math.isfinite(value) or not math.isfinite(size):
                            raise _divergence_error(number, value, size, config, now, folder)
                    numbers = dict(zip(("loss", "train/batch_recall@1", "gradient_length"), values[-1], strict=True))
                    meter.set_postfix(loss=f"{numbers['loss']:.3f}", refresh=False)
                optimizer.step()
                meter.update()
                if record:
                    record.count(sum(batch.count for batch in parts) * world.count)
                    if count % config.log_every == 0:
                        record.step(count, numbers | {"learning_rate": rate, "scale": model.scale.item()})
                if stopping or due:
                    if world.first:
                        assert record
                        now = replace(now, step=count, measured=not (look and due))
                        save_checkpoint(folder, model, optimizer, loss, now)
                        now = _measure(model, look if due else None, now, config, record, folder)
                    if world.count > 1:
                        torch.distributed.barrier()
                if stopping and count < config.steps:
                    raise TrainingInterrupted(
                        f"stopped after step {count} of {config.steps}; everything is saved in {str(folder)!r}. "
                        f"Go on with: itma train --resume {folder}"
                    )
        if record:
            record.close()
    model.eval()
    return now


def _divergence_error(
    step: int, value: float, length: float, config: TrainConfig, now: Progress, folder: Path
) -> TrainingError:
    """What is said of a step whose loss or gradient is no number."""
    note = f"the checkpoint of step {now.step} in {str(folder)!r} is kept" if now.step else "none saved"
    return TrainingError(
        f"at step {step} the loss is {value} and the gradient's length {length}; {note}. Try a lower "
        f"train.learning_rate (now {config.learning_rate}), a smaller train.clip (now {config.clip}) or "
        "train.precision=float32"
    )


def make_loss(config: TrainConfig) -> Loss:
    """The loss that `config.loss` names, with its options."""
    return loss_named(config.loss)(config.loss_options)


def dropout_seed(seed: int, step: int, rank: int = 0) -> int:
    """What `torch.manual_seed` is given before a step, so that a run that goes on draws what an unbroken one draws.

    Args:
        seed: the run's.
        step: from 0.
        rank: number of the process, from 0, where several train together.
    """
    return hash_seed(seed, step, rank, "dropout")


def check_loss(loss: Loss, triplets: Triplets) -> Loss:
    """`loss`, where it can be used with these data.

    Raises:
        ConfigError: it looks at what is true of the images, which the data do not say, or it has weights.
    """
    if loss.reads_aspects and not triplets.aspects:
        raise ConfigError(
            f"the loss {type(loss).__name__} (train.loss) looks at what is true of the images, and {triplets.name} "
            "does not say it; choose another, e.g. train.loss=classification"
        )
    if next(loss.parameters(), None) is not None:
        raise ConfigError(
            f"the loss {type(loss).__name__} has weights, which nothing would learn; put them in a composer"
        )
    return loss


def answers_at_once(device: torch.device) -> bool:
    """Whether a number can be read without waiting for work that goes on beside this thread."""
    return device.type == "cpu"


def make_optimizer(model: Retriever, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW or SGD over what is not frozen; the image encoder at its own rate, no decay on biases, norms and tables."""
    groups = []
    for image_encoder in (True, False):
        for decays in (True, False):
            parameters = [
                parameter
                for name, parameter in model.named_parameters()
                if parameter.requires_grad
                and name.startswith("image_encoder.") == image_encoder
                and (parameter.dim() >= 2 and "positions" not in name and "embedding" not in name) == decays
            ]
            if parameters:
                factor = config.image_encoder_rate if image_encoder else 1.0
                decay = config.weight_decay if decays else 0.0
                groups.append({"params": parameters, "factor": factor, "weight_decay": decay})
    if not groups:
        raise ConfigError(f"train.frozen={config.frozen} leaves nothing to learn; the parts are {', '.join(PARTS)}")
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def _distribute(model: Retriever, world: Processes) -> Any:
    if world.count == 1:
        return model
    share_batch_norms(model)
    # torch 2.12 and later warn of the older name
    parameters = inspect.signature(DistributedDataParallel).parameters
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in parameters else "broadcast_buffers"
    return DistributedDataParallel(model, **{buffers: False})  # type: ignore[arg-type]


def _batches(
    learner: Learner, triplets: Triplets, plan: Plan, steps: range, views: Views | None
) -> Generator[tuple[int, tuple[list[Batch], list[torch.Tensor]]], None, None]:
    """For each step its number, this process's share of each part, and each part's labels, see `batch_loss`.

    The next step's images are loaded while the present one is worked on.
    """
    config, world = learner.config, learner.world
    size = config.batch // config.accumulate
    if size % world.count:
        raise ConfigError(f"train.batch / train.accumulate = {size} must split evenly over {world.count} processes")
    share = size // world.count
    columns = [triplets.labels, *(triplets.aspects.values() if learner.loss.reads_aspects else ())]
    truths = torch.from_numpy(np.stack(columns, axis=1).astype(np.int64))

    def load(step: int) -> tuple[list[Batch], list[torch.Tensor]]:
        batches, labels = [], []
        random = np.random.Generator(np.random.PCG64(hash_seed(config.seed, step, "samples")))
        samples = triplets.draw_samples(plan.rows(step), random)
        for first in range(0, config.batch, size):
            begin = first + world.rank * share
            own = samples.part(begin, begin + share)
            if views is not None:
                images, references, targets = number_images(own)
                maps = views.load(images, step=hash_seed(step, world.rank, first))
                batches.append(Batch(_NO_PIXELS, references, targets, tuple(own.feedback), maps))
            else:
                plain = load_batch(triplets, own, learner.model.preprocess)
                pixels = change_images(plain.pixels, config, step=step, part=hash_seed(world.rank, first))
                batches.append(Batch(pixels, plain.references, plain.targets, plain.feedback))
            part = samples.part(first, first + size)
            truth = truths[np.stack([part.targets, part.references])]
            truth[1, torch.from_numpy(part.references < 0)] = NO_REFERENCE
            labels.append(truth)
        return batches, labels

    return load_ahead(load, steps)


def _measure(
    model: Retriever, look: Look | None, now: Progress, config: TrainConfig, record: "_Record", folder: Path
) -> Progress:
    """Look at a model whose checkpoint is saved, and choose the best: the highest of the metric, else the latest."""
    measures = Measures({}, {})
    if look is not None:
        precision, model.precision = model.precision, config.precision
        try:
            measures = look(model)
        except (ItmaError, OSError, MemoryError, RuntimeError) as error:  # of the last kind: no memory on the device
            trace = None if isinstance(error, ItmaError) else error
            log.warning("the model of step %d is saved but was not measured: %s", now.step, error, exc_info=trace)
        finally:
            model.precision = precision
    record.look(now.step, measures)
    value = measures.numbers.get(config.metric)
    if look is not None and value is None:
        measured = ", ".join(measures.numbers) or "nothing"
        what = "step %d: train.metric=%s was not measured (%s was), so it cannot become the best checkpoint"
        log.warning(what, now.step, config.metric, measured)
    now = replace(now, measured=True)
    if value is not None and (now.best is None or value >= now.best):
        now = replace(now, best=value, best_step=now.step)
    choose_best(folder, now)
    return now


class _Record:
    """Writes the run's numbers: a line of metrics.jsonl and TensorBoard's events."""

    def __init__(self, folder: Path, step: int, peak: float) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        forget_metrics_after(folder, step)
        self._path, self._peak = folder / METRICS, peak
        self.operations: float | None = None
        """Floating-point operations of a step of this process, once they are known."""
        earlier = read_metrics(folder)
        self._seconds = earlier[-1].get("seconds", 0.0) if earlier else 0.0
        self._writer: Any = SummaryWriter(str(folder), purge_step=step + 1 if step else None)
        self._begin()

    def _begin(self) -> None:
        self._images, self._steps, self._since = 0, 0, time.perf_counter()

    def count(self, images: int) -> None:
        """One more step is done."""
        self._images, self._steps = self._images + images, self._steps + 1

    def step(self, step: int, numbers: Mapping[str, float]) -> None:
        seconds = time.perf_counter() - self._since
        self._seconds += seconds
        speed = {"images_per_second": self._images / seconds}
        if self.operations:
            speed["share_of_peak"] = self.operations * self._steps / seconds / self._peak
        self._write(step, {**numbers, **speed})
        self._begin()

    def look(self, step: int, measures: Measures) -> None:
        self._seconds += time.perf_counter() - self._since
        if measures.numbers:
            self._write(step, measures.numbers)
        for name, image in measures.images.items():
            self._writer.add_image(name, image.numpy(), step)
        self._writer.flush()
        self._begin()

    def _write(self, step: int, numbers: Mapping[str, float]) -> None:
        line = {"step": step, "seconds": round(self._seconds, 3), **numbers}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


@contextmanager
def _polite_stop() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C (or SIGTERM) into a wish to stop after the present step; a second one stops at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        log.warning("stopping after this step and saving; press Ctrl-C again to stop at once without saving")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
