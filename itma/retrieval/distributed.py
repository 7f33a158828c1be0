"""Workers on a Ray cluster: they read and embed images; the plan and the writing stay with who indexes.

Where a worker dies, or its machine does, the others get the images that it had in hand, and a new worker is asked
for; nothing of these images was written, so nothing is lost and nothing doubled. Plain actors are used, for which Ray
alone is enough: `ray.data` sets up a new pool of workers for every data set, and would have to know all images before
it begins, where an indexing finds out which ones are new while it goes on.
"""

import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, islice
from typing import Any

import torch

from itma.errors import ConfigError, DataError, ItmaError, MissingExtraError
from itma.models.embedder import Embedder
from itma.retrieval.ingest.embedding import MISSING, Here, Image, Looked
from itma.retrieval.stores.base import load_package

_PARCEL = 4
"""Batches that a worker gets at once: while it embeds one, it decodes the next."""
_IN_HAND = 2
"""Parcels that wait at a worker, so that it need not wait for us."""
_THREADS = 4
"""Cores of one worker at most; more workers of few cores do more than few of many, but each holds the model."""
_DEATHS = 5
"""Workers that may die over one parcel; one more, and its images are taken to be the cause."""


class RayWorkers:
    """One worker for every few cores of a Ray cluster, or for every GPU; see `itma.retrieval.ingest.embedding.Workers`.

    To be used in a `with` block. The cluster is joined when there is something to do.

    Args:
        model: gives the model; called once on every worker, so it must name a folder that all machines see.
        address: of a running cluster, as in `ray start`; None: one is started on this machine and stopped at the end.
        gpus: give every worker a GPU of its own.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: there is no cluster at the address, or it has no free worker.
    """

    def __init__(self, model: Callable[[], Embedder], address: str | None = None, *, gpus: bool = False) -> None:
        self._model, self._address, self._gpus = model, address, gpus
        self._ray = load_package("ray", MissingExtraError("indexing on several machines (--engine ray)", "ray"))
        self._started = False
        self._actors: list[Any] = []

    def __enter__(self) -> "RayWorkers":
        return self

    def __exit__(self, *_: object) -> None:
        for actor in [*self._actors]:
            self._drop(actor)
        if self._started:
            self._ray.shutdown()
        self._started = False

    def embed(self, images: Iterator[Image], *, batch: int, tokens: bool) -> Iterator[Looked]:
        """See `Workers.embed`.

        Raises:
            DataError: workers die again and again over the same images, or do not see a file that is there.
            RunError: the workers cannot open the model.
        """
        from ray.exceptions import RayError

        parcels = _parcels(images, _PARCEL * batch)
        first = next(parcels, None)
        if first is None:
            return
        parcels = chain([first], parcels)
        free: list[Any] = []
        running: dict[Any, tuple[Any, _Parcel]] = {}
        again: list[_Parcel] = []
        starting, opening = {actor.ready.remote(): actor for actor in self._start()}, _Parcel([])
        while True:
            while free and (parcel := again.pop() if again else next(parcels, None)):
                actor = free.pop(0)
                running[actor.embed.remote(parcel.images, batch, tokens)] = actor, parcel
            if free and not running:
                return
            (done,), _ = self._ray.wait([*running, *starting], num_returns=1)
            actor, parcel = (starting.pop(done), None) if done in starting else running.pop(done)
            try:
                result = self._ray.get(done)
            except RayError as error:
                _raise_own(error)
                if parcel is None:
                    opening = opening.after_death(error)
                    time.sleep(1)  # a machine that has just gone is still counted for a moment
                else:
                    again.append(parcel.after_death(error))
                free = [each for each in free if each is not actor]
                if actor in self._actors:  # each is replaced once, however much it had in hand
                    self._drop(actor)
                    starting |= {new.ready.remote(): new for new in self._start(1)}
                continue
            if parcel is None:
                free += [actor] * _IN_HAND
                continue
            if actor in self._actors:
                free.append(actor)
            yield from _check_paths(result, parcel)

    def _start(self, number: int | None = None) -> list[Any]:
        """New workers, as many as the cluster has room for; they are there when they say so."""
        self._join()
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        cores = [int(node.get("CPU", 0)) for node in nodes]
        if self._gpus:
            room = sum(int(node.get("GPU", 0)) for node in nodes)
            threads = max(1, min(_THREADS, sum(cores) // max(1, room)))
        else:
            threads = max(1, min([_THREADS, *filter(None, cores)]))
            room = sum(core // threads for core in cores)
        if not room:
            raise ConfigError(
                f"the Ray cluster at {self._address!r} has no machine with a {'GPU' if self._gpus else 'core'}; add "
                "one that has: ray start --address=ADDRESS"
            )
        kind = self._ray.remote(_Worker).options(num_cpus=threads, num_gpus=1 if self._gpus else 0)
        new = [kind.remote(self._model, threads) for _ in range(number or room)]
        self._actors += new
        return new

    def _drop(self, actor: Any) -> None:
        from ray.exceptions import RayError

        self._actors.remove(actor)
        with suppress(RayError):  # it is dead, or the cluster is, or both will be
            self._ray.kill(actor)

    def _join(self) -> None:
        if self._ray.is_initialized():
            return
        options: dict[str, Any] = {}
        if self._address is None:
            options["include_dashboard"] = False
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is to be told to anybody
        try:
            if self._address is not None:
                _check_reached(self._address)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Lance warns of forks; Ray's only start other programs
                self._ray.init(address=self._address or "local", log_to_driver=False, logging_level="ERROR", **options)
        except (OSError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"no Ray cluster can be joined at {self._address or 'this machine'!r} ({str(error).splitlines()[0]}); "
                "start one with: ray start --head, and give the address that it prints"
            ) from error
        self._started = True


@dataclass(frozen=True)
class _Parcel:
    """Images that go to a worker together, and how often workers have died over them."""

    images: list[Image]
    deaths: int = 0

    def after_death(self, error: Exception) -> "_Parcel":
        """The same parcel for another worker."""
        if self.deaths == _DEATHS:
            ends = (self.images[0].id, self.images[-1].id) if self.images else None
            over = f"over the images {ends[0]!r} to {ends[1]!r}; look into these" if ends else "opening the model"
            raise DataError(
                f"{_DEATHS + 1} workers died {over}; see whether the machines have memory enough "
                f"({str(error).splitlines()[0]})"
            ) from error
        return replace(self, deaths=self.deaths + 1)


def _parcels(images: Iterator[Image], size: int) -> Iterator[_Parcel]:
    # the same files, whatever folder a worker is in
    whole = (image if image.path is None else replace(image, path=image.path.absolute()) for image in images)
    while parcel := list(islice(whole, size)):
        yield _Parcel(parcel)


def _check_reached(address: str) -> None:
    """Raise OSError where nobody listens; Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _raise_own(error: Exception) -> None:
    """What the worker's own code had to say, rather than that it, or its machine, is gone."""
    from ray.exceptions import RayTaskError

    if isinstance(error, RayTaskError):
        if isinstance(error.cause, ItmaError):
            raise error.cause from error
        raise error


def _check_paths(result: list[Looked], parcel: _Parcel) -> list[Looked]:
    paths = {image.id: image.path for image in parcel.images}
    for looked in result:
        path = paths[looked.id]
        if looked.problem == MISSING and path is not None and path.exists():
            raise DataError(
                f"a worker does not see the image {str(path)!r}, which is there; the folder has to be at the same "
                "path on every machine of the Ray cluster"
            )
    return result


class _Worker:
    """Runs on a machine of the cluster and holds the model."""

    def __init__(self, model: Callable[[], Embedder], threads: int) -> None:
        torch.set_num_threads(threads)
        self._model = cache(model)
        self._here = Here(self._model, threads)

    def ready(self) -> None:
        """Open the model."""
        self._model()

    def embed(self, images: list[Image], batch: int, tokens: bool) -> list[Looked]:
        """Look into some images."""
        return list(self._here.embed(iter(images), batch=batch, tokens=tokens))
