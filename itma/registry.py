"""One way to add parts: composers, encoders, losses, data sets and stores are known by name, the package's own too.

A part becomes known when the module that registers it is imported: by the person (`import my_composer` in Python,
`itma --import my_composer.py` on the command line), or, where an installed package says in its entry points of the
group `itma` that it has a part of that name, when the name is asked for. Nothing else is ever imported: a run folder
only says which parts it needs.
"""

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points, packages_distributions, version
from pathlib import Path
from typing import Any, Generic, TypeVar

from itma.errors import ConfigError, MissingPartError, PluginError, UnknownNameError

Part = TypeVar("Part", bound=type)

GROUP = "itma"
"""The group of entry points in which packages name their parts."""
_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True)
class Origin:
    """Where a part comes from that is not the package's own; a checkpoint keeps one for each such part it needs."""

    kind: str
    """What it is, e.g. `composer`."""
    name: str
    """The name it is registered by."""
    module: str
    """The module that registers it."""
    package: str | None = None
    """The installed package that holds the module; None: it is a file of its own."""
    version: str | None = None
    """The version of that package."""
    file: str | None = None
    """The name of the module's file, without its folder, where it is of no package."""

    def __str__(self) -> str:
        if self.package is not None:
            return f"the {self.kind} {self.name!r} of the package {self.package} {self.version or ''}".rstrip()
        return f"the {self.kind} {self.name!r} of {self.file or self.module!r}"

    @property
    def advice(self) -> str:
        """What makes the part known where it is not."""
        if self.package is not None:
            return f"if you trust it, install it with: pip install {self.package}"
        if self.module == "__main__" or self.file is None:
            return "it was defined in a script or a notebook: define it again, or move it to a file and import that"
        return (
            f"if you trust that file, give it with: itma --import {self.file} COMMAND …; in Python, import it before "
            "the model is opened"
        )


class Registry(Mapping[str, Part], Generic[Part]):
    """The parts of one kind, by name.

    >>> class Shape: ...
    >>> shapes = Registry("shape", Shape)
    >>> @shapes.register("round")
    ... class Round(Shape): ...
    >>> shapes.find("round").__name__
    'Round'

    Args:
        kind: what the parts are, for messages, e.g. `composer`.
        base: the class that each part extends.
        own: the package's own parts: name → the module that registers it, imported when it is first asked for; or
            `module:class`, where it does not.
    """

    def __init__(self, kind: str, base: type, own: Mapping[str, str] | None = None) -> None:
        self.kind, self._base, self._own = kind, base, dict(own or {})
        self._parts: dict[str, Part] = {}
        REGISTRIES[kind] = self

    def register(self, name: str) -> Callable[[Part], Part]:
        """Class decorator: make a part known as `name`.

        Where the same class is defined again, as in a notebook's cell that runs twice, the new one takes its place.

        Args:
            name: lower-case letters, digits, and `-`, `_` or `.` between them.

        Raises:
            ConfigError: the name is not of that form or is taken, or what is registered is of another kind.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} cannot name a {self.kind}: expected lower-case letters and digits, with - or _ or . between "
                "them, e.g. my-own"
            )

        def add(part: Part) -> Part:
            if not (isinstance(part, type) and issubclass(part, self._base)):
                raise ConfigError(
                    f"{getattr(part, '__name__', type(part).__name__)} cannot be the {self.kind} {name!r}: expected a "
                    f"class that extends {self._base.__module__}.{self._base.__name__}"
                )
            before = self._parts.get(name)
            is_other = before is not None and _address(before) != _address(part)
            if is_other or self._own.get(name, part.__module__) != part.__module__:
                holder = before.__module__ if before is not None else self._own[name]
                raise ConfigError(
                    f"the {self.kind} {name!r} is registered already, by {holder}; choose another name than "
                    f"{part.__module__} does"
                )
            self._parts[name] = part
            return part

        return add

    def find(self, name: str) -> Part:
        """The part known as `name`: the package's own, registered before, or of an installed package.

        Raises:
            UnknownNameError: there is none.
            PluginError: an installed package names it but cannot be imported.
        """
        part = self.lookup(name)
        if part is None:
            raise UnknownNameError(self.kind, name, self, advice=HOW_TO_ADD)
        return part

    def lookup(self, name: str) -> Part | None:
        """As `find`, but None where there is no part of that name.

        Raises:
            PluginError: an installed package names it but cannot be imported.
        """
        if name not in self:
            for entry in find_installed(name):
                _load(entry)
        return self.get(name)

    def __getitem__(self, name: str) -> Part:
        if name not in self._parts and name in self._own:
            module, _, attribute = self._own[name].partition(":")
            imported = importlib.import_module(module)
            if attribute:
                self._parts[name] = getattr(imported, attribute)
        return self._parts[name]

    def __contains__(self, name: object) -> bool:
        return name in self._parts or name in self._own

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._own, *self._parts]))

    def __len__(self) -> int:
        return len({*self._own, *self._parts})

    def origin(self, name: str) -> Origin | None:
        """Where a part comes from; None for the package's own, and for a name that is not registered."""
        if name in self._own or name not in self._parts:
            return None
        module = self._parts[name].__module__
        package = _package_of(module)
        if package is not None:
            return Origin(self.kind, name, module, package, version(package))
        path = getattr(sys.modules.get(module), "__file__", None)
        return Origin(self.kind, name, module, file=None if path is None else Path(path).name)


