"""Encode a text file: one vector per line.

In: UTF-8 text, plain or `.gz`, or `-` for standard input. Out, by suffix: `.npy`; `.parquet` with the columns text and
vector; `.raw`, `.f32` or `.bin`, the float32 values row after row without a header, as LASER's tools read them. Lines
are read, encoded and written in blocks, so the file may be larger than memory. Blank lines get a vector too: line n is
row n.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from mlcl.core.errors import UserError

BLOCK = 8192  # lines that are read, sorted by length and encoded together


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl encode`."""

    model: str
    """MLC folder, sentence-transformers folder, Hugging Face encoder, or the hub id of one."""
    in_: str
    """Text file with one text a line, plain or .gz; - reads standard input."""
    out: str
    """File for the vectors."""
    format: str | None = None
    """npy, parquet or raw; by default the suffix of the output says it."""
    normalize: bool = True
    """Scale vectors to length 1."""
    dim: int | None = None
    """Keep the first values of each vector only, for models trained that way (Matryoshka)."""
    prompt: str | None = None
    """Prefix of every text: a name that the model knows, or the prefix itself."""
    batch_size: int | None = None
    """Texts in one batch; by default batches are filled up to a number of tokens."""
    device: str | None = None
    """cpu, cuda, cuda:1, mps; by default a GPU if there is one."""
    dtype: str = "auto"
    """Precision of the matrix products: auto, float32, bfloat16 or float16."""
    overwrite: bool = False
    """Replace the output file."""


def run(config: Config) -> Path:
    """Encode and return the file of vectors.

    Raises:
        UserError: unreadable text, an unknown format, an output that exists, or a model that cannot be loaded.
    """
    from mlcl.core.files import atomic_file, existing, metered, refuse_existing
    from mlcl.core.progress import console, rated
    from mlcl.stages._vectors import text_lines, writer_for

    out = Path(config.out)
    make_writer = writer_for(out, config.format)
    refuse_existing(out, config.overwrite)
    lines = text_lines(config.in_)
    done = blank = 0
    with metered() as bytes_read:
        first = list(islice(lines, BLOCK))  # so that a missing file is found before the model is loaded
        encoder = _load(config)
        size = 0 if config.in_ == "-" else existing(config.in_).stat().st_size
        with (
            atomic_file(out) as partial,
            make_writer(partial, config.dim or encoder.dimension) as writer,
            rated("encoding", size, "texts") as progress,
        ):
            for block in _blocks(first, lines):
                vectors = encoder.encode(block, config.batch_size, config.normalize, config.dim, config.prompt)
                writer.write(block, vectors)
                done += len(block)
                blank += sum(not text.strip() for text in block)
                progress(bytes_read(), len(block))
    if blank:
        console.print(
            f"  blank lines: {blank:,}; each has a vector all the same, so that row n is line n", soft_wrap=True
        )
    values = config.dim or encoder.dimension
    console.print(f"[green]✓[/green] {done:,} vectors of {values} float32 values", soft_wrap=True)
    return out


def _load(config: Config) -> Any:
    from mlcl.model.encoder import Encoder

    encoder = Encoder.from_pretrained(config.model, config.device, config.dtype)
    encoder.encode([], config.batch_size, dim=config.dim, prompt=config.prompt)  # settings out of range show here
    return encoder


def _blocks(first: list[str], rest: Iterator[str]) -> Iterator[list[str]]:
    if not first:
        raise UserError("there is no text to encode")
    yield first
    while block := list(islice(rest, BLOCK)):
        yield block
