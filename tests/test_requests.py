"""Every option is one field, and is found in the command line, in Python and over HTTP."""

import inspect
from collections.abc import Iterator
from dataclasses import Field, fields, is_dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import click
import pytest

from itma import api
from itma.cli import cli
from itma.client import Client
from itma.config import change
from itma.errors import CatalogueError, ConfigError, DataError, UnknownNameError
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.request import IndexOptions, SearchRequest, options_of
from itma.server.config import ServeConfig
from itma.server.shapes import Search
from itma.training.config import TrainConfig
from tests import made_up

SEARCH, INDEX = options_of(SearchRequest), options_of(IndexOptions)
NOT_OVER_HTTP = {"image": "it is a part of the form of /search/upload, whose other part is this shape"}
"""Fields of a search that the body of a request must not have, with the reason. None of `IndexOptions` is there, as a
server indexes no folders, and none of `TrainConfig`, as it trains nothing."""


def command(name: str) -> dict[str, Any]:
    return {parameter.name: parameter for parameter in cli.commands[name].params}


def default_of(option: click.Parameter) -> Any:
    return option.get_default(click.Context(cli))


@pytest.mark.parametrize("name", SEARCH)
def test_a_field_of_a_search_is_the_same_everywhere(name: str) -> None:
    default = SEARCH[name].default
    option = command("search")[name]
    assert SEARCH[name].metadata["sentence"] in option.help
    assert option.multiple == (default == ()) and (option.multiple or default_of(option) == default)
    for function in (Catalogue.search, api.search):
        assert inspect.signature(function).parameters[name].default == default
    assert inspect.signature(Client.search).parameters[name].default == default
    if name in NOT_OVER_HTTP:
        assert name not in Search.model_fields
    else:
        there = Search.model_fields[name]
        assert there.description == SEARCH[name].metadata["sentence"]
        assert there.default == ([] if default == () else default)


def test_a_search_over_http_has_no_field_of_its_own_but_the_address() -> None:
    assert set(Search.model_fields) - set(SEARCH) == {"url"}


@pytest.mark.parametrize("name", INDEX)
def test_a_field_of_an_indexing_is_the_same_everywhere(name: str) -> None:
    option = command("index")[name]
    assert INDEX[name].metadata["sentence"] in option.help
    assert option.multiple or default_of(option) == INDEX[name].default
    for function in (Catalogue.build, api.index):
        assert inspect.signature(function).parameters[name].default == INDEX[name].default


@pytest.mark.parametrize(
    ("function", "name"),
    [(api.index, "options"), (Catalogue.build, "options"), (api.search, "request"), (Catalogue.search, "request")],
)
def test_a_value_whose_fields_can_be_given_one_by_one_may_be_left_out(function: Any, name: str) -> None:
    assert inspect.signature(function).parameters[name].default is None


NOT_ON_THE_COMMAND_LINE = {
    "imports": "itma --import, in front of the command",
    **dict.fromkeys(
        (
            "decode_seconds",
            "decode_bytes",
            "item_columns",
            "item_bytes",
            "most_hits",
            "batch_milliseconds",
            "body_seconds",
            "stop_seconds",
            "lock_seconds",
        ),
        "a limit that protects a server; who wants another starts it from Python",
    ),
}
"""Fields of `ServeConfig` that `itma serve` has no option for, with the reason."""


@pytest.mark.parametrize("field", fields(ServeConfig), ids=lambda field: field.name)
def test_a_setting_of_a_server_is_the_same_on_the_command_line(field: Field[Any]) -> None:
    whole = cli.make_context("itma", ["serve"])
    given = cli.commands["serve"].make_context("serve", ["catalogue"], parent=whole).params
    assert (field.name in given) != (field.name in NOT_ON_THE_COMMAND_LINE)
    if field.name in given and field.name != "catalogue":
        assert given[field.name] == field.default


def test_the_first_fields_of_a_search_are_taken_by_position_too() -> None:
    assert list(inspect.signature(Catalogue.search).parameters)[:4] == ["self", "image", "text", "k"]
    with pytest.raises(TypeError, match="too many positional"):
        Catalogue.search(None, "a.png", "in red", 3, 4)
    with pytest.raises(TypeError, match="multiple values for argument 'k'"):
        Catalogue.search(None, "a.png", "in red", 3, k=4)


