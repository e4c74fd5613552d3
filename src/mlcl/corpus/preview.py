"""A dry run: what would a build drop, and what does each filter say on its own?

In: the settings of a build. Out: two lists of drops with samples. The first has every filter alone, those that are
asleep at a usual value, so that one sees what waking them would do; the second is that of a real build, made in a
temporary folder that vanishes, where each text counts under the first reason that objects to it.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mlcl.core.errors import UserError
from mlcl.corpus.build import BuildSettings, build
from mlcl.corpus.clean import PAIR_FILTERS, TEXT_FILTERS, CleanSettings, PairFilter, TextFilter, Version, versions
from mlcl.corpus.quality import USUAL
from mlcl.corpus.sources import SourceReport, read_source
from mlcl.corpus.tally import Tally


@dataclass(frozen=True)
class Preview:
    """What a dry run found; drops are `{reason, origin, texts, samples}`, largest first.

    Attributes:
        alone: What each filter drops when it is the only one. A text can count several times.
        drops: What the build drops.
        texts: How many it reads, keeps and drops; None where nothing would be left.
        problem: Why the build would fail, or None.
    """

    alone: list[dict[str, Any]]
    drops: list[dict[str, Any]]
    texts: dict[str, int] | None
    problem: str | None


def preview(settings: BuildSettings, root: str | Path, *, show_progress: bool = True) -> Preview:
    """What a build with these settings would do; nothing is left on disk.

    Raises:
        UserError: what a build refuses before it has read the sources, or sources that cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="mlcl-dry-run-") as folder:
        tally = alone(settings, Path(root), show_progress)
        try:
            manifest = build(settings, root, Path(folder) / "corpus", show_progress=show_progress).manifest
        except UserError as error:  # nothing left, or not all languages: then the first list says why
            return Preview(tally.entries(), [], None, str(error))
    return Preview(tally.entries(), manifest["drops"], manifest["texts"], None)


def alone(settings: BuildSettings, root: Path, show_progress: bool = True) -> Tally:
    """Count what each filter on a text, or on two translations, drops alone."""
    tally, reports = Tally(), list[SourceReport]()
    text_filters = [(check, *_awake(check, settings.clean)) for check in TEXT_FILTERS]
    pair_filters = [(check, *_awake(check, settings.clean)) for check in PAIR_FILTERS]
    for source in settings.sources:
        for record in read_source(source, root, settings.max_bad_share, reports, show_progress):
            candidates = versions(record.texts, settings.clean)
            for version, reason in _reasons(candidates, text_filters, pair_filters):
                tally.add(reason, source.name, version.lang, version.text)
    return tally


def _reasons(
    candidates: list[Version],
    text_filters: list[tuple[TextFilter, CleanSettings, str]],
    pair_filters: list[tuple[PairFilter, CleanSettings, str]],
) -> Iterator[tuple[Version, str]]:
    """Every version with every reason that a filter has to drop it."""
    for place, version in enumerate(candidates):
        for check, settings, note in text_filters:
            if reason := check(version.text, version.lang, settings):
                yield version, reason + note
        for compare, settings, note in pair_filters if place else ():
            if reason := compare(candidates[0], version, settings):
                yield version, reason + note


def _awake(check: TextFilter | PairFilter, settings: CleanSettings) -> tuple[CleanSettings, str]:
    """Settings that wake a filter, and a note that says which where the user's do not."""
    usual, package = USUAL.get(check.__name__, ({}, ""))
    defaults = CleanSettings()
    asleep = bool(usual) and any(getattr(settings, name) == getattr(defaults, name) for name in usual)
    if not asleep or (package and find_spec(package) is None):
        return settings, ""
    missing = {name: value for name, value in usual.items() if getattr(settings, name) == getattr(defaults, name)}
    values = ", ".join(f"{name}: {str(value).lower()}" for name, value in missing.items())
    return dataclasses.replace(settings, **missing), f" (asleep; with {values})"
