"""AdamW on touched rows against dense AdamW, row by row."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mlcl.training.optimizer import RowAdamW, clip_gradients

_SETTINGS = {"lr": 0.03, "betas": (0.9, 0.98), "eps": 1e-6, "weight_decay": 0.1}


def touch(table: nn.Embedding, rows: list[int], seed: int) -> None:
    """A loss that depends on these rows only, on some of them more than once."""
    weights = torch.randn(len(rows), table.embedding_dim, generator=torch.Generator().manual_seed(seed))
    (table(torch.tensor(rows)) * weights).sum().backward()


def test_each_row_moves_as_under_dense_adamw_over_the_steps_in_which_it_occurs():
    torch.manual_seed(0)
    table = nn.Embedding(6, 3, sparse=True)
    start = table.weight.detach().clone()
    batches = [[0, 1, 1], [0, 3], [0, 1], [0], [0, 3, 3, 1], [0, 4]]
    rates = [0.03, 0.02, 0.05, 0.01, 0.04, 0.03]
    optimizer = RowAdamW(table.parameters(), **_SETTINGS)
    gradients: dict[int, list[tuple[float, torch.Tensor]]] = {row: [] for row in range(6)}
    for number, (rows, rate) in enumerate(zip(batches, rates, strict=True)):
        optimizer.zero_grad()
        touch(table, rows, number)
        for row in set(rows):
            gradients[row].append((rate, table.weight.grad.to_dense()[row].clone()))
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    for row in range(6):
        alone = nn.Parameter(start[row].clone())
        dense = torch.optim.AdamW([alone], **_SETTINGS)
        for rate, gradient in gradients[row]:
            alone.grad, dense.param_groups[0]["lr"] = gradient, rate
            dense.step()
        torch.testing.assert_close(table.weight[row], alone, rtol=1e-6, atol=1e-7)
    assert torch.equal(table.weight[[2, 5]], start[[2, 5]])


def test_equals_dense_adamw_where_every_row_occurs_in_every_step():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(4, 3, sparse=True), nn.Linear(3, 2))
    twin = copy.deepcopy(model)
    twin[0].sparse = False
    ours, dense = RowAdamW(model.parameters(), **_SETTINGS), torch.optim.AdamW(twin.parameters(), **_SETTINGS)
    for _ in range(5):
        for network, optimizer in ((model, ours), (twin, dense)):
            optimizer.zero_grad()
            network(torch.tensor([0, 1, 2, 3, 1])).square().sum().backward()
            norm = clip_gradients(network.parameters(), 0.5)
            optimizer.step()
    assert norm > 0.5
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-7)


def test_state_survives_saving(tmp_path):
    torch.manual_seed(0)
    table = nn.Embedding(5, 2, sparse=True)
    optimizer = RowAdamW(table.parameters(), **_SETTINGS)
    touch(table, [1, 2], 0)
    optimizer.step()
    torch.save((table.state_dict(), optimizer.state_dict()), tmp_path / "state.pt")
    twin = nn.Embedding(5, 2, sparse=True)
    other = RowAdamW(twin.parameters(), **_SETTINGS)
    weights, state = torch.load(tmp_path / "state.pt")
    twin.load_state_dict(weights)
    other.load_state_dict(state)
    for network, continued in ((table, optimizer), (twin, other)):
        continued.zero_grad()
        touch(network, [2, 3], 1)
        continued.step()
    assert torch.equal(table.weight, twin.weight)


@pytest.mark.parametrize("max_norm", [0.1, 1e9])
def test_clipping_equals_that_of_dense_gradients(max_norm):
    torch.manual_seed(0)
    table, dense = nn.Embedding(5, 2, sparse=True), nn.Embedding(5, 2)
    dense.load_state_dict(table.state_dict())
    for network in (table, dense):
        touch(network, [1, 2, 2], 0)
    ours = clip_gradients(table.parameters(), max_norm)
    theirs = torch.nn.utils.clip_grad_norm_(dense.parameters(), max_norm)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(table.weight.grad.to_dense(), dense.weight.grad)


def test_the_trainer_updates_the_rows_of_its_batches_alone(tiny_model, tmp_path):
    from transformers import AutoTokenizer

    from mlcl.model.config import MLCConfig
    from mlcl.model.model import MLCModel
    from mlcl.training.arguments import MLCTrainingArguments
    from mlcl.training.trainer import MLCTrainer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    rows = [{"anchor": "the page was deleted", "positive": "die Seite wurde gelöscht"}] * 2
    seen = torch.tensor(sorted({i for row in rows for text in row.values() for i in tokenizer(text)["input_ids"]}))
    for lm_weight in (0.0, 0.5):
        torch.manual_seed(0)
        model = MLCModel(MLCConfig(model_name=str(tiny_model)))
        before = model.get_input_embeddings().weight.detach().clone()
        args = MLCTrainingArguments(
            output_dir=str(tmp_path / str(lm_weight)), max_steps=2, per_device_train_batch_size=2, lm_weight=lm_weight,
            save_strategy="no", learning_rate=1e-2, weight_decay=0.1, bf16=False, max_length=32,
        )  # fmt: skip
        MLCTrainer(model, args, rows, processing_class=tokenizer).train()
        moved = (model.get_input_embeddings().weight != before).any(dim=1).nonzero()[:, 0]
        assert not model.get_input_embeddings().sparse
        if lm_weight:  # the softmax over the vocabulary touches every row
            assert len(moved) > len(seen)
        else:
            assert torch.equal(moved, seen)
