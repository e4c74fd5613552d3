"""Align the sentences of documents that translate one another.

In: two text files, a sentence a line, with a blank line between documents; with --split, running text. The documents
stand in the same order, or with --match are found by their contents. Out: pairs of runs of sentences, `.tsv` or
`.tsv.gz` (score, source, target) or `.parquet` (line numbers as well), and beside it a page with the shapes of the
beads and pairs from best to worst. A score is 1 less the cost of `mlcl.retrieval.alignment`: near 1 for translations,
near 0 for sentences that have nothing to do with one another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from mlcl.core.errors import UserError
from mlcl.core.files import atomic_file, refuse_existing
from mlcl.core.progress import console, print_table, results, step, track, warn
from mlcl.stages._pair_file import Row, format_of, write_pairs

if TYPE_CHECKING:
    from mlcl.model.encoder import Encoder
    from mlcl.retrieval.alignment import Bead

_SHOWN = 40  # pairs on the page


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl align`."""

    model: str
    """Encoder: an MLC, sentence-transformers or Hugging Face folder, or a hub id."""
    source: str
    """Text file: a sentence a line, a blank line between documents."""
    target: str
    """Text file of the other language."""
    out: str
    """File for the pairs: .tsv, .tsv.gz or .parquet."""
    match: bool = False
    """Find out which document translates which; otherwise they stand in the same order."""
    split: bool = False
    """The lines are running text: cut them into sentences."""
    source_language: str | None = None
    """Language of the source, for --split."""
    target_language: str | None = None
    """Language of the target, for --split."""
    most: int = 4
    """Most sentences of one language that are joined against one of the other."""
    least_score: float = 0.3
    """Least score of a pair that is written."""
    device: str | None = None
    """cpu, cuda, cuda:1, mps; by default a GPU if there is one."""
    overwrite: bool = False
    """Replace OUT where it exists."""


@dataclass(frozen=True)
class _Document:
    """Sentences with the lines they come from, counted from 1."""

    sentences: list[str]
    lines: list[int]


def run(config: Config) -> Path:
    """Align, write OUT and its page, and return OUT.

    Raises:
        UserError: unreadable texts, documents that do not correspond, or an output that exists.
    """
    out = Path(config.out)
    format_of(out)
    refuse_existing(out, config.overwrite)
    if config.most < 1:
        raise UserError(f"most is {config.most}, it must be at least 1")
    source = _documents(config.source, config.split, config.source_language, "source")
    target = _documents(config.target, config.split, config.target_language, "target")
    if not config.match and len(source) != len(target):
        raise UserError(
            f"{len(source)} documents, but {config.target} has {len(target)}", path=config.source,
            remedy="let them be found by their contents: --match",
        )  # fmt: skip

    from mlcl.model.encoder import Encoder

    encoder = Encoder.from_pretrained(config.model, config.device)
    pairs = _matched(encoder, source, target) if config.match else [(n, n) for n in range(len(source))]
    rows: list[Row] = []
    shapes: Counter[str] = Counter()
    for left, right in track(pairs, "aligning"):
        for bead in _beads(encoder, source[left], target[right], config.most):
            sizes = bead.source[1] - bead.source[0], bead.target[1] - bead.target[0]
            shapes[f"{sizes[0]}-{sizes[1]}"] += 1
            if all(sizes) and 1 - bead.cost >= config.least_score:
                rows.append(_row(bead, source[left], target[right]))
    with step(f"writing {escape(out.name)}"):
        write_pairs(out, rows)
        page = _write_page(out, rows, shapes, config)
    print_table("beads", ["source-target sentences", "beads"], [(k, f"{n:,}") for k, n in shapes.most_common()])
    console.print(f"[green]✓[/green] {len(rows):,} pairs of {len(pairs):,} documents", soft_wrap=True)
    results.print(f"report: {escape(str(page))}", soft_wrap=True)
    return out


def _documents(path: str, split: bool, language: str | None, side: str) -> list[_Document]:
    """The documents of a file.

    Raises:
        UserError: unreadable, nothing but blank lines, or no language where the text has to be split.
    """
    from mlcl.stages._vectors import text_lines

    if split and language is None:
        raise UserError(f"--split needs the language of the {side}", remedy=f"give --{side}_language")
    documents = []
    for is_text, lines in groupby(enumerate(text_lines(path), start=1), key=lambda item: bool(item[1].strip())):
        if is_text:
            sentences = [
                (text, number) for number, line in lines for text in _sentences(line, language if split else None)
            ]
            documents.append(_Document([text for text, _ in sentences], [number for _, number in sentences]))
    if not documents:
        raise UserError("there is no text, only blank lines", path=path)
    return documents


def _sentences(line: str, language: str | None) -> list[str]:
    if language is None:
        return [line.strip()]
    from mlcl.core.languages import canonical
    from mlcl.text.sentences import split_sentences

    return split_sentences(line, canonical(language))


def _matched(encoder: Encoder, source: Sequence[_Document], target: Sequence[_Document]) -> list[tuple[int, int]]:
    """Documents that translate one another, in the order of the source."""
    from mlcl.retrieval.documents import match_documents

    with step("matching documents"):
        sizes = [[len(document.sentences) for document in side] for side in (source, target)]
        vectors = [
            encoder.encode([text for document in side for text in document.sentences]) for side in (source, target)
        ]
        found = match_documents(vectors[0], vectors[1], sizes[0], sizes[1])
    if len(found) < min(len(source), len(target)):
        warn(f"{min(len(source), len(target)) - len(found)} documents have no partner of a fitting length")
    return sorted((left, right) for left, right, _ in found)


def _beads(encoder: Encoder, source: _Document, target: _Document, most: int) -> list[Bead]:
    from mlcl.retrieval.alignment import align, runs

    texts = [runs(document.sentences, most) for document in (source, target)]
    vectors = encoder.encode(texts[0] + texts[1])
    here = len(texts[0])
    return align(vectors[:here], vectors[here:], len(source.sentences), len(target.sentences), most=most)


def _row(bead: Bead, source: _Document, target: _Document) -> Row:
    texts = (
        " ".join(document.sentences[first:last])
        for document, (first, last) in ((source, bead.source), (target, bead.target))
    )
    left, right = texts
    return 1 - bead.cost, source.lines[bead.source[0]], target.lines[bead.target[0]], left, right


def _write_page(out: Path, rows: Sequence[Row], shapes: Counter[str], config: Config) -> Path:
    """OUT.html."""
    from matplotlib.figure import Figure

    from mlcl.reports import html

    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.add_subplot()
    axes.hist([row[0] for row in rows], bins=60, color="#2f5fd0")
    axes.set_xlabel("score")
    axes.set_ylabel("pairs")
    page = out.with_name(out.name + ".html")
    sections = [
        ("Beads", html.table(["source-target sentences", "beads"], shapes.most_common())),
        ("Scores", html.figure(figure, "pairs by score")),
        ("Pairs from best to worst", html.table(["score", "source", "target"], list(_samples(rows)), digits=3)),
    ]
    with atomic_file(page) as partial:
        partial.write_text(html.page(f"Aligned: {len(rows):,} pairs", sections, config.model), encoding="utf-8")
    return page


def _samples(rows: Sequence[Row]) -> Iterator[tuple[float, str, str]]:
    """Pairs from all over the scores, best first."""
    ranked = sorted(rows, reverse=True)
    step_size = max(1, len(ranked) // _SHOWN)
    for score, _, _, source, target in ranked[::step_size]:
        yield score, source, target
