"""Package what ``scripts/train_family.sh`` trained: weights with their cards, and the records of all runs.

    python scripts/package_family.py training --rename corpora/queen=corpora/queen

writes ``src/speechstrata/mrhubert/weights/NAME`` (seed 1, half precision) and ``results/tiny-family/RUN`` (settings,
origin, curves and summary of every finished run). ``--rename OLD=NEW`` takes a machine's own paths out of the records.
"""

import argparse
from pathlib import Path
from typing import Any

import yaml

from speechstrata.encoders.registry import PACKAGED_NAMES
from speechstrata.files import read_json, write_text
from speechstrata.mrhubert.config import NetworkConfig, block_plan
from speechstrata.mrhubert.packaged import package_model

ROOT = Path(__file__).parents[1]
RECORDS = ("config.yaml", "run.json", "summary.json", "train.csv", "validation.csv")

CARD = Path(__file__).with_name("model_card.md")


def card(folder: Path, renames: list[tuple[str, str]]) -> str:
    """The model card of a run folder."""
    recipe = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    run, summary = read_json(folder / "run.json"), read_json(folder / "summary.json")
    network = NetworkConfig.from_dict({k: v for k, v in run["network"].items() if k in NetworkConfig.__annotations__})
    scores: dict[str, Any] = summary["validation"]
    accuracies = [scores[f"masked_accuracy_{head}"] for head in range(network.head_count)]
    milliseconds = 1000 / network.sample_rate
    blocks = [f"{block.layers} x {float(block.stride) * milliseconds:g} ms" for block in block_plan(network)]
    return CARD.read_text(encoding="utf-8").format(
        name=recipe["name"],
        about=recipe["about"],
        parameters=f"{parameters(folder) / 1e6:.2f} M",
        blocks=", ".join(blocks),
        hours=run["training"]["hours"],
        speakers=len([speaker for speaker in run["speakers"]["train"] if speaker]),
        audio=summary["audio_hours"],
        steps=summary["steps"],
        classes=network.classes[0],
        span=recipe["masking"]["span"],
        precision=recipe["run"]["precision"],
        seed=recipe["seed"],
        loss=scores["loss"],
        heads="one head" if network.head_count == 1 else f"{network.head_count} heads, summed",
        accuracy=", ".join(f"{value:.3f}" for value in accuracies) + (" (finest first)" if len(accuracies) > 1 else ""),
        held_out=", ".join([*run["speakers"]["validation"], *run["speakers"]["test"]]),
        command=renamed(run["command"], renames),
        run=folder.name,
    )


def parameters(folder: Path) -> int:
    """How many a run's model has."""
    from safetensors import safe_open

    with safe_open(folder / "model" / "model.safetensors", "pt") as file:
        return sum(file.get_tensor(key).numel() for key in file.keys())  # noqa: SIM118 - no mapping


def renamed(text: str, renames: list[tuple[str, str]]) -> str:
    """``text`` with every old path replaced by its new one."""
    for old, new in renames:
        text = text.replace(old, new)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("training", type=Path, help="output folder of scripts/train_family.sh")
    parser.add_argument("--rename", nargs="*", default=[], metavar="OLD=NEW")
    given = parser.parse_args()
    renames = [(old, new) for old, _, new in (text.partition("=") for text in given.rename)]
    for folder in sorted(path.parent for path in given.training.glob("*/summary.json")):
        for name in RECORDS:
            text = renamed((folder / name).read_text(encoding="utf-8"), renames)
            write_text(ROOT / "results" / "tiny-family" / folder.name / name, text)
        recipe, _, seed = folder.name.rpartition("-s")
        if recipe in PACKAGED_NAMES and seed == "1":
            target = ROOT / "src" / "speechstrata" / "mrhubert" / "weights" / recipe
            package_model(folder / "model", target, card(folder, renames))
            print(f"{target.relative_to(ROOT)}  {(target / 'model.safetensors').stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
