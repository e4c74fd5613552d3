"""Labels in one language, a classifier in all: fine-tune on English messages, test on others, use the model.

    python examples/classify_across_languages.py --model mlcl-quickstart/training/model --out intents-model

The data is a folder with a folder per language (`examples/intents/en/train.tsv`, `de/test.tsv`, ...). The same from the
command line is `mlcl finetune --task examples/intents --model ... --out ...`. OUT/report.html shows every language,
with the score of the most frequent label as the floor.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from mlcl.finetuning.prediction import Predictor
from mlcl.finetuning.settings import Method, Tuning
from mlcl.stages.finetune import Config, run

NEW = ["My order is still on its way.", "Ich will mein Geld zurück!", "Nimesahau nenosiri.", "谢谢你们的帮助!"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, print the table by language, and label new messages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mlcl-quickstart/training/model")
    parser.add_argument("--data", default=str(Path(__file__).parent / "intents"), help="folder of labelled texts")
    parser.add_argument("--out", required=True, help="folder to make")
    parser.add_argument("--method", choices=get_args(Method), default="contrastive", help="few labels: contrastive")
    options = parser.parse_args(arguments)

    tuning = Tuning(method=options.method)
    run(Config(model=options.model, task=options.data, out=options.out, train_language=["en"], tuning=tuning))

    predictor = Predictor.from_pretrained(Path(options.out) / "model")
    for text, label, chances in zip(NEW, predictor.predict(NEW), predictor.probabilities(NEW), strict=True):
        print(f"{label} ({chances.max():.0%})  {text}")


if __name__ == "__main__":
    main()
