"""Training runs: reproducible, resumable, and whole after every kind of failure."""

import errno
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from itma.data.batching import Batch, Plan
from itma.data.triplets import Triplets
from itma.errors import ConfigError, DataError, RunError, StorageError, TrainingError, UnknownNameError
from itma.io import file_sum
from itma.models.retriever import Retriever
from itma.training import run as run_folder
from itma.training.config import TrainConfig
from itma.training.distributed import Processes
from itma.training.loop import Measures, TrainingInterrupted, _batches, make_optimizer, train
from itma.training.losses import Classification, ClassificationOptions, Graded, GradedOptions, grade_rest
from itma.training.memory_bank import MemoryBankOptions
from itma.training.run import METRICS, read_metrics
from itma.training.step import Learner, batch_loss
from tests.made_up import TRAIN, model, triplets


def look(retriever: Retriever) -> Measures:
    return Measures({"validation/recall@1": 0.5}, {"queries/0": torch.zeros(3, 4, 4, dtype=torch.uint8)})


def trained(folder: Path, config: TrainConfig = TRAIN, **options: object) -> Retriever:
    retriever = model()
    train(retriever, triplets(), config, folder, **{"look": look, **options})  # type: ignore[arg-type]
    return retriever


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    first, second = trained(tmp_path / "a"), trained(tmp_path / "b")
    assert first.fingerprint() == second.fingerprint()
    assert first.fingerprint() != trained(tmp_path / "c", replace(TRAIN, seed=1)).fingerprint()


@pytest.mark.parametrize(
    ("stop", "changes"),
    [
        (4, {}),  # where it is measured, and others between two measures
        (3, {}),
        (3, {"optimizer": "sgd"}),
        (3, {"accumulate": 2, "augment": 0.5, "precision": "bf16"}),
        (3, {"loss": "memory-bank", "loss_options": MemoryBankOptions(size=20)}),
    ],
)
def test_a_resumed_run_ends_bit_for_bit_as_an_uninterrupted_one(
    tmp_path: Path, stop: int, changes: dict[str, object]
) -> None:
    config = replace(TRAIN, **changes)  # type: ignore[arg-type]
    whole = trained(tmp_path / "whole", config)
    with pytest.raises(TrainingInterrupted, match=f"stopped after step {stop} of 6.*itma train --resume"):
        trained(tmp_path / "parts", config, stop_after=stop)
    resumed = trained(tmp_path / "parts", config, resume=True)
    assert resumed.fingerprint() == whole.fingerprint()
    steps = [[line["step"] for line in read_metrics(tmp_path / name)] for name in ("whole", "parts")]
    assert steps[0] == steps[1]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as Python has it: whoever was started in the background of a shell ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_control_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    def press(retriever: Retriever) -> Measures:
        os.kill(os.getpid(), signal.SIGINT)
        return look(retriever)

    with pytest.raises(TrainingInterrupted, match="stopped after step 3 of 6"):
        trained(tmp_path / "run", look=press)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert trained(tmp_path / "run", resume=True).fingerprint() == trained(tmp_path / "whole").fingerprint()


def test_the_target_of_words_alone_is_no_wrong_answer_where_references_are_compared_with() -> None:
    retriever, loss = model(), Classification(ClassificationOptions(reference_negatives=True))
    data = triplets()
    batch = Batch(data.images.load(np.arange(2), retriever.preprocess), torch.tensor([-1]), torch.tensor([0]), ("red",))
    labels = torch.tensor([[[5]], [[-2]]])
    amount, _ = batch_loss(Learner(retriever, loss, TRAIN, Processes(0, 1), retriever), batch, labels)
    assert amount.item() == 0


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    trained(tmp_path, replace(TRAIN, steps=40, evaluate_every=40, learning_rate=5e-3))
    losses = [line["loss"] for line in read_metrics(tmp_path) if "loss" in line]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_the_best_checkpoint_is_kept_beside_the_last(tmp_path: Path) -> None:
    values = iter([0.2, 0.9, 0.4])
    trained(tmp_path, look=lambda retriever: Measures({"validation/recall@1": next(values)}, {}))
    pointer = json.loads((tmp_path / "checkpoints.json").read_text())
    assert (pointer["last"], pointer["best"], pointer["best_value"]) == ("step-000006", "step-000004", 0.9)
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-000004", "step-000006"]
    assert Retriever.load(tmp_path).fingerprint() != Retriever.load(tmp_path, which="last").fingerprint()


