"""An utterance's states do not depend on the batch that it is in (principle: batches do not change answers)."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import KINDS, noise, small_model

from speechstrata.mrhubert.masked_prediction import MRHubertForPreTraining
from speechstrata.mrhubert.taps import tap_lengths


def states(model: MRHubertForPreTraining, inputs: torch.Tensor, lengths: list[int], **options: Any) -> dict[str, Any]:
    with torch.inference_mode():
        return dict(model.model.taps(inputs, lengths, every_conv=True, **options))


def worst_difference(model: MRHubertForPreTraining, lengths: list[int]) -> tuple[float, str]:
    """Between the batch and its utterances alone, in units of each layer's root mean square."""
    inputs = noise(len(lengths), max(lengths))
    for row, length in enumerate(lengths):
        inputs[row, length:] = float("nan")  # whatever is in the padding is not looked at
    together, worst = states(model, inputs, lengths), (0.0, "")
    for row, length in enumerate(lengths):
        for name, alone in states(model, inputs[row : row + 1, :length], [length]).items():
            assert together[name].lengths[row] == alone.lengths[0] == tap_lengths(model.network, length)[name]
            mine = together[name].data.split(together[name].lengths)[row]
            scale = alone.data.square().mean().sqrt()
            worst = max(worst, (float((mine - alone.data).abs().max() / scale), name))
    return worst


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_equals_its_utterances_alone(kind: str) -> None:
    worst = worst_difference(small_model(kind), [5000, 3217, 3217, 4960, 1000, 720, 400])
    assert worst[0] < 1e-5, worst


@settings(max_examples=12)
@given(
    st.sampled_from(KINDS),
    st.lists(st.integers(400, 4000), min_size=1, max_size=4),
    st.integers(1, 7),
    st.sampled_from([(1, 1), (1, 2), (2, 3), (1, 3), (3, 2), (2, 5)]),
)
def test_any_lengths_kernels_and_ratios(kind: str, lengths: list[int], kernel: int, ratio: tuple[int, int]) -> None:
    config = small_model(kind).network
    ratios = (ratio,) * len(config.ratios)
    worst = worst_difference(small_model(kind, sampling_kernel=kernel, ratios=ratios), lengths)
    assert worst[0] < 1e-5, worst


def test_the_published_padding_does_change_answers() -> None:
    """Which is why it is not the default: the same network, with the published behaviour."""
    model = small_model("mrhubert-base")
    inputs = noise(2, 9000)
    inputs[1, 6000:] = 0
    together = states(model, inputs, [9000, 6000], padding="reference")["T1"].padded()[1]
    alone = states(model, inputs[1:, :6000], [6000], padding="reference")["T1"].data
    assert (together[: len(alone)] - alone).abs().max() > 0.05


@pytest.mark.parametrize("kind", ["mrhubert-base", "mrhubert-large", "tiny-3res"])
def test_gradients_of_a_batch_are_the_sum_of_its_utterances(kind: str) -> None:
    model = small_model(kind, feature_penalty=0.0)
    lengths = [6000, 4321, 4321, 2500]
    inputs = noise(4, 6000)
    frames = [tap_lengths(model.network, length)["projection"] for length in lengths]
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(4, max(frames), generator=generator) < 0.5
    labels = torch.randint(0, 12, (4, max(frames)), generator=generator)
    for row, count in enumerate(frames):
        labels[row, count:] = -100
    model(inputs, lengths, mask, [labels]).loss.backward()
    together = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    for row, length in enumerate(lengths):
        model(inputs[row : row + 1], [length], mask[row : row + 1], [labels[row : row + 1]]).loss.backward()
    alone = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    for left, right in zip(together, alone, strict=True):
        torch.testing.assert_close(left, right, atol=1e-4 * float(right.abs().max()) + 1e-5, rtol=1e-3)
