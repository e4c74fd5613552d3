"""A labelled task from the parts that a data set publishes: train, dev and test, cut where they are missing.

In: the files of each language and part, and a function that reads one file. Out: a `LabelledTask` whose splits never
share a unit (a premise, a document) or a text.

What the splits are, by the parts that a language has:

| published         | train                 | dev                   | test            |
|-------------------|-----------------------|-----------------------|-----------------|
| train, dev, test  | train                 | dev                   | test            |
| train, dev        | 90 % of train         | 10 % of train         | dev             |
| train, test       | 90 % of train         | 10 % of train         | test            |
| dev, test         | 90 % of dev           | 10 % of dev           | test            |
| train, or dev     | 60 %                  | 10 %                  | 30 %            |
| test              |                       |                       | test            |

A hash of the unit decides, so a cut is the same on every machine, and a unit that is parallel over languages falls on
the same side in all that publish the same parts. A row of train or dev whose text also stands in a later split is left
out and counted; whoever trains on several languages leaves out what is held out in another (`without_translations`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter
from mlcl.core.languages import canonical
from mlcl.core.text import key_hash, normalise_key
from mlcl.formats._aligned import select
from mlcl.formats._labelled import Files
from mlcl.tasks import folder
from mlcl.tasks._labelled import SPLITS, Example, Examples, Kind, LabelledTask, Language, Split, TaggedSentence

Parse: TypeAlias = Callable[[Path, str, RowCounter], Iterable[Example] | Iterable[TaggedSentence]]
"""(file, code of the language, rows) -> its examples; malformed and left out rows are counted in `rows`."""


def published(
    name: str,
    kind: Kind,
    labels: tuple[str, ...],
    metric: str,
    files: Callable[[Path], Files],
    parse: Parse,
    *,
    cutting: str = "",
    data: str = "",
    tag: Callable[[str], str] = canonical,
) -> LabelledTask:
    """A labelled task that reads files as they were published.

    Args:
        name: As in `LabelledTask`, like `kind`, `labels`, `metric` and `cutting`.
        kind: See there.
        labels: See there.
        metric: See there.
        files: Folder of the data set -> the file of each language and part.
        parse: Reads one file.
        cutting: See there.
        data: Folder of the data set below the root; the name of the task when empty.
        tag: Code of the data set -> canonical tag.
    """

    def place(root: Path) -> Path:
        return folder(root, data or name)

    def languages(root: Path) -> list[Language]:
        found = files(place(root))
        tags = {code: tag(code) for code in found}
        return [
            Language(code, tags[code], tuple(split for split in SPLITS if split in plan(found[code])))
            for code in select(tags, None, place(root))
        ]

    def read(root: Path, code: str, split: Split, rows: RowCounter) -> Examples:
        found = files(place(root))
        if code not in found:
            remedy = f"there are: {', '.join(found)}"
            raise UserError(f"{name}: there is no file for language {code!r}", path=place(root), remedy=remedy)
        return _read_split(name, split, found[code], lambda file, counter: parse(file, code, counter), rows)

    return LabelledTask(name, kind, labels, metric, languages, read, cutting)


def plan(parts: Iterable[str]) -> dict[Split, tuple[str, range]]:
    """Split -> the published part that it is cut from, and the percentiles of the unit's hash that belong to it."""
    there = set(parts)
    if there == set(SPLITS):
        return {split: (split, range(100)) for split in SPLITS}
    if there == {"test"}:
        return {"test": ("test", range(100))}
    if len(there) == 1:
        (part,) = there
        return {"train": (part, range(60)), "dev": (part, range(60, 70)), "test": (part, range(70, 100))}
    test = "test" if "test" in there else "dev"
    (rest,) = there - {test}
    return {"train": (rest, range(10, 100)), "dev": (rest, range(10)), "test": (test, range(100))}


def _read_split(
    task: str,
    split: Split,
    files: Mapping[str, Path],
    parse: Callable[[Path, RowCounter], Iterable[Example] | Iterable[TaggedSentence]],
    rows: RowCounter,
) -> Examples:
    """Examples of one split. `rows` counts what is wrong with the file that they come from, and the examples kept."""
    places = plan(files)
    if split not in places:
        raise UserError(f"{task}: the data set has no {split} part", path=next(iter(files.values())))
    wanted = [other for other in SPLITS[SPLITS.index(split) :] if other in places]
    parts: dict[str, list[Example | TaggedSentence]] = {}
    for other in wanted:
        part = places[other][0]
        if part not in parts:
            parts[part] = list(parse(files[part], rows if part == places[split][0] else RowCounter()))
    members = {
        other: [example for example in parts[part] if len(share) == 100 or _percentile(task, example) in share]
        for other, (part, share) in places.items()
        if other in wanted
    }
    kept = members[split]
    for later in wanted[1:]:
        kept = without(kept, members[later], f"{split}: text also in {later}", rows)
    rows.good(len(kept))
    return [_of_part(example, places[split][0]) for example in kept]  # type: ignore[return-value]


def _of_part(example: Example | TaggedSentence, part: str) -> Example | TaggedSentence:
    """The same with the published part in its item, for data sets number the rows of each part anew."""
    return replace(example, item=f"{part} {example.item}") if isinstance(example, Example) and example.item else example


def without(examples: Any, others: Iterable[Any], reason: str, rows: RowCounter) -> Any:
    """The examples whose text is not among those of the others; the number of the rest goes to `rows`."""
    taken = {text_key(example) for example in others}
    return _counted(examples, [example for example in examples if text_key(example) not in taken], reason, rows)


def without_translations(examples: Any, others: Iterable[Any], reason: str, rows: RowCounter) -> Any:
    """The same for others in other languages: translations of theirs are left out as well, where items name them."""
    taken = {key for example in others for key in keys_of(example)}
    kept = [example for example in examples if taken.isdisjoint(keys_of(example))]
    return _counted(examples, kept, reason, rows)


def _counted(examples: Any, kept: Any, reason: str, rows: RowCounter) -> Any:
    if len(kept) < len(examples):
        rows.skip(reason, len(examples) - len(kept))
    return kept


def _percentile(task: str, example: Example | TaggedSentence) -> int:
    unit = example.unit if isinstance(example, Example) and example.unit else "\n".join(text_key(example))
    return key_hash(f"{task}\n{unit}") % 100


def keys_of(example: Example | TaggedSentence) -> list[tuple[str, ...]]:
    """What an example shares with every other of the same text, and with its own translations."""
    item = ("the item", example.item, "") if isinstance(example, Example) and example.item else None  # texts are 1 or 2
    return [text_key(example)] if item is None else [text_key(example), item]


def text_key(example: Example | TaggedSentence) -> tuple[str, ...]:
    """What two examples of the same text have in common."""
    if isinstance(example, TaggedSentence):
        texts = [" ".join(example.words)]
    else:
        texts = [example.text] if example.pair is None else [example.text, example.pair]
    return tuple(normalise_key(text) or text for text in texts)
