"""An `Encoder` as the evaluators of sentence-transformers expect a model.

In: an encoder. Out: an object that `TranslationEvaluator`, `EmbeddingSimilarityEvaluator`,
`InformationRetrievalEvaluator` and the like take:

    evaluator(EvaluatorModel(mlcl.Encoder.from_pretrained("runs/a/model")))

A folder of ours loads with `SentenceTransformer(folder)` too and gives the same vectors; this way they come from the
packed encoder, which is several times faster on a CPU, and any folder that `Encoder` loads can be measured.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from mlcl.core.errors import UserError

if TYPE_CHECKING:
    import torch

    from mlcl.model.encoder import Encoder

_FLOAT32 = (None, "float32")


class EvaluatorModel:
    """The part of `SentenceTransformer` that evaluators use.

    Args:
        encoder: The encoder; its prompts named `query`, and `document` or `passage`, are used by `encode_query` and
            `encode_document`.
    """

    similarity_fn_name = "cosine"

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        # Where evaluators leave their results for a model card; an encoder has none.
        self.model_card_data = SimpleNamespace(set_evaluation_metrics=lambda *_: None)

    def encode(
        self,
        sentences: str | list[str],
        *,
        show_progress_bar: bool | None = None,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        precision: str | None = None,
        prompt: str | None = None,
        prompt_name: str | None = None,
        **_: Any,
    ) -> Any:
        """Vectors (N, D), or (D,) of a single string; arguments as in `SentenceTransformer.encode`.

        `batch_size` is not used: the encoder fills its batches by tokens.

        Returns:
            numpy float32, or tensors where asked for: one, or a list of N as the library does with neither flag.

        Raises:
            UserError: a precision other than float32.
        """
        import torch

        if precision not in _FLOAT32:
            raise UserError(f"precision is {precision!r}; this encoder gives float32 vectors")
        vectors = self.encoder.encode(
            sentences,
            normalize=normalize_embeddings,
            dim=truncate_dim,
            prompt=prompt or prompt_name,
            show_progress=bool(show_progress_bar),
        )
        found = vectors[0] if isinstance(sentences, str) else vectors
        if convert_to_tensor:
            return torch.from_numpy(found)
        return found if convert_to_numpy or isinstance(sentences, str) else list(torch.from_numpy(found))

    def encode_query(self, sentences: str | list[str], **options: Any) -> Any:
        """`encode` with the prompt `query`, if the encoder has one."""
        return self.encode(sentences, **{**options, "prompt": options.get("prompt") or self._prompt("query")})

    def encode_document(self, sentences: str | list[str], **options: Any) -> Any:
        """`encode` with the prompt `document` or `passage`, if the encoder has one."""
        prompt = options.get("prompt") or self._prompt("document") or self._prompt("passage")
        return self.encode(sentences, **{**options, "prompt": prompt})

    def similarity(self, a: np.ndarray | torch.Tensor, b: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Cosines (N, M) of vectors (N, D) with vectors (M, D)."""
        import torch

        left, right = (torch.nn.functional.normalize(torch.as_tensor(side).float(), dim=-1) for side in (a, b))
        return left @ right.T

    def _prompt(self, name: str) -> str | None:
        return self.encoder.prompts.get(name)
