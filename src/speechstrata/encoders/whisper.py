"""Whisper's encoder: log-mel of a fixed window of 30 s, two convolutions, then a pre-LN Transformer.

The window is part of the model (its positions are learned, and it attends to the silence after the speech), so audio
is padded to it and longer audio is cut into consecutive windows. What comes out is the frames of the audio alone.
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank

from speechstrata.encoders.base import Layer, SpeechEncoder
from speechstrata.encoders.huggingface import fingerprint_of, load_model, read_preprocessing, supervision_of
from speechstrata.encoders.module_encoder import ModuleEncoder, Step
from speechstrata.encoders.registry import LoadRequest, refuse_normalize


def load(request: LoadRequest) -> SpeechEncoder:
    """Load the encoder of a Whisper folder or hub name; the decoder is left out."""
    refuse_normalize(request, "Whisper computes its own log-mel")
    model = load_model(transformers.WhisperModel, request)
    preprocessing = read_preprocessing(request.source)
    log_mel = WhisperLogMel(
        mels=model.config.num_mel_bins,
        sample_rate=preprocessing.sample_rate,
        fft=int(preprocessing.values.get("n_fft", 400)),
        hop=int(preprocessing.values.get("hop_length", 160)),
    )
    return WhisperEncoder(
        model.encoder,
        log_mel,
        unnormed=request.unnormed,
        name=request.name,
        sample_rate=preprocessing.sample_rate,
        fingerprint=fingerprint_of(model.encoder, model.config, fft=log_mel.fft, hop=log_mel.hop),
        supervision=supervision_of(request, "supervised"),
        precision=request.precision,
    )


class WhisperLogMel(nn.Module):
    """Windows of audio -> the log-mel of ``transformers.WhisperFeatureExtractor``.

    Args:
        mels: number of bins.
        sample_rate: hertz.
        fft: samples in a (Hann) window and its transform.
        hop: samples from one frame to the next.
    """

    filters: Tensor
    window: Tensor

    def __init__(self, mels: int, sample_rate: int = 16000, fft: int = 400, hop: int = 160) -> None:
        super().__init__()
        self.fft, self.hop = fft, hop
        filters = mel_filter_bank(
            num_frequency_bins=1 + fft // 2,
            num_mel_filters=mels,
            min_frequency=0.0,
            max_frequency=8000.0,
            sampling_rate=sample_rate,
            norm="slaney",
            mel_scale="slaney",
        )
        self.register_buffer("filters", torch.from_numpy(filters).float())
        self.register_buffer("window", torch.hann_window(fft))

    def forward(self, audio: Tensor) -> Tensor:
        """(windows, samples) -> (windows, mels, samples // hop), frame t centred on sample t x hop."""
        with torch.autocast(audio.device.type, enabled=False):  # a range of 80 dB does not fit bfloat16
            spectrum = torch.stft(audio, self.fft, self.hop, window=self.window, return_complex=True)
            power = spectrum[..., :-1].abs().square()
            levels = (self.filters.T @ power).clamp_min(1e-10).log10()
            loudest = levels.amax((1, 2), keepdim=True)
            return (torch.maximum(levels, loudest - 8.0) + 4.0) / 4.0


class WhisperEncoder(ModuleEncoder):
    """The encoder as layers: ``conv1`` (10 ms), ``conv2`` (20 ms), ``T0`` (with positions), ``T1``...

    Args:
        model: ``transformers.models.whisper.modeling_whisper.WhisperEncoder``.
        log_mel: its features.
        unnormed: also tap the last layer before the final layer norm.
        settings: see :class:`ModuleEncoder`.
    """

    def __init__(self, model: Any, log_mel: WhisperLogMel, *, unnormed: bool = False, **settings: Any) -> None:
        dim, depth = model.config.d_model, len(model.layers)
        names = [f"T{number}" for number in range(depth + 1)]
        if unnormed:
            names.insert(-1, f"T{depth}-unnormed")
        fine = log_mel.hop * model.conv1.stride[0]
        coarse = fine * model.conv2.stride[0]
        self.window = model.config.max_source_positions * coarse
        # Both convolutions are padded so that output t is centred on input t x stride: all frames start at 0.
        layers = (
            Layer("conv1", fine, 0.0, dim, "conv"),
            Layer("conv2", coarse, 0.0, dim, "conv"),
            *(Layer(name, coarse, 0.0, dim, "transformer") for name in names),
        )
        modules = nn.ModuleDict({"log_mel": log_mel, "encoder": model})
        super().__init__(module=modules, layers=layers, **settings)

    def frame_count(self, layer: Layer, samples: int) -> int:
        """The frames centred within the audio; see :meth:`SpeechEncoder.frame_count`."""
        return -(-samples // cast(int, layer.stride))

    def _steps(self, audio: Tensor, lengths: Sequence[int]) -> Iterator[Step]:
        modules = cast(nn.ModuleDict, self.module)
        model: Any = modules["encoder"]
        windows, counts = self._windows(audio, lengths)

        def step(name: str, states: Tensor) -> Step:
            frames = [self.frame_count(self.layer(name), length) for length in lengths]
            return Step(name, _join(states, counts, frames), frames)

        hidden = functional.gelu(model.conv1(modules["log_mel"](windows)))
        del windows
        yield step("conv1", hidden.transpose(1, 2))
        hidden = functional.gelu(model.conv2(hidden)).transpose(1, 2)
        yield step("conv2", hidden)
        hidden = hidden + model.embed_positions.weight
        yield step("T0", hidden)
        for number, layer in enumerate(model.layers, start=1):
            hidden = layer(hidden, None)
            if number == len(model.layers):
                if self.layers[-2].name.endswith("-unnormed"):
                    yield step(self.layers[-2].name, hidden)
                hidden = model.layer_norm(hidden)
            yield step(f"T{number}", hidden)

    def _windows(self, audio: Tensor, lengths: Sequence[int]) -> tuple[Tensor, list[int]]:
        """(total windows, samples), zero-padded, utterance after utterance, and how many each one has."""
        counts = [-(-length // self.window) for length in lengths]
        windows = audio.new_zeros(sum(counts), self.window)
        flat = windows.view(-1)
        start = 0
        for row, (length, count) in enumerate(zip(lengths, counts, strict=True)):
            flat[start : start + length] = audio[row, :length]
            start += count * self.window
        return windows, counts


def _join(states: Tensor, counts: Sequence[int], frames: Sequence[int]) -> Tensor:
    """(total windows, frames, dim) -> (batch, longest, dim): an utterance's windows in a row, padding dropped.

    It copies, since the padding's states, which are to be zero outside, are still attended to inside.
    """
    joined = states.new_zeros(len(counts), max(frames), states.shape[2])
    first = 0
    for row, (count, length) in enumerate(zip(counts, frames, strict=True)):
        joined[row, :length] = states[first : first + count].flatten(0, 1)[:length]
        first += count
    return joined
