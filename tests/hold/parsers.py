"""Every parser of the package, with small valid files for it: what the fuzz tests and ``scripts/fuzz.py`` share."""

import gzip
import hashlib
import io
import json
import math
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 1
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = "hello"
        intervals [2]:
            xmin = 0.5
            xmax = 1
            text = "world"
    item [2]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 1
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 1
            text = "HH"
"""
CTM = ";; comment\nrec1 1 0.10 0.20 hello 0.9\nrec1 1 0.30 0.20 world\nrec2 A 0 1.5e0 <sil>\n"
CONDENSED = '1-2-0000 ",HELLO,WORLD," "0.100,0.300,0.500,0.600"\n1-2-0001 ",A," "0.1,0.2,0.4"\n'
VECTORS = "2 3\nhello 0.1 -0.2 0.3\nworld 1e-3 2 3\n"
RECIPE = "base: tiny-hubert\nabout: a test\nmodel:\n  name: tiny\noptimizer: &o\n  steps: 2000\n  learning_rate: 1e-3\n"
IOB = "u1 BOS play music EOS\tO O B-genre PlayMusic\n"
WEIGHTS = "model.safetensors"
EXPRESSION = "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"


@dataclass(frozen=True)
class Parser:
    """Something that reads a file.

    Attributes:
        name: of the parser.
        file: the name of the file that is fuzzed.
        seeds: makes valid contents.
        read: reads the file given; the others of a folder are beside it.
        others: makes the files beside it: name -> content.
    """

    name: str
    file: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[Path], object]
    others: Callable[[], dict[str, bytes]] = dict


def wave(
    seconds: float = 0.3, rate: int = 16_000, channels: int = 1, file_format: str = "WAV", subtype: str | None = None
) -> bytes:
    """A sine as an audio file."""
    import soundfile

    time = np.arange(int(seconds * rate)) / rate
    samples = 0.3 * np.sin(2 * np.pi * 440 * time)[:, None].repeat(channels, axis=1)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=file_format, subtype=subtype)
    return buffer.getvalue()


def cut(source: str = "a.wav", kind: str = "file", seconds: float = 0.3) -> dict[str, object]:
    """A cut as lhotse writes it."""
    items = [["hello", 0.05, 0.1, None], ["world", 0.15, 0.1, None]]
    recording = {
        "id": "r", "sources": [{"type": kind, "channels": [0], "source": source}], "sampling_rate": 16000,
        "num_samples": int(seconds * 16000), "duration": seconds, "channel_ids": [0],
    }  # fmt: skip
    supervision = {
        "id": "s", "recording_id": "r", "start": 0.0, "duration": seconds, "channel": 0, "text": "hello world",
        "speaker": "x", "alignment": {"word": items},
    }  # fmt: skip
    return {
        "id": "u", "start": 0.0, "duration": seconds, "channel": 0, "supervisions": [supervision],
        "recording": recording, "type": "MonoCut",
    }  # fmt: skip


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _keyed_vectors() -> bytes:
    """As gensim writes them; made here, so that gensim need not be installed."""
    import pickle

    class KeyedVectors:
        pass

    KeyedVectors.__module__ = "gensim.models.keyedvectors"
    KeyedVectors.__qualname__ = "KeyedVectors"
    import sys
    import types

    module = types.ModuleType("gensim.models.keyedvectors")
    module.KeyedVectors = KeyedVectors  # type: ignore[attr-defined]
    saved = {name: sys.modules.get(name) for name in ("gensim", "gensim.models", module.__name__)}
    sys.modules.update({"gensim": types.ModuleType("gensim"), "gensim.models": types.ModuleType("gensim.models")})
    sys.modules[module.__name__] = module
    try:
        made = KeyedVectors()
        made.__dict__ |= {"index_to_key": ["hello", "world"], "vectors": np.eye(2, dtype=np.float32), "vector_size": 2}
        return pickle.dumps(made, protocol=4)
    finally:
        for name, value in saved.items():
            if value is None:
                del sys.modules[name]
            else:
                sys.modules[name] = value


def _checkpoints() -> list[bytes]:
    import torch

    state = {
        "model": {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2).half()},
        "args": {"lr": [1, "x"]},
    }
    found = []
    for zipped in (True, False):
        buffer = io.BytesIO()
        torch.save(state, buffer, _use_new_zipfile_serialization=zipped)
        found.append(buffer.getvalue())
    return found


def _read_checkpoint(path: Path) -> object:
    from speechstrata.mrhubert.unpickle import StoredTensor, plain, read_checkpoint

    content = read_checkpoint(path)

    def tensors(value: object, depth: int = 0) -> None:
        if isinstance(value, StoredTensor):
            value.load("t")
        elif isinstance(value, dict) and depth < 5:
            for item in value.values():
                tensors(item, depth + 1)

    tensors(content)
    if isinstance(content, dict) and "args" in content:
        plain(content["args"])
    return content


def _read_expression(path: Path) -> object:
    from speechstrata.mrhubert.expressions import parse_expression

    return parse_expression(path.read_bytes().decode("utf-8", "replace"))


def _read_textgrid(path: Path) -> object:
    from speechstrata.corpora.prepare import prepare_corpus

    return prepare_corpus("textgrid", path.parent, path.parent / "out")


def _read_ctm(path: Path) -> object:
    from speechstrata.corpora.ctm import CtmOptions, prepare_ctm

    return prepare_ctm(path.parent, CtmOptions(words=path))


def _read_condensed(path: Path) -> object:
    from speechstrata.corpora.librispeech import read_condensed_alignments
    from speechstrata.corpora.problems import ProblemLog

    return read_condensed_alignments(path, ProblemLog(strict=False))


def _load_corpus(path: Path) -> object:
    from speechstrata.audio import load_cut
    from speechstrata.corpora.corpus import load_corpus

    corpus = load_corpus(path if path.suffix != "" and path.name.startswith("manifest") else path.parent)
    for each in list(corpus.cuts)[:3]:
        load_cut(each, 16_000)
    return corpus


def _read_audio(path: Path) -> object:
    from speechstrata.audio import audio_info, read_audio

    audio_info(path)
    samples = read_audio(path, 16_000)
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    assert len(samples)
    return samples


def _read_vectors(path: Path) -> object:
    from speechstrata.analysis.vectors import load_vectors

    vectors = load_vectors(path, ("hello", "world"))
    assert np.isfinite(vectors.matrix).all()
    return vectors


def _read_recipe(path: Path) -> object:
    from speechstrata.pretraining.recipes import load_recipe, recipe_text

    return recipe_text(load_recipe(path))


def _read_units(path: Path) -> object:
    from speechstrata.pretraining.units import UnitStore

    store = UnitStore.open(path.parent)
    return [store.crop(name, 0, 3200) for name in store], store.rate


def _unit_files() -> dict[str, bytes]:
    index = {
        "format": "speechstrata-units-1", "classes": 5, "stride": "160", "offset": 199.5, "sample_rate": 16000,
        "sha256": "0" * 64, "utterances": ["a", "b"], "frames": [3, 4],
    }  # fmt: skip
    return {"units.npy": _npy(np.array([0, 1, 2, 3, 4, 0, 1], dtype=np.uint8)), "index.json": _json(index)}


def _import_units(path: Path) -> object:
    from speechstrata.pretraining.published_units import import_units

    folder = path.parent
    return import_units(folder / "a.tsv", folder / "a.km", folder / "dict.txt", folder / "out", rate=50.0, offset=199.5)


_PUBLISHED = {
    "a.tsv": b"/root\nx/one.wav\t100\nx/two.wav\t200\n",
    "a.km": b"0 1 1\n2 0\n",
    "dict.txt": b"0 9\n1 9\n2 9\n",
}


def _read_pairs(path: Path) -> object:
    from speechstrata.analysis.sentence_pairs import load_sentence_pairs

    return load_sentence_pairs(path.parent)


def _pair_files() -> dict[str, bytes]:
    recordings = "sentence\tspeaker\taudio\ns0\tx\ta.wav\ns1\tx\tb.wav\n"
    pairs = "sentence_a\tsentence_b\tscore\ns0\ts1\t2.5\n"
    return {"recordings.tsv": recordings.encode(), "pairs.tsv": pairs.encode(), "a.wav": wave(), "b.wav": wave()}


def _read_run(path: Path) -> object:
    from speechstrata.report.runs import read_run

    return read_run(path.parent)


def run_files() -> dict[str, bytes]:
    """A run folder with one model and one score."""
    import polars

    from speechstrata.analysis.run_folder import _schema

    row = {
        "model": "m", "layer": "T0", "index": 0, "depth": 0.0, "kind": "transformer", "stride_ms": 20.0,
        "score": "cca-word", "unit": "word", "variant": "", "reference": "", "sample_set": 0, "seed": 0, "value": 0.5,
        "nats": None, "baseline": 0.1, "n": 100, "classes": 10, "k": None, "step": None, "warning": "",
    }  # fmt: skip
    buffer = io.BytesIO()
    polars.DataFrame([row], schema=_schema()).write_parquet(buffer)
    layer = {
        "name": "T0",
        "kind": "transformer",
        "stride_ms": 20.0,
        "offset_ms": 12.5,
        "dim": 8,
        "index": 0,
        "depth": 0.0,
    }
    model = {
        "name": "m", "role": "encoder", "control_of": None, "supervision": "none", "fingerprint": "f",
        "parameters": 10, "sample_rate": 16000, "step": None, "layers": [layer],
    }  # fmt: skip
    corpus = {
        "name": "c", "description": "", "licence": "", "fingerprint": "f", "utterances": 1, "hours": 0.1,
        "speakers": 1, "largest_speaker_share": 1.0,
    }  # fmt: skip
    provenance = {
        "corpus": corpus, "models": [model], "protocol": {"name": "small-corpus", "text": "t"}, "seeds": [0],
        "packages": {}, "python": "3", "platform": "x", "speechstrata": "0", "created": "now",
        "scores_sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
    }  # fmt: skip
    config = {"inputs": {"models": ["m"], "corpus": "c"}, "analysis": {"seed": 0}, "compute": {}}
    problem = {"what": "w", "where": "x", "reason": "r", "remedy": ""}
    return {
        "scores.parquet": buffer.getvalue(), "provenance.json": _json(provenance), "config.json": _json(config),
        "problems.jsonl": _json(problem) + b"\n",
    }  # fmt: skip


def _read_journal(path: Path) -> object:
    from speechstrata.analysis.run_folder import RunFolder

    folder = RunFolder(path.parent)
    try:
        return folder.finished("k")
    finally:
        folder.close()


def _journal() -> bytes:
    import polars

    row = polars.read_parquet(io.BytesIO(run_files()["scores.parquet"])).to_dicts()[0]
    return _json({"key": "k", "rows": [row]}) + b"\n"


def _read_iob(path: Path) -> object:
    from speechstrata.superb.corpora.snips import read_iob

    return read_iob(path)


def _transcripts(path: Path) -> object:
    from speechstrata.corpora.prepare import prepare_corpus

    return prepare_corpus("transcripts", path.parent, path.parent / "out")


def _read_package(path: Path) -> object:
    from speechstrata.corpora.debian import read_from_package

    return read_from_package(path, ("music.wav", "x.txt"))


def package(names: tuple[str, ...] = ("./usr/share/music.wav", "./x.txt")) -> bytes:
    """A Debian package whose tar archive has these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"data"))
    data = buffer.getvalue()
    header = f"{'data.tar.gz/':<16}{'0':<12}{'0':<6}{'0':<6}{'644':<8}{len(data):<10}`\n".encode()
    return b"!<arch>\n" + header + data + b"\n" * (len(data) % 2)


