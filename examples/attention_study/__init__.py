"""Studies of trained models on generated worlds, where it is known what is where."""