def test_the_folder_alone_reopens_the_model(tmp_path: Path) -> None:
    retriever = trained(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    opened, pixels = Retriever.load(tmp_path / "moved", which="last"), torch.zeros(2, 3, 16, 24, dtype=torch.uint8)
    assert torch.equal(opened.embed_queries(pixels, ["red", "blue"]), retriever.embed_queries(pixels, ["red", "blue"]))


def test_a_loss_that_is_no_number_stops_with_the_step_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    def poison(retriever: Retriever) -> Measures:
        with torch.no_grad():
            retriever.scale.fill_(float("nan"))
        return Measures({}, {})

    clean = model()
    train(clean, triplets(), replace(TRAIN, steps=2), tmp_path / "clean", look=look)
    retriever = model()
    original = run_folder.save_checkpoint
    with pytest.MonkeyPatch.context() as patch:

        def save_then_poison(folder: Path, *rest: object) -> Path:
            checkpoint = original(folder, *rest)  # type: ignore[arg-type]
            poison(retriever)
            return checkpoint

        patch.setattr("itma.training.loop.save_checkpoint", save_then_poison)
        with pytest.raises(TrainingError, match=r"at step 3 the loss is nan.*checkpoint of step 2.*is kept"):
            train(retriever, triplets(), TRAIN, tmp_path / "run", look=look)
    assert not any(tensor.isnan().any() for tensor in Retriever.load(tmp_path / "run").state_dict().values())


def test_a_full_disk_while_saving_leaves_the_earlier_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = run_folder.save_tensors, []

    def full(tensors: dict[str, torch.Tensor], path: Path) -> None:
        calls.append(path)
        original(tensors, path)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run_folder, "save_tensors", full)
    with pytest.raises(StorageError, match="the disk is full"):
        trained(tmp_path)
    assert [path.name for path in tmp_path.glob("*step-*")] == ["step-000002"]
    monkeypatch.undo()
    assert trained(tmp_path, resume=True).fingerprint() == trained(tmp_path / "whole").fingerprint()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "manifest.json"])
@pytest.mark.parametrize("harm", ["missing", "damaged"])
def test_a_missing_or_damaged_file_of_a_run_is_named(tmp_path: Path, name: str, harm: str) -> None:
    trained(tmp_path, replace(TRAIN, steps=2))
    path = tmp_path / "step-000002" / name
    path.unlink() if harm == "missing" else path.write_bytes(path.read_bytes()[:-7] + b"garbage")
    with pytest.raises(RunError, match=f"{name}.*{harm}"):
        Retriever.load(tmp_path)


def test_folders_that_are_no_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="does not exist"):
        Retriever.load(tmp_path / "nowhere")
    with pytest.raises(RunError, match="holds no model"):
        Retriever.load(tmp_path)
    with pytest.raises(RunError, match="holds no model"):
        train(model(), triplets(), TRAIN, tmp_path, resume=True)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(RunError, match="has no checkpoint yet"):
        Retriever.load(tmp_path)
    for content in ("{", "[" * 5_000, "[1]", "null", '{"best": 1}', '{"best": "../elsewhere"}'):
        (tmp_path / "checkpoints.json").write_text(content)
        with pytest.raises(RunError, match=r"checkpoints.json' is damaged"):
            Retriever.load(tmp_path)


@pytest.mark.parametrize("content", ["[]", "null", "1", "{", '{"a": []}', "[" * 5_000])
@pytest.mark.parametrize("name", ["manifest.json", "config.json"])
def test_a_file_of_a_run_that_holds_another_json_is_damaged(tmp_path: Path, name: str, content: str) -> None:
    trained(tmp_path, replace(TRAIN, steps=2))
    folder = tmp_path / "step-000002"
    (folder / name).write_text(content)
    if name != "manifest.json":
        sums = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**sums, name: file_sum(folder / name)}))
    with pytest.raises(RunError, match=r"damaged|cannot be opened"):
        Retriever.load(tmp_path)


def test_a_run_of_another_model_is_not_resumed(tmp_path: Path) -> None:
    trained(tmp_path, replace(TRAIN, steps=2))
    other = Retriever.build(model().config, ["quite other words"], seed=0)
    with pytest.raises(RunError, match="another model"):
        train(other, triplets(), TRAIN, tmp_path, resume=True)


