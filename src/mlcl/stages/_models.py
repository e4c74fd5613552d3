"""The models that `mlcl evaluate` and `mlcl benchmark` measure.

In: the words after --model. Out: named models, their `embed` callable, their tokenizer, a fingerprint of their files.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape

from mlcl.core.errors import UserError
from mlcl.core.files import existing, read_json
from mlcl.core.progress import console
from mlcl.retrieval import tfidf
from mlcl.tasks import Embed


@dataclass(frozen=True)
class Model:
    """A model to measure.

    Attributes:
        name: Short and distinct; what tables show.
        place: Path or hub id, or `tfidf`.
        info: What our trainer wrote down about it (`mlcl.json`); empty for foreign models.
    """

    name: str
    place: str
    info: Mapping[str, Any]

    @property
    def languages(self) -> list[str] | None:
        """Tags that it was trained on; None where unknown."""
        return self.info.get("languages")

    @property
    def seed(self) -> int | None:
        """Seed of its training; None where unknown."""
        training = self.info.get("settings", {}).get("training", {})
        seed = training.get("seed") if isinstance(training, dict) else None
        return seed if isinstance(seed, int) else None

    @property
    def is_baseline(self) -> bool:
        """Whether it is the n-gram baseline, which has no files and whose vectors depend on all texts of a call."""
        return self.place == tfidf.NAME and not Path(self.place).exists()


def named_models(words: Sequence[str]) -> list[Model]:
    """The models that the user asked for, each with a short, distinct name.

    A word is a path, a hub id or `tfidf`, or `NAME=` followed by one of these. `runs/a/model` is called `a`.

    Raises:
        UserError: none is given, or a name is given twice.
    """
    if not words:
        raise UserError("no model is given", remedy="give --model a folder, a hub id, or tfidf")
    places: dict[str, str] = {}
    for word in dict.fromkeys(words):
        name, equals, place = word.partition("=")
        if not equals or Path(word).exists():  # a folder may have "=" in its name
            name, place = _short(word, places), word
        elif not name or not place:
            raise UserError(f"--model {word!r} lacks its name or its place", remedy="write NAME=FOLDER")
        elif name in places:
            raise UserError(f"two models are called {name!r}", remedy="choose another name")
        places[name] = place
    return [Model(name, place, _training_info(place)) for name, place in places.items()]


def _short(place: str, taken: Mapping[str, str]) -> str:
    parts = [part for part in Path(place).parts if part not in ("/", ".", "..")] or [Path(place).resolve().name]
    if len(parts) > 1 and parts[-1] == "model":
        parts.pop()
    depth = 1
    while "/".join(parts[-depth:]) in taken and depth < len(parts):
        depth += 1
    name = "/".join(parts[-depth:])
    return place if name in taken else name


def _training_info(place: str) -> Mapping[str, Any]:
    file = Path(place).expanduser() / "mlcl.json"
    info = read_json(file) if file.is_file() else {}
    return info if isinstance(info, dict) else {}


def check_places(models: Sequence[Model]) -> None:
    """Refuse models that are not where they are said to be, before any of them is measured; hub ids are believed.

    Raises:
        UserError: no such folder, or one without a model.
    """
    for model in models:
        place = Path(_checked(model.place)).expanduser()
        if model.is_baseline or not place.exists():
            continue
        if not any((place / name).is_file() for name in ("config.json", "modules.json")):
            raise UserError(
                f"this is no encoder: it has no config.json (model {model.name})",
                path=place,
                remedy="give a model folder",
            )


def load_embed(model: Model, batch_size: int | None, show_progress: bool = True) -> Embed:
    """Load a model, or the baseline, as a callable from texts to vectors.

    Raises:
        UserError: it cannot be loaded.
    """
    if model.is_baseline:
        return tfidf.TfidfEncoder()
    place = _checked(model.place)
    from mlcl.model.encoder import Encoder

    started = time.monotonic()
    try:
        encoder = Encoder.from_pretrained(place)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(
            f"cannot load {place!r} as an encoder: {reason}", remedy="give an MLC, sentence-transformers or HF folder"
        ) from error
    console.print(f"[green]✓[/green] loaded {escape(place)} [dim]({time.monotonic() - started:.1f} s)[/dim]")
    return _EncoderEmbed(encoder, batch_size, show_progress)


@dataclass(frozen=True)
class _EncoderEmbed:
    """An encoder as a callable from texts to vectors; `prompts` are its own."""

    encoder: Any
    batch_size: int | None
    show_progress: bool

    @property
    def prompts(self) -> dict[str, str]:
        return self.encoder.prompts

    def __call__(self, texts: Sequence[str]) -> Any:
        return self.encoder.encode(texts, self.batch_size, normalize=True, show_progress=self.show_progress)


def prompts_of(embed: Embed) -> dict[str, str]:
    """The named prompts of a model that `load_embed` has loaded."""
    return getattr(embed, "prompts", {})


def with_prompt(embed: Embed, prompts: Mapping[str, str], task: str) -> Embed:
    """`embed` with the prompt that the model keeps under the name of a task before each text; without one, as it is."""
    prefix = prompts.get(task)
    return (lambda texts: embed([prefix + text for text in texts])) if prefix else embed


def load_tokenizer(model: Model) -> Any | None:
    """The Hugging Face tokenizer of a model; None for the baseline and for models without one."""
    if model.is_baseline:
        return None
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(_checked(model.place))
    except (OSError, ValueError, KeyError):
        return None


def identity(model: Model) -> str:
    """The fingerprint of a folder, and the name of a hub id, which whoever loads it finds: nothing is fetched."""
    return fingerprint(model) if Path(model.place).expanduser().is_dir() else model.place


def fingerprint(model: Model) -> str:
    """What changes when a model does: names, sizes and times of its files, or the revision of a hub id.

    Raises:
        UserError: no such folder, or a hub id that cannot be reached and was never fetched.
    """
    if model.is_baseline:
        return tfidf.NAME
    place = _checked(model.place)
    if Path(place).is_dir():
        files = sorted(path for path in Path(place).rglob("*") if path.is_file() and path.suffix != ".md")
        return repr([(str(path.relative_to(place)), path.stat().st_size, path.stat().st_mtime_ns) for path in files])
    from transformers.utils import cached_file

    try:
        config = cached_file(place, "config.json")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{place!r} is neither a folder here nor a model on the Hugging Face hub that can be reached",
            remedy="check the name and the network",
        ) from error
    return f"{place} {Path(str(config)).parent.name}"  # the cache keeps a revision in a folder of its name


def _checked(place: str) -> str:
    """The place itself; what is written like a path must exist."""
    return str(existing(Path(place).expanduser())) if place.startswith((".", "/", "~")) else place
