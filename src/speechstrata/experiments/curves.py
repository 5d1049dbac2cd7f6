"""What is read off one model's curve: a block's mean, the early peak, the distance of two curves, a set of weights."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

#: layer name -> value, in the order of computation.
Curve = Mapping[str, float]


def transformer_outputs(layers: Sequence[str]) -> list[str]:
    """The outputs of the Transformer layers, T1 .. TN, by number: no inputs of blocks, no sampling or skip taps."""
    numbered = [(int(name[1:]), name) for name in layers if name[:1] == "T" and name[1:].isdecimal() and name != "T0"]
    return [name for _, name in sorted(numbered)]


def block_mean(curve: Curve, blocks: Mapping[str, str], block: str = "middle") -> float:
    """The mean over the Transformer outputs of one block; NaN where the curve has none of them."""
    values = [curve[name] for name in transformer_outputs(list(curve)) if blocks.get(name) == block]
    return float(np.mean(values)) if values else float("nan")


def early_peak(curve: Curve, blocks: Mapping[str, str]) -> float:
    """How high the early peak stands: the best Transformer output of the middle block less the best of the last block.

    0 is a middle block as good as the last one; a curve that only rises towards the end has a negative height. Unlike a
    peak's prominence it needs no valley between the two, which six layers have no room for.
    """
    names = transformer_outputs(list(curve))
    middle = [curve[name] for name in names if blocks.get(name) == "middle"]
    last = [curve[name] for name in names if blocks.get(name) == blocks.get(names[-1])] if names else []
    return max(middle) - max(last) if middle and last else float("nan")


def prominence(curve: Curve) -> float:
    """How far the curve falls between its highest point in the first two thirds and its highest in the last third.

    0 where it does not: then there is no early peak. Of N Transformer outputs the first two thirds are floor(2N/3).
    """
    values = np.array([curve[name] for name in transformer_outputs(list(curve))])
    split = 2 * len(values) // 3
    if split == 0:
        return float("nan")
    early = int(values[:split].argmax())
    late = split + int(values[split:].argmax())
    return float(values[early] - values[early : late + 1].min())


def distance(one: Curve, other: Curve) -> float:
    """The root mean square difference of two curves over the Transformer outputs T1 .. TN that both have."""
    names = [name for name in transformer_outputs(list(one)) if name in other]
    if not names:
        return float("nan")
    return float(np.sqrt(np.mean([(one[name] - other[name]) ** 2 for name in names])))


def share(weights: Curve, names: Sequence[str]) -> float:
    """The weight on some layers, as a share of all; NaN where one of them is not there."""
    if not names or any(name not in weights for name in names):
        return float("nan")
    return sum(weights[name] for name in names) / sum(weights.values())


def evenness(weights: NDArray[np.float64] | Sequence[float]) -> float:
    """The entropy of some weights over that of even ones: 1 if all are equal, 0 if one has it all."""
    values = np.asarray(weights, dtype=np.float64)
    if len(values) < 2 or values.sum() <= 0:
        return float("nan")
    values = values / values.sum()
    positive = values[values > 0]
    return float(-(positive * np.log(positive)).sum() / np.log(len(values)))
