"""k-means that is the same for the same seed: centroids from a sample, and the nearest centroid of rows.

Lloyd's iterations spend nearly all their time on distances, and most of them only move rows between
clusters that are near each other in the leading principal components too. So the rows are seeded and
iterated there first, where a distance costs a tenth, and the last iterations, on all dimensions, start
near their end. What is returned are means of whole rows, and convergence is judged on whole rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from speechstrata.analysis.moments import as_rows
from speechstrata.errors import InputError, TooFewSamplesError

Rows = NDArray[np.float32]

#: Principal components of the first iterations, and the fewest dimensions for which they are worth while.
_COMPONENTS = 64
_REDUCED_FROM = 3 * _COMPONENTS
#: Rows that the principal components are estimated from.
_COVARIANCE_ROWS = 4096
#: Seeds are drawn in so many blocks.
_SEED_BLOCKS = 32
#: Iterations end when one of them lowers the inertia by less than this share: in the principal components, after
#: them, and where there were none.
_TOLERANCE_REDUCED, _TOLERANCE_AFTER, _TOLERANCE = 1e-3, 5e-3, 1e-4


@dataclass(frozen=True)
class KMeans:
    """Centroids (k, dim), float32."""

    centroids: Rows

    def assign(self, x: ArrayLike) -> NDArray[np.int64]:
        """The index of the nearest centroid (Euclidean) of each row of x (n, dim): (n,).

        Raises:
            InputError: x has other dimensions, or values that are not finite.
        """
        rows = np.ascontiguousarray(as_rows(x, "the rows to cluster"), dtype=np.float32)
        if rows.shape[1] != self.centroids.shape[1]:
            raise InputError(
                f"rows of {rows.shape[1]} dimensions, centroids of {self.centroids.shape[1]}",
                "use the centroids with the layer that they were fitted on",
            )
        return _nearest(rows, self.centroids)[0]


def fit_kmeans(sample: ArrayLike, k: int, *, seed: int, iterations: int = 100, n_init: int = 1) -> KMeans:
    """k-means on a sample: seeds at random in proportion to squared distance, then Lloyd's iterations.

    The same sample, seed and number of threads give the same centroids. A cluster that loses its rows gets one of
    those farthest from their centroids; where the sample has fewer than k different rows, some centroids coincide.

    Args:
        sample: (n, dim).
        k: number of clusters.
        seed: of the first centroids.
        iterations: at most that many in the principal components, and at most that many on all dimensions; they
            end where they no longer pay.
        n_init: runs from different first centroids; the one with the least inertia is kept.

    Raises:
        TooFewSamplesError: there are fewer rows than clusters.
        InputError: the sample is not (n, dim), or has values that are not finite.
    """
    rows = as_rows(sample, "the sample").astype(np.float32)
    if k < 1 or len(rows) < k:
        raise TooFewSamplesError(f"{len(rows)} rows cannot make {k} clusters", "use more rows or a smaller k")
    rng = np.random.default_rng(seed)
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    rows -= mean
    reduced = None
    if rows.shape[1] >= _REDUCED_FROM:
        reduced = rows @ _principal_components(rows, rng)
    best: tuple[float, Rows] | None = None
    for _ in range(n_init):
        if reduced is None:
            inertia, centroids = _lloyd(rows, _seeds(rows, k, rng), iterations, _TOLERANCE)
        else:
            _, rough = _lloyd(reduced, _seeds(reduced, k, rng), iterations, _TOLERANCE_REDUCED)
            first, sizes = _means(rows, _nearest(reduced, rough)[0], k)
            inertia, centroids = _lloyd(
                rows, first, iterations, _TOLERANCE_AFTER, _within(_squares(rows), first, sizes)
            )
        if best is None or inertia < best[0]:
            best = inertia, centroids
    assert best is not None
    return KMeans(best[1] + mean)


def _nearest(rows: Rows, centroids: Rows) -> tuple[NDArray[np.int64], Rows]:
    """Each row's nearest centroid and its squared distance."""
    squared, nearest = faiss.knn(rows, centroids, 1)
    return np.asarray(nearest[:, 0], dtype=np.int64), np.asarray(squared[:, 0], dtype=np.float32)


