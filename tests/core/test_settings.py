from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mlcl.core.errors import UserError
from mlcl.core.settings import did_you_mean, find_mistake, load_yaml, read_settings


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    in_: str = ""


@dataclass(frozen=True)
class Outer:
    name: str = ""
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None
    many: list[Inner] = field(default_factory=list)
    named: dict[str, Inner] = field(default_factory=dict)
    free: dict[str, int] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("[no, sv, y, on]", ["no", "sv", "y", "on"]),
        ("true", True),
        ("False", False),
        ("1e-4", 1e-4),
        ("-2.5", -2.5),
        (".5", 0.5),
        ("3", 3),
        ("-1", -1),
        ("0x10", 16),
        ("08", "08"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("null", None),
        ("~", None),
        ("", None),
        ("1.2.3", "1.2.3"),
        (".inf", float("inf")),
        ("{a: {<<: {b: 1}, c: 2}}", {"a": {"b": 1, "c": 2}}),
    ],
)
def test_plain_scalars_follow_yaml_1_2(text, value):
    loaded = load_yaml(text)
    assert loaded == value
    assert type(loaded) is type(value)


def test_lines_of_nested_keys(tmp_path: Path):
    path = tmp_path / "s.yaml"
    path.write_text("\ufeffname: x\n\nmany:\n- rate: 1\n- in: f\n  rate: 2\n", encoding="utf-8")
    values, lines = read_settings(path)
    assert values == {"name": "x", "many": [{"rate": 1}, {"in": "f", "rate": 2}]}
    assert lines == {
        "name": 1, "many": 3, "many.0": 4, "many.0.rate": 4, "many.1": 5, "many.1.in": 5, "many.1.rate": 6
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b"a: 1\nb: [\n", 3, "invalid YAML"),
        (b"a: 1\na: 2\n", 2, "comes twice"),
        (b"a: {b: 1,\n b: 2}\n", 2, "'a.b' comes twice"),
        (b"- a\n", None, "mapping"),
        (b"", None, "mapping"),
        (b"a: \xff\n", None, "UTF-8"),
        (b"a: !!python/object:os.system x\n", 1, "invalid YAML"),
    ],
)
def test_bad_files_are_one_clear_error(tmp_path: Path, content, line, words):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        read_settings(path)
    assert caught.value.path == path
    assert caught.value.line == line


def test_missing_file(tmp_path: Path):
    with pytest.raises(UserError, match="no such settings file"):
        read_settings(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"nam": 1}, "nam"),
        ({"inner": {"rte": 1}}, "inner.rte"),
        ({"maybe": {"rte": 1}}, "maybe.rte"),
        ({"many": [{"rate": 1}, {"rte": 1}]}, "many.1.rte"),
        ({"named": {"x": {"rte": 1}}}, "named.x.rte"),
        ({"inner": {"in_": "f"}}, "inner.in_"),
    ],
)
def test_unknown_keys_are_found_at_any_depth(values, key):
    found = find_mistake(values, Outer)
    assert found is not None
    assert found.key == key
    assert "unknown key" in found.what


@pytest.mark.parametrize("values", [{"inner": 3}, {"inner": None}, {"many": [3]}, {"maybe": "x"}, {"inner": [1]}])
def test_a_value_where_keys_are_expected(values):
    found = find_mistake(values, Outer)
    assert found is not None
    assert "needs keys" in found.what


def test_known_keys_pass():
    values = {"name": "x", "inner": {"rate": 1, "in": "f"}, "maybe": None, "many": [{}], "free": {"anything": 1}}
    assert find_mistake(values, Outer) is None


def test_did_you_mean():
    assert did_you_mean("rte", ["rate", "name"]) == "did you mean rate?"
    assert did_you_mean("zzz", ["rate", "name"]) == "known: rate, name"
    assert did_you_mean("zzz", [f"name{n}" for n in range(100)]) is None
