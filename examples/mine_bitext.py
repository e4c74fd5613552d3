"""Find the translation pairs that hide in two monolingual collections.

    python examples/mine_bitext.py --source de.txt --target en.txt --model mlcl-quickstart/training/model

One text a line; without files, two small collections are mined. A pair's score is its margin (Artetxe & Schwenk 2019):
its cosine over the mean cosine of both sides to their neighbours, so that texts which are close to everything do not
win. For large files, resumable runs and a threshold learned from known pairs there is `mlcl mine`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import mlcl

GERMAN = [
    "Die Seite wurde gelöscht.",
    "Der Benutzer existiert nicht.",
    "Heute regnet es in Hamburg.",
    "Bitte geben Sie Ihr Passwort ein.",
    "Die Datei ist zu groß.",
]
ENGLISH = [
    "Please enter your password.",
    "The file is too large.",
    "Bread is sold out.",
    "The page was deleted.",
    "This user does not exist.",
    "Choose a language.",
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print pairs above the threshold, the best first, as score, source and target by tabs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="text file in one language")
    parser.add_argument("--target", type=Path, help="text file in another")
    parser.add_argument("--model", default="mlcl-quickstart/training/model")
    parser.add_argument("--threshold", type=float, default=1.0, help="least margin score")
    options = parser.parse_args(arguments)
    source = GERMAN if options.source is None else lines(options.source)
    target = ENGLISH if options.target is None else lines(options.target)

    encoder = mlcl.Encoder.from_pretrained(options.model)
    found = mlcl.mine(encoder.encode(source), encoder.encode(target), k=4)
    for left, right, score in zip(*found, strict=True):
        if score >= options.threshold:
            print(f"{score:.3f}\t{source[left]}\t{target[right]}")


def lines(path: Path) -> list[str]:
    r"""The texts of a file; lines end at `\n` only."""
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


if __name__ == "__main__":
    main()
