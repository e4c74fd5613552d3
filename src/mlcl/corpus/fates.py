"""What becomes of each version between the passes of a build: it stays, or it is dropped under one reason.

In: one code for each version of a spool, in reading order. Out: what was dropped, counted and with samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlcl.corpus.spool import Spool
from mlcl.corpus.tally import Tally

Fates = NDArray[np.uint8]
"""(N,), a code a version."""

STAYS, DUPLICATE, NEAR_DUPLICATE, NEAR_EVALUATION, BESIDE_EVALUATION, BOILERPLATE, LENGTH, ALONE = range(8)

REASONS = {
    DUPLICATE: "duplicate",
    NEAR_DUPLICATE: "near-duplicate",  # it would stay if only equal texts were duplicates
    NEAR_EVALUATION: "near evaluation text",
    BESIDE_EVALUATION: "near evaluation text",  # another version of such a record: it is no example
    BOILERPLATE: "boilerplate",
    LENGTH: "length ratio",
    ALONE: "no translation left",
}


def count_drops(spool: Spool, fates: Fates, tally: Tally) -> None:
    """Count what does not stay; a text is read only where a sample of its reason and origin is still missing."""
    for number, (start, end) in enumerate(zip(spool.first_version[:-1], spool.first_version[1:], strict=True)):
        here = fates[start:end]
        if not here.any():
            continue
        encoded = spool.unit(number, ["origin"])["origin"].combine_chunks().dictionary_encode()
        names = encoded.dictionary.to_pylist()
        codes = here.astype(np.int64) * len(names) + encoded.indices.to_numpy()
        wanted: dict[int, tuple[str, str]] = {}  # version -> reason, origin of a sample
        for code, texts in zip(*np.unique(codes[here != STAYS], return_counts=True), strict=True):
            fate, name = divmod(int(code), len(names))
            reason, origin = REASONS[fate], names[name]
            lacking = 0 if fate == BESIDE_EVALUATION else min(tally.wants(reason, origin), int(texts))
            tally.count(reason, origin, int(texts) - lacking)
            if lacking:
                wanted |= dict.fromkeys(np.flatnonzero(codes == code)[:lacking].tolist(), (reason, origin))
        if wanted:
            rows = sorted(wanted)
            texts_of = spool.unit(number, ["lang", "text"]).take(rows)
            for row, lang, text in zip(rows, *(texts_of[name].to_pylist() for name in ("lang", "text")), strict=True):
                tally.add(*wanted[row], lang, text)
