"""The data card of a corpus: its manifest and a look at its texts go in, the README.md of its folder comes out.

The texts are looked at for personal data, in the first rows of some shards, so that the card costs a moment however
large the corpus is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mlcl.core.files import atomic_file
from mlcl.core.progress import warn
from mlcl.reports.data_card import PersonalData, data_card
from mlcl.text import personal_data

_SHARDS, _ROWS = 20, 1000  # shards of each kind that are looked into, and rows of each


def write_card(folder: Path, manifest: Mapping[str, Any]) -> Path | None:
    """Write `README.md` into a corpus folder.

    A card is never worth losing a corpus for: whatever goes wrong becomes a warning, and None is returned.
    """
    try:
        text = data_card(manifest, look_for_personal_data(folder, manifest))
        with atomic_file(folder / "README.md") as partial:
            partial.write_text(text, encoding="utf-8")
    except Exception as error:
        warn(f"no data card was written: {type(error).__name__}: {error}")
        return None
    return folder / "README.md"


def look_for_personal_data(folder: Path, manifest: Mapping[str, Any]) -> PersonalData:
    """What stands in the first rows of shards that lie evenly over the corpus."""
    found: Counter[str] = Counter()
    masked: Counter[str] = Counter()
    looked_at = 0
    for kind, columns in (("pairs", ["source", "target"]), ("mono", ["text"])):
        shards = [shard["file"] for shard in manifest["shards"] if shard["file"].startswith(f"{kind}/")]
        for file in shards[:: max(1, -(-len(shards) // _SHARDS))]:
            with pq.ParquetFile(folder / file) as shard:
                batch = next(shard.iter_batches(batch_size=_ROWS, columns=columns))
            for text in (text for column in batch.columns for text in set(column.to_pylist())):
                looked_at += 1
                found.update(piece.kind for piece in personal_data.find(text))
                masked.update(kind for kind in personal_data.KINDS if f"<{kind.upper()}>" in text)
    return PersonalData(looked_at, dict(found), dict(masked))
