"""k-means that is the same for the same seed: centroids from a sample, and the nearest centroid of rows."""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechstrata.analysis.moments import as_rows
from speechstrata.errors import InputError, TooFewSamplesError


@dataclass(frozen=True)
class KMeans:
    """Centroids (k, dim), float32."""

    centroids: NDArray[np.float32]

    def assign(self, x: ArrayLike) -> NDArray[np.int64]:
        """The index of the nearest centroid (Euclidean) of each row of x (n, dim): (n,).

        Raises:
            InputError: x has other dimensions, or values that are not finite.
        """
        rows = np.ascontiguousarray(as_rows(x, "rows to cluster"), dtype=np.float32)
        if rows.shape[1] != self.centroids.shape[1]:
            raise InputError(
                f"rows of {rows.shape[1]} dimensions, centroids of {self.centroids.shape[1]}",
                "use the centroids with the layer that they were fitted on",
            )
        _, nearest = faiss.knn(rows, self.centroids, 1)
        return np.asarray(nearest[:, 0], dtype=np.int64)


def fit_kmeans(sample: ArrayLike, k: int, *, seed: int, iterations: int = 25, n_init: int = 1) -> KMeans:
    """k-means (Lloyd's iterations) on a sample.

    Args:
        sample: (n, dim).
        k: number of clusters.
        seed: of the first centroids.
        iterations: at most that many passes over the sample.
        n_init: runs from different first centroids; the one with the least inertia is kept.

    Raises:
        TooFewSamplesError: there are fewer rows than clusters.
        InputError: the sample is not (n, dim), or has values that are not finite.
    """
    rows = np.ascontiguousarray(as_rows(sample, "the sample"), dtype=np.float32)
    if k < 1 or len(rows) < k:
        raise TooFewSamplesError(f"{len(rows)} rows cannot make {k} clusters", "use more rows or a smaller k")
    clustering = faiss.Kmeans(
        rows.shape[1],
        k,
        niter=iterations,
        nredo=n_init,
        seed=seed % (1 << 31),
        min_points_per_centroid=1,
        max_points_per_centroid=len(rows),
    )
    clustering.train(rows)
    return KMeans(np.ascontiguousarray(clustering.centroids, dtype=np.float32))
