"""What attacks have shown: images and metadata without end, orphans, slow addresses, forms in no encoding."""

import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the extra is not installed: pip install 'itma[serve]'")

from fastapi.testclient import TestClient

from itma.errors import ImageError
from itma.retrieval.catalogue import Catalogue
from itma.server import decoding
from itma.server.config import Keys
from itma.server.decoding import Decoder
from itma.server.fetching import fetch, is_public
from itma.server.gate import _ARRIVING
from itma.server.problems import ProblemError
from itma.server.service import stop_parts
from tests.served import READ, WRITE, app, as_bytes, build, painted

KEY = {"Authorization": f"Bearer {WRITE}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("a"), items=6)


@pytest.fixture
def client(folder: Path) -> Any:
    with TestClient(app(folder, write=True)) as client:
        yield client


def decoder(**settings: Any) -> Decoder:
    running = Decoder(**{"pixels": 50_000_000, "seconds": 20.0, "memory": 10**9, **settings})
    running.start()
    return running


def test_an_image_that_takes_too_long_is_ended_and_others_go_on() -> None:
    large = as_bytes(Image.effect_noise((5000, 5000), 50).convert("RGB"), compress_level=0)
    with pytest.raises(ImageError, match=r"more than 0.05 seconds"):
        decoder(seconds=0.05).ending(large)
    assert decoder().ending(as_bytes(painted(1))) == "png"


def test_an_image_that_takes_too_much_memory_is_refused() -> None:
    with pytest.raises(ImageError, match="memory"):
        decoder(memory=20_000_000).ending(as_bytes(Image.new("RGB", (6000, 6000))))


def test_a_stop_ends_within_its_seconds() -> None:
    from itma.server.config import ServeConfig

    for seconds in (1, 3, 30):
        first, rest = stop_parts(ServeConfig("c", stop_seconds=seconds))
        assert first + rest <= seconds + 1


def test_images_that_take_longer_together_than_a_request_may_are_not_written_after_its_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = []

    def slow(decoder: Decoder, data: bytes) -> str:
        time.sleep(0.15)
        ended.append(data)
        return "png"

    monkeypatch.setattr(Decoder, "ending", slow)
    images = [("images", (f"{n}.png", as_bytes(painted(n)))) for n in range(3)]
    items = json.dumps([{"id": f"slow-{n}", "image": f"{n}.png"} for n in range(3)])
    with TestClient(app(folder, write=True, seconds=0.2)) as client:
        answer = client.post("/api/v1/items/bulk", data={"items": items}, files=images, headers=KEY)
        assert answer.status_code == 503 and answer.json()["error"]["code"] == "timeout", answer.text
        time.sleep(0.3)
    assert len(ended) == 2 and not any(id.startswith("slow-") for id in Catalogue.open(folder, without_model=True).ids)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ('{"price": NaN}', 422),
        ('{"price": 1e999}', 422),
        ('{"colour": "re\\u0000d"}', 422),
        ('{"sizes": ["S", "M\\u0000"]}', 422),
        ("{" + ", ".join(f'"c{n}": 1' for n in range(101)) + "}", 422),
        ('{"colour": "' + "x" * 70_000 + '"}', 422),
        ('{"' + "x" * 201 + '": 1}', 422),
        ('{"a\\nb": 1}', 422),
        ('{"colour": "back\\\\u0000slash"}', 201),
    ],
)
def test_metadata_that_no_search_should_carry_are_refused(client: TestClient, fields: str, status: int) -> None:
    files = {"image": ("a.png", as_bytes(painted(1)))}
    answer = client.post("/api/v1/items", data={"id": f"new-{status}", "fields": fields}, files=files, headers=KEY)
    assert answer.status_code == status, answer.text


def test_an_id_in_a_form_that_is_no_utf_8_is_refused(client: TestClient) -> None:
    for sent, status in ((b"caf\xe9", 422), ("café".encode(), 201)):
        body = b'--x\r\nContent-Disposition: form-data; name="id"\r\n\r\n' + sent + b"\r\n--x\r\n"
        body += b'Content-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + as_bytes(painted(2))
        headers = {**KEY, "Content-Type": "multipart/form-data; boundary=x"}
        answer = client.post("/api/v1/items", content=body + b"\r\n--x--\r\n", headers=headers)
        assert answer.status_code == status, answer.text
    assert client.get("/api/v1/item", params={"id": "café"}).status_code == 200


