"""The command `mlcl`: finds the verbs in `stages/` and turns each one's `Config` into flags, YAML keys and help.

In: the command line. Out: the exit status: 0 done, 2 the user's mistake, or a disk that is full or may not be written
to (one line on standard error, no traceback), 130 stopped by Ctrl-C. Anything else that goes wrong is our bug and keeps
its traceback. A stage is imported only when its verb is chosen, so that `mlcl --help` needs no torch.
"""

from __future__ import annotations

import ast
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mlcl.core.environment import tune_environment
from mlcl.core.errors import UserError

_FOLDERS = ("mlcl.stages", "mlcl.stages.pipelines")
# What the machine refuses, at whatever line of ours it happens: permission, a full disk or quota, a read-only disk.
_REFUSED = {errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.EROFS}


class Verb(NamedTuple):
    """One command: its words (`("corpus", "build")`), the module behind it, and its line in `mlcl --help`."""

    words: tuple[str, ...]
    module: str
    summary: str


def verbs() -> list[Verb]:
    """All verbs, sorted, found by file name; the modules are read, not imported."""
    found = []
    for package in _FOLDERS:
        for folder in importlib.import_module(package).__path__:
            for file in Path(folder).glob("[!_]*.py"):
                docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
                summary = docstring.partition("\n")[0].rstrip(".")
                found.append(Verb(tuple(file.stem.split("_")), f"{package}.{file.stem}", summary))
    return sorted(found)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    tune_environment()  # before torch is loaded
    argv = list(sys.argv[1:] if argv is None else argv)
    name = "mlcl"
    try:
        known = verbs()
        if not argv or argv[0] in ("-h", "--help"):
            print(_overview(known), file=sys.stdout if argv else sys.stderr)
            return 0 if argv else 2
        if argv[0] == "--version":
            from mlcl import __version__

            print(f"mlcl {__version__}")
            return 0
        verb = _choose(known, argv)
        if verb is None:  # `mlcl corpus --help`
            print(_overview([other for other in known if other.words[0] == argv[0]]))
            return 0
        name = "mlcl " + " ".join(verb.words)
        made = _run(verb, argv[len(verb.words) :], name)
        if made is not None:
            print(made)
        sys.stdout.flush()
        return 0
    except UserError as error:
        print(f"{name}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: stopped by Ctrl-C", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        place = f"{error.filename}: " if error.filename else ""
        print(f"{name}: error: {place}{error.strerror}", file=sys.stderr)
        return 2


def _run(verb: Verb, argv: list[str], name: str) -> object:
    from mlcl.core.flags import parse

    stage = importlib.import_module(verb.module)
    return stage.run(parse(stage.Config, argv, name, stage.__doc__ or ""))


def _choose(known: list[Verb], argv: list[str]) -> Verb | None:
    """The verb that the command line starts with; None when only the help of a group of verbs is asked for."""
    from mlcl.core.settings import did_you_mean

    fitting = [verb for verb in known if tuple(argv[: len(verb.words)]) == verb.words]
    if fitting:
        return max(fitting, key=lambda verb: len(verb.words))
    group = [verb for verb in known if verb.words[0] == argv[0]]
    if group and len(argv) > 1 and argv[1] in ("-h", "--help"):
        return None
    said = " ".join(argv[:2] if group else argv[:1])
    names = [" ".join(verb.words) for verb in group or known]
    if said == argv[0] and group:
        raise UserError(f"{said!r} is not a whole verb", remedy=f"known: {', '.join(names)}")
    raise UserError(f"unknown verb {said!r}", remedy=did_you_mean(said, names) or "see mlcl --help")


def _overview(known: list[Verb]) -> str:
    width = max((len(" ".join(verb.words)) for verb in known), default=0) + 2
    lines = [f"  {' '.join(verb.words):<{width}}{verb.summary}" for verb in known]
    return "\n".join(
        [
            "usage: mlcl VERB [options]",
            "",
            "Trains, measures and uses multilingual sentence encoders.",
            "",
            "verbs:",
            *lines,
            "",
            "`mlcl VERB --help` explains a verb. Every verb also takes its options from YAML, --config FILE, and any",
            "key of the file is a flag that overrides it: --training.learning-rate 1e-4.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
