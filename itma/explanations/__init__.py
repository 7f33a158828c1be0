"""Why this image? Attention as a hint; words, regions and gradients as evidence; checks of the maps."""

from itma.explanations.attention import AttentionMaps
from itma.explanations.case import Case, Word
from itma.explanations.checks import Check
from itma.explanations.explaining import METHODS, USUAL, case_in, case_of, explain, explain_case, open_either
from itma.explanations.explanation import Explanation
from itma.explanations.gradients import Gradients
from itma.explanations.occlusion import RegionEffects, WordEffects

__all__ = [
    "METHODS",
    "USUAL",
    "AttentionMaps",
    "Case",
    "Check",
    "Explanation",
    "Gradients",
    "RegionEffects",
    "Word",
    "WordEffects",
    "case_in",
    "case_of",
    "explain",
    "explain_case",
    "open_either",
]
