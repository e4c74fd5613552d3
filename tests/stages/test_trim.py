"""`mlcl trim`: the same vectors from a smaller folder, of ours and of a real encoder; mistakes."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import AutoTokenizer

from mlcl.cli import main
from mlcl.model.encoder import Encoder

ENGLISH = ["The page was deleted.", "Enter your password", "was deleted"]


def size(folder):
    """Tokens of a folder's vocabulary."""
    return len(AutoTokenizer.from_pretrained(folder))


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(ENGLISH) + "\n")
    return path


def test_ours_from_texts(tiny_model, texts, tmp_path, capsys):
    out = tmp_path / "small"
    assert main(["trim", "--model", str(tiny_model), "--texts", str(texts), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "least cosine between old and new vector 1.00000" in printed
    assert printed.strip().endswith(str(out))
    old, new = (Encoder.from_pretrained(path, "cpu") for path in (tiny_model, out))
    np.testing.assert_allclose(new.encode(ENGLISH), old.encode(ENGLISH), atol=1e-6)
    assert size(out) < size(tiny_model)
    assert (out / "model.safetensors").stat().st_size < (tiny_model / "model.safetensors").stat().st_size
    sentence_transformers = pytest.importorskip("sentence_transformers")
    theirs = sentence_transformers.SentenceTransformer(str(out), device="cpu")
    np.testing.assert_allclose(theirs.encode(ENGLISH, normalize_embeddings=True), new.encode(ENGLISH), atol=1e-5)


def test_ours_by_language(tiny_model, tmp_path):
    out = tmp_path / "small"
    assert main(["trim", "--model", str(tiny_model), "--languages", "en", "de", "--out", str(out)]) == 0
    old, new = (Encoder.from_pretrained(path, "cpu") for path in (tiny_model, out))
    german = ["Die Seite wurde gelöscht.", "Password gelöscht was"]
    np.testing.assert_allclose(new.encode(german), old.encode(german), atol=1e-6)
    assert not any("ペ" in token for token in AutoTokenizer.from_pretrained(out).get_vocab())


def test_from_a_corpus(tiny_corpus, tiny_model, tmp_path, capsys):
    line = ["trim", "--model", str(tiny_model), "--corpus", str(tiny_corpus), "--languages", "en"]
    assert main([*line, "--out", str(tmp_path / "a")]) == 0
    assert "1.00000" in capsys.readouterr().out
    assert main([*line, "--out", str(tmp_path / "b"), "--min_count", "100000"]) == 0
    assert "have another vector" in capsys.readouterr().err


def test_a_trimmed_model_trains_on(tiny_model, texts, tmp_path, tiny_settings):
    """Its masked-LM head fits its embeddings."""
    out = tmp_path / "small"
    assert main(["trim", "--model", str(tiny_model), "--texts", str(texts), "--out", str(out)]) == 0
    from mlcl.model.model import MLCModel

    model = MLCModel.from_pretrained(out)
    rows = model.get_input_embeddings().num_embeddings
    assert model.lm_head.bias.shape == (rows,)
    assert model.config.backbone["vocab_size"] == model.backbone.config.vocab_size == rows


def test_a_real_encoder(minilm, tmp_path, texts):
    out = tmp_path / "small"
    assert main(["trim", "--model", str(minilm), "--texts", str(texts), "--out", str(out)]) == 0
    old, new = (Encoder.from_pretrained(path, "cpu", dtype="float32") for path in (minilm, out))
    np.testing.assert_allclose(new.encode(ENGLISH), old.encode(ENGLISH), atol=1e-5)
    assert size(out) < 0.1 * size(minilm)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "what should stay?"),
        (["--languages", "[]"], "what should stay?"),
        (["--languages", "xx1"], "unknown language tag"),
        (["--texts", "none.txt"], "no such file"),
        (["--texts", "texts.txt", "--corpus", "c"], "exclude each other"),
        (["--texts", "texts.txt", "--min_count", "0"], "at least 1"),
    ],
)
def test_mistakes(tiny_model, texts, tmp_path, monkeypatch, capsys, more, message):
    monkeypatch.chdir(tmp_path)
    assert main(["trim", "--model", str(tiny_model), "--out", "small", *more]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "small").exists()
