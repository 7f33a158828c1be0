"""The model hub and model cards."""
