"""k-means for mutual information: ours against scikit-learn's MiniBatchKMeans with the published settings.

    OMP_NUM_THREADS=1 python benchmarks/bench_kmeans_mi.py                  # synthetic states; about ten minutes
    OMP_NUM_THREADS=1 python benchmarks/bench_kmeans_mi.py --real           # Moonshine's states of the demo corpus
    OMP_NUM_THREADS=1 python benchmarks/bench_kmeans_mi.py --rows 6000 --clusters 500 --seeds 2

20,000 training rows x 768, k = 500 (mini-batches of 1,500) and k = 5,000 (of 4,000), at most 500 iterations.
Times are CPU seconds of the process, so that a busy machine does not move the ratio. Inertia is of the training
rows; MI / H(label) of other rows. The converged k-means is scikit-learn's KMeans (k-means++, to convergence).
"""

import argparse
import resource
import time
from collections.abc import Callable

import faiss
import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans

from speechstrata.analysis.kmeans import fit_kmeans
from speechstrata.analysis.mutual_information import contingency_information, entropy

BATCH = {500: 1500, 5000: 4000}
MAX_ITERATIONS = 500
HELD_OUT = 7000

Rows = NDArray[np.float32]
Fit = Callable[[Rows, int, int], Rows]


def ours(x: Rows, k: int, seed: int) -> Rows:
    return fit_kmeans(x, k, seed=seed).centroids


def mini_batch(x: Rows, k: int, seed: int) -> Rows:
    model = MiniBatchKMeans(k, batch_size=BATCH.get(k, 1500), max_iter=MAX_ITERATIONS, random_state=seed)
    return model.fit(x).cluster_centers_.astype(np.float32)


def converged(x: Rows, k: int, seed: int) -> Rows:
    model = KMeans(k, n_init=1, max_iter=MAX_ITERATIONS, random_state=seed)
    return model.fit(x).cluster_centers_.astype(np.float32)


def synthetic(n: int, dim: int, rng: np.random.Generator) -> tuple[Rows, NDArray[np.intp]]:
    """Rows like pooled phones: 39 uneven classes, each row blended with another class, in a decaying spectrum."""
    share = rng.dirichlet(np.full(39, 3.0))
    labels = rng.choice(39, n, p=share)
    targets = rng.standard_normal((39, 32))
    blend = rng.beta(1.5, 2, n)[:, None]
    hidden = (1 - blend) * targets[labels] + blend * targets[rng.choice(39, n, p=share)]
    hidden += 0.8 * rng.standard_normal((n, 32)) * np.geomspace(2, 0.5, 32)
    mixed = np.tanh(hidden @ rng.standard_normal((32, dim)) / 4)
    noise = rng.standard_normal((n, dim)) * np.geomspace(0.3, 0.03, dim)
    return (mixed + noise @ np.linalg.qr(rng.standard_normal((dim, dim)))[0]).astype(np.float32), labels


def demo_states(n: int, rng: np.random.Generator) -> tuple[Rows, NDArray[np.intp]]:
    """The demo corpus's frames in four layers of Moonshine-tiny side by side, cut to 768 dimensions; their phones."""
    import torch

    from speechstrata.audio import load_cut
    from speechstrata.corpora.demo import load_demo
    from speechstrata.encoders.loading import load_encoder

    encoder = load_encoder("moonshine-tiny")
    wanted = ["T1", "T2", "T4", "T5"]
    clock = encoder.layer("T1")
    names: dict[str, int] = {}
    rows, labels = [], []
    for cut in load_demo().cuts:
        audio = torch.from_numpy(load_cut(cut, encoder.sample_rate))[None]
        states = encoder.hidden_states(audio, torch.tensor([audio.shape[1]]), wanted)
        frames = np.concatenate([states[name].states[0].numpy() for name in wanted], axis=1)[:, :768]
        centres = (clock.offset + float(clock.stride) * np.arange(len(frames))) / encoder.sample_rate
        for phone in cut.supervisions[0].alignment["phone"]:
            inside = (centres >= phone.start) & (centres < phone.end)
            rows.append(frames[inside])
            labels.append(np.full(int(inside.sum()), names.setdefault(phone.symbol, len(names))))
    chosen = rng.permutation(sum(map(len, rows)))[:n]
    return np.concatenate(rows)[chosen], np.concatenate(labels)[chosen]


def measure(
    fit: Fit, train: Rows, held_out: Rows, labels: NDArray[np.intp], k: int, seeds: range
) -> tuple[float, float, float, float]:
    """(CPU seconds, inertia, mean MI / H, its standard deviation) over the seeds."""
    seconds, inertias, informations = [], [], []
    for seed in seeds:
        start = time.process_time()
        centroids = fit(train, k, seed)
        seconds.append(time.process_time() - start)
        inertias.append(float(faiss.knn(train, centroids, 1)[0].sum(dtype=np.float64)))
        clusters = faiss.knn(held_out, centroids, 1)[1][:, 0]
        informations.append(contingency_information(clusters, labels) / entropy(labels))
    return float(np.mean(seconds)), float(np.mean(inertias)), float(np.mean(informations)), float(np.std(informations))


def main() -> None:
    parser = argparse.ArgumentParser(description="k-means for MI against scikit-learn")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=768, help="of the synthetic rows")
    parser.add_argument("--clusters", type=int, nargs="+", default=[500, 5000])
    parser.add_argument("--seeds", type=int, default=3, help="of each; the mini-batch k-means with k > 1,000 runs once")
    parser.add_argument("--real", action="store_true", help="states of the demo corpus instead of synthetic rows")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    wanted = options.rows + HELD_OUT
    x, labels = demo_states(wanted, rng) if options.real else synthetic(wanted, options.dim, rng)
    train, held_out, held_out_labels = x[: options.rows], x[options.rows :], labels[options.rows :]
    print(f"{len(train)} x {x.shape[1]} rows to fit, {len(held_out)} to score, faiss {faiss.__version__}")
    for k in options.clusters:
        results = {}
        fits = {"ours": ours, "MiniBatchKMeans": mini_batch, "converged KMeans": converged}
        for name, fit in fits.items():
            seeds = range(1 if k > 1000 and name == "MiniBatchKMeans" else options.seeds)
            seconds, inertia, information, spread = results[name] = measure(
                fit, train, held_out, held_out_labels, k, seeds
            )
            print(
                f"k = {k}, {name}: {seconds:.2f} CPU s, inertia {inertia:.6g}, "
                f"MI/H {information:.4f} (sd {spread:.4f}, {len(seeds)} seeds)",
                flush=True,
            )
        mine, batch, reference = results["ours"], results["MiniBatchKMeans"], results["converged KMeans"]
        print(
            f"  {batch[0] / mine[0]:.1f}x faster than MiniBatchKMeans, inertia {mine[1] / batch[1] - 1:+.2%} of its; "
            f"MI {mine[2] / reference[2] - 1:+.2%} of the converged k-means', inertia {mine[1] / reference[1] - 1:+.2%}"
        )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
