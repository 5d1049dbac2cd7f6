"""What each score means, and what it does not: the words of the tables, the figures and the page."""

from dataclasses import dataclass

#: The usual baseline: the same score with the labels, or the rows of the second view, permuted.
PERMUTED = "permutation baseline"


@dataclass(frozen=True)
class ScoreEntry:
    """One score in words.

    Attributes:
        name: as in the ``score`` column.
        title: a heading.
        short: two short lines for a narrow column.
        axis: the axis label, with what the number is.
        unit: what is one sample: frame, phone, word or sentence.
        means: what a high value says.
        not_means: what it does not say.
        controls: what to read it against (goes on from "Read it against:").
        ranked: whether the layer with the highest value is worth naming.
        baseline: what the ``baseline`` column holds for it.
    """

    name: str
    title: str
    short: tuple[str, str]
    axis: str
    unit: str
    means: str
    not_means: str
    controls: str
    ranked: bool = True
    baseline: str = PERMUTED


_CCA = "PWCCA score"
_CKA = "Linear CKA"
_BESIDE = (
    "fbank (what the signal itself gives) and the same architecture with random weights (what its shape gives "
    "untrained)."
)

GLOSSARY: tuple[ScoreEntry, ...] = (
    ScoreEntry(
        "cca-mel",
        "Log-mel filterbank",
        ("CCA", "mel"),
        _CCA,
        "frame",
        "How much of the frames' 80-bin log-mel filterbank a linear map finds in the layer.",
        "Not how good the features are: raw audio features score high by construction, and a model may "
        "rightly give acoustic detail up in later layers.",
        "fbank, which is the filterbank itself, so that its score is the ceiling of the measure. Random weights "
        "already keep much of the spectrum.",
    ),
    ScoreEntry(
        "cca-mfcc",
        "MFCC",
        ("CCA", "MFCC"),
        _CCA,
        "frame",
        "How much of the frames' mel-frequency cepstral coefficients a linear map finds in the layer.",
        "Not speech content: cepstra describe the spectral envelope of any sound.",
        _BESIDE,
    ),
    ScoreEntry(
        "cca-phone",
        "Phone identity (CCA)",
        ("CCA", "phone"),
        _CCA,
        "phone",
        "How well a linear map of the mean vector of a phone's frames tells which phone it is.",
        "Not phone recognition: the boundaries are given, and every phone counts alike. Phones shorter than one "
        "frame of a "
        "low-resolution layer share frames with their neighbours.",
        _BESIDE,
    ),
    ScoreEntry(
        "cca-word",
        "Word identity (CCA)",
        ("CCA", "word"),
        _CCA,
        "word",
        "How well a linear map of the mean vector of a word's frames tells which of the frequent words it is.",
        "Not meaning: words that sound different are told apart by their sound alone. The number depends on how "
        "many word types "
        "the sample holds, so scores of different protocols cannot be compared.",
        _BESIDE,
    ),
    ScoreEntry(
        "cca-glove",
        "Word vectors (GloVe)",
        ("CCA", "GloVe"),
        _CCA,
        "word",
        "How much of the words' GloVe vectors (distributional meaning) a linear map finds in the layer.",
        "Not meaning by itself: with a few hundred word types, most of the score is word identity. Only what "
        "remains above the "
        "permuted vectors, or on word types never seen in training, is about meaning.",
        "permuted vectors (shuffled over the word types, so that identity stays and meaning goes) and "
        "disjoint word types (the test words are not among the training words).",
    ),
    ScoreEntry(
        "cca-agwe",
        "Word acoustics (AGWE)",
        ("CCA", "AGWE"),
        _CCA,
        "word",
        "How much of the words' acoustically grounded embeddings (how the word sounds) a linear map finds in "
        "the layer.",
        "Not free of word identity, for the same reason as GloVe.",
        "permuted vectors and disjoint word types, as for GloVe; then fbank and random weights.",
    ),
    ScoreEntry(
        "cca-intra",
        "Similarity to an own layer",
        ("CCA", "intra"),
        _CCA,
        "frame",
        "How much a layer still shares, linearly, with a reference layer of the same model "
        "(by default the input of its first Transformer layer).",
        "Not quality: a layer that changes nothing scores 1.",
        "the same curve for random weights: how fast the architecture alone drifts from its input.",
        ranked=False,
    ),
    ScoreEntry(
        "cca-inter",
        "Similarity to another model",
        ("CCA", "inter"),
        _CCA,
        "word",
        "How much a layer shares, linearly, with a layer of another model over the same spans.",
        "Not that the models solve tasks alike: two models share much by hearing the same audio.",
        "random weights: the level that hearing the same audio explains.",
    ),
    ScoreEntry(
        "mi-phone",
        "Phone identity (MI)",
        ("MI", "phone"),
        "MI / H(label)",
        "phone",
        "The share of the uncertainty about the phone that is removed by knowing which k-means cluster its "
        "vector falls in.",
        "Not all that the layer knows about phones: only what k clusters keep. It grows with k, and with k near "
        "the number of "
        "samples it is inflated.",
        "the permutation baseline (labels shuffled), the value of no relation at all; then fbank and random weights.",
    ),
    ScoreEntry(
        "mi-word",
        "Word identity (MI)",
        ("MI", "word"),
        "MI / H(label)",
        "word",
        "The share of the uncertainty about the word that is removed by knowing which k-means cluster its "
        "vector falls in.",
        "Not all that the layer knows about words, and not comparable between different k or different word lists.",
        "The permutation baseline can be high when there are many clusters and few samples; then fbank and "
        "random weights.",
    ),
    ScoreEntry(
        "spoken-sts",
        "Sentence similarity (STS)",
        ("STS", "\u03c1"),
        "Spearman\u2019s \u03c1",
        "sentence",
        "Whether sentence pairs that people (silver scores: a text encoder) judge alike in meaning have alike mean "
        "vectors (cosine), as a rank correlation.",
        "Not understanding: sentences alike in meaning share words, hence sounds, and similar sentences have "
        "similar length.",
        _BESIDE,
    ),
    ScoreEntry(
        "cka-mel",
        "Log-mel filterbank (CKA)",
        ("CKA", "mel"),
        _CKA,
        "frame",
        "How alike the layer and the 80-bin log-mel filterbank arrange the frames: CCA's question, but every "
        "direction counts by its variance.",
        "Not what a linear map could find: a few directions with a large variance decide it.",
        _BESIDE,
    ),
    ScoreEntry(
        "cka-phone",
        "Phone identity (CKA)",
        ("CKA", "phone"),
        _CKA,
        "phone",
        "How far the phones lie apart in the layer as it is, every direction counting by its variance.",
        "Not what a linear map could find: the same layer after a rescaling of its dimensions scores otherwise. Low "
        "values are usual, and only differences say something.",
        _BESIDE,
    ),
    ScoreEntry(
        "cka-word",
        "Word identity (CKA)",
        ("CKA", "word"),
        _CKA,
        "word",
        "How far the frequent words lie apart in the layer as it is, every direction counting by its variance.",
        "Not meaning, and not comparable between samples of different word types.",
        _BESIDE,
    ),
    ScoreEntry(
        "probe-phone",
        "Phone identity (linear probe)",
        ("probe", "phone"),
        "Accuracy",
        "phone",
        "How often a linear classifier tells the phone of a span by a speaker (or in an utterance) that it was "
        "not trained on.",
        "Not phone recognition: the boundaries are given. It depends on the number of training spans beside the "
        "dimensions of the layer.",
        "the majority class; then fbank and random weights.",
        baseline="majority class",
    ),
    ScoreEntry(
        "abx-phone",
        "Phone discrimination (ABX)",
        ("ABX", "phone"),
        "1 \u2212 ABX error",
        "phone",
        "How often two instances of a phone are nearer to each other (cosine) than to another phone of the same "
        "speaker and neighbours. Nothing is trained.",
        "Not what a linear map could find: directions that say nothing of phones add to the distance.",
        "chance, which is .5; then fbank and random weights.",
        baseline="chance",
    ),
)

