"""The utterances of a corpus, gone through once."""

from types import SimpleNamespace

import pytest

from speechstrata.analysis.model_pass import Utterances
from speechstrata.analysis.spans import SpanCollector, collect_spans
from speechstrata.corpora.corpus import load_corpus
from speechstrata.errors import CorpusError


class Once:
    """An iterable that refuses to be gone through again."""

    def __init__(self, items):
        self.items, self.times = items, 0

    def __iter__(self):
        self.times += 1
        assert self.times == 1
        return iter(self.items)


def test_one_reading_of_the_cuts_gives_utterances_and_spans():
    cuts = list(load_corpus("demo").cuts)[:20]
    collectors = [SpanCollector("phone", 0.03), SpanCollector("word")]
    corpus = SimpleNamespace(name="some", cuts=Once(cuts))
    utterances = Utterances.of_corpus(corpus, *(collector.add for collector in collectors))
    assert utterances.ids == tuple(cut.id for cut in cuts)
    assert utterances.load(3, 16_000).shape == (round(cuts[3].duration * 16_000),)
    for collector, expected in zip(
        collectors, (collect_spans(cuts, "phone", 0.03), collect_spans(cuts, "word")), strict=True
    ):
        found = collector.spans()
        assert len(found) > 30
        assert found.labels == expected.labels == tuple(sorted(set(expected.labels)))
        for name in ("utterance", "start", "end", "label"):
            assert getattr(found, name).tolist() == getattr(expected, name).tolist()


def test_two_utterances_of_one_id_are_refused():
    cut = next(iter(load_corpus("demo").cuts))
    with pytest.raises(CorpusError, match="two utterances of twice have the same id"):
        Utterances.of_corpus(SimpleNamespace(name="twice", cuts=[cut, cut]))
