"""What a trained model and its corpus say about a run: languages, the shape of the space, copies among the pairs.

In: a model folder, a `Run` and its corpus. Out: `Measures`. The groups that the run held out are drawn again from its
seed, so nothing is measured on what it was trained on. The pairs that are looked at are drawn as its first batches are,
by language; weights of origins and stages of a curriculum are left out.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from mlcl.core.errors import UserError
from mlcl.core.progress import warn
from mlcl.corpus.store import Corpus
from mlcl.model.model import MLCModel
from mlcl.reports.analyse_run import Measures, Run
from mlcl.retrieval.geometry import alignment, effective_rank, uniformity
from mlcl.retrieval.knn import nearest
from mlcl.training.mixing import SamplingSettings
from mlcl.training.retrieval_dev import embed
from mlcl.training.sampling import Sampler
from mlcl.training.token_store import TokenStore, open_or_build

_BATCHES = 4  # batches of training that are searched for copies
_ALIKE = 0.8  # shared token bigrams over all of two sentences from which they count as near copies
_FEWEST = 4  # bigrams of a sentence under which likeness is chance


def measure(folder: Path, run: Run, corpus: Corpus, sentences: int) -> Measures:
    """Measure one model.

    Args:
        folder: Model folder or checkpoint.
        run: The run that made it.
        corpus: Its corpus.
        sentences: Most held-out sentences to encode.

    Raises:
        UserError: the folder is no model of ours, or the corpus does not fit it.
    """
    disable_progress_bar()  # transformers' own, for the files of a model
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        model: Any = MLCModel.from_pretrained(folder)
        model.to(device).eval()
        tokenizer = AutoTokenizer.from_pretrained(
            folder if (folder / "tokenizer.json").is_file() else run.path / "tokenizer"
        )
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be loaded: {str(error).partition(chr(10))[0]}", path=folder) from error
    training: dict[str, Any] = {"max_length": 128, "lm_weight": 0.0, "lm_share": 0.0, "tlm_share": 0.0, "seed": 42}
    training |= run.training
    uses_tlm = training["lm_weight"] and training["lm_share"] and training["tlm_share"]
    longest = min(training["max_length"], model.max_length, model.reach // 2 if uses_tlm else model.reach)
    store = open_or_build(corpus, tokenizer, longest, run.path)
    given = {"dev_groups": SamplingSettings().dev_groups, **(run.settings.get("sampling") or {})}
    names = ("alpha", "pivot", "pivot_share", "max_repeats", "dev_groups")
    sampler = Sampler(
        store, seed=training["seed"], with_lm=False, **{name: given[name] for name in names if name in given}
    )
    equal, near, pairs = copies(
        sampler, training.get("per_device_train_batch_size", 128), set(tokenizer.all_special_ids)
    )
    rows, groups, reference = held_out(sampler, sentences)
    sides: dict[str, Any] = {"equal_sides": equal, "near_copies": near, "sampled_pairs": pairs}
    if not len(rows):
        warn(f"{run.name}: no group was held out (sampling.dev_groups), so neither languages nor space are measured")
        return Measures(model=str(folder), **sides)
    vectors = embed(model, [store.sentence(i) for i in rows], device).cpu().numpy()
    of_group = {group: place for place, group in enumerate(groups[reference])}
    right = np.array([of_group[group] for group in groups])
    references = vectors[reference]
    others = np.flatnonzero(~np.isin(np.arange(len(rows)), reference))
    found = nearest(vectors[others], references, 1).index[:, 0] == right[others]
    language = np.asarray(store.language)[rows[others]]
    accuracy = {
        store.languages[code]: (float(found[language == code].mean()), int((language == code).sum()))
        for code in np.unique(language)
    }
    return Measures(
        model=str(folder),
        groups=len(reference),
        accuracy=accuracy,
        alignment=alignment(vectors[others], references[right[others]]),
        uniformity=uniformity(references),
        effective_rank=effective_rank(references),
        dimension=min(references.shape),
        **sides,
    )


def held_out(sampler: Sampler, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sentences of held-out groups, and one reference for each group.

    Languages take turns until `most` sentences are chosen, so that a frequent one does not crowd out the others.

    Returns:
        (N,) sentence indices, (N,) their groups, (G,) places of the references among them: of each group the sentence
        in the language that most groups have.
    """
    store, entries = sampler.store, sampler.index.entries
    entries = entries[np.isin(np.asarray(store.group)[entries], sampler.dev_ids)]
    groups, language = np.asarray(store.group)[entries], np.asarray(store.language)[entries]
    present, counts = np.unique(language, return_counts=True)
    size = dict(zip(present.tolist(), counts.tolist(), strict=True))
    first: dict[int, int] = {}
    for place in sorted(range(len(entries)), key=lambda place: (-size[language[place]], place)):
        first.setdefault(int(groups[place]), place)
    chosen = list(first.values())
    taken = set(chosen)
    waiting = {code: [p for p in np.flatnonzero(language == code).tolist() if p not in taken] for code in present}
    while len(chosen) < most and any(waiting.values()):
        for places in waiting.values():
            if places and len(chosen) < most:
                chosen.append(places.pop(0))
    return entries[chosen], groups[chosen], np.arange(len(first))


def copies(sampler: Sampler, size: int, special: set[int]) -> tuple[float, float, int]:
    """Share of pairs with two equal sides, share that meets a near copy under another group in its batch, pairs."""
    store: TokenStore = sampler.store
    equal = near = 0
    for number in range(_BATCHES):
        draw = sampler.draw(number, size)
        equal += sum(
            np.array_equal(store.sentence(a), store.sentence(b))
            for a, b in zip(draw.anchors, draw.positives, strict=True)
        )
        rows = np.concatenate([draw.anchors, draw.positives])
        near += int(_near_copies(store, rows, special).reshape(2, size).any(axis=0).sum())
    pairs = _BATCHES * size
    return equal / pairs, near / pairs, pairs


def _near_copies(store: TokenStore, rows: np.ndarray, special: set[int]) -> np.ndarray:
    """(N,) whether a sentence has a near copy in the same language and another group among the rows (N,)."""
    numbers: dict[tuple[int, int], int] = {}
    bigrams = []
    for row in rows:
        tokens = [token for token in store.sentence(row).tolist() if token not in special]
        bigrams.append([numbers.setdefault(pair, len(numbers)) for pair in dict.fromkeys(pairwise(tokens))])
    sizes = np.array([len(own) for own in bigrams])
    has = np.zeros((len(rows), len(numbers)), dtype=np.float32)
    for row, own in enumerate(bigrams):
        has[row, own] = 1.0
    shared = has @ has.T  # (N, N) bigrams in common
    alike = shared >= _ALIKE * np.maximum(sizes[:, None] + sizes[None, :] - shared, 1)
    language, group = np.asarray(store.language)[rows], np.asarray(store.group)[rows]
    other = (language[:, None] == language[None, :]) & (group[:, None] != group[None, :])
    long_enough = sizes >= _FEWEST
    return (alike & other & long_enough[:, None] & long_enough[None, :]).any(axis=1)
