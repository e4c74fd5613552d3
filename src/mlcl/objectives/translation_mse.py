"""Mean squared error between the two sides of a translation pair, beside a loss that ranks.

In: embeddings (N, D) of both sides, not normalised. Out: one scalar.
"""

from __future__ import annotations

from torch import Tensor


def translation_mse(anchors: Tensor, positives: Tensor, *, relative: bool = True) -> Tensor:
    """Squared error of anchor against positive (the alignment term of SONAR, arXiv 2308.11466, there with weight 0.1).

    The trap: a cosine loss does not see lengths, so beside one the plain squared error is lowered most cheaply by
    shrinking all embeddings. SONAR's decoder forbids that; where there is none, `relative` divides by the mean square
    of the values, and the loss no longer depends on the scale (two unrelated sides give about 2, equal sides 0).

    Args:
        anchors: (N, D).
        positives: (N, D).
        relative: Divide by the mean square of all values of both sides; False is the published mean over values.

    Returns:
        Scalar; 0 for an empty batch.

    Raises:
        ValueError: shapes that do not fit.
    """
    if anchors.shape != positives.shape or anchors.dim() != 2:
        raise ValueError(f"anchors {tuple(anchors.shape)} and positives {tuple(positives.shape)} must be (N, D) both")
    if not anchors.numel():
        return (anchors.sum() + positives.sum()).float()
    error = (anchors - positives).pow(2).mean()
    if not relative:
        return error
    return error / ((anchors.pow(2).mean() + positives.pow(2).mean()) / 2).clamp_min(1e-12)
