"""Probes on vectors where the right answer is known, and every mistake a user can make."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression

import labelled_layouts
import layouts
from mlcl.core.errors import UserError
from mlcl.retrieval.knn import unit
from mlcl.tasks import afrisenti, fakenews, pawsx, sib200, stsb_supervised, xnli
from mlcl.tasks._classifiers import PairFeatures, best, few_shot, k_nearest, linear, nearest_class, ridge


@pytest.fixture
def root(tmp_path):
    return labelled_layouts.write_all(layouts.write_all(tmp_path))


class Knows:
    """An encoder whose first coordinates are the class of a text, by the layouts' rule, plus noise."""

    def __init__(self, labels, noise=0.05, names=None):
        self.labels, self.noise, self.names = labels, noise, names or {label: label for label in labels}

    def __call__(self, texts):
        generator = np.random.default_rng(0)
        rows = generator.normal(size=(len(texts), 12)) * self.noise
        for row, text in zip(rows, texts, strict=True):
            known = {name: label for label, name in self.names.items()}
            label = known.get(text) or labelled_layouts.label(self.labels, layouts.meaning(text))
            row[self.labels.index(label)] += 1
        return rows


SENTIMENT = afrisenti.TASK.labels


def value(results, direction, metric, language="avg:all"):
    (found,) = [r for r in results if (r.direction, r.metric, r.language) == (direction, metric, language)]
    return found.value


def test_an_encoder_that_knows_the_classes_gets_everything_right(root):
    results = afrisenti.evaluate(Knows(SENTIMENT), root, afrisenti.Options(shots=[2], draws=3))
    for direction in ("linear", "knn", "2-shot", "zero-shot"):
        for metric in ("macro_f1", "accuracy"):
            assert value(results, direction, metric) == 100
    assert value(results, "2-shot", "macro_f1_sd") == 0
    assert value(results, "floor", "majority_accuracy") == 50
    assert value(results, "floor", "majority_macro_f1") == pytest.approx(100 / 3 * 2 / 3)
    single = [r for r in results if r.code]
    assert {(r.split, r.n) for r in single} == {("test", 40)}
    assert {r.train_language for r in single if r.direction != "zero-shot"} == {"en"}
    assert {r.train_language for r in single if r.direction == "zero-shot"} == {None}


def test_noise_is_at_chance_and_its_interval_holds_the_floor(root):
    def noise(texts):
        return np.random.default_rng(3).normal(size=(len(texts), 8))

    results = sib200.evaluate(noise, root)
    for result in results:
        if result.code and (result.metric, result.direction) == ("accuracy", "linear"):
            floor = value(results, "floor", "majority_accuracy", result.language)
            assert result.low <= floor <= result.high


def test_label_descriptions_may_be_in_any_language(root):
    names = {"negative": "schlecht", "neutral": "sachlich", "positive": "gut"}
    options = afrisenti.Options(label_texts=names)
    results = afrisenti.evaluate(Knows(SENTIMENT, names=names), root, options)
    assert value(results, "zero-shot", "accuracy") == 100
    with pytest.raises(UserError, match=r"label_texts has good \(describe negative, neutral, positive\)"):
        afrisenti.evaluate(Knows(SENTIMENT), root, replace(options, label_texts={"good": "gut"}))
    without = afrisenti.evaluate(Knows(SENTIMENT), root, afrisenti.Options(zero_shot=False, neighbours=[]))
    assert {r.direction for r in without} == {"linear", "floor"}


def test_training_languages_and_joint_selection(root):
    options = afrisenti.Options(train_languages=["am", "deu"], languages=["en"], selection="joint")
    data = afrisenti.load(root, options)
    assert (data.train_language, data.split, list(map(str, (len(data.train), len(data.dev))))) == (
        "am+de",
        "test (joint dev)",
        ["80", "40"],
    )
    assert all(" in eng" in example.text for example in data.dev)
    assert {r.split for r in afrisenti.evaluate(Knows(SENTIMENT), root, options)} == {"test (joint dev)"}
    few = afrisenti.load(root, replace(options, max_train_examples=7))
    assert len(few.train) == 7
    assert few.train == afrisenti.load(root, replace(options, max_train_examples=7)).train
    assert few.train != afrisenti.load(root, replace(options, max_train_examples=7, seed=1)).train


