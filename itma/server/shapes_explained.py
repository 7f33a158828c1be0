"""What an explanation looks like over HTTP: as `itma explain` writes it to a `.json` file, with the state it is of."""

from typing import Literal

from pydantic import BaseModel, Field

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
