"""Writes a tiny ``queen.1c``: two objects, one dialogue, one cut-scene, and noise for voices."""

import io
import struct

import numpy as np
import soundfile

HEADER = bytes(20)
DESCRIPTIONS = ["It's a rock*24", "A key.*03Or two.*03", "It's 3 o'clock*02"]
NAMES = ["Lola", "note"]
ANSWERS = [f"Answer {number}*24" for number in range(1, 41)]


def voice(seconds: float = 0.5, seed: int = 0) -> bytes:
    noise = np.random.default_rng(seed).uniform(-0.3, 0.3, round(seconds * 11_025)).astype(np.float32)
    data = io.BytesIO()
    soundfile.write(data, noise, 11_025, format="MP3")
    return data.getvalue()


def put(data: bytearray, text: str, align: int) -> None:
    """Append a length and a text; unless it is empty, pad to a multiple of ``align``."""
    data += bytes([len(text)]) + text.encode("latin-1")
    if text:
        data += bytes(-len(data) % align)


def dialogue() -> bytes:
    """Two lines of Joe's (the first a greeting of id 0), one of the other's, two closing strings."""
    levels = 1
    data = bytearray(32 + 96 * levels)
    for number, text in ((0, "Hi there*24"), (0x1E, "Dr. Who?*03*WTYes.*XY00(120,080)No!*24")):
        data += struct.pack(">HH", 0, number)
        put(data, text, 4)
    others = len(data)
    data += struct.pack(">HH", 0, 0x1)
    put(data, "Hello, Joe.*14", 4)
    closing = len(data)
    put(data, "Again?*24", 2)
    put(data, "Yes, again.*24", 2)
    struct.pack_into(">hHHHH", data, 0, -levels, 7, 5, 2, 1)
    struct.pack_into(">HHH", data, 22, others, closing, closing)
    return HEADER + bytes(data)


def cut_scene() -> bytes:
    """Joe, Lola, an animation with two frames, an unclear object, and a voice off-screen."""
    data = bytearray(12)
    actors = [(0, 0, 0), (1, 0, 0), (1, 5, 1), (2, 0, 0), (-2, 0, 0)]
    for actor, frames, execute in actors:
        record = [0] * 17
        record[0], record[4], record[5] = actor, frames, execute
        data += struct.pack(">17h", *record) + struct.pack(">hh", 1, 99)
        if execute:
            data += (struct.pack(">h", 1) + bytes(18)) * 2 + struct.pack(">h", -2)
    struct.pack_into(">HhHHH", data, 0, 0, len(actors), 0, 0, len(data))
    for text in ("*FL", "I am Joe.*24", "I am Lola.*24", "*", "Who am I?*24", "Meanwhile..."):
        put(data, text, 2)
    return HEADER + bytes(data)


def tables() -> tuple[bytes, bytes]:
    """QUEEN.JAS and QUEEN2.JAS."""
    rooms = ["room"]
    data = struct.pack(">HHHH", len(rooms), len(NAMES), 2, len(DESCRIPTIONS))
    for number in (1, 2):
        data += struct.pack(">hHHHhHHh", number, 0, 0, 0, 0, 1, 0, -3)
    verbs = [f"verb{number}" for number in range(12)]
    lines = [*DESCRIPTIONS, *NAMES, *rooms, *verbs, *ANSWERS]
    return HEADER + data, "\r\n".join(lines).encode("latin-1")


VOICES = {
    "JOE00011": "Answer 1", "JOE00411": "It's a rock", "JOE00421": "A key.", "JOE00422": "Or two.",
    "JOE00431": "It's 3 o'clock", "05SSSSJ1": "Hi there", "05001EJ1": "Dr. Who?", "05001EJ3": "Yes.", "05001EJ4": "No!",
    "050001P1": "Hello, Joe.", "05XXXXP1": "Again?", "05XXXXJ1": "Yes, again.", "C1A__011": "I am Joe.",
    "C1A__021": "I am Lola.", "C1A__041": "Who am I?", "C1A__051": "Meanwhile...",
}  # fmt: skip


def game(extra: dict[str, bytes] | None = None, compression: int = 1) -> bytes:
    """The container; ``extra`` files replace those of their name."""
    jas, texts = tables()
    files = {"QUEEN.JAS": jas, "QUEEN2.JAS": texts, "LOLA1.DOG": dialogue(), "C1A.CUT": cut_scene()}
    files |= {f"{name}.SB": voice(seed=number) for number, name in enumerate(VOICES)}
    files |= {"3SSSSSSS.SB": voice(0.2), "116BSSSS.SB": voice(0.3), "UNTITLED.SB": voice(0.2)}
    files |= extra or {}
    offset = 15 + 21 * len(files)
    table, body = b"", b""
    for name, data in files.items():
        table += struct.pack(">12sBII", name.encode(), 1, offset + len(body), len(data))
        body += data
    return b"QTBL" + b"CEM10\0" + bytes(2) + bytes([compression]) + struct.pack(">H", len(files)) + table + body
