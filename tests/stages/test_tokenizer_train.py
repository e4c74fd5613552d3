"""`mlcl tokenizer train`: a folder that AutoTokenizer loads, with its fertility; mistakes leave nothing behind."""

from __future__ import annotations

import json

import pytest

from mlcl.cli import main
from mlcl.corpus.store import CorpusWriter


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    writer = CorpusWriter(folder)
    rows = [("de", f"Die Seite {n} wurde gelöscht.") for n in range(40)] + [
        ("ja", f"ページ{n}を削除しました。") for n in range(9)
    ]
    writer.write_mono(
        [
            {"lang": tag, "text": text, "group": number, "document": "", "origin": "test"}
            for number, (tag, text) in enumerate(rows)
        ]
    )
    writer.close(origins={}, drops=[])
    return folder


def test_the_folder(corpus, tmp_path, capsys):
    from transformers import AutoTokenizer

    out = tmp_path / "tokenizer"
    command = ["tokenizer", "train", "--corpus", str(corpus), "--out", str(out), "--vocab-size", "700"]
    assert main([*command, "--max-length", "40"]) == 0
    assert capsys.readouterr().out.split("\n")[-2] == str(out)
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert tokenizer.model_max_length == 40
    assert tokenizer.mask_token == "<mask>"
    facts = json.loads((out / "fertility.json").read_text(encoding="utf-8"))
    assert facts["vocab_size"] == len(tokenizer)
    assert facts["languages"]["de"]["sentences"] == 40
    assert facts["languages"]["ja"]["tokens_per_word"] is None

    assert main(command) == 2  # it exists
    assert "already exists" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--vocab-size", "100", "at least 600"),
        ("--alpha", "2", "from 0 to 1"),
        ("--max-sentences", "0", "at least 1"),
        ("--vocab-sise", "700", "vocab-size"),
        ("--corpus", "nowhere", "no such corpus folder"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(corpus, tmp_path, capsys, option, value, message):
    out = tmp_path / "tokenizer"
    argv = ["tokenizer", "train", "--corpus", str(corpus), "--out", str(out), option, value]
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]
