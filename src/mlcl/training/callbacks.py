"""What happens beside the step: the clock, the momentum update, `metrics.jsonl`, the progress line."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress, TaskID, TextColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from mlcl.core.progress import bar, console
from mlcl.training.distributed import of_first_rank


class StopwatchCallback(TrainerCallback):
    """Training time over all sessions of a run, and the momentum update after each optimiser update.

    Attributes:
        before: Seconds of earlier sessions, restored from a checkpoint.
        cpu_before: The same in CPU seconds.
        agreed: `elapsed` of rank 0 after the last update. What all ranks must decide alike (the learning rate, the end
            of a time budget) goes by it.
    """

    def __init__(self) -> None:
        self.before = 0.0
        self.cpu_before = 0.0
        self.agreed = 0.0
        self.trainer: Any = None
        self._start: float | None = None
        self._cpu_start: float | None = None
        self._lap = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds of training so far, evaluation and checkpoints included."""
        return self.before + (0.0 if self._start is None else time.monotonic() - self._start)

    @property
    def cpu_elapsed(self) -> float:
        """CPU seconds of this process and its threads in training so far; data-loader processes are not counted."""
        return self.cpu_before + (0.0 if self._cpu_start is None else time.process_time() - self._cpu_start)

    def agree(self, device: torch.device | str) -> None:
        """Take over the clock of rank 0; every rank must call it."""
        self.agreed = of_first_rank(self.elapsed, device)

    def lap(self) -> float:
        """Seconds since the last call, for rates."""
        now = time.monotonic()
        seconds, self._lap = now - self._lap, now
        return max(seconds, 1e-9)

    def on_train_begin(self, args: TrainingArguments, *_: Any, **__: Any) -> None:
        """Start the clock."""
        self._start = self._lap = time.monotonic()
        self._cpu_start = time.process_time()
        self.agree(args.device)

    def on_optimizer_step(self, args: TrainingArguments, *_: Any, **__: Any) -> None:
        """One update of the weights is done."""
        self.trainer.after_update()
        self.agree(args.device)

    def on_evaluate(self, *_: Any, **__: Any) -> None:
        """Evaluation is no training time for the rates."""
        self._lap = time.monotonic()

    on_save = on_evaluate


class StopAtBudget(TrainerCallback):
    """Ends training when `max_minutes` are over; the last step is evaluated and saved like any last step."""

    def __init__(self, stopwatch: StopwatchCallback) -> None:
        self.stopwatch = stopwatch

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Look at the clock."""
        budget = getattr(args, "max_minutes", None)
        if budget is not None and self.stopwatch.agreed >= 60 * budget:
            control.should_training_stop = control.should_log = True
            control.should_evaluate = args.eval_strategy != IntervalStrategy.NO
            control.should_save = args.save_strategy != SaveStrategy.NO
        return control


class MetricsFile(TrainerCallback):
    """Appends one JSON line per logging step to `metrics.jsonl`; a resumed run first drops the lines it repeats."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Keep the lines up to the step that the run continues from."""
        if not state.is_world_process_zero:
            return
        path = _metrics_path(args)
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = []
        if path.exists():
            lines = path.read_text(encoding="utf-8").split("\n")
            kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= state.global_step]
        path.write_text("".join(line + "\n" for line in kept if state.global_step), encoding="utf-8")

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        """Write the line."""
        if state.is_world_process_zero and logs:
            with _metrics_path(args).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step, **logs}) + "\n")


def _metrics_path(args: TrainingArguments) -> Path:
    return Path(args.output_dir or ".") / "metrics.jsonl"


class ProgressLine(TrainerCallback):
    """A live line with both terms and the rate; without a terminal, one plain line now and then."""

    def __init__(self, plain_every_seconds: float = 30.0) -> None:
        self.plain_every_seconds = plain_every_seconds
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._plain_at = 0.0
        self._text = ""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Open the bar: over minutes when there is a time budget, over steps otherwise."""
        if not state.is_world_process_zero:
            return
        self._budget = getattr(args, "max_minutes", None)
        self._start = time.monotonic()
        self._bar = bar()
        self._bar.columns = (*self._bar.columns, TextColumn("{task.fields[text]}"))
        total = None if self._budget else state.max_steps
        self._task = self._bar.add_task("training", total=total, completed=state.global_step, text="")
        self._bar.start()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Move the bar."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=state.global_step, text=self._text)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        """Show the newest numbers."""
        if not state.is_world_process_zero:
            return
        logs = logs or {}
        if "eval_accuracy" in logs:
            console.print(f"  step {state.global_step}: dev retrieval accuracy {100 * logs['eval_accuracy']:.1f} %")
        if "loss" not in logs:
            return
        terms = [f"{name} {logs[key]:.3f}" for name, key in (("InfoNCE", "info_nce"), ("LM", "lm")) if key in logs]
        self._text = f"{'  '.join(terms)}  {logs['pairs_per_second']:.0f} pairs/s  lr {logs['lr']:.1e}"
        if not console.is_terminal and time.monotonic() - self._plain_at > self.plain_every_seconds:
            self._plain_at = time.monotonic()
            minutes = (self._plain_at - self._start) / 60
            console.print(f"  step {state.global_step}, {minutes:.1f} min: {self._text}")

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
