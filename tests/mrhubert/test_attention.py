"""Attention written out in half precision against torch's own in double precision."""

import pytest
import torch
import torch.nn.functional as F

from speechstrata.mrhubert.attention import attend


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_and_its_gradient_equal_those_in_double_precision(precision: torch.dtype, masked: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(2, 3, 17, 8, generator=generator).to(precision).requires_grad_() for _ in range(3)]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    mask = torch.ones(2, 1, 1, 17, dtype=torch.bool)
    mask[1, ..., 11:] = False
    given = mask if masked else None
    output = attend(*inputs, given)
    wanted = F.scaled_dot_product_attention(*exact, attn_mask=given)
    cotangent = torch.randn(output.shape, generator=generator)
    (output * cotangent).sum().backward()
    (wanted * cotangent.double()).sum().backward()
    tolerance = 1e-5 if precision == torch.float32 else 0.04
    assert output.dtype == precision
    torch.testing.assert_close(output.double(), wanted, rtol=0, atol=tolerance)
    for x, reference in zip(inputs, exact, strict=True):
        assert x.grad is not None
        assert reference.grad is not None
        torch.testing.assert_close(x.grad.double(), reference.grad, rtol=0, atol=tolerance)


def test_dropout_leaves_weights_out_and_keeps_their_mean() -> None:
    value = torch.ones(1, 1, 400, 4, dtype=torch.bfloat16, requires_grad=True)
    zeros = torch.zeros(1, 1, 400, 4, dtype=torch.bfloat16)
    torch.manual_seed(0)
    states = attend(zeros, zeros, value, dropout=0.5)
    assert float(states.mean()) == pytest.approx(1.0, abs=0.02)
    assert float(states.std()) > 0.01
