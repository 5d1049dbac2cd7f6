from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechstrata.analysis.canonical import TrainingSet, score_part
from speechstrata.analysis.cca import cross_validated_pwcca, cross_validated_pwcca_from_moments
from speechstrata.analysis.moments import Moments, PartedRows
from speechstrata.analysis.parts import TrialPlan, plan_trials, random_parts, stratified_parts
from speechstrata.errors import InputError, TooFewSamplesError

from . import published_pwcca


def related_views(n=1500, dim_x=24, dim_y=8, noise=0.7, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.standard_normal((n, dim_y)) + 0.3
    signal = y @ rng.standard_normal((dim_y, dim_x)) * 0.5
    return signal + noise * rng.standard_normal((n, dim_x)) * np.geomspace(2, 0.1, dim_x), y


def labelled_states(n=1500, dim=24, classes=12, seed=0, uneven=False):
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.full(classes, 2.0)) if uneven else np.full(classes, 1 / classes)
    labels = rng.choice(classes, n, p=share)
    x = rng.standard_normal((classes, dim))[labels] + rng.standard_normal((n, dim)) * np.geomspace(3, 0.3, dim)
    return x + 2.0, labels


TRIALS = plan_trials(np.random.default_rng(5))


@pytest.mark.parametrize("dims", [(24, 8), (8, 24), (12, 12)])
def test_moments_give_the_published_score_of_the_rows(dims):
    x, y = related_views(dim_x=dims[0], dim_y=dims[1])
    parts = random_parts(len(x), np.random.default_rng(1))
    # The published way tries each ridge pair anew, and LAPACK's signs of square views differ between pairs that
    # are all but equal: there, on some processors, "the best" is a choice of signs. One pair leaves none.
    trials = TRIALS if dims[0] != dims[1] else [replace(plan, ridges=plan.ridges[:1]) for plan in TRIALS]
    ours = cross_validated_pwcca(x, y, parts, trials=trials)
    theirs, _ = published_pwcca.cross_validated(x, y, parts, trials)
    assert ours.score == pytest.approx(theirs, abs=1e-8)
    assert ours.trials[0].n_directions == min(dims)
    assert ours.trials[0].n_null == 0


@pytest.mark.parametrize("uneven", [False, True])
def test_labels_give_the_published_score_of_one_hot_rows_without_its_null_direction(uneven):
    x, labels = labelled_states(n=3000, dim=50, classes=30, uneven=uneven)
    parts = stratified_parts(labels, np.random.default_rng(1))
    ours = cross_validated_pwcca(x, labels, parts, trials=TRIALS)
    theirs, _ = published_pwcca.cross_validated(x, np.eye(30)[labels], parts, TRIALS, null=1)
    assert ours.score == pytest.approx(theirs, abs=1e-8)
    assert (ours.trials[0].n_directions, ours.trials[0].n_null) == (29, 1)
    dense = cross_validated_pwcca(x, np.eye(30)[labels], parts, trials=TRIALS)
    assert dense.score == pytest.approx(ours.score, abs=1e-8)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("spread", [1e-2, 1e-4, 1e-5])
def test_every_ridge_pair_scores_as_published_however_small_a_dimension(spread, both):
    """Spectra that straddle the ridge terms: dimensions are dropped by some of them and not by others."""
    x, y = related_views()
    x = x * np.geomspace(1, spread, x.shape[1])
    parts = random_parts(len(x), np.random.default_rng(1))
    train, held_out = (parts != 0) & (parts != 1), parts == 0
    fitted = TrainingSet(Moments.from_rows(x[train], y[train]))
    kept = set()
    for ridge in (1e-11, 1e-10, 1e-9, 1e-8, 1e-5):
        directions = fitted.directions(ridge, 1e-10)
        kept.add(len(directions.kept_x))
        ours = score_part(
            Moments.from_rows(x[held_out], y[held_out]), directions, weighting="both" if both else "smaller"
        )
        theirs = published_pwcca.score(
            x[held_out], y[held_out], published_pwcca.fit(x[train], y[train], ridge, 1e-10), both=both
        )
        assert ours == pytest.approx(theirs, abs=2e-6 if spread < 1e-4 else 1e-8)
    assert (len(kept) > 1) == (spread < 1e-2)


def test_ridge_pairs_that_count_as_one_score_alike():
    x, y = related_views(dim_x=40)
    parts = random_parts(len(x), np.random.default_rng(1))
    ours = cross_validated_pwcca(x, y, parts, trials=TRIALS)
    rows = [(x[parts == trial.dev], y[parts == trial.dev]) for trial in ours.trials]
    for trial, (dev_x, dev_y) in zip(ours.trials, rows, strict=True):
        assert len(trial.dev_scores) == 6
        assert len({score for _, score in trial.dev_scores}) < 6
        train = (parts != trial.dev) & (parts != trial.test)
        for ridge, score in trial.dev_scores:
            theirs = published_pwcca.score(dev_x, dev_y, published_pwcca.fit(x[train], y[train], *ridge))
            assert score == pytest.approx(theirs, abs=1e-8)


