"""Does a map say something about the model, and about what it does with the image?

Two questions. Does the map change when the model's weights are drawn anew (Adebayo et al. 2018, arXiv:1810.03292)? And
does covering the image in the map's order lower the score sooner, and uncovering it raise the score sooner, than a
random order does (deletion and insertion; Petsiuk et al. 2018, arXiv:1806.07421, section 3.3)?
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from itma.data.batching import hash_seed
from itma.errors import ExplanationError
from itma.explanations.case import Case
from itma.explanations.occlusion import Cells, filling
from itma.models.retriever import Retriever
from itma.records import Fill

ALIKE = 0.5
"""Maps whose ranks correlate so much with those of a model with random weights fail."""
RANDOM_MODELS, RANDOM_ORDERS, POINTS = 2, 4, 12
"""Models with random weights and random orders that a map is compared with; steps of a curve, at most."""

Maps = Mapping[str, np.ndarray]
"""Name → (rows, columns) of `Cells`."""


@dataclass(frozen=True, eq=False)
class Check:
    """What the checks found of one map."""

    map: str
    random_model: float
    """Spearman's correlation with the same map of a model with random weights, the mean over several."""
    deletion: np.ndarray
    """(points,) float32: the score as ever more cells are covered, those of the largest values first."""
    insertion: np.ndarray
    """(points,) float32: the score as ever more cells of a covered image are uncovered."""
    random_deletion: float
    """The deletion area of random orders, their mean."""
    random_insertion: float
    """The insertion area of random orders, their mean."""

    @property
    def deletion_area(self) -> float:
        """The mean height of the deletion curve: low where the map is right."""
        return _area(self.deletion)

    @property
    def insertion_area(self) -> float:
        """The mean height of the insertion curve: high where the map is right."""
        return _area(self.insertion)

    @property
    def fails(self) -> tuple[str, ...]:
        """The checks that the map fails: `random weights`, `deletion`, `insertion`."""
        failed = {
            "random weights": self.random_model >= ALIKE,
            "deletion": self.deletion_area >= self.random_deletion,
            "insertion": self.insertion_area <= self.random_insertion,
        }
        return tuple(name for name, so in failed.items() if so)

    def __str__(self) -> str:
        verdict = f"FAILS {', '.join(self.fails)}" if self.fails else "passes"
        return (
            f"{self.map}: {verdict} (correlation with random weights {self.random_model:+.2f}; deletion "
            f"{self.deletion_area:.3f}, random order {self.random_deletion:.3f}; insertion {self.insertion_area:.3f}, "
            f"random order {self.random_insertion:.3f})"
        )


def check_maps(
    case: Case, maps: Maps, again: Callable[[Case], Maps], fill: Fill = "mean", seed: int = 0
) -> list[Check]:
    """Check maps of the reference.

    Args:
        case: what is explained.
        maps: what was found.
        again: makes the same maps of another model.
        fill: what covers a cell.
        seed: decides random weights and orders.

    Raises:
        ExplanationError: there is no reference, or the target's image is not there, so that another model cannot be
            asked about it.
    """
    if case.reference is None or case.target_pixels is None:
        missing = "reference" if case.reference is None else "image of the target"
        raise ExplanationError(f"maps cannot be checked without a {missing}, and there is none")
    others: list[Maps] = []
    for number in range(RANDOM_MODELS):
        model = randomise(case.model, seed + number)
        target = model.embed_images(case.target_pixels[None]).cpu()[0].clone()
        others.append(again(replace(case, model=model, target=target, rank_of=None)))
    random = np.random.Generator(np.random.PCG64(seed))
    shape = Cells(*case.reference.shape[1:]).grid
    chance = [curves(case, random.random(shape), fill) for _ in range(RANDOM_ORDERS)]
    random_deletion, random_insertion = (float(np.mean([_area(pair[side]) for pair in chance])) for side in (0, 1))
    checks = []
    for name, values in maps.items():
        shuffled = values + 1e-9 * np.abs(values).max() * random.random(values.shape)  # equal ones in no order
        deletion, insertion = curves(case, shuffled, fill)
        alike = float(np.mean([rank_correlation(values, other[name]) for other in others]))
        checks.append(Check(name, alike, deletion, insertion, random_deletion, random_insertion))
    return checks


def curves(case: Case, values: np.ndarray, fill: Fill = "mean") -> tuple[np.ndarray, np.ndarray]:
    """The deletion and the insertion curve of a map over the reference's cells, each (points,) float32."""
    assert case.reference is not None
    cells = Cells(*case.reference.shape[1:])
    masks = cells.masks()[torch.from_numpy(np.argsort(-values, axis=None, kind="stable"))]
    steps = np.unique(np.linspace(0, len(masks), min(len(masks), POINTS) + 1).round().astype(int))
    covered = torch.stack([masks[:count].any(0) for count in steps.tolist()])
    cover = filling(case.reference, fill)
    deleted = torch.where(covered[:, None], cover[None], case.reference[None])
    inserted = torch.where(covered[:, None], case.reference[None], cover[None])
    images = torch.cat([deleted, inserted])
    scores = case.scores(case.embed(images, None if case.text is None else [case.text] * len(images)))
    return scores[: len(steps)], scores[len(steps) :]


def randomise(model: Retriever, seed: int) -> Retriever:
    """The same model with weights drawn anew, layer by layer, as they are before any training."""
    other = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(hash_seed(seed, "randomised"))  # never the seed that the model was built with
        for module in other.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    return other.eval()


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation of two arrays of one shape; 0 where one of them is constant.

    >>> rank_correlation(np.array([1, 2, 3]), np.array([10, 30, 20]))
    0.5
    """
    ranks = []
    for values in (one, other):
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((counts.cumsum() - (counts - 1) / 2)[inverse].reshape(-1))
    if min(np.ptp(ranks[0]), np.ptp(ranks[1])) == 0:
        return 0.0
    return float(round(np.corrcoef(ranks[0], ranks[1])[0, 1], 12))


def _area(curve: np.ndarray) -> float:
    return float(np.trapezoid(curve, dx=1 / max(1, len(curve) - 1)))
