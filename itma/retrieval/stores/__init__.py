"""Where a catalogue's rows are kept."""
