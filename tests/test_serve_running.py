"""Servers as they run: a process of their own, several workers on one catalogue, a stop that finishes what began."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("fastapi", reason="the extra is not installed: pip install 'itma[serve]'")

from itma.cli import cli
from itma.client import Client
from itma.errors import ConfigError, RunError
from itma.retrieval.ingest.rows import Item
from itma.server.config import WRITE_KEYS, ServeConfig
from itma.server.running import SETTINGS, serve, worker
from tests import served


@contextmanager
def started(catalogue: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`itma serve` in a process of its own; gives it and its address once it is ready."""
    line = [sys.executable, "-m", "itma", "serve", str(catalogue), "--port", "0", *options]
    environment = {**os.environ, WRITE_KEYS: served.WRITE, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        first_line = process.stderr.readline()
        match = re.search(r"http://\S+", first_line)
        assert match, first_line + process.stderr.read()
        url = match[0].rstrip("/")
        while True:
            assert process.poll() is None, process.stderr.read()
            try:
                with urllib.request.urlopen(f"{url}/readyz", timeout=30) as answer:
                    assert answer.status == 200
                    break
            except OSError:
                time.sleep(0.05)
        yield process, url
    finally:
        process.terminate()
        process.wait(60)
        assert process.stderr is not None
        process.stderr.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served.build(tmp_path_factory.mktemp("serve"), 6)


def test_a_server_stops_when_told_and_answers_first_what_it_had_accepted(folder: Path) -> None:
    with started(folder) as (process, url):
        host, _, port = url.removeprefix("http://").partition(":")
        body = b'{"text": "make red cube", "k": 3}'
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            head = f"POST /api/v1/search HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-1])
            time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            connection.sendall(body[-1:])
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert process.wait(30) in (0, -signal.SIGTERM)


@pytest.mark.slow
def test_several_workers_write_and_see_one_catalogue(tmp_path: Path) -> None:
    folder = served.build(tmp_path, 6)
    with started(folder, "--workers", "2", "--write") as (_, url):
        client = Client(url, key=served.WRITE)
        errors: list[BaseException] = []

        def add(first: int) -> None:
            try:
                for number in range(first, first + 8):
                    client.add([Item(f"new-{number}", served.noise(number))])
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=add, args=(first,)) for first in (0, 100, 200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        time.sleep(1.0)
        for _ in range(20):  # whichever worker answers
            assert len(client.search(text="make red cube", k=100)) == 6 + 24
        metrics = urllib.request.urlopen(f"{url}/metrics", timeout=30)
        with metrics:
            assert b"itma_requests_total" in metrics.read()


def test_a_port_that_is_taken_and_columns_that_are_not_there_are_told(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConfigError, match="choose another --port"):
            serve(ServeConfig(str(folder), port=other.getsockname()[1], title="name", price="price"))
    assert [record.getMessage() for record in caplog.records] == [
        "the page cannot show 'name': the catalogue has the columns colour, price, sold, made"
    ]


def test_a_catalogue_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["serve", str(tmp_path / "nothing")])
    assert done.exit_code == 1
    assert "does not exist" in done.output and "itma index" in done.output


def test_what_keeps_several_workers_from_opening_the_catalogue_is_said_before_they_start(folder: Path) -> None:
    with pytest.raises(RunError, match="nowhere"):
        serve(ServeConfig(str(folder), port=0, workers=2, run="nowhere"), started=pytest.fail)


def test_a_worker_imports_first_what_the_command_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "parts_of_a_worker.py").write_text("")
    config = ServeConfig("catalogue", imports=(str(tmp_path / "parts_of_a_worker.py"),))
    monkeypatch.setenv(SETTINGS, config.to_json())
    monkeypatch.setattr("itma.server.app.make_app", lambda given: (given, "parts_of_a_worker" in sys.modules))
    assert worker() == (config, True)


def test_the_command_hands_its_imports_to_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "parts_of_a_server.py").write_text("")
    served_by: list[ServeConfig] = []
    monkeypatch.setattr("itma.server.running.serve", lambda config, started: served_by.append(config))
    given = str(tmp_path / "parts_of_a_server.py")
    CliRunner().invoke(cli, ["--import", given, "serve", str(tmp_path)], catch_exceptions=False)
    assert served_by[0].imports == (given,)


def test_without_the_extra_the_command_names_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    done = CliRunner().invoke(cli, ["serve", str(folder)])
    assert done.exit_code == 1
    assert "pip install 'itma[serve]'" in done.output


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"port": 70_000}, "port=70000"),
        ({"workers": 0}, "workers=0"),
        ({"seconds": 0.0}, r"seconds=0\.0"),
        ({"cache_bytes": -1}, "cache_bytes=-1"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ServeConfig("catalogue", **settings)  # type: ignore[arg-type]


def test_a_catalogue_on_a_server_wants_a_folder_for_images() -> None:
    config = ServeConfig("milvus://host:19530/shop", write=True)
    with pytest.raises(ConfigError, match="--uploads"):
        _ = config.uploads_folder
    assert json.loads(config.to_json())["write"] is True
