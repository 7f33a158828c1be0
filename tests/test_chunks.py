"""A batch in chunks (GradCache): the gradients of the whole, and the memory of a chunk."""

import weakref
from dataclasses import replace

import pytest
import torch

from itma.data.batching import Batch
from itma.errors import ConfigError
from itma.models.composers.combiner import CombinerOptions
from itma.models.composers.rtic import RticOptions
from itma.models.retriever import Retriever, RetrieverConfig
from itma.training.config import TrainConfig
from itma.training.distributed import Processes
from itma.training.losses import Classification, ClassificationOptions, Loss
from itma.training.memory_bank import MemoryBank
from itma.training.step import Learner, add_gradients, check_chunks
from tests.made_up import CONFIG, TRAIN, triplets

ALONE = Processes(0, 1)
CHUNKED = replace(TRAIN, chunk=3)


def combiner(dropout: float = 0.0, config: RetrieverConfig = CONFIG) -> Retriever:
    """A model in training whose batch norms keep their statistics."""
    options = CombinerOptions(projection=1, hidden=1, dropout=dropout)
    text_encoder = replace(config.text_encoder, dropout=dropout)
    recipe = replace(config, composer="combiner", options=options, text_encoder=text_encoder)
    model = Retriever.build(recipe, triplets().feedback)
    model.freeze((), fixed_norms=True)
    return model.train()


def batch_of(rows: int) -> tuple[Batch, torch.Tensor]:
    """Rows that share references and targets; one of them is words alone."""
    data, preprocess = triplets(), CONFIG.preprocess
    random = torch.Generator().manual_seed(1)
    references = torch.randint(0, rows, (rows,), generator=random)
    targets = torch.randint(0, 2 * rows, (rows,), generator=random)
    labels = torch.stack([targets, references])[:, :, None].clone()
    references[2], labels[1, 2] = -1, -2
    pixels = data.images.load(range(2 * rows), preprocess)  # type: ignore[arg-type]
    return Batch(pixels, references, targets, tuple(data.feedback[:rows])), labels


def gradients(config: TrainConfig, loss: Loss, model: Retriever, rows: int = 8) -> dict[str, torch.Tensor]:
    """Of one step, with the loss and the share of right rows."""
    batch, labels = batch_of(rows)
    torch.manual_seed(5)
    amount, right = add_gradients(Learner(model, loss, config, ALONE, model), batch, labels, share=0.5)
    by_name = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return {**by_name, "loss": amount, "right": right}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(
            one[name], other[name], atol=1e-6, rtol=1e-4, msg=lambda text, n=name: f"{n}: {text}"
        )


@pytest.mark.parametrize("chunk", [1, 3, 4])
@pytest.mark.parametrize("references", [False, True])
def test_the_gradients_of_chunks_are_those_of_the_whole_batch(chunk: int, references: bool) -> None:
    loss = Classification(ClassificationOptions(reference_negatives=references))
    whole = gradients(TRAIN, loss, combiner())
    assert whole["scale"] != 0 and any(name.startswith("image_encoder") for name in whole)
    assert_same(gradients(replace(TRAIN, chunk=chunk), loss, combiner()), whole)


def test_a_loss_that_remembers_is_asked_once_for_a_batch_in_chunks() -> None:
    whole, chunked = MemoryBank(), MemoryBank()
    gradients(TRAIN, whole, combiner())
    gradients(CHUNKED, chunked, combiner())
    torch.testing.assert_close(chunked.embeddings, whole.embeddings)


def test_dropout_is_the_same_when_a_chunk_is_embedded_again() -> None:
    model, loss = combiner(0.5), Classification()
    chunked = gradients(CHUNKED, loss, model)
    expected = combiner(0.5)
    batch, labels = batch_of(8)
    torch.manual_seed(5)
    parts = []
    for first in range(0, 8, 3):  # all chunks with gradient at once
        chunk = batch.part(first, first + 3)
        pixels, tokens = model.preprocess.normalise(chunk.pixels), model.tokenizer(chunk.feedback)
        parts.append(expected(pixels, chunk.references, chunk.targets, tokens))
    queries, images = (torch.cat(part) for part in zip(*parts, strict=True))
    logits = expected.logits(queries, images)
    again = (labels[0] == labels[0].T).fill_diagonal_(False)
    amount = torch.nn.functional.cross_entropy(logits.masked_fill(again, float("-inf")), torch.arange(8))
    (0.5 * amount).backward()
    assert chunked["loss"].item() == pytest.approx(amount.item(), rel=1e-5)
    for name, parameter in expected.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(chunked[name], parameter.grad, atol=1e-6, rtol=1e-4)


def most_bytes_for_backward(config: TrainConfig, rows: int) -> int:
    """The most that is held at one time for backward passes during a step, weights aside."""
    model, now, most = combiner(), 0, 0
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    alive: set[int] = set()

    def forget(address: int, size: int) -> None:
        nonlocal now
        now -= size
        alive.discard(address)

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal now, most
        storage = tensor.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
        if address not in weights and address not in alive:
            alive.add(address)
            now += size
            weakref.finalize(detached := tensor.detach(), forget, address, size)
            most = max(most, now)
            return detached
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        gradients(config, Classification(), model, rows)
    return most


def test_memory_is_bounded_by_the_chunk_and_not_by_the_batch() -> None:
    chunk = replace(TRAIN, chunk=2)
    small, large = most_bytes_for_backward(chunk, 8), most_bytes_for_backward(chunk, 24)
    whole = most_bytes_for_backward(TRAIN, 24)
    assert large < 1.2 * small
    assert large < whole / 4


def test_batch_norms_that_learn_from_the_rows_are_refused_by_name() -> None:
    model = combiner()
    check_chunks(model, CHUNKED)
    model.freeze(())
    with pytest.raises(ConfigError, match=r"train\.chunk=3: .* e\.g\. image_encoder\..*train\.fixed_norms=true"):
        check_chunks(model, CHUNKED)
    model.freeze(["image_encoder"])
    check_chunks(model, CHUNKED)
    check_chunks(model.train(False), CHUNKED)
    assert not model.training


def test_a_composer_with_a_loss_over_the_whole_batch_is_refused() -> None:
    config = replace(CONFIG, composer="rtic", options=RticOptions(graph=1.0))
    with pytest.raises(ConfigError, match="'rtic' has a loss of its own over the whole batch"):
        check_chunks(Retriever.build(config, triplets().feedback), CHUNKED)
