"""Corpora made from corpora: rows of one or more go in, a corpus folder with all their facts comes out.

Licences and origins, what was dropped before and why, the sources and the number of evaluation texts are carried over;
the counts are those of the rows that were written. Report and data card are made as by a build.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.dataset as ds

from mlcl.core.files import write_json
from mlcl.corpus.card import write_card
from mlcl.corpus.store import Corpus, CorpusWriter, Rows
from mlcl.corpus.tally import Tally
from mlcl.reports.corpus_report import write_report

_SAMPLES = 10  # texts of the largest group that are shown


class DerivedCorpus:
    """Writes a corpus that is made of others.

    Args:
        folder: Where to write, usually the temporary folder of `core.files.atomic_directory`.
        parents: The corpora that the rows come from.

    Attributes:
        tally: What is dropped on the way. A row that is not written must be counted here, unless the corpus is meant to
            be a part of its parents.
    """

    def __init__(self, folder: Path, parents: Sequence[Corpus]) -> None:
        self.folder, self.parents = folder, parents
        self.tally = Tally()
        self._writer = CorpusWriter(folder)
        self._groups: list[np.ndarray] = []

    def write(self, kind: str, rows: Rows) -> None:
        """Append rows of a kind: pairs or mono."""
        (self._writer.write_pairs if kind == "pairs" else self._writer.write_mono)(rows)
        self._groups.append(np.asarray([row["group"] for row in rows] if isinstance(rows, list) else rows["group"]))

    def close(self, *, is_part: bool = False) -> dict[str, Any]:
        """Finish shards, manifest, report and data card; returns the manifest.

        Args:
            is_part: The corpus is a part of its parents (a sample, a side of a split): their drops are not its own.
        """
        manifests = [parent.manifest for parent in self.parents]
        texts = self._writer.texts_per_origin
        drops = self.tally.entries()
        if not is_part:
            drops += [entry for manifest in manifests for entry in manifest.get("drops", ())]
        drops = merged_drops(drops)
        kept, dropped = texts.total(), sum(entry["texts"] for entry in drops)
        ids, sizes = _sizes(self._groups)
        largest: dict[str, Any] = {"group": -1, "texts": 0, "samples": []}
        if len(ids):
            largest |= {"group": int(ids[sizes.argmax()]), "texts": int(sizes.max())}
        manifest = self._writer.close(
            texts={"read": kept + dropped, "kept": kept, "dropped": dropped},
            groups=len(ids),
            largest_group=largest,
            evaluation_texts=sum(manifest.get("evaluation_texts", 0) for manifest in manifests),
            origins=_origins(manifests, texts),
            drops=drops,
            sources=[source for manifest in manifests for source in manifest.get("sources", ())],
        )
        largest["samples"] = _texts_of_group(self.folder, largest["group"])
        write_json(self.folder / "manifest.json", manifest)
        write_report(manifest, self.folder / "report.html")
        write_card(self.folder, manifest)
        return manifest


def merged_drops(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries of a manifest's `drops`, one for each reason and origin, largest first."""
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in entries:
        known = merged.setdefault((entry["reason"], entry["origin"]), {**entry, "texts": 0, "samples": []})
        known["texts"] += entry["texts"]
        known["samples"] = [*known["samples"], *entry.get("samples", ())][:5]
    return sorted(merged.values(), key=lambda entry: (-entry["texts"], entry["reason"], entry["origin"]))


def _sizes(parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    groups = np.concatenate(parts) if parts else np.empty(0, np.int64)
    return np.unique(groups[groups >= 0], return_counts=True)


def _origins(manifests: Sequence[dict[str, Any]], texts: Counter[str]) -> dict[str, dict[str, Any]]:
    """Origins in the order in which they come, with all licences under which their texts came."""
    licences: dict[str, list[str]] = {}
    for manifest in manifests:
        for name, facts in manifest.get("origins", {}).items():
            known = licences.setdefault(name, [])
            known += [part for part in facts["licence"].split("; ") if part and part not in known]
    for name in texts:
        licences.setdefault(name, [])
    return {name: {"licence": "; ".join(known), "texts": texts[name]} for name, known in licences.items()}


def _texts_of_group(folder: Path, group: int) -> list[str]:
    """A few texts of a group, from the shards in a folder."""
    shown: dict[str, None] = {}
    for kind, columns in (("pairs", ("source", "target")), ("mono", ("text",))):
        if group < 0 or not (folder / kind).is_dir():
            continue
        languages = {"source": "source_lang", "target": "target_lang", "text": "lang"}
        wanted = [name for column in columns for name in (languages[column], column)]
        rows = ds.dataset(folder / kind, format="parquet").scanner(wanted, pc.field("group") == group).head(_SAMPLES)
        for row in rows.to_pylist():
            shown.update({f"{row[languages[column]]}: {row[column][:160]}": None for column in columns})
    return list(shown)[:_SAMPLES]
