"""Input that makes no sense, or means harm: each has an answer that docs/serve.md states, and none is a 500."""

import gc
import json
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the extra is not installed: pip install 'itma[serve]'")
from fastapi.testclient import TestClient

from itma.retrieval.catalogue import Catalogue
from tests import made_up, served
from tests.test_serve import API, problem, search, upload


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served.build(tmp_path_factory.mktemp("serve"), 9)


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    with TestClient(served.app(folder, upload_bytes=300_000, upload_pixels=1_000_000, body_seconds=1.0)) as client:
        yield client


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[tuple[str, int]]:
    """The same as a real server, for what happens below HTTP."""
    with served.running(served.app(folder, upload_bytes=300_000, body_seconds=1.0)) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        yield host, int(port)


# -- images ---------------------------------------------------------------------------------------------------------


def png(width: int, height: int) -> bytes:
    """A few bytes that claim to be an image of that size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packed = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


UPLOAD = b"POST /api/v1/search/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n"
BAD = {
    "0 bytes": b"",
    "an SVG": SVG,
    "HTML": b"<!doctype html><html><script>alert(1)</script></html>",
    "EPS, which Pillow hands to another program": EPS,
    "a text": b"hello " * 100,
    "half a JPEG": served.as_bytes(served.noise(1, (300, 200)), "JPEG")[:4000],
    "half a PNG": served.as_bytes(served.noise(1, (100, 80)))[:2000],
    "a decompression bomb": png(60_000, 60_000),
    "more pixels than are taken": png(1_001, 1_000),
    "an image without pixels": png(0, 10),
    "a PDF": b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
    "a zip": b"PK\x03\x04" + b"\0" * 100,
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_usable_image_is_refused_by_name(client: TestClient, name: str) -> None:
    assert problem(upload(client, BAD[name])) == (422, "unreadable_image")


def animation() -> bytes:
    frames = [served.painted(number, (40, 40)) for number in range(3)]
    return served.as_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:])


def deep() -> bytes:
    return served.as_bytes(Image.fromarray(np.arange(0, 60_000, 15, dtype=np.uint16).reshape(50, 80)), "PNG")


GOOD = {
    "an animation, of which the first frame counts": animation(),
    "CMYK": served.as_bytes(served.painted(1).convert("CMYK"), "JPEG"),
    "16 bits": deep(),
    "one pixel": served.as_bytes(Image.new("RGB", (1, 1))),
    "a palette": served.as_bytes(served.painted(1).convert("P")),
    "transparency": served.as_bytes(served.painted(1).convert("RGBA")),
    "WebP": served.as_bytes(served.painted(1), "WEBP"),
    "TIFF": served.as_bytes(served.painted(1), "TIFF"),
    "a strip": served.as_bytes(served.noise(1, (4000, 1))),
}


@pytest.mark.parametrize("name", GOOD)
def test_odd_images_are_searched_from(client: TestClient, name: str) -> None:
    answer = upload(client, GOOD[name], k=3)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["hits"]) == 3


def test_an_upload_that_is_too_large_is_refused(client: TestClient) -> None:
    assert problem(upload(client, b"\xff" * 1_000_000)) == (413, "too_large")


def test_an_upload_of_100_mb_is_not_read_to_its_end(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(UPLOAD + b"Content-Length: 100000000\r\n\r\n--x\r\n")
        assert connection.recv(200).startswith(b"HTTP/1.1 413")


def test_an_upload_without_a_length_is_cut_off_when_it_is_too_large(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(
            UPLOAD + b'Transfer-Encoding: chunked\r\n\r\n3D\r\n--x\r\nContent-Disposition: form-data; name="image"; '
            b'filename="a"'
        )
        sent, answer = 0, b""
        try:
            while sent < 20_000_000 and not answer:
                connection.sendall(b"\r\n10000\r\n" + b"y" * 0x10000)
                sent += 0x10000
                connection.settimeout(0.002)
                with suppress(TimeoutError):
                    answer = connection.recv(200)
                connection.settimeout(30)
            answer = answer or connection.recv(200)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert sent < 5_000_000
        assert answer.startswith(b"HTTP/1.1 4") or not answer


# the form's parser leaves the file of a part that is cut off to the garbage collector, which closes it
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "body",
    [
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc',
        b"--x",
        b"",
        b"nothing of the kind",
        b'--x\r\nContent-Disposition: form-data; name="query"\r\n\r\n{}\r\n--x--\r\n',
        b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\nno file\r\n--x--\r\n',
        b"--x\r\n\r\n\r\n--x--\r\n",
    ],
)
def test_multipart_that_is_cut_off_or_none_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.post(
        f"{API}/search/upload", content=body, headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert problem(answer)[0] in (400, 422)
    gc.collect()


IMAGE = ("image", ("a.png", served.as_bytes(served.noise(1)), "image/png"))


def test_a_form_without_its_image_is_told_what_it_has(client: TestClient) -> None:
    answer = client.post("/api/v1/search/upload", files={"file": ("a.png", served.as_bytes(served.painted(0)))})
    assert answer.status_code == 422
    assert answer.json()["error"]["message"] == "image: this is missing; the form has 'file'"


@pytest.mark.parametrize(
    ("address", "parts", "message"),
    [
        ("search/upload", [IMAGE, ("text", (None, "red"))], "unknown part 'text' of the form"),
        ("search/upload", [IMAGE, ("Query", (None, "{}"))], "unknown part 'Query' of the form"),
        ("search/upload", [IMAGE, IMAGE], "more than one part 'image'"),
        ("search/upload", [IMAGE, ("query", (None, "{}")), ("query", (None, "{}"))], "more than one part 'query'"),
        ("search/upload?text=red", [IMAGE], "unknown name 'text' in the address; there are none here"),
        ("search/upload", [("image", (None, "abc"))], "expected a file with a file name"),
        ("explain/upload?k=3", [IMAGE, ("query", (None, "{}"))], "unknown name 'k' in the address"),
    ],
)
def test_what_a_form_holds_beside_its_parts_is_never_passed_over(
    client: TestClient, address: str, parts: list[Any], message: str
) -> None:
    answer = client.post(f"{API}/{address}", files=parts)
    assert problem(answer) == (422, "invalid_request") and message in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("items?limt=3", "unknown name 'limt' in the address; there are: limit, after, where"),
        ("items?limit=3&limit=4", "'limit' stands in the address more than once"),
        ("item?id=a&fields=x", "unknown name 'fields' in the address; there are: id"),
        ("item/thumbnail?id=a&width=9", "unknown name 'width' in the address; there are: size, id"),
        ("catalogue?id=a", "there are none here"),
    ],
)
def test_what_an_address_asks_that_is_not_known_is_never_passed_over(
    client: TestClient, address: str, message: str
) -> None:
    answer = client.get(f"{API}/{address}")
    assert problem(answer) == (422, "invalid_request") and message in answer.json()["error"]["message"]


# -- what is asked ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({"content": b'{"text": "red"}'}, "expected a JSON object, sent with Content-Type: application/json"),
        ({"json": {"text": "red", "image": "x"}}, "image: there is no such name here"),
        ({"json": {"text": "red", "id": 1}}, "id: give a text of 1 to 1,000 characters"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, "this is no JSON"),
    ],
)
def test_a_request_that_is_written_otherwise_is_told_how_to_write_it(
    client: TestClient, sent: dict[str, Any], message: str
) -> None:
    answer = client.post("/api/v1/search", **sent)
    assert answer.status_code == 422 and answer.json()["error"]["message"].endswith(message)


@pytest.mark.parametrize("k", [0, -1, 501, 10**6, 10**30, 1.5, "many", None])
def test_a_number_of_hits_that_cannot_be_is_refused(client: TestClient, k: Any) -> None:
    answer = client.post(f"{API}/search", json={"text": "make red cube", "k": k})
    assert problem(answer)[0] == 422


def test_a_sentence_of_1000_characters_is_read_and_one_of_10000_refused(client: TestClient) -> None:
    assert search(client, text=("make red cube " * 100)[:1000])["hits"]
    answer = client.post(f"{API}/search", json={"text": "make red cube " * 700})
    assert problem(answer) == (422, "invalid_request")


@pytest.mark.parametrize(
    "text",
    ["make\0red\x1bcube\x07", "make red cube\u202e\u0000", "make red 😀 cube", "<b> make red </b>"],
)
def test_control_characters_and_marks_are_passed_over(client: TestClient, text: str) -> None:
    assert search(client, text=text)["hits"]


@pytest.mark.parametrize("text", ["", "   ", "\0", "?!", "😀"])
def test_a_sentence_without_words_and_no_image_is_refused(client: TestClient, text: str) -> None:
    answer = client.post(f"{API}/search", json={"text": text})
    assert problem(answer)[1] in ("bad_data", "unusable_feedback")


@pytest.mark.parametrize("id", ["zzz", "../../etc/passwd", "item-01'", "😀", "a" * 1000, "'; DROP TABLE items; --"])
def test_an_id_that_is_not_there_is_told(client: TestClient, id: str) -> None:
    assert problem(client.post(f"{API}/search", json={"id": id})) == (404, "unknown_item")
    assert problem(client.get(f"{API}/item", params={"id": id})) == (404, "unknown_item")
    assert problem(client.get(f"{API}/item/thumbnail", params={"id": id})) == (404, "unknown_item")


@pytest.mark.parametrize("id", ["", "a\0b", "\ud800", "a" * 1001])
def test_an_id_that_cannot_be_is_refused(client: TestClient, id: str) -> None:
    body = json.dumps({"id": id}).encode()
    answer = client.post(f"{API}/search", content=body, headers={"Content-Type": "application/json"})
    assert problem(answer)[0] == 422


def test_a_lone_half_of_a_character_in_an_id_or_a_sentence_is_no_fault(client: TestClient) -> None:
    for body in (
        b'{"id": "\\ud83d"}',
        b'{"text": "make red \\ud83d cube"}',
        b'{"id": "item-01", "fields": ["\\udc00"]}',
    ):
        answer = client.post(f"{API}/search", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code < 500, answer.text


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ({"colr": "red"}, "unknown_name"),
        ({"colour": {"~": "red"}}, "unknown_name"),
        ({"colour": 3}, "bad_filter"),
        ({"price": "cheap"}, "bad_filter"),
        ({"price": {"<": None}}, "bad_filter"),
        ({"price": {"in": 3}}, "bad_filter"),
        ({"made": "someday"}, "bad_filter"),
        ({"colour": {"=": {"<": 1}}}, "bad_filter"),
        ({"colour' OR 1=1 --": "red"}, "unknown_name"),
        ({"`colour` OR TRUE": "red"}, "unknown_name"),
        ({"id; DROP": "red"}, "unknown_name"),
        ("colour = 'red' OR 1=1", "invalid_request"),
        (["colour"], "invalid_request"),
        ({"colour": [["red"]]}, "bad_filter"),
        ({"price": 10**400}, "bad_filter"),
        ({"price": {"<": [1]}}, "bad_filter"),
    ],
)
def test_a_condition_that_makes_no_sense_is_refused(client: TestClient, where: Any, code: str) -> None:
    assert problem(client.post(f"{API}/search", json={"text": "make red cube", "where": where})) == (422, code)
    answer = client.get(f"{API}/items", params={"where": json.dumps(where)})
    assert problem(answer) == (422, code)


@pytest.mark.parametrize("value", ["red' OR '1'='1", "red'; DROP TABLE items; --", "\\' OR TRUE --", "red\0", "`", "%"])
def test_a_value_never_becomes_a_condition(client: TestClient, value: str) -> None:
    answer = client.post(f"{API}/search", json={"text": "make red cube", "where": {"colour": value}})
    assert answer.status_code == 200, answer.text
    assert answer.json()["hits"] == []
    assert len(search(client, text="make red cube")["hits"]) == 9


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"text": "make red cube", "surprise": 1}',
        b"[" * 20_000,
        b'{"emphasis": NaN}',
        b'{"emphasis": 1e999}',
        b'{"embedding": [1e999]}',
        b'{"embedding": []}',
        b'{"embedding": [0, 0]}',
        b'{"id": "item-01", "embedding": [1]}',
        b'{"k": 1e400, "text": "make red cube"}',
    ],
)
def test_a_body_that_makes_no_sense_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.post(f"{API}/search", content=body, headers={"Content-Type": "application/json"})
    assert problem(answer)[0] in (400, 422)


@pytest.mark.parametrize("mark", ["x", "-1", "1.2", "9" * 59, "' OR 1"])
def test_a_mark_of_a_page_that_is_none_is_refused(client: TestClient, mark: str) -> None:
    assert problem(client.get(f"{API}/items", params={"after": mark})) == (422, "bad_data")


def test_a_page_beyond_the_end_is_empty(client: TestClient) -> None:
    assert client.get(f"{API}/items", params={"after": "999999999999"}).json() == {"items": [], "next": None}


def test_an_item_whose_name_is_no_text_is_shown_and_searched_from(tmp_path: Path) -> None:
    folder = served.build(tmp_path, 3)
    odd = "caf\udce9.png"
    served.painted(1).save(tmp_path / odd)
    Catalogue.open(folder, made_up.model()).add([_item(odd, tmp_path / odd)])
    with TestClient(served.app(folder)) as client:
        listed = client.get(f"{API}/items").json()["items"]
        assert odd in [item["id"] for item in listed]
        assert client.get(f"{API}/item/thumbnail?id=caf%E9.png").status_code == 200
        body = json.dumps({"id": odd, "text": "make red cube"}).encode()
        answer = client.post(f"{API}/search", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 200


def _item(id: str, path: Path) -> Any:
    from itma.retrieval.ingest.rows import Item

    return Item(id, path)


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v2/search", "/favicon.ico", "/%00", "/%ff"])
def test_what_is_not_there_is_told_in_the_same_shape(client: TestClient, path: str) -> None:
    assert problem(client.get(path)) == (404, "not_found")


@pytest.mark.parametrize(("method", "path"), [("GET", "/search"), ("DELETE", "/items"), ("PATCH", "/item")])
def test_a_method_that_is_not_there_is_told_in_the_same_shape(client: TestClient, method: str, path: str) -> None:
    assert problem(client.request(method, API + path)) == (405, "method_not_allowed")


# -- below HTTP -------------------------------------------------------------------------------------------------------


def test_a_client_that_sends_too_slowly_is_told_so(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(
            b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000\r\n\r\n{"
        )
        assert connection.recv(200).startswith(b"HTTP/1.1 408")


def test_clients_that_hang_up_leave_the_server_as_it_was(address: tuple[str, int], client: TestClient) -> None:
    body = b'{"text": "make red cube", "k": 9}'
    for cut in (20, 120, None):
        with socket.create_connection(address, timeout=30) as connection:
            request = (
                b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
            )
            connection.sendall(request[:cut])
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    time.sleep(0.1)
    import urllib.request

    with urllib.request.urlopen(f"http://{address[0]}:{address[1]}/readyz", timeout=30) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("data", [b"\0\1\2\3\r\n\r\n", b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n"])
def test_what_is_not_http_is_refused(address: tuple[str, int], data: bytes) -> None:
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(data)
        assert connection.recv(200).startswith(b"HTTP/1.1 4")
