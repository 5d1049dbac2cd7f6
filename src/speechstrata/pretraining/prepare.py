"""From a configuration to what the trainer needs: network, targets, split, cache, batch plan."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from speechstrata.errors import CorpusError, InputError
from speechstrata.mrhubert.config import NetworkConfig, frontend_length
from speechstrata.mrhubert.named import named_config
from speechstrata.pretraining.batches import BatchPlan, Crop, Utterance, validation_batches
from speechstrata.pretraining.cache import AudioCache, open_cache
from speechstrata.pretraining.config import FRAME_STRIDE, SAMPLE_RATE, PretrainConfig
from speechstrata.pretraining.dataset import Material
from speechstrata.pretraining.masking import minimum_frames
from speechstrata.pretraining.speech import Speech
from speechstrata.pretraining.splits import SpeakerSplit
from speechstrata.pretraining.units import UnitStore


@dataclass(frozen=True)
class Prepared:
    """Everything but the model.

    Attributes:
        config: of the run.
        network: of the model, with the classes and rates of the targets.
        speech: the corpus.
        stores: the target streams.
        split: the speakers.
        material: gives batches.
        plan: of the training batches.
        validation: the validation batches; none without validation speakers.
        left_out: utterance -> why it is not used.
    """

    config: PretrainConfig
    network: NetworkConfig
    speech: Speech
    stores: tuple[UnitStore, ...]
    split: SpeakerSplit
    material: Material
    plan: BatchPlan
    validation: list[tuple[Crop, ...]]
    left_out: dict[str, str]

    @property
    def fingerprints(self) -> dict[str, Any]:
        """Of the corpus and the targets."""
        return {"corpus": self.speech.fingerprint, "targets": [store.fingerprint for store in self.stores]}


def prepare(config: PretrainConfig, cuts: Iterable[Any], cache_folder: Path) -> Prepared:
    """Read the corpus and the targets, and plan the run.

    Args:
        config: of the run.
        cuts: lhotse cuts.
        cache_folder: where caches of audio are kept.

    Raises:
        InputError: targets that are missing or do not go with the model, or settings that do not go with it.
        CorpusError: nothing is left to train on.
    """
    if not config.data.targets:
        raise InputError("data.targets is empty", "make units with `speechstrata targets` and name their folder")
    stores = tuple(UnitStore.open(folder) for folder in config.data.targets)
    network = network_config(config, stores)
    shortest = frontend_length(network, round(config.data.minimum_seconds * SAMPLE_RATE))
    if shortest < minimum_frames(config.masking):
        raise InputError(
            f"data.minimum_seconds = {config.data.minimum_seconds} gives {shortest} frames, masking needs "
            f"{minimum_frames(config.masking)}",
            "raise data.minimum_seconds",
        )
    speech = Speech.of_cuts(cuts)
    split = speech.split(
        validation_share=config.data.validation_share,
        test_share=config.data.test_share,
        seed=config.data.split_seed,
    )
    cache = None if config.data.cache == "none" else open_cache(speech, config.data.cache, network, cache_folder)
    training, validation, left_out = _usable(speech, cache, stores, split)
    if not training:
        raise CorpusError(
            f"none of {len(speech.utterances)} utterances can be trained on: {next(iter(left_out.values()), '')}",
            "make units for this corpus",
        )
    return Prepared(
        config=config,
        network=network,
        speech=speech,
        stores=stores,
        split=split,
        material=Material(speech, cache, stores, network, config.masking, config.seed),
        plan=BatchPlan(training, config.data, config.seed, _alignment(stores)),
        validation=validation_batches(validation, config.data),
        left_out=left_out,
    )


def network_config(config: PretrainConfig, stores: Sequence[UnitStore]) -> NetworkConfig:
    """The named network with the recipe's changes, and with the classes and rates of the targets.

    Raises:
        InputError: unknown name or setting, or targets in another number than the network has streams.
    """
    settings = dict(config.model)
    base = named_config(settings.pop("name"))
    offset = settings.get("label_offset", base.label_offset)
    settings["classes"] = [store.classes + offset for store in stores]
    settings["label_rates"] = [store.rate for store in stores]
    return NetworkConfig.from_dict(base.to_dict() | settings)


def _usable(
    speech: Speech, cache: AudioCache | None, stores: Sequence[UnitStore], split: SpeakerSplit
) -> tuple[list[Utterance], list[Utterance], dict[str, str]]:
    """Training and validation utterances that have audio and units, and why the others are left out."""
    training: list[Utterance] = []
    validation: list[Utterance] = []
    left_out: dict[str, str] = {}
    cached = None if cache is None else {utterance.id: utterance for utterance in cache.utterances}
    for utterance, speaker in zip(speech.utterances, speech.speakers, strict=True):
        if cache is not None and cached is not None:
            if utterance.id not in cached:
                left_out[utterance.id] = cache.failed.get(utterance.id, "not in the cache")
                continue
            utterance = cached[utterance.id]
        if any(utterance.id not in store for store in stores):
            left_out[utterance.id] = "it has no units"
        elif speaker in split.train:
            training.append(utterance)
        elif speaker in split.validation:
            validation.append(utterance)
    return training, validation, left_out


def _alignment(stores: Sequence[UnitStore]) -> int:
    """Samples at whose multiples a crop begins with a whole frame and a whole label of every stream."""
    return FRAME_STRIDE * math.lcm(*((Fraction(FRAME_STRIDE) / store.stride).denominator for store in stores))
