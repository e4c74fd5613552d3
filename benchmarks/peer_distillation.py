"""The peer's arm of distillation.py: sentence-transformers' make-multilingual recipe with its own loss and trainer.

Pairs with an English side, both sides towards the teacher's vector of the English sentence by `MSELoss` (Reimers and
Gurevych 2020, arXiv 2004.09813). The pairs come from our sampler, the teacher's vectors are those that our arms use.
The student is fresh (`--start none`, with `--sentence-id true` from our token vectors) or a folder. Its settings are
the best that we found for this trainer on CPUs: no dropout, plain attention, our learning rate and clock schedule.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import yaml
from datasets import Features, IterableDataset, Sequence, Value
from peer_sentence_transformers import backbone_folder, no_dropout, text_of, train
from sentence_transformers import SentenceTransformer
from sentence_transformers.losses import MSELoss
from sentence_transformers.models import Dense, Pooling, Transformer
from torch import nn
from transformers import AutoTokenizer, set_seed

from mlcl.corpus.store import Corpus
from mlcl.training.memory import keep_freed_memory
from mlcl.training.sampling import Sampler
from mlcl.training.teacher import TeacherVectors, open_or_compute
from mlcl.training.token_store import open_or_build


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("corpus", "tokenizer", "config", "teacher", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--start", default="none", help="folder of the student's start, or none for a fresh one")
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sentence-id", default="false")
    options = parser.parse_args()

    keep_freed_memory()
    set_seed(options.seed)
    settings = yaml.safe_load(Path(options.config).read_text())
    training, out = settings["training"], Path(options.out)
    tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
    corpus = Corpus.open(options.corpus)
    store = open_or_build(corpus, tokenizer, training["max_length"], out)
    sampling = {**settings["sampling"], "pivot": "en", "pivot_share": 1.0}  # English on one side, as the recipe has it
    sampler = Sampler(store, seed=options.seed, with_lm=False, **sampling)
    teacher = open_or_compute(corpus, options.teacher, computed_before, ["en"], out)

    if options.start == "none":
        place = backbone_folder(settings, tokenizer, store, options, out / "start")
        transformer = Transformer(str(place), max_seq_length=training["max_length"])
        modules = [transformer, Pooling(transformer.get_word_embedding_dimension(), "mean")]
        if (hidden := transformer.get_word_embedding_dimension()) != teacher.dimension:
            modules.append(Dense(hidden, teacher.dimension, bias=True, activation_function=nn.Identity()))
        model = SentenceTransformer(modules=modules)
    else:
        model = SentenceTransformer(options.start, device="cpu")
        model.max_seq_length = training["max_length"]
        no_dropout(model[0].auto_model)
    model[0].auto_model.set_attn_implementation("eager")

    size = training["per_device_train_batch_size"]
    numbers = Sequence(Value("float32"), length=teacher.dimension)
    columns = Features({"english": Value("string"), "other": Value("string"), "label": numbers})
    source = {"sampler": sampler, "tokenizer": tokenizer, "teacher": teacher, "size": size}
    pairs = IterableDataset.from_generator(taught_pairs, features=columns, gen_kwargs=source)
    train(model, MSELoss(model), pairs, training, options, corpus.languages)


def computed_before(texts: list[str]) -> np.ndarray:
    """Stands where the teacher would be loaded: distillation.py has had its vectors computed."""
    raise RuntimeError("the teacher's vectors are not there: start distillation.py")


def taught_pairs(sampler: Sampler, tokenizer, teacher: TeacherVectors, size: int):
    """Pairs of our sampler that the teacher knows, as text, with its vector of the group."""
    number = 0
    while True:
        draw = sampler.draw(number, size)
        number += 1
        vectors, known = teacher.of(sampler.store.group[draw.anchors])
        for anchor, positive, vector in zip(draw.anchors[known], draw.positives[known], vectors[known], strict=True):
            sides = [text_of(sampler.store, tokenizer, i) for i in (anchor, positive)]
            yield {"english": sides[0], "other": sides[1], "label": vector}


if __name__ == "__main__":
    main()
