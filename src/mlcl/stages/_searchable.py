"""What `mlcl search` looks through: texts with a place each, and their vectors, new or kept in a file.

In: a text file, a corpus folder, or a file of vectors with its texts. Out: `Texts`.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlcl.core.errors import UserError
from mlcl.core.files import atomic_file, existing
from mlcl.core.progress import console
from mlcl.stages._vectors import text_lines

if TYPE_CHECKING:
    from mlcl.model.encoder import Encoder

_PROBES, _SAME = 8, 0.99  # texts encoded again to see that kept vectors are of this model; cosine that they must reach


@dataclass(frozen=True)
class Texts:
    """Texts to search.

    Attributes:
        rows: `(place, text)`: the line number, or the language in a corpus.
        given: (N, D) vectors that came with the texts, of length 1; None where they have to be made.
    """

    rows: list[tuple[str, str]]
    given: np.ndarray | None = None

    def vectors(self, encoder: Encoder, prompt: str | None, index: str | None) -> np.ndarray:
        """(N, D) vectors of length 1: those given, those kept in the file `index`, or new ones (kept there if named).

        Raises:
            UserError: given or kept vectors do not fit the texts or the encoder.
        """
        if self.given is not None:
            _check(self.given, self.rows, encoder, prompt, "the vectors")
            return self.given
        file = None if index is None else _npz(index)
        mark = hashlib.sha256("\n".join(text for _, text in self.rows).encode("utf-8", "surrogatepass")).hexdigest()
        if file is not None and file.exists():
            kept = _read(file, mark)
            _check(kept, self.rows, encoder, prompt, f"the index {file}")
            return kept
        made = encoder.encode([text for _, text in self.rows], prompt=prompt, show_progress=True)
        if file is not None:
            with atomic_file(file) as partial:
                np.savez(partial, vectors=made, texts=np.array(mark))
            console.print(f"[green]✓[/green] vectors kept in {file}", soft_wrap=True)
        return made


def read_texts(corpus: str, texts: str | None, languages: list[str] | None, limit: int | None) -> Texts:
    """Read what is to be searched; equal texts of one place come once, blank ones never.

    Args:
        corpus: Text file, corpus folder, or `.npy` file of vectors.
        texts: Text file of the vectors.
        languages: Languages to keep of a corpus folder.
        limit: Most texts.

    Raises:
        UserError: missing or unreadable files, options that do not go together, or nothing to search.
    """
    path = existing(corpus) if corpus != "-" else Path(corpus)
    if corpus == "-":
        raise UserError("standard input is for the queries", remedy="give --corpus a file")
    if (path.suffix == ".npy") != (texts is not None):
        remedy = "give both, or a text file as --corpus"
        raise UserError("--texts goes with vectors (.npy) as --corpus, and they with it", path=path, remedy=remedy)
    if languages and not path.is_dir():
        raise UserError("--languages needs a corpus folder: a text file does not say its language", path=path)
    if texts is not None:
        return _with_vectors(path, texts, limit)
    rows: dict[tuple[str, str], None] = {}
    if path.is_dir():
        for row in texts_of_corpus(path, languages):
            rows.setdefault(row)
            if len(rows) == limit:
                break
    else:
        seen: set[str] = set()
        for number, text in enumerate(text_lines(corpus), start=1):
            if text.strip() and text not in seen:
                seen.add(text)
                rows[(f"line {number}", text)] = None
            if len(rows) == limit:
                break
    if not rows:
        raise UserError("there is no text to search", path=path)
    return Texts(list(rows))


def texts_of_corpus(path: Path, languages: list[str] | None) -> Iterator[tuple[str, str]]:
    """(language, text) of every sentence, of the pairs first."""
    from mlcl.core.languages import canonical
    from mlcl.corpus.store import Corpus

    corpus = Corpus.open(path)
    wanted = None if languages is None else {canonical(tag) for tag in languages}
    if wanted:
        corpus.require(wanted)
    sides = [("pairs", "source_lang", "source"), ("pairs", "target_lang", "target"), ("mono", "lang", "text")]
    for kind in ("pairs", "mono"):
        for batch in corpus.pair_batches() if kind == "pairs" else corpus.mono_batches():
            for _, language, text in (side for side in sides if side[0] == kind):
                for row in zip(batch.column(language).to_pylist(), batch.column(text).to_pylist(), strict=True):
                    if wanted is None or row[0] in wanted:
                        yield row


def _with_vectors(path: Path, texts: str, limit: int | None) -> Texts:
    from mlcl.retrieval.knn import unit

    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UserError(f"not a NumPy file of vectors: {error}", path=path, remedy="make it: mlcl encode") from error
    lines = list(text_lines(texts))
    if vectors.ndim != 2 or len(vectors) != len(lines):
        raise UserError(
            f"vectors have the shape {vectors.shape}, the texts {len(lines)} lines",
            path=path,
            remedy="one row per line is needed",
        )
    keep = [number for number, text in enumerate(lines) if text.strip()][:limit]
    if not keep:
        raise UserError("there is no text to search", path=texts)
    unit_rows = np.asarray(unit(np.asarray(vectors[keep], dtype=np.float32)))
    return Texts([(f"line {number + 1}", lines[number]) for number in keep], unit_rows)


def _check(vectors: np.ndarray, rows: list[tuple[str, str]], encoder: Encoder, prompt: str | None, what: str) -> None:
    """Encode a few texts again: vectors of another model would give answers, and wrong ones."""
    if vectors.shape != (len(rows), encoder.dimension):
        raise UserError(
            f"{what}: shape {vectors.shape}, expected ({len(rows)}, {encoder.dimension})",
            remedy="encode the texts again",
        )
    places = np.unique(np.linspace(0, len(rows) - 1, min(_PROBES, len(rows))).astype(int))
    again = encoder.encode([rows[place][1] for place in places], prompt=prompt)
    if (np.einsum("nd,nd->n", again, vectors[places]) < _SAME).any():
        remedy = "give the model and prompt that they were made with, or encode the texts again"
        raise UserError(f"{what}: made by another model or with another prompt", remedy=remedy)


def _npz(index: str) -> Path:
    path = Path(index)
    if path.suffix != ".npz":
        raise UserError("an index is an .npz file", path=path, remedy=f"call it {path.name}.npz")
    return path


def _read(file: Path, mark: str) -> np.ndarray:
    try:
        with np.load(file, allow_pickle=False) as kept:
            vectors, texts = kept["vectors"], str(kept["texts"])
    except (ValueError, EOFError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise UserError(
            "not an index of mlcl search", path=file, remedy="delete it, or give another --index"
        ) from error
    if texts != mark:
        raise UserError("this index was made of other texts", path=file, remedy="delete it, or give another --index")
    return vectors
