"""What requests and answers look like; the API's document is made of these."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, StringConstraints, WithJsonSchema

_MARKS = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def _name(value: object) -> str:
    """An id may hold bytes that are no text, as lone surrogates, which pydantic's own strings may not."""
    if not isinstance(value, str) or not 1 <= len(value) <= 1_000:
        raise ValueError("give a text of 1 to 1,000 characters")
    return value


def _said(text: str) -> str:
    """Control characters and marks that nobody sees count as blanks."""
    return _MARKS.sub(" ", text)


Name = Annotated[
    str,
    PlainValidator(_name),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 1_000}),
]
"""An item's id."""
Column = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Where = dict[str, Any]
TEXT = 1_000
"""Characters of a sentence."""
WORDS = 60
"""Words of a sentence that is explained: each is left out once."""
MANY = 100
EARLIER = 20
"""Sentences that were said before."""


class Asked(BaseModel):
    """What is asked beside the reference picture."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, AfterValidator(_said)] | None = Field(
        None, max_length=TEXT, description="The feedback: what should be different."
    )
    earlier: list[Annotated[str, StringConstraints(max_length=TEXT), AfterValidator(_said)]] = Field(
        [], max_length=EARLIER, description="What was said before in a conversation and still counts, first to last."
    )
    k: int = Field(24, ge=1, description="How many hits.")
    where: Where | None = Field(
        None,
        max_length=50,
        description='Which items may be found, by column: `{"colour": "red", "price": {"<": 50}, "size": ["S", "M"]}`.',
    )
    exclude: list[Name] = Field([], max_length=1_000, description="Ids that are left out.")
    fields: list[Column] = Field(["*"], max_length=MANY, description="Columns that hits tell; `*` stands for all.")
    distinct: Column | float | None = Field(
        None, description="A column, or a cosine: no two hits share the value, or are nearer than that."
    )
    unlike: list[Name] = Field([], max_length=MANY, description="Ids of items that the hits are to be less like.")
    emphasis: float = Field(0.0, ge=-1, le=1, description="From −1, the picture alone, to 1, the sentence alone.")


class Search(Asked):
    """A search from an item, an address, a sentence, or an embedding."""

    id: Name | None = Field(None, description="The item that is the reference.")
    url: Annotated[str, StringConstraints(max_length=2_000)] | None = Field(
        None, description="The address of the reference picture; only where the server allows it."
    )
    embedding: list[float] | None = Field(None, max_length=16_384, description="A ready-made query.")


class Explain(BaseModel):
    """What is to be explained beside the reference picture."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, AfterValidator(_said)] | None = Field(
        None, max_length=TEXT, description=f"The feedback, of at most {WORDS} words."
    )
    target: Name = Field(description="The item that is asked about.")
    methods: list[Literal["attention", "words", "regions", "target", "gradients"]] = Field(
        [], max_length=5, description="Empty: all but `gradients`, as far as the model and the search have them."
    )
    pictures: bool = Field(False, description="Whether both pictures, as the model sees them, are sent along.")


class ExplainFrom(Explain):
    """A search from an item, an address, a sentence, or a picture and a sentence, and an item."""

    id: Name | None = Field(None, description="The item that is the reference.")
    url: Annotated[str, StringConstraints(max_length=2_000)] | None = Field(
        None, description="The address of the reference picture; only where the server allows it."
    )


class HitShape(BaseModel):
    """One hit."""

    rank: int
    id: str
    score: float = Field(description="Cosine; larger is nearer.")
    picture: bool = Field(description="Whether it has a picture.")
    fields: dict[str, Any]


class Found(BaseModel):
    """The answer to a search."""

    hits: list[HitShape]
    ignored: list[str] = Field(description="Words of the sentence that the model never saw, and passed over.")
    read_as: dict[str, str] = Field(
        description="Words of the sentence that the model never saw, each with the known words that it was read as."
    )
    stamp: str = Field(description="The state of the catalogue that was searched.")


class ItemShape(BaseModel):
    """One item."""

    id: str
    picture: bool
    fields: dict[str, Any]


class Items(BaseModel):
    """Some of the items."""

    items: list[ItemShape]
    next: str | None = Field(description="`after` of the page that follows; absent: this is the last one.")


class FacetShape(BaseModel):
    """What one column holds."""

    column: str
    kind: str = Field(description="text, texts, number, whole, truth, date or time.")
    choices: list[tuple[Any, int]] = Field(description="Values with the number of their items.")
    low: Any = None
    high: Any = None
    looked_at: int = Field(description="Items that this was told from.")


class About(BaseModel):
    """What is to be known of the catalogue and its server."""

    items: int
    dim: int
    model: str | None
    fingerprint: str | None
    runtime: str | None
    stamp: str
    protocol: str = Field(description="How searches go.")
    columns: dict[str, str]
    facets: list[FacetShape]
    suggestions: list[str]
    can: dict[str, bool] = Field(description="What this server does: text, picture, emphasis, earlier, explain …")
    limits: dict[str, int]


class Removed(BaseModel):
    """What deleting did."""

    removed: int


class Written(BaseModel):
    """What adding or replacing did."""

    ids: list[str]


class Ids(BaseModel):
    """Items by id."""

    model_config = ConfigDict(extra="forbid")
    ids: list[Name] = Field(min_length=1, max_length=1_000)


class KeyShape(BaseModel):
    """A key, shown by a browser."""

    model_config = ConfigDict(extra="forbid")
    key: str = Field(max_length=500)


class New(BaseModel):
    """One item of many."""

    model_config = ConfigDict(extra="forbid")
    id: Name
    picture: str | None = Field(None, description="The file name of its part in the request.")
    embedding: list[float] | None = Field(None, max_length=16_384)
    fields: dict[str, Any] = Field({}, max_length=MANY)


class Health(BaseModel):
    """How the server is."""

    status: str
