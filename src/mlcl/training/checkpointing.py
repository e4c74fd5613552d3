"""Checkpoints that are whole or not there, and that hold all state of a run.

In: a Hugging Face `Trainer` and what a subclass adds (`own_state`). Out: `checkpoint-N` folders, each written beside
its place and then renamed.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import TrainerState
from transformers.trainer_utils import get_last_checkpoint, rotate_checkpoints
from transformers.utils import SAFE_WEIGHTS_NAME

from mlcl.core.errors import UserError
from mlcl.model.config import MLCConfig
from mlcl.model.model import MLCModel

_STATE_FILE = "mlcl_state.pt"
_STAGING = ".checkpoint-in-progress"


class CheckpointedTrainer(Trainer):
    """A `Trainer` with atomic checkpoints, state of its own in them, and runs that know when they are finished."""

    @property
    def mlc(self) -> MLCModel:
        """The model without what accelerate wrapped around it."""
        return self.accelerator.unwrap_model(self.model)

    def own_state(self) -> dict[str, Any]:
        """What `Trainer` does not save; called on every rank, that of rank 0 is written."""
        raise NotImplementedError

    def load_own_state(self, state: dict[str, Any], path: Path) -> None:
        """Take `own_state` of a checkpoint up."""
        raise NotImplementedError

    def is_finished(self, state: TrainerState, own: dict[str, Any]) -> bool:
        """Whether the run that wrote this checkpoint was at its end."""
        return 0 < self.args.max_steps <= state.global_step

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train; `resume_from_checkpoint=True` continues from the last whole checkpoint.

        A finished run that is resumed trains no further step.
        """
        if self.args.should_save:
            shutil.rmtree(self._out / _STAGING, ignore_errors=True)
        checkpoint = args[0] if args else kwargs.get("resume_from_checkpoint")
        if checkpoint is True:
            checkpoint = get_last_checkpoint(str(self._out))
        if isinstance(checkpoint, str) and (Path(checkpoint) / TRAINER_STATE_NAME).is_file():
            state = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE_NAME))
            own = _read_own_state(Path(checkpoint))
            if self.is_finished(state, own):  # transformers would train one step more
                _check_architecture(self.mlc, Path(checkpoint))
                self.mlc.load_state_dict(load_file(Path(checkpoint) / SAFE_WEIGHTS_NAME))
                self.load_own_state(own, Path(checkpoint) / _STATE_FILE)
                self.state = state
                return None
        return super().train(*args, **kwargs)

    def restore_own_state(self, checkpoint: Path) -> None:
        """Take back what `own_state` wrote into this checkpoint; `UserError` if there is none."""
        self.load_own_state(_read_own_state(checkpoint), checkpoint / _STATE_FILE)

    @property
    def _out(self) -> Path:
        return Path(self.args.output_dir or ".")

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Write everything into a staging folder and rename it."""
        out = self._out
        staged = out / _STAGING / f"checkpoint-{self.state.global_step}"
        own = self.own_state()
        if self.args.should_save:
            shutil.rmtree(staged.parent, ignore_errors=True)
            staged.mkdir(parents=True)
            torch.save(own, staged / _STATE_FILE)
        self.accelerator.wait_for_everyone()  # every rank writes its random state into the folder ...
        super()._save_checkpoint(model, trial)  # _get_output_dir sends it to the staging folder
        self.accelerator.wait_for_everyone()  # ... before it is renamed
        best = out / f"checkpoint-{self.state.best_global_step}"
        if self.args.should_save:
            final = out / staged.name
            shutil.rmtree(final, ignore_errors=True)
            staged.rename(final)
            staged.parent.rmdir()
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

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        checkpoint = Path(resume_from_checkpoint)
        _check_architecture(self.mlc, checkpoint)
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.restore_own_state(checkpoint)


def _read_own_state(checkpoint: Path) -> dict[str, Any]:
    path = checkpoint / _STATE_FILE
    if not path.is_file():
        raise UserError("this is no checkpoint of an MLC run", path=checkpoint)
    return torch.load(path, map_location="cpu", weights_only=True)


def _check_architecture(model: MLCModel, checkpoint: Path) -> None:
    """Refuse a checkpoint whose model differs, and say in what."""
    saved = MLCConfig.from_pretrained(checkpoint)
    here, there = (
        {**(c.backbone or {}), **{name: getattr(c, name) for name in ("pooling", "proj_size", "bidirectional", "lora")}}
        for c in (model.config, saved)
    )
    different = sorted(key for key in here.keys() | there.keys() if here.get(key) != there.get(key))
    if different:
        what = ", ".join(f"{key} is {there.get(key)} there and {here.get(key)} here" for key in different[:3])
        raise UserError(f"the checkpoint has another architecture: {what}", path=checkpoint)
