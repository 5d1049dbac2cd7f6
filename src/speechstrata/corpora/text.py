"""Transcripts as the words that were spoken: lower case, no punctuation, numbers spelt out (English)."""

import re
import unicodedata

# fmt: off
_UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
# fmt: on
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (10**3, "thousand"), (100, "hundred"))
#: Digits of the longest number that is read as one: below a thousand trillion.
_LONGEST_NUMBER = 15
_IRREGULAR_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}

#: Written forms that are read out as other words. A trailing full stop in the text is optional.
ABBREVIATIONS = {
    "mr": "mister",
    "mrs": "missus",
    "dr": "doctor",
    "prof": "professor",
    "st": "saint",
    "jr": "junior",
    "sr": "senior",
    "capt": "captain",
    "lt": "lieutenant",
    "vs": "versus",
    "etc": "et cetera",
}
SYMBOLS = {"&": "and", "%": "percent", "+": "plus", "=": "equals", "@": "at", "°": "degrees", "#": "number"}
_CURRENCIES = {"$": ("dollar", "dollars"), "£": ("pound", "pounds"), "€": ("euro", "euros")}

#: Words that begin with an apostrophe of their own; any other leading apostrophe is a quotation mark.
_CLIPPED = {"'em", "'til", "'cause", "'bout", "'round", "'tis", "'twas", "'n"}

_BRACKETED = re.compile(r"\[[^\]]*\]|<[^>]*>|\{[^}]*\}")
_NUMBER = re.compile(
    r"(?P<currency>[$£€])?(?P<whole>\d{1,3}(?:,\d{3})+|\d+)(?P<fraction>\.\d+)?(?P<ordinal>st|nd|rd|th)?(?![a-z\d])",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"\b(\d{1,2}):(\d\d)\b(?=( hours)?)", re.IGNORECASE)
_DOTTED = re.compile(r"\b(?:[A-Za-z]\.){2,}")
_CONSONANTS = re.compile(r"\b[BCDFGHJKLMNPQRSTVWXZ]{2,5}(?='?s?\b)")
#: Capitals without a vowel that are words all the same.
_INTERJECTIONS = {"HMM", "MMM", "SHH", "SSH", "GRR", "BRR", "ZZZ", "PSST", "PST", "TSK", "PFFT"} | {
    abbreviation.upper() for abbreviation in ABBREVIATIONS
}


def spell_number(number: int) -> str:
    """A whole number in words, American style: ``1042`` -> "one thousand forty two"."""
    if number < 0:
        return f"minus {spell_number(-number)}"
    if number < 20:
        return _UNITS[number]
    if number < 100:
        tens, units = divmod(number, 10)
        return _TENS[tens] + (f" {_UNITS[units]}" if units else "")
    for scale, name in _SCALES:
        if number >= scale:
            count, rest = divmod(number, scale)
            return f"{spell_number(count)} {name}" + (f" {spell_number(rest)}" if rest else "")
    raise AssertionError("every number of 100 or more has a scale")


def spell_ordinal(number: int) -> str:
    """An ordinal in words: ``21`` -> "twenty first"."""
    *head, last = spell_number(number).split()
    if last in _IRREGULAR_ORDINALS:
        last = _IRREGULAR_ORDINALS[last]
    else:
        last = re.sub("y$", "ie", last) + "th"
    return " ".join([*head, last])


