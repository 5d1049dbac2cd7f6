"""Unit streams: storage, cropping and subsampling, and the public text format."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from lhotse.utils import fastcopy

from speechstrata.cli import main
from speechstrata.corpora.corpus import load_corpus
from speechstrata.errors import InputError
from speechstrata.pretraining.published_units import audio_below, export_units, import_units
from speechstrata.pretraining.units import UnitStore, labels_of_crop, write_units
from tests.analysis.speech import make_corpus

PUBLISHED = json.loads((Path(__file__).parents[1] / "data/pretraining/published.json").read_text())["label_crop"]


@pytest.fixture
def store(tmp_path: Path) -> UnitStore:
    rng = np.random.default_rng(0)
    streams = [rng.integers(0, 300, length) for length in (100, 1, 57)]
    write_units(tmp_path / "units", ["a", "b", "c"], streams, classes=300, stride=160, offset=199.5)
    return UnitStore.open(tmp_path / "units")


def test_units_come_back_as_they_were_in_a_compact_type(store: UnitStore, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, length in [("a", 100), ("b", 1), ("c", 57)]:
        assert np.array_equal(store.units(name), rng.integers(0, 300, length))
    assert (store.classes, store.stride, store.rate, list(store)) == (300, 160, 100.0, ["a", "b", "c"])
    assert store.units("a").dtype == np.uint16
    assert (tmp_path / "units/units.npy").stat().st_size < 128 + 2 * 158 + 1
    assert "d" not in store
    with pytest.raises(InputError, match="'d'"):
        store.units("d")


def test_crops_take_the_labels_that_the_public_code_takes() -> None:
    for rate, audio, labels, size, start, first, kept in PUBLISHED["rows"]:
        assert audio >= start + size
        assert labels_of_crop(start, size, labels, 16_000 / Fraction(str(rate))) == (first, kept)


@given(start=st.integers(0, 49), samples=st.integers(0, 40_000), stride=st.sampled_from([160, 320, 640]))
def test_a_crop_at_a_label_holds_the_labels_of_its_frames(start: int, samples: int, stride: int) -> None:
    index = {"classes": 200, "stride": str(stride), "offset": 0, "sha256": "0"}
    store = UnitStore(np.arange(100, dtype=np.uint8), {"a": (0, 100)}, index)
    crop = store.crop("a", start * stride, samples)
    assert crop.tolist() == list(range(start, min(100, start + round(samples / stride))))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "index.json").unlink(), "holds no units"),
        (lambda folder: (folder / "units.npy").write_bytes(b"no"), "cannot be read"),
        (lambda folder: np.save(folder / "units.npy", np.zeros(3, np.uint8)), "158 units"),
        (lambda folder: (folder / "index.json").write_text('{"format": "x"}'), "'x'"),
        (lambda folder: (folder / "index.json").write_text('{"format": "speechstrata-units-1"}'), "cannot be read"),
    ],
)
def test_a_spoilt_folder_is_refused(store: UnitStore, tmp_path: Path, spoil, message: str) -> None:
    spoil(tmp_path / "units")
    with pytest.raises(InputError, match=message):
        UnitStore.open(tmp_path / "units")


def test_impossible_units_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="below 3"):
        write_units(tmp_path, ["a"], [np.array([0, 3])], classes=3, stride=320, offset=0)
    with pytest.raises(InputError, match="'a' has two"):
        write_units(tmp_path, ["a", "a"], [np.zeros(1, int)] * 2, classes=3, stride=320, offset=0)


def test_the_public_format_goes_out_and_comes_back(store: UnitStore, tmp_path: Path) -> None:
    audio = {"a": ("x/a.flac", 16_240), "c": ("c.wav", 9_360)}
    export_units(store, audio, tmp_path / "text", root="/corpus", split="train")
    assert (tmp_path / "text/train.tsv").read_text() == "/corpus\nx/a.flac\t16240\nc.wav\t9360\n"
    assert len((tmp_path / "text/dict.km.txt").read_text().splitlines()) == 300
    again = import_units(
        tmp_path / "text/train.tsv",
        tmp_path / "text/train.km",
        tmp_path / "text/dict.km.txt",
        tmp_path / "again",
        rate=100,
        offset=199.5,
    )
    assert list(again) == ["a", "c"]
    assert (again.classes, again.stride) == (300, 160)
    for name in again:
        assert np.array_equal(again.units(name), store.units(name))


def test_a_symbols_class_is_its_line_in_the_dictionary(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("/r\nu.wav\t3200\n")
    (tmp_path / "t.km").write_text("7 7 x\n")
    (tmp_path / "dict.km.txt").write_text("x 9\n7 5\n")
    files = (tmp_path / "t.tsv", tmp_path / "t.km", tmp_path / "dict.km.txt")
    assert import_units(*files, tmp_path / "out", rate=50, offset=199.5).units("u").tolist() == [1, 1, 0]
    (tmp_path / "t.km").write_text("8\n")
    with pytest.raises(InputError, match=r"line 1.*'8'"):
        import_units(*files, tmp_path / "out", rate=50, offset=199.5)
    (tmp_path / "t.km").write_text("7\n7\n")
    with pytest.raises(InputError, match="lists 1 audio files"):
        import_units(*files, tmp_path / "out", rate=50, offset=199.5)


def test_units_leave_and_come_back_by_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = make_corpus(tmp_path / "tones", utterances=4)
    names = [cut.id for cut in load_corpus(manifest).cuts]
    streams = [np.arange(number + 3) for number in range(4)]
    write_units(tmp_path / "units", names, streams, classes=9, stride=320, offset=199.5)
    text = tmp_path / "text"
    given = ["units", "export", str(tmp_path / "units"), "--corpus", str(manifest), "--output", str(text)]
    assert main([*given, "--root", str(tmp_path)]) == 0
    files = ["--tsv", "train.tsv", "--labels", "train.km", "--dictionary", "dict.km.txt"]
    files = [name if name.startswith("-") else str(text / name) for name in files]
    assert main(["units", "import", *files, "--rate", "50", "--output", str(tmp_path / "again")]) == 0
    again = UnitStore.open(tmp_path / "again")
    for path, stream in zip((text / "train.tsv").read_text().splitlines()[1:], streams, strict=True):
        name, samples = path.split("\t")
        assert soundfile.info(tmp_path / name).frames == int(samples)
        assert again.units(Path(name).stem).tolist() == stream.tolist()
    assert main([*given, "--root", str(tmp_path / "units")]) == 1
    assert "is not in" in capsys.readouterr().err


def test_only_whole_files_of_one_channel_at_16_khz_can_leave(tmp_path: Path) -> None:
    manifest = make_corpus(tmp_path / "tones", utterances=1)
    (cut,) = load_corpus(manifest).cuts
    write_units(tmp_path / "units", [cut.id], [np.arange(3)], classes=9, stride=320, offset=199.5)
    store = UnitStore.open(tmp_path / "units")
    with pytest.raises(InputError, match="is a part of"):
        audio_below(tmp_path, [fastcopy(cut, duration=cut.duration / 2)], store)
    slow = fastcopy(cut.recording, sampling_rate=8000, duration=2 * cut.duration)
    with pytest.raises(InputError, match="8000 Hz"):
        audio_below(tmp_path, [fastcopy(cut, recording=slow, duration=2 * cut.duration)], store)
    with pytest.raises(InputError, match="no utterance of the corpus has units"):
        audio_below(tmp_path, [fastcopy(cut, id="other")], store)
