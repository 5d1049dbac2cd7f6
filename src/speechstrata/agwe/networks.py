"""The two encoders: recurrent networks over frames and over symbols, into one space.

They run on packed sequences, so a word's embedding is the same alone and in any batch.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pack_sequence

from speechstrata.agwe.config import AgweConfig
from speechstrata.pretraining.mfcc import DIM


class SequenceEncoder(nn.Module):
    """Bidirectional recurrent layers; the last layer's two final states, concatenated and projected.

    Args:
        inputs: dimensions of a step.
        layers: recurrent layers.
        config: sizes and dropout.
    """

    def __init__(self, inputs: int, layers: int, config: AgweConfig) -> None:
        super().__init__()
        kind = nn.GRU if config.cell == "gru" else nn.LSTM
        between = config.dropout if layers > 1 else 0.0
        self.recurrent = kind(inputs, config.hidden, layers, dropout=between, bidirectional=True)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(2 * config.hidden, config.dim)

    def forward(self, sequences: Sequence[Tensor]) -> Tensor:
        """Sequences (steps, inputs), each of its own length -> (batch, dim) of unit length."""
        final = self.recurrent(pack_sequence(list(sequences), enforce_sorted=False))[1]
        states = final[0] if isinstance(final, tuple) else final  # an LSTM has cells, too
        both = torch.cat([states[-2], states[-1]], dim=1)
        embedded: Tensor = normalize(self.output(self.dropout(both)), dim=1)
        return embedded


class WordEmbedder(nn.Module):
    """The acoustic and the text encoder.

    Args:
        symbols: the alphabet; others are not known.
        config: sizes.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, symbols: Sequence[str], config: AgweConfig) -> None:
        super().__init__()
        self.symbols = tuple(symbols)
        self._index = {symbol: number for number, symbol in enumerate(self.symbols)}
        self._stack = config.stack
        self.register_buffer("mean", torch.zeros(DIM))
        self.register_buffer("deviation", torch.ones(DIM))
        self.acoustic = SequenceEncoder(DIM * config.stack, config.acoustic_layers, config)
        self.table = nn.Embedding(len(self.symbols), config.symbol_dim)
        self.text = SequenceEncoder(config.symbol_dim, config.text_layers, config)

    def fit_scale(self, frames: Iterable[NDArray[np.float32]]) -> None:
        """Standardise by the mean and deviation of these frames."""
        every = np.concatenate(list(frames)).astype(np.float64)
        self.mean.copy_(torch.from_numpy(every.mean(axis=0)))
        self.deviation.copy_(torch.from_numpy(every.std(axis=0)).clamp(min=1e-6))

    def spoken(self, frames: Sequence[NDArray[np.float32]]) -> Tensor:
        """Segments (frames, 39) -> (batch, dim) of unit length."""
        embedded: Tensor = self.acoustic([self._stacked(torch.from_numpy(segment)) for segment in frames])
        return embedded

    def _stacked(self, frames: Tensor) -> Tensor:
        """(frames, 39) -> (steps, 39 x stack); a step that is not full repeats the last frame."""
        scaled = (frames - self.mean) / self.deviation
        missing = -len(scaled) % self._stack
        scaled = torch.cat([scaled, scaled[-1:].expand(missing, -1)])
        return scaled.reshape(-1, self._stack * DIM)

    def knows(self, word: Sequence[str]) -> bool:
        """Whether every symbol of a word is in the alphabet, and there is one."""
        return len(word) > 0 and all(symbol in self._index for symbol in word)

    def written(self, words: Sequence[Sequence[str]]) -> Tensor:
        """Words as sequences of symbols -> (batch, dim) of unit length.

        Raises:
            KeyError: a symbol that is not in the alphabet.
        """
        rows = [self.table(torch.tensor([self._index[symbol] for symbol in word])) for word in words]
        embedded: Tensor = self.text(rows)
        return embedded


def spellings(words: Iterable[str], pronounced: Mapping[str, tuple[str, ...]] | None) -> dict[str, tuple[str, ...]]:
    """Each word as its symbols: its phones in ``pronounced`` (without any it is left out), else characters."""
    if pronounced is None:
        return {word: tuple(word) for word in words}
    return {word: pronounced[word] for word in words if word in pronounced}


@torch.no_grad()
def embed_spoken(model: WordEmbedder, frames: Sequence[NDArray[np.float32]], batch: int = 512) -> NDArray[np.float32]:
    """(n, dim) embeddings of segments, without dropout."""
    model.eval()
    rows = [model.spoken(frames[start : start + batch]).numpy() for start in range(0, len(frames), batch)]
    return np.concatenate(rows)


@torch.no_grad()
def embed_written(model: WordEmbedder, words: Sequence[Sequence[str]], batch: int = 2048) -> NDArray[np.float32]:
    """(n, dim) embeddings of written words, without dropout."""
    model.eval()
    rows = [model.written(words[start : start + batch]).numpy() for start in range(0, len(words), batch)]
    return np.concatenate(rows)
