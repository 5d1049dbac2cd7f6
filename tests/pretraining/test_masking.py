"""Span masks against the statistics of the public code."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechstrata.errors import InputError
from speechstrata.pretraining.config import MaskingConfig
from speechstrata.pretraining.masking import batch_masks, minimum_frames, span_mask
from speechstrata.seeds import generator

PUBLISHED = json.loads((Path(__file__).parents[1] / "data/pretraining/published.json").read_text())["mask_statistics"]
DRAWS = 1_000
CONFIG = MaskingConfig()


def draws(frames: int) -> np.ndarray:
    return np.stack([span_mask(frames, generator(3, "test", draw), CONFIG) for draw in range(DRAWS)])


def runs(mask: np.ndarray) -> np.ndarray:
    edges = np.diff(np.concatenate([[0], mask.astype(int), [0]]))
    return np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)


@pytest.mark.parametrize("frames", [100, 150, 250, 400, 600])
def test_single_utterances_share_the_published_statistics(frames: int) -> None:
    published = PUBLISHED["single"][str(frames)]
    masks = draws(frames)
    fraction = masks.mean(axis=1)
    standard_error = published["std"] / np.sqrt(DRAWS)
    assert abs(fraction.mean() - published["mean"]) < 5 * standard_error
    assert fraction.std() == pytest.approx(published["std"], rel=0.12)
    lengths = np.concatenate([runs(mask) for mask in masks])
    assert lengths.mean() == pytest.approx(published["mean_run"], rel=0.05)
    assert lengths.min() == published["min_run"] == 10
    probability = masks.mean(axis=0)
    assert probability[-1] == published["pos_prob_last"] == 0.0
    for position, key in [(0, "pos_prob_first"), (9, "pos_prob_10th"), (-2, "pos_prob_second_last")]:
        assert abs(probability[position] - published[key]) < 0.08


@pytest.mark.parametrize("frames", [13, 15, 20, 30, 50])
def test_short_utterances_share_the_published_mean(frames: int) -> None:
    counts = draws(frames).sum(axis=1)
    assert counts.mean() == pytest.approx(PUBLISHED["short"][str(frames)]["mean_masked"], rel=0.03)
    assert counts.max() < frames


def test_utterances_on_which_the_public_code_can_fail_are_refused() -> None:
    assert minimum_frames(CONFIG) == 13
    assert PUBLISHED["short"]["12"]["errors"] > 0
    assert PUBLISHED["short"]["13"]["errors"] == 0
    with pytest.raises(InputError, match="12 frames"):
        span_mask(12, np.random.default_rng(0), CONFIG)


@pytest.mark.parametrize("frames", [(300, 300, 300, 300), (300, 250, 200, 120)])
def test_reference_mode_cuts_every_row_to_the_smallest_count(frames: tuple[int, ...]) -> None:
    published = PUBLISHED["batch"][str(list(frames))]
    config = MaskingConfig(mode="reference")
    names = [f"u{row}" for row in range(len(frames))]
    counts, lengths = [], []
    for step in range(300):
        masks = batch_masks(frames, names, seed=1, step=step, config=config)
        assert len(set(masks.sum(axis=1))) == 1
        counts.append(masks[0].sum())
        lengths += [run for mask in masks for run in runs(mask)]
    assert np.mean(counts) == pytest.approx(published["mean_count"], rel=0.02)
    assert np.std(counts) == pytest.approx(published["std_count"], rel=0.15)
    assert np.mean(lengths) == pytest.approx(published["mean_run"], rel=0.05)
    assert np.mean(np.array(lengths) < 10) == pytest.approx(published["share_runs_shorter_than_10"], abs=0.03)


@given(
    frames=st.lists(st.integers(13, 400), min_size=1, max_size=6),
    seed=st.integers(0, 5),
    step=st.integers(0, 10**6),
)
def test_a_row_is_a_pure_function_of_seed_step_and_utterance(frames: list[int], seed: int, step: int) -> None:
    names = [f"utterance-{row}" for row in range(len(frames))]
    masks = batch_masks(frames, names, seed=seed, step=step, config=CONFIG)
    for row, count in enumerate(frames):
        alone = batch_masks([count], [names[row]], seed=seed, step=step, config=CONFIG)
        assert np.array_equal(masks[row, :count], alone[0])
        assert not masks[row, count:].any()
        assert CONFIG.span <= masks[row].sum() < count


def test_steps_and_utterances_have_masks_of_their_own() -> None:
    def mask(step: int, name: str) -> bytes:
        return batch_masks([200], [name], seed=1, step=step, config=CONFIG).tobytes()

    assert len({mask(0, "a"), mask(1, "a"), mask(0, "b")}) == 3
