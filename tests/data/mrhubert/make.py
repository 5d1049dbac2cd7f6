"""Make the files beside this one from the golden numbers of the public reference implementations.

    python tests/data/mrhubert/make.py GOLDEN_FOLDER

The golden folder holds tiny random models in the released checkpoint format and what the public code computes with
them (float32, CPU, evaluation mode). The checkpoints are copied whole. Of every stored array each seventh number is
kept, in C order: seven shares no factor with any dimension here, so all channels and all frames are sampled. What
is kept of ``models.json`` is what the tests compare with.
"""

import gzip
import json
import shutil
import sys
from pathlib import Path

import numpy as np

EVERY = 7
HERE = Path(__file__).parent


def sampled(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1)[::EVERY]


def collect(folder: Path, skip: tuple[str, ...] = ()) -> tuple[dict[str, np.ndarray], dict[str, list[int]]]:
    arrays: dict[str, np.ndarray] = {}
    shapes: dict[str, list[int]] = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as stored:
            for key in stored.files:
                if any(part in key for part in skip):
                    continue
                name, array = f"{path.stem}/{key}", stored[key]
                whole = array.dtype.kind in "bi" or array.size < 100
                arrays[name] = array if whole else sampled(array)
                shapes[name] = list(array.shape)
    return arrays, shapes


def main(golden: Path) -> None:
    (HERE / "ckpt").mkdir(exist_ok=True)
    for path in sorted((golden / "ckpt").glob("*.pt")):
        shutil.copyfile(path, HERE / "ckpt" / path.name)
    shutil.copyfile(golden / "waveforms.npz", HERE / "waveforms.npz")
    shapes: dict[str, dict[str, list[int]]] = {}
    for folder in ("forward", "train", "s3prl", "constructed"):
        arrays, shapes[folder] = collect(golden / folder, skip=("logit_",))
        np.savez_compressed(HERE / f"{folder}.npz", **arrays)
    models = {}
    for name, model in json.loads((golden / "models.json").read_text()).items():
        models[name] = {
            key: model.get(key)
            for key in ("n_params", "aliases", "dictionary_sizes", "label_rates", "train_result", "layers", "normalize")
        }
    extra = json.loads((golden / "extra.json").read_text())
    benchmark = json.loads((golden / "s3prl.json").read_text())
    kept = {
        "models": models,
        "pre_residual": extra["pre_residual"],
        "sampling_lengths": extra["conv_adapter_lengths"],
        "s3prl": {
            name: {"names": entry["names"], "factors": entry["factors"], "runs": entry["runs"]}
            for name, entry in benchmark.items()
        },
        "shapes": shapes,
    }
    with gzip.GzipFile(HERE / "golden.json.gz", "wb", mtime=0) as file:
        file.write(json.dumps(kept, sort_keys=True).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
