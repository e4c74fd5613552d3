"""Make a model smaller by keeping the vocabulary of some languages only; vectors of their texts stay the same.

Of a multilingual encoder most weights are embeddings of tokens. With --languages the tokens in the scripts of these
languages stay; with --texts or --corpus, the tokens that occur in such texts; with both, the latter. Which texts keep
their vectors: those that are cut into kept tokens alone, for scripts all texts in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape

from mlcl.core.errors import UserError
from mlcl.core.files import atomic_directory, read_json, refuse_existing, write_json
from mlcl.core.progress import console, print_table, results, step, warn

_SAMPLE = 512  # texts whose vectors are compared and timed
_SAME = 0.9999


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl trim`."""

    model: str
    """Encoder: an MLC, sentence-transformers or Hugging Face folder, or a hub id."""
    out: str
    """Model folder to make."""
    languages: list[str] | None = None
    """Languages to keep, by their scripts, or those of the corpus to read."""
    texts: str | None = None
    """Text file, a sentence a line, whose tokens stay."""
    corpus: str | None = None
    """Corpus folder whose tokens stay."""
    min_count: int = 1
    """How often a token must occur in the texts."""
    overwrite: bool = False
    """Replace OUT where it exists."""


def run(config: Config) -> Path:
    """Trim, compare vectors before and after, write OUT and return it.

    Raises:
        UserError: no languages and no texts, a tokenizer that cannot be trimmed, or an output that exists.
    """
    out = Path(config.out)
    refuse_existing(out, config.overwrite)
    if not config.languages and config.texts is None and config.corpus is None:
        raise UserError("what should stay?", remedy="give --languages, --texts or --corpus")
    if config.texts is not None and config.corpus is not None:
        raise UserError("texts and corpus exclude each other", remedy="give one of them")
    if config.min_count < 1:
        raise UserError(f"min_count is {config.min_count}, it must be at least 1")

    from mlcl.core.languages import canonical
    from mlcl.finetuning.loading import load_encoder, load_tokenizer
    from mlcl.model.vocabulary import keep_tokens, padding_may_move
    from mlcl.stages._compare import unit_vectors
    from mlcl.text.tokenizer import with_padding
    from mlcl.text.trimming import tokens_in_scripts, trim, used_tokens

    languages = None if config.languages is None else [canonical(tag) for tag in config.languages]
    model, tokenizer = load_encoder(config.model), with_padding(load_tokenizer(config.model))
    model.eval()
    with step("choosing tokens"):
        if config.texts is None and config.corpus is None:
            keep = tokens_in_scripts(tokenizer, languages or [])
        else:
            counts = used_tokens(tokenizer, _texts(config, languages))
            keep = {number for number, count in counts.items() if count >= config.min_count}
        smaller, kept = trim(tokenizer, keep, padding_stays=not padding_may_move(model))
    sample = _sample(config, languages)
    before = unit_vectors(model, tokenizer, sample)
    sizes = [(len(tokenizer), _parameters(model))]
    keep_tokens(model, kept)
    after = unit_vectors(model, smaller, sample)
    sizes.append((len(smaller), _parameters(model)))
    with step(f"writing {escape(out.name)}"), atomic_directory(out, config.overwrite) as folder:
        model.save_pretrained(folder)
        smaller.save_pretrained(folder)
        source = Path(config.model) / "mlcl.json"
        if source.is_file():
            write_json(folder / "mlcl.json", read_json(source))
    rows = [["tokens", f"{sizes[0][0]:,}", f"{sizes[1][0]:,}"]]
    rows.append(["parameters (millions)", f"{sizes[0][1] / 1e6:.1f}", f"{sizes[1][1] / 1e6:.1f}"])
    if sample:
        rows.append(["texts/s", f"{len(sample) / before[1]:,.0f}", f"{len(sample) / after[1]:,.0f}"])
    print_table("vocabulary", ["", "before", "after"], rows)
    _report_sameness(before[0], after[0], sample)
    return out


def _texts(config: Config, languages: list[str] | None) -> Iterator[str]:
    if config.texts is not None:
        from mlcl.stages._vectors import text_lines

        yield from text_lines(config.texts)
        return
    from mlcl.stages._searchable import texts_of_corpus

    yield from (text for _, text in texts_of_corpus(Path(str(config.corpus)), languages))


def _sample(config: Config, languages: list[str] | None) -> list[str]:
    """Some texts to compare vectors on; none where only languages are known."""
    from itertools import islice

    if config.texts is None and config.corpus is None:
        return []
    return [text for text in islice(_texts(config, languages), _SAMPLE) if text.strip()]


def _parameters(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _report_sameness(before: Any, after: Any, sample: list[str]) -> None:
    if not sample:
        return
    cosines = (before * after).sum(axis=1)
    results.print(f"{len(sample):,} texts: least cosine between old and new vector {cosines.min():.5f}")
    if (changed := int((cosines < _SAME).sum())) > 0:
        worst = sample[int(cosines.argmin())]
        warn(f"{changed} of them have another vector, such as: {escape(worst[:80])}")
        console.print("  they have tokens that were left out: lower --min_count, or give more texts", soft_wrap=True)
