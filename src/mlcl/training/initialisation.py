"""Token vectors that are cross-lingual before the first step: which sentences does a token occur in?

In: a `TokenStore`. Out: a vector for each token, or an embedding matrix (V, D). Tokens that translate each other occur
in the same groups, so the left singular vectors of the token x group matrix put them close together (cross-lingual
latent semantic indexing, Dumais et al. 1997; sentence-id features, Levy et al., arXiv 1608.05426). It takes seconds
where contrastive training from random embeddings takes many minutes to get as far.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from mlcl.training.token_store import TokenStore

_OVERSAMPLING = 16  # extra columns that make the randomised SVD accurate (Halko et al., arXiv 0909.4061)
_ITERATIONS = 3


@torch.no_grad()
def initialise_embeddings(embedding: nn.Embedding, store: TokenStore, special_ids: list[int], *, std: float) -> int:
    """Overwrite the rows of all tokens that occur in translations; rows of special tokens stay as they are.

    Args:
        embedding: The input embedding (V, D).
        store: The tokenised corpus.
        special_ids: Token ids that carry no meaning of their own.
        std: Standard deviation of the new entries.

    Returns:
        Number of rows that were set.
    """
    dim = embedding.embedding_dim
    vectors, known = token_vectors(store, embedding.num_embeddings, special_ids, dim)
    rows = nn.functional.pad(vectors, (0, dim - vectors.shape[1]))
    embedding.weight[known] = (rows[known] * std * dim**0.5).to(embedding.weight)
    return int(known.sum())


def token_vectors(
    store: TokenStore, vocab_size: int, special_ids: list[int], dim: int, *, alone: bool = False
) -> tuple[Tensor, Tensor]:
    """A vector of length 1 for each token that occurs in translations.

    Args:
        store: The tokenised corpus.
        vocab_size: V.
        special_ids: Tokens that are left out.
        dim: Most values of a vector; fewer where the corpus is that small.
        alone: Sentences without a translation count as well: tokens that occur in the same ones are then similar.

    Returns:
        (V, K) vectors, and (V,) whether a token has one.
    """
    counts = token_group_matrix(_each_a_group(store) if alone else store, vocab_size, special_ids)
    vectors = left_singular_vectors(counts, min(dim, *counts.shape))
    known = torch.zeros(vocab_size, dtype=torch.bool)
    known[counts.indices()[0]] = True
    return nn.functional.normalize(vectors, dim=1), known


def _each_a_group(store: TokenStore) -> TokenStore:
    """The same sentences, those without a group in groups of their own."""
    group = np.array(store.group)
    single = group < 0
    group[single] = group.max(initial=-1) + 1 + np.arange(int(single.sum()))
    return replace(store, group=group, parallel=len(store))


def token_group_matrix(
    store: TokenStore, vocab_size: int, special_ids: list[int], max_tokens: int = 50_000_000
) -> Tensor:
    """Sparse (V, G) matrix of log(1 + how often token v occurs in the versions of sentence g).

    Args:
        store: The tokenised corpus; only sentences with a group count.
        vocab_size: V.
        special_ids: Tokens that are left out.
        max_tokens: Only so many tokens from the start of the store are read, which bounds the memory.
    """
    offsets = np.asarray(store.offsets[: store.parallel + 1])
    sentences = int(np.searchsorted(offsets, max_tokens, side="right")) - 1
    tokens = np.asarray(store.tokens[: offsets[sentences]]).astype(np.int64)
    groups = np.repeat(np.asarray(store.group[:sentences]), np.diff(offsets[: sentences + 1]))
    keep = ~np.isin(tokens, special_ids) & (groups >= 0)
    _, groups = np.unique(groups[keep], return_inverse=True)
    width = int(groups.max(initial=-1)) + 1
    cells, counts = np.unique(tokens[keep] * max(width, 1) + groups, return_counts=True)
    indices = torch.from_numpy(np.stack(np.divmod(cells, max(width, 1))))
    values = torch.from_numpy(np.log1p(counts)).float()
    return torch.sparse_coo_tensor(indices, values, (vocab_size, width), is_coalesced=True, check_invariants=False)


def left_singular_vectors(matrix: Tensor, rank: int, seed: int = 0) -> Tensor:
    """The first `rank` left singular vectors (V, rank) of a sparse (V, G) matrix by randomised subspace iteration.

    Columns beyond the rank of the matrix are zero.
    """
    generator = torch.Generator().manual_seed(seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        rows, transposed = matrix.to_sparse_csr(), matrix.t().coalesce().to_sparse_csr()
    width = min(rank + _OVERSAMPLING, *matrix.shape)
    basis = torch.randn(matrix.shape[0], width, generator=generator)
    for _ in range(_ITERATIONS):
        basis = torch.linalg.qr(rows @ (transposed @ basis)).Q
    small = transposed @ basis  # (G, width)
    # Ascending; in float64, because a small corpus has too few directions, and float32 finds no end among the zeros.
    squares, rotation = torch.linalg.eigh((small.T @ small).double())
    squares, rotation = squares.float().flip(0)[:rank], rotation.float().flip(1)[:, :rank]
    # Below the rank of the matrix, what the iteration finds is noise, also in rows that are empty.
    return basis @ rotation * (squares > 1e-8 * squares[0])
