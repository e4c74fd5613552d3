"""Give a trained model another tokenizer: its layers stay, its token embeddings are made anew from the old ones.

For languages that the old vocabulary cuts into bytes or does not know at all. Tokens that both vocabularies have are
copied. The others are, by --method: mixed from shared tokens that occur in the same sentences of the texts or in their
translations (focus), from the pieces that the old tokenizer cuts them into (mean), or drawn (random). With a parallel
corpus, focus makes a word of a new language from the words that translate it, and no dictionary is needed.

The result is a start for training (mlcl pretrain --model.model_name OUT), not a finished model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from rich.markup import escape

from mlcl.core.errors import UserError
from mlcl.core.files import atomic_directory, read_json, refuse_existing, write_json
from mlcl.core.progress import print_table, step, warn

_SAMPLE = 512  # texts on which the starts are compared
_AUXILIARY = 256  # values of an auxiliary vector
_MAX_LENGTH = 128  # tokens of a sentence; that of `mlcl pretrain`, so that its token store serves both


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl transplant`."""

    model: str
    """Encoder: an MLC, sentence-transformers or Hugging Face folder, or a hub id."""
    tokenizer: str
    """The new tokenizer: a folder or hub id, such as `mlcl tokenizer train` makes."""
    out: str
    """Model folder to make."""
    method: Literal["focus", "mean", "random"] = "focus"
    """How tokens are made that the old vocabulary lacks; focus needs a corpus or texts."""
    corpus: str | None = None
    """Corpus folder in the old and new languages, with translations at best: who occurs with whom."""
    texts: str | None = None
    """Text file instead, a sentence a line; without translations, tokens are similar that occur in the same lines."""
    languages: list[str] | None = None
    """Languages of the corpus that the old model knows; on their texts its vectors and the new ones are compared."""
    seed: int = 0
    """Seed of rows that are drawn."""
    overwrite: bool = False
    """Replace OUT where it exists."""


def run(config: Config) -> Path:
    """Transplant, compare the possible starts, write OUT and return it.

    Raises:
        UserError: settings or tokenizers that do not fit, or an output that exists; before anything is computed.
    """
    out = Path(config.out)
    refuse_existing(out, config.overwrite)
    if config.texts is not None and config.corpus is not None:
        raise UserError("texts and corpus exclude each other", remedy="give one of them")
    if config.languages is not None and config.corpus is None:
        raise UserError("languages are those of a corpus", remedy="give --corpus, or leave --languages out")
    given = config.texts is not None or config.corpus is not None
    if config.method == "focus" and not given:
        raise UserError("focus needs texts to see which tokens are similar", remedy="give --corpus or --texts")

    from mlcl.finetuning.loading import load_encoder, load_tokenizer
    from mlcl.model.vocabulary import check_padding, replace_tokens, vocabulary_rows
    from mlcl.stages._compare import language_model_loss, unit_vectors
    from mlcl.text.tokenizer import with_padding
    from mlcl.text.transplanting import METHODS, shared_tokens, transplant

    sample = _sample(config)
    model = load_encoder(config.model).eval()
    old, new = (with_padding(load_tokenizer(place)) for place in (config.model, config.tokenizer))
    new.add_tokens(
        list(model.family.special_tokens), special_tokens=True
    )  # those that it lacks, such as T5's sentinels
    check_padding(model, new)
    with step("tokens that both vocabularies have"):
        shared = shared_tokens(old, new)
        made = {"mean": transplant(old, new, "mean", shared=shared)}  # also refuses equal vocabularies
    if given:
        with step("similarity of tokens"):
            try:
                made["focus"] = transplant(old, new, "focus", _auxiliary(config, new), shared)
            except UserError as error:
                if config.method == "focus":
                    raise
                warn(f"focus is left out of the comparison: {escape(str(error))}")
    made["random"] = transplant(old, new, "random", shared=shared)

    before = vocabulary_rows(model)
    vectors = unit_vectors(model, old, sample)[0]
    rows: list[tuple[Any, ...]] = []
    if sample:
        rows = [("before", len(old), _tokens(old, sample), language_model_loss(model, old, sample), None)]
    # The chosen one last, so that the model is left with it.
    methods = sorted(made, key=lambda name: (name == config.method, METHODS.index(name)))
    for method in methods if sample else [config.method]:
        mixed = {name: made[method].apply(part, config.seed) for name, part in before.items()}
        replace_tokens(model, mixed, new)
        if sample:
            cosine = float((unit_vectors(model, new, sample)[0] * vectors).sum(axis=1).mean())
            rows.append((method, len(new), _tokens(new, sample), language_model_loss(model, new, sample), cosine))
    with step(f"writing {escape(out.name)}"), atomic_directory(out, config.overwrite) as folder:
        model.save_pretrained(folder)
        new.save_pretrained(folder)
        source = Path(config.model) / "mlcl.json"
        if source.is_file():
            write_json(folder / "mlcl.json", read_json(source))
    _report(config, made[config.method].counts(), rows)
    return out


