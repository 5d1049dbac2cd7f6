"""A linear probe: how often regularised linear discriminants tell the label of a held-out row.

Linear discriminant analysis of standardised dimensions, with a ridge on the covariance within classes. It needs
second-order statistics alone: those of a training set are a sum over parts, one eigendecomposition serves every ridge
term, and there is no step size, stopping rule or starting point. ``docs/protocol.md`` compares it with a multinomial
logistic probe, which is as linear and much slower, and with a ridge classifier, which costs the same.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh

from speechstrata.analysis.moments import Array, Moments, PartedRows, as_labels, as_rows
from speechstrata.errors import InputError, TooFewSamplesError

#: Ridge terms tried, in units of a standardised dimension's variance, the largest first: of equals it is taken.
RIDGES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
#: Dimensions with less than this share of the largest variance are constant but for rounding.
_CONSTANT = 1e-10


@dataclass(frozen=True)
class ProbeResult:
    """How a linear probe did.

    Attributes:
        accuracy: share of all rows whose label it told, each row by a probe that saw nothing of the row's part.
        majority: the same for always telling the most frequent label of the training rows.
        n: rows.
        ridges: (n_parts,) the ridge term that was best on each fold's development part.
    """

    accuracy: float
    majority: float
    n: int
    ridges: tuple[float, ...]


@dataclass(frozen=True)
class LinearProbe:
    """Regularised linear discriminants of one training set, for any ridge term.

    Attributes:
        kept: indices of the dimensions with variance.
        mean, scale: of these, (dim,).
        values, vectors: eigendecomposition of the covariance within classes, of standardised dimensions.
        centres: (classes, dim) the class means in the coordinates of the eigenvectors.
        prior: (classes,) logarithm of the classes' shares in training; minus infinity for one that is not there.
    """

    kept: NDArray[np.intp]
    mean: Array
    scale: Array
    values: Array
    vectors: Array
    centres: Array
    prior: Array

    @classmethod
    def fit(cls, training: Moments) -> "LinearProbe":
        """From the moments of x and of labels (``Moments.from_labels``).

        Raises:
            TooFewSamplesError: no row, one class only, or no dimension that varies.
        """
        assert training.counts is not None
        variance = np.diag(training.scatter_xx) / max(training.n, 1)
        kept = np.flatnonzero(variance > _CONSTANT * max(float(variance.max(initial=0.0)), 1e-300))
        if len(kept) == 0 or np.count_nonzero(training.counts) < 2:
            raise TooFewSamplesError("the training rows are constant or of one class", "use more rows and classes")
        scale = np.sqrt(variance[kept])
        # Sums of the centred rows of each class: all that is needed for the scatter between classes.
        means = (training.scatter_xy[kept] / np.maximum(training.counts, 1)).T / scale
        between = (means * training.counts[:, None]).T @ means
        within = (training.scatter_xx[np.ix_(kept, kept)] / np.outer(scale, scale) - between) / training.n
        values, vectors = eigh(within, overwrite_a=True, check_finite=False)
        with np.errstate(divide="ignore"):
            prior = np.log(training.counts / training.n)
        return cls(kept, training.mean_x[kept], scale, np.maximum(values, 0), vectors, means @ vectors, prior)

    def standardised(self, x: NDArray[np.floating]) -> Array:
        """Rows (n, dx) in the coordinates of the eigenvectors, (n, dim)."""
        rows: Array = ((x[:, self.kept] - self.mean) / self.scale) @ self.vectors
        return rows

    def predict(self, standardised: Array, ridge: float) -> NDArray[np.intp]:
        """The label of each row (n,), for one of many ridge terms."""
        weights = self.centres / (self.values + ridge)
        outputs = standardised @ weights.T - 0.5 * (weights * self.centres).sum(axis=1) + self.prior
        return np.asarray(outputs.argmax(axis=1))


def probe_accuracy(x: ArrayLike, labels: ArrayLike, parts: ArrayLike, *, n_classes: int | None = None) -> ProbeResult:
    """Cross-validated accuracy of a linear probe.

    Each part is told by a probe that was trained on the others but one; that one chooses the ridge term.

    Args:
        x: (n, dim) pooled states.
        labels: (n,) integers.
        parts: (n,) the part of each row, 0..n_parts-1, e.g. disjoint in speakers (``parts.grouped_parts``).
        n_classes: by default the largest label + 1.

    Raises:
        TooFewSamplesError: fewer than three parts, or training rows of one class or without variance.
        InputError: shapes do not fit, or values are not finite.
    """
    rows = as_rows(x, "the probe's rows")
    values, n_classes = as_labels(labels, n_classes)
    where, n_parts = as_labels(parts)
    if not len(rows) == len(values) == len(where):
        raise InputError(f"{len(rows)} rows, {len(values)} labels, {len(where)} part numbers", "pair them")
    if n_parts < 3 or (np.bincount(where, minlength=n_parts) == 0).any():
        raise TooFewSamplesError(
            f"rows in {len(np.unique(where))} parts: a probe trains on one, chooses its ridge on one, and tests on one",
            "use more speakers or utterances",
        )
    moments = PartedRows(rows, where, n_parts=n_parts).moments(values, n_classes=n_classes)
    total = Moments.merge(moments)
    correct = majority = 0
    ridges = []
    for test in range(n_parts):
        dev = (test + 1) % n_parts
        training = total.without(moments[dev], moments[test])
        probe = LinearProbe.fit(training)
        held_out = probe.standardised(rows[where == dev])
        hits = [int((probe.predict(held_out, ridge) == values[where == dev]).sum()) for ridge in RIDGES]
        ridges.append(RIDGES[int(np.argmax(hits))])
        truth = values[where == test]
        correct += int((probe.predict(probe.standardised(rows[where == test]), ridges[-1]) == truth).sum())
        majority += int((truth == int(training.mean_y.argmax())).sum())
    return ProbeResult(correct / len(rows), majority / len(rows), len(rows), tuple(ridges))
