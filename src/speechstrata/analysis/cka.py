"""Linear centred kernel alignment, from the second-order statistics that CCA uses.

Kornblith et al., "Similarity of Neural Network Representations Revisited" (2019): for centred X (n, dx) and Y (n, dy)

    CKA = ||X'Y||_F^2 / (||X'X||_F ||Y'Y||_F),

which is the alignment of the Gram matrices XX' and YY' without ever making them. CCA whitens both views, so every
direction with variance counts alike; CKA weights directions by their variance, needs no training and no ridge, and is
not moved by a rotation or a common scale, but is by the scale of single dimensions.

The plain estimate is biased upwards: two unrelated views of n rows do not give 0. ``permuted_cka`` is that level,
exactly; ``debiased_cka`` takes it out (Song et al., 2012, in feature space as in Kornblith et al.'s published code).
"""

import numpy as np
from numpy.typing import NDArray

from speechstrata.analysis.moments import Array, Moments
from speechstrata.errors import TooFewSamplesError


def linear_cka(moments: Moments) -> float:
    """The plain (biased) linear CKA of the two views, in [0, 1].

    Raises:
        TooFewSamplesError: fewer than two rows, or a view is constant.
    """
    aligned = float(np.square(moments.scatter_xy).sum())
    return aligned / _sizes(moments)


def permuted_cka(moments: Moments) -> float:
    """The mean of ``linear_cka`` over all permutations of the rows of one view: what it gives for no relation.

    For centred Gram matrices K and L and a random permutation P, E[P L P'] = tr(L) H / (n - 1), H the centring
    matrix; hence E[tr(K P L P')] = tr(K) tr(L) / (n - 1), without a single draw.

    Raises:
        TooFewSamplesError: as for ``linear_cka``.
    """
    sizes = _sizes(moments)
    return float(np.trace(moments.scatter_xx) * np.trace(moments.scatter_yy)) / (moments.n - 1) / sizes


def debiased_cka(moments: Moments, norms_x: Array, norms_y: Array) -> float:
    """Linear CKA with the unbiased estimator of each HSIC; near 0 (and below it as often) for unrelated views.

    The sums of products of squared norms are of fourth order, so they take the rows: this variant is for views
    whose rows are there (spans), not for streams of frames.

    Args:
        moments: of the two views.
        norms_x: (n,) squared Euclidean norm of each row of x, centred by the mean of all rows.
        norms_y: (n,) the same of y.

    Raises:
        TooFewSamplesError: fewer than four rows, or too little variance for an unbiased estimate of it.
    """
    n = moments.n
    if n < 4:
        raise TooFewSamplesError(f"{n} rows for an unbiased CKA", "use at least four")

    def unbiased(scatter: Array, first: Array, second: Array) -> float:
        # n (n - 3) times the estimator of Song et al. for centred rows, whose Gram matrix has rows adding up to 0
        return float(
            np.square(scatter).sum() - n / (n - 2) * (first @ second) + first.sum() * second.sum() / ((n - 1) * (n - 2))
        )

    own_x = unbiased(moments.scatter_xx, norms_x, norms_x)
    own_y = unbiased(moments.scatter_yy, norms_y, norms_y)
    if own_x <= 0 or own_y <= 0:
        raise TooFewSamplesError(
            f"{n} rows are too few for an unbiased estimate of a view's own similarity", "use more rows"
        )
    return unbiased(moments.scatter_xy, norms_x, norms_y) / float(np.sqrt(own_x * own_y))


def one_hot_norms(counts: NDArray[np.int64], labels: NDArray[np.int64]) -> Array:
    """(n,) squared norm of each centred one-hot row: 1 - 2 p_c + sum p^2, with p the shares of the classes."""
    shares = counts / max(int(counts.sum()), 1)
    per_class = 1 - 2 * shares + float(shares @ shares)
    return np.asarray(per_class[labels], dtype=np.float64)


def _sizes(moments: Moments) -> float:
    """||X'X||_F ||Y'Y||_F."""
    size_x = float(np.linalg.norm(moments.scatter_xx))
    size_y = float(np.linalg.norm(moments.scatter_yy))
    if moments.n < 2 or size_x == 0 or size_y == 0:
        what = f"{moments.n} rows" if moments.n < 2 else "a constant view"
        raise TooFewSamplesError(f"CKA of {what}", "use more rows, and at least two classes")
    return size_x * size_y
