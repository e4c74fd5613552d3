"""A corpus in two parts that share neither a group nor a document: training and dev.

In: a `Corpus` and the share of dev. Out: two corpus folders. What must stay together is a connected component of the
graph of rows, groups and documents. Whole components are drawn at random for dev until its share is reached; one that
would exceed it stays in training. Dev rows with a text that also stands in training are left out and counted: groups do
not link short texts that two sentences share by chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from mlcl.core.errors import UserError
from mlcl.corpus.dedup import connected_components
from mlcl.corpus.derive import DerivedCorpus
from mlcl.corpus.rows import KINDS, SIDES, batches, hashes, text_columns, text_keys
from mlcl.corpus.store import Corpus

By = Literal["document", "group"]


@dataclass(frozen=True, slots=True)
class Split:
    """Which rows are dev.

    Attributes:
        is_dev: (R,) for each row in stored order, pairs first.
        components: How many there are.
        largest: Rows of the largest one.
    """

    is_dev: np.ndarray
    components: int
    largest: int


def assign(corpus: Corpus, share: float, by: By, seed: int) -> Split:
    """Draw the dev part.

    Args:
        corpus: The corpus.
        share: Share of all rows, at most.
        by: document: rows of one document (of one origin) stay together, as do groups; group: groups alone.
        seed: Another seed draws other documents.

    Raises:
        UserError: no component is small enough.
    """
    component = _components(corpus, by)
    sizes = np.bincount(component)
    room = int(share * len(component))
    chosen = np.zeros(len(sizes), bool)
    for number in np.random.default_rng(seed).permutation(len(sizes)).tolist():
        if sizes[number] <= room:
            chosen[number] = True
            room -= int(sizes[number])
        if not room:
            break
    if not chosen.any():
        hint = "raise --dev_share" + (", or split --by group" if by == "document" else "")
        raise UserError(
            f"no {by} is small enough for dev: {len(sizes):,} parts that cannot be cut, the smallest of "
            f"{sizes.min(initial=0):,} of {len(component):,} rows",
            path=corpus.path,
            remedy=hint,
        )
    return Split(chosen[component], len(sizes), int(sizes.max()))


def _components(corpus: Corpus, by: By) -> np.ndarray:
    """(R,) number of the component of each row, in order of its first row."""
    none = np.empty(0, np.int64)
    groups, documents, has_document = [none], [none], [none.astype(bool)]
    for _, _, batch in batches(corpus, dict.fromkeys(KINDS, ["group", "origin", "document"])):
        groups.append(np.asarray(batch.column("group")))
        names = [batch.column(name).to_pylist() for name in ("origin", "document")]
        documents.append(hashes(names))
        has_document.append(np.array([bool(name) and by == "document" for name in names[1]], bool))
    group = np.concatenate(groups)
    rows = nodes = len(group)
    a, b = [none], [none]
    for labels, known in ((group, group >= 0), (np.concatenate(documents), np.concatenate(has_document))):
        distinct, numbers = np.unique(labels[known], return_inverse=True)
        a.append(np.flatnonzero(known))
        b.append(nodes + numbers)
        nodes += len(distinct)
    roots = connected_components(nodes, np.concatenate(a), np.concatenate(b))[:rows]
    return np.unique(roots, return_inverse=True)[1]


def write(corpus: Corpus, split: Split, out: Path) -> dict[str, dict[str, Any]]:
    """Write OUT/train and OUT/dev; returns their manifests."""
    in_training = _text_keys(corpus, ~split.is_dev)
    parts = {name: DerivedCorpus(out / name, [corpus]) for name in ("train", "dev")}
    for name in parts:
        (out / name).mkdir()
    for kind, start, batch in batches(corpus):
        is_dev = split.is_dev[start : start + batch.num_rows]
        parts["train"].write(kind, batch.filter(pa.array(~is_dev)))
        dev = batch.filter(pa.array(is_dev))
        known = np.logical_or.reduce([np.isin(keys, in_training) for keys in _keys(kind, dev)])
        for row in dev.filter(pa.array(known)).to_pylist():
            for language, text in SIDES[kind]:
                parts["dev"].tally.add("a text of its row is in training", row["origin"], row[language], row[text])
        parts["dev"].write(kind, dev.filter(pa.array(~known)))
    return {name: part.close(is_part=True) for name, part in parts.items()}


def _text_keys(corpus: Corpus, chosen: np.ndarray) -> np.ndarray:
    """Sorted distinct keys of all texts of the chosen rows."""
    keys = [np.empty(0, np.int64)]
    for kind, start, batch in batches(corpus, text_columns()):
        for side in _keys(kind, batch.filter(pa.array(chosen[start : start + batch.num_rows]))):
            keys.append(np.unique(side))
    return np.unique(np.concatenate(keys))


def _keys(kind: str, batch: pa.RecordBatch) -> list[np.ndarray]:
    """`text_keys` of each side of a row."""
    return [
        text_keys(batch.column(language).to_pylist(), batch.column(text).to_pylist()) for language, text in SIDES[kind]
    ]
