"""Bitext mining: one pass for both directions, and FAISS cells, beside LASER's procedure of two flat FAISS searches.

All peers get the same unit vectors and return the same thing: pairs by margin ratio (k = 4, retrieval `max`: the best
pairs of both directions, each sentence once; Artetxe & Schwenk 2019). LASER's `mine_bitexts` on a CPU is two searches
in `IndexFlatIP`; its margins and its choice of pairs are loops over Python lists, here our own arrays for all peers, so
that the searches are what differs.

The vectors are made up: clusters of 50 sentences in a space whose directions matter less and less, as with encoders,
and half of the targets are translations, their source with noise added (cosine about 0.87). The checks:

    translations found, %   of the planted ones, those among the pairs above the threshold of the best F1
    best F1                 of planted pairs, over thresholds; what is planted is the truth
"""

from __future__ import annotations

from typing import Any

import numpy as np
from harness import Case, Job

TITLE = "Bitext mining"
_K = 4
_PEERS = ("mlcl exact", "mlcl cells", "LASER's procedure, faiss flat")


def cases(quick: bool) -> list[Case]:
    """A size at which every peer is done in seconds; `mining_large.py` has larger ones."""
    settings = {"sentences": 600, "dimension": 32} if quick else {"sentences": 20_000, "dimension": 256}
    return [Case("{0:,} x {0:,}".format(settings["sentences"]), settings, _PEERS, "sentences")]


def work(settings: dict[str, Any]) -> dict[str, Any]:
    """Every similarity once."""
    sentences = settings["sentences"]
    return {"gemms": [[sentences, sentences, settings["dimension"], "float32", 1]], "bytes": 0}


def job(peer: str, settings: dict[str, Any]) -> Job:
    """Vectors in, pairs out; ours keeps freed memory, as the command line does."""
    if peer.startswith("mlcl"):
        from mlcl.core.environment import tune_environment

        tune_environment()
    x, y = vectors(settings["sentences"], settings["dimension"])

    def run() -> None:
        pairs(peer, x, y)

    def check() -> dict[str, float]:
        source, target, score = pairs(peer, x, y)
        planted = len(x) // 2
        right = (source == target) & (source < planted)
        found = np.cumsum(right)
        f1 = 2 * found / (np.arange(1, len(found) + 1) + planted)
        best = int(f1.argmax())
        return {
            "translations found, %": 100 * found[best] / planted,
            "best F1": 100 * f1[best],
            "score there": score[best],
        }

    return Job(run=run, units=settings["sentences"], check=check)


def vectors(count: int, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (count, dimension) of both sides; the first half of each are translations of one another."""
    chance = np.random.default_rng(0)
    spectrum = (np.arange(1, dimension + 1) ** -0.5).astype(np.float32)
    centres = chance.standard_normal((max(2, count // 50), dimension), dtype=np.float32) * spectrum

    def sentences(n: int) -> np.ndarray:
        rows = centres[chance.integers(0, len(centres), n)]
        rows += 0.8 * spectrum * chance.standard_normal((n, dimension), dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    x, y = sentences(count), sentences(count)
    half = count // 2
    y[:half] = x[:half] + 0.56 / dimension**0.5 * chance.standard_normal((half, dimension), dtype=np.float32)
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    return x, y


def pairs(peer: str, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs as `mlcl.retrieval.mining.pairs_of` returns them."""
    from mlcl.retrieval.ivf import nearest_both_ivf
    from mlcl.retrieval.knn import nearest_both
    from mlcl.retrieval.mining import pairs_of

    if peer == "mlcl exact":
        return pairs_of(*nearest_both(x, y, _K))
    if peer == "mlcl cells":
        return pairs_of(*nearest_both_ivf(x, y, _K))
    return pairs_of(_flat(x, y), _flat(y, x))


def _flat(queries: np.ndarray, keys: np.ndarray) -> Any:
    import faiss

    from mlcl.retrieval.neighbours import Neighbours

    index = faiss.IndexFlatIP(keys.shape[1])
    index.add(keys)
    return Neighbours(*index.search(queries, _K))
