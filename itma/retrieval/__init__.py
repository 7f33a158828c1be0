"""What turns embeddings into hits."""
