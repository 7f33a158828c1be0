"""Everything that decides a training run, apart from the model and the data."""

from dataclasses import dataclass
from math import cos, pi
from typing import Literal

from itma.errors import ConfigError


@dataclass(frozen=True)
class TrainConfig:
    """How to learn; the defaults are for the shapes world.

    >>> TrainConfig(steps=100, schedule="step", decay_every=50, decay_factor=0.1, warmup=0).rate(60) < 1e-3
    True
    """

    steps: int = 350
    batch: int = 96
    """Rows (reference, feedback, target) for each step; every row is compared with all targets of the batch."""
    per_reference: int = 3
    """Rows of one reference that stand side by side, so that its picture is computed once for them."""
    per_family: int = 1
    """Rows that stand side by side whose pictures queries connect, over any number of steps: the batch then holds
    the near misses that a gallery holds. Up to `per_reference` it changes nothing."""
    loss: Literal["classification", "soft-triplet"] = "classification"
    """Batch-based classification, or TIRG's soft triplet loss."""
    start_scale: float = 4.0
    """Length of the embeddings in the loss at the start of a new model, which is learned from then on: scores are
    multiplied by its square (published: 4)."""
    drop_worst: float = 0.0
    """Share of a batch's rows, those of the largest loss, that classification leaves out (an option of MAAF's code)."""
    reference_negatives: bool = False
    """Whether the references of a batch are compared with too, in classification: an answer that ignores the feedback
    then costs."""
    graded: float = 0.0
    """Weight of a second loss, for data that say what is true of a picture (the wardrobe's products): of all that is
    not the answer, what has more in common with it is to come first. An answer is then a near one where the very
    thing is not there. 0 switches it off."""
    asked: float = 3.0
    """In the graded loss, how many traits that nobody spoke of one counts for that was asked for."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 4e-3
    trunk_rate: float = 1.0
    """The trunk's rate as a multiple of `learning_rate`."""
    weight_decay: float = 0.05
    momentum: float = 0.9
    """For SGD only."""
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    warmup: int = 50
    """Steps over which the rate rises from 0."""
    decay_every: int = 50_000
    """Steps between decays of the `step` schedule."""
    decay_factor: float = 0.1
    """What the rate is multiplied by at each decay."""
    clip: float = 1.0
    """Largest length of the gradient; longer ones are shortened. 0 switches it off."""
    accumulate: int = 1
    """Parts a batch is worked through in, to save memory; each part is its own set of negatives."""
    precision: Literal["float32", "bf16"] = "bf16"
    """Arithmetic of the forward pass; weights and updates stay float32. A CPU that does not know bf16 takes float32."""
    frozen: tuple[str, ...] = ()
    """Parts that stay as they are: trunk, language, composer, scale."""
    augment: float = 0.0
    """Strength of random moves and recolouring of pictures; 0 switches it off."""
    crop: float = 0.0
    """Smallest share of a picture's area that a random crop keeps; 0 switches it off."""
    flip: bool = False
    """Whether pictures are mirrored at random; not where the feedback speaks of left and right."""
    noise: float = 0.0
    """Standard deviation of noise that is added to pictures, of values from 0 to 1."""
    grounds: float = 0.0
    """Share of the pictures whose white ground is painted over, so that a model taught by a shop's photographs knows
    what it sees before other grounds too."""
    frozen_levels: int = 0
    """Levels of the trunk, from the first, that stay as they are; the deeper ones learn, at `trunk_rate`."""
    fixed_norms: bool = False
    """Whether the trunk's batch norms keep the statistics that they came with, as a pretrained trunk wants it."""
    views: int = 0
    """With frozen levels: how many augmented views of each picture go through them once, before the training, instead
    of in every step. 0 computes them anew in every step."""
    hold_out: float = 0.05
    """Share of the training references kept back to choose the best checkpoint by."""
    metric: str = "validation/recall@1"
    """Which number decides the best checkpoint (larger is better)."""
    evaluate_every: int = 70
    """Steps between evaluations and checkpoints; there is always one at the end."""
    log_every: int = 10
    """Steps between lines in the log."""
    seed: int = 0
    """Decides everything random in the run."""

    def __post_init__(self) -> None:
        at_least_one = (
            "steps",
            "batch",
            "per_reference",
            "per_family",
            "accumulate",
            "evaluate_every",
            "log_every",
            "decay_every",
        )
        for name in at_least_one:
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name}={getattr(self, name)} must be at least 1")
        not_negative = (
            "warmup",
            "clip",
            "augment",
            "noise",
            "weight_decay",
            "graded",
            "asked",
            "seed",
            "frozen_levels",
            "views",
        )
        for name in not_negative:
            if getattr(self, name) < 0:
                raise ConfigError(f"train.{name}={getattr(self, name)} must not be negative")
        if self.start_scale <= 0:
            raise ConfigError(f"train.start_scale={self.start_scale} must be above 0")
        if self.learning_rate <= 0 or self.trunk_rate < 0:
            raise ConfigError(
                f"train.learning_rate={self.learning_rate} must be above 0, train.trunk_rate={self.trunk_rate} ≥ 0"
            )
        if not 0 <= self.drop_worst < 1:
            raise ConfigError(f"train.drop_worst={self.drop_worst} must be a share of the rows, from 0 to below 1")
        if self.reference_negatives and self.loss != "classification":
            raise ConfigError(
                f"train.reference_negatives goes with train.loss=classification; the loss is {self.loss!r}"
            )
        if self.graded and self.loss != "classification":
            raise ConfigError(f"train.graded goes with train.loss=classification; the loss is {self.loss!r}")
        if not 0 <= self.crop <= 1:
            raise ConfigError(f"train.crop={self.crop} must be a share of the area, from 0 (off) to 1")
        if not 0 <= self.grounds <= 1:
            raise ConfigError(f"train.grounds={self.grounds} must be a share of the pictures, from 0 to 1")
        if self.views and not self.frozen_levels:
            raise ConfigError(
                f"train.views={self.views} stores what frozen levels make of pictures, and none is frozen: say how many"
                " are with train.frozen_levels, or leave train.views out"
            )
        if not 0 <= self.hold_out < 1:
            raise ConfigError(f"train.hold_out={self.hold_out} must be a share from 0 to below 1")
        if self.batch % self.accumulate or self.batch // self.accumulate < 2:
            raise ConfigError(
                f"train.batch={self.batch} must split into train.accumulate={self.accumulate} equal parts of 2 or more"
            )

    def rate(self, step: int) -> float:
        """The learning rate of step `step` (from 0)."""
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        if self.schedule == "cosine":
            done = min(1.0, max(0.0, (step - self.warmup) / max(1, self.steps - self.warmup)))
            return self.learning_rate * rise * 0.5 * (1 + cos(pi * done))
        if self.schedule == "step":
            return float(self.learning_rate * rise * self.decay_factor ** (step // self.decay_every))
        return self.learning_rate * rise
