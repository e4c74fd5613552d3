"""The texts of a task, embedded once. In: `embed` and texts. Out: unit vectors of any of these texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mlcl.core.errors import UserError
from mlcl.retrieval.knn import Vectors, unit
from mlcl.tasks import Embed


class EmbeddedTexts:
    """Vectors of all distinct texts of a task, from one call of `embed`.

    Args:
        embed: Texts -> vectors (N, D).
        texts: All texts that will be asked for, repeated ones included.

    Raises:
        UserError: `embed` gives another number of vectors, or values that are not finite.
    """

    def __init__(self, embed: Embed, texts: Iterable[str]) -> None:
        self._row = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        vectors = embed(list(self._row))
        if vectors.shape[0] != len(self._row):
            raise UserError(f"the encoder gave {vectors.shape[0]} vectors for {len(self._row)} texts")
        self._vectors = unit(vectors)

    def of(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors (N, D) of N texts."""
        return self._vectors[[self._row[text] for text in texts]]
