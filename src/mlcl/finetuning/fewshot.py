"""Classifiers from few examples, or from none: the encoder's space does the work, the head is a linear map over it.

In: an encoder and k texts of each class, or descriptions of the labels. Out: an `MLCTaskModel` with a `sentence` head
over unit vectors, so that all three are saved, loaded and measured like any other:

    prototypes    head = mean vector of each class (arXiv 1703.05175)
    zero-shot     head = vector of each label's description, in any language
    contrastive   SetFit (arXiv 2209.11055): the encoder learns from pairs of the same class, then a logistic head
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from mlcl.core.errors import require
from mlcl.core.hardware import bf16_pays
from mlcl.core.progress import track
from mlcl.finetuning.encoding import Encoded, ExampleEncoder
from mlcl.finetuning.model import MLCTaskModel
from mlcl.finetuning.prediction import with_features
from mlcl.finetuning.settings import check_descriptions
from mlcl.model.packing import pack
from mlcl.objectives import info_nce
from mlcl.tasks._labelled import Example
from mlcl.training.optimizer import RowAdamW, clip_gradients, row_sparse

_SHARPNESS = 20.0  # logits are this times the cosine, so that probabilities are no hair's breadth apart
_TEMPERATURE = 0.1  # of the pairs; supervised contrastive learning, arXiv 2004.11362
_PAIRS_PER_EXAMPLE, _FEWEST_UPDATES, _MOST_UPDATES = 40, 50, 500  # SetFit draws 20 pairs of either sort per example


def prototypes(model: MLCTaskModel, examples: list[Encoded]) -> None:
    """Make the head that of the nearest class mean, by cosine. Every label needs an example."""
    vectors, labels = _vectors(model, examples)
    outputs = len(model.config.labels)
    means = torch.zeros(outputs, vectors.shape[1]).index_add_(0, labels, vectors)
    _set_head(model, _SHARPNESS * torch.nn.functional.normalize(means, dim=1))


def zero_shot(model: MLCTaskModel, encoder: ExampleEncoder, descriptions: Mapping[str, Sequence[str]]) -> None:
    """Make the head that of the nearest description of a label, by cosine; several descriptions are averaged.

    Args:
        model: The model, with a `sentence` head over unit vectors.
        encoder: Reads the descriptions as the texts are read.
        descriptions: Label -> texts, in any languages.

    Raises:
        UserError: a label without a description, or a description of no label.
    """
    labels = model.config.labels
    check_descriptions(labels, descriptions)
    texts = [Example(text, label) for label in labels for text in descriptions[label]]
    prototypes(model, encoder.encode(texts))  # type: ignore[arg-type]


def contrastive(model: MLCTaskModel, examples: list[Encoded], *, learning_rate: float, batch: int, seed: int) -> int:
    """Tune the encoder on pairs of the same class against those of other classes, then fit a logistic head.

    Each update draws `batch` pairs, classes in turn; InfoNCE takes the texts of the other classes as negatives, for
    the class is the group that it never contrasts.

    Args:
        model: The model, with a `sentence` head over unit vectors.
        examples: The shots.
        learning_rate: Peak rate of the encoder.
        batch: Pairs of one update.
        seed: Source of the pairs.

    Returns:
        Updates that were made.
    """
    updates = int(np.clip(_PAIRS_PER_EXAMPLE * len(examples) // batch, _FEWEST_UPDATES, _MOST_UPDATES))
    chance = np.random.default_rng(seed)
    weights = [parameter for parameter in model.mlc.parameters() if parameter.requires_grad]
    optimizer = RowAdamW(weights, lr=learning_rate, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, 10 * (step + 1) / updates) * (1 - step / updates)
    )
    by_class = _by_class(examples)
    model.train()
    embedding = model.get_input_embeddings()
    assert isinstance(embedding, torch.nn.Embedding)
    with row_sparse(embedding, model.device.type == "cpu"):
        for _ in track(range(updates), "contrastive", total=updates):
            loss = _pair_loss(model, examples, *_draw_pairs(by_class, batch, chance))
            optimizer.zero_grad()
            loss.backward()
            clip_gradients(weights, 1.0)
            optimizer.step()
            schedule.step()
    logistic_head(model, examples)
    return updates


def logistic_head(model: MLCTaskModel, examples: list[Encoded]) -> None:
    """Make the head a logistic regression over the vectors of the examples."""
    require("sklearn", "probes")
    from sklearn.linear_model import LogisticRegression

    vectors, labels = _vectors(model, examples)
    fitted = LogisticRegression(C=10.0, max_iter=2000, class_weight="balanced").fit(vectors.numpy(), labels.numpy())
    outputs = len(model.config.labels)
    weight, bias = torch.zeros(outputs, vectors.shape[1]), torch.full((outputs,), -1e4)  # labels never seen
    rows = torch.from_numpy(fitted.classes_)
    if len(rows) == 2:  # scikit-learn keeps the row of the second label only
        coefficients = np.concatenate([np.zeros_like(fitted.coef_), fitted.coef_])
        intercepts = np.concatenate([np.zeros_like(fitted.intercept_), fitted.intercept_])
    else:
        coefficients, intercepts = fitted.coef_, fitted.intercept_
    weight[rows], bias[rows] = torch.from_numpy(coefficients).float(), torch.from_numpy(intercepts).float()
    _set_head(model, weight, bias)


def _by_class(examples: Sequence[Encoded]) -> list[np.ndarray]:
    labels = np.array([int(example.labels[0]) for example in examples])
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def _draw_pairs(
    by_class: list[np.ndarray], pairs: int, chance: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Anchors (B,), positives (B,) and classes (B,); the two are different texts wherever the class has two."""
    classes = np.resize(chance.permutation(len(by_class)), pairs)
    drawn = [chance.choice(by_class[c], size=2, replace=len(by_class[c]) < 2) for c in classes]
    return np.array([pair[0] for pair in drawn]), np.array([pair[1] for pair in drawn]), classes


def _pair_loss(
    model: MLCTaskModel, examples: Sequence[Encoded], anchors: np.ndarray, positives: np.ndarray, classes: np.ndarray
) -> Tensor:
    rows = [*anchors.tolist(), *positives.tolist()]
    packed = pack([examples[row].ids[0] for row in rows])
    with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16_pays()):
        vectors = model.features(packed.input_ids.to(model.device), packed.lengths, packed.order)
    first, second = vectors.float().chunk(2)
    return info_nce(first, second, temperature=_TEMPERATURE, ids=torch.from_numpy(classes).to(model.device))


def _vectors(model: MLCTaskModel, examples: list[Encoded]) -> tuple[Tensor, Tensor]:
    """Unit vectors (N, D) and label numbers (N,) of encoded examples."""
    found = with_features(model, examples, "")
    vectors = torch.cat([example.features for example in found if example.features is not None])
    return vectors, torch.from_numpy(np.concatenate([example.labels for example in examples]))


def _set_head(model: MLCTaskModel, weight: Tensor, bias: Tensor | None = None) -> None:
    linear = model.head[1]  # type: ignore[index]  # after its dropout
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(torch.zeros(len(weight)) if bias is None else bias)
