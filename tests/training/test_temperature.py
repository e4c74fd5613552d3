"""The learnable temperature: its gradient, its bounds, its state."""

from __future__ import annotations

import math

import pytest
import torch

from mlcl.training.temperature import RANGE, Temperature


def test_a_fixed_temperature_is_a_number_without_state():
    temperature = Temperature(0.07)
    temperature.step(1.0)
    assert temperature() == temperature.value == 0.07
    assert not list(temperature.parameters())


def test_the_logarithm_is_trained_by_adam():
    temperature = Temperature(0.1, learnable=True)
    twin = torch.nn.Parameter(torch.tensor(math.log(0.1)))
    adam = torch.optim.Adam([twin])
    for rate, slope in ((0.1, 3.0), (0.05, -1.0), (0.2, 2.0)):
        (slope * temperature()).backward()
        (slope * twin.exp()).backward()
        temperature.step(rate)
        adam.param_groups[0]["lr"] = rate
        adam.step()
        adam.zero_grad()
        assert temperature.value == pytest.approx(float(twin.detach().exp()))
    assert temperature.log.grad is None


@pytest.mark.parametrize(("slope", "bound"), [(1.0, RANGE[0]), (-1.0, RANGE[1])])
def test_it_stays_in_its_range(slope, bound):
    temperature = Temperature(0.1, learnable=True)
    for _ in range(20):
        (slope * temperature()).backward()
        temperature.step(0.5)
    assert temperature.value == pytest.approx(bound)


def test_a_step_without_a_gradient_is_one_with_a_zero():
    temperature = Temperature(0.1, learnable=True)
    temperature.step(0.1)
    assert temperature.value == pytest.approx(0.1)


def test_its_state_goes_on_where_it_was(tmp_path):
    first, second = (Temperature(0.1, learnable=True) for _ in range(2))
    first().backward()
    first.step(0.1)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for temperature in (first, second):
        (-temperature()).backward()
        temperature.step(0.1)
    assert first.value == second.value != pytest.approx(0.1)


def test_a_start_out_of_range_is_refused():
    with pytest.raises(ValueError, match="must start in"):
        Temperature(0.001, learnable=True)
