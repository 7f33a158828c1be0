"""Users of the package, not parts of it."""
