"""A real Milvus server for tests: the standalone one of the package `milvus`, as a process of its own."""

import gc
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

QUICK = {
    "checkChannelInterval": 100,
    "checkSegmentInterval": 100,
    "checkIndexInterval": 200,
    "leaderViewUpdateInterval": 0.1,
    "UpdateNextTargetInterval": 1,
}
"""How often the server looks what it has to load: in milliseconds, the last two in seconds; tests make many tables."""
SETTINGS = {
    "queryCoord.checkInterval": 100,
    "queryCoord.distPullInterval": 50,
    "proxy.timeTickInterval": 50,
    "log.level": "error",
}


@contextmanager
def running(folder: Path, *, quick: bool = True) -> Iterator[str]:
    """Start a server that keeps all it has in this folder, give its place, and stop it at the end.

    Args:
        folder: an empty one.
        quick: tables are loaded in one or two seconds instead of three, and the clock ticks four times as often.
    """
    import milvus

    parts = Path(milvus.__file__).parent / "data"
    text = (parts / "config.yaml.template").read_text(encoding="utf-8")
    if quick:
        lines = "".join(f"  {name}: {value}\n" for name, value in QUICK.items())
        text = text.replace("\nqueryCoord:\n", f"\nqueryCoord:\n{lines}", 1)
    template = folder / "settings.template"
    template.write_text(text, encoding="utf-8")
    port = _free_port()
    config = milvus.MilvusServerConfig(template=str(template), data_dir=str(folder), proxy_port=port)
    config.glog_conf_file = str(parts / "glog.conf")
    for name, value in SETTINGS.items() if quick else ():
        config.set(name, value)
    server = milvus.MilvusServer(config)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # it leaves the ports that it tries to the collector
            server.start()
            gc.collect()
        yield f"milvus://127.0.0.1:{port}"
    finally:
        server.stop()


def _free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        port: int = tried.getsockname()[1]
        return port
