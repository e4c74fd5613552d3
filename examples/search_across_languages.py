"""Search texts in many languages with a query in any language.

    python examples/search_across_languages.py "How do I delete a page?" --model mlcl-quickstart/training/model

For files of texts, and an index that is kept, there is `mlcl search`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import mlcl

TEXTS = [
    "Pages can be deleted in the menu on the left.",
    "Das Passwort muss mindestens acht Zeichen haben.",
    "La page a été supprimée.",
    "Введите адрес электронной почты.",
    "ページを削除しますか?",
    "El archivo es demasiado grande.",
    "Sayfa silindi.",
    "请输入密码。",
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the texts that are nearest to the query, the nearest first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("query", nargs="?", default="The page was deleted.")
    parser.add_argument("--model", default="mlcl-quickstart/training/model")
    parser.add_argument("--results", type=int, default=4, help="how many texts to print")
    options = parser.parse_args(arguments)

    encoder = mlcl.Encoder.from_pretrained(options.model)
    vectors = encoder.encode(TEXTS)  # (N, D), unit length: a product is a cosine
    scores = vectors @ encoder.encode(options.query)[0]  # (N,)
    for place in (-scores).argsort()[: options.results]:
        print(f"{scores[place]:.2f}  {TEXTS[place]}")


if __name__ == "__main__":
    main()
