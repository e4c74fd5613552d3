"""The distribution: what is in it, what it needs, and that the pins fit."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mlcl

ROOT = Path(__file__).resolve().parent.parent
if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").split("\n")
    if line and not line.startswith("#")
]


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    return [Requirement(line) for lines in (PROJECT["dependencies"], *extras.values()) for line in lines]


def test_every_requirement_is_pinned_and_the_pin_satisfies_it():
    pins = {canonicalize_name(pin.name): pin for pin in PINS}
    for requirement in requirements():
        if requirement.name == "mlcl":
            continue
        pin = pins[canonicalize_name(requirement.name)]
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert "+" not in specifier.version, "a local build is not to be had elsewhere"
        assert specifier.version in requirement.specifier


def test_no_pin_comes_twice():
    names = [canonicalize_name(pin.name) for pin in PINS]
    assert len(names) == len(set(names))


def test_extra_all_has_every_extra_but_the_development_tools():
    extras = PROJECT["optional-dependencies"]
    (everything,) = (Requirement(line) for line in extras["all"])
    assert everything.extras == set(extras) - {"all", "dev", "heliport"}  # GPL-3: only for those who ask for it


def test_required_names_are_what_the_code_imports():
    """`require("module", "extra")` names an extra that exists."""
    calls = [
        match
        for path in (ROOT / "src").rglob("*.py")
        for match in re.findall(r"\brequire\(\"([\w.]+)\", \"([\w-]+)\"\)", path.read_text(encoding="utf-8"))
    ]
    assert calls, "the quickstart at least needs scikit-learn"
    for _, extra in calls:
        assert extra in PROJECT["optional-dependencies"]


def test_import_is_lazy():
    code = "import sys, mlcl; assert not {'torch', 'transformers', 'numpy'} & set(sys.modules); mlcl.__version__"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_the_wheel_has_every_module_and_the_packaged_settings(tmp_path: Path):
    pytest.importorskip("setuptools", minversion="77.0.3")
    build = (
        "import sys; from setuptools import build_meta; "
        "print(build_meta.build_wheel(sys.argv[1], {}))"
    )  # fmt: skip
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    for path in (ROOT / "src").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and ".egg-info" not in str(path):
            target = source / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"mlcl-{mlcl.__version__}-py3-none-any")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
        metadata = archive.read(next(name for name in packed if name.endswith("METADATA"))).decode()
    wanted = {
        str(path.relative_to(ROOT / "src"))
        for pattern in ("*.py", "*.yaml", "py.typed")
        for path in (ROOT / "src" / "mlcl").rglob(pattern)
    }
    assert wanted <= packed
    assert "License-Expression: Apache-2.0" in metadata
    assert any(name.endswith("LICENSE") for name in packed)
