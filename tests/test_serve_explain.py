"""Why, over HTTP: the explanation of the catalogue, with the limits of a search, and never in the way of searches."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("fastapi", reason="the extra is not installed: pip install 'itma[serve]'")
from fastapi.testclient import TestClient

import itma
from itma.data.tokenizer import Tokens
from itma.explanations.explanation import Explanation
from itma.models.embedder import Embedder
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.ingest.rows import Item
from itma.server import explaining
from itma.server.app import make_app
from itma.server.config import Keys, ServeConfig
from tests import made_up, served
from tests.test_serve import API, problem, search
from tests.test_serve_security import bearer

QUERY = {"id": "item-03", "text": "make red cube"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served.build(tmp_path_factory.mktemp("explain"), 9)


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    with TestClient(served.app(folder, upload_bytes=300_000)) as client:
        yield client


@pytest.fixture(scope="module")
def catalogue(folder: Path) -> Catalogue:
    return Catalogue.open(folder, made_up.model())


def explain(client: TestClient, **request: Any) -> Any:
    answer = client.post(f"{API}/explain", json={"target": "item-05", **request})
    assert answer.status_code == 200, answer.text
    return answer.json()


def upload(client: TestClient, data: bytes, **request: Any) -> Any:
    query = json.dumps({"target": "item-05", **request})
    return client.post(f"{API}/explain/upload", files={"image": ("a", data)}, data={"query": query})


def compared(answer: Any, expected: Explanation, *, images: bool = False) -> None:
    """What was answered is the explanation, to rounding, whatever either took."""
    plain = expected.to_plain(images=images)
    assert set(answer) == {*plain, "stamp"}
    for name in set(plain) - {"seconds", "reference"}:
        _alike(answer[name], plain[name], name)


def _alike(value: Any, expected: Any, name: str) -> None:
    if isinstance(expected, dict):
        assert set(value) == set(expected), name
        for key in expected:
            _alike(value[key], expected[key], f"{name}.{key}")
    elif isinstance(expected, list):
        assert len(value) == len(expected), name
        for row, (one, other) in enumerate(zip(value, expected, strict=True)):
            _alike(one, other, f"{name}.{row}")
    elif isinstance(expected, float):
        assert value == pytest.approx(expected, rel=1e-3, abs=1e-5), name
    else:
        assert value == expected, name


# -- what is answered -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [QUERY, {"text": "make red cube"}, {"id": "item-03"}], ids=["both", "text", "item"])
@pytest.mark.parametrize("methods", [[], ["words"], ["regions", "target", "gradients"]])
def test_an_explanation_is_that_of_the_catalogue(
    client: TestClient, catalogue: Catalogue, body: dict[str, Any], methods: list[str]
) -> None:
    has = {"words": "text" in body, "regions": "id" in body, "attention": "id" in body}
    methods = [method for method in methods if has.get(method, True)]
    answer = explain(client, **body, methods=methods)
    usual = [method for method in ("attention", "words", "regions", "target") if has.get(method, True)]
    compared(answer, itma.explain(catalogue, target="item-05", methods=methods or usual, **body))


def test_an_image_that_is_sent_is_explained(client: TestClient, catalogue: Catalogue) -> None:
    image = served.painted(40)
    answer = upload(client, served.as_bytes(image), text="make red cube", images=True)
    assert answer.status_code == 200, answer.text
    assert answer.json()["target_image"].startswith("data:image/png;base64,")
    compared(answer.json(), itma.explain(catalogue, image, "make red cube", target="item-05"), images=True)


def test_words_that_the_model_never_saw_are_told(client: TestClient) -> None:
    words = explain(client, id="item-03", text="make velvet cube", methods=["words"])["words"]
    assert [word["read"] for word in words] == [True, False, True]


def test_gradients_of_large_images_are_summed_over_squares(catalogue: Catalogue) -> None:
    explanation = itma.explain(catalogue, target="item-05", methods=["gradients"], **QUERY)
    assert explanation.gradients is not None
    pixels = np.random.Generator(np.random.PCG64(0)).standard_normal((224, 150)).astype(np.float32)
    answer = explaining.plain(
        replace(explanation, gradients=replace(explanation.gradients, pixels=pixels)), images=False
    )
    squares = np.array(answer["gradients"]["values"]).reshape(
        answer["gradients"]["rows"], answer["gradients"]["columns"]
    )
    assert squares.shape == (32, 22)
    assert squares[0, 0] == pytest.approx(pixels[:7, :7].sum(), abs=1e-3)
    assert squares.sum() == pytest.approx(pixels.sum(), abs=0.01)


def test_an_explanation_that_is_repeated_is_answered_from_memory_until_somebody_writes(tmp_path: Path) -> None:
    folder = served.build(tmp_path, 4)
    request = {"id": "item-01", "text": "make red cube", "target": "item-02", "methods": ["words"]}
    with TestClient(served.app(folder)) as client:
        first = client.post(f"{API}/explain", json=request)
        assert client.post(f"{API}/explain", json=request).content == first.content
        Catalogue.open(folder, made_up.model()).delete(["item-03"])
        client.app.state.service.catalogue.refresh()  # type: ignore[attr-defined]
        assert client.post(f"{API}/explain", json=request).json()["items"] == 3
        assert "itma_cache_hits_total 1.0" in client.get("/metrics").text


def test_methods_are_counted_by_what_they_took(client: TestClient) -> None:
    explain(client, id="item-02", target="item-07", methods=["regions"])
    metrics = client.get("/metrics").text
    assert 'itma_explain_seconds_count{method="regions"}' in metrics
    assert 'route="/explain"' in metrics


def test_a_target_whose_image_is_lost_is_explained_without_its_regions(tmp_path: Path) -> None:
    folder = served.build(tmp_path, 3)
    (tmp_path / "photos" / "02.png").unlink()
    with TestClient(served.app(folder)) as client:
        explanation = explain(client, id="item-01", text="make red cube", target="item-02", images=True)
        assert explanation["target_regions"] is None and explanation["target_image"] is None
        assert explanation["regions"] is not None
        answer = client.post(f"{API}/explain", json={"id": "item-02", "target": "item-01"})
        assert problem(answer) == (409, "image_lost")
        assert str(tmp_path) not in answer.text


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"target": None}, (422, "invalid_request")),
        ({"target": "nobody"}, (404, "unknown_item")),
        ({"target": "a\0b"}, (422, "bad_data")),
        ({"id": "nobody"}, (404, "unknown_item")),
        ({"id": None, "text": None}, (422, "bad_data")),
        ({"id": None, "text": "  "}, (422, "bad_data")),
        ({"id": None, "text": "xyzzy"}, (422, "unusable_feedback")),
        ({"text": "make " * 61}, (422, "out_of_range")),
        ({"text": "m" * 1001}, (422, "invalid_request")),
        ({"methods": ["checks"]}, (422, "invalid_request")),
        ({"methods": ["all"]}, (422, "invalid_request")),
        ({"methods": ["words"] * 6}, (422, "invalid_request")),
        ({"methods": "words"}, (422, "invalid_request")),
        ({"id": None, "methods": ["attention"]}, (409, "unexplainable")),
        ({"text": None, "methods": ["words"]}, (409, "unexplainable")),
        ({"url": "http://127.0.0.1/a.png"}, (403, "urls_off")),
        ({"steps": 10_000}, (422, "invalid_request")),
        ({"run": "/etc"}, (422, "invalid_request")),
    ],
)
def test_what_makes_no_sense_is_refused(client: TestClient, body: dict[str, Any], expected: tuple[int, str]) -> None:
    answer = client.post(f"{API}/explain", json={**QUERY, "target": "item-05", **body})
    assert problem(answer) == expected


def test_a_target_never_becomes_a_path(client: TestClient, folder: Path) -> None:
    file = folder.parent / "photos" / "01.png"
    assert file.is_file()
    answer = client.post(f"{API}/explain", json={**QUERY, "target": str(file)})
    assert problem(answer) == (404, "unknown_item")


def test_an_address_beside_an_item_is_one_reference_too_many(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from itma.server import searching

    monkeypatch.setattr(searching, "fetch", lambda url, **limits: served.as_bytes(served.painted(1)))
    with TestClient(served.app(folder, urls=True)) as client:
        request = {"target": "item-05", "url": "http://shop.example/a.png", "methods": ["regions"]}
        assert client.post(f"{API}/explain", json=request).status_code == 200
        assert problem(client.post(f"{API}/explain", json={**request, "id": "item-01"})) == (422, "bad_data")


@pytest.mark.parametrize(
    ("data", "query", "expected"),
    [
        (b"no image", '{"target": "item-05"}', (422, "unreadable_image")),
        (b"\xff" * 1_000_000, '{"target": "item-05"}', (413, "too_large")),
        (served.as_bytes(served.painted(1)), "{", (422, "invalid_request")),
        (served.as_bytes(served.painted(1)), "[" * 100_000, (422, "invalid_request")),
        (served.as_bytes(served.painted(1)), "{}", (422, "invalid_request")),
        (served.as_bytes(served.painted(1)), '{"target": "item-05", "id": "item-01"}', (422, "invalid_request")),
    ],
    ids=["no image", "too large", "no JSON", "deep JSON", "no target", "two references"],
)
def test_an_upload_that_makes_no_sense_is_refused(
    client: TestClient, data: bytes, query: str, expected: tuple[int, str]
) -> None:
    answer = client.post(f"{API}/explain/upload", files={"image": ("a", data)}, data={"query": query})
    assert problem(answer) == expected


def test_why_needs_the_key_that_searching_needs(folder: Path) -> None:
    with TestClient(served.app(folder, keys=Keys((served.READ,), ()))) as client:
        request = {**QUERY, "target": "item-05", "methods": ["words"]}
        assert problem(client.post(f"{API}/explain", json=request)) == (401, "key_needed")
        assert problem(upload(client, served.as_bytes(served.painted(1)))) == (401, "key_needed")
        assert client.post(f"{API}/explain", json=request, headers=bearer(served.READ)).status_code == 200


class Graphs(Embedder):
    """Answers as a model does, and holds nothing that could be explained; stands for ONNX graphs."""

    def __init__(self) -> None:
        self._model = made_up.model()
        self.tokenizer, self.preprocess = self._model.tokenizer, self._model.preprocess

    name, runtime, reads_words = "itma", "onnx", True

    def fingerprint(self) -> str:
        return self._model.fingerprint()

    def feature_maps(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        return self._model.feature_maps(pixels)

    def embed_images_from(self, maps: Any) -> torch.Tensor:
        return self._model.embed_images_from(maps)

    def _queries(self, maps: Any, tokens: Tokens | None) -> torch.Tensor:
        return self._model._queries(maps, tokens)


def test_whether_it_can_explain_is_told_and_graphs_cannot(client: TestClient, folder: Path) -> None:
    assert client.get(f"{API}/catalogue").json()["can"]["explain"] is True
    with TestClient(make_app(ServeConfig(str(folder), hosts=("*",)), Keys(), Graphs())) as graphs:
        assert graphs.get(f"{API}/catalogue").json()["can"]["explain"] is False
        answer = graphs.post(f"{API}/explain", json={**QUERY, "target": "item-05"})
        assert problem(answer) == (409, "unexplainable")
        assert "--runtime torch" in answer.text
        assert search(graphs, **QUERY)["hits"]


def test_a_catalogue_without_a_model_explains_nothing(tmp_path: Path) -> None:
    Catalogue.from_embeddings([Item(f"i{n}", embedding=np.eye(4)[n]) for n in range(4)], tmp_path / "catalogue")
    with TestClient(make_app(ServeConfig(str(tmp_path / "catalogue"), hosts=("*",)), Keys())) as client:
        assert client.get(f"{API}/catalogue").json()["can"]["explain"] is False
        assert problem(client.post(f"{API}/explain", json={"id": "i1", "target": "i2"})) == (409, "unanswerable")


def test_an_owner_can_turn_it_off(folder: Path) -> None:
    with TestClient(served.app(folder, explain=False)) as client:
        assert client.get(f"{API}/catalogue").json()["can"]["explain"] is False
        answer = client.post(f"{API}/explain", json={**QUERY, "target": "item-05"})
        assert problem(answer) == (403, "explaining_off")


# -- many at once -----------------------------------------------------------------------------------------------------


class Blocked:
    """Explanations that wait until they are let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.begun = threading.Event(), threading.Event()
        self.targets: list[str] = []
        self._real = explaining.case_of
        monkeypatch.setattr(explaining, "case_of", self._case_of)

    def _case_of(self, *args: Any, **named: Any) -> Any:
        self.targets.append(named["target"])
        self.begun.set()
        assert self.go.wait(30)
        return self._real(*args, **named)


