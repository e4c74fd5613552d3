"""Sentence-id embeddings: an exact SVD as oracle, and translations that are neighbours before any training."""

from __future__ import annotations

import numpy as np
import torch
from transformers import AutoTokenizer

from mlcl.corpus.store import Corpus
from mlcl.text.tokenizer import train_tokenizer
from mlcl.training.initialisation import initialise_embeddings, left_singular_vectors, token_group_matrix
from mlcl.training.token_store import open_or_build


def test_singular_vectors_span_the_space_of_an_exact_svd():
    torch.manual_seed(0)
    # A decaying spectrum, so that the first vectors are well defined.
    dense = torch.linalg.qr(torch.randn(60, 40)).Q * torch.logspace(0, -3, 40) @ torch.linalg.qr(torch.randn(40, 40)).Q
    ours = left_singular_vectors(dense.to_sparse_coo(), 8)
    exact = torch.linalg.svd(dense).U[:, :8]
    torch.testing.assert_close((ours.T @ exact).abs(), torch.eye(8), atol=1e-3, rtol=0)


def test_the_matrix_counts_tokens_by_group(tiny_corpus, tmp_path):
    corpus = Corpus.open(tiny_corpus)
    tokenizer = train_tokenizer(corpus, vocab_size=700)
    store = open_or_build(corpus, tokenizer, 64, tmp_path)
    matrix = token_group_matrix(store, len(tokenizer), tokenizer.all_special_ids).to_dense()
    expected = torch.zeros_like(matrix)
    groups = {group: column for column, group in enumerate(sorted(set(store.group[: store.parallel].tolist())))}
    for i in range(store.parallel):
        for token in store.sentence(i).tolist():
            if token not in tokenizer.all_special_ids:
                expected[token, groups[int(store.group[i])]] += 1
    torch.testing.assert_close(matrix, expected.log1p())


def test_translations_are_neighbours_before_training(tiny_corpus, tmp_path):
    corpus = Corpus.open(tiny_corpus)
    tokenizer = train_tokenizer(corpus, vocab_size=700)
    store = open_or_build(corpus, tokenizer, 64, tmp_path)
    embedding = torch.nn.Embedding(len(tokenizer), 24)
    before = embedding.weight.detach().clone()
    rows = initialise_embeddings(embedding, store, tokenizer.all_special_ids, std=0.1)
    assert 0 < rows < len(tokenizer)
    special = tokenizer.all_special_ids
    assert torch.equal(embedding.weight[special], before[special])

    def vector(text: str) -> np.ndarray:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        mean = embedding.weight[ids].detach().numpy().mean(0)
        return mean / np.linalg.norm(mean)

    pairs = [("cat", "katze"), ("dog", "hund"), ("house", "haus"), ("tree", "baum"), ("water", "wasser")]
    english, german = (np.stack([vector(text) for text in side]) for side in zip(*pairs, strict=True))
    cosines = english @ german.T
    others = cosines[~np.eye(len(pairs), dtype=bool)]
    assert np.diag(cosines).mean() > others.mean() + 0.3


def test_the_store_is_made_once_and_holds_every_sentence(tiny_corpus, tmp_path):
    corpus = Corpus.open(tiny_corpus)
    tokenizer = train_tokenizer(corpus, vocab_size=700)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    store = open_or_build(corpus, tokenizer, 64, tmp_path)
    made = {path: path.stat().st_mtime_ns for path in (tiny_corpus / "tokens").rglob("*")}
    again = open_or_build(corpus, AutoTokenizer.from_pretrained(tmp_path / "tokenizer"), 64, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in (tiny_corpus / "tokens").rglob("*")} == made
    assert len(again) == len(store) == 300 * 3 + 60
    assert store.parallel == 900
    rows = next(corpus.pair_batches()).to_pylist()
    texts = {tokenizer.decode(store.sentence(i), skip_special_tokens=True) for i in range(len(store))}
    assert {row["source"] for row in rows} | {row["target"] for row in rows} <= texts
    shorter = open_or_build(corpus, tokenizer, 5, tmp_path)
    assert max(np.diff(shorter.offsets)) == 5
    assert all(shorter.sentence(i)[-1] == tokenizer.eos_token_id for i in range(50))
