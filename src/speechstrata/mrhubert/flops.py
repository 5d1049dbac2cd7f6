"""Multiply-accumulates of anything that torch runs, by watching its operators."""

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch.utils.flop_counter import FlopCounterMode

Shape = Sequence[int]


def counted_macs(run: Callable[[], object]) -> int:
    """The MACs (half the FLOPs) of the matrix products, convolutions and attentions that ``run`` does."""
    with FlopCounterMode(display=False, custom_mapping=dict(_FORMULAS)) as counter:
        run()
    return int(counter.get_total_flops()) // 2


def _addmm(_: Shape, left: Shape, right: Shape, *args: object, **kwargs: object) -> int:
    return 2 * prod(left) * right[-1]


def _attention(query: Shape, key: Shape, value: Shape, *args: object, **kwargs: object) -> int:
    # scores, weighted sums
    return 2 * prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _attention_backward(_: Shape, query: Shape, key: Shape, value: Shape, *args: object, **kwargs: object) -> int:
    # the scores again, the gradients of queries and keys; of the weights and of the values
    return 2 * prod(query[:-1]) * key[-2] * (3 * query[-1] + 2 * value[-1])


def _convolution_backward(gradient: Shape, inputs: Shape, weight: Shape, *args: object, **kwargs: object) -> int:
    *_, transposed, _, _, wanted = args
    forward = 2 * prod(inputs if transposed else gradient) * prod(weight[1:])
    return forward * sum(bool(part) for part in wanted[:2])  # type: ignore[index]


_ATEN = torch.ops.aten
#: Operators that torch's counter leaves out (addmm into its own argument, the CPU's fused attention), and one that it
#: counts wrongly where a convolution has groups. Given their arguments' shapes, FLOPs.
_FORMULAS: dict[object, Callable[..., int]] = {
    _ATEN.addmm_: _addmm,
    _ATEN._scaled_dot_product_flash_attention_for_cpu: _attention,
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    _ATEN.convolution_backward: _convolution_backward,
}
