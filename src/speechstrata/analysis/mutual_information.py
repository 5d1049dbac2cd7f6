"""Mutual information between clusters of pooled states and labels, fitted on one set and scored on another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from speechstrata.analysis.kmeans import KMeans, fit_kmeans
from speechstrata.analysis.moments import as_labels, as_rows
from speechstrata.errors import InputError, TooFewSamplesError
from speechstrata.seeds import derived_seed, generator


@dataclass(frozen=True)
class MutualInformation:
    """What the clusters tell about the labels.

    Attributes:
        nats: plug-in estimate of I(cluster; label) on the evaluation rows, in nats.
        entropy: H(label) of the evaluation rows, in nats.
        normalised: nats / entropy, in [0, 1]; independent of the logarithm's base.
        baseline_nats: mean of ``nats`` over draws with the labels shuffled: the estimator's bias;
            None if there were no draws.
        baseline: ``baseline_nats`` / entropy.
        k: clusters asked for.
        clusters_used: clusters that evaluation rows fell into.
        classes: labels among the evaluation rows.
        n_train, n: rows for fitting and for evaluation.
    """

    nats: float
    entropy: float
    normalised: float
    baseline_nats: float | None
    baseline: float | None
    k: int
    clusters_used: int
    classes: int
    n_train: int
    n: int


def entropy(labels: ArrayLike) -> float:
    """The plug-in entropy of integer labels (n,), in nats.

    Raises:
        TooFewSamplesError: there are no labels.
    """
    values, _ = as_labels(labels)
    counts = np.bincount(values)
    counts = counts[counts > 0]
    if len(counts) == 0:
        raise TooFewSamplesError("the entropy of no labels", "give at least one")
    if len(counts) == 1:
        return 0.0  # to the last bit
    return max(0.0, float(np.log(len(values)) - (counts * np.log(counts)).sum() / len(values)))


def contingency_information(clusters: ArrayLike, labels: ArrayLike) -> float:
    """The plug-in mutual information of two integer labellings (n,) and (n,), in nats.

    I = log n + (sum n_ij log n_ij - sum n_i log n_i - sum n_j log n_j) / n, over the cells that occur.

    Raises:
        InputError: the lengths differ.
        TooFewSamplesError: there are no rows.
    """
    rows, n_clusters = as_labels(clusters)
    columns, n_classes = as_labels(labels)
    n = len(rows)
    if n != len(columns):
        raise InputError(f"{n} clusters, but {len(columns)} labels", "pair them")
    if n == 0:
        raise TooFewSamplesError("the mutual information of no rows", "give at least one")
    table = sparse.coo_matrix((np.ones(n), (rows, columns)), shape=(n_clusters, n_classes)).tocsr()
    table.sum_duplicates()

    def sum_n_log_n(counts: NDArray[np.float64]) -> float:
        counts = counts[counts > 0]
        return float((counts * np.log(counts)).sum())

    joint = sum_n_log_n(table.data)
    marginals = sum_n_log_n(np.bincount(rows).astype(float)) + sum_n_log_n(np.bincount(columns).astype(float))
    return max(0.0, float(np.log(n)) + (joint - marginals) / n)


def score_clusters(
    clusters: ArrayLike, labels: ArrayLike, *, k: int, n_train: int, seed: int = 0, n_permutations: int = 10
) -> MutualInformation:
    """The mutual information of given cluster assignments and labels, with its permutation baseline.

    Args:
        clusters: (n,) the cluster of each evaluation row.
        labels: (n,) its label.
        k, n_train: as for the result.
        seed: of the shuffles.
        n_permutations: shuffles of the labels for the baseline; 0 for none.

    Raises:
        TooFewSamplesError: no rows, or all of one label (then there is nothing to tell).
    """
    values, _ = as_labels(labels)
    assigned, _ = as_labels(clusters)
    information = contingency_information(assigned, values)
    label_entropy = entropy(values)
    if label_entropy == 0:
        raise TooFewSamplesError(
            "all evaluation rows have one label, so there is nothing to tell", "give at least two classes"
        )
    rng = generator(seed, "mutual information baseline")
    draws = [contingency_information(assigned, rng.permutation(values)) for _ in range(n_permutations)]
    baseline = float(np.mean(draws)) if draws else None
    return MutualInformation(
        nats=information,
        entropy=label_entropy,
        normalised=information / label_entropy,
        baseline_nats=baseline,
        baseline=None if baseline is None else baseline / label_entropy,
        k=k,
        clusters_used=len(np.unique(assigned)),
        classes=len(np.unique(values)),
        n_train=n_train,
        n=len(values),
    )


def mutual_information(
    train_x: ArrayLike,
    eval_x: ArrayLike,
    eval_labels: ArrayLike,
    *,
    k: int,
    seed: int = 0,
    n_permutations: int = 10,
) -> MutualInformation:
    """k-means on the training rows, then I(cluster; label) on the evaluation rows.

    Clusters evaluated on the rows that made them, with k near their number, would tell everything about
    any label: hence two sets, and a bound on k.

    Args:
        train_x: (n_train, dim) pooled states to fit k-means on; their labels play no part.
        eval_x: (n, dim) pooled states to score.
        eval_labels: (n,) integers.
        k: clusters; published: 500 for phones, 5000 for words.
        seed: of k-means and of the shuffles.
        n_permutations: shuffles of the labels for the baseline; 0 for none.

    Raises:
        TooFewSamplesError: k is more than half the training rows, or all evaluation rows have one label.
        InputError: shapes do not fit, or values are not finite.
    """
    train, evaluation = as_rows(train_x, "the training rows"), as_rows(eval_x, "the evaluation rows")
    labels, _ = as_labels(eval_labels)
    if train.shape[1] != evaluation.shape[1] or len(labels) != len(evaluation):
        raise InputError(
            f"training rows {train.shape}, evaluation rows {evaluation.shape}, {len(labels)} labels",
            "give equal dimensions, and a label for each evaluation row",
        )
    check_k(k, len(train))
    centroids: KMeans = fit_kmeans(train, k, seed=derived_seed(seed, "mutual information"))
    return score_clusters(
        centroids.assign(evaluation),
        labels,
        k=k,
        n_train=len(train),
        seed=seed,
        n_permutations=n_permutations,
    )


def check_k(k: int, n_train: int) -> None:
    """Refuse a number of clusters that the training rows cannot carry.

    Raises:
        TooFewSamplesError: ``k`` is less than 2 or more than half of ``n_train``.
    """
    if k < 2 or k > n_train / 2:
        raise TooFewSamplesError(
            f"k = {k} clusters cannot be fitted to {n_train} training rows: with fewer than two rows a "
            "cluster, the clusters describe single rows",
            f"use k between 2 and {n_train // 2}" if n_train >= 4 else "use more rows",
        )
