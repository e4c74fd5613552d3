"""An `Encoder` as mteb expects a model, so that its benchmarks run on our folders.

In: a model folder (or hub id) of any kind that `Encoder` loads. Out: a model, or its `ModelMeta`, for `mteb.evaluate`:

    import mteb
    from mlcl.interop.mteb import MTEBEncoder

    model = MTEBEncoder("runs/a/model")
    mteb.evaluate(model, mteb.get_tasks(tasks=["STS22.v2"]))

Needs the extra `mteb`. The adapter itself uses no network; published tasks fetch their data sets.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlcl.core.errors import require
from mlcl.model.encoder import Encoder

require("mteb", "mteb")

from mteb.models import ModelMeta  # noqa: E402
from mteb.models.abs_encoder import AbsEncoder  # noqa: E402
from mteb.models.model_meta import ScoringFunction  # noqa: E402

if TYPE_CHECKING:
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.types import BatchedInput, PromptType
    from torch.utils.data import DataLoader

_WEIGHTS = ("*.safetensors", "*.bin", "*.json")


class MTEBEncoder(AbsEncoder):
    """Our encoder behind mteb's `EncoderProtocol`.

    Prompts of the model are used where mteb has a place for them: those named after a task, a task type, `query` or
    `document` (also called `passage`). mteb's `batch_size` is not used: the encoder fills its batches by tokens, which
    is several times faster than a fixed number of texts; `max_texts_per_batch` bounds them.

    Args:
        model_name: Model folder, or hub id, as for `Encoder.from_pretrained`.
        revision: What mteb files results under. By default a digest of the folder's weights and settings, so that
            results of a model that was trained on are never taken for those of the one before.
        device: torch device; None takes a GPU if there is one.
        name: `organisation/name` in mteb's tables; by default `mlcl/` and the folder's name.
        max_texts_per_batch: Most texts in a batch.

    Raises:
        UserError: mteb is not installed, or the model cannot be loaded.
    """

    def __init__(
        self,
        model_name: str,
        revision: str | None = None,
        *,
        device: str | None = None,
        name: str | None = None,
        max_texts_per_batch: int | None = None,
        **_: Any,
    ) -> None:
        self.model = Encoder.from_pretrained(model_name, device)
        self.max_texts_per_batch = max_texts_per_batch
        prompts = dict(self.model.prompts)
        if "passage" in prompts:
            prompts.setdefault("document", prompts["passage"])
        self.model_prompts = prompts
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "loader": MTEBEncoder,
                "name": name or _name(model_name),
                "revision": revision or _revision(model_name),
                "embed_dim": self.model.dimension,
                "max_tokens": self.model.max_length,
                "similarity_fn_name": ScoringFunction.COSINE,
                "framework": ["PyTorch"],
                "use_instructions": bool(self.model.prompts),
            }
        )

    def encode(
        self,
        inputs: DataLoader[BatchedInput],
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Any,
    ) -> np.ndarray:
        """Unit vectors (N, D) float32 of all texts of a loader; arguments as mteb says."""
        texts = [text for batch in inputs for text in batch["text"]]
        prompt = self.get_prompt_name(task_metadata, prompt_type)
        return self.model.encode(
            texts,
            batch_size=self.max_texts_per_batch,
            prompt=self.model_prompts[prompt] if prompt and self.model_prompts else None,
            show_progress=bool(kwargs.get("show_progress_bar")),
        )


def _name(place: str) -> str:
    """`runs/a/model` -> `mlcl/a`; a hub id stays itself."""
    path = Path(place)
    if not path.exists():
        return place if "/" in place else f"mlcl/{place}"
    folder = path.resolve()
    return f"mlcl/{folder.parent.name if folder.name == 'model' and folder.parent.name else folder.name}"


def _revision(place: str) -> str | None:
    """Digest of the files of a folder that make its vectors; None for a hub id."""
    path = Path(place)
    if not path.is_dir():
        return None
    digest = hashlib.sha256()
    for file in sorted({file for pattern in _WEIGHTS for file in path.rglob(pattern)}):
        digest.update(file.relative_to(path).as_posix().encode())
        with file.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:40]
