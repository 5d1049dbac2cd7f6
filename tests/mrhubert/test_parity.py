"""Every released kind of network computes what the public code computes (golden numbers, within 1e-4)."""

import numpy as np
import pytest
import torch
from mrhubert_golden import (
    MODELS,
    arrays,
    checkpoint,
    difference,
    golden,
    golden_names,
    reference_model,
    stored_key,
    training_case,
    waveforms,
)

from speechstrata.mrhubert.dialects import fairseq_rules
from speechstrata.mrhubert.model import MRHubertModel
from speechstrata.mrhubert.upstream import UpstreamExpert

TOLERANCE = 1e-4
CASES = ("a", "b", "batch")


def compared(model: MRHubertModel, name: str, case: str) -> dict[str, float]:
    """The largest difference of each tap that the golden files keep."""
    inputs, lengths = waveforms()[case]
    theirs, found = golden_names(model.network), {}
    with torch.inference_mode():
        for tap, frames in model.taps(inputs, lengths):
            key = stored_key(name, case, theirs[tap])
            if key is None:
                continue
            states = frames.padded()
            found[tap] = difference(states.transpose(1, 2) if theirs[tap] == "conv" else states, "forward", key)
            mask = f"{name}/{case}/{theirs[tap]}.padding_mask"
            if mask in arrays("forward") and frames.padding is not None:
                assert torch.equal(frames.padding.view(len(lengths), -1), torch.from_numpy(arrays("forward")[mask])), (
                    mask
                )
    return found


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("case", CASES)
def test_every_layer_equals_the_public_code(name: str, case: str) -> None:
    model = reference_model(name).model
    found = compared(model, name, case)
    blocks = len(model.plan)
    # alone, b keeps the projection and the blocks' outputs; a and the batch keep every layer
    assert len(found) >= (2 * blocks if case == "b" else sum(model.network.layers) + blocks + 2)
    assert max(found.values()) < TOLERANCE, max(found.items(), key=lambda item: item[1])


@pytest.mark.parametrize("name", MODELS)
def test_without_padding_our_way_is_the_public_way(name: str) -> None:
    model = reference_model(name).model
    for case in ("a", "b"):
        inputs, lengths = waveforms()[case]
        with torch.inference_mode():
            published = dict(model.taps(inputs, lengths, padding="reference"))
            ours = dict(model.taps(inputs, lengths, padding="valid"))
        for tap in published:
            assert torch.equal(published[tap].data, ours[tap].data), tap


@pytest.mark.parametrize("name", ["mr_mono_base", "mr_b2a", "mr_large"])
def test_the_residual_before_the_decoder(name: str) -> None:
    model = reference_model(name, residual="pre").model
    steps = len(model.network.ratios)
    outputs = ["middle.post_skip", *(names for names in _block_outputs(model)[steps + 1 :])]
    for case in ("a", "batch"):
        inputs, lengths = waveforms()[case]
        with torch.inference_mode():
            states = dict(model.taps(inputs, lengths))
        for index, tap in enumerate(outputs):
            key = f"pre_residual_{name}/{case}/res{index}"
            assert difference(states[tap].padded(), "constructed", key) < TOLERANCE


def _block_outputs(model: MRHubertModel) -> list[str]:
    from speechstrata.mrhubert.taps import all_block_taps

    return [names.joined for _, names in all_block_taps(model.network)]


@pytest.mark.parametrize("case", ["crop", "pad"])
@pytest.mark.parametrize("name", MODELS)
def test_losses_hits_and_gradients_equal_the_public_code(name: str, case: str) -> None:
    model = reference_model(name)
    inputs, lengths, mask, targets = training_case(name, case)
    expected = golden()["models"][name]["train_result"][case]
    output = model(inputs, lengths, mask, targets, score_unmasked=True)
    output.loss.backward()

    logging = expected["logging"]
    assert float(output.loss.detach()) == pytest.approx(expected["loss"], rel=1e-5)
    assert int(output.sample_size) == expected["sample_size"]
    assert float(output.feature_penalty.detach()) == pytest.approx(expected["features_pen"], rel=1e-5)
    for index, head in enumerate(output.heads):
        assert float(head.cross_entropy.detach()) == pytest.approx(logging[f"loss_m_{index}"], rel=1e-5)
        assert float(head.unmasked_cross_entropy) == pytest.approx(logging[f"loss_u_{index}"], rel=1e-5)
        assert [int(head.correct), int(head.count)] == [logging[f"correct_m_{index}"], logging[f"count_m_{index}"]]
        assert [int(head.unmasked_correct), int(head.unmasked_count)] == [
            logging[f"correct_u_{index}"],
            logging[f"count_u_{index}"],
        ]

    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    seen = set()
    for rule in fairseq_rules(model.network):
        for theirs, gradient in zip(rule.theirs, rule.write(gradients[rule.ours]), strict=True):
            norm = expected["grad_norm"][theirs]
            # a key's bias moves no attention: its gradient is rounding noise
            assert float(gradient.norm()) == pytest.approx(norm, rel=1e-4, abs=1e-5), theirs
            key = f"{name}/{case}/grad/{theirs}"
            if key in arrays("train") and norm > 1e-3:
                largest = float(np.abs(arrays("train")[key]).max())
                assert difference(gradient, "train", key) < 1e-4 * largest, theirs
            seen.add(theirs)
    assert seen == set(expected["grad_norm"])


