"""(picture features, word features) → query embedding; one module per published method, known by name."""

# imported so that each registers its composers
from itma.models.composers import combiner, itma, simple, tirg, weighted_sum  # noqa: F401
from itma.models.composers.base import REGISTRY, Composer, Place, composer_named

__all__ = ["REGISTRY", "Composer", "Place", "composer_named"]
