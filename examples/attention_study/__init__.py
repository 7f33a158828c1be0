"""A study of trained models on the shapes world, where it is known what is where."""
