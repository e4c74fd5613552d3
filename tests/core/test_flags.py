from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from mlcl.core.errors import UserError
from mlcl.core.flags import from_values, parse


@dataclass(frozen=True)
class Training:
    """Settings of the training."""

    learning_rate: float = 1e-4
    """Peak learning rate."""
    bf16: bool = False
    """Train in bfloat16."""


@dataclass(frozen=True)
class Source:
    """One source."""

    path: str
    """Where it lies."""
    weight: float = 1.0
    """How often it is drawn."""


@dataclass(frozen=True)
class Config:
    """Example."""

    corpus: str
    """Folder of the corpus."""
    in_: str = "-"
    """File to read."""
    model: list[str] = field(default_factory=list)
    """One or more model folders."""
    training: Training = field(default_factory=Training)
    """Settings of the training."""
    sources: list[Source] = field(default_factory=list)
    """What to read."""
    options: dict[str, Any] = field(default_factory=dict)
    """Free options."""
    mode: Literal["fast", "exact"] = "fast"
    """How to work."""
    limit: int | None = None
    """Largest number of rows."""
    languages: list[str] | None = None
    """Languages to keep."""
    resume: bool = False
    """Go on from the last checkpoint."""


@dataclass(frozen=True)
class WithQuery:
    """Example."""

    query: str = field(default="", metadata={"positional": True})
    """What to look for."""
    exact: bool = False
    """Exact search."""


@dataclass(frozen=True)
class WithFolder:
    """Example."""

    corpus: str = field(metadata={"positional": True})
    """Folder of the corpus."""


def parsed(*argv: str, config: type = Config) -> Any:
    return parse(config, list(argv), "mlcl verb", "Do it.")


def error(*argv: str, config: type = Config) -> str:
    with pytest.raises(UserError) as caught:
        parsed(*argv, config=config)
    message = str(caught.value)
    assert "\n" not in message
    return message


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_defaults_and_required():
    assert parsed("--corpus", "c") == Config(corpus="c")
    assert error() == "missing: --corpus (see mlcl verb --help)"


def test_flags_with_dashes_and_nested_keys():
    made = parsed("--corpus=c", "--training.learning-rate", "3e-4", "--training.bf16", "--in", "f.txt", "--limit", "5")
    assert made == Config(corpus="c", in_="f.txt", training=Training(3e-4, bf16=True), limit=5)
    assert parsed("--corpus", "c", "--training.learning_rate=1").training.learning_rate == 1.0


@pytest.mark.parametrize("words", [["--resume"], ["--resume", "true"], ["--resume=true"]])
def test_bare_boolean_flags(words):
    assert parsed(*words, "--corpus", "c").resume is True
    assert parsed("--corpus", "c", *words).resume is True


def test_false_can_be_said(tmp_path: Path):
    settings = write(tmp_path / "s.yaml", "corpus: c\nresume: true\n")
    assert parsed("--config", settings).resume is True
    assert parsed("--config", settings, "--resume", "false").resume is False


@pytest.mark.parametrize(
    "given",
    [
        ["--model", "A", "--limit", "3", "--model", "B", "C"],
        ["--model=A,B", "--limit", "3", "--model", "C"],
        ["--model", "[A, B]", "--model", "C", "--limit", "3"],
        ["--model", "A", "--model", "B", "--limit", "3", "--model", "[C]"],
    ],
)
def test_a_list_flag_that_is_repeated_adds_to_its_list(given):
    made = parse(Config, ["--corpus", "x", *given], "mlcl verb", "Do it.")
    assert (made.model, made.limit) == (["A", "B", "C"], 3)


def test_lists_of_settings_can_be_repeated_and_files_are_overridden(tmp_path):
    words = ["--corpus", "x", "--sources", "[{path: a}]", "--sources", "[{path: b, weight: 2}]"]
    assert parse(Config, words, "mlcl verb", "Do it.").sources == [Source("a"), Source("b", 2.0)]
    (tmp_path / "c.yaml").write_text("model: [Z]\ncorpus: x\n", encoding="utf-8")
    words = ["--config", str(tmp_path / "c.yaml"), "--model", "A", "--model", "B"]
    assert parse(Config, words, "mlcl verb", "Do it.").model == ["A", "B"]
    with pytest.raises(UserError, match="no valid YAML list"):
        parse(Config, ["--corpus", "x", "--model", "A", "--model", "[B"], "mlcl verb", "Do it.")


@pytest.mark.parametrize("words", [["a", "b"], ["a,b"], ["[a, b]"], ["a,", "b"]])
def test_lists_with_spaces_or_commas(words):
    assert parsed("--model", *words, "--corpus", "c").model == ["a", "b"]
    assert parsed("--corpus", "c", "--model=a,b").model == ["a", "b"]
    assert parsed("--languages", *words, "--corpus", "c").languages == ["a", "b"]


def test_norwegian_stays_a_language(tmp_path: Path):
    assert parsed("--corpus", "no", "--model", "no,sv").model == ["no", "sv"]
    settings = write(tmp_path / "s.yaml", "corpus: no\nmodel: [no, on]\n")
    assert parsed("--config", settings) == Config(corpus="no", model=["no", "on"])


def test_yaml_with_flags_over_it(tmp_path: Path):
    settings = write(
        tmp_path / "s.yaml",
        "corpus: c\nin: f\ntraining: {learning_rate: 1e-3, bf16: true}\nsources:\n- path: x\n- {path: y, weight: 2}\n"
        "options: {a: 1, b: 2}\n",
    )
    made = parsed("--config", settings, "--training.learning-rate", "5e-4", "--options.b", "3")
    assert made == Config(
        corpus="c", in_="f", training=Training(5e-4, bf16=True), sources=[Source("x"), Source("y", 2.0)],
        options={"a": 1, "b": 3},
    )  # fmt: skip


