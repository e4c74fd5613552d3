"""Gradient caching: contrastive batches of any size in bounded memory (Gao et al., arXiv 2101.06983).

In: a batch and a bound on the tokens that are encoded at once. Out: the gradients of J, equal to those of `Objective`
on the whole batch:

1. each chunk but the last is encoded without a graph; only its embeddings and the random state before it are kept;
2. the last one is encoded with a graph, which is as much memory as step 4 takes anyhow;
3. the terms over all embeddings give their gradient with respect to each embedding (and to the temperature);
4. it goes back through the last chunk; each of the others is encoded again, with a graph and the same random state.

The LM term is a sum over tokens, so each chunk adds its own; sentences of the LM term alone are chunks of their own and
are encoded once. The memory is that of one chunk and of the embeddings; the price is one more forward of the
contrastive sentences, but for the last chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from mlcl.model.packing import Packed, chunks
from mlcl.training.batching import Batch, filler
from mlcl.training.distributed import gather_integers
from mlcl.training.forward import Encoded
from mlcl.training.step import Objective, Terms, lm_share

_TOGETHER = 4
"""Chunks that are encoded at once where no graph is kept: of all layers, only one has its activations in memory."""


@dataclass
class Chunk:
    """Neighbours in the pack: whole sentences, sorted by length as the pack is.

    Attributes:
        packed: The sentences.
        rows: (n,) place of each sentence in the batch; none for a filler.
        masked: (P,) positions in this chunk's stream that the LM term predicts.
        labels: (P,) token ids there.
        contrastive: Whether the terms over pairs see its embeddings.
        state: Random state before the chunk was first encoded; None = it was not.
    """

    packed: Packed
    rows: Tensor
    masked: Tensor
    labels: Tensor
    contrastive: bool
    state: list[Tensor] | None = None


def cached_step(
    objective: Objective,
    model: nn.Module,
    batch: Batch,
    mini_batch_tokens: int,
    *,
    backward: Callable[[Tensor], None] = Tensor.backward,
    no_sync: Callable[[], AbstractContextManager[Any]] = nullcontext,
    scale: float = 1.0,
) -> Terms:
    """Add the gradients of `scale * J` of a batch to the parameters.

    Args:
        objective: The objective.
        model: The model, wrapped or not.
        batch: The batch.
        mini_batch_tokens: Most tokens of one chunk; a longer sentence is a chunk of its own.
        backward: Runs the backward of a scalar (accelerate's, which knows the loss scale of fp16).
        no_sync: Context in which a backward adds gradients up on this rank only; the last chunk runs outside of it.
        scale: Factor of the loss: 1 / micro-batches of an update.

    Returns:
        All terms, without a graph.
    """
    counts, terms, kept, gradient = objective.counts(batch), Terms(), None, None
    contrastive, lm = _even_out(*cut(batch, mini_batch_tokens), objective, batch.ids.device)
    everything = [*contrastive[-1:], *contrastive[:-1], *lm]

    def synchronised(chunk: Chunk) -> AbstractContextManager[Any]:
        return nullcontext() if chunk is everything[-1] else no_sync()

    if contrastive:
        *others, last = contrastive
        parts = _embed(objective, model, others)
        with synchronised(last):
            kept = _encode(objective, model, last)
        assert kept.embeddings is not None
        parts.append(kept.embeddings[: len(last.rows)])
        if len(everything) == 1:  # the plain step; two backwards after one forward DDP would count as two steps
            terms = objective.pair_terms(batch, _in_batch_order(contrastive, parts), counts, mini_batch_tokens)
            backward(scale * objective.total(terms))
            return terms.detach()
        embeddings = _in_batch_order(contrastive, parts).detach().requires_grad_()
        pair_terms = objective.pair_terms(batch, embeddings, counts, mini_batch_tokens)
        (scale * objective.total(pair_terms)).backward()
        terms, gradient = pair_terms.detach(), embeddings.grad

    for chunk in everything:
        with synchronised(chunk):
            encoded, kept = kept or _encode(objective, model, chunk), None
            parts = []
            if chunk.contrastive:
                assert encoded.embeddings is not None
                assert gradient is not None
                parts.append((encoded.embeddings[: len(chunk.rows)] * gradient[chunk.rows]).sum())
            if encoded.lm_sum is not None:
                share = lm_share(encoded.lm_sum, counts)
                parts.append(scale * objective.weights["lm"] * share)
                terms.lm = share.detach() if terms.lm is None else terms.lm + share.detach()
            backward(torch.stack(parts).sum())
    return terms


def cut(batch: Batch, mini_batch_tokens: int) -> tuple[list[Chunk], list[Chunk]]:
    """Chunks of the sentences that InfoNCE sees, and chunks of the others."""
    contrastive = batch.online.order < 2 * batch.pairs + batch.hard_negatives  # (N,)
    return (
        _chunks(batch, contrastive, mini_batch_tokens, contrastive=True),
        _chunks(batch, ~contrastive, mini_batch_tokens, contrastive=False),
    )


def _chunks(batch: Batch, keep: Tensor, mini_batch_tokens: int, *, contrastive: bool) -> list[Chunk]:
    """Chunks of the sentences of a batch that are kept (N,)."""
    if not bool(keep.any()):
        return []
    online, device = batch.online, batch.ids.device
    of_kept = keep.repeat_interleave(online.lengths)  # (T,)
    stream = online.input_ids[of_kept.nonzero()[:, 0].to(device)]
    lengths, rows = online.lengths[keep], online.order[keep].to(device)
    masked = labels = batch.ids.new_empty(0)
    if batch.masked is not None and batch.labels is not None:
        of_kept = of_kept.to(device)
        mine = of_kept[batch.masked]
        masked, labels = (torch.cumsum(of_kept, 0) - 1)[batch.masked[mine]], batch.labels[mine]

    parts = list(chunks(stream, lengths, mini_batch_tokens))
    stops = torch.cumsum(torch.tensor([len(ids) for ids, _ in parts], device=device), 0)
    predicted = torch.searchsorted(masked, stops).diff(prepend=stops.new_zeros(1)).tolist()  # in each part
    return [
        Chunk(Packed(ids, sizes, torch.arange(len(sizes))), at, positions - start, targets, contrastive)
        for (ids, sizes), at, positions, targets, start in zip(
            parts,
            rows.split([len(sizes) for _, sizes in parts]),
            masked.split(predicted),
            labels.split(predicted),
            [0, *stops.tolist()[:-1]],
            strict=True,
        )
    ]


def _even_out(
    contrastive: list[Chunk], lm: list[Chunk], objective: Objective, device: torch.device
) -> tuple[list[Chunk], list[Chunk]]:
    """As many chunks on each rank, and at least one, by fillers: under FSDP2 each forward is an exchange of weights.

    Chunks that no term of the objective needs are dropped.
    """
    if not objective.uses_pairs:
        predicting = [replace(chunk, contrastive=False) for chunk in contrastive if len(chunk.masked)]
        contrastive, lm = [], [*predicting, *lm]
    evened: list[list[Chunk]] = []
    lengths = gather_integers([len(contrastive), len(lm)], device)
    for own, everywhere, wanted in (
        (contrastive, lengths[0], objective.uses_pairs),
        (lm, lengths[1], objective.args.uses_lm),
    ):
        nothing = torch.empty(0, dtype=torch.long, device=device)
        missing = max(1, *everywhere) - len(own)
        fillers = [Chunk(filler().to(device), nothing, nothing, nothing, own is contrastive) for _ in range(missing)]
        evened.append([*fillers, *own] if wanted else [])  # the shortest first, as in a pack
    return evened[0], evened[1]


@torch.no_grad()
def _embed(objective: Objective, model: nn.Module, contrastive: list[Chunk]) -> list[Tensor]:
    """Embeddings (n, D) of each chunk; each keeps the random state that it began with.

    Chunks are encoded together, unless random numbers are drawn: their order would not be that of the chunks.
    """
    found: list[Tensor] = []
    draws = False
    while len(found) < len(contrastive):
        start = len(found)
        some = contrastive[start : start + (1 if draws or not start else _TOGETHER)]  # how it is, the first one tells
        before = _random_state(some[0].rows.device)
        for chunk in some:
            chunk.state = before
        embeddings = objective.encode(model, _joined([chunk.packed for chunk in some])).embeddings
        assert embeddings is not None
        parts = embeddings.split([len(chunk.packed.lengths) for chunk in some])
        found += [part[: len(chunk.rows)] for part, chunk in zip(parts, some, strict=True)]
        if not start:
            after = _random_state(some[0].rows.device)
            draws = not all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    torch.clear_autocast_cache()  # it holds casts of the weights without a graph
    return found


def _joined(packs: list[Packed]) -> Packed:
    """Packs one after the other; still sorted by length, as neighbours in a sorted pack are."""
    if len(packs) == 1:
        return packs[0]
    lengths = torch.cat([packed.lengths for packed in packs])
    return Packed(torch.cat([packed.input_ids for packed in packs]), lengths, torch.arange(len(lengths)))


def _in_batch_order(contrastive: list[Chunk], parts: list[Tensor]) -> Tensor:
    """Embeddings (n, D) of each chunk -> float32 embeddings (N, D) of all sentences in the order of the batch."""
    rows = torch.cat([chunk.rows for chunk in contrastive])
    packed = torch.cat(parts).float()
    return torch.empty_like(packed).index_copy_(0, rows, packed)


def _encode(objective: Objective, model: nn.Module, chunk: Chunk) -> Encoded:
    """A chunk with a graph, and its part of the LM term; the same random numbers as when it was encoded before."""
    predicts = objective.args.uses_lm and (not chunk.contrastive or len(chunk.masked) > 0)
    with _replayed(chunk.state):
        return objective.encode(model, chunk.packed, *((chunk.masked, chunk.labels) if predicts else ()))


def _random_state(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


@contextmanager
def _replayed(state: list[Tensor] | None) -> Iterator[None]:
    """Draw the same random numbers as after `state` was taken, then go on where we were; None = draw fresh ones."""
    if state is None:
        yield
        return
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if len(state) > 1 else []):
        torch.set_rng_state(state[0])
        if len(state) > 1:
            torch.cuda.set_rng_state(state[1])
        yield
