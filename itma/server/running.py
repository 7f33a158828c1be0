"""Starting a server, with one worker or several."""

import logging
import os
import socket
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from itma.errors import CatalogueError, ConfigError, MissingExtraError
from itma.registry import import_file
from itma.server.config import Keys, ServeConfig, check

log = logging.getLogger(__name__)

SETTINGS = "ITMA_SERVE_SETTINGS"
"""Environment variable by which workers get their settings; it holds no keys."""


def serve(config: ServeConfig, *, started: Callable[[str], None] | None = None) -> None:
    """Serve a catalogue until somebody stops it; what was accepted is then finished first.

    Args:
        config: what is served, and how.
        started: called with the address before the first request is taken.

    Raises:
        MissingExtraError: the extra `serve` is not installed.
        ConfigError: the settings would leave the catalogue open to strangers, or the port is taken.
        CatalogueError: there is no such catalogue.
        RunError: with several workers: its model cannot be opened.
        PluginError: what is to be imported cannot be.
    """
    try:
        import fastapi  # noqa: F401 - one of the extra stands for all
        import uvicorn
        from uvicorn.supervisors import Multiprocess
    except ImportError as error:
        raise MissingExtraError("the server", "serve") from error
    check(config, Keys.of())
    for source in config.imports:
        import_file(source)
    from itma.retrieval import manifest
    from itma.retrieval.catalogue import Catalogue
    from itma.retrieval.stores.base import metadata_of
    from itma.retrieval.stores.engines import store_at
    from itma.server.service import stop_parts

    store = store_at(config.catalogue)
    if not manifest.exists(store):
        raise CatalogueError(
            f"the catalogue {config.catalogue!r} does not exist; make it with: itma index RUN FOLDER {config.catalogue}"
        )
    columns = metadata_of(store.open(manifest.read(store).table).schema)
    for name in filter(None, (config.title, config.price, config.link)):
        if name not in columns:
            log.warning(
                "the page cannot show %r: the catalogue has the columns %s", name, ", ".join(columns) or "(none)"
            )
    if config.workers > 1:  # what keeps the workers from opening it is said here, once: one that dies is started anew
        Catalogue.open(config.catalogue, config.run, runtime=config.runtime)
    listening = _listening(config)
    with ExitStack() as stack:
        stack.callback(listening.close)
        if config.workers > 1:  # before prometheus_client is imported: it looks only once
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="itma-metrics-"))
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
            stack.callback(os.environ.pop, "PROMETHEUS_MULTIPROC_DIR", None)
        os.environ[SETTINGS] = config.to_json()
        stack.callback(os.environ.pop, SETTINGS, None)
        if started is not None:
            host, port = listening.getsockname()[:2]
            started(f"http://{f'[{host}]' if ':' in host else host}:{port}/")
        settings = uvicorn.Config(
            "itma.server.running:worker",
            factory=True,
            workers=config.workers,
            http="h11",
            ws="none",
            lifespan="on",
            access_log=False,
            server_header=False,
            log_config=None,
            log_level="warning",
            backlog=2048,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=stop_parts(config)[0],
        )
        if config.workers > 1:
            Multiprocess(settings, sockets=[listening]).run()
        else:
            uvicorn.Server(settings).run(sockets=[listening])


def _listening(config: ServeConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # named as TCP, or asyncio would not turn Nagle's algorithm off, which holds the end of an answer back for 40 ms
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((config.host, config.port))
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"{config.host}:{config.port} cannot be listened on ({error.strerror or error}); choose another --port or "
            "--host"
        ) from error
    listening.set_inheritable(True)
    return listening


def _raise_open_files() -> None:
    """As many connections as the system allows: the usual 1,024 are too few for slow ones beside others."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most if most > 0 else 65_536, most))


def worker() -> Any:
    """The application of one worker process, as its environment says."""
    import torch

    from itma.server.app import make_app

    config = ServeConfig.from_json(os.environ[SETTINGS])
    for source in config.imports:
        import_file(source)
    _raise_open_files()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    if config.access_log:
        logging.getLogger("itma.server.access").setLevel(logging.INFO)
    if config.workers > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // config.workers))
    return make_app(config)
