"""`mlcl pretrain`: from a corpus to a model folder; a killed run that resumes equals one that was not killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from mlcl.cli import main


def command(settings: dict, tmp_path: Path, *flags: str) -> list[str]:
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(settings))
    return ["pretrain", "--config", str(config), *flags]


def weights(run: Path) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in load_file(run / "model" / "model.safetensors").items()}


@pytest.mark.slow
def test_a_killed_run_resumes_bit_for_bit(tiny_settings, tmp_path):
    steady, killed = tmp_path / "steady", tmp_path / "killed"
    assert main(command(tiny_settings, tmp_path, "--out", str(steady))) == 0

    # Slow the second run down by logging nothing but saving often, and kill it as soon as a checkpoint is there.
    words = command(tiny_settings, tmp_path, "--out", str(killed))
    process = subprocess.Popen([sys.executable, "-m", "mlcl", *words], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not list(killed.glob("checkpoint-*")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert not (killed / "model").exists()

    assert main([*words, "--resume"]) == 0
    assert weights(steady) == weights(killed)
    lines = [
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().split("\n") if line]
        for run in (steady, killed)
    ]
    losses = [[(line["step"], line["loss"], line["lm"]) for line in run if "loss" in line] for run in lines]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_a_curriculum_resumes_bit_for_bit_across_the_end_of_a_stage(tiny_settings, tmp_path):
    tiny_settings["sampling"] |= {
        "max_repeats": 3.0,
        "stages": [
            {"until": 0.5, "alpha": 1.0},
            {"until": 9, "alpha": 0.5, "pivot_share": 0.0, "origin_weights": {"made-up": 2.0}},
            {"alpha": 0.0, "origin_caps": {"made-up": 1.0}},
        ],
    }
    tiny_settings["training"] |= {"max_steps": 12, "save_steps": 4, "save_total_limit": 3}
    words, run = command(tiny_settings, tmp_path), tmp_path / "run"
    assert main(words) == 0
    steady = weights(run)
    for later in ("model", "checkpoint-8", "checkpoint-12"):  # as if killed between steps 4 and 8: stage 1 begins at 6
        shutil.rmtree(run / later)
    assert main([*words, "--resume"]) == 0
    assert weights(run) == steady


@pytest.mark.slow
def test_a_stream_resumes_bit_for_bit_and_refuses_another_layout(tiny_settings, tmp_path, capsys):
    tiny_settings |= {"stream": True, "buffer_rows": 96, "initialisation": {"embeddings": "sentence-id"}}
    tiny_settings["sampling"] |= {"alpha": 0.5, "stages": [{"until": 0.5, "alpha": 1.0}, {"alpha": 0.5}]}
    tiny_settings["training"] |= {"max_steps": 12, "save_steps": 4, "save_total_limit": 3}
    words, run = command(tiny_settings, tmp_path), tmp_path / "run"
    assert main(words) == 0
    steady = weights(run)
    for later in ("model", "checkpoint-8", "checkpoint-12"):
        shutil.rmtree(run / later)
    assert main([*words, "--resume"]) == 0
    assert weights(run) == steady
    capsys.readouterr()
    shutil.rmtree(run / "checkpoint-12")
    assert main([*words, "--resume", "--buffer_rows", "64"]) == 2
    assert "the stream of this checkpoint had" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_make_one_run(tiny_settings, tmp_path):
    tiny_settings["training"] |= {"max_steps": 4, "save_steps": 2, "mini_batch_tokens": 400}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "mlcl"]
    words = [*launch, *command(tiny_settings, tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    out = tmp_path / "run"
    assert set(done.stdout.split()) == {str(out / "model")}
    assert done.stderr.count("steps in") == 1  # one of them speaks
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().split("\n") if line]
    assert [line["step"] for line in lines if "info_nce" in line] == [2, 4]
    finished = weights(out)
    assert finished.keys() == load_file(out / "checkpoint-4" / "model.safetensors").keys()

    shutil.rmtree(out / "model")
    shutil.rmtree(out / "checkpoint-4")
    done = subprocess.run([*words, "--resume"], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert weights(out) == finished

    done = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode != 0
    assert "already exists" in done.stderr


def test_resuming_a_finished_run_changes_nothing(tiny_settings, tmp_path):
    tiny_settings["training"]["max_steps"] = 4
    words = command(tiny_settings, tmp_path)
    assert main(words) == 0
    finished = weights(tmp_path / "run")
    assert main([*words, "--resume"]) == 0
    assert weights(tmp_path / "run") == finished


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(tiny_settings, tmp_path):
    tiny_settings["training"]["max_steps"] = 100_000
    out = tmp_path / "run"
    words = [sys.executable, "-m", "mlcl", *command(tiny_settings, tmp_path)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    while not list(out.glob("checkpoint-*")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "continue with --resume" in error
    assert "Traceback" not in error
    assert not (out / "model").exists()


@pytest.fixture
def tiny_settings(tiny_settings):
    """Long enough to be killed in the middle."""
    tiny_settings["training"] |= {"max_steps": 24, "save_steps": 4}
    return tiny_settings


def test_an_output_that_exists_is_refused_and_untouched(tiny_settings, tmp_path, capsys):
    out = tmp_path / "run"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert main(command(tiny_settings, tmp_path)) == 2
    error = capsys.readouterr().err
    assert "already exists" in error
    assert "--resume" in error
    assert error.count("\n") == 1
    assert [path.name for path in out.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("training", "learning_rat", 1e-3, "did you mean learning_rate?"),
        ("training", "learning_rate", "fast", "training.learning_rate is 'fast', expected float"),
        ("training", "max_steps", 0, "max_steps is 0, it must be at least 1"),
        ("training", "per_device_train_batch_size", 0, "per_device_train_batch_size is 0, it must be at least 1"),
        ("training", "learning_rate", -1e-3, "learning_rate is -0.001, it must be at least 0"),
        ("model", "poolin", "mean", "did you mean pooling?"),
        ("model", "pooling", "median", "unknown pooling 'median'"),
        ("sampling", "alpa", 0.5, "did you mean alpha?"),
        ("sampling", "pivot", "fr", "the corpus has no sentence in fr"),
        ("sampling", "alpha", 2.0, "sampling.alpha is 2.0"),
        ("sampling", "stages", [{"until": 0.5, "alfa": 1}], "unknown key 'sampling.stages.0.alfa'"),
        ("sampling", "origin_caps", {"crawl": 0.5}, "the corpus has no origin 'crawl'"),
    ],
)
def test_wrong_settings_are_one_clear_line(tiny_settings, tmp_path, capsys, section, key, value, message):
    tiny_settings[section][key] = value
    assert main(command(tiny_settings, tmp_path)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stream", [False, True])
def test_a_start_that_fails_leaves_nothing_behind(tiny_settings, tmp_path, capsys, stream):
    tiny_settings["stream"] = stream
    out = Path(tiny_settings.get("out", tmp_path / "run"))
    assert main(command(tiny_settings, tmp_path, "--tokenizer.path", str(tmp_path / "nowhere"))) == 2
    assert "nowhere: no such folder (give a folder with a tokenizer" in capsys.readouterr().err
    assert not out.exists()
    (tmp_path / "empty").mkdir()
    assert main(command(tiny_settings, tmp_path, "--tokenizer.path", str(tmp_path / "empty"))) == 2
    assert "empty: cannot load the tokenizer: " in capsys.readouterr().err
    assert not out.exists()
    assert main(command(tiny_settings, tmp_path, "--out", str(tmp_path / "settings.yaml" / "run"))) == 2
    assert "this is a file, so nothing can be written below it" in capsys.readouterr().err


def test_a_checkpoint_of_another_architecture_is_one_clear_line(tiny_settings, tmp_path, capsys):
    tiny_settings["training"] |= {"max_steps": 4}
    assert main(command(tiny_settings, tmp_path)) == 0
    tiny_settings["model"]["backbone"]["hidden_size"] = 64
    capsys.readouterr()
    assert main(command(tiny_settings, tmp_path, "--resume")) == 2
    error = capsys.readouterr().err
    assert "another architecture" in error
    assert "hidden_size" in error


def test_nothing_to_resume(tiny_settings, tmp_path, capsys):
    assert main(command(tiny_settings, tmp_path, "--resume")) == 2
    assert "no run to resume" in capsys.readouterr().err


@pytest.mark.slow
def test_the_article_recipe_runs_on_a_tiny_backbone(repo_root, tiny_corpus, tiny_model, tmp_path, capsys):
    out = tmp_path / "article"
    words = ["pretrain", "--config", str(repo_root / "configs/article.yaml"), "--corpus", str(tiny_corpus)]
    words += ["--model.model_name", str(tiny_model), "--training.max_steps", "2", "--out", str(out)]
    assert main(words) == 0
    assert capsys.readouterr().out.strip() == str(out / "model")
    (line,) = [json.loads(line) for line in (out / "metrics.jsonl").read_text().split("\n") if "train_loss" in line]
    assert line["step"] == 2
    recipe = yaml.safe_load((repo_root / "configs/article.yaml").read_text())["training"]
    published = {
        "num_train_epochs": 10,
        "per_device_train_batch_size": 128,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-4,
        "warmup_steps": 10_000,
        "save_steps": 5_000,
    }
    assert {key: float(recipe[key]) for key in published} == published
