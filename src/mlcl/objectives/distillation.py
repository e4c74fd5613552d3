"""Distillation: vectors like those of a teacher.

In: vectors of a student (N, D), the teacher's (N, D). Out: one distance per row.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Distance = Literal["cosine", "mse"]


def distillation(student: Tensor, teacher: Tensor, distance: Distance = "cosine") -> Tensor:
    """How far a student's vectors are from a teacher's (Reimers and Gurevych 2020, arXiv 2004.09813).

    `mse` is half the squared Euclidean distance: it pulls direction and length. The paper's mean over the values is
    2 / D of it; as a sum, the same weight means the same in any dimension. `cosine` is 1 - cos and leaves the length
    free. For unit vectors both are the same number.

    Args:
        student: (N, D) with gradient.
        teacher: (N, D).
        distance: `cosine` or `mse`.

    Returns:
        (N,), at least 0.
    """
    if student.shape != teacher.shape:
        raise ValueError(f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} must be alike")
    if distance == "cosine":
        return 1 - F.cosine_similarity(student, teacher, dim=-1)
    return (student - teacher).square().sum(dim=-1) / 2
