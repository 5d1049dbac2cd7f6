"""The recurrent part of the heads against PyTorch's LSTM on packed sequences."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from speechstrata.superb.recurrent import RecurrentStack


@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (1, True), (3, True)])
def test_outputs_and_gradients_are_those_of_a_packed_lstm(layers: int, bidirectional: bool) -> None:
    torch.manual_seed(0)
    stack = RecurrentStack(5, 7, layers, 0.0, bidirectional=bidirectional)
    oracle = nn.LSTM(5, 7, layers, batch_first=True, bidirectional=bidirectional)
    with torch.no_grad():
        for layer in range(layers):
            for ways, suffix in ((stack.ahead, ""), (stack.back, "_reverse")):
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if len(ways) else ():
                    own = getattr(ways[layer], f"{name}_l0")
                    own.copy_(getattr(oracle, f"{name}_l{layer}{suffix}"))
    lengths = torch.tensor([4, 9, 1])
    one = torch.randn(3, 9, 5, requires_grad=True)
    other = one.detach().clone().requires_grad_()
    outputs = stack(one, lengths)
    packed = pack_padded_sequence(other, lengths, batch_first=True, enforce_sorted=False)
    wanted, _ = pad_packed_sequence(oracle(packed)[0], batch_first=True, total_length=9)
    torch.testing.assert_close(outputs, wanted, atol=1e-6, rtol=1e-5)
    weights = torch.randn_like(wanted)
    (outputs * weights).sum().backward()
    (wanted * weights).sum().backward()
    torch.testing.assert_close(one.grad, other.grad, atol=1e-6, rtol=1e-5)
    assert not outputs[0, 4:].any()


def test_padding_that_is_not_zero_changes_nothing() -> None:
    torch.manual_seed(0)
    stack = RecurrentStack(5, 7, 2, 0.3).eval()
    features, lengths = torch.randn(2, 9, 5), torch.tensor([9, 4])
    dirty = features.clone()
    dirty[1, 4:] = 1e3
    assert torch.equal(stack(features, lengths), stack(dirty, lengths))
