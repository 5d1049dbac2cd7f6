"""Speech recognition and slot filling: units, CTC, SpecAugment, packed heads, slot scores."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from labelled import GRID, cut, cuts

from speechstrata.errors import CorpusError, MissingExtraError
from speechstrata.superb import metric_packages
from speechstrata.superb.augment import SpecAugment, mask, warp_time
from speechstrata.superb.ctc import best_path, ctc_loss
from speechstrata.superb.metric_packages import error_rate
from speechstrata.superb.slot_scores import parse_slots, slot_type_f1, slot_value_cer
from speechstrata.superb.task import Recipe
from speechstrata.superb.tasks import load_task
from speechstrata.superb.text_units import (
    CHARACTER_UNITS,
    slot_units,
    spell,
    spell_slots,
    tagged_words,
    unspell,
    unspell_slots,
)

SMALL = Recipe(width=8, hidden=6, recurrent_layers=2, dropout=0.2, augment=True)
PLAY = cut("play", custom={"words": ["play", "queen", "now"], "slots": ["O", "artist", "O"]})
RAIN = cut("rain", custom={"words": ["rain", "in", "new", "york", "?"], "slots": ["O", "O", "city", "city", "O"]})


def direct_ctc(logits: np.ndarray, target: list[int]) -> float:
    """Minus the log of the summed probability of every path of frames that collapses to ``target``."""
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    total = 0.0
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        if [unit for unit, _ in itertools.groupby(path) if unit != 0] == target:
            total += math.prod(probabilities[frame, unit] for frame, unit in enumerate(path))
    return -math.log(total)


def forward_ctc(logits: np.ndarray, target: list[int]) -> float:
    """The forward algorithm over the target with blanks between (Graves et al. 2006, equations 6 to 8)."""
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    states = [0, *(unit for label in target for unit in (label, 0))]
    alpha = np.zeros(len(states))
    alpha[:2] = probabilities[0, states[:2]]
    for frame in probabilities[1:]:
        before = alpha.copy()
        for s, unit in enumerate(states):
            skip = s >= 2 and unit != 0 and unit != states[s - 2]
            alpha[s] = (before[s] + (before[s - 1] if s else 0) + (before[s - 2] if skip else 0)) * frame[unit]
    return -math.log(alpha[-2:].sum())


def test_ctc_against_all_paths_and_the_forward_algorithm():
    torch.manual_seed(0)
    outputs = torch.randn(3, 5, 3, dtype=torch.float64)
    lengths, targets = torch.tensor([5, 4, 3]), [[1, 2], [1, 1], [2]]
    wanted = []
    for row, length, target in zip(outputs.numpy(), lengths, targets, strict=True):
        direct = direct_ctc(row[:length], target)
        assert forward_ctc(row[:length], target) == pytest.approx(direct)
        wanted.append(direct / len(target))
    assert ctc_loss(outputs, lengths, targets).item() == pytest.approx(np.mean(wanted))


def test_a_target_too_long_for_its_frames_counts_as_zero():
    outputs = torch.randn(2, 4, 3, dtype=torch.float64)
    lengths, targets = torch.tensor([4, 2]), [[1, 2], [1, 1]]  # the second would need three frames
    expected = forward_ctc(outputs[0].numpy(), [1, 2]) / 2 / 2
    assert ctc_loss(outputs, lengths, targets).item() == pytest.approx(expected)


def test_the_best_path_collapses_repetitions_and_blanks_within_the_length():
    path = torch.tensor([[0, 3, 3, 0, 3, 2, 1, 1]])
    outputs = torch.nn.functional.one_hot(path, 4).float()
    assert best_path(outputs, torch.tensor([6])) == [[3, 3, 2]]


def test_characters_are_spelt_as_published():
    assert len(CHARACTER_UNITS) == 32
    spelt = [CHARACTER_UNITS[unit] for unit in spell("it’s  ok")]
    assert spelt == ["I", "T", "'", "S", "|", "O", "K", "|", "</s>"]
    assert [CHARACTER_UNITS[unit] for unit in spell("é")] == ["<unk>", "|", "</s>"]


@given(st.lists(st.text("ABCXYZ'", min_size=1, max_size=5), max_size=5))
def test_spelling_is_undone(words):
    assert unspell(spell(" ".join(words))) == " ".join(words)


def test_slots_are_tagged_as_published():
    assert tagged_words(["play", "queen", "&", "king", ",", "now"], ["O", "a", "a", "a", "O", "O"]) == [
        "PLAY", "B-a", "QUEEN", "AND", "KING", "E-a", "NOW",
    ]  # fmt: skip
    assert tagged_words(["a", ",", "b"], ["x", "O", "x"]) == ["B-x", "A", "E-x", "B-x", "B", "E-x"]
    assert tagged_words(["a", ","], ["x", "x"]) == ["B-x", "A", "E-x"]  # the benchmark loses this end
    assert tagged_words([","], ["x"]) == []


def test_slots_are_spelt_with_a_space_between_words_and_none_at_edges():
    units = slot_units(["city", "day"])
    assert len(units) == 3 + 28 + 4
    assert units[:3] == ["<pad>", "</s>", "<unk>"]
    tagged = tagged_words(["in", "new", "york", "today"], ["O", "city", "city", "day"])
    spelt = [units[unit] for unit in spell_slots(tagged, units)]
    assert spelt == [*"IN ", "B-city", *"NEW YORK", "E-city", " ", "B-day", *"TODAY", "E-day", "</s>"]
    assert unspell_slots(spell_slots(tagged, units), units) == "IN B-city NEW YORK E-city B-day TODAY E-day"


def test_a_hyphenated_word_is_no_edge():
    units = slot_units(["city"])
    spelt = [units[unit] for unit in spell_slots(tagged_words(["e-mail"], ["O"]), units)]
    assert spelt == ["E", "<unk>", *"MAIL", "</s>"]


@pytest.mark.parametrize(
    ("tagged", "slots"),
    [
        ("PLAY B-artist QUEEN E-artist NOW", [("artist", "QUEEN")]),
        ("B-a ONE E-a B-a TWO E-a", [("a", "ONE"), ("a", "TWO")]),
        ("B-a ONE", []),
        ("ONE E-a", []),
        ("B-a E-a", []),
        ("B-a ONE E-b", []),
        ("B-a ONE E-b TWO E-a", [("a", "ONE E-b TWO")]),
        ("B-a ONE B-a TWO E-a", [("a", "ONE B-a TWO")]),
        ("B-city ROME E-city_name E-city", [("city", "ROME E-city_name")]),
        ("", []),
    ],
)
def test_parsing_slots(tagged, slots):
    assert parse_slots(tagged) == slots


def test_slot_type_f1_of_hand_cases():
    none, a, ab = "PLAY", "B-a X E-a", "B-a Y E-a B-b Z E-b"
    assert slot_type_f1([none], [none]) == 1
    assert slot_type_f1([none], [a]) == 0
    assert slot_type_f1([a], [none]) == 0
    assert slot_type_f1([a, ab], [a, a]) == pytest.approx((1 + 2 / 3) / 2)
    assert slot_type_f1([f"{a} {a}"], [a]) == 1  # sets: how often does not matter


def test_slot_value_cer_of_hand_cases():
    reference = "B-a ROME E-a B-b OSLO E-b"
    assert slot_value_cer([reference], [reference]) == 0
    assert slot_value_cer([reference], ["B-a ROMA E-a B-b OSLO E-b"]) == pytest.approx(1 / 8)
    assert slot_value_cer([reference], ["B-a ROME E-a"]) == pytest.approx(4 / 8)
    assert slot_value_cer([reference], ["B-a PARIS E-a B-a ROM E-a B-b OSLO E-b"]) == pytest.approx(1 / 8)
    assert slot_value_cer(["B-a NEW YORK E-a"], ["B-a NEWYORK E-a"]) == pytest.approx(1 / 8)
    assert math.isnan(slot_value_cer(["PLAY"], ["PLAY"]))


@given(st.text("AB ", max_size=8), st.text("AB ", min_size=1, max_size=8))
def test_character_error_rate_is_the_levenshtein_distance(hypothesis, reference):
    reference, hypothesis = " ".join(reference.split()), " ".join(hypothesis.split())
    table = np.zeros((len(reference) + 1, len(hypothesis) + 1))
    table[:, 0], table[0] = np.arange(len(reference) + 1), np.arange(len(hypothesis) + 1)
    for i, j in itertools.product(range(len(reference)), range(len(hypothesis))):
        table[i + 1, j + 1] = min(
            table[i, j] + (reference[i] != hypothesis[j]), table[i, j + 1] + 1, table[i + 1, j] + 1
        )
    rate = error_rate([reference], [hypothesis], "character")
    assert rate == pytest.approx(table[-1, -1] / len(reference)) if reference else math.isnan(rate)


def test_error_rates_are_of_the_corpus_not_means_of_utterances():
    assert error_rate(["A B C", "D"], ["A B C", "E"], "word") == pytest.approx(1 / 4)
    assert error_rate(["A", ""], ["A", "B C"], "word") == 2


@pytest.mark.parametrize("name", ["asr", "sf"])
def test_a_batch_gives_what_each_utterance_gives_alone(name):
    task = load_task(name)
    labels = task.fit_labels(cuts(PLAY, RAIN))
    head = task.build_head(10, labels, SMALL, GRID).eval()
    features, lengths = torch.randn(3, 30, 10), torch.tensor([30, 7, 19])
    outputs = head(features, lengths)
    assert outputs.shape == (3, 30, len(labels["units"]))
    for row, length in enumerate(lengths):
        alone = head(features[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(outputs[row, :length], alone[0])


@pytest.mark.parametrize("name", ["asr", "sf"])
def test_a_head_learns_a_batch_by_heart(name):
    torch.manual_seed(1)
    task = load_task(name)
    examples = [
        cut("a", "play", custom={"words": ["play", "abba"], "slots": ["O", "artist"]}),
        cut("b", "oh no", custom=RAIN.supervisions[0].custom),
    ]
    labels = task.fit_labels(cuts(*examples))
    recipe = replace(SMALL, augment=False, dropout=0.0, width=16, hidden=24, recurrent_layers=1)
    head = task.build_head(12, labels, recipe, GRID)
    features, lengths = torch.randn(2, 36, 12), torch.tensor([36, 34])
    targets = [task.target(example, labels, None, GRID) for example in examples]
    optimizer = torch.optim.Adam(head.parameters(), 0.03)
    for _ in range(90):
        optimizer.zero_grad()
        loss = task.loss(head(features, lengths), lengths, targets, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
    rows = task.predict(head(features, lengths), lengths, targets, labels)
    assert [row["hypothesis"] for row in rows] == [row["reference"] for row in rows]
    scores = task.score(rows, labels, {})
    assert scores[task.metric] == (1 if task.higher_is_better else 0)
    assert scores["wer"] == 0


def test_specaugment_acts_in_training_only_and_on_valid_frames_only():
    torch.manual_seed(0)
    augment = SpecAugment()
    features, lengths = torch.randn(2, 200, 300), torch.tensor([200, 120])
    features[1, 120:] = 7.0
    augmented = augment(features, lengths)
    assert augmented.shape == features.shape
    assert (augmented[1, 120:] == 0).all()
    for row, length in enumerate(lengths):
        silent = (augmented[row, :length] == 0).float()
        assert silent.mean() > 0
        assert (silent.mean(0) == 1).sum() <= 4 * 49
        assert (silent.mean(1) == 1).sum() <= 2 * 39
    assert augment.eval()(features, lengths) is features


def test_masks_are_runs_of_zeros_of_every_width_below_the_limit():
    torch.manual_seed(0)
    runs = [int((mask(torch.ones(100, 3), 0, 1, 5)[:, 0] == 0).sum()) for _ in range(400)]
    assert set(runs) == {0, 1, 2, 3, 4}
    hidden = (mask(torch.ones(100, 3), 0, 1, 40)[:, 0] == 0).int()
    assert int(hidden.diff().abs().sum()) <= 2


def test_warping_moves_frames_by_less_than_the_window():
    torch.manual_seed(0)
    ramp = torch.arange(100.0)[:, None].expand(100, 4)
    shifts = []
    for _ in range(50):
        warped = warp_time(ramp)
        assert warped.shape == ramp.shape
        shifts.append(float((warped - ramp).abs().max()))
    assert 1 < max(shifts) < 6.5
    assert warp_time(ramp[:10]) is not None
    assert torch.equal(warp_time(ramp[:10]), ramp[:10])


def test_published_recipes_of_transcription():
    asr, sf = load_task("asr").published, load_task("sf").published
    assert (asr.batch_size, sf.batch_size, asr.steps, asr.evaluate_every) == (16, 32, 200_000, 2_000)
    for recipe in (asr, sf):
        assert (recipe.width, recipe.hidden, recipe.recurrent_layers, recipe.dropout) == (1024, 1024, 2, 0.2)
        assert recipe.augment
    head = load_task("asr").build_head(768, {"units": CHARACTER_UNITS}, asr, GRID)
    lstm = 2 * 4 * 1024 * (1024 + 1024 + 2) + 2 * 4 * 1024 * (2048 + 1024 + 2)
    assert sum(p.numel() for p in head.parameters()) == 769 * 1024 + lstm + 2049 * 32


def test_without_jiwer_training_does_not_begin(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(metric_packages, "import_module", missing)
    with pytest.raises(MissingExtraError, match="jiwer"):
        load_task("asr").fit_labels(cuts(PLAY))


def test_slot_labels_that_do_not_fit_are_refused():
    with pytest.raises(CorpusError, match="odd"):
        load_task("sf").fit_labels(cuts(cut("odd", custom={"words": ["a"], "slots": ["x", "O"]})))
    with pytest.raises(CorpusError, match="two words"):
        load_task("sf").fit_labels(cuts(cut("a", custom={"words": ["a"], "slots": ["two words"]})))
