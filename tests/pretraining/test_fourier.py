"""The positional embedding by Fourier transform against the direct convolution."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from speechstrata.mrhubert.configuration import MRHubertConfig
from speechstrata.mrhubert.masked_prediction import MRHubertForPreTraining
from speechstrata.mrhubert.named import named_config
from speechstrata.pretraining.fourier import FourierPositionalConv, fourier_conv, use_fourier


@settings(max_examples=25, deadline=None)
@given(
    frames=st.integers(1, 70),
    kernel=st.integers(1, 24),
    groups=st.sampled_from([1, 2, 4]),
    batch=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_outputs_and_gradients_equal_the_direct_convolutions(
    frames: int, kernel: int, groups: int, batch: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, frames, 8, generator=generator, dtype=torch.float32).requires_grad_()
    weight = torch.randn(8, 8 // groups, kernel, generator=generator).requires_grad_()
    upstream = torch.randn(batch, frames, 8, generator=generator)
    direct = F.conv1d(x.transpose(1, 2), weight, padding=kernel // 2, groups=groups)[..., :frames].transpose(1, 2)
    expected = torch.autograd.grad((direct * upstream).sum(), (x, weight))
    ours = fourier_conv(x, weight, groups)
    found = torch.autograd.grad((ours * upstream).sum(), (x, weight))
    torch.testing.assert_close(ours, direct, atol=3e-5, rtol=1e-5)
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("lengths", [[200, 200], [200, 131]])
def test_a_model_keeps_its_parameters_and_its_loss(lengths: list[int]) -> None:
    network = replace(named_config("tiny"), dropout=0.0, attention_dropout=0.0, input_dropout=0.0)
    torch.manual_seed(0)
    model = MRHubertForPreTraining(MRHubertConfig(network)).eval()
    names = set(model.state_dict())
    mels, mask = torch.randn(2, 200, 80), torch.rand(2, 100) < 0.5
    units = torch.randint(0, 100, (2, 100))
    before = model(mels, lengths, mask, [units]).loss
    use_fourier(model)
    assert any(isinstance(module, FourierPositionalConv) for module in model.modules())
    assert set(model.state_dict()) == names
    torch.testing.assert_close(model(mels, lengths, mask, [units]).loss, before, rtol=1e-5, atol=0)
