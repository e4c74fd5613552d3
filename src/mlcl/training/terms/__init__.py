"""Further terms of J, found by file name: `terms/x.py` is the term `x`.

In: a `View`, the embeddings of the pairs of one step and what is known of them. Out: a scalar for each term, this
rank's share of it. A part `x.py` holds

    class Settings     a frozen dataclass with the field `weight`, and whatever else can be set
    class Term         a `terms.Term` that is made of them

and the maths is a plain function in `mlcl.objectives`. Terms see embeddings and token ids, not how they are encoded, so
they are the same with gradient caching and under every kind of backbone. Users name them in
`MLCTrainingArguments.objectives`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcl.core import plugins
from mlcl.core.errors import UserError
from mlcl.core.settings import field_types, fits, type_name, unknown_key
from mlcl.training.distributed import Counts, mean_over_ranks, world_size

if TYPE_CHECKING:  # settings are read here without a model
    from mlcl.model.model import MLCModel
    from mlcl.model.packing import Packed


@dataclass(frozen=True)
class Context:
    """What a term may know when it is made.

    Attributes:
        dimension: D, length of an embedding.
        languages: Tags that the batch's language numbers stand for; none where the data do not say.
        provides: What batches hold beside the sentences: `ids`, `languages`, `negatives`, names of further columns.
        widths: Values in a row of each further column.
        model: The encoder without what wraps it, for terms that score tokens; None = settings are checked before there
            is one.
        special_ids: Token ids that are no part of a text; None = unknown.
    """

    dimension: int
    languages: Sequence[str] = ()
    provides: Collection[str] = ()
    widths: Mapping[str, int] = field(default_factory=dict)
    model: MLCModel | None = None
    special_ids: Collection[int] | None = None


@dataclass
class View:
    """One step as a term sees it: the pairs of this rank.

    Attributes:
        anchors: (B, D) online embeddings with gradient, float32, not normalised. B may be 0.
        positives: (B, D) those of their positives.
        hard_negatives: (M, D) those of the hard negatives.
        ids: (B,) group ids, -1 = none.
        negative_ids: (M,) group ids of the hard negatives.
        languages: (B, 2) numbers of the languages of both sides, -1 = unknown.
        columns: Further rows (B, ...) by name.
        sentences: Token ids of all sentences of the step; `order` counts B anchors, B positives, then others.
        counts: Pairs and hard negatives of all ranks.
        temperature: Temperature of InfoNCE.
        margin: Additive margin of InfoNCE.
        angular_margin: Angular margin of InfoNCE.
        symmetric: Whether InfoNCE averages both directions.
        progress: Share of the training that is done, in [0, 1].
        autocast: Precision of the run, for large products; a term otherwise computes in float32.
    """

    anchors: Tensor
    positives: Tensor
    hard_negatives: Tensor
    ids: Tensor
    negative_ids: Tensor
    languages: Tensor
    columns: Mapping[str, Tensor]
    sentences: Packed
    counts: Counts
    temperature: float | Tensor
    margin: float
    angular_margin: float
    symmetric: bool
    progress: float
    autocast: Callable[[], AbstractContextManager[Any]]

    def unit(self) -> tuple[Tensor, Tensor, Tensor]:
        """Anchors, positives and hard negatives at length 1."""
        return tuple(F.normalize(rows, dim=-1) for rows in (self.anchors, self.positives, self.hard_negatives))  # type: ignore[return-value]

    def share(self, mean: Tensor) -> Tensor:
        """A mean over the pairs of this rank -> this rank's share of the mean over the pairs of all ranks."""
        return mean * (world_size() * len(self.anchors) / max(1, sum(self.counts.pairs)))


class Term(nn.Module):
    """A term of J.

    Parameters of its own are trained beside the model (see `FurtherTerms.step`) and are part of checkpoints.

    Attributes:
        needs: What of `Context.provides` the term cannot do without.
    """

    needs: ClassVar[frozenset[str]] = frozenset()

    def forward(self, view: View) -> Tensor:
        """This rank's share: its mean over the ranks is the term of the batch of all ranks.

        Where this rank has no pair it is a zero with gradients.
        """
        raise NotImplementedError


