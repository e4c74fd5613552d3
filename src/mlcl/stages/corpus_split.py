"""Cut a corpus into OUT/train and OUT/dev, so that no group and no document is in both."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mlcl.core.errors import UserError
from mlcl.core.files import atomic_directory, refuse_existing
from mlcl.core.progress import print_table, results, step, warn


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl corpus split`."""

    corpus: str = field(metadata={"positional": True})
    """Corpus folder."""
    out: str
    """Folder to make, with the corpora train and dev in it."""
    dev_share: float = 0.05
    """Share of the rows that goes to dev, at most."""
    by: Literal["document", "group"] = "document"
    """What stays together: documents (and groups), or groups alone. Rows without a document go by their group."""
    seed: int = 0
    """Another seed draws other documents."""
    overwrite: bool = False
    """Replace OUT where it exists."""


def run(config: Config) -> Path:
    """Split the corpus, print the parts by language, and return the folder.

    Raises:
        UserError: no corpus, a share that leaves a part empty, or an output that exists.
    """
    from mlcl.corpus import split
    from mlcl.corpus.store import Corpus

    if not 0 < config.dev_share < 1:
        raise UserError(f"dev_share is {config.dev_share}, it must be in (0, 1)")
    out = Path(config.out)
    refuse_existing(out, config.overwrite)
    corpus = Corpus.open(config.corpus)
    with step(f"drawing dev by {config.by}"):
        drawn = split.assign(corpus, config.dev_share, config.by, config.seed)
    rows, dev = len(drawn.is_dev), int(drawn.is_dev.sum())
    if dev < 0.5 * config.dev_share * rows:
        warn(
            f"dev has {dev:,} of {rows:,} rows: the largest of {drawn.components:,} parts that cannot be cut has "
            f"{drawn.largest:,}"
        )
    with step("writing both parts"), atomic_directory(out, config.overwrite) as folder:
        manifests = split.write(corpus, drawn, folder)
    counts = {
        name: {tag: sum(count.values()) for tag, count in manifest["languages"].items()}
        for name, manifest in manifests.items()
    }
    languages = sorted(counts["train"] | counts["dev"], key=lambda tag: -counts["train"].get(tag, 0))
    shown = [(tag, f"{counts['train'].get(tag, 0):,}", f"{counts['dev'].get(tag, 0):,}") for tag in languages]
    print_table("Sentences", ["language", "train", "dev"], shown)
    left_out = manifests["dev"]["texts"]["dropped"]
    results.print(
        f"{rows - dev:,} rows for training, {sum(manifests['dev']['rows'].values()):,} for dev; {left_out:,} texts of "
        f"dev rows left out because training has a text of theirs",
        soft_wrap=True,
    )
    return out