def settings_of(group: Any, prefix: str = "") -> Iterator[str]:
    """The dotted names of all single settings."""
    for each in fields(group):
        value = getattr(group, each.name)
        if is_dataclass(value):
            yield from settings_of(value, f"{prefix}{each.name}.")
        else:
            yield prefix + each.name


@pytest.mark.parametrize("name", list(settings_of(TrainConfig())))
def test_a_field_of_a_training_can_be_set_by_name(name: str) -> None:
    value = attrgetter(name)(TrainConfig())
    text = (
        ",".join(value) if isinstance(value, tuple) else str(value).lower() if isinstance(value, bool) else str(value)
    )
    assert attrgetter(name)(change(TrainConfig(), {name: text})) == value
    assert "changes" in command("train") and "changes" in inspect.signature(api.train).parameters


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"k": 0}, ConfigError, "k=0 hits"),
        ({"k": "3"}, ConfigError, "k='3'"),
        ({"emphasis": 1.5}, ConfigError, "emphasis=1.5"),
        ({"distinct": 2.0}, ConfigError, "distinct=2.0"),
        ({"fields": "colour"}, DataError, "fields='colour' is one text where a list"),
        ({"id": "a", "image": "b.png"}, DataError, "one reference"),
        ({"text": 3}, DataError, "text=3 is a int; expected one text"),
        ({"text": ["red"]}, DataError, "text=.'red'. is a list; expected one text"),
        ({"id": 3}, DataError, "id=3 is a int"),
        ({"text": "red", "where": 3}, DataError, "where=3 is a int; expected a condition"),
        ({"text": "red", "exclude": [3]}, DataError, "exclude=.3. is a list; expected a list of texts"),
        ({"text": "red", "unlike": 3}, DataError, "unlike=3 is a int"),
        ({"text": "red", "keep_same": "no"}, DataError, "keep_same='no' is a str; expected true or false"),
        ({"text": "red", "distinct": []}, DataError, "distinct=.. is a list; expected a column or a cosine"),
        ({"embedding": [1.0], "text": "red"}, DataError, "cannot be changed by a sentence"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused_when_it_is_made(fields: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        SearchRequest(**fields)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"batch": 0}, ConfigError),
        ({"batch": "64"}, ConfigError),
        ({"recall": True}, ConfigError),
        ({"prune": "no"}, DataError),
        ({"types": "price=number"}, DataError),
        ({"id_column": 3}, DataError),
        ({"recall": 0}, ConfigError),
        ({"runtime": "tensorrt"}, UnknownNameError),
        ({"engine": "rya"}, UnknownNameError),
        ({"address": "a:1"}, ConfigError),
    ],
)
def test_an_indexing_that_makes_no_sense_is_refused_when_it_is_made(fields: Any, error: type) -> None:
    with pytest.raises(error, match=next(iter(fields))):
        IndexOptions(**fields)


def test_a_name_that_is_no_option_is_refused_as_by_any_function() -> None:
    with pytest.raises(TypeError, match="tokes"):
        api.index("run", "photos", "catalogue", tokes=True)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    made_up.model().save(tmp_path / "run")
    (tmp_path / "photos").mkdir()
    made_up.photos(tmp_path / "photos", ["0.png", "1.png", "2.png"])
    Catalogue.build(tmp_path / "run", tmp_path / "photos", tmp_path / "c")
    return tmp_path


def test_tokens_and_durable_of_a_catalogue_that_is_there_are_refused_or_applied(shop: Path) -> None:
    with pytest.raises(CatalogueError, match=r"keeps no feature maps.*--replace"):
        api.index(shop / "run", shop / "photos", shop / "c", tokens=True)
    assert not Catalogue.open(shop / "c").info().durable
    api.index(shop / "run", shop / "photos", shop / "c", durable=True)
    api.index(shop / "run", shop / "photos", shop / "c")
    assert Catalogue.open(shop / "c").info().durable
