"""Metrics against the libraries that everybody uses: seqeval, scikit-learn, scipy."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from seqeval.metrics import f1_score as seqeval_f1
from seqeval.scheme import IOB2
from sklearn.metrics import accuracy_score
from sklearn.metrics import f1_score as sklearn_f1

from mlcl.core.errors import UserError
from mlcl.formats._iob2 import repair
from mlcl.tasks._metrics import accuracy, macro_f1, measure, span_f1, spans

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
pairs_of_sentences = st.lists(
    st.integers(1, 8).flatmap(lambda n: st.tuples(*[st.lists(st.sampled_from(TAGS), min_size=n, max_size=n)] * 2)),
    min_size=1,
    max_size=6,
)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning", "ignore::UserWarning")
@given(pairs_of_sentences)
def test_span_f1_is_that_of_seqeval(sentences):
    gold, predicted = [list(column) for column in zip(*sentences, strict=True)]
    assert span_f1(gold, predicted) == pytest.approx(seqeval_f1(gold, predicted, mode="strict", scheme=IOB2))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning", "ignore::UserWarning")
@given(pairs_of_sentences)
def test_span_f1_of_repaired_tags_is_that_of_conlleval(sentences):
    gold, predicted = [list(map(repair, column)) for column in zip(*sentences, strict=True)]
    raw = [list(column) for column in zip(*sentences, strict=True)]
    assert span_f1(gold, predicted) == pytest.approx(seqeval_f1(*raw))  # its default repairs as the script did


@given(st.lists(st.tuples(*[st.sampled_from("abcd")] * 2), min_size=1, max_size=30))
def test_classification_metrics_are_those_of_scikit_learn(pairs):
    gold, predicted = map(list, zip(*pairs, strict=True))
    assert accuracy(gold, predicted) == pytest.approx(accuracy_score(gold, predicted))
    assert macro_f1(gold, predicted) == pytest.approx(sklearn_f1(gold, predicted, average="macro", zero_division=0))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=3, max_size=30))
def test_spearman_is_that_of_scipy(pairs):
    gold, predicted = map(list, zip(*pairs, strict=True))
    if len(set(gold)) > 1 and len(set(predicted)) > 1:
        assert measure("spearman", gold, predicted).value == pytest.approx(100 * stats.spearmanr(gold, predicted)[0])
    else:
        assert measure("spearman", gold, predicted).value == 0


def test_spans():
    assert spans(["B-PER", "B-PER", "I-PER", "I-LOC", "O"]) == {("PER", 0, 1), ("PER", 1, 3)}
    assert spans(["I-PER", "I-PER"]) == set()
    assert repair(["I-PER", "I-PER", "I-LOC", "B-LOC", "I-LOC"]) == ("B-PER", "I-PER", "B-LOC", "B-LOC", "I-LOC")
    assert span_f1([["O"]], [["O"]]) == 0


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_intervals_are_those_of_a_plain_bootstrap(metric):
    generator = np.random.default_rng(0)
    gold = generator.choice(3, 300, p=[0.6, 0.3, 0.1])
    predicted = np.where(generator.random(300) < 0.7, gold, generator.choice(3, 300))
    drawn = generator.integers(0, 300, (2000, 300))
    plain = [
        accuracy(gold[i], predicted[i]) if metric == "accuracy" else macro_f1(gold[i], predicted[i]) for i in drawn
    ]
    score = measure(metric, gold, predicted)
    assert (score.low, score.high) == pytest.approx(100 * np.quantile(plain, [0.025, 0.975]), abs=1.0)
    assert score.low < score.value < score.high
    assert (score.n, score.deviation) == (300, 0)
    assert measure(metric, gold, predicted) == score, "the same in every run"


def test_span_interval_is_that_of_a_plain_bootstrap():
    generator = np.random.default_rng(1)
    gold = [list(generator.choice(TAGS, 5)) for _ in range(150)]
    predicted = [tags if generator.random() < 0.6 else list(generator.choice(TAGS, 5)) for tags in gold]
    score = measure("span_f1", gold, predicted)
    plain = [
        span_f1([gold[i] for i in draw], [predicted[i] for i in draw])
        for draw in generator.integers(0, 150, (800, 150))
    ]
    assert (score.low, score.high) == pytest.approx(100 * np.quantile(plain, [0.025, 0.975]), abs=1.5)


def test_many_classes_cost_no_confusion_matrices():
    generator = np.random.default_rng(2)
    gold = generator.integers(0, 150, 3000)  # as many intents as CLINC150 has
    predicted = np.where(generator.random(3000) < 0.8, gold, generator.integers(0, 150, 3000))
    tracemalloc.start()
    score = measure("macro_f1", gold, predicted)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert score.value == pytest.approx(100 * sklearn_f1(gold, predicted, average="macro"))
    assert most < 3000 * 150 * 150 * 4, "less than a cell of a confusion matrix for each example"


def test_several_predictions_give_mean_and_deviation():
    gold = [0, 0, 1, 1]
    runs = [[0, 0, 1, 1], [0, 0, 1, 0], [1, 0, 1, 0]]
    score = measure("accuracy", gold, *runs)
    assert (score.value, score.deviation) == pytest.approx((75, np.std([100, 75, 50], ddof=1)))
    singles = [measure("macro_f1", gold, run).value for run in runs]
    score = measure("macro_f1", gold, *runs)
    assert (score.value, score.deviation) == pytest.approx((np.mean(singles), np.std(singles, ddof=1)))
    assert score.low <= score.value <= score.high


def test_predictions_that_do_not_fit_are_a_clear_error():
    with pytest.raises(UserError, match="2 predictions for 3 examples"):
        measure("accuracy", [1, 2, 3], [1, 2])
    with pytest.raises(UserError, match="no examples"):
        measure("macro_f1", [], [])
    with pytest.raises(UserError, match="sentence 1 has 2 words, but 1 tags are predicted"):
        measure("span_f1", [["O"], ["O", "O"]], [["O"], ["O"]])
