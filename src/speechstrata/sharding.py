"""Long work shared out over processes and machines: which shard a process is, and where all of them meet.

Shards share a folder and nothing else. Under torchrun they run at the same time and meet at a barrier; in a Slurm
array, or by hand, they run when they like and a last command merges what they left.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from speechstrata.errors import InputError, SpeechstrataError

T = TypeVar("T")

#: How long a shard waits for the others at a barrier.
_PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class Shard:
    """One share of the work.

    Attributes:
        index: of this one, from 0.
        count: of all.
        together: all of them run at the same time, and can meet.
        local: its number on this machine, where that is known: the GPU it should take.
    """

    index: int
    count: int
    together: bool = False
    local: int | None = None

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """This shard's share: every ``count``-th item."""
        return items[self.index :: self.count]

    def device(self, given: str) -> str:
        """``given``; but "cuda" means the GPU with this process's number on the machine."""
        return f"cuda:{self.local}" if given == "cuda" and self.local is not None else given

    def meet(self) -> None:
        """Wait until all shards are here; at once where they do not run together.

        Raises:
            SpeechstrataError: another shard ended.
        """
        if not self.together or self.count == 1:
            return
        from torch import distributed

        try:
            if not distributed.is_initialized():
                distributed.init_process_group("gloo", timeout=_PATIENCE)
            distributed.barrier()
        except RuntimeError as error:
            raise SpeechstrataError(
                f"shard {self}: another shard has stopped", "see its message; the same command continues from here"
            ) from error

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


#: All of the work.
WHOLE = Shard(0, 1)


def parse_shard(text: str, environment: Mapping[str, str] | None = None) -> Shard | None:
    """The shard that ``text`` names; ``None`` for "".

    Args:
        text: "I/N" with I from 0, or "auto": by the variables that torchrun, srun and Slurm arrays set.
        environment: by default the process's own.

    Raises:
        InputError: it is no shard, or "auto" finds none.
    """
    if not text:
        return None
    if text == "auto":
        return _of_environment(os.environ if environment is None else environment)
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if match is None or not int(match[1]) < int(match[2]):
        raise InputError(f"{text!r} is no shard", "give I/N with I from 0 to N-1, as in 0/4, or auto")
    return Shard(int(match[1]), int(match[2]))


def _of_environment(environment: Mapping[str, str]) -> Shard:
    def number(name: str) -> int:
        try:
            return int(environment[name])
        except ValueError as error:
            raise InputError(f"{name} is {environment[name]!r}", "give --shard I/N") from error

    def has(*names: str) -> bool:
        return all(name in environment for name in names)

    if has("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        local = number("LOCAL_RANK") if has("LOCAL_RANK") else None
        return Shard(number("RANK"), number("WORLD_SIZE"), together=True, local=local)
    if has("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_COUNT"):
        first, last, count = (number(f"SLURM_ARRAY_TASK_{name}") for name in ("MIN", "MAX", "COUNT"))
        index = number("SLURM_ARRAY_TASK_ID") - first
        if last - first + 1 != count:
            raise InputError(f"the Slurm array has {count} tasks from {first} to {last}", "number them without gaps")
        return Shard(index, count)
    if has("SLURM_PROCID", "SLURM_NTASKS"):
        return Shard(number("SLURM_PROCID"), number("SLURM_NTASKS"))
    raise InputError(
        "--shard auto found neither torchrun's nor Slurm's variables", "start it with torchrun or srun, or give I/N"
    )
