"""Hard negatives of a corpus: texts that an encoder finds close to a sentence although they do not translate it.

In: a `Corpus` and `embed(texts) -> (N, D)`. Out: for each pair row the rows whose targets are its hard negatives; a new
corpus folder with them in the column `negatives`.

What is close to a sentence is often a translation that nobody marked. So a candidate is left out when it has the group
of the pair, or when its similarity comes near that of the positive: above `guard` times it (the positive-aware rule of
NV-Retriever, arXiv 2407.15831, there with 0.95; mining with the current encoder: ANCE, arXiv 2007.00808). Memory is
bounded by one block of each pair of languages and the texts that become negatives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mlcl.core.progress import bar
from mlcl.corpus.card import write_card
from mlcl.corpus.store import Corpus, CorpusWriter
from mlcl.reports.corpus_report import write_report
from mlcl.retrieval.knn import nearest, unit

Embed = Callable[[Sequence[str]], np.ndarray]

BLOCK = 16_384
"""Rows of two languages that are searched together: the negatives of each are targets of the others."""


def mine_negatives(
    corpus: Corpus, embed: Embed, *, per_pair: int = 4, guard: float = 0.95, depth: int = 32, show_progress: bool = True
) -> np.ndarray:
    """Hard negatives (R, per_pair) of all pair rows in stored order, nearest first: the row whose target it is, or -1.

    Args:
        corpus: The corpus.
        embed: Texts to vectors.
        per_pair: Most negatives of a row.
        guard: A candidate with more than this times the positive's cosine is left out.
        depth: Nearest candidates that are looked at.
        show_progress: Show a progress bar.
    """
    found = np.full((corpus.manifest["rows"]["pairs"], per_pair), -1, dtype=np.int64)
    with bar(show_progress) as progress:
        task = progress.add_task("mining negatives", total=len(found))
        for rows, groups, sources, targets in _blocks(corpus):
            places = negatives_among(embed, sources, targets, groups, per_pair=per_pair, guard=guard, depth=depth)
            found[rows] = np.where(places >= 0, rows[places], -1)
            progress.advance(task, len(rows))
    return found


def negatives_among(
    embed: Embed,
    sources: list[str],
    targets: list[str],
    groups: np.ndarray,
    *,
    per_pair: int,
    guard: float,
    depth: int,
) -> np.ndarray:
    """Hard negatives (n, per_pair) of n rows among each other's targets, nearest first; -1 where there is none left."""
    x, y = np.asarray(unit(embed(sources))), np.asarray(unit(embed(targets)))
    first = {text: place for place, text in reversed(list(enumerate(targets)))}  # equal targets are one candidate
    candidates = np.array(sorted(first.values()))  # (m,)
    neighbours = nearest(x, y[candidates], depth)
    places = candidates[neighbours.index]  # (n, depth)
    positive = np.einsum("nd,nd->n", x, y)  # (n,)
    same_group = (groups[places] == groups[:, None]) & (groups >= 0)[:, None]
    own = np.array([first[text] for text in targets])
    fine = ~same_group & (places != own[:, None]) & (neighbours.scores <= guard * positive[:, None])
    order = np.argsort(~fine, axis=1, kind="stable")[:, :per_pair]  # those that stay come first, nearest first
    chosen = np.where(np.take_along_axis(fine, order, 1), np.take_along_axis(places, order, 1), -1)
    return np.pad(chosen, ((0, 0), (0, per_pair - chosen.shape[1])), constant_values=-1)


def _blocks(corpus: Corpus) -> Iterator[tuple[np.ndarray, np.ndarray, list[str], list[str]]]:
    """Row numbers, groups, sources and targets of up to `BLOCK` rows of two languages each."""
    waiting: dict[tuple[str, str], list[tuple[int, int, str, str]]] = {}
    row = 0
    for batch in corpus.pair_batches(["source_lang", "target_lang", "group", "source", "target"]):
        for first, second, *rest in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            rows = waiting.setdefault((first, second), [])
            rows.append((row, *rest))
            row += 1
            if len(rows) == BLOCK:
                yield _columns(waiting.pop((first, second)))
    for rows in waiting.values():
        yield _columns(rows)


def _columns(rows: list[tuple[int, int, str, str]]) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    numbers, groups, sources, targets = zip(*rows, strict=True)
    return np.array(numbers), np.array(groups), list(sources), list(targets)


def write_with_negatives(corpus: Corpus, found: np.ndarray, folder: Path) -> dict[str, Any]:
    """Write the corpus with mined negatives added to those that it has, and its report; returns the manifest.

    Args:
        corpus: The corpus.
        found: (R, k) as `mine_negatives` gives them.
        folder: Where to write.
    """
    texts = _targets(corpus, np.unique(found[found >= 0]))
    writer, start = CorpusWriter(folder), 0
    for batch in corpus.pair_batches():
        mined = found[start : start + batch.num_rows]
        start += batch.num_rows
        given = batch.column("negatives").to_pylist()
        both = [
            list(dict.fromkeys([*(old or []), *(texts[row] for row in new if row >= 0)])) or None
            for old, new in zip(given, mined.tolist(), strict=True)
        ]
        column = pa.array(both, type=pa.list_(pa.string()))
        writer.write_pairs(batch.set_column(batch.schema.get_field_index("negatives"), "negatives", column))
    for batch in corpus.mono_batches():
        writer.write_mono(batch)
    ours = ("schema_version", "rows", "languages", "language_pairs", "lengths", "shards")
    manifest = writer.close(**{key: value for key, value in corpus.manifest.items() if key not in ours})
    write_report(manifest, folder / "report.html")
    write_card(folder, manifest)
    return manifest


def _targets(corpus: Corpus, rows: np.ndarray) -> dict[int, str]:
    """Targets of some pair rows (ascending numbers)."""
    texts: dict[int, str] = {}
    start = 0
    for batch in corpus.pair_batches(["target"]):
        here = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + batch.num_rows)]
        texts.update(zip(here.tolist(), batch.column(0).take(pa.array(here - start)).to_pylist(), strict=True))
        start += batch.num_rows
    return texts
