"""The voices of the 1995 adventure game "Flight of the Amazon Queen": 6,587 utterances, 4.5 hours, English.

The game is free to redistribute with its notice, but not to be sold by itself, so its audio is not shipped here: it
is taken from the Debian package ``flight-of-the-amazon-queen`` (the ``.deb``, its unpacked folder, or ``queen.1c``).
"""

import hashlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lhotse import Recording, RecordingSet
from lhotse.audio import AudioSource

from speechstrata.audio import AudioInfo, decode
from speechstrata.corpora.corpus import Corpus, make_corpus
from speechstrata.corpora.cuts import make_cut
from speechstrata.corpora.debian import fetch_package, read_from_package
from speechstrata.corpora.problems import ProblemLog
from speechstrata.corpora.queen_data import Line, QueenFile
from speechstrata.corpora.text import normalise_transcript
from speechstrata.errors import CorpusError, InputError
from speechstrata.files import atomic_path
from speechstrata.progress import ProgressBar

PACKAGE = "flight-of-the-amazon-queen"
DATA_FILE = "queen.1c"
_COPYRIGHT = f"share/doc/{PACKAGE}/copyright"
#: Lhotse recordings of the sound effects, in the corpus folder.
EFFECTS_FILE = "sound_effects.jsonl.gz"

DESCRIPTION = "voices of the adventure game Flight of the Amazon Queen, by character; texts as displayed"
LICENCE = "free to redistribute and modify with its notice, not to be sold by itself; see LICENCE"

#: Displayed as a note and a trade mark; not spoken.
_MARKS = re.compile(r"[@^_]")

#: Shares of the scenes (of Joe's remarks: of the lines) in the test and development parts.
_SPLITS = (("test", 10), ("dev", 20))


def prepare_amazon_queen(source: Path | None, output: Path, strict: bool = False) -> Corpus:
    """Unpack the game into a corpus folder, one MP3 file an utterance, and describe it, without alignments.

    ``save_corpus`` (or ``align_corpus``) must write the description.

    ``custom`` of each cut: ``scene`` (a dialogue, a cut-scene, or "JOE"), ``kind`` ("dialogue", "cut-scene", "remark"),
    ``displayed`` (the text before normalisation) and ``split``. The speaker is the character; in cut-scenes it is
    that of the game's object in place, and "" for voices off-screen and unclear ones. The splits share no dialogue
    and no cut-scene.

    Args:
        source: the ``.deb``, a folder that has ``queen.1c`` somewhere in it, or that file; fetched by default.
        output: the corpus folder; also gets the sound effects (``sound_effects.jsonl.gz``, a lhotse manifest of
            recordings) and the game's licence.
        strict: a broken voice file is an error.

    Raises:
        CorpusError: the source cannot be found or read.
    """
    log = ProblemLog(strict)
    with tempfile.TemporaryDirectory() as scratch:
        data_file, licence = _locate(source, Path(scratch))
        game = QueenFile(data_file)
    (output / "audio").mkdir(parents=True, exist_ok=True)
    (output / "effects").mkdir(exist_ok=True)
    if licence is not None:
        (output / "LICENCE").write_bytes(licence)
    lines = game.lines()
    with ProgressBar("unpacking the game", total=len(lines), unit="utterances") as bar:
        corpus = make_corpus(
            "amazon-queen",
            _cuts(game, lines, output / "audio", log, bar),
            description=DESCRIPTION,
            licence=LICENCE,
            source=f"Debian package {PACKAGE}, {DATA_FILE}",
            problems=log.problems,
        )
    _write_effects(game, output)
    return corpus


def _locate(source: Path | None, scratch: Path) -> tuple[Path, bytes | None]:
    """The data file, and the game's licence where the source has it."""
    if source is None:
        source = fetch_package(PACKAGE, scratch)
    if source.is_dir():
        found = sorted(source.rglob(DATA_FILE))
        if not found:
            raise CorpusError(f"there is no {DATA_FILE} in {source}", f"give the unpacked package {PACKAGE}")
        licence = next(iter(sorted(source.rglob(_COPYRIGHT))), None)
        return found[0], licence.read_bytes() if licence else None
    if not source.is_file():
        raise CorpusError(f"there is no {source}", f"give the .deb of {PACKAGE}, its folder, or {DATA_FILE}")
    if source.suffix != ".deb":
        return source, None
    files = read_from_package(source, (f"/{DATA_FILE}", _COPYRIGHT))
    (scratch / DATA_FILE).write_bytes(files[f"/{DATA_FILE}"])
    return scratch / DATA_FILE, files[_COPYRIGHT]


def _cuts(game: QueenFile, lines: list[Line], folder: Path, log: ProblemLog, bar: ProgressBar) -> Iterator[Any]:
    for line in lines:
        data = game.read(f"{line.name}.SB")
        bar.advance()
        try:
            info = _write(data, folder / f"{line.name}.mp3")
            yield make_cut(
                line.name,
                folder.resolve() / f"{line.name}.mp3",
                info,
                text=normalise_transcript(_MARKS.sub(" ", line.text)),
                speaker=line.speaker,
                language="en-US",
                custom={
                    "scene": line.scene,
                    "kind": line.kind,
                    "displayed": line.text,
                    "split": _split(line.name if line.scene == "JOE" else line.scene),
                    "audio_sha256": hashlib.sha256(data).hexdigest()[:16],
                },
            )
        except InputError as error:
            log.report(line.name, error.message)


def _write(data: bytes, path: Path) -> AudioInfo:
    """Write a recording, and say what it is from decoding it: the headers of these files only estimate the length."""
    samples, rate = decode(path.name, data=data)
    path.write_bytes(data)  # corpus.json, written last, will say that the folder is whole
    return AudioInfo(rate, samples.shape[0], samples.shape[1])


def _write_effects(game: QueenFile, output: Path) -> None:
    recordings = []
    for name in game.sound_effects():
        path = output / "effects" / f"{name}.mp3"
        info = _write(game.read(f"{name}.SB"), path)
        sources = [AudioSource(type="file", channels=[0], source=path.relative_to(output).as_posix())]
        recordings.append(Recording(name, sources, info.sample_rate, info.samples, info.duration))
    with atomic_path(output / EFFECTS_FILE) as partial:
        RecordingSet.from_recordings(recordings).to_file(partial)


def _split(scene: str) -> str:
    """The same part for a scene everywhere: by its hash, not by chance."""
    share = int.from_bytes(hashlib.sha256(scene.encode()).digest()[:4], "big") % 100
    return next((split for split, limit in _SPLITS if share < limit), "train")