def test_the_best_ridge_terms_on_the_development_part_are_used():
    x, y = related_views(n=400, noise=3.0)
    x = x * np.geomspace(1, 1e-6, x.shape[1])  # so that the ridge terms matter
    parts = random_parts(len(x), np.random.default_rng(1))
    ours = cross_validated_pwcca(x, y, parts, trials=TRIALS)
    theirs, chosen = published_pwcca.cross_validated(x, y, parts, TRIALS)
    assert [trial.ridge[0] for trial in ours.trials] == [ridge[0] for ridge in chosen]
    assert ours.score == pytest.approx(theirs, abs=1e-5)
    for trial in ours.trials:
        assert max(score for _, score in trial.dev_scores) == dict(trial.dev_scores)[trial.ridge]


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-3, 1.0, 1e4]))
def test_an_affine_map_of_x_changes_nothing_where_y_gives_the_weights(seed, scale):
    x, y = related_views(n=600, dim_x=10, dim_y=4)
    rng = np.random.default_rng(seed)
    mapped = scale * (x @ (np.linalg.qr(rng.standard_normal((10, 10)))[0] * rng.uniform(0.5, 2, 10)) + 3)
    parts = random_parts(len(x), np.random.default_rng(1))
    one = TrialPlan(0, 1, ((1e-11, 1e-11),))

    def correlations(view):
        training = Moments.merge(PartedRows(view, parts).moments(y)[2:])
        return TrainingSet(training).directions(1e-11, 1e-11).singular_values

    np.testing.assert_allclose(correlations(mapped), correlations(x), atol=1e-7)
    # LAPACK's signs of the directions, which the weights depend on, may change with the map: a little.
    scores = [cross_validated_pwcca(view, y, parts, trials=[one]).score for view in (x, mapped)]
    assert scores[0] == pytest.approx(scores[1], abs=0.03)


def test_a_view_correlates_perfectly_with_itself_and_with_a_rotation():
    x, _ = related_views()
    parts = random_parts(len(x), np.random.default_rng(1))
    assert cross_validated_pwcca(x, x, parts).score == pytest.approx(1, abs=1e-6)
    rotation = np.linalg.qr(np.random.default_rng(2).standard_normal((24, 24)))[0]
    assert cross_validated_pwcca(x, x @ rotation - 1, parts).score == pytest.approx(1, abs=1e-6)


def test_noise_scores_near_nothing_and_the_baseline_knows_it():
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((3000, 20)), np.arange(3000) % 10
    parts = stratified_parts(labels, rng)
    result = cross_validated_pwcca(x, labels, parts, baseline=True)
    assert abs(result.score) < 0.06
    x, labels = labelled_states(n=3000)
    result = cross_validated_pwcca(x, labels, stratified_parts(labels, rng), baseline=True)
    assert result.score > 0.5
    assert abs(result.baseline) < 0.1
    assert cross_validated_pwcca(x, labels, parts).baseline is None


def test_more_noise_scores_less():
    scores = []
    for noise in (0.1, 1.0, 4.0):
        x, y = related_views(noise=noise)
        scores.append(cross_validated_pwcca(x, y, random_parts(len(x), np.random.default_rng(1))).score)
    assert 1 > scores[0] > scores[1] > scores[2] > 0


def test_parts_of_rows_and_their_moments_score_alike_and_the_seed_decides():
    x, labels = labelled_states()
    parts = stratified_parts(labels, np.random.default_rng(1))
    results = [
        cross_validated_pwcca(x, labels, parts, seed=3),
        cross_validated_pwcca_from_moments(PartedRows(x, parts).moments(labels), seed=3),
        cross_validated_pwcca(PartedRows(x, parts), labels, seed=3),
    ]
    assert results[0] == results[1] == results[2]
    assert cross_validated_pwcca(x, labels, parts, seed=4).score != results[0].score


def test_one_view_serves_many():
    x, labels = labelled_states()
    parts = stratified_parts(labels, np.random.default_rng(1))
    vectors = np.random.default_rng(2).standard_normal((12, 5))[labels]
    shared = PartedRows(x, parts)
    for y in (labels, vectors, labels[::-1].copy()):
        assert cross_validated_pwcca(shared, y, baseline=True) == cross_validated_pwcca(x, y, parts, baseline=True)


@pytest.mark.parametrize(("dim", "classes"), [(24, 12), (50, 20), (96, 25), (150, 23), (50, 39), (24, 39)])
def test_the_order_of_rows_does_not_matter(dim, classes):
    """In the public code the null direction's noise decides the signs, and with them the weights, of the others."""
    x, labels = labelled_states(n=2000, dim=dim, classes=classes)
    parts = stratified_parts(labels, np.random.default_rng(1))
    score = cross_validated_pwcca(x, labels, parts).score
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(x))
        again = cross_validated_pwcca(x[order], labels[order], parts[order]).score
        assert again == pytest.approx(score, abs=1e-10)


