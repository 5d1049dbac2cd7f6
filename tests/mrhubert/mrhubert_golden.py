"""The golden numbers of the public code (see ``tests/data/mrhubert/make.py``), and how its names map to ours."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechstrata.mrhubert.checkpoints import open_model
from speechstrata.mrhubert.config import NetworkConfig
from speechstrata.mrhubert.configuration import MRHubertConfig
from speechstrata.mrhubert.masked_prediction import MRHubertForPreTraining
from speechstrata.mrhubert.taps import all_block_taps, front_end_names

DATA = Path(__file__).parents[1] / "data" / "mrhubert"
EVERY = 7


@lru_cache
def golden() -> dict[str, Any]:
    with gzip.open(DATA / "golden.json.gz") as file:
        return dict(json.load(file))


MODELS: list[str] = sorted(golden()["models"])


@lru_cache
def arrays(folder: str) -> dict[str, np.ndarray]:
    with np.load(DATA / f"{folder}.npz") as stored:
        return dict(stored)


def checkpoint(name: str) -> Path:
    return DATA / "ckpt" / f"{name}.pt"


def reference_model(name: str, **changes: Any) -> MRHubertForPreTraining:
    """The network of a golden checkpoint, with the published behaviour in padded batches and without noise."""
    model = open_model(checkpoint(name))
    network = replace(model.network, padding="reference", mask_carry="reference", **changes)
    if isinstance(rates := golden()["models"][name]["label_rates"], list):
        # the published code divides rates as whole numbers: 12.0 labels a second at 80 ms, where 12.5 is exact
        network = replace(network, label_rates=tuple(rates))
    result = MRHubertForPreTraining(MRHubertConfig(network)).eval()
    result.load_state_dict(model.state_dict())
    return result


def waveforms() -> dict[str, tuple[Tensor, list[int]]]:
    """The inputs: ``a`` and ``b`` alone, and both, padded with zeros."""
    with np.load(DATA / "waveforms.npz") as stored:
        a, b = (torch.from_numpy(stored[key]).flatten() for key in ("a", "b"))
    both = torch.nn.utils.rnn.pad_sequence([a, b], batch_first=True)
    return {"a": (a[None], [len(a)]), "b": (b[None], [len(b)]), "batch": (both, [len(a), len(b)])}


def golden_names(config: NetworkConfig) -> dict[str, str]:
    """Our taps -> the golden files' names."""
    names = {front_end_names(config)[-1]: "conv", "projection": "T0"}
    for block, taps in all_block_taps(config):
        number = block.name.lstrip("abcdefghijklmnopqrstuvwxyz")
        theirs = {"encoder": f"enc{number}" if config.ratios else "enc", "middle": "mid", "decoder": f"dec{number}"}
        prefix = theirs[block.role]
        names[taps.first] = f"{prefix}.layer0.in"
        names |= {name: f"{prefix}.layer{index}" for index, name in enumerate(taps.layers)}
        names[taps.output] = f"{prefix}.out"
        if block.sampling is not None:
            names[block.sampling.name] = block.sampling.name.replace("up", "up_step")
        if block.role != "encoder":
            names[taps.joined] = f"res{0 if block.role == 'middle' else int(number) + 1}"
    return names


def difference(value: Tensor, folder: str, key: str) -> float:
    """The largest difference between ``value`` and what is kept of a golden array of the same shape."""
    assert list(value.shape) == golden()["shapes"][folder][key], key
    kept = arrays(folder)[key]
    ours = value.detach().contiguous().numpy().reshape(-1)
    ours = ours if kept.size == ours.size else ours[::EVERY]
    return float(np.abs(ours - kept.reshape(-1)).max())


def stored_key(name: str, case: str, tap: str) -> str | None:
    """The key under which a tap's states are kept, through the aliases of identical arrays; None if they are not."""
    alias = golden()["models"][name]["aliases"].get(f"{case}/{tap}", f"{case}/{tap}")
    key = f"{name}/{alias}"
    return key if key in arrays("forward") else None


def training_case(name: str, case: str) -> Iterator[Any]:
    """Inputs, lengths, mask and targets of a golden training batch."""
    inputs, lengths = waveforms()["batch"]
    if case == "crop":
        inputs, lengths = inputs[:, : lengths[1]], [lengths[1]] * 2
    stored = arrays("train")
    mask = torch.from_numpy(stored[f"{name}/{case}/mask_indices"])
    targets = []
    while (key := f"{name}/{case}/target{len(targets)}") in stored:
        targets.append(torch.from_numpy(stored[key].astype(np.int64)) - 4)  # dictionary index -> unit
    yield from (inputs, lengths, mask, targets)
