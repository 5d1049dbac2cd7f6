"""SE on VoiceBank-DEMAND: 28 speakers to train on, p226 and p287 of them kept for dev."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from speechstrata.errors import CorpusError
from speechstrata.superb.corpora.audio import example, recording
from speechstrata.superb.corpora.folders import require
from speechstrata.superb.corpora.probe_corpus import ProbeCorpus, write_probe_corpus

DEV_SPEAKERS = ("p226", "p287")
_FOLDERS = ("clean_trainset_28spk_wav", "noisy_trainset_28spk_wav", "clean_testset_wav", "noisy_testset_wav")


def voicebank_demand(source: Path, output: Path) -> ProbeCorpus:
    """Prepare it.

    Args:
        source: the folder with the four folders of clean and noisy recordings (any sample rate).
        output: folder to make; the audio stays where it is.

    Raises:
        CorpusError: it is another folder, or a recording has no counterpart.
    """
    require(source, _FOLDERS, "VoiceBank-DEMAND")
    training = list(_cuts(source / _FOLDERS[0], source / _FOLDERS[1]))
    speaker = {cut.id: cut.id.partition("_")[0] for cut in training}
    return write_probe_corpus(
        output,
        task="se",
        name="voicebank-demand",
        splits={
            "train": [cut for cut in training if speaker[cut.id] not in DEV_SPEAKERS],
            "dev": [cut for cut in training if speaker[cut.id] in DEV_SPEAKERS],
            "test": list(_cuts(source / _FOLDERS[2], source / _FOLDERS[3])),
        },
        mini=False,
        licence="CC-BY-4.0",
        source="VoiceBank-DEMAND, Valentini-Botinhao (2017), 28 speakers",
        description="read English in noise",
    )


def _cuts(clean: Path, noisy: Path) -> Iterator[Any]:
    for path in sorted(noisy.glob("*.wav")):
        counterpart = clean / path.name
        if not counterpart.is_file():
            raise CorpusError(f"{path} has no clean counterpart {counterpart}", "download it again")
        name = path.stem
        yield example(name, recording(path), custom={"clean": recording(counterpart, f"{name}-clean")})
