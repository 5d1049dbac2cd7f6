"""What all encoders that are torch modules share: checking the batch, precision, early stop, delivery."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from speechstrata.encoders.base import HiddenStates, Layer, SpeechEncoder, Visitor
from speechstrata.encoders.masking import zero_tails_
from speechstrata.encoders.registry import Precision
from speechstrata.errors import EncoderError


class Step(NamedTuple):
    """One layer's output on its way out: its name, (batch, frames, dim) states and each utterance's frames."""

    name: str
    states: Tensor
    lengths: Sequence[int]


class ModuleEncoder(SpeechEncoder):
    """An encoder around a torch module; a family says in ``_steps`` how it is run, layer by layer.

    Args:
        name: as given to ``load_encoder``.
        module: what is run; put in evaluation mode.
        layers: in the order of computation.
        sample_rate: hertz.
        fingerprint: of the architecture and the weights.
        supervision: see :class:`SpeechEncoder`.
        precision: "float32", or "bfloat16" for automatic mixed precision over float32 weights. States are
            delivered in float32 either way.
    """

    def __init__(
        self,
        *,
        name: str,
        module: nn.Module,
        layers: tuple[Layer, ...],
        sample_rate: int,
        fingerprint: str,
        supervision: str,
        precision: Precision = "float32",
    ) -> None:
        self.name = name
        self.module = module.eval().requires_grad_(False)
        self.layers = layers
        self.sample_rate = sample_rate
        self.fingerprint = fingerprint
        self.parameters = sum(parameter.numel() for parameter in module.parameters()) or None
        self.supervision = supervision
        self.precision = precision
        self.device = torch.device("cpu")

    def to(self, device: str | torch.device) -> "ModuleEncoder":
        """Move the weights to ``device``.

        Raises:
            EncoderError: there is no such device.
        """
        try:
            self.module.to(device)
        except (RuntimeError, AssertionError, TypeError) as error:  # TypeError: a device without float64
            reason = str(error).splitlines()[0]
            raise EncoderError(f"cannot use device {str(device)!r}: {reason}", 'try device="cpu"') from error
        self.device = torch.device(device)
        return self

    @torch.inference_mode()
    def visit(self, waveforms: Tensor, lengths: Tensor, visitor: Visitor, layers: Sequence[str] | None = None) -> None:
        """See :meth:`SpeechEncoder.visit`; layers after the last one wanted are not computed."""
        wanted = {layer.name: layer for layer in self.layers}
        if layers is not None:
            wanted = {layer.name: layer for layer in map(self.layer, layers)}
        samples = check_batch(self, waveforms, lengths, list(wanted.values()))
        # Whatever is in the padding, NaN included, is zero from here on.
        audio = waveforms[:, : max(samples)].to(self.device, torch.float32, copy=True)
        zero_tails_(audio, samples)
        with self._autocast():
            for name, states, frames in self._steps(audio, samples):
                layer = wanted.pop(name, None)
                if layer is not None:
                    zero_tails_(states, frames)
                    counts = torch.tensor(frames, dtype=torch.long, device=states.device)
                    visitor(layer, HiddenStates(states.float(), counts))
                if not wanted:
                    return

    @abstractmethod
    def _steps(self, audio: Tensor, lengths: Sequence[int]) -> Iterator[Step]:
        """Compute the layers one after the other, yielding each of ``self.layers`` in order.

        The states yielded are zeroed past their lengths in place, and read by others until the next step; so
        they are neither written to afterwards nor of use past their lengths.

        Args:
            audio: (batch, samples) float32 on ``self.device``, zero past each length.
            lengths: in samples, the longest equal to ``audio.shape[1]``.
        """

    def _autocast(self) -> AbstractContextManager[object]:
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


def check_batch(encoder: SpeechEncoder, waveforms: Tensor, lengths: Tensor, layers: Sequence[Layer]) -> list[int]:
    """The lengths as a list, once the batch is known to be fit for ``encoder``.

    Raises:
        ValueError: the tensors' shapes do not belong together.
        EncoderError: a waveform holds NaN or infinity, or gives no frame of one of ``layers``.
    """
    samples: list[int] = lengths.tolist()
    if waveforms.dim() != 2 or len(samples) != len(waveforms):
        raise ValueError(f"waveforms {tuple(waveforms.shape)} and lengths {tuple(lengths.shape)} do not match")
    if not samples or max(samples) > waveforms.shape[1]:
        raise ValueError(f"lengths {samples} do not fit waveforms of {waveforms.shape[1]} samples")
    for row, count in enumerate(samples):
        for layer in layers:
            if count < 1 or encoder.frame_count(layer, count) < 1:
                raise EncoderError(
                    f"waveform {row} of the batch has {count} samples, too few for a frame of {encoder.name}'s "
                    f"layer {layer.name}",
                    f"leave out audio shorter than {shortest(encoder, layer)} samples",
                )
        if not torch.isfinite(waveforms[row, :count]).all():
            raise EncoderError(f"waveform {row} of the batch holds NaN or infinity", "leave that audio out")
    return samples


def shortest(encoder: SpeechEncoder, layer: Layer) -> int:
    """The smallest number of samples that gives one frame of ``layer``."""
    low, high = 0, 1
    while encoder.frame_count(layer, high) < 1:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if encoder.frame_count(layer, middle) < 1:
            low = middle
        else:
            high = middle
    return high
