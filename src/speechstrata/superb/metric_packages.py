"""The libraries that decode and score predictions; all come with the extra ``superb``."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from speechstrata.errors import MissingExtraError

_PACKAGES = {"ctc_beam_decoder": "ctc-beam-decoder", "pyannote.metrics.diarization": "pyannote.metrics"}


def metric_package(module: str, purpose: str) -> Any:
    """The imported module.

    Args:
        module: to import.
        purpose: for the message, "scoring ..." for example.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(_PACKAGES.get(module, module), "superb", purpose) from error


def error_rate(references: Sequence[str], hypotheses: Sequence[str], unit: str) -> float:
    """Edits over the length of the references, of a whole split.

    Args:
        references: words separated by single spaces.
        hypotheses: likewise.
        unit: ``word``, or ``character`` (spaces within an utterance count).

    Returns:
        The rate, above 1 where there are more edits than units; NaN where the references are all empty.

    Raises:
        MissingExtraError: without jiwer.
    """
    jiwer = metric_package("jiwer", f"the {unit} error rate")
    process = jiwer.process_words if unit == "word" else jiwer.process_characters
    found = process(list(references), list(hypotheses))
    length = found.hits + found.substitutions + found.deletions
    edits = found.substitutions + found.deletions + found.insertions
    return edits / length if length else float("nan")
