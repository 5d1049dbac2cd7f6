"""Everything that a probe run works with: task, corpus, encoder, layers, recipe, labels, and each split's examples."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from speechstrata.encoders.base import SpeechEncoder
from speechstrata.encoders.loading import load_encoder
from speechstrata.errors import InputError
from speechstrata.superb.cache import CacheSettings, Wanted, open_cache
from speechstrata.superb.config import ProbeConfig
from speechstrata.superb.corpora.probe_corpus import load_probe_corpus
from speechstrata.superb.data import Examples
from speechstrata.superb.names import RANDOM
from speechstrata.superb.recipe import recipe_of
from speechstrata.superb.sources import CachedStates, LiveStates, StateSource
from speechstrata.superb.states import choose_layers, has_frames
from speechstrata.superb.tasks import load_task
from speechstrata.superb.training import ProbeInputs


class Setting:
    """Loads what a run needs; the states of a split are computed when it is first asked for.

    A context manager, which lets go of the cached states.

    Args:
        inputs: of the run.
        config: of the run.
        cache_folder: of states.

    Raises:
        InputError: the corpus is for another task.
        EncoderError: no such model.
    """

    def __init__(self, inputs: ProbeInputs, config: ProbeConfig, cache_folder: Path) -> None:
        self.config = config
        self.task = load_task(inputs.task)
        self.corpus = load_probe_corpus(inputs.corpus)
        if self.corpus.task != self.task.name:
            raise InputError(
                f"the corpus in {inputs.corpus} is for {self.corpus.task}, not for {self.task.name}",
                "give the folder of a corpus for this task",
            )
        self.recipe = recipe_of(self.task, config, mini_corpus=self.corpus.mini)
        self.encoder = load_probe_encoder(inputs.model, config.device)
        self.choice = choose_layers(self.encoder, config.layers)
        self.labels = self.task.fit_labels(self.corpus.splits["train"])
        self.problems: list[dict[str, str]] = []
        self.cached = True
        self._cache = CacheSettings(cache_folder, config.cache_gigabytes, config.cache_precision, config.batch_seconds)
        self._cuts: dict[str, list[Any]] = {}
        self._examples: dict[str, Examples] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def test_splits(self) -> list[str]:
        """All but train and dev."""
        return [name for name in self.corpus.splits if name not in ("train", "dev")]

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of the model and of the corpus."""
        return {"model": self.encoder.fingerprint, "corpus": self.corpus.fingerprint}

    def cuts(self, split: str) -> list[Any]:
        """The examples of a split whose audio could be read."""
        self.split(split)
        return self._cuts[split]

    def split(self, name: str) -> Examples:
        """A split with its states.

        Raises:
            InputError: there is no such split, or nothing in it can be read.
        """
        if name in self._examples:
            return self._examples[name]
        if name not in self.corpus.splits:
            known = ", ".join(self.corpus.splits)
            raise InputError(f"the corpus {self.corpus.name} has no split {name!r}", f"its splits are: {known}")
        stride_seconds = float(self.choice.finest.stride) / self.choice.sample_rate
        cuts = list(self.task.examples(self.corpus.splits[name], name, stride_seconds))
        wanted = Wanted(
            cuts, self.encoder, self.choice, self.task.pooled, self.config.normalize, self.corpus.fingerprint
        )
        source: StateSource
        if (cache := open_cache(wanted, self._cache)) is not None:
            self._open.callback(cache.close)
            kept = np.flatnonzero(cache.frames)
            self.problems += [{"split": name, "cut": cut, "reason": reason} for cut, reason in cache.problems]
            cuts = [cuts[number] for number in kept]
            source = CachedStates(cache, kept)
        else:
            self.cached = False
            cuts = self._long_enough(name, cuts)
            source = LiveStates(
                cuts,
                self.encoder,
                self.choice,
                pooled=self.task.pooled,
                normalize=self.config.normalize,
                memory_gigabytes=self.config.memory_gigabytes,
                batch_seconds=self.config.batch_seconds,
            )
        if not cuts:
            raise InputError(f"no example of {self.corpus.name}'s {name} split can be read", "check the corpus")
        self._cuts[name] = cuts
        self._examples[name] = Examples(self.task, self.labels, cuts, source, self.choice)
        return self._examples[name]

    def _long_enough(self, split: str, cuts: list[Any]) -> list[Any]:
        """The cuts that have a frame; the others are noted."""
        kept = []
        for cut in cuts:
            samples = round(cut.duration * self.choice.sample_rate)
            if has_frames(self.encoder, self.choice, samples):
                kept.append(cut)
            else:
                reason = f"{samples} samples are too few for a frame"
                self.problems.append({"split": split, "cut": cut.id, "reason": reason})
        return kept


def load_probe_encoder(model: str, device: str) -> SpeechEncoder:
    """The encoder of that name; ``NAME+random``: the same architecture with random weights."""
    if model.endswith(RANDOM):
        return load_encoder(model.removesuffix(RANDOM), device=device, control="random")
    return load_encoder(model, device=device)
