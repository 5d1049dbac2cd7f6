"""The errors that a user can mend; the command line prints them as one line, without a traceback."""

from importlib.util import find_spec


class SpeechstrataError(Exception):
    """Something the user can mend: the message names what was wrong, where, and the remedy.

    Args:
        message: what is wrong, with the file and the offending value.
        remedy: what to do about it; printed after the message.
    """

    def __init__(self, message: str, remedy: str | None = None) -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(message if remedy is None else f"{message} — {remedy}")


class InputError(SpeechstrataError):
    """An input file, folder or value cannot be used."""


class EncoderError(SpeechstrataError):
    """A model cannot be found, read, or is not a speech encoder."""


class CheckpointError(EncoderError):
    """A checkpoint is broken, hostile, or of an unknown dialect."""


class CorpusError(SpeechstrataError):
    """A corpus cannot be found, read or prepared."""


class TooFewSamplesError(SpeechstrataError):
    """A score needs more samples (spans, frames, pairs) than there are."""


class MissingExtraError(SpeechstrataError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed",
            f'install it with: pip install "speechstrata[{extra}]"',
        )


def require(package: str, extra: str, purpose: str) -> None:
    """See that an optional dependency is there, before modules that import it are loaded.

    Args:
        package: the module's name.
        extra: of this project, which brings it.
        purpose: what it is needed for.

    Raises:
        MissingExtraError: it is not installed.
    """
    if find_spec(package) is None:
        raise MissingExtraError(package, extra, purpose)