def test_duplicates_of_a_target_are_no_negatives_in_training(tmp_path: Path) -> None:
    data = triplets()
    alike = Triplets(
        data.name, data.images, data.labels * 0, data.references, data.targets, data.feedback
    )  # every image counts as the same
    train(model(), alike, replace(TRAIN, steps=2), tmp_path)
    assert all(line["loss"] == 0 for line in read_metrics(tmp_path) if "loss" in line)


def test_a_look_that_raises_loses_nothing(tmp_path: Path) -> None:
    def broken(retriever: Retriever) -> Measures:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trained(tmp_path / "run", look=broken)
    assert json.loads((tmp_path / "run" / "checkpoints.json").read_text())["last"] == "step-000002"
    assert trained(tmp_path / "run", resume=True).fingerprint() == trained(tmp_path / "whole").fingerprint()
    numbers = [[line for line in read_metrics(tmp_path / name) if "loss" not in line] for name in ("run", "whole")]
    assert [line["step"] for line in numbers[0]] == [line["step"] for line in numbers[1]] == [2, 4, 6]


@pytest.mark.parametrize(
    ("value", "problem"), [(1.0, "gave 1.0"), (torch.ones(3), r"gave a tensor of the shape \(3,\)")]
)
def test_a_loss_that_is_no_number_is_refused(tmp_path: Path, value: object, problem: str) -> None:
    class Mine(Classification):
        def forward(self, batch: object) -> object:  # type: ignore[override]
            return value

    with pytest.raises(TrainingError, match=f"the loss Mine {problem}; one number is expected"):
        trained(tmp_path, loss=Mine(ClassificationOptions()))


def test_a_measure_that_cannot_be_had_is_a_warning_and_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(retriever: Retriever) -> Measures:
        raise DataError("no queries for toptee")

    trained(tmp_path, look=fails)
    assert "step 2 is saved but was not measured: no queries for toptee" in caplog.text
    assert json.loads((tmp_path / "checkpoints.json").read_text())["best"] == "step-000006"


@pytest.mark.parametrize("kind", [RuntimeError, MemoryError, OSError])
def test_measuring_without_memory_or_disk_is_a_warning_with_its_trace(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: type[Exception]
) -> None:
    def fails(retriever: Retriever) -> Measures:
        raise kind("nothing is left")

    trained(tmp_path, look=fails)
    record = next(one for one in caplog.records if "was not measured: nothing is left" in one.getMessage())
    assert record.exc_info and json.loads((tmp_path / "checkpoints.json").read_text())["last"] == "step-000006"


def test_a_metric_that_was_not_measured_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trained(tmp_path, replace(TRAIN, metric="test/recall@10"))
    assert "train.metric=test/recall@10 was not measured (validation/recall@1 was)" in caplog.text


def test_an_unknown_metric_is_refused_before_training() -> None:
    with pytest.raises(UnknownNameError, match=r"'recall'; choose from: test/recall@1"):
        replace(TRAIN, metric="recall")


def test_a_run_that_never_saved_begins_at_step_0_when_resumed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    assert trained(tmp_path / "run", resume=True).fingerprint() == trained(tmp_path / "whole").fingerprint()


PLAIN = ("scale", "text_encoder.embedding.weight", "composer.positions.0.table", "composer.projections.0.1.weight")


def test_the_image_encoder_learns_at_its_own_rate_and_only_matrices_decay() -> None:
    retriever = model()
    optimizer = make_optimizer(retriever, replace(TRAIN, image_encoder_rate=0.1, weight_decay=0.3))
    for name, parameter in retriever.named_parameters():
        group = next(g for g in optimizer.param_groups if any(p is parameter for p in g["params"]))
        assert group["factor"] == (0.1 if name.startswith("image_encoder.") else 1.0)
        assert group["weight_decay"] == (0.0 if "bias" in name or "norm" in name or name in PLAIN else 0.3)


