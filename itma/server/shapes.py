"""What requests and answers look like; the API's document is made of these."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, StringConstraints, WithJsonSchema

from itma.retrieval.request import SearchRequest, options_of

_MARKS = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def _name(value: object) -> str:
    """An id may hold bytes that are no text, as lone surrogates, which pydantic's own strings may not."""
    if not isinstance(value, str) or not 1 <= len(value) <= 1_000:
        raise ValueError("give a text of 1 to 1,000 characters")
    return value


def _clean(text: str) -> str:
    """Control characters and marks that nobody sees count as blanks."""
    return _MARKS.sub(" ", text)


_NAME_SCHEMA = WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 1_000})
Name = Annotated[str, PlainValidator(_name), _NAME_SCHEMA]
"""An item's id."""


def _form_name(value: object) -> str:
    name = _name(value)
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise ValueError("the id is no UTF-8; send it in UTF-8")
    return name


FormName = Annotated[str, PlainValidator(_form_name), _NAME_SCHEMA]
"""An item's id in a form, whose bytes must be UTF-8."""
Column = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Where = dict[str, Any]
Url = Annotated[
    str | None,
    Field(max_length=2_000, description="The address of the reference image; only where the server allows it."),
]
TEXT = 1_000
"""Characters of a sentence."""
WORDS = 60
"""Words of a sentence that is explained: each is left out once."""
MANY = 100
EARLIER = 20
"""Sentences that were said before."""


_OPTIONS = options_of(SearchRequest)


def _option(name: str, **limits: Any) -> Any:
    """A field of a request: its default and its sentence, with what a stranger may ask for at most."""
    default = _OPTIONS[name].default
    return Field([] if default == () else default, description=_OPTIONS[name].metadata["sentence"], **limits)


class Strict(BaseModel):
    """What is sent, in which a name that is not known is refused."""

    model_config = ConfigDict(extra="forbid")


class SearchOptions(Strict):
    """What is asked beside the reference image; see `itma.retrieval.request.SearchRequest`."""

    text: Annotated[str, AfterValidator(_clean)] | None = _option("text", max_length=TEXT)
    earlier: list[Annotated[str, StringConstraints(max_length=TEXT), AfterValidator(_clean)]] = _option(
        "earlier", max_length=EARLIER
    )
    k: int = _option("k", ge=1)
    where: Where | None = _option("where", max_length=50)
    exclude: list[Name] = _option("exclude", max_length=1_000)
    fields: list[Column] = _option("fields", max_length=MANY)
    distinct: Column | float | None = _option("distinct")
    unlike: list[Name] = _option("unlike", max_length=MANY)
    emphasis: float = _option("emphasis", ge=-1, le=1)
    keep_same: bool = _option("keep_same")


class Search(SearchOptions):
    """A search from an item, an address, a sentence, or an embedding."""

    id: Name | None = _option("id")
    url: Url = None
    embedding: list[float] | None = _option("embedding", max_length=16_384)


class Explain(Strict):
    """What is to be explained beside the reference image."""

    text: Annotated[str, AfterValidator(_clean)] | None = Field(
        None, max_length=TEXT, description=f"The feedback, of at most {WORDS} words."
    )
    target: Name = Field(description="The item that is asked about.")
    where: Where | None = Field(
        None, max_length=50, description="The condition of the search: the rank is told among what matches it, too."
    )
    methods: list[Literal["attention", "words", "regions", "target", "gradients"]] = Field(
        [], max_length=5, description="Empty: all but `gradients`, as far as the model and the search have them."
    )
    images: bool = Field(False, description="Whether both images, as the model sees them, are sent along.")


class ExplainFrom(Explain):
    """A search from an item, an address, a sentence, or an image and a sentence, and an item."""

    id: Name | None = Field(None, description="The item that is the reference.")
    url: Url = None


class HitShape(BaseModel):
    """One hit."""

    rank: int
    id: str
    score: float = Field(description="Cosine; larger is nearer.")
    image: bool = Field(description="Whether it has an image.")
    fields: dict[str, Any]


class SearchAnswer(BaseModel):
    """The answer to a search."""

    hits: list[HitShape]
    ignored: list[str] = Field(description="Words of the sentence that the model never saw, and passed over.")
    read_as: dict[str, str] = Field(
        description="Words of the sentence that the model never saw, each with the known words that it was read as."
    )
    notes: list[str] = Field(
        description="What is to be known: items left out as the reference itself, why nothing was found."
    )
    stamp: str = Field(description="The state of the catalogue that was searched.")


