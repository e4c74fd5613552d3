"""What stands behind an `Encoder`: our own model, or the sentence-transformers library.

In: a folder or hub id. Out: a `Backend`, which turns texts into items of known size and items into vectors. Our own
model serves MLC folders, bare Hugging Face encoders and the plain sentence-transformers folders (see
`library_folder`); any other folder of that library is left to it, so that its modules mean what their author meant.

On a CPU that multiplies bfloat16 in hardware our own model runs in its inference form (`inference`), provided that this
form has shown that its vectors are those of float32.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mlcl.core.errors import UserError, require
from mlcl.core.files import read_json
from mlcl.core.hardware import cpu_multiplies_bf16, usable_device
from mlcl.model import inference
from mlcl.model.backbones import family_of
from mlcl.model.config import MLCConfig
from mlcl.model.library_folder import read_plain_modules
from mlcl.model.model import MLCModel
from mlcl.model.packing import pack

_PAYS_FROM = 512  # hidden size from which autocast to bfloat16 is quicker than float32 on a CPU that has it (with AMX)
_CPU_TOKENS, _GPU_TOKENS = 8_192, 65_536  # tokens in one batch, as if padded


@dataclass(frozen=True)
class Prepared:
    """Texts ready for the model.

    Attributes:
        items: One entry per text, as `Backend.embed` takes them.
        sizes: (N,) tokens of each, after cutting; an estimate where the tokenizer is not at hand.
        cut: How many texts were longer than the model takes.
    """

    items: Sequence[Any]
    sizes: np.ndarray
    cut: int


class Backend(Protocol):
    """A loaded model. `prefix` is put before every text."""

    dimension: int
    max_length: int
    prompts: dict[str, str]
    device: torch.device
    tokens_per_batch: int

    def prepare(self, texts: list[str], prefix: str) -> Prepared:
        """Tokenize texts."""

    def embed(self, items: list[Any], prefix: str) -> np.ndarray:
        """Vectors (N, D), float32, not normalised by us."""


def load_backend(place: str | Path, device: str | torch.device | None, dtype: str | torch.dtype) -> Backend:
    """Load whatever lies at a path or hub id. Raises UserError when nothing of use does."""
    name = str(Path(place).expanduser()) if Path(place).expanduser().exists() else str(place)
    config = _settings_file(name, "config.json")
    where = usable_device(device)
    if config is not None and read_json(config).get("model_type") == MLCConfig.model_type:
        model = _load_ours(name)
        return ModelBackend(model, _tokenizer(name), model.max_length, where, dtype)
    if _settings_file(name, "modules.json") is not None:
        return _load_plain(name, config, where, dtype) or LibraryBackend(name, where, dtype)
    if config is None and not Path(name).exists():
        raise _not_found(name)
    if config is None:
        raise UserError("this folder is no encoder: it has no config.json", path=name, remedy="give a model folder")
    model, tokenizer = MLCModel(MLCConfig(model_name=name)), _tokenizer(name)
    return ModelBackend(model, tokenizer, min(model.max_length, tokenizer.model_max_length), where, dtype)


class ModelBackend:
    """`MLCModel` with its tokenizer; runs packed where the backbone can.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        max_length: Longest text in tokens.
        device: Where to compute.
        dtype: See `Encoder.from_pretrained`.
        unit: Whether vectors of length 1 are what the model gives.
    """

    def __init__(
        self,
        model: MLCModel,
        tokenizer: Any,
        max_length: int,
        device: torch.device,
        dtype: str | torch.dtype,
        unit: bool = False,
    ) -> None:
        self.tokenizer, self.max_length, self.device, self._unit = tokenizer, max_length, device, unit
        self.dimension = model.dimension
        self.prompts = dict(model.config.prompts)
        if len(tokenizer) > (rows := model.get_input_embeddings().num_embeddings):
            raise UserError(
                f"the tokenizer has {len(tokenizer)} entries, the model {rows}", remedy="restore the model's tokenizer"
            )
        model.lm_head = None  # of a T5 this is a whole decoder
        # (T,) ids and (N,) lengths -> (N, D). In its inference form the model's own layers are no longer referred to.
        self._vectors, self.tokens_per_batch = _vectors_of(model.eval().float().to(device), device, dtype)

    def prepare(self, texts: list[str], prefix: str) -> Prepared:
        """Token ids of each text, cut at `max_length`."""
        texts = [prefix + text for text in texts] if prefix else texts
        rows = self._ids(texts, truncation=True, max_length=self.max_length)
        full = [number for number, row in enumerate(rows) if len(row) >= self.max_length]
        whole = self._ids([texts[number] for number in full], truncation=False, verbose=False) if full else []
        nothing = self.tokenizer.pad_token_id or 0  # a tokenizer without <s> and </s> may give no token at all
        items = [np.array(row or [nothing], dtype=np.int32) for row in rows]
        return Prepared(
            items, np.array([len(item) for item in items]), sum(len(row) > self.max_length for row in whole)
        )

    def _ids(self, texts: list[str], **options: Any) -> list[list[int]]:
        return self.tokenizer(texts, return_attention_mask=False, **options)["input_ids"]

    def embed(self, items: list[Any], prefix: str) -> np.ndarray:
        """Vectors (N, D) of token ids."""
        packed = pack(items)
        with torch.inference_mode():
            vectors = packed.restore(self._vectors(packed.input_ids.to(self.device), packed.lengths).float())
            return (F.normalize(vectors, dim=-1) if self._unit else vectors).cpu().numpy()


def _vectors_of(
    model: MLCModel, device: torch.device, dtype: str | torch.dtype
) -> tuple[Callable[[Tensor, Tensor], Tensor], int]:
    """The quickest way from token ids to vectors that keeps the accuracy, and the tokens of a batch that suit it."""
    precision = _precision(dtype, device, model.backbone.config.hidden_size)
    wanted = inference.pays(model) if dtype == "auto" else precision == torch.bfloat16
    if device.type == "cpu" and wanted and inference.supported(model):
        fast = inference.InferenceEncoder(model)
        if dtype != "auto" or inference.agreement(model, fast) >= inference.LEAST_COSINE:
            return fast, inference.TOKENS_PER_BATCH
        precision = torch.float32

    def plain(input_ids: Tensor, lengths: Tensor) -> Tensor:
        with _autocast(device, precision):
            embeddings = model.forward_packed(input_ids, lengths).embeddings
        assert embeddings is not None
        return embeddings

    return plain, _CPU_TOKENS if device.type == "cpu" else _GPU_TOKENS


class LibraryBackend:
    """A sentence-transformers model, run by that library."""

    def __init__(self, name: str, device: torch.device, dtype: str | torch.dtype) -> None:
        require("sentence_transformers", "sentence-transformers")
        from sentence_transformers import SentenceTransformer

        try:
            self.model = SentenceTransformer(name, device=str(device))
        except (OSError, ValueError, KeyError, RuntimeError, TypeError, ImportError) as error:
            raise _cannot_load(name, error) from error
        self.model.eval()
        self.device = device
        self.tokens_per_batch = _CPU_TOKENS if device.type == "cpu" else _GPU_TOKENS
        self.dimension = int(self.model.get_embedding_dimension() or 0)
        if not self.dimension:
            self.dimension = self.model.encode(["a"]).shape[1]
        self.max_length = self.model.max_seq_length or 1 << 30
        self.prompts = {key: value for key, value in (self.model.prompts or {}).items() if value}
        transformer = getattr(self.model[0], "auto_model", None)
        self._precision = _precision(dtype, device, getattr(getattr(transformer, "config", None), "hidden_size", 0))

    def prepare(self, texts: list[str], prefix: str) -> Prepared:
        """The texts as they are, for the library cuts them itself; their length in tokens where it can be had."""
        tokenizer: Any = getattr(self.model, "tokenizer", None)
        if not getattr(tokenizer, "is_fast", False):
            return Prepared(texts, np.array([min(self.max_length, 2 + len(text) // 3) for text in texts]), 0)
        rows = tokenizer(
            [prefix + text for text in texts], return_attention_mask=False, truncation=False, verbose=False
        )
        sizes = np.array([len(row) for row in rows["input_ids"]])
        return Prepared(texts, np.minimum(sizes, self.max_length), int((sizes > self.max_length).sum()))

    def embed(self, items: list[Any], prefix: str) -> np.ndarray:
        """Vectors (N, D) of texts."""
        with torch.inference_mode(), _autocast(self.device, self._precision):
            # An empty prompt, not None: None would apply the model's default prompt.
            vectors = self.model.encode(items, batch_size=len(items), prompt=prefix, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)


def _precision(dtype: str | torch.dtype, device: torch.device, hidden_size: int) -> torch.dtype:
    """The type of the matrix products; see `Encoder.from_pretrained`."""
    if dtype == "auto":
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            fast = device.type == "cpu" and hidden_size >= _PAYS_FROM and cpu_multiplies_bf16()
        return torch.bfloat16 if fast else torch.float32
    known = {str(kind).removeprefix("torch."): kind for kind in (torch.float32, torch.bfloat16, torch.float16)}
    name = str(dtype).removeprefix("torch.")
    if name not in known:
        raise UserError(f"unknown dtype {name!r}", remedy=f"known: auto, {', '.join(known)}")
    return known[name]


def _autocast(device: torch.device, precision: torch.dtype) -> contextlib.AbstractContextManager[Any]:
    if precision == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=precision)


def _settings_file(name: str, file: str) -> Path | None:
    """A settings file of a local folder or of a hub repository; None where it has none, or offline, none is cached.

    Raises:
        UserError: neither a folder nor a repository that can be reached.
    """
    folder = Path(name)
    if folder.exists():
        if folder.is_file():
            raise UserError("this is a file, a model folder is expected", path=name)
        return folder / file if (folder / file).is_file() else None
    if _looks_local(name):
        raise UserError("no such model folder", path=name, remedy="check the path")
    from transformers.utils import cached_file

    try:
        found = cached_file(
            name, file, _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=True
        )
    except (OSError, ValueError) as error:
        raise _not_found(name) from error
    return None if found is None else Path(found)


def _not_found(name: str) -> UserError:
    return UserError(
        f"{name!r} is neither a folder here nor a model on the Hugging Face hub that can be reached",
        remedy="check the name and the network",
    )


def _looks_local(name: str) -> bool:
    """Whether a name that does not exist was meant as a path: a hub id is `name` or `owner/name`."""
    parts = Path(name).parts
    return name.startswith((".", "/", "~")) or "\\" in name or len(parts) > 2 or name.endswith("/") or (
        len(parts) == 2 and Path(parts[0]).is_dir()
    )  # fmt: skip


def _load_plain(name: str, config: Path | None, device: torch.device, dtype: str | torch.dtype) -> ModelBackend | None:
    """Our model for a plain sentence-transformers folder of a family that runs packed; None for any other folder."""
    if config is None or family_of(read_json(config).get("model_type", "")).first_position is None:
        return None
    modules = read_plain_modules(lambda file: _settings_file(name, file))
    if modules is None:
        return None
    tokenizer = _tokenizer(name)
    model = MLCModel(
        MLCConfig(
            model_name=name,
            pooling=modules.pooling,
            max_seq_length=modules.max_seq_length,
            prompts=modules.prompts,
        )
    )
    length = model.max_length if modules.max_seq_length else min(model.max_length, tokenizer.model_max_length)
    return ModelBackend(model, tokenizer, length, device, dtype, unit=modules.unit)


def _load_ours(name: str) -> MLCModel:
    try:
        return MLCModel.from_pretrained(name)
    except (OSError, ValueError, RuntimeError) as error:
        raise _cannot_load(name, error) from error


def _tokenizer(name: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise _cannot_load(name, error, "its tokenizer ") from error


def _cannot_load(name: str, error: Exception, part: str = "") -> UserError:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return UserError(f"{part}cannot be loaded: {reason}", path=name, remedy="give a whole model folder")
