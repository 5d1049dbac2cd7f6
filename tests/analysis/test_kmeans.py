import numpy as np
import pytest
from sklearn.cluster import KMeans as Converged
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import adjusted_rand_score, pairwise_distances_argmin

from speechstrata.analysis.kmeans import KMeans, fit_kmeans
from speechstrata.errors import InputError, TooFewSamplesError


def inertia(x, centroids):
    return float(((x[:, None] - centroids[None]) ** 2).sum(axis=2).min(axis=1).sum())


def blobs(n=600, k=6, dim=10, seed=0, spread=0.05):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % k
    return (rng.standard_normal((k, dim))[labels] + spread * rng.standard_normal((n, dim))).astype(np.float32), labels


def overlapping(n, dim, seed=0):
    """A decaying spectrum without clusters to find, like a layer's states."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, dim)) * np.geomspace(3, 0.1, dim) + 5).astype(np.float32)


@pytest.mark.parametrize("dim", [10, 300])
def test_separate_clusters_are_found(dim):
    x, labels = blobs(dim=dim)
    assert adjusted_rand_score(labels, fit_kmeans(x, 6, seed=0, n_init=3).assign(x)) == 1


@pytest.mark.parametrize("dim", [16, 256])
def test_inertia_is_that_of_a_converged_k_means_and_below_mini_batches(dim):
    x = overlapping(2000, dim)
    ours = np.mean([inertia(x, fit_kmeans(x, 40, seed=seed).centroids) for seed in range(3)])
    converged = np.mean([Converged(40, n_init=1, random_state=seed).fit(x).inertia_ for seed in range(3)])
    batches = [MiniBatchKMeans(40, batch_size=300, n_init=1, random_state=seed).fit(x) for seed in range(3)]
    assert ours < 1.02 * converged
    assert ours < np.mean([inertia(x, each.cluster_centers_) for each in batches])


def test_rows_go_to_the_nearest_centroid():
    x = overlapping(500, 30)
    centroids = x[:20].copy()
    assert (KMeans(centroids).assign(x) == pairwise_distances_argmin(x, centroids)).all()
    assert KMeans(centroids).assign(x[:0]).shape == (0,)


def test_centroids_are_the_means_of_their_rows():
    x = overlapping(2000, 16)
    model = fit_kmeans(x, 30, seed=0)
    clusters = model.assign(x)
    means = np.stack([x[clusters == cluster].mean(axis=0) for cluster in range(30)])
    # One more iteration would move them by little: they have converged.
    assert np.abs(means - model.centroids).max() < 0.1 * x.std()


@pytest.mark.parametrize("dim", [16, 256])
def test_the_seed_decides(dim):
    x = overlapping(1000, dim)
    first = fit_kmeans(x, 25, seed=3)
    assert (fit_kmeans(x, 25, seed=3).centroids == first.centroids).all()
    assert not (fit_kmeans(x, 25, seed=4).centroids == first.centroids).all()


def test_more_runs_are_never_worse():
    x = overlapping(800, 12)
    few, many = (np.mean([inertia(x, fit_kmeans(x, 20, seed=s, n_init=n).centroids) for s in range(4)]) for n in (1, 6))
    assert many < few


def test_the_sample_is_left_alone():
    x = overlapping(300, 200)
    before = x.copy()
    fit_kmeans(x, 5, seed=0)
    assert (x == before).all()


def test_a_cluster_for_every_row_costs_nothing():
    x = overlapping(40, 8)
    model = fit_kmeans(x, 40, seed=0)
    assert inertia(x, model.centroids) == pytest.approx(0, abs=1e-6)
    assert len(np.unique(model.assign(x))) == 40


def test_fewer_different_rows_than_clusters():
    x = np.repeat(np.eye(4, dtype=np.float32), 50, axis=0)
    model = fit_kmeans(x, 7, seed=0)
    assert model.centroids.shape == (7, 4)
    assert np.isfinite(model.centroids).all()
    assert inertia(x, model.centroids) == pytest.approx(0, abs=1e-9)
    assert len(np.unique(model.assign(x))) == 4
    assert fit_kmeans(np.zeros((9, 3)), 2, seed=0).centroids.tolist() == [[0] * 3] * 2


def test_no_cluster_is_left_without_rows_where_there_are_enough():
    rng = np.random.default_rng(0)
    x = np.concatenate([np.zeros((500, 5)), rng.standard_normal((60, 5)) * 100]).astype(np.float32)
    model = fit_kmeans(x, 40, seed=0)
    assert len(np.unique(model.assign(x))) >= 38


def test_what_is_wrong_is_named():
    x = overlapping(30, 4)
    with pytest.raises(TooFewSamplesError, match="30 rows cannot make 31 clusters"):
        fit_kmeans(x, 31, seed=0)
    with pytest.raises(InputError, match="centroids of 4"):
        fit_kmeans(x, 3, seed=0).assign(x[:, :3])
    x[5, 1] = np.inf
    with pytest.raises(InputError, match="the first is row 5"):
        fit_kmeans(x, 3, seed=0)
