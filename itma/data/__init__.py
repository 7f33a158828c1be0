"""Files on disk → triplets → tensors."""
