"""The study's corpora, arms and tables; the runs themselves are too long for a test."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace

import pytest

from mlcl.core.flags import parse
from mlcl.corpus.store import Corpus
from mlcl.stages import pretrain
from mlcl.training.settings import training_arguments


@pytest.fixture
def study(repo_root, monkeypatch):
    monkeypatch.syspath_prepend(str(repo_root / "benchmarks"))
    import study

    return study


def rows(folder) -> list[tuple[str, str, str, str, int]]:
    columns = ["source_lang", "target_lang", "source", "target", "group"]
    batches = Corpus.open(folder).pair_batches()
    return [tuple(row[name] for name in columns) for batch in batches for row in batch.to_pylist()]


def test_corpora_are_cut_as_their_recipe_says(study, tiny_corpus, tmp_path):
    from study_corpora import Recipe, cut

    corpus, everything = Corpus.open(tiny_corpus), set(rows(tiny_corpus))
    plain = cut(corpus, Recipe(200, mono=30), tmp_path / "plain")
    kept = rows(plain)
    assert len(kept) == 200
    assert set(kept) <= everything
    assert set(Counter(group for *_, group in kept).values()) == {2}  # whole groups
    assert Corpus.open(plain).manifest["rows"]["mono"] == 30

    noisy = rows(cut(corpus, Recipe(200, noise=0.4), tmp_path / "noisy"))
    moved = [row for row in noisy if row not in everything]
    assert 60 < len(moved) <= 80
    for tag in ("de", "ja"):
        assert Counter(row[3] for row in noisy if row[1] == tag) == Counter(row[3] for row in kept if row[1] == tag)

    alone = rows(cut(corpus, Recipe(200, low="ja", low_pairs=10, without=("de",)), tmp_path / "alone"))
    assert {row[1] for row in alone} == {"ja"}
    assert len(alone) == 10
    beside = rows(cut(corpus, Recipe(150, low="ja", low_pairs=10), tmp_path / "beside"))
    assert Counter(row[1] for row in beside)["ja"] == 10
    assert len(beside) == 150
    assert {row for row in beside if row[1] == "ja"} == set(alone)  # the same pairs with and without relatives


def test_arms_are_settings_of_mlcl_pretrain_and_few_enough(study, repo_root, tmp_path):
    config = str(repo_root / "configs/study.yaml")
    for values in (*study.FACTORS.values(), *study.QUESTIONS.values()):
        assert 2 <= len(values) <= 4
        for arm in values:
            own = [word for key, value in study.dotted(arm.settings).items() for word in (f"--{key}", str(value))]
            words = ["--config", config, *own, "--corpus", "c", "--out", "o"]
            made = parse(pretrain.Config, words, "mlcl pretrain", "")
            arguments = training_arguments({"output_dir": str(tmp_path), **made.training})
            for key, value in arm.settings.get("training", {}).items():
                assert getattr(arguments, key) == value
    names = [study.slug(factor, arm) for factor, values in study.FACTORS.items() for arm in values]
    assert len(set(names)) <= 20
    assert names.count("base") == len(study.FACTORS)  # the base is a value of every factor, and is run once


def test_tables_and_figures_come_from_finished_runs(study, tmp_path):
    folder = tmp_path / "run"
    (folder / "evaluation").mkdir(parents=True)
    scores = [
        ("ntrex", "accuracy", "mean", 40.0),
        ("multiparallel", "accuracy", "mean", 60.0),
        ("stsb", "spearman", "within", 50.0),
    ]
    found = [
        {"task": task, "metric": metric, "direction": direction, "language": language, "value": value + shift}
        for task, metric, direction, value in scores
        for language, shift in (("avg:all", 0.0), ("uk", 3.0))
    ]  # fmt: skip
    (folder / "evaluation" / "results.json").write_text(json.dumps(found))
    lines = [{"step": 10, "info_nce": 2.0, "lm": 9.0}, {"step": 20, "info_nce": 1.5, "lm": 8.0}, {"step": 20}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    outcome = study.outcome(folder)
    assert (outcome["NTREX dev"], outcome["NTREX dev uk"], outcome["STS-B dev"]) == (40.0, 43.0, 50.0)
    assert (outcome["info_nce"], outcome["steps"]) == (1.5, 20)
    done = [{"factor": factor, "value": value, **outcome} for factor in ("lambda", "queue") for value in ("0", "1")]
    options = SimpleNamespace(out=tmp_path, only=None, questions=False, docs=tmp_path / "docs")
    study.report(done, options)
    text = (tmp_path / "docs" / "study.md").read_text()
    assert "| 0 | 40.0 | 60.0 | 50.0 | 1.50 | 8.00 |" in text
    assert text.count("|---|") == 2
    assert {path.name for path in (tmp_path / "docs").iterdir()} == {"study.json", "study.md", "study.svg"}
    assert len(study.draw(done).axes) == 2