def test_new_words_are_added_and_what_the_others_mean_stays() -> None:
    retriever = model()
    pixels = torch.randint(0, 256, (2, 3, 16, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    known = retriever.embed_queries(pixels, ["make red cube", "make blue cube"])
    assert retriever.learn_words(["make velvet cube", "make velvet sphere"]) == ["velvet", "sphere"]
    assert torch.equal(retriever.embed_queries(pixels, ["make red cube", "make blue cube"]), known)
    velvet = retriever.embed_queries(pixels, ["make velvet cube", "make cube"])
    assert not torch.allclose(velvet[0], velvet[1])
    assert retriever.learn_words(["make velvet cube"]) == []
    assert any(parameter is retriever.text_encoder.embedding.weight for parameter in retriever.parameters())


def test_what_is_true_of_images_counts_by_its_weight_beside_the_answer() -> None:
    plain = triplets()
    count = len(plain.labels)
    data = replace(plain, aspects={"colour": np.arange(count) % 5, "shape": np.arange(count) % 3})
    retriever, group = model(), Processes(0, 1)
    plan = Plan(data.references, batch=TRAIN.batch, seed=0, per_reference=TRAIN.per_reference)

    def loss(weight: float) -> float:
        learner = Learner(retriever, Graded(GradedOptions(weight=weight)), TRAIN, group, retriever)
        ((_, ((batch,), (labels,))),) = _batches(learner, data, plan, range(1), None)
        value, _ = batch_loss(learner, batch, labels)
        return value.item()

    rows = plan.rows(0)
    wanted, references = (
        torch.from_numpy(np.stack([values[images[rows]] for values in data.aspects.values()], 1))
        for images in (data.targets, data.references)
    )
    pixels = data.images.load(np.arange(count), retriever.preprocess)
    queries = retriever.embed_queries(pixels[data.references[rows]], [data.feedback[row] for row in rows])
    logits = retriever.scale.item() ** 2 * queries @ retriever.embed_images(pixels[data.targets[rows]]).T
    labels = torch.from_numpy(data.labels[data.targets[rows]]).repeat(2)
    alone = grade_rest(logits, labels, wanted=wanted, references=references, others=wanted).item()
    retriever.eval()
    assert loss(1.0) - loss(0.0) == pytest.approx(alone, rel=1e-4)
    assert loss(3.0) - loss(0.0) == pytest.approx(3 * alone, rel=1e-4)


def test_nothing_to_grade_by_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="made-up/train does not say it"):
        trained(tmp_path / "run", replace(TRAIN, loss="graded", loss_options=None))


def test_a_loss_with_options_of_another_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"loss_options of the loss 'soft-triplet' must be NoOptions, not Classif"):
        replace(TRAIN, loss="soft-triplet")


def test_nothing_left_to_learn_is_refused() -> None:
    retriever = model()
    retriever.freeze(["image_encoder", "text_encoder", "composer", "scale"])
    with pytest.raises(ConfigError, match="leaves nothing to learn"):
        make_optimizer(retriever, TRAIN)
    with pytest.raises(UnknownNameError, match="part to freeze 'head'"):
        retriever.freeze(["head"])


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0},
        {"learning_rate": 0.0},
        {"clip": -1.0},
        {"hold_out": 1.0},
        {"batch": 10, "accumulate": 3},
        {"batch": 1},
    ],
)
def test_settings_out_of_range_are_refused_by_name(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        replace(TRAIN, **changes)  # type: ignore[arg-type]


def test_schedules_rise_and_fall_as_stated() -> None:
    cosine = replace(TRAIN, steps=100, warmup=10, learning_rate=1.0)
    assert [cosine.rate(0), cosine.rate(9)] == pytest.approx([0.1, 1.0])
    assert cosine.rate(55) == pytest.approx(0.5)
    assert cosine.rate(99) < 0.001
    step = replace(cosine, schedule="step", warmup=0, decay_every=40, decay_factor=0.1)
    assert [step.rate(39), step.rate(40), step.rate(80)] == pytest.approx([1.0, 0.1, 0.01])
    assert replace(cosine, schedule="constant").rate(99) == 1.0


def test_tensorboard_gets_numbers_and_example_queries(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained(tmp_path)
    events = EventAccumulator(str(tmp_path)).Reload()
    tags = events.Tags()
    assert {"loss", "learning_rate", "scale", "images_per_second", "validation/recall@1"} <= set(tags["scalars"])
    assert not any(" " in name for name in tags["scalars"])
    assert tags["images"] == ["queries/0"]
    assert len(events.Scalars("loss")) == 6
    assert (tmp_path / METRICS).is_file()


@pytest.mark.parametrize("what", ["images", "queries"])
def test_a_composer_that_does_not_give_a_row_for_each_is_told(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retriever = model()
    embed = getattr(retriever.composer, f"embed_{what}")
    monkeypatch.setattr(retriever.composer, f"embed_{what}", lambda *inputs: embed(*inputs)[:1])
    with pytest.raises(ConfigError, match=rf"shape \(1, \d+\) of \d+ {what}; embed_{what} must give a row for each"):
        train(retriever, triplets(), TRAIN, tmp_path / "run")
