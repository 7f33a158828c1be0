"""Sentence templates: how a change of attributes is put into words; a TOML file that people edit."""

import json
import logging
import string
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from itma.data.datasets.reading import read_text
from itma.errors import DataError

log = logging.getLogger(__name__)

GENERAL, CHANGE, JOINED = "general", "change", "joined"
YES, NO = "true", "false"

_FIELDS: Mapping[str, tuple[str, ...]] = {
    CHANGE: ("new", "old", "attribute"),
    YES: ("attribute",),
    NO: ("attribute",),
    JOINED: ("first", "second"),
}
"""Key → what may stand in braces in its templates; the keys of single values allow what `change` does."""

_GENERAL: Mapping[str, tuple[str, ...]] = {
    CHANGE: ("{new} instead of {old}", "is {new}", "the {attribute} is {new}"),
    YES: ("is {attribute}", "{attribute}"),
    NO: ("is not {attribute}", "not {attribute}"),
    JOINED: ("{first}, and {second}", "{first} and {second}"),
}

_INSTEAD = "{new} instead of {old}"
_KNOWN: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "brand": {CHANGE: ("by {new}", "by {new} instead of {old}")},
    "category": {CHANGE: (_INSTEAD, "change the {old} to {new}", "{new}, not {old}")},
    "children": {YES: ("for children", "is for children"), NO: ("not for children", "is not for children")},
    "collar": {CHANGE: ("with {new} collar", "has a {new} collar instead of {old}")},
    "colour": {CHANGE: (_INSTEAD, "is {new}", "in {new}")},
    "gender": {CHANGE: ("for {new}", "for {new} instead of {old}")},
    "material": {CHANGE: ("made of {new}", "made of {new} instead of {old}")},
    "neck": {CHANGE: ("with {new} neckline", "has a {new} neckline instead of {old}")},
    "pattern": {CHANGE: ("with {new} pattern", "has a {new} pattern instead of {old}", "is {new}")},
    "sleeves": {CHANGE: ("with {new} sleeves", "has {new} sleeves instead of {old}", "the sleeves are {new}")},
}
"""Attribute → templates that read better than the general ones."""
_LIKE = {
    "color": "colour",
    "fabric": "material",
    "kids": "children",
    "neckline": "neck",
    "season": "gender",
    "sleeve": "sleeves",
    "sleeve length": "sleeves",
    "type": "category",
}
"""Attribute → another, whose templates it takes."""

_HEAD = """\
# How a change of attributes is put into words: edit, add and remove sentences, then make the triplets anew.
#
# [general] is for every attribute that has no table of its own.
#   change       {new}, {old} and {attribute} stand for the new value, the old one and the attribute's name
#   true, false  for attributes that are yes or no: what is said where it becomes so
#   joined       {first} and {second} stand for the sentences of two changes
# In an attribute's own table, a key may also be one of its values: its sentences are used where that is the new value,
# e.g.  none = ["without sleeves"]
"""


@dataclass(frozen=True)
class Templates:
    """Sentences with gaps, for every attribute; each tuple holds at least one.

    >>> Templates({}).sentence("colour", "red", "blue")
    'blue instead of red'
    >>> Templates({}).join_changes("blue instead of red", "with long sleeves")
    'blue instead of red, and with long sleeves'
    """

    sections: Mapping[str, Mapping[str, tuple[str, ...]]]
    """Attribute or `general` → key → templates; keys are `change`, `joined` or a value in lower case."""

    def sentence(self, attribute: str, old: str, new: str, choice: int = 0) -> str:
        """A sentence for one change.

        Args:
            attribute: its name as in the table.
            old, new: the values; of attributes that are yes or no, `true` or `false`.
            choice: any number ≥ 0; decides which of the templates is taken.
        """
        own, general = self.sections.get(attribute, {}), {**_GENERAL, **self.sections.get(GENERAL, {})}
        key = new.lower()
        fitting = own.get(key) or own.get(CHANGE) or general[key if {key, old.lower()} == {YES, NO} else CHANGE]
        return fitting[choice % len(fitting)].format(new=new, old=old, attribute=_speak(attribute))

    def join_changes(self, first: str, second: str, choice: int = 0) -> str:
        """The sentence for two changes from the sentences for each."""
        ways = self.sections.get(GENERAL, {}).get(JOINED, _GENERAL[JOINED])
        return ways[choice % len(ways)].format(first=first, second=second)


