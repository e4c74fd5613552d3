"""The work folder of a build, `.NAME.build` beside the corpus NAME: what a stopped build had made, and a lock.

In: where the corpus goes. Out: a folder that one process at a time has, and that is gone when the corpus is whole. A
build that is killed, or stopped by Ctrl-C, a full disk or a mistake found late, leaves its work, and the same command
goes on from there; what was made of other settings or inputs has other names in it and is not used.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mlcl.core.errors import UserError
from mlcl.core.files import read_json, refuse_existing
from mlcl.core.progress import console

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_WORTH_KEEPING = 20 << 20  # bytes of units; less is made again in seconds
GO_ON = "repeat the same command to go on from there"


@contextmanager
def work_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """Hold the work folder of `out` while a corpus is built; the block moves the corpus to its place with `publish`.

    Raises:
        UserError: `out` exists, another build into it is running, or the disk is full.
    """
    out = out.absolute()
    refuse_existing(out, overwrite)
    folder = out.with_name(f".{out.name}.build")
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder, out):
        try:
            refuse_existing(out, overwrite)  # again: another build may have ended meanwhile
            if kept := _units(folder):
                console.print(f"going on with {len(kept)} units of an earlier build of {out}", soft_wrap=True)
            yield folder
            _empty(folder)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise UserError(
                f"no space is left on the disk; {len(_units(folder))} finished units are kept",
                path=folder,
                remedy=f"free some space, then {GO_ON}",
            ) from error
        except UserError:
            if sum(file.stat().st_size for file in _units(folder)) < _WORTH_KEEPING:
                _empty(folder)
            else:
                console.print(f"finished units are kept in {folder}: {GO_ON}, or delete the folder", soft_wrap=True)
            raise
        except BaseException:
            console.print(f"stopped; finished units are kept in {folder}: {GO_ON}", soft_wrap=True)
            raise


def publish(corpus: Path, out: Path) -> None:
    """Put a finished folder in its place."""
    if out.exists():
        shutil.rmtree(out)
    corpus.replace(out)


def digest(values: Any) -> str:
    """A name for what is made of these values (anything that JSON can hold), and of no others."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=True, default=str)
    return blake2b(text.encode(), digest_size=12).hexdigest()


def stamp(file: Path) -> list[Any]:
    """What tells whether a file is still the same."""
    if not file.is_file():
        return [str(file)]
    status = file.stat()
    return [str(file), status.st_size, status.st_mtime_ns]


@contextmanager
def _locked(folder: Path, out: Path) -> Iterator[None]:
    lock = FileLock(folder / "lock", timeout=0)
    owner = folder / "owner.json"
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(
            f"another build into this folder is running{_described(owner)}",
            path=out,
            remedy="wait for it, or choose another --out",
        ) from error
    try:
        owner.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        yield
    finally:
        owner.unlink(missing_ok=True)
        with suppress(OSError):  # Windows deletes no open file
            (folder / "lock").unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # work is kept, or another build starts this moment
            folder.rmdir()


def _described(owner: Path) -> str:
    with suppress(UserError, KeyError, OSError):
        values = read_json(owner)
        return f": process {values['pid']} on {values['host']}"
    return ""


def _units(folder: Path) -> list[Path]:
    return [file for file in folder.glob("units/*/*.arrow") if not file.name.startswith(".")]


def _empty(folder: Path) -> None:
    """Delete all but the lock."""
    for child in folder.iterdir():
        if child.is_dir():
            shutil.rmtree(child)
        elif child.name != "lock":
            child.unlink()
