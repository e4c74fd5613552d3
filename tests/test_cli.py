from __future__ import annotations

import importlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mlcl
from mlcl import cli

STAGE = '''"""{summary}.

More about it.
"""
from dataclasses import dataclass

from mlcl.core.errors import UserError


@dataclass(frozen=True)
class Config:
    """Settings."""

    folder: str = "."
    """A folder."""
    vocab_size: int = 5
    """A number."""


def run(config):
    {body}
'''


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package of made-up stages, in the place of ours."""
    package = tmp_path / "made_up_stages"
    package.mkdir()
    (package / "__init__.py").write_text('"""Stages."""\n')
    bodies = {
        "corpus_build": 'print("built", config.vocab_size)',
        "corpus_stats": 'print("counted", config.folder)\n    return config.folder',
        "fail": 'raise UserError("it is\\nmissing", path="some/file", line=3, remedy="look there")',
        "bug": 'raise ZeroDivisionError("ours")',
        "full": 'raise OSError(28, "No space left on device", "out/model")',
        "stop": "raise KeyboardInterrupt",
        "pipe": "raise BrokenPipeError",
        "_helper": "pass",
    }
    for name, body in bodies.items():
        (package / f"{name}.py").write_text(STAGE.format(summary=f"The stage {name}", body=body))
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    monkeypatch.setattr(cli, "_FOLDERS", ("made_up_stages",))
    yield package
    for name in [name for name in sys.modules if name.startswith("made_up_stages")]:
        del sys.modules[name]


def test_verbs_are_found_by_file_name(stages):
    assert [verb.words for verb in cli.verbs()] == [
        ("bug",), ("corpus", "build"), ("corpus", "stats"), ("fail",), ("full",), ("pipe",), ("stop",)
    ]  # fmt: skip
    assert cli.verbs()[1].summary == "The stage corpus_build"


def test_overview_imports_no_stage(stages, capsys):
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "corpus build" in shown
    assert "The stage corpus_build" in shown
    assert "helper" not in shown
    assert not [name for name in sys.modules if name.startswith("made_up_stages.")]
    assert cli.main([]) == 2
    assert capsys.readouterr().err == shown


def test_overview_of_a_group(stages, capsys):
    assert cli.main(["corpus", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "corpus stats" in shown
    assert "fail" not in shown


def test_a_verb_runs_with_its_flags(stages, capsys):
    assert cli.main(["corpus", "build", "--vocab-size", "7"]) == 0
    assert capsys.readouterr().out == "built 7\n"
    assert cli.main(["corpus", "stats", "--folder=x"]) == 0
    assert capsys.readouterr().out == "counted x\nx\n", "what a stage returns is the last line"


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["fail"], "mlcl fail: error: some/file:3: it is missing (look there)"),
        (["full"], "mlcl full: error: out/model: No space left on device"),
        (["corpus", "biuld"], "mlcl: error: unknown verb 'corpus biuld' (did you mean corpus build?)"),
        (["corpus"], "mlcl: error: 'corpus' is not a whole verb (known: corpus build, corpus stats)"),
        (["fial"], "mlcl: error: unknown verb 'fial' (did you mean fail?)"),
        (["corpus", "build", "--vocab-size", "many"], "mlcl corpus build: error: --vocab-size: "),
        (["corpus", "build", "--vocab-siz", "1"], "mlcl corpus build: error: unknown option --vocab-siz (did you"),
        (["corpus", "build", "surplus"], "mlcl corpus build: error: "),
        (["corpus", "build", "--config", "none.yaml"], "mlcl corpus build: error: none.yaml: no such settings file"),
    ],
)  # fmt: skip
def test_mistakes_end_in_one_line_and_status_2(stages, capsys, argv, line):
    assert cli.main(argv) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(line)
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_ctrl_c_is_one_line_and_status_130(stages, capsys):
    assert cli.main(["stop"]) == 130
    assert capsys.readouterr().err == "mlcl stop: stopped by Ctrl-C\n"


def test_our_own_bugs_keep_their_traceback(stages):
    with pytest.raises(ZeroDivisionError):
        cli.main(["bug"])


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"mlcl {mlcl.__version__}\n"


def mlcl_command(*argv: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "mlcl", *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_help_is_quick_and_needs_no_torch():
    code = "import sys; from mlcl.cli import main; main(['--help']); assert 'torch' not in sys.modules; import mlcl"
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.monotonic() - start < 5  # it takes 0.2 s; torch alone takes more than this on a busy machine
    assert "usage: mlcl VERB" in done.stdout


def test_a_closed_pipe_is_no_error():
    process = mlcl_command("--help")
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    assert process.wait(60) in (0, 141)


VERBS = cli.verbs()


@pytest.mark.parametrize("verb", VERBS, ids=[" ".join(verb.words) for verb in VERBS])
def test_every_verb_keeps_the_contract_and_explains_each_option(verb, capsys):
    from dataclasses import fields, is_dataclass

    stage = importlib.import_module(verb.module)
    assert is_dataclass(stage.Config)
    assert stage.Config.__dataclass_params__.frozen
    assert callable(stage.run)
    assert verb.summary, "the first line of the module's docstring is the verb's line in mlcl --help"
    with pytest.raises(SystemExit) as stop:
        cli.main([*verb.words, "--help"])
    assert stop.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    import docstring_parser

    documented = {item.arg_name for item in docstring_parser.parse_from_object(stage.Config).params if item.description}
    assert {item.name for item in fields(stage.Config)} <= documented, "every field has a docstring"
    for item in fields(stage.Config):
        key = item.name.removesuffix("_").replace("_", "-")
        assert (key if item.metadata.get("positional") else f"--{key}") in shown
