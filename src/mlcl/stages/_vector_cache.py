"""Vectors that are computed once: an `embed` that keeps on disk what it has encoded.

In: an `embed` callable and a folder. Out: the same vectors, from the folder where they are there. Any number of tasks
share the texts of a model, and a run that was stopped goes on with the block of texts at which it stopped.

The folder holds `keys` (16 bytes a text: a hash of it) and `D.f32` (rows of D float32, in the same order), both only
ever appended to. A block's vectors are on the disk before its keys are, so a key always has its vector. In memory are
the keys, about 100 bytes a text, and what a caller asked for.
"""

from __future__ import annotations

import os
import time
from hashlib import blake2b
from pathlib import Path

import numpy as np

from mlcl.core.errors import UserError
from mlcl.core.progress import bar
from mlcl.retrieval.knn import Vectors
from mlcl.tasks import Embed

_KEY = 16
# Fixed, and counted over the texts that are not there yet: a resumed run encodes the same blocks as one that was never
# stopped, and so gets the same vectors to the last digit.
_BLOCK = 4096


class Meter:
    """An `embed` that counts the texts it encodes and the seconds that takes.

    Args:
        embed: Texts -> vectors.
    """

    def __init__(self, embed: Embed) -> None:
        self._embed = embed
        self.texts, self.seconds = 0, 0.0

    def __call__(self, texts: list[str]) -> Vectors:
        """Vectors (N, D) of N texts."""
        started = time.monotonic()
        vectors = self._embed(texts)
        self.texts += len(texts)
        self.seconds += time.monotonic() - started
        return vectors


class VectorCache:
    """An `embed` that keeps its vectors in a folder; close it after use.

    Args:
        embed: Texts -> dense vectors (N, D), those of a text being independent of the other texts.
        folder: Where the vectors are kept; made if needed. One process at a time may use it.

    Raises:
        UserError: another process uses the folder.
    """

    def __init__(self, embed: Embed, folder: Path) -> None:
        self._embed, self._folder = embed, folder
        folder.mkdir(parents=True, exist_ok=True)
        self._keys = (folder / "keys").open("ab+")
        try:
            _lock(self._keys.fileno(), folder)
            self._rows = self._recover()
        except BaseException:
            self._keys.close()
            raise

    def __enter__(self) -> VectorCache:
        return self

    def __exit__(self, *_: object) -> None:
        self._keys.close()

    def __call__(self, texts: list[str]) -> np.ndarray:
        """Vectors (N, D) of N texts, float32; perhaps a read-only view of the file."""
        if not texts:
            return np.asarray(self._embed(texts))
        keys = [blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_KEY).digest() for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._rows}
        self._encode(missing)
        rows = np.array([self._rows[key] for key in keys])
        (file,) = self._folder.glob("*.f32")
        stored = np.memmap(file, dtype="<f4", mode="r").reshape(-1, int(file.stem))
        if (np.diff(rows) == 1).all():
            return stored[rows[0] : rows[-1] + 1]
        return stored[rows]

    def _encode(self, missing: dict[bytes, str]) -> None:
        """Encode texts and append them, block by block."""
        keys = list(missing)
        with bar() as progress:
            task = progress.add_task("encoding", total=len(keys), visible=len(keys) > 0)
            for start in range(0, len(keys), _BLOCK):
                block = keys[start : start + _BLOCK]
                vectors = np.asarray(self._embed([missing[key] for key in block]), dtype="<f4")
                if vectors.ndim != 2 or len(vectors) != len(block):
                    raise UserError(f"the encoder gave {len(vectors)} vectors for {len(block)} texts")
                with (self._folder / f"{vectors.shape[1]}.f32").open("ab") as file:
                    file.write(vectors.tobytes())
                    file.flush()
                    os.fsync(file.fileno())
                self._keys.write(b"".join(block))
                self._keys.flush()
                for key in block:
                    self._rows[key] = len(self._rows)
                progress.advance(task, len(block))

    def _recover(self) -> dict[bytes, int]:
        """Key -> row; what a killed process left unfinished at the end of a file is cut off."""
        self._keys.seek(0)
        known = self._keys.read()
        files = list(self._folder.glob("*.f32"))
        width = 4 * int(files[0].stem) if files else 1
        whole = min(len(known) // _KEY, files[0].stat().st_size // width) if files else 0
        self._keys.truncate(whole * _KEY)
        if files:
            os.truncate(files[0], whole * width)
        return {known[row * _KEY : (row + 1) * _KEY]: row for row in range(whole)}


def _lock(file: int, folder: Path) -> None:
    """Keep other processes out until the file is closed; two of them would write into each other's rows."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise UserError(
            "another process is encoding here", path=folder, remedy="wait for it, or choose another --out"
        ) from error