@pytest.mark.parametrize("name", ["hubert_base", "mr_mono_base", "mr_b2a"])
def test_the_loss_of_unmasked_frames(name: str) -> None:
    model = reference_model(name)
    expected = golden()["models"][name]["train_result"]["pad"]["with_pred_nomask_weight_0.5"]
    output = model(*training_case(name, "pad"), unmasked_weight=0.5)
    assert float(output.loss.detach()) == pytest.approx(expected["loss"], rel=1e-5)
    assert int(output.sample_size) == expected["sample_size"]


@pytest.mark.parametrize("name", ["mr_mono_base", "mr_b2a", "mr_large"])
def test_the_loss_with_the_residual_before_the_decoder(name: str) -> None:
    expected = golden()["pre_residual"][name]
    output = reference_model(name, residual="pre")(*training_case(name, "crop"), score_unmasked=True)
    assert float(output.loss.detach()) == pytest.approx(expected["crop_loss"], rel=1e-5)
    for index, head in enumerate(output.heads):
        assert int(head.correct) == expected["crop_logging"][f"correct_m_{index}"]
        assert int(head.unmasked_correct) == expected["crop_logging"][f"correct_u_{index}"]


@pytest.mark.parametrize("name", ["hubert_base", "mr_mono_base", "mr_r23"])
def test_the_benchmark_states(name: str) -> None:
    upstream = UpstreamExpert(checkpoint(name), padding="reference")
    with torch.inference_mode():
        states = upstream(_utterances())["hidden_states"]
    assert len(states) == len(golden()["s3prl"][name]["names"])
    for index, state in enumerate(states):
        assert difference(state, "s3prl", f"{name}/batch/upsampled/{index:02d}") < TOLERANCE


@pytest.mark.parametrize("name", MODELS)
def test_the_benchmark_shapes(name: str) -> None:
    expected = golden()["s3prl"][name]
    upstream = UpstreamExpert(checkpoint(name))
    with torch.inference_mode():
        states = upstream(_utterances())["hidden_states"]
    assert [list(state.shape) for state in states] == expected["runs"]["batch"]["upsampled_shape"]
    assert upstream.get_downsample_rates("hidden_states") == (160 if name == "mr_r23" else 320)


@pytest.mark.parametrize("name", ["mr_b2a", "mr_b2b", "mr_3res_asym"])
def test_the_benchmark_runs_the_upsampling_modules_of_three_resolutions_in_the_wrong_order(name: str) -> None:
    """Its states are ours once the two modules are exchanged."""
    upstream = UpstreamExpert(checkpoint(name), padding="reference")
    modules = upstream.model.samplings
    modules["up0"], modules["up1"] = modules["up1"], modules["up0"]
    inputs, lengths = waveforms()["batch"]
    with torch.inference_mode():
        taps = dict(upstream.model.taps(inputs, lengths, padding="reference"))
    compared = 0
    for index, tap in enumerate(upstream._names):
        key = f"{name}/batch/native/{index:02d}"
        if key in arrays("s3prl"):
            rows, frames, dim = golden()["shapes"]["s3prl"][key]
            ours = taps[tap].padded()
            if ours.shape[1] == frames:  # the toolkit's padding to an even number of frames is not ours
                assert difference(ours, "s3prl", key) < TOLERANCE
                compared += 1
            assert (rows, dim) == (2, ours.shape[2])
    assert compared >= 6


def _utterances() -> list[torch.Tensor]:
    inputs, lengths = waveforms()["batch"]
    return [row[:length] for row, length in zip(inputs, lengths, strict=True)]
