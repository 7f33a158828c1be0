"""Generated data that needs no download."""
