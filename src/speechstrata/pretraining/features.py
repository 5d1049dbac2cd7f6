"""What is clustered into units: MFCC, or the states of one layer of any encoder."""

from abc import ABC, abstractmethod
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechstrata.encoders.base import Layer, SpeechEncoder
from speechstrata.errors import InputError
from speechstrata.pretraining.config import SAMPLE_RATE, TargetsConfig
from speechstrata.pretraining.mfcc import DIM, HOP, WINDOW, mfcc, mfcc_length


class FeatureSource(ABC):
    """Frames of features for waveforms.

    Attributes:
        sample_rate: of the waveforms, in hertz.
        stride: samples at 16 kHz from one frame to the next.
        offset: the centre of the first frame, in samples at 16 kHz.
        dim: of a frame.
        description: what the features are, for the record; it changes when the features would.
    """

    sample_rate: int
    stride: Fraction
    offset: float
    dim: int
    description: dict[str, str]

    @abstractmethod
    def frames(self, samples: int) -> int:
        """Frames of a waveform of so many samples (at ``sample_rate``)."""

    @abstractmethod
    def features(self, waveforms: Tensor, lengths: Tensor) -> list[NDArray[np.float32]]:
        """(batch, samples), each row valid up to ``lengths`` -> (frames, dim) for each row."""


class MfccSource(FeatureSource):
    """See :mod:`speechstrata.pretraining.mfcc`."""

    sample_rate = SAMPLE_RATE
    stride = Fraction(HOP)
    offset = (WINDOW - 1) / 2
    dim = DIM

    def __init__(self) -> None:
        self.description = {"features": "mfcc"}

    def frames(self, samples: int) -> int:
        """See :meth:`FeatureSource.frames`."""
        return mfcc_length(samples)

    def features(self, waveforms: Tensor, lengths: Tensor) -> list[NDArray[np.float32]]:
        """See :meth:`FeatureSource.features`."""
        output = mfcc(waveforms, lengths)
        counts = output.lengths.tolist()
        return [row[:count].numpy() for row, count in zip(output.features, counts, strict=True)]


class LayerSource(FeatureSource):
    """The states of one layer of an encoder."""

    def __init__(self, encoder: SpeechEncoder, layer: Layer) -> None:
        self._encoder, self._layer = encoder, layer
        scale = Fraction(SAMPLE_RATE, encoder.sample_rate)
        self.sample_rate = encoder.sample_rate
        self.stride = Fraction(layer.stride) * scale
        self.offset = layer.offset * float(scale)
        self.dim = layer.dim
        self.description = {"features": encoder.name, "fingerprint": encoder.fingerprint, "layer": layer.name}

    def frames(self, samples: int) -> int:
        """See :meth:`FeatureSource.frames`."""
        return self._encoder.frame_count(self._layer, samples)

    def features(self, waveforms: Tensor, lengths: Tensor) -> list[NDArray[np.float32]]:
        """See :meth:`FeatureSource.features`."""
        output = self._encoder.hidden_states(waveforms, lengths, [self._layer.name])[self._layer.name]
        states = output.states.cpu().numpy()
        return [row[:count] for row, count in zip(states, output.lengths.tolist(), strict=True)]


def feature_source(config: TargetsConfig) -> FeatureSource:
    """The source that ``config`` names.

    Raises:
        InputError: an encoder without a layer's name.
        EncoderError: no such encoder or layer.
    """
    if config.features == "mfcc":
        if config.layer:
            raise InputError(f"MFCC have no layer {config.layer!r}", "leave --layer out")
        return MfccSource()
    from speechstrata.encoders.loading import load_encoder

    encoder = load_encoder(config.features, device=torch.device(config.device))
    if not config.layer:
        names = ", ".join(layer.name for layer in encoder.layers)
        raise InputError(f"which layer of {config.features}?", f"give --layer, one of: {names}")
    return LayerSource(encoder, encoder.layer(config.layer))
