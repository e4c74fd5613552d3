"""Mine hard negatives for the pairs of a corpus with an encoder, into its column `negatives`.

An encoder may mine for the corpus that it was trained on: train, mine, and train again on what it still confuses. A
candidate that is nearly as close as the translation is left out, for it may be another translation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape

from mlcl.core.errors import UserError
from mlcl.core.files import atomic_directory, refuse_existing
from mlcl.core.progress import print_table, results, step


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl corpus negatives`."""

    corpus: str
    """Corpus folder."""
    model: str
    """Encoder: an MLC, sentence-transformers or Hugging Face folder, or a hub id."""
    out: str
    """Corpus folder to make."""
    per_pair: int = 4
    """Most negatives that are mined for a pair."""
    guard: float = 0.95
    """A candidate with more than this share of the translation's cosine is left out as a possible translation."""
    depth: int = 32
    """Nearest candidates that are looked at for each pair."""
    device: str | None = None
    """cpu, cuda, cuda:1, mps; by default a GPU if there is one."""
    overwrite: bool = False
    """Replace OUT where it exists."""


def run(config: Config) -> Path:
    """Mine, print how many pairs have how many negatives, write OUT, and return the folder.

    Raises:
        UserError: no corpus, no pairs in it, settings out of range, or an output that exists.
    """
    from mlcl.corpus.hard_negatives import mine_negatives, write_with_negatives
    from mlcl.corpus.store import Corpus

    problems = [
        f"{name} is {value}, it must be {rule}"
        for name, value, fine, rule in (
            ("per_pair", config.per_pair, config.per_pair >= 1, "at least 1"),
            ("guard", config.guard, 0 < config.guard <= 1, "above 0 and at most 1"),
            ("depth", config.depth, config.depth >= config.per_pair, f"at least per_pair, {config.per_pair}"),
        )
        if not fine
    ]
    if problems:
        raise UserError("; ".join(problems))
    out = Path(config.out)
    refuse_existing(out, config.overwrite)
    corpus = Corpus.open(config.corpus)
    if not corpus.manifest["rows"]["pairs"]:
        raise UserError("the corpus has no pairs", path=corpus.path)

    from mlcl.model.encoder import Encoder

    encoder = Encoder.from_pretrained(config.model, config.device)
    found = mine_negatives(corpus, encoder.encode, per_pair=config.per_pair, guard=config.guard, depth=config.depth)
    with step("writing the corpus"), atomic_directory(out, config.overwrite) as folder:
        write_with_negatives(corpus, found, folder)
    counts = (found >= 0).sum(axis=1)
    rows = [(number, f"{(counts == number).sum():,}") for number in range(config.per_pair + 1)]
    print_table("pairs by their number of mined negatives", ["negatives", "pairs"], rows)
    results.print(f"report: {escape(str(out / 'report.html'))}", soft_wrap=True)
    return out
