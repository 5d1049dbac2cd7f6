"""States that are added up as they appear: the sums and gradients of all layers at once, one layer at a time."""

import gc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from speechstrata.encoders.base import SpeechEncoder
from speechstrata.encoders.loading import load_encoder
from speechstrata.mrhubert.configuration import MRHubertConfig
from speechstrata.mrhubert.model import MRHubertModel
from speechstrata.mrhubert.named import named_config
from speechstrata.superb.featurizer import Featurizer
from speechstrata.superb.layered import LayeredStates
from speechstrata.superb.states import choose_layers


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> SpeechEncoder:
    """Three resolutions: 20, 40 and 80 ms."""
    network = replace(named_config("tiny-3res"), dim=48, heads=2, ffn_dim=96, positional_groups=4)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("network") / "three"
    MRHubertModel(MRHubertConfig(network)).save_pretrained(folder)
    return load_encoder(folder)


def batch(encoder: SpeechEncoder, normalize: bool = False, *names: str) -> LayeredStates:
    """Odd numbers of frames: 49, 31 and 1 at 20 ms."""
    samples = torch.tensor([16_000, 10_000, 400])
    waves = torch.randn(3, 16_000, generator=torch.Generator().manual_seed(1))
    return LayeredStates(encoder, choose_layers(encoder, names), waves, samples, normalize=normalize)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("names", [(), ("down0", "T2", "T3", "up1", "U1")])
def test_the_running_sum_and_its_gradient_are_those_of_all_layers(
    encoder: SpeechEncoder, normalize: bool, names: tuple[str, ...]
) -> None:
    made = batch(encoder, normalize, *names)
    stacked, _ = made.collect(pooled=False)
    layers = stacked.shape[2]
    featurizer = Featurizer(layers)
    featurizer.logits.data = torch.linspace(-1.0, 2.0, layers)
    target = torch.randn(stacked.shape[0], stacked.shape[1], stacked.shape[3])
    sums, gradients = [], []
    for states in (stacked, made):
        featurizer.logits.grad = None
        mixed = featurizer(states)
        (100 * mixed * target).sum().backward()
        sums.append(mixed.detach())
        gradients.append(featurizer.logits.grad)
    torch.testing.assert_close(sums[1], sums[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-3)
    assert float(gradients[0].abs().max()) > 10.0
    assert made.lengths.tolist() == ([50, 32, 2] if names else [49, 31, 1])  # the last decoder has a frame more
    assert not sums[1][1, 32:].any()


def test_a_second_pass_is_made_for_a_gradient_alone(encoder: SpeechEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    made, runs = batch(encoder), []
    visit = type(encoder).visit
    monkeypatch.setattr(type(encoder), "visit", lambda *given: (runs.append(1), visit(*given))[1])
    featurizer = Featurizer(len(choose_layers(encoder).layers))
    with torch.no_grad():
        featurizer(made)
    assert len(runs) == 1
    featurizer(made).sum().backward()
    assert len(runs) == 3


def test_all_layers_are_never_held_at_once(encoder: SpeechEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of tensors of the size of a layer, few are alive whenever one appears: the network's own, the sum, the layer."""
    made, alive = batch(encoder), []
    see = made._visit

    def watched(own: Any) -> None:
        def counted(number: int, raw: torch.Tensor, states: torch.Tensor) -> None:
            own(number, raw, states)
            places = {
                found.data_ptr()
                for found in gc.get_objects()
                if type(found) is torch.Tensor and found.shape == states.shape and found.any()
            }
            alive.append(len(places))

        see(counted)

    monkeypatch.setattr(made, "_visit", watched)
    weights = torch.full((len(choose_layers(encoder).layers),), 0.1, requires_grad=True)
    made.weighted(weights).sum().backward()
    assert len(alive) == 2 * len(weights) == 22
    assert 1 < max(alive) <= 5


def test_means_and_norms_are_those_of_the_states(encoder: SpeechEncoder) -> None:
    made = batch(encoder)
    stacked, norms = made.collect(pooled=False)
    pooled, again = made.collect(pooled=True)
    for row, length in enumerate(made.lengths.tolist()):
        torch.testing.assert_close(pooled[row, 0], stacked[row, :length].mean(0), rtol=1e-4, atol=1e-5)
    direct = np.linalg.norm(stacked.numpy().astype(np.float64), axis=-1).sum((0, 1))
    np.testing.assert_allclose(norms, direct, rtol=1e-4)
    np.testing.assert_allclose(again, direct, rtol=1e-4)
    np.testing.assert_allclose(made.norms(), direct, rtol=1e-4)
    assert made.gigabytes == pytest.approx(4e-9 * stacked.numel())