def normalise_transcript(text: str) -> str:
    """The words of a transcript, separated by single spaces.

    In this order: Unicode compatibility forms and typographic apostrophes are made plain, accents dropped;
    anything in [], <> or {} is a note, not speech; dotted abbreviations ("A.M.") and capitals without a vowel ("TV",
    in text that is not all capitals) become letters; clock times, sums of money, ordinals, decimals and whole numbers
    are spelt out (1100-1999 as years); symbols and abbreviations are read out; hyphens and all other
    punctuation separate words; apostrophes stay inside words, in ``dancin'`` and in ``'em`` and its like.

    >>> normalise_transcript("Dr. O'Neil's 3 cats -- dancin' at 3:05 P.M.!")
    "doctor o'neil's three cats dancin' at three oh five p m"
    """
    text = unicodedata.normalize("NFKC", text).translate({0x2018: "'", 0x2019: "'", 0x60: "'", 0xB4: "'"})
    text = "".join(char for char in unicodedata.normalize("NFD", text) if unicodedata.category(char) != "Mn")
    text = _BRACKETED.sub(" ", text)
    text = _DOTTED.sub(lambda match: " ".join(match[0].replace(".", " ")) + " ", text)
    if text != text.upper():
        text = _CONSONANTS.sub(_spell_letters, text)
    text = _CLOCK.sub(_spell_clock, text)
    text = _NUMBER.sub(_spell_match, text)
    text = re.sub(r"(?<=\d)(?=[A-Za-z])", " ", text)  # what is left: digits grown together with letters, as in "3D"
    text = re.sub(r"\d+", lambda match: f" {_spell_digits(match[0])} ", text)
    for symbol, word in SYMBOLS.items():
        text = text.replace(symbol, f" {word} ")
    words = re.sub(r"[^a-z']+", " ", text.lower()).split()
    return " ".join(filter(None, (_mend_word(word) for word in words)))


def _mend_word(word: str) -> str:
    if word.rstrip("'") in _CLIPPED:
        return word.rstrip("'")
    word = word.lstrip("'")
    if not re.search(r"[a-z]in'$", word):
        word = word.rstrip("'")
    return ABBREVIATIONS.get(word, word)


def _spell_letters(match: re.Match[str]) -> str:
    """The letters of an abbreviation; not of a noise, which is drawn out ("GRRR") or known."""
    drawn_out = re.search(r"(.)\1\1", match[0])
    return match[0] if drawn_out or match[0] in _INTERJECTIONS else " ".join(match[0])


def _spell_clock(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    if minute == 0:
        return f"{spell_number(hour)} " + ("hundred" if match[3] else "o'clock")
    return f"{spell_number(hour)} {'oh ' if minute < 10 else ''}{spell_number(minute)}"


def _spell_match(match: re.Match[str]) -> str:
    digits = match["whole"].replace(",", "")
    if len(digits) > _LONGEST_NUMBER:
        return f" {_spell_digits(digits)} "
    whole = int(digits)
    if match["ordinal"]:
        return f" {spell_ordinal(whole)} "
    if not match["currency"] and not match["fraction"] and 1100 <= whole < 2000 and "," not in match["whole"]:
        century, year = divmod(whole, 100)
        rest = "hundred" if year == 0 else ("oh " if year < 10 else "") + spell_number(year)
        return f" {spell_number(century)} {rest} "
    spelt = spell_number(whole)
    if match["currency"]:
        singular, plural = _CURRENCIES[match["currency"]]
        spelt += f" {singular if whole == 1 and not match['fraction'] else plural}"
        return f" {spelt} " + (f"{spell_number(int(match['fraction'][1:3]))} " if match["fraction"] else "")
    if match["fraction"]:
        spelt += " point " + " ".join(spell_number(int(digit)) for digit in match["fraction"][1:])
    return f" {spelt} "


def _spell_digits(digits: str) -> str:
    """A number in words; one that is too long for that digit by digit."""
    if len(digits) > _LONGEST_NUMBER:
        return " ".join(spell_number(int(digit)) for digit in digits)
    return spell_number(int(digits))


def plain_words(text: str) -> str:
    """Lower case without punctuation, in any language: letters, marks, digits and inner apostrophes stay.

    Unlike :func:`normalise_transcript` nothing is spelt out, so this suits transcripts that already are words.
    """
    text = unicodedata.normalize("NFC", text).translate({0x2018: "'", 0x2019: "'"}).lower()
    kept = "".join(char if char == "'" or unicodedata.category(char)[0] in "LMN" else " " for char in text)
    return " ".join(filter(None, (word.strip("'") for word in kept.split())))
