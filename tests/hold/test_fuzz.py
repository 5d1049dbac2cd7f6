"""Every parser on damaged and hostile files: an error or a result, nothing executed, nothing written outside.

``SPEECHSTRATA_FUZZ=2000 pytest tests/hold/test_fuzz.py`` tries so many files on each parser.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from speechstrata.errors import SpeechstrataError
from tests.hold.guard import watched
from tests.hold.parsers import NASTY, PARSERS, Parser

CASES = int(os.environ.get("SPEECHSTRATA_FUZZ", "12"))


def attempt(parser: Parser, content: bytes, others: dict[str, bytes], folder: Path) -> str:
    """Run the parser on a file; says how it ended."""
    inside = folder / "räume & spaces"
    shutil.rmtree(inside, ignore_errors=True)
    inside.mkdir(parents=True)
    for name, data in others.items():
        (inside / name).write_bytes(data)
    (inside / parser.file).write_bytes(content)
    with watched(inside) as seen:
        try:
            parser.read(inside / parser.file)
            ended = "result"
        except SpeechstrataError:
            ended = "error"
    assert not seen, seen
    return ended


_PREPARED: dict[str, tuple[list[bytes], dict[str, bytes]]] = {}


def prepared(parser: Parser) -> tuple[list[bytes], dict[str, bytes]]:
    if parser.name not in _PREPARED:
        _PREPARED[parser.name] = parser.seeds(), parser.others()
        warm = Path(tempfile.mkdtemp())
        for seed in _PREPARED[parser.name][0]:  # the first use imports libraries, which open what they like
            try:
                (warm / parser.file).parent.mkdir(exist_ok=True)
                for name, data in _PREPARED[parser.name][1].items():
                    (warm / name).write_bytes(data)
                (warm / parser.file).write_bytes(seed)
                parser.read(warm / parser.file)
            except SpeechstrataError:
                pass
        shutil.rmtree(warm)
    return _PREPARED[parser.name]


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A valid file with up to four places cut, flipped, repeated, or overwritten with something nasty."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        if not data:
            break
        kind = draw(st.sampled_from(("cut", "flip", "drop", "repeat", "nasty", "bytes", "number", "token")))
        at = draw(st.integers(0, len(data) - 1))
        length = draw(st.integers(1, min(64, len(data))))
        if kind == "cut":
            data = data[:at]
        elif kind == "flip":
            data = data[:at] + bytes([data[at] ^ draw(st.integers(1, 255))]) + data[at + 1 :]
        elif kind == "drop":
            data = data[:at] + data[at + length :]
        elif kind == "repeat":
            data = data[:at] + data[at : at + length] * draw(st.integers(2, 40)) + data[at + length :]
        elif kind == "nasty":
            data = data[:at] + draw(st.sampled_from(NASTY)).encode() + data[at:]
        elif kind == "bytes":
            data = data[:at] + draw(st.binary(min_size=1, max_size=16)) + data[at + length :]
        else:  # replace a whole number, or a whole word, where text has one
            wanted = b"0123456789.-" if kind == "number" else bytes(range(65, 123))
            places = [
                i for i, byte in enumerate(data[:4000]) if byte in wanted and (i == 0 or data[i - 1] not in wanted)
            ]
            if places:
                start = draw(st.sampled_from(places))
                end = start
                while end < len(data) and data[end] in wanted:
                    end += 1
                data = data[:start] + draw(st.sampled_from(NASTY)).encode() + data[end:]
    return data


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_damaged_files_end_in_an_error_or_a_result(parser: Parser, tmp_path: Path) -> None:
    seeds, others = prepared(parser)
    for seed in seeds:
        if parser.name != "audio, mp3 by name":
            assert attempt(parser, seed, others, tmp_path) == "result", parser.name

    @settings(
        max_examples=CASES,
        deadline=None,
        derandomize="SPEECHSTRATA_FUZZ" not in os.environ,
        database=None,
        phases=[Phase.generate],  # shrinking a slow case takes longer than reading it
        suppress_health_check=list(HealthCheck),
    )
    @given(damaged(seeds))
    def try_one(content: bytes) -> None:
        attempt(parser, content, others, tmp_path)

    try_one()


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_files_of_another_kind_end_in_an_error(parser: Parser, tmp_path: Path) -> None:
    _, others = prepared(parser)
    for content in (b"", b"\x00" * 64, b"\xff\xfe\xff" * 20, b"PK\x03\x04" + b"\x00" * 30, b"[" * 20_000, b"a\nb\n"):
        attempt(parser, content, others, tmp_path)
