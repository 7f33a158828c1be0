"""Data on disk, looked through before it is trained on."""
