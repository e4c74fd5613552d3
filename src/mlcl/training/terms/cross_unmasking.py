"""The term `cross_unmasking`: the vector of one side predicts the words of the other (`objectives.cross_unmasking`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mlcl.core.errors import UserError
from mlcl.objectives.cross_unmasking import bags_of_words, cross_unmasking
from mlcl.training import terms
from mlcl.training.distributed import gather_integers, world_size

if TYPE_CHECKING:
    from mlcl.model.model import MLCModel


@dataclass(frozen=True)
class Settings:
    """Settings of the term."""

    weight: float = 0.1
    """Weight in J."""
    train_embeddings: bool = True
    """Whether the token embeddings, where they are the output matrix, learn from the term too. Their gradient then has
    all rows of the vocabulary. Beside an LM term it has so anyway; without one, false keeps the gradient, and on a CPU
    the update, to the rows of the batch's tokens."""


class Term(terms.Term):
    """Mean, over the sentences of all ranks that have words, of the cross-entropy of the other side's words.

    Words are distinct token ids without the special ones. Logits are the output matrix of the LM term times states that
    a head of the term's own makes of the vectors, not normalised, and a bias of its own (`_Head`).

    The matrix is read outside of the wrapped model's forward. DDP allows that for the token embeddings, which every
    forward uses; a parameter of the LM head, which is out of use without an LM term, it would count twice. So the head
    is a copy, and an output matrix that is not tied is used as it is: it learns from the LM term alone.

    Raises:
        UserError: nobody says which tokens are special.
    """

    special_ids: Tensor

    def __init__(self, settings: Settings, context: terms.Context) -> None:
        super().__init__()
        model = context.model
        if model is None:  # the settings are checked, nothing more
            return
        if context.special_ids is None:
            raise UserError(
                "the objective cross_unmasking needs a tokenizer, to know which tokens are special",
                remedy="pass processing_class, or leave it out",
            )
        learns = settings.train_embeddings and model.lm_head.weight is None
        self._matrix: Callable[[], Tensor] = lambda: model.output_matrix if learns else model.output_matrix.detach()
        self.register_buffer("special_ids", torch.tensor(sorted(context.special_ids)), persistent=False)
        self.head = _Head(model, context.dimension)

    def forward(self, view: terms.View) -> Tensor:
        """This rank's share."""
        vectors = torch.cat([view.anchors, view.positives])  # (2B, D)
        words, sentences = self._words_of_others(view)
        with view.autocast():
            mean = cross_unmasking(self.head(vectors), self._matrix(), words, sentences, self.head.bias)
        count = len(torch.unique_consecutive(sentences))
        (everywhere,) = gather_integers([count], vectors.device)
        return mean * (world_size() * count / max(1, sum(everywhere)))

    def _words_of_others(self, view: terms.View) -> tuple[Tensor, Tensor]:
        """Words (P,) and the row (P,) of the vector that has to predict each: anchors, then positives."""
        packed, sides = view.sentences, 2 * len(view.anchors)
        row = packed.order.repeat_interleave(packed.lengths).to(packed.input_ids.device)  # (T,)
        of_pairs = row < sides
        other = (row[of_pairs] + len(view.anchors)) % max(1, sides)
        return bags_of_words(packed.input_ids[of_pairs], other, self.special_ids)


class _Head(nn.Module):
    """Sentence vectors (N, D) -> states (N, E) for the output matrix (V, E).

    It starts as the layers of the LM head, which in a trained model tell a token from its state, and goes its own way.
    A linear map stands before them where a vector is of another size, and in their place where the LM head has none of
    them or the matrix is of another width than the token states.
    """

    def __init__(self, model: MLCModel, dimension: int) -> None:
        super().__init__()
        head, (entries, width) = model.lm_head, model.output_matrix.shape
        transform = head.transform() if width == model.hidden_size else None
        layers: list[nn.Module] = []
        if transform is None or dimension != width:
            layers.append(_linear(dimension, width, head.scale))
        if transform is not None:
            layers.append(transform)
        self.layers = nn.Sequential(*layers).requires_grad_()
        self.bias = nn.Parameter(torch.zeros(entries) if head.bias is None else head.bias.detach().clone())

    def forward(self, vectors: Tensor) -> Tensor:
        """(N, D) -> (N, E)."""
        return self.layers(vectors)


def _linear(dimension: int, width: int, scale: float) -> nn.Linear:
    """A linear map that starts as the identity, or as one that leaves angles as they are, times a factor."""
    linear = nn.Linear(dimension, width, bias=False)
    if dimension == width:
        nn.init.eye_(linear.weight)
    else:
        nn.init.orthogonal_(linear.weight)
    with torch.no_grad():
        linear.weight *= scale
    return linear
