"""Embeddings → hits."""