def _means(rows: Rows, clusters: NDArray[np.int64], k: int) -> tuple[Rows, NDArray[np.int64]]:
    """The mean row of each cluster, zero for one without rows, and the numbers of rows."""
    n = len(rows)
    membership = sparse.csr_matrix((np.ones(n, dtype=np.float32), (clusters, np.arange(n))), shape=(k, n))
    sizes = np.bincount(clusters, minlength=k)
    means = (membership @ rows) / np.maximum(sizes, 1)[:, None].astype(np.float32)
    return np.asarray(means, dtype=np.float32), sizes


def _within(squares: float, means: Rows, sizes: NDArray[np.int64]) -> float:
    """The inertia of rows around the means of their own clusters: ``squares`` less the sum of size x |mean|^2."""
    return squares - float(sizes @ np.einsum("kd,kd->k", means, means, dtype=np.float64))


def _squares(rows: Rows) -> float:
    return float(np.einsum("nd,nd->", rows, rows, dtype=np.float64))


def _lloyd(
    rows: Rows, centroids: Rows, iterations: int, tolerance: float, inertia: float = np.inf
) -> tuple[float, Rows]:
    """Iterate until an iteration lowers ``inertia`` by less than ``tolerance`` of it; gives it and the last means."""
    squares = _squares(rows)
    for _ in range(iterations):
        clusters, squared = _nearest(rows, centroids)
        centroids, sizes = _means(rows, clusters, len(centroids))
        before, inertia = inertia, _within(squares, centroids, sizes)
        empty = np.flatnonzero(sizes == 0)
        if len(empty):
            farthest = np.argpartition(squared, -len(empty))[-len(empty) :]
            centroids[empty] = rows[farthest]
            if squared[farthest].max() > 0:
                continue  # the inertia is about to fall
        if before - inertia <= tolerance * inertia:
            break
    return inertia, centroids


def _seeds(rows: Rows, k: int, rng: np.random.Generator) -> Rows:
    """First centroids: rows drawn with probabilities in proportion to the squared distance from those drawn.

    k-means++ (Arthur & Vassilvitskii, 2007) draws one row at a time; here all the draws of a block (a
    1/32 of k) share one set of distances, which turns k passes over the rows into a few products.
    """
    n = len(rows)
    chosen = rng.integers(n, size=1)
    new = chosen
    nearest = np.full(n, np.inf)
    while len(chosen) < k:
        nearest = np.minimum(nearest, _nearest(rows, rows[new])[1])
        nearest[chosen] = 0
        wanted = min(max(1, min(k // _SEED_BLOCKS, len(chosen))), k - len(chosen))
        apart = int((nearest > 0).sum())
        if apart < wanted:  # fewer different rows than seeds: the rest are copies
            others = np.setdiff1d(np.arange(n), chosen)
            others = others[np.argsort(-nearest[others], kind="stable")]
            chosen = np.concatenate([chosen, others[: k - len(chosen)]])
            break
        new = rng.choice(n, wanted, replace=False, p=nearest / nearest.sum())
        chosen = np.concatenate([chosen, new])
    return rows[chosen]


def _principal_components(rows: Rows, rng: np.random.Generator) -> Rows:
    """The leading principal components of centred rows, (dim, 64), nearly: by subspace iteration on a subset."""
    some = rows[np.sort(rng.permutation(len(rows))[:_COVARIANCE_ROWS])]
    covariance = some.T @ some
    basis = np.linalg.qr(rng.standard_normal((rows.shape[1], _COMPONENTS), dtype=np.float32))[0]
    for _ in range(4):
        basis = np.linalg.qr(covariance @ basis)[0]
    return np.ascontiguousarray(basis)
