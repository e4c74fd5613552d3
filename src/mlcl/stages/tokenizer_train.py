"""Train a tokenizer on a corpus: Unigram with byte fallback, languages sampled by temperature.

In: a corpus folder. Out: a Hugging Face tokenizer folder that `AutoTokenizer` loads, with `fertility.json`: tokens per
word and per character in each language.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlcl.core.errors import UserError


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl tokenizer train`."""

    corpus: str
    """Corpus folder."""
    out: str
    """Folder for the tokenizer."""
    vocab_size: int = 32_000
    """Entries of the vocabulary, special tokens and 256 bytes included."""
    alpha: float = 0.5
    """Exponent of the temperature sampling of languages: 1 keeps the proportions of the corpus, 0 equals them out."""
    max_sentences: int | None = None
    """Most sentences to train on, over all languages; by default 4 per vocabulary entry."""
    max_length: int = 512
    """Longest input in tokens, as the tokenizer reports it (model_max_length)."""
    seed: int = 0
    """Seed of the sample of sentences."""
    overwrite: bool = False
    """Replace the output folder."""


def run(config: Config) -> Path:
    """Train, save, print how each language fares, and return the folder.

    Raises:
        UserError: no corpus, an output that exists, settings out of range.
    """
    _check(config)
    from mlcl.core.files import atomic_directory, refuse_existing, write_json
    from mlcl.core.progress import console, step
    from mlcl.corpus.store import Corpus
    from mlcl.text.fertility import fertility
    from mlcl.text.tokenizer import train_on, training_sample

    out = Path(config.out)
    refuse_existing(out, config.overwrite)
    corpus = Corpus.open(config.corpus)
    with step("sampling sentences"):
        sample = training_sample(
            corpus,
            vocab_size=config.vocab_size,
            alpha=config.alpha,
            max_sentences=config.max_sentences,
            seed=config.seed,
        )
    sentences = sum(map(len, sample.values()))
    with step(f"training a tokenizer on {sentences:,} sentences in {len(sample)} languages"):
        tokenizer = train_on(sample.values(), vocab_size=config.vocab_size, max_length=config.max_length)
    if len(tokenizer) < config.vocab_size:
        console.print(f"  the texts give {len(tokenizer):,} of the {config.vocab_size:,} entries asked for")
    rows = fertility(tokenizer, sample)
    with atomic_directory(out, config.overwrite) as partial:
        tokenizer.save_pretrained(partial)
        write_json(partial / "fertility.json", {"vocab_size": len(tokenizer), "languages": rows})
    _print(rows)
    return out


def _check(config: Config) -> None:
    from mlcl.text.tokenizer import MIN_VOCAB_SIZE

    if not 0 <= config.alpha <= 1:
        raise UserError(f"alpha is {config.alpha}", remedy="give a number from 0 to 1")
    for name, least in (("vocab_size", MIN_VOCAB_SIZE), ("max_sentences", 1), ("max_length", 3)):
        value = getattr(config, name)
        if value is not None and value < least:
            raise UserError(f"{name} is {value}, it must be at least {least}")


def _print(rows: dict[str, dict[str, float | int | None]], shown: int = 8) -> None:
    """The languages that cost most and least tokens per character; all of them are in fertility.json."""
    from rich.table import Table

    from mlcl.core.languages import name
    from mlcl.core.progress import console

    order = sorted(rows, key=lambda tag: -float(rows[tag]["tokens_per_sentence"] or 0))
    half = shown // 2
    chosen = order if len(order) <= shown else [*order[:half], *order[-half:]]
    table = Table(title="Most and fewest tokens a sentence" if len(order) > shown else "Tokens", title_justify="left")
    for column in ("tag", "language", "tokens / sentence", "/ word", "/ character", "bytes"):
        table.add_column(column, justify="left" if column in ("tag", "language") else "right")
    for tag in chosen:
        row = rows[tag]
        word = "" if row["tokens_per_word"] is None else f"{row['tokens_per_word']:.2f}"
        table.add_row(
            tag, name(tag), f"{row['tokens_per_sentence']:.1f}", word, f"{row['tokens_per_character']:.2f}",
            f"{row['byte_share']:.1%}",
        )  # fmt: skip
    console.print(table)
