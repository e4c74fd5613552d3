"""Two processes against one with the same sentences: equal gradients, weights, queue, momentum encoder, temperature."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mlcl.training.terms import names
from ranks import Case, run, update
from steps import TERMS, Share, tiny
from train_ranks import run as train_alone

pytestmark = pytest.mark.slow  # the start of new processes

EQUAL = [Share.draw(1, pairs=4, hard_negatives=2, lm=3), Share.draw(2, pairs=4, hard_negatives=2, lm=3)]
UNEQUAL = [Share.draw(3, pairs=6, hard_negatives=3, lm=1), Share.draw(4, pairs=2, hard_negatives=0, lm=4)]
NO_BATCH = [Share.draw(5, pairs=4, hard_negatives=1, lm=3), Share()]
NO_BATCH_FIRST = NO_BATCH[::-1]
NO_MASKED = [Share.draw(6, pairs=3), Share.draw(7, pairs=3, lm=2)]
ONE_PAIR = [Share.draw(8, pairs=1, lm=1), Share.draw(9, pairs=1, lm=1)]
NOTHING = [Share(), Share()]

FURTHER = {"objectives": dict.fromkeys(names(), 0.5)}

CASES = {
    "equal": Case([EQUAL]),
    "unequal": Case([UNEQUAL]),
    "unequal, one direction": Case([UNEQUAL], {"symmetric": False}),
    "unequal, no queue, fixed temperature": Case([UNEQUAL], {"queue_size": 0, "learnable_temperature": False}),
    "InfoNCE alone": Case([UNEQUAL], {"lm_weight": 0.0}),
    "LM alone": Case([UNEQUAL], {"info_nce_weight": 0.0}),
    "a rank without a batch": Case([NO_BATCH]),
    "the first rank without a batch": Case([NO_BATCH_FIRST]),
    "a rank without masked tokens": Case([NO_MASKED]),
    "one pair on each rank": Case([ONE_PAIR], {"queue_size": 0}),
    "two micro-batches": Case([UNEQUAL, NO_BATCH]),
    "cached": Case([UNEQUAL], tokens=20),
    "cached, a rank without a batch": Case([NO_BATCH], tokens=20),
    "cached, two micro-batches": Case([NO_MASKED, UNEQUAL], tokens=20),
    "further terms": Case([UNEQUAL], FURTHER),
    "further terms, a rank without a batch": Case([NO_BATCH], FURTHER),
    "further terms, cached, two micro-batches": Case([NO_BATCH_FIRST, UNEQUAL], FURTHER, tokens=20),
    "further terms and no LM term": Case([UNEQUAL], {**FURTHER, "lm_weight": 0.0}),
    "further terms, cached, no LM term": Case([NO_BATCH, UNEQUAL], {**FURTHER, "lm_weight": 0.0}, tokens=20),
    "further terms, cached in one chunk": Case([NO_BATCH, UNEQUAL], {**FURTHER, "lm_weight": 0.0}, tokens=10_000),
    "an angular margin": Case([UNEQUAL], {"angular_margin": 0.2}),
    **{f"LM term: {term}": Case([UNEQUAL], term=term) for term in TERMS if term != "masked"},
    **{f"LM term: {term}, a rank without": Case([NO_MASKED], term=term) for term in TERMS if term != "masked"},
    "LM term: blanks, a rank without a batch": Case([NO_BATCH], term="blanks"),
    "LM term: blanks, cached, two micro-batches": Case([NO_MASKED, UNEQUAL], tokens=20, term="blanks"),
    "LM term: spans, cached, two micro-batches": Case([NO_MASKED, UNEQUAL], tokens=20, term="spans"),
    "FSDP2": Case([UNEQUAL], fsdp=True),
    "FSDP2, a rank without a batch": Case([NO_BATCH], fsdp=True),
    "FSDP2, a rank without masked tokens": Case([NO_MASKED], fsdp=True),
    "FSDP2, two micro-batches": Case([UNEQUAL, EQUAL], fsdp=True),
    "FSDP2, cached": Case([UNEQUAL], tokens=20, fsdp=True),
    "FSDP2, cached, a rank without a batch": Case([NO_BATCH], tokens=20, fsdp=True),
    "FSDP2, cached, two micro-batches": Case([EQUAL, UNEQUAL], tokens=20, fsdp=True),
    "FSDP2, further terms": Case([NO_BATCH, UNEQUAL], FURTHER, fsdp=True),
    "FSDP2, further terms, cached": Case([NO_BATCH, UNEQUAL], FURTHER, tokens=20, fsdp=True),
    "FSDP2, LM term: blanks": Case([NO_MASKED, UNEQUAL], fsdp=True, term="blanks"),
    "FSDP2 in bf16": Case([UNEQUAL], fsdp=True, bf16=True),
    "FSDP2 in bf16, cached": Case([UNEQUAL], tokens=20, fsdp=True, bf16=True),
}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    return run(CASES, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("name", CASES)
def test_two_processes_give_what_one_gives(ranks, name, tmp_path):
    one = update(CASES[name].in_one_process, 0, tmp_path)
    two = [results[name] for results in ranks]
    rough = CASES[name].bf16
    expected = one.pop("gradients")
    assert sum(float(gradient.abs().sum()) for gradient in expected.values()) > 1
    for rank, state in enumerate(two):
        found = state.pop("gradients")
        assert found.keys() - {"temperature"} == expected.keys() - {"temperature"}
        for parameter in found.keys() - {"temperature"}:
            _close(found[parameter], expected[parameter], f"rank {rank}, gradient of {parameter}", rough)
    for key in ("terms", "further"):
        _close(torch.stack([state.pop(key) for state in two]).mean(0), one.pop(key), key, rough)
    # The momentum encoder's whole tensors are on rank 0 under FSDP2, everything else is on both ranks.
    assert two[0].keys() == one.keys()
    for rank, state in enumerate(two):
        assert CASES[name].fsdp or state.keys() == one.keys()
        for key, value in state.items():
            _close(value, one[key], f"rank {rank}, {key}", rough)


def _close(found: torch.Tensor, expected: torch.Tensor, what: str, rough: bool = False) -> None:
    """Equal up to float32's rounding; `rough`: up to that of products in bfloat16, measured by the tensor's size."""
    largest = float(expected.abs().max()) if expected.numel() else 0.0
    rtol, atol = (0.0, 0.05 * largest + 0.01) if rough else (2e-4, 2e-6)
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol, msg=lambda text: f"{what}: {text}")


RUNS = {
    "whole": {"arguments": {"save_strategy": "steps", "save_steps": 3}},
    "resumed": {"arguments": {}, "resume": "whole/checkpoint-3"},
    "cached": {"arguments": {"mini_batch_tokens": 24, "gradient_accumulation_steps": 2}},
    "sharded": {"arguments": {"save_strategy": "steps", "save_steps": 3}, "fsdp": True},
    "sharded, resumed": {"arguments": {"mini_batch_tokens": 24}, "resume": "sharded/checkpoint-3", "fsdp": True},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, repo_root: Path) -> Path:
    """The folder of all runs in two processes."""
    folder = tmp_path_factory.mktemp("runs")
    runs = copy.deepcopy(RUNS)
    for settings in runs.values():
        settings["arguments"]["per_device_train_batch_size"] = 4
        if "resume" in settings:
            settings["resume"] = str(folder / settings["resume"])
    (folder / "runs.json").write_text(json.dumps(runs))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [*command, str(repo_root / "tests" / "train_ranks.py"), str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.mark.parametrize("name", RUNS)
def test_a_run_of_two_processes_ends_like_one_of_one_with_the_same_global_batch(runs, name, tmp_path):
    settings = {**RUNS[name]["arguments"], "per_device_train_batch_size": 8, "save_strategy": "no"}
    train_alone(tmp_path, "alone", settings)
    alone = torch.load(tmp_path / "alone-0.pt", weights_only=True)
    first, second = (torch.load(runs / f"{name}-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first.keys() == alone.keys()
    for key, value in second.items():
        assert torch.equal(value, first[key]), key
    for key, value in first.items():
        _close(value, alone[key], key)
    assert any(not torch.equal(value, tiny().state_dict()[key]) for key, value in first.items() if "layer" in key)


def test_metrics_are_those_of_all_ranks_and_written_once(runs, tmp_path):
    train_alone(tmp_path, "alone", {"per_device_train_batch_size": 8})
    lines = [
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().split("\n") if "info_nce" in line]
        for folder in (runs / "whole", tmp_path / "alone")
    ]
    assert [line["step"] for line in lines[0]] == [2, 4, 6]
    for two, one in zip(*lines, strict=True):
        for key in ("loss", "info_nce", "lm", "temperature", "queue_filled"):
            assert two[key] == pytest.approx(one[key], rel=1e-3), key


def test_a_checkpoint_is_whole_and_holds_the_random_state_of_each_rank(runs):
    for name in ("whole", "sharded"):
        assert not (runs / name / ".checkpoint-in-progress").exists()
        for step in (3, 6):
            checkpoint = runs / name / f"checkpoint-{step}"
            names = {path.name for path in checkpoint.iterdir()}
            assert {"rng_state_0.pth", "rng_state_1.pth", "mlcl_state.pt"} <= names
            weights = load_file(checkpoint / "model.safetensors")
            assert weights.keys() == tiny().state_dict().keys()
            assert all(weights[key].shape == value.shape for key, value in tiny().state_dict().items())
