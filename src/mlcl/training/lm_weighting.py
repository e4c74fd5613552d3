"""Lambda, the weight of the LM term beside the contrastive term: fixed, scheduled, learnt, or balanced by gradients.

In: the progress of the run, the values of the terms, the norms of their gradients. Out: the weights of both terms,
which hold for a whole update, however many micro-batches and chunks it has. So every kind is right under accumulation
and gradient caching, and equal on all ranks: what it learns from is averaged over them first.

    fixed        lambda = lm_weight
    linear       from lm_weight to lm_weight_end, in proportion to the progress of the run
    cosine       the same along half a cosine, slow at both ends
    uncertainty  w and lambda times exp(-s) of a learnt log-variance s of each term (Kendall et al. 2018, 1705.07115)
    gradient     lambda such that the weighted gradient of the LM term is lm_weight times as long as that of InfoNCE
                 (after GradNorm, Chen et al. 2018, arXiv 1711.02257, without its training rates)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mlcl.training.distributed import mean_over_ranks

KINDS = ("fixed", "linear", "cosine", "uncertainty", "gradient")
TERMS = ("info_nce", "lm")
GRADIENT_STEPS = 25
"""Updates between two measurements of the gradients that `gradient` balances; one costs two training steps."""


def scheduled(start: float, end: float, progress: float, kind: str) -> float:
    """A weight on its way from `start` to `end`, at a progress in [0, 1]; `kind` is linear or cosine."""
    way = progress if kind == "linear" else (1 - math.cos(math.pi * progress)) / 2
    return start + (end - start) * way


class LMWeighting:
    """Weights of InfoNCE and the LM term; this one is fixed or scheduled, the classes below learn.

    Args:
        info_nce: w of the settings.
        lm: lambda of the settings.
        end: Where a scheduled lambda ends.
        kind: fixed, linear or cosine.
    """

    needs_gradients = False

    def __init__(self, info_nce: float, lm: float, end: float = 0.0, kind: str = "fixed") -> None:
        self.base = {"info_nce": info_nce, "lm": lm}
        self.end, self.kind = end, kind

    def weights(self, progress: float) -> dict[str, float]:
        """Weights of both terms, the same until `after_update`; `progress` is the share of the run that is done."""
        if self.kind == "fixed":
            return dict(self.base)
        return self.base | {"lm": scheduled(self.base["lm"], self.end, progress, self.kind)}

    def observe(self, terms: Mapping[str, Tensor]) -> None:
        """Take the values of a micro-batch's terms up: this rank's shares, unweighted, without a graph."""

    def observe_gradients(self, norms: Mapping[str, float]) -> None:
        """Take the gradient norms of the unweighted terms up, as all ranks know them."""

    def after_update(self, learning_rate: float) -> None:
        """Move what is learnt: once per optimiser update."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to go on unchanged."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""


class UncertaintyWeighting(LMWeighting):
    """J = sum of base * exp(-s) * term + s / 2, with a learnt log-variance s for each term, 0 at the start.

    The gradient of s follows from the value of its term alone, 1/2 - base * exp(-s) * term, so it needs no graph. It
    settles where the weighted term is 1/2: both terms end up with the same weighted value. Adam without decay at the
    learning rate of the model. The part s / 2 has no gradient in the encoder and is not in the logged loss.
    """

    def __init__(self, info_nce: float, lm: float) -> None:
        super().__init__(info_nce, lm)
        self.log_variances = torch.zeros(len(TERMS), dtype=torch.float64, requires_grad=True)
        self._optimizer = torch.optim.Adam([self.log_variances])
        self._sums: Tensor | None = None
        self._batches = 0

    def weights(self, progress: float) -> dict[str, float]:
        """As the base class has it."""
        pairs = zip(TERMS, self.log_variances.tolist(), strict=True)
        return {name: self.base[name] * math.exp(-value) for name, value in pairs}

    def observe(self, terms: Mapping[str, Tensor]) -> None:
        """As the base class has it."""
        values = torch.stack([terms[name].detach().double() for name in TERMS])
        self._sums = values if self._sums is None else self._sums + values
        self._batches += 1

    def after_update(self, learning_rate: float) -> None:
        """As the base class has it."""
        if self._sums is None:
            return
        means = mean_over_ranks(self._sums / self._batches).cpu()
        base = torch.tensor([self.base[name] for name in TERMS], dtype=torch.float64)
        self.log_variances.grad = 0.5 - base * torch.exp(-self.log_variances.detach()) * means
        self._optimizer.param_groups[0]["lr"] = learning_rate
        self._optimizer.step()
        self._sums, self._batches = None, 0

    def state_dict(self) -> dict[str, Any]:
        """As the base class has it."""
        return {"log_variances": self.log_variances.detach().clone(), "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As the base class has it."""
        with torch.no_grad():
            self.log_variances.copy_(state["log_variances"])
        self._optimizer.load_state_dict(state["optimizer"])


class GradientWeighting(LMWeighting):
    """lambda = base lambda * w * |gradient of InfoNCE| / |gradient of LM|, the ratio as a moving geometric mean.

    Until the first gradients are known lambda is the base. A norm of zero leaves the mean as it is.

    Args:
        info_nce: w of the settings.
        lm: How long the weighted gradient of the LM term shall be, that of InfoNCE being 1.
        decay: Share of the old mean that a new measurement keeps.
    """

    needs_gradients = True

    def __init__(self, info_nce: float, lm: float, decay: float = 0.8) -> None:
        super().__init__(info_nce, lm)
        self.decay = decay
        self.log_ratio: float | None = None

    def weights(self, progress: float) -> dict[str, float]:
        """As the base class has it."""
        scale = 1.0 if self.log_ratio is None else self.base["info_nce"] * math.exp(self.log_ratio)
        return self.base | {"lm": self.base["lm"] * scale}

    def observe_gradients(self, norms: Mapping[str, float]) -> None:
        """As the base class has it."""
        if not (norms["info_nce"] > 0 and norms["lm"] > 0):
            return
        new = math.log(norms["info_nce"] / norms["lm"])
        old = new if self.log_ratio is None else self.log_ratio
        self.log_ratio = self.decay * old + (1 - self.decay) * new

    def state_dict(self) -> dict[str, Any]:
        """As the base class has it."""
        return {"log_ratio": self.log_ratio}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As the base class has it."""
        self.log_ratio = state["log_ratio"]


def make(kind: str, info_nce: float, lm: float, end: float) -> LMWeighting:
    """The weighting of a name in `KINDS`."""
    if kind == "uncertainty":
        return UncertaintyWeighting(info_nce, lm)
    if kind == "gradient":
        return GradientWeighting(info_nce, lm)
    return LMWeighting(info_nce, lm, end, kind)
