"""``speechstrata agwe train``: a corpus with word alignments to two encoders and a vector for each of its words.

An epoch's order and a step's dropout are functions of the seed and their number, and the state is kept after each
epoch, so a run that was stopped goes on to the very weights of an undisturbed one (on the same machine and number of
threads).
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from speechstrata.agwe.config import AgweConfig
from speechstrata.agwe.evaluation import evaluate, test_report
from speechstrata.agwe.material import AgweMaterial, gather
from speechstrata.agwe.model_folder import save_model, write_vectors
from speechstrata.agwe.networks import WordEmbedder
from speechstrata.agwe.objective import multi_view_loss
from speechstrata.corpora.corpus import Corpus, load_corpus
from speechstrata.errors import InputError
from speechstrata.files import LOCK_FILE, hold, read_json, write_json, write_text
from speechstrata.progress import ProgressBar
from speechstrata.provenance import provenance
from speechstrata.seeds import derived_seed, generator
from speechstrata.state_files import read_state, save_state

RESULT, _LAST = "result.json", "last.ckpt"
#: The learning rate falls to this share of it.
_END = 0.01


def train_agwe(corpus: str | Path, output: str | Path, config: AgweConfig) -> dict[str, Any]:
    """Train on a corpus, or go on where an earlier call with the same arguments stopped; a finished run is served.

    Args:
        corpus: a corpus folder or manifest with word alignments (and phones, with ``symbols="phones"``).
        output: the run's folder: ``config.json``, ``run.json`` (versions, fingerprints, speakers), ``metrics.csv`` (a
            row per epoch), ``last.ckpt``, ``network.json`` and ``model.safetensors`` (the best epoch),
            ``vectors.npz`` (every word type of the corpus, for ``analyze --agwe``) and ``result.json``.
        config: of the run.

    Returns:
        What ``result.json`` holds.

    Raises:
        CorpusError: the corpus cannot be read, or has too few words or speakers.
        InputError: the folder holds another run, cannot be written, or another process writes to it.
    """
    output = Path(output)
    loaded = load_corpus(corpus)
    wanted = {"corpus": loaded.name, "fingerprint": loaded.fingerprint, "config": asdict(config)}
    if (output / RESULT).exists():
        _claim(output, wanted)
        served: dict[str, Any] = read_json(output / RESULT)
        return served
    with hold(output / LOCK_FILE):
        _claim(output, wanted)
        return _train(loaded, output, config)


def _train(loaded: Corpus, output: Path, config: AgweConfig) -> dict[str, Any]:
    material = gather(list(loaded.cuts), config)
    _record(output, loaded, material, config)
    model, history, best = _fit(material, config, output)
    save_model(model, config, output)
    embedded = write_vectors(model, material.spelt, output / "vectors.npz")
    report = test_report(model, material)
    result = {
        "corpus": loaded.name,
        "words": embedded,
        "dim": config.dim,
        "best_epoch": best,
        "validation": history[best],
        "test": report,
        "training": {"segments": len(material.train), "words": len(np.unique(material.train.words))},
        "unread": dict(material.unread),
        "threads": torch.get_num_threads(),
    }
    write_json(output / RESULT, result)
    return result


def _fit(material: AgweMaterial, config: AgweConfig, output: Path) -> tuple[WordEmbedder, list[dict[str, float]], int]:
    """Train to the last epoch; gives the best epoch's model, a row of metrics per epoch, and the best one's number."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(config.seed, "agwe", "weights"))
        model = WordEmbedder(material.alphabet, config)
    model.fit_scale(material.train.frames)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    history: list[dict[str, float]] = []
    best, best_state = 0, model.state_dict()
    last = output / _LAST
    if last.exists():
        state = read_state(last, "remove it to begin anew")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        history, best, best_state = state["history"], state["best"], state["best_state"]
        _write_history(output / "metrics.csv", history)  # a run can end between the two writes
    batches = -(-len(material.train) // config.batch)
    with ProgressBar("word embeddings", batches * config.epochs, "steps") as bar:
        bar.advance(batches * len(history))
        for epoch in range(len(history), config.epochs):
            order = generator(config.seed, "agwe", "order", epoch).permutation(len(material.train))
            model.train()
            losses = []
            for number, chosen in enumerate(np.array_split(order, batches)):
                step = epoch * batches + number
                done = step / (batches * config.epochs)
                for group in optimizer.param_groups:
                    group["lr"] = config.learning_rate * (1 - (1 - _END) * done)
                losses.append(_step(model, optimizer, material, chosen, config, step, done))
                bar.advance()
            history.append({"loss": float(np.mean(losses)), **evaluate(model, material.validation, material.spelt)})
            if history[-1]["cross_view"] >= max(row["cross_view"] for row in history):
                best, best_state = epoch, {name: value.clone() for name, value in model.state_dict().items()}
            save_state(
                {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "history": history,
                    "best": best,
                    "best_state": best_state,
                },
                last,
            )
            _write_history(output / "metrics.csv", history)
    model.load_state_dict(best_state)
    return model, history, best


def _step(
    model: WordEmbedder,
    optimizer: torch.optim.Optimizer,
    material: AgweMaterial,
    chosen: NDArray[np.int64],
    config: AgweConfig,
    step: int,
    done: float,
) -> float:
    """One step; ``done`` of the training, 0 to 1, lies behind it."""
    types, word = np.unique(material.train.words[chosen], return_inverse=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(config.seed, "agwe", "dropout", step))
        spoken = model.spoken([material.train.frames[index] for index in chosen])
        written = model.written([material.spelt[str(name)] for name in types])
    loss = multi_view_loss(spoken, written, torch.from_numpy(word), config.margin, hardest(config, done))
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
    optimizer.step()
    return loss.item()


def hardest(config: AgweConfig, done: float) -> int:
    """How many of the hardest negatives the loss is averaged over when so much of the training is done, 0 to 1."""
    share: float = (config.negatives / config.first_negatives) ** done
    return round(config.first_negatives * share)


def _claim(output: Path, wanted: dict[str, Any]) -> None:
    """Make ``output`` this run's folder, unless it is another run's."""
    path = output / "config.json"
    wanted = json.loads(json.dumps(wanted))
    if not path.exists():
        write_json(path, wanted)
        return
    theirs = read_json(path)
    different = [name for name in ("corpus", "fingerprint") if theirs.get(name) != wanted[name]]
    different += [name for name, value in wanted["config"].items() if theirs.get("config", {}).get(name) != value]
    if different:
        raise InputError(
            f"{output} holds a run with another {', '.join(different)}",
            "continue with the same arguments (they are in its config.json), or choose another --output",
        )


def _record(output: Path, corpus: Corpus, material: AgweMaterial, config: AgweConfig) -> None:
    """Write where the run comes from."""
    speakers = {name: sorted(getattr(material.split, name)) for name in ("train", "validation", "test")}
    write_json(
        output / "run.json",
        provenance([config.seed])
        | {
            "corpus": {"name": corpus.name, "licence": corpus.licence, "fingerprint": corpus.fingerprint},
            "speakers": speakers,
            "segments": {name: len(getattr(material, name)) for name in speakers},
        },
    )


def _write_history(path: Path, history: Sequence[dict[str, float]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", *history[0]])
    writer.writerows([[number, *row.values()] for number, row in enumerate(history)])
    write_text(path, text.getvalue())
