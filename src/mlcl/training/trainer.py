"""`MLCTrainer`: the joint objective on the Hugging Face Trainer.

In: an `MLCModel`, arguments, and a corpus source or a data set with anchor and positive columns. Out: a trained model,
`metrics.jsonl`, and checkpoints that hold all state.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import AutoTokenizer, PrinterCallback, ProgressCallback, Trainer, TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import TrainerState
from transformers.trainer_utils import rotate_checkpoints

from mlcl.core.errors import UserError
from mlcl.model.config import MLCConfig
from mlcl.model.model import MLCModel
from mlcl.objectives import NegativeQueue, info_nce, masked_lm_loss
from mlcl.training.arguments import MLCTrainingArguments
from mlcl.training.batching import Batch, Masking
from mlcl.training.callbacks import MetricsFile, ProgressLine, StopAtBudget, StopwatchCallback
from mlcl.training.momentum import MomentumEncoder
from mlcl.training.retrieval_dev import DevPairs, retrieval_accuracy
from mlcl.training.schedule import timed_schedule
from mlcl.training.sources import BatchSettings, Source, TextSource, loader

_STATE_FILE = "mlcl_state.pt"
_STAGING = ".checkpoint-in-progress"


class MLCTrainer(Trainer):
    """Trains an `MLCModel` with J = w * InfoNCE + lambda * LM.

    Args:
        model: The model.
        args: The arguments.
        train_dataset: A `Source`, or rows with the texts `anchor`, `positive` and optionally `negative`
            (a `datasets.Dataset` as it is).
        data_collator: For rows only: turns a list of rows into a `Batch` instead of the built-in way.
        eval_dataset: `DevPairs`, or rows with `anchor` and `positive`; scored by retrieval accuracy.
        processing_class: Tokenizer of the rows; None = that of the model that `MLCConfig.model_name` named.
        callbacks: Further callbacks.
        optimizers: Optimiser and schedule instead of the built-in ones.

    Raises:
        UserError: arguments that do not fit the data or the model.
    """

    args: MLCTrainingArguments

    def __init__(
        self,
        model: MLCModel,
        args: MLCTrainingArguments,
        train_dataset: Any = None,
        data_collator: Callable[[list[dict[str, Any]]], Batch] | None = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
    ) -> None:
        processing_class = processing_class or _tokenizer_of(model)
        _check_output(args)
        self.source = _as_source(train_dataset, args, processing_class, data_collator, model)
        self.stopwatch = StopwatchCallback()
        own = [self.stopwatch, StopAtBudget(self.stopwatch), MetricsFile(), ProgressLine()]
        super().__init__(
            model=model,
            args=args,
            train_dataset=self.source,
            eval_dataset=_as_dev(eval_dataset, args, processing_class),
            processing_class=processing_class,
            callbacks=[*own, *(callbacks or [])],
            optimizers=optimizers,
        )
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        self.model_accepts_loss_kwargs = False  # our terms are means already: divide by the accumulation steps
        self.momentum: MomentumEncoder | None = None
        self.queue: NegativeQueue | None = None
        if args.uses_queue:
            self.momentum = MomentumEncoder(model, args.momentum).to(args.device)
            self.queue = NegativeQueue(args.queue_size, model.dimension).to(args.device)
        self._new_keys: list[tuple[Tensor, Tensor]] = []
        self._totals: dict[str, float] = {}

    @property
    def _out(self) -> Path:
        return Path(self.args.output_dir or ".")

    @property
    def mlc(self) -> MLCModel:
        """The model without what accelerate wrapped around it."""
        return self.accelerator.unwrap_model(self.model)

    # --- the step -------------------------------------------------------------------------------------------------

    def compute_loss(  # type: ignore[override]
        self, model: nn.Module, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor | tuple[Tensor, Any]:
        """J of one batch. Each term is divided by its own count, so that lambda means what it says."""
        output = model(inputs.online.input_ids, lengths=inputs.online.lengths)
        loss = torch.zeros((), device=inputs.ids.device)
        if self.args.info_nce_weight > 0:
            term = self._contrast(inputs, inputs.online.restore(output.embeddings))
            loss = loss + self.args.info_nce_weight * term
            self._count(info_nce=float(term.detach()))
        if inputs.labels is not None and self.args.lm_weight > 0:
            term = self._language_model(inputs, output.last_hidden_state)
            loss = loss + self.args.lm_weight * term
            self._count(lm=float(term.detach()))
        self._count(
            batches=1, pairs=inputs.pairs, tokens=inputs.tokens, padding=self.mlc.padding_of(inputs.online.lengths)
        )
        return (loss, output) if return_outputs else loss

    def _contrast(self, batch: Batch, embeddings: Tensor) -> Tensor:
        vectors = F.normalize(embeddings.float(), dim=-1)
        anchors, positives, hard = vectors[: 2 * batch.pairs + batch.hard_negatives].split(
            [batch.pairs, batch.pairs, batch.hard_negatives]
        )
        negatives, negative_ids = [hard], [batch.negative_ids]
        if self.queue is not None and self.momentum is not None and batch.keys is not None and self.mlc.training:
            negatives.append(self.queue.vectors)
            negative_ids.append(self.queue.ids)
            with torch.no_grad(), self.autocast_smart_context_manager():
                output = self.momentum.encoder(batch.keys.input_ids, lengths=batch.keys.lengths)
            keys = F.normalize(batch.keys.restore(output.embeddings).float(), dim=-1)
            self._new_keys.append((keys, batch.ids))
        return info_nce(
            anchors,
            positives,
            negatives=torch.cat(negatives),
            temperature=self.args.temperature,
            symmetric=self.args.symmetric,
            margin=self.args.margin,
            ids=batch.ids,
            negative_ids=torch.cat(negative_ids),
        )

    def _language_model(self, batch: Batch, hidden: Tensor) -> Tensor:
        model = self.mlc
        assert batch.labels is not None
        masked = batch.labels != -100
        states = model.lm_head(hidden[masked])  # only masked positions reach the head
        weight = model.get_input_embeddings().weight
        return masked_lm_loss(states, weight, batch.labels[masked], model.lm_head.bias)

    def after_update(self) -> None:
        """Move the momentum encoder and the queue: once per optimiser update, however many micro-batches it had."""
        if self.momentum is None or self.queue is None:
            return
        self.momentum.update(self.mlc)
        for keys, ids in self._new_keys:
            self.queue.enqueue(keys, ids)
        self._new_keys.clear()

    # --- hooks of the Hugging Face Trainer ------------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches of this rank. Not prepared by accelerate: the source knows ranks and makes any batch by number."""
        if self.source is None:
            raise UserError("there is nothing to train on", remedy="give train_dataset")
        return loader(
            self.source,
            rank=self.args.process_index,
            world_size=self.args.world_size,
            workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory and not self.args.use_cpu,
        )

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The schedule by steps or, with `max_minutes`, by the clock."""
        minutes, optimizer = self.args.max_minutes, optimizer or self.optimizer
        if self.lr_scheduler is None and minutes is not None and optimizer is not None:
            self.lr_scheduler = timed_schedule(optimizer, self.args, lambda: self.stopwatch.elapsed / (60 * minutes))
            self._created_lr_scheduler = True
        return super().create_scheduler(num_training_steps, optimizer)

    def _prepare_inputs(self, inputs: Any) -> Any:
        return inputs.to(self.args.device) if isinstance(inputs, Batch) else super()._prepare_inputs(inputs)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> None:
        return None

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted."""
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add both terms, rates and padding to what is logged at a logging step."""
        if "loss" in logs and self._totals:
            totals, seconds = self._totals, self.stopwatch.lap()
            batches = totals.pop("batches")
            logs |= {name: totals[name] / batches for name in ("info_nce", "lm") if name in totals}
            logs["lr"] = logs.pop("learning_rate")
            logs["pairs_per_second"] = totals["pairs"] / seconds
            logs["tokens_per_second"] = totals["tokens"] / seconds
            logs["padding_fraction"] = totals["padding"] / batches
            logs["peak_memory_bytes"] = _peak_memory()
            if self.queue is not None:
                logs["queue_filled"] = len(self.queue)
            self._totals = {}
        super().log(logs, start_time)

    def _count(self, **amounts: float) -> None:
        for name, amount in amounts.items():
            self._totals[name] = self._totals.get(name, 0.0) + amount

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:  # type: ignore[override]
        """Retrieval accuracy over the dev pairs, both directions: `eval_accuracy`."""
        if not isinstance(self.eval_dataset, DevPairs):
            raise UserError("there is nothing to evaluate on", remedy="give eval_dataset")
        start = time.monotonic()
        with self.autocast_smart_context_manager():
            accuracy = retrieval_accuracy(self.mlc, self.eval_dataset, self.args.device)
        metrics = {
            "eval_accuracy": accuracy,
            "eval_n": len(self.eval_dataset),
            "eval_runtime": time.monotonic() - start,
        }
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train; `resume_from_checkpoint=True` continues from the last whole checkpoint."""
        shutil.rmtree(self._out / _STAGING, ignore_errors=True)
        self.stopwatch.trainer = self
        checkpoint = kwargs.get("resume_from_checkpoint")
        if isinstance(checkpoint, str) and (Path(checkpoint) / TRAINER_STATE_NAME).is_file():
            state = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE_NAME))
            if 0 < self.args.max_steps <= state.global_step:  # transformers would train one step more
                self._load_from_checkpoint(checkpoint)
                self.state = state
                return None
        return super().train(*args, **kwargs)

    # --- checkpoints ----------------------------------------------------------------------------------------------

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Write everything into a staging folder and rename it: a checkpoint is whole or not there."""
        out = self._out
        staged = out / _STAGING / f"checkpoint-{self.state.global_step}"
        if self.args.should_save:
            shutil.rmtree(staged.parent, ignore_errors=True)
            staged.mkdir(parents=True)
            torch.save(self._own_state(), staged / _STATE_FILE)
        super()._save_checkpoint(model, trial)  # _get_output_dir sends it to the staging folder
        if not self.args.should_save:
            return
        final = out / staged.name
        shutil.rmtree(final, ignore_errors=True)
        staged.rename(final)
        staged.parent.rmdir()
        best = out / f"checkpoint-{self.state.best_global_step}"
        if self.state.best_global_step and best.exists():
            self.state.best_model_checkpoint = str(best)
        rotate_checkpoints(
            output_dir=str(out),
            save_total_limit=self.args.save_total_limit,
            best_model_checkpoint=self.state.best_model_checkpoint,
            use_mtime=False,
        )

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._out / _STAGING)

    def _own_state(self) -> dict[str, Any]:
        return {
            "elapsed": self.stopwatch.elapsed,
            "momentum": None if self.momentum is None else self.momentum.state_dict(),
            "queue": None if self.queue is None else self.queue.state_dict(),
        }

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        _check_architecture(self.mlc, Path(resume_from_checkpoint))
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        path = Path(resume_from_checkpoint) / _STATE_FILE
        if not path.is_file():
            raise UserError("this is no checkpoint of an MLC run", path=path.parent)
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.stopwatch.before = state["elapsed"]
        for name, module in (("momentum", self.momentum), ("queue", self.queue)):
            if (module is None) != (state[name] is None):
                raise UserError(f"the checkpoint and the arguments disagree about the {name}", path=path)
            if module is not None:
                module.load_state_dict(state[name])


def _tokenizer_of(model: MLCModel) -> Any:
    name = model.started_from or model.name_or_path
    if not name:
        return None
    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError):
        return None


def _check_output(args: MLCTrainingArguments) -> None:
    out = Path(args.output_dir or ".")
    if args.overwrite_output_dir and args.resume_from_checkpoint:
        raise UserError("overwrite_output_dir and resume_from_checkpoint exclude each other")
    if args.overwrite_output_dir:
        for checkpoint in out.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
        (out / "metrics.jsonl").unlink(missing_ok=True)


def _check_architecture(model: MLCModel, checkpoint: Path) -> None:
    """Refuse a checkpoint whose model differs, and say in what."""
    saved = MLCConfig.from_pretrained(checkpoint)
    here, there = (
        {**(c.backbone or {}), "pooling": c.pooling, "proj_size": c.proj_size} for c in (model.config, saved)
    )
    different = sorted(key for key in here.keys() | there.keys() if here.get(key) != there.get(key))
    if different:
        what = ", ".join(f"{key} is {there.get(key)} there and {here.get(key)} here" for key in different[:3])
        raise UserError(f"the checkpoint has another architecture: {what}", path=checkpoint)


def _settings(args: MLCTrainingArguments, tokenizer: Any) -> BatchSettings:
    masking = None
    if args.uses_lm:
        if tokenizer is None or tokenizer.mask_token_id is None:
            raise UserError("the LM term needs a tokenizer with a mask token", remedy="give one, or set lm_weight to 0")
        masking = Masking.of(tokenizer, args.mlm_probability)
    return BatchSettings(
        pairs=args.per_device_train_batch_size,
        lm_sentences=round(args.lm_share * args.per_device_train_batch_size) if args.uses_lm else 0,
        tlm_share=args.tlm_share,
        with_keys=args.uses_queue,
        masking=masking,
        seed=args.seed if args.data_seed is None else args.data_seed,
    )


def _as_source(data: Any, args: MLCTrainingArguments, tokenizer: Any, collate: Any, model: MLCModel) -> Source | None:
    if data is None:
        return None
    settings = _settings(args, tokenizer)
    if isinstance(data, Source):
        data.settings = settings
        return data
    if tokenizer is None and collate is None:
        raise UserError(
            "rows of text need a tokenizer", remedy="pass processing_class=AutoTokenizer.from_pretrained(...)"
        )
    return TextSource(data, tokenizer, min(args.max_length, model.max_length), settings, collate)


def _as_dev(data: Any, args: MLCTrainingArguments, tokenizer: Any) -> DevPairs | None:
    return data if data is None or isinstance(data, DevPairs) else DevPairs.from_rows(data, tokenizer, args.max_length)


def _peak_memory() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
