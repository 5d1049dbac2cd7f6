"""The other end of :mod:`speechstrata.mrhubert.cost_worker`: a model in a process of its own, to be asked."""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Self

from speechstrata.errors import EncoderError


class CostProcess:
    """A process that has loaded one model; a context manager, which ends it.

    Args:
        model, mode, device, threads: see :func:`speechstrata.mrhubert.cost.measure_cost`.

    Raises:
        EncoderError: the model cannot be loaded, or the process died.

    Attributes:
        model: as given.
        facts: what the model is; see :attr:`speechstrata.mrhubert.cost_worker.Session.facts`.
    """

    def __init__(self, model: str, mode: str, device: str, threads: int) -> None:
        self.model, self._mode = model, mode
        number = str(threads)
        with ExitStack() as stack:
            self._errors = stack.enter_context(tempfile.TemporaryFile("w+"))
            self._process = subprocess.Popen(
                [sys.executable, "-m", "speechstrata.mrhubert.cost_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                env=os.environ | {"OMP_NUM_THREADS": number, "MKL_NUM_THREADS": number},
            )
            stack.callback(self._end)
            self.facts = self._ask({"model": model, "mode": mode, "device": device, "threads": threads})
            self._stack = stack.pop_all()

    def ask(self, what: str, seconds: float) -> dict[str, Any]:
        """See :meth:`speechstrata.mrhubert.cost_worker.Session.answer`.

        Raises:
            EncoderError: the process died.
        """
        return self._ask({"do": what, "seconds": seconds})

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # it has died; its last words follow
            print(json.dumps(question), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._errors.seek(0)
            last = (self._errors.read().strip().splitlines() or ["no message"])[-1]
            raise EncoderError(
                f"measuring {self.model} ({self._mode}) ended with code {code}: {last}",
                "if memory ran out, give shorter lengths or fewer models",
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise EncoderError(answer["error"], answer["remedy"])
        return answer

    def _end(self) -> None:
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):  # what it died before reading is still in the buffer
                stream.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
