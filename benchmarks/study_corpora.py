"""Corpora for the study, cut from one: so many pairs, so much noise, a language with and without its relatives.

In: a corpus and a `Recipe`. Out: a corpus folder, equal for equal recipes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlcl.core.files import atomic_directory
from mlcl.corpus.store import Corpus, CorpusWriter


@dataclass(frozen=True)
class Recipe:
    """What is taken from the large corpus.

    Attributes:
        pairs: Rows of pairs, whole groups at random until there are so many.
        mono: Monolingual rows, at random.
        noise: Share of the pairs whose target is that of another pair in the same language.
        without: Languages that are left out.
        low: A language of which only `low_pairs` rows are kept.
        low_pairs: See `low`.
        cleaned: Whether it is taken from the cleaned corpus instead.
    """

    pairs: int
    mono: int = 20_000
    noise: float = 0.0
    without: Sequence[str] = ()
    low: str = ""
    low_pairs: int = 0
    cleaned: bool = False

    @property
    def name(self) -> str:
        """Name of its folder."""
        parts = [f"{self.pairs}-pairs"]
        parts += [f"noise-{round(100 * self.noise)}"] if self.noise else []
        parts += ["cleaned"] if self.cleaned else []
        parts += [f"{self.low}-{self.low_pairs}"] if self.low else []
        parts += ["without-" + "-".join(self.without)] if self.without else []
        return "_".join(parts)


def cut(corpus: Corpus, recipe: Recipe, out: Path, seed: int = 0) -> Path:
    """Write the corpus of a recipe unless it is there."""
    if out.exists():
        return out
    rng = np.random.default_rng(seed)
    pairs = pa.Table.from_batches(corpus.pair_batches())
    pairs = _without(pairs, ("source_lang", "target_lang"), recipe.without)
    kept = _low_resource(pairs, recipe, rng)
    if recipe.low:
        involved = _involves(pairs, recipe.low)
        pairs = pa.concat_tables([pairs.filter(pc.invert(involved)), kept])
    pairs = _take_groups(pairs, recipe.pairs, set(kept["group"].to_pylist()) if recipe.low else set(), rng)
    if recipe.noise:
        pairs = _shuffle_targets(pairs, recipe.noise, rng)
    mono = pa.Table.from_batches(corpus.mono_batches())
    mono = _without(mono, ("lang",), [*recipe.without, *([recipe.low] if recipe.low else [])])
    chosen = np.sort(rng.permutation(len(mono))[: recipe.mono])
    with atomic_directory(out) as folder:
        writer = CorpusWriter(folder)
        writer.write_pairs(pairs)
        writer.write_mono(mono.take(chosen))
        writer.close(origins={}, study=asdict(recipe))
    return out


def _without(table: pa.Table, columns: Sequence[str], languages: Sequence[str]) -> pa.Table:
    for column in columns if languages else ():
        table = table.filter(pc.invert(pc.is_in(table[column], pa.array(list(languages)))))
    return table


def _involves(table: pa.Table, language: str) -> pa.ChunkedArray:
    return pc.or_(pc.equal(table["source_lang"], language), pc.equal(table["target_lang"], language))


def _low_resource(table: pa.Table, recipe: Recipe, rng: np.random.Generator) -> pa.Table:
    """The rows of the low-resource language that are kept."""
    own = table.filter(_involves(table, recipe.low))
    return own.take(np.sort(rng.permutation(len(own))[: recipe.low_pairs]))


def _take_groups(table: pa.Table, most: int, always: set[int], rng: np.random.Generator) -> pa.Table:
    """Whole groups at random, `always` first, until there are `most` rows; in stored order."""
    group = table["group"].to_numpy()
    known, inverse, counts = np.unique(group, return_inverse=True, return_counts=True)
    order = rng.permutation(len(known))
    order = order[np.argsort(~np.isin(known[order], list(always)), kind="stable")]
    taken = order[np.cumsum(counts[order]) <= most]
    return table.filter(pa.array(np.isin(inverse, taken)))


def _shuffle_targets(table: pa.Table, share: float, rng: np.random.Generator) -> pa.Table:
    """Give a share of the rows of each target language the targets of one another, none its own."""
    language = np.array(table["target_lang"].to_pylist())
    targets = table["target"].to_numpy(zero_copy_only=False).copy()
    for tag in np.unique(language):
        rows = rng.permutation(np.flatnonzero(language == tag))
        rows = rows[: round(share * len(rows))]
        targets[rows] = targets[np.roll(rows, 1)]  # one cycle: nobody keeps its own
    column = table.schema.get_field_index("target")
    return table.set_column(column, "target", pa.array(targets, type=pa.string()))
