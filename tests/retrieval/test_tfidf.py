from __future__ import annotations

import numpy as np

from mlcl.retrieval.knn import nearest
from mlcl.retrieval.tfidf import TfidfEncoder


def test_shared_names_are_found_and_no_ngram_is_no_crash():
    texts = ["Kofi Annan visited Geneva", "the cat sleeps", "Kofi Annan besuchte Genf", "die Katze schläft", ""]
    rows = TfidfEncoder()(texts)
    assert rows.shape == (5, 2**18)
    np.testing.assert_allclose(np.linalg.norm(rows.toarray(), axis=1), [1, 1, 1, 1, 0], atol=1e-5)
    assert nearest(rows[:1], rows[2:], 1).index[0, 0] == 0
