"""Drop the pairs of a corpus whose sides do not say the same, judged by an encoder.

An encoder may judge the corpus that it was trained on: train, filter, and train again. With --dry_run nothing is
written: the table shows how many pairs each threshold would drop, with pairs near it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from mlcl.core.errors import UserError
from mlcl.core.files import atomic_directory, refuse_existing
from mlcl.core.progress import console, print_table, results, step

if TYPE_CHECKING:
    import numpy as np

    from mlcl.corpus.store import Corpus

_THRESHOLDS = (0.8, 0.9, 1.0, 1.05, 1.1, 1.2, 1.3)
_NEAR = 2  # pairs just below each threshold that are shown


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl corpus filter`."""

    corpus: str
    """Corpus folder."""
    model: str
    """Encoder: an MLC, sentence-transformers or Hugging Face folder, or a hub id."""
    out: str | None = None
    """Corpus folder to make; not needed with --dry_run."""
    least: float = 1.0
    """Least margin score of a pair: its cosine over the mean cosine to its neighbours."""
    k: int = 4
    """Size of the neighbourhoods."""
    dry_run: bool = False
    """Show what thresholds would drop, and write nothing."""
    device: str | None = None
    """cpu, cuda, cuda:1, mps; by default a GPU if there is one."""
    overwrite: bool = False
    """Replace OUT where it exists."""


def run(config: Config) -> Path:
    """Score the pairs, print what thresholds drop, write OUT unless it is a dry run, and return the folder.

    Raises:
        UserError: no corpus, no pairs in it, or an output that exists.
    """
    from mlcl.corpus.agreement import FEWEST, pair_scores, write_filtered
    from mlcl.corpus.store import Corpus

    if config.out is None and not config.dry_run:
        raise UserError("--out is missing", remedy="name a folder to make, or pass --dry_run true")
    if config.k < 1:
        raise UserError(f"k is {config.k}, it must be at least 1")
    if config.out is not None:
        refuse_existing(Path(config.out), config.overwrite)
    corpus = Corpus.open(config.corpus)
    if not corpus.manifest["rows"]["pairs"]:
        raise UserError("the corpus has no pairs", path=corpus.path)

    from mlcl.model.encoder import Encoder

    encoder = Encoder.from_pretrained(config.model, config.device)
    scores = pair_scores(corpus, encoder.encode, config.k)
    if unjudged := int((scores != scores).sum()):
        console.print(f"  {unjudged:,} pairs of languages with fewer than {FEWEST} are not judged and stay")
    _show(corpus, scores, config.least)
    if config.dry_run or config.out is None:
        return corpus.path
    out = Path(config.out)
    with step("writing the corpus"), atomic_directory(out, config.overwrite) as folder:
        manifest = write_filtered(corpus, scores, config.least, folder)
    before, after = corpus.manifest["rows"]["pairs"], manifest["rows"]["pairs"]
    results.print(f"{after:,} of {before:,} pairs kept", soft_wrap=True)
    results.print(f"report: {escape(str(out / 'report.html'))}", soft_wrap=True)
    return out


def _show(corpus: Corpus, scores: np.ndarray, least: float) -> None:
    """Thresholds with the pairs that they drop, and pairs just below each."""
    import numpy as np

    wanted: dict[int, float] = {}
    counts = []
    for threshold in sorted({*_THRESHOLDS, least}):
        below = np.flatnonzero(scores < threshold)
        counts.append((f"{threshold:g}", f"{len(below):,}", f"{100 * len(below) / len(scores):.1f} %"))
        nearest = below[np.argsort(-scores[below], kind="stable")[:_NEAR]]
        wanted.update(dict.fromkeys(nearest.tolist(), threshold))
    print_table("pairs that a threshold drops", ["least score", "pairs", "of all"], counts)
    rows, start = [], 0
    for batch in corpus.pair_batches(["source", "target"]):
        for row in [row for row in wanted if start <= row < start + batch.num_rows]:
            pair = batch.slice(row - start, 1).to_pylist()[0]
            rows.append((float(scores[row]), pair["source"], pair["target"]))
        start += batch.num_rows
    shown = [(f"{score:.3f}", source, target) for score, source, target in sorted(rows)]
    print_table("pairs just below them", ["score", "source", "target"], shown)
