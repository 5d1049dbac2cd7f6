"""Scores of half-precision encoders, of views that are hardly views, and of states that are partly not finite."""

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechstrata.analysis.cca import cross_validated_pwcca
from speechstrata.analysis.config import AnalysisConfig, ComputeConfig, Inputs
from speechstrata.analysis.moments import PartedRows
from speechstrata.analysis.suite import analyze
from speechstrata.errors import SpeechstrataError, TooFewSamplesError
from speechstrata.seeds import derived_seed, generator
from tests.analysis.speech import make_corpus, make_encoder

CONFIG = AnalysisConfig(
    scores=("cca-mel", "cka-mel", "cca-phone", "cca-word", "cka-phone", "probe-phone"),
    layers=("T0", "T1", "T2"),
    sample_sets=1,
    min_words_per_type=3,
)


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("numerics")
    return make_corpus(folder / "tones", utterances=60), make_encoder(folder / "encoder")


def table(corpus, encoder, output, **compute):
    inputs = Inputs(models=(str(encoder),), corpus=str(corpus), controls=())
    run = analyze(inputs, CONFIG, ComputeConfig(score_workers=1, **compute), output)
    return pl.read_parquet(run / "scores.parquet")


@pytest.fixture(scope="module")
def exact(material, tmp_path_factory):
    return table(*material, tmp_path_factory.mktemp("exact"))


def largest_difference(one, other, score):
    values = [each.filter(pl.col("score") == score)["value"].to_numpy() for each in (one, other)]
    assert len(values[0]) == len(values[1]) > 0
    return float(np.abs(values[0] - values[1]).max())


PINNED_SEED = 1730110873999572479
PINNED_DRAWS = [627538837, 274110753, 402759772, 948834193]


#: bfloat16 keeps 8 bits of a state, float16 11: what is asked of the score is a few times that.
@pytest.mark.parametrize(("kind", "tolerance"), [("weights in float16", 0.02), ("autocast to bfloat16", 0.08)])
def test_half_precision_moves_scores_by_as_little_as_its_bits(material, exact, tmp_path, kind, tolerance):
    corpus, encoder = material
    compute = {}
    if kind == "weights in float16":
        from transformers import HubertModel

        HubertModel.from_pretrained(encoder).half().save_pretrained(tmp_path / "half")
        encoder = tmp_path / "half"
    else:
        compute["dtype"] = "bfloat16"
    half = table(corpus, encoder, tmp_path / "run", **compute)
    assert half["value"].is_finite().all()
    differences = {score: largest_difference(exact, half, score) for score in CONFIG.scores}
    assert max(differences.values()) < tolerance, differences
    assert max(differences.values()) > 0  # it was half precision


def degenerate_views():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 6))
    labels = rng.integers(4, size=400)
    x[:, 0] += labels
    return x, labels, np.arange(400) % 10


@pytest.mark.parametrize("damage", ["constant", "zero", "tiny constant", "duplicated", "sum", "large offset"])
def test_dimensions_that_add_nothing_change_nothing(damage):
    x, labels, parts = degenerate_views()
    plain = cross_validated_pwcca(PartedRows(x, parts), labels, n_classes=4, seed=0).score
    extra = {
        "constant": np.full((400, 2), 7.0),
        "zero": np.zeros((400, 3)),
        "tiny constant": np.full((400, 1), 1e-30),
        "duplicated": x[:, :3],
        "sum": x.sum(axis=1, keepdims=True),
        "large offset": np.zeros((400, 1)) + 1e6,
    }[damage]
    result = cross_validated_pwcca(PartedRows(np.hstack([x, extra]), parts), labels, n_classes=4, seed=0)
    # Equal columns share a ridge: the score may move within what the ridge does.
    assert abs(result.score - plain) < 0.02


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    n=st.integers(1, 60),
    dim=st.integers(1, 40),
    classes=st.integers(1, 12),
    kind=st.sampled_from(["noise", "constant", "rank one", "huge", "tiny", "integers"]),
    seed=st.integers(0, 100),
)
def test_any_view_gives_a_correlation_or_says_that_it_is_too_few(n, dim, classes, kind, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, dim))
    if kind == "constant":
        x[:] = 3.0
    elif kind == "rank one":
        x = x[:, :1] @ rng.standard_normal((1, dim))
    elif kind in {"huge", "tiny"}:
        x *= 1e15 if kind == "huge" else 1e-15
    elif kind == "integers":
        x = np.round(x)
    labels = rng.integers(classes, size=n)
    try:
        result = cross_validated_pwcca(
            PartedRows(x.astype(np.float32), rng.integers(10, size=n)), labels, n_classes=classes, seed=seed
        )
    except SpeechstrataError:
        return
    assert -1 - 1e-6 <= result.score <= 1 + 1e-6


def test_one_class_has_nothing_to_correlate_with():
    x, _, parts = degenerate_views()
    with pytest.raises(TooFewSamplesError):
        cross_validated_pwcca(PartedRows(x, parts), np.zeros(400, dtype=int), n_classes=1, seed=0)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_layer_that_is_not_finite_leaves_the_others_bit_for_bit(material, exact, tmp_path, value):
    corpus, encoder = material
    from transformers import HubertModel

    model = HubertModel.from_pretrained(encoder)
    with torch.no_grad():
        model.encoder.layers[1].final_layer_norm.weight.fill_(float(value))
    model.save_pretrained(tmp_path / "spoilt")
    spoilt = table(corpus, tmp_path / "spoilt", tmp_path / "run")
    assert set(spoilt["layer"]) == {"T0", "T1"}
    kept = exact.filter(pl.col("layer") != "T2")
    order = ["score", "layer", "variant", "sample_set"]
    np.testing.assert_array_equal(spoilt.sort(order)["value"].to_numpy(), kept.sort(order)["value"].to_numpy())


def test_seeds_give_these_numbers_on_every_platform():
    """Pinned: a run of one machine can be made again on another."""
    assert derived_seed(0, "trials", "word", 1) == PINNED_SEED
    assert generator(0, "parts", "word", 2).integers(1 << 30, size=4).tolist() == PINNED_DRAWS
