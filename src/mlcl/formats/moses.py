"""Line-aligned text (Moses style): one file per language, line n is the same sentence in all of them.

In: a prefix, so that `PREFIX.en` and `PREFIX.de` (plain or compressed) are the files; two languages or more. Out: one
record per line. The files are read side by side, never whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.core.files import COMPRESSED, COMPRESSED_PATTERN, RowCounter, existing, read_lines
from mlcl.core.languages import canonical
from mlcl.formats import Record


def read(path: Path, rows: RowCounter, *, languages: list[str] | None = None, document: str = "") -> Iterator[Record]:
    """Read line-aligned files.

    Args:
        path: The common prefix: `data/train` for `data/train.en` and `data/train.de`.
        rows: Counts lines.
        languages: The endings, in the order that records have; all `PREFIX.*` files when not given, English first.
        document: Name of the document that all lines stand in.
    """
    return read_side_by_side(_files(Path(path), languages), rows, document)


def read_side_by_side(files: Mapping[str, Path], rows: RowCounter, document: str = "") -> Iterator[Record]:
    """Records of line-aligned files `{tag or code: file}`; blank versions are left out and counted.

    Raises:
        UserError: the files do not have the same number of lines (found out at the end of the shorter one).
    """
    tags = [canonical(code) for code in files]
    streams = [read_lines(file, rows) for file in files.values()]
    for lines in zip_longest(*streams):
        if None in lines:
            raise _misaligned(files)
        texts = []
        for tag, (_, text) in zip(tags, lines, strict=True):
            if text and not text.isspace():
                texts.append((tag, text))
            elif text is not None:  # None was counted as a bad row when it was read
                rows.skip("blank line")
        if texts:
            rows.good()
            yield Record(texts, document)


def _misaligned(files: Mapping[str, Path]) -> UserError:
    counts = {file: sum(1 for _ in read_lines(file, RowCounter())) for file in files.values()}
    longest, shortest = max(counts, key=lambda file: counts[file]), min(counts, key=lambda file: counts[file])
    return UserError(
        f"{counts[longest]} lines, but {shortest.name} has {counts[shortest]}; line n must be the same sentence",
        path=longest,
        remedy="align the files again",
    )


def _files(prefix: Path, languages: list[str] | None) -> dict[str, Path]:
    if languages is None:
        name = re.compile(re.escape(prefix.name) + r"\.([A-Za-z]{2,3}(?:[-_@][A-Za-z0-9]+)*?)" + COMPRESSED_PATTERN)
        folder = existing(prefix.parent)
        codes = sorted(
            {
                match[1]
                for file in folder.iterdir()
                if (match := name.fullmatch(file.name)) and f".{match[1]}" not in COMPRESSED
            }
        )
        languages = sorted(codes, key=lambda code: (canonical(code) != "en", code))
    if len(languages) < 2:
        raise UserError(
            f"line-aligned text needs two languages or more, here {languages or 'none'}",
            path=prefix,
            remedy="the path is the common prefix: data/train for data/train.en and data/train.de",
        )
    return {code: existing(prefix.with_name(f"{prefix.name}.{code}")) for code in languages}
