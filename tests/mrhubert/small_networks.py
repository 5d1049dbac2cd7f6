"""Small random networks of every kind, for tests that need no trained weights."""

from dataclasses import replace
from typing import Any

import torch

from speechstrata.mrhubert.config import NetworkConfig
from speechstrata.mrhubert.configuration import MRHubertConfig
from speechstrata.mrhubert.masked_prediction import MRHubertForPreTraining
from speechstrata.mrhubert.named import NAMED

QUIET = {"dropout": 0.0, "attention_dropout": 0.0, "input_dropout": 0.0, "layerdrop": 0.0}

#: One of every kind: post-LN and pre-LN, both extractors and log-mel, one to three resolutions, both residuals.
KINDS = (
    "hubert-base",
    "hubert-large",
    "mrhubert-base",
    "mrhubert-large",
    "b2-a",
    "b3-a",
    "b4-a",
    "b5-a-single",
    "small-pre",
    "tiny",
    "tiny-3res",
    "tiny-large",
    "tiny-pre",
)


def small_config(kind: str, **changes: Any) -> NetworkConfig:
    """A named model's shape at 24 dimensions and at most three layers a block."""
    config = NAMED[kind]
    return replace(
        config,
        **(
            {
                "layers": tuple(min(count, 3) for count in config.layers),
                "dim": 24,
                "ffn_dim": 48,
                "heads": 4,
                "positional_kernel": 16,
                "positional_groups": 4,
                "final_dim": 16,
                "classes": (12,),
                "label_offset": 0,
                "mel_bins": 20,
                "conv_layers": tuple(layer._replace(channels=16) for layer in config.conv_layers),
            }
            | QUIET
            | changes
        ),
    )


def small_model(kind: str, seed: int = 0, **changes: Any) -> MRHubertForPreTraining:
    """That network, in evaluation mode, with weights that make no two layers alike and no statistic trivial."""
    torch.manual_seed(seed)
    model = MRHubertForPreTraining(MRHubertConfig(small_config(kind, **changes))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn_like(parameter) * 0.1
    return model


def noise(batch: int, samples: int, seed: int = 0) -> torch.Tensor:
    """(batch, samples) coloured noise with an offset, so that means and neighbouring samples matter."""
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(batch, samples + 1, generator=generator)
    return 0.1 * (white[:, 1:] + 0.8 * white[:, :-1]) + 0.02
