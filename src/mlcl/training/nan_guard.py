"""A loss that is no number stops the run at once: before the weights are touched, with the batch in a file.

In: the value of each step and the batches of an update. Out: nothing, or a file that holds the offending sentences and
a `UserError` that says where it is and how to go on without them.

On several ranks the one that sees it stops, and the launcher (torchrun, accelerate) ends the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from mlcl.core.errors import UserError
from mlcl.core.files import write_json
from mlcl.training.batching import Batch


class NanGuard:
    """Knows the batches of the update that is being made.

    Args:
        out: Where the file is written.
        tokenizer: To write sentences as text; None writes token ids alone.
        seed: Seed of the data, which the file repeats.
    """

    def __init__(self, out: Path, tokenizer: Any, seed: int) -> None:
        self.out, self.tokenizer, self.seed = out, tokenizer, seed
        self._batches: list[Batch] = []

    def check(self, batch: Batch, terms: Mapping[str, Tensor], step: int) -> None:
        """A micro-batch is done: are its terms finite? On a GPU this waits for it, once for all terms.

        Raises:
            UserError: one is not.
        """
        self._batches.append(batch)
        if not terms:
            return
        numbers = torch.stack([value.detach().double() for value in terms.values()]).tolist()
        values = dict(zip(terms, numbers, strict=True))
        wrong = [name for name, value in values.items() if not math.isfinite(value)]
        if wrong:
            self._stop(
                [batch],
                f"the loss is not finite ({', '.join(f'{name} {values[name]}' for name in wrong)})",
                step,
                values,
            )

    def check_gradients(self, norm: float, step: int) -> None:
        """The gradients of the update are added up: is their norm finite?

        Raises:
            UserError: it is not.
        """
        if not math.isfinite(norm):
            self._stop(
                self._batches, f"the gradients are not finite (norm {norm}), the loss is", step, {"grad_norm": norm}
            )

    def after_update(self) -> None:
        """Forget the batches of the update."""
        self._batches.clear()

    def _stop(self, batches: list[Batch], what: str, step: int, values: Mapping[str, float]) -> NoReturn:
        for batch in batches:
            facts = {
                "batch": batch.number,
                "step": step,
                "seed": self.seed,
                "values": {k: str(v) for k, v in values.items()},
            }
            write_json(self.out / f"bad-batch-{batch.number}.json", facts | describe(batch, self.tokenizer))
        numbers = ",".join(str(batch.number) for batch in batches)
        raise UserError(
            f"training stopped in step {step + 1}, {what}; the sentences are in bad-batch-{numbers}.json, and earlier "
            "checkpoints are whole",
            path=self.out,
            remedy=f"look at them and continue with --resume --skip_batches {numbers}, or lower learning_rate",
        )


def describe(batch: Batch, tokenizer: Any) -> dict[str, Any]:
    """Everything in a batch, to read: pairs with their group ids, hard negatives, LM inputs with what is predicted."""
    parts = batch.online.input_ids.cpu().split(batch.online.lengths.tolist())
    order = batch.online.order.tolist()
    by_place = dict(zip(order, parts, strict=True))
    predicted: dict[int, list[list[int]]] = {place: [] for place in order}  # [token in the sentence, label]
    if batch.masked is not None and batch.labels is not None:
        ends = torch.cumsum(batch.online.lengths.cpu(), 0)
        rows = torch.searchsorted(ends, batch.masked.cpu(), right=True).tolist()
        for row, position, label in zip(rows, batch.masked.tolist(), batch.labels.tolist(), strict=True):
            start = int(ends[row]) - int(batch.online.lengths[row])
            predicted[order[row]].append([position - start, label])

    def sentence(place: int) -> dict[str, Any]:
        ids = by_place[place].tolist()
        return {"ids": ids} if tokenizer is None else {"text": tokenizer.decode(ids), "ids": ids}

    b, m = batch.pairs, batch.hard_negatives
    groups = batch.ids.tolist()
    pairs = [{"group": groups[i], "anchor": sentence(i), "positive": sentence(b + i)} for i in range(b)]
    others = range(2 * b + m, len(parts)) if b or m or batch.masked is not None else ()  # else it is the filler
    lm = [sentence(place) | {"predicted": predicted[place]} for place in others]
    return {"pairs": pairs, "hard_negatives": [sentence(2 * b + i) for i in range(m)], "lm_inputs": lm}
