"""Every term, by name: settings, gradients with and without caching, own state, and what it needs."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mlcl.core.errors import UserError
from mlcl.training import terms
from mlcl.training.arguments import MLCTrainingArguments
from mlcl.training.grad_cache import cached_step
from mlcl.training.terms import Context, FurtherTerms
from steps import Share, gradients, objective_for, tiny

SHARE = Share.draw(0, pairs=7, hard_negatives=3, lm=4)


@pytest.mark.parametrize("name", terms.names())
class TestContract:
    def test_settings_are_a_frozen_dataclass_with_a_weight_and_defaults(self, name):
        (settings,) = terms.parse({name: {}}).values()
        assert dataclasses.is_dataclass(settings)
        assert settings.weight > 0
        assert terms.parse({name: 0.25})[name].weight == 0.25
        with pytest.raises(dataclasses.FrozenInstanceError):
            settings.weight = 1.0

    def test_gradients_are_equal_with_caching(self, name, tmp_path):
        found = []
        for tokens in (None, 20):
            torch.manual_seed(0)
            model = tiny()
            objective = objective_for(model, tmp_path, info_nce_weight=0.0, lm_weight=0.0, objectives={name: 0.7})
            objective.progress = 0.5  # a term may grow with it, from 0
            if tokens is None:
                value = objective.terms(model, SHARE.batch())
                objective.total(value).backward()
            else:
                value = cached_step(objective, model, SHARE.batch(), tokens)
            assert value.info_nce is None
            assert value.lm is None
            found.append((value.further[name].detach(), gradients(model, objective)))
        torch.testing.assert_close(found[0][0], found[1][0])
        for key, gradient in found[0][1].items():
            torch.testing.assert_close(found[1][1][key], gradient, rtol=1e-4, atol=2e-6)
        assert sum(float(gradient.abs().sum()) for gradient in found[0][1].values()) > 0.01

    @pytest.mark.parametrize("share", [Share(), Share.draw(1, pairs=0, lm=2)], ids=["nothing", "no pairs"])
    def test_without_pairs_it_is_a_zero_with_gradients(self, name, share, tmp_path):
        model = tiny()
        objective = objective_for(model, tmp_path, objectives={name: 1.0}, queue_size=0)
        value = objective.terms(model, share.batch())
        objective.total(value).backward()
        assert value.further[name].item() == 0
        assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients(model, objective).values())


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        ({"kolleo": 1}, "unknown term 'kolleo' (known: "),
        ({"koleo": {"wieght": 1}}, "unknown key objectives.koleo.wieght (did you mean weight?)"),
        ({"koleo": {"weight": "much"}}, "objectives.koleo.weight is 'much', expected float"),
        ({"koleo": [1]}, "objectives.koleo is [1] (give its weight, or a mapping of its settings)"),
        ({"koleo": -1}, "objectives.koleo.weight is -1, it must be at least 0"),
        ({"koleo": float("inf")}, "objectives.koleo.weight is inf, it must be at least 0 and finite"),
    ],
)
def test_mistakes_are_named(objectives, message):
    with pytest.raises(UserError) as error:
        terms.parse(objectives)
    assert message in str(error.value)


def test_all_mistakes_of_all_terms_are_told_at_once(tmp_path):
    objectives = {"koleo": -1, "mse": 0.1, "uniformity": {"t": 0, "s": 1}, "matryoshka": {"dims": []}, "kontext": 1}
    expected = (
        "objectives.koleo.weight is -1, it must be at least 0 and finite; unknown key objectives.uniformity.s (known: "
        "weight, t); objectives.matryoshka.dims is [], it must be different numbers above 0; unknown term 'kontext' "
    )
    with pytest.raises(UserError) as error:
        terms.parse(objectives)
    assert str(error.value).startswith(expected)
    with pytest.raises(UserError) as error:
        MLCTrainingArguments(str(tmp_path), objectives=objectives, temperature=0.0, report_to="none")
    assert str(error.value).startswith(f"temperature is 0.0, it must be above 0; {expected}")


def test_a_term_of_weight_0_is_left_out(tmp_path):
    assert not FurtherTerms({"koleo": 0}, Context(4))
    options = {"info_nce_weight": 0.0, "mask_documents": True, "report_to": "none"}
    args = MLCTrainingArguments(str(tmp_path), objectives={"context": 0, "mse": 0.5}, **options)
    assert args.further_terms == {"mse"}
    assert args.uses_pairs
    args = MLCTrainingArguments(str(tmp_path), objectives={"context": 0}, report_to="none")
    assert not args.uses_documents
    with pytest.raises(UserError, match="nothing would be trained"):
        MLCTrainingArguments(str(tmp_path), objectives={"mse": 0}, lm_weight=0.0, **options)


def test_settings_are_parsed_once_however_often_the_arguments_are_asked(tmp_path, monkeypatch):
    parsed, parse = [], terms.parse
    monkeypatch.setattr(terms, "parse", lambda objectives: (parsed.append(objectives), parse(objectives))[1])
    args = MLCTrainingArguments(str(tmp_path), objectives={"mse": 0.5}, report_to="none")
    assert [args.uses_pairs and args.uses_negatives for _ in range(3)] == [True] * 3
    assert len(parsed) == 1


class _Scale(terms.Term):
    """A term with a parameter of its own, for the tests."""

    needs = frozenset({"languages"})

    def __init__(self, settings: object, context: Context) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, view: terms.View) -> torch.Tensor:
        return view.share((self.scale * view.anchors).square().mean())


@pytest.fixture
def scale(monkeypatch):
    from mlcl.training.terms import koleo

    monkeypatch.setattr(koleo, "Term", _Scale)


def test_what_the_data_lack_is_named(scale):
    with pytest.raises(UserError, match="the objective koleo needs languages, which the training data lack"):
        FurtherTerms({"koleo": 1.0}, Context(4, provides={"ids"}))


def test_own_parameters_are_trained_and_their_optimiser_is_part_of_the_state(scale, tmp_path):
    model = tiny()
    objective = objective_for(model, tmp_path, objectives={"koleo": 1.0})

    def update() -> float:
        objective.total(objective.terms(model, SHARE.batch())).backward()
        objective.further.step(0.1)
        return objective.further.terms["koleo"].scale.item()

    assert update() == pytest.approx(0.9, abs=1e-3)  # Adam's first step is the learning rate
    saved = {key: value.clone() if hasattr(value, "clone") else value for key, value in
             torch.load(_saved(objective, tmp_path), weights_only=True).items()}  # fmt: skip
    after = update()
    objective.further.load_state_dict(saved)
    assert update() == after


def _saved(objective, folder):
    torch.save(objective.further.state_dict(), folder / "terms.pt")
    return folder / "terms.pt"
