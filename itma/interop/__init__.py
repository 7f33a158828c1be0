"""Models of other programs, and for other programs."""
