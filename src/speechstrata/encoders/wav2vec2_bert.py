"""Wav2Vec2-BERT: Kaldi log-mels, two frames to one (20 ms), then a Conformer."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
import transformers
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank, window_function
from transformers.masking_utils import create_bidirectional_mask

from speechstrata.encoders.base import Layer, SpeechEncoder
from speechstrata.encoders.geometry import Convolution, clocks, frames_after
from speechstrata.encoders.huggingface import fingerprint_of, load_model, read_preprocessing, supervision_of
from speechstrata.encoders.masking import frame_mask, zero_tails_
from speechstrata.encoders.module_encoder import ModuleEncoder, Step
from speechstrata.encoders.registry import LoadRequest, refuse_normalize

_WINDOW = 400
_HOP = 160
_FFT = 512
_PRE_EMPHASIS = 0.97
_PCM_RANGE = 2.0**15  # Kaldi's waveforms are 16-bit integers
_POWER_FLOOR = 1.192092955078125e-07
_VARIANCE_FLOOR = 1e-7


def load(request: LoadRequest) -> SpeechEncoder:
    """Load a Wav2Vec2-BERT folder or hub name."""
    refuse_normalize(request, "Wav2Vec2-BERT normalises each of its log-mel bins")
    model = load_model(transformers.Wav2Vec2BertModel, request, optional=["masked_spec_embed"])
    preprocessing = read_preprocessing(request.source)
    mels = int(preprocessing.values.get("num_mel_bins", 80))
    stacked = model.config.feature_projection_input_dim // mels
    return Wav2Vec2BertEncoder(
        model,
        KaldiLogMel(mels, preprocessing.sample_rate),
        stacked,
        name=request.name,
        sample_rate=preprocessing.sample_rate,
        fingerprint=fingerprint_of(model, model.config, mels=mels),
        supervision=supervision_of(request, "self-supervised"),
        precision=request.precision,
    )


class KaldiLogMel(nn.Module):
    """Waveforms -> the log-mel of ``transformers.SeamlessM4TFeatureExtractor``, in float64 as there.

    Each bin has zero mean and unit (unbiased) variance over the utterance's own frames.
    """

    filters: Tensor
    window: Tensor

    def __init__(self, mels: int = 80, sample_rate: int = 16000) -> None:
        super().__init__()
        filters = mel_filter_bank(
            num_frequency_bins=_FFT // 2 + 1,
            num_mel_filters=mels,
            min_frequency=20,
            max_frequency=sample_rate // 2,
            sampling_rate=sample_rate,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
        window = window_function(_WINDOW, "povey", periodic=False)
        self.register_buffer("filters", torch.from_numpy(filters).double())
        self.register_buffer("window", torch.from_numpy(window).double())

    def forward(self, audio: Tensor, frames: Sequence[int]) -> Tensor:
        """(batch, samples) -> (batch, max(frames), mels) float32, zero past each of ``frames``."""
        pieces = (audio.double() * _PCM_RANGE).unfold(1, _WINDOW, _HOP)
        pieces = pieces - pieces.mean(2, keepdim=True)
        first = pieces[..., :1] * (1 - _PRE_EMPHASIS)
        pieces = torch.cat([first, pieces[..., 1:] - _PRE_EMPHASIS * pieces[..., :-1]], dim=2)
        power = torch.fft.rfft(pieces * self.window, n=_FFT).abs().square()
        levels = (power @ self.filters).clamp_min(_POWER_FLOOR).log()
        for row, count in enumerate(frames):
            own = levels[row, :count]
            levels[row, :count] = (own - own.mean(0)) / (own.var(0) + _VARIANCE_FLOOR).sqrt()
        return zero_tails_(levels, frames).float()


class Wav2Vec2BertEncoder(ModuleEncoder):
    """The model as layers: ``T0`` (the projected features, input of the first block), ``T1``...

    Args:
        model: ``transformers.Wav2Vec2BertModel``.
        log_mel: its features.
        stacked: how many of their frames make one frame of the model.
        settings: see :class:`ModuleEncoder`.
    """

    def __init__(self, model: Any, log_mel: KaldiLogMel, stacked: int, **settings: Any) -> None:
        self._convolutions = (Convolution(_WINDOW, _HOP), Convolution(stacked, stacked))
        clock = clocks(self._convolutions)[-1]
        layers = tuple(
            Layer(f"T{number}", clock.stride, clock.offset, model.config.hidden_size, "transformer")
            for number in range(model.config.num_hidden_layers + 1)
        )
        modules = nn.ModuleDict({"log_mel": log_mel, "model": model})
        super().__init__(module=modules, layers=layers, **settings)

    def frame_count(self, layer: Layer, samples: int) -> int:
        """See :meth:`SpeechEncoder.frame_count`."""
        return frames_after(self._convolutions, samples)

    def _steps(self, audio: Tensor, lengths: Sequence[int]) -> Iterator[Step]:
        modules = cast(nn.ModuleDict, self.module)
        model: Any = modules["model"]
        window, stack = self._convolutions
        # The bins are normalised over all 10 ms frames, the last one too where it finds no partner.
        features = modules["log_mel"](audio, [window.frames(length) for length in lengths])
        frames = [self.frame_count(self.layers[0], length) for length in lengths]
        features = features[:, : max(frames) * stack.stride].unflatten(1, (max(frames), stack.stride)).flatten(2)
        hidden = model.feature_projection(features)[0]
        yield Step("T0", hidden, frames)
        encoder = model.encoder
        mask = frame_mask(frames, hidden.shape[1], hidden.device)
        arguments = {
            "attention_mask": create_bidirectional_mask(encoder.config, hidden, mask),
            "relative_position_embeddings": encoder.embed_positions(hidden) if encoder.embed_positions else None,
        }
        # The blocks' convolutions are causal: what is in the padding cannot reach back, and needs no mask there.
        for number, layer in enumerate(encoder.layers, start=1):
            hidden = layer(hidden, **arguments)
            yield Step(f"T{number}", hidden, frames)
