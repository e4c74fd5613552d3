"""`mlcl search`: the order of plain cosines, from a file, a corpus, vectors or an index; mistakes are one line."""

from __future__ import annotations

import io
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mlcl.cli import main
from mlcl.corpus.store import CorpusWriter
from mlcl.model.encoder import Encoder
from mlcl.model.model import MLCModel

TEXTS = [
    "The page was deleted.",
    "",
    "ページを削除しました。",
    "Enter",
    "Enter",
    "Die Seite wurde gelöscht.",
    "password",
]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    return path


def answers(capsys) -> list[list[str]]:
    return [line.split("\t") for line in capsys.readouterr().out.split("\n") if line]


def expected(model, query: str, texts: list[str], k: int) -> list[tuple[str, float]]:
    encoder = Encoder.from_pretrained(model)
    cosines = (encoder.encode(query) @ encoder.encode(texts).T)[0]
    return [(texts[row], float(cosines[row])) for row in np.argsort(-cosines, kind="stable")[:k]]


def test_a_text_file(tiny_model, text, capsys):
    assert main(["search", "--model", str(tiny_model), "--corpus", str(text), "--k", "3", "Enter the page"]) == 0
    rows = answers(capsys)
    kept = [line for line in dict.fromkeys(TEXTS) if line]
    want = expected(tiny_model, "Enter the page", kept, 3)
    assert [(row[1], row[4]) for row in rows] == [(str(rank), line) for rank, (line, _) in enumerate(want, start=1)]
    np.testing.assert_allclose([float(row[2]) for row in rows], [score for _, score in want], atol=1e-3)
    assert all(row[0] == "Enter the page" for row in rows)
    assert {row[3] for row in rows} <= {f"line {TEXTS.index(line) + 1}" for line in kept}


def test_queries_from_a_pipe(tiny_model, text, capsys, monkeypatch):
    data = io.BytesIO("Enter\n\nDie Seite wurde gelöscht.\n".encode())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=data, isatty=lambda: False))
    assert main(["search", "--model", str(tiny_model), "--corpus", str(text), "--k", "1"]) == 0
    rows = answers(capsys)
    assert [(row[0], row[3], row[4]) for row in rows] == [
        ("Enter", "line 4", "Enter"),
        ("Die Seite wurde gelöscht.", "line 6", "Die Seite wurde gelöscht."),
    ]


def test_a_corpus_folder_and_its_languages(tiny_model, tmp_path, capsys):
    folder = tmp_path / "corpus"
    folder.mkdir()
    writer = CorpusWriter(folder)
    pair = {"source_lang": "en", "target_lang": "de", "group": 0, "document": "", "origin": "o", "negatives": None}
    writer.write_pairs([{**pair, "source": "The page was deleted.", "target": "Die Seite wurde gelöscht."}])
    writer.write_mono([{"lang": "ja", "text": "ページを削除しました。", "group": 1, "document": "", "origin": "o"}])
    writer.close(origins={}, drops=[])
    argv = ["search", "--model", str(tiny_model), "--corpus", str(folder), "page"]
    assert main(argv) == 0
    assert {(row[3], row[4]) for row in answers(capsys)} == {
        ("en", "The page was deleted."),
        ("de", "Die Seite wurde gelöscht."),
        ("ja", "ページを削除しました。"),
    }
    assert main([*argv, "--languages", "deu,ja"]) == 0
    assert {row[3] for row in answers(capsys)} == {"de", "ja"}
    assert main([*argv, "--languages", "fr"]) == 2
    assert "no sentence in fr" in capsys.readouterr().err
    assert main([*argv[:-1], "--languages", "de", "the page"]) == 2
    assert "put it before the flags" in capsys.readouterr().err


def test_vectors_with_their_texts(tiny_model, text, tmp_path, capsys):
    vectors = tmp_path / "v.npy"
    assert main(["encode", "--model", str(tiny_model), "--in", str(text), "--out", str(vectors)]) == 0
    capsys.readouterr()
    argv = ["search", "--model", str(tiny_model), "--corpus", str(vectors), "password", "--k", "1"]
    assert main([*argv, "--texts", str(text)]) == 0
    assert answers(capsys)[0][3:] == ["line 7", "password"]
    assert main(argv) == 2
    assert "--texts goes with vectors" in capsys.readouterr().err
    np.save(vectors, np.zeros((3, 32), np.float32))
    assert main([*argv, "--texts", str(text)]) == 2
    assert "7 lines" in capsys.readouterr().err


def test_an_index_is_made_once_and_belongs_to_its_model_and_texts(tiny_model, text, tmp_path, capsys, monkeypatch):
    index = tmp_path / "index.npz"
    argv = ["search", "--model", str(tiny_model), "--corpus", str(text), "--index", str(index), "--k", "2", "Enter"]
    assert main(argv) == 0
    first, made = answers(capsys), index.stat().st_mtime_ns
    assert main(argv) == 0
    assert answers(capsys) == first
    assert index.stat().st_mtime_ns == made

    other = shutil.copytree(tiny_model, tmp_path / "other")
    model = MLCModel.from_pretrained(other)
    torch.manual_seed(5)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(other)
    assert main(["search", "--model", str(other), *argv[3:]]) == 2
    assert "made by another model" in capsys.readouterr().err
    text.write_text("another text\n", encoding="utf-8")
    assert main(argv) == 2
    assert "made of other texts" in capsys.readouterr().err
    index.write_bytes(b"not an index")
    assert main(argv) == 2
    assert "not an index" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--corpus", "nowhere.txt", "x"], "no such file"),
        (["--k", "0", "x"], "at least 1"),
        (["--languages", "de", "--k", "1", "x"], "needs a corpus folder"),
        (["--index", "v.npy", "x"], ".npz"),
        ([" "], "the query is empty"),
    ],
)
def test_mistakes_are_one_line(tiny_model, text, capsys, options, message):
    assert main(["search", "--model", str(tiny_model), "--corpus", str(text), *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_nothing_to_search(tiny_model, tmp_path, capsys):
    (tmp_path / "blank.txt").write_text("\n \n")
    assert main(["search", "--model", str(tiny_model), "--corpus", str(tmp_path / "blank.txt"), "x"]) == 2
    assert "no text to search" in capsys.readouterr().err