def test_a_full_folder_for_temporary_files_is_the_server_s_fault(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    files = {"image": ("a.bmp", as_bytes(Image.new("RGB", (800, 800)), "BMP"))}
    answer = client.post("/api/v1/search/upload", files=files)
    assert answer.status_code == 507 and answer.json()["error"]["code"] == "storage"


def test_the_api_s_document_needs_the_key_that_reading_needs(folder: Path) -> None:
    with TestClient(app(folder, keys=Keys(read=(READ,)))) as client:
        assert client.get("/api/v1/openapi.json").status_code == 401
        key = {"Authorization": f"Bearer {READ}"}
        assert client.get("/api/v1/openapi.json", headers=key).json()["openapi"]


def test_bodies_that_never_arrive_keep_nobody_from_the_page_and_health(client: TestClient) -> None:
    gate = client.app.middleware_stack  # type: ignore[attr-defined]
    while not hasattr(gate, "_arriving"):
        gate = gate.app
    gate._arriving, gate._in_flight = set(range(5 * _ARRIVING)), 5 * _ARRIVING
    try:
        assert client.get("/healthz").status_code == 200 and client.get("/").status_code == 200
        assert client.get("/api/v1/catalogue").status_code == 200
        assert client.post("/api/v1/search", json={"text": "red"}).status_code == 503
    finally:
        gate._arriving, gate._in_flight = set(), 0


def test_uploads_without_an_item_are_removed_at_the_start(tmp_path: Path) -> None:
    folder = build(tmp_path, items=2)
    with TestClient(app(folder, write=True)) as client:
        files = {"image": ("a.png", as_bytes(painted(1)))}
        assert client.post("/api/v1/items", data={"id": "new"}, files=files, headers=KEY).status_code == 201
    (upload,) = (folder / "uploads").iterdir()
    (folder / "uploads" / f"{'0' * 32}.png").write_bytes(b"left by a server that was killed")
    (folder / "uploads" / "my notes.txt").write_text("not ours")
    with TestClient(app(folder, write=True)):
        pass
    assert {path.name for path in (folder / "uploads").iterdir()} == {upload.name, "my notes.txt"}


def test_metadata_for_an_item_that_is_gone_are_404(client: TestClient) -> None:
    answer = client.put("/api/v1/item", params={"id": "gone"}, data={"fields": '{"colour": "red"}'}, headers=KEY)
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "unknown_item"


def test_messages_stay_whole_wherever_the_catalogue_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path, items=2).rename(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    with TestClient(app(Path("a"))) as client:
        gone = client.get("/api/v1/item", params={"id": "nowhere"}).json()["error"]["message"]
        unknown = client.post("/api/v1/search", json={"text": "qqqq"}).json()["error"]["message"]
    assert gone == "there is no item 'nowhere' in the catalogue" and "it was trained on sentences" in unknown


def test_an_upload_is_answered_by_the_new_model_and_its_preprocessing_after_a_reindex(tmp_path: Path) -> None:
    from itma.models.retriever import Retriever
    from tests import made_up

    folder = build(tmp_path, items=6)
    made_up.model(seed=5).save(tmp_path / "other")
    with TestClient(app(folder)) as client:
        Catalogue.open(folder).reindex(tmp_path / "other")
        end = time.monotonic() + 60
        other = Catalogue.open(folder, Retriever.load(tmp_path / "other"))
        while client.get("/api/v1/catalogue").json()["fingerprint"] != other.model.fingerprint():
            assert time.monotonic() < end
            time.sleep(0.1)
        sent = as_bytes(painted(3))
        answer = client.post("/api/v1/search/upload", files={"image": ("a.png", sent)}).json()
        right = other.search(sent, k=24)
    assert [(hit["id"], round(hit["score"], 4)) for hit in answer["hits"]] == [(h.id, round(h.score, 4)) for h in right]


@pytest.mark.parametrize(
    "address",
    [
        "::10.0.0.1",
        "64:ff9b:1::7f00:1",
        "64:ff9b::7f00:1",
        "fec0::1",
        "::ffff:0:127.0.0.1",
        "2002:7f00:1::",
        "192.0.0.8",
        "192.0.0.9",
        "192.88.99.1",
        "::ffff:192.0.0.8",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "ff0e::1",
        "3fff::1",
        "2a00:1450::5efe:10.0.0.1",
        "2a00:1450::200:5efe:a00:1",
    ],
)
def test_every_form_that_hides_an_address_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("secure", [False, True])
def test_headers_that_drip_end_with_the_time_for_all_of_it(secure: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def spoken(context: ssl.SSLContext) -> ssl.SSLContext:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("aNULL:@SECLEVEL=0")  # no certificate
        return context

    def drip() -> None:
        connection, _ = listening.accept()
        if secure:
            connection = spoken(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)).wrap_socket(connection, server_side=True)
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            for number in range(50):
                connection.sendall(f"X-{number}: y\r\n".encode())
                time.sleep(0.1)

    threading.Thread(target=drip, daemon=True).start()
    plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    plain.check_hostname = False
    monkeypatch.setattr(ssl, "create_default_context", lambda: spoken(plain))
    port, kind = listening.getsockname()[1], "https" if secure else "http"
    began = time.monotonic()
    with pytest.raises(ProblemError, match="too long"):
        fetch(f"{kind}://127.0.0.1:{port}/", most=1000, seconds=0.5, allowed=lambda _: True, ports=frozenset({port}))
    assert time.monotonic() - began < 3
    listening.close()


def test_a_handshake_and_a_name_server_that_take_their_time_end_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(ProblemError, match="too long"):
            fetch(f"https://127.0.0.1:{port}/", most=1, seconds=0.2, allowed=lambda _: True, ports=frozenset({port}))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(2))
    with pytest.raises(ProblemError, match="too long"):
        fetch("https://example.com/", most=1, seconds=0.2)


def test_sockets_of_killed_servers_are_swept_and_those_in_use_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("itma-decoding-left", "itma-decoding-bare", "itma-decoding-young", "itma-decoding-used", "other"):
        (tmp_path / name).mkdir()
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "itma-decoding-left" / "socket"))
    left.close()
    with socket.socket(socket.AF_UNIX) as used:
        used.bind(str(tmp_path / "itma-decoding-used" / "socket"))
        used.listen()
        for path in tmp_path.iterdir():
            if "young" not in path.name:
                os.utime(path, (0, 0))
        decoding.sweep()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["itma-decoding-used", "itma-decoding-young", "other"]


def test_the_program_that_decodes_takes_its_socket_along_when_its_server_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, signal; from itma.server import decoding; decoding._PROGRAM.connected().close(); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
    end = time.monotonic() + 20
    while list(tmp_path.iterdir()) and time.monotonic() < end:
        time.sleep(0.05)
    assert not list(tmp_path.iterdir())
