"""The shapes world: both splits of scenes, sentences and images, as a function of a configuration."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from itma.data.synthetic.generated import GeneratedWorld
from itma.data.synthetic.shapes import disk
from itma.data.synthetic.shapes.config import SPLITS, THINGS, ShapesConfig, check_split
from itma.data.synthetic.shapes.look import Look
from itma.data.synthetic.shapes.render import render, visible
from itma.data.synthetic.shapes.sample import base_scenes, modifications
from itma.data.synthetic.shapes.scenes import Scene
from itma.data.triplets import Triplets

_PIXELS_AT_ONCE = {"cpu": 200_000, "cuda": 4_000_000}
"""Pixels that are rendered in one batch: few on a CPU, to stay in its cache."""


@dataclass(frozen=True)
class ShapesSplit:
    """Scenes and queries of one split; the queries that share a sentence stand next to one another."""

    name: str
    """`train` or `test`."""
    scenes: tuple[Scene, ...]
    """One for each image: a base scene, then what its changes make of it, then the next base scene."""
    names: tuple[str, ...]
    """One for each image: `css_train_000000.png`, …"""
    labels: np.ndarray
    """(images,) int64: the same for images of equal scenes, and for no others."""
    references: np.ndarray
    """(queries,) int64: index of the image that is pointed at."""
    targets: np.ndarray
    """(queries,) int64: index of the image that is asked for."""
    feedback: tuple[str, ...]
    """(queries) Sentences."""
    kinds: tuple[str, ...]
    """(queries) Kinds of change; see `KINDS`."""
    things: np.ndarray
    """(queries,) int64: index of the thing that each query concerns: of the thing to be removed or altered in the
    reference scene, of the thing to be added in the target scene. An altered thing has this index in both."""
    modifications: np.ndarray
    """(queries,) int64: queries of one number share one sentence."""

    def __str__(self) -> str:
        return f"shapes/{self.name}: {len(self.scenes):,} images, {len(self.feedback):,} queries"


class World(GeneratedWorld[ShapesConfig, ShapesSplit]):
    """The shapes world of a configuration; scenes and sentences are made when first asked for, in seconds.

    >>> from itma.data.synthetic.shapes.config import SIZES
    >>> world = World(SIZES["tiny"])
    >>> print(world.split("train"))
    shapes/train: 24 images, 20 queries
    >>> world.render("train", [0, 5]).shape
    torch.Size([2, 3, 32, 48])

    Args:
        config: its size and seed; see `SIZES`.
    """

    def _make(self, name: str) -> ShapesSplit:
        check_split(name)
        config = self.config
        bases = base_scenes(config, name)
        per_base = 1 + config.changes
        scenes: list[Scene] = [scene for scene in bases for _ in range(per_base)]
        used = [0] * len(bases)
        rows = []
        for number, modification in enumerate(modifications(config, name, bases)):
            change = modification.change
            for base in modification.bases:
                used[base] += 1
                reference, target = base * per_base, base * per_base + used[base]
                scenes[target] = change.apply(bases[base])
                index = change.concerns(bases[base])
                if index is None:
                    index = next(i for i, thing in enumerate(scenes[target]) if thing.position == change.thing.position)
                rows.append((reference, target, change.sentence, change.kind, index, number))
        label_of: dict[Scene, int] = {}
        labels = [label_of.setdefault(scene, len(label_of)) for scene in scenes]
        references, targets, feedback, kinds, things, numbers = zip(*rows, strict=True)
        return ShapesSplit(
            name=name,
            scenes=tuple(scenes),
            names=tuple(f"css_{name}_{index:06d}.png" for index in range(len(scenes))),
            labels=np.array(labels, dtype=np.int64),
            references=np.array(references, dtype=np.int64),
            targets=np.array(targets, dtype=np.int64),
            feedback=feedback,
            kinds=kinds,
            things=np.array(things, dtype=np.int64),
            modifications=np.array(numbers, dtype=np.int64),
        )

    def fingerprint(self) -> str:
        """SHA-256 (hex) of all scenes and sentences: the same everywhere for the same configuration."""
        plain = [
            [
                [[str(thing) for thing in scene] for scene in split.scenes],
                split.references.tolist(),
                split.targets.tolist(),
                split.feedback,
            ]
            for split in map(self.split, SPLITS)
        ]
        return hashlib.sha256(json.dumps(plain, separators=(",", ":")).encode()).hexdigest()

    def look(self, split: str, index: int) -> Look:
        """The look of one image: a function of the seed, the split and the index alone."""
        return Look.draw(f"shapes/{self.config.seed}/{split}/look/{index}")

    def render(
        self, split: str, indices: Sequence[int] | np.ndarray, device: str | torch.device = "cpu", *, cull: bool = True
    ) -> torch.Tensor:
        """Images of a split.

        Args:
            split: `train` or `test`.
            indices: which images.
            device: where to compute.
            cull: see `itma.data.synthetic.shapes.render.render`.

        Returns:
            (len(indices), 3, height, width) uint8 on `device`; an image is the same whichever batch it is part of.

        Raises:
            UnknownNameError: there is no such split.
            DataError: there is no such image.
        """
        chosen = [self._check_index(split, index) for index in indices]
        scenes, config = self.split(split).scenes, self.config
        looks = [self.look(split, index) for index in chosen]
        shown = [scenes[index] for index in chosen]
        return render(shown, looks, config.height, config.width, device=device, cull=cull)

    def masks(self, split: str, index: int) -> torch.Tensor:
        """Where each thing of an image is seen.

        Returns:
            (things, height, width) bool, things in the order of the scene; no pixel belongs to two. A thing that others
            hide has no pixels.

        Raises:
            UnknownNameError, DataError: see `render`.
        """
        index = self._check_index(split, index)
        scene, config = self.split(split).scenes[index], self.config
        return visible(scene, self.look(split, index), config.height, config.width)

    def triplets(self, split: str, *, progress: bool = False, device: str | torch.device | None = None) -> Triplets:
        """The queries of a split with all its images, rendered into memory.

        Args:
            split: `train` or `test`.
            progress: show a progress bar.
            device: where to render (None: on the CPU); the images come back to the CPU.

        Raises:
            UnknownNameError: there is no such split.
        """
        part = self.split(split)
        return Triplets(
            name=f"shapes/{split}",
            images=self.draw_images(split, progress=progress, device=device),
            labels=part.labels,
            references=part.references,
            targets=part.targets,
            feedback=part.feedback,
            kinds=part.kinds,
            groups={THINGS: [str(len(part.scenes[index])) for index in part.references.tolist()]},
        )

    def write(
        self,
        folder: str | Path,
        *,
        layout: str | None = None,
        progress: bool = False,
        device: str | torch.device | None = None,
    ) -> None:
        """Write both splits in CSS's own layout, for `read`.

        The folder gets `images/css_train_000000.png` and so on, `annotations.json` with the keys of CSS's annotation
        (`objects_img`, `mods`, `labels` for either split), and `shapes.json` with the configuration.

        Args:
            folder: must not exist yet; it appears in one step when all is written.
            layout: `css` for CSS's own annotation file too. None: without it.
            progress: show a progress bar.
            device: where to render; None: on the CPU.

        Raises:
            StorageError: the folder exists, the disk is full, or nothing can be written there.
        """
        splits = [self.split(name) for name in SPLITS]
        self._write(
            folder,
            splits,
            lambda draft: disk.describe(draft, self.config, {each.name: _annotation(each) for each in splits}, layout),
            lambda _, name: f"{disk.IMAGES}/{name}",
            progress=progress,
            device=device,
            compress_level=3,
        )

    def _batches(self, split: str, device: str | torch.device) -> Iterator[tuple[int, torch.Tensor]]:
        at_once = _PIXELS_AT_ONCE.get(torch.device(device).type, _PIXELS_AT_ONCE["cpu"])
        count = max(1, at_once // (self.config.height * self.config.width))
        images = len(self.split(split).scenes)
        for start in range(0, images, count):
            yield start, self.render(split, range(start, min(start + count, images)), device)


def _annotation(split: ShapesSplit) -> disk.Annotation:
    mods: list[disk.Modification] = []
    for reference, target, sentence, number in zip(
        split.references.tolist(), split.targets.tolist(), split.feedback, split.modifications.tolist(), strict=True
    ):
        if number == len(mods):
            mods.append({"from": [], "to": [], "from_str": "", "to_str": sentence})
        mods[number]["from"].append(reference)
        mods[number]["to"].append(target)
    return {
        "objects_img": [disk.css_objects(scene) for scene in split.scenes],
        "mods": mods,
        "labels": split.labels.tolist(),
    }
