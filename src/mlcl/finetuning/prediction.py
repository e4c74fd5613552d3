"""What a task model says: encoded examples in, features, logits or labels out; and `Predictor`, for texts.

Examples are computed in packed batches of similar length; what comes out is in the order of the input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlcl.core.errors import UserError
from mlcl.core.hardware import bf16_pays
from mlcl.core.progress import track
from mlcl.finetuning.encoding import Encoded, ExampleEncoder, collate
from mlcl.finetuning.loading import load_tokenizer, local_name, longest_input
from mlcl.finetuning.model import MLCTaskConfig, MLCTaskModel
from mlcl.formats._iob2 import repair
from mlcl.tasks._labelled import Example, TaggedSentence

_TOKENS = 8_192  # real tokens in one batch
_FEATURE_ROWS = 4_096  # examples in one batch where only the head is computed


def with_features(model: MLCTaskModel, examples: list[Encoded], title: str = "features") -> list[Encoded]:
    """The examples with what the head sees of them, computed once; for an encoder that does not change."""
    features: list[Tensor | None] = [None] * len(examples)
    for rows, batch in _batches(model, examples, title):
        with _inference(model):
            found = model.features(**batch).float().cpu()
        sizes = [len(examples[row].labels) for row in rows]
        for row, part in zip(rows, found.split(sizes), strict=True):
            features[row] = part.clone()
    return [example.with_features(part) for example, part in zip(examples, features, strict=True) if part is not None]


def predict_logits(model: MLCTaskModel, examples: list[Encoded], title: str = "") -> list[np.ndarray]:
    """Logits (W, outputs) of each example, W = 1 but for tagging."""
    logits: list[np.ndarray] = [np.empty((0, 0), dtype=np.float32)] * len(examples)
    for rows, batch in _batches(model, examples, title):
        with _inference(model):
            found = model(**batch).logits.float().cpu()
        sizes = [len(examples[row].labels) for row in rows]
        for row, part in zip(rows, found.split(sizes), strict=True):
            logits[row] = part.numpy()
    return logits


def decode(config: MLCTaskConfig, logits: Sequence[np.ndarray], examples: Sequence[Encoded]) -> list[Any]:
    """Logits to labels: one per text or pair, scores for regression, a list of tags per sentence for tagging.

    For retrieval the unit vectors (2, D) of question and passage.

    Words without a piece of their own are tagged `O`; an `I-` that continues nothing becomes `B-`.
    """
    if config.kind == "regression":
        low, high = config.score_range
        return [low + (high - low) * float(row[0, 0]) for row in logits]
    if config.kind == "retrieval":
        return [row[0].reshape(2, -1) for row in logits]
    labels = config.labels
    if config.kind != "tagging":
        return [labels[int(row[0].argmax())] for row in logits]
    tagged = []
    for row, example in zip(logits, examples, strict=True):
        tags = ["O"] * example.size
        for word, output in zip(example.words.tolist(), row.argmax(axis=1).tolist() if len(row) else [], strict=True):
            tags[word] = labels[output]
        tagged.append(list(repair(tags)))
    return tagged


def predict(model: MLCTaskModel, examples: list[Encoded], title: str = "") -> list[Any]:
    """What the model says of encoded examples, as `decode` gives it."""
    return decode(model.config, predict_logits(model, examples, title), examples)


class Predictor:
    """A saved task model at work: texts, pairs of texts or lists of words in, labels out."""

    def __init__(self, model: MLCTaskModel, tokenizer: Any, max_length: int = 512) -> None:
        self.model, self.config = model.eval(), model.config
        self._encoder = ExampleEncoder(model.config, tokenizer, longest_input(model.mlc, tokenizer, max_length))

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str | torch.device | None = None) -> Predictor:
        """Load a folder that `mlcl finetune` wrote.

        Raises:
            UserError: no such folder, or no task model.
        """
        name = local_name(folder)
        try:
            model = MLCTaskModel.from_pretrained(name)
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise UserError(f"no task model: {reason}", path=name, remedy="give OUT/model of mlcl finetune") from error
        place = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return cls(model.to(place), load_tokenizer(name))  # type: ignore[arg-type]

    def predict(self, inputs: Sequence[str] | Sequence[tuple[str, str]] | Sequence[Sequence[str]]) -> list[Any]:
        """Labels of texts, or of pairs; a score for regression; a list of tags for each list of words (tagging)."""
        examples = self._examples(inputs)
        return decode(self.config, predict_logits(self.model, examples), examples)

    def probabilities(self, inputs: Sequence[str] | Sequence[tuple[str, str]]) -> np.ndarray:
        """(N, labels) probabilities of texts or pairs, in the order of `config.labels`.

        Raises:
            UserError: a regression or tagging model.
        """
        if self.config.kind not in ("classification", "pair"):
            raise UserError(f"a {self.config.kind} model gives no probabilities of texts", remedy="use predict")
        empty = np.empty((0, len(self.config.labels)), dtype=np.float32)
        logits = np.concatenate([empty, *predict_logits(self.model, self._examples(inputs))])
        return torch.softmax(torch.from_numpy(logits), dim=1).numpy()

    def _examples(self, inputs: Sequence[Any]) -> list[Encoded]:
        wanted = {"classification": "a text", "tagging": "a list of words"}.get(self.config.kind, "a pair of texts")
        for number, one in enumerate(inputs, start=1):
            if isinstance(one, str) != (wanted == "a text") or (wanted == "a pair of texts" and len(one) != 2):
                raise UserError(f"input {number:,} is not {wanted}, which a {self.config.kind} model takes")
            if wanted == "a list of words" and not one:
                raise UserError(f"input {number:,} is a sentence without words")
        if self.config.kind == "tagging":
            return self._encoder.encode([TaggedSentence(tuple(words), ("O",) * len(words)) for words in inputs])
        blank: Any = self.config.score_range[0] if self.config.kind == "regression" else self.config.labels[0]
        pairs = [(text, None) if isinstance(text, str) else tuple(text) for text in inputs]
        return self._encoder.encode([Example(first, blank, second) for first, second in pairs])


def _batches(model: MLCTaskModel, examples: list[Encoded], title: str) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """Row numbers and tensors of each batch, without labels; longest first, so that memory runs out at once."""
    sizes = np.array([example.tokens for example in examples])
    order = np.argsort(-sizes, kind="stable").tolist()
    ready = bool(examples) and examples[0].features is not None
    starts, start = [0], 0
    while start < len(order):
        number = _FEATURE_ROWS if ready else max(1, _TOKENS // max(1, int(sizes[order[start]])))
        start = min(start + number, len(order))
        starts.append(start)
    for first, last in track(list(zip(starts[:-1], starts[1:], strict=True)), title, show=bool(title)):
        rows = order[first:last]
        batch = collate([examples[row] for row in rows])
        batch.pop("labels")
        yield rows, {name: _moved(name, tensor, model.device) for name, tensor in batch.items()}


def _moved(name: str, tensor: Tensor, device: torch.device) -> Tensor:
    return tensor if name in ("lengths", "order") else tensor.to(device)  # these two steer the host


@contextmanager
def _inference(model: MLCTaskModel) -> Iterator[None]:
    """No gradients, no dropout, and the precision that training has; the model is left as it was."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), torch.autocast(model.device.type, torch.bfloat16, enabled=bf16_pays()):
            yield
    finally:
        model.train(was_training)
