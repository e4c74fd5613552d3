"""`TaskTrainer`: the Hugging Face Trainer for an `MLCTaskModel`, and its arguments.

In: a prepared model and encoded examples. Out: the trained model, the best checkpoint of the dev score; `metrics.jsonl`
and checkpoints after each epoch, which hold what is trained and no more.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PrinterCallback, ProgressCallback, TrainerCallback, TrainerControl, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import TrainerState
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.utils import SAFE_WEIGHTS_NAME

from mlcl.core.hardware import bf16_pays
from mlcl.core.progress import console
from mlcl.finetuning.encoding import Encoded, collate
from mlcl.finetuning.model import MLCTaskModel, task_loss
from mlcl.finetuning.settings import FitSettings, Tuning, epochs_of, head_learning_rate_of, learning_rate_of
from mlcl.finetuning.tuning import parameter_groups, unfreeze_top
from mlcl.training.callbacks import MetricsFile, ProgressLine, StopwatchCallback
from mlcl.training.checkpointing import CheckpointedTrainer
from mlcl.training.distributed import world_size
from mlcl.training.optimizer import RowAdamW, clip_gradients, row_sparse


def training_arguments(settings: FitSettings, folder: Path, examples: int, seed: int, *, has_dev: bool) -> Any:
    """Hugging Face arguments of a fit whose checkpoints go to `folder`."""
    epochs, updates = epochs_of(settings, examples), math.ceil(examples / settings.batch_size)
    args = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=epochs,
        per_device_train_batch_size=settings.batch_size,
        warmup_steps=math.ceil(settings.warmup * epochs * updates),
        seed=seed,
        bf16=bf16_pays(),
        use_cpu=not torch.cuda.is_available(),
        eval_strategy="epoch" if has_dev else "no",
        save_strategy="epoch",
        load_best_model_at_end=has_dev,
        metric_for_best_model="score" if has_dev else None,
        greater_is_better=True if has_dev else None,
        save_total_limit=1,
        logging_steps=max(1, min(50, updates // 2)),
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        report_to="none",
        disable_tqdm=True,
    )
    args._n_gpu = min(1, args.n_gpu)  # else transformers wraps the model in nn.DataParallel, which cuts streams
    return args


class TaskTrainer(CheckpointedTrainer):
    """Fits a model whose trainable parts are marked.

    Args:
        model: The model, after `tuning.prepare`.
        args: From `training_arguments`.
        train: Encoded examples.
        settings: Rates and patience.
        tuning: For layer-wise rates and gradual unfreezing.
        dev_score: Model -> the number that chooses the checkpoint, higher is better; None = the last one is kept.
        class_weights: (outputs,) weights of the labels.
    """

    def __init__(
        self,
        model: MLCTaskModel,
        args: Any,
        train: list[Encoded],
        settings: FitSettings,
        tuning: Tuning,
        dev_score: Callable[[MLCTaskModel], float] | None = None,
        class_weights: Tensor | None = None,
    ) -> None:
        self.settings, self.tuning, self.dev_score = settings, tuning, dev_score
        self.stopwatch = StopwatchCallback()
        callbacks: list[TrainerCallback] = [self.stopwatch, MetricsFile(), _Progress(settings.batch_size)]
        if settings.patience and dev_score is not None:
            callbacks.append(_EarlyStop(settings.patience))
        if tuning.method == "gradual":
            callbacks.append(_Unfreeze())
        super().__init__(
            model=model,
            args=args,
            train_dataset=train,  # type: ignore[arg-type]
            eval_dataset=None if dev_score is None else [],  # type: ignore[arg-type]  # `evaluate` asks `dev_score`
            data_collator=collate,
            callbacks=callbacks,
        )
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        self.model_accepts_loss_kwargs = False  # our loss is a mean already
        self.class_weights = None if class_weights is None else class_weights.to(args.device)

    @property
    def task_model(self) -> MLCTaskModel:
        """The model without what accelerate wrapped around it."""
        return self.accelerator.unwrap_model(self.model)

    def compute_loss(  # type: ignore[override]
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss of one batch."""
        output = model(**inputs)
        loss = task_loss(self.task_model.config.kind, output.logits, inputs["labels"], self.class_weights)
        return (loss, output) if return_outputs else loss

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> None:
        return None

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted."""
        return 0

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Batches of similar length, in random order: attention then has one or two blocks instead of seven."""
        examples = self.train_dataset if train_dataset is None else train_dataset
        lengths = [example.tokens for example in examples]  # type: ignore[union-attr]
        if not any(lengths):  # features
            return super()._get_train_sampler(train_dataset)
        return LengthGroupedSampler(self._train_batch_size, lengths=lengths)

    def create_optimizer(self, model: Any = None) -> Any:
        """AdamW that knows of rows, with the rates of the settings."""
        if self.optimizer is None:
            task_model = self.task_model
            width = task_model.mlc.backbone.config.hidden_size
            groups = parameter_groups(
                task_model,
                learning_rate=learning_rate_of(self.settings, self.tuning, width),
                head_learning_rate=head_learning_rate_of(self.settings, self.tuning),
                weight_decay=self.settings.weight_decay,
                layer_decay=self.tuning.layer_decay,
            )
            self.optimizer = RowAdamW(groups, fused=True)  # else as slow as half a backward on a CPU
        return self.optimizer

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        return clip_gradients(model.parameters(), self.args.max_grad_norm)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        return grad_norm

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:  # type: ignore[override]
        """The dev score: `eval_score`."""
        assert self.dev_score is not None
        start = time.monotonic()
        metrics = {"eval_score": float(self.dev_score(self.task_model)), "eval_runtime": time.monotonic() - start}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train; with `resume_from_checkpoint`, go on where a killed run stopped."""
        self.stopwatch.trainer = self
        checkpoint = args[0] if args else kwargs.get("resume_from_checkpoint")
        if checkpoint is not None:
            state = _at_home(Path(checkpoint))
            if self._stopped_early(state):  # and was killed before its model was saved
                best = Path(state.best_model_checkpoint or checkpoint)
                self.task_model.load_state_dict(load_file(best / SAFE_WEIGHTS_NAME), strict=False)
                self.restore_own_state(Path(checkpoint))
                self.state = state
                return None
        embedding = self.task_model.get_input_embeddings()
        assert isinstance(embedding, nn.Embedding)
        rows = self.args.use_cpu and world_size() == 1 and embedding.weight.requires_grad
        with row_sparse(embedding, rows):
            return super().train(*args, **kwargs)

    def _stopped_early(self, state: TrainerState) -> bool:
        patience = self.settings.patience
        return bool(patience) and self.dev_score is not None and _epochs_without_gain(state) >= patience

    def after_update(self) -> None:
        """Nothing moves once per update but the weights."""

    # --- checkpoints: what is trained, and no more ----------------------------------------------------------------

    def own_state(self) -> dict[str, Any]:
        """The clock."""
        return {"elapsed": self.stopwatch.elapsed, "cpu_elapsed": self.stopwatch.cpu_elapsed}

    def load_own_state(self, state: dict[str, Any], path: Path) -> None:
        """Continue the clock."""
        self.stopwatch.before, self.stopwatch.cpu_before = state["elapsed"], state["cpu_elapsed"]

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        every = self.tuning.method == "gradual"  # what is frozen now will move later
        moving = {name for name, weight in self.task_model.named_parameters() if every or weight.requires_grad}
        weights = self.task_model.state_dict() if state_dict is None else state_dict
        super()._save(output_dir, {name: tensor for name, tensor in weights.items() if name in moving})

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Frozen weights are missing on purpose."""


