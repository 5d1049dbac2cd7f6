"""Noises for enhancement mixtures: sound effects and music, apart by split; and mixing at a wanted SNR."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechstrata.audio import read_audio
from speechstrata.corpora.audio_files import find_audio
from speechstrata.corpora.debian import read_from_package
from speechstrata.errors import CorpusError
from speechstrata.files import atomic_path
from speechstrata.seeds import generator
from speechstrata.superb.corpora.audio import RATE

_SEED = 0
#: Shares of the noises that train, dev and test have.
_BOUNDS = {"train": (0.0, 0.6), "dev": (0.6, 0.8), "test": (0.8, 1.0)}
#: Quieter recordings (root mean square) are no noise.
_SILENT = 0.01
MUSIC_LICENCE = "of its recordings (asterisk-moh-opsound: CC-BY-SA-3.0)"
#: What Debian's package asterisk-moh-opsound-g722 holds.
_MUSIC = (
    "macroform-cold_day.g722",
    "macroform-robot_dity.g722",
    "macroform-the_simplicity.g722",
    "manolo_camp-morning_coffee.g722",
    "reno_project-system.g722",
)


def noises_by_split(source: Path, music: Path | None, unpacked: Path) -> dict[str, list[list[Path]]]:
    """For each split the kinds of noise, and of each kind the recordings that no other split has.

    Args:
        source: a corpus folder with sound effects in ``effects``.
        music: a folder, or Debian's package asterisk-moh-opsound-g722.
        unpacked: folder for what is in the package.

    Raises:
        CorpusError: no sound effects, or too few noises of a kind for three splits.
    """
    folder = Path(source) / "effects"
    if not folder.is_dir():
        raise CorpusError(f"{source} has no sound effects (folder 'effects')", "prepare amazon-queen anew")
    kinds = [folder] if music is None else [folder, _music_folder(music, unpacked)]
    noises: dict[str, list[list[Path]]] = {split: [] for split in _BOUNDS}
    for kind in kinds:
        files = find_audio(kind)
        loud = [path for path in files if np.sqrt(np.mean(read_audio(path, RATE) ** 2)) > _SILENT]
        order = generator(_SEED, "mini-se", "noises").permutation(len(loud))
        for split, (first, last) in _BOUNDS.items():
            own = [loud[number] for number in order[round(first * len(loud)) : round(last * len(loud))]]
            if not own:
                raise CorpusError(f"{kind} has {len(loud)} noises, too few for three splits", "give at least five")
            noises[split].append(own)
    return noises


def mixed(
    clean: NDArray[np.float32], noise: NDArray[np.float32], snr: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Clean and noisy speech at ``snr`` decibels, both scaled down together where the mixture would clip."""
    power = float(np.mean(clean.astype(np.float64) ** 2)), float(np.mean(noise.astype(np.float64) ** 2))
    gain = np.sqrt(power[0] / max(power[1], 1e-12) / 10 ** (snr / 10))
    noisy = clean + np.float32(gain) * noise
    scale = np.float32(min(1.0, 0.98 / max(float(np.abs(noisy).max()), float(np.abs(clean).max()), 1e-6)))
    return clean * scale, noisy * scale


def stretch(noise: NDArray[np.float32], samples: int, random: np.random.Generator) -> NDArray[np.float32]:
    """A part of the noise of that length, repeated where it is too short."""
    repeated = np.tile(noise, -(-samples // len(noise)) + 1) if len(noise) < samples else noise
    start = int(random.integers(len(repeated) - samples + 1))
    return repeated[start : start + samples]


def _music_folder(music: Path, unpacked: Path) -> Path:
    if not music.is_file():
        return music.resolve()
    for name, data in read_from_package(music, _MUSIC).items():
        with atomic_path(unpacked / name) as partial:
            partial.write_bytes(data)
    return unpacked
