"""What filters find of real damage: precision and recall on NTREX pairs that were damaged in known proportion.

    python benchmarks/damage.py [--model MODEL] --data ROOT --out FOLDER

A fifth of the pairs is damaged, each in one of five ways: the translation of another sentence (shuffled), the second
half missing (truncated), a translation into another language, the source copied, a digit changed. The rules are those
of `mlcl corpus build`; `learned lengths` (clean.length_deviations) and `agreement` (the margin score of `mlcl corpus
filter`) learn what they need and choose the threshold with the best F1 on documents 1-73, damaged as well. Precision
and recall are those on documents 74-92; recall also by kind of damage. Without a model, `agreement` is left out.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlcl.core.files import write_json
from mlcl.corpus import agreement, lengths
from mlcl.corpus.clean import CleanSettings, filter_versions, versions, width
from mlcl.formats import ntrex
from mlcl.model.encoder import Encoder

KINDS = ("shuffled", "truncated", "other language", "copied", "digit changed")
SHARE = 0.2
RULES = {
    "length ratio": CleanSettings(max_length_ratio=1.8, min_script_share=0.0),
    "script, identical sides": CleanSettings(max_length_ratio=1e9),
    "language id": CleanSettings(language_id="py3langid", max_length_ratio=1e9, min_script_share=0.0),
    "names": CleanSettings(min_shared_names=0.2, max_length_ratio=1e9, min_script_share=0.0),
    "numbers": CleanSettings(same_numbers=True, max_length_ratio=1e9, min_script_share=0.0),
    "all rules": CleanSettings(language_id="py3langid", same_numbers=True, min_shared_names=0.2, max_length_ratio=1.8),
}


@dataclass
class Pair:
    """An English sentence and what stands for its translation; `damage` is empty for a good pair."""

    language: str
    source: str
    target: str
    damage: str = ""


def pairs(root: Path, documents: str, languages: Sequence[str], seed: int) -> list[Pair]:
    """Pairs of all languages, a share of them damaged."""
    chance = random.Random(seed)
    loaded, _ = ntrex.load(root / "ntrex", documents=documents, languages=["en", *languages])
    texts = {version.tag: version.texts for version in loaded}
    made = []
    for language in languages:
        rows = [n for n, (a, b) in enumerate(zip(texts["en"], texts[language], strict=True)) if a and b]
        for row in rows:
            pair = Pair(language, str(texts["en"][row]), str(texts[language][row]))
            if chance.random() < SHARE:
                other_row = chance.choice([n for n in rows if n != row])
                other_language = chance.choice([tag for tag in languages if tag != language])
                damaged(pair, chance.choice(KINDS), str(texts[language][other_row]), str(texts[other_language][row]))
            made.append(pair)
    return made


def damaged(pair: Pair, kind: str, other: str, foreign: str) -> None:
    """Damage a pair in place; one without a digit cannot have a digit changed and stays good."""
    digits = list(re.finditer(r"[0-9]", pair.target))
    if kind == "digit changed" and not digits:
        return
    pair.damage = kind
    if kind == "shuffled":
        pair.target = other
    elif kind == "truncated":
        pair.target = pair.target[: len(pair.target) // 2]
    elif kind == "other language":
        pair.target = foreign
    elif kind == "copied":
        pair.target = pair.source
    else:
        place = digits[0].start()
        pair.target = pair.target[:place] + str((int(pair.target[place]) + 3) % 10) + pair.target[place + 1 :]


def by_rules(found: Sequence[Pair], settings: CleanSettings) -> np.ndarray:
    """(N,) whether the filters drop a pair."""
    dropped = []
    for pair in found:
        kept, _ = filter_versions(versions([("en", pair.source), (pair.language, pair.target)], settings), settings)
        dropped.append(not kept)
    return np.array(dropped)


def margins(found: Sequence[Pair], encoder: Encoder) -> np.ndarray:
    """(N,) margin scores, the pairs of a language among themselves."""
    scores = np.empty(len(found))
    for language in dict.fromkeys(pair.language for pair in found):
        rows = [n for n, pair in enumerate(found) if pair.language == language]
        scores[rows] = agreement.margins(
            encoder.encode, [found[n].source for n in rows], [found[n].target for n in rows], 4
        )
    return scores


def deviations(train: Sequence[Pair], found: Sequence[Pair]) -> np.ndarray:
    """(N,) how far the lengths of pairs are from what `train` shows of their language, in standard deviations."""
    far = np.zeros(len(found))
    for language in dict.fromkeys(pair.language for pair in found):
        sides = [
            np.array([[width(pair.source), width(pair.target)] for pair in some if pair.language == language], float)
            for some in (train, found)
        ]
        known = lengths.learn(sides[0][:, 0], np.maximum(1.0, sides[0][:, 1]))
        rows = [n for n, pair in enumerate(found) if pair.language == language]
        if known is not None:
            far[rows] = np.abs(known.deviations(sides[1][:, 0], np.maximum(1.0, sides[1][:, 1])))
    return far


def best_threshold(scores: np.ndarray, bad: np.ndarray) -> float:
    """The score below which dropping gives the best F1."""
    candidates = np.quantile(scores, np.linspace(0.005, 0.6, 200))
    return float(max(candidates, key=lambda threshold: quality(scores < threshold, bad)[2]))


def quality(dropped: np.ndarray, bad: np.ndarray) -> tuple[float, float, float]:
    """Precision, recall and F1 in per cent."""
    hits = float((dropped & bad).sum())
    precision, recall = 100 * hits / max(1, dropped.sum()), 100 * hits / max(1, bad.sum())
    return precision, recall, 2 * precision * recall / max(1e-9, precision + recall)


def main() -> None:
    """Measure every filter and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="encoder of the filter `agreement`")
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--languages", default="de,fr,es,ru,zh-Hans,ja,ar,hi,sw,tr,fi,th")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    languages = options.languages.split(",")
    train, dev = (pairs(options.data, documents, languages, seed) for seed, documents in enumerate(("1-73", "74-92")))
    bad_train = np.array([bool(pair.damage) for pair in train])
    most = -best_threshold(-deviations(train, train), bad_train)
    far = deviations(train, dev)
    filters: dict[str, Callable[[], np.ndarray]] = {
        name: (lambda settings=settings: by_rules(dev, settings)) for name, settings in RULES.items()
    }
    filters[f"learned lengths (more than {most:.1f} deviations)"] = lambda: far > most
    for fixed in (4.0, 6.0):
        filters[f"learned lengths ({fixed:g})"] = lambda fixed=fixed: far > fixed
    if options.model is not None:
        encoder = Encoder.from_pretrained(options.model)
        threshold = best_threshold(margins(train, encoder), bad_train)
        scores = margins(dev, encoder)
        filters[f"agreement (below {threshold:.3f})"] = lambda: scores < threshold
        filters["all rules and agreement"] = lambda: by_rules(dev, RULES["all rules"]) | (scores < threshold)
    bad = np.array([bool(pair.damage) for pair in dev])
    kinds = np.array([pair.damage for pair in dev])
    lines = [f"{len(dev):,} pairs in {len(languages)} languages, {bad.sum():,} of them damaged.\n"]
    lines.append(f"| filter | precision | recall | F1 | {' | '.join(KINDS)} |")
    lines.append("|---" * (len(KINDS) + 4) + "|")
    results = {}
    for name, judge in filters.items():
        dropped = judge()
        found = [100 * dropped[kinds == kind].mean() for kind in KINDS]
        results[name] = dict(zip(("precision", "recall", "f1", *KINDS), (*quality(dropped, bad), *found), strict=True))
        lines.append(f"| {name} | {' | '.join(f'{value:.1f}' for value in results[name].values())} |")
        print(lines[-1], flush=True)
    (options.out / "damage.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(options.out / "damage.json", {k: {m: float(v) for m, v in r.items()} for k, r in results.items()})
    print(f"table: {options.out / 'damage.md'}")


if __name__ == "__main__":
    main()
