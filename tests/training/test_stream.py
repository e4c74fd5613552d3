"""Streams: every pair once an epoch over ranks and workers, exact resume, any file system, damage in one clear line."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from mlcl.core.errors import UserError
from mlcl.corpus.remote import RemoteCorpus, Shards, open_corpus
from mlcl.corpus.store import Corpus, CorpusWriter
from mlcl.training.corruption import Masking
from mlcl.training.mixing import SamplingSettings, Stage
from mlcl.training.sources import BatchSettings, loader
from mlcl.training.stream import StreamSource
from mlcl.training.stream_layout import Layout, repeats
from mlcl.training.stream_window import Rates, Window

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def word(number: int) -> str:
    """A text for a number that no other number has, of letters of the tiny tokenizer."""
    return " ".join(_LETTERS[int(digit)] for digit in str(number))


@pytest.fixture(scope="module")
def corpus_folder(tmp_path_factory) -> Path:
    """1,003 en-de pairs and 100 en-ja pairs in shards of unequal size; 57 single sentences."""
    folder = tmp_path_factory.mktemp("stream") / "corpus"
    writer = CorpusWriter(folder, rows_per_shard=173)
    rows = [
        {"source_lang": "en", "target_lang": "de" if i < 1003 else "ja", "source": f"the {word(i)}",
         "target": f"die {word(i)}", "group": i, "document": "", "origin": "a" if i % 3 else "b"}
        for i in range(1103)
    ]  # fmt: skip
    writer.write_pairs(rows)
    writer.write_mono(
        [{"lang": "de", "text": f"das {word(i)}", "group": 5000 + i, "document": "", "origin": "m"} for i in range(57)]
    )
    texts = writer.texts_per_origin
    writer.close(groups=1160, origins={name: {"licence": "", "texts": texts[name]} for name in texts})
    return folder


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model)


def make(corpus: Corpus, tokenizer, pairs: int = 16, lm: int = 0, dev_groups: int = 0, alpha: float = 1.0, **options):
    settings = BatchSettings(pairs=pairs, lm_sentences=lm, masking=Masking.of(tokenizer, 0.15) if lm else None)
    sampling = SamplingSettings(alpha=alpha, dev_groups=dev_groups, max_repeats=options.pop("max_repeats", None))
    return StreamSource(corpus, tokenizer, 32, settings, sampling, **{"buffer_rows": 128, "seed": 3, **options})


def fingerprint(batch) -> tuple:
    return batch.ids.tolist(), batch.online.input_ids.tolist(), batch.online.lengths.tolist(), batch.languages.tolist()


def epoch_of(source: StreamSource, epoch: int, ranks: int, workers: int) -> list[list[int]]:
    """Group ids that each rank sees, through real data-loader processes."""
    seen = []
    for rank in range(ranks):
        batches = loader(source, rank=rank, world_size=ranks, workers=workers, pin_memory=False)
        batches.batch_sampler.set_epoch(epoch)
        seen.append([group for batch in batches for group in batch.ids.tolist()])
    return seen


def test_two_ranks_with_two_workers_see_each_pair_once_an_epoch(corpus_folder, tokenizer):
    source = make(Corpus.open(corpus_folder), tokenizer, ranks=2, workers=2)
    orders = []
    for epoch in (0, 1):
        first, second = epoch_of(source, epoch, ranks=2, workers=2)
        assert sorted(first + second) == list(range(1103))
        assert abs(len(first) - len(second)) <= 2  # unequal shards, equal work
        orders.append(first)
    assert orders[0] != orders[1]
    assert orders[0] != sorted(orders[0])
    in_process = [group for i in range(0, len(source), 2) for group in source[i].ids.tolist()]
    assert in_process == orders[0]


@pytest.mark.parametrize(("ranks", "workers", "pairs", "buffer"), [(1, 0, 16, 64), (3, 2, 7, 50), (2, 1, 2000, 2000)])
def test_any_division_sees_each_pair_once(corpus_folder, tokenizer, ranks, workers, pairs, buffer):
    source = make(Corpus.open(corpus_folder), tokenizer, pairs=pairs, ranks=ranks, workers=workers, buffer_rows=buffer)
    seen = Counter(group for i in range(len(source)) for group in source[i].ids.tolist())
    assert seen == Counter(range(1103))
    assert len(source) % ranks == 0  # as many batches for each rank


def test_a_batch_depends_on_its_number_alone(corpus_folder, tokenizer):
    corpus = Corpus.open(corpus_folder)
    run = make(corpus, tokenizer, lm=6, alpha=0.5, workers=2)
    batches = [fingerprint(run[i]) for i in range(2 * len(run))]
    fresh = make(corpus, tokenizer, lm=6, alpha=0.5, workers=2)
    for number in (len(run) + 5, 3, len(run) - 1, 40):
        assert fingerprint(fresh[number]) == batches[number]
    assert fingerprint(pickle.loads(pickle.dumps(fresh))[17]) == batches[17]


def test_stages_change_at_their_ends(corpus_folder, tokenizer):
    corpus = Corpus.open(corpus_folder)
    source = make(corpus, tokenizer)
    source.follow([Stage(end=10, alpha=1.0, origin_weights={"b": 0.0}), Stage(alpha=1.0, origin_weights={"a": 0.0})])
    groups = [source[i].ids.numpy() for i in range(20)]
    assert all((ids % 3 != 0).all() for ids in groups[:10])
    assert all((ids % 3 == 0).all() for ids in groups[10:])
    with pytest.raises(UserError, match="no origin 'q'"):
        source.follow([Stage(origin_caps={"q": 0.5})])


def test_small_languages_come_more_often_with_a_small_alpha_but_not_without_limit(corpus_folder, tokenizer):
    corpus, japanese = Corpus.open(corpus_folder), {}
    for name, options in {"as they lie": {"alpha": 1.0}, "flat": {"alpha": 0.0}, "limited": {"alpha": 0.0}}.items():
        limit = 2.0 if name == "limited" else None
        source = make(corpus, tokenizer, buffer_rows=4096, max_repeats=limit, **options)
        seen = Counter(group for i in range(len(source)) for group in source[i].ids.tolist())
        assert seen.total() == 1103
        japanese[name] = sum(count for group, count in seen.items() if group >= 1003)
    assert japanese["as they lie"] == 100
    assert japanese["flat"] > 350
    assert japanese["limited"] == pytest.approx(200, abs=2)


def test_held_out_groups_are_the_dev_pairs_and_never_trained_on(corpus_folder, tokenizer):
    source = make(Corpus.open(corpus_folder), tokenizer, dev_groups=40)
    assert len(source.dev) == len(source.dev_groups) == 40
    seen = Counter(group for i in range(len(source)) for group in source[i].ids.tolist())
    assert seen == Counter(set(range(1103)) - set(source.dev_groups.tolist()))


def test_what_is_looked_at_before_training_has_no_held_out_group(corpus_folder, tokenizer):
    source = make(Corpus.open(corpus_folder), tokenizer, dev_groups=40, buffer_rows=4096)
    assert set(source.sample_store().group.tolist()) == set(range(1103)) - set(source.dev_groups.tolist())


def single_sentences(source: StreamSource, batches: int = 3) -> list[str]:
    """The sentences of the LM term in the first batches of 32 pairs."""
    made, encode = [], source._encode

    def remember(texts: list[str]) -> list[np.ndarray]:
        made.extend(texts[64:])  # after anchors and positives
        return encode(texts)

    source._encode = remember
    for i in range(batches):
        source[i]
    return made


def test_the_lm_term_gets_monolingual_sentences_and_sentences_of_pairs(corpus_folder, tokenizer):
    made = single_sentences(make(Corpus.open(corpus_folder), tokenizer, pairs=32, lm=64))
    mono = [text for text in made if text.startswith("das ")]
    assert 0 < len(mono) < len(made) == 3 * 64
    assert len(mono) == 3 * round(64 * 57 / (57 + 2206))


def test_a_window_whose_origins_are_not_wanted_gives_no_sentence(corpus_folder, tokenizer):
    source = make(Corpus.open(corpus_folder), tokenizer, pairs=32, lm=64)
    source.follow([Stage(alpha=1.0, origin_weights={"m": 0.0})])
    made = single_sentences(source)
    assert len(made) == 3 * 64
    assert not any(text.startswith("das ") for text in made)


def test_monolingual_sentences_come_round_and_round_each_as_often(corpus_folder, tokenizer):
    source = make(Corpus.open(corpus_folder), tokenizer, pairs=32, lm=64, buffer_rows=4096)
    source._mono_share = 10 / 64  # ten in a batch, five batches in a lap over 57
    counts = Counter(text for text in single_sentences(source, 10) if text.startswith("das "))
    assert counts.total() == 100
    assert max(counts.values()) == 2


def test_without_dev_groups_nothing_is_read_before_training(corpus_folder, tokenizer, monkeypatch):
    monkeypatch.setattr(Shards, "read", lambda *args: pytest.fail("a shard was read"))
    assert make(Corpus.open(corpus_folder), tokenizer).dev is None


def test_a_stream_from_memory_equals_one_from_disk(corpus_folder, tokenizer):
    system = fsspec.filesystem("memory")
    system.put(str(corpus_folder), "/stream-corpus", recursive=True)
    try:
        remote = open_corpus("memory://stream-corpus")
        assert isinstance(remote, RemoteCorpus)
        local = open_corpus(corpus_folder)
        assert remote.manifest == local.manifest
        assert pa.Table.from_batches(remote.pair_batches()) == pa.Table.from_batches(local.pair_batches())
        there, here = make(remote, tokenizer, lm=4), make(local, tokenizer, lm=4)
        for number in (0, 7, len(here) + 1):
            assert fingerprint(there[number]) == fingerprint(here[number])
        system.rm("/stream-corpus/pairs/00002.parquet")
        with pytest.raises(UserError, match=r"memory://stream-corpus/pairs/00002.parquet: a shard .* is missing"):
            [there[number] for number in range(len(there))]
        system.pipe("/stream-corpus/pairs/00002.parquet", b"PAR1 rubbish PAR1")
        with pytest.raises(UserError, match=r"pairs/00002.parquet: the shard cannot be read"):
            list(make(remote, tokenizer).shards.read(remote.manifest["shards"][2], 0, 5))
        system.copy("/stream-corpus/pairs/00006.parquet", "/stream-corpus/pairs/00002.parquet")
        with pytest.raises(UserError, match=r"has 65 rows, 173 were written"):
            make(remote, tokenizer).shards.read(remote.manifest["shards"][2], 0, 5)
    finally:
        system.rm("/stream-corpus", recursive=True)


def test_no_corpus_and_no_protocol_are_clear():
    with pytest.raises(UserError, match="no manifest.json"):
        open_corpus("memory://nothing-here")
    with pytest.raises(UserError, match="nonsense"):
        open_corpus("nonsense://x")


def test_a_data_loader_process_hands_its_error_over(corpus_folder, tokenizer, tmp_path):
    import shutil

    damaged = tmp_path / "damaged"
    shutil.copytree(corpus_folder, damaged)
    source = make(Corpus.open(damaged), tokenizer, workers=1)
    for shard in (damaged / "pairs").iterdir():
        shard.unlink()
    (error, *_) = loader(source, rank=0, world_size=1, workers=1, pin_memory=False)
    assert isinstance(error, UserError)
    assert "a shard that the manifest names is missing" in str(error)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(1, 7), st.integers(1, 9), st.integers(1, 20))
def test_lanes_share_no_row_and_lose_none(shard_rows, lanes, chunk, window):
    layout = Layout(shard_rows, lanes, seed=1, chunk=chunk)
    seen = Counter()
    for lane in range(lanes):
        start, stop = layout.bounds(lane)
        assert stop - start in (layout.longest, layout.longest - 1, 0)
        spans = [
            span for first in range(0, layout.longest, window) for span in layout.spans(2, lane, first, first + window)
        ]
        assert sum(span.stop - span.start for span in spans) == stop - start
        seen.update((span.shard, row) for span in spans for row in range(span.start, span.stop))
    assert seen == Counter((shard, row) for shard, rows in enumerate(shard_rows) for row in range(rows))


@given(st.lists(st.floats(0, 5), min_size=1, max_size=40), st.integers(0, 100))
def test_repeats_are_the_floor_or_one_more_and_sum_up(expected, seed):
    expected = np.array(expected)
    expected *= round(expected.sum()) / max(expected.sum(), 1e-9)
    counts = repeats(expected, np.random.default_rng(seed))
    assert counts.sum() == round(expected.sum())
    assert (np.abs(counts - expected) < 1 + 1e-6).all()


def test_repeats_are_right_on_average():
    expected = np.array([0.2, 1.5, 0.3, 2.0])
    rng = np.random.default_rng(0)
    mean = np.mean([repeats(expected, rng) for _ in range(4000)], axis=0)
    assert mean == pytest.approx(expected, abs=0.05)


def test_any_version_of_a_group_may_stand_beside_another_and_the_pivot_is_favoured():
    rows = [("en", "de", 0), ("en", "ja", 0), ("en", "sw", 0), ("ja", "de", 1)]
    table = pa.table(
        {
            "source_lang": [row[0] for row in rows], "target_lang": [row[1] for row in rows],
            "source": [f"s{row[2]}" for row in rows], "target": [f"t{i}" for i in range(4)],
            "group": pa.array([row[2] for row in rows], pa.int64()), "origin": ["a"] * 4,
        }
    )  # fmt: skip
    window = Window("pairs", table, ["de", "en", "ja", "sw"], ["a"])
    rng, numbers = np.random.default_rng(0), np.array([0, 1, 2, 3] * 300)
    other = window.partners(numbers, None, 0.0, rng)
    found = Counter(zip(numbers.tolist(), other.tolist(), strict=True))
    assert found[3, -1] == 300
    for row in range(3):
        partners = {-1, 0, 1, 2} - {row}
        assert all(found[row, partner] == pytest.approx(100, abs=30) for partner in partners)
    assert set(window.partners(np.array([0, 1, 2] * 50), 1, 1.0, rng).tolist()) == {-1}
    assert set(window.partners(np.array([0, 2] * 50), 2, 1.0, rng).tolist()) == {1}
    first, second, languages = window.pairs(np.array([0, 3]), np.array([2, -1]))
    assert (first, second, languages.tolist()) == (["t0", "t3"], ["t2", "s1"], [[0, 3], [0, 2]])


def test_caps_hold_inside_a_window_where_there_is_something_else(corpus_folder):
    (table,) = [pa.Table.from_batches(Corpus.open(corpus_folder).pair_batches())]
    window = Window("pairs", table, ["de", "en", "ja"], ["a", "b"])
    ones = np.ones(3)
    order = window.order(Rates(ones, np.ones(2), np.array([0.5, 1.0]), np.inf), np.random.default_rng(0))
    assert np.mean(window.origin[order] == 0) == pytest.approx(0.5, abs=0.002)  # to a row or two, not just on average
    alone = Window("pairs", table.filter(pa.array(window.origin == 0)), ["de", "en", "ja"], ["a", "b"])
    order = alone.order(Rates(ones, np.ones(2), np.array([0.5, 1.0]), np.inf), np.random.default_rng(0))
    assert sorted(order) == list(range(len(alone)))
