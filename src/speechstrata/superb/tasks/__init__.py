"""The six tasks: what is predicted from a sequence of features, how it is scored, and the published recipe of each."""

from importlib import import_module

from speechstrata.errors import InputError
from speechstrata.superb.task import ProbeTask

_CLASSES = {
    "asr": "SpeechRecognition",
    "sf": "SlotFilling",
    "ic": "IntentClassification",
    "ks": "KeywordSpotting",
    "sd": "SpeakerDiarisation",
    "se": "SpeechEnhancement",
}
#: Short names of the tasks, in the order of the paper's Table 2.
TASKS = tuple(_CLASSES)


def load_task(name: str) -> ProbeTask:
    """The task of that short name.

    Raises:
        InputError: there is none.
    """
    if name not in _CLASSES:
        raise InputError(f"there is no task {name!r}", f"one of {', '.join(TASKS)}")
    task: ProbeTask = getattr(import_module(f"{__name__}.{name}"), _CLASSES[name])()
    return task