@contextmanager
def asking(client: TestClient, target: str) -> Iterator[list[int]]:
    """A question that is asked meanwhile; the status of its answer, once it is there."""
    status: list[int] = []
    request = {**QUERY, "target": target, "methods": ["words"]}
    thread = threading.Thread(target=lambda: status.append(client.post(f"{API}/explain", json=request).status_code))
    thread.start()
    yield status
    thread.join(30)


def test_searches_go_on_while_an_explanation_is_made_and_too_many_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = Blocked(monkeypatch)
    with TestClient(served.app(folder, waiting=1)) as client:
        with asking(client, "item-04") as status:
            assert blocked.begun.wait(30)
            assert search(client, **QUERY)["hits"]
            answer = client.post(f"{API}/explain", json={**QUERY, "target": "item-05"})
            assert problem(answer) == (503, "overloaded")
            assert answer.headers["retry-after"] == "1"
            blocked.go.set()
        assert status == [200]


def test_an_explanation_that_takes_too_long_is_given_up_and_kept_for_who_asks_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = Blocked(monkeypatch)
    request = {**QUERY, "target": "item-05", "methods": ["words"]}
    with TestClient(served.app(folder, seconds=0.5)) as client:
        assert problem(client.post(f"{API}/explain", json=request)) == (503, "timeout")
        blocked.go.set()
        until = time.monotonic() + 30
        while client.post(f"{API}/explain", json=request).status_code != 200 and time.monotonic() < until:
            time.sleep(0.05)
        assert blocked.targets == ["item-05"]


def test_an_explanation_that_nobody_waits_for_any_more_is_not_begun(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = Blocked(monkeypatch)
    application = served.app(folder)
    with served.running(application) as url:
        client = itma.Client(url)
        thread = threading.Thread(target=lambda: client.explain(id="item-01", target="item-04", methods=["regions"]))
        thread.start()
        assert blocked.begun.wait(30)
        connection = http.client.HTTPConnection(url.removeprefix("http://"))
        body = json.dumps({"id": "item-01", "target": "item-05"})
        connection.request("POST", f"{API}/explain", body, {"Content-Type": "application/json"})
        reckoning = application.state.service.reckoning
        until = time.monotonic() + 30
        while reckoning.under_way < 2 and time.monotonic() < until:
            time.sleep(0.01)
        connection.close()
        metrics = application.state.service.metrics
        while 'status="499"' not in metrics.text().decode() and time.monotonic() < until:
            time.sleep(0.01)
        blocked.go.set()
        thread.join(30)
        client.explain(id="item-01", target="item-06", methods=["regions"])
        assert blocked.targets == ["item-04", "item-06"]
