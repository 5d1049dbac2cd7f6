"""Slots in a tagged transcript, and how those of two transcripts compare (SUPERB, section 3.2; S3PRL's definitions)."""

import re
from collections.abc import Sequence

from speechstrata.superb.metric_packages import metric_package

#: A slot, its value (at least a character), and the nearest end of that slot.
_SLOT = re.compile(r"(?<!\S)B-(\S+) (.+?) E-\1(?!\S)")


def parse_slots(tagged: str) -> list[tuple[str, str]]:
    """(slot, value) of every ``B-slot value E-slot``, from left to right.

    A beginning without an end, an end without a beginning, and an empty value are no slot; other slots' edges within a
    value stay in it.
    """
    return [(slot, value.strip()) for slot, value in _SLOT.findall(" ".join(tagged.split()))]


def slot_type_f1(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Mean over utterances of the F1 between the sets of slot types; 1 where both are empty, 0 where one is."""
    return sum(map(_type_f1, references, hypotheses)) / len(references)


def slot_value_cer(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Character edits of the slots' values over their length.

    Each reference value is compared with the nearest hypothesis value of the same slot, with an empty one where there
    is none; hypothesis values that no reference asks for cost nothing.

    Returns:
        The rate; NaN where the references have no slots.

    Raises:
        MissingExtraError: without jiwer.
    """
    jiwer = metric_package("jiwer", "the character error rate of slot values")
    edits = characters = 0
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        guessed = parse_slots(hypothesis)
        for slot, value in parse_slots(reference):
            candidates = [guess for name, guess in guessed if name == slot] or [""]
            found = [jiwer.process_characters(value, candidate) for candidate in candidates]
            edits += min(counts.substitutions + counts.deletions + counts.insertions for counts in found)
            characters += len(value)
    return edits / characters if characters else float("nan")


def _type_f1(reference: str, hypothesis: str) -> float:
    wanted = {slot for slot, _ in parse_slots(reference)}
    guessed = {slot for slot, _ in parse_slots(hypothesis)}
    if not wanted and not guessed:
        return 1.0
    return 2 * len(wanted & guessed) / (len(wanted) + len(guessed))
