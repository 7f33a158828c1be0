"""What can be asked of a search and of an indexing: the one owner of names, defaults, sentences and limits.

The command line, Python and HTTP take their options from the fields here; the sentence of a field is its help.
"""
# ruff: noqa: RUF009 - `option` is `field` with its sentence

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from functools import wraps
from inspect import Parameter, signature
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, overload

from itma.errors import ConfigError, DataError, UnknownNameError

if TYPE_CHECKING:  # the command line begins here: nothing that takes long to load
    import numpy as np
    import torch

    from itma.data.images import Source
    from itma.retrieval.filters import Where

RUNTIMES = ("torch", "torch-bf16", "onnx", "onnx-int8")
ENGINES = ("local", "ray")
Answer = TypeVar("Answer")
Options = ParamSpec("Options")
Owner = TypeVar("Owner")


def option(default: Any, sentence: str, *, short: str | None = None) -> Any:
    """A field with its sentence; `short` is its name on the command line where that is another."""
    return field(default=default, metadata={"sentence": sentence, "short": short})


def options_of(shape: type) -> dict[str, "Field[Any]"]:
    """The fields that are options, by name."""
    return {each.name: each for each in fields(shape) if "sentence" in each.metadata}


@dataclass(frozen=True)
class SearchRequest:
    """One search.

    >>> SearchRequest(text="in red", k=5).k
    5

    Raises:
        ConfigError: k, the emphasis or the cosine of `distinct` is out of range.
        DataError: there is more than one reference, an embedding with a sentence, or one name where a list is expected.
    """

    image: "Source | None" = option(None, "The reference: a path, the bytes of a file, a Pillow image, or an array.")
    text: str | None = option(None, 'The feedback, e.g. "make red cube blue".')
    k: int = option(10, "How many hits.")
    id: str | None = option(None, "An item of the catalogue as the reference.")
    embedding: "np.ndarray | None" = option(None, "A ready-made query of the catalogue's own numbers (a .npy file).")
    where: "Where | None" = option(
        None,
        "Only items that match: a condition (\"colour = 'red' and price < 50\") or a mapping "
        '({"colour": "red", "price": {"<": 50}}).',
    )
    exclude: Sequence[str] = option((), "Ids of items that are left out.")
    fields: Sequence[str] = option((), "Columns of metadata that hits show; * stands for all.")
    distinct: str | float | None = option(
        None, "A column: one hit for each of its values; or a cosine: no two hits nearer to each other than that."
    )
    unlike: Sequence[str] = option((), "Ids of items that hits are to be less like; none of them is a hit.")
    emphasis: float = option(
        0.0, "From -1, the reference alone, over 0, as the model joins them, to 1, the feedback alone."
    )
    earlier: Sequence[str] = option((), "What was said earlier in a conversation and still counts, first to last.")
    keep_same: bool = option(False, "Keep items that show the same image as the reference; else they are left out.")
    pixels: "torch.Tensor | None" = None
    """uint8 (3, height, width): the reference as `Preprocess.read` made it, in the place of `image`; for servers."""

    def __post_init__(self) -> None:
        if not is_of(self.k, Integral) or self.k < 1:
            raise ConfigError(f"k={self.k!r} hits cannot be found; k must be a whole number of at least 1")
        if not is_of(self.emphasis, Real) or not -1 <= self.emphasis <= 1:
            raise ConfigError(
                f"emphasis={self.emphasis!r} is not from -1 (the reference alone) to 1 (the feedback alone)"
            )
        _list_texts(self, "exclude", "fields", "unlike", "earlier")
        if isinstance(self.image, SearchRequest):
            raise DataError("a SearchRequest is no image; ask it with answer([request])")
        _check_single(self, "text", "id")
        _check("where", self.where, isinstance(self.where, str | Mapping | None), "a condition or a mapping")
        is_distinct = isinstance(self.distinct, str | None) or is_of(self.distinct, Real)
        _check("distinct", self.distinct, is_distinct, "a column or a cosine")
        if is_of(self.distinct, Real) and not -1 <= float(self.distinct or 0) <= 1:
            raise ConfigError(f"distinct={self.distinct} is neither a column nor a cosine from -1 to 1")
        if sum(each is not None for each in (self.image, self.id, self.embedding, self.pixels)) > 1:
            raise DataError("a query has one reference: give an image, an id, or an embedding")
        if self.embedding is not None and self.has_feedback:
            raise DataError("an embedding cannot be changed by a sentence; give an image or an id with the text")

    @property
    def has_feedback(self) -> bool:
        """Whether there is a sentence."""
        return bool((self.sentence or "").strip())

    @property
    def sentence(self) -> str | None:
        """All that counts of what was said."""
        from itma.data.tokenizer import EARLIER

        sentences = [one for one in (*self.earlier, self.text or "") if one.strip()]
        return EARLIER.join(sentences) if self.earlier else self.text


def _list_texts(options: object, *names: str) -> None:
    """Keep these fields as tuples of texts: a generator could be read only once.

    Raises:
        DataError: one of them is something else than texts.
    """
    for name in names:
        texts = getattr(options, name)
        if isinstance(texts, str):
            raise DataError(f"{name}={texts!r} is one text where a list is expected; write [...] around it")
        _check(name, texts, isinstance(texts, Iterable), "a list of texts")
        listed = tuple(texts)
        _check(name, texts, all(isinstance(each, str) for each in listed), "a list of texts")
        object.__setattr__(options, name, listed)


