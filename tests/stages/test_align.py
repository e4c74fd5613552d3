"""`mlcl align`: documents in order and matched, lines, splitting, mistakes."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from mlcl.cli import main
from mlcl.model.encoder import Encoder


def words_of(n):
    return [f"{name}{n}" for name in ("ap", "bo", "cu", "do")]


def document(start, count):
    return [" ".join(words_of(start + n)) for n in range(count)]


@pytest.fixture(autouse=True)
def _bag_of_words(monkeypatch):
    """An encoder for which only the words count, whatever their case: upper case is the other language."""

    def encode(self, texts, *args, **kwargs):
        rows = np.zeros((len(texts), 64))
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                row += np.random.default_rng(sum(ord(c) * 31**i for i, c in enumerate(word))).normal(size=64)
        return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)).astype(np.float32)

    monkeypatch.setattr(Encoder, "encode", encode)


@pytest.fixture
def files(tmp_path):
    """Three documents; on the other side two sentences of the first are one, and the second lacks one."""
    source = [document(0, 6), document(100, 5), document(200, 7)]
    target = [[line.upper() for line in one] for one in source]
    target[0][1:3] = [" ".join(target[0][1:3])]
    del target[1][2]
    for name, side in (("source", source), ("target", target), ("shuffled", [target[2], target[0], target[1]])):
        (tmp_path / f"{name}.txt").write_text("\n\n".join("\n".join(one) for one in side) + "\n", encoding="utf-8")
    return tmp_path


def run(tiny_model, folder, *more, target="target.txt", out="p.parquet"):
    line = ["align", "--model", str(tiny_model), "--source", str(folder / "source.txt"), "--target"]
    return main([*line, str(folder / target), "--out", str(folder / out), *more])


def table(path):
    return pq.read_table(path).to_pylist()


def test_documents_in_order(tiny_model, files, capsys):
    assert run(tiny_model, files) == 0
    rows = table(files / "p.parquet")
    assert all(row["source"].upper() == row["target"] for row in rows)
    assert len(rows) == 5 + 4 + 7
    merged = next(row for row in rows if len(row["source"].split()) == 8)
    assert (merged["source_line"], merged["target_line"]) == (2, 2)
    assert rows[-1]["source_line"] == 6 + 1 + 5 + 1 + 7
    assert min(row["score"] for row in rows) > 0.9
    page = (files / "p.parquet.html").read_text()
    assert "2-1" in page
    assert "data:image/png" in page
    out = capsys.readouterr().out
    assert "2-1" in out
    assert "1-0" in out
    assert out.strip().endswith("p.parquet")


def test_documents_are_matched(tiny_model, files):
    assert run(tiny_model, files, "--match", "true", target="shuffled.txt") == 0
    matched = table(files / "p.parquet")
    assert run(tiny_model, files, out="q.parquet") == 0
    keys = [("score", "source", "target")] * 2
    first, second = (
        [tuple(round(row[k], 5) if k == "score" else row[k] for k in key) for row in rows]
        for key, rows in zip(keys, (matched, table(files / "q.parquet")), strict=True)
    )
    assert first == second


def test_running_text_is_split(tiny_model, tmp_path):
    pytest.importorskip("sentencex")
    (tmp_path / "source.txt").write_text("The page was deleted. Enter your password!\n")
    (tmp_path / "target.txt").write_text("The Page Was Deleted. Enter Your Password!\n")
    languages = ["--source_language", "en", "--target_language", "en"]
    assert run(tiny_model, tmp_path, "--split", "true", *languages, out="p.tsv") == 0
    assert [line.split("\t")[1:] for line in (tmp_path / "p.tsv").read_text().split("\n")[:-1]] == [
        ["The page was deleted.", "The Page Was Deleted."],
        ["Enter your password!", "Enter Your Password!"],
    ]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--target", "one.txt"], "3 documents, but one.txt has 1 (let them be found"),
        (["--target", "blank.txt"], "only blank lines"),
        (["--target", "none.txt"], "no such file"),
        (["--most", "0"], "at least 1"),
        (["--split", "true"], "--split needs the language of the source"),
        (["--out", "p.csv"], "give .tsv or .parquet"),
    ],
)
def test_mistakes(tiny_model, files, monkeypatch, capsys, more, message):
    monkeypatch.chdir(files)
    (files / "one.txt").write_text("alone\n")
    (files / "blank.txt").write_text("\n\n")
    before = sorted(files.iterdir())
    assert run(tiny_model, files, *more) == 2
    assert message in capsys.readouterr().err
    assert sorted(files.iterdir()) == before
