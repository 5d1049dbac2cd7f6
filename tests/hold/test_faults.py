"""Disk full, folders that cannot be written, damaged caches and checkpoints, two processes on one folder, kills."""

import errno
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from speechstrata.errors import CorpusError, InputError, SpeechstrataError
from speechstrata.files import LOCK_FILE, hold, write_text
from tests.hold.jobs import FURTHER_JOBS, JOBS, Job

ROOT = Path(__file__).resolve().parents[2]
EVERY = [*JOBS, *FURTHER_JOBS]
SMALL = [job for job in EVERY if job.name in {"analyze", "targets", "corpus prepare", "superb prepare"}]


class Made(dict[str, Any]):
    """What is made of a job when it is first asked for."""

    def __init__(self, make: Callable[[Job], Any]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> Any:
        self[name] = self._make(next(job for job in EVERY if job.name == name))
        return self[name]


@pytest.fixture(scope="module")
def materials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    def make(job: Job) -> Path:
        folder = tmp_path_factory.mktemp(job.name.replace(" ", "-"))
        job.prepare(folder)
        return folder

    return Made(make)


@pytest.fixture(scope="module")
def wholes(materials: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The results of undisturbed runs."""

    def make(job: Job) -> object:
        output = tmp_path_factory.mktemp("whole") / "run"
        job.run(materials[job.name], output)
        return job.result(output)

    return Made(make)


def fill_disk(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let all writes to the disk fail after so many."""
    fsync, left = os.fsync, after

    def full(handle: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)


@pytest.mark.parametrize("job", SMALL, ids=lambda job: job.name)
def test_a_disk_that_fills_up_is_one_error_and_the_next_run_goes_on(
    job: Job, materials: dict[str, Path], wholes: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for after in (0, 2):
        with monkeypatch.context() as patch:
            fill_disk(patch, after)
            with pytest.raises(InputError, match="No space left"):
                job.run(materials[job.name], tmp_path / "full")
    job.run(materials[job.name], tmp_path / "full")
    assert job.result(tmp_path / "full") == wholes[job.name]
    assert not list((tmp_path / "full").rglob("*.partial*"))


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    if mount is None or os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("job", SMALL, ids=lambda job: job.name)
def test_a_real_disk_of_300_kB(job: Job, materials: dict[str, Path], tiny_disk: Path, tmp_path: Path) -> None:
    """In a process of its own: a memory-mapped file without room would end it by a signal."""
    (tiny_disk / "ballast").write_bytes(b"0" * (270 << 10))
    program = (
        "import sys\nfrom pathlib import Path\nfrom speechstrata.errors import SpeechstrataError\n"
        "from tests.hold.jobs import FURTHER_JOBS, JOBS\n"
        f"job = next(job for job in (*JOBS, *FURTHER_JOBS) if job.name == {job.name!r})\n"
        "try:\n    job.run(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "except SpeechstrataError as error:\n    print('refused', error)\n"
    )
    command = [sys.executable, "-c", program, str(materials[job.name]), str(tiny_disk / "out")]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=200)
    assert run.returncode == 0, (run.returncode, run.stderr[-2000:])
    if "prepare" not in job.name:  # which needs less
        assert "No space left" in run.stdout, run.stdout
    (tiny_disk / "ballast").unlink()


def test_a_folder_that_cannot_be_written_is_one_error(materials: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for job in SMALL:
        with pytest.raises(SpeechstrataError, match="file"):
            job.run(materials[job.name], tmp_path / "file" / "out")


@pytest.mark.skipif(not os.access("/proc/self", os.R_OK), reason="needs /proc, which nobody can write")
def test_a_read_only_file_system_is_one_error(materials: dict[str, Path]) -> None:
    for job in SMALL:
        with pytest.raises(SpeechstrataError, match="/proc"):
            job.run(materials[job.name], Path("/proc/speechstrata-out"))


@pytest.mark.parametrize(
    ("what", "damage"),
    [
        ("cache/*/T2.word.npy", "cut"),
        ("cache/*/T2.word.npy", "gone"),
        ("cache/*/pass.json", "zeros"),
        ("journal.jsonl", "cut"),
    ],
)
def test_a_damaged_cache_of_a_killed_analysis_is_made_anew(
    materials: dict[str, Path],
    wholes: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    damage: str,
) -> None:
    from speechstrata.analysis import suite

    job = SMALL[0]

    class Killed(BaseException):
        pass

    def dying(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(suite._Analysis, "score_sentences", dying)
        with pytest.raises(Killed):
            job.run(materials[job.name], tmp_path / "run")
    paths = list((tmp_path / "run").glob(what))
    assert paths
    for path in paths:
        whole = path.read_bytes()
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"\0" * len(whole))
    job.run(materials[job.name], tmp_path / "run")
    assert job.result(tmp_path / "run") == wholes[job.name]


@pytest.mark.parametrize("what", ["sample/part-00000.npz", "kmeans.npz", "units/part-00000.npz"])
def test_a_damaged_part_of_killed_targets_is_made_anew(
    materials: dict[str, Path], wholes: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    from speechstrata.pretraining import targets

    job = SMALL[1]

    def dying(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(targets, "write_units", dying)
        with pytest.raises(KeyboardInterrupt):
            job.run(materials[job.name], tmp_path / "run")
    path = next((tmp_path / "run").glob(f"work-*/{what}"))
    path.write_bytes(path.read_bytes()[:100])
    job.run(materials[job.name], tmp_path / "run")
    assert job.result(tmp_path / "run") == wholes[job.name]


def _hold(path: Path, ready: object, done: object) -> None:
    with hold(path):
        ready.set()  # type: ignore[attr-defined]
        done.wait(600)  # type: ignore[attr-defined]


def test_a_second_process_on_the_same_folder_is_sent_away(materials: dict[str, Path], tmp_path: Path) -> None:
    sources = {job.name: materials[job.name] for job in EVERY}
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "run" / LOCK_FILE, ready, done))
    other.start()
    assert ready.wait(300)
    for job in EVERY:
        if job.name == "superb":  # the folder of its run is inside
            (tmp_path / "run" / "ks").symlink_to(tmp_path / "run")
        with pytest.raises(InputError, match="another process is writing to") as refused:
            job.run(sources[job.name], tmp_path / "run")
        assert "\n" not in refused.value.message
    assert {path.name for path in (tmp_path / "run").iterdir()} <= {LOCK_FILE, "ks"}
    other.kill()  # a killed process lets go
    other.join()
    (tmp_path / "run" / "ks").unlink()
    SMALL[1].run(materials["targets"], tmp_path / "run")


@pytest.mark.parametrize("job", EVERY, ids=lambda job: job.name)
def test_the_next_process_goes_on_when_the_first_has_ended(
    job: Job, materials: dict[str, Path], tmp_path: Path
) -> None:
    """The lock's file stays behind, and is in nobody's way."""
    folder = tmp_path / "run" / ("ks" if job.name == "superb" else ".")
    with hold(folder / LOCK_FILE), pytest.raises(InputError, match="another process is writing to"):
        job.run(materials[job.name], tmp_path / "run")
    job.run(materials[job.name], tmp_path / "run")
    job.result(tmp_path / "run")


def test_all_processes_of_a_shared_run_write_to_its_folder(
    materials: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of them holds the folder; the others do not ask."""
    from speechstrata.pretraining import trainer

    def came(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "_pretrain", came)
    job = next(job for job in EVERY if job.name == "pretrain")
    with hold(tmp_path / "run" / LOCK_FILE):
        monkeypatch.setenv("RANK", "1")
        with pytest.raises(KeyboardInterrupt):
            job.run(materials[job.name], tmp_path / "run")
        monkeypatch.setenv("RANK", "0")
        with pytest.raises(InputError, match="another process is writing to"):
            job.run(materials[job.name], tmp_path / "run")


def test_a_probe_corpus_that_could_not_be_finished_is_none(
    materials: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made over a whole one, too: its old description does not stay beside new audio."""
    from speechstrata.superb.corpora.probe_corpus import load_probe_corpus

    job = FURTHER_JOBS[0]
    job.run(materials[job.name], tmp_path / "probe")
    with monkeypatch.context() as patch:
        fill_disk(patch, 1)
        with pytest.raises(InputError, match="No space left"):
            job.run(materials[job.name], tmp_path / "probe")
    with pytest.raises(CorpusError, match="is no probe corpus"):
        load_probe_corpus(tmp_path / "probe")
    job.run(materials[job.name], tmp_path / "probe")
    job.result(tmp_path / "probe")


def test_copies_of_audio_on_a_full_disk_are_one_error(
    materials: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from speechstrata.corpora.prepare import prepare_corpus

    source = materials["corpus prepare"] / "in"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        with pytest.raises(InputError, match="No space left"):
            prepare_corpus("textgrid", source, tmp_path / "copy", copy_audio=True)
    assert not list((tmp_path / "copy" / "audio").iterdir())
    assert not (tmp_path / "copy" / "corpus.json").exists()
    prepare_corpus("textgrid", source, tmp_path / "copy", copy_audio=True)
    assert len(list((tmp_path / "copy" / "audio").rglob("*.wav"))) == 60


def test_writes_of_two_threads_leave_one_of_the_two(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    texts = [str(number) * 100_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: write_text(tmp_path / "file", text), texts * 5))
    assert (tmp_path / "file").read_text() in texts
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
def test_jobs_killed_at_random_moments_end_as_undisturbed_ones(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/kill.py", "--kills", "1", "--scratch", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]
    assert run.stdout.count(" 0 wrong") == len(JOBS)
