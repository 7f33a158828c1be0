"""Where the rows of a catalogue are kept: one file an engine."""
