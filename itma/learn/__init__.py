"""Embeddings → weights."""
