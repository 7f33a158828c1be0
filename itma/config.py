"""Settings as small frozen dataclasses: to and from plain dictionaries, and changed by `name=value` pairs."""

import dataclasses
import functools
import itertools
import json
import textwrap
import tomllib
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from itma.errors import ConfigError, UnknownNameError
from itma.io import parse_json, refuse_stream

Settings = TypeVar("Settings")

BELONGS = "belongs to"
"""Metadata of a field of options: the field beside it that names the part whose options they are."""
APPLIES = "applies"
"""Metadata of a field: of the dataclass that holds it, whether the field means anything there. Without it, it does."""


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """Options of a part that has none."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting, as `itma settings` shows it."""

    name: str
    """With dots."""
    value: Any
    """Ready for JSON."""
    default: Any
    """What it is where neither a preset nor a change says anything."""
    choices: tuple[str, ...]
    """What it can be; empty where that is no short list."""
    meaning: str

    def __str__(self) -> str:
        text = self.meaning
        text += f" One of: {', '.join(self.choices)}." if self.choices else ""
        text += f" Default: {json.dumps(self.default)}." if self.default != self.value else ""
        paragraph = textwrap.fill(" ".join(text.split()), 100, initial_indent="    ", subsequent_indent="    ")
        return f"{self.name}={json.dumps(self.value)}\n{paragraph}"


def to_plain(settings: Any) -> dict[str, Any]:
    """A dataclass as nested dictionaries, lists, numbers and texts, ready for JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(settings)))
    return plain


def flat(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested plain settings as one mapping by dotted names.

    >>> flat({"train": {"steps": 3}, "note": None})
    {'train.steps': 3, 'note': None}
    """
    values: dict[str, Any] = {}
    for name, value in plain.items():
        values |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return values


def describe_settings(settings: Any, prefix: str = "") -> list[Setting]:
    """All settings in a dataclass and in those within it, of those that apply, in their order.

    A setting's meaning is the text that stands under its field in the source.
    """
    entries: list[Setting] = []
    texts = meanings(type(settings))  # type: ignore[arg-type]  # mypy does not know that classes can be hashed
    hints = get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        value, applies = getattr(settings, field.name), field.metadata.get(APPLIES)
        if applies is not None and not applies(settings):
            continue
        if dataclasses.is_dataclass(value):
            entries += describe_settings(value, f"{prefix}{field.name}.")
            continue
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        choices = get_args(hints[field.name]) if get_origin(hints[field.name]) is Literal else ()
        plain, usual = json.loads(json.dumps([value, None if default is dataclasses.MISSING else default]))
        meaning = texts.get(field.name, "")
        entries.append(Setting(f"{prefix}{field.name}", plain, usual, tuple(map(str, choices)), meaning))
    return entries


@functools.cache
def meanings(kind: type) -> Mapping[str, str]:
    """Field → the text under it in the source of a dataclass or its bases; nothing where there is no source."""
    import ast
    import inspect

    texts: dict[str, str] = {}
    for owner in reversed(kind.__mro__[:-1]):
        try:
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        except (OSError, TypeError, SyntaxError):  # made in an interpreter, or packed without its source
            continue
        body = getattr(tree, "body", [])
        for line, below in itertools.pairwise(body):
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and isinstance(below, ast.Expr):
                text = getattr(below.value, "value", None)
                if isinstance(text, str):
                    texts[line.target.id] = inspect.cleandoc(text)
    return texts


def read_changes(path: str | Path) -> dict[str, Any]:
    """The changes that a TOML file asks for, for `change`: its tables and keys are the parts of the settings' names.

    Raises:
        ConfigError: the file is missing, or is no TOML.
        DataError: it is a pipe or a device.
    """
    refuse_stream(Path(path))
    try:
        with Path(path).open("rb") as file:
            return flat(tomllib.load(file))
    except OSError as error:
        raise ConfigError(f"the settings {str(path)!r} cannot be read: {error.strerror}; give a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the settings {str(path)!r} are no TOML: {error}; expected e.g. [train] and under it steps = 100"
        ) from error


def from_plain(kind: type[Settings], plain: Mapping[str, Any]) -> Settings:
    """The dataclass `kind` from what `to_plain` made of one.

    Raises:
        UnknownNameError: a name that is no setting.
        ConfigError: a value of the wrong type, or settings that contradict one another.
    """
    hints = get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for name in plain:
        if name not in names:
            raise UnknownNameError(f"setting of {kind.__name__}", name, names)
    return kind(**{name: _convert(f"{kind.__name__}.{name}", hints[name], value) for name, value in plain.items()})


def fill_options(settings: Any, name: str, part: type[Any], what: str) -> None:
    """Make the options in a field of settings ready where they are plain values, or None for the part's defaults.

    Args:
        settings: a dataclass that is being made.
        name: the field.
        part: the class whose `Options` they are.
        what: names these options, for the message.

    Raises:
        ConfigError, UnknownNameError: they are another part's.
    """
    options, kind = getattr(settings, name), part.Options
    if options is None or isinstance(options, dict):
        object.__setattr__(settings, name, from_plain(kind, options or {}))
    elif type(options) is not kind:
        raise ConfigError(f"{what} must be {kind.__name__}, not {type(options).__name__}")


_RANGES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "at_least_one": ("be at least 1", lambda value: value >= 1),
    "above_zero": ("be above 0", lambda value: value > 0),
    "not_negative": ("not be negative", lambda value: value >= 0),
    "shares": ("be a share, from 0 to 1", lambda value: 0 <= value <= 1),
    "below_one": ("be in [0, 1)", lambda value: 0 <= value < 1),
}


