"""Schedules of the learning rate, against their formulas."""

import math

import pytest
import torch

from skadapt.deep import learning_rate_factor


def _rates(schedule, n_steps, **options):
    return [
        learning_rate_factor(schedule, t, n_steps, **options) for t in range(n_steps)
    ]


@pytest.mark.parametrize("n_steps", [2, 7, 9, 10, 19, 100, 1003])
def test_slanted_triangle_ends_where_it_starts(n_steps):
    first, last = (learning_rate_factor("slanted", t, n_steps) for t in (0, n_steps))
    assert last == pytest.approx(1 / 32, abs=1e-12)
    assert first == pytest.approx(1 / 32, abs=1e-12)
    rates = _rates("slanted", n_steps)
    assert max(rates) == rates[max(1, n_steps // 10)] == 1
    assert min(rates) >= 1 / 32 - 1e-12


def test_slanted_triangle_is_that_of_the_paper_where_10_divides_the_steps():
    n_steps, cut = 200, 20
    for t, rate in enumerate(_rates("slanted", n_steps)):
        p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / 0.1 - 1))
        assert rate == pytest.approx((1 + p * 31) / 32, abs=1e-12)


def test_other_shapes():
    assert _rates("constant", 5) == [1] * 5
    assert learning_rate_factor("inv_sqrt", 30, 100, epoch=3) == 0.5
    assert learning_rate_factor("cosine", 50, 100) == pytest.approx(0.5)
    assert learning_rate_factor("cosine", 100, 100) == pytest.approx(0)
    assert learning_rate_factor("dann", 100, 100) == pytest.approx(11**-0.75)
    one_cycle = _rates("one_cycle", 1000)
    assert one_cycle[0] == pytest.approx(1 / 25)
    assert max(one_cycle) == one_cycle[300] == 1
    assert learning_rate_factor("one_cycle", 1000, 1000) == pytest.approx(4e-6)
    assert _rates(lambda progress: 1 - progress, 4) == [1, 0.75, 0.5, 0.25]


def test_one_cycle_is_that_of_torch():
    n_steps = 50
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=n_steps + 1)
    for t in range(n_steps):
        # torch ends its rise one step before 30 % of the steps.
        share = t / (0.3 * (n_steps + 1) - 1)
        if share <= 1:
            expected = 1 + (1 / 25 - 1) * (1 + math.cos(math.pi * share)) / 2
            assert cycle.get_last_lr()[0] == pytest.approx(expected)
            ours = learning_rate_factor("one_cycle", share * 0.3 * 1000, 1000)
            assert ours == pytest.approx(expected)
        optimizer.step()
        cycle.step()


def test_warm_up_rises_linearly():
    assert _rates("constant", 10, warmup=0.5) == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1, 1]
    )


def test_unknown_name():
    with pytest.raises(ValueError, match="schedule must be one of"):
        learning_rate_factor("steps", 0, 10)
