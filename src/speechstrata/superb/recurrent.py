"""Recurrent heads. They run on packed sequences, so that padding never changes an output."""

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from speechstrata.superb.augment import SpecAugment
from speechstrata.superb.task import Recipe


class RecurrentStack(nn.Module):
    """LSTM layers, each followed by dropout.

    Args:
        dim: of the input.
        hidden: units per layer and direction.
        layers: how many.
        dropout: behind each layer, the last one included.
        bidirectional: both ways through time.
    """

    def __init__(self, dim: int, hidden: int, layers: int, dropout: float, *, bidirectional: bool = True) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0
        self.lstm = nn.LSTM(dim, hidden, layers, batch_first=True, dropout=between, bidirectional=bidirectional)
        self.dropout = nn.Dropout(dropout)
        self.dim = hidden * (2 if bidirectional else 1)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(batch, frames, dim) and (batch,) -> (batch, frames, self.dim), zero past the lengths."""
        packed = pack_padded_sequence(features, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=features.shape[1])
        dropped: Tensor = self.dropout(outputs)
        return dropped


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
