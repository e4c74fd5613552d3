"""Training batches straight from the shards of a corpus, for corpora larger than the disk or the memory.

In: a corpus in a folder or under a URL. Out: batch number i, as a pure function of (seed, i), the number of ranks and
workers and the ends of the stages; a resumed run needs no state.

Where the indexed sampler (`sampling`) sees the whole corpus, a stream sees a window of `buffer_rows` rows at a time. So

- in an epoch each row of a pair comes once (alpha = 1, no weights, caps or limits), in an order that is random across
  shards and inside a window. The indexed sampler draws with replacement, and counts sentences, not rows;
- rates of languages come from the counts of the whole corpus and the rate of a pair is the mean of those of its two
  languages, but a window gives as many batches as it has rows: where languages lie apart, alpha holds inside windows
  and the mixture between windows stays that of the data. Chunks of many places meet in a window; more rows, more of
  them. Caps of origins and `max_repeats` hold inside each window, caps only where it has other origins to draw from;
- a pair stands between a sentence and another version that is in the window, mostly all: the rows of a sentence are
  neighbours. Group ids are those of the corpus, so false negatives are masked as ever;
- sentences of the LM term come from monolingual shards and from the pairs of the window, in the proportion that the
  corpus has of both.

Memory: the rows of a window as Arrow tables, about 360 bytes a row, in each worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import get_worker_info

from mlcl.core.errors import UserError
from mlcl.corpus.remote import Shards
from mlcl.corpus.rows import SIDES
from mlcl.corpus.store import Corpus
from mlcl.training.batching import Batch
from mlcl.training.corruption import Ids
from mlcl.training.mixing import SamplingSettings, Stage
from mlcl.training.retrieval_dev import DevPairs
from mlcl.training.sources import BatchSettings, Source
from mlcl.training.stream_layout import Layout
from mlcl.training.stream_window import Rates, Window, rates
from mlcl.training.token_store import TokenStore, distinct_sentences, encode, in_memory

_WINDOW_STREAM, _PAIR_STREAM, _HELD_OUT_STREAM = 6, 7, 8
_HELD_OUT_CHUNKS = 8  # places of the corpus that held-out groups come from


class StreamSource(Source):
    """Batches from the shards of a corpus; see the module for what differs from `CorpusSource`.

    Args:
        corpus: The corpus.
        tokenizer: A fast tokenizer.
        max_length: Longest sentence in tokens.
        settings: What a batch holds.
        sampling: Pivot, repetition limit and held-out groups; the stages come by `follow`.
        ranks: Processes that train together.
        workers: Data-loader processes of each, 0 = none.
        buffer_rows: Rows of a window, the shuffle buffer of each worker.
        seed: Seed of everything drawn.

    Raises:
        UserError: the corpus has no pairs, or fewer than one batch for each worker.
    """

    def __init__(
        self,
        corpus: Corpus,
        tokenizer: Any,
        max_length: int,
        settings: BatchSettings,
        sampling: SamplingSettings,
        *,
        ranks: int = 1,
        workers: int = 0,
        buffer_rows: int = 524_288,
        seed: int = 0,
    ) -> None:
        self.settings, self.seed, self.sampling = settings, seed, sampling
        self.tokenizer, self.max_length = tokenizer, max_length
        self.languages, self.origins = corpus.languages, list(corpus.manifest.get("origins") or ())
        self.ranks, self.lanes, self.buffer_rows = ranks, max(1, workers), buffer_rows
        self.shards = Shards(corpus)
        self._entries = {
            kind: [shard for shard in corpus.manifest["shards"] if shard["file"].startswith(f"{kind}/")]
            for kind in SIDES
        }
        self._layouts = {
            kind: Layout([shard["rows"] for shard in entries], ranks * self.lanes, seed)
            for kind, entries in self._entries.items()
        }
        self.pairs = self._layouts["pairs"].rows
        if not self.pairs:
            raise UserError("the corpus has no translation pair", remedy="contrastive training needs pairs")
        counts = corpus.manifest["languages"]
        self._counts = {
            "pairs": np.array([counts[tag]["pairs"] for tag in self.languages]),
            "mono": np.array([counts[tag]["pairs"] + counts[tag]["mono"] for tag in self.languages]),
        }
        self._mono_share = sum(c["mono"] for c in counts.values()) / max(1, self._counts["mono"].sum())
        self._windows: dict[tuple[str, int], tuple[tuple[int, int], Window]] = {}
        self._orders: dict[tuple[str, int], tuple[tuple[int, int, int], np.ndarray]] = {}
        self.dev, self.dev_groups = self._hold_out(sampling.dev_groups, corpus.manifest.get("groups"))
        self.follow([Stage(None, sampling.alpha, sampling.pivot_share)])

    @property
    def provides(self) -> set[str]:
        """Group ids and languages."""
        return {"ids", "languages"}

    @property
    def layout(self) -> dict[str, int]:
        """What a resumed run must have in common with the first, or its batches would be others."""
        return {"ranks": self.ranks, "workers": self.lanes, "buffer_rows": self.buffer_rows}

    def follow(self, stages: Sequence[Stage]) -> None:
        """Draw by a curriculum; its last stage goes on for ever.

        Raises:
            UserError: no such origin in the corpus.
        """
        self.stages = tuple(stages)
        self._rates: dict[str, list[Rates]] = {
            kind: [
                rates(
                    counts, stage.alpha, stage.origin_weights, stage.origin_caps, self.origins,
                    self.sampling.max_repeats,
                )
                for stage in self.stages
            ]
            for kind, counts in self._counts.items()
        }  # fmt: skip

    def __len__(self) -> int:
        return self._of_lane * self.lanes * self.ranks

    def __getitem__(self, number: int) -> Batch:
        try:
            return self._batch(number)
        except UserError as error:
            if get_worker_info() is None:
                raise
            return error  # type: ignore[return-value]  # torch would bury it in a traceback; the Trainer raises it

    def sample_store(self) -> TokenStore:
        """The first window of the first lane in memory, for what looks at a part of the corpus before training.

        Without held-out groups: a model that was initialised by them would have seen its dev pairs.
        """
        table = self._without_held_out(self._read("pairs", 0, 0, 0, self.buffer_rows))
        return in_memory(distinct_sentences(table), self.tokenizer, self.max_length)

    # --- which rows -----------------------------------------------------------------------------------------------

    @property
    def _of_lane(self) -> int:
        """Batches of a lane in an epoch."""
        return -(-self._layouts["pairs"].longest // self.settings.pairs)

    @property
    def _of_window(self) -> int:
        """Batches of a whole window."""
        return max(1, self.buffer_rows // self.settings.pairs)

    def _batch(self, number: int) -> Batch:
        turn, rank = divmod(number, self.ranks)
        epoch, place = divmod(turn, self._of_lane * self.lanes)
        slot, lane = divmod(place, self.lanes)
        lane += rank * self.lanes
        stage = next(
            (i for i, known in enumerate(self.stages[:-1]) if known.end is not None and number < known.end),
            len(self.stages) - 1,
        )
        of_window = self._of_window
        index, slot_of_window = divmod(slot, of_window)
        batches = min(of_window, self._of_lane - index * of_window)
        rows_of_window = of_window * self.settings.pairs
        window = self._window("pairs", epoch, lane, index, index * rows_of_window, (index + 1) * rows_of_window)
        order = self._order("pairs", epoch, lane, index, window, stage)
        rows = np.array_split(order, batches)[slot_of_window]
        rng = np.random.default_rng((self.seed, _PAIR_STREAM, number))
        pivot = None if self.sampling.pivot is None else self.languages.index(self.sampling.pivot)
        other = window.partners(rows, pivot, self.stages[stage].pivot_share, rng)
        first, second, languages = window.pairs(rows, other)
        swap = rng.random(len(rows)) < 0.5
        sides = [(b, a) if swapped else (a, b) for a, b, swapped in zip(first, second, swap.tolist(), strict=True)]
        anchors, positives = ([pair[side] for pair in sides] for side in (0, 1))
        single = self._single(epoch, lane, slot, stage, window, order, rng)
        ids = self._encode([*anchors, *positives, *single])
        n = len(rows)
        batch = self._assemble(number, ids[:n], ids[n : 2 * n], ids[2 * n :], ids=window.group[rows])
        if self.settings.contrastive:
            batch.languages = torch.from_numpy(np.where(swap[:, None], languages[:, ::-1], languages))
        return batch

    def _single(
        self, epoch: int, lane: int, slot: int, stage: int, window: Window, order: np.ndarray, rng: np.random.Generator
    ) -> list[str]:
        """Sentences for the LM term: from the monolingual lane, which goes round and round, and from pairs."""
        wanted = self._single_sentences
        layout = self._layouts["mono"]
        start, stop = layout.bounds(lane)
        of_mono = round(wanted * self._mono_share) if stop > start else 0
        texts: list[str] = []
        if of_mono:
            windows = -(-(stop - start) // self.buffer_rows)
            batches = max(1, (stop - start) // windows // of_mono)
            turn, place = divmod(epoch * self._of_lane + slot, batches)
            lap, index = divmod(turn, windows)
            bounds = ((stop - start) * index // windows, (stop - start) * (index + 1) // windows)
            mono = self._window("mono", lap, lane, index, *bounds)
            known = self._order("mono", lap, lane, index, mono, stage)
            if len(known):  # else the stage wants none of this window's origins
                rows = known[np.arange(place * of_mono, (place + 1) * of_mono) % len(known)]
                texts += mono.texts(rows, np.zeros(len(rows), np.int64))
        if len(order) and wanted > len(texts):
            rows = rng.choice(order, size=wanted - len(texts))
            texts += window.texts(rows, rng.integers(0, 2, size=len(rows)))
        return texts

    # --- windows --------------------------------------------------------------------------------------------------

    def _window(self, kind: str, epoch: int, lane: int, index: int, start: int, stop: int) -> Window:
        """A window of a lane; the last one of each lane stays in memory."""
        known = self._windows.get((kind, lane))
        if known is not None and known[0] == (epoch, index):
            return known[1]
        self._windows.pop((kind, lane), None)  # before the next one is read
        table = self._without_held_out(self._read(kind, epoch, lane, start, stop))
        window = Window(kind, table, self.languages, self.origins)
        self._windows[kind, lane] = ((epoch, index), window)
        return window

    def _without_held_out(self, table: pa.Table) -> pa.Table:
        if not len(self.dev_groups):
            return table
        return table.filter(pa.array(~np.isin(table["group"].to_numpy(), self.dev_groups)))

    def _order(self, kind: str, epoch: int, lane: int, index: int, window: Window, stage: int) -> np.ndarray:
        known = self._orders.get((kind, lane))
        if known is None or known[0] != (epoch, index, stage):
            rng = np.random.default_rng((self.seed, _WINDOW_STREAM, kind == "mono", epoch, lane, index))
            known = (epoch, index, stage), window.order(self._rates[kind][stage], rng)
            self._orders[kind, lane] = known
        return known[1]

    def _read(self, kind: str, epoch: int, lane: int, start: int, stop: int) -> pa.Table:
        columns = [*(name for side in SIDES[kind] for name in side), "group", "origin"]
        parts = [
            self.shards.read(self._entries[kind][span.shard], span.start, span.stop, columns)
            for span in self._layouts[kind].spans(epoch, lane, start, stop)
        ]
        if parts:
            return pa.concat_tables(parts)
        empty = pa.schema([(name, pa.int64() if name == "group" else pa.string()) for name in columns])
        return empty.empty_table()

    def _hold_out(self, wanted: int, groups: int | None) -> tuple[DevPairs | None, np.ndarray]:
        """Pairs of held-out groups from a few places of the corpus, and the ids of the groups."""
        wanted = min(wanted, (self.pairs if groups is None else groups) // 10)
        if not wanted:
            return None, np.empty(0, np.int64)
        rng = np.random.default_rng((self.seed, _HELD_OUT_STREAM))
        chunks = self._layouts["pairs"].chunks
        places = rng.permutation(len(chunks))[:_HELD_OUT_CHUNKS]
        taken: dict[int, tuple[str, str]] = {}
        for number, place in enumerate(places, start=1):
            span = chunks[place]
            columns = ["source", "target", "group"]
            table = self.shards.read(self._entries["pairs"][span.shard], span.start, span.stop, columns)
            for row in rng.permutation(table.num_rows).tolist():
                if len(taken) >= wanted * number // len(places):
                    break
                source, target, group = (table[name][row].as_py() for name in columns)
                if group >= 0:
                    taken.setdefault(group, (source, target))
        if not taken:
            return None, np.empty(0, np.int64)
        sides = zip(*taken.values(), strict=True)
        return DevPairs(*(self._encode(list(side)) for side in sides)), np.array(sorted(taken), np.int64)

    def _encode(self, texts: list[str]) -> list[Ids]:
        return [np.asarray(ids) for ids in encode(self.tokenizer, texts, self.max_length)] if texts else []
