"""The HTTP API: it answers as the catalogue does, to whoever may ask, and says what is wrong in one shape."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra is not installed: pip install 'itma[serve]'")
from fastapi.testclient import TestClient

from itma.retrieval.catalogue import Catalogue
from itma.retrieval.ingest.rows import Item
from itma.server.about import page_files
from itma.server.config import Keys
from tests import made_up, served

API = "/api/v1"
WRITES = {"Authorization": f"Bearer {served.WRITE}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served.build(tmp_path_factory.mktemp("serve"))


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    with TestClient(served.app(folder)) as client:
        yield client


@pytest.fixture(scope="module")
def catalogue(folder: Path) -> Catalogue:
    return Catalogue.open(folder, made_up.model())


@pytest.fixture
def writable(tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(served.app(served.build(tmp_path, 6), write=True)) as client:
        yield client


def search(client: TestClient, **request: Any) -> Any:
    answer = client.post(f"{API}/search", json=request)
    assert answer.status_code == 200, answer.text
    return answer.json()


def upload(client: TestClient, data: bytes, **request: Any) -> Any:
    return client.post(f"{API}/search/upload", files={"image": ("a", data)}, data={"query": json.dumps(request)})


def problem(answer: Any) -> tuple[int, str]:
    body = answer.json()
    assert set(body) == {"error"} and set(body["error"]) == {"code", "message"}
    assert body["error"]["message"]
    return answer.status_code, body["error"]["code"]


# -- searching --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"text": "make red cube"},
        {"id": "item-03"},
        {"id": "item-03", "text": "make blue cube", "k": 3},
        {"text": "make red cube", "where": {"colour": "blue", "price": {"<": 40}}},
        {"text": "make red cube", "exclude": ["item-01", "item-02"]},
        {"id": "item-04", "distinct": "colour"},
        {"id": "item-04", "text": "make red cube", "unlike": ["item-05"], "emphasis": 0.5},
        {"id": "item-04", "text": "make red cube", "earlier": ["make blue cube"]},
    ],
)
def test_a_search_answers_as_the_catalogue_does(client: TestClient, catalogue: Catalogue, body: dict[str, Any]) -> None:
    hits = search(client, **body)["hits"]
    expected = catalogue.search(**{"k": 10, **body})
    assert [hit["id"] for hit in hits] == [hit.id for hit in expected]
    assert [hit["score"] for hit in hits] == pytest.approx([hit.score for hit in expected], abs=2e-6)


def test_an_image_that_is_sent_is_searched_from(client: TestClient, catalogue: Catalogue) -> None:
    image = served.painted(40)
    answer = upload(client, served.as_bytes(image), text="make red cube", k=5)
    expected = catalogue.search(image, "make red cube", k=5)
    assert [hit["id"] for hit in answer.json()["hits"]] == [hit.id for hit in expected]


def test_hits_tell_the_metadata_that_was_asked_for(client: TestClient) -> None:
    (hit,) = search(client, id="item-00", k=1, fields=["made"])["hits"]
    assert list(hit["fields"]) == ["made"]
    assert hit["fields"]["made"].startswith("2026-01-")


def test_words_that_the_model_never_saw_are_told(client: TestClient) -> None:
    assert search(client, text="make velvet cube")["ignored"] == ["velvet"]


def test_words_that_were_read_as_others_are_told_with_those(client: TestClient) -> None:
    answer = search(client, text="make Crimson cube", k=5)
    assert (answer["read_as"], answer["ignored"]) == ({"crimson": "red"}, [])
    assert answer["hits"] == search(client, text="make red cube", k=5)["hits"]


def test_a_search_that_is_repeated_is_answered_from_memory(client: TestClient) -> None:
    first = search(client, text="make blue cube", k=7)
    before = client.get("/metrics").text
    assert search(client, text="make blue cube", k=7) == first
    after = client.get("/metrics").text
    assert _metric(after, "itma_cache_hits_total") == _metric(before, "itma_cache_hits_total") + 1


def _metric(text: str, name: str) -> float:
    return float(next(line for line in text.splitlines() if line.startswith(name)).rpartition(" ")[2])


# -- looking ----------------------------------------------------------------------------------------------------------


def test_pages_hold_every_item_once(client: TestClient, catalogue: Catalogue) -> None:
    ids, after = [], None
    while True:
        page = client.get(f"{API}/items", params={"limit": 7, **({"after": after} if after else {})}).json()
        ids += [item["id"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert sorted(ids) == catalogue.ids


def test_pages_are_narrowed_by_a_condition(client: TestClient) -> None:
    items = client.get(f"{API}/items", params={"where": '{"colour": ["red", "blue"], "sold": false}'}).json()["items"]
    assert items
    assert all(item["fields"]["colour"] in ("red", "blue") and not item["fields"]["sold"] for item in items)


def test_an_item_is_told_with_its_metadata(client: TestClient) -> None:
    assert client.get(f"{API}/item", params={"id": "item-04"}).json() == {
        "id": "item-04",
        "image": True,
        "fields": {"colour": "blue", "price": 10.0, "sold": True, "made": "2026-01-05"},
    }


def test_a_thumbnail_is_a_small_jpeg_that_is_sent_once(client: TestClient) -> None:
    parameters = {"id": "item-04", "size": "96"}
    answer = client.get(f"{API}/item/thumbnail", params=parameters)
    assert answer.headers["content-type"] == "image/jpeg"
    image = served.Image.open(served.io.BytesIO(answer.content))
    assert max(image.size) == 96
    again = client.get(f"{API}/item/thumbnail", params=parameters, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_catalogue_tells_its_columns_choices_and_ranges(client: TestClient) -> None:
    description = client.get(f"{API}/catalogue").json()
    facets = {facet["column"]: facet for facet in description["facets"]}
    assert description["items"] == 30
    assert facets["colour"]["choices"] == [["blue", 10], ["green", 10], ["red", 10]]
    assert (facets["price"]["low"], facets["price"]["high"]) == (0.0, 72.5)
    assert (facets["made"]["low"], facets["made"]["high"]) == ("2026-01-01", "2026-01-28")
    assert facets["sold"]["choices"] == [[False, 22], [True, 8]]


def test_suggestions_are_sentences_of_the_training(folder: Path) -> None:
    from itma.server.browsing import suggestions

    opened = Catalogue.open(folder)
    assert suggestions(opened.snapshot, opened.run) == ["make red cube", "make blue cube"]


def test_a_catalogue_without_a_model_is_searched_from_its_items(tmp_path: Path) -> None:
    items = [Item(f"i{n}", embedding=served.np.eye(4)[n]) for n in range(4)]
    Catalogue.from_embeddings(items, tmp_path / "catalogue")
    from itma.server.app import make_app
    from itma.server.config import ServeConfig

    with TestClient(make_app(ServeConfig(str(tmp_path / "catalogue"), hosts=("*",)), Keys())) as client:
        assert len(search(client, id="i1")["hits"]) == 3
        assert client.get(f"{API}/catalogue").json()["can"]["text"] is False
        assert problem(client.post(f"{API}/search", json={"text": "red"})) == (409, "unanswerable")
        assert problem(upload(client, served.as_bytes(served.painted(1)))) == (409, "unanswerable")
        assert problem(client.get(f"{API}/item/thumbnail", params={"id": "i1"})) == (404, "no_image")


def test_health_and_readiness_are_told(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_a_catalogue_that_is_gone_is_not_ready(tmp_path: Path) -> None:
    folder = served.build(tmp_path, 3)
    with TestClient(served.app(folder)) as client:
        (folder / "catalogue.json").unlink()
        assert problem(client.get("/readyz")) == (503, "not_ready")
        assert client.post(f"{API}/search", json={"text": "make red cube"}).status_code == 200  # as read


# -- changing ---------------------------------------------------------------------------------------------------------


def add(client: TestClient, id: str, image: bytes | None, **fields: Any) -> Any:
    files = {} if image is None else {"image": ("../../etc/passwd", image)}
    return client.post(
        f"{API}/items", data={"id": id, "fields": json.dumps(fields)}, files=files or None, headers=WRITES
    )


def test_an_item_that_is_added_is_found_at_once_with_its_image(writable: TestClient) -> None:
    data = served.as_bytes(served.noise(5), "JPEG")
    answer = add(writable, "new/one", data, colour="red", price=3, made="2026-02-03")
    assert (answer.status_code, answer.json()) == (201, {"ids": ["new/one"]})
    hits = upload(writable, data, k=1, keep_same=True, fields=["*"]).json()["hits"]
    assert hits[0]["id"] == "new/one"
    assert hits[0]["fields"] == {"colour": "red", "price": 3.0, "made": "2026-02-03"}
    assert writable.get(f"{API}/item/thumbnail", params={"id": "new/one"}).status_code == 200


def test_a_name_in_a_request_never_becomes_a_path(writable: TestClient, tmp_path: Path) -> None:
    before = {path for path in tmp_path.rglob("*") if "catalogue" not in path.parts}
    assert add(writable, "../../../evil", served.as_bytes(served.noise(5))).status_code == 201
    uploads = list((tmp_path / "catalogue" / "uploads").iterdir())
    assert [path.suffix for path in uploads] == [".png"]
    assert "evil" not in uploads[0].name and "passwd" not in uploads[0].name
    assert {path for path in tmp_path.rglob("*") if "catalogue" not in path.parts} == before


def test_an_id_that_is_there_is_not_added_twice_and_leaves_no_file(writable: TestClient, tmp_path: Path) -> None:
    assert problem(add(writable, "item-01", served.as_bytes(served.noise(5)))) == (409, "item_exists")
    assert list((tmp_path / "catalogue" / "uploads").iterdir()) == []


def test_replacing_takes_the_place_and_removes_the_image_of_before(writable: TestClient, tmp_path: Path) -> None:
    uploads = tmp_path / "catalogue" / "uploads"
    add(writable, "mine", served.as_bytes(served.noise(5)))
    (before,) = uploads.iterdir()
    files = {"image": ("x", served.as_bytes(served.noise(6)))}
    answer = writable.put(f"{API}/item", params={"id": "mine"}, files=files, headers=WRITES)
    assert answer.status_code == 200
    (after,) = uploads.iterdir()
    assert after != before
    assert len(writable.get(f"{API}/items", params={"limit": 100}).json()["items"]) == 7


def test_replacing_metadata_alone_keeps_the_image(writable: TestClient) -> None:
    answer = writable.put(
        f"{API}/item", params={"id": "item-02"}, data={"fields": '{"colour": "black"}'}, headers=WRITES
    )
    assert answer.status_code == 200, answer.text
    item = writable.get(f"{API}/item", params={"id": "item-02"}).json()
    assert item == {"id": "item-02", "image": True, "fields": {"colour": "black"}}


def test_deleting_removes_item_and_image(writable: TestClient, tmp_path: Path) -> None:
    add(writable, "mine", served.as_bytes(served.noise(5)))
    assert writable.delete(f"{API}/item", params={"id": "mine"}, headers=WRITES).json() == {"removed": 1}
    assert list((tmp_path / "catalogue" / "uploads").iterdir()) == []
    assert problem(writable.get(f"{API}/item", params={"id": "mine"})) == (404, "unknown_item")
    assert problem(writable.delete(f"{API}/item", params={"id": "mine"}, headers=WRITES)) == (404, "unknown_item")


def test_deleting_an_item_of_the_shop_s_own_leaves_its_image(writable: TestClient, tmp_path: Path) -> None:
    assert writable.delete(f"{API}/item", params={"id": "item-01"}, headers=WRITES).json() == {"removed": 1}
    assert (tmp_path / "photos" / "01.png").is_file()


def test_many_are_added_all_or_none(writable: TestClient) -> None:
    items = [{"id": f"b{n}", "image": f"p{n}", "fields": {"price": n}} for n in range(3)]
    files = [("images", (f"p{n}", served.as_bytes(served.noise(n)))) for n in range(3)]
    answer = writable.post(f"{API}/items/bulk", data={"items": json.dumps(items)}, files=files, headers=WRITES)
    assert (answer.status_code, answer.json()) == (201, {"ids": ["b0", "b1", "b2"]})
    files[1] = ("images", ("p1", b"no image"))
    more = [{**item, "id": f"c{n}"} for n, item in enumerate(items)]
    answer = writable.post(f"{API}/items/bulk", data={"items": json.dumps(more)}, files=files, headers=WRITES)
    assert problem(answer) == (422, "unreadable_image")
    assert problem(writable.get(f"{API}/item", params={"id": "c0"})) == (404, "unknown_item")
    deleted = writable.post(f"{API}/items/delete", json={"ids": ["b0", "b1", "zzz"]}, headers=WRITES)
    assert deleted.json() == {"removed": 2}


def test_what_another_process_writes_is_seen_within_a_second(tmp_path: Path) -> None:
    folder = served.build(tmp_path, 4)
    with TestClient(served.app(folder)) as client:
        search(client, text="make red cube", k=50)
        Catalogue.open(folder, made_up.model()).add([Item("late", served.noise(9))])
        time.sleep(1.0)
        assert "late" in [hit["id"] for hit in search(client, text="make red cube", k=50)["hits"]]
        assert client.get(f"{API}/item", params={"id": "late"}).status_code == 200


def test_a_write_waits_for_another_one_and_gives_up_after_a_while(tmp_path: Path) -> None:
    folder = served.build(tmp_path, 4)
    with TestClient(served.app(folder, write=True, lock_seconds=0.2)) as client:
        with Catalogue.open(folder, without_model=True)._store.writing("a test"):
            answer = add(client, "a", served.as_bytes(served.noise(5)))
        assert problem(answer) == (503, "busy")
        assert answer.headers["retry-after"] == "2"
        assert add(client, "a", served.as_bytes(served.noise(5))).status_code == 201


def test_no_module_of_the_page_hides_a_variable_that_it_writes() -> None:
    """A name of a module that a function declares anew and then writes is an error that only a browser would show."""
    for name, (data, _, _) in page_files().items():
        if not name.endswith(".js"):
            continue
        for function in re.split(r"^(?=\S)", data.decode(), flags=re.MULTILINE):
            fixed = re.findall(r"^ +const (\w+) =", function, flags=re.MULTILINE)
            written = [one for one in fixed if re.search(rf"^ +{one} = ", function, flags=re.MULTILINE)]
            assert written == [], f"{name}: {written} in {function.splitlines()[0]}"
