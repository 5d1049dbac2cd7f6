"""A corpus in parts by speakers, so that a statistic's interval can cover who spoke."""

from collections import defaultdict
from pathlib import Path

from speechstrata.errors import CorpusError


def speaker_groups(seconds: dict[str, float], groups: int) -> list[list[str]]:
    """Speakers in groups of about as much speech: the longest first, each to the group that has the least.

    Raises:
        CorpusError: fewer speakers than groups.
    """
    if len(seconds) < groups:
        raise CorpusError(f"{len(seconds)} speakers cannot make {groups} groups", "lower --speaker-groups")
    members: list[list[str]] = [[] for _ in range(groups)]
    totals = [0.0] * groups
    for speaker in sorted(seconds, key=lambda name: (-seconds[name], name)):
        least = min(range(groups), key=lambda number: (totals[number], number))
        members[least].append(speaker)
        totals[least] += seconds[speaker]
    return members


def part_file(output: Path, corpus: str, number: int) -> Path:
    """Where part ``number`` of a corpus is kept, as a manifest of cuts."""
    return output / "corpora" / f"{corpus}-speakers{number + 1}.jsonl.gz"


def write_parts(corpus: str, name: str, groups: int, output: Path) -> None:
    """Write a corpus's parts; utterances of several speakers, or of none, are in no part.

    Raises:
        CorpusError: too few speakers.
    """
    from speechstrata.corpora.corpus import load_corpus, write_cuts

    cuts_of = defaultdict(list)
    for cut in load_corpus(corpus).cuts:
        speakers = {supervision.speaker for supervision in cut.supervisions}
        if len(speakers) == 1 and (speaker := speakers.pop()):
            cuts_of[speaker].append(cut)
    seconds = {speaker: sum(cut.duration for cut in cuts) for speaker, cuts in cuts_of.items()}
    for number, members in enumerate(speaker_groups(seconds, groups)):
        write_cuts(part_file(output, name, number), [cut for speaker in sorted(members) for cut in cuts_of[speaker]])
