"""The units that speech recognition and slot filling spell with."""

from collections.abc import Sequence

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: Of speech recognition: four special units, the end of a word, letters and the apostrophe. The blank is ``<s>``.
CHARACTER_UNITS = ("<s>", "<pad>", "</s>", "<unk>", "|", *LETTERS, "'")
_END, _UNKNOWN, _WORD_END = 2, 3, 4
#: Of slot filling, before the slots: three special units, space, letters and the apostrophe. The blank is ``<pad>``.
SPOKEN_UNITS = ("<pad>", "</s>", "<unk>", " ", *LETTERS, "'")
_SLOT_END, _SLOT_UNKNOWN, _SPACE = 1, 2, 3
#: Written out or left out, as in Audio SNIPS.
_SKIPPED, _AMPERSAND, _OUTSIDE = frozenset("?!.,;-"), "&", "O"


def plain(text: str) -> str:
    """Upper case, single spaces, straight apostrophes."""
    return " ".join(text.upper().replace("’", "'").split())


def spell(text: str) -> list[int]:
    """The units of a transcript: every word ends with ``|``, and the transcript with ``</s>``, as published.

    Characters outside the inventory become ``<unk>``.
    """
    numbers = {unit: number for number, unit in enumerate(CHARACTER_UNITS)}
    words = plain(text).split()
    spelt = [[*(numbers.get(character, _UNKNOWN) for character in word), _WORD_END] for word in words]
    return [*(unit for word in spelt for unit in word), _END]


def unspell(units: Sequence[int]) -> str:
    """The transcript that units spell; special units are passed over."""
    text = "".join(CHARACTER_UNITS[unit] for unit in units if unit > _UNKNOWN)
    return " ".join(text.replace("|", " ").split())


def slot_units(slots: Sequence[str]) -> list[str]:
    """The inventory of slot filling: the spoken units, then ``B-`` and ``E-`` of each slot."""
    return [*SPOKEN_UNITS, *(f"{edge}-{slot}" for slot in slots for edge in "BE")]


def tagged_words(words: Sequence[str], slots: Sequence[str]) -> list[str]:
    """The words in upper case, with ``B-slot`` before and ``E-slot`` behind each run of words of one slot.

    ``? ! . , ; -`` are left out and ``&`` becomes ``AND``. (The benchmark loses the edge of a slot, or the end of the
    utterance, where a token that is left out stands there; here it does not.)

    Args:
        words: of the utterance.
        slots: of each word; ``O`` outside of slots.
    """
    runs: list[tuple[str, list[str]]] = []
    previous = None
    for word, slot in zip(words, slots, strict=True):
        if slot != previous:
            runs.append((slot, []))
        previous = slot
        if word not in _SKIPPED:
            runs[-1][1].append("AND" if word == _AMPERSAND else plain(word))
    tagged: list[str] = []
    for slot, run in runs:
        if run:
            tagged += run if slot == _OUTSIDE else [f"B-{slot}", *run, f"E-{slot}"]
    return tagged


def spell_slots(tagged: Sequence[str], units: Sequence[str]) -> list[int]:
    """The units of tagged words: characters, a space between words, slots' edges without spaces, ``</s>`` at the end.

    Args:
        tagged: of :func:`tagged_words`.
        units: of :func:`slot_units`; characters outside of it become ``<unk>``.
    """
    numbers = {unit: number for number, unit in enumerate(units)}
    edges = set(units[len(SPOKEN_UNITS) :])
    spelt: list[int] = []
    before = None
    for token in tagged:
        opened = before in edges and str(before).startswith("B-")
        closing = token in edges and token.startswith("E-")
        if before is not None and not opened and not closing:
            spelt.append(_SPACE)
        spelt += [numbers[token]] if token in edges else [numbers.get(letter, _SLOT_UNKNOWN) for letter in token]
        before = token
    return [*spelt, _SLOT_END]


def unspell_slots(spelt: Sequence[int], units: Sequence[str]) -> str:
    """The tagged transcript that units spell, slots' edges as words of their own; special units are passed over."""
    parts = [units[unit] if unit < len(SPOKEN_UNITS) else f" {units[unit]} " for unit in spelt if unit > _SLOT_UNKNOWN]
    return " ".join("".join(parts).split())


def without_slots(tagged: str, slots: Sequence[str]) -> str:
    """The words of a tagged transcript."""
    edges = {f"{edge}-{slot}" for slot in slots for edge in "BE"}
    return " ".join(token for token in tagged.split() if token not in edges)
