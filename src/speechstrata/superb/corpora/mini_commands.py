"""Mini corpora for IC and SF: commands from templates with slots, spoken by espeak-ng voices.

Split by voice, as Audio SNIPS is: no voice of dev or test is heard in training. Formant synthesis is far from real
speech; what such a corpus tells is which layers carry words through a change of voice.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speechstrata.audio import resample
from speechstrata.corpora.espeak import DIALECTS, VARIANTS, Utterance, speak_all
from speechstrata.progress import ProgressBar
from speechstrata.seeds import generator
from speechstrata.superb.corpora.audio import RATE, example, write_audio
from speechstrata.superb.corpora.probe_corpus import ProbeCorpus, withdraw, write_probe_corpus

_SEED = 0
_SIZES = {"train": 960, "dev": 160, "test": 300}
#: Voices of each split; of 24, in the order of a shuffle.
_VOICES = {"train": 12, "dev": 5, "test": 7}
_LICENCE = "text: Apache-2.0, of speechstrata; speech: made with espeak-ng"
_SOURCE = "templates of speechstrata, espeak-ng"

#: action -> (phrases before the object, objects)
_ACTIONS: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "activate": (("turn on the", "switch on the", "start the"), ("lights", "heating", "fan", "radio", "kettle")),
    "deactivate": (("turn off the", "switch off the", "stop the"), ("lights", "heating", "fan", "radio", "kettle")),
    "increase": (("turn up the", "increase the", "raise the"), ("volume", "temperature", "brightness")),
    "decrease": (("turn down the", "lower the", "reduce the"), ("volume", "temperature", "brightness")),
    "open": (("open the", "please open the"), ("window", "curtains", "door", "garage")),
    "close": (("close the", "please shut the"), ("window", "curtains", "door", "garage")),
}
_PLACES = ("none", "kitchen", "bedroom", "bathroom", "hall", "office")

_SLOTS: Mapping[str, Sequence[str]] = {
    "city": ("london", "new york", "madrid", "berlin", "cairo", "san francisco", "oslo", "rome", "tokyo", "glasgow"),
    "day": ("today", "tomorrow", "monday", "tuesday", "friday", "next week", "sunday morning"),
    "time": ("six", "seven thirty", "noon", "half past nine", "midnight", "ten", "quarter past four"),
    "artist": ("the beatles", "mozart", "queen", "david bowie", "nina simone", "bach", "miles davis", "abba"),
    "playlist": ("road trip", "morning coffee", "party", "sleep", "running", "old favourites"),
    "number": ("two", "three", "four", "five", "six", "eight", "ten"),
    "food": ("italian", "indian", "mexican", "chinese", "greek", "french"),
    "item": ("milk", "bread", "apples", "coffee", "orange juice", "soap", "green tea", "batteries"),
    "book": ("treasure island", "the odyssey", "emma", "moby dick", "great expectations"),
    "rating": ("one star", "two stars", "three stars", "four stars", "five stars"),
}
_TEMPLATES = (
    "what is the weather in {city} {day}",
    "will it rain in {city} {day}",
    "how cold is it in {city}",
    "wake me up at {time}",
    "set an alarm for {time} {day}",
    "play some music by {artist}",
    "play {artist} from my {playlist} playlist",
    "add this song by {artist} to {playlist}",
    "book a table for {number} at {time}",
    "find an {food} restaurant in {city}",
    "reserve a table for {number} at a {food} place {day}",
    "put {item} on the shopping list",
    "add {number} {item} to my list",
    "give {book} {rating}",
    "rate {book} with {rating}",
    "read {book} to me at {time}",
    "stop the music",
    "what can you do",
)


@dataclass(frozen=True)
class Spoken:
    """What is said, and its labels."""

    text: str
    label: dict[str, Any]


def mini_ic(output: Path) -> ProbeCorpus:
    """Commands with an action, an object and a place."""
    return _speak("ic", output, _commands(), "smart-home commands with action, object and location")


def mini_sf(output: Path) -> ProbeCorpus:
    """Requests with slots."""
    return _speak("sf", output, _requests, "requests with ten kinds of slots")


def _commands() -> Callable[[np.random.Generator], Spoken]:
    every = [
        Spoken(
            f"{phrase} {thing}" + ("" if place == "none" else f" in the {place}"),
            {"intent": {"action": action, "object": thing, "location": place}},
        )
        for action, (phrases, things) in _ACTIONS.items()
        for phrase, thing, place in itertools.product(phrases, things, _PLACES)
    ]
    return lambda random: every[int(random.integers(len(every)))]


def _requests(random: np.random.Generator) -> Spoken:
    words: list[str] = []
    slots: list[str] = []
    for part in _TEMPLATES[int(random.integers(len(_TEMPLATES)))].split():
        name = part.strip("{}")
        filled = _SLOTS[name][int(random.integers(len(_SLOTS[name])))].split() if part != name else [part]
        words += filled
        slots += [name if part != name else "O"] * len(filled)
    return Spoken(" ".join(words), {"words": words, "slots": slots})


def _speak(task: str, output: Path, draw: Callable[[np.random.Generator], Spoken], description: str) -> ProbeCorpus:
    voices = [f"{dialect}+{variant}" for dialect, variant in itertools.product(DIALECTS, VARIANTS)]
    order = [voices[number] for number in generator(_SEED, "mini-voices").permutation(len(voices))]
    bounds = np.cumsum([0, *_VOICES.values()])
    own = {split: order[bounds[n] : bounds[n + 1]] for n, split in enumerate(_VOICES)}
    plan: list[tuple[str, str, Spoken, Utterance, np.random.Generator]] = []
    for split, size in _SIZES.items():
        for number in range(size):
            random = generator(_SEED, f"mini-{task}", split, number)
            spoken, voice = draw(random), own[split][int(random.integers(len(own[split])))]
            said = Utterance(spoken.text, voice, int(random.integers(130, 190)), int(random.integers(35, 65)))
            plan.append((split, f"{task}-{split}-{number:05d}", spoken, said, random))
    withdraw(output)
    splits: dict[str, list[Any]] = {split: [] for split in _SIZES}
    with ProgressBar(f"mini-{task}", total=len(plan), unit="utterances") as bar:
        waves = speak_all([said for _, _, _, said, _ in plan])
        for (split, name, spoken, said, random), (wave, rate) in zip(plan, waves, strict=True):
            noise = 10 ** random.uniform(-3.5, -2.5) * random.standard_normal(len(wave))
            samples = resample((0.5 * wave + noise).astype(np.float32), rate, RATE)
            audio = write_audio(output / "audio" / split / f"{name}.flac", samples)
            splits[split].append(example(name, audio, text=spoken.text, speaker=said.voice, label=spoken.label))
            bar.advance()
    return write_probe_corpus(
        output,
        task=task,
        name=f"mini-{task}",
        splits=splits,
        mini=True,
        licence=_LICENCE,
        source=_SOURCE,
        description=f"{description}, spoken by espeak-ng voices",
        details={"voices": own, "seed": _SEED},
    )
