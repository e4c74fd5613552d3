"""Measure any SentenceTransformer on the published files of our tasks, without a network.

    python examples/evaluate_sentence_transformer.py --model FOLDER --data ROOT --tasks tatoeba,ntrex --languages de,sw

A task needs nothing but a function from texts to vectors (N, D), so whatever makes vectors is measured by the same
code: another library, an exported model, a web service. `mlcl evaluate` and `mlcl benchmark` do the same for folders,
with reports; there are more tasks in `src/mlcl/tasks`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from sentence_transformers import SentenceTransformer


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the headline metric of every task, language by language, with its 95 % interval and n."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder or hub id of a SentenceTransformer")
    parser.add_argument("--data", required=True, type=Path, help="folder that holds tatoeba/, ntrex/, ...")
    parser.add_argument("--tasks", default="tatoeba,ntrex", help="retrieval tasks or probes, by comma")
    parser.add_argument("--languages", help="by comma; all when not given")
    options = parser.parse_args(arguments)

    model = SentenceTransformer(options.model)
    languages = options.languages.split(",") if options.languages else None
    for name in options.tasks.split(","):
        task = import_module(f"mlcl.tasks.{name}")
        results = task.evaluate(model.encode, options.data, task.Options(languages=languages))
        for row in results:
            if (row.metric, row.direction) == task.HEADLINE:
                interval = "" if row.low is None else f" [{row.low:.1f}, {row.high:.1f}]"
                print(f"{name} {row.language}: {row.metric} {row.value:.1f}{interval}, n = {row.n}")


if __name__ == "__main__":
    main()