def test_without_english_the_largest_language_is_fitted_on(tmp_path):
    labelled_layouts.afrisenti(tmp_path, ("hau", "por"), n=8)
    labelled_layouts.afrisenti(tmp_path, ("swa",), n=12)
    assert afrisenti.load(tmp_path, afrisenti.Options()).train_language == "sw"


def test_texts_of_another_language_do_not_leak(tmp_path):
    for code, tweet in (("eng", "same"), ("hau", "other")):
        folder = tmp_path / "afrisenti" / "data" / code
        write = layouts.write
        write(folder / "train.tsv", ["tweet\tlabel", "other!\tneutral", "a\tpositive", "b\tneutral"])
        write(folder / "dev.tsv", ["tweet\tlabel", f"d {code}\tneutral"])
        write(folder / "test.tsv", ["tweet\tlabel", f"{tweet}\tneutral"])
    data = afrisenti.load(tmp_path, afrisenti.Options())
    assert [example.text for example in data.train] == ["a", "b"]
    assert data.rows.skipped == {"train: text also in dev or test of another language": 1}


def test_pairs_are_told_apart_by_their_difference():
    generator = np.random.default_rng(0)
    first = unit(generator.normal(size=(900, 16)))
    same = generator.integers(0, 2, 900)
    second = unit(np.where(same[:, None] == 1, first, generator.normal(size=(900, 16))) + 0.1 * first)
    features = PairFeatures(first[:600], second[:600])
    x = features(first, second)
    assert x.shape == (900, 64)
    lengths = [np.square(block).sum(axis=1).mean() for block in np.split(x[:600], 4, axis=1)]
    assert lengths == pytest.approx([1] * 4, rel=1e-4)
    (predict,) = linear(x[:600], same[:600], [1.0])
    assert np.mean(predict(x[600:]) == same[600:]) > 0.95
    cosines = (first * second).sum(axis=1)
    assert np.corrcoef(features.closeness(x), cosines)[0, 1] == pytest.approx(1)
    thin = PairFeatures(sparse.csr_matrix(first[:600]), sparse.csr_matrix(second[:600]))
    rows = thin(sparse.csr_matrix(first), sparse.csr_matrix(second))
    assert rows.toarray() == pytest.approx(x, abs=1e-5)
    assert thin.closeness(rows) == pytest.approx(features.closeness(x), abs=1e-4)


def test_ridge_and_cosine_follow_similarity(root):
    def similar(texts):
        """Sentences that were scored 5 - i % 6 have that cosine with all second sentences."""
        angles = [np.arccos(1 - layouts.meaning(text) % 6 / 6) if text.endswith(", x") else 0.0 for text in texts]
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)

    results = stsb_supervised.evaluate(similar, root)
    assert value(results, "cosine", "spearman") == pytest.approx(100)
    assert value(results, "linear", "spearman") == pytest.approx(100)
    assert {r.metric for r in results} == {"spearman"}
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    y = x @ np.array([1.0, -2.0, 0.5]) + 3
    assert next(iter(ridge(x, y, [1e4])))(x) == pytest.approx(y, abs=1e-2)


def test_the_linear_probe_is_the_best_of_its_strengths_on_dev():
    generator = np.random.default_rng(1)
    x = generator.normal(size=(300, 20)).astype(np.float32)
    y = (x[:, 0] + generator.normal(size=300) > 0).astype(int)
    strengths, scores = [1e-4, 1e-2, 1.0], {}
    for strength in strengths:
        model = LogisticRegression(C=strength, max_iter=300).fit(x[:100], y[:100])
        scores[strength] = np.mean(model.predict(x[100:200]) == y[100:200])
    chosen = best(linear(x[:100], y[:100], strengths[::-1]), x[100:200], lambda found: np.mean(found == y[100:200]))
    winner = LogisticRegression(C=max(strengths, key=scores.get), max_iter=300).fit(x[:100], y[:100])
    assert (chosen(x[200:]) == winner.predict(x[200:])).all()


