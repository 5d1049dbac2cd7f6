"""What a probe run is made of; imports nothing heavy, for the command line."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ProbeConfig:
    """How a probe is trained on frozen states.

    Attributes:
        seed: of the head's weights, the order of the examples and dropout.
        budget: share of the recipe's steps, and of the steps between evaluations; anything but 1 is said in the result.
        recipe: "auto" takes the published recipe for a public corpus and the small one for a ``mini`` corpus.
        layers: to be weighed; by default the benchmark's states (see docs/superb.md).
        normalize: layer-normalise each state before it is weighed; the benchmark does not.
        set: settings of the recipe, as "learning_rate=1e-3".
        cache_gigabytes: bound of the cache of states; where the states are larger, they are computed anew in each step.
        memory_gigabytes: of a batch of states that are computed anew; where all layers take more, each is added to the
            weighted sum as it appears, and the encoder runs a second time for the gradient of the weights.
        cache_precision: of the states in the cache.
        batch_seconds: audio in one batch of the encoder.
        device: of the encoder and the head.
    """

    seed: int = 0
    budget: float = 1.0
    recipe: Literal["auto", "published", "mini"] = "auto"
    layers: tuple[str, ...] = ()
    normalize: bool = False
    set: tuple[str, ...] = ()
    cache_gigabytes: float = 20.0
    memory_gigabytes: float = 4.0
    cache_precision: Literal["float32", "float16"] = "float32"
    batch_seconds: float = 60.0
    device: str = "cpu"