def _auxiliary(config: Config, tokenizer: Any) -> Any:
    """Vectors (V, K) of length 1 that say in which sentences a token occurs; 0 for tokens that never do."""
    import tempfile

    import numpy as np

    from mlcl.corpus.store import Corpus
    from mlcl.training.initialisation import token_vectors
    from mlcl.training.token_store import TokenStore, encode, open_or_build

    size = max(tokenizer.get_vocab().values()) + 1
    with tempfile.TemporaryDirectory() as fallback:
        if config.corpus is not None:
            store = open_or_build(Corpus.open(config.corpus), tokenizer, _MAX_LENGTH, Path(fallback))
        else:
            ids = encode(tokenizer, list(_texts(config)), _MAX_LENGTH)
            lengths = np.array([len(row) for row in ids])
            store = TokenStore(
                tokens=np.concatenate([np.asarray(row, dtype=np.int64) for row in ids]),
                offsets=np.concatenate([[0], np.cumsum(lengths)]),
                language=np.zeros(len(ids), dtype=np.uint16),
                group=np.full(len(ids), -1),
                parallel=len(ids),
                languages=["und"],
                origin=np.zeros(len(ids), dtype=np.uint16),
                origins=["texts"],
            )
        vectors, known = token_vectors(store, size, tokenizer.all_special_ids, _AUXILIARY, alone=True)
    return (vectors * known[:, None]).numpy()


def _texts(config: Config) -> Iterator[str]:
    from mlcl.stages._vectors import text_lines

    return (text for text in text_lines(str(config.texts)) if text.strip())


def _sample(config: Config) -> list[str]:
    """Some texts to compare on, all languages of the corpus alike; none without a corpus and texts.

    Raises:
        UserError: a language that the corpus lacks, or texts that cannot be read.
    """
    if config.texts is not None:
        return list(islice(_texts(config), _SAMPLE))
    if config.corpus is None:
        return []
    from mlcl.core.languages import canonical
    from mlcl.corpus.store import Corpus
    from mlcl.text.sampling import sample_texts

    corpus = Corpus.open(config.corpus)
    wanted = corpus.languages if config.languages is None else [canonical(tag) for tag in config.languages]
    corpus.require(wanted)
    drawn = sample_texts(corpus, alpha=0, max_sentences=_SAMPLE * len(corpus.languages) // len(wanted))
    return [text for tag in wanted for text in drawn[tag]][:_SAMPLE]


def _tokens(tokenizer: Any, texts: list[str]) -> float:
    """Tokens per text."""
    rows = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
    return sum(map(len, rows)) / len(rows)


def _report(config: Config, counts: dict[str, int], rows: list[tuple[Any, ...]]) -> None:
    named = {"shared": "copied", "focus": "from similar tokens", "mean": "from their pieces", "random": "drawn"}
    print_table("new tokens", ["", "tokens"], [[label, f"{counts.get(name, 0):,}"] for name, label in named.items()])
    if not rows:
        return
    dash = "-"
    print_table(
        "the model before, and each start" + f" (OUT has {config.method})",
        ["", "vocabulary", "tokens a text", "LM loss", "cosine with the old vector"],
        [
            [name, f"{size:,}", f"{tokens:.1f}", dash if loss is None else f"{loss:.2f}",
             dash if cosine is None else f"{cosine:.3f}"]
            for name, size, tokens, loss, cosine in rows
        ],
    )  # fmt: skip
    size, loss = rows[0][1], rows[0][3]
    if loss is not None and loss > math.log(size):
        warn(
            f"the old model's LM head is not trained (a guess has a loss of {math.log(size):.2f}): look at the cosines"
        )
