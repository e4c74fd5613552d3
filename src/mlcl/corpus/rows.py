"""Both kinds of rows of a corpus in one order, and what identifies a row.

In: a `Corpus`. Out: its rows, pairs first, numbered from 0 in stored order; 64-bit numbers that are equal for equal
rows, texts or documents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlcl.core.errors import UserError
from mlcl.core.languages import canonical
from mlcl.core.text import key_hash, normalise_key
from mlcl.corpus.store import Corpus

KINDS = ("pairs", "mono")
SIDES = {"pairs": (("source_lang", "source"), ("target_lang", "target")), "mono": (("lang", "text"),)}
"""Columns of language and text of each side of a row."""


def batches(corpus: Corpus, columns: dict[str, list[str]] | None = None) -> Iterator[tuple[str, int, pa.RecordBatch]]:
    """(kind, number of the first row, rows) of all batches; `columns` of each kind, or all."""
    start = 0
    for kind in KINDS:
        wanted = None if columns is None else columns[kind]
        for batch in corpus.pair_batches(wanted) if kind == "pairs" else corpus.mono_batches(wanted):
            yield kind, start, batch
            start += batch.num_rows


def text_columns(*further: str) -> dict[str, list[str]]:
    """For `batches`: languages and texts, and further columns that both kinds have."""
    return {kind: [*(name for side in SIDES[kind] for name in side), *further] for kind in KINDS}


def hashes(columns: Sequence[Iterable[object]]) -> np.ndarray:
    """A number (n,) for each row of some columns; equal rows, exactly as they are written, have equal numbers."""
    return np.fromiter((_hash("\x1f".join(map(str, row))) for row in zip(*columns, strict=True)), np.int64)


def text_keys(languages: Iterable[str], texts: Iterable[str]) -> np.ndarray:
    """A number (n,) for each text: equal for texts of one language that count as the same (`normalise_key`)."""
    return np.fromiter(
        (key_hash(f"{lang}\n{normalise_key(text)}") for lang, text in zip(languages, texts, strict=True)), np.int64
    )


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


class Selection:
    """Rows in some languages and of some origins.

    Args:
        corpus: The corpus that has to have them.
        languages: Language codes; a pair has to have one of them on a side. None = any.
        origins: Origins. None = any.

    Raises:
        UserError: a language or an origin that the corpus lacks.
    """

    def __init__(self, corpus: Corpus, languages: Sequence[str] | None, origins: Sequence[str] | None) -> None:
        self.languages = None if languages is None else sorted({canonical(code) for code in languages})
        self.origins = None if origins is None else sorted(set(origins))
        corpus.require(self.languages or ())
        known = corpus.manifest.get("origins")
        if known is not None and (missing := [name for name in self.origins or () if name not in known]):
            raise UserError(
                f"the corpus has no origin {', '.join(missing)}",
                path=corpus.path,
                remedy=f"it has {', '.join(sorted(known))}",
            )

    def mask(self, kind: str, batch: pa.RecordBatch) -> np.ndarray:
        """Which rows of a batch belong to it (n,)."""
        chosen = np.ones(batch.num_rows, dtype=bool)
        if self.languages is not None:
            sides = [_is_in(batch.column(language), self.languages) for language, _ in SIDES[kind]]
            chosen &= np.logical_or.reduce(sides)
        if self.origins is not None:
            chosen &= _is_in(batch.column("origin"), self.origins)
        return chosen


def _is_in(column: pa.Array, values: Sequence[str]) -> np.ndarray:
    return pc.is_in(column, value_set=pa.array(values, pa.string())).to_numpy(zero_copy_only=False)
