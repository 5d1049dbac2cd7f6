"""Span masks over 20 ms frames: a pure function of (seed, step, utterance)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from speechstrata.errors import InputError
from speechstrata.pretraining.config import MaskingConfig
from speechstrata.seeds import generator

BoolArray = NDArray[np.bool_]


def minimum_frames(config: MaskingConfig) -> int:
    """The fewest frames for which no draw of spans can cover the whole utterance (13 for the published values)."""
    return config.span + config.minimum_spans + 1


def span_mask(frames: int, rng: np.random.Generator, config: MaskingConfig) -> BoolArray:
    """Draw one utterance's mask: (frames,), True where the frame is hidden.

    ``int(probability x frames / span + U[0,1))`` spans, at least ``minimum_spans``, start at different frames and may
    overlap. No span reaches the last frame. This is the law of the public code's ``compute_mask_indices`` (static
    lengths, overlap allowed) wherever that code gives a mask at all, and shares its statistics.

    Raises:
        InputError: the utterance has fewer than :func:`minimum_frames` frames.
    """
    if frames < minimum_frames(config):
        raise InputError(
            f"an utterance of {frames} frames is too short for spans of {config.span} frames",
            f"leave out utterances under {minimum_frames(config)} frames (data.minimum_seconds)",
        )
    starts = frames - config.span
    spans = max(config.minimum_spans, int(config.probability * frames / config.span + rng.random()))
    first = rng.choice(starts, min(spans, starts), replace=False)
    covered = (first[:, None] + np.arange(config.span)).ravel()
    mask = np.zeros(frames, dtype=np.bool_)
    mask[covered] = True
    return mask


def batch_masks(
    frames: Sequence[int], utterances: Sequence[str], *, seed: int, step: int, config: MaskingConfig
) -> BoolArray:
    """The masks of a batch: (batch, max(frames)), False beyond each row's frames.

    In mode "spans" a row does not depend on the rest of the batch. In mode "reference" rows with more masked frames
    than the smallest row lose single random frames until all have the same count.

    Args:
        frames: of each row, at 20 ms.
        utterances: the rows' ids.
        seed: of the run.
        step: optimizer step.
        config: how to mask.

    Raises:
        InputError: a row is too short; see :func:`span_mask`.
    """
    masks = np.zeros((len(frames), max(frames)), dtype=np.bool_)
    for row, (count, utterance) in enumerate(zip(frames, utterances, strict=True)):
        masks[row, :count] = span_mask(count, generator(seed, "mask", step, utterance), config)
    if config.mode == "reference":
        smallest = int(masks.sum(axis=1).min())
        for row, utterance in enumerate(utterances):
            masked = np.flatnonzero(masks[row])
            drop = generator(seed, "unmask", step, utterance).choice(masked, len(masked) - smallest, replace=False)
            masks[row, drop] = False
    return masks
