"""The lexical baseline: character n-gram TF-IDF, which knows no language but sees names, numbers and cognates.

In: texts. Out: sparse unit rows (N, 2^18). Needs scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlcl.core.errors import require

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NAME = "tfidf"
"""Name of the baseline where a model is asked for."""


class TfidfEncoder:
    """Character n-grams of 2 to 4 inside word boundaries, hashed, weighted by TF-IDF.

    Document frequencies come from the texts of each call, so that the baseline needs no training data: pass all texts
    that will be compared in one call.

    Raises:
        UserError: scikit-learn is not installed.
    """

    def __init__(self) -> None:
        require("sklearn", "demo")
        from sklearn.feature_extraction.text import HashingVectorizer

        self._counts = HashingVectorizer(
            analyzer="char_wb", ngram_range=(2, 4), n_features=2**18, alternate_sign=False, norm=None
        )

    def __call__(self, texts: Sequence[str]) -> csr_matrix:
        """Unit rows (N, 2^18), sparse float32."""
        import numpy as np
        from sklearn.feature_extraction.text import TfidfTransformer

        counts = self._counts.transform(list(texts)).astype(np.float32)
        return TfidfTransformer(sublinear_tf=True).fit_transform(counts).tocsr()
