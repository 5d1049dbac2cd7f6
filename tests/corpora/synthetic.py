"""Tiny corpora of noise, for tests."""

from pathlib import Path

import numpy as np
import soundfile


def write_noise(path: Path, seconds: float = 1.0, rate: int = 16_000, channels: int = 1, seed: int = 0) -> Path:
    """A file of noise; every seed another one."""
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, (round(seconds * rate), channels)).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise, rate)
    return path


def write_nan(path: Path) -> Path:
    """A file with a sample that is not a number."""
    samples = np.zeros(16_000, dtype=np.float32)
    samples[77] = np.nan
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    return path


def textgrid(tiers: dict[str, list[tuple[float, float, str]]], end: float) -> str:
    """A TextGrid in Praat's long format."""
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {end}"]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, intervals) in enumerate(tiers.items(), start=1):
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{name}"']
        lines += ["        xmin = 0", f"        xmax = {end}", f"        intervals: size = {len(intervals)}"]
        for place, (first, last, label) in enumerate(intervals, start=1):
            quoted = label.replace('"', '""')
            lines += [f"        intervals [{place}]:", f"            xmin = {first}", f"            xmax = {last}"]
            lines += [f'            text = "{quoted}"']
    return "\n".join(lines) + "\n"


def short_textgrid(tiers: dict[str, list[tuple[float, float, str]]], end: float) -> str:
    """The same in Praat's short format, with a point tier before the others."""
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "0", str(end), "<exists>"]
    lines += [str(len(tiers) + 1), '"TextTier"', '"notes"', "0", str(end), "1", "0.5", '"a cough"']
    for name, intervals in tiers.items():
        lines += ['"IntervalTier"', f'"{name}"', "0", str(end), str(len(intervals))]
        for first, last, label in intervals:
            quoted = label.replace('"', '""')
            lines += [str(first), str(last), f'"{quoted}"']
    return "\n".join(lines) + "\n"
