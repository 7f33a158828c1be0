"""Why this image? Attention as a hint; words, regions and gradients as evidence; checks of the maps."""
