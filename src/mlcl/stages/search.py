"""Find the nearest texts in any language.

In: an encoder, texts to search (a text file, a corpus folder, or vectors with their texts) and a query, or queries on
standard input, one a line. Out: for each query the nearest texts with their cosine and where they stand; on a terminal
as a table, into a pipe as tab-separated `query, rank, cosine, place, text`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlcl.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from mlcl.model.encoder import Encoder
    from mlcl.stages._searchable import Texts

QUERIES_AT_ONCE = 256  # in a pipe


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl search`."""

    model: str
    """MLC folder, sentence-transformers folder, Hugging Face encoder, or the hub id of one."""
    corpus: str
    """What to search: a text file, one text a line (plain or .gz), a corpus folder, or vectors (.npy) with --texts."""
    query: str | None = field(default=None, metadata={"positional": True})
    """What to look for; without it, queries are read from standard input, one a line."""
    k: int = 5
    """Texts shown per query."""
    texts: str | None = None
    """Text file whose line n belongs to row n of the vectors given as --corpus."""
    languages: list[str] | None = None
    """Search only texts in these languages (corpus folders know the language of a text)."""
    limit: int | None = None
    """Search the first so many texts only."""
    index: str | None = None
    """File (.npz) that keeps the vectors: read if it exists, otherwise written. By default nothing is kept."""
    prompt: str | None = None
    """Prefix of queries: a name that the model knows, or the prefix itself."""
    text_prompt: str | None = None
    """Prefix of the texts that are searched, likewise."""
    device: str | None = None
    """cpu, cuda, cuda:1, mps; by default a GPU if there is one."""


def run(config: Config) -> None:
    """Search and print.

    Raises:
        UserError: nothing to search, an index of other texts or another model, or a model that cannot be loaded.
    """
    from mlcl.core.progress import console
    from mlcl.stages._searchable import read_texts

    for name in ("k", "limit"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise UserError(f"{name} is {value}, it must be at least 1")
    if config.query is None and config.languages:
        _check_last_language(config.languages[-1])
    texts = read_texts(config.corpus, config.texts, config.languages, config.limit)
    from mlcl.model.encoder import Encoder

    encoder = Encoder.from_pretrained(config.model, config.device)
    vectors = texts.vectors(encoder, config.text_prompt, config.index)
    console.print(f"[green]✓[/green] searching {len(texts.rows):,} texts", soft_wrap=True)
    for queries in _queries(config.query):
        _answer(queries, texts, vectors, encoder, config)


def _check_last_language(tag: str) -> None:
    """A query that stands behind `--languages de` is taken for one more language."""
    from mlcl.core.languages import canonical

    try:
        canonical(tag)
    except UserError as error:
        raise UserError(error.what, remedy="if it is the query, put it before the flags, or behind --") from error


def _queries(query: str | None) -> Iterator[list[str]]:
    """The query, or blocks of queries: each alone as it is typed, many at once from a pipe."""
    from mlcl.core.progress import console
    from mlcl.stages._vectors import text_lines

    if query is not None:
        if not query.strip():
            raise UserError("the query is empty", remedy="give some text")
        yield [query]
        return
    if sys.stdin.isatty():
        console.print("Type a query and press Enter; an empty line or Ctrl-D ends.")
        while True:
            try:
                line = console.input("[bold]query>[/bold] ")
            except EOFError:
                return
            if not line.strip():
                return
            yield [line]
    block: list[str] = []
    for line in text_lines("-"):
        if line.strip():
            block.append(line)
        if len(block) == QUERIES_AT_ONCE:
            yield block
            block = []
    if block:
        yield block


def _answer(queries: list[str], texts: Texts, vectors: np.ndarray, encoder: Encoder, config: Config) -> None:
    from mlcl.retrieval.knn import nearest

    found = nearest(encoder.encode(queries, prompt=config.prompt), vectors, config.k)
    for query, scores, rows in zip(queries, found.scores, found.index, strict=True):
        _print(query, [(float(score), *texts.rows[row]) for score, row in zip(scores, rows, strict=True)])


def _print(query: str, found: list[Any]) -> None:
    """Print `(cosine, place, text)` rows."""
    from rich.markup import escape
    from rich.table import Table

    from mlcl.core.progress import results

    if not results.is_terminal:
        for rank, (score, place, text) in enumerate(found, start=1):
            cells = (query, str(rank), f"{score:.4f}", place, text)
            print("\t".join(" ".join(cell.split()) for cell in cells), flush=True)
        return
    table = Table(title=escape(query), title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("cosine", justify="right")
    table.add_column("where", style="dim", no_wrap=True)
    table.add_column("text", overflow="fold")
    for score, place, text in found:
        table.add_row(f"{score:.3f}", escape(place), escape(text))
    results.print(table)
