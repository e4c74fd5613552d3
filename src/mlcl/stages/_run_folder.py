"""The folder OUT of a training run: who may write into it, and what a run goes on from.

In: the settings of `mlcl pretrain`. Out: a folder that is the run's own and the checkpoint to continue from; nothing at
all where a new run could not start.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlcl.core.errors import UserError
from mlcl.core.files import refuse_existing, write_json
from mlcl.core.progress import warn


def checkpoint_of(config: Any, out: Path, *, first: bool) -> str | None:
    """The checkpoint to continue from. The first process makes OUT, or refuses to touch a run without being told to.

    Args:
        config: Settings of the run, with `resume` and `overwrite`.
        out: Its folder.
        first: Whether this is the first of several processes.

    Raises:
        UserError: OUT holds something and the settings do not say what to do with it, there is nothing to resume, or
            OUT cannot be made.
    """
    last = last_checkpoint(out)
    if not first:
        return str(last) if config.resume and last is not None else None
    checkpoint = _may_write(config, out, last)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "settings.json", asdict(config))
    return checkpoint


def last_checkpoint(out: Path) -> Path | None:
    """The newest checkpoint in OUT."""
    return max(out.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), default=None)


@contextmanager
def nothing_half_started(out: Path, *, first: bool) -> Iterator[None]:
    """A block that prepares a run: where it ends in a `UserError`, an OUT that was made meanwhile is taken away.

    So the same command can be given again once the mistake is mended. What was in OUT before stays.
    """
    is_new = first and not (out.exists() and any(out.iterdir()))
    try:
        yield
    except UserError:
        if is_new:
            shutil.rmtree(out, ignore_errors=True)
        raise


def _may_write(config: Any, out: Path, last: Path | None) -> str | None:
    """Refuse, delete or continue what is in OUT, as the settings say."""
    if config.resume:
        if not (out / "settings.json").is_file():
            raise UserError("there is no run to resume", path=out, remedy="start it without --resume")
        if last is None:
            warn(f"{out}: no checkpoint yet, starting from the beginning")
        return None if last is None else str(last)
    refuse_existing(out, overwrite=True)  # can it be made at all?
    if config.overwrite:
        for old in (*out.glob("checkpoint-*"), out / "model", out / "tokenizer"):
            shutil.rmtree(old, ignore_errors=True)
    elif out.exists() and any(out.iterdir()):
        raise UserError(
            "the output already exists", path=out, remedy="choose another --out, or pass --resume or --overwrite"
        )
    return None
