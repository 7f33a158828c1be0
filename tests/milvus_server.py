"""A real Milvus server for tests: the standalone one of the package `milvus`, as a process of its own."""

import gc
import shutil
import socket
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

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

    Raises:
        TimeoutError: it does not come up.
    """
    import milvus

    parts = Path(milvus.__file__).parent / "data"
    text = (parts / "config.yaml.template").read_text(encoding="utf-8")
    if quick:
        lines = "".join(f"  {name}: {value}\n" for name, value in QUICK.items())
        text = text.replace("\nqueryCoord:\n", f"\nqueryCoord:\n{lines}", 1)
    (folder / "etcd.yaml").write_text(_etcd(*_free_ports(2)), encoding="utf-8")
    text = text.replace("\netcd:\n", f"\netcd:\n  config:\n    path: {folder / 'etcd.yaml'}\n", 1)
    template = folder / "settings.template"
    template.write_text(text, encoding="utf-8")
    config = milvus.MilvusServerConfig(template=str(template), data_dir=str(folder))
    names = [name for name in config.configurable_items if name.endswith("_port")]
    ports = dict(zip(names, _free_ports(len(names)), strict=True))  # else two servers that start together clash
    config.update(**ports)
    config.glog_conf_file = str(parts / "glog.conf")
    for name, value in SETTINGS.items() if quick else ():
        config.set(name, value)
    server = milvus.MilvusServer(config, wait_for_started=False)
    server.webservice_port = _free_ports(1)[0]
    (folder / "bin").symlink_to(_unpack(milvus))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # it leaves the ports that it tries to the collector
            server.start()
            gc.collect()
        _wait_for(server, folder / "logs" / "milvus-stderr.log")
        yield f"milvus://127.0.0.1:{ports['proxy_port']}"
    finally:
        server.stop()


def _unpack(milvus: Any) -> Path:
    """The server's programs, unpacked once for all runs of the tests, which is half of its start."""
    unpacked = Path(__file__).parents[1] / ".artefacts" / f"milvus-{milvus.__version__}"
    if not unpacked.exists():
        unpacked.parent.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="milvus-", dir=unpacked.parent))
        milvus._initialize_data_files(folder)
        with suppress(OSError):  # another run was first
            (folder / "bin").rename(unpacked)
        shutil.rmtree(folder)
    return unpacked


def _wait_for(server: Any, log: Path, seconds: float = 180.0) -> None:
    """Return once the server answers; the package's own waiting does not see that it has ended."""
    end = time.monotonic() + seconds
    while server.server_proc.poll() is None and time.monotonic() < end:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{server.webservice_port}/healthz") as answer:
            if b"OK" in answer.read():
                return
        time.sleep(0.1)
    words = log.read_text(encoding="utf-8", errors="replace")[-2_000:]
    raise TimeoutError(f"it ended or did not answer for {seconds:.0f} seconds; its last words: {words}")


def _etcd(clients: int, peers: int) -> str:
    """Settings of the register, whose ports are the same for all servers of a machine otherwise."""
    return (
        f"name: default\ninitial-cluster: default=http://127.0.0.1:{peers}\n"
        f"listen-client-urls: http://127.0.0.1:{clients}\nadvertise-client-urls: http://127.0.0.1:{clients}\n"
        f"listen-peer-urls: http://127.0.0.1:{peers}\ninitial-advertise-peer-urls: http://127.0.0.1:{peers}\n"
    )


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        tried = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in tried:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in tried]
