"""What the documents say is true: commands exist with their options, Python snippets run, links and files are there."""

from __future__ import annotations

import contextlib
import importlib
import re
import shlex
import shutil
from pathlib import Path

import pytest

from mlcl import cli
from mlcl.core.flags import _flag_types, _is_free

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    path
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
    if path.name != "CHANGELOG.md"
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
COMMON = {"--help", "--config", "--print-config", "--version"}


def commands(path: Path) -> list[str]:
    """Every command line that starts with `mlcl` or `make`, in blocks and in back-ticks; continued lines joined."""
    text = path.read_text(encoding="utf-8")
    lines = [
        line.strip().removeprefix("$ ")
        for language, block in BLOCK.findall(text)
        if language in ("", "bash", "sh", "shell", "console")
        for line in block.replace("\\\n", " ").split("\n")
    ]
    lines += re.findall(r"`((?:mlcl|make) [^`\n]+)`", BLOCK.sub("", text))
    return [line for line in lines if re.match(r"(mlcl|make) ", line)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_documents_exist_with_their_options(path: Path):
    targets = set(re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    known = {verb.words: verb for verb in cli.verbs()}
    for command in commands(path):
        words = shlex.split(command, comments=True)
        if words[0] == "make":
            wrong = [word for word in words[1:] if "=" not in word and word not in targets]
            assert not wrong, f"{command}: no such target in the Makefile"
            continue
        if words[1].startswith("-") or not words[1].islower():
            continue  # mlcl --help, mlcl VERB
        said = tuple(words[1:])
        verb = max((verb for words_, verb in known.items() if said[: len(words_)] == words_), default=None)
        if verb is None:
            assert any(words_[:1] == said[:1] and len(said) == 1 for words_ in known), f"{command}: no such verb"
            continue
        types = dict(_flag_types(importlib.import_module(verb.module).Config))
        for word in said:
            if not word.startswith("--") or word.partition("=")[0] in COMMON:
                continue
            key = word.partition("=")[0][2:].replace("-", "_")
            free = any(_is_free(hint) and key.startswith(name + ".") for name, hint in types.items())
            assert free or key in types or word == "--any.key", (
                f"{command}: {' '.join(verb.words)} has no option {word}"
            )


def snippets() -> list:
    """Python blocks of the README. `<!-- not run: reason -->` before a block leaves it out."""
    found = []
    for name in ("README.md", "README.zh.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for number, match in enumerate(BLOCK.finditer(text), start=1):
            skipped = re.search(r"<!-- not run: .+ -->\s*$", text[: match.start()])
            if match[1] == "python" and not skipped:
                found.append(pytest.param(match[2], id=f"{name}-{number}"))
    return found


@pytest.fixture
def tiny_workspace(tiny_model: Path, tmp_path: Path) -> Path:
    """A folder with the files that the README's snippets name, in small."""
    for name in ("mlcl-quickstart/training/model", "path/to/checkpoint"):
        shutil.copytree(tiny_model, tmp_path / name)
    pairs = [f"{number} pages were deleted\t{number} Seiten wurden gelöscht" for number in range(64)]
    (tmp_path / "pairs.tsv").write_text("anchor\tpositive\n" + "\n".join(pairs) + "\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("code", snippets())
def test_python_in_the_readme_runs(code: str, tiny_workspace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tiny_workspace)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tiny_workspace / "cache"))
    with contextlib.redirect_stdout(None):
        exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(path: Path):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith("mailto:"):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_both_readmes_show_the_same_commands_and_code():
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh.md"))
    blocks = [
        [re.sub(r"#.*", "", body) for language, body in BLOCK.findall(text) if language in ("python", "bash")]
        for text in (english, chinese)
    ]
    assert [[line.rstrip() for line in body.split("\n")] for body in blocks[0]] == [
        [line.rstrip() for line in body.split("\n")] for body in blocks[1]
    ]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_name_no_machine(path: Path):
    assert not re.search(r"(?<![\w.])/(work|root|tmp|home)/", path.read_text(encoding="utf-8"))