REGISTRIES: dict[str, "Registry[Any]"] = {}
"""Every registry that there is, by what it holds."""
HOW_TO_ADD = (
    "One of your own becomes known with: itma --import FILE.py COMMAND …, or by installing the package that has it; "
    "see docs/extending.md"
)


def summary(part: type) -> str:
    """The first line of a part's docstring; empty where it has none."""
    return next(iter((part.__doc__ or "").strip().splitlines()), "")


def find_installed(name: str | None = None) -> list[EntryPoint]:
    """What installed packages say that they have, of one name or of all; none of it is imported."""
    points = entry_points(group=GROUP) if name is None else entry_points(group=GROUP, name=name)
    return sorted(points, key=lambda entry: (entry.name, entry.value))


def import_file(source: str) -> None:
    """Import a file, or a module by its dotted name, so that what it registers is known.

    The file is imported under its own name, and what lies beside it can be imported by it.

    Args:
        source: a path that ends in `.py`, or a module's name, e.g. `my_package.composers`.

    Raises:
        PluginError: there is no such file or module, it fails, or its name is taken by another module.
    """
    try:
        if not source.endswith(".py"):
            importlib.import_module(source)
            return
        path = Path(source).resolve()
        if not path.is_file():
            raise PluginError(
                f"--import {source}: there is no such file; give a file ending in .py, or a module's name"
            )
        before = sys.modules.get(path.stem)
        if before is not None:
            if getattr(before, "__file__", None) == str(path):
                return
            raise PluginError(f"--import {source}: there is another module named {path.stem!r}; rename the file")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
        sys.modules[path.stem] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[path.stem]
            raise
    except PluginError:
        raise
    except Exception as error:  # a person's own code raises whatever it likes
        raise PluginError(f"--import {source} failed: {type(error).__name__}: {error}") from error


def needs(parts: Mapping[str, str]) -> list[dict[str, str]]:
    """What has to be there besides this package, ready for JSON.

    >>> needs({"composer": "itma"})
    []

    Args:
        parts: kind → name of each part in use; of names that no registry has, such as a folder's, nothing is said.
    """
    origins = [REGISTRIES[kind].origin(name) for kind, name in parts.items() if kind in REGISTRIES]
    return [{key: value for key, value in vars(origin).items() if value} for origin in origins if origin is not None]


def require(plain: Iterable[Mapping[str, Any]], owner: str, kinds: Collection[str] | None = None) -> None:
    """See that all is known that `needs` has written down.

    Args:
        plain: what it has written.
        owner: what needs the parts, for messages, e.g. `the model in 'runs/mine'`.
        kinds: of parts that are wanted now; None: all.

    Raises:
        MissingPartError: a part is not known; the message says where it comes from and how to make it known.
        PluginError: an installed package that has it cannot be imported.
    """
    for one in plain:
        origin = _origin_from(one, owner)
        if kinds is not None and origin.kind not in kinds:
            continue
        registry = REGISTRIES.get(origin.kind)
        try:
            if registry is None:
                raise UnknownNameError("kind of part", origin.kind, REGISTRIES)
            registry.find(origin.name)
        except UnknownNameError as error:
            raise MissingPartError(f"{owner} needs {origin}, which is not known here; {origin.advice}") from error


def _origin_from(plain: Any, owner: str) -> Origin:
    try:
        origin = Origin(**plain)
        texts = [value for value in vars(origin).values() if value is not None]
        fits = all(isinstance(text, str) and text.isprintable() for text in texts)
        fits = fits and (origin.package is None or bool(_PACKAGE.fullmatch(origin.package)))
        if fits and (origin.file is None or Path(origin.file).name == origin.file):
            return origin
    except TypeError:
        pass
    raise MissingPartError(f"{owner} names a part that it needs in a way that cannot be read: {plain!r:.200}")


def _load(entry: EntryPoint) -> None:
    try:
        entry.load()
    except Exception as error:  # a package of somebody else raises whatever it likes
        package = entry.dist.name if entry.dist is not None else entry.value
        raise PluginError(
            f"the installed package {package} names a part {entry.name!r}, but importing {entry.value} failed: "
            f"{type(error).__name__}: {error}"
        ) from error


@cache
def _package_of(module: str) -> str | None:
    """The installed package that holds a module; None where it is of none. Asking reads what all packages hold."""
    for entry in find_installed():
        if entry.dist is not None and (module + ".").startswith(entry.module.partition(".")[0] + "."):
            return str(entry.dist.name)
    packages = packages_distributions().get(module.partition(".")[0])
    return packages[0] if packages else None


def _address(part: type) -> tuple[str, str]:
    return part.__module__, part.__qualname__
