"""Files made to do harm: code in pickles, commands in manifests, bombs, archives that point outside, odd audio."""

import gzip
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from speechstrata.analysis.vectors import load_vectors
from speechstrata.audio import load_cut, read_audio
from speechstrata.corpora.corpus import load_corpus
from speechstrata.corpora.prepare import prepare_corpus
from speechstrata.encoders.loading import load_encoder
from speechstrata.errors import CorpusError, InputError, SpeechstrataError
from tests.analysis.speech import make_encoder
from tests.hold.guard import watched
from tests.hold.parsers import cut, package, wave

WORDS = ("hello", "world")


class Attack:
    """Unpickled, it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.target}'",)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("suffix", [".kv", ".model", ".bin", ".npz", ".json", ".txt", ".zip", ".gz"])
def test_word_vectors_are_never_run(tmp_path: Path, protocol: int, suffix: str) -> None:
    marker, path = tmp_path / "ran", tmp_path / f"vectors{suffix}"
    path.write_bytes(pickle.dumps({"index_to_key": ["hello"], "vectors": Attack(marker)}, protocol=protocol))
    with watched(tmp_path) as seen, pytest.raises(InputError, match="vectors"):
        load_vectors(path, WORDS)
    assert not seen
    assert not marker.exists()


def test_object_arrays_and_files_beside_vectors_are_never_run(tmp_path: Path) -> None:
    gensim = pytest.importorskip("gensim", reason="gensim writes the file that is spoilt here")
    marker = tmp_path / "ran"
    vectors = gensim.models.KeyedVectors(2)
    vectors.add_vectors(["hello", "world"], np.array([[1, 2], [3, 4]], dtype=np.float32))
    vectors.save(str(tmp_path / "good.kv"), sep_limit=0)  # the array in a file of its own
    np.testing.assert_array_equal(load_vectors(tmp_path / "good.kv", WORDS).matrix, [[1, 2], [3, 4]])
    vectors.save(str(tmp_path / "one.kv"))
    np.testing.assert_array_equal(load_vectors(tmp_path / "one.kv", WORDS).matrix, [[1, 2], [3, 4]])
    vectors.save_word2vec_format(str(tmp_path / "good.bin"), binary=True)
    np.testing.assert_array_equal(load_vectors(tmp_path / "good.bin", WORDS).matrix, [[1, 2], [3, 4]])
    np.save(tmp_path / "good.kv.vectors.npy", np.array([Attack(marker)] * 2, dtype=object), allow_pickle=True)
    np.savez(tmp_path / "v.npz", words=np.array([Attack(marker)], dtype=object), vectors=np.eye(1))
    for name in ("good.kv", "v.npz"):
        with pytest.raises(InputError):
            load_vectors(tmp_path / name, WORDS)
    assert not marker.exists()


def manifest(folder: Path, content: dict[str, Any], name: str = "manifest.jsonl") -> Path:
    (folder / name).write_text(json.dumps(content) + "\n")
    return folder / name


def test_commands_in_manifests_are_never_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    hostile = cut(f"touch '{marker}'; cat a.wav", kind="command")
    with pytest.raises(CorpusError, match="command"):
        load_corpus(manifest(tmp_path, hostile))
    from lhotse.serialization import deserialize_item

    with pytest.raises(InputError, match="command"):
        load_cut(deserialize_item(hostile), 16_000)
    folder = tmp_path / "corpus"
    (tmp_path / "a.wav").write_bytes(wave())
    prepare_corpus("lhotse", manifest(tmp_path, cut()), folder)
    (folder / "cuts.jsonl.gz").write_bytes(gzip.compress(json.dumps(hostile).encode() + b"\n"))
    with pytest.raises(CorpusError, match="command"):
        load_corpus(folder)
    assert not marker.exists()


BOMBS = ("v.txt", "v.zip", "v.gz", "v.npz", "cuts.jsonl.gz", "cuts.json.gz", "v.bin")


def make_bomb(folder: Path, name: str) -> Path:
    """Some hundred kilobytes that become half a gigabyte, or say that they do."""
    zeros, path = b"0" * (1 << 20), folder / name
    if name == "v.zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("v.txt", "w") as member:
            for _ in range(512):
                member.write(zeros)
    elif name == "v.npz":
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)})
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("words.npy", header.getvalue())
            archive.writestr("vectors.npy", header.getvalue())
    elif name == "v.bin":
        path.write_bytes(b"999999999 99999\nhello ")
    elif name == "v.txt":
        path.write_bytes(zeros * 2)
    else:
        with gzip.open(path, "wb", compresslevel=1) as file:
            for _ in range(512):
                file.write(zeros)
    return path


BOMB_PROGRAM = """
import resource
import sys
from pathlib import Path

