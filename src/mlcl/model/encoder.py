"""`Encoder`: texts in, one vector per text out, from any encoder on disk.

In: an MLC folder, a sentence-transformers folder, a bare Hugging Face model (mean pooling), or the hub id of one. Out:
`encode(texts)` -> float32 (N, D) in input order. Each distinct text is encoded once, in batches of similar length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlcl.core.errors import UserError
from mlcl.core.progress import bar, warn

if TYPE_CHECKING:
    import torch

    from mlcl.model.backends import Backend

_BLOCK = 65_536  # texts that are tokenized and sorted together: bounds the memory for token ids


class Encoder:
    """Sentence encoder for use, not for training; make one with `Encoder.from_pretrained`.

    Attributes:
        prompts: Named prefixes that `encode(prompt=name)` knows.
        device: Where it computes.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._warned = False
        self.prompts = backend.prompts
        self.device = backend.device

    @classmethod
    def from_pretrained(
        cls,
        path_or_hub_id: str | Path,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype = "auto",
    ) -> Encoder:
        """Load an encoder. Nothing is fetched unless the name is no path and looks like a hub id.

        Args:
            path_or_hub_id: Folder, or a hub id such as `FacebookAI/xlm-roberta-base`.
            device: torch device; None takes a GPU if there is one.
            dtype: Precision of the matrix products: `float32`, `bfloat16`, `float16`, or `auto`. Auto is bfloat16 where
                that pays (a GPU that has it; for hidden sizes from 128 on, a CPU with AMX or AVX-512 BF16) and else
                float32. On a CPU bfloat16 also holds the states between the products, and auto takes it only for a
                model whose vectors it leaves at a cosine of at least 0.9998 to float32, which is tried on loading.
                Vectors are float32 in any case.

        Raises:
            UserError: no such folder or model, or not an encoder.
        """
        from mlcl.model.backends import load_backend

        return cls(load_backend(path_or_hub_id, device, dtype))

    @property
    def dimension(self) -> int:
        """D, the length of a vector."""
        return self._backend.dimension

    @property
    def max_length(self) -> int:
        """Longest text in tokens, special tokens included; longer ones are cut."""
        return self._backend.max_length

    def encode(
        self,
        texts: str | Sequence[str],
        batch_size: int | None = None,
        normalize: bool = True,
        dim: int | None = None,
        prompt: str | None = None,
        show_progress: bool = False,
    ) -> np.ndarray:
        """Vectors of texts: float32 (N, D) in input order; (1, D) for a single string, (0, D) for an empty list.

        A vector does not depend on the other texts of the call, but for rounding in the last digits.

        Args:
            texts: One text or a sequence of them.
            batch_size: Texts in one batch; None fills batches up to a number of tokens.
            normalize: Scale vectors to length 1. False gives what the model gives (which may be of length 1 already).
            dim: Keep the first `dim` values only, then normalise again if asked (Matryoshka, arXiv 2205.13147).
            prompt: Prefix of every text: a name from `prompts`, or the prefix itself.
            show_progress: Show a progress bar on standard error.

        Raises:
            UserError: an input that is not a string, settings out of range, or a model that gives NaN.
        """
        rows = _checked(texts)
        if batch_size is not None and batch_size < 1:
            raise UserError(f"batch_size is {batch_size}, it must be at least 1")
        if dim is not None and not 1 <= dim <= self.dimension:
            raise UserError(f"dim is {dim}, this encoder has {self.dimension} dimensions", remedy="give 1 to that many")
        prefix = self.prompts.get(prompt, prompt) if prompt else ""
        place_of: dict[str, int] = {}
        places = np.array([place_of.setdefault(row, len(place_of)) for row in rows], dtype=np.int64)
        vectors = self._encode_distinct(list(place_of), batch_size, prefix, show_progress)[:, :dim]
        if not np.isfinite(vectors).all():
            bad = list(place_of)[int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])]
            raise UserError(f"the model gives values that are not finite, for example for {bad[:60]!r}")
        if normalize:
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return np.ascontiguousarray(vectors if len(place_of) == len(rows) else vectors[places], dtype=np.float32)

    def similarity(self, a: str | Sequence[str] | np.ndarray, b: str | Sequence[str] | np.ndarray) -> np.ndarray:
        """Cosine similarities (N, M) of texts or vectors `a` (N) with texts or vectors `b` (M)."""
        left, right = (
            x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
            for x in (side if isinstance(side, np.ndarray) else self.encode(side) for side in (a, b))
        )
        return left @ right.T

    def _encode_distinct(self, texts: list[str], batch_size: int | None, prefix: str, show: bool) -> np.ndarray:
        """(N, D) vectors as the model gives them, float32."""
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        cut = 0
        with bar() if show else nullcontext() as progress:
            task = None if progress is None else progress.add_task("encoding", total=len(texts))
            for start in range(0, len(texts), _BLOCK):
                prepared = self._backend.prepare(texts[start : start + _BLOCK], prefix)
                cut += prepared.cut
                for batch in self._batches(prepared.sizes, batch_size):
                    vectors[start + batch] = self._backend.embed([prepared.items[row] for row in batch], prefix)
                    if progress is not None and task is not None:
                        progress.advance(task, len(batch))
        if cut and not self._warned:
            self._warned = True
            warn(f"{cut:,} of {len(texts):,} texts are longer than {self.max_length} tokens and were cut")
        return vectors

    def _batches(self, sizes: np.ndarray, batch_size: int | None) -> Iterator[np.ndarray]:
        """Row numbers of each batch, longest texts first, so that memory runs out at once or not at all."""
        budget = self._backend.tokens_per_batch
        order = np.argsort(-sizes, kind="stable")
        start = 0
        while start < len(order):
            number = batch_size or max(1, budget // max(1, int(sizes[order[start]])))
            yield order[start : start + number]
            start += number


def _checked(texts: Any) -> list[str]:
    if isinstance(texts, str):
        return [texts]
    if isinstance(texts, (bytes, dict)) or not hasattr(texts, "__iter__"):
        raise UserError(f"encode needs a string or a list of strings, not {type(texts).__name__}")
    rows = list(texts)
    for place, row in enumerate(rows):
        if not isinstance(row, str):
            remedy = "leave missing values out" if row is None or row != row else "give strings only"
            raise UserError(f"text number {place} is {row!r}, not a string", remedy=remedy)
    return [str(row) for row in rows]