def test_k_nearest_votes_and_breaks_ties_by_closeness():
    x = unit(np.array([[1, 0], [0.9, 0.1], [0.5, 0.5], [0, 1.0]]))
    y = np.array([0, 1, 1, 2])
    query = np.array([[1.0, 0.0]])
    assert [int(predict(query)[0]) for predict in k_nearest(x, y, [1, 2, 3])] == [0, 0, 1]


def test_prototypes():
    x = np.repeat(np.eye(3), 4, axis=0)
    y = np.repeat(np.arange(3), 4)
    assert (few_shot(x, y, "abc", 4, 0)(x) == y).all()
    assert (nearest_class(np.eye(3))(x) == y).all()
    with pytest.raises(UserError, match="5 training examples of the class 'a' are asked for, there are 4"):
        few_shot(x, y, "abc", 5, 0)


def test_mistakes_in_options_and_data_are_one_clear_line(root):
    def noise(texts):
        return np.random.default_rng(0).normal(size=(len(texts), 8))

    cases = [
        ({"shots": [30]}, "30 training examples of the class"),
        ({"shots": [0]}, r"shots=\[0\]: the smallest is 1"),
        ({"strengths": []}, r"strengths=\[\]: give one positive number or more"),
        ({"train_languages": ["fr"]}, "afrisenti: language 'fr' is not here .*there are: eng, amh, deu"),
        ({"max_train_examples": 0}, "max_train_examples=0: the smallest is 1"),
        ({"max_train_examples": -5}, "max_train_examples=-5: the smallest is 1"),
    ]
    for options, message in cases:
        with pytest.raises(UserError, match=message):
            afrisenti.evaluate(noise, root, afrisenti.Options(**options))
    file = root / "afrisenti" / "data" / "eng" / "train.tsv.gz"
    layouts.write(file, ["tweet\tlabel", "a\tneutral", "b\tneutral"])
    with pytest.raises(UserError, match="all training examples have the label 'neutral'"):
        afrisenti.load(root, afrisenti.Options())
    layouts.write(file, ["tweet\tlabel", "a\tneutral", "b\tmixed"])
    with pytest.raises(UserError, match=r"train.tsv.gz:3: label 'mixed' is unknown"):
        afrisenti.load(root, afrisenti.Options())
    layouts.write(file, ["tweet\tlabel", "a\tneutral", "b\tpositive", "c", "d", "e"])
    with pytest.raises(UserError, match=r"3 of .* rows are malformed.*train.tsv.gz:4: 1 fields, expected 2"):
        afrisenti.load(root, afrisenti.Options())
    (root / "afrisenti" / "data" / "deu" / "test.tsv.gz").unlink()
    (root / "afrisenti" / "data" / "deu" / "train.tsv.gz").unlink()
    layouts.write(root / "afrisenti" / "data" / "deu" / "dev.tsv.gz", ["tweet\tlabel", " \tneutral"])
    layouts.write(file, ["tweet\tlabel", "a\tneutral", "b\tpositive"])
    with pytest.raises(UserError, match="there are no examples to test on in deu"):
        afrisenti.load(root, afrisenti.Options())


@pytest.mark.parametrize("task", [xnli, pawsx, fakenews])
def test_the_headline_is_there_for_every_language(root, task):
    results = task.evaluate(lambda texts: np.random.default_rng(0).normal(size=(len(texts), 8)), root)
    codes = {language.code for language in task.TASK.languages(root)}
    assert {r.code for r in results if (r.metric, r.direction) == task.HEADLINE and r.code} == codes
