"""`mlcl mine`: planted pairs are found from texts, vectors or both; thresholds; stopping and going on; mistakes."""

from __future__ import annotations

import gzip
import os

import numpy as np
import pyarrow.parquet as pq
import pytest

from mlcl.cli import main
from mlcl.retrieval.mining import mine
from mlcl.stages import mine as stage

N, D = 60, 16
SHARED = 40  # source line n (from 0) below this translates target line N - 1 - n


@pytest.fixture
def planted(tmp_path):
    """Two text files and vectors of their lines: 40 pairs, in reverse order on the other side, among 20 others."""
    chance = np.random.default_rng(0)
    source = chance.normal(size=(N, D)).astype(np.float32)
    target = chance.normal(size=(N, D)).astype(np.float32)
    for row in range(SHARED):
        target[N - 1 - row] = source[row] + 0.3 * chance.normal(size=D)
    for name, rows in (("source", source), ("target", target)):
        (tmp_path / f"{name}.txt").write_text("".join(f"{name} {n}\n" for n in range(N)), encoding="utf-8")
        np.save(tmp_path / f"{name}.npy", rows)
        (tmp_path / f"{name}.raw").write_bytes(rows.astype("<f4").tobytes())
    gold = "".join(f"{row + 1}\t{N - row}\n" for row in range(SHARED))
    (tmp_path / "gold.tsv").write_text(gold)
    return tmp_path


def words(folder, *more, out="pairs.tsv", suffix="npy", texts=True):
    line = ["mine", "--source_vectors", str(folder / f"source.{suffix}"), "--target_vectors"]
    line += [str(folder / f"target.{suffix}"), "--out", str(folder / out)]
    if texts:
        line += ["--source", str(folder / "source.txt"), "--target", str(folder / "target.txt")]
    return [*line, *more]


def rows_of(path):
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    return [line.split("\t") for line in text.split("\n")[:-1]]


def expected(folder, **options):
    return mine(np.load(folder / "source.npy"), np.load(folder / "target.npy"), **options)


def test_pairs_and_page(planted, capsys):
    assert main(words(planted)) == 0
    rows = rows_of(planted / "pairs.tsv")
    source, target, score = expected(planted)
    assert [row[1:] for row in rows] == [
        [f"source {a}", f"target {b}"] for a, b in zip(source.tolist(), target.tolist(), strict=True)
    ]
    np.testing.assert_allclose([float(row[0]) for row in rows], score, atol=1e-6)
    best = {tuple(int(cell.split()[1]) for cell in row[1:]) for row in rows[:SHARED]}
    assert len(best & {(n, N - 1 - n) for n in range(SHARED)}) > 0.9 * SHARED
    page = (planted / "pairs.tsv.html").read_text()
    assert "data:image/png" in page
    assert rows[0][1] in page
    assert not (planted / "pairs.tsv.unfinished").exists()
    assert capsys.readouterr().out.strip() == f"report: {planted / 'pairs.tsv.html'}\n{planted / 'pairs.tsv'}"


@pytest.mark.parametrize("retrieval", ["forward", "intersect"])
def test_options_reach_the_search(planted, retrieval):
    assert main(words(planted, "--retrieval", retrieval, "--margin", "distance", "--k", "2", out="p.tsv.gz")) == 0
    scores = [float(row[0]) for row in rows_of(planted / "p.tsv.gz")]
    np.testing.assert_allclose(scores, expected(planted, retrieval=retrieval, margin="distance", k=2)[2], atol=1e-6)


def test_raw_vectors_alone_give_line_numbers(planted):
    assert main(words(planted, "--dimension", str(D), suffix="raw", texts=False)) == 0
    source, target, _ = expected(planted)
    assert [[int(cell) for cell in row[1:]] for row in rows_of(planted / "pairs.tsv")] == [
        [a + 1, b + 1] for a, b in zip(source.tolist(), target.tolist(), strict=True)
    ]