def _encoder_files() -> dict[str, bytes]:
    """A very small HuBERT folder."""
    import tempfile

    from tests.analysis.speech import make_encoder

    with tempfile.TemporaryDirectory() as folder:
        made = make_encoder(Path(folder) / "m")
        return {path.name: path.read_bytes() for path in made.iterdir()}


def _load_encoder(path: Path) -> object:
    import torch

    from speechstrata.encoders.loading import load_encoder

    encoder = load_encoder(str(path.parent))
    return encoder.hidden_states(torch.zeros(1, 8000), torch.tensor([8000]), [encoder.layers[-1].name])


def _corpus_files() -> dict[str, bytes]:
    described = {
        "name": "c", "description": "d", "licence": "", "source": "", "language": "en", "fingerprint": "0",
        "counts": {"utterances": 1, "hours": 0.1, "speakers": 1, "words": 2, "phones": 0, "aligned": 1}, "problems": 0,
        "details": {}, "tools": {}, "cuts_sha256": "0",
    }  # fmt: skip
    return {
        "corpus.json": _json(described), "cuts.jsonl.gz": gzip.compress(_json(cut()) + b"\n"), "a.wav": wave(),
        "problems.jsonl": b"",
    }  # fmt: skip


def _audio_seeds() -> list[bytes]:
    return [
        wave(), wave(channels=2, subtype="PCM_24"), wave(file_format="FLAC"), wave(file_format="OGG"),
        wave(subtype="FLOAT"), wave(rate=8000, subtype="ULAW"), wave(file_format="AIFF"),
    ]  # fmt: skip


