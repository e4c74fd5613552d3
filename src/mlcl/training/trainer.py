"""`MLCTrainer`: the joint objective on the Hugging Face Trainer.

In: an `MLCModel`, arguments, and a corpus source or a data set with anchor and positive columns. Out: a trained model,
`metrics.jsonl`, and checkpoints that hold all state.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import AutoTokenizer, PrinterCallback, ProgressCallback, TrainerCallback
from transformers.trainer_callback import TrainerState

from mlcl.core.errors import UserError
from mlcl.core.progress import warn
from mlcl.model.model import MLCModel
from mlcl.objectives import NegativeQueue
from mlcl.training.arguments import MLCTrainingArguments
from mlcl.training.batching import Batch
from mlcl.training.callbacks import MetricsFile, ProgressLine, StopAtBudget, StopwatchCallback
from mlcl.training.distributed import mean_over_ranks, world_size
from mlcl.training.dynamics import Dynamics
from mlcl.training.forward import attach
from mlcl.training.grad_cache import cached_step
from mlcl.training.lm_weighting import TERMS
from mlcl.training.memory import peak_memory
from mlcl.training.momentum import MomentumEncoder
from mlcl.training.nan_guard import NanGuard
from mlcl.training.optimizer import row_sparse
from mlcl.training.perturbation import perturbed
from mlcl.training.retrieval_dev import DevPairs, retrieval_accuracy
from mlcl.training.row_trainer import RowTrainer
from mlcl.training.schedule import timed_schedule
from mlcl.training.sharding import (
    check_shardable,
    choose_units,
    full_state_dict,
    keep_embedding_gathered,
    shard_like_online,
)
from mlcl.training.sources import as_source, data_seed, loader
from mlcl.training.step import Objective, Terms
from mlcl.training.temperature import Temperature
from mlcl.training.terms import Context, FurtherTerms


class MLCTrainer(RowTrainer):
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
        longest = args.longest_sentence(model.max_length, model.reach)
        self.source = None
        if train_dataset is not None:
            self.source = as_source(train_dataset, args, processing_class, longest, data_collator, family=model.family)
        if args.n_gpu > 1:
            warn(f"one process uses one of the {args.n_gpu} GPUs; start with torchrun --nproc-per-node {args.n_gpu}")
            args._n_gpu = 1  # else transformers wraps the model in nn.DataParallel, which knows no packed streams
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
        if self.is_fsdp_enabled:
            check_shardable(model, uses_lm=args.uses_lm, perturbs=args.fgm_radius > 0)
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        self.model_accepts_loss_kwargs = False  # our terms are means already: divide by the accumulation steps
        attach(model)
        self.momentum: MomentumEncoder | None = None
        self.queue: NegativeQueue | None = None
        if args.uses_queue:
            self.momentum = MomentumEncoder(model, args.momentum).to(args.device)
            self.queue = NegativeQueue(args.queue_size, model.dimension).to(args.device)
        self.temperature = Temperature(args.temperature, learnable=args.learnable_temperature).to(args.device)
        context = Context(model.dimension, model=model, special_ids=getattr(processing_class, "all_special_ids", None))
        if (source := self.source) is not None:
            context = replace(context, languages=source.languages, provides=source.provides, widths=source.widths)
        further = FurtherTerms(args.objectives, context).to(args.device)
        if args.fp16 and next(further.parameters(), None) is not None:
            raise UserError(
                "objectives with parameters of their own cannot be used with fp16 and its loss scale: "
                f"{', '.join(name for name, term in further.terms.items() if list(term.parameters()))}",
                remedy="use bf16",
            )
        self.joint_objective = Objective(
            args, self.temperature, self.momentum, self.queue, self.accelerator.autocast, further
        )
        self._totals: dict[str, Tensor] = {}
        languages = () if self.source is None else self.source.languages
        dev = self.eval_dataset if isinstance(self.eval_dataset, DevPairs) else None
        self.dynamics = Dynamics(self.joint_objective, dev, args.device, languages)
        self.guard = NanGuard(Path(args.output_dir or "."), processing_class, data_seed(args))
        self._values: dict[str, Tensor] = {}
        self._waited = 0.0
        if self.is_fsdp_enabled and (args.dynamics_steps or args.lm_balance == "gradient"):
            raise UserError("gradients of single terms cannot be measured under FSDP", remedy="dynamics_steps 0, fixed")

    # --- the step -------------------------------------------------------------------------------------------------

    def compute_loss(  # type: ignore[override]
        self, model: nn.Module, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor | tuple[Tensor, Any]:
        """J of one batch: this rank's share, whose mean over the ranks is J of the batch of all ranks."""
        terms = self.joint_objective.terms(model, inputs)
        self._count(inputs, terms)
        loss = self.joint_objective.total(terms)
        return (loss, terms) if return_outputs else loss

    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Gradients of one micro-batch and, with `fgm_radius`, of the same from perturbed embeddings."""
        objective, step, batch = self.joint_objective, self.state.global_step, self._prepare_inputs(inputs)
        objective.progress, objective.keeps_keys = self.progress, True
        self.dynamics.begin(step, self.mlc, partial(self._measured_gradients, model, batch))
        loss = self._add_gradients(model, batch, num_items_in_batch)
        if self.args.fgm_radius:
            objective.keeps_keys = False
            with perturbed(self.mlc.get_input_embeddings().weight, self.args.fgm_radius):
                self._add_gradients(model, batch, num_items_in_batch)
        self.dynamics.end()
        self.guard.check(batch, self._values, step)
        return loss

    def _measured_gradients(self, model: nn.Module, batch: Batch) -> None:
        """Gradients of J of a batch, for the dynamics: nothing is counted."""
        model.train()
        if self.args.mini_batch_tokens is None:
            self.joint_objective.total(self.joint_objective.terms(model, batch)).backward()
        else:
            cached_step(self.joint_objective, model, batch, self.args.mini_batch_tokens)

    def _add_gradients(self, model: nn.Module, batch: Batch, num_items_in_batch: Any) -> Tensor:
        """Gradients of one micro-batch; with `mini_batch_tokens`, chunk by chunk."""
        if self.args.mini_batch_tokens is None:
            return super().training_step(model, batch, num_items_in_batch)  # type: ignore[arg-type]
        model.train()
        scale = 1 / self.current_gradient_accumulation_steps
        terms = cached_step(
            self.joint_objective,
            model,
            batch,
            self.args.mini_batch_tokens,
            backward=self.accelerator.backward,
            no_sync=partial(self.accelerator.no_sync, model),
            scale=scale,
        )
        self._count(batch, terms)
        return scale * self.joint_objective.total(terms)

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """The batches of an update; the time that they are waited for is logged."""
        start = time.monotonic()
        samples = super().get_batch_samples(*args, **kwargs)
        self._waited += time.monotonic() - start
        return samples

    def after_update(self) -> None:
        """Move what moves once per optimiser update beside the encoder."""
        self.guard.after_update()
        self.joint_objective.after_update(self.mlc, self._get_learning_rate())

    @property
    def progress(self) -> float:
        """Share of the training that is done: of the time or of the steps, whichever ends first."""
        of_steps = self.state.global_step / max(1, self.state.max_steps)
        of_time = 0.0 if self.args.max_minutes is None else self.stopwatch.agreed / (60 * self.args.max_minutes)
        return min(1.0, max(of_steps, of_time))

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
            skip=self.args.skip_batches,
        )

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The schedule by steps or, with `max_minutes`, by what ends first."""
        minutes, optimizer = self.args.max_minutes, optimizer or self.optimizer
        if self.lr_scheduler is None and minutes is not None and optimizer is not None:
            self.lr_scheduler = timed_schedule(optimizer, self.args, lambda: self.stopwatch.agreed / (60 * minutes))
            self._created_lr_scheduler = True
        return super().create_scheduler(num_training_steps, optimizer)

    def _prepare_inputs(self, inputs: Any) -> Any:
        if isinstance(inputs, UserError):  # of a data-loader process
            raise inputs
        return inputs.to(self.args.device) if isinstance(inputs, Batch) else super()._prepare_inputs(inputs)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> None:
        return None

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted."""
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add all terms, rates and padding, over all ranks, to what is logged at a logging step."""
        if "loss" in logs and self._totals:
            seconds, names = self.stopwatch.lap(), sorted(self._totals)
            means = mean_over_ranks(torch.stack([self._totals[name] for name in names]))
            totals = dict(zip(names, means.tolist(), strict=True))
            batches = totals.pop("batches")
            terms = ("info_nce", "lm", *self._further.weights)
            logs |= {name: totals[name] / batches for name in terms if name in totals}
            logs["lr"] = logs.pop("learning_rate")
            logs["pairs_per_second"] = totals["pairs"] * world_size() / seconds
            logs["tokens_per_second"] = totals["tokens"] * world_size() / seconds
            logs["padding_fraction"] = totals["padding"] / batches
            logs["peak_memory_bytes"] = peak_memory()
            if self.queue is not None:
                logs["queue_filled"] = len(self.queue)
            if self.args.learnable_temperature:
                logs["temperature"] = self.temperature.value
            logs["data_wait_fraction"], self._waited = min(1.0, self._waited / seconds), 0.0
            if self.args.lm_balance != "fixed":
                weights = self.joint_objective.weights
                logs |= {f"{name}_weight": weights[name] for name in TERMS}
            logs |= self.dynamics.take()
            self._totals = {}
        super().log(logs, start_time)

    def _count(self, batch: Batch, terms: Terms) -> None:
        if not self.joint_objective.keeps_keys:
            return  # the second look at a batch
        self._values = terms.named()
        self.joint_objective.weighting.observe(self._values)
        self.dynamics.count(batch.languages)
        padding = self.mlc.padding_of(batch.online.lengths)
        amounts: dict[str, Any] = {"batches": 1, "pairs": batch.pairs, "tokens": batch.tokens, "padding": padding}
        for name, amount in (
            amounts | terms.named()
        ).items():  # tensors: a number would make the host wait for the GPU in each step
            amount = torch.as_tensor(amount, dtype=torch.float64, device=self.args.device).detach()
            self._totals[name] = self._totals[name] + amount if name in self._totals else amount

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:  # type: ignore[override]
        """Retrieval accuracy over the dev pairs, both directions: `eval_accuracy`."""
        if not isinstance(self.eval_dataset, DevPairs):
            raise UserError("there is nothing to evaluate on", remedy="give eval_dataset")
        start = time.monotonic()
        with self.accelerator.autocast():
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
        self.stopwatch.trainer = self
        embedding = self.mlc.get_input_embeddings()
        with row_sparse(embedding, self.updates_rows()):
            return super().train(*args, **kwargs)

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        norm = super()._clip_grad_norm(model)
        if norm is not None and not self.args.fp16:  # whose loss scale meets infinite gradients on purpose
            self.guard.check_gradients(float(norm), self.state.global_step)
        return norm

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        if self.is_fsdp_enabled:
            choose_units(self.accelerator.state.fsdp_plugin, self.mlc)
        prepared = super()._prepare_for_training(*args, **kwargs)
        if self.is_fsdp_enabled:
            keep_embedding_gathered(self.mlc)
            if self.momentum is not None:
                self.momentum.encoder = shard_like_online(self.accelerator, self.momentum.encoder)
        return prepared

    # --- checkpoints ----------------------------------------------------------------------------------------------

    def own_state(self) -> dict[str, Any]:
        """Clock, temperature, momentum encoder, queue, further terms, a lambda that is learnt, and dynamics."""
        return {
            "elapsed": self.stopwatch.elapsed,
            "cpu_elapsed": self.stopwatch.cpu_elapsed,
            "temperature": self.temperature.state_dict() if self.args.learnable_temperature else None,
            "momentum": None if self.momentum is None else full_state_dict(self.momentum),
            "queue": None if self.queue is None else self.queue.state_dict(),
            "objectives": self._further.state_dict() if self._further else None,
            "layout": None if self.source is None else self.source.layout,
            "lm_balance": self.joint_objective.weighting.state_dict() or None,
            "dynamics": self.dynamics.state_dict(),
        }

    def load_own_state(self, state: dict[str, Any], path: Path) -> None:
        """Continue from `own_state`.

        Raises:
            UserError: the arguments ask for other parts than the checkpoint has.
        """
        self.stopwatch.before, self.stopwatch.cpu_before = state["elapsed"], state.get("cpu_elapsed", 0.0)
        self.stopwatch.agree(self.args.device)
        here = None if self.source is None else self.source.layout
        if (there := state.get("layout")) != here:
            raise UserError(f"the stream of this checkpoint had {there}, this run has {here}", path=path)
        temperature = self.temperature if self.args.learnable_temperature else None
        further, weighting = self._further or None, self.joint_objective.weighting
        parts: dict[str, Any] = {"momentum": self.momentum, "queue": self.queue, "temperature": temperature}
        parts |= {"objectives": further, "lm_balance": weighting if weighting.state_dict() else None}
        self.dynamics.load_state_dict(state.get("dynamics"))
        for name, module in parts.items():
            saved = state.get(name)
            try:
                if (module is None) != (saved is None):
                    raise KeyError(name)
                if module is not None and saved is not None:
                    module.load_state_dict(saved)
            except (KeyError, RuntimeError) as error:
                raise UserError(f"the checkpoint and the arguments disagree about the {name}", path=path) from error

    @property
    def _further(self) -> FurtherTerms:
        return self.joint_objective.further

    def is_finished(self, state: TrainerState, own: dict[str, Any]) -> bool:
        """Whether the steps are done or the time is used up."""
        budget = self.args.max_minutes
        return super().is_finished(state, own) or (budget is not None and own["elapsed"] >= 60 * budget)


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
    if args.overwrite_output_dir and args.should_save:
        for checkpoint in out.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
        (out / "metrics.jsonl").unlink(missing_ok=True)


def _as_dev(data: Any, args: MLCTrainingArguments, tokenizer: Any) -> DevPairs | None:
    return data if data is None or isinstance(data, DevPairs) else DevPairs.from_rows(data, tokenizer, args.max_length)