def default_text(attributes: Mapping[str, Sequence[str]]) -> str:
    """A file of templates to begin with.

    Args:
        attributes: attribute → its values; one whose values are `true` and `false` is yes or no.
    """
    parts = [_HEAD, _section(GENERAL, _GENERAL)]
    for attribute, values in attributes.items():
        name = _speak(attribute).lower()
        known = _KNOWN.get(_LIKE.get(name, name), {})
        keys = (YES, NO) if set(values) <= {YES, NO} else (CHANGE,)
        parts.append(_section(attribute, {key: known.get(key) or _name(key, attribute) for key in keys}))
    return "\n".join(parts)


def read_templates(path: Path, attributes: Mapping[str, Sequence[str]]) -> Templates:
    """Read a file of templates.

    Args:
        path: the TOML file.
        attributes: attribute → its values, to tell what is meant; tables and keys that name none of them are not used,
            which is said in the log.

    Raises:
        DataError: the file is missing, is not TOML, or holds a template that cannot be filled in; the message names
            table, key and field.
    """
    text = read_text(path, "give a file of sentence templates; without one, it is written for you to edit")
    try:
        loaded = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DataError(f"{str(path)!r} is not TOML: {error}; put sentences into double quotes and brackets") from error
    sections: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, section in loaded.items():
        if not isinstance(section, dict):
            raise DataError(
                f"{str(path)!r}: {name!r} stands outside of a table; put it under [{GENERAL}] or [attribute]"
            )
        if name != GENERAL and name not in attributes:
            log.warning("%s: [%s] is not used: no attribute has that name (%s)", path, name, ", ".join(attributes))
            continue
        known = _FIELDS if name == GENERAL else {CHANGE, *(value.lower() for value in attributes[name])}
        sections[name] = {}
        for key, templates in section.items():
            if name == GENERAL and key not in known:
                raise DataError(f"{str(path)!r}, [{name}]: {key!r} is not known; choose from: {', '.join(_FIELDS)}")
            sections[name][key.lower()] = _check_templates(path, name, key, templates)
            if key.lower() not in known:
                log.warning("%s, [%s]: %s is not used: it is neither %r nor a value", path, name, key, CHANGE)
    return Templates(sections)


def _check_templates(path: Path, name: str, key: str, templates: object) -> tuple[str, ...]:
    """The templates of one key, each of which can be filled in."""
    where = f"{str(path)!r}, [{name}] {key}"
    listed = [templates] if isinstance(templates, str) else templates
    if not isinstance(listed, list) or not listed or not all(isinstance(text, str) and text.strip() for text in listed):
        raise DataError(
            f'{where}: expected sentences, such as ["{_INSTEAD}"], found {json.dumps(templates, default=str)}'
        )
    allowed = _FIELDS[key if name == GENERAL else CHANGE]
    for text in listed:
        try:
            fields = [part[1:] for part in string.Formatter().parse(text) if part[1] is not None]
        except ValueError as error:
            raise DataError(f"{where}: the braces of {text!r} do not fit together ({error})") from error
        for field, form, conversion in fields:
            # Formats and attributes of values are refused: "{new:>9999999999}" would fill the memory.
            if field not in allowed or form or conversion:
                wrong = f"{{{field}{f'!{conversion}' if conversion else ''}{f':{form}' if form else ''}}}"
                choices = ", ".join(f"{{{word}}}" for word in allowed)
                raise DataError(f"{where}: {wrong} in {text!r} is not known; choose from: {choices}")
        if key == JOINED and name == GENERAL and {field for field, *_ in fields} != set(allowed):
            raise DataError(f"{where}: {text!r} must hold both {{first}} and {{second}}")
    return tuple(listed)


def _name(key: str, attribute: str) -> tuple[str, ...]:
    """The general templates, with the attribute's name written out."""
    name = _speak(attribute).replace("{", "{{").replace("}", "}}")
    if key == CHANGE:
        return (f"the {name} is {{new}}", f"{name} {{new}} instead of {{old}}")
    return tuple(text.format(attribute=name) for text in _GENERAL[key])


def _speak(attribute: str) -> str:
    return " ".join(attribute.replace("_", " ").split())


def _section(name: str, templates: Mapping[str, Sequence[str]]) -> str:
    lines = [f"{key} = [{', '.join(map(_quote, texts))}]" for key, texts in templates.items()]
    bare = name.replace("_", "").replace("-", "").isalnum() and name.isascii()
    return "\n".join([f"[{name if bare else _quote(name)}]", *lines, ""])


def _quote(text: str) -> str:
    """Text as TOML writes it; JSON's escapes are TOML's too, but for one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
