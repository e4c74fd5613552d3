from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from mlcl.core.errors import UserError
from mlcl.corpus.store import Corpus, CorpusWriter


def pair(source: str, target_lang: str, target: str, group: int) -> dict[str, object]:
    return {
        "source_lang": "en", "target_lang": target_lang, "source": source, "target": target, "group": group,
        "document": "d", "origin": "o",
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    writer = CorpusWriter(tmp_path, rows_per_shard=2)
    writer.write_pairs([pair("a", "de", "b", 0), pair("a", "fr", "c", 0)])
    writer.write_pairs(
        [pair("a", "it", "d", 0), pair("z", "fr", "c", 1) | {"negatives": ["n"]}, pair("y", "fr", "e", 1)]
    )
    writer.write_mono([{"lang": "sv", "text": "q", "group": 3, "document": "", "origin": "m"}])
    writer.close(origins={"o": {"licence": "CC0"}})
    return tmp_path


def test_rows_come_back_in_order_from_shards_of_bounded_size(folder: Path) -> None:
    corpus = Corpus.open(folder)
    rows = [row for batch in corpus.pair_batches() for row in batch.to_pylist()]
    assert [(row["source"], row["target_lang"], row["target"], row["group"]) for row in rows] == [
        ("a", "de", "b", 0), ("a", "fr", "c", 0), ("a", "it", "d", 0), ("z", "fr", "c", 1), ("y", "fr", "e", 1),
    ]  # fmt: skip
    assert [row["negatives"] for row in rows] == [None, None, None, ["n"], None]
    assert [row for batch in corpus.mono_batches(["lang", "text"]) for row in batch.to_pylist()] == [
        {"lang": "sv", "text": "q"}
    ]
    assert [shard["rows"] for shard in corpus.manifest["shards"]] == [2, 2, 1, 1]


def test_counts_take_a_source_once_per_record_also_across_writes(folder: Path) -> None:
    corpus = Corpus.open(folder)
    assert corpus.languages == ["de", "en", "fr", "it", "sv"]
    assert corpus.sentences() == {"de": 1, "en": 3, "fr": 3, "it": 1, "sv": 1}
    assert {"source_lang": "en", "target_lang": "fr", "rows": 3} in corpus.manifest["language_pairs"]
    assert corpus.manifest["rows"] == {"pairs": 5, "mono": 1}


def test_digests_are_those_of_the_files(folder: Path) -> None:
    for shard in Corpus.open(folder).manifest["shards"]:
        data = (folder / shard["file"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (shard["bytes"], shard["sha256"])


def test_a_language_that_is_not_there(folder: Path) -> None:
    Corpus.open(folder).require(["de", "sv"])
    with pytest.raises(UserError, match="no sentence in ja .*it has de, en"):
        Corpus.open(folder).require(["ja", "de"])


def test_folders_that_are_no_corpus(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such corpus folder"):
        Corpus.open(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="is no corpus"):
        Corpus.open(tmp_path / "empty")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 99}))
    with pytest.raises(UserError, match="schema version 99, this program reads version 1"):
        Corpus.open(folder)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "pairs/00001.parquet").unlink()
    with pytest.raises(UserError, match=r"pairs/00001.parquet: a shard that the manifest names is missing"):
        Corpus.open(folder)


def test_damage_to_a_shard_is_one_line(tiny_corpus, tmp_path):
    import shutil

    folder = tmp_path / "corpus"
    shutil.copytree(tiny_corpus, folder)
    shard = folder / "pairs/00000.parquet"
    Corpus.open(folder).verify(show=False)
    content = shard.read_bytes()

    shard.write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])  # one bit, the same size
    corpus = Corpus.open(folder)
    with pytest.raises(UserError, match=r"pairs/00000.parquet: the shard is damaged: its sha256") as error:
        corpus.verify(show=False)
    assert "\n" not in str(error.value)
    shard.write_bytes(content[:-1])
    with pytest.raises(UserError, match=r"pairs/00000.parquet: the shard has [\d,]+ bytes, [\d,]+ were written"):
        Corpus.open(folder)
    shard.unlink()
    with pytest.raises(UserError, match=r"pairs/00000.parquet: a shard that the manifest names is missing"):
        Corpus.open(folder)
