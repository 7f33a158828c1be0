"""What a stranger cannot do: write, read with a wrong key, reach files or other machines, or leave a script behind."""

import http.server
import io
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the extra is not installed: pip install 'itma[serve]'")
from fastapi.testclient import TestClient

from itma.errors import ConfigError
from itma.server.config import READ_KEYS, WRITE_KEYS, Keys, ServeConfig, check
from itma.server.fetching import fetch, is_public
from itma.server.problems import ProblemError
from tests import served
from tests.test_serve import API, WRITES, add, problem, upload


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served.build(tmp_path_factory.mktemp("serve"), 6)


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    with TestClient(served.app(folder)) as client:
        yield client


@pytest.fixture(scope="module")
def locked(folder: Path) -> Iterator[TestClient]:
    """A server that wants a key for reading, and another one for writing."""
    with TestClient(served.app(folder, keys=Keys((served.READ,), (served.WRITE,)), write=True)) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


# -- keys -------------------------------------------------------------------------------------------------------------

CHANGES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/items", {"data": {"id": "x"}}),
    ("PUT", "/item?id=x", {"data": {"fields": "{}"}}),
    ("POST", "/items/bulk", {"data": {"items": "[]"}}),
    ("DELETE", "/item?id=item-01", {}),
    ("POST", "/items/delete", {"json": {"ids": ["item-01"]}}),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_nothing_is_written_unless_writing_is_on(
    client: TestClient, method: str, path: str, body: dict[str, Any]
) -> None:
    assert problem(client.request(method, API + path, headers=WRITES, **body)) == (403, "writing_off")


@pytest.mark.parametrize("key", [None, "", served.READ, served.WRITE[:-1], served.WRITE + "x", "é" * 20])
@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_nothing_is_written_without_the_right_key(
    locked: TestClient, method: str, path: str, body: dict[str, Any], key: str | None
) -> None:
    headers = {} if key is None else {"Authorization": f"Bearer {key}".encode()}
    answer = locked.request(method, API + path, headers=headers, **body)  # type: ignore[arg-type]
    assert problem(answer) == (401, "key_needed")
    assert answer.headers["www-authenticate"].startswith("Bearer")


READS = ["/catalogue", "/items", "/item?id=item-01", "/item/thumbnail?id=item-01", "/item/image?id=item-01"]


@pytest.mark.parametrize("path", [*(API + path for path in READS), "/metrics"])
def test_reading_needs_a_key_where_there_are_keys_for_it(locked: TestClient, path: str) -> None:
    assert problem(locked.get(path)) == (401, "key_needed")
    assert problem(locked.get(path, headers=bearer("wrong" * 5))) == (401, "key_needed")
    assert locked.get(path, headers=bearer(served.READ)).status_code == 200
    assert locked.get(path, headers=bearer(served.WRITE)).status_code == 200


def test_searching_needs_the_key_too(locked: TestClient) -> None:
    assert problem(locked.post(f"{API}/search", json={"text": "make red cube"})) == (401, "key_needed")
    answer = locked.post(f"{API}/search", json={"text": "make red cube"}, headers=bearer(served.READ))
    assert answer.status_code == 200


def test_the_page_itself_and_health_are_for_everybody(locked: TestClient) -> None:
    for path in ("/", "/page/main.js", "/healthz", "/readyz"):
        assert locked.get(path).status_code == 200


def test_a_browser_that_showed_a_key_reads_and_never_writes(folder: Path) -> None:
    application = served.app(folder, keys=Keys((served.READ,), (served.WRITE,)), write=True)
    with TestClient(application) as client:
        assert problem(client.post(f"{API}/session", json={"key": "wrong" * 5})) == (401, "wrong_key")
        answer = client.post(f"{API}/session", json={"key": served.WRITE})
        assert answer.status_code == 204
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie
        assert served.WRITE not in cookie
        assert client.get(f"{API}/items").status_code == 200
        assert problem(client.delete(f"{API}/item?id=item-01")) == (401, "key_needed")


@pytest.mark.parametrize(
    "change", [lambda sign: sign[:-1], lambda sign: "9" + sign, lambda sign: "", lambda sign: "é."]
)
def test_a_session_cannot_be_made_up_or_lengthened(change: Any) -> None:
    keys = Keys((served.READ,), ())
    assert keys.in_session(keys.session())
    assert not keys.in_session(change(keys.session()))


def test_a_session_ends_after_twelve_hours() -> None:
    keys = Keys((served.READ,), ())
    assert keys.in_session(keys.session(now=1000.0), now=1000.0 + 12 * 3600 - 1)
    assert not keys.in_session(keys.session(now=1000.0), now=1000.0 + 12 * 3600 + 1)


