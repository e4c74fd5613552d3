"""Every settings file of the repository is accepted by the verb that it is for."""

from __future__ import annotations

import dataclasses
import importlib
import re
from pathlib import Path

import pytest

from mlcl import cli
from mlcl.core.flags import parse
from mlcl.core.settings import read_settings

ROOT = Path(__file__).resolve().parent.parent
STAGES = ROOT / "src" / "mlcl" / "stages"
FILES = sorted([*(ROOT / "configs").rglob("*.yaml"), *STAGES.rglob("*.yaml")])


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_settings_files_say_their_verb_and_are_accepted_by_it(path: Path):
    named = re.search(r"^#.*\bmlcl ([a-z]+(?: [a-z]+)?)[ `]", path.read_text(encoding="utf-8"), re.M)
    assert named, "say at the top which verb the file is for: # mlcl VERB --config ..."
    verb = next(verb for verb in cli.verbs() if " ".join(verb.words) == named[1])
    config = importlib.import_module(verb.module).Config
    given, _ = read_settings(path)
    missing = [
        field.name.removesuffix("_")
        for field in dataclasses.fields(config)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    argv = [word for key in missing if key not in given for word in (f"--{key}", "somewhere")]
    made = parse(config, ["--config", str(path), *argv], "mlcl " + named[1], "")
    for key in given:
        assert hasattr(made, key) or hasattr(made, f"{key}_")
    if named[1] == "pretrain":
        from mlcl.training.settings import model_config, training_arguments

        training_arguments({"output_dir": "unused", **made.training})
        model_config(made.model)
