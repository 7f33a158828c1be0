"""The API meets what its own document allows, and what it does not: there is an answer to all, and never a 500."""

import os
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

pytest.importorskip("fastapi", reason="the extra is not installed: pip install 'itma[serve]'")
pytest.importorskip("schemathesis", reason="not installed: pip install schemathesis")

import schemathesis

from itma.server.config import Keys
from tests import served

CASES = int(os.environ.get("ITMA_FUZZ_CASES", "0"))
"""Requests of each kind, for each operation; 0: 5, or 25 with --slow."""


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = served.build(tmp_path_factory.mktemp("serve"), 6)
    with served.running(served.app(folder, keys=Keys((), (served.WRITE,)), write=True)) as url:
        yield schemathesis.openapi.from_url(f"{url}/api/v1/openapi.json")


OPERATIONS = [
    ("POST", "/api/v1/search"),
    ("POST", "/api/v1/search/upload"),
    ("POST", "/api/v1/explain"),
    ("POST", "/api/v1/explain/upload"),
    ("GET", "/api/v1/items"),
    ("POST", "/api/v1/items"),
    ("GET", "/api/v1/item"),
    ("PUT", "/api/v1/item"),
    ("DELETE", "/api/v1/item"),
    ("GET", "/api/v1/item/thumbnail"),
    ("GET", "/api/v1/item/image"),
    ("POST", "/api/v1/items/bulk"),
    ("POST", "/api/v1/items/delete"),
    ("GET", "/api/v1/catalogue"),
    ("POST", "/api/v1/session"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
]


def test_every_operation_of_the_document_is_tried(document: Any) -> None:
    operations = {(one.ok().method.upper(), one.ok().path) for one in document.get_all_operations()}
    assert operations == set(OPERATIONS)


BARE = ("/api/v1/catalogue", "/healthz", "/readyz", "/metrics")
"""Nothing is asked of them that could be wrong."""


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        (*one, mode)
        for one in OPERATIONS
        for mode in ("positive", "negative")
        if one[1] not in BARE or mode == "positive"
    ],
)
def test_whatever_is_sent_there_is_an_answer(
    document: Any, method: str, path: str, mode: str, request: pytest.FixtureRequest
) -> None:
    count = CASES or (25 if request.config.getoption("--slow") else 5)
    cases = document[path][method].as_strategy(generation_mode=schemathesis.GenerationMode(mode))

    @hypothesis.settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=cases)
    def sent(case: Any) -> None:
        answer = case.call(headers={"Authorization": f"Bearer {served.WRITE}"})
        assert answer.status_code < 500, f"{case.as_curl_command()}\n{answer.text}"
        if answer.status_code >= 400:
            error = answer.json()["error"]
            assert error["code"] and error["message"]

    sent()
