"""What every speech encoder is to the rest of the package: layers, each with a clock of its own."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from speechstrata.errors import EncoderError

LayerKind = Literal["fbank", "conv", "projection", "transformer", "sampling"]


@dataclass(frozen=True)
class Layer:
    """One tap of an encoder.

    Attributes:
        name: unique within the encoder, in the order of computation (``conv1``, ``projection``, ``T0``, ...).
        stride: samples (at the encoder's sample rate) from one frame to the next; a ``Fraction`` where the
            resolution is not a whole number of samples.
        offset: the centre of the first frame: the mean index of the samples that it sees, sample 0 being at 0;
            negative where a causal stack looks back to before the waveform.
        dim: size of a frame's vector.
        kind: what computed it.
    """

    name: str
    stride: int | Fraction
    offset: float
    dim: int
    kind: LayerKind


class HiddenStates(NamedTuple):
    """The output of one layer: ``states`` (batch, frames, dim) and ``lengths`` (batch,), in frames.

    Frames at or beyond an utterance's length are zero. Both are on the encoder's device, ``states`` in float32.
    """

    states: Tensor
    lengths: Tensor


#: Called once per layer, in the order of computation, with the layer and its (batch, frames, dim) output.
Visitor = Callable[[Layer, HiddenStates], None]


class SpeechEncoder(ABC):
    """Waveforms in, hidden states of every layer out; batching never changes an utterance's states.

    Attributes:
        name: as given to ``load_encoder``, for reports.
        sample_rate: of the waveforms that it takes, in hertz.
        layers: in the order of computation.
        fingerprint: of the architecture and the weights.
        parameters: number of weights; ``None`` where that means nothing.
        supervision: how the model was trained, for the reports' legends ("self-supervised", "supervised",
            "random weights", "none" for a signal-processing front-end, "unknown").
    """

    name: str
    sample_rate: int
    layers: tuple[Layer, ...]
    fingerprint: str
    parameters: int | None
    supervision: str

    @abstractmethod
    def visit(self, waveforms: Tensor, lengths: Tensor, visitor: Visitor, layers: Sequence[str] | None = None) -> None:
        """Run the encoder and hand each layer's states to ``visitor`` as they appear.

        Nothing is kept after ``visitor`` returns, so the memory needed is that of a layer and its input. A
        visitor that keeps states for training clones them: tensors made under ``torch.inference_mode`` cannot be
        saved for a backward pass.

        Args:
            waveforms: (batch, samples), float, at ``sample_rate``, padded with anything after each length.
            lengths: (batch,), in samples.
            visitor: called in the order of ``self.layers``, under ``torch.inference_mode``.
            layers: names of the layers wanted; all by default. Layers after the last one are not computed
                where the architecture allows it.

        Raises:
            EncoderError: unknown layer name, or a waveform that is too short for one frame of a layer wanted, or
                holds NaN or infinity.
            ValueError: the shapes of ``waveforms`` and ``lengths`` do not belong together.
        """

    @abstractmethod
    def frame_count(self, layer: Layer, samples: int) -> int:
        """How many frames ``layer`` gives for a waveform of that many samples."""

    def hidden_states(
        self, waveforms: Tensor, lengths: Tensor, layers: Sequence[str] | None = None
    ) -> dict[str, HiddenStates]:
        """The states of every layer (or of those named): layer name -> ``HiddenStates``, in layer order.

        Arguments and errors as for :meth:`visit`.
        """
        collected: dict[str, HiddenStates] = {}

        def keep(layer: Layer, output: HiddenStates) -> None:
            collected[layer.name] = output

        self.visit(waveforms, lengths, keep, layers)
        return collected

    def layer(self, name: str) -> Layer:
        """The layer of that name.

        Raises:
            EncoderError: there is none; the message lists the names.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = ", ".join(layer.name for layer in self.layers)
        raise EncoderError(f"{self.name} has no layer {name!r}", f"its layers are: {names}")

    def to(self, device: str | torch.device) -> "SpeechEncoder":
        """Move the weights to ``device`` and return self; an encoder without weights has nothing to move."""
        return self
