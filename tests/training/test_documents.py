"""Documents of groups: read from the pairs, found for a batch, put in the place of groups where they mask."""

from __future__ import annotations

import numpy as np
import pytest

from mlcl.core.errors import UserError
from mlcl.corpus.store import Corpus, CorpusWriter
from mlcl.training.arguments import MLCTrainingArguments
from mlcl.training.documents import Documents
from mlcl.training.sampling import Sampler
from mlcl.training.sources import BatchSettings, CorpusSource
from mlcl.training.token_store import open_or_build


def corpus_with(folder, names):
    folder.mkdir(exist_ok=True)
    writer = CorpusWriter(folder)
    writer.write_pairs(
        [
            {"source_lang": "en", "target_lang": "de", "source": f"the page {n}", "target": f"die Seite {n}",
             "group": 10 + n, "document": name, "origin": "abab"[n % 4]}
            for n, name in enumerate(names)
        ]
    )  # fmt: skip
    writer.close()
    return Corpus.open(folder)


def test_documents_are_of_one_origin_and_mean_the_same_everywhere(tmp_path):
    documents = Documents.of(corpus_with(tmp_path, ["x", "x", "x", "", "y"]))
    found = documents.of_groups(np.array([10, 11, 12, 13, 14, 99, -1, 0]))
    assert found[0] == found[2] > 2**62  # origin a; 11 is of origin b
    assert len(set(found[:3].tolist()) | {found[4]}) == 3
    assert (found[[3, 5, 6, 7]] == -1).all()
    again = Documents.of(corpus_with(tmp_path / "other", ["", "", "x"]))
    assert again.of_groups(np.array([12]))[0] == found[0]


def test_a_corpus_without_documents_has_none(tmp_path):
    assert Documents.of(corpus_with(tmp_path, ["", ""])) is None


def test_masked_batches_have_documents_in_the_place_of_groups(tmp_path, tokenizer):
    corpus = corpus_with(tmp_path, ["x", "", "x", "", "y"])
    store = open_or_build(corpus, tokenizer, 60, tmp_path)
    documents = Documents.of(corpus)
    plain, masked = (
        CorpusSource(Sampler(store), BatchSettings(pairs=12, mask_documents=mask), documents=documents)[0]
        for mask in (False, True)
    )
    expected = documents.of_groups(plain.ids.numpy())
    assert plain.columns["documents"].tolist() == expected.tolist()
    assert masked.ids.tolist() == np.where(expected >= 0, expected, plain.ids.numpy()).tolist()
    assert len(set(masked.ids.tolist())) < len(set(plain.ids.tolist()))


def test_the_mask_and_the_term_exclude_each_other(tmp_path):
    with pytest.raises(UserError, match="mask_documents leaves the objective context no sentence to find"):
        MLCTrainingArguments(str(tmp_path), mask_documents=True, objectives={"context": 0.1})