def test_keys_come_from_the_environment_and_are_never_shown() -> None:
    keys = Keys.of({READ_KEYS: f"{served.READ}, other-{served.READ}", WRITE_KEYS: served.WRITE})
    assert keys.reads(f"other-{served.READ}") and keys.reads(served.WRITE) and not keys.writes(served.READ)
    assert served.READ not in repr(keys) and served.WRITE not in repr(keys)


@pytest.mark.parametrize("key", ["short", "é" * 20])
def test_a_key_that_is_easily_guessed_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=WRITE_KEYS):
        Keys.of({WRITE_KEYS: key})


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "192.0.2.7"])
def test_writing_without_a_key_is_refused_at_the_start(folder: Path, host: str) -> None:
    with pytest.raises(ConfigError, match=WRITE_KEYS):
        check(ServeConfig(str(folder), host=host, write=True), Keys())


def test_it_listens_to_this_machine_alone_unless_told_otherwise(folder: Path) -> None:
    assert ServeConfig(str(folder)).local
    assert "*" not in ServeConfig(str(folder)).allowed_hosts


@pytest.mark.parametrize(("host", "answered"), [("localhost:8000", True), ("127.0.0.1", True), ("evil.example", False)])
def test_another_name_for_this_machine_is_not_answered(folder: Path, host: str, answered: bool) -> None:
    from itma.server.app import make_app

    with TestClient(make_app(ServeConfig(str(folder)), Keys())) as client:
        answer = client.get("/healthz", headers={"Host": host})
        if answered:
            assert answer.status_code == 200
        else:
            assert problem(answer) == (421, "unknown_host")


# -- the page ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/page/main.js", f"{API}/items", "/nothing", f"{API}/item?id=zzz"])
def test_every_answer_carries_a_policy_that_lets_no_script_in(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"


def test_the_page_has_no_inline_script_or_style_and_nothing_from_elsewhere() -> None:
    from itma.server.about import page_files

    for name, (data, _, _) in page_files().items():
        text = data.decode()
        if name.endswith(".html"):
            assert "style=" not in text and "<style" not in text and " onclick" not in text
            assert "<script>" not in text
        outside = [word for word in ("http://", "https://", "//cdn") if word in text]
        assert [word for word in outside if "http://www.w3.org" not in text] == []
        assert "innerHTML" not in text and "eval(" not in text


@pytest.mark.parametrize(
    "path",
    ["/page/../config.py", "/page/%2e%2e/config.py", "/page/..%2fconfig.py", "/../../etc/passwd", "/page/", "/page"],
)
def test_no_file_but_the_page_s_own_is_given_out(client: TestClient, path: str) -> None:
    assert problem(client.get(path)) == (404, "not_found")


def test_the_api_s_document_is_there_and_loads_nothing_from_elsewhere(client: TestClient) -> None:
    document = client.get(f"{API}/openapi.json").json()
    assert document["openapi"].startswith("3.")
    assert f"{API}/search" in document["paths"]
    assert client.get("/docs").status_code == 404


def test_no_other_page_may_read_the_answers(client: TestClient) -> None:
    headers = client.get(f"{API}/items", headers={"Origin": "https://evil.example"}).headers
    assert "access-control-allow-origin" not in headers
    assert headers["cross-origin-resource-policy"] == "same-origin"


# -- images ---------------------------------------------------------------------------------------------------------


def test_thumbnails_hold_no_metadata_of_the_file(tmp_path: Path) -> None:
    with TestClient(served.app(served.build(tmp_path, 3), write=True)) as client:
        exif = Image.Exif()
        exif[0x010F] = "SecretCamera"
        exif[0x8825] = {1: "N", 2: (48.0, 51.0, 29.0)}
        add(client, "x", served.as_bytes(served.noise(1), "JPEG", exif=exif, comment=b"secret comment"))
        for path in ("thumbnail", "image"):
            data = client.get(f"{API}/item/{path}", params={"id": "x"}).content
            image = Image.open(io.BytesIO(data))
            assert not image.getexif() and "comment" not in image.info
            assert b"Secret" not in data and b"secret" not in data


# -- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
    ],
)
def test_addresses_that_are_not_public_are_known_as_such(address: str) -> None:
    assert not is_public(address)


