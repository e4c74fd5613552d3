"""The teacher of `mlcl pretrain`: its settings, and its vectors of the corpus as columns of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcl.core.errors import UserError
from mlcl.core.progress import step

if TYPE_CHECKING:
    from mlcl.corpus.store import Corpus
    from mlcl.model.encoder import Encoder
    from mlcl.training.sources import Column


@dataclass(frozen=True)
class TeacherSettings:
    """The teacher of the term training.objectives.distillation."""

    model: str | None = None
    """Encoder that teaches: an MLC, sentence-transformers or Hugging Face folder, or a hub id."""
    languages: list[str] = field(default_factory=lambda: ["en"])
    """Languages that it knows, the most trusted first; all versions of a sentence are taught its vector in these."""
    prompt: str | None = None
    """Prefix that it wants before a text, such as `query: `, or the name of one of its prompts."""


@dataclass(frozen=True)
class Teacher:
    """A loaded teacher and what it was loaded for."""

    settings: TeacherSettings
    languages: list[str]
    encoder: Encoder

    @property
    def widths(self) -> dict[str, int]:
        """Values in a row of each column."""
        return {"teacher": self.encoder.dimension, "teacher_known": 1}

    def columns(self, corpus: Corpus, group: Any, fallback: Path) -> dict[str, Column]:
        """What batches of this corpus carry; the teacher encodes the corpus first where it has not done so before."""
        from mlcl.training.teacher import columns, open_or_compute

        embed = partial(self.encoder.encode, normalize=False, prompt=self.settings.prompt)
        with step("the teacher's vectors"):
            vectors = open_or_compute(
                corpus, str(self.settings.model), embed, self.languages, fallback, self.settings.prompt
            )
        return columns(vectors, group)


def load_teacher(settings: TeacherSettings, objectives: Mapping[str, Any], corpus: Corpus) -> Teacher | None:
    """The teacher that the settings ask for, None where none is needed.

    Raises:
        UserError: a teacher without the term, the term without a teacher, languages that the corpus lacks, or a folder
            that cannot be loaded.
    """
    from mlcl.core.languages import canonical
    from mlcl.model.encoder import Encoder
    from mlcl.training.terms import parse

    objective = parse(objectives).get("distillation")
    wanted = objective is not None and objective.weight > 0
    if settings.model is None and not wanted:
        return None
    if settings.model is None:
        raise UserError("training.objectives.distillation needs a teacher", remedy="give teacher.model")
    if not wanted:
        raise UserError(
            "teacher.model is given, but no term learns from it",
            remedy="give training.objectives.distillation a weight above 0, or leave the teacher out",
        )
    languages = [canonical(tag) for tag in settings.languages]
    if not languages:
        raise UserError("teacher.languages is empty", remedy="name a language that the teacher knows")
    corpus.require(languages)
    return Teacher(settings, languages, Encoder.from_pretrained(settings.model))
