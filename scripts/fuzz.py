"""Coverage-guided fuzzing of the parsers, with atheris (``pip install atheris``; not a dependency).

    python scripts/fuzz.py --seconds 60                # every parser in turn, each in a process of its own
    python scripts/fuzz.py --parser recipe --seconds 600

Each parser begins with its valid files (``tests/hold/parsers.py``). An exception that is no SpeechstrataError, a
program started, a file written outside of the scratch folder, or 30 seconds on one file end the run; the file that
did it is left in the scratch folder.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

#: Slow to read, and mostly other people's code.
SLOW = ("encoder config", "encoder weights")


def fuzz_one(name: str, seconds: int, scratch: Path) -> None:
    """Fuzz a parser in this process; does not return."""
    import atheris

    with atheris.instrument_imports(include=["speechstrata"]):
        from speechstrata.errors import SpeechstrataError
        from tests.hold.guard import watched
        from tests.hold.parsers import PARSERS

        parser = next(each for each in PARSERS if each.name == name)
        corpus, inside = scratch / "corpus", scratch / "inside"
        corpus.mkdir(parents=True, exist_ok=True)
        others = parser.others()
        for number, seed in enumerate(parser.seeds()):
            (corpus / f"seed-{number}").write_bytes(seed)
            read(parser, seed, others, inside, SpeechstrataError)  # its imports happen before the watch begins

    def test(data: bytes) -> None:
        with watched(scratch) as seen:
            read(parser, data, others, inside, SpeechstrataError)
        if seen:
            raise RuntimeError(f"{name}: {seen}")

    options = [
        f"-max_total_time={seconds}",
        "-timeout=30",
        "-rss_limit_mb=4096",
        "-max_len=20000",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={scratch}/", str(corpus)], test)
    atheris.Fuzz()


def read(parser, data: bytes, others: dict[str, bytes], folder: Path, expected: type[Exception]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in others.items():
        (folder / name).write_bytes(content)
    (folder / parser.file).write_bytes(data)
    with suppress(expected):
        parser.read(folder / parser.file)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--parser", help="one of them; else all but the slow ones")
    arguments.add_argument("--seconds", type=int, default=60, help="for each parser")
    arguments.add_argument("--scratch", type=Path, default=None, help="folder; by default a temporary one")
    arguments.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    scratch = given.scratch or Path(tempfile.mkdtemp(prefix="fuzz-"))
    if given.here:
        fuzz_one(given.parser, given.seconds, scratch)
    from tests.hold.parsers import PARSERS

    names = [given.parser] if given.parser else [each.name for each in PARSERS if each.name not in SLOW]
    failed = 0
    for name in names:
        own = scratch / re.sub(r"\W+", "-", name)
        command = [sys.executable, __file__, "--here", "--parser", name, "--seconds", str(given.seconds)]
        run = subprocess.run(
            [*command, "--scratch", str(own)], capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"}
        )
        log = run.stdout + run.stderr
        count = re.search(r"number_of_executed_units:\s*(\d+)", log)
        coverage = re.findall(r"cov: (\d+)", log)
        verdict = "ok" if run.returncode == 0 else "FAILED"
        failed += run.returncode != 0
        files, edges = count[1] if count else "?", coverage[-1] if coverage else "?"
        print(f"{name:<28}{files:>10} files  {edges:>6} edges  {verdict}", flush=True)
        if run.returncode != 0:
            print("\n".join(log.splitlines()[-40:]), flush=True)
    print(f"{failed} of {len(names)} parsers failed; files in {scratch}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
