"""Convolutions as matrix products equal torch's, forward and backward."""

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from speechstrata.mrhubert.convolution import FrameConv, FrameTransposedConv, _StridedConv
from speechstrata.mrhubert.frontend import ConvNorm, group_normed_conv

sizes = st.integers(1, 9)


@given(sizes, sizes, sizes, st.integers(1, 7), st.integers(0, 12), st.integers(1, 3))
def test_a_convolution_equals_conv1d(
    kernel: int, stride: int, inputs: int, outputs: int, more: int, batch: int
) -> None:
    torch.manual_seed(0)
    conv = FrameConv(inputs, outputs, kernel, stride, bias=True)
    conv.reset_parameters()
    frames = torch.randn(batch, kernel + more, inputs, requires_grad=True)
    ours = conv(frames)
    weight = conv.weight.detach().permute(0, 2, 1).clone().requires_grad_()
    again = frames.detach().clone().requires_grad_()
    theirs = F.conv1d(again.transpose(1, 2), weight, conv.bias, stride=stride).transpose(1, 2)
    torch.testing.assert_close(ours, theirs)
    gradient = torch.randn_like(ours)
    ours.backward(gradient)
    theirs.backward(gradient)
    torch.testing.assert_close(frames.grad, again.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(conv.weight.grad.permute(0, 2, 1), weight.grad, atol=1e-5, rtol=1e-4)


def test_a_wide_window_takes_the_strided_path() -> None:
    """The same, where windows are too large to be unfolded."""
    torch.manual_seed(0)
    for kernel, stride in [(3, 2), (2, 2), (10, 5), (7, 3), (2, 5)]:
        frames = torch.randn(2, 41, 40, dtype=torch.float64, requires_grad=True)
        weight = torch.randn(6, kernel, 40, dtype=torch.float64, requires_grad=True)
        ours = _StridedConv.apply(frames, weight, stride)
        theirs = F.conv1d(frames.transpose(1, 2), weight.permute(0, 2, 1), stride=stride).transpose(1, 2)
        torch.testing.assert_close(ours, theirs)
        gradient = torch.randn_like(ours)
        mine = torch.autograd.grad(ours, (frames, weight), gradient)
        others = torch.autograd.grad(theirs, (frames, weight), gradient)
        torch.testing.assert_close(mine, others)


@given(sizes, sizes, st.integers(1, 5), st.integers(1, 5), st.integers(1, 9))
def test_a_transposed_convolution_equals_conv_transpose1d(
    kernel: int, stride: int, inputs: int, outputs: int, frames: int
) -> None:
    torch.manual_seed(0)
    conv = FrameTransposedConv(inputs, outputs, kernel, stride)
    conv.reset_parameters()
    x = torch.randn(2, frames, inputs)
    weight = conv.weight.permute(2, 1, 0)
    theirs = F.conv_transpose1d(x.transpose(1, 2), weight, stride=stride)
    theirs = F.pad(theirs, (0, stride - 1))  # output padding adds outputs that no tap reaches
    torch.testing.assert_close(conv(x), theirs.transpose(1, 2))


@given(st.integers(2, 60), st.sampled_from([(10, 5), (3, 2), (4, 4)]), st.booleans(), st.floats(-3, 3))
def test_the_folded_group_norm_equals_group_norm(
    frames: int, shape: tuple[int, int], bias: bool, offset: float
) -> None:
    torch.manual_seed(1)
    kernel, stride = shape
    conv, norm = FrameConv(1, 6, kernel, stride, bias=bias), ConvNorm(6)
    conv.reset_parameters()
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
    samples = (frames - 1) * stride + kernel
    audio = (torch.randn(2, samples, 1) + offset).requires_grad_()
    ours = group_normed_conv(audio, conv, norm)
    weight = conv.weight.detach().double().permute(0, 2, 1).requires_grad_()
    scale, shift = norm.weight.detach().double().requires_grad_(), norm.bias.detach().double().requires_grad_()
    theirs = F.conv1d(
        audio.detach().double().transpose(1, 2),
        weight,
        None if conv.bias is None else conv.bias.detach().double(),
        stride=stride,
    )
    theirs = F.group_norm(theirs, 6, scale, shift).transpose(1, 2)
    torch.testing.assert_close(ours.double(), theirs, atol=2e-4, rtol=1e-4)
    gradient = torch.randn_like(ours)
    ours.backward(gradient)
    theirs.backward(gradient.double())
    for mine, other in ((norm.weight.grad, scale.grad), (norm.bias.grad, shift.grad)):
        torch.testing.assert_close(mine.double(), other, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(conv.weight.grad.permute(0, 2, 1).double(), weight.grad, atol=1e-3, rtol=1e-3)
    if conv.bias is not None:
        assert torch.equal(conv.bias.grad, torch.zeros(6))
