"""Two processes compute the loss, the gradients and the batch-norm statistics of one."""

import os
import socket
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as multiprocessing

from itma.data.batching import Plan
from itma.errors import ConfigError
from itma.training.config import TrainConfig
from itma.training.distributed import processes
from itma.training.loop import _batches, _distribute, train
from itma.training.losses import Classification, loss_named
from itma.training.step import Learner, add_gradients
from tests.forked import FORKING
from tests.made_up import TRAIN, model, triplets
from tests.test_chunks import combiner

ALONE = replace(TRAIN, per_reference=1)


def gradients_of_one_step(config: TrainConfig) -> dict[str, torch.Tensor]:
    data, retriever = triplets(), combiner() if config.chunk else model()
    for module in retriever.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    with processes(torch.device("cpu")) as group:
        loss = loss_named(config.loss)()
        learner = Learner(retriever, loss, config, group, _distribute(retriever, group))
        retriever.train()
        plan = Plan(data.references, batch=config.batch, seed=0)
        for _, (parts, labels) in _batches(learner, data, plan, range(1), None):
            amount, right = add_gradients(learner, parts[0], labels[0])
        gradients = {
            name: parameter.grad for name, parameter in retriever.named_parameters() if parameter.grad is not None
        }
        buffers = {f"buffer {name}": buffer.clone() for name, buffer in retriever.named_buffers()}
        return {**gradients, **buffers, "loss": amount.detach(), "right": right.detach()}


LOSSES = "classification", "soft-triplet", "hard-negatives", "memory-bank"
CHUNKS = replace(ALONE, chunk=1)


def in_process(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("error", FutureWarning)  # the filters of pytest hold in its own process only
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo")
    for loss in LOSSES:
        torch.save(
            gradients_of_one_step(replace(ALONE, loss=loss, loss_options=None)), Path(folder) / f"{loss}-{rank}.pt"
        )
    torch.save(gradients_of_one_step(CHUNKS), Path(folder) / f"chunks-{rank}.pt")
    train(model(), triplets(), ALONE, Path(folder) / "run")
    train(model(), triplets(), replace(ALONE, loss="hard-negatives", loss_options=None), Path(folder) / "unscaled")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes leave behind; started once."""
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.start_processes(in_process, (port, str(folder)), nprocs=2, start_method=FORKING.get_start_method())
    return folder


@pytest.mark.parametrize("name", [*LOSSES, "chunks"])
def test_two_processes_have_the_loss_and_gradients_of_one(two_processes: Path, name: str) -> None:
    one = gradients_of_one_step(CHUNKS if name == "chunks" else replace(ALONE, loss=name, loss_options=None))
    for rank in range(2):
        two = torch.load(two_processes / f"{name}-{rank}.pt", weights_only=True)
        assert two.keys() == one.keys()
        for key, values in one.items():
            torch.testing.assert_close(
                two[key], values, atol=1e-5, rtol=1e-3, msg=lambda text, key=key: f"{key}: {text}"
            )


def test_a_run_of_two_processes_leaves_one_run_folder(two_processes: Path) -> None:
    assert sorted(path.name for path in (two_processes / "run").glob("step-*")) == ["step-000006"]


def test_two_processes_learn_by_a_loss_that_leaves_the_scale_out(two_processes: Path) -> None:
    assert sorted(path.name for path in (two_processes / "unscaled").glob("step-*")) == ["step-000006"]


def test_a_batch_that_does_not_split_evenly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from itma.training.distributed import Processes

    config = replace(ALONE, batch=9)
    plan = Plan(triplets().references, batch=9, seed=0)
    learner = Learner(model(), Classification(), config, Processes(0, 2), None)
    with pytest.raises(ConfigError, match="split evenly over 2 processes"):
        _batches(learner, triplets(), plan, range(1), None)
