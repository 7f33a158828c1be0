"""A model that learns from a teacher, which is another run."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from itma.errors import ConfigError, RunError
from itma.models.retriever import Retriever
from itma.training.distillation import Distillation, DistillationOptions
from itma.training.loop import train
from itma.training.losses import LossBatch
from tests.made_up import CONFIG, TRAIN, model, triplets
from tests.test_chunks import CHUNKED, batch_of, combiner, gradients


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of another image size and another length of embeddings."""
    config = replace(CONFIG, dim=24, composer="add", options=None, preprocess=replace(CONFIG.preprocess, height=20))
    retriever = Retriever.build(config, triplets().feedback, seed=3)
    folder = tmp_path_factory.mktemp("teacher")
    retriever.save(folder)
    return folder


def test_what_a_teacher_says_of_a_batch_is_what_it_answers(teacher: Path) -> None:
    loss, (batch, _) = Distillation(DistillationOptions(str(teacher))), batch_of(8)
    queries, targets = loss.extras(batch, torch.device("cpu"))
    opened = Retriever.load(teacher)
    pixels = opened.preprocess.fit_pixels(batch.pixels)
    torch.testing.assert_close(targets, opened.embed_images(pixels[batch.targets]))
    for row, reference in enumerate(batch.references.tolist()):
        image = None if reference < 0 else pixels[reference][None]
        answer = 16 * opened.embed_queries(image, [batch.feedback[row]])[0]
        torch.testing.assert_close(queries[row], answer, atol=1e-4, rtol=1e-4)


def test_a_model_that_scores_as_its_teacher_has_nothing_to_learn(teacher: Path) -> None:
    loss, (batch, labels) = Distillation(DistillationOptions(str(teacher), weight=1.0)), batch_of(8)
    queries, targets = loss.extras(batch, torch.device("cpu"))
    same = LossBatch(queries / 16, targets, labels[0, :, 0], torch.tensor(4.0), extras=(queries, targets))
    other = replace(same, queries=same.queries.roll(1, 0))
    assert loss(same).item() == pytest.approx(0, abs=1e-6) and loss(other) > 1e-3


def test_training_from_a_teacher_comes_nearer_to_it_and_keeps_its_weights_out(teacher: Path, tmp_path: Path) -> None:
    options = DistillationOptions(str(teacher), weight=1.0)
    config = replace(TRAIN, loss="distillation", loss_options=options, steps=30, evaluate_every=30, learning_rate=5e-3)
    loss, student = Distillation(options), model()
    assert not list(loss.parameters()) and not loss.state_dict()
    before = gradients(config, loss, model().train())["loss"]
    train(student, triplets(), config, tmp_path)
    assert gradients(config, loss, student.train())["loss"] < 0.7 * before


def test_a_teacher_is_followed_in_chunks_too(teacher: Path) -> None:
    loss = Distillation(DistillationOptions(str(teacher)))
    whole, chunked = gradients(TRAIN, loss, combiner()), gradients(CHUNKED, loss, combiner())
    for name, values in whole.items():
        torch.testing.assert_close(chunked[name], values, atol=1e-5, rtol=1e-3)


def test_a_teacher_that_is_not_named_or_not_there_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"needs a teacher: train\.loss_options\.teacher=RUN"):
        Distillation()
    with pytest.raises(RunError, match="nowhere"):
        Distillation(DistillationOptions(str(tmp_path / "nowhere")))


def test_a_teacher_that_cannot_see_the_images_is_refused(teacher: Path) -> None:
    batch, _ = batch_of(8)
    with pytest.raises(ConfigError, match=r"leave train\.views out"):
        Distillation(DistillationOptions(str(teacher))).extras(
            replace(batch, begun=(torch.zeros(16, 1, 1, 1),)), torch.device("cpu")
        )
