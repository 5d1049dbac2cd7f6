"""The control encoder: the published protocol's log-mel filterbank as one layer, batched in torch.

A score of a learned layer means something only beside the same score of the spectrum itself. Settings: those of the
public layer-wise analysis code (librosa 0.9 to 0.11): peak-normalised to 0.999, pre-emphasis 0.97, magnitude of a
2048-point transform of centred 25 ms windows every 10 ms, 80 Slaney mels from 50 Hz, decibels with a range of 80 below
the utterance's loudest bin, divided by 80, plus 1.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank

from speechstrata.encoders.base import Layer, SpeechEncoder
from speechstrata.encoders.fingerprints import model_fingerprint
from speechstrata.encoders.masking import zero_tails_
from speechstrata.encoders.module_encoder import ModuleEncoder, Step
from speechstrata.encoders.registry import LoadRequest, refuse_normalize
from speechstrata.errors import EncoderError

SAMPLE_RATE = 16000
HOP = 160
WINDOW = 400
FFT = 2048
MELS = 80
LOWEST_HZ = 50.0
PRE_EMPHASIS = 0.97
PEAK = 0.999
AMPLITUDE_FLOOR = 1e-5
RANGE_DB = 80.0


def load(request: LoadRequest) -> SpeechEncoder:
    """Load ``fbank``.

    Raises:
        EncoderError: the random control is asked for, or ``normalize``.
    """
    refuse_control(request)
    refuse_normalize(request, "it brings each waveform's peak to 0.999")
    return FbankEncoder(request.name)


def refuse_control(request: LoadRequest) -> None:
    """For front-ends.

    Raises:
        EncoderError: the random control is asked for; there are no weights to draw.
    """
    if request.control is not None:
        raise EncoderError(
            f"{request.source} has no weights, so no {request.control} control",
            "ask for the control of models alone",
        )


class FbankEncoder(ModuleEncoder):
    """One layer, ``fbank``: (batch, 1 + samples // 160, 80), frame t centred on sample 160 t."""

    def __init__(self, name: str = "fbank") -> None:
        module = _LogMel()
        super().__init__(
            name=name,
            module=module,
            layers=(Layer("fbank", HOP, 0.0, MELS, "fbank"),),
            sample_rate=SAMPLE_RATE,
            fingerprint=model_fingerprint({"front_end": "log-mel", "hop": HOP}, module.state_dict()),
            supervision="none",
        )

    def frame_count(self, layer: Layer, samples: int) -> int:
        """See :meth:`SpeechEncoder.frame_count`."""
        return 1 + samples // HOP if samples > 0 else 0

    def _steps(self, audio: Tensor, lengths: Sequence[int]) -> Iterator[Step]:
        frames = [1 + count // HOP for count in lengths]
        yield Step("fbank", self.module(audio, lengths, frames), frames)


class _LogMel(nn.Module):
    """Waveforms -> log-mel; computed in float64, where a range of 80 dB leaves digits to spare."""

    window: Tensor
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        filters = mel_filter_bank(
            num_frequency_bins=FFT // 2 + 1,
            num_mel_filters=MELS,
            min_frequency=LOWEST_HZ,
            max_frequency=SAMPLE_RATE / 2,
            sampling_rate=SAMPLE_RATE,
            norm="slaney",
            mel_scale="slaney",
        )
        self.register_buffer("filters", torch.from_numpy(np.asarray(filters, dtype=np.float64)))
        self.register_buffer("window", torch.hann_window(WINDOW, dtype=torch.float64))

    def forward(self, audio: Tensor, lengths: Sequence[int], frames: Sequence[int]) -> Tensor:
        """(batch, samples), zero past each of ``lengths`` -> (batch, max(frames), 80) float32."""
        audio = audio.double()
        peak = audio.abs().amax(1, keepdim=True)
        audio = audio / torch.where(peak > 0, peak, 1.0) * PEAK
        audio = torch.cat([audio[:, :1], audio[:, 1:] - PRE_EMPHASIS * audio[:, :-1]], dim=1)
        # The filter answers once more after the last sample: there the padding begins.
        audio = nn.functional.pad(zero_tails_(audio, lengths), (WINDOW // 2, WINDOW // 2))
        # A window of 400 in a transform of 2048 is zeros but for its middle; where these zeros lie turns the
        # phase alone, which the magnitude does not see.
        spectrum = torch.fft.rfft(audio.unfold(1, WINDOW, HOP) * self.window, n=FFT).abs()
        decibels = 20 * (spectrum @ self.filters).clamp_min(AMPLITUDE_FLOOR).log10()
        inside = torch.arange(decibels.shape[1], device=audio.device)[None] < torch.tensor(
            frames, device=audio.device
        ).unsqueeze(1)
        loudest = decibels.masked_fill(~inside[..., None], -torch.inf).amax((1, 2), keepdim=True)
        return (torch.maximum(decibels, loudest - RANGE_DB) / RANGE_DB + 1).float()