class ItemShape(BaseModel):
    """One item."""

    id: str
    image: bool
    fields: dict[str, Any]


class Items(BaseModel):
    """Some of the items."""

    items: list[ItemShape]
    next: str | None = Field(description="`after` of the page that follows; null: this is the last one.")


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
    can: dict[str, bool] = Field(description="What this server does: text, image, emphasis, earlier, explain …")
    shop: dict[str, str | None] = Field(
        description="How the page shows items: the columns of `title`, `price` and `link`, and the `currency`."
    )
    limits: dict[str, int]


class Removed(BaseModel):
    """What deleting did."""

    removed: int


class Written(BaseModel):
    """What adding or replacing did."""

    ids: list[str]


class Ids(Strict):
    """Items by id."""

    ids: list[Name] = Field(min_length=1, max_length=1_000)


class KeyShape(Strict):
    """A key, shown by a browser."""

    key: str = Field(max_length=500)


class New(Strict):
    """One item of many."""

    id: Name
    image: str | None = Field(None, description="The file name of its part in the request.")
    embedding: list[float] | None = Field(None, max_length=16_384)
    fields: dict[str, Any] = Field({}, max_length=MANY)


class Health(BaseModel):
    """How the server is."""

    status: str


# -- explanations, as `itma explain` writes them to a `.json` file, with the state that they are of --------------------

Kind = Literal["shares", "signed"]
Value = float | None
"""Of an effect or a map; none where nothing would be left of the query."""


class MapShape(BaseModel):
    """A map over an image as the model sees it."""

    rows: int
    columns: int
    values: list[Value] = Field(description="Row by row.")


class KindMap(MapShape):
    """A map of attention, or of what regions do."""

    kind: Kind = Field(description="`shares` sum to 1 over all that is looked at; `signed` speak for or against.")


class WordMap(MapShape):
    """Where one word looks."""

    word: int = Field(description="Its place in `words`.")
    level: int = Field(description="Of the image's feature maps; 0 is the finest.")


class WordMaps(BaseModel):
    """Where every word looks."""

    kind: Kind = Field(description="`shares` by softmax attention; `signed` are raw scores and shares of nothing.")
    maps: list[WordMap]


class RegionsShape(MapShape):
    """What covering each region of an image does."""

    windows: list[tuple[int, int, int, int]] = Field(description="top, bottom, left, right in pixels.")
    effects: list[Value] = Field(description="For each window: the score minus what it is with the window covered.")
    ranks: list[int] | None = Field(description="For each window: the item's rank with the window covered.")
    most: int = Field(description="The window of the largest effect.")
    fill: str = Field(description="What covers a window.")


class GradientsShape(BaseModel):
    """How the score comes about along a path from nothing to the query."""

    begin: float
    end: float
    gap: float = Field(description="What the parts leave unexplained.")
    steps: int
    rows: int = Field(0, description="Absent, with `columns` and `values`, where there is no reference.")
    columns: int = 0
    values: list[Value] = Field([], description="Sums over squares of the reference, row by row.")


class WordShape(BaseModel):
    """One word of the sentence."""

    text: str
    begin: int = Field(description="Its first character's place in the sentence.")
    end: int
    read: bool = Field(description="Whether the model knows it.")
    effect: Value = Field(description="The score minus what it is without the word.")
    rank: int | None = Field(description="The item's rank without the word.")
    gradient: Value = Field(description="What it adds to the score, by gradients.")


class ExplanationAnswer(BaseModel):
    """Why an item is where it is among the answers to a search; what was not asked for is empty or null."""

    format: int
    model: str
    text: str | None
    reference: str | None
    target: str
    score: float
    rank: int | None = Field(description="Among all items but the reference; null where there are too many to compare.")
    items: int | None
    rank_within: int | None = Field(None, description="With `where`: the rank among the items that match.")
    items_within: int | None = Field(None, description="With `where`: how many items match.")
    words: list[WordShape]
    maps: dict[str, KindMap] = Field(
        description="`regions`, `attention_of_words`, `attention_of_embedding`: over the reference."
    )
    word_maps: WordMaps | None
    regions: RegionsShape | None
    target_regions: RegionsShape | None
    gradients: GradientsShape | None
    checks: list[dict[str, object]] = Field(description="Always empty here.")
    notes: list[str] = Field(description="What could not be had, and what is doubtful.")
    seconds: dict[str, float] = Field(description="By method.")
    reference_image: str | None = Field(None, description="With `images`: as the model sees it, a data URL of a PNG.")
    target_image: str | None = Field(None, description="Likewise.")
    stamp: str = Field(description="The state of the catalogue.")