def test_addresses_are_not_fetched_unless_that_is_on(client: TestClient) -> None:
    answer = client.post(f"{API}/search", json={"url": "https://example.com/a.jpg"})
    assert problem(answer) == (403, "urls_off")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.jpg",
        "http://localhost/a.jpg",
        "http://[::1]/a.jpg",
        "http://2130706433/a.jpg",
        "http://0x7f.1/a.jpg",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "ftp://example.com/a.jpg",
        "http://user:word@example.com/a.jpg",
        "http://example.com:22/",
        "http://example.com/a b",
        "http://example.com/a\r\nHost: x",
        "http://[bad",
        "//example.com/a.jpg",
        "",
    ],
)
def test_addresses_that_lead_inside_are_not_fetched(folder: Path, url: str) -> None:
    with TestClient(served.app(folder, urls=True)) as client:
        assert problem(client.post(f"{API}/search", json={"url": url})) == (422, "unreachable_image")


class Images(http.server.BaseHTTPRequestHandler):
    """A machine that has an image, a redirection, and too much."""

    def do_GET(self) -> None:
        data = served.as_bytes(served.painted(1))
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(data if self.path == "/a.png" else b"x" * 200_000)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def machine() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Images)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_an_image_at_an_address_is_fetched_within_limits(machine: int) -> None:
    reach = {"allowed": lambda address: True, "ports": frozenset([machine]), "seconds": 5.0, "most": 100_000}
    here = f"http://localhost:{machine}"
    assert fetch(f"{here}/a.png", **reach) == served.as_bytes(served.painted(1))  # type: ignore[arg-type]
    for path, why in (("/away", "redirections"), ("/much", "more than 100,000 bytes")):
        with pytest.raises(ProblemError, match=why):
            fetch(here + path, **reach)  # type: ignore[arg-type]


def test_the_machine_that_was_checked_is_the_one_that_is_spoken_with(
    machine: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    hosts: list[str] = []

    def resolved(host: str, *_: Any, **__: Any) -> list[Any]:
        hosts.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", machine))]

    original = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *a, **b: (resolved if host == "shop.example" else original)(host, *a, **b)
    )
    addresses: list[str] = []
    fetch(
        f"http://shop.example:{machine}/a.png",
        most=100_000,
        seconds=5.0,
        allowed=lambda address: not addresses.append(address),  # type: ignore[func-returns-value]
        ports=frozenset([machine]),
    )
    assert addresses == ["127.0.0.1"] and hosts == ["shop.example"]


# -- what is told -----------------------------------------------------------------------------------------------------


def test_logs_hold_neither_keys_nor_images_nor_what_was_looked_for(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with TestClient(served.app(folder, keys=Keys((served.READ,), ()), access_log=True)) as client:
        client.post(f"{API}/search", json={"text": "make red cube"}, headers=bearer(served.READ))
        client.get(f"{API}/item?id=item-01", headers=bearer(served.READ))
        upload(client, served.as_bytes(served.painted(2)))
    log = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith(("itma", "uvicorn")))
    assert "POST /search 200" in log
    assert served.READ not in log and "red cube" not in log and "PNG" not in log and "item-01" not in log


def test_messages_do_not_tell_where_things_are(folder: Path, client: TestClient) -> None:
    (folder.parent / "photos" / "03.png").rename(folder.parent / "photos" / "moved")
    try:
        answers = [
            client.post(f"{API}/search", json={"id": "item-03", "text": "make red cube"}),
            client.get(f"{API}/item/thumbnail", params={"id": "item-03"}),
            client.post(f"{API}/search", json={"id": "zzz"}),
            client.get(f"{API}/catalogue"),
        ]
    finally:
        (folder.parent / "photos" / "moved").rename(folder.parent / "photos" / "03.png")
    assert [problem(answer)[1] for answer in answers[:3]] == ["image_lost", "image_lost", "unknown_item"]
    for answer in answers:
        assert str(folder.parent) not in answer.text


def test_the_server_starts_with_writing_only_when_there_is_a_key(folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ITMA_")}
    line = [sys.executable, "-m", "itma", "serve", str(folder), "--write", "--host", "0.0.0.0", "--port", "0"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert WRITE_KEYS in done.stderr and "Traceback" not in done.stderr


def test_html_in_metadata_stays_text(tmp_path: Path) -> None:
    with TestClient(served.app(served.build(tmp_path, 3), write=True)) as client:
        evil = '<img src=x onerror="alert(1)">'
        assert add(client, evil, served.as_bytes(served.noise(1)), colour=evil).status_code == 201
        answer = client.get(f"{API}/item", params={"id": evil})
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["fields"]["colour"] == evil
        assert json.loads(answer.text)["id"] == evil