import lhotse, numpy, soundfile

from speechstrata.analysis.vectors import load_vectors
from speechstrata.corpora.corpus import load_corpus
from speechstrata.errors import SpeechstrataError

used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 400 * 2**20,) * 2)
for path in map(Path, sys.argv[1:]):
    try:
        load_corpus(path) if path.name.startswith("cuts") else load_vectors(path, ("hello",))
    except SpeechstrataError:
        print("refused", path.name)
"""


def test_bombs_end_in_an_error_before_the_memory_does(tmp_path: Path) -> None:
    """In a process of its own, with no more memory than what is there once everything is imported and 400 MB."""
    paths = [str(make_bomb(tmp_path, name)) for name in BOMBS]
    command = [sys.executable, "-c", BOMB_PROGRAM, *paths]
    run = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert run.stdout.split("\n")[:-1] == [f"refused {name}" for name in BOMBS], run.stderr[-1500:]


def test_an_endless_line_of_a_manifest_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from speechstrata.corpora import corpus, manifests

    (tmp_path / "a.wav").write_bytes(wave())
    good = json.dumps(cut()).encode() + b"\n"
    (tmp_path / "manifest.jsonl.gz").write_bytes(gzip.compress(good))
    folder = tmp_path / "corpus"
    prepare_corpus("lhotse", tmp_path / "manifest.jsonl.gz", folder)
    for module in (corpus, manifests):
        monkeypatch.setattr(module, "LONGEST_LINE", 4096)
    for path in (tmp_path / "manifest.jsonl.gz", folder / "cuts.jsonl.gz"):
        path.write_bytes(gzip.compress(good + b" " * 5000 + b"\n"))
        with pytest.raises(SpeechstrataError, match=rf"{path.name}: line 2 is longer than 4,096 characters"):
            load_corpus(path if path.name.startswith("manifest") else folder)


@pytest.mark.parametrize("text", ["[" * 20_000, "a: " + "{" * 20_000, "a: [1, # ]\n" * 20_000, "a: b\n" * 300_000])
def test_recipes_that_take_the_time_of_a_day_are_refused_at_once(tmp_path: Path, text: str) -> None:
    import time

    from speechstrata.pretraining.recipes import load_recipe

    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    begin = time.process_time()
    with pytest.raises(InputError, match=r"recipe\.yaml is no recipe"):
        load_recipe(path)
    with pytest.raises(InputError, match="is no recipe"):
        load_recipe("tiny-hubert", [f"model={text}"])
    assert time.process_time() - begin < 1


def test_paths_in_archives_do_not_lead_outside(tmp_path: Path) -> None:
    from speechstrata.superb.corpora.noises import _music_folder

    inside = tmp_path / "in" / "unpacked"
    inside.mkdir(parents=True)
    deb = tmp_path / "in" / "music.deb"
    deb.write_bytes(package(("../../../../evil/music.wav", "/absolute/x.txt")))
    with watched(tmp_path / "in") as seen, suppress(SpeechstrataError):
        _music_folder(deb, inside)
    assert not seen
    assert {p.name for p in tmp_path.iterdir()} == {"in"}
    archive = tmp_path / "in" / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../../outside.wav", wave())
    assert len(read_audio(f"{archive}!/../../outside.wav", 16_000))  # read from memory, written nowhere
    assert not list(tmp_path.rglob("outside.wav"))


def test_ids_with_paths_in_them_stay_inside_the_output(tmp_path: Path) -> None:
    """Utterances called ``../../x`` and ``/etc/x``: extract, targets and the corpus folder name no file after them."""
    from speechstrata.analysis.config import ComputeConfig
    from speechstrata.analysis.extract import extract
    from speechstrata.pretraining.config import TargetsConfig
    from speechstrata.pretraining.targets import make_targets

    (tmp_path / "a.wav").write_bytes(wave(1.0))
    rows = [cut(seconds=1.0) | {"id": name} for name in ("../../outside", "/etc/outside", "a\nb", "\u202ex", "%s")]
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = tmp_path / "out"
    output.mkdir()
    load_encoder("fbank")
    prepare_corpus("lhotse", tmp_path / "manifest.jsonl", output / "corpus")
    with watched(output) as seen:
        prepare_corpus("lhotse", tmp_path / "manifest.jsonl", output / "again")
        for unit in ("word", "frame"):
            extract("fbank", str(output / "corpus"), output / unit, unit=unit, compute=ComputeConfig())
        make_targets(str(output / "corpus"), output / "units", TargetsConfig(clusters=4, sample_frames=300))
    assert not [line for line in seen if "__pycache__" not in line], seen
    assert not list(tmp_path.parent.rglob("outside*"))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_models_cut_short_are_one_error(tmp_path: Path, name: str) -> None:
    folder = make_encoder(tmp_path / "model")
    whole = (folder / name).read_bytes()
    for keep in (0, 1, 7, 8, 9, len(whole) // 2, len(whole) - 2):
        (folder / name).write_bytes(whole[:keep])
        with pytest.raises(SpeechstrataError, match="model"):
            load_encoder(str(folder))


@pytest.mark.parametrize(
    ("rate", "channels", "subtype"), [(200_000, 1, "PCM_16"), (48_000, 12, "PCM_16"), (8_000, 2, "PCM_U8")]
)
def test_odd_audio_is_read_right(tmp_path: Path, rate: int, channels: int, subtype: str) -> None:
    path = tmp_path / "größe 1.wav"
    path.write_bytes(wave(0.5, rate, channels, subtype=subtype))
    samples = read_audio(path, 16_000)
    time = np.arange(8000) / 16_000
    assert len(samples) == 8000
    middle = slice(500, -500)
    np.testing.assert_allclose(samples[middle], 0.3 * np.sin(2 * np.pi * 440 * time)[middle], atol=0.02)


def test_one_bit_noise_is_read_and_no_samples_and_nan_are_errors(tmp_path: Path) -> None:
    noise = np.where(np.random.default_rng(0).random(16_000) < 0.5, -1, 1).astype(np.int16)
    soundfile.write(tmp_path / "bit.wav", noise, 16_000, subtype="PCM_16")
    np.testing.assert_array_equal(read_audio(tmp_path / "bit.wav", 16_000) * 2**15, noise)
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16_000)
    soundfile.write(tmp_path / "nan.wav", np.array([0, np.nan, 0]), 16_000, subtype="FLOAT")
    for name in ("none.wav", "nan.wav"):
        with pytest.raises(InputError, match=name):
            read_audio(tmp_path / name, 16_000)


TIMES = {
    "reversed": (0.5, 0.2),
    "overlapping": (0.0, 0.9),
    "not finite": (float("nan"), 0.4),
    "huge": (0.1, 1e300),
    "endless": (0.1, float("inf")),
    "negative": (-5.0, 0.2),
}


@pytest.mark.parametrize("case", TIMES)
def test_impossible_times_are_reported_by_name(tmp_path: Path, case: str) -> None:
    begin, end = TIMES[case]
    for stem in ("good", "bad"):
        (tmp_path / f"{stem}.wav").write_bytes(wave(1.0))
    ctm = tmp_path / "words.ctm"
    ctm.write_text(f"good 1 0.1 0.2 hello\nbad 1 0.3 0.4 world\nbad 1 {begin} {end - begin} hello\n")
    from speechstrata.corpora.ctm import CtmOptions, prepare_ctm

    corpus = prepare_ctm(tmp_path, CtmOptions(words=ctm))
    assert [c.id for c in corpus.cuts] == ["good"]
    assert any("bad" in problem.item for problem in corpus.problems)
    described = cut(seconds=1.0)
    described["supervisions"][0]["alignment"] = {"word": [["a", 0.1, 0.2, None], ["b", begin, end - begin, None]]}  # type: ignore[index]
    (tmp_path / "a.wav").write_bytes(wave(1.0))
    if case == "overlapping":
        described["supervisions"][0]["alignment"]["word"].append(["c", 0.3, 0.4, None])  # type: ignore[index]
    with pytest.raises(CorpusError, match=r"'(a|b|c)' at|manifest"):
        load_corpus(manifest(tmp_path, described))
