"""Clocks and frame counts against torch: which samples a frame sees is where its gradient is not zero."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from speechstrata.encoders.geometry import Clock, Convolution, clocks, frames_after
from speechstrata.errors import EncoderError

convolutions = st.builds(
    Convolution,
    kernel=st.integers(1, 7),
    stride=st.integers(1, 4),
    padding=st.integers(0, 3),
    trailing=st.none() | st.integers(0, 3),
)


def run(stack: list[Convolution], samples: torch.Tensor) -> torch.Tensor:
    states = samples[None, None]
    for conv in stack:
        trailing = conv.padding if conv.trailing is None else conv.trailing
        weight = torch.ones(1, 1, conv.kernel, dtype=samples.dtype)
        states = functional.conv1d(functional.pad(states, (conv.padding, trailing)), weight, stride=conv.stride)
    return states[0, 0]


@given(st.lists(convolutions, min_size=1, max_size=4), st.integers(400, 700))
def test_frames_and_centres_are_those_of_torch(stack: list[Convolution], samples: int) -> None:
    audio = torch.zeros(samples, dtype=torch.float64, requires_grad=True)
    states = run(stack, audio)
    assert len(states) == frames_after(stack, samples)
    frame = len(states) // 2  # far from both ends, where padding would be part of what it sees
    (gradient,) = torch.autograd.grad(states[frame], audio)
    seen = gradient.nonzero().ravel()
    clock = clocks(stack)[-1]
    assert (seen[0] + seen[-1]).item() / 2 == pytest.approx(clock.offset + frame * clock.stride)


@given(st.lists(convolutions, min_size=1, max_size=4), st.integers(0, 40))
def test_too_few_samples_give_no_frame(stack: list[Convolution], samples: int) -> None:
    try:
        expected = len(run(stack, torch.zeros(samples)))
    except RuntimeError:  # torch refuses a kernel larger than its input
        expected = 0
    assert frames_after(stack, samples) >= 0
    if expected == 0 and all(conv.padding == 0 and not conv.trailing for conv in stack):
        assert frames_after(stack, samples) == 0
    if expected:
        assert frames_after(stack, samples) == expected


def test_a_stack_can_start_from_another_clock() -> None:
    assert clocks([Convolution(2, 2)], Clock(160, 199.5)) == (Clock(320, 279.5),)


@pytest.mark.parametrize(("kernel", "stride"), [(0, 1), (3, 0), (3, -2)])
def test_a_convolution_that_does_not_move_is_an_error(kernel: int, stride: int) -> None:
    with pytest.raises(EncoderError, match=f"kernel of {kernel} and a stride of {stride}"):
        Convolution(kernel, stride)