def check_ranges(settings: Any, group: str, **names: str) -> None:
    """Refuse numbers beyond their range.

    Args:
        settings: a dataclass.
        group: its dotted name, for the message.
        names: range, a key of `_RANGES` → the fields that must lie in it, with blanks between them.

    Raises:
        ConfigError: one does not.
    """
    for key, fields in names.items():
        range_, lies_within = _RANGES[key]
        for name in fields.split():
            if not lies_within(value := getattr(settings, name)):
                raise ConfigError(f"{group}.{name}={value} must {range_}")


def change(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """`settings` with some values replaced; names of nested settings are joined by dots.

    Texts are read as JSON where they are JSON (`3`, `0.1`, `true`, `null`, `[1, 2]`), as numbers joined by commas
    where a list is wanted (`3,4`), and as text otherwise. Other values are taken as they are. Where a part is changed
    whose options stand beside it (`train.loss`, `model.composer`), these become the new part's defaults.

    Raises:
        UnknownNameError: a name that is no setting; the message lists the ones there are.
        ConfigError: a value of the wrong type or range, or no names at all.
    """
    return _change(settings, "", check_changes(changes)) if changes else settings


def check_changes(changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The changes themselves, which must be values by name.

    Raises:
        ConfigError: they are something else.
    """
    if not isinstance(changes, Mapping) or not all(isinstance(name, str) for name in changes):
        raise ConfigError(f"changes={changes!r:.60}: expected values by name, e.g. changes={{'train.steps': 100}}")
    return changes


def _change(settings: Any, prefix: str, changes: Mapping[str, Any]) -> Any:
    """`settings` with all changes below it made at once: each dataclass is checked once, when all of it is known.

    Options alone follow what they belong to, which decides their type.

    Args:
        settings: a dataclass.
        prefix: its own dotted name, with a dot at the end.
        changes: what to change in it, by the names of its fields and of fields within them.
    """
    if not dataclasses.is_dataclass(settings):
        single = prefix.rstrip(".").rpartition(".")[2]
        raise ConfigError(f"{prefix + next(iter(changes))!r} does not exist: {single!r} is a single setting")
    values: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for dotted, text in changes.items():
        name, dot, rest = dotted.partition(".")
        current, hint = _field(settings, name)
        if dot:
            groups.setdefault(name, {})[rest] = text
        elif dataclasses.is_dataclass(current):
            inner = [field.name for field in dataclasses.fields(current)]
            raise ConfigError(f"{prefix + dotted!r} is a group of settings; name one in it: {', '.join(inner)}")
        else:
            values[name] = _convert(prefix + dotted, hint, _read(text, hint))
    options: dict[str, dict[str, Any]] = {}
    for field in dataclasses.fields(settings):
        part = field.metadata.get(BELONGS)
        if part in values and field.name not in values and values[part] != getattr(settings, part):
            values[field.name] = None
            options |= {field.name: groups.pop(field.name)} if field.name in groups else {}
    for name, within in groups.items():
        values[name] = _change(getattr(settings, name), f"{prefix}{name}.", within)
    result: Any = dataclasses.replace(settings, **values)  # type: ignore[type-var]
    for name, within in options.items():
        result = dataclasses.replace(result, **{name: _change(getattr(result, name), f"{prefix}{name}.", within)})
    return result


def _field(settings: Any, name: str) -> tuple[Any, Any]:
    """A setting's value and type.

    Raises:
        UnknownNameError: there is none of that name.
    """
    names = [field.name for field in dataclasses.fields(settings)]
    if name not in names:
        deeper = [f"{each}.{name}" for each in names if hasattr(getattr(settings, each), name)]
        advice = f"Write {' or '.join(deeper)}." if name.isidentifier() and deeper else ""
        raise UnknownNameError(f"setting of {type(settings).__name__}", name, names, advice=advice)
    return getattr(settings, name), get_type_hints(type(settings))[name]


def _read(text: Any, hint: Any) -> Any:
    if not isinstance(text, str):
        return str(text) if isinstance(text, PurePath) else text
    if get_origin(hint) is tuple and not text.lstrip().startswith("["):
        return [_read(part, get_args(hint)[0]) for part in text.split(",") if part.strip()]
    if hint is str:
        return text
    try:
        return parse_json(text)
    except ValueError:
        return text


def _convert(name: str, hint: Any, value: Any) -> Any:
    """`value`, as JSON gives it, as the type `hint`."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:  # the owner of the field converts it
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        return _convert(name, next(part for part in inner if part is not type(None)), value)
    if origin is tuple and isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(_convert(name, inner[0], part) for part in value)
    if origin is Literal:
        if value in inner:
            return value
        raise UnknownNameError(f"value of {name}", value, [str(choice) for choice in inner])
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return from_plain(hint, value)  # type: ignore[arg-type]
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return {_key(name, inner[0], key): _convert(f"{name}.{key}", inner[1], part) for key, part in value.items()}
    raise ConfigError(f"{name}={value!r} is of the wrong type; expected {getattr(hint, '__name__', hint)}")


def _key(name: str, hint: Any, key: Any) -> Any:
    """A key, which JSON gives as text, as the type `hint`."""
    try:
        return hint(key)
    except ValueError as error:
        raise ConfigError(f"{name}: the key {key!r} is of the wrong type; expected {hint.__name__}") from error
