"""What a test with look-alike letters hides: Serbian NTREX as published, and with its words in one script.

    python benchmarks/lookalikes.py --data ROOT --model MODEL [MODEL ...]

A quarter of the words of the published file mix Cyrillic with Latin letters of the same look. Printed is, for each
encoder, the accuracy against English on documents 74-92 (mean of both directions, per cent), of both forms of the text.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mlcl.formats import ntrex
from mlcl.model.encoder import Encoder
from mlcl.retrieval.knn import nearest_both
from mlcl.text.lookalikes import one_script


def main() -> None:
    """Measure every model on both forms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--model", required=True, nargs="+")
    options = parser.parse_args()
    versions, _ = ntrex.load(options.data / "ntrex", documents="74-92", languages=["en", "sr"])
    texts = {version.tag: [text or "" for text in version.texts] for version in versions}
    forms = {"as published": texts["sr"], "in one script": [one_script(text) for text in texts["sr"]]}
    for model in options.model:
        encoder = Encoder.from_pretrained(model)
        english = encoder.encode(texts["en"])
        for form, serbian in forms.items():
            found = nearest_both(encoder.encode(serbian), english, 1)
            right = [(side.index[:, 0] == np.arange(len(serbian))).mean() for side in found]
            print(f"{model}  {form}: {100 * float(np.mean(right)):.1f}", flush=True)


if __name__ == "__main__":
    main()
