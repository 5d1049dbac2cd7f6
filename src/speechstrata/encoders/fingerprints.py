"""What a model is, in 16 hexadecimal digits: its architecture and its weights, wherever the files are."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from speechstrata.files import fingerprint

_THREADS = 4  # hashlib lets go of the interpreter lock, so a large model is read at the memory's speed


def model_fingerprint(architecture: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    """The fingerprint of a model; the same for the same numbers, whatever file, device or folder they are from.

    Args:
        architecture: JSON-serialisable, whatever else decides the states (class, sizes, waveform normalisation).
        weights: name -> tensor.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        digests = dict(zip(weights, pool.map(_digest, weights.values()), strict=True))
    return fingerprint({"architecture": dict(architecture), "weights": digests})


def _digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's shape, type and bytes."""
    array = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{tuple(array.shape)} {array.dtype}".encode())
    digest.update(array.flatten().view(torch.uint8).numpy().data)  # bytes: NumPy knows no bfloat16
    return digest.hexdigest()
