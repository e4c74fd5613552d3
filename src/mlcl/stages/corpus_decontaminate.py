"""Take out of a corpus what says the same as an evaluation text, in whatever language: found by an encoder.

`mlcl corpus build` keeps equal and nearly equal evaluation texts out; this finds their translations. The groups of the
rows that are found go whole. Without --least nothing is written: the table shows what thresholds would take, with rows
near them, because a threshold is good for one encoder only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.markup import escape

from mlcl.core.errors import UserError
from mlcl.core.files import atomic_directory, refuse_existing
from mlcl.core.progress import console, print_table, results, step
from mlcl.corpus.sources import Source

if TYPE_CHECKING:
    from mlcl.corpus.contamination import Closest
    from mlcl.corpus.store import Corpus

_THRESHOLDS = {
    "margin": (1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.8, 2.0),
    "cosine": (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95),
}
_NEAR = 2  # rows just above each threshold that are shown


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl corpus decontaminate`."""

    corpus: str
    """Corpus folder."""
    model: str
    """Encoder: an MLC, sentence-transformers or Hugging Face folder, or a hub id."""
    data: str
    """Folder that the paths of the evaluation texts are relative to."""
    evaluation: list[Source]
    """Texts that must not be in the corpus, as in the settings of `mlcl corpus build`."""
    out: str | None = None
    """Corpus folder to make."""
    least: float | None = None
    """Score from which on a row is taken out. Not given: show what thresholds would do."""
    score: Literal["margin", "cosine"] = "margin"
    """What is compared with least: cosine, that to the nearest evaluation sentence, or margin, that over the mean
    cosine to the next ones, whose thresholds depend less on the language."""
    k: int = 4
    """How many next sentences, for the margin."""
    max_bad_share: float = 0.01
    """Largest tolerated share of malformed rows in a source."""
    device: str | None = None
    """cpu, cuda, cuda:1, mps; by default a GPU if there is one."""
    overwrite: bool = False
    """Replace OUT where it exists."""


def run(config: Config) -> Path:
    """Score all rows, print what thresholds take, write OUT where asked, and return the folder.

    Raises:
        UserError: no corpus, no evaluation text, or an output that exists.
    """
    from mlcl.corpus.contamination import closest_rows, merged, sentence_vectors, write_without
    from mlcl.corpus.sources import SourceReport, read_source
    from mlcl.corpus.store import Corpus

    if (config.out is None) != (config.least is None):
        raise UserError("--out and --least go together", remedy="pass both, or neither to see what thresholds do")
    if config.score == "cosine" and config.least is not None and config.least > 1:
        raise UserError(
            f"least is {config.least}, a cosine is at most 1", remedy="give one below, or pass --score margin"
        )
    if config.k < 1:
        raise UserError(f"k is {config.k}, it must be at least 1")
    if config.out is not None:
        refuse_existing(Path(config.out), config.overwrite)
    if not config.evaluation:
        raise UserError("no evaluation text is given", remedy="list sources under evaluation")
    corpus = Corpus.open(config.corpus)
    reports: list[SourceReport] = []
    with step("reading evaluation texts"):
        sentences = merged(
            [text for _, text in record.texts]
            for source in config.evaluation
            for record in read_source(source, Path(config.data), config.max_bad_share, reports)
        )

    from mlcl.model.encoder import Encoder

    encoder = Encoder.from_pretrained(config.model, config.device)
    with step(f"encoding {len(sentences):,} evaluation sentences"):
        vectors = sentence_vectors(sentences, encoder.encode)
    found = closest_rows(corpus, vectors, encoder.encode, config.k, score=config.score)
    scores = found.scores(config.score)
    _show(corpus, found, sentences, config)
    if config.out is None or config.least is None:
        return corpus.path
    out = Path(config.out)
    with step("writing the corpus"), atomic_directory(out, config.overwrite) as folder:
        manifest = write_without(corpus, scores >= config.least, folder)
    before, after = (sum(one["rows"].values()) for one in (corpus.manifest, manifest))
    results.print(f"{after:,} of {before:,} rows kept", soft_wrap=True)
    results.print(f"report: {escape(str(out / 'report.html'))}", soft_wrap=True)
    return out


def _show(corpus: Corpus, found: Closest, sentences: list[list[str]], config: Config) -> None:
    """Thresholds with the rows that they take, and rows just above each."""
    import numpy as np

    from mlcl.corpus.rows import SIDES
    from mlcl.corpus.sample import take

    counts, near, scores = [], [], found.scores(config.score)
    for threshold in sorted({*_THRESHOLDS[config.score], *([] if config.least is None else [config.least])}):
        above = np.flatnonzero(scores >= threshold)
        counts.append((f"{threshold:g}", f"{len(above):,}", f"{100 * len(above) / len(scores):.2f} %"))
        near += above[np.argsort(scores[above], kind="stable")[:_NEAR]].tolist()
    print_table("rows that a threshold takes", [f"least {config.score}", "rows", "of all"], counts)
    rows = np.unique(near)
    shown: list[tuple[str, str, str]] = []
    for kind, batch in take(corpus, rows):
        for row in batch.to_pylist():
            number = rows[len(shown)]
            text = " ⇔ ".join(row[name] for _, name in SIDES[kind])
            shown.append((f"{scores[number]:.3f}", text, sentences[found.sentence[number]][0]))
    print_table("rows just above them", [config.score, "row", "evaluation text"], sorted(shown))
    if not shown:
        console.print("  no row is near an evaluation text")
