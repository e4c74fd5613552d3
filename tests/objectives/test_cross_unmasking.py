"""Cross-unmasking against a softmax over all logits, word by word."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlcl.objectives.cross_unmasking import bags_of_words, cross_unmasking
from mlcl.objectives.kernels import blocked_linear_cross_entropy
from tensor_sizes import Largest


@pytest.fixture(params=["one tile", "many tiles"], autouse=True)
def tiles(request, monkeypatch):
    """Every test also with tiles that do not divide the vocabulary."""
    if request.param == "many tiles":
        monkeypatch.setattr(blocked_linear_cross_entropy, "_ROWS", (3, 3))


def plain_loss(states, weight, bags, bias):
    """`bags`: a set of words for each state; the loss of each word by itself."""
    logs = torch.log_softmax(states @ weight.T + bias, dim=1)
    each = [-sum(logs[row, word] for word in bag) / len(bag) for row, bag in enumerate(bags) if bag]
    return sum(each) / len(each) if each else 0 * (logs.sum() + bias.sum())


def problem(rows, width, entries, seed, scale=1.0, most=4):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: scale * torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    sizes = torch.randint(0, min(most, entries) + 1, (rows,), generator=generator).tolist()
    bags = [set(torch.randperm(entries, generator=generator)[:size].tolist()) for size in sizes]
    return draw(rows, width), draw(entries, width), draw(entries), bags


def flat(bags):
    pairs = [(row, word) for row, bag in enumerate(bags) for word in sorted(bag)]
    sentences, words = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
    return words, sentences


def value_and_gradients(loss_of, *tensors):
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    loss = loss_of(*leaves)
    loss.backward()
    return [loss.detach(), *(leaf.grad for leaf in leaves)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(1, 6),
    width=st.integers(1, 5),
    entries=st.integers(1, 11),
    scale=st.sampled_from([0.1, 1.0, 20.0]),  # 20: logits of thousands
    with_bias=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_value_and_gradients_equal_those_of_all_logits(rows, width, entries, scale, with_bias, seed):
    states, weight, bias, bags = problem(rows, width, entries, seed, scale)
    tensors = (states, weight, bias) if with_bias else (states, weight)
    ours = value_and_gradients(lambda h, w, *b: cross_unmasking(h, w, *flat(bags), *b), *tensors)
    plain = value_and_gradients(lambda h, w, *b: plain_loss(h, w, bags, *(b or (torch.zeros(entries),))), *tensors)
    for fast, slow in zip(ours, plain, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-8, atol=1e-8 * max(1.0, scale))


@given(seed=st.integers(0, 2**20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_the_order_of_pairs_and_of_words_does_not_matter(seed):
    states, weight, bias, bags = problem(6, 4, 9, seed)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed)).tolist()
    expected = cross_unmasking(states, weight, *flat(bags), bias)
    moved = cross_unmasking(states[order], weight, *flat([bags[row] for row in order]), bias)
    words, sentences = flat(bags)
    back = torch.arange(len(words) - 1, -1, -1)
    back = back[torch.argsort(sentences[back], stable=True)]  # the words of each state, last ones first
    turned = cross_unmasking(states, weight, words[back], sentences[back], bias)
    torch.testing.assert_close(moved, expected)
    torch.testing.assert_close(turned, expected)


@pytest.mark.parametrize("entries", [4, 30], ids=["as many words as entries", "few words"])
def test_gradcheck(entries):
    states, weight, bias, _ = problem(3, 4, entries, 1)
    words, sentences = flat([{0, 1, 3}, {2}, {1, 3}])
    leaves = [tensor.requires_grad_() for tensor in (states, weight, bias)]
    assert torch.autograd.gradcheck(lambda h, w, b: cross_unmasking(h, w, words, sentences, b), leaves)


def test_a_bag_of_one_word_is_a_masked_token():
    states, weight, bias, _ = problem(4, 3, 8, 2)
    labels = torch.tensor([3, 0, 7, 3])
    ours = cross_unmasking(states, weight, labels, torch.arange(4), bias)
    torch.testing.assert_close(ours, torch.nn.functional.cross_entropy(states @ weight.T + bias, labels))


def test_golden_numbers():
    words, sentences = flat([{0, 1}, set(), {2}])
    blind = cross_unmasking(torch.zeros(3, 2), torch.randn(5, 2), words, sentences)
    torch.testing.assert_close(blind, torch.tensor(math.log(5)))
    knows = cross_unmasking(torch.tensor([[40.0]]), torch.tensor([[1.0], [1.0], [0.0]]), *flat([{0, 1}]))
    torch.testing.assert_close(knows, torch.tensor(math.log(2)))  # no lower: it says which words, each as likely


def test_words_of_a_sentence_count_once_and_special_ones_not_at_all():
    tokens = torch.tensor([0, 7, 9, 7, 2, 0, 5, 2, 0, 2])
    sentences = torch.tensor([1, 1, 1, 1, 1, 0, 0, 0, 2, 2])
    words, of = bags_of_words(tokens, sentences, torch.tensor([0, 2]))
    assert words.tolist() == [5, 7, 9]
    assert of.tolist() == [0, 1, 1]
    nothing = bags_of_words(tokens[:1], sentences[:1], torch.tensor([0]))
    assert [part.tolist() for part in nothing] == [[], []]


@given(repeats=st.lists(st.integers(1, 4), min_size=5, max_size=5), seed=st.integers(0, 2**20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_repeated_and_reordered_tokens_make_the_same_bags(repeats, seed):
    tokens, sentences = torch.tensor([5, 8, 5, 6, 9]), torch.tensor([0, 0, 1, 1, 1])
    times = torch.tensor(repeats)
    order = torch.randperm(int(times.sum()), generator=torch.Generator().manual_seed(seed))
    many = (tokens.repeat_interleave(times)[order], sentences.repeat_interleave(times)[order])
    special = torch.tensor([0])
    for found, expected in zip(bags_of_words(*many, special), bags_of_words(tokens, sentences, special), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("rows", [0, 3])
def test_without_a_word_it_is_a_zero_with_gradients(rows):
    tensors = [tensor[:rows] if place == 0 else tensor for place, tensor in enumerate(problem(3, 4, 5, 0)[:3])]
    nothing = torch.empty(0, dtype=torch.long)
    loss, *gradients = value_and_gradients(lambda h, w, b: cross_unmasking(h, w, nothing, nothing, b), *tensors)
    assert loss == 0
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


def test_bfloat16_products_are_close_and_sums_are_exact():
    states, weight, bias, bags = problem(12, 32, 50, 3)
    exact = value_and_gradients(lambda h, w, b: plain_loss(h, w, bags, b), states, weight, bias)
    single = [tensor.float() for tensor in (states, weight, bias)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = value_and_gradients(lambda h, w, b: cross_unmasking(h, w, *flat(bags), b), *single)
    assert all(tensor.dtype == torch.float32 for tensor in ours)
    for found, reference in zip(ours, exact, strict=True):
        assert float((found.double() - reference).norm() / reference.norm()) < 0.02


def test_neither_logits_nor_a_row_for_each_word_are_made(monkeypatch):
    monkeypatch.undo()  # tiles of the real size

    states, weight, bias, bags = problem(600, 8, 5000, 0, most=90)
    leaves = [tensor.requires_grad_() for tensor in (states, weight, bias)]
    words, sentences = flat(bags)
    assert len(words) > len(weight)  # the gradient of the words is then dense
    with Largest() as largest:
        cross_unmasking(*leaves[:2], words, sentences, leaves[2]).backward()
    assert largest.elements <= 2**19 < len(words) * 32 < 600 * 5000


def test_mistakes_are_refused():
    words = torch.tensor([0, 4])
    with pytest.raises(ValueError, match=r"states \(2, 3\), weight \(5, 2\)"):
        cross_unmasking(torch.zeros(2, 3), torch.zeros(5, 2), words, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"sentences \(1,\) must be"):
        cross_unmasking(torch.zeros(2, 3), torch.zeros(5, 3), words, torch.tensor([0]))
    with pytest.raises(ValueError, match="words reach from 0 to 4, the vocabulary has 4"):
        cross_unmasking(torch.zeros(2, 3), torch.zeros(4, 3), words, torch.tensor([0, 1]))
