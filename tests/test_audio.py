import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
import scipy.signal
import soundfile
from lhotse import CutSet, MonoCut, MultiCut, Recording
from lhotse.audio import AudioSource

from speechstrata.audio import audio_info, load_cut, read_audio
from speechstrata.errors import InputError


def tone(frequency: float, seconds: float, rate: int, amplitude: float = 0.5) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int, **options) -> Path:
    soundfile.write(path, samples.T, rate, **options)
    return path


def strongest_frequency(samples: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * rate / len(samples))


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_a_tone_of_any_rate_and_format_keeps_its_length_pitch_and_level(tmp_path, rate, suffix):
    path = write(tmp_path / f"a.{suffix}", tone(440, 1.0, rate), rate)
    read = read_audio(path, 16_000)
    assert read.dtype == np.float32
    assert abs(len(read) - 16_000) <= 2
    assert strongest_frequency(read, 16_000) == pytest.approx(440, abs=2)
    assert np.sqrt(np.mean(read[1000:-1000] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


def test_resampling_agrees_with_an_independent_resampler(tmp_path):
    noise = np.random.default_rng(0).standard_normal(44_100).astype(np.float32) * 0.1
    band = scipy.signal.firwin(255, 6_000, fs=44_100)
    smooth = scipy.signal.lfilter(band, 1, noise).astype(np.float32)
    read = read_audio(write(tmp_path / "a.wav", smooth, 44_100, subtype="FLOAT"), 16_000)
    expected = scipy.signal.resample_poly(smooth, 160, 441, window=("kaiser", 12.0))
    assert np.abs(read[200:-200] - expected[200 : len(read) - 200]).max() < 1e-3


def test_channels_are_averaged_or_kept(tmp_path):
    left, right = tone(300, 0.5, 44_100), tone(1000, 0.5, 44_100)
    path = write(tmp_path / "a.wav", np.stack([left, right]), 44_100, subtype="FLOAT")
    assert np.allclose(read_audio(path, 44_100), (left + right) / 2, atol=1e-6)
    assert np.allclose(read_audio(path, 44_100, mono=False), np.stack([left, right]), atol=1e-6)


@pytest.mark.parametrize(("start", "duration"), [(0.25, 0.5), (0.0, 0.1), (0.9, None), (0.123, 0.456)])
def test_a_part_is_the_same_as_that_slice_of_the_whole(tmp_path, start, duration):
    whole = np.random.default_rng(1).uniform(-0.9, 0.9, 16_000).astype(np.float32)
    path = write(tmp_path / "a.wav", whole, 16_000, subtype="FLOAT")
    last = None if duration is None else round((start + duration) * 16_000)
    assert np.array_equal(read_audio(path, 16_000, start=start, duration=duration), whole[round(start * 16_000) : last])


def test_what_libsndfile_does_not_know_is_decoded_by_ffmpeg(tmp_path):
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44_100, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.stack([tone(440, 1.0, 44_100)] * 2), format="fltp", layout="stereo")
        frame.sample_rate = 44_100
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    read = read_audio(path, 16_000)
    assert abs(len(read) - 16_000) < 1_000
    assert strongest_frequency(read, 16_000) == pytest.approx(440, abs=3)
    assert np.abs(read).max() == pytest.approx(0.5, abs=0.05)
    assert audio_info(path).channels == 2
    part = read_audio(path, 44_100, start=0.5, duration=0.25)
    assert np.array_equal(part, read_audio(path, 44_100)[22_050 : 22_050 + 11_025])


def test_g722_has_two_samples_in_a_byte(tmp_path):
    path = tmp_path / "a.g722"
    path.write_bytes(bytes(range(256)) * 20)
    assert audio_info(path).samples == 2 * 5120
    assert audio_info(path).sample_rate == 16_000
    assert len(read_audio(path, 16_000)) == 2 * 5120


def test_members_of_an_archive_are_read_like_files(tmp_path):
    path = write(tmp_path / "a.wav", tone(440, 0.3, 8_000), 8_000)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.write(path, "folder/a.wav")
    member = f"{tmp_path}/b.zip!/folder/a.wav"
    assert np.array_equal(read_audio(member, 16_000), read_audio(path, 16_000))
    assert audio_info(member) == audio_info(path)
    with pytest.raises(InputError, match=r"no member 'other\.wav'"):
        read_audio(f"{tmp_path}/b.zip!/other.wav", 16_000)


def test_every_kind_of_broken_file_is_named_with_its_reason(tmp_path):
    def reason(path: Path, **part) -> str:
        with pytest.raises(InputError) as caught:
            read_audio(path, 16_000, **part)
        assert str(path) in caught.value.message
        return caught.value.message

    assert "no file" in reason(tmp_path / "missing.wav")
    empty = tmp_path / "empty.wav"
    empty.touch()
    assert "empty" in reason(empty)
    text = tmp_path / "text.wav"
    text.write_text("this is no audio " * 20)
    assert "not audio" in reason(text)
    assert "no audio" in reason(write(tmp_path / "none.wav", np.zeros(0, dtype=np.float32), 16_000))
    nan = tone(440, 0.2, 16_000)
    nan[100] = np.nan
    assert "not finite" in reason(write(tmp_path / "nan.wav", nan, 16_000, subtype="FLOAT"))
    short = write(tmp_path / "short.wav", tone(440, 0.2, 16_000), 16_000)
    assert "holds no audio after 0.5 s" in reason(short, start=0.5)
    assert "holds only 0.20 s of the 0.40 s" in reason(short, duration=0.4)
    assert "does not exist" in reason(short, start=-0.1)


def test_a_cut_off_file_is_noticed_when_its_length_is_known(tmp_path):
    path = write(tmp_path / "a.wav", tone(440, 2.0, 16_000), 16_000)
    cut = Recording.from_file(path).to_cut()
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(InputError, match=r"utterance a: .*a\.wav holds 0\.62 s, the manifest says 2\.00 s"):
        load_cut(cut, 16_000)


def test_a_cut_loads_its_part_of_the_recording(tmp_path):
    whole = np.random.default_rng(2).uniform(-0.9, 0.9, 16_000).astype(np.float32)
    cut = Recording.from_file(write(tmp_path / "a.wav", whole, 16_000, subtype="FLOAT")).to_cut()
    assert np.array_equal(load_cut(cut, 16_000), whole)
    part = cut.truncate(offset=0.25, duration=0.5)
    assert np.array_equal(load_cut(part, 16_000), whole[4_000:12_000])
    assert np.array_equal(load_cut(part, 16_000), part.load_audio()[0])  # lhotse's own reading


def test_cuts_take_their_channels(tmp_path):
    channels = np.random.default_rng(3).uniform(-0.9, 0.9, (3, 8_000)).astype(np.float32)
    recording = Recording.from_file(write(tmp_path / "a.wav", channels, 16_000, subtype="FLOAT"))
    one = MonoCut("b", 0.0, recording.duration, 1, recording=recording)
    assert np.array_equal(load_cut(one, 16_000), channels[1])
    two = MultiCut("c", 0.0, recording.duration, [0, 2], recording=recording)
    assert np.allclose(load_cut(two, 16_000), (channels[0] + channels[2]) / 2, atol=1e-7)


def test_channels_of_several_files_are_averaged(tmp_path):
    left, right = (np.random.default_rng(seed).uniform(-0.9, 0.9, 8_000).astype(np.float32) for seed in (4, 5))
    sources = [
        AudioSource("file", [index], str(write(tmp_path / f"{index}.wav", samples, 16_000, subtype="FLOAT")))
        for index, samples in enumerate((left, right))
    ]
    recording = Recording("r", sources, 16_000, 8_000, 0.5)
    cut = MultiCut("c", 0.0, 0.5, [0, 1], recording=recording)
    assert np.allclose(load_cut(cut, 16_000), (left + right) / 2, atol=1e-7)


def test_audio_in_memory_is_loaded(tmp_path):
    path = write(tmp_path / "a.flac", tone(440, 0.5, 22_050), 22_050)
    cut = Recording.from_file(path).to_cut()
    in_memory = cut.move_to_memory()
    path.unlink()
    assert abs(len(load_cut(in_memory, 16_000)) - 8_000) <= 2


def test_mixed_and_transformed_cuts_go_through_lhotse(tmp_path):
    first = Recording.from_file(write(tmp_path / "a.wav", tone(440, 0.5, 16_000), 16_000)).to_cut()
    second = Recording.from_file(write(tmp_path / "b.wav", tone(900, 0.5, 16_000), 16_000)).to_cut()
    mixed = first.mix(second)
    assert np.allclose(load_cut(mixed, 16_000), load_cut(first, 16_000) + load_cut(second, 16_000), atol=1e-4)
    padded = first.pad(duration=0.8)
    assert len(load_cut(padded, 16_000)) == 12_800
    louder = CutSet.from_cuts([first]).perturb_volume(2.0)[0]
    assert np.abs(load_cut(louder, 16_000)).max() == pytest.approx(1.0, abs=0.01)


def test_what_lhotse_cannot_load_is_one_clear_line(tmp_path):
    recording = Recording("r", [AudioSource("command", [0], "false")], 16_000, 16_000, 1.0)
    with pytest.raises(InputError, match="utterance c: "):
        load_cut(MonoCut("c", 0.0, 1.0, 0, recording=recording), 16_000)


def test_a_damaged_archive_is_one_clear_line(tmp_path):
    write(tmp_path / "a.wav", tone(440, 0.5, 16_000), 16_000)
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(tmp_path / "a.wav", "a.wav")
    whole = archive.read_bytes()
    for place in range(40, 400, 24):
        archive.write_bytes(whole[:place] + b"\xff" * 16 + whole[place + 16 :])
        with pytest.raises(InputError, match=r"a\.zip"):
            read_audio(f"{archive}!/a.wav", 16_000)


def test_a_form_of_audio_that_nobody_decodes_is_one_clear_line(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(800), 16_000)
    data = bytearray(path.read_bytes())
    data[20:22] = b"\x2f\x00"  # the tag of no codec
    path.write_bytes(data)
    for read in (audio_info, lambda path: read_audio(path, 16_000)):
        with pytest.raises(InputError, match=r"a\.wav has audio in a form that FFmpeg cannot decode"):
            read(path)


def test_an_archive_with_a_damaged_name_is_one_clear_line(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(800), 16_000)
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(tmp_path / "a.wav", "a.wav")
    data = bytearray(archive.read_bytes())
    data[7] |= 8  # the local header says UTF-8
    data[30] = 0xDA  # where this begins a character of two bytes
    archive.write_bytes(data)
    with pytest.raises(InputError, match=r"cannot read 'a\.wav' of .*a\.zip"):
        read_audio(f"{archive}!/a.wav", 16_000)


@pytest.mark.parametrize("source", ["file", "archive"])
def test_a_play_list_among_the_recordings_fetches_nothing(tmp_path, source):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.wav"
        text = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}\n#EXT-X-ENDLIST\n"
        path = tmp_path / "a.wav"
        path.write_text(text)
        if source == "archive":
            with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
                file.writestr("a.m3u8", text)
        with pytest.raises(InputError):
            read_audio(path if source == "file" else f"{tmp_path / 'a.zip'}!/a.m3u8", 16_000)
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_format_without_a_header_is_not_guessed_at(tmp_path):
    path = write(tmp_path / "a.wav", tone(440, 0.5, 8_000), 8_000).rename(tmp_path / "a.g722")
    assert audio_info(path).sample_rate == 16_000  # G.722's, whatever its bytes look like
    assert abs(audio_info(path).samples - len(read_audio(path, 16_000))) <= 2