def _check_single(options: object, *names: str) -> None:
    """Raise DataError unless these fields hold one text or none, and those that are true or false by default either."""
    for name in names:
        _check(name, getattr(options, name), isinstance(getattr(options, name), str | None), "one text")
    for name, each in options_of(type(options)).items():
        if isinstance(each.default, bool):
            _check(name, getattr(options, name), isinstance(getattr(options, name), bool), "true or false")


def _check(name: str, value: Any, fits: bool, expected: str) -> None:
    if not fits:
        raise DataError(f"{name}={value!r:.60} is a {type(value).__name__}; expected {expected}")


def value_of(answer: "Answer | Exception") -> "Answer":
    """An answer; an error in its place is raised."""
    if isinstance(answer, Exception):
        raise answer
    return answer


def is_of(value: Any, kind: type) -> bool:
    """Whether a value is a number of this kind, which true and false are not."""
    return isinstance(value, kind) and not isinstance(value, bool)


@dataclass(frozen=True)
class IndexOptions:
    """How a folder or a table becomes a catalogue.

    >>> IndexOptions(batch=32).recall
    0.98

    Raises:
        ConfigError: the recall, the batch or the address makes no sense.
        DataError: one name where a list is expected, or a value of another type.
        UnknownNameError: there is no such runtime or engine.
    """

    id_column: str | None = option(
        None, "Of a table: the column of the ids; without it, id, or else the images' names.", short="id"
    )
    image_column: str | None = option(
        None, "Of a table: the column of the images; without it, image, file or picture.", short="image"
    )
    types: Mapping[str, str] | None = option(
        None,
        "Of a table: the kind of a column (text, number, date, decimal-comma, …), else what its values look like.",
        short="type",
    )
    leave_out: Sequence[str] = option((), "Of a table: a column that does not become metadata.")
    missing: Sequence[str] = option((), "Of a table: a text that stands for no value, besides N/A, null and the like.")
    allow_outside: bool = option(False, "Take images outside the source's folder as well.")
    prune: bool = option(False, "Remove items that the source does not name, or whose file is gone.")
    replace: bool = option(False, "Make a new catalogue in the place of an existing one.")
    tokens: bool = option(
        False,
        "Keep feature maps, so that a search from an item with a sentence needs no image file; for new catalogues.",
    )
    durable: bool = option(False, "Every write waits until it would survive a loss of power, from now on.")
    recall: float = option(0.98, "Recall@10 that an index must reach, where there are more than 200,000 items.")
    batch: int = option(64, "Images that are embedded at once.")
    runtime: str | None = option(
        None, "What computes the embeddings; without it, what computed those that are there, or torch."
    )
    engine: str = option("local", "Who embeds: local, this process; or ray, the machines of a Ray cluster.")
    address: str | None = option(None, "Of a running Ray cluster; without it, --engine ray starts one on this machine.")

    def __post_init__(self) -> None:
        _list_texts(self, "leave_out", "missing")
        _check_single(self, "id_column", "image_column", "runtime", "engine", "address")
        _check("types", self.types, isinstance(self.types, Mapping | None), "a mapping of columns to kinds")
        if not is_of(self.batch, Integral) or self.batch < 1:
            raise ConfigError(f"batch={self.batch!r} must be a whole number of at least 1")
        if not is_of(self.recall, Real) or not 0 < self.recall <= 1:
            raise ConfigError(f"recall={self.recall!r} must be a number above 0 and at most 1")
        if self.runtime is not None and self.runtime not in RUNTIMES:
            raise UnknownNameError("runtime", self.runtime, RUNTIMES)
        if self.engine not in ENGINES:
            raise UnknownNameError("engine", self.engine, ENGINES)
        if self.address is not None and self.engine == "local":
            raise ConfigError(
                f"address={self.address!r} is that of a Ray cluster; say so with engine='ray' (--engine ray)"
            )


@overload
def takes(
    shape: Callable[Options, object], name: str, *, by_position: int
) -> Callable[[Callable[Concatenate[Owner, ...], Answer]], Callable[Concatenate[Owner, Options], Answer]]: ...


@overload
def takes(shape: type, name: str = "options") -> Callable[[Callable[..., Answer]], Callable[..., Answer]]: ...


def takes(
    shape: Any, name: str = "options", *, by_position: int = 0
) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    """Let a function with a keyword `name`, one value of `shape`, also take that value's fields one by one.

    The function's signature shows them, the first of them `by_position`; a name that is none of them is a `TypeError`.
    """

    def wrap(function: Callable[..., Answer]) -> Callable[..., Answer]:
        own, choices = signature(function), options_of(shape)
        kinds = [Parameter.POSITIONAL_OR_KEYWORD] * by_position + [Parameter.KEYWORD_ONLY] * len(choices)
        added = [
            Parameter(each.name, kind, default=each.default, annotation=each.type)
            for each, kind in zip(choices.values(), kinds, strict=False)
        ]
        may_lack = own.parameters[name].replace(default=None, annotation=f"{shape.__name__} | None")
        parameters = [*(own.parameters | {name: may_lack}).values(), *added]
        whole = own.replace(parameters=sorted(parameters, key=lambda each: each.kind))

        @wraps(function)
        def call(*positional: Any, **keywords: Any) -> Answer:
            arguments = whole.bind_partial(*positional, **keywords).arguments
            single = {each: arguments.pop(each) for each in choices if each in arguments}
            if arguments.get(name) is not None and single:
                raise ConfigError(f"give {name}={shape.__name__}(...) or {', '.join(single)}, not both")
            if arguments.get(name) is None:
                arguments[name] = shape(**single)
            return function(**arguments)

        call.__signature__ = whole  # type: ignore[attr-defined]
        return call

    return wrap