@dataclass(frozen=True)
class WithRuns:
    """Several positional words."""

    runs: list[str] = field(metadata={"positional": True})
    """Run folders."""
    out: str | None = None
    """Folder to make."""


@pytest.mark.parametrize("words", [["a", "n=b", "--out", "o"], ["--out", "o", "a", "n=b"]])
def test_a_positional_list_takes_one_or_more_words(words):
    assert parse(WithRuns, words, "mlcl x", "") == WithRuns(["a", "n=b"], "o")
    with pytest.raises(UserError, match="missing: runs"):
        parse(WithRuns, [], "mlcl x", "")


def test_positional_arguments():
    assert parsed("two words", "--exact", config=WithQuery) == WithQuery("two words", exact=True)
    assert parsed("--exact", "two words", config=WithQuery) == WithQuery("two words", exact=True)
    assert parsed(config=WithQuery) == WithQuery()
    assert parsed("some/dir", config=WithFolder) == WithFolder("some/dir")
    assert error(config=WithFolder) == "missing: corpus (see mlcl verb --help)"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("corpus: c\ntrainign: {}\n", 2, "unknown key 'trainign' (did you mean training?)"),
        ("corpus: c\ntraining:\n  learning_rat: 1\n", 3, "unknown key 'training.learning_rat' (did you mean learning_"),
        ("corpus: c\nsources:\n- path: x\n  wieght: 1\n", 4, "unknown key 'sources.0.wieght' (did you mean weight?)"),
        ("corpus: c\ntraining:\n  learning_rate: fast\n", 3, "training.learning_rate: Expected a float"),
        ("corpus: c\nlimit: many\n", 2, "limit: "),
        ("corpus: c\nmode: slow\n", 2, "mode: "),
        ("corpus: c\nresume: maybe\n", 2, "resume: "),
        ("corpus: c\ntraining: 3\n", 2, "'training' needs keys of its own, not 3 (its keys: learning_rate, bf16)"),
        ("corpus: [c]\n", 1, "corpus: "),
    ],
)
def test_mistakes_in_yaml_name_file_line_and_remedy(tmp_path: Path, text, line, said):
    settings = write(tmp_path / "s.yaml", text)
    message = error("--config", settings)
    assert message.startswith(f"{settings}:{line}: ")
    assert said in message
    assert error(f"--config={settings}") == message


def test_mistakes_in_flags():
    assert error("--corpus", "c", "--limit", "many").startswith("--limit: ")
    assert error("--corpus", "c", "--training.learning-rate", "x").startswith("--training.learning-rate: ")
    assert error("--corpus", "c", "--corpsu", "d") == "unknown option --corpsu (did you mean --corpus?)"
    assert error("--corpus", "c", "--training.lerning-rate=1").endswith("(did you mean --training.learning-rate?)")
    assert "settings file" in error("--corpus", "c", "--config", "none.yaml")
    assert "expected one argument" in error("--corpus")
    said = error("--corpus", "c", "--training", "runs/one")
    assert said == "--training is a group of settings (give --training.learning-rate, --training.bf16)"


def test_help_shows_docstrings_and_dashes(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        parsed("--help")
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for words in ("Do it.", "--in ", "File to read.", "--training.learning-rate", "Peak learning rate.", "required"):
        assert words in shown


@dataclass(frozen=True)
class Free:
    """Example."""

    options: dict[str, Any] = field(default_factory=lambda: {"a": {"b": 1, "c": 2}, "d": 1})
    """Free options."""


def test_free_settings_merge_at_any_depth(tmp_path: Path):
    settings = write(tmp_path / "s.yaml", "options: {a: {b: 7}, e: [no]}\n")
    assert parsed(config=Free).options == {"a": {"b": 1, "c": 2}, "d": 1}
    assert parsed("--config", settings, config=Free).options == {"a": {"b": 7, "c": 2}, "d": 1, "e": ["no"]}
    made = parsed("--config", settings, "--options.a.new-key", "1e-3", "--options.d=x", "--options.f", config=Free)
    assert made.options == {"a": {"b": 7, "c": 2, "new_key": 1e-3}, "d": "x", "e": ["no"], "f": True}
    assert parsed("--options.a.b", "null", config=Free).options == {"a": {"b": None, "c": 2}, "d": 1}
    nothing = write(tmp_path / "n.yaml", "options: {a: null}\n")
    assert parsed("--config", nothing, config=Free).options == {"a": None, "d": 1}
    assert "no valid YAML" in error("--options.a", "[1", config=Free)


def test_defaults_are_not_changed_by_a_run(tmp_path: Path):
    parsed("--options.a.b", "9", config=Free)
    assert parsed(config=Free).options == {"a": {"b": 1, "c": 2}, "d": 1}


def test_plain_values_become_an_instance():
    made = from_values(
        Config, {"corpus": "c", "in": "f", "training": {"bf16": True}, "sources": [{"path": "x"}]}, "here"
    )
    assert made == Config(corpus="c", in_="f", training=Training(bf16=True), sources=[Source("x")])
    for values, said in (
        ({"corpsu": "c"}, "here: unknown key 'corpsu' (did you mean corpus?)"),
        ({"corpus": "c", "limit": "x"}, "here: --limit: "),
        ({}, "here: "),
    ):
        with pytest.raises(UserError) as caught:
            from_values(Config, values, "here")
        assert str(caught.value).startswith(said)
