"""Tune an encoder on pairs of your own, and see what that brings on pairs that it has not seen.

    python examples/train_on_own_pairs.py --pairs pairs.tsv --model mlcl-quickstart/training/model --out tuned

`pairs.tsv` has the header `anchor<TAB>positive` and on each line two texts that belong together: translations, a
question and its answer, two ways to say one thing. Every tenth pair is held out for the measurement. The folder
`tuned/model` loads with `mlcl.Encoder.from_pretrained` and with `SentenceTransformer`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import mlcl


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, train, measure again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", required=True, type=Path, help="TSV with the header anchor, positive")
    parser.add_argument("--model", default="mlcl-quickstart/training/model")
    parser.add_argument("--out", required=True, type=Path, help="folder to make")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=64, help="pairs of one step; each contrasts with all others")
    options = parser.parse_args(arguments)

    header, *lines = options.pairs.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    rows = [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]
    held_out = rows[::10]
    train = [row for number, row in enumerate(rows) if number % 10]

    print(f"before: {accuracy(options.model, held_out):.1f} % of {len(held_out)} unseen pairs found")
    model = mlcl.MLCModel(mlcl.MLCConfig(model_name=options.model))
    training = mlcl.MLCTrainingArguments(
        output_dir=str(options.out),
        max_steps=options.steps,
        per_device_train_batch_size=min(options.batch, len(train)),
        learning_rate=2e-4,
        warmup_steps=options.steps // 10,
        lm_weight=0.0,  # InfoNCE alone; above 0 the masked language model is trained along
        save_strategy="no",
        report_to="none",
    )
    trainer = mlcl.MLCTrainer(model, training, train)
    trainer.train()
    trainer.save_model(str(options.out / "model"))
    print(f"after:  {accuracy(str(options.out / 'model'), held_out):.1f} %")


def accuracy(model: str, pairs: Sequence[dict[str, str]]) -> float:
    """How many anchors have their own positive as the nearest one, in per cent."""
    encoder = mlcl.Encoder.from_pretrained(model)
    anchors, positives = (encoder.encode([pair[side] for pair in pairs]) for side in ("anchor", "positive"))
    found = (anchors @ positives.T).argmax(axis=1)  # (N,)
    return 100 * float((found == range(len(pairs))).mean())


if __name__ == "__main__":
    main()
