"""The masked-prediction objective against its definition, written out slowly."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from small_networks import noise, small_config, small_model

from speechstrata.errors import InputError
from speechstrata.mrhubert.config import block_plan
from speechstrata.mrhubert.masked_prediction import MRHubertForPreTraining
from speechstrata.mrhubert.objective import (
    IGNORE,
    PredictionHead,
    carry_masks,
    head_labels,
    score_head,
)
from speechstrata.mrhubert.packing import Frames
from speechstrata.mrhubert.taps import tap_lengths


def batch(
    model: MRHubertForPreTraining, lengths: list[int], seed: int = 0
) -> tuple[torch.Tensor, list[int], torch.Tensor, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    frames = max(tap_lengths(model.network, length)["projection"] for length in lengths)
    mask = torch.rand(len(lengths), frames, generator=generator) < 0.5
    labels = [
        torch.randint(0, classes, (len(lengths), frames), generator=generator) for classes in model.network.classes
    ]
    return noise(len(lengths), max(lengths), seed), lengths, mask, labels


@torch.no_grad()
def test_the_matrix_product_equals_the_expanded_negatives() -> None:
    """The published way: the cosine with the right class, then with every other class, as one row of logits."""
    torch.manual_seed(0)
    head = PredictionHead(small_config("mrhubert-base", classes=(12,)), 0)
    head.reset_parameters()
    frames, labels = torch.randn(9, 24), torch.randint(0, 12, (9,))
    masked = torch.tensor([True] * 6 + [False] * 3)
    score = score_head(head, frames, labels, masked, unmasked_weight=0.0)
    entropies, hits = [], []
    for frame, label in zip(frames, labels, strict=True):
        projected = head.projection(frame)
        positive = F.cosine_similarity(projected, head.classes[label], dim=0)
        negatives = [F.cosine_similarity(projected, head.classes[k], dim=0) for k in range(12) if k != label]
        logits = torch.stack([positive, *negatives]) / 0.1
        entropies.append(F.cross_entropy(logits[None], torch.zeros(1, dtype=torch.long)))
        hits.append(int(logits.argmax() == 0))
    assert float(score.cross_entropy) == pytest.approx(float(sum(entropies[:6])), rel=1e-5)
    assert float(score.unmasked_cross_entropy) == pytest.approx(float(sum(entropies[6:])), rel=1e-5)
    assert [int(score.correct), int(score.count)] == [sum(hits[:6]), 6]
    assert [int(score.unmasked_correct), int(score.unmasked_count)] == [sum(hits[6:]), 3]


def test_unmasked_frames_are_left_alone_unless_asked_for() -> None:
    model = small_model("mrhubert-base")
    output = model(*batch(model, [4000, 3000]))
    assert output.heads[0].unmasked_count is None


def test_the_loss_is_the_sum_of_the_heads_and_the_penalty() -> None:
    model = small_model("b2-a", feature_penalty=3.0)
    output = model(*batch(model, [6000, 5000]))
    expected = sum(head.cross_entropy for head in output.heads) + 3 * output.feature_penalty * output.sample_size
    assert float(output.loss) == pytest.approx(float(expected), rel=1e-6)
    assert int(output.sample_size) == int(output.heads[0].count)
    assert output.bits_per_frame == pytest.approx(float(output.loss) / int(output.sample_size) / math.log(2), rel=1e-6)


def test_the_penalty_is_the_mean_square_of_the_extractors_valid_frames() -> None:
    model = small_model("mrhubert-base")
    inputs, lengths, mask, targets = batch(model, [6000, 3000])
    output = model(inputs, lengths, mask, targets)
    rows = [
        dict(model.model.taps(inputs[row : row + 1, :length], [length]))["conv7"].data
        for row, length in enumerate(lengths)
    ]
    assert float(output.feature_penalty) == pytest.approx(float(torch.cat(rows).square().mean()), rel=1e-5)


@pytest.mark.parametrize("averaging", ["high_resolution", "per_resolution"])
def test_shares_of_two_processes_add_up_to_the_whole_batch(averaging: str) -> None:
    model = small_model("mrhubert-base", feature_penalty=0.0)
    inputs, lengths, mask, targets = batch(model, [5000, 4000, 3000])
    whole = model(inputs, lengths, mask, targets)
    whole.mean_loss(averaging=averaging).backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    parts = [slice(0, 2), slice(2, 3)]
    outputs = [model(inputs[part], lengths[part], mask[part], [targets[0][part]]) for part in parts]
    counts = sum(output.counts for output in outputs)
    assert torch.equal(counts, whole.counts)
    total = 0.0
    for output in outputs:
        share = output.mean_loss(counts, averaging)
        share.backward()
        total += float(share.detach())
    assert total == pytest.approx(float(whole.mean_loss(averaging=averaging)), rel=1e-5)
    for name, parameter in model.named_parameters():
        if name in expected:
            torch.testing.assert_close(parameter.grad, expected[name], atol=1e-5, rtol=1e-3)


def test_high_resolution_averaging_is_the_published_loss() -> None:
    model = small_model("b2-a")
    output = model(*batch(model, [6000, 5000]))
    assert float(output.mean_loss()) == pytest.approx(float(output.loss) / int(output.sample_size), rel=1e-5)


def test_per_resolution_averaging_weighs_the_heads_alike() -> None:
    model = small_model("b2-a", feature_penalty=0.0)
    output = model(*batch(model, [6000, 5000]))
    expected = sum(float(head.cross_entropy) / int(head.count) for head in output.heads)
    assert float(output.mean_loss(averaging="per_resolution")) == pytest.approx(expected, rel=1e-5)


def test_a_frame_takes_the_label_at_its_start() -> None:
    config = small_config("b2-a")
    labels = torch.arange(11)[None]
    for head, expected in enumerate([list(range(11)), [0, 2, 4, 6, 8, 10], [0, 4, 8]]):
        frames = Frames(torch.zeros(len(expected), 24), (len(expected),))
        assert head_labels(config, head, labels, frames).tolist() == expected


def test_labels_at_a_ratio_that_is_not_whole() -> None:
    config = small_config("mrhubert-base", ratios=((2, 3),))
    frames = Frames(torch.zeros(7, 24), (7,))
    assert head_labels(config, 1, torch.arange(10)[None], frames).tolist() == [0, 1, 3, 4, 6, 7, 9]


def test_frames_beyond_their_labels_are_not_scored() -> None:
    config = small_config("mrhubert-base")
    frames = Frames(torch.zeros(9, 24), (5, 4))
    labels = torch.tensor([[3, 4, 5], [6, IGNORE, 7]])
    assert head_labels(config, 0, labels, frames).tolist() == [3, 4, 5, IGNORE, IGNORE, 6, IGNORE, 7, IGNORE]
    assert head_labels(config, 1, labels, Frames(torch.zeros(5, 24), (3, 2))).tolist() == [3, 5, IGNORE, 6, 7]


def test_the_dictionarys_symbols_come_before_the_units() -> None:
    config = small_config("mrhubert-base", label_offset=4)
    frames = Frames(torch.zeros(3, 24), (3,))
    assert head_labels(config, 0, torch.tensor([[0, 7, IGNORE]]), frames).tolist() == [4, 11, IGNORE]


def test_a_unit_outside_its_table_is_named() -> None:
    config = small_config("mrhubert-base", label_offset=4)
    with pytest.raises(InputError, match="label 8 of head 0 is not one of its 8 units"):
        head_labels(config, 0, torch.tensor([[0, 8]]), Frames(torch.zeros(2, 24), (2,)))


def test_separate_streams_have_their_own_tables() -> None:
    model = small_model("mrhubert-base", classes=(12, 7), label_rates=(50.0, 25.0))
    assert [head.classes.shape[0] for head in model.heads] == [12, 7]
    inputs, lengths, mask, targets = batch(model, [4000])
    output = model(inputs, lengths, mask, [targets[0], targets[1][:, : (targets[1].shape[1] + 1) // 2]])
    assert int(output.heads[1].count) == int(mask[:, ::2].sum())
    with pytest.raises(InputError, match="1 label streams for a network with 2"):
        model(inputs, lengths, mask, targets[:1])


@given(st.lists(st.booleans(), min_size=2, max_size=40))
def test_the_finest_head_scores_the_inputs_own_mask(values: list[bool]) -> None:
    config, mask = small_config("b2-a"), torch.tensor([values])
    masks = carry_masks(mask, block_plan(config), config)
    assert torch.equal(masks["decoder1"], mask)
    assert torch.equal(masks["decoder0"], mask[:, ::2])
    assert torch.equal(masks["middle"], mask[:, ::4])


def test_the_published_mask_went_through_the_lowest_resolution() -> None:
    config = small_config("mrhubert-base", mask_carry="reference")
    mask = torch.tensor([[True, False, False, True, True]])
    masks = carry_masks(mask, block_plan(config), config)
    assert masks["middle"].tolist() == [[True, False, True]]
    assert masks["decoder0"].tolist() == [[True, True, False, False, True]]


def test_masked_frames_are_hidden_from_the_network() -> None:
    """What lies under the mask does not matter, beyond what neighbouring frames and statistics see of it."""
    model = small_model("tiny", normalize=False)
    inputs, lengths, _, _ = batch(model, [6000])
    mask = torch.zeros(1, 18, dtype=torch.bool)
    mask[:, 5:8] = True
    changed = inputs.clone()
    changed[:, 1920:2080] = 0.7  # seen by frames 5 and 6 alone
    with torch.inference_mode():
        left, right = (dict(model.model.taps(x, lengths, mask))["T3"].data for x in (inputs, changed))
        open_left, open_right = (dict(model.model.taps(x, lengths))["T3"].data for x in (inputs, changed))
    assert torch.equal(left, right)
    assert not torch.allclose(open_left, open_right, atol=1e-3)


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_the_front_end_learns_by_its_share(share: float) -> None:
    full, scaled = (small_model("mrhubert-base", feature_grad_mult=mult) for mult in (1.0, share))
    for model in (full, scaled):
        model(*batch(model, [4000])).loss.backward()
    for left, right in zip(full.model.front_end.parameters(), scaled.model.front_end.parameters(), strict=True):
        if share == 0:
            assert right.grad is None
        else:
            torch.testing.assert_close(left.grad * share, right.grad)
    torch.testing.assert_close(full.model.projection.weight.grad, scaled.model.projection.weight.grad)


def test_a_mask_that_is_too_narrow_is_refused() -> None:
    model = small_model("mrhubert-base")
    inputs, lengths, mask, targets = batch(model, [4000])
    with pytest.raises(InputError, match="mask of shape"):
        model(inputs, lengths, mask[:, :-1], targets)
