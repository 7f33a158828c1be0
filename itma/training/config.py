"""Everything that decides a training run, apart from the model and the data."""

from dataclasses import dataclass, field
from math import cos, pi
from typing import Any, Literal

from itma.config import APPLIES, BELONGS, check_ranges, fill_options
from itma.errors import ConfigError, UnknownNameError
from itma.training.losses import loss_named

METRICS = tuple(f"{part}/recall@{k}" for part in ("validation", "train", "test") for k in (1, 10))
"""What is measured during training, so that it can choose the best checkpoint."""


@dataclass(frozen=True)
class TrainConfig:
    """How to learn; the defaults are for the shapes world.

    >>> TrainConfig(steps=100, schedule="step", decay_every=50, decay_factor=0.1, warmup=0).rate(60) < 1e-3
    True
    """

    steps: int = 350
    """Updates of the weights, from one batch each."""
    batch: int = 96
    """Rows (reference, feedback, target) for each step; every row is compared with all targets of the batch."""
    per_reference: int = 3
    """Rows of one reference that stand side by side, so that its image is computed once for them."""
    per_family: int = 1
    """Rows that stand side by side whose images queries connect, over any number of steps: the batch then holds
    the near misses that a gallery holds. Up to `per_reference` it changes nothing."""
    loss: str = "classification"
    """A name in the registry of losses: `classification` (batch-based), `memory-bank` (that, also against targets of
    earlier batches), `distillation` (that, and to score as a teacher does), `graded` (for data that say what is true of
    an image: of all that is not the answer, what has more in common with it comes first), `soft-triplet` (TIRG's),
    `hard-negatives` (a hinge on the hardest), or one of your own."""
    loss_options: Any = field(default=None, metadata={BELONGS: "loss"})
    """The loss's own options (its `Options` dataclass); None: their defaults."""
    start_scale: float = 4.0
    """Length of the embeddings in the loss at the start of a new model, which is learned from then on: scores are
    multiplied by its square (published: 4)."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """What turns gradients into updates."""
    learning_rate: float = 4e-3
    """Size of the updates at its highest, above 0."""
    image_encoder_rate: float = 1.0
    """The image encoder's rate as a multiple of `learning_rate`."""
    weight_decay: float = 0.05
    """How strongly weights are drawn to 0, from 0 on; not those of biases, norms and tables."""
    momentum: float = field(default=0.9, metadata={APPLIES: lambda train: train.optimizer == "sgd"})
    """For SGD only."""
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """How the rate falls: along a cosine to 0 at the last step, by `decay_factor` at every `decay_every`, or not."""
    warmup: int = 50
    """Steps over which the rate rises from 0."""
    decay_every: int = field(default=50_000, metadata={APPLIES: lambda train: train.schedule == "step"})
    """Steps between decays of the `step` schedule."""
    decay_factor: float = field(default=0.1, metadata={APPLIES: lambda train: train.schedule == "step"})
    """What the rate is multiplied by at each decay."""
    clip: float = 1.0
    """Largest length of the gradient; longer ones are shortened. 0 switches it off."""
    accumulate: int = 1
    """Parts a batch is worked through in, to save memory; each part is its own set of negatives."""
    chunk: int = 0
    """Rows whose activations are held in memory at a time: a batch is embedded in chunks of so many rows, twice, and
    the gradients are those of the whole batch, to rounding (GradCache). 0 takes the batch at once."""
    precision: Literal["float32", "bf16"] = "bf16"
    """Arithmetic of the forward pass, and of what is measured meanwhile; weights and updates stay float32. A CPU that
    does not know bf16 takes float32."""
    frozen: tuple[str, ...] = ()
    """Parts that stay as they are: image_encoder, text_encoder, text_encoder.network, composer, tracker, scale."""
    augment: float = 0.0
    """Strength of random moves and recolouring of images; 0 switches it off."""
    crop: float = 0.0
    """Smallest share of an image's area that a random crop keeps; 0 switches it off."""
    flip: bool = False
    """Whether images are mirrored at random; not where the feedback speaks of left and right."""
    noise: float = 0.0
    """Standard deviation of noise that is added to images, of values from 0 to 1."""
    grounds: float = 0.0
    """Share of the images whose white ground is painted over, so that a model taught by a shop's photographs knows
    what it sees before other grounds too."""
    frozen_levels: int = 0
    """Levels of the image encoder, from the first, that stay as they are; deeper ones learn at `image_encoder_rate`."""
    fixed_norms: bool = False
    """Whether the image encoder's batch norms keep the statistics that they came with, as pretrained ones want it."""
    views: int = field(default=0, metadata={APPLIES: lambda train: train.frozen_levels > 0})
    """With frozen levels: how many augmented views of each image go through them once, before the training, instead
    of in every step. 0 computes them anew in every step."""
    hold_out: float = 0.05
    """Share of the training references kept back to choose the best checkpoint by."""
    metric: str = "validation/recall@1"
    """Which number decides the best checkpoint (larger is better): recall@1 or recall@10 of validation, train or test.
    Chosen by test, the reported number is better than the model is."""
    evaluate_every: int = 70
    """Steps between evaluations and checkpoints; there is always one at the end."""
    log_every: int = 10
    """Steps between lines in the log."""
    seed: int = 0
    """Decides everything random in the run."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            "train",
            at_least_one="steps batch per_reference per_family accumulate evaluate_every log_every decay_every",
            not_negative="warmup clip chunk augment noise weight_decay seed frozen_levels views image_encoder_rate",
            above_zero="start_scale learning_rate",
            shares="crop grounds",
            below_one="hold_out",
        )
        fill_options(self, "loss_options", loss_named(self.loss), f"train.loss_options of the loss {self.loss!r}")
        if self.views and not self.frozen_levels:
            raise ConfigError(
                f"train.views={self.views} stores what frozen levels make of images, and none is frozen: say how many"
                " are with train.frozen_levels, or leave train.views out"
            )
        if self.metric not in METRICS:
            raise UnknownNameError("train.metric", self.metric, METRICS)
        if self.batch % self.accumulate or self.batch // self.accumulate < 2:
            raise ConfigError(
                f"train.batch={self.batch} must split into train.accumulate={self.accumulate} equal parts of 2 or more"
            )

    def rate(self, step: int) -> float:
        """The learning rate of step `step` (from 0)."""
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        if self.schedule == "cosine":
            share = min(1.0, max(0.0, (step - self.warmup) / max(1, self.steps - self.warmup)))
            return self.learning_rate * rise * 0.5 * (1 + cos(pi * share))
        if self.schedule == "step":
            return float(self.learning_rate * rise * self.decay_factor ** (step // self.decay_every))
        return self.learning_rate * rise
