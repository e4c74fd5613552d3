"""Who may import whom, how large a file may be, and that parts keep their contract."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlcl.core import plugins

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "mlcl"
FILES = sorted(PACKAGE.rglob("*.py"))
GROUND = {"core", "formats", "text", "objectives", "retrieval", "reports"}
MAY_IMPORT = {
    "core": set(),
    "formats": {"core", "text"},
    "text": {"core"},
    "objectives": {"core"},
    "retrieval": {"core"},
    "reports": {"core"},
    "corpus": GROUND,
    "model": GROUND | {"corpus"},
    "training": GROUND | {"corpus", "model"},
    "tasks": {"core", "formats", "retrieval"},
    "finetuning": GROUND | {"model", "training", "tasks"},
    "topics": {"core", "retrieval", "text"},
    "interop": {"core", "model"},
    "stages": GROUND | {"corpus", "model", "training", "tasks", "finetuning", "topics"},
    "cli": {"core", "stages"},
}


def room(path: Path) -> str:
    """The folder under `mlcl/` that a file belongs to, or its own name at the top."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """(room, line) of every import of ours, those inside functions included; those for type checkers alone are not."""
    nodes = [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if not (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")):
            nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            whole = node.module or ""
            modules = [f"mlcl.{alias.name}" for alias in node.names] if whole == "mlcl" else [whole]
        else:
            continue
        for module in modules:
            top, _, rest = module.partition(".")
            if top == "mlcl" and rest != "__version__":
                yield rest.partition(".")[0], node.lineno


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES])
def test_imports_follow_the_architecture(path: Path):
    here = room(path)
    if here in ("__init__", "__main__"):
        return  # the public face and the entry point
    assert here in MAY_IMPORT, f"{here}: say in docs/architecture.md and here what it may import"
    allowed = MAY_IMPORT[here] | {here}
    wrong = [f"line {line} imports mlcl.{there}" for there, line in imports(path) if there and there not in allowed]
    assert not wrong, f"mlcl/{here} may import {sorted(allowed)} only: {wrong}"


def test_the_table_in_the_documentation_names_every_folder():
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    documented = set(
        re.findall(r"^\| `(\w+)/` \|", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), re.M)
    )
    assert folders == documented
    assert folders | {"cli"} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES])
def test_files_are_small_and_say_what_they_are(path: Path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400, "split it: one purpose per file"
    assert ast.get_docstring(ast.parse(text)), "a module opens with what enters and what leaves"
    assert ".splitlines(" not in text, "split at \\n only: str.splitlines also splits inside sentences"


@pytest.mark.parametrize("name", plugins.names("mlcl.formats"))
def test_formats_keep_their_contract(name: str):
    read = plugins.load("mlcl.formats", name).read
    parameters = list(inspect.signature(read).parameters.values())
    assert [parameter.name for parameter in parameters[:2]] == ["path", "rows"]
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters[2:]), "options are keyword-only"
    documentation = inspect.getdoc(read) or ""
    for parameter in parameters[2:]:
        assert parameter.name in documentation, f"the option {parameter.name} is not documented"


@pytest.mark.parametrize("name", plugins.names("mlcl.objectives"))
def test_objectives_know_no_ranks_trainers_or_files(name: str):
    module = plugins.load("mlcl.objectives", name)
    tree = ast.parse(Path(inspect.getfile(module)).read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    foreign = {name for name in names if name.split(".")[0] in ("transformers", "accelerate", "pathlib", "os")}
    assert not foreign | {name for name in names if name.startswith("torch.distributed")}


@pytest.mark.parametrize("name", plugins.names("mlcl.tasks"))
def test_tasks_keep_their_contract(name: str):
    evaluate = plugins.load("mlcl.tasks", name).evaluate
    assert list(inspect.signature(evaluate).parameters)[:2] == ["embed", "root"]


def test_the_public_names_exist():
    mlcl = importlib.import_module("mlcl")
    for name in mlcl.__all__:
        assert getattr(mlcl, name) is not None
    assert set(mlcl.__all__) <= set(dir(mlcl))
    with pytest.raises(AttributeError, match="nothing_like_that"):
        mlcl.nothing_like_that  # noqa: B018
