"""The data file of "Flight of the Amazon Queen" (``queen.1c``): its files, and which line each voice file speaks.

The layout is that of the 1995 game as repacked for ScummVM; offsets below count from the end of a dialogue's or
cut-scene's 20-byte header, and all numbers are big-endian. Facts about the format: ScummVM's engine ``queen``.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from speechstrata.errors import CorpusError

_MAGIC = b"QTBL"
_MP3 = 1
_HEADER = 20  # of a DOG, CUT or JAS file, in bytes
#: In QUEEN2.JAS, Joe's standard answers come after everything that he says of objects; their voices are JOE0001-0040.
_ANSWERS = 40

#: Sound effects are numbered and filled up to eight characters with S.
_EFFECT = re.compile(r"\d+[A-D]?S+$")

#: Who the "other person" of a dialogue file is, by the letters of its name.
_DIALOGUE_SPEAKERS = {
    "AND": "anderson", "APE": "gorilla", "BOB": "trader-bob", "BUD": "bud", "CHEF": "chef", "CHIEF": "chief",
    "DEATH": "ferryman", "DOG": "guard-dog", "FAYE": "faye", "FRANK": "frank", "HENRY": "henry", "IAN": "ian",
    "JIM": "jimmy", "JOHN": "john", "KLUNK": "klunk", "LARIS": "mike-laris", "LOLA": "lola", "LOU": "skip",
    "MAN1": "bedraggled-prisoner", "MAN2": "tired-prisoner", "NAOMI": "naomi", "ORACLE": "guardian",
    "PRIN": "princess-azura", "SEC": "secretary", "SHOWERAM": "showering-amazon", "SPARKY": "sparky",
    "TALLPYG": "tall-pygmy", "TAM": "mary-lou", "WEDGE": "wedgewood", "WITCH": "witch-doctor", "ZOMBIE": "zombie-woman",
}  # fmt: skip
#: Names of objects that are people, where the dialogues call them otherwise.
_OBJECT_SPEAKERS = {
    "joe-king": "joe",
    "bellboy": "mike-laris",
    "vicious-dinosaur": "gorilla",
    "gorilla-in-costume": "gorilla",
    "azura-obj": "princess-azura",
    "path": "parrot",
}
#: Objects that are things: whoever speaks in their place cannot be told from the data.
_THINGS = {"note", "smoke", "telephone", "buttons", "torch", "rock", "lily-pad", "door"}
#: Cut-scenes in which others than the objects' own people act in their places, as their lines and voices show.
_UNCLEAR_SCENES = {"C62A", "C69Z"}


@dataclass(frozen=True)
class Line:
    """One voice file.

    Attributes:
        name: of the voice file, without its ending.
        text: as displayed.
        speaker: "" where the data does not tell.
        scene: the dialogue or cut-scene, or "JOE" for what Joe says of objects.
        kind: "dialogue", "cut-scene" or "remark".
    """

    name: str
    text: str
    speaker: str
    scene: str
    kind: str


class QueenFile:
    """The container, read into memory (54 MB).

    Args:
        path: of ``queen.1c``.

    Raises:
        CorpusError: not the game's file, or its speech is not MP3.
    """

    def __init__(self, path: Path) -> None:
        self._data = path.read_bytes()
        remedy = "take queen.1c of the Debian package flight-of-the-amazon-queen"
        if self._data[:4] != _MAGIC:
            raise CorpusError(f"{path} is not the data file of Flight of the Amazon Queen", remedy)
        if self._data[12] != _MP3:
            raise CorpusError(f"{path}: the speech is compressed in another way than MP3", remedy)
        self._entries: dict[str, tuple[int, int]] = {}
        (count,) = struct.unpack_from(">H", self._data, 13)
        for number in range(count):
            name, _, offset, size = struct.unpack_from(">12sBII", self._data, 15 + 21 * number)
            if offset + size > len(self._data):
                raise CorpusError(f"{path} is cut off: it ends before its file {name!r}", remedy)
            self._entries[name.rstrip(b"\0").decode("latin-1")] = (offset, size)

    def names(self, ending: str) -> list[str]:
        """The names of the files with an ending, without it, in the container's order."""
        return [name.removesuffix(ending) for name in self._entries if name.endswith(ending)]

    def read(self, name: str) -> bytes:
        """A file's bytes."""
        offset, size = self._entries[name]
        return self._data[offset : offset + size]

    def lines(self) -> list[Line]:
        """What every voice file speaks, by name; where two lines claim one file, the game plays it for the first."""
        voices = set(self.names(".SB"))
        found: dict[str, Line] = {}
        for line in (*self._remarks(), *self._dialogues(), *self._cut_scenes()):
            if line.name in voices:
                found.setdefault(line.name, line)
        return [found[name] for name in sorted(found)]

    def sound_effects(self) -> list[str]:
        """The names of the sound effects."""
        return sorted(name for name in self.names(".SB") if _EFFECT.match(name))

    def _remarks(self) -> Iterator[Line]:
        texts = self._texts
        objects = _be16(self._jas, 6)
        after = objects + _be16(self._jas, 2) + _be16(self._jas, 0) + 12  # descriptions, names, rooms, verbs
        for number in range(1, objects + _ANSWERS + 1):
            text = texts[after + number - 1] if number <= _ANSWERS else texts[number - _ANSWERS - 1]
            yield from _pieces(f"JOE{number:04d}", text, "joe", "JOE", "remark")

    def _dialogues(self) -> Iterator[Line]:
        for stem in self.names(".DOG"):
            data = self.read(f"{stem}.DOG")[_HEADER:]
            letters = stem if stem in _DIALOGUE_SPEAKERS else stem.rstrip("0123456789")
            other = _DIALOGUE_SPEAKERS.get(letters, letters.lower())
            key = _be16(data, 4)
            tables = (
                (32 + 96 * abs(_signed(data, 0)), _be16(data, 6), "J", "joe"),
                (_be16(data, 22), _be16(data, 8), "P", other),
            )
            for offset, count, mark, speaker in tables:
                for number in range(count):
                    identity = _be16(data, offset + 2)
                    text, offset = _string(data, offset + 4, 4)
                    prefix = f"{key:02d}{identity:04X}{mark}"
                    if mark == "J" and number == 0 and identity == 0:
                        prefix = f"{key:02d}SSSSJ"  # the greeting
                    yield from _pieces(prefix, text, speaker, stem, "dialogue")
            # What both say when they have talked before. XXXX, where other lines have a number, is the game's own name.
            offset = _be16(data, 26)
            for mark, speaker in (("P", other), ("J", "joe")):
                text, offset = _string(data, offset, 2)
                yield from _pieces(f"{key:02d}XXXX{mark}", text, speaker, stem, "dialogue")

    def _cut_scenes(self) -> Iterator[Line]:
        for stem in self.names(".CUT"):
            data = self.read(f"{stem}.CUT")[_HEADER:]
            _, offset = _string(data, _be16(data, 8), 2)  # the first string is not a line
            prefix = stem[:5].ljust(5, "_")
            for number, actor in enumerate(self._actors(data), start=1):
                text, offset = _string(data, offset, 2)
                speaker = "" if actor != 0 and stem in _UNCLEAR_SCENES else self._person(actor)
                yield from _pieces(f"{prefix}{number:02d}", text, speaker, stem, "cut-scene")

    def _actors(self, data: bytes) -> Iterator[int]:
        """The object of each record of a cut-scene: 17 numbers, the people present, and perhaps an animation."""
        offset = 12
        for _ in range(abs(_signed(data, 2))):
            record = struct.unpack_from(">17h", data, offset)
            actor, frames, execute, copied_from = record[0], record[4], record[5], record[12]
            offset += 36 + 2 * _be16(data, offset + 34)
            actor = 0 if actor == -1 else actor  # -1: Joe, with a fade
            speaks = not frames and (actor == 0 or (actor > 0 and self._image(actor) in (-3, -4)))
            if actor >= 0 and copied_from <= 0 and not speaks and execute:
                while _signed(data, offset) != -2:
                    offset += 20
                offset += 2
            yield actor

    @property
    def _jas(self) -> bytes:
        return self.read("QUEEN.JAS")[_HEADER:]

    @property
    def _texts(self) -> list[str]:
        return self.read("QUEEN2.JAS").decode("latin-1").replace("\r", "").split("\n")

    def _image(self, item: int) -> int:
        """An object's picture; -3 and -4 are people who face left and right."""
        return _signed(self._jas, 8 + 16 * (item - 1) + 14)

    def _person(self, item: int) -> str:
        if item == 0:
            return "joe"
        if item < 0:  # a voice off-screen
            return ""
        name = abs(_signed(self._jas, 8 + 16 * (item - 1)))
        if name == 0 or self._image(item) not in (-3, -4):
            return ""
        slug = re.sub(r"[^a-z]+", "-", self._texts[_be16(self._jas, 6) + name - 1].lower()).strip("-")
        return "" if slug in _THINGS else _OBJECT_SPEAKERS.get(slug, slug)


def _pieces(prefix: str, text: str, speaker: str, scene: str, kind: str) -> Iterator[Line]:
    """The voice files of a displayed line: stage marks (``*`` and two characters, or ``*XY00(000,000)``) cut it."""
    pieces = re.split(r"\*(?:XY.{11}|..|.?$)", text)
    if not pieces[-1]:
        del pieces[-1]
    for number, piece in enumerate(pieces, start=1):
        yield Line(f"{prefix}{number:X}", piece.strip(), speaker, scene, kind)


def _string(data: bytes, offset: int, align: int) -> tuple[str, int]:
    """A string with its length before it, and the offset after it and its padding."""
    length = data[offset]
    offset += 1
    text = data[offset : offset + length].decode("latin-1")
    return text, (offset + length + align - 1) & -align if length else offset


def _be16(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 2], "big")


def _signed(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 2], "big", signed=True)
