"""Evaluation sentences planted in training text, and what finds them: the table of docs/corpus.md.

    python benchmarks/contamination.py [--model MODEL] --data ROOT --out FOLDER

The evaluation set is the English side of some NTREX documents. The training text is the other documents in all
languages given, English among them, and in it are planted, each for a sixth of the evaluation sentences: equal copies,
copies with a word left out, copies with two words changed for others, and translations into each of the other
languages. `exact` is what every build does, `near` is near_evaluation of `mlcl corpus build`, `vectors` is `mlcl corpus
decontaminate`. Its threshold is the one with the best F1 where documents 60-73 are the evaluation set and 1-59 the
training text; the table has documents 74-92 among 1-73. Without a model, `vectors` is left out.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from damage import best_threshold, quality

from mlcl.core.files import write_json
from mlcl.core.text import normalise_key
from mlcl.corpus.contamination import Closest, closest, merged, sentence_vectors
from mlcl.corpus.decontaminate import NearIndex
from mlcl.formats import ntrex
from mlcl.model.encoder import Encoder

KINDS = ("copy", "word left out", "two words changed", "translation")
SIMILARITIES = (0.6, 0.7, 0.8)


def documents(root: Path, wanted: str, languages: Sequence[str]) -> dict[str, list[str]]:
    """Language -> sentences, aligned; blank where a version is missing."""
    versions, _ = ntrex.load(root / "ntrex", documents=wanted, languages=list(languages))
    return {version.tag: [text or "" for text in version.texts] for version in versions}


def planted(held_out: dict[str, list[str]], rest: dict[str, list[str]], seed: int) -> tuple[list[str], np.ndarray]:
    """Training texts, and of each what it is: a number of `KINDS`, or -1 for an innocent one."""
    chance = random.Random(seed)
    texts = [text for sentences in rest.values() for text in sentences if text]
    kinds = [-1] * len(texts)
    words = sorted({word for text in rest["en"] for word in text.split()})
    for place, sentence in enumerate(held_out["en"]):
        kind = chance.randrange(6)
        if kind < 3 and len(sentence.split()) > 4:
            texts.append(edited(sentence, kind, words, chance))
            kinds.append(kind)
        elif kind == 3:
            for tag, sentences in held_out.items():
                if tag != "en" and sentences[place]:
                    texts.append(sentences[place])
                    kinds.append(3)
    return texts, np.array(kinds)


def edited(sentence: str, kind: int, words: Sequence[str], chance: random.Random) -> str:
    """A copy of a sentence, as `KINDS` says."""
    parts = sentence.split()
    if kind == 1:
        del parts[chance.randrange(len(parts))]
    elif kind == 2:
        for place in chance.sample(range(len(parts)), 2):
            parts[place] = chance.choice(words)
    return " ".join(parts)


def by_vectors(texts: Sequence[str], held_out: Sequence[str], encoder: Encoder) -> Closest:
    """How close each text is to the evaluation sentences."""
    return closest(encoder.encode(list(texts)), sentence_vectors(merged([text] for text in held_out), encoder.encode))


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="encoder of `vectors`")
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--languages", default="de,ru,zh-Hans,hi,fi")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    languages = ["en", *options.languages.split(",")]
    held_out = documents(options.data, "74-92", languages)
    texts, kinds = planted(held_out, documents(options.data, "1-73", languages), seed=1)
    equal = {normalise_key(text) for text in held_out["en"]}
    exact = np.array([normalise_key(text) in equal for text in texts])
    found = {"exact": exact}
    for similarity in SIMILARITIES:
        found[f"exact and near ({similarity:g})"] = exact | NearIndex(held_out["en"], similarity).find(texts)
    if options.model is not None:
        encoder = Encoder.from_pretrained(options.model)
        tuning = documents(options.data, "60-73", languages)
        others, others_kinds = planted(tuning, documents(options.data, "1-59", languages), seed=0)
        tuned, scored = by_vectors(others, tuning["en"], encoder), by_vectors(texts, held_out["en"], encoder)
        for name in ("cosine", "margin"):
            threshold = -best_threshold(-getattr(tuned, name), others_kinds >= 0)
            above = getattr(scored, name) >= threshold
            found[f"exact and vectors, {name} from {threshold:.3f}"] = exact | above
        found["all three"] = found["exact and near (0.7)"] | above  # of the margin

    lines = [f"{len(texts):,} training texts, {(kinds >= 0).sum():,} of them planted.\n"]
    lines += [f"| what finds them | precision | recall | F1 | {' | '.join(KINDS)} |", "|---" * (len(KINDS) + 4) + "|"]
    results = {}
    for name, dropped in found.items():
        recalls = [100 * dropped[kinds == kind].mean() for kind in range(len(KINDS))]
        numbers = (*quality(dropped, kinds >= 0), *recalls)
        results[name] = dict(zip(("precision", "recall", "f1", *KINDS), map(float, numbers), strict=True))
        lines.append(f"| {name} | {' | '.join(f'{value:.1f}' for value in numbers)} |")
        print(lines[-1], flush=True)
    (options.out / "contamination.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(options.out / "contamination.json", results)
    print(f"table: {options.out / 'contamination.md'}")


if __name__ == "__main__":
    main()