def _one(content: str) -> Callable[[], list[bytes]]:
    return lambda: [content.encode()]


def _of(files: Callable[[], dict[str, bytes]], name: str) -> Callable[[], list[bytes]]:
    return lambda: [files()[name]]


def _beside() -> dict[str, bytes]:
    return {"a.wav": wave()}


PARSERS = (
    Parser("checkpoint", "model.pt", _checkpoints, _read_checkpoint),
    Parser("expression", "expression.txt", _one(EXPRESSION), _read_expression),
    Parser("textgrid", "a.TextGrid", _one(TEXTGRID), _read_textgrid, lambda: {"a.wav": wave(1.0)}),
    Parser("ctm", "words.ctm", _one(CTM), _read_ctm, lambda: {"rec1.wav": wave(1.0), "rec2.wav": wave(1.0)}),
    Parser("librispeech alignments", "1-2.alignment.txt", _one(CONDENSED), _read_condensed),
    Parser("lhotse manifest", "manifest.jsonl", lambda: [_json(cut()) + b"\n"], _load_corpus, _beside),
    Parser("lhotse manifest, gzip", "manifest.jsonl.gz", lambda: [gzip.compress(_json(cut()))], _load_corpus, _beside),
    Parser("corpus.json", "corpus.json", _of(_corpus_files, "corpus.json"), _load_corpus, _corpus_files),
    Parser("corpus cuts", "cuts.jsonl.gz", _of(_corpus_files, "cuts.jsonl.gz"), _load_corpus, _corpus_files),
    Parser("audio", "a.wav", _audio_seeds, _read_audio),
    Parser("audio, mp3 by name", "a.mp3", _audio_seeds, _read_audio),
    Parser("word vectors, text", "v.txt", _one(VECTORS), _read_vectors),
    Parser("word vectors, zip", "v.zip", lambda: [_zip({"v.txt": VECTORS.encode()})], _read_vectors),
    Parser("word vectors, gzip", "v.gz", lambda: [gzip.compress(VECTORS.encode())], _read_vectors),
    Parser("word vectors, json", "v.json", lambda: [_json({"hello": [1, 2.5], "world": [0, 1]})], _read_vectors),
    Parser(
        "word vectors, npz",
        "v.npz",
        lambda: [_npz(words=np.array(["hello", "world"]), vectors=np.eye(2))],
        _read_vectors,
    ),
    Parser(
        "word vectors, word2vec",
        "v.bin",
        lambda: [b"2 3\nhello " + np.ones(3, "<f4").tobytes() + b"\nworld " + np.ones(3, "<f4").tobytes() + b"\n"],
        _read_vectors,
    ),
    Parser("word vectors, gensim", "v.kv", lambda: [_keyed_vectors()], _read_vectors),
    Parser("recipe", "recipe.yaml", _one(RECIPE), _read_recipe),
    Parser("units index", "index.json", _of(_unit_files, "index.json"), _read_units, _unit_files),
    Parser("units", "units.npy", _of(_unit_files, "units.npy"), _read_units, _unit_files),
    Parser("published units, tsv", "a.tsv", lambda: [_PUBLISHED["a.tsv"]], _import_units, lambda: _PUBLISHED),
    Parser("published units, km", "a.km", lambda: [_PUBLISHED["a.km"]], _import_units, lambda: _PUBLISHED),
    Parser("published units, dict", "dict.txt", lambda: [_PUBLISHED["dict.txt"]], _import_units, lambda: _PUBLISHED),
    Parser("sentence pairs", "pairs.tsv", _of(_pair_files, "pairs.tsv"), _read_pairs, _pair_files),
    Parser("sentence recordings", "recordings.tsv", _of(_pair_files, "recordings.tsv"), _read_pairs, _pair_files),
    Parser("run scores", "scores.parquet", _of(run_files, "scores.parquet"), _read_run, run_files),
    Parser("run provenance", "provenance.json", _of(run_files, "provenance.json"), _read_run, run_files),
    Parser("run problems", "problems.jsonl", _of(run_files, "problems.jsonl"), _read_run, run_files),
    Parser("journal", "journal.jsonl", lambda: [_journal()], _read_journal),
    Parser("slots", "all.iob", _one(IOB), _read_iob),
    Parser("transcripts", "rec1.txt", _one("hello world\n"), _transcripts, lambda: {"rec1.wav": wave()}),
    Parser("debian package", "music.deb", lambda: [package()], _read_package),
    Parser("encoder config", "config.json", _of(_encoder_files, "config.json"), _load_encoder, _encoder_files),
    Parser("encoder weights", WEIGHTS, _of(_encoder_files, WEIGHTS), _load_encoder, _encoder_files),
)  # fmt: skip

#: Numbers, times and names that break parsers.
NASTY = (
    "nan", "inf", "-inf", "1e999", "-1", "0", "1e-320", str(2**63), str(10**30), "9" * 400, "", "null", "true", "\x00",
    "../../x", "/etc/passwd", "\u202e\u00e9\U0001f600", "a" * 5000, "[" * 3000, "{" * 3000, "%s%n", "-0", "1_0", "0x10",
    "٣", "1/0", "!!python/object/apply:os.system ['touch hacked']",
)  # fmt: skip
assert math.isinf(float(NASTY[3]))
