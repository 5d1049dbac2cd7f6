"""Cross-validated PWCCA: from second-order statistics, against the procedure as published.

    OMP_NUM_THREADS=1 python benchmarks/bench_cca.py                 # N = 7,000, d = 768; about two minutes
    OMP_NUM_THREADS=1 python benchmarks/bench_cca.py --rows 2000 --dim 128 --classes 40 --vector-dim 50

The straightforward procedure recomputes the covariances from the raw matrices for every trial and every
pair of ridge terms, scores the training, development and test rows of each pair (test rows of the chosen
one) on the n x N matrices of variates, and orthonormalises these by QR. It is written here from the
protocol's description, runs in the same process on the same splits and ridge terms, and gives the same
score, which is checked: to 1e-7 for a continuous view. With a one-hot view the rounding noise of its null direction
decides the signs of some canonical directions, and with them the weights: there to 5e-6 (other noise moves
the straightforward score by up to 2e-6).
"""

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from speechstrata.analysis.cca import N_RIDGES, cross_validated_pwcca
from speechstrata.analysis.parts import TrialPlan, plan_trials, stratified_parts

Array = NDArray[np.float64]


def straightforward(
    x: Array, y: Array, parts: NDArray[np.intp], trials: tuple[TrialPlan, ...], null: int, score_training: bool
) -> float:
    """The published procedure on raw matrices; ``null`` directions of the smallest correlations are dropped."""
    scores = []
    for plan in trials:
        train = (parts != plan.dev) & (parts != plan.test)
        dev, test = parts == plan.dev, parts == plan.test
        best = (-np.inf, None)
        for ridge in plan.ridges[:N_RIDGES]:
            fitted = fit(x[train], y[train], *ridge)
            if score_training:
                score(x[train], y[train], fitted, null)
            value = score(x[dev], y[dev], fitted, null)
            if value > best[0]:
                best = (value, fitted)
        scores.append(score(x[test], y[test], best[1], null))
    return float(np.mean(scores))


def fit(x: Array, y: Array, ridge_x: float, ridge_y: float) -> tuple[Array, ...]:
    """Whitened cross-covariance, decomposed."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    xx, yy, xy = x.T @ x / len(x), y.T @ y / len(x), x.T @ y / len(x)
    scale_x, scale_y = np.abs(xx).max(), np.abs(yy).max()
    xx, yy, xy = xx / scale_x, yy / scale_y, xy / np.sqrt(scale_x * scale_y)
    keep_x, keep_y = np.diag(xx) >= ridge_x, np.diag(yy) >= ridge_y
    root_x = inverse_root(xx[np.ix_(keep_x, keep_x)], ridge_x)
    root_y = inverse_root(yy[np.ix_(keep_y, keep_y)], ridge_y)
    left, _, right = np.linalg.svd(root_x @ xy[np.ix_(keep_x, keep_y)] @ root_y, full_matrices=False)
    return keep_x, keep_y, root_x @ left, root_y @ right.T


def inverse_root(covariance: Array, ridge: float) -> Array:
    """The symmetric square root of the (pseudo-)inverse of covariance + ridge * identity."""
    values, vectors = np.linalg.eigh(np.linalg.pinv(covariance + ridge * np.eye(len(covariance)), rcond=1e-15))
    return (vectors * np.sqrt(values)) @ vectors.T


def score(x: Array, y: Array, fitted: tuple[Array, ...], null: int) -> float:
    """Projection-weighted correlation of the variates of some rows."""
    keep_x, keep_y, weights_x, weights_y = fitted
    x, y = x[:, keep_x], y[:, keep_y]
    variates_x = ((x - x.mean(axis=0)) @ weights_x).T
    variates_y = ((y - y.mean(axis=0)) @ weights_y).T
    products = (variates_x * variates_y).sum(axis=1)
    correlations = products / np.linalg.norm(variates_x, axis=1) / np.linalg.norm(variates_y, axis=1)
    view, variates = (x, variates_x) if x.shape[1] < y.shape[1] else (y, variates_y)
    basis, _ = np.linalg.qr((variates + view.mean(axis=0)[: len(variates), None]).T)
    weights = np.abs(basis.T @ view).sum(axis=1)
    used = slice(0, len(weights) - null)
    return float(weights[used] @ correlations[used] / weights[used].sum())


def views(
    n: int, dim: int, classes: int, vector_dim: int, rng: np.random.Generator
) -> tuple[Array, NDArray[np.intp], Array]:
    """States like those of an encoder (a decaying spectrum, classes in the leading dimensions), and two views."""
    labels = np.arange(n) % classes
    vectors = rng.standard_normal((classes, vector_dim))
    hidden = rng.standard_normal((n, dim)) * np.linspace(2, 0.05, dim)
    hidden[:, : min(dim, 64)] += rng.standard_normal((classes, min(dim, 64)))[labels]
    mixing = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    continuous = vectors[labels] + 0.5 * rng.standard_normal((n, vector_dim))
    return (hidden @ mixing + 0.3).astype(np.float32), labels, continuous


def timed(run: Callable[[], float], repeats: int) -> tuple[float, float]:
    """(score, the shortest time in seconds)."""
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        value = run()
        best = min(best, time.perf_counter() - start)
    return value, best


def main() -> None:
    parser = argparse.ArgumentParser(description="PWCCA from moments against the published procedure")
    parser.add_argument("--rows", type=int, default=7000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--classes", type=int, default=500)
    parser.add_argument("--vector-dim", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3, help="of ours; the straightforward one runs once")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    x, labels, continuous = views(options.rows, options.dim, options.classes, options.vector_dim, rng)
    parts = stratified_parts(labels, rng)
    trials = plan_trials(rng)
    one_hot = np.eye(options.classes)[labels]
    print(f"N = {options.rows}, d = {options.dim}, 3 trials x {N_RIDGES} pairs of ridge terms, float64")
    cases = [
        (f"one-hot {options.classes}", labels, one_hot, 1, 5e-6),
        (f"continuous {options.vector_dim}", continuous, continuous, 0, 1e-7),
    ]
    for name, ours_y, dense_y, null, tolerance in cases:
        ours, ours_seconds = timed(
            lambda y=ours_y: cross_validated_pwcca(x, y, parts, trials=trials).score, options.repeats
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        wide = x.astype(np.float64)
        print(f"{name}: ours {ours_seconds:.2f} s, score {ours:.9f}, peak memory so far {peak:.0f} MB", flush=True)
        for label, score_training in (("as published", True), ("without training scores", False)):
            theirs, seconds = timed(
                lambda y=dense_y, n=null, t=score_training: straightforward(wide, y, parts, trials, n, t), 1
            )
            difference = abs(ours - theirs)
            print(
                f"  {label}: {seconds:.1f} s, {seconds / ours_seconds:.1f}x ours, score {theirs:.9f} "
                f"(difference {difference:.1e})",
                flush=True,
            )
            if difference > tolerance:
                raise SystemExit("the scores differ")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory with the straightforward procedure: {peak:.0f} MB")


if __name__ == "__main__":
    main()
