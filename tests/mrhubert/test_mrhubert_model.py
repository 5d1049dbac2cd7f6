"""The network as transformers and PyTorch users meet it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_networks import KINDS, QUIET, noise, small_config, small_model
from transformers import AutoConfig, AutoModel, AutoModelForPreTraining

from speechstrata.errors import InputError
from speechstrata.mrhubert.config import frontend_length
from speechstrata.mrhubert.configuration import MRHubertConfig
from speechstrata.mrhubert.frontend import log_mel, stack_frames
from speechstrata.mrhubert.masked_prediction import MRHubertForPreTraining
from speechstrata.mrhubert.model import MRHubertModel
from speechstrata.mrhubert.named import NAMED
from speechstrata.mrhubert.taps import all_block_taps, benchmark_states, tap_plan


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_comes_back(tmp_path: Path, kind: str) -> None:
    model = small_model(kind, sampling_kernel=3)
    model.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).network == model.network
    whole, base = AutoModelForPreTraining.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)
    assert isinstance(whole, MRHubertForPreTraining)
    assert isinstance(base, MRHubertModel)
    assert not base.training
    for ours, loaded in ((model, whole), (model.model, base)):
        for (name, value), again in zip(ours.state_dict().items(), loaded.state_dict().values(), strict=True):
            assert torch.equal(value, again), name


@pytest.mark.parametrize("kind", ["mrhubert-base", "tiny-3res"])
def test_a_new_model_is_initialised_everywhere_and_by_its_seed(kind: str) -> None:
    def fresh(seed: int) -> MRHubertForPreTraining:
        torch.manual_seed(seed)
        return MRHubertForPreTraining(MRHubertConfig(small_config(kind, sampling_kernel=3)))

    model, again, other = fresh(0), fresh(0), fresh(1)
    for (name, value), same, different in zip(
        model.named_parameters(), again.parameters(), other.parameters(), strict=True
    ):
        assert torch.isfinite(value).all(), name
        assert value.abs().max() <= 1.5, name
        assert torch.equal(value, same), name
        constant = name.endswith("bias") or "norm" in name
        assert constant or not torch.equal(value, different), name


def test_the_initial_weights_are_spread_as_published() -> None:
    torch.manual_seed(0)
    model = MRHubertModel(MRHubertConfig(replace(NAMED["small-post"], sampling_kernel=3)))
    layer = model.blocks[1].layers[0]
    assert float(layer.qkv.weight.detach().std()) == pytest.approx(0.02, rel=0.02)
    assert not layer.ffn_in.bias.any()
    conv = model.front_end.convolutions[3].weight
    assert float(conv.detach().std()) == pytest.approx((2 / (3 * 512)) ** 0.5, rel=0.02)
    up = model.samplings["up0"].up_conv.weight
    assert float(up.detach().abs().max()) == pytest.approx((3 * 192) ** -0.5, rel=0.02)
    positional = model.blocks[0].positional
    assert float(positional.direction.detach().std()) == pytest.approx((4 * 0.9 / (128 * 192)) ** 0.5, rel=0.02)
    torch.testing.assert_close(positional.gain, positional.direction.norm(dim=(0, 1)))


@pytest.mark.parametrize("kind", ["hubert-base", "mrhubert-base", "mrhubert-large", "small-pre"])
def test_transformers_outputs(kind: str) -> None:
    model = small_model(kind).model
    audio, lengths = noise(2, 6000), [6000, 4500]
    attention_mask = (torch.arange(6000)[None] < torch.tensor(lengths)[:, None]).long()
    with torch.inference_mode():
        output = model(audio, attention_mask=attention_mask, output_hidden_states=True)
        taps = dict(model.taps(audio, lengths))
        alone = model(audio[1:, :4500]).last_hidden_state
        as_tuple = model(audio, lengths=lengths, return_dict=False)
    final = all_block_taps(model.network)[-1][1].joined
    assert torch.equal(output.last_hidden_state, taps[final].padded())
    assert torch.equal(as_tuple[0], output.last_hidden_state)
    frames = frontend_length(model.network, 4500)
    assert alone.shape[1] == frames
    torch.testing.assert_close(output.last_hidden_state[1, :frames], alone[0], atol=1e-5, rtol=1e-4)
    assert not output.last_hidden_state[1, frames:].any()
    names = benchmark_states(model.network)
    assert len(output.hidden_states) == len(names)
    for name, states in zip(names, output.hidden_states, strict=True):
        assert torch.equal(states, taps[name].padded())
    assert model(audio).hidden_states is None
    assert (model.config.hidden_size, model.config.num_hidden_layers) == (24, sum(model.network.layers))


def test_the_named_models_have_the_benchmarks_number_of_states() -> None:
    counts = {name: len(benchmark_states(NAMED[name])) for name in ("hubert-base", "mrhubert-base", "b2-a", "b5-a")}
    assert counts == {"hubert-base": 13, "mrhubert-base": 15, "b2-a": 17, "b5-a": 15}
    assert benchmark_states(NAMED["mrhubert-base"]) == (
        "T0", "T1", "T2", "T3", "T4", "D0", "T5", "T6", "T7", "T8", "U0", "T9", "T10", "T11", "T12"
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_yields_the_planned_taps(kind: str) -> None:
    model = small_model(kind).model
    audio = noise(2, 5000)
    with torch.inference_mode():
        taps = list(model.taps(audio, [5000, 4000], every_conv=True))
    plan = tap_plan(model.network)
    assert [name for name, _ in taps] == [tap.name for tap in plan]
    assert [frames.data.shape[1] for _, frames in taps] == [tap.dim for tap in plan]


def test_nothing_is_computed_after_the_last_tap_that_is_taken() -> None:
    model = small_model("mrhubert-base").model
    calls: list[int] = []
    model.blocks[1].layers[0].register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        for name, _ in model.taps(noise(1, 4000), [4000]):
            if name == "D0":
                break
    assert calls == []


@pytest.mark.parametrize("length", [399, 0, 1])
def test_a_waveform_without_a_frame_is_refused(length: int) -> None:
    with pytest.raises(InputError, match=f"{length} samples is too short"):
        small_model("mrhubert-base").model(noise(2, 4000), lengths=[4000, length])


@pytest.mark.parametrize("lengths", [[4000], [4000, 4001], [4000, 4000, 4000]])
def test_lengths_that_do_not_fit_are_refused(lengths: list[int]) -> None:
    with pytest.raises(InputError, match="do not fit a batch"):
        small_model("mrhubert-base").model(noise(2, 4000), lengths=lengths)


def test_dropout_and_layerdrop_are_for_training_alone() -> None:
    torch.manual_seed(0)
    noisy = small_model("mrhubert-base", dropout=0.3, attention_dropout=0.3, input_dropout=0.3, layerdrop=0.5)
    quiet = small_model("mrhubert-base")
    quiet.load_state_dict(noisy.state_dict())
    audio = noise(1, 4000)
    with torch.inference_mode():
        assert torch.equal(noisy.model(audio).last_hidden_state, quiet.model(audio).last_hidden_state)
        noisy.train(), quiet.train()
        assert torch.equal(quiet.model(audio).last_hidden_state, quiet.model(audio).last_hidden_state)
        torch.manual_seed(1)
        first, second = (noisy.model(audio).last_hidden_state for _ in range(2))
        torch.manual_seed(1)
        assert torch.equal(first, noisy.model(audio).last_hidden_state)
        assert not torch.allclose(first, second, atol=1e-3)


def test_layerdrop_skips_its_share_of_the_layers() -> None:
    model = small_model("mrhubert-base", layerdrop=0.3).model.train()
    calls = []
    for block in model.blocks:
        for layer in block.layers:
            layer.register_forward_hook(lambda *_: calls.append(1))
    torch.manual_seed(0)
    with torch.inference_mode():
        for _ in range(60):
            model(noise(1, 800))
    assert 0.62 < len(calls) / (60 * 9) < 0.78


def test_bfloat16_is_close() -> None:
    for kind in ("mrhubert-base", "mrhubert-large", "tiny"):
        model = small_model(kind).model
        audio = noise(2, 6000)
        with torch.inference_mode():
            exact = model(audio, lengths=[6000, 4000]).last_hidden_state
            with torch.autocast("cpu", dtype=torch.bfloat16):
                rough = model(audio, lengths=[6000, 4000]).last_hidden_state
        assert (rough.float() - exact).norm() < 0.05 * exact.norm(), kind


def test_bfloat16_trains() -> None:
    model = small_model("mrhubert-base")
    mask = torch.rand(2, 18) < 0.5
    labels = torch.randint(0, 12, (2, 18))
    exact = model(noise(2, 6000), [6000, 5000], mask, [labels])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(noise(2, 6000), [6000, 5000], mask, [labels])
    rough.loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters() if parameter.grad is not None)
    assert float(rough.loss) == pytest.approx(float(exact.loss), rel=0.02)


def test_a_log_mel_batch_can_be_given_ready_made() -> None:
    model = small_model("tiny").model
    audio = noise(2, 5000)
    normal = torch.nn.functional.layer_norm(audio, (5000,))  # what normalize=True does to waveforms
    mel = log_mel(normal, model.network.mel_bins, 16000)
    with torch.inference_mode():
        from_audio, from_mel = model(audio).last_hidden_state, model(mel).last_hidden_state
    torch.testing.assert_close(from_audio, from_mel)


def test_log_mel_against_its_definition() -> None:
    """In double precision with NumPy, one window at a time."""
    audio = noise(1, 3000)[0].double().numpy()
    ours = log_mel(torch.from_numpy(audio).float()[None], 20, 16000)[0].numpy()
    assert ours.shape == ((3000 - 400) // 160 + 1, 20)
    hann = np.hanning(401)[:-1]
    edges = 700 * (10 ** (np.linspace(2595 * np.log10(1 + 20 / 700), 2595 * np.log10(1 + 8000 / 700), 22) / 2595) - 1)
    bands = np.fft.rfftfreq(512, 1 / 16000)
    for index in (0, 7, 16):
        window = audio[160 * index : 160 * index + 400] * hann
        power = np.abs(np.fft.rfft(window, 512)) ** 2
        for band in range(20):
            weight = np.interp(bands, edges[band : band + 3], [0, 1, 0])
            assert ours[index, band] == pytest.approx((np.log(power @ weight / 400 + 1e-5) + 5) / 4, abs=1e-4)


def test_an_odd_last_mel_frame_is_stacked_with_itself() -> None:
    stacked = stack_frames(torch.arange(6.0).reshape(1, 3, 2))
    assert stacked.tolist() == [[[0, 1, 2, 3], [4, 5, 4, 5]]]


def test_the_configuration_takes_settings_by_name() -> None:
    config = MRHubertConfig(layers=[2, 2, 2], dim=48, heads=4, **QUIET)
    assert config.network.layers == (2, 2, 2)
    with pytest.raises(InputError, match="heads"):
        MRHubertConfig(dim=48, heads=5)
