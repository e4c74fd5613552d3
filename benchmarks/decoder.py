"""Does a decoder stay a language model while its languages align?

    python benchmarks/decoder.py --corpus CORPUS --out OUT [--generator-minutes 2] [--minutes 2]

One small Llama is trained on the corpus as a language model. From its weights others go on for the same time and with
the same pairs: with InfoNCE alone, with InfoNCE and the causal term, and with blank infilling in half of that term.
Held-out groups (never trained on by any of them) say what became of it: perplexity per token by transformers' own model
class, and retrieval accuracy of translations.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.nn import functional as F
from transformers import AutoTokenizer

from mlcl.corpus.store import Corpus
from mlcl.model.language_model import language_model
from mlcl.model.model import MLCModel
from mlcl.model.packing import chunks, pack, pad
from mlcl.stages import pretrain
from mlcl.training.retrieval_dev import DevPairs, retrieval_accuracy
from mlcl.training.sampling import Sampler
from mlcl.training.token_store import open_or_build

ARMS: dict[str, dict[str, Any]] = {
    "InfoNCE alone": {"lm_weight": 0.0},
    "InfoNCE + causal LM": {"lm_weight": 1.0},
    "InfoNCE + half blanks": {"lm_weight": 1.0, "blank_share": 0.5},
}
"""What goes on from the language model -> settings of its LM term."""


@dataclass
class Row:
    """What became of the language model."""

    name: str
    perplexity: float
    accuracy: float
    steps: int


def main(argv: list[str] | None = None) -> list[Row]:
    """Train, measure, print the table and write OUT/decoder.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True, type=Path, help="folder of `mlcl corpus build`")
    parser.add_argument("--out", required=True, type=Path, help="folder to make")
    parser.add_argument("--generator-minutes", type=float, default=2.0, help="training as a language model alone")
    parser.add_argument("--minutes", type=float, default=2.0, help="training of each arm")
    parser.add_argument("--max-steps", type=int, default=-1, help="steps of each training instead of minutes")
    parser.add_argument("--pairs", type=int, default=64, help="pairs of a step")
    parser.add_argument("--hidden-size", type=int, default=192)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocab-size", type=int, default=16_000)
    parser.add_argument("--dev-groups", type=int, default=300, help="groups that are held out")
    options = parser.parse_args(argv)

    generator = options.out / "generator"
    size = options.hidden_size
    fresh = {
        "model_type": "llama", "hidden_size": size, "intermediate_size": 3 * size, "num_hidden_layers": options.layers,
        "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True, "max_position_embeddings": 512,
    }  # fmt: skip
    alone = {"info_nce_weight": 0.0, "lm_weight": 1.0, "lm_share": 2.0, "tlm_share": 0.0, "learning_rate": 2e-3}
    train(options, generator, {"backbone": fresh, "pooling": "mean"}, alone, options.generator_minutes)
    rows = [measure("language model", generator, options)]
    for name, term in ARMS.items():
        out = options.out / name.replace(" ", "-").replace("+", "and")
        model = {"model_name": str(generator / "model"), "pooling": "mean"}
        joint = {**term, "lm_share": 0.5, "tlm_share": 0.0, "learning_rate": 5e-4}
        train(options, out, model, joint, options.minutes)
        rows.append(measure(name, out, options))
    report(rows, options)
    return rows


def train(options: Any, out: Path, model: dict[str, Any], training: dict[str, Any], minutes: float) -> None:
    """One run of `mlcl pretrain`."""
    budget = {"max_steps": options.max_steps} if options.max_steps > 0 else {"max_minutes": minutes}
    common = {
        "per_device_train_batch_size": options.pairs, "max_length": 64, "warmup_steps": 20, "logging_steps": 20,
        "save_strategy": "no", "eval_strategy": "no", "report_to": "none", "seed": 1,
    }  # fmt: skip
    pretrain.run(
        pretrain.Config(
            corpus=str(options.corpus),
            out=str(out),
            tokenizer=pretrain.TokenizerSettings(vocab_size=options.vocab_size),
            model=model,
            sampling=pretrain.SamplingSettings(dev_groups=options.dev_groups),
            training={**common, **budget, **training},
        )
    )


def measure(name: str, run: Path, options: Any) -> Row:
    """Perplexity and retrieval accuracy of a run's model over the held-out groups."""
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    store = open_or_build(Corpus.open(options.corpus), tokenizer, 64, run)
    pairs = DevPairs.from_sampler(Sampler(store, seed=1, dev_groups=options.dev_groups))
    assert pairs is not None
    accuracy = retrieval_accuracy(MLCModel.from_pretrained(run / "model"), pairs, torch.device("cpu"))
    steps = json.loads((run / "model" / "mlcl.json").read_text(encoding="utf-8"))["steps"]
    return Row(name, perplexity(language_model(run / "model"), [*pairs.anchors, *pairs.positives]), accuracy, steps)


@torch.no_grad()
def perplexity(model: Any, sentences: list[Any]) -> float:
    """Exp of the mean negative log-likelihood of a token given those before it in its sentence."""
    packed, total, count = pack(sentences), 0.0, 0
    for ids, lengths in chunks(packed.input_ids, packed.lengths, 2048):
        padded, mask = pad(ids, lengths, 0)
        logits = model(input_ids=padded, attention_mask=mask).logits[:, :-1].float()
        labels = padded[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
        total += float(F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum"))
        count += int((labels != -100).sum())
    return math.exp(total / count)


def report(rows: list[Row], options: Any) -> None:
    """Print the table and write the numbers down."""
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
          f"transformers {transformers.__version__}, {options.dev_groups} held-out groups")  # fmt: skip
    print(f"{'':24}{'steps':>8}{'perplexity':>12}{'x start':>9}{'retrieval':>11}")
    for row in rows:
        ratio = row.perplexity / rows[0].perplexity
        print(f"{row.name:24}{row.steps:8}{row.perplexity:12.1f}{ratio:9.2f}{row.accuracy:11.3f}")
    (options.out / "decoder.json").write_text(json.dumps([asdict(row) for row in rows], indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
