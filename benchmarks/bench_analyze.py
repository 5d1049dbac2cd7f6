"""What the scores cost beside the forward passes: ``analyze`` against bare passes of the same encoder, in one process.

    python benchmarks/bench_analyze.py --corpus corpora/queen --bare-every 3

The encoder is a HuBERT of base size (95 M) with random weights. "Bare" is transformers' own forward pass over the same
batches, nothing kept. ``analyze`` makes three sample sets of cca-mel, cca-phone, cca-word, cca-glove (with its two
controls) and mi-phone (k = 500) of the 13 Transformer layers, with permutation baselines; cca-intra, cca-inter and
mi-word at k = 5,000 are left out, as is the report.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from lhotse import CutSet
from transformers import HubertConfig, HubertModel

from speechstrata.analysis.config import AnalysisConfig, ComputeConfig, Inputs
from speechstrata.analysis.forward import plan_batches, read_batches
from speechstrata.analysis.model_pass import Utterances
from speechstrata.analysis.suite import analyze
from speechstrata.analysis.vectors import PACKAGED_GLOVE
from speechstrata.corpora.corpus import load_corpus


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default="demo")
    parser.add_argument("--utterances", type=int, help="only the first so many of the corpus")
    parser.add_argument("--batch-seconds", type=float, default=40.0)
    parser.add_argument(
        "--bare-every", type=int, default=1, help="time the bare pass on every n-th batch, scaled by the audio"
    )
    parser.add_argument("--all-layers", action="store_true", help="the convolutional layers too: 21 in all")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        model = HubertModel(HubertConfig()).eval()
        model.save_pretrained(folder / "hubert-base-size")
        corpus = load_corpus(given.corpus)
        cuts = list(corpus.cuts)[: given.utterances]
        manifest = folder / "cuts.jsonl.gz"
        CutSet.from_cuts(cuts).to_file(manifest)
        utterances = Utterances.of_corpus(load_corpus(manifest))
        print(f"{len(cuts)} utterances, {utterances.seconds.sum() / 60:.1f} min, {torch.get_num_threads()} threads")

        plan = plan_batches(utterances.seconds, np.arange(len(cuts)), given.batch_seconds)
        timed = plan[:: given.bare_every]
        share = sum(float(utterances.seconds[batch].sum()) for batch in timed) / float(utterances.seconds.sum())
        start = time.perf_counter()
        with torch.inference_mode():
            for batch in read_batches(timed, 0, lambda number: utterances.load(number, 16_000), 16_000):
                mask = torch.arange(batch.waveforms.shape[1])[None] < batch.lengths[:, None]
                model(batch.waveforms, attention_mask=mask.long())
        bare = (time.perf_counter() - start) / share
        print(f"bare forward passes        {bare:8.1f} s, from {share:.0%} of the audio", flush=True)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

        start = time.perf_counter()
        inputs = Inputs(
            models=(str(folder / "hubert-base-size"),), corpus=str(manifest), controls=(), glove=PACKAGED_GLOVE
        )
        scores = ("cca-mel", "cca-phone", "cca-word", "cca-glove", "mi-phone")
        layers = () if given.all_layers else tuple(f"T{number}" for number in range(13))
        config = AnalysisConfig(scores=scores, layers=layers)
        analyze(inputs, config, ComputeConfig(batch_seconds=given.batch_seconds), folder / "run")
        whole = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"analyze, three sample sets {whole:8.1f} s")
        print(f"ratio {whole / bare:.2f}; peak memory {before:.0f} MB before analyze, {after:.0f} MB after")


if __name__ == "__main__":
    main()
