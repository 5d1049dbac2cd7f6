"""Numbers of the public analysis code on fixed views, splits and cluster assignments (tests/data/analysis)."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from speechstrata.analysis.cca import cross_validated_pwcca
from speechstrata.analysis.fbank import acoustic_view, average_to_hop, matching_frames
from speechstrata.analysis.mutual_information import contingency_information, entropy
from speechstrata.analysis.parts import TrialPlan
from speechstrata.analysis.sentence_similarity import sentence_similarity
from speechstrata.analysis.spans import frame_ranges
from speechstrata.encoders.base import Layer

DATA = Path(__file__).parents[1] / "data" / "analysis"
CCA = json.loads((DATA / "cca.json").read_text())
MISC = json.loads((DATA / "misc.json").read_text())
VIEWS = dict(np.load(DATA / "views.npz"))
SPLITS = dict(np.load(DATA / "splits.npz"))
FBANK = dict(np.load(DATA / "fbank.npz"))


def published(run, **options):
    """Our score with the splits, trials and ridge terms of a published run, and that run."""
    record = CCA["runs"][run]
    trials = [
        TrialPlan(trial["dev"], trial["test"], tuple(map(tuple, trial["eps_order"]))) for trial in record["trials"]
    ]
    y = VIEWS["labels"].astype(int) if record["view2"] == "onehot" else VIEWS["cont"]
    weighting = "both" if record["mean_score"] else "smaller"
    x, parts = VIEWS[record["view1"]], SPLITS[run.replace("/", "__")]
    return cross_validated_pwcca(x, y, parts, trials=trials, weighting=weighting, **options), record


@pytest.mark.parametrize("run", [run for run in CCA["runs"] if run.startswith("cont")])
def test_continuous_views_reproduce_every_score(run):
    ours, record = published(run)
    assert ours.score == pytest.approx(record["final_score"], abs=2e-7)
    for trial, theirs in zip(ours.trials, record["trials"], strict=True):
        for ridge, score in trial.dev_scores:
            # The names of the published scores order the pair as the grid does: eps of view 1, then of view 2.
            assert score == pytest.approx(theirs["dev_scores"][f"{ridge[0]:g}|{ridge[1]:g}"], abs=2e-7)


@pytest.mark.parametrize("run", [run for run in CCA["runs"] if run.startswith("onehot")])
def test_one_hot_views_agree_to_the_weight_of_the_null_direction(run):
    # The public code gives the direction without variance rounding noise with a weight of about 1/40.
    kept, record = published(run, null_direction="keep")
    assert kept.score == pytest.approx(record["final_score"], abs=0.01)
    dropped, _ = published(run)
    assert dropped.score == pytest.approx(record["final_score"], rel=0.06)


@pytest.mark.parametrize("view", ["onehot", "cont"])
@pytest.mark.parametrize("ridge", [1e-9, 1e-6])
@pytest.mark.parametrize(("dev", "test", "part"), [(0, 1, "test"), (1, 0, "dev")])
def test_scores_without_the_null_direction(view, ridge, dev, test, part):
    """The published weights and correlations of layer 1, its null direction taken out by hand."""
    y = VIEWS["labels"].astype(int) if view == "onehot" else VIEWS["cont"]
    # Parts 0 and 1 are held out either way, so the directions are the same.
    trial = TrialPlan(dev, test, ((ridge, ridge),))
    ours = cross_validated_pwcca(VIEWS["layer1"], y, SPLITS[f"{view}__layer1"], trials=[trial])
    record = MISC["cca_directions"][f"{view}/{ridge:.0e}/{part}"]
    assert ours.score == pytest.approx(record["score_y_without_null"], abs=1e-7)
    assert ours.trials[0].n_null == record["n_null"]


@pytest.mark.parametrize("run", list(MISC["mi"]["runs"]))
def test_mutual_information_of_given_clusters(run):
    layer, k = run.split("/")
    clusters = np.load(DATA / "mi.npz")
    labels = VIEWS["labels"].astype(int)
    record = MISC["mi"]["runs"][run]
    for part, name in (("eval", "dev"), ("train", "train")):
        chosen = labels[clusters[f"{part}_idx"]]
        nats = contingency_information(clusters[f"{layer}/{k}/{part}_clusters"].astype(int), chosen)
        assert nats == pytest.approx(record[f"{name}_mi_nats"], abs=1e-12)
        assert nats / entropy(chosen) == pytest.approx(record[f"{name}_score"], abs=1e-12)


@pytest.mark.parametrize("layer", ["0", "1", "2"])
def test_sentence_similarity(layer):
    record = json.loads((DATA / "sts.json").read_text())
    vectors = np.load(DATA / "sts.npz")[f"layer{layer}"]
    names = list(record["gt"])
    pairs = [np.array(record["pairs"][name]) for name in names]
    result = sentence_similarity(vectors, pairs, [record["gt"][name] for name in names])
    assert result.rho == pytest.approx(record["results"]["mean"][layer], abs=1e-12)


@pytest.mark.parametrize("utterance", ["a", "b"])
def test_the_spectrum(utterance):
    waveform = (FBANK[f"{utterance}/pcm16"] / 32768).astype(np.float32)
    ours = acoustic_view(waveform)
    np.testing.assert_allclose(ours, FBANK[f"{utterance}/logmel"].T, atol=2e-5)
    pairs = matching_frames(65 if utterance == "a" else 48, 320, len(ours))
    decimated = FBANK["fbank/all_features_downsampled"]
    theirs = decimated[:65] if utterance == "a" else decimated[65:]
    np.testing.assert_allclose(ours[pairs.view], theirs, atol=2e-5)


@pytest.mark.parametrize("number", [3, 4, 5, 6])
def test_fine_layers_are_averaged_to_ten_milliseconds(number):
    stride = 5 * 2 ** (number - 1)
    pooled = average_to_hop(FBANK[f"b/conv_layer{number}"].T, stride)
    theirs = FBANK[f"pooled/layer{number}"][129:]  # after the 129 frames of utterance a
    np.testing.assert_allclose(pooled[: len(theirs)], theirs, atol=1e-5)


def test_frames_of_spans_but_for_rounding():
    """Equal wherever the published division of times by strides is exact; else a frame more at most."""
    exact = 0
    for start, end, stride, frames, is_phone, first, stop in MISC["segments"]["rows"]:
        if end <= start:
            continue  # spans without duration are left out
        layer = Layer("x", round(stride * 16_000), 0.0, 1, "transformer")
        ours = frame_ranges(
            np.array([start]), np.array([end]), layer, 16_000, np.array([frames]), "phone" if is_phone else "word"
        )
        rounded = [round(time * 16_000) / (stride * 16_000) for time in (start, end)]
        if (math.floor(rounded[0]), math.ceil(rounded[1])) == (math.floor(start / stride), math.ceil(end / stride)):
            exact += 1
            assert (int(ours[0][0]), int(ours[1][0])) == (first, stop), (start, end, stride, is_phone)
        else:
            assert abs(int(ours[0][0]) - first) <= 1
            assert abs(int(ours[1][0]) - stop) <= 1
    assert exact >= 30
