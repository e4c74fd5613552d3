"""Running text to sentences, by the rules of sentencex (the Wikimedia Foundation's splitter, about 300 languages)."""

from __future__ import annotations

from mlcl.core.errors import require
from mlcl.core.languages import base


def split_sentences(text: str, language: str) -> list[str]:
    """The sentences of a text, without the white space between them; line breaks end a sentence.

    Args:
        text: Any text.
        language: Canonical tag. Languages that sentencex does not know are split by the rules of a related one, or of
            English.

    Raises:
        UserError: the package `sentencex` is not installed.
    """
    require("sentencex", "align")
    from sentencex import segment

    code = base(language).partition("-")[0]
    return [
        sentence
        for line in text.split("\n")
        if line.strip()
        for part in segment(code, line)
        if (sentence := " ".join(part.split()))
    ]
