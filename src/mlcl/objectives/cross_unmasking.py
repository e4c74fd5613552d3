"""Cross-unmasking: all words of a sentence are hidden, and its translation's vector has to tell them.

In: states (N, D) made of sentence vectors, output embeddings (V, D), the words that each state shall predict. Out: one
scalar.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mlcl.objectives.kernels.precision import sum_dtype
from mlcl.objectives.masked_lm import masked_lm_loss


def cross_unmasking(
    states: Tensor, weight: Tensor, words: Tensor, sentences: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy of bags of words, each under one softmax over the vocabulary.

    For state h_i and the set W_i of words that it shall predict

        -1 / |W_i| * sum over w in W_i of log softmax(E h_i + b)_w

    which is how DupMAE decodes a bag of words from a sentence vector (Xiao et al., arXiv 2305.02564); there it is that
    of the sentence itself. MEXMA (Janeiro et al., arXiv 2409.12737), which the name is from, masks a part of the tokens
    and gives the encoder the rest with the other side's vector; here all of them are masked, so that the vector has to
    do it alone and nothing is encoded again. A set has no order and no counts: what is asked for is which words, so the
    loss cannot fall below the mean of log |W_i|.

    All words of a set have the log-sum-exp in common. So one of them, y_i, goes through `masked_lm_loss`, in tiles over
    the vocabulary, and the others differ from it by logits of their own alone:

        -log softmax(E h_i + b)_(y_i) + h_i . (E_(y_i) - mean of E_w) + b_(y_i) - mean of b_w

    The cost is that of one masked token for each sentence, and the (N, V) logits never exist.

    Args:
        states: (N, D).
        weight: (V, D) output embeddings, usually tied to the input embeddings. Their gradient is dense: the softmax
            moves all rows.
        words: (P,) token ids, those of a state side by side and no two of them equal (see `bags_of_words`).
        sentences: (P,) row of the state that each of them belongs to, ascending.
        bias: (V,) added to the logits.

    Returns:
        Scalar in float32 (float64 for float64 inputs); states without a word do not count, and without any word the
        result is a zero with a gradient.

    Raises:
        ValueError: shapes that do not fit, or a word that is no token id.
    """
    if states.dim() != 2 or weight.shape[1:] != states.shape[1:] or words.dim() != 1 or sentences.shape != words.shape:
        raise ValueError(
            f"states {tuple(states.shape)}, weight {tuple(weight.shape)}, words {tuple(words.shape)} and sentences "
            f"{tuple(sentences.shape)} must be (N, D), (V, D), (P,) and (P,)"
        )
    if len(words) and (int(words.min()) < 0 or int(words.max()) >= len(weight)):
        raise ValueError(f"words reach from {int(words.min())} to {int(words.max())}, the vocabulary has {len(weight)}")
    rows, bag, sizes = torch.unique_consecutive(sentences, return_inverse=True, return_counts=True)
    starts = sizes.cumsum(0) - sizes
    states, first = states[rows], words[starts]
    loss = masked_lm_loss(states, weight, first, bias)
    if not len(words):
        return loss
    shares = (-1 / sizes.to(weight.dtype))[bag]  # (P,) of each word in y_i - mean
    shares = shares.index_add(0, starts, torch.ones_like(starts, dtype=weight.dtype))
    # The gradient of this sum touches P rows: kept sparse, it is no second matrix beside the dense one of the softmax.
    difference = F.embedding_bag(
        words, weight, starts, mode="sum", per_sample_weights=shares, sparse=len(words) < len(weight)
    )  # (n, D)
    kind = sum_dtype(loss.dtype)
    gap = (states.to(kind) * difference.to(kind)).sum()
    if bias is not None:
        gap = gap + (shares.to(kind) * bias[words].to(kind)).sum()
    return loss + gap / len(rows)


def bags_of_words(tokens: Tensor, sentences: Tensor, special_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct words (P,) of each sentence, and the sentence (P,) of each, ascending.

    Args:
        tokens: (T,) token ids of sentences in any order.
        sentences: (T,) number of the sentence of each.
        special_ids: (S,) token ids that are no words.
    """
    is_word = ~torch.isin(tokens, special_ids)
    tokens, sentences = tokens[is_word], sentences[is_word]
    base = int(tokens.max()) + 1 if len(tokens) else 1
    distinct = torch.unique(sentences * base + tokens)  # ascending
    return distinct % base, distinct // base
