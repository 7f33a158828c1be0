"""The shapes world: both splits of scenes, sentences and images, as a function of a configuration."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import ClassVar

import numpy as np
import torch

from itma.data.synthetic.generated import Files, GeneratedWorld, number_alike
from itma.data.synthetic.shapes import disk
from itma.data.synthetic.shapes.config import SPLITS, THINGS, ShapesConfig
from itma.data.synthetic.shapes.disk import ShapesSplit
from itma.data.synthetic.shapes.look import Look
from itma.data.synthetic.shapes.render import render, visible
from itma.data.synthetic.shapes.sample import base_scenes, modifications
from itma.data.synthetic.shapes.scenes import Change, Scene
from itma.data.triplets import Triplets

_PIXELS_AT_ONCE = {"cpu": 200_000, "cuda": 4_000_000}
"""Pixels that are rendered in one batch: few on a CPU, to stay in its cache."""


class World(GeneratedWorld[ShapesConfig, ShapesSplit]):
    """The shapes world of a configuration; scenes and sentences are made when first asked for, in seconds.

    It is written in CSS's own layout, for `read`: `images/css_train_000000.png` and so on, `annotations.json` with the
    keys of CSS's annotation (`objects_img`, `mods`, `labels` for either split), and `shapes.json` with the
    configuration; in the layout `css` with CSS's own annotation file too.

    >>> from itma.data.synthetic.shapes.config import SIZES
    >>> world = World(SIZES["tiny"])
    >>> print(world.split("train"))
    shapes/train: 24 images, 20 queries
    >>> world.render("train", [0, 5]).shape
    torch.Size([2, 3, 32, 48])

    Args:
        config: its size and seed; see `SIZES`.
    """

    splits = SPLITS
    saving: ClassVar[dict[str, int]] = {"compress_level": 3}

    def _make(self, name: str) -> ShapesSplit:
        config = self.config
        bases = base_scenes(config, name)
        per_base = 1 + config.changes
        scenes: list[Scene] = [scene for scene in bases for _ in range(per_base)]
        used = [0] * len(bases)
        numbers: list[tuple[int, ...]] = []
        changes: list[Change] = []
        for number, (change, sharing) in enumerate(modifications(config, name, bases)):
            for base in sharing:
                used[base] += 1
                reference, target = base * per_base, base * per_base + used[base]
                scenes[target] = change.apply(bases[base])
                index = change.concerns(bases[base])
                if index is None:
                    index = next(i for i, thing in enumerate(scenes[target]) if thing.position == change.thing.position)
                numbers.append((reference, target, index, number))
                changes.append(change)
        references, targets, things, modified = np.array(numbers, dtype=np.int64).T.copy()
        return ShapesSplit(
            name=name,
            names=tuple(f"css_{name}_{index:06d}.png" for index in range(len(scenes))),
            labels=number_alike(scenes),
            references=references,
            targets=targets,
            kinds=tuple(change.kind for change in changes),
            scenes=tuple(scenes),
            feedback=tuple(change.sentence for change in changes),
            things=things,
            modifications=modified,
        )

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
        chosen_scenes = [scenes[index] for index in chosen]
        return render(chosen_scenes, looks, config.height, config.width, device=device, cull=cull)

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

    def _files(self, layout: str | None) -> Files[ShapesSplit]:
        splits = [self.split(name) for name in SPLITS]
        describe = partial(disk.describe, config=self.config, splits=splits, layout=layout)
        return Files(splits, describe, lambda _, name: f"{disk.IMAGES}/{name}")

    def _batches(self, split: str, device: str | torch.device) -> Iterator[tuple[int, torch.Tensor]]:
        at_once = _PIXELS_AT_ONCE.get(torch.device(device).type, _PIXELS_AT_ONCE["cpu"])
        count = max(1, at_once // (self.config.height * self.config.width))
        images = len(self.split(split).scenes)
        for start in range(0, images, count):
            yield start, self.render(split, range(start, min(start + count, images)), device)
