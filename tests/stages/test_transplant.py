"""`mlcl transplant`: every kind of folder gets another vocabulary and trains on; mistakes come before any work."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from mlcl.cli import main
from mlcl.model.encoder import Encoder
from mlcl.model.model import MLCModel


@pytest.fixture(autouse=True)
def few_texts(monkeypatch):
    """Compare on few texts, for the sake of time."""
    monkeypatch.setattr("mlcl.stages.transplant._SAMPLE", 24)


@pytest.fixture(scope="session")
def new_tokenizer(tiny_corpus, tmp_path_factory):
    """A tokenizer of the corpus, which knows other words than `tiny_model`."""
    from mlcl.corpus.store import Corpus
    from mlcl.text.tokenizer import train_tokenizer

    folder = tmp_path_factory.mktemp("tokenizer") / "new"
    train_tokenizer(Corpus.open(tiny_corpus), vocab_size=620).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def english_tokenizer(tiny_corpus, tmp_path_factory):
    """A tokenizer of its English part alone; words of the other languages are bytes and letters."""
    from mlcl.corpus.store import Corpus
    from mlcl.text.tokenizer import train_on, training_sample

    folder = tmp_path_factory.mktemp("tokenizer") / "english"
    texts = training_sample(Corpus.open(tiny_corpus), vocab_size=620)["en"]
    train_on([texts], vocab_size=620).save_pretrained(folder)
    return folder


def line(model, tokenizer, out, *more):
    return ["transplant", "--model", str(model), "--tokenizer", str(tokenizer), "--out", str(out), *map(str, more)]


@pytest.mark.parametrize("method", ["focus", "mean", "random"])
def test_ours(tiny_model, tiny_corpus, new_tokenizer, tmp_path, capsys, method):
    out = tmp_path / "new"
    assert main(line(tiny_model, new_tokenizer, out, "--method", method, "--corpus", tiny_corpus)) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("copied", "before", "focus", "mean", "random", f"OUT has {method}"))
    old, new = MLCModel.from_pretrained(tiny_model), MLCModel.from_pretrained(out)
    tokenizers = [AutoTokenizer.from_pretrained(place) for place in (tiny_model, out)]
    rows = [model.get_input_embeddings().weight for model in (old, new)]
    assert len(rows[1]) == len(tokenizers[1]) == new.config.backbone["vocab_size"] == len(new.lm_head.bias)
    for token in ("</s>", "\u2581old", "s"):
        places = [tokenizer.convert_tokens_to_ids(token) for tokenizer in tokenizers]
        if tokenizers[0].unk_token_id not in places:
            torch.testing.assert_close(rows[1][places[1]], rows[0][places[0]], rtol=0, atol=0)
    for name, weight in old.backbone.state_dict().items():
        if "word_embeddings" not in name:
            torch.testing.assert_close(new.backbone.state_dict()[name], weight, rtol=0, atol=0)
    theirs = pytest.importorskip("sentence_transformers").SentenceTransformer(str(out), device="cpu")
    texts = ["the cat sees water", "die katze sieht wasser"]
    vectors = Encoder.from_pretrained(out, "cpu").encode(texts)
    np.testing.assert_allclose(theirs.encode(texts, normalize_embeddings=True), vectors, atol=1e-5)


def test_without_texts_nothing_is_compared(tiny_model, new_tokenizer, tmp_path, capsys):
    assert main(line(tiny_model, new_tokenizer, tmp_path / "new", "--method", "mean")) == 0
    printed = capsys.readouterr().out
    assert "copied" in printed
    assert "LM loss" not in printed


def test_texts_instead_of_a_corpus(tiny_model, new_tokenizer, tmp_path, capsys):
    texts = tmp_path / "texts.txt"
    texts.write_text("the cat sees the old dog\nthe red tree runs\n\nwater sees the cat\n" * 5, encoding="utf-8")
    status = main(line(tiny_model, new_tokenizer, tmp_path / "new", "--texts", texts))
    printed = capsys.readouterr()
    assert status == 0, printed.err
    assert "from similar tokens" in printed.out


def test_the_loss_that_a_start_has(
    tiny_corpus, new_tokenizer, english_tokenizer, tiny_settings, tmp_path, capsys, monkeypatch
):
    """An English language model gets words of two more languages: from similar ones they fit better than drawn."""
    import yaml

    monkeypatch.setattr("mlcl.stages.transplant._SAMPLE", 200)
    settings = tiny_settings
    settings["tokenizer"] = {"path": str(english_tokenizer)}
    settings["training"] |= {
        "max_steps": 80, "info_nce_weight": 0.0, "lm_weight": 1.0, "lm_share": 1.0, "queue_size": 0,
        "learning_rate": 1.0e-2, "gradient_accumulation_steps": 1, "save_strategy": "no", "eval_strategy": "no",
    }  # fmt: skip
    (tmp_path / "lm.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    assert main(["pretrain", "--config", str(tmp_path / "lm.yaml")]) == 0
    capsys.readouterr()
    out = tmp_path / "new"
    assert main(line(tmp_path / "run" / "model", new_tokenizer, out, "--corpus", tiny_corpus)) == 0
    captured = capsys.readouterr()
    rows = [row.split("│") for row in captured.out.split("\n") if "│" in row]
    loss = {row[1].strip(): float(row[4]) for row in rows if len(row) > 5 and row[4].strip()[:1].isdigit()}
    assert set(loss) == {"before", "focus", "mean", "random"}
    assert "head is not trained" not in captured.err
    assert loss["focus"] < loss["random"]
    info = json.loads((out / "mlcl.json").read_text(encoding="utf-8"))
    assert info["languages"] == ["de", "en", "ja"]


def test_a_transplanted_model_trains_on(tiny_model, tiny_corpus, new_tokenizer, tiny_settings, tmp_path):
    import yaml

    out = tmp_path / "new"
    assert main(line(tiny_model, new_tokenizer, out, "--corpus", tiny_corpus)) == 0
    tiny_settings.pop("tokenizer")
    tiny_settings["model"] = {"model_name": str(out)}
    tiny_settings["training"] |= {"max_steps": 2, "max_length": 16}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tiny_settings), encoding="utf-8")
    assert main(["pretrain", "--config", str(tmp_path / "run.yaml")]) == 0
    assert Encoder.from_pretrained(tmp_path / "run" / "model", "cpu").encode("the cat").shape == (1, 32)


def test_a_real_english_encoder(minilm, tiny_model, tmp_path, capsys):
    """BERT's notation, lower case, another padding: texts in shared tokens alone keep their vectors, there and back."""
    texts = tmp_path / "texts.txt"
    shared = ["Enter your password", "The page", "Enter The page"]
    texts.write_text("\n".join([*shared, "Die Seite wurde", "page was deleted."]) + "\n", encoding="utf-8")
    out, back = tmp_path / "new", tmp_path / "back"
    assert main(line(minilm, tiny_model, out, "--texts", texts)) == 2
    assert "too few to be similar to" in capsys.readouterr().err
    assert main(line(minilm, tiny_model, out, "--method", "mean", "--texts", texts)) == 0
    captured = capsys.readouterr()
    assert "focus is left out of the comparison" in captured.err
    assert "head is not trained" in captured.err
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert config["backbone"]["pad_token_id"] == AutoTokenizer.from_pretrained(out).pad_token_id == 1
    assert main(line(out, minilm, back, "--method", "random")) == 0
    vectors = [Encoder.from_pretrained(path, "cpu", dtype="float32").encode(shared) for path in (minilm, out, back)]
    np.testing.assert_allclose(vectors[1], vectors[0], atol=1e-5)
    np.testing.assert_allclose(vectors[2], vectors[0], atol=1e-5)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "focus needs texts to see which tokens are similar"),
        (["--method", "fokus"], "fokus"),
        (["--corpus", "a", "--texts", "b"], "exclude each other"),
        (["--method", "mean", "--languages", "en"], "languages are those of a corpus"),
        (["--texts", "none.txt"], "no such file"),
        (["--corpus", "none"], "no such corpus folder"),
        (["--method", "mean", "--tokenizer", "MODEL"], "has the vocabulary of the old one"),
        (["--method", "mean", "--tokenizer", "./none"], "no such model folder"),
        (["--method", "mean", "--tokenizer", "MINILM"], "counts positions from its own, 1"),
        (["--method", "mean", "--model", "./none"], "no such model folder"),
    ],
)
def test_mistakes(tiny_model, minilm, new_tokenizer, tmp_path, monkeypatch, capsys, more, message):
    monkeypatch.chdir(tmp_path)
    places = {"MODEL": str(tiny_model), "MINILM": str(minilm)}
    assert main(line(tiny_model, new_tokenizer, "new", *(places.get(word, word) for word in more))) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
