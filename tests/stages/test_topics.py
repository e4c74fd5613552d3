"""`mlcl topics`: collections in every form, both views of neutrality, and what goes wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

import layouts
from mlcl.cli import main
from mlcl.core.errors import UserError
from mlcl.stages import topics as stage
from mlcl.stages._collection import chosen, read_published, read_texts
from mlcl.topics.cluster import ClusterOptions

pytest.importorskip("bertopic")

CONTENT = {"en": ("dog barks loudly", "car drives fast"), "de": ("hund bellt laut", "auto fährt schnell")}


def write_collection(path, n=40):
    """Two topics, two languages; sentence i of both languages means the same."""
    rows = [
        {"text": f"{texts[i % 2]} word{i}", "language": tag, "group": i}
        for tag, texts in CONTENT.items()
        for i in range(n)
    ]
    layouts.write(path, [json.dumps(row) for row in rows])
    return path


def encoder_of(bias):
    """Vectors that know the topic, plus a corner of its own for each language."""

    class Made:
        def encode(self, texts, **_):
            rows = []
            for text in texts:
                tag = "en" if text.split(" ")[0] in ("dog", "car") else "de"
                topic = float(text.split(" ")[0] in ("dog", "hund"))
                noise = np.random.default_rng(sum(map(ord, text))).normal(size=6) * 0.05
                rows.append(np.array([2 * topic - 1, 0, bias * (tag == "en"), bias * (tag == "de"), 0, 0]) + noise)
            vectors = np.array(rows, dtype=np.float32)
            return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return Made()


def run(tmp_path, monkeypatch, bias, **settings):
    from mlcl.model.encoder import Encoder

    monkeypatch.setattr(Encoder, "from_pretrained", classmethod(lambda *_: encoder_of(bias)))
    texts = write_collection(tmp_path / "texts.jsonl")
    clusters = ClusterOptions(min_topic_size=12)
    out = stage.run(
        stage.Config("made-up", str(tmp_path / "out"), texts=str(texts), clusters=clusters, overwrite=True, **settings)
    )
    return json.loads((out / "topics.json").read_text()), out


def test_a_neutral_encoder_gives_topics_that_mix_languages(tmp_path, monkeypatch, capsys):
    found, out = run(tmp_path, monkeypatch, bias=0)
    summary = found["summary"]
    assert (summary["texts"], summary["topics"], summary["languages"]) == (80, 2, {"de": 40, "en": 40})
    assert summary["language_entropy"] == pytest.approx(1)
    (translations,) = summary["translations"]
    assert (translations["agreement"], translations["mutual_information"]) == (1, pytest.approx(1))
    assert translations["by_chance"] == pytest.approx(0.5)
    firsts = {tuple(topic["words"][tag][0] for tag in ("en", "de")) for topic in found["topics"]}
    assert len(firsts) == 2
    lines = [json.loads(line) for line in (out / "topics.jsonl").read_text().split("\n") if line]
    assert len(lines) == 80
    topic_of = {(line["language"], line["group"]): line["topic"] for line in lines}
    assert topic_of["en", "0"] == topic_of["de", "2"] != topic_of["de", "1"]
    page = (out / "report.html").read_text()
    assert "Translations: texts" in page
    assert "word" in page
    shown = capsys.readouterr()
    assert "translations in one topic (texts): 100.0 %" in shown.out
    assert "--centre" not in shown.err


def test_a_biased_encoder_is_found_out_and_centring_mends_it(tmp_path, monkeypatch, capsys):
    found, _ = run(tmp_path, monkeypatch, bias=4)
    assert found["summary"]["language_entropy"] < 0.1
    assert found["summary"]["translations"][0]["agreement"] < 0.1
    assert found["summary"]["language_variance"] > 0.7
    assert "--centre true may help" in capsys.readouterr().err
    mended, _ = run(tmp_path, monkeypatch, bias=4, centre=True)
    assert mended["summary"]["language_entropy"] > 0.9
    assert mended["summary"]["translations"][0]["agreement"] > 0.9
    assert mended["summary"]["language_variance_clustered"] < 0.01
    assert mended["summary"]["centred"] is True


def test_collections_of_every_form(tmp_path, tiny_corpus):
    documents = list(read_texts(str(write_collection(tmp_path / "a.jsonl.gz", 3)), "", ""))
    assert [(one.language, one.group) for one in documents[:4]] == [("en", "0"), ("en", "1"), ("en", "2"), ("de", "0")]
    layouts.write(tmp_path / "mono" / "mono.deu.txt.gz", ["eins", "", "zwei"])
    layouts.write(tmp_path / "mono" / "mono.fra.txt.gz", ["un"])
    found = [(one.language, one.text) for one in read_texts(str(tmp_path / "mono"), "", "mono.{language}.txt")]
    assert found == [("de", "eins"), ("de", "zwei"), ("fr", "un")]
    assert [one.language for one in read_texts(str(tmp_path / "mono" / "mono.fra.txt"), "fra", "")] == ["fr"]
    corpus = list(read_texts(str(tiny_corpus), "", ""))
    assert {one.language for one in corpus} == {"en", "de", "ja"}
    assert sum(not one.group for one in corpus) == 60
    layouts.ntrex(tmp_path)
    layouts.sib200(tmp_path)
    published = list(read_published(str(tmp_path), ["de", "zh-Hant"]))
    assert {(one.origin, one.language) for one in published} == {
        ("ntrex", "de"), ("ntrex", "zh-Hant"), ("sib200", "de")
    }  # fmt: skip


def test_a_sample_keeps_translations_together(tmp_path):
    documents = list(read_texts(str(write_collection(tmp_path / "a.jsonl", 40)), "", ""))
    some = chosen(documents + documents, None, 10)
    assert len(some) == 20
    groups = [{one.group for one in some if one.language == tag} for tag in ("en", "de")]
    assert groups[0] == groups[1]
    assert chosen(documents, ["de"], 0) == [one for one in chosen(documents, None, 0) if one.language == "de"]
    with pytest.raises(UserError, match="no text in sw"):
        chosen(documents, ["de", "sw"], 0)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (['{"text": "a"}'], "jsonl:1: text or language is missing"),
        (['{"text": "a", "language": "de"}', "[1]"], "jsonl:2: not a JSON object"),
        (["{"], "jsonl:1: not a JSON object"),
        (['{"text": 3, "language": "de"}'], "jsonl:1: text or language is missing or no string"),
        (['{"text": "a", "language": "klingonish"}'], "unknown language tag"),
        (['{"text": "a", "language": "de"}'], "fewer than two texts"),
    ],
)
def test_bad_collections_end_in_one_line(tmp_path, capsys, lines, reason):
    layouts.write(tmp_path / "a.jsonl", lines)
    assert main(["topics", "--model", "m", "--out", str(tmp_path / "out"), "--texts", str(tmp_path / "a.jsonl")]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_texts_at_all(tmp_path, capsys):
    assert main(["topics", "--model", "m", "--out", str(tmp_path / "out")]) == 2
    assert "give --texts, or --data" in capsys.readouterr().err
