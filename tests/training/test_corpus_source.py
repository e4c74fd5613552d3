"""Batches from a corpus with hard negatives and made pairs: what they hold, and that they are functions of a number."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from mlcl.training.augmentation import AugmentationSettings, augmentation_for
from mlcl.training.negative_store import NegativeStore
from mlcl.training.sampling import Sampler
from mlcl.training.sources import BatchSettings, CorpusSource


@pytest.fixture(scope="module")
def sampler(store):
    return Sampler(store, dev_groups=20)


def sentences(batch):
    """Token ids of all sentences in the batch's order."""
    parts = dict(
        zip(batch.online.order.tolist(), batch.online.input_ids.split(batch.online.lengths.tolist()), strict=True)
    )
    return [parts[row].tolist() for row in range(len(parts))]


def test_hard_negatives_of_the_pairs_come_with_their_groups(sampler):
    groups = np.unique(sampler.store.group[: sampler.store.parallel])
    tokens = np.concatenate([[0, 5, 5 + number % 40, 2] for number in range(len(groups))])
    negatives = NegativeStore(tokens, np.arange(len(groups) + 1) * 4, groups + 1000, groups, np.arange(len(groups)))
    source = CorpusSource(sampler, BatchSettings(pairs=8, negatives_per_pair=1), negatives=negatives)
    assert "negatives" in source.provides
    batch = source[3]
    wanted = np.unique(batch.ids.numpy())
    assert batch.hard_negatives == len(wanted)
    assert batch.negative_ids.tolist() == (wanted + 1000).tolist()
    assert sentences(batch)[16:] == [[0, 5, 5 + int(np.searchsorted(groups, group)) % 40, 2] for group in wanted]
    without = CorpusSource(sampler, BatchSettings(pairs=8), negatives=negatives)
    assert without[3].hard_negatives == 0
    assert "negatives" not in without.provides
    assert sentences(without[3]) == sentences(batch)[:16]


@pytest.mark.parametrize(
    "settings", [{"simcse": 0.25}, {"code_switch": 0.25}, {"simcse": 0.1, "code_switch_pairs": 0.5}]
)
def test_made_pairs_take_the_place_of_drawn_ones(sampler, tokenizer, settings):
    settings = AugmentationSettings(**settings)
    augmentation = augmentation_for(
        settings,
        sampler.store,
        tokenizer,
        held_out=sampler.dev_ids,
        max_length=60,
        seed=0,
        step=lambda _: nullcontext(),
    )
    source = CorpusSource(sampler, BatchSettings(pairs=20), augmentation=augmentation)
    batch, again, other = source[4], source[4], source[5]
    assert batch.pairs == len(batch.ids) == len(batch.languages) == 20
    assert sentences(batch) == sentences(again) != sentences(other)
    made = round(20 * (settings.simcse + settings.code_switch))
    assert (batch.ids == -1).sum() == made  # single sentences of this corpus have no group
    assert (batch.languages[20 - made :] == sampler.store.languages.index("en")).all()
    drawn = CorpusSource(sampler, BatchSettings(pairs=20 - made))[4]
    assert torch.equal(batch.languages[: 20 - made], drawn.languages)
    positives = sentences(batch)[20 : 40 - made]
    assert positives == sentences(drawn)[20 - made :]
    same = [a == b for a, b in zip(sentences(batch)[: 20 - made], sentences(drawn), strict=False)]
    assert all(same) == (settings.code_switch_pairs == 0)
