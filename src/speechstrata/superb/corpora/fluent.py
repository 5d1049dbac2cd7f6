"""IC on Fluent Speech Commands, by its official CSV files."""

from pathlib import Path

from speechstrata.superb.corpora.audio import example, recording
from speechstrata.superb.corpora.folders import read_rows, require
from speechstrata.superb.corpora.probe_corpus import ProbeCorpus, write_probe_corpus

_SPLITS = {"train": "data/train_data.csv", "dev": "data/valid_data.csv", "test": "data/test_data.csv"}
_SETS = ("action", "object", "location")


def fluent_speech_commands(source: Path, output: Path) -> ProbeCorpus:
    """Prepare it.

    Args:
        source: the folder ``fluent_speech_commands_dataset``, or the one above it.
        output: folder to make; the audio stays where it is.

    Raises:
        CorpusError: it is another folder.
    """
    inner = source / "fluent_speech_commands_dataset"
    root = inner if inner.is_dir() else source
    require(root, [*_SPLITS.values(), "wavs"], "Fluent Speech Commands")
    splits = {}
    for split, table in _SPLITS.items():
        splits[split] = [
            example(
                Path(row["path"]).stem,
                recording(root / row["path"]),
                text=row["transcription"],
                speaker=row["speakerId"],
                label={"intent": {name: row[name] for name in _SETS}},
            )
            for row in read_rows(root / table, ["path", "speakerId", "transcription", *_SETS])
        ]
    return write_probe_corpus(
        output,
        task="ic",
        name="fluent-speech-commands",
        splits=splits,
        mini=False,
        licence="Fluent Speech Commands Public License",
        source="Fluent Speech Commands (fluent.ai)",
        description="spoken smart-home commands with action, object and location",
    )
