"""The numbers of the retrieval tasks and of stsb on made-up data, where the right answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import layouts
from mlcl.core.errors import UserError
from mlcl.tasks import multiparallel, ntrex, stsb, tatoeba

TABLE = np.random.default_rng(0).normal(size=(400, 32)).astype(np.float32)


def perfect(texts):
    return TABLE[[layouts.meaning(text) for text in texts]]


def english_only(texts):
    """Knows English and German; every other language gets noise."""
    noise = np.random.default_rng(5).normal(size=(len(texts), 32))
    known = [any(text.split(" in ")[1].startswith(code) for code in ("eng", "en", "de")) for text in texts]
    return np.where(np.array(known)[:, None], perfect(texts), noise)


def values(results, metric, direction):
    return {r.code or r.language: r.value for r in results if (r.metric, r.direction) == (metric, direction)}


def test_tatoeba_knows_what_is_right_and_keeps_both_codes_of_a_language(tmp_path):
    layouts.tatoeba(tmp_path)
    results = tatoeba.evaluate(perfect, tmp_path)
    for metric, right in (("accuracy", 100), ("xsim_error_cosine", 0), ("xsim_error_margin", 0)):
        found = values(results, metric, "mean")
        assert found == dict.fromkeys(("deu", "cmn", "dtp", "kzj", "avg:all", "avg:non-latin"), right)
    assert set(values(results, "accuracy", "de->en")) == {"deu"}
    assert set(values(results, "accuracy", "en->dtp")) == {"dtp", "kzj"}
    assert values(results, "accuracy", "xx->en") == {"avg:all": 100, "avg:non-latin": 100}
    everything = next(r for r in results if (r.language, r.metric, r.direction) == ("avg:all", "accuracy", "mean"))
    assert everything.n == 4
    assert values(results, "alignment", "de->en")["deu"] == pytest.approx(0, abs=1e-6)


def test_tatoeba_counts_each_direction(tmp_path):
    layouts.tatoeba(tmp_path, ("deu",), n=2)
    # Both German sentences are nearest to English 0; English 0 finds German 0, English 1 finds German 1
    vectors = {"one 0 in deu": [1, 0], "two 1 in deu": [0.8, 0.6], "one 0 in eng": [1, 0.2], "two 1 in eng": [-1, 0.9]}
    results = tatoeba.evaluate(lambda texts: np.array([vectors[text] for text in texts]), tmp_path)
    assert values(results, "accuracy", "de->en")["deu"] == 50
    assert values(results, "accuracy", "en->de")["deu"] == 100
    assert values(results, "accuracy", "mean")["deu"] == 75


def test_a_repeated_sentence_costs_accuracy_but_not_xsim(tmp_path):
    layouts.tatoeba(tmp_path, ("deu",), n=4)
    for side in ("deu", "eng"):
        file = tmp_path / "tatoeba" / f"tatoeba.deu-eng.{side}"
        lines = file.read_text().split("\n")
        file.write_text("\n".join([*lines[:3], lines[2], ""]))
    results = tatoeba.evaluate(perfect, tmp_path)
    assert values(results, "accuracy", "mean")["deu"] == 75
    assert (
        values(results, "xsim_error_cosine", "mean")["deu"] == values(results, "xsim_error_margin", "mean")["deu"] == 0
    )


def test_ntrex_takes_the_documents_asked_for(tmp_path):
    layouts.ntrex(tmp_path)
    results = ntrex.evaluate(perfect, tmp_path)
    assert {(r.split, r.n) for r in results if r.code} == {("documents 74-92", 38)}
    assert set(values(results, "accuracy", "mean")) >= {"deu", "zho-CN", "zho-TW"}
    assert {r.n for r in ntrex.evaluate(perfect, tmp_path, ntrex.Options(documents="")) if r.code} == {184}
    with pytest.raises(UserError, match="90-93"):
        ntrex.load(tmp_path, ntrex.Options(documents="90-93"))


def test_multiparallel_measures_every_pair_and_any_pivot(tmp_path):
    layouts.pud(tmp_path, ("deu", "eng", "zho", "fra"), n=40)
    layouts.sib200(tmp_path)
    results = multiparallel.evaluate(english_only, tmp_path, multiparallel.Options(sets=["pud"]))
    pairs = {r.direction: r.value for r in results if r.metric == "pair_accuracy"}
    assert len(pairs) == 12
    assert pairs["de->en"] == pairs["en->de"] == 100
    assert max(pairs["en->zh-Hant"], pairs["zh-Hant->de"], pairs["fr->zh-Hant"]) < 20
    expected = np.mean([value for direction, value in pairs.items() if "de" in direction.split("->")])
    assert values(results, "accuracy", "any")["deu"] == pytest.approx(expected)
    results = multiparallel.evaluate(perfect, tmp_path, multiparallel.Options(pivot="deu", all_pairs=False))
    assert {r.split for r in results} == {"pud", "sib200-dev"}
    assert values(results, "accuracy", "ko->de") == {"kor_Hang": 100}
    assert not values(results, "accuracy", "any")
    with pytest.raises(UserError, match="pivot"):
        multiparallel.load(tmp_path, multiparallel.Options(pivot="sw"))


def test_multiparallel_takes_any_line_aligned_folder(tmp_path):
    folder = tmp_path / "mine"
    for name, code in (("dev.en", "en"), ("dev.de.txt", "de"), ("dev.pt-BR", "pt")):
        layouts.write(folder / name, [layouts.sentence(code, i) for i in range(5)])
    (folder / "README.md").write_text("about\n")
    (folder / "dev.sent_id.txt").write_text("1\n")
    for place in ("mine", "mine/dev", str(folder)):
        results = multiparallel.evaluate(perfect, tmp_path, multiparallel.Options(sets=[place]))
        assert {r.language for r in results if r.code} == {"en", "de", "pt-BR"}
    layouts.write(folder / "test.en", ["a"])
    with pytest.raises(UserError, match="several line-aligned sets.*dev, test"):
        multiparallel.load(tmp_path, multiparallel.Options(sets=["mine"]))
    layouts.write(folder / "dev.fr", ["a", "b"])
    with pytest.raises(UserError, match="2 rows"):
        multiparallel.load(tmp_path, multiparallel.Options(sets=["mine/dev"]))


def test_a_sentence_without_translation_is_left_out_with_a_warning(tmp_path, capsys):
    layouts.pud(tmp_path, n=6)
    file = tmp_path / "pud" / "pud.deu.txt"
    file.write_text(file.read_text().replace(layouts.sentence("deu", 2), " "))
    sides = multiparallel.load(tmp_path, multiparallel.Options(sets=["pud"]))["pud"]
    assert [layouts.meaning(text) for text in sides[1].texts] == [0, 1, 3, 4, 5]
    assert "1 of 6 sentences" in " ".join(capsys.readouterr().err.split())


def test_stsb_within_and_across_languages(tmp_path):
    layouts.stsb(tmp_path, n=30)
    results = stsb.evaluate(english_only, tmp_path)
    loaded = {pairs.code: pairs for pairs in stsb.load(tmp_path, stsb.Options())}
    unit = TABLE / np.linalg.norm(TABLE, axis=1, keepdims=True)
    cosines = [
        unit[layouts.meaning(a)] @ unit[layouts.meaning(b)]
        for a, b in zip(loaded["en"].first, loaded["en"].second, strict=True)
    ]
    expected = 100 * stats.spearmanr(cosines, loaded["en"].scores).statistic
    assert values(results, "spearman", "within")["en"] == pytest.approx(expected)
    pairs = {r.direction: r.value for r in results if r.metric == "pair_spearman"}
    assert len(pairs) == 6
    across = np.mean([value for direction, value in pairs.items() if "de" in direction.split("->")])
    assert values(results, "spearman", "across")["de"] == pytest.approx(across)


def test_stsb_refuses_scores_that_differ(tmp_path):
    layouts.stsb(tmp_path)
    layouts.write(tmp_path / "stsb" / "data" / "stsb-de-dev.csv.gz", ["1 2,3 4,1.0"] * 6)
    with pytest.raises(UserError, match="scores of de and en differ"):
        stsb.load(tmp_path, stsb.Options())
