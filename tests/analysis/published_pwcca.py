"""The published procedure on raw matrices, row by row of its description: the oracle of the moments' version."""

import numpy as np

#: Up to so many directions LAPACK iterates on the whole matrix, and the signs of singular vectors follow rounding.
_FEW_DIRECTIONS = 25


def fit(x, y, ridge_x, ridge_y):
    """Kept dimensions and canonical directions of the training rows."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    xx, yy, xy = x.T @ x / len(x), y.T @ y / len(x), x.T @ y / len(x)
    scale_x, scale_y = np.abs(xx).max(), np.abs(yy).max()
    xx, yy, xy = xx / scale_x, yy / scale_y, xy / np.sqrt(scale_x * scale_y)
    keep_x, keep_y = np.diag(xx) >= ridge_x, np.diag(yy) >= ridge_y
    root_x, root_y = _inverse_root(xx[keep_x][:, keep_x], ridge_x), _inverse_root(yy[keep_y][:, keep_y], ridge_y)
    whitened = root_x @ xy[keep_x][:, keep_y] @ root_y
    if min(whitened.shape) <= _FEW_DIRECTIONS:  # the last bits, which differ from processor to processor, decide signs
        whitened = np.round(whitened, 10)
    left, _, right = np.linalg.svd(whitened, full_matrices=False)
    return keep_x, keep_y, root_x @ left, root_y @ right.T


def score(x, y, fitted, null=0, both=False):
    """The projection-weighted correlation of some rows, without the last ``null`` directions."""
    keep_x, keep_y, weights_x, weights_y = fitted
    x, y = x[:, keep_x], y[:, keep_y]
    variates_x, variates_y = (x - x.mean(axis=0)) @ weights_x, (y - y.mean(axis=0)) @ weights_y
    n_directions = weights_x.shape[1] - null
    correlations = np.array([np.corrcoef(variates_x[:, i], variates_y[:, i])[0, 1] for i in range(n_directions)])

    def weighted(view, variates):
        shifted = variates + view.mean(axis=0)[: variates.shape[1]]
        basis, _ = np.linalg.qr(shifted[:, :n_directions])
        summed = min(x.shape[1], y.shape[1])
        weights = np.abs(basis.T @ view[:, :summed]).sum(axis=1)
        return weights @ correlations / weights.sum()

    if both:
        return (weighted(x, variates_x) + weighted(y, variates_y)) / 2
    return weighted(x, variates_x) if x.shape[1] < y.shape[1] else weighted(y, variates_y)


def cross_validated(x, y, parts, trials, null=0):
    """Mean test score, and the chosen ridge terms of every trial."""
    scores, chosen = [], []
    for plan in trials:
        train = (parts != plan.dev) & (parts != plan.test)
        fits = {ridge: fit(x[train], y[train], *ridge) for ridge in plan.ridges[:6]}
        dev = {ridge: score(x[parts == plan.dev], y[parts == plan.dev], each, null) for ridge, each in fits.items()}
        best = max(dev, key=dev.get)
        chosen.append(best)
        scores.append(score(x[parts == plan.test], y[parts == plan.test], fits[best], null))
    return float(np.mean(scores)), chosen


def _inverse_root(covariance, ridge):
    values, vectors = np.linalg.eigh(covariance + ridge * np.eye(len(covariance)))
    return (vectors / np.sqrt(values)) @ vectors.T
