"""Embeddings → numbers."""
