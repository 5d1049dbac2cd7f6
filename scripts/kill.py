"""Kill the long jobs at random moments, run them again, and compare with an undisturbed run.

    python scripts/kill.py --kills 12            # of each job: analyze, targets, pretrain, superb, corpus prepare

The jobs are small (``tests/hold/jobs.py``). Each runs in a child process, which is ended by SIGKILL after a time drawn
between nothing and what the undisturbed run took; a run is killed one to three times before it may end. Exit code 1
where a result differs or a run does not end.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def start(job, material: Path, output: Path) -> int:
    """A child process that runs the job; its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setsid()
        with (output.parent / "log.txt").open("a") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            job.run(material, output)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def outcome(job, output: Path) -> str:
    """A digest of the job's result; what is wrong with it where there is none. In a child, which may start threads."""
    told = output.parent / f"{output.name}.outcome"
    child = os.fork()
    if not child:
        try:
            told.write_text(hashlib.sha256(repr(job.result(output)).encode()).hexdigest())
        except BaseException as error:
            told.write_text(f"{type(error).__name__}: {error}")
        os._exit(0)
    os.waitpid(child, 0)
    return told.read_text()


def ended(child: int, seconds: float | None = None) -> int | None:
    """The exit code; ``None`` where the child was killed after ``seconds``."""
    limit = time.monotonic() + (200 if seconds is None else seconds)
    while time.monotonic() < limit:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def main() -> int:
    import lightning  # noqa: F401
    import torch

    from tests.hold.jobs import JOBS

    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--kills", type=int, default=12, help="of each job")
    given.add_argument("--jobs", nargs="+", default=[job.name for job in JOBS])
    given.add_argument("--seed", type=int, default=0)
    given.add_argument("--scratch", type=Path, default=None)
    arguments = given.parse_args()
    torch.set_num_threads(1)
    rng = random.Random(arguments.seed)
    scratch = arguments.scratch or Path(tempfile.mkdtemp(prefix="kill-"))
    bad = 0
    for job in (job for job in JOBS if job.name in arguments.jobs):
        folder = scratch / job.name.replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "material").mkdir(parents=True)
        child = os.fork()  # nothing that a job starts (threads, above all) is in this process
        if not child:
            job.prepare(folder / "material")
            os._exit(0)
        os.waitpid(child, 0)
        seconds = 0.0
        for name in ("warm", "whole"):
            began = time.monotonic()
            if ended(start(job, folder / "material", folder / name)) != 0:
                print((folder / "log.txt").read_text()[-2000:])
                return 1
            seconds = time.monotonic() - began
        expected = outcome(job, folder / "whole")
        assert " " not in expected, expected
        assert expected == outcome(job, folder / "warm"), f"{job.name} does not repeat itself"
        kills, run, wrong, late = 0, 0, 0, 0
        while kills < arguments.kills:
            run += 1
            output = folder / f"run-{run}"
            planned = rng.randint(1, 3)
            code: int | None = None
            for _ in range(min(planned, arguments.kills - kills)):
                code = ended(start(job, folder / "material", output), rng.uniform(0, seconds))
                if code is not None:
                    late += 1
                    break  # it was faster than the hand that should kill it
                kills += 1
            if code is None:
                code = ended(start(job, folder / "material", output))
            found = outcome(job, output)
            same = code == 0 and found == expected
            wrong += not same
            if same:
                shutil.rmtree(output)
            else:
                print(f"{job.name}, run {run}: exit code {code}, {found}; see {output}", flush=True)
        bad += wrong
        print(
            f"{job.name:<16}{kills:>4} kills, {run:>3} runs of {seconds:5.1f} s, {wrong} wrong, {late} too late",
            flush=True,
        )
    print(f"scratch: {scratch}")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
