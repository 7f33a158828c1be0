"""`itma.Client` is to a server what `Catalogue` is to a folder: the same methods, the same answers, the same errors."""

import inspect
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the extra is not installed: pip install 'itma[serve]'")

import itma
from itma.client import Client, ServerError
from itma.errors import (
    ConfigError,
    DataError,
    ExplanationError,
    FeedbackError,
    FilterError,
    ImageError,
    ItemExistsError,
    UnknownItemError,
)
from itma.explanations.explaining import explain
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.ingest.rows import Item
from tests import made_up, served
from tests.test_project import ROOT, blocks


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served.build(tmp_path_factory.mktemp("serve"), 12)


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    with served.running(served.app(folder, write=True)) as url, Client(url, key=served.WRITE) as client:
        yield client


@pytest.fixture(scope="module")
def catalogue(folder: Path) -> Catalogue:
    return Catalogue.open(folder, made_up.model())


def test_an_explanation_takes_what_that_of_a_catalogue_takes() -> None:
    parameters = set(inspect.signature(Client.explain).parameters)
    assert set(inspect.signature(explain).parameters) - parameters == {
        "catalogue_or_model",
        "fill",
        "steps",
        "run",
        "device",
    }


@pytest.mark.parametrize("name", ["search", "get", "add", "replace", "delete", "page", "info"])
def test_a_method_takes_what_the_catalogue_s_takes(name: str) -> None:
    actual = inspect.signature(getattr(Client, name)).parameters
    expected = inspect.signature(getattr(Catalogue, name)).parameters
    missing = set(expected) - set(actual)
    assert missing <= ({"where"} if name == "delete" else {"fields"} if name == "page" else set())


def test_searches_give_the_hits_of_the_catalogue(client: Client, catalogue: Catalogue) -> None:
    image = served.painted(20)
    bodies: list[dict[str, object]] = [
        {"text": "make red cube", "k": 5},
        {"image": image, "text": "make blue cube", "fields": ["colour"]},
        {"image": served.as_bytes(image), "where": {"price": {"<": 20}}},
        {"id": "item-03", "text": "make red cube", "exclude": ["item-04"], "unlike": ["item-01"], "emphasis": -0.5},
        {"id": "item-03", "text": "make red cube", "earlier": ["make blue cube", "cube"]},
        {"embedding": np.arange(1, 17), "distinct": "colour"},
        {"text": "make red cube", "where": {"made": {">=": date(2026, 1, 5)}}},
    ]
    for body in bodies:
        hits = client.search(**body)  # type: ignore[arg-type]
        expected = catalogue.search(**body)  # type: ignore[arg-type]
        assert [(hit.rank, hit.id, hit.fields) for hit in hits] == [(hit.rank, hit.id, hit.fields) for hit in expected]
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected], abs=2e-6)


def test_an_explanation_is_that_of_the_catalogue(client: Client, catalogue: Catalogue) -> None:
    bodies: list[dict[str, object]] = [
        {"id": "item-03", "text": "make red cube"},
        {"image": served.painted(20), "methods": ["regions"]},
    ]
    for body in bodies:
        answer = client.explain(target="item-05", **body)  # type: ignore[arg-type]
        expected = itma.explain(catalogue, target="item-05", **body).to_plain()  # type: ignore[arg-type]
        assert answer["score"] == pytest.approx(expected["score"], abs=1e-5)
        assert [word["effect"] for word in answer["words"]] == pytest.approx(
            [word["effect"] for word in expected["words"]], abs=1e-4
        )
        assert answer["regions"]["values"] == pytest.approx(expected["regions"]["values"], abs=1e-4)


def test_the_python_of_the_documentation_runs(
    client: Client, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("a.jpg", "b.jpg")):
        served.noise(number).save(name)
    client.add([Item("sku-40", "a.jpg")])
    (page,) = blocks((ROOT / "docs" / "serve.md").read_text(encoding="utf-8"), "python")
    (walk,) = [
        code for code in blocks((ROOT / "docs" / "tutorials" / "developer.md").read_text(), "text") if "Client" in code
    ]
    for code in (page, walk):
        address = code.replace("http://127.0.0.1:8000", client.url).replace("…", served.WRITE)
        exec(compile(address, "a page", "exec"), {"itma": itma})
    assert client.get("sku-18").fields["price"] == 20
    client.delete(["sku-18", "sku-40"])


def test_items_come_and_go(client: Client) -> None:
    before = len(client)
    client.add(
        [Item("a/ü 1", served.noise(3), fields={"colour": "red", "made": date(2026, 3, 1)}), Item("b", served.noise(4))]
    )
    assert len(client) == before + 2
    assert client.get("a/ü 1").fields == {"colour": "red", "made": "2026-03-01"}
    assert Image.open(served.io.BytesIO(client.image("a/ü 1", 96))).size == (64, 48)
    client.replace([Item("b", embedding=np.ones(16))])
    assert client.get("b").image is None
    assert client.delete(["a/ü 1", "b", "never"]) == 2
    assert len(client) == before


def test_all_ids_are_listed(client: Client, catalogue: Catalogue) -> None:
    assert client.ids == catalogue.ids


def test_errors_are_those_of_the_catalogue(client: Client) -> None:
    with pytest.raises(UnknownItemError):
        client.get("nobody")
    with pytest.raises(UnknownItemError):
        client.search(id="nobody")
    with pytest.raises(FeedbackError, match="xyzzy"):
        client.search(text="xyzzy")
    with pytest.raises(FilterError):
        client.search(text="make red cube", where={"colr": "red"})
    with pytest.raises(ConfigError):
        client.search(text="make red cube", k=0)
    with pytest.raises(ImageError):
        client.search(b"no image")
    with pytest.raises(DataError):
        client.search()
    with pytest.raises(UnknownItemError):
        client.explain(id="item-01", target="nobody")
    with pytest.raises(ExplanationError, match="this query has none"):
        client.explain(text="make red cube", target="item-01", methods=["attention"])
    with pytest.raises(ConfigError):
        client.explain(id="item-01", target="item-02", methods=["checks"])
    with pytest.raises(ItemExistsError):
        client.add([Item("item-01", served.noise(1))])


def test_a_wrong_key_is_told(client: Client) -> None:
    with pytest.raises(ServerError, match="key") as refused:
        Client(client.url, key="wrong-0123456789abcdef").delete(["item-01"])
    assert (refused.value.status, refused.value.code) == (401, "key_needed")


def test_requests_after_the_first_use_its_connection(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    connections, connect = [], socket.create_connection
    monkeypatch.setattr(socket, "create_connection", lambda *w, **more: connections.append(w) or connect(*w, **more))
    with Client(client.url) as fresh:
        assert [fresh.info()["items"] for _ in range(3)] == [len(client)] * 3
    assert len(connections) == 1


def test_a_server_that_does_not_answer_in_time_is_told_with_the_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ServerError, match=r"did not answer within 0\.2 seconds; .* seconds=…"):
            Client(address, seconds=0.2).info()


def test_the_client_loads_no_torch_and_no_http_before_it_is_used() -> None:
    code = "import sys, itma.client; itma.client.Client('http://a'); print({'torch', 'httpx2'} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output == "set()\n"


def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(ServerError, match="cannot be reached"):
        Client("http://127.0.0.1:9").info()


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host", "file:///etc"])
def test_an_address_that_is_no_server_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="no server"):
        Client(url)