ENTRIES = {entry.name: entry for entry in GLOSSARY}

#: What a value of the ``variant`` column says, in a few words and in a sentence.
VARIANTS: dict[str, tuple[str, str]] = {
    "": ("the score", "The score itself."),
    "vectors-permuted": (
        "control: vectors permuted",
        "The word vectors shuffled over the word types: word identity stays, what the vectors mean goes.",
    ),
    "types-disjoint": (
        "control: word types disjoint",
        "The test words are not among the training words: word identity cannot help.",
    ),
    "speakers-train": ("speakers of the training data", "Speakers that the model was trained on."),
    "speakers-heldout": ("held-out speakers", "Speakers that the model has never heard."),
    "debiased": (
        "without bias",
        "The unbiased estimate: 0 on average for unrelated views, whatever the number of spans.",
    ),
    "null-kept": (
        "null direction kept",
        "As the published code scores it: the one-hot view's null direction is kept, with rounding noise as its "
        "weight; "
        "for comparison with published numbers.",
    ),
}

#: The controls, in a sentence each, for the page.
CONTROLS: tuple[tuple[str, str], ...] = (
    (
        "fbank",
        "The log-mel filterbank scored as if it were an encoder of one layer: what any model is given for free. "
        "A horizontal dashed line.",
    ),
    (
        "random weights",
        "The same architecture, initialised again and not trained: what its shape and resolution give by themselves. "
        "A dashed curve in the model\u2019s colour.",
    ),
    (
        "permutation baseline",
        "The score after the labels have been shuffled: what counting alone gives with this many "
        "samples and clusters (for a probe the majority class, for ABX chance). "
        "A dotted curve in the model\u2019s colour.",
    ),
)


def entry(score: str, unit: str = "") -> ScoreEntry:
    """The entry of ``score``; a plain one for a score that the glossary does not know."""
    known = ENTRIES.get(score)
    if known is not None:
        return known
    first, _, second = score.partition("-")
    return ScoreEntry(score, score, (first, second), "score", unit, "A score of your own.", "", "")


def score_order(score: str) -> tuple[int, str]:
    """A sort key: the glossary's order, unknown scores after it by name."""
    names = list(ENTRIES)
    return (names.index(score) if score in ENTRIES else len(names), score)


def variant_order(variant: str) -> tuple[int, str]:
    """A sort key: the score itself, then its controls, in the glossary's order."""
    names = list(VARIANTS)
    return (names.index(variant) if variant in VARIANTS else len(names), variant)


def variant_title(variant: str) -> str:
    """A few words for a value of the ``variant`` column."""
    return VARIANTS[variant][0] if variant in VARIANTS else variant
