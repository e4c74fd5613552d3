"""Documents matched and sentences aligned on NTREX, where the truth is known: the table of docs/corpus.md.

    python benchmarks/alignment.py --model MODEL --data ROOT --out FOLDER [--documents 74-92] [--languages de,ru,...]

Each NTREX document is damaged on both sides: a sentence is left out with probability 0.05, joined to the next with 0.1.
The alignment has to find which sentences still belong together: precision, recall and F1 of the beads that have text on
both sides, exact (both runs right) and lax (the runs overlap the true ones). For matching, the documents of the other
side are shuffled. Dev documents are 74-92; constants were tuned on 1-73. Beside it stands alignment by length alone
(Gale & Church 1993, of nltk) where `pip install nltk` was done.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from mlcl.core.files import write_json
from mlcl.core.languages import name
from mlcl.formats import ntrex
from mlcl.model.encoder import Encoder
from mlcl.retrieval.alignment import align, runs
from mlcl.retrieval.documents import match_documents

DROPPED, JOINED = 0.05, 0.1
MOST = 4
Span = tuple[int, int]


def damaged(sentences: Sequence[str], chance: random.Random) -> tuple[list[str], list[list[int]]]:
    """The sentences that are left, and which of the original ones each holds."""
    texts: list[str] = []
    holds: list[list[int]] = []
    joined = False
    for number, sentence in enumerate(sentences):
        if chance.random() < DROPPED and len(sentences) > 2:
            joined = False
            continue
        if joined:
            texts[-1] += " " + sentence
            holds[-1].append(number)
        else:
            texts.append(sentence)
            holds.append([number])
        joined = chance.random() < JOINED
    return texts, holds


def truth(source: list[list[int]], target: list[list[int]]) -> set[tuple[Span, Span]]:
    """Beads with text on both sides: runs of sentences that share originals with one another and with no others."""
    beads = []
    i = j = 0
    while i < len(source) and j < len(target):
        if not set(source[i]) & set(target[j]):
            if source[i][-1] < target[j][0]:
                i += 1
            else:
                j += 1
            continue
        first = i, j
        left, right = set(source[i]), set(target[j])
        i, j = i + 1, j + 1
        while (i < len(source) and set(source[i]) & right) or (j < len(target) and set(target[j]) & left):
            if i < len(source) and set(source[i]) & right:
                left |= set(source[i])
                i += 1
            else:
                right |= set(target[j])
                j += 1
        beads.append(((first[0], i), (first[1], j)))
    return set(beads)


def by_length(source: Sequence[str], target: Sequence[str]) -> set[tuple[Span, Span]]:
    """Beads by the lengths of the sentences, as nltk's program finds them."""
    from nltk.translate.gale_church import align_blocks

    beads: list[tuple[list[int], list[int]]] = []  # sentences of both sides; nltk gives links, of 2-1 two
    for left, right in align_blocks([len(text) for text in source], [len(text) for text in target]):
        if beads and (left in beads[-1][0] or right in beads[-1][1]):
            beads[-1][0].append(left)
            beads[-1][1].append(right)
        else:
            beads.append(([left], [right]))
    return {((min(a), max(a) + 1), (min(b), max(b) + 1)) for a, b in beads}


def overlap(bead: tuple[Span, Span], others: set[tuple[Span, Span]]) -> bool:
    """Whether a bead shares source and target sentences with one of the others."""
    return any(max(a[0], b[0]) < min(a[1], b[1]) and max(c[0], d[0]) < min(c[1], d[1])
               for (a, c), (b, d) in ((bead, other) for other in others))  # fmt: skip


def scores(found: list[set[tuple[Span, Span]]], right: list[set[tuple[Span, Span]]]) -> dict[str, float]:
    """Precision, recall and F1 (per cent) over all documents, exact and lax."""
    kinds: dict[str, Callable[[tuple[Span, Span], set[tuple[Span, Span]]], bool]] = {
        "exact": lambda bead, others: bead in others, "lax": overlap
    }  # fmt: skip
    result = {}
    for kind, same in kinds.items():
        hits = sum(same(bead, gold) for mine, gold in zip(found, right, strict=True) for bead in mine)
        recalled = sum(same(bead, mine) for mine, gold in zip(found, right, strict=True) for bead in gold)
        precision = hits / max(1, sum(map(len, found)))
        recall = recalled / max(1, sum(map(len, right)))
        result |= {f"{kind} precision": 100 * precision, f"{kind} recall": 100 * recall}
        result[f"{kind} F1"] = 200 * precision * recall / max(1e-9, precision + recall)
    return result


