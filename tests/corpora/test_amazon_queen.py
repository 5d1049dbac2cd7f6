import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from lhotse import RecordingSet
from queen_writer import VOICES, game

from speechstrata.audio import load_cut
from speechstrata.corpora import debian
from speechstrata.corpora.amazon_queen import EFFECTS_FILE, prepare_amazon_queen
from speechstrata.corpora.corpus import load_corpus, save_corpus
from speechstrata.corpora.queen_data import QueenFile
from speechstrata.errors import CorpusError


@pytest.fixture
def data_file(tmp_path) -> Path:
    path = tmp_path / "source" / "usr" / "share" / "scummvm" / "queen.1c"
    path.parent.mkdir(parents=True)
    path.write_bytes(game())
    return path


def package(data: bytes, compression: str = "xz") -> bytes:
    """A Debian package with the game and its copyright file."""
    files = {
        "./usr/share/scummvm/flight-of-the-amazon-queen/queen.1c": data,
        "./usr/share/doc/flight-of-the-amazon-queen/copyright": b"free, not to be sold",
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=f"w:{compression}") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    members = {"debian-binary": b"2.0\n", "control.tar.gz": b"odd", f"data.tar.{compression}": packed.getvalue()}
    result = b"!<arch>\n"
    for name, content in members.items():
        result += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        result += content + b"\n" * (len(content) % 2)
    return result


def test_every_voice_is_found_with_its_text_speaker_and_scene(data_file):
    lines = {line.name: line for line in QueenFile(data_file).lines()}
    assert {name: line.text for name, line in lines.items()} == VOICES
    assert {name: line.speaker for name, line in lines.items() if line.speaker != "joe"} == {
        "050001P1": "lola", "05XXXXP1": "lola", "C1A__021": "lola", "C1A__041": "", "C1A__051": "",
    }  # fmt: skip
    assert {line.scene for line in lines.values()} == {"JOE", "LOLA1", "C1A"}
    assert {line.kind for line in lines.values() if line.scene == "C1A"} == {"cut-scene"}


def test_the_corpus_has_everything_and_loads_from_its_folder(data_file, tmp_path):
    made = prepare_amazon_queen(data_file, tmp_path / "out")
    save_corpus(made, tmp_path / "out")
    corpus = load_corpus(tmp_path / "out")
    assert set(corpus.cuts.ids) == set(VOICES)
    cut = corpus.cuts["JOE00431"]
    assert cut.supervisions[0].text == "it's three o'clock"
    assert cut.custom["displayed"] == "It's 3 o'clock"
    assert cut.custom["split"] in ("train", "dev", "test")
    assert len(load_cut(cut, 16_000)) == pytest.approx(cut.duration * 16_000, abs=2)
    scenes: dict[str, set[str]] = {}
    for cut in corpus.cuts:
        if cut.custom["scene"] != "JOE":
            scenes.setdefault(cut.custom["scene"], set()).add(cut.custom["split"])
    assert all(len(splits) == 1 for splits in scenes.values())


def test_sound_effects_have_a_manifest_of_their_own(data_file, tmp_path):
    prepare_amazon_queen(data_file, tmp_path / "out")
    recordings = RecordingSet.from_file(tmp_path / "out" / EFFECTS_FILE)
    assert [recording.id for recording in recordings] == ["116BSSSS", "3SSSSSSS"]
    assert all((tmp_path / "out" / recording.sources[0].source).is_file() for recording in recordings)


def test_the_package_its_folder_and_the_file_give_the_same_corpus(data_file, tmp_path):
    deb = tmp_path / "game.deb"
    deb.write_bytes(package(data_file.read_bytes()))
    fingerprints = {
        prepare_amazon_queen(source, tmp_path / name).fingerprint
        for name, source in {"a": deb, "b": tmp_path / "source", "c": data_file}.items()
    }
    assert len(fingerprints) == 1
    assert (tmp_path / "a" / "LICENCE").read_bytes() == b"free, not to be sold"


def test_a_broken_voice_is_reported_and_the_rest_is_there(tmp_path):
    path = tmp_path / "queen.1c"
    path.write_bytes(game({"JOE00011.SB": b"no audio at all", "05SSSSJ1.SB": b""}))
    corpus = prepare_amazon_queen(path, tmp_path / "out")
    assert {problem.item for problem in corpus.problems} == {"JOE00011", "05SSSSJ1"}
    assert len(corpus.cuts) == len(VOICES) - 2
    with pytest.raises(CorpusError, match="05SSSSJ1"):
        prepare_amazon_queen(path, tmp_path / "strict", strict=True)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"something else entirely", "not the data file"),
        (game(compression=3), "another way than MP3"),
        (game()[:-9], "cut off"),
    ],
)
def test_another_file_is_one_clear_error(tmp_path, data, reason):
    path = tmp_path / "queen.1c"
    path.write_bytes(data)
    with pytest.raises(CorpusError, match=reason):
        prepare_amazon_queen(path, tmp_path / "out")


def test_missing_sources_are_named(tmp_path):
    with pytest.raises(CorpusError, match=r"no queen\.1c in"):
        prepare_amazon_queen(tmp_path, tmp_path / "out")
    with pytest.raises(CorpusError, match="there is no"):
        prepare_amazon_queen(tmp_path / "nothing.deb", tmp_path / "out")
    (tmp_path / "a.deb").write_bytes(b"no package")
    with pytest.raises(CorpusError, match="not a Debian package"):
        prepare_amazon_queen(tmp_path / "a.deb", tmp_path / "out")


def test_without_apt_the_remedy_is_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(debian.shutil, "which", lambda name: None)
    with pytest.raises(CorpusError, match=r"no apt-get here.*give its \.deb file"):
        prepare_amazon_queen(None, tmp_path / "out")


def test_a_failed_download_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(debian.shutil, "which", lambda name: "/usr/bin/apt-get")
    failed = subprocess.CompletedProcess([], 100, "", "warning\nE: no network")
    monkeypatch.setattr(debian.subprocess, "run", lambda *arguments, **options: failed)
    with pytest.raises(CorpusError, match="E: no network"):
        debian.fetch_package("x", tmp_path)


@pytest.mark.big
@pytest.mark.skipif(
    not os.environ.get("SPEECHSTRATA_AMAZON_QUEEN"),
    reason="SPEECHSTRATA_AMAZON_QUEEN does not name the package flight-of-the-amazon-queen or its queen.1c",
)
def test_the_game_has_all_its_utterances(tmp_path):
    corpus = prepare_amazon_queen(Path(os.environ["SPEECHSTRATA_AMAZON_QUEEN"]), tmp_path)
    assert corpus.counts.utterances == 6_587
    assert corpus.counts.hours == pytest.approx(4.53, abs=0.005)
    assert corpus.counts.speakers == 37
    assert not corpus.problems
    labelled = [cut for cut in corpus.cuts if cut.custom["kind"] != "cut-scene"]
    assert len(labelled) == 4_547
    assert len(RecordingSet.from_file(tmp_path / EFFECTS_FILE)) == 136
