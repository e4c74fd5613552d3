"""The two collections of `mlcl mine`: sentences with their lines and vectors, each text once.

In: text files, files of vectors, a model. Out: `Side`s, whose vectors lie on disk and are of length 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlcl.core.errors import UserError
from mlcl.core.files import atomic_file, existing, read_lines
from mlcl.core.progress import bar, console
from mlcl.stages._vectors import SUFFIXES, text_lines

if TYPE_CHECKING:
    from mlcl.model.encoder import Encoder
    from mlcl.stages.mine import Config

_BLOCK = 8192  # sentences that are encoded, or made to length 1, together


@dataclass(frozen=True)
class Side:
    """One collection, without its blank lines and repeated texts.

    Attributes:
        lines: (N,) line numbers, from 1.
        texts: The sentences; None where only vectors were given.
        vectors: (N, D) float32 of length 1, memory-mapped.
    """

    lines: np.ndarray
    texts: list[str] | None
    vectors: np.ndarray

    @property
    def keys(self) -> list[str]:
        """What tells sentences apart: the texts, or the numbers of the lines."""
        return self.texts if self.texts is not None else [str(line) for line in self.lines.tolist()]


def read_sides(config: Config, work: Path) -> tuple[Side, Side]:
    """Read, encode where there are no vectors, and check that both sides fit each other."""
    texts = {side: getattr(config, side) and read_texts(getattr(config, side)) for side in ("source", "target")}
    encoder = None
    if config.model is not None:
        from mlcl.model.encoder import Encoder

        encoder = Encoder.from_pretrained(config.model, config.device)
    sides = []
    for side, found in texts.items():
        file = work / f"{side}.npy"
        given = getattr(config, f"{side}_vectors")
        if given is None:
            assert encoder is not None
            lines, unique = _once(found)
            sides.append(Side(lines, unique, _encoded(encoder, unique, file, side)))
            continue
        rows = read_vectors(existing(given), config.dimension)
        if found and len(rows) != len(found):
            raise UserError(
                f"{len(rows):,} vectors, but {len(found):,} lines in {getattr(config, side)}",
                path=given,
                remedy="row n must be line n",
            )
        if found:
            lines, unique = _once(found)
            sides.append(Side(lines, unique, _unit_rows(rows, lines - 1, file, given)))
        else:
            lines = np.arange(1, len(rows) + 1)
            sides.append(Side(lines, None, _unit_rows(rows, lines - 1, file, given)))
    first, second = sides
    if first.vectors.shape[1] != second.vectors.shape[1]:
        raise UserError(
            f"vectors of {first.vectors.shape[1]} values on the source side, of {second.vectors.shape[1]} on the other",
            remedy="use vectors of one model",
        )
    return first, second


def read_texts(path: str) -> list[str]:
    """All lines of a text file.

    Raises:
        UserError: missing, empty or damaged, or only blank lines.
    """
    if path == "-":
        raise UserError("two files are needed, standard input cannot be one", remedy="give a file")
    lines = list(text_lines(path))
    if not any(line.strip() for line in lines):
        raise UserError("there is no text, only blank lines", path=path)
    return lines


def _once(lines: list[str]) -> tuple[np.ndarray, list[str]]:
    """Line numbers and texts, blank lines left out, equal texts once."""
    first: dict[str, int] = {}
    for number, text in enumerate(lines, start=1):
        if text.strip():
            first.setdefault(text, number)
    if len(first) < len(lines):
        console.print(f"  {len(lines) - len(first):,} of {len(lines):,} lines are blank or repeat another; left out")
    return np.fromiter(first.values(), np.int64, len(first)), list(first)


def read_vectors(path: Path, dimension: int | None) -> np.ndarray:
    """(N, D) memory-mapped rows of a `.npy` or raw float32 file.

    Raises:
        UserError: another format, a raw file without `dimension`, or a size that it does not divide.
    """
    kind = SUFFIXES.get(path.suffix.lower())
    if kind == "npy":
        try:
            rows: np.ndarray = np.load(path, mmap_mode="c", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise UserError(f"not a NumPy file of vectors: {error}", path=path) from error
        if rows.ndim != 2 or rows.dtype.kind != "f":
            raise UserError(f"shape {rows.shape} of {rows.dtype}, expected (N, D) of floats", path=path)
    elif kind == "raw":
        if dimension is None or dimension < 1:
            raise UserError("a raw file does not say how long a vector is", path=path, remedy="give --dimension")
        size = path.stat().st_size
        if size % (4 * dimension):
            raise UserError(f"{size:,} bytes are no whole number of vectors of {dimension} float32 values", path=path)
        rows = np.empty((0, dimension), np.float32)
        if size:
            rows = np.memmap(path, dtype="<f4", mode="c").reshape(-1, dimension)
    else:
        raise UserError(f"the suffix {path.suffix!r} names no vectors", path=path, remedy="give .npy or .raw")
    if not len(rows):
        raise UserError("there are no vectors", path=path)
    return rows


def gold_pairs(path: str, source: Side, target: Side) -> set[tuple[int, int]]:
    """Right pairs as indices of both sides.

    Raises:
        UserError: a line that is not two numbers, a line number that names no sentence, or fewer than four pairs.
    """
    places = [_by_line(side) for side in (source, target)]
    found = set()
    for number, line in read_lines(existing(path)):
        fields = (line or "").split("\t")
        if len(fields) < 2 or not all(field.strip().isdecimal() for field in fields[:2]):
            raise UserError("two line numbers with a tab between them are needed", path=path, line=number)
        pair = []
        for which, (field, place) in enumerate(zip(fields[:2], places, strict=True)):
            if int(field) not in place:
                side = ("source", "target")[which]
                raise UserError(
                    f"{side} line {int(field)} is no sentence of that side", path=path, line=number,
                    remedy="count lines from 1; a repeated text counts at its first line",
                )  # fmt: skip
            pair.append(place[int(field)])
        found.add((pair[0], pair[1]))
    if len(found) < 4:
        raise UserError(f"{len(found)} gold pairs; four are needed to learn and to measure", path=path)
    return found


def _by_line(side: Side) -> dict[int, int]:
    return {line: row for row, line in enumerate(side.lines.tolist())}


def _encoded(encoder: Encoder, texts: list[str], file: Path, title: str) -> np.ndarray:
    """Vectors (N, D) of length 1 in a file, which is continued where it is there already."""
    done_file = file.with_suffix(".done")
    done = int(done_file.read_text()) if done_file.exists() and file.exists() else 0
    shape = (len(texts), encoder.dimension)
    rows = np.lib.format.open_memmap(file, "r+" if done else "w+", np.float32, None if done else shape)
    with bar() as progress:
        task = progress.add_task(f"encoding {title}", total=len(texts), completed=done)
        for start in range(done, len(texts), _BLOCK):
            block = texts[start : start + _BLOCK]
            rows[start : start + len(block)] = encoder.encode(block)
            rows.flush()
            with atomic_file(done_file) as partial:
                partial.write_text(str(start + len(block)))
            progress.update(task, completed=start + len(block))
    return np.load(file, mmap_mode="c")


def _unit_rows(rows: np.ndarray, keep: np.ndarray, file: Path, name: str) -> np.ndarray:
    """The rows to keep, of length 1, in a file of the work folder."""
    from mlcl.retrieval.knn import unit

    if file.exists():
        return np.load(file, mmap_mode="c")
    with atomic_file(file) as partial:
        made: Any = np.lib.format.open_memmap(partial, "w+", np.float32, (len(keep), rows.shape[1]))
        for start in range(0, len(keep), _BLOCK):
            block = slice(start, start + _BLOCK)
            try:
                made[block] = unit(np.asarray(rows[keep[block]], dtype=np.float32))
            except UserError as error:
                raise UserError(f"{error} (rows from {start + 1:,} on)", path=name) from error
        made.flush()
    return np.load(file, mmap_mode="c")
