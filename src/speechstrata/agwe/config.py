"""Options of ``speechstrata agwe train``. Imports nothing heavy: the command line reads it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class AgweConfig:
    """The two encoders, their objective and their material. The defaults suit a few hours of speech and one core.

    Attributes:
        dim: of the embeddings.
        symbols: what a written word is made of: the "phones" that the corpus aligns it with most often (a word without
            phones has no embedding then), or its "characters".
        symbol_dim: of a symbol's own vector.
        hidden: units of each recurrent layer and direction.
        acoustic_layers: recurrent layers over the frames.
        text_layers: recurrent layers over the symbols.
        cell: of the recurrent layers: "gru" or "lstm" (He et al.).
        stack: frames of 10 ms that are read as one, so the recurrence is that much shorter.
        dropout: between recurrent layers, and of what goes into the last, linear one.
        margin: of the loss, in cosine distance.
        negatives: at the end the loss is averaged over so many of the hardest negatives in the batch.
        first_negatives: at the start it is over so many: the hardest alone pull all words into one point. The number
            falls geometrically over the epochs.
        minimum_seconds: shorter words are neither trained nor tested on.
        maximum_seconds: neither are longer ones.
        minimum_count: words with fewer such segments among the training speakers are not trained on.
        batch: segments of a step.
        epochs: passes over the training segments.
        learning_rate: of Adam, at the start; it falls linearly to a hundredth.
        clip_norm: of the gradient.
        validation_share: the share of the audio, by speakers, that the epoch is chosen on.
        test_share: the share of the audio, by speakers, kept for the test.
        split_seed: of the choice of those speakers; equal to pre-training's, so that the same are held out.
        seed: of the weights, the order of the segments and the dropout.
    """

    dim: int = 64
    symbols: Literal["phones", "characters"] = "phones"
    symbol_dim: int = 32
    hidden: int = 64
    acoustic_layers: int = 1
    text_layers: int = 1
    cell: Literal["gru", "lstm"] = "gru"
    stack: int = 2
    dropout: float = 0.3
    margin: float = 0.4
    negatives: int = 10
    first_negatives: int = 256
    minimum_seconds: float = 0.3
    maximum_seconds: float = 2.0
    minimum_count: int = 2
    batch: int = 256
    epochs: int = 16
    learning_rate: float = 3e-3
    clip_norm: float = 5.0
    validation_share: float = 0.05
    test_share: float = 0.12
    split_seed: int = 0
    seed: int = 0
