"""Arm (e): sentence-transformers' trainer on pairs that our sampler draws, at the best settings that we found for it.

Same architecture, tokenizer, pairs, batch, learning rate and clock as ours; its loss is
CachedMultipleNegativesRankingLoss in bf16 with mini-batches of 32, without dropout, with attention by plain products
(the backward of torch's fused attention in bfloat16 is several times slower on a CPU).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
import yaml
from datasets import Features, IterableDataset, Value
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.losses import CachedMultipleNegativesRankingLoss
from sentence_transformers.models import Pooling, Transformer
from transformers import AutoTokenizer, TrainerCallback, XLMRobertaConfig, XLMRobertaModel, set_seed

from mlcl.core.files import atomic_directory
from mlcl.core.hardware import bf16_pays
from mlcl.corpus.store import Corpus
from mlcl.training.initialisation import initialise_embeddings
from mlcl.training.memory import keep_freed_memory
from mlcl.training.sampling import Sampler
from mlcl.training.schedule import timed_schedule
from mlcl.training.token_store import TokenStore, open_or_build


class Clock(TrainerCallback):
    """Stops the run when its time is over."""

    def __init__(self, minutes: float) -> None:
        self.seconds, self.start = 60 * minutes, 0.0

    def on_train_begin(self, *_, **__):
        """Start the clock."""
        self.start = time.monotonic()

    def progress(self) -> float:
        """Share of the time that has passed."""
        return (time.monotonic() - self.start) / self.seconds if self.start else 0.0

    def on_step_end(self, args, state, control, **_):
        """Look at the clock."""
        control.should_training_stop = control.should_training_stop or self.progress() >= 1
        return control


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("corpus", "tokenizer", "config", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sentence-id", default="false")
    options = parser.parse_args()

    keep_freed_memory()
    set_seed(options.seed)
    settings = yaml.safe_load(Path(options.config).read_text())
    training = settings["training"]
    tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
    corpus = Corpus.open(options.corpus)
    store = open_or_build(corpus, tokenizer, training["max_length"], Path(options.out))
    sampler = Sampler(store, seed=options.seed, **settings["sampling"])

    backbone = backbone_folder(settings, tokenizer, store, options, Path(options.out) / "start")
    transformer = Transformer(str(backbone), max_seq_length=training["max_length"])
    transformer.auto_model.set_attn_implementation("eager")
    model = SentenceTransformer(modules=[transformer, Pooling(transformer.get_word_embedding_dimension(), "mean")])
    size = training["per_device_train_batch_size"]
    columns = Features({"anchor": Value("string"), "positive": Value("string")})
    source = {"sampler": sampler, "tokenizer": tokenizer, "size": size}
    pairs = IterableDataset.from_generator(text_pairs, features=columns, gen_kwargs=source)
    loss = CachedMultipleNegativesRankingLoss(model, scale=1 / training["temperature"], mini_batch_size=32)
    train(model, loss, pairs, training, options, corpus.languages)


def train(model: SentenceTransformer, loss, pairs, training: dict, options, languages: list[str]) -> None:
    """Train with the library's trainer for `options.minutes`, save OUT/model and say in OUT/peer.json what was done."""
    out, size = Path(options.out), training["per_device_train_batch_size"]
    clock = Clock(options.minutes)
    args = SentenceTransformerTrainingArguments(
        output_dir=str(out / "checkpoints"), per_device_train_batch_size=size, max_steps=1_000_000,
        bf16=bf16_pays(), use_cpu=True,
        learning_rate=float(training["learning_rate"]), warmup_steps=training["warmup_steps"], save_strategy="no",
        weight_decay=training.get("weight_decay", 0.0), seed=options.seed, report_to="none", logging_steps=20,
        dataloader_drop_last=True,
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate, weight_decay=args.weight_decay, fused=True)
    trainer = SentenceTransformerTrainer(
        model=model,
        args=args,
        train_dataset=pairs,
        loss=loss,
        callbacks=[clock],
        optimizers=(optimizer, timed_schedule(optimizer, args, clock.progress)),
    )
    cpu = time.process_time()
    trainer.train()
    steps = trainer.state.global_step
    report = {"steps": steps, "pairs": steps * size, "seconds": time.monotonic() - clock.start}
    report["cpu_seconds"] = time.process_time() - cpu
    with atomic_directory(out / "model", overwrite=True) as folder:
        model.save(str(folder))
        (folder / "mlcl.json").write_text(json.dumps({"languages": languages}))
    (out / "peer.json").write_text(json.dumps(report))
    print(report)


def no_dropout(transformer) -> None:
    """Switch the dropout of a loaded transformer off, as our arms do."""
    for part in transformer.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0


def backbone_folder(settings, tokenizer, store, options, folder: Path) -> Path:
    """A fresh backbone of our architecture as a plain Hugging Face folder."""
    config = XLMRobertaConfig(
        **settings["model"]["backbone"], vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, type_vocab_size=1,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = XLMRobertaModel(config, add_pooling_layer=False)
    if options.sentence_id == "true":
        std = settings["initialisation"]["std"]
        initialise_embeddings(model.get_input_embeddings(), store, tokenizer.all_special_ids, std=std)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def text_pairs(sampler: Sampler, tokenizer, size: int):
    """The pairs that our arms train on, as text, in the same order."""
    number = 0
    while True:
        draw = sampler.draw(number, size)
        number += 1
        for anchor, positive in zip(draw.anchors, draw.positives, strict=True):
            sides = [text_of(sampler.store, tokenizer, i) for i in (anchor, positive)]
            yield {"anchor": sides[0], "positive": sides[1]}


def text_of(store: TokenStore, tokenizer, sentence: int) -> str:
    """A sentence of the token store as text."""
    return tokenizer.decode(store.sentence(sentence), skip_special_tokens=True)


if __name__ == "__main__":
    main()
