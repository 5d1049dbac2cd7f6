"""The clock of a convolutional stack: how many frames, how far apart, and where the first one is centred."""

from collections.abc import Sequence
from dataclasses import dataclass

from speechstrata.errors import EncoderError


@dataclass(frozen=True)
class Convolution:
    """One strided convolution along time.

    Attributes:
        kernel: in frames of its input.
        stride: in frames of its input.
        padding: zero frames added before the first one (and, for ``trailing`` None, after the last one).
        trailing: zero frames added after the last one, where they differ in number (causal convolutions).

    Raises:
        EncoderError: the kernel or the stride is not positive, as a damaged configuration may have it.
    """

    kernel: int
    stride: int
    padding: int = 0
    trailing: int | None = None

    def __post_init__(self) -> None:
        if self.kernel < 1 or self.stride < 1:
            raise EncoderError(
                f"a convolution with a kernel of {self.kernel} and a stride of {self.stride}",
                "mend the model's configuration",
            )

    def frames(self, inputs: int) -> int:
        """How many outputs ``inputs`` input frames give; 0 where they are too few."""
        trailing = self.padding if self.trailing is None else self.trailing
        return max(0, (inputs + self.padding + trailing - self.kernel) // self.stride + 1)


@dataclass(frozen=True)
class Clock:
    """Where the frames of a layer lie, in samples of the waveform.

    Attributes:
        stride: from one frame's centre to the next.
        offset: the centre of frame 0: the mean index of the samples (or input frames' centres) it sees,
            sample 0 being at 0.
    """

    stride: int = 1
    offset: float = 0.0

    def after(self, convolution: Convolution) -> "Clock":
        """The clock of that convolution's output, this one being its input's."""
        reach = (convolution.kernel - 1) / 2 - convolution.padding
        return Clock(self.stride * convolution.stride, self.offset + reach * self.stride)


def clocks(convolutions: Sequence[Convolution], start: Clock | None = None) -> tuple[Clock, ...]:
    """The clock after each convolution of a stack, the first of which reads ``start`` (the waveform by default)."""
    clock = start or Clock()
    result = []
    for convolution in convolutions:
        clock = clock.after(convolution)
        result.append(clock)
    return tuple(result)


def frames_after(convolutions: Sequence[Convolution], inputs: int) -> int:
    """How many frames the whole stack gives for ``inputs`` input frames."""
    for convolution in convolutions:
        inputs = convolution.frames(inputs)
    return inputs