def test_float32_states_score_as_float64_ones():
    x, y = related_views()
    parts = random_parts(len(x), np.random.default_rng(1))
    narrow = x.astype(np.float32)
    assert (
        cross_validated_pwcca(narrow, y, parts).score
        == cross_validated_pwcca(narrow.astype(np.float64), y, parts).score
    )


class TestDegenerateViews:
    x, labels = labelled_states()
    parts = stratified_parts(labels, np.random.default_rng(1))

    def score(self, x, **options):
        return cross_validated_pwcca(x, self.labels, self.parts, trials=TRIALS, **options)

    def test_a_constant_dimension_is_left_out(self):
        padded = np.hstack([self.x, np.full((len(self.x), 2), 7.0)])
        assert self.score(padded).score == pytest.approx(self.score(self.x).score, abs=1e-8)

    def test_copied_columns_add_nothing(self):
        # The directions are the same; the ridge and LAPACK's signs are not quite.
        copied = self.score(np.hstack([self.x, self.x[:, :6]]))
        assert copied.score == pytest.approx(self.score(self.x).score, abs=0.02)
        assert copied.trials[0].n_null == 7  # six of x, one of the one-hot view
        assert copied.trials[0].n_directions == 11

    def test_a_view_of_few_ranks_has_as_many_directions(self):
        narrow = self.x[:, :3] @ np.random.default_rng(0).standard_normal((3, 15))
        result = self.score(narrow)
        assert result.trials[0].n_directions == 3
        assert -1 <= result.score <= 1

    def test_classes_absent_from_a_part_cost_nothing(self):
        x, labels = labelled_states(n=3000, dim=50, classes=30)
        parts = stratified_parts(labels, np.random.default_rng(1))
        trials = TRIALS[:1]
        labels[np.isin(parts, [trials[0].dev, trials[0].test]) & (labels > 25)] = 0  # rank-deficient variates there
        ours = cross_validated_pwcca(x, labels, parts, trials=trials)
        theirs, _ = published_pwcca.cross_validated(x, np.eye(30)[labels], parts, trials, null=1)
        assert ours.score == pytest.approx(theirs, abs=1e-8)

    def test_a_class_without_any_row_changes_nothing(self):
        assert self.score(self.x, n_classes=15).score == pytest.approx(self.score(self.x).score, abs=1e-9)

    def test_held_out_parts_smaller_than_the_view(self):
        rng = np.random.default_rng(0)
        x, y = related_views(n=220, dim_x=40, dim_y=60)
        result = cross_validated_pwcca(x, y, random_parts(220, rng))  # parts of 22 rows
        assert 0 < result.score < 1
        assert "176 training rows for views of 40 and 60 dimensions" in result.warning

    def test_one_class_is_refused(self):
        with pytest.raises(TooFewSamplesError, match="view y is constant"):
            cross_validated_pwcca(self.x, np.zeros(len(self.x), dtype=int), self.parts)

    def test_fewer_rows_than_dimensions_are_refused(self):
        with pytest.raises(TooFewSamplesError, match="32 training rows cannot carry a CCA of 24 and 12"):
            cross_validated_pwcca(self.x[:40], self.labels[:40], np.arange(40) % 10, n_classes=12)

    def test_a_part_without_rows_is_refused(self):
        with pytest.raises(TooFewSamplesError, match="has 0 rows"):
            cross_validated_pwcca(self.x, self.labels, self.parts % 5)

    def test_nan_is_refused(self):
        broken = self.x.copy()
        broken[17, 4] = np.nan
        with pytest.raises(InputError, match="view x has NaN"):
            self.score(broken)

    def test_rows_without_parts_are_refused(self):
        with pytest.raises(InputError, match="parts"):
            cross_validated_pwcca(self.x, self.labels)


def test_enough_rows_carry_no_warning():
    x, labels = labelled_states()
    result = cross_validated_pwcca(x, labels, stratified_parts(labels, np.random.default_rng(1)))
    assert result.warning is None
    assert (result.n, result.dim_x, result.dim_y) == (1500, 24, 12)


@pytest.mark.parametrize(("ridge", "n_kept"), [(1e-8, 40), (0.1, 36)])
def test_a_one_hot_part_scores_as_its_rows_do_where_classes_are_missing_or_left_out(ridge, n_kept):
    rng = np.random.default_rng(3)
    labels = np.concatenate([np.arange(40), rng.integers(36, size=860)])  # four classes are rare
    x = rng.standard_normal((40, 48))[labels] + rng.standard_normal((900, 48))
    directions = TrainingSet(Moments.from_labels(x[:800], labels[:800], 40)).directions(1e-6, ridge)
    part = Moments.from_labels(x[800:], labels[800:], 40)
    assert (part.counts == 0).any()
    assert len(directions.kept_y) == n_kept
    from_rows = Moments.from_rows(x[800:], np.eye(40)[labels[800:]])
    assert score_part(part, directions) == pytest.approx(score_part(from_rows, directions), abs=1e-9)
