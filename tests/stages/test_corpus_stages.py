from __future__ import annotations

from pathlib import Path

import pytest

from mlcl.cli import main
from mlcl.core.flags import parse
from mlcl.core.plugins import names
from mlcl.corpus.store import Corpus
from mlcl.stages.corpus_build import Config


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "train.en").write_text("Good morning\nThe <i>cat</i> sleeps\n")
    (tmp_path / "train.de").write_text("Guten Morgen\nDie <i>Katze</i> schläft\n")
    (tmp_path / "c.yaml").write_text("sources:\n  - {format: moses, path: train, origin: '<mine>', licence: CC0}\n")
    return tmp_path


def test_build_and_stats(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = data / "out"
    assert main(["corpus", "build", "--config", str(data / "c.yaml"), "--data", str(data), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "4 of 4 texts kept in 2 languages: 2 pairs" in printed
    assert Path(printed.strip().split("\n")[-1]) == out
    assert Corpus.open(out).languages == ["de", "en"]
    assert main(["corpus", "stats", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "German" in printed
    assert "<mine>" in printed


def test_report_is_self_contained_and_escaped(data: Path) -> None:
    out = data / "out"
    assert main(["corpus", "build", "--config", str(data / "c.yaml"), "--data", str(data), "--out", str(out)]) == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "&lt;mine&gt;" in page
    assert "<mine>" not in page
    assert page.count("data:image/png;base64,") == 2  # languages and lengths; nothing was dropped
    assert 'src="http' not in page


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("sources:\n  - {format: moses, path: train, licens: CC0}\n", "c.yaml:2: unknown key 'sources.0.licens'"),
        ("sources:\n  - {format: moses, path: train, limit: many}\n", "c.yaml:1: sources: "),
        ("sources:\n  - {format: mosses, path: train}\n", "unknown format 'mosses'"),
        ("sources:\n  - {format: moses, path: train, options: {langs: [en]}}\n", "has no option langs"),
        (
            "sources:\n  - {format: moses, path: train, options: {languages: en}}\n",
            "option languages='en' should be list",
        ),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    data: Path, yaml: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "c.yaml").write_text(yaml)
    out = data / "out"
    assert main(["corpus", "build", "--config", str(data / "c.yaml"), "--data", str(data), "--out", str(out)]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert message in error
    assert "Traceback" not in error
    assert not out.exists()


def test_the_reference_configuration_parses(repo_root: Path) -> None:
    path = str(repo_root / "configs/reference-corpus.yaml")
    config = parse(Config, ["--config", path, "--data", "d", "--out", "o"], "mlcl corpus build", "")
    used = {source.format for source in [*config.sources, *config.evaluation]}
    assert used <= set(names("mlcl.formats"))
    assert [source.options for source in config.sources if source.format == "ntrex"] == [{"documents": "1-73"}]
    assert all(source.licence and source.origin for source in config.sources)
