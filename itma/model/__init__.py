"""Tensors → embeddings."""
