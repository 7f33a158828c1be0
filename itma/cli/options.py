"""Command-line options: those made of the fields of a request, and those that several commands have."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from itma.io import parse_json, refuse_stream
from itma.retrieval.request import ENGINES, RUNTIMES, SearchRequest, options_of

if TYPE_CHECKING:
    import numpy as np

Value = TypeVar("Value")


class InputPath(click.Path):  # type: ignore[type-arg, unused-ignore]  # generic in newer ones
    """A path that is read, and so must not be a pipe or a device, which may be waited for without end."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """The path.

        Raises:
            DataError: it is a pipe or a device.
        """
        path = super().convert(value, parameter, context)
        refuse_stream(Path(str(path)))
        return path


INPUT_PATH = InputPath(path_type=Path)
OUTPUT_PATH = click.Path(path_type=Path)


def condition(context: click.Context, parameter: click.Parameter, text: str | None) -> Any:
    """What --where says: a condition as it stands, or a mapping written as JSON."""
    if text is None or not text.lstrip().startswith("{"):
        return text
    try:
        return parse_json(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} begins like JSON but is none ({error})") from error


def pairs(
    context: click.Context, parameter: click.Parameter, given: tuple[str, ...], example: str = ""
) -> dict[str, str]:
    """NAME=VALUE, repeatable."""
    values = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} is not of the form name=value{example}")
        values[name.strip()] = value.strip()
    return values


def distinct(context: click.Context, parameter: click.Parameter, text: str | None) -> str | float | None:
    """A cosine, or else the name of a column."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def embedding(context: click.Context, parameter: click.Parameter, path: Path | None) -> "np.ndarray | None":
    """The numbers in a .npy file."""
    import numpy as np

    try:
        return None if path is None else np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise click.BadParameter(f"{str(path)!r} is no .npy file of numbers ({error})") from error


_SPECIAL: Mapping[str, Mapping[str, Any]] = {
    "image": {"type": INPUT_PATH},
    "embedding": {"type": INPUT_PATH, "callback": embedding, "metavar": "FILE"},
    "where": {"callback": condition, "metavar": "CONDITION"},
    "distinct": {"callback": distinct, "metavar": "COLUMN|COSINE"},
    "types": {"multiple": True, "callback": pairs, "metavar": "COLUMN=KIND"},
    "runtime": {"type": click.Choice(RUNTIMES)},
    "engine": {"type": click.Choice(ENGINES)},
    "earlier": {"metavar": "TEXT"},
    **{name: {"metavar": "ID"} for name in ("exclude", "unlike")},
    **{name: {"metavar": "COLUMN"} for name in ("fields", "id_column", "image_column")},
}
"""What the default alone does not say."""


def options_from(shape: type, *names: str) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    """An option for each field of a request, or for those of some names; a list is an option that can be repeated."""

    def wrap(function: Callable[..., Value]) -> Callable[..., Value]:
        for name, each in reversed(options_of(shape).items()):
            if not names or name in names:
                function = _option(name, each)(function)
        return function

    return wrap


def _option(name: str, each: "Field[Any]") -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    word = each.metadata["short"] or name
    flag = f"-{word}" if len(word) == 1 else "--" + word.replace("_", "-")
    sentence, how = each.metadata["sentence"], dict(_SPECIAL.get(name, {}))
    if each.default is not MISSING and isinstance(each.default, bool):
        how["is_flag"] = True
    elif isinstance(each.default, int | float):
        how["type"] = type(each.default)
    elif each.default == ():
        how["multiple"] = True
    if how.get("multiple"):
        sentence += " Repeatable."
    return click.option(flag, name, default=None if how.get("multiple") else each.default, help=sentence, **how)


def take_request(shape: type[Value], options: dict[str, Any]) -> Value:
    """The request that the options of a command make; they are taken out of `options`."""
    return shape(**{name: options.pop(name) for name in options_of(shape)})


where = options_from(SearchRequest, "where")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")

device = click.option("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps.")