def main() -> None:
    """Measure every language and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--documents", default="74-92")
    parser.add_argument("--languages", default="de,fr,es,ru,zh-Hans,ja,ar,hi,sw,tr,fi,th")
    parser.add_argument("--gap", type=float, nargs="*", default=[0.45], help="costs of a gap to try")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    encoder = Encoder.from_pretrained(options.model)
    languages = options.languages.split(",")
    versions, ids = ntrex.load(options.data / "ntrex", documents=options.documents, languages=["en", *languages])
    by_tag = {version.tag: version.texts for version in versions}
    rows = []
    for language in languages:
        for gap in options.gap:
            rows.append(
                {"language": language, "gap": gap, **measure(encoder, by_tag["en"], by_tag[language], ids, gap)}
            )
            print(rows[-1], flush=True)
    columns = ["exact F1", "exact precision", "exact recall", "lax F1"]
    columns += ["by length: exact F1", "by length: lax F1"] if find_spec("nltk") else []
    columns += ["documents matched", "sentences/s"]
    lines = [f"| language | gap | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
    for row in rows:
        cells = " | ".join(f"{row[column]:.1f}" for column in columns)
        lines.append(f"| {name(row['language'])} | {row['gap']:g} | {cells} |")
    for gap in options.gap:
        cells = " | ".join(f"{np.mean([row[c] for row in rows if row['gap'] == gap]):.1f}" for c in columns)
        lines.append(f"| mean | {gap:g} | {cells} |")
    (options.out / "alignment.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(options.out / "alignment.json", rows)
    print(f"tables: {options.out / 'alignment.md'}")


def measure(
    encoder: Encoder, english: Sequence[str | None], other: Sequence[str | None], ids: Sequence[str], gap: float
) -> dict[str, float]:
    """Alignment scores and the share of documents whose partner is found."""
    chance = random.Random(0)
    sides: list[list[list[str]]] = [[], []]
    gold = []
    for document in dict.fromkeys(ids):
        rows = [row for row, name_ in enumerate(ids) if name_ == document and english[row] and other[row]]
        (source, held), (target, held_too) = (
            damaged([str(side[row]) for row in rows], chance) for side in (english, other)
        )
        sides[0].append(source)
        sides[1].append(target)
        gold.append(truth(held, held_too))
    started = time.process_time()
    found = []
    for source, target in zip(*sides, strict=True):
        vectors = [encoder.encode(runs(side, MOST)) for side in (source, target)]
        beads = align(vectors[0], vectors[1], len(source), len(target), most=MOST, gap=gap)
        found.append({(b.source, b.target) for b in beads if b.source[0] < b.source[1] and b.target[0] < b.target[1]})
    seconds = time.process_time() - started
    order = list(range(len(gold)))
    chance.shuffle(order)
    shuffled = [sides[1][number] for number in order]
    vectors = [encoder.encode([text for document in side for text in document]) for side in (sides[0], shuffled)]
    pairs = match_documents(vectors[0], vectors[1], [len(d) for d in sides[0]], [len(d) for d in shuffled])
    matched = sum(order[right] == left for left, right, _ in pairs)
    sentences = sum(len(document) for side in sides for document in side)
    ours, peer = scores(found, gold), {}
    if find_spec("nltk"):
        found = [by_length(source, target) for source, target in zip(*sides, strict=True)]
        peer = {f"by length: {name}": value for name, value in scores(found, gold).items()}
    return {
        **ours,
        **peer,
        "documents matched": 100 * matched / len(gold),
        "sentences/s": sentences / seconds,
    }


if __name__ == "__main__":
    main()
