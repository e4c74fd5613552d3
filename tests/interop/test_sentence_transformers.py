"""Evaluators of sentence-transformers accept our folder (through their library) and our `Encoder` as it is."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import evaluation

from mlcl.core.errors import UserError
from mlcl.interop.sentence_transformers import EvaluatorModel
from mlcl.model.encoder import Encoder

TEXTS = ["The page was deleted.", "Die Seite wurde gelöscht.", "Enter your password", "ページを削除しました。"]
OTHERS = ["Seite", "The page was", "password Enter", "ページ"]
EVALUATORS = {
    "translation": lambda: evaluation.TranslationEvaluator(TEXTS, OTHERS, show_progress_bar=False, write_csv=False),
    "similarity": lambda: evaluation.EmbeddingSimilarityEvaluator(
        TEXTS, OTHERS, scores=[0.1, 0.4, 0.8, 0.9], write_csv=False
    ),
    "binary": lambda: evaluation.BinaryClassificationEvaluator(TEXTS, OTHERS, labels=[0, 1, 1, 0], write_csv=False),
    "retrieval": lambda: evaluation.InformationRetrievalEvaluator(
        dict(enumerate(map(str, OTHERS))), dict(enumerate(TEXTS)), {n: {n} for n in range(4)}, write_csv=False,
        mrr_at_k=[2], ndcg_at_k=[2], accuracy_at_k=[1], precision_recall_at_k=[1], map_at_k=[2],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EVALUATORS)
def test_evaluators_give_the_folder_and_our_encoder_the_same_scores(tiny_model, name):
    theirs = EVALUATORS[name]()(SentenceTransformer(str(tiny_model), device="cpu"))
    ours = EVALUATORS[name]()(EvaluatorModel(Encoder.from_pretrained(tiny_model, "cpu")))
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert all(np.isfinite(value) for value in theirs.values())
    assert any(value > 0 for value in theirs.values())


def test_the_translation_evaluator_counts_what_our_encoder_finds(tiny_model):
    encoder = Encoder.from_pretrained(tiny_model, "cpu")
    scores = EVALUATORS["translation"]()(EvaluatorModel(encoder))
    cosines = encoder.similarity(TEXTS, OTHERS)
    right = np.arange(4)
    assert scores["src2trg_accuracy"] == pytest.approx(np.mean(cosines.argmax(axis=1) == right))
    assert scores["trg2src_accuracy"] == pytest.approx(np.mean(cosines.argmax(axis=0) == right))


def test_prompts_and_forms_of_output(tiny_model):
    encoder = Encoder.from_pretrained(tiny_model, "cpu")
    encoder.prompts = {"query": "Enter ", "passage": "page "}
    model = EvaluatorModel(encoder)
    np.testing.assert_array_equal(model.encode_query(TEXTS), encoder.encode(TEXTS, prompt="query", normalize=False))
    np.testing.assert_array_equal(
        model.encode_document(TEXTS, normalize_embeddings=True), encoder.encode(TEXTS, prompt="passage")
    )
    assert model.encode(TEXTS[0]).shape == (32,)
    assert model.encode(TEXTS, convert_to_tensor=True, truncate_dim=8).shape == (4, 8)
    assert [row.shape for row in model.encode(TEXTS, convert_to_numpy=False)] == [(32,)] * 4
    with pytest.raises(UserError, match="'int8'"):
        model.encode(TEXTS, precision="int8")
