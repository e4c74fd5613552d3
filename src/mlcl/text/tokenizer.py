"""Tokenizer training: a Unigram model with byte fallback over many languages, as a Hugging Face tokenizer.

In: a corpus. Out: a `PreTrainedTokenizerFast` with XLM-R's special tokens, `<s> A </s>` and `<s> A </s></s> B </s>`.

Method: Unigram language model (Kudo 2018, arXiv 1804.10959), languages sampled by temperature (XLM, arXiv 1901.07291).

**Normalisation**, in this order; case and accents stay:

1. NFKC: one form for texts that look the same (full-width and half-width letters, ligatures, Arabic presentation forms,
   composed and decomposed accents), because data sets mix them freely.
2. Characters that are invisible and carry no meaning go: control characters, soft hyphen, direction marks, word joiner,
   byte-order mark, variation selectors. The zero-width joiner and non-joiner stay: they change letters in Persian, in
   Sinhala and other Indic scripts, and in emoji.
3. Every run of white space becomes one space, and none at the ends. The zero-width space counts as white space (it
   separates words in Khmer and Thai); so does U+2581, which stands for the space inside the vocabulary.

**Words.** Text is cut before each space, and punctuation stands alone, so that "end" and "end." share their pieces.
Scripts without spaces stay whole between two punctuation marks, and the model finds the pieces.

**Vocabulary.** `<s> <pad> </s> <unk> <mask>`, the 256 bytes, then pieces. A character outside the alphabet is written
as its UTF-8 bytes: nothing becomes `<unk>`, and decoding gives the normalised text back. Neither a special token nor a
byte can be spelled by a text: "<mask>" in a document is six ordinary characters. (To have special tokens in a text
understood, call the tokenizer with `split_special_tokens=False`.)
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from mlcl.core.errors import UserError
from mlcl.text.sampling import TextCorpus, sample_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
BYTE_TOKENS = tuple(f"<0x{byte:02X}>" for byte in range(256))
MIN_VOCAB_SIZE = 600
"""Special tokens, bytes, printable ASCII and some pieces."""

_INVISIBLE = (
    r"[\x{0}-\x{8}\x{e}-\x{1f}\x{7f}-\x{84}\x{86}-\x{9f}\x{ad}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2060}-\x{2064}"
    r"\x{2066}-\x{206f}\x{fe00}-\x{fe0f}\x{feff}]+"
)
_ASCII = [chr(code) for code in range(0x21, 0x7F)]
_CUT = "\uffff"  # a noncharacter: stands for rare characters while training
_CHARACTER_COVERAGE = 0.9995  # of the running characters; sentencepiece's default for large alphabets
_ALPHABET_SHARE = 1 / 3  # of the vocabulary, at most
_SENTENCES_PER_ENTRY, _CHARACTERS_PER_ENTRY = 4, 160  # of the vocabulary


def train_tokenizer(
    corpus: TextCorpus, *, vocab_size: int, alpha: float = 0.5, max_sentences: int | None = None, seed: int = 0,
    max_length: int = 512,
) -> PreTrainedTokenizerFast:  # fmt: skip
    """Train a tokenizer on a language-balanced sample of a corpus.

    Args:
        corpus: The corpus (`mlcl.corpus.store.Corpus`).
        vocab_size: Entries, special tokens and bytes included. A small corpus may give fewer.
        alpha: Exponent of the temperature sampling of languages, in [0, 1].
        max_sentences: Most sentences to train on; None = 4 per vocabulary entry, and 160 characters. Training time
            grows with their number, the result hardly changes (1 % more tokens with a quarter of the sentences).
        seed: Seed of the sample.
        max_length: `model_max_length` of the tokenizer, in tokens.

    Raises:
        UserError: an empty corpus, or a vocabulary too small to hold an alphabet.
    """
    sample = training_sample(corpus, vocab_size=vocab_size, alpha=alpha, max_sentences=max_sentences, seed=seed)
    return train_on(sample.values(), vocab_size=vocab_size, max_length=max_length)


def training_sample(
    corpus: TextCorpus, *, vocab_size: int, alpha: float = 0.5, max_sentences: int | None = None, seed: int = 0
) -> dict[str, list[str]]:
    """The texts per language that `train_tokenizer` learns from; arguments and errors as there."""
    limit = None if max_sentences else _CHARACTERS_PER_ENTRY * vocab_size
    number = max_sentences or _SENTENCES_PER_ENTRY * vocab_size
    return sample_texts(corpus, alpha=alpha, max_sentences=number, max_characters=limit, seed=seed)


def train_on(texts: Iterable[list[str]], *, vocab_size: int, max_length: int = 512) -> PreTrainedTokenizerFast:
    """Train a tokenizer on texts as they come (an iterable of lists); arguments and errors as `train_tokenizer`."""
    if vocab_size < MIN_VOCAB_SIZE:
        raise UserError(f"vocab_size is {vocab_size}, it must be at least {MIN_VOCAB_SIZE}")
    normalise = normaliser().normalize_str
    normalised = [normalise(text) for block in texts for text in block]
    alphabet = _alphabet(normalised, int((vocab_size - len(SPECIAL_TOKENS) - len(BYTE_TOKENS)) * _ALPHABET_SHARE))

    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Sequence([_words(), pre_tokenizers.Split(_CUT, "removed")])
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size - len(BYTE_TOKENS),
        special_tokens=list(SPECIAL_TOKENS),
        unk_token="<unk>",
        initial_alphabet=_ASCII,
        shrinking_factor=0.5,  # half the rounds of the default 0.75, with the same result
        n_sub_iterations=1,
        show_progress=False,
    )
    trained.train_from_iterator(_without_rare(normalised, alphabet), trainer, length=len(normalised))
    pieces = json.loads(trained.to_str())["model"]["vocab"][len(SPECIAL_TOKENS) :]
    return _assemble(_in_fixed_order(pieces), max_length)


def normaliser() -> normalizers.Normalizer:
    """The normalisation described at the top of this module."""
    return normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Replace(Regex(_INVISIBLE), ""),
            normalizers.Replace(Regex(r"[\s\x{200b}\x{2581}]+"), " "),
            normalizers.Strip(),
        ]
    )


def _words() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Punctuation("isolated")]
    )


def _alphabet(texts: list[str], limit: int) -> set[str]:
    """The most frequent characters, up to the coverage or the limit; ASCII always, so that nothing spells `<0x41>`."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    alphabet, seen, enough = {" ", *_ASCII}, 0, _CHARACTER_COVERAGE * counts.total()
    for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if seen >= enough or len(alphabet) >= limit:
            break
        alphabet.add(character)
        seen += count
    return alphabet


