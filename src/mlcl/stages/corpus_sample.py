"""Draw a random sample of a corpus: shown, or written as a corpus of its own. The same seed draws the same rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.core.files import atomic_directory, refuse_existing
from mlcl.core.progress import print_table, results


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl corpus sample`."""

    corpus: str = field(metadata={"positional": True})
    """Corpus folder."""
    rows: int = 20
    """Rows to draw, pairs and single sentences alike; all where there are fewer."""
    language: list[str] | None = None
    """Draw among rows with one of these languages on a side; among all when not given."""
    origin: list[str] | None = None
    """Draw among rows of these origins; among all when not given."""
    out: str | None = None
    """Corpus folder to make; the rows are printed when not given."""
    seed: int = 0
    """Another seed draws other rows."""
    overwrite: bool = False
    """Replace OUT where it exists."""


def run(config: Config) -> Path | None:
    """Draw the sample, and print it or write it.

    Raises:
        UserError: no corpus, nothing in it to draw from, or an output that exists.
    """
    from mlcl.corpus.derive import DerivedCorpus
    from mlcl.corpus.rows import SIDES, Selection
    from mlcl.corpus.sample import choose, take
    from mlcl.corpus.store import Corpus

    if config.rows < 1:
        raise UserError(f"rows is {config.rows}, it must be at least 1")
    if config.out is not None:
        refuse_existing(Path(config.out), config.overwrite)
    corpus = Corpus.open(config.corpus)
    rows, matching = choose(corpus, Selection(corpus, config.language, config.origin), config.rows, config.seed)
    if not matching:
        raise UserError("no row of the corpus has these languages and origins", path=corpus.path)
    if config.out is None:
        shown = [
            (row["origin"], *(f"{row[language]}: {row[text]}" for language, text in SIDES[kind]), "")[:3]
            for kind, batch in take(corpus, rows)
            for row in batch.to_pylist()
        ]
        print_table(f"{len(rows):,} of {matching:,} rows", ["origin", "text", "translation"], shown)
        return None
    out = Path(config.out)
    with atomic_directory(out, config.overwrite) as folder:
        derived = DerivedCorpus(folder, [corpus])
        for kind, batch in take(corpus, rows):
            derived.write(kind, batch)
        derived.close(is_part=True)
    results.print(f"{len(rows):,} of {matching:,} rows", soft_wrap=True)
    return out
