"""The term `context`: other sentences of a document are soft positives (`objectives.context`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mlcl.objectives.context import context_loss
from mlcl.training import terms
from mlcl.training.distributed import gather_rows, without_own
from mlcl.training.terms._others import Sides


@dataclass(frozen=True)
class Settings:
    """Settings of the term."""

    weight: float = 0.05
    """Weight in J: small, for a document is far more than one meaning."""


class Term(terms.Term):
    """Cross-entropy of finding the sentences of the same document, in both directions over the pairs of all ranks.

    The temperature is that of InfoNCE.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"documents"})

    def __init__(self, settings: Settings, context: terms.Context) -> None:
        super().__init__()

    def forward(self, view: terms.View) -> Tensor:
        """This rank's share."""
        sides, own = Sides.of(view), view.columns["documents"]
        other_documents = without_own(gather_rows(own, view.counts.pairs), view.counts.pairs)
        each = []
        for query, key in ((0, 1), (1, 0)):
            with view.autocast():
                each.append(
                    context_loss(
                        sides.own[query],
                        sides.own[key],
                        own,
                        temperature=view.temperature,
                        ids=sides.ids,
                        others=sides.others[key],
                        other_documents=other_documents,
                        other_ids=sides.other_ids,
                    )
                )
        return view.share(torch.stack(each).mean()) + sides.zero
