"""Which document each group of a corpus belongs to.

In: a `Corpus`. Out: document numbers for group ids.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from mlcl.corpus.store import Corpus


@dataclass(frozen=True)
class Documents:
    """Documents of groups.

    Attributes:
        groups: (G,) ascending ids of the groups that have a document.
        documents: (G,) their documents, numbers that mean the same on all ranks and in all runs.
    """

    groups: np.ndarray
    documents: np.ndarray

    @classmethod
    def of(cls, corpus: Corpus) -> Documents | None:
        """Read the pairs of a corpus; None where no pair has a document. A group in several has the first."""
        numbers: dict[tuple[str, str], int] = {}
        groups, documents = [], []
        for batch in corpus.pair_batches(["group", "origin", "document"]):
            for group, origin, document in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                if document and group >= 0:
                    if (origin, document) not in numbers:
                        numbers[origin, document] = _number(f"{origin}\n{document}")
                    groups.append(group)
                    documents.append(numbers[origin, document])
        if not groups:
            return None
        distinct, first = np.unique(np.array(groups, dtype=np.int64), return_index=True)
        return cls(distinct, np.array(documents, dtype=np.int64)[first])

    def of_groups(self, groups: np.ndarray) -> np.ndarray:
        """Documents of groups (B,); -1 where there is none."""
        place = np.minimum(np.searchsorted(self.groups, groups), len(self.groups) - 1)
        return np.where(self.groups[place] == groups, self.documents[place], -1)


def _number(name: str) -> int:
    """A number in [2^62, 2^63): the same in every process, and no group id."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 2 | 1 << 62