class FurtherTerms(nn.Module):
    """All terms beside InfoNCE and the LM term, with their weights.

    Args:
        objectives: Name -> weight, or name -> settings of the term, as the user wrote them.
        context: What terms may know.

    Raises:
        UserError: see `parse`; or the data lack what a term needs.
    """

    def __init__(self, objectives: Mapping[str, Any], context: Context) -> None:
        super().__init__()
        settings = {name: values for name, values in parse(objectives).items() if values.weight > 0}
        self.weights = {name: float(values.weight) for name, values in settings.items()}
        modules = {name: plugins.load(__name__, name).Term for name in settings}
        for name, kind in modules.items():
            if missing := sorted(kind.needs - set(context.provides)):
                raise UserError(
                    f"the objective {name} needs {', '.join(missing)}, which the training data lack",
                    remedy=f"leave it out, or train on data with {', '.join(missing)}",
                )
        self.terms = nn.ModuleDict({name: kind(settings[name], context) for name, kind in modules.items()})
        own = list(self.parameters())
        self._optimizer = torch.optim.Adam(own) if own else None

    def __bool__(self) -> bool:
        return bool(self.weights)

    def forward(self, view: View) -> dict[str, Tensor]:
        """This rank's share of each term, unweighted."""
        return {name: term(view) for name, term in self.terms.items()}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update the terms' own parameters from the gradients that have been added up; then they are cleared.

        They are no part of the encoder, so DDP and FSDP do not know them: gradients are averaged over the ranks here.
        Adam without weight decay and outside of gradient clipping, at the learning rate of the model.
        """
        if self._optimizer is None:
            return
        for parameter in self.parameters():
            if parameter.grad is None:  # a rank without pairs
                parameter.grad = torch.zeros_like(parameter)
            mean_over_ranks(parameter.grad)
        self._optimizer.param_groups[0]["lr"] = learning_rate
        self._optimizer.step()
        self._optimizer.zero_grad()

    def get_extra_state(self) -> dict[str, Any]:
        """The state of the optimiser: part of the state dict, so that a resumed run goes on unchanged."""
        return {} if self._optimizer is None else self._optimizer.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take the state of the optimiser up."""
        if self._optimizer is not None:
            self._optimizer.load_state_dict(state)


def names() -> list[str]:
    """Names of all terms."""
    return plugins.names(__name__)


def parse(objectives: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of each term from what the user wrote: `{name: weight}` or `{name: {setting: value}}`.

    Raises:
        UserError: unknown terms or settings, or values that they cannot have; all mistakes of all terms at once.
    """
    parsed, problems = {}, []
    for name, values in objectives.items():
        try:
            parsed[name] = _settings(name, values)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("; ".join(problems))
    return parsed


def _settings(name: str, values: Any) -> Any:
    """Settings of one term, see `parse`."""
    kind = plugins.load(__name__, name).Settings
    place = f"objectives.{name}"
    number = isinstance(values, (int, float)) and not isinstance(values, bool)
    values = {"weight": values} if number else values
    if not isinstance(values, dict):
        raise UserError(f"{place} is {values!r}", remedy="give its weight, or a mapping of its settings")
    known = field_types(kind)
    required = {item.name for item in dataclasses.fields(kind) if item.default is dataclasses.MISSING
                and item.default_factory is dataclasses.MISSING}  # fmt: skip
    problems = [unknown_key(f"{place}.{key}", key, known) for key in values if key not in known]
    problems += [
        f"{place}.{key} is {value!r}, expected {type_name(known[key])}"
        for key, value in values.items()
        if key in known and not fits(value, known[key])
    ]
    problems += [f"{place}.{key} is missing" for key in sorted(required - values.keys())]
    weight = values.get("weight", 1)
    if fits(weight, float) and not (weight >= 0 and math.isfinite(weight)):
        problems.append(f"{place}.weight is {weight}, it must be at least 0 and finite")
    if problems:
        raise UserError("; ".join(problems))
    return kind(**values)
