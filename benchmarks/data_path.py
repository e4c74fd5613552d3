"""The data path: how fast text becomes tokens, and how long a step waits for its batch.

The corpus is made up (words of syllables by Zipf's law, three languages), the tokenizer a Unigram that is trained on it
by `mlcl tokenizer train`'s code. What is timed is the making of a token store; the checks come from a training run:

    waiting for data    share of the run between the end of a step and the start of the next one, logging included
    CPU of the workers  CPU time of the loader's processes as a share of the run's wall time
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import Case, Job
from trainer_steps import make_model
from transformers import TrainerCallback

TITLE = "Data path"
_LANGUAGES = ("en", "de", "sw")


def cases(quick: bool) -> list[Case]:
    """A corpus of 60,000 sentences, and the encoder of the training step."""
    settings = {"layers": 4, "hidden": 256, "vocabulary": 32_000, "pairs": 256, "longest": 96}
    settings |= {"groups": 20_000, "steps": 20}
    if quick:
        settings = {"layers": 2, "hidden": 32, "vocabulary": 700, "pairs": 8, "longest": 64, "groups": 400, "steps": 3}
    return [Case("toy" if quick else "60k sentences", settings, ("token store",), "sentences", floor=False)]


def work(settings: dict[str, Any]) -> dict[str, Any]:
    """No floor."""
    return {}


class Clock(TrainerCallback):
    """Seconds inside steps, in the whole run from the second step on, and CPU seconds of child processes."""

    def __init__(self) -> None:
        self.inside = self.whole = self.children = 0.0
        self._first: float | None = None
        self._children_before = self._begin = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A step begins."""
        self._begin = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The first step only starts the clock: its batch had to be waited for by anybody."""
        now = time.perf_counter()
        if self._first is None:
            self._first, self._children_before = now, _children_seconds()
            return
        self.inside += now - self._begin
        self.whole, self.children = now - self._first, _children_seconds() - self._children_before


def _children_seconds() -> float:
    """CPU seconds of the living child processes (Linux; 0 elsewhere)."""
    import os

    ticks = 0
    for task in Path("/proc/self/task").glob("*/children"):
        for child in task.read_text().split():
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def make_corpus(folder: Path, groups: int) -> Any:
    """`groups` sentences in three languages."""
    from mlcl.corpus.store import Corpus, CorpusWriter

    chance = np.random.default_rng(0)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    rank = 1.0 / (np.arange(20_000) + 3.7)
    words = {}
    for tag in _LANGUAGES:
        counts = chance.integers(1, 5, size=len(rank))
        words[tag] = np.array(["".join(chance.choice(syllables, size=count)) for count in counts])
    writer = CorpusWriter(folder)
    rows = []
    for group in range(groups):
        meaning = chance.choice(len(rank), size=int(np.clip(chance.lognormal(2.4, 0.6), 2, 60)), p=rank / rank.sum())
        texts = {tag: " ".join(words[tag][meaning]) for tag in _LANGUAGES}
        rows += [
            {"source_lang": "en", "target_lang": tag, "source": texts["en"], "target": texts[tag], "group": group,
             "document": "", "origin": "made-up"}
            for tag in _LANGUAGES[1:]
        ]  # fmt: skip
    writer.write_pairs(rows)
    writer.close()
    return Corpus.open(folder)


def job(peer: str, settings: dict[str, Any]) -> Job:
    """Make corpus and tokenizer; a repetition makes the token store anew."""
    from mlcl.text.tokenizer import train_tokenizer
    from mlcl.training.token_store import open_or_build

    folder = Path(tempfile.mkdtemp(prefix="mlcl-benchmark-"))
    corpus = make_corpus(folder / "corpus", settings["groups"])
    tokenizer = train_tokenizer(corpus, vocab_size=settings["vocabulary"])
    store = open_or_build(corpus, tokenizer, settings["longest"], folder)

    def run() -> None:
        shutil.rmtree(corpus.path / "tokens")
        open_or_build(corpus, tokenizer, settings["longest"], folder)

    def check() -> dict[str, float]:
        values: dict[str, float] = {"tokens per sentence": float(np.diff(store.offsets).mean())}
        for workers in (0, 1):
            clock = _train(settings, store, tokenizer, folder / f"run{workers}", workers)
            values[f"waiting for data, {workers} workers"] = 1 - clock.inside / clock.whole
            values[f"CPU of the workers, {workers} workers"] = clock.children / clock.whole
        return values

    return Job(run=run, units=len(store), check=check)


def _train(settings: dict[str, Any], store: Any, tokenizer: Any, folder: Path, workers: int) -> Clock:
    from mlcl.training.arguments import MLCTrainingArguments
    from mlcl.training.memory import keep_freed_memory
    from mlcl.training.sampling import Sampler
    from mlcl.training.sources import BatchSettings, CorpusSource
    from mlcl.training.trainer import MLCTrainer

    keep_freed_memory()
    args = MLCTrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=settings["pairs"], max_steps=settings["steps"],
        max_length=settings["longest"], save_strategy="no", report_to="none", dataloader_num_workers=workers,
        dataloader_pin_memory=False, lm_weight=0.1, lm_share=0.125, queue_size=8 * settings["pairs"],
    )  # fmt: skip
    source = CorpusSource(Sampler(store, seed=1, dev_groups=0), BatchSettings(pairs=settings["pairs"]))
    clock = Clock()
    model = make_model({**settings, "vocabulary": len(tokenizer)})
    MLCTrainer(model, args, train_dataset=source, processing_class=tokenizer, callbacks=[clock]).train()
    return clock
