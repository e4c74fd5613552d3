"""Made pairs: sentences without translation against themselves, code-switched or as they are."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

from mlcl.core.errors import UserError
from mlcl.model.config import MLCConfig
from mlcl.training.augmentation import AugmentationSettings, augmentation_for
from mlcl.training.sampling import Sampler
from mlcl.training.sources import BatchSettings, CorpusSource


def augmentation(store, tokenizer, seed=0, held_out=(), **settings):
    return augmentation_for(
        AugmentationSettings(**settings), store, tokenizer, held_out=np.array(held_out, dtype=np.int64), max_length=60,
        seed=seed, step=lambda title: nullcontext(),
    )  # fmt: skip


def test_simcse_pairs_are_sentences_without_translation_twice(store, tokenizer):
    made = augmentation(store, tokenizer, simcse=0.25).pairs(0, 40)
    assert len(made.anchors) == 10
    alone = {tuple(store.sentence(i)) for i in range(store.parallel, len(store))}
    for anchor, positive in zip(made.anchors, made.positives, strict=True):
        assert tuple(anchor) == tuple(positive)
        assert tuple(anchor) in alone
    assert (made.languages == store.languages.index("en")).all()
    assert (made.ids == -1).all()


def test_code_switched_pairs_are_a_sentence_and_itself_in_part_translated(store, tokenizer):
    made = augmentation(store, tokenizer, code_switch=0.5, switch_rate=0.3).pairs(3, 40)
    assert len(made.anchors) == 20
    alone = {tuple(store.sentence(i)) for i in range(store.parallel, len(store))}
    plain_first = 0
    for anchor, positive in zip(made.anchors, made.positives, strict=True):
        assert (tuple(anchor) in alone) != (tuple(positive) in alone)
        plain_first += tuple(anchor) in alone
    assert 2 < plain_first < 18  # the sides swap at random


@pytest.mark.parametrize("size", [1, 3, 7, 8])
def test_both_kinds_together_are_never_more_than_the_batch(store, tokenizer, size):
    made = augmentation(store, tokenizer, simcse=0.5, code_switch=0.5).pairs(0, size)
    assert len(made.anchors) <= size


def test_a_batch_of_made_pairs_alone_is_one(store, tokenizer):
    made = augmentation(store, tokenizer, simcse=0.5, code_switch=0.5)
    batch = CorpusSource(Sampler(store), BatchSettings(pairs=7), augmentation=made)[0]
    assert batch.pairs == 7


def test_pairs_are_a_function_of_seed_and_number(store, tokenizer):
    def drawn(seed, number):
        made = augmentation(store, tokenizer, seed=seed, simcse=0.1, code_switch=0.2).pairs(number, 40)
        return [ids.tolist() for ids in made.anchors]

    assert drawn(1, 5) == drawn(1, 5)
    assert drawn(1, 5) != drawn(1, 6)
    assert drawn(1, 5) != drawn(2, 5)


def test_some_anchors_are_switched_and_the_others_stay(store, tokenizer):
    sentences = [np.asarray(store.sentence(i)) for i in range(60)]
    languages = np.asarray(store.language[:60])
    switched = augmentation(store, tokenizer, code_switch_pairs=0.5).switch_some(0, sentences, languages)
    changed = sum(a.tolist() != b.tolist() for a, b in zip(sentences, switched, strict=True))
    assert 15 < changed < 45
    assert augmentation(store, tokenizer, simcse=0.5).switch_some(0, sentences, languages) is sentences


def test_nothing_asked_for_is_nothing(store, tokenizer):
    assert augmentation(store, tokenizer) is None


def test_a_corpus_that_gives_no_dictionary_is_one_clear_line(store, tokenizer):
    with pytest.raises(UserError, match="no dictionary for code-switching can be induced"):
        augmentation(store, tokenizer, held_out=np.unique(store.group), code_switch=0.5)


@pytest.mark.parametrize("settings", [{"simcse": 0.5}, {"code_switch": 0.5}])
def test_sentences_that_are_all_held_out_are_one_clear_line(store, tokenizer, settings):
    from dataclasses import replace

    group = np.array(store.group)
    group[store.parallel :] = 10**6
    alone = replace(store, group=group)
    with pytest.raises(UserError, match=r"all \d+ of the corpus are held out .*\(lower sampling.dev_groups"):
        augmentation(alone, tokenizer, held_out=[10**6], **settings)
    assert augmentation(alone, tokenizer, held_out=[10**6], code_switch_pairs=0.5) is not None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"simcse": 1.5}, r"augmentation.simcse is 1.5, it must be in \[0, 1\]"),
        ({"simcse": 0.6, "code_switch": 0.6}, "above 1"),
        ({"code_switch": 0.6, "switch_rate": 0.0}, "no word would be replaced"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        AugmentationSettings(**settings)


def test_what_the_model_or_the_corpus_lacks_is_named():
    with pytest.raises(UserError, match="need sentences without translation"):
        AugmentationSettings(code_switch=0.5).check(MLCConfig(), 0)
    with pytest.raises(UserError, match="simcse needs dropout"):
        AugmentationSettings(simcse=0.5).check(MLCConfig(), 10)
    AugmentationSettings(code_switch=0.5).check(MLCConfig(), 10)
    AugmentationSettings(simcse=0.5).check(MLCConfig(hidden_dropout=0.1), 10)
    AugmentationSettings(code_switch_pairs=0.5).check(MLCConfig(), 0)
