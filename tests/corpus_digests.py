"""A corpus that is built again and again, to compare its bytes; as a script it builds it in a process of its own:

    corpus_digests.py DATA OUT WORKERS ROWS_PER_SHARD SHARDS

and is killed after so many shards unless SHARDS is 0.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any


def write_sources(root: Path, sentences: int) -> None:
    """Translations in three languages, raw text in two with duplicates and a bad row, and evaluation texts."""
    numbers = range(sentences)
    (root / "a.en").write_text("".join(f"The sentence {n} stands here\n" for n in numbers))
    (root / "a.de").write_text("".join(f"Der Satz {n} steht hier\n" for n in numbers))
    (root / "a.fr").write_text("".join(f"La phrase {n} se trouve ici\n" for n in numbers))
    (root / "b.en").write_text("".join(f"the sentence {n // 2} stands here.\n" for n in numbers))
    (root / "b.de").write_text("".join(f"Satz {n} und mehr\n" for n in numbers))
    (root / "mono.de.txt").write_text("".join(f"Der Satz {n * 3} steht hier\nEinzeln {n}\n" for n in numbers))
    lines = b"".join(b"Alone %d\n" % (n % 50) for n in numbers)
    (root / "mono.en.txt").write_bytes(lines + b"\xff\xfe broken\n\n12345\n")
    (root / "eval.txt").write_text("der satz 5 steht hier\nEinzeln 7!\n")


def settings() -> dict[str, Any]:
    from mlcl.corpus.sources import Source

    return {
        "sources": [
            Source("moses", "a", "first", "CC0"),
            Source("moses", "b", "second", "CC BY"),
            Source("text", ".", "raw", "CC0", options={"pattern": "mono.{language}.txt"}),
        ],
        "evaluation": [Source("text", "eval.txt", options={"language": "de"})],
        "rows_per_shard": 100,
        "max_bad_share": 0.5,
    }


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def plain_report(manifest: dict[str, Any], path: Path) -> None:
    """In the place of the report with its plots."""
    path.write_text(json.dumps(manifest))


def kill_after(shards: int) -> None:
    """Let this process kill itself when so many shards are whole and the next one lies half-finished on the disk."""
    from mlcl.corpus.shards import Shard

    entry, calls = Shard.entry, itertools.count(1)

    def killing(shard: Shard) -> dict[str, Any]:
        if next(calls) > shards:
            os.kill(os.getpid(), signal.SIGKILL)
        return entry(shard)

    Shard.entry = killing  # type: ignore[method-assign]


if __name__ == "__main__":
    import mlcl.corpus.build
    from mlcl.corpus.build import BuildSettings, build
    from mlcl.corpus.engine import EngineSettings

    mlcl.corpus.build.write_report = plain_report
    data, out, workers, rows_per_shard, shards = sys.argv[1:]
    if int(shards):
        kill_after(int(shards))
    engine = EngineSettings(workers=int(workers), texts_per_unit=100)
    chosen = BuildSettings(**settings() | {"rows_per_shard": int(rows_per_shard)})
    build(chosen, data, out, show_progress=False, engine_settings=engine)
