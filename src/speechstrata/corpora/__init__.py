"""Where audio and its time-aligned words and phones come from; everything becomes a lhotse CutSet."""
