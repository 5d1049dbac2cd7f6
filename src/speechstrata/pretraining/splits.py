"""Training, validation and test speakers: a function of the speakers alone."""

from collections.abc import Mapping
from dataclasses import dataclass

from speechstrata.errors import CorpusError
from speechstrata.seeds import derived_seed


@dataclass(frozen=True)
class SpeakerSplit:
    """Which speakers are used for what; no speaker is in two sets."""

    train: frozenset[str]
    validation: frozenset[str]
    test: frozenset[str]


def split_speakers(
    seconds: Mapping[str, float], *, validation_share: float, test_share: float, seed: int = 0
) -> SpeakerSplit:
    """Keep speakers out of training until they hold the shares asked for.

    Speakers are ordered by a hash of their name and ``seed``; a speaker joins the test set, else the validation set,
    if that set still needs audio and would not grow beyond one and a half times its share. So who trains does not
    depend on the order of the corpus, and one very long speaker never empties the training set.

    Args:
        seconds: speaker -> seconds of audio.
        validation_share: of all the audio, 0 to 1.
        test_share: of all the audio, 0 to 1.
        seed: another one gives other speakers.

    Raises:
        CorpusError: a share was asked for, and no speaker fits into it.
    """
    total = sum(seconds.values())
    held_out: dict[str, list[str]] = {"test": [], "validation": []}
    for name, share in (("test", test_share), ("validation", validation_share)):
        taken = 0.0
        for speaker in sorted(seconds, key=lambda speaker: (derived_seed(seed, "split", speaker), speaker)):
            fits = taken < share * total and taken + seconds[speaker] <= 1.5 * share * total
            if fits and speaker not in held_out["test"]:
                held_out[name].append(speaker)
                taken += seconds[speaker]
        if share > 0 and not held_out[name]:
            raise CorpusError(
                f"none of {len(seconds)} speakers is small enough to be {share:.0%} of the corpus ({name} set)",
                f"raise data.{name}_share, set it to 0, or take a corpus of more speakers",
            )
    kept_out = {*held_out["test"], *held_out["validation"]}
    return SpeakerSplit(
        frozenset(set(seconds) - kept_out), frozenset(held_out["validation"]), frozenset(held_out["test"])
    )
