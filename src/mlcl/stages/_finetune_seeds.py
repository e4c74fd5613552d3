"""One seed of `mlcl finetune`: fit, test, save. In: settings, data and the model's place. Out: a folder per seed.

OUT.unfinished/seed-N/checkpoint-*   while it is fitted
OUT.unfinished/seed-N/model          the fitted model, of the seeds that are kept
OUT.unfinished/seed-N/done.json      rows of results and what the fit took; written last
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import set_seed
from transformers.utils.logging import disable_progress_bar

from mlcl.core.files import atomic_directory, read_json, write_json
from mlcl.core.progress import console, step, warn
from mlcl.finetuning.data import Part, TaskData
from mlcl.finetuning.encoding import Encoded, ExampleEncoder
from mlcl.finetuning.fit import Dev, FitReport, fit, fit_few_shot, new_model
from mlcl.finetuning.loading import load_encoder, load_tokenizer, longest_input
from mlcl.finetuning.mixing import mixed
from mlcl.finetuning.model import MLCTaskModel
from mlcl.finetuning.scoring import headline, test_rows, untuned_rows
from mlcl.finetuning.settings import FEW_SHOT
from mlcl.stages._models import named_models
from mlcl.tasks import Result
from mlcl.tasks._labelled import Example, Examples

if TYPE_CHECKING:
    from mlcl.stages.finetune import Config


class Seeds:
    """The fits of one run, and what they share: tokenizer, encoded examples, features of a frozen encoder.

    Args:
        config: Settings of the run.
        data: Its data.
        about: Fields that every row of its results has.
        descriptions: Label -> texts, for zero-shot.
        work: Folder of the unfinished run.
    """

    def __init__(
        self,
        config: Config,
        data: TaskData,
        about: Mapping[str, Any],
        descriptions: Mapping[str, Sequence[str]],
        work: Path,
    ) -> None:
        disable_progress_bar()  # transformers' own: a line for each file that is read or saved
        self.config, self.data, self.about, self.descriptions, self.work = config, data, about, descriptions, work
        self.place = named_models([config.model])[0].place
        self.tokenizer = load_tokenizer(self.place)
        self._features: dict[str, list[Encoded]] = {}
        self._encoded: dict[str, list[Encoded]] = {}

    def run(self, seed: int) -> dict[str, Any]:
        """Rows of results and the fit of one seed; nothing is computed again for one that is done."""
        folder = self.work / f"seed-{seed}"
        if not (folder / "done.json").is_file():
            folder.mkdir(exist_ok=True)
            self._run(seed, folder)
        return read_json(folder / "done.json")

    def _run(self, seed: int, folder: Path) -> None:
        config, data = self.config, self.data
        set_seed(seed)
        examples, mixed_examples = self._examples(seed)
        mlc = load_encoder(self.place)
        longest = longest_input(mlc, self.tokenizer, config.training.max_length)
        model = new_model(mlc, data.task, examples, config.head, config.tuning, config.training)
        model.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type]
        encoder = ExampleEncoder(model.config, self.tokenizer, longest)
        _describe(model, len(examples), self.about)
        tests = [self._encode(part, encoder) for part in data.tests]
        floor: list[Result] = []
        if data.task.kind == "retrieval" and seed == config.seed:
            with step("testing the encoder as it is"):
                floor = untuned_rows(model, data, tests)
        report = self._fit(model, encoder, encoder.encode(examples), seed, folder)
        with step(f"testing {len(data.tests)} sets"):
            rows = test_rows(model, data, tests)
        _warn_of_losses(encoder, longest)
        if config.keep == "all" or seed == config.seed:
            self._save(model, folder / "model")
        found = [{**asdict(row), **self.about, "seed": seed} for row in rows]
        floor_rows = [{**asdict(row), **self.about, "direction": "floor"} for row in floor]
        done = {"rows": found, "run": asdict(report), "floor": floor_rows, "mixed": mixed_examples}
        write_json(folder / "done.json", done)
        for checkpoint in folder.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)

    def _examples(self, seed: int) -> tuple[Examples, dict[str, int]]:
        """The training examples of a seed, and what mixing the sides of pairs did to how many of them."""
        config, data = self.config, self.data
        examples = data.train_for(seed, config.shots, config.max_examples)
        if not config.mixed_sides:
            return examples, {}
        pairs = [example for example in examples if isinstance(example, Example)]
        found, counts = mixed(pairs, data.train, config.mixed_sides, seed)
        said = ", ".join(f"{number:,} x {what}" for what, number in counts.most_common())
        console.print(f"  [dim]mixed sides: {said or 'none'}[/dim]", soft_wrap=True)
        return found, dict(counts.most_common())

    def _fit(
        self, model: MLCTaskModel, encoder: ExampleEncoder, train: list[Encoded], seed: int, folder: Path
    ) -> FitReport:
        config, parts = self.config, self.data.dev
        if config.tuning.method in FEW_SHOT:
            few = {"encoder": encoder, "descriptions": self.descriptions}
            return fit_few_shot(model, train, config.tuning, config.training, seed=seed, **few)  # type: ignore[arg-type]
        sets = [self._encode(part, encoder) for part in parts]
        dev = Dev(sets, lambda number, predicted: headline(parts[number], predicted)) if sets else None
        same_for_all_seeds = config.shots is None and config.max_examples is None and not config.mixed_sides
        cache = self._features if same_for_all_seeds else None
        return fit(model, train, dev, config.tuning, config.training, seed=seed, folder=folder, cache=cache)

    def _encode(self, part: Part, encoder: ExampleEncoder) -> list[Encoded]:
        if part.name not in self._encoded:
            self._encoded[part.name] = encoder.encode(part.examples)
        return self._encoded[part.name]

    def _save(self, model: MLCTaskModel, folder: Path) -> None:
        """A Hugging Face folder with the tokenizer and, in mlcl.json, where it comes from.

        What is fitted for retrieval is an encoder, and is saved as one: its head has no weights.
        """
        source = Path(self.place) / "mlcl.json"
        info = {
            "languages": read_json(source).get("languages", []) if source.is_file() else [],
            "task": self.data.task.name,
            "labels": model.config.labels,
            "train_language": self.about["train_language"],
            "settings": json.loads(json.dumps(asdict(self.config))),
        }
        with atomic_directory(folder, overwrite=True) as partial:
            (model.mlc if model.config.kind == "retrieval" else model).save_pretrained(partial)
            self.tokenizer.save_pretrained(partial)
            write_json(partial / "mlcl.json", info)


def _describe(model: MLCTaskModel, examples: int, about: Mapping[str, Any]) -> None:
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    of = f" of {about['train_language']}" if about["train_language"] else ""
    how = f"{model.config.head} head, {about['direction']}; {examples:,} examples{of}"
    console.print(f"  {millions:.1f} M parameters, {how}")
    if not model.mlc.supports_packing:
        kind = model.mlc.backbone.config.model_type
        warn(f"a {kind} backbone cannot run packed here; batches are padded by length")


def _warn_of_losses(encoder: ExampleEncoder, longest: int) -> None:
    if encoder.cut_texts:
        warn(f"{encoder.cut_texts:,} texts are longer than {longest} tokens and were cut")
    if encoder.cut_words:
        warn(f"{encoder.cut_words:,} words lie beyond {longest} tokens and are tagged O")
    if encoder.lost_words:
        warn(f"{encoder.lost_words:,} words are nothing to the tokenizer and are tagged O")
