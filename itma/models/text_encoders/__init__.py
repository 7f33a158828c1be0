"""Words → word features."""
