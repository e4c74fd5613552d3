"""What changed from one corpus to another: two corpora go in, what came, went and changed comes out.

A row is the same where its languages and texts are, to the letter. A pair whose source stays and whose translation
into the same language does not is a change, not one row that went and one that came. Texts stay on disk; 16 bytes for
each row of both corpora are in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from mlcl.core.progress import track
from mlcl.corpus.rows import SIDES, batches, hashes, text_columns
from mlcl.corpus.store import Corpus


@dataclass
class Part:
    """Rows that came, went or changed.

    Attributes:
        pairs: Pair rows.
        mono: Rows of single sentences.
        languages: Language -> rows that have it on a side.
        origins: Origin -> rows.
        samples: A few, as (origin, text or texts).
    """

    pairs: int = 0
    mono: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    origins: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Difference:
    """What changed from corpus A to corpus B.

    Attributes:
        same: Rows that are in both.
        came: Rows of B that A lacks.
        went: Rows of A that B lacks.
        changed: Pairs of B with another translation than in A.
        drops: Reason -> texts that were dropped when A and when B were built.
        licences: Origin -> licences in A and in B, where they differ; None where there is no such origin.
    """

    same: int
    came: Part
    went: Part
    changed: Part
    drops: dict[str, tuple[int, int]]
    licences: dict[str, tuple[str | None, str | None]]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        plain = {name: getattr(self, name) for name in ("same", "drops", "licences")}
        parts = {name: vars(getattr(self, name)) for name in ("came", "went", "changed")}
        return {**plain, **parts}


def compare(a: Corpus, b: Corpus, samples: int, seed: int = 0, show: bool = True) -> Difference:
    """What changed from A to B, with up to `samples` rows of each kind of change, drawn at random."""
    rows = {name: _identities(corpus, show) for name, corpus in (("a", a), ("b", b))}
    came = ~np.isin(rows["b"].whole, rows["a"].whole)
    went = ~np.isin(rows["a"].whole, rows["b"].whole)
    # A source with a translation into one language that came and one that went: the translation was changed.
    changed_to = came & np.isin(rows["b"].source, rows["a"].source[went & (rows["a"].source != 0)])
    changed_from = went & np.isin(rows["a"].source, rows["b"].source[changed_to])
    rng = np.random.default_rng(seed)
    reasons = [_reasons(corpus) for corpus in (a, b)]
    licences = [{o: facts["licence"] for o, facts in corpus.manifest.get("origins", {}).items()} for corpus in (a, b)]
    return Difference(
        same=int((~came).sum()),
        came=_part(b, came & ~changed_to, samples, rng),
        went=_part(a, went & ~changed_from, samples, rng),
        changed=_part(b, changed_to, samples, rng),
        drops={reason: (reasons[0][reason], reasons[1][reason]) for reason in sorted(reasons[0] | reasons[1])},
        licences={
            origin: (licences[0].get(origin), licences[1].get(origin))
            for origin in sorted({*licences[0], *licences[1]})
            if licences[0].get(origin) != licences[1].get(origin)
        },
    )


@dataclass(slots=True)
class _Rows:
    whole: np.ndarray  # (R,) identity of each row
    source: np.ndarray  # (R,) identity of a pair without its translation; 0 for single sentences


def _identities(corpus: Corpus, show: bool) -> _Rows:
    whole, source = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for kind, _, batch in track(batches(corpus, text_columns()), f"reading {corpus.path}", show=show):
        columns = [column.to_pylist() for column in batch.columns]
        whole.append(hashes(columns))
        # languages and source, in the order of `text_columns`: source_lang, source, target_lang
        source.append(hashes(columns[:3]) if kind == "pairs" else np.zeros(batch.num_rows, np.int64))
    return _Rows(np.concatenate(whole), np.concatenate(source))


def _part(corpus: Corpus, chosen: np.ndarray, samples: int, rng: np.random.Generator) -> Part:
    part = Part()
    numbers = np.flatnonzero(chosen)
    shown = set(rng.choice(numbers, size=min(samples, len(numbers)), replace=False).tolist())
    for kind, start, batch in _chosen_batches(corpus, chosen):
        rows = batch.to_pylist()
        setattr(part, kind, getattr(part, kind) + len(rows))
        for number, row in zip(start, rows, strict=True):
            part.languages.update({row[language] for language, _ in SIDES[kind]})
            part.origins[row["origin"]] += 1
            if int(number) in shown:
                text = " ⇔ ".join(f"{row[language]}: {row[text]}" for language, text in SIDES[kind])
                part.samples.append((row["origin"], text))
    return part


def _chosen_batches(corpus: Corpus, chosen: np.ndarray) -> Iterator[tuple[str, np.ndarray, pa.RecordBatch]]:
    """(kind, row numbers, rows) of the chosen rows."""
    for kind, start, batch in batches(corpus, text_columns("origin")):
        mask = chosen[start : start + batch.num_rows]
        if mask.any():
            yield kind, start + np.flatnonzero(mask), batch.filter(pa.array(mask))


def _reasons(corpus: Corpus) -> Counter[str]:
    reasons: Counter[str] = Counter()
    for drop in corpus.manifest.get("drops", ()):
        reasons[drop["reason"]] += drop["texts"]
    return reasons
