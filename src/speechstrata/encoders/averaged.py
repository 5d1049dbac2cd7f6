"""The control for time resolution: another encoder's states, averaged over windows to one every 40 or 80 ms.

A layer of lower resolution may score differently because it was computed at that rate, or only because its frames are
longer. ``averaged:40ms:MODEL`` is MODEL with nothing but the second: the same states, pooled in time afterwards.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import torch
from torch import Tensor

from speechstrata.encoders.base import HiddenStates, Layer, SpeechEncoder, Visitor
from speechstrata.errors import EncoderError
from speechstrata.files import fingerprint

_SPEC = re.compile(r"averaged:(\d+(?:\.\d+)?)ms:(.+)", re.DOTALL)


@dataclass(frozen=True)
class AveragedSpec:
    """``averaged:40ms:MODEL`` in parts.

    Attributes:
        milliseconds: from one averaged frame to the next.
        source: the model's own name.
    """

    milliseconds: Fraction
    source: str


def parse_averaged(name: str) -> AveragedSpec | None:
    """The parts of ``averaged:40ms:MODEL``; ``None`` for a name that does not begin with ``averaged:``.

    Raises:
        EncoderError: it begins so and is not of that form.
    """
    if not name.startswith("averaged:"):
        return None
    match = _SPEC.fullmatch(name)
    if match is None or Fraction(match[1]) == 0 or match[2].startswith("averaged:"):
        raise EncoderError(f"cannot read {name!r}", "write averaged:40ms:MODEL, with milliseconds and a model's name")
    return AveragedSpec(Fraction(match[1]), match[2])


class AveragedEncoder(SpeechEncoder):
    """An encoder whose layers are another's, averaged over consecutive windows that do not overlap.

    A layer of stride s becomes one of stride k s: frame i is the mean of the frames k i to k i + k - 1, or of those
    that there are where the utterance ends within a window. Its first frame is centred on the first k frames' middle.
    A layer that has the stride already is as it was; one that is coarser cannot be had and is left out.

    Args:
        inner: whose states they are.
        milliseconds: the stride wanted.
        name: for reports.

    Raises:
        EncoderError: the stride is not a multiple of a finer layer's, or every layer is coarser.
    """

    def __init__(self, inner: SpeechEncoder, milliseconds: Fraction, name: str) -> None:
        stride = milliseconds * inner.sample_rate / 1000
        self._inner = inner
        self._factors: dict[str, int] = {}
        layers = []
        for layer in inner.layers:
            factor = stride / Fraction(layer.stride)
            if factor < 1:
                continue
            if factor.denominator != 1:
                raise EncoderError(
                    f"{inner.name}: frames of {layer.name} every {_ms(layer, inner):g} ms cannot be averaged to "
                    f"{float(milliseconds):g} ms",
                    f"ask for a multiple of {_common_ms(inner):g} ms",
                )
            k = int(factor)
            self._factors[layer.name] = k
            offset = layer.offset + (k - 1) / 2 * float(layer.stride)
            whole = int(stride) if stride.denominator == 1 else stride
            layers.append(Layer(layer.name, layer.stride if k == 1 else whole, offset, layer.dim, layer.kind))
        if not layers:
            finest = min(_ms(layer, inner) for layer in inner.layers)
            raise EncoderError(
                f"no layer of {inner.name} is as fine as {float(milliseconds):g} ms",
                f"ask for a multiple of {finest:g} ms",
            )
        self.name = name
        self.sample_rate = inner.sample_rate
        self.layers = tuple(layers)
        self.fingerprint = fingerprint(["averaged", str(stride), inner.fingerprint])
        self.parameters = inner.parameters
        self.supervision = inner.supervision

    def visit(self, waveforms: Tensor, lengths: Tensor, visitor: Visitor, layers: Sequence[str] | None = None) -> None:
        """See :meth:`SpeechEncoder.visit`."""
        wanted = {layer.name: layer for layer in (self.layers if layers is None else map(self.layer, layers))}

        def average(layer: Layer, output: HiddenStates) -> None:
            visitor(wanted[layer.name], average_windows(output, self._factors[layer.name]))

        self._inner.visit(waveforms, lengths, average, list(wanted))

    def frame_count(self, layer: Layer, samples: int) -> int:
        """See :meth:`SpeechEncoder.frame_count`."""
        return -(-self._inner.frame_count(self._inner.layer(layer.name), samples) // self._factors[layer.name])

    def to(self, device: str | torch.device) -> "AveragedEncoder":
        """See :meth:`SpeechEncoder.to`."""
        self._inner = self._inner.to(device)
        return self


def average_windows(output: HiddenStates, factor: int) -> HiddenStates:
    """Means over consecutive windows of ``factor`` frames, the last one over the frames that an utterance still has.

    Args:
        output: (batch, frames, dim) states, zero past each length.
        factor: frames in a window.

    Returns:
        (batch, ceil(frames / factor), dim) states, zero past each length, and the lengths in windows.
    """
    if factor == 1:
        return output
    states, lengths = output
    windows = -(-states.shape[1] // factor)
    padded = torch.nn.functional.pad(states, (0, 0, 0, windows * factor - states.shape[1]))
    sums = padded.reshape(len(states), windows, factor, states.shape[2]).sum(2)
    first = factor * torch.arange(windows, device=states.device)
    counts = (lengths.to(states.device)[:, None] - first).clamp(1, factor)
    return HiddenStates(sums / counts[..., None], -(-lengths // factor))


def _ms(layer: Layer, encoder: SpeechEncoder) -> float:
    return 1000 * float(layer.stride) / encoder.sample_rate


def _common_ms(encoder: SpeechEncoder) -> float:
    """The finest stride that every layer can be averaged to."""
    strides = [Fraction(layer.stride) for layer in encoder.layers]
    shared = lcm(*(stride.denominator for stride in strides))
    return 1000 * lcm(*(int(stride * shared) for stride in strides)) / shared / encoder.sample_rate
