"""Vectors of a teacher for the groups of a corpus: computed once, kept on disk, read through a memory map.

In: a corpus, a teacher (any encoder), its languages. Out: for each group that has a sentence in one of these languages,
the teacher's vector of that sentence, towards which a student pulls all versions of it (Reimers and Gurevych 2020,
arXiv 2004.09813).

The vectors lie in the corpus folder, under a name that changes with the teacher's files, the languages and the corpus,
so that runs, tokenizers and students share them. They are computed block by block; a stopped computation goes on with
the block at which it stopped and comes to the same vectors.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlcl.core.errors import UserError
from mlcl.core.files import read_json, write_json
from mlcl.core.progress import bar, console
from mlcl.corpus.store import Corpus
from mlcl.training.sources import Column

_VERSION = 1
_BLOCK = 4096  # sentences that are encoded, and made safe, together; fixed, so that a resumed run has the same blocks
_DTYPE = np.dtype("<f2")  # a unit vector loses 1e-6 of its cosine, and the file is half as large

Embed = Callable[[list[str]], np.ndarray]


@dataclass(frozen=True)
class TeacherVectors:
    """The teacher's vectors of a corpus.

    Attributes:
        groups: (G,) ids of the groups that have one, ascending.
        rows: (G,) where the vector of each group lies.
        vectors: (G, D) float16; a memory map.
    """

    groups: np.ndarray
    rows: np.ndarray
    vectors: np.ndarray

    @property
    def dimension(self) -> int:
        """D."""
        return self.vectors.shape[1]

    def of(self, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Group ids (B,) -> vectors (B, D) float32, 0 where the teacher has none, and (B,) whether it has one."""
        groups = np.asarray(groups)
        if not len(groups):
            return np.zeros((0, self.dimension), dtype=np.float32), np.zeros(0, dtype=bool)
        place = np.minimum(np.searchsorted(self.groups, groups), len(self.groups) - 1)
        known = self.groups[place] == groups
        vectors = np.zeros((len(groups), self.dimension), dtype=np.float32)
        vectors[known] = self.vectors[self.rows[place[known]]]
        return vectors, known


def columns(teacher: TeacherVectors, group: np.ndarray) -> dict[str, Column]:
    """The columns of a batch that the term `distillation` reads: `teacher` (B, D) and `teacher_known` (B,).

    Args:
        teacher: The vectors.
        group: (N,) group of each sentence of the token store.
    """

    def of(sentences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return teacher.of(np.where(sentences < 0, -1, group[sentences]))

    return {
        "teacher": lambda anchors, positives: of(anchors)[0],
        "teacher_known": lambda anchors, positives: of(anchors)[1],
    }


def open_or_compute(
    corpus: Corpus, teacher: str, embed: Embed, languages: Sequence[str], fallback: Path, prompt: str | None = None
) -> TeacherVectors:
    """The teacher's vectors of a corpus; computed on first use.

    Args:
        corpus: The corpus.
        teacher: Folder or hub id of the teacher; of a folder the content counts, of a hub id the name.
        embed: The teacher: texts -> (N, D), each vector independent of the other texts.
        languages: Canonical tags of languages that it knows, the most trusted first.
        fallback: Folder to keep them in when the corpus folder cannot be written to.
        prompt: What `embed` puts before each text; part of the name.

    Raises:
        UserError: the corpus has no translation of a sentence in these languages.
    """
    corpus.require(languages)
    name = fingerprint(corpus, teacher, languages, prompt)
    places = [parent / "teacher" / name for parent in (corpus.path, fallback)]
    for place in places:
        if (place / "meta.json").is_file():
            return _open(place)
    try:
        places[0].mkdir(parents=True, exist_ok=True)
        place = places[0]
    except PermissionError:
        place = places[1]
        place.mkdir(parents=True, exist_ok=True)
    with _alone(place):
        if not (place / "meta.json").is_file():  # another process may have been quicker
            _compute(corpus, embed, languages, place)
    return _open(place)


def fingerprint(corpus: Corpus, teacher: str, languages: Sequence[str], prompt: str | None = None) -> str:
    """Name of a set of vectors: changes with the corpus' content, the teacher's files, languages and prompt."""
    digest = hashlib.sha256(f"{_VERSION} {' '.join(languages)} {prompt!r}".encode())
    for shard in corpus.manifest["shards"]:
        digest.update(shard["sha256"].encode())
    folder = Path(teacher).expanduser()
    if not folder.is_dir():
        digest.update(teacher.encode())
        return digest.hexdigest()[:16]
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(file.relative_to(folder)).encode())
        with file.open("rb") as handle:
            while part := handle.read(1 << 20):
                digest.update(part)
    return digest.hexdigest()[:16]


