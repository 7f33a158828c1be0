"""(image features, word features) → query embedding; one module per published method, known by name."""

from itma.models.composers.base import REGISTRY, Composer, FeatureShapes, composer_named, register

__all__ = ["REGISTRY", "Composer", "FeatureShapes", "composer_named", "register"]
