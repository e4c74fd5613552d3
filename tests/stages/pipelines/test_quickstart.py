from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from mlcl import cli
from mlcl.core.errors import UserError
from mlcl.core.files import read_json
from mlcl.corpus.store import Corpus
from mlcl.stages import pretrain
from mlcl.stages.pipelines import quickstart

TINY = [
    "--minutes", "0.05", "--tokenizer.vocab-size", "600", "--pretrain.model.backbone.hidden-size", "32",
    "--pretrain.model.backbone.intermediate-size", "64", "--pretrain.model.backbone.num-hidden-layers", "1",
    "--pretrain.model.backbone.num-attention-heads", "2", "--pretrain.training.per-device-train-batch-size", "8",
    "--pretrain.training.queue-size", "16", "--searches", "Delete the page",
]  # fmt: skip


@pytest.mark.slow
def test_the_whole_path_on_a_small_package(
    package: str, held_out_messages: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "made"
    assert cli.main(["quickstart", "--out", str(out), "--packages", package, *TINY]) == 0
    shown = capsys.readouterr().out
    assert "Delete the page" in shown
    assert str(out / "report.html") in shown.replace("\n", "")

    held_out = {json.loads(line)["text"] for line in (out / "held-out.jsonl").read_text().split("\n") if line}
    trained = set()
    for batch in Corpus.open(out / "corpus").pair_batches(["source", "target"]):
        trained |= {*batch["source"].to_pylist(), *batch["target"].to_pylist()}
    assert trained
    assert not trained & held_out
    assert not trained & set(held_out_messages)

    rows = read_json(out / "results.json")
    assert {row["model"] for row in rows} == {"this encoder", "untrained encoder", "character n-gram TF-IDF"}
    assert {row["language"] for row in rows} == {"de", "el"}
    assert all(0 <= row["low"] <= row["value"] <= row["high"] <= 100 for row in rows)
    means = {(row["model"], row["language"]): row["value"] for row in rows if row["direction"] == "mean"}
    ways = [row["value"] for row in rows if row["model"] == "this encoder" and row["language"] == "el"]
    assert means["this encoder", "el"] == pytest.approx(np.mean(sorted(ways)), abs=1e-6)

    report = (out / "report.html").read_text(encoding="utf-8")
    assert report.count("<img") >= 3
    assert not re.search(r'(src|href)="(?!data:|#)', report), "the report stands alone"
    assert "German" in report

    import mlcl

    assert mlcl.Encoder.from_pretrained(out / "training" / "model").encode(["one", "two"]).shape == (2, 32)

    assert cli.main(["quickstart", "--out", str(out), "--packages", package, *TINY]) == 2
    assert "already exists" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError()])
def test_nothing_half_written_stays(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
):
    def interrupted(config: pretrain.Config) -> Path:
        assert Path(config.corpus).is_dir()
        raise error

    monkeypatch.setattr(pretrain, "run", interrupted)
    config = quickstart.Config(str(tmp_path / "made"), packages=[package], tokenizer={"vocab_size": 600})
    with pytest.raises(type(error)):
        quickstart.run(config)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"packages": ["no_such_package_anywhere"]}, "not installed"),
        ({"packages": []}, "packages is empty"),
        ({"minutes": 0}, "minutes is 0"),
    ],
)
def test_mistakes_leave_nothing(tmp_path: Path, settings: dict, said: str):
    with pytest.raises(UserError, match=said):
        quickstart.run(quickstart.Config(str(tmp_path / "made"), **settings))
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_exists_is_left_alone(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="already exists"):
        quickstart.run(quickstart.Config(str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_training_gets_what_the_other_steps_leave():
    assert quickstart._training_minutes(6, 1) == pytest.approx(5 - quickstart.LATER)
    assert quickstart._training_minutes(6, 5.9) == pytest.approx(1.2)


def test_the_packaged_settings_are_the_defaults_and_are_not_shared():
    first, second = quickstart.Config(), quickstart.Config()
    first.pretrain["training"]["seed"] = 9
    assert "seed" not in second.pretrain["training"]
    assert second.packages == ["django", "sphinx", "wagtail", "allauth", "rest_framework"]
    assert second.minutes <= 6