def _without_rare(texts: list[str], alphabet: set[str]) -> Iterator[list[str]]:
    """The texts in blocks, with every character outside the alphabet turned into a cut."""
    rare = {ord(character): _CUT for character in set().union(*texts) - alphabet} if texts else {}
    for start in range(0, len(texts), 1000):
        yield [text.translate(rare) for text in texts[start : start + 1000]]


def _in_fixed_order(pieces: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """The same pieces in the same order in every run, likely ones first.

    The trainer walks through hash tables: ties and last digits differ from run to run, and so do the scores (each
    0.0001 above the last) of characters that it adds because the alphabet has them though no text needs them.
    """
    lowest = min(score for _, score in pieces)
    added_up_to = lowest + 0.0001 * (1 + sum(len(piece) == 1 for piece, _ in pieces))
    fixed = [(piece, lowest if len(piece) == 1 and score <= added_up_to else score) for piece, score in pieces]
    return sorted(((piece, round(score, 6)) for piece, score in fixed), key=lambda item: (-item[1], item[0]))


def _assemble(pieces: list[tuple[str, float]], max_length: int) -> PreTrainedTokenizerFast:
    """The tokenizer around a trained vocabulary of `(piece, log probability)`."""
    from transformers import PreTrainedTokenizerFast

    # Unigram would find "<mask>" or "<0x41>" in a text if it were cheap. Below the price of its characters it never is.
    hidden = 10 * min(score for _, score in pieces) - 100
    vocabulary = [(token, hidden) for token in SPECIAL_TOKENS + BYTE_TOKENS] + pieces
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=SPECIAL_TOKENS.index("<unk>"), byte_fallback=True))
    tokenizer.normalizer = normaliser()
    tokenizer.pre_tokenizer = _words()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", SPECIAL_TOKENS.index("<s>")), ("</s>", SPECIAL_TOKENS.index("</s>"))],
    )
    options: dict[str, Any] = {"model_max_length": max_length, "split_special_tokens": True}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", cls_token="<s>", pad_token="<pad>", eos_token="</s>",
        sep_token="</s>", unk_token="<unk>", mask_token="<mask>", model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False, **options,
    )  # fmt: skip


def with_padding(tokenizer: Any) -> Any:
    """The same tokenizer; without a padding token, as decoders often are, it pads with its end token.

    No state of a padding token is ever read, but whoever loads the saved folder pads with it.

    Raises:
        UserError: it has neither.
    """
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise UserError(
                f"the tokenizer {tokenizer.name_or_path!r} has no padding token and no end token to pad with",
                remedy="give it one: tokenizer.add_special_tokens({'pad_token': '<pad>'})",
            )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
