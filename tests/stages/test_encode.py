"""`mlcl encode`: every format holds the vectors of `Encoder.encode`, whatever the blocks; mistakes leave nothing."""

from __future__ import annotations

import gzip
import io
import sys
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from mlcl.cli import main
from mlcl.model.encoder import Encoder
from mlcl.stages import encode

LINES = [
    "The page was deleted.",
    "",
    "ページを削除しました。",
    "Enter",
    "Enter",
    "zwei\u2028Zeilen, eine Zeile",
    "Seite " * 9,
]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return path


def read(path) -> np.ndarray:
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        assert table.column("text").to_pylist() == LINES
        return np.array(table.column("vector").to_pylist(), dtype=np.float32)
    return np.fromfile(path, dtype="<f4").reshape(-1, 32)


@pytest.mark.parametrize("name", ["v.npy", "v.parquet", "v.raw", "v.f32", "v.bin"])
@pytest.mark.parametrize("block", [2, 7, 100])
def test_formats_and_blocks(tiny_model, text, tmp_path, monkeypatch, capsys, name, block):
    monkeypatch.setattr(encode, "BLOCK", block)
    out = tmp_path / name
    assert main(["encode", "--model", str(tiny_model), "--in", str(text), "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(out)
    assert "7 vectors of 32" in captured.err
    assert "blank lines: 1" in captured.err
    np.testing.assert_allclose(read(out), Encoder.from_pretrained(tiny_model).encode(LINES), atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["lines.txt", name])


def test_options_and_gzip(tiny_model, tmp_path):
    zipped, out = tmp_path / "lines.txt.gz", tmp_path / "vectors.data"
    zipped.write_bytes(gzip.compress("\n".join(LINES).encode()))
    argv = ["encode", "--model", str(tiny_model), "--in", str(zipped), "--out", str(out), "--format", "raw"]
    assert main([*argv, "--dim", "8", "--normalize", "false", "--prompt", "query: "]) == 0
    expected = Encoder.from_pretrained(tiny_model).encode(LINES, dim=8, normalize=False, prompt="query: ")
    np.testing.assert_allclose(np.fromfile(out, dtype="<f4").reshape(7, 8), expected, atol=1e-5)


def test_standard_input(tiny_model, tmp_path, monkeypatch):
    data = io.BytesIO(b"\xef\xbb\xbfEnter\r\nThe page")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=data))
    out = tmp_path / "v.npy"
    assert main(["encode", "--model", str(tiny_model), "--in", "-", "--out", str(out)]) == 0
    np.testing.assert_allclose(
        np.load(out), Encoder.from_pretrained(tiny_model).encode(["Enter", "The page"]), atol=1e-5
    )


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", [], "the file is empty"),
        (b"fine\n\xff\xfe\xfd\n", [], "lines.txt:2: invalid UTF-8"),
        (None, [], "no such file"),
        (b"a\n", ["--out", "v.txt"], "names no format"),
        (b"a\n", ["--format", "csv"], "unknown format 'csv'"),
        (b"a\n", ["--dim", "99"], "32 dimensions"),
        (b"a\n", ["--model", "./nowhere"], "no such model folder"),
        (b"a\n", ["--dtype", "int4"], "unknown dtype"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(tiny_model, tmp_path, monkeypatch, capsys, content, options, message):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "lines.txt").write_bytes(content)
    argv = ["encode", "--model", str(tiny_model), "--in", "lines.txt", "--out", "v.npy", *options]
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == (["lines.txt"] if content is not None else [])


def test_an_output_is_kept_unless_told_otherwise(tiny_model, text, tmp_path, capsys):
    out = tmp_path / "v.npy"
    out.write_bytes(b"mine")
    argv = ["encode", "--model", str(tiny_model), "--in", str(text), "--out", str(out)]
    assert main(argv) == 2
    assert out.read_bytes() == b"mine"
    assert "already exists" in capsys.readouterr().err
    assert main([*argv, "--overwrite"]) == 0
    assert np.load(out).shape == (7, 32)


def test_bad_utf8_late_in_the_file_leaves_nothing(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(encode, "BLOCK", 2)
    (tmp_path / "lines.txt").write_bytes(b"a\nb\nc\nd\n\xff\n")
    out = tmp_path / "v.parquet"
    assert main(["encode", "--model", str(tiny_model), "--in", str(tmp_path / "lines.txt"), "--out", str(out)]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["lines.txt"]