def _at_home(checkpoint: Path) -> TrainerState:
    """The state of a checkpoint, with the best one where it lies now: transformers would keep the last in its place.

    The run may have been moved, or was started from another working directory.
    """
    file = checkpoint / TRAINER_STATE_NAME
    state = TrainerState.load_from_json(str(file))
    if state.best_model_checkpoint is not None:
        here = str(checkpoint.parent / Path(state.best_model_checkpoint).name)
        if here != state.best_model_checkpoint:
            state.best_model_checkpoint = here
            state.save_to_json(str(file))
    return state


def _epochs_without_gain(state: TrainerState) -> int:
    scores = [entry["eval_score"] for entry in state.log_history if "eval_score" in entry]
    return len(scores) - 1 - int(np.argmax(scores)) if scores else 0


class _EarlyStop(TrainerCallback):
    """Ends training after some epochs without a better dev score. It reads the log, so it needs no state of its own."""

    def __init__(self, patience: int) -> None:
        self.patience = patience

    def on_evaluate(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> TrainerControl:
        control.should_training_stop = control.should_training_stop or _epochs_without_gain(state) >= self.patience
        return control


class _Unfreeze(TrainerCallback):
    """Gradual unfreezing at the start of each epoch. The optimiser, made before that, knows all parameters."""

    def on_epoch_begin(
        self, args: Any, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        unfreeze_top(model, round(state.epoch or 0))


class _Progress(ProgressLine):
    """The progress line of a fit: loss, examples a second, and the dev score after each epoch."""

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self._last = (0, time.monotonic())

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        super().on_train_begin(args, state, control)
        self._last = (state.global_step, time.monotonic())

    def on_log(self, args: Any, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any) -> None:
        logs, now = logs or {}, time.monotonic()
        if "eval_score" in logs and state.is_world_process_zero:
            console.print(f"  epoch {state.epoch:.0f}: dev {logs['eval_score']:.2f}")
        if "loss" in logs:
            (step, then), self._last = self._last, (state.global_step, now)
            rate = (state.global_step - step) * self.batch_size * args.world_size / max(now - then, 1e-9)
            self._text = f"loss {logs['loss']:.3f}  {rate:.0f} examples/s"
            if not console.is_terminal and now - self._plain_at > self.plain_every_seconds:
                self._plain_at = now
                console.print(f"  step {state.global_step} of {state.max_steps}: {self._text}")
