"""A small corpus of tones that stand for words and phones, and a small encoder, for tests of the whole job."""

from pathlib import Path

import numpy as np
import soundfile
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.supervision import AlignmentItem
from transformers import HubertConfig, HubertModel

RATE = 16_000
WORDS = tuple(f"word{number}" for number in range(12))
PHONES = ("AA1", "B", "K", "T")


def make_corpus(folder: Path, utterances: int = 24, seed: int = 0, broken: tuple[int, ...] = ()) -> Path:
    """Write waveforms and a lhotse manifest: each word is three phones of 80 ms; each phone a chord of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    cuts = []
    for number in range(utterances):
        sequence = rng.integers(len(WORDS), size=int(rng.integers(6, 11)))
        seconds = 0.2 + 0.26 * len(sequence)
        wave = 0.01 * rng.standard_normal(int(seconds * RATE))
        words, phones = [], []
        for place, word in enumerate(sequence):
            start = round(0.1 + 0.26 * place, 2)
            words.append(AlignmentItem(WORDS[word], start, 0.24))
            for part in range(3):
                phone = (word + part * (1 + word // 4)) % 4
                begin = round(start + 0.08 * part, 2)
                phones.append(AlignmentItem(PHONES[phone], begin, 0.08))
                time = np.arange(int(0.08 * RATE)) / RATE
                first = int(begin * RATE)
                wave[first : first + len(time)] += 0.2 * np.sin(2 * np.pi * (300 + 450 * phone + 20 * word) * time)
        name = f"utterance-{number:02d}"
        path = folder / f"{name}.wav"
        soundfile.write(path, wave, RATE)
        recording = Recording.from_file(path)
        if number in broken:
            path.write_bytes(b"this was audio once")
        supervision = SupervisionSegment(
            id=name,
            recording_id=recording.id,
            start=0.0,
            duration=recording.duration,
            text=" ".join(WORDS[word] for word in sequence),
            speaker=f"speaker-{number % 3}",
            alignment={"word": words, "phone": phones},
        )
        cuts.append(
            MonoCut(
                id=name,
                start=0.0,
                duration=recording.duration,
                channel=0,
                recording=recording,
                supervisions=[supervision],
            )
        )
    manifest = folder / "cuts.jsonl.gz"
    CutSet.from_cuts(cuts).to_file(manifest)
    return manifest


def make_encoder(folder: Path, *, poison: bool = False) -> Path:
    """Write a HuBERT of two small layers with random weights; ``poison`` makes its last layer's states NaN."""
    import torch

    torch.manual_seed(0)
    config = HubertConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(12,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    model = HubertModel(config)
    if poison:
        with torch.no_grad():
            model.encoder.layers[1].final_layer_norm.weight.fill_(float("nan"))
    model.save_pretrained(folder)
    return folder
