"""`MLCTaskModel`: an `MLCModel` with a head for one task; a Hugging Face folder that knows its labels.

In: a packed stream of token ids, or features that were computed before. Out: logits, one row per text, pair or word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.utils import ModelOutput

from mlcl.finetuning.settings import head_for
from mlcl.model.config import MLCConfig
from mlcl.model.model import MLCModel
from mlcl.objectives import info_nce
from mlcl.tasks._labelled import Kind

_TWO_TOWERS = ("bi-encoder", "cosine", "dual-encoder")  # heads that see the two texts of a pair as vectors of their own
_TEMPERATURE = 0.05  # of retrieval, as in pre-training
_ENCODER_FIELDS = (
    "proj_size", "pooling", "backbone", "max_seq_length", "hidden_dropout", "attention_dropout", "prompts", "languages",
    "bidirectional", "tied_output",
)  # fmt: skip


class MLCTaskConfig(MLCConfig):
    """Configuration of an `MLCTaskModel`: that of its encoder, and the task.

    Args:
        task_name: Name of the task.
        kind: What is predicted from what: `classification`, `pair`, `regression`, `tagging` or `retrieval`.
        head: `sentence` (linear over the pooled state); `cross-encoder` (both texts in one sequence, one hidden layer
            over its pooled state); `bi-encoder` (one hidden layer over u, v, |u-v|, u*v; InferSent, arXiv 1705.02364);
            `cosine` (no weights; Sentence-BERT, arXiv 1908.10084); `token` (linear over the first piece of each word);
            `dual-encoder` (no weights: the unit vectors of question and passage; DPR, arXiv 2004.04906).
        labels: What each output means: labels, IOB2 tags, `score` or `passage`. Kept as Hugging Face's `id2label`.
        unit: Whether features are scaled to length 1 before the head.
        head_dropout: Dropout of the head's input in training.
        score_range: For regression, the scores that the outputs 0 and 1 stand for.
        **kwargs: Fields of `MLCConfig`.

    Raises:
        UserError: a head that does not fit the kind.
    """

    model_type = "mlc-task"

    def __init__(
        self,
        task_name: str = "",
        kind: Kind = "classification",
        head: str | None = None,
        labels: list[str] | None = None,
        unit: bool = False,
        head_dropout: float = 0.1,
        score_range: tuple[float, float] | list[float] = (0.0, 1.0),
        **kwargs: Any,
    ) -> None:
        if labels is not None:
            kwargs["id2label"] = dict(enumerate(labels))
            kwargs["label2id"] = {label: number for number, label in enumerate(labels)}
        self.task_name = task_name
        self.kind = kind
        self.head = head_for(kind, head)
        self.unit = unit
        self.head_dropout = head_dropout
        self.score_range = list(score_range)
        super().__init__(**kwargs)

    @property
    def labels(self) -> list[str]:
        """What each output means, in order."""
        names: Any = self.id2label
        return [names[number] for number in range(len(names))]

    @property
    def two_towers(self) -> bool:
        """Whether the two texts of a pair are encoded one by one."""
        return self.head in _TWO_TOWERS

    def encoder_config(self) -> MLCConfig:
        """Configuration of the encoder alone."""
        return MLCConfig(**{name: getattr(self, name) for name in _ENCODER_FIELDS})


@dataclass
class TaskOutput(ModelOutput):
    """Output of `MLCTaskModel`.

    Attributes:
        logits: (M, outputs) in the order of the input: a row per text or pair, or per labelled word; for `dual-encoder`
            (M, 2 D), both unit vectors.
        features: What the head saw: (M, F), or (M, 2, D) for `cosine` and `dual-encoder`.
    """

    logits: Tensor | None = None
    features: Tensor | None = None


class MLCTaskModel(PreTrainedModel):
    """An encoder with a head.

    Args:
        config: The configuration.
        mlc: An encoder to build on, which becomes a part of this model and loses its masked-LM head. None makes a
            fresh one, as `from_pretrained` needs.
    """

    config_class = MLCTaskConfig
    base_model_prefix = "mlc"
    _supports_sdpa = True
    config: MLCTaskConfig

    def __init__(self, config: MLCTaskConfig, mlc: MLCModel | None = None) -> None:
        super().__init__(config)
        self.mlc = MLCModel(config.encoder_config()) if mlc is None else mlc
        self.mlc.lm_head = None  # type: ignore[assignment]  # it would be saved and never trained
        width = self.mlc.backbone.config.hidden_size if config.head == "token" else self.mlc.dimension
        self.head = _make_head(config, width)
        self.post_init()

    @classmethod
    def on_top_of(cls, mlc: MLCModel, **task: Any) -> MLCTaskModel:
        """A model with a fresh head over an encoder; `task` are the fields of `MLCTaskConfig` of its own."""
        fields: dict[str, Any] = {name: getattr(mlc.config, name) for name in _ENCODER_FIELDS}
        fields |= {name: getattr(mlc.config, name, None) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
        return cls(MLCTaskConfig(**fields, **task), mlc)

    def forward(
        self,
        input_ids: Tensor | None = None,
        lengths: Tensor | None = None,
        order: Tensor | None = None,
        words: Tensor | None = None,
        features: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> TaskOutput:
        """Logits of a batch, as `encoding.collate` makes it.

        Args:
            input_ids: (T,) packed token ids; with two towers first those of all first texts' pack, see `order`.
            lengths: (N,) tokens of each sequence of the pack.
            order: (N,) the place that each sequence of the pack had before it was sorted; with two towers the first
                N/2 places are the first texts and the others the second ones.
            words: (W,) places in the stream of the words' first pieces (tagging).
            features: Features from an earlier call, instead of all the above.
            labels: Ignored; the loss is `task_loss`.
        """
        if features is None:
            assert input_ids is not None
            assert lengths is not None
            assert order is not None
            features = self.features(input_ids, lengths, order, words)
        return TaskOutput(logits=self.head(features), features=features)

    def features(self, input_ids: Tensor, lengths: Tensor, order: Tensor, words: Tensor | None = None) -> Tensor:
        """What the head sees, in the order of the input; arguments as in `forward`."""
        output = self.mlc(input_ids, lengths=lengths)
        if words is not None:
            states = output.last_hidden_state[words]  # (W, H)
            return F.normalize(states.float(), dim=-1) if self.config.unit else states
        vectors = output.embeddings[torch.argsort(order).to(output.embeddings.device)]  # (N, D)
        if self.config.unit:
            vectors = F.normalize(vectors.float(), dim=-1)
        if not self.config.two_towers:
            return vectors
        first, second = vectors.chunk(2)
        if self.config.head in ("cosine", "dual-encoder"):
            return torch.stack([first, second], dim=1)  # (N/2, 2, D)
        return torch.cat([first, second, (first - second).abs(), first * second], dim=1)  # (N/2, 4 D)

    def get_input_embeddings(self) -> nn.Module:
        """The token embedding of the encoder."""
        return self.mlc.get_input_embeddings()

    def _init_weights(self, module: nn.Module) -> None:
        """Only the head: the encoder has been initialised, or loaded, by its own class."""
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)


class _Cosine(nn.Module):
    """Cosine of two vectors: (M, 2, D) -> (M, 1)."""

    def forward(self, features: Tensor) -> Tensor:
        pairs = features.float()
        return F.cosine_similarity(pairs[:, 0], pairs[:, 1])[:, None]


class _UnitVectors(nn.Module):
    """Two vectors, scaled to length 1: (M, 2, D) -> (M, 2 D)."""

    def forward(self, features: Tensor) -> Tensor:
        return F.normalize(features.float(), dim=-1).flatten(1)


def _make_head(config: MLCTaskConfig, width: int) -> nn.Module:
    dropout, outputs = nn.Dropout(config.head_dropout), len(config.labels)
    if config.head == "cosine":
        return _Cosine()
    if config.head == "dual-encoder":
        return _UnitVectors()
    if config.head in ("sentence", "token"):
        return nn.Sequential(dropout, nn.Linear(width, outputs))
    # How two texts relate is not linear in their features.
    inputs = 4 * width if config.two_towers else width
    return nn.Sequential(dropout, nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, outputs))


def task_loss(kind: Kind, logits: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """The mean loss of a batch, in float32, as a scalar.

    Args:
        kind: The kind of task.
        logits: (M, outputs).
        labels: (M,) numbers of the labels; for regression, scores between 0 and 1; for retrieval, numbers of the
            passages: the other passages of the batch are the negatives (InfoNCE).
        class_weights: (outputs,) weights of the labels; None = all alike.
    """
    if kind == "retrieval":
        return info_nce(*logits.float().chunk(2, dim=1), temperature=_TEMPERATURE, ids=labels)
    if kind == "regression":
        return F.mse_loss(logits[:, 0].float(), labels.float())
    return F.cross_entropy(logits.float(), labels, weight=class_weights)


AutoConfig.register("mlc-task", MLCTaskConfig)
AutoModel.register(MLCTaskConfig, MLCTaskModel)
