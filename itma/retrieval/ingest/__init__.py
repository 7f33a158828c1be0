"""Sources → rows of a catalogue."""
