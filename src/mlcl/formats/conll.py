"""CoNLL files as text: one token a line, a blank line between sentences, plain or `.gz`.

In: a file, or a folder with a `pattern` such as `data/{language}/test.txt`. Out: one record per sentence: its
`# text = ` comment where it has one, else its tokens with spaces between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter, read_lines
from mlcl.formats import Record
from mlcl.formats._files import by_language


def read(
    path: Path,
    rows: RowCounter,
    *,
    language: str = "",
    pattern: str = "",
    languages: list[str] | None = None,
    token_column: int = 1,
    strip_language: bool = False,
) -> Iterator[Record]:
    """Read the sentences of CoNLL files.

    Args:
        path: A file or a folder.
        rows: Counts sentences.
        language: Language of the file.
        pattern: File names below the folder, with `{language}` where the code stands.
        languages: Languages to keep of those that the pattern finds; all when not given.
        token_column: Column with the token, from 1; columns are separated by tabs, else by spaces.
        strip_language: Tokens begin with the file's language code and a colon, as in WikiANN (`de:Haus`).
    """
    for code, tag, file in by_language(path, language, pattern, languages):
        if not tag:
            raise UserError("the language of the text is not given", path=file, remedy="set language, or a pattern")
        tokens: list[str] = []
        comment = ""
        for number, line in _with_end(file, rows):
            if not line.strip():
                if text := comment or " ".join(tokens):
                    rows.good()
                    yield Record([(tag, text)])
                tokens, comment = [], ""
            elif line.startswith("# ") and " = " in line:
                key, _, value = line[2:].partition(" = ")
                comment = value if key.strip() == "text" else comment
            else:
                columns = line.split("\t") if "\t" in line else line.split(" ")
                if len(columns) < token_column:
                    rows.bad_row(file, number, f"{len(columns)} columns, the token is column {token_column}")
                    continue
                token = columns[token_column - 1]
                tokens.append(token.removeprefix(f"{code}:") if strip_language else token)


def _with_end(file: Path, rows: RowCounter) -> Iterator[tuple[int, str]]:
    """The valid lines and a final blank one, so that the last sentence ends like the others."""
    number = 0
    for number, line in read_lines(file, rows):
        if line is not None:
            yield number, line
    yield number + 1, ""
