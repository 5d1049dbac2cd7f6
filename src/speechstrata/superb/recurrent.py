"""Recurrent heads, in which padding never changes an output."""

import torch
from torch import Tensor, nn

from speechstrata.superb.augment import SpecAugment
from speechstrata.superb.task import Recipe


class RecurrentStack(nn.Module):
    """LSTM layers, each followed by dropout.

    The way back through time begins at an utterance's own last frame: its frames are turned round in front of an LSTM
    that goes forward. That is what packed sequences compute, several times faster on a CPU.

    Args:
        dim: of the input.
        hidden: units per layer and direction.
        layers: how many.
        dropout: behind each layer, the last one included.
        bidirectional: both ways through time.
    """

    def __init__(self, dim: int, hidden: int, layers: int, dropout: float, *, bidirectional: bool = True) -> None:
        super().__init__()
        self.dim = hidden * (2 if bidirectional else 1)
        dims = [dim, *[self.dim] * (layers - 1)]
        self.ahead = nn.ModuleList(nn.LSTM(size, hidden, batch_first=True) for size in dims)
        self.back = nn.ModuleList(nn.LSTM(size, hidden, batch_first=True) for size in dims if bidirectional)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(batch, frames, dim) and (batch,) -> (batch, frames, self.dim), zero past the lengths."""
        lengths = lengths.to(features.device)[:, None]
        time = torch.arange(features.shape[1], device=features.device)[None]
        turned = torch.where(time < lengths, lengths - 1 - time, time)[..., None]
        for number, ahead in enumerate(self.ahead):
            outputs = [ahead(features)[0]]
            if self.back:
                outputs.append(_taken(self.back[number](_taken(features, turned))[0], turned))
            features = self.dropout(torch.cat(outputs, dim=-1))
        return features * (time < lengths)[..., None]


def _taken(features: Tensor, times: Tensor) -> Tensor:
    """(batch, frames, dim) in the order of ``times`` (batch, frames, 1)."""
    return features.gather(1, times.expand(-1, -1, features.shape[2]))


class TranscriptionHead(nn.Module):
    """Of speech recognition and slot filling: SpecAugment, linear, BLSTM layers, linear.

    Args:
        dim: of the features.
        units: outputs.
        recipe: sizes, dropout, and whether to augment.
    """

    def __init__(self, dim: int, units: int, recipe: Recipe) -> None:
        super().__init__()
        self.augment = SpecAugment() if recipe.augment else nn.Identity()
        self.projection = nn.Linear(dim, recipe.width)
        self.recurrent = RecurrentStack(recipe.width, recipe.hidden, recipe.recurrent_layers, recipe.dropout)
        self.output = nn.Linear(self.recurrent.dim, units)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(batch, frames, dim) and (batch,) -> logits (batch, frames, units)."""
        if isinstance(self.augment, SpecAugment):
            features = self.augment(features, lengths)
        logits: Tensor = self.output(self.recurrent(self.projection(features), lengths))
        return logits


class FrameHead(nn.Module):
    """Of diarisation and enhancement: LSTM layers, linear, and a rectifier where the outputs are a mask.

    Args:
        dim: of the features.
        outputs: per frame.
        recipe: sizes and dropout.
        bidirectional: see :class:`RecurrentStack`.
        rectify: outputs are at least 0.
    """

    def __init__(self, dim: int, outputs: int, recipe: Recipe, *, bidirectional: bool, rectify: bool) -> None:
        super().__init__()
        self.recurrent = RecurrentStack(
            dim, recipe.hidden, recipe.recurrent_layers, recipe.dropout, bidirectional=bidirectional
        )
        self.output = nn.Linear(self.recurrent.dim, outputs)
        self._rectify = rectify

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(batch, frames, dim) and (batch,) -> (batch, frames, outputs)."""
        outputs: Tensor = self.output(self.recurrent(features, lengths))
        return outputs.relu() if self._rectify else outputs
