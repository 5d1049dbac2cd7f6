"""How well held-out speakers' words are told apart, by the encoders and by baselines that were not trained."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from speechstrata.agwe.discrimination import cosine_distances, cross_view, same_different
from speechstrata.agwe.dtw import dtw_distances, mean_frame_distances
from speechstrata.agwe.material import AgweMaterial, types_of
from speechstrata.agwe.networks import WordEmbedder, embed_spoken, embed_written
from speechstrata.agwe.segments import WordSegments
from speechstrata.errors import TooFewSamplesError
from speechstrata.seeds import generator

#: The test's segments at most, so that time warping takes minutes: pairs grow with the square.
MAX_TEST_SEGMENTS = 2500


def evaluate(model: WordEmbedder, segments: WordSegments, spelt: Mapping[str, tuple[str, ...]]) -> dict[str, float]:
    """Average precisions of segments against each other ("acoustic") and against their words ("cross_view").

    Raises:
        TooFewSamplesError: no word is said twice.
    """
    spoken = embed_spoken(model, segments.frames)
    types = types_of(segments)
    written = embed_written(model, [spelt[str(word)] for word in types])
    acoustic = same_different(cosine_distances(spoken), segments.words, segments.speakers)
    across, _ = cross_view(cosine_distances(spoken, written), segments.words, types)
    return {"acoustic": acoustic.precision, "cross_view": across}


def test_report(model: WordEmbedder, material: AgweMaterial) -> dict[str, Any]:
    """The scores of the test speakers: of the encoders, and of the same segments without training.

    ``unseen_words`` are those of the test's segments whose word was not trained on. More than ``MAX_TEST_SEGMENTS``
    segments are drawn from.
    """
    segments = material.test
    if len(segments) > MAX_TEST_SEGMENTS:
        drawn = generator(0, "agwe", "test").permutation(len(segments))[:MAX_TEST_SEGMENTS]
        segments = segments.where(np.isin(np.arange(len(segments)), drawn))
    scaled = [(frames - model.mean.numpy()) / model.deviation.numpy() for frames in segments.frames]
    distances = {
        "encoders": cosine_distances(embed_spoken(model, segments.frames)),
        "dtw": dtw_distances(scaled),
        "mean_frame": mean_frame_distances(scaled),
    }
    report: dict[str, Any] = {"segments": len(segments), "words": len(types_of(segments))}
    for name, chosen in (
        ("all_words", np.ones(len(segments), dtype=bool)),
        ("unseen_words", ~np.isin(segments.words, np.unique(material.train.words))),
    ):
        own = segments.where(chosen)
        try:
            found: dict[str, Any] = {
                how: asdict(same_different(table[np.ix_(chosen, chosen)], own.words, own.speakers))
                for how, table in distances.items()
            }
        except TooFewSamplesError as error:
            report[name] = {"problem": error.message}
            continue
        types = types_of(own)
        written = embed_written(model, [material.spelt[str(word)] for word in types])
        spoken = embed_spoken(model, own.frames)
        precision, chance = cross_view(cosine_distances(spoken, written), own.words, types)
        found["cross_view"] = {"precision": precision, "chance": chance}
        report[name] = found
    return report
