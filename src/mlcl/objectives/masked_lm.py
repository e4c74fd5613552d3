"""Masked language modelling: the right token at each masked position.

In: hidden states (T, D), output embeddings (V, D), labels (T,). Out: one scalar.
"""

from __future__ import annotations

from torch import Tensor

from mlcl.objectives.kernels import twin
from mlcl.objectives.kernels.precision import product_dtype, sum_dtype


def masked_lm_loss(hidden: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over the positions whose label is not -100 (BERT, arXiv 1810.04805).

    Only those positions reach the vocabulary projection, so the cost is that of the masked tokens and not of all.
    Computed in tiles over the vocabulary: the (T, V) logits never exist, whatever V. Products are in the type of the
    inputs or of autocast, sums in float32 at least. Without any masked position the result is a zero with a gradient,
    so that ranks stay in step.

    Args:
        hidden: (T, D) states of the head.
        weight: (V, D) output embeddings, usually tied to the input embeddings.
        labels: (T,) token ids, -100 where nothing is predicted.
        bias: (V,) added to the logits.

    Returns:
        Scalar in float32 (float64 for float64 inputs).

    Raises:
        ValueError: shapes that do not fit, or a label that is no token id.
    """
    if hidden.dim() != 2 or labels.shape != hidden.shape[:1] or weight.shape[1] != hidden.shape[1]:
        raise ValueError(
            f"hidden {tuple(hidden.shape)}, weight {tuple(weight.shape)} and labels {tuple(labels.shape)} "
            "must be (T, D), (V, D) and (T,)"
        )
    masked = labels != -100
    if not bool(masked.all()):
        hidden, labels = hidden[masked], labels[masked]
    if not len(labels):
        nothing = hidden.sum() + weight.sum() + (0.0 if bias is None else bias.sum())
        return nothing.to(sum_dtype(product_dtype(hidden, weight))) * 0.0
    if int(labels.min()) < 0 or int(labels.max()) >= len(weight):
        raise ValueError(
            f"labels reach from {int(labels.min())} to {int(labels.max())}, the vocabulary has {len(weight)}"
        )
    dtype = product_dtype(hidden, weight)
    return twin("linear_cross_entropy", hidden.device, dtype).linear_cross_entropy(hidden, weight, labels, bias, dtype)
