"""Values of a wrong type, given to Python's functions, end in the package's own short errors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import itma
from itma.explanations.explaining import open_either


@pytest.mark.parametrize(
    "call",
    [
        lambda folder: itma.train(triplets="x", out=folder / "run"),
        lambda folder: itma.train(triplets=(1, 2), out=folder / "run"),
        lambda folder: itma.train("shapes", preset="tiny", start=3, out=folder / "run"),
        lambda folder: itma.train("shapes", preset="tiny", out=3),
        lambda folder: itma.train("shapes", preset="tiny", changes=[1], out=folder / "run"),
        lambda folder: itma.evaluate(3),
        lambda folder: itma.evaluate("shapes", 3),
        lambda folder: itma.index("shapes", 3, folder / "catalogue"),
        lambda folder: itma.index("shapes", folder, 3),
        lambda folder: itma.generate("shapes", 3),
        lambda folder: itma.generate(3, folder / "world"),
        lambda folder: open_either(3),
        lambda folder: itma.explain(3, "item"),
        lambda folder: itma.load(3),
        lambda folder: itma.Client(3),
        lambda folder: itma.Catalogue(3),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_and_leaves_nothing(call: Callable[[Path], Any], tmp_path: Path) -> None:
    with pytest.raises(itma.ItmaError) as refused:
        call(tmp_path)
    message = str(refused.value)
    assert len(message) < 600 and any(value in message for value in ("3", "triplets=", "[1]"))
    assert list(tmp_path.iterdir()) == []


def test_a_protocol_that_is_no_text_is_an_unknown_one() -> None:
    with pytest.raises(itma.UnknownNameError, match="unknown protocol 3"):
        itma.evaluate("shapes", "shapes", protocol=3, changes={"size": "tiny"})  # type: ignore[arg-type]
