"""A model as ONNX graphs, float32 or int8: written from torch, checked against it, and answered from without it."""
