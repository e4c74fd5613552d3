"""Numbers that others published, as context. In: `published.yaml`. Out: tables that say how each was measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Published:
    """One table of published numbers.

    Attributes:
        title: What was measured.
        tasks: Our tasks that are closest to it.
        protocol: How it was measured.
        source: Where the numbers stand.
        header: Names of the columns, the first of which holds the models.
        rows: Model and its numbers; None where there is none.
    """

    title: str
    tasks: list[str]
    protocol: str
    source: str
    header: list[str]
    rows: list[list[Any]]


def published() -> list[Published]:
    """All tables."""
    entries = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return [
        Published(
            entry["title"], entry["tasks"], entry["protocol"], entry["source"], ["published", *entry["measures"]],
            [[model, *values] for model, values in entry["models"].items()],
        )
        for entry in entries
    ]  # fmt: skip
