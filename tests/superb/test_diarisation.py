"""Speaker diarisation: labels, the loss against brute force, error rates against pyannote.metrics."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from labelled import GRID, bare_cut, cuts
from lhotse import SupervisionSegment
from scipy.special import expit

from speechstrata.errors import CorpusError
from speechstrata.superb.der import (
    active_frames,
    diarisation_error_rate,
    diarisation_errors,
    frame_labels,
    frame_segments,
    merge_segments,
)
from speechstrata.superb.permutation import best_permutations, permutation_loss
from speechstrata.superb.task import Recipe
from speechstrata.superb.tasks import load_task

TASK = load_task("sd")
LABELS = {"speakers": 2}
STRIDE = 0.02


def recording(name, seconds, segments):
    supervisions = [
        SupervisionSegment(f"{name}-{place}", name, start, end - start, speaker=speaker)
        for place, (speaker, start, end) in enumerate(segments)
    ]
    return bare_cut(name, seconds, supervisions)


def segments(speakers="ab"):
    """Of a recording of ten seconds."""
    times = st.tuples(st.integers(0, 99), st.integers(1, 40)).map(lambda t: (t[0] / 10, min(t[0] + t[1], 100) / 10))
    segment = st.tuples(st.sampled_from(speakers), times).map(lambda pair: (pair[0], *pair[1]))
    return st.lists(segment, max_size=8).map(lambda found: merge_segments(found, 10.0))


def test_loss_is_the_best_of_all_orders_of_speakers():
    torch.manual_seed(0)
    logits = torch.randn(4, 12, 3, dtype=torch.float64)
    wanted = (torch.rand(4, 12, 3) > 0.5).double()
    lengths = torch.tensor([12, 5, 9, 1])
    lowest = []
    for row in range(4):
        p, y = expit(logits[row, : lengths[row]].numpy()), wanted[row, : lengths[row]].numpy()
        costs = {}
        for order in itertools.permutations(range(3)):
            matched = y[:, order]
            costs[order] = -(matched * np.log(p) + (1 - matched) * np.log(1 - p)).mean(1).sum()
        lowest.append(min(costs.values()))
        found = tuple(best_permutations(logits, wanted, lengths)[1][row].tolist())
        assert found == min(costs, key=lambda order: costs[order])
    loss = permutation_loss(logits, wanted, lengths)
    assert loss.item() == pytest.approx(sum(lowest) / lengths.sum().item())
    shuffled = permutation_loss(logits, wanted[..., [2, 0, 1]], lengths)
    assert shuffled.item() == pytest.approx(loss.item())


def test_targets_follow_segments_to_the_nearest_frame():
    cut = recording("r", 0.2, [("a", 0.0, 0.049), ("b", 0.051, 0.2), ("a", 0.12, 0.14)])
    target = TASK.target(cut, LABELS, None, replace(GRID, frames=9))
    assert target["labels"].T.tolist() == [[1, 1, 0, 0, 0, 0, 1, 0, 0], [0, 0, 0, 1, 1, 1, 1, 1, 1]]
    assert target["stride"] == pytest.approx(STRIDE)


def test_chunks_keep_a_segment_that_spans_them():
    whole = recording("r", 100.3, [("a", 1.0, 99.0), ("b", 79.0, 82.0)])
    chunks = list(TASK.examples(cuts(whole), "train", STRIDE))
    assert [round(chunk.duration, 6) for chunk in chunks] == [40, 40, 20.3]
    assert len({chunk.id for chunk in chunks}) == 3
    spanned = TASK.target(chunks[1], LABELS, None, replace(GRID, frames=1999))
    assert spanned["labels"].mean(0) == pytest.approx([1.0, 49 / 1999])
    assert spanned["segments"] == [("a", 0.0, 40.0), ("b", pytest.approx(39.0), 40.0)]
    last = TASK.target(chunks[2], LABELS, None, replace(GRID, frames=1014))
    assert last["segments"] == [("b", 0.0, pytest.approx(2.0)), ("a", 0.0, pytest.approx(19.0))]
    assert [cut.id for cut in TASK.examples(cuts(whole), "test", STRIDE)] == ["r"]
    assert len(TASK.examples(cuts(recording("s", 40.2, [])), "dev", STRIDE)) == 1  # a rest of 0.2 s


def test_segments_of_one_speaker_are_merged_and_cut_to_the_recording():
    found = merge_segments([("a", 2.0, 3.0), ("a", -1.0, 1.0), ("b", 0.5, 0.6), ("a", 2.5, 9.0), ("b", 7.0, 8.0)], 5.0)
    assert found == [("a", 0.0, 1.0), ("b", 0.5, 0.6), ("a", 2.0, 5.0)]


@given(segments(), segments("xyz"))
def test_error_time_agrees_with_pyannote(reference, hypothesis):
    pyannote = pytest.importorskip("pyannote.metrics.diarization")
    from pyannote.core import Annotation, Segment, Timeline

    annotations = []
    for found in (reference, hypothesis):
        annotation = Annotation()
        for track, (speaker, start, end) in enumerate(found):
            annotation[Segment(start, end), track] = speaker
        annotations.append(annotation)
    detail = pyannote.DiarizationErrorRate()(*annotations, uem=Timeline([Segment(0, 10)]), detailed=True)
    errors = diarisation_errors(reference, hypothesis, 10.0)
    wrong = detail["missed detection"] + detail["false alarm"] + detail["confusion"]
    assert errors.wrong == pytest.approx(wrong, abs=1e-6)
    assert errors.total == pytest.approx(detail["total"], abs=1e-6)


def test_error_rate_of_a_hand_case():
    reference = [("a", 0.0, 4.0), ("b", 3.0, 6.0)]  # 7 s of speech
    hypothesis = [("0", 0.0, 2.0), ("1", 3.0, 8.0)]  # misses a for 2 s, goes on for 2 s
    assert diarisation_error_rate([(reference, hypothesis, 10.0)]) == pytest.approx(4 / 7)
    perfect = [("1", 0.0, 4.0), ("0", 3.0, 6.0)]
    assert diarisation_error_rate([(reference, perfect, 10.0)]) == 0
    assert diarisation_error_rate([(reference, perfect, 10.0), (reference, [], 10.0)]) == pytest.approx(1 / 2)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_frames_to_segments_and_back(frames):
    active = np.array(frames)
    found = frame_segments(active, STRIDE, len(active) * STRIDE)
    assert (frame_labels(found, ["0", "1"], len(active), STRIDE) == active).all()


def test_the_median_filter_is_the_majority_of_its_window():
    probabilities = np.random.default_rng(0).random((60, 2))
    active = probabilities > 0.4
    padded = np.pad(active, ((5, 5), (0, 0)))
    expected = np.stack([padded[place : place + 11].sum(0) > 5 for place in range(60)])
    assert (active_frames(probabilities, 0.4, 11) == expected).all()
    assert (active_frames(probabilities, 0.4, 1) == active).all()


def rows_of(probabilities, found):
    target = {
        "segments": found,
        "labels": frame_labels(found, ["a", "b"], len(probabilities), STRIDE),
        "stride": STRIDE,
        "duration": len(probabilities) * STRIDE,
    }
    logits = torch.logit(torch.tensor(probabilities, dtype=torch.float32))[None]
    return TASK.predict(logits, torch.tensor([len(probabilities)]), [target], LABELS)


def test_accuracy_takes_the_order_of_the_loss():
    found = [("a", 0.0, 0.4), ("b", 0.6, 1.0)]
    probabilities = np.full((50, 2), 0.1)
    probabilities[:20, 1] = probabilities[30:45, 0] = 0.9  # the other way round, five frames of b missed
    scores = TASK.score(rows_of(probabilities, found), LABELS, {})
    assert scores["accuracy"] == pytest.approx(95 / 100)
    assert scores["der"] == pytest.approx(0.1 / 0.8)


def test_the_decision_is_tuned_on_dev_and_the_lowest_given_apart():
    dev_found, test_found = [("a", 0.0, 1.0)], [("a", 0.0, 1.0)]
    dev, test = np.full((100, 2), 0.05), np.full((100, 2), 0.05)
    dev[:50, 0], dev[50:, 0] = 0.9, 0.55  # wants a threshold above 0.55
    test[:50, 0] = 0.35  # wants one below 0.35
    settings = TASK.tune(rows_of(dev, dev_found), LABELS)
    assert settings == {"threshold": 0.6, "median": 1}
    scores = TASK.score(rows_of(test, test_found), LABELS, settings)
    assert scores["der"] == pytest.approx(1.0)
    assert scores["der_tuned_on_test"] == pytest.approx(0.0)


def test_a_batch_gives_what_each_recording_gives_alone():
    head = TASK.build_head(10, LABELS, Recipe(hidden=6, recurrent_layers=1), GRID).eval()
    features, lengths = torch.randn(3, 30, 10), torch.tensor([12, 30, 7])
    outputs = head(features, lengths)
    assert outputs.shape == (3, 30, 2)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(
            outputs[row, :length], head(features[row : row + 1, :length], lengths[row : row + 1])[0]
        )
    later = features.clone()
    later[1, 20:] += 1
    torch.testing.assert_close(head(later, lengths)[1, :20], outputs[1, :20])  # one direction: no look ahead


def test_the_published_head_and_recipe():
    recipe = TASK.published
    assert (recipe.steps, recipe.batch_size, recipe.accumulation, recipe.evaluate_every) == (30_000, 8, 4, 500)
    head = TASK.build_head(768, LABELS, recipe, GRID)
    assert sum(p.numel() for p in head.parameters()) == 4 * 512 * (768 + 512 + 2) + 513 * 2


def test_speakers_are_counted_and_too_many_are_refused():
    two = recording("two", 1.0, [("a", 0.0, 0.5), ("b", 0.2, 0.6)])
    assert TASK.fit_labels(cuts(two)) == LABELS
    with pytest.raises(CorpusError, match="two speakers"):
        TASK.fit_labels(cuts(recording("one", 1.0, [("a", 0.0, 0.5)])))
    three = recording("three", 1.0, [("a", 0.0, 0.1), ("b", 0.2, 0.3), ("c", 0.4, 0.5)])
    with pytest.raises(CorpusError, match="three"):
        TASK.target(three, LABELS, None, replace(GRID, frames=49))