def test_gold_pairs_give_a_threshold_and_its_quality(planted, capsys):
    assert main(words(planted, "--gold", str(planted / "gold.tsv"), out="p.parquet")) == 0
    table = pq.read_table(planted / "p.parquet").to_pydict()
    right = [b == N + 1 - a for a, b in zip(table["source_line"], table["target_line"], strict=True)]
    assert np.mean(right) > 0.9
    assert sum(right) > 0.8 * SHARED
    assert table["source"][0] == f"source {table['source_line'][0] - 1}"
    assert len(table["score"]) < len(expected(planted)[2])
    out = capsys.readouterr().out
    assert "threshold" in out
    assert "precision" in out
    assert "learned from one half" in (planted / "p.parquet.html").read_text()


def test_a_threshold_cuts(planted):
    scores = expected(planted)[2]
    assert main(words(planted, "--threshold", str(scores[9] - 1e-9))) == 0
    assert len(rows_of(planted / "pairs.tsv")) == 10


def test_texts_are_encoded_and_repeated_ones_are_one(tiny_model, tmp_path, capsys):
    lines = ["The page was deleted.", "", "Enter your password", "Enter your password", "Die Seite"]
    (tmp_path / "a.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "b.txt").write_text("\n".join(reversed(lines)) + "\n")
    line = ["mine", "--model", str(tiny_model), "--source", str(tmp_path / "a.txt"), "--target"]
    assert main([*line, str(tmp_path / "b.txt"), "--out", str(tmp_path / "p.parquet")]) == 0
    table = pq.read_table(tmp_path / "p.parquet").to_pydict()
    assert table["source"] == table["target"]
    assert sorted(zip(table["source_line"], table["target_line"], strict=True)) == [(1, 5), (3, 2), (5, 1)]
    assert "2 of 5 lines are blank or repeat another" in capsys.readouterr().err


@pytest.mark.parametrize("at", ["encoding", "comparing", "searching in cells"])
def test_ctrl_c_and_resume(tiny_model, planted, monkeypatch, capsys, at):
    from mlcl.model.encoder import Encoder
    from mlcl.retrieval import ivf, knn
    from mlcl.stages import _mine_sides

    monkeypatch.setattr(_mine_sides, "_BLOCK", 16)
    monkeypatch.setattr(knn, "_ROWS", 16)
    monkeypatch.setattr(ivf, "_BLOCK", 40)
    texts = ["--source", str(planted / "source.txt"), "--target", str(planted / "target.txt")]
    line = ["mine", "--model", str(tiny_model), *texts]
    if at == "searching in cells":
        pytest.importorskip("faiss")
        line += ["--index", "ivf"]
    assert main([*line, "--out", str(planted / "whole.tsv")]) == 0
    searches = {"comparing": knn.BothWays, "searching in cells": ivf.BothWaysIvf}
    target, name = (Encoder, "encode") if at == "encoding" else (searches[at], "advance")
    real, calls = getattr(target, name), []

    def stopped(self, *args, **kwargs):
        calls.append(self)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    ticks = iter(range(0, 10**6, 100))  # every look at the clock is 100 s later, so each step is kept
    monkeypatch.setattr("time.monotonic", lambda: next(ticks))
    with monkeypatch.context() as patch:
        patch.setattr(target, name, stopped)
        assert main([*line, "--out", str(planted / "p.tsv")]) == 130
    assert "--resume" in capsys.readouterr().err
    assert not (planted / "p.tsv").exists()
    assert main([*line, "--out", str(planted / "p.tsv")]) == 2  # an unfinished run lies there
    assert main([*line, "--out", str(planted / "p.tsv"), "--k", "3", "--resume"]) == 2
    written = (planted / "source.txt").stat().st_mtime_ns
    os.utime(planted / "source.txt", ns=(0, written + 1))  # other texts of the same length
    assert main([*line, "--out", str(planted / "p.tsv"), "--resume"]) == 2
    assert "started with another files (they have changed)" in capsys.readouterr().err
    os.utime(planted / "source.txt", ns=(0, written))
    calls.clear()
    with monkeypatch.context() as patch:
        patch.setattr(target, name, lambda self, *a, **k: (calls.append(self), real(self, *a, **k))[1])
        assert main([*line, "--out", str(planted / "p.tsv"), "--resume"]) == 0
    assert len(calls) == {"encoding": 6, "comparing": 2, "searching in cells": 2}[at]  # of 8 blocks, and of 4
    assert (planted / "p.tsv").read_text() == (planted / "whole.tsv").read_text()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--source", "none.txt"], "no such file"),
        (["--k", "0"], "at least 1"),
        (["--out", "pairs.csv"], "give .tsv or .parquet"),
        (["--model", "somewhere"], "nothing to do"),
        (["--gold", "bad.tsv"], "bad.tsv:2: two line numbers"),
        (["--gold", "far.tsv"], "far.tsv:1: target line 99 is no sentence"),
        (["--target_vectors", "short.npy"], "59 vectors, but 60 lines"),
        (["--target_vectors", "narrow.npy"], "vectors of 16 values on the source side, of 8"),
        (["--target_vectors", "nan.npy"], "not finite"),
        (["--target_vectors", "target.raw"], "give --dimension"),
        (["--target_vectors", "target.raw", "--dimension", "7"], "no whole number"),
        (["--target_vectors", "target.txt"], "names no vectors"),
        (["--source", "blank.txt"], "only blank lines"),
        (["--resume"], "no run to resume"),
    ],
)
def test_mistakes(planted, monkeypatch, capsys, more, message):
    monkeypatch.chdir(planted)
    rows = np.load("target.npy")
    np.save("short.npy", rows[:-1])
    np.save("narrow.npy", rows[:, :8])
    np.save("nan.npy", np.where(np.arange(N)[:, None] == 5, np.nan, rows).astype(np.float32))
    (planted / "bad.tsv").write_text("1\t60\n2 59\n")
    (planted / "far.tsv").write_text("1\t99\n")
    (planted / "blank.txt").write_text("\n \n")
    before = sorted(planted.iterdir())
    assert main([*words(planted), *more]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "Traceback" not in error
    assert [path for path in sorted(planted.iterdir()) if path not in before] == []


def test_cells_find_what_the_exact_search_finds(planted):
    pytest.importorskip("faiss")
    from mlcl.retrieval.ivf import nearest_both_ivf
    from mlcl.retrieval.knn import nearest_both, unit

    x, y = unit(np.load(planted / "source.npy")), unit(np.load(planted / "target.npy"))
    for mine_, exact in zip(nearest_both_ivf(x, y, 4), nearest_both(x, y, 4), strict=True):
        np.testing.assert_array_equal(mine_.index, exact.index)
        np.testing.assert_allclose(mine_.scores, exact.scores, atol=1e-6)
    assert main(words(planted, "--index", "ivf")) == 0
    assert len(rows_of(planted / "pairs.tsv")) == len(expected(planted)[2])


def test_codes_propose_and_exact_cosines_decide(monkeypatch):
    pytest.importorskip("faiss")
    from mlcl.retrieval import ivf
    from mlcl.retrieval.knn import nearest_both, unit

    monkeypatch.setattr(ivf, "_WHOLE_UP_TO", 100)
    chance = np.random.default_rng(0)
    centres = chance.normal(size=(40, 32))
    x, y = (unit(centres[np.arange(1200) % 40] + 0.5 * chance.normal(size=(1200, 32))) for _ in range(2))
    found, exact = ivf.nearest_both_ivf(x, y, 4), nearest_both(x, y, 4)
    for (queries, keys), mine_, right in zip(((x, y), (y, x)), found, exact, strict=True):
        recall = np.mean([len(set(a) & set(b)) / 4 for a, b in zip(mine_.index, right.index, strict=True)])
        assert recall > 0.5
        np.testing.assert_allclose(mine_.scores, np.einsum("nd,nkd->nk", queries, keys[mine_.index]), atol=1e-5)


def test_the_stage_is_what_the_library_call_is(planted):
    assert stage.run(stage.Config(
        out=str(planted / "p.tsv"), source_vectors=str(planted / "source.npy"),
        target_vectors=str(planted / "target.npy"), retrieval="backward",
    )) == planted / "p.tsv"  # fmt: skip
    assert len(rows_of(planted / "p.tsv")) == N