def _open(place: Path) -> TeacherVectors:
    meta = read_json(place / "meta.json")
    shape = (meta["groups"], meta["dimension"])
    vectors = np.memmap(place / "vectors.f16", dtype=_DTYPE, mode="r", shape=shape)
    groups, rows = (np.load(place / f"{part}.npy", mmap_mode="r") for part in ("groups", "rows"))
    return TeacherVectors(groups, rows, vectors)


def _compute(corpus: Corpus, embed: Embed, languages: Sequence[str], place: Path) -> None:
    """Append blocks to `vectors.f16`; `meta.json`, written last, says that all of them are there."""
    groups, rows, chosen = _choose(corpus, languages)
    file, done = place / "vectors.f16", 0
    if file.is_file() and (place / "width.json").is_file():
        row = _DTYPE.itemsize * read_json(place / "width.json")
        done = file.stat().st_size // row // _BLOCK
        os.truncate(file, done * _BLOCK * row)  # what a killed process left unfinished at the end
    with bar() as progress, file.open("ab" if done else "wb") as sink:
        task = progress.add_task("the teacher encodes", total=len(groups), completed=done * _BLOCK)
        for texts in islice(_blocks(corpus, languages, chosen), done, None):
            vectors = np.asarray(embed(texts))
            with np.errstate(over="ignore"):
                kept = vectors.astype(_DTYPE)
            if len(vectors) != len(texts) or not np.isfinite(kept).all():
                raise UserError("the teacher gives vectors that are not finite, or too large for half precision")
            write_json(place / "width.json", vectors.shape[1])
            sink.write(kept.tobytes())
            sink.flush()
            os.fsync(sink.fileno())
            progress.advance(task, len(texts))
    np.save(place / "rows.npy", rows)
    np.save(place / "groups.npy", groups)
    meta = {"groups": len(groups), "dimension": read_json(place / "width.json"), "languages": list(languages)}
    write_json(place / "meta.json", meta)


def _choose(corpus: Corpus, languages: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One sentence of each group: of its first language here, the first that is stored.

    Returns:
        (G,) group ids, ascending; (G,) the place of each one's sentence among those chosen, in stored order; and (S,)
        which of the sentences that `_sides` gives are chosen.
    """
    sides = [(ranks, groups) for ranks, groups, _ in _sides(corpus, languages)]
    ranks, groups = (np.concatenate([side[column] for side in sides] or [np.empty(0, int)]) for column in range(2))
    order = np.lexsort((ranks, groups))  # stable: of equal ones the first stays first
    order = order[groups[order] >= 0]
    ids, first = np.unique(groups[order], return_index=True)
    if not len(ids):
        raise UserError(
            f"no translation in the corpus has a side in {', '.join(languages)}",
            path=corpus.path,
            remedy="name languages of the pairs, or another teacher",
        )
    chosen = np.zeros(len(groups), dtype=bool)
    chosen[order[first]] = True
    return ids, (np.cumsum(chosen) - 1)[order[first]], chosen


def _blocks(corpus: Corpus, languages: Sequence[str], chosen: np.ndarray) -> Iterator[list[str]]:
    """The chosen sentences in stored order, block by block."""
    block: list[str] = []
    passed = 0
    for ranks, _, texts in _sides(corpus, languages):
        block += texts.filter(pa.array(chosen[passed : passed + len(ranks)])).to_pylist()
        passed += len(ranks)
        while len(block) >= _BLOCK:
            yield block[:_BLOCK]
            block = block[_BLOCK:]
    if block:
        yield block


def _sides(corpus: Corpus, languages: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray, Any]]:
    """Sentences of pairs in these languages: places of their languages in the list, group ids, texts (Arrow)."""
    known = pa.array(list(languages))
    for batch in corpus.pair_batches(columns=["source_lang", "target_lang", "source", "target", "group"]):
        for side in ("source", "target"):
            ranks = pc.index_in(batch.column(f"{side}_lang"), known)
            rows = batch.filter(pc.is_valid(ranks))
            yield ranks.drop_null().to_numpy(), rows.column("group").to_numpy(), rows.column(side)


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Wait until no other process computes here."""
    with (place / "lock").open("w") as lock:
        try:
            import fcntl
        except ImportError:  # Windows: two runs that start at once would do the work twice
            yield
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            console.print("  another process computes the teacher's vectors, waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
