"""An explanation: what was found of one query and one image, as arrays, as text and as an image."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from itma import display
from itma.errors import DataError
from itma.explanations.attention import AttentionMaps
from itma.explanations.case import Word
from itma.explanations.checks import Check
from itma.explanations.gradients import Gradients
from itma.explanations.occlusion import RegionEffects, WordEffects
from itma.io import write_bytes, write_text

FORMAT = 1
IMAGES = (".png", ".jpg", ".jpeg", ".webp")
"""Endings of images that `Explanation.save` writes."""
_ARRAYS = {
    "attention": ("weights", "pool", "grids", "rollout"),
    "word_effects": ("effects", "ranks"),
    "regions": ("effects", "ranks", "windows", "map"),
    "target_regions": ("effects", "ranks", "windows", "map"),
    "gradients": ("pixels", "words"),
}
"""Part of an explanation → what of it are arrays."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why an image is where it is among the answers to a query.

    What was not asked for, or cannot be had of this model, is absent; `notes` says why.
    """

    model: str
    """The composer's name."""
    text: str | None
    """The feedback."""
    reference: np.ndarray | None
    """(height, width, 3) uint8: the reference as the model sees it."""
    target: np.ndarray | None
    """(height, width, 3) uint8: the image that is explained, as the model sees it; None where it is gone."""
    reference_name: str
    target_name: str
    score: float
    """Cosine of the query and the target."""
    rank: int | None
    """The target's rank among all items, the reference left out; None where ranks are not counted."""
    items: int | None
    """How many items the catalogue has."""
    words: tuple[Word, ...] = ()
    attention: AttentionMaps | None = None
    word_effects: WordEffects | None = None
    regions: RegionEffects | None = None
    """Of the reference."""
    target_regions: RegionEffects | None = None
    """Of the target: what the gallery image contributes."""
    gradients: Gradients | None = None
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    """How long each method took."""

    def __str__(self) -> str:
        rank = "" if self.rank is None else f", rank {self.rank:,}" + (f" of {self.items:,}" if self.items else "")
        query = f"{self.reference_name or 'no reference'} + {self.text or '(no feedback)'!r}"
        lines = [f"{self.model}: {query} → {self.target_name}: score {self.score:+.4f}{rank}"]
        if self.word_effects is not None:
            lines.append("words (what the score loses without each; the rank without it):")
            for row, word in enumerate(self.words):
                lines.append(f"  {_effect(self.word_effects, row)}  {word.text}{'' if word.tokens else '  (not read)'}")
        for name, regions in (("reference", self.regions), ("target", self.target_regions)):
            if regions is not None:
                top, bottom, left, right = regions.windows[regions.most].tolist()
                lines.append(
                    f"regions of the {name} (what the score loses with each covered): most at rows {top}–{bottom - 1}, "
                    f"columns {left}–{right - 1}: {_effect(regions, regions.most).strip()}"
                )
        if self.attention is not None:
            blocks, heads = self.attention.weights.shape[:2]
            about = "shares" if self.attention.kind == "softmax" else "raw scores of either sign, no shares"
            lines.append(f"attention ({self.attention.kind}: {about}): {blocks} blocks of {heads} heads")
        if self.gradients is not None:
            lines.append(
                f"gradients: from {self.gradients.begin:+.4f} to {self.gradients.end:+.4f} in {self.gradients.steps} "
                f"steps, {self.gradients.gap:+.4f} unexplained"
            )
        lines += [f"check of {check}" for check in self.checks]
        lines += [f"note: {note}" for note in self.notes]
        if self.attention is not None:
            lines.append("attention is a hint; what covering a region or leaving out a word does is the evidence")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return display.figure(self.draw(), str(self))

    def maps(self) -> dict[str, np.ndarray]:
        """The maps over the reference, each (rows, columns) of its own grid.

        `regions` and `gradients` are signed. `attention_of_words` and `attention_of_embedding` are shares with
        softmax (see `AttentionMaps`); with identity attention the first are signed scores and the second is absent.
        """
        return maps_of(self.regions, self.attention, self.gradients)

    def to_plain(self, *, images: bool = False) -> dict[str, Any]:
        """All of it in lists, texts and numbers, as JSON takes them; numbers rounded to five digits.

        Args:
            images: with reference and target as the model sees them, as data URLs of PNG.
        """
        attention, gradients = self.attention, self.gradients
        word_maps = []
        if attention is not None:
            word_maps = [
                {"word": row, "level": level, **_map(attention.of_word(row, level=level))}
                for row, word in enumerate(self.words)
                for level in range(len(attention.grids))
                if word.tokens
            ]
        shares = attention is not None and attention.kind == "softmax"
        plain: dict[str, Any] = {
            "format": FORMAT,
            "model": self.model,
            "text": self.text,
            "reference": self.reference_name if self.reference is not None else None,
            "target": self.target_name,
            "score": _number(self.score),
            "rank": self.rank,
            "items": self.items,
            "words": [self._word(row) for row in range(len(self.words))],
            "maps": {
                name: {"kind": "shares" if shares and name.startswith("attention") else "signed", **_map(values)}
                for name, values in self.maps().items()
                if name != "gradients"
            },
            "word_maps": {"kind": "shares" if shares else "signed", "maps": word_maps} if word_maps else None,
            "regions": _regions(self.regions),
            "target_regions": _regions(self.target_regions),
            "gradients": None
            if gradients is None
            else {
                **{name: _number(getattr(gradients, name)) for name in ("begin", "end", "gap")},
                "steps": gradients.steps,
                **({} if gradients.pixels is None else _map(gradients.pixels)),
            },
            "checks": [
                {
                    "map": check.map,
                    "fails": list(check.fails),
                    "random_model": _number(check.random_model),
                    "deletion": _list(check.deletion),
                    "insertion": _list(check.insertion),
                    "deletion_area": _number(check.deletion_area),
                    "insertion_area": _number(check.insertion_area),
                    "random_deletion_area": _number(check.random_deletion),
                    "random_insertion_area": _number(check.random_insertion),
                }
                for check in self.checks
            ],
            "notes": list(self.notes),
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
        }
        for name, image in (("reference", self.reference), ("target", self.target)) if images else ():
            plain[f"{name}_image"] = None if image is None else display.data_url(Image.fromarray(image))
        return plain

    def _word(self, row: int) -> dict[str, Any]:
        word, effects = self.words[row], self.word_effects
        ranks = None if effects is None else effects.ranks
        return {
            "text": word.text,
            "begin": word.begin,
            "end": word.end,
            "read": bool(word.tokens),
            "effect": None if effects is None else _number(effects.effects[row]),
            "rank": None if ranks is None or not ranks[row] else int(ranks[row]),
            "gradient": None if self.gradients is None else _number(self.gradients.words[row]),
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array by name, as `save` writes them to an `.npz` file."""
        arrays: dict[str, Any] = {"reference": self.reference, "target": self.target}
        arrays["words"] = [word.text for word in self.words]
        for part, names in _ARRAYS.items():
            if (values := getattr(self, part)) is not None:
                arrays |= {f"{part}.{name}": getattr(values, name) for name in names}
        for check in self.checks:
            arrays |= {f"check.{check.map}.deletion": check.deletion, f"check.{check.map}.insertion": check.insertion}
        return {name: np.asarray(values) for name, values in arrays.items() if values is not None}

    def draw(self) -> Image.Image:
        """The explanation as one image."""
        from itma.explanations.drawing import draw

        return draw(self)

    def save(self, path: str | Path) -> None:
        """Write it: an image (`.png`, `.jpg`, `.webp`), `.json` (see `to_plain`) or `.npz` (see `arrays`).

        Raises:
            DataError: the name ends in something else.
            StorageError: the disk is full or nothing can be written there.
        """
        path, ending = Path(path), ending_of(path)
        if ending == ".json":
            write_text(path, json.dumps(self.to_plain(), indent=1, ensure_ascii=False) + "\n")
        elif ending == ".npz":
            data = io.BytesIO()
            np.savez_compressed(data, allow_pickle=False, **self.arrays())
            write_bytes(path, data.getvalue())
        else:
            display.save_image(self.draw(), path)


def ending_of(path: str | Path) -> str:
    """The ending of a file that `Explanation.save` can write.

    Raises:
        DataError: it is none of those.
    """
    ending = Path(path).suffix.lower()
    if ending not in (*IMAGES, ".json", ".npz"):
        raise DataError(f"{Path(path).name!r} ends in neither {', '.join(IMAGES)}, .json nor .npz; choose one of them")
    return ending


def maps_of(
    regions: RegionEffects | None, attention: AttentionMaps | None, gradients: Gradients | None
) -> dict[str, np.ndarray]:
    """The maps over the reference, of what there is; see `Explanation.maps`."""
    maps: dict[str, np.ndarray | None] = {"regions": None if regions is None else regions.map}
    if attention is not None:
        maps["attention_of_words"] = attention.of_word() if any(word.tokens for word in attention.words) else None
        maps["attention_of_embedding"] = attention.of_embedding()
    maps["gradients"] = None if gradients is None else gradients.pixels
    return {name: values for name, values in maps.items() if values is not None}


def _effect(effects: WordEffects | RegionEffects, row: int) -> str:
    value = effects.effects[row]
    rank = "" if effects.ranks is None or not effects.ranks[row] else f"  rank {int(effects.ranks[row]):,}"
    return ("nothing left" if np.isnan(value) else f"{value:+.4f}") + rank


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(f"{float(value):.5g}")


def _list(values: np.ndarray) -> list[float | None]:
    return [_number(value) for value in values.reshape(-1).tolist()]


def _map(values: np.ndarray) -> dict[str, Any]:
    rows, columns = values.shape
    return {"rows": rows, "columns": columns, "values": _list(values)}


def _regions(regions: RegionEffects | None) -> dict[str, Any] | None:
    if regions is None:
        return None
    return {
        **_map(regions.map),
        "windows": regions.windows.tolist(),
        "effects": _list(regions.effects),
        "ranks": None if regions.ranks is None else regions.ranks.tolist(),
        "most": regions.most,
        "fill": regions.fill,
    }
