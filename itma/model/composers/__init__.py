"""(picture features, word features) → query embedding; one module per published method, known by name."""

from itma.model.composers import itma, simple, tirg  # noqa: F401  (imported so that each registers its composers)
from itma.model.composers.base import REGISTRY, Composer, Place, composer_named

__all__ = ["REGISTRY", "Composer", "Place", "composer_named"]
