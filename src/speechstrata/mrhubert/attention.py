"""Attention of every head over the frames of an utterance."""

import torch
import torch.nn.functional as F
from torch import Tensor


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """Scaled dot-product attention, (batch, heads, frames, size) each; of the same shape.

    On a CPU in half precision, where a gradient is wanted, the products are written out: torch's fused kernel
    (2.13) computes its backward pass at a tenth to a third of the rate of plain products there.

    Args:
        query, key, value: (batch, heads, frames, size).
        mask: broadcast to (batch, heads, frames, frames), bool; False where a frame is not seen.
        dropout: probability of leaving a weight out.
    """
    if torch.is_grad_enabled() and query.device.type == "cpu" and query.dtype in (torch.bfloat16, torch.float16):
        return _products(query, key, value, mask, dropout)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)


def _products(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return F.dropout(scores.softmax(-1), dropout) @ value
