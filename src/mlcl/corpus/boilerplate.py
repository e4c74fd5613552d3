"""Texts that stand in many documents of their origin: menus, notices, disclaimers.

In: a hash of text and origin, and one of the document, for every version, in any portions. Out: the hashes that are
boilerplate. Rows are dealt out to files by their hash and each file is counted alone, so memory holds one file and the
hashes that were found, of which there is at most one for each `least` texts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mlcl.corpus.dedup import Bool, Hashes, pair_hashes
from mlcl.corpus.dedup_partitioned import ROWS, Partitions


class DocumentCounts:
    """Counts the documents of texts.

    Args:
        folder: For the files, 16 bytes for each different text of a document; they vanish with it.
        versions: About how many texts there are.
        least: Documents from which on a text is boilerplate.
        rows: About how many rows a file has.
    """

    def __init__(self, folder: Path, versions: int, least: int, rows: int = ROWS) -> None:
        self._least = least
        self._places = Partitions(folder, [("text", "u8"), ("document", "u8")], versions // rows + 1)
        self._found = np.empty(0, np.uint64)

    def add(self, texts: Hashes, documents: Hashes) -> None:
        """Count texts (n,) of documents (n,).

        A text with documents enough in these rows alone is found at once and takes no more room, so a line that stands
        in every document does not fill a file: each call adds fewer than `least` rows of any text.
        """
        _, first = np.unique(pair_hashes(texts, documents), return_index=True)
        texts, documents = texts[first], documents[first]
        if len(found := np.setdiff1d(_at_least(texts, self._least), self._found)):
            self._found = np.union1d(self._found, found)
        rest = ~among(texts, self._found)
        self._places.add(texts[rest], texts[rest], documents[rest])

    def found(self) -> Hashes:
        """The texts that are boilerplate (F,), sorted; once."""
        for part in self._places:
            _, first = np.unique(pair_hashes(part["text"], part["document"]), return_index=True)
            self._found = np.union1d(self._found, _at_least(part["text"][first], self._least))
        return self._found


def among(values: Hashes, known: Hashes) -> Bool:
    """Which of the values (n,) are in `known`, which is sorted and may be far longer."""
    if not len(known):
        return np.zeros(len(values), dtype=bool)
    place = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return known[place] == values


def _at_least(values: Hashes, least: int) -> Hashes:
    """The values that come so often."""
    distinct, counts = np.unique(values, return_counts=True)
    return distinct[counts >= least]
