"""Train multi-resolution speech models and measure, layer by layer, what any speech encoder holds."""

__version__ = "0.1.0"
