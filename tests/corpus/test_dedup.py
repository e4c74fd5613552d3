from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcl.corpus.dedup import connected_components, group_ids, keep_first

# Records as lists of (language, key) with few different values, so that they often share some.
RECORDS = st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8)), min_size=1, max_size=4), max_size=12)


def arrays(records: list[list[tuple[int, int]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    flat = [(number, lang, key) for number, record in enumerate(records) for lang, key in record]
    return (
        tuple(np.array(column, dtype=np.int64) for column in zip(*flat, strict=True))
        if flat
        else (np.zeros(0, int),) * 3
    )


def naive_components(nodes: int, edges: list[tuple[int, int]]) -> list[int]:
    labels = list(range(nodes))
    changed = True
    while changed:
        changed = False
        for a, b in edges:
            low = min(labels[a], labels[b])
            changed |= labels[a] != low or labels[b] != low
            labels[a] = labels[b] = low
    return labels


@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_components_equal_the_naive_ones(graph: tuple[int, list[tuple[int, int]]]) -> None:
    nodes, edges = graph
    a, b = (np.array([edge[side] for edge in edges], dtype=np.int64) for side in (0, 1))
    assert connected_components(nodes, a, b).tolist() == naive_components(nodes, edges)


def test_components_of_a_long_chain() -> None:
    chain = np.random.default_rng(0).permutation(10_000)
    assert connected_components(10_000, chain[:-1], chain[1:]).tolist() == [0] * 10_000


def naive_groups(records: list[list[tuple[int, int]]]) -> list[int]:
    """The definition in the docstring of `group_ids`, word by word."""
    keys = [{key for _, key in record} for record in records]
    first, having = defaultdict(list), defaultdict(list)
    for number, record in enumerate(records):
        first[record[0][1]].append(number)
    for number in sorted(range(len(records)), key=lambda n: (-len(keys[n]), n)):
        for key in keys[number]:
            having[key].append(number)
    edges = [pair for numbers in first.values() for pair in zip(numbers, numbers[1:], strict=False)]
    shared = defaultdict(int)
    for numbers in having.values():
        for pair in zip(numbers, numbers[1:], strict=False):
            shared[pair] += 1
    edges += [(a, b) for (a, b), n in shared.items() if 2 * n >= min(len(keys[a]), len(keys[b]))]
    roots = naive_components(len(records), edges)
    numbering = {root: place for place, root in enumerate(dict.fromkeys(roots))}
    return [numbering[root] for root, record in zip(roots, records, strict=True) for _ in record]


@settings(max_examples=300)
@given(RECORDS)
def test_groups_equal_the_naive_ones(records: list[list[tuple[int, int]]]) -> None:
    numbers, _, keys = arrays(records)
    assert group_ids(numbers, keys).tolist() == naive_groups(records)


def groups_of(*records: list[int]) -> list[int]:
    numbers, _, keys = arrays([[(0, key) for key in record] for record in records])
    ids = group_ids(numbers, keys)
    return [int(ids[np.flatnonzero(numbers == number)[0]]) for number in range(len(records))]


def test_pairs_that_share_a_side_are_one_group_also_through_others() -> None:
    assert groups_of([1, 2], [3, 2], [3, 4], [5, 6]) == [0, 0, 0, 1]


def test_equal_single_texts_and_translations_are_one_group() -> None:
    assert groups_of([1, 2], [2], [7], [7]) == [0, 0, 1, 1]


def test_one_word_for_two_messages_in_one_of_many_languages_is_no_link() -> None:
    assert groups_of([1, 2, 3, 4, 5], [11, 12, 3, 14, 15]) == [0, 1]
    assert groups_of([1, 2, 3, 4, 5], [1, 12, 13, 14, 15]) == [0, 0]  # the same source text
    assert groups_of([1, 2, 3, 4, 5], [11, 2, 3, 4, 15]) == [0, 0]  # the same in most languages


def naive_keep(records: list[list[tuple[int, int]]]) -> list[bool]:
    """Plain-Python deduplication: pairs first, then single texts that no pair has."""
    seen_pairs: set[frozenset] = set()
    in_pairs: set[tuple[int, int]] = set()
    masks = [[False] * len(record) for record in records]
    for record, mask in zip(records, masks, strict=True):
        for place, version in enumerate(record[1:], start=1):
            pair = frozenset([record[0], version])
            if pair not in seen_pairs:
                seen_pairs.add(pair)
                mask[0] = mask[place] = True
                in_pairs |= pair
    seen: set[tuple[int, int]] = set()
    for record, mask in zip(records, masks, strict=True):
        if len(record) == 1 and record[0] not in seen:
            seen.add(record[0])
            mask[0] = record[0] not in in_pairs
    return [kept for mask in masks for kept in mask]


@settings(max_examples=300)
@given(RECORDS)
def test_deduplication_equals_the_naive_one(records: list[list[tuple[int, int]]]) -> None:
    numbers, languages, keys = arrays(records)
    assert keep_first(numbers, languages, keys).tolist() == naive_keep(records)
