"""The training and validation curves as CSV, cut back to the step that a run resumes from."""

import csv
import io
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from speechstrata.errors import InputError
from speechstrata.files import write_text

_STEP = "step"


class CurveLogger(Logger):
    """``train.csv`` and ``validation.csv``: a line per logged step, every digit of every number.

    They hold nothing that differs from one run to the next, times included, so curves of equal runs are equal files.

    Args:
        folder: the run's.
        resume_step: lines after this step, written by a run that was killed before its next checkpoint, are removed.
    """

    def __init__(self, folder: Path, resume_step: int) -> None:
        super().__init__()
        self._folder = folder
        self._columns: dict[str, list[str]] = {}
        if rank_zero_only.rank == 0:
            for path in (folder / "train.csv", folder / "validation.csv"):
                if path.exists():
                    self._columns[path.stem] = _cut(path, resume_step)

    @property
    def name(self) -> str:
        """For Lightning."""
        return "curves"

    @property
    def version(self) -> str:
        """For Lightning."""
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The run's ``config.yaml`` holds them."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append ``{"train/loss": ...}`` to ``train.csv``, and so on.

        Raises:
            InputError: the file cannot be written.
        """
        if rank_zero_only.rank != 0:
            return
        for stage in {name.partition("/")[0] for name in metrics} & {"train", "validation"}:
            values = {
                name.partition("/")[2]: float(value) for name, value in metrics.items() if name.startswith(f"{stage}/")
            }
            path = self._folder / f"{stage}.csv"
            try:
                with path.open("a", newline="", encoding="utf-8") as file:
                    writer = csv.writer(file, lineterminator="\n")
                    if stage not in self._columns:
                        self._columns[stage] = [_STEP, *values]
                        writer.writerow(self._columns[stage])
                    writer.writerow([step, *(repr(values[name]) for name in self._columns[stage][1:])])
            except OSError as error:
                raise InputError(
                    f"cannot write {path}: {error.strerror}", "free some space and run the same command again"
                ) from error


def read_curve(path: Path | str) -> list[dict[str, float]]:
    """The lines of a curve; whole lines only, whatever a kill left behind.

    Raises:
        InputError: there is no such file.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", "check the run's folder") from error
    whole = text[: text.rfind("\n") + 1]
    rows = []
    for row in csv.DictReader(io.StringIO(whole)):
        if None not in row.values():
            rows.append({name: float(value) for name, value in row.items()})
    return rows


def _cut(path: Path, last_step: int) -> list[str]:
    """Remove lines after ``last_step`` and a torn last line; gives the columns."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines[1:] if line.endswith("\n") and int(line.partition(",")[0]) <= last_step]
    write_text(path, "".join([*lines[:1], *kept]))
    return next(csv.reader(lines[:1]), [_STEP])
