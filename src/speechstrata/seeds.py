"""Random streams that depend on a seed and on what they are for, never on what was drawn before."""

import hashlib

import numpy as np


def derived_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for ``purpose``: the same on every platform, unrelated for different purposes."""
    text = "\x1f".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """A NumPy generator for ``purpose``, e.g. ``generator(0, "spans", "word", 2)``."""
    return np.random.default_rng(derived_seed(seed, *purpose))
