"""What happens inside a run, measured now and then beside the step: gradients of the terms, the space, the queue.

In: the model, the objective and a batch of training. Out: numbers for `metrics.jsonl`. Measuring draws no random number
of the run, leaves all gradients as they were and moves nothing, so a run with it equals one without it bit for bit.

One measurement costs about two training steps (a backward for each of two terms) and one pass over the dev sentences:
with `dynamics_steps` 100, some 2 to 3 % of the time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcl.model.model import MLCModel
from mlcl.model.packing import Packed, pack
from mlcl.retrieval.geometry import alignment, effective_rank, uniformity
from mlcl.training.distributed import mean_over_ranks, world_size
from mlcl.training.lm_weighting import GRADIENT_STEPS, TERMS
from mlcl.training.retrieval_dev import DevPairs, embed
from mlcl.training.step import Objective

_DEV_PAIRS = 256  # of the dev pairs, for the shape of the space
_REMEMBERED = 16  # keys of a batch that are remembered, to see later how they have aged


@contextmanager
def aside(parameters: Sequence[nn.Parameter], device: torch.device) -> Iterator[None]:
    """Within the block gradients start from nothing and random numbers are others; afterwards both are as before."""
    kept = [parameter.grad for parameter in parameters]
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        try:
            for parameter in parameters:
                parameter.grad = None
            yield
        finally:
            for parameter, gradient in zip(parameters, kept, strict=True):
                parameter.grad = gradient


def shared_parameters(model: MLCModel) -> list[nn.Parameter]:
    """The parameters that the gradients of the terms are compared in: the backbone without its token embeddings.

    That is what both terms train. The token embeddings are left out because they are the LM term's output layer too:
    its gradient there has a row for every word of the vocabulary and would drown what happens in the encoder.
    """
    embeddings = model.get_input_embeddings().weight
    return [
        parameter
        for parameter in model.backbone.parameters()
        if parameter.requires_grad and parameter is not embeddings
    ]


def term_gradients(
    objective: Objective, model: MLCModel, backward: Callable[[], None], names: Sequence[str]
) -> dict[str, float]:
    """Norms of the gradients of the unweighted terms and, of two terms, their cosine.

    Args:
        objective: The objective; its weights are changed for the time being.
        model: The model without what wraps it.
        backward: Adds the gradients of J of one batch to the parameters.
        names: Terms to compare.

    Returns:
        `gradient_norm_<term>` for each, and `gradient_cosine` of the first two; the same on all ranks.
    """
    parameters = shared_parameters(model)
    own = [*objective.temperature.parameters(), *objective.further.parameters()]
    everything = [*dict.fromkeys([*model.parameters(), *own])]
    device = parameters[0].device
    found: dict[str, list[Tensor]] = {}
    keeps_keys, objective.keeps_keys = objective.keeps_keys, False  # the step itself will encode them
    try:
        for name in names:
            with aside(everything, device), objective.only(name):
                backward()
                found[name] = [
                    torch.zeros_like(parameter) if parameter.grad is None else mean_over_ranks(parameter.grad)
                    for parameter in parameters
                ]
    finally:
        objective.keeps_keys = keeps_keys
    norms = {name: math.sqrt(_dot(gradient, gradient)) for name, gradient in found.items()}
    measured = {f"gradient_norm_{name}": norm for name, norm in norms.items()}
    if len(names) > 1 and norms[names[0]] and norms[names[1]]:
        measured["gradient_cosine"] = _dot(found[names[0]], found[names[1]]) / (norms[names[0]] * norms[names[1]])
    return measured


def _dot(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    products = [(a.double() * b.double()).sum() for a, b in zip(first, second, strict=True)]
    return float(torch.stack(products).sum())


def space(model: MLCModel, pairs: DevPairs, device: torch.device) -> dict[str, float]:
    """Alignment, uniformity and effective rank of the first dev pairs; the rank is at most `dev_dimension`."""
    training = model.training
    model.eval()
    try:
        sides = (embed(model, side[:_DEV_PAIRS], device).cpu().numpy() for side in (pairs.anchors, pairs.positives))
        anchors, positives = sides
    finally:
        model.train(training)
    if len(anchors) < 2:
        return {}
    return {
        "alignment": alignment(anchors, positives),
        "uniformity": uniformity(anchors),
        "effective_rank": effective_rank(anchors),
        "dev_dimension": float(min(anchors.shape)),
    }


@dataclass
class QueueProbe:
    """Some keys of the queue with their sentences, to compare them with fresh ones: how stale the queue is.

    Attributes:
        size: Keys in the queue.
        remembered: (keys enqueued before it, token ids, lengths, vectors) of each record, the oldest first.
    """

    size: int
    remembered: deque[tuple[int, Tensor, Tensor, Tensor]] = field(default_factory=deque)

    def remember(self, keys: Packed, vectors: Tensor, enqueued: int) -> None:
        """Keep some keys of a batch.

        Args:
            keys: Their sentences.
            vectors: (N, D) keys in the order that `keys` restores to.
            enqueued: Keys that went into the queue before them.
        """
        if not len(vectors):
            return
        places = torch.linspace(0, len(keys.lengths) - 1, min(_REMEMBERED, len(vectors))).long().unique()
        sentences = keys.input_ids.cpu().split(keys.lengths.tolist())
        chosen = pack([sentences[place].numpy() for place in places.tolist()])
        rows = keys.order[places].to(vectors.device)
        own = torch.empty_like(vectors[rows])
        own.copy_(vectors[rows])
        own = own[chosen.order.to(own.device)]  # in the order of the new pack
        self.remembered.append((enqueued, chosen.input_ids, chosen.lengths, own.cpu()))

    @torch.no_grad()
    def cosine(self, encoder: nn.Module, objective: Objective, enqueued: int, device: torch.device) -> float | None:
        """Mean cosine of the oldest remembered keys still in the queue with those that the encoder makes now."""
        while self.remembered and enqueued - self.remembered[0][0] > self.size:
            self.remembered.popleft()
        if not self.remembered:
            return None
        _, ids, lengths, vectors = self.remembered[0]
        packed = Packed(ids.to(device), lengths, torch.arange(len(lengths)))
        embeddings = objective.encode(encoder, packed).embeddings
        assert embeddings is not None
        fresh = F.normalize(embeddings.float(), dim=-1)
        return float(mean_over_ranks((fresh * vectors.to(fresh)).sum(dim=1).mean()))

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to log the same."""
        return {"remembered": list(self.remembered)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.remembered = deque(state["remembered"])


class Dynamics:
    """All measurements of a run; `take` hands over what was measured since the last time.

    Args:
        objective: The objective.
        dev: Dev pairs; None without any.
        device: Where the model is.
        languages: Tags that the batches' language numbers stand for; none where they are unknown.
    """

    def __init__(
        self, objective: Objective, dev: DevPairs | None, device: torch.device, languages: Sequence[str] = ()
    ) -> None:
        self.objective, self.dev, self.device, self.languages = objective, dev, device, languages
        self.queue = None if objective.queue is None else QueueProbe(objective.args.queue_size)
        self._counts = torch.zeros(len(languages), dtype=torch.int64, device=device)
        self._measured: dict[str, Any] = {}
        self._step = -1  # the newest update that was begun
        self._due = False

    def count(self, languages: Tensor) -> None:
        """Count the sides (B, 2) of a batch by language; without waiting for the GPU."""
        if len(self.languages) and len(languages):
            known = languages.flatten().clamp(min=0)
            self._counts.index_add_(0, known, (languages.flatten() >= 0).long())

    def begin(self, step: int, model: MLCModel, backward: Callable[[], None]) -> None:
        """Measure what is due before a micro-batch of update number `step`: at its first one; every rank must call it.

        Args:
            step: Updates that were made.
            model: The model without what wraps it.
            backward: Adds the gradients of J of the micro-batch to the parameters.
        """
        every, weighting = self.objective.args.dynamics_steps, self.objective.weighting
        first, self._step = self._step != step, step
        self._due = first and every > 0 and step % every == 0
        if first and weighting.needs_gradients and step % GRADIENT_STEPS == 0:
            norms = term_gradients(self.objective, model, backward, TERMS)
            weighting.observe_gradients({name: norms[f"gradient_norm_{name}"] for name in TERMS})
        if self._due:
            self._measure(model, backward)

    def _measure(self, model: MLCModel, backward: Callable[[], None]) -> None:
        objective = self.objective
        weights = objective.weights.items()
        names = [name for name, weight in weights if weight > 0 and (name != "lm" or objective.args.uses_lm)]
        if len(names) > 1:
            self._measured |= term_gradients(objective, model, backward, names)
        if self.dev is not None:
            self._measured |= space(model, self.dev, self.device)
        if self.queue is not None and objective.momentum is not None:
            cosine = self.queue.cosine(objective.momentum.encoder, objective, objective.enqueued, self.device)
            self._measured |= {} if cosine is None else {"queue_cosine": cosine}

    def end(self) -> None:
        """The micro-batch is done; when the measurement was due, some of its keys are remembered."""
        if self._due and self.queue is not None and self.objective.latest_keys is not None:
            self.queue.remember(*self.objective.latest_keys, self.objective.enqueued)

    def take(self) -> dict[str, Any]:
        """What was measured since the last call, and the sides by language over all ranks; empty if nothing was."""
        if not self._measured:
            return {}
        measured, self._measured = self._measured, {}
        if len(self.languages):
            counts = mean_over_ranks(self._counts.double()).mul_(world_size()).round().long().tolist()
            by_language = {tag: count for tag, count in zip(self.languages, counts, strict=True) if count}
            if by_language:
                measured["pairs_by_language"] = by_language
            self._counts.zero_()
        return measured

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to log the same."""
        return {
            "queue": None if self.queue is None else self.queue.state_dict(),
            "enqueued": self.objective.enqueued,
            "counts": self._counts.cpu(),
            "measured": dict(self._measured),
        }

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Go on from `state_dict`; None from a checkpoint that had no dynamics."""
        if state is None:
            return
        if self.queue is not None and state["queue"] is not None:
            self.queue.load_state_dict(state["queue"])
        self.objective.enqueued = state["enqueued"]
        if len(state["counts"]) == len(self._counts):
            self._counts.copy_(state["counts"])
        self._measured = dict(state["measured"])
