"""Image → feature maps."""
