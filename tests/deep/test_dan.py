"""DAN: the discrepancy pair by pair, and what it does."""

import numpy as np
import pytest
import torch

from skadapt.deep import DANClassifier, multi_kernel_mmd

WIDTHS = (0.125, 0.25, 0.5, 1.0, 2.0)


def _rows(n, d=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def _unit(S, T):
    """Mean squared distance of all pairs of different rows."""
    rows = np.concatenate([S, T])
    pairs = [(a, b) for i, a in enumerate(rows) for b in rows[:i]]
    return np.mean([np.sum((a - b) ** 2) for a, b in pairs])


def _mmd(S, T, unit, widths=WIDTHS, unbiased=True):
    def k(a, b):
        square = np.sum((a - b) ** 2)
        return np.mean([np.exp(-square / (2 * u * unit)) for u in widths])

    def within(rows):
        return np.mean(
            [
                k(a, b)
                for i, a in enumerate(rows)
                for j, b in enumerate(rows)
                if i != j or not unbiased
            ]
        )

    between = np.mean([k(a, b) for a in S for b in T])
    return within(S) + within(T) - 2 * between


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("widths", [WIDTHS, (0.3,)])
def test_mmd_is_the_mean_over_pairs(unbiased, widths):
    S, T = _rows(8), _rows(5, seed=1) + 0.5
    found = multi_kernel_mmd(
        torch.tensor(S), torch.tensor(T), bandwidths=widths, unbiased=unbiased
    ).item()
    assert found == pytest.approx(_mmd(S, T, _unit(S, T), widths, unbiased), abs=1e-12)


def test_gradient_of_mmd_with_the_width_held(gradients, finite_differences):
    S, T = _rows(5), 1 + _rows(4, seed=1)
    unit = _unit(S, T)
    expected = finite_differences(lambda S, T: _mmd(S, T, unit), S, T)
    found = gradients(multi_kernel_mmd, S, T)
    for pair in zip(found, expected):
        np.testing.assert_allclose(*pair, atol=1e-8)
    free = finite_differences(lambda S, T: _mmd(S, T, _unit(S, T)), S, T)
    assert np.abs(found[0] - free[0]).max() > 1e-3, "the width is no constant"


def test_mmd_of_a_batch_with_itself_and_a_shifted_one():
    S = torch.tensor(_rows(40))
    assert multi_kernel_mmd(S, S, unbiased=False).item() == pytest.approx(0, abs=1e-12)
    found = [multi_kernel_mmd(S, S + shift).item() for shift in (0, 0.5, 1, 2)]
    assert found == sorted(found) and found[0] < 0 < found[1]


def test_unbiased_mmd_is_0_on_average_where_the_domains_are_one():
    rows = torch.tensor(_rows(4000, seed=2)).reshape(200, 20, 3)
    for unbiased, away in ((True, False), (False, True)):
        found = [
            multi_kernel_mmd(r[:10], r[10:], unbiased=unbiased).item() for r in rows
        ]
        error = np.std(found) / np.sqrt(len(found))
        assert bool(np.mean(found) > 4 * error) is away
        assert away or abs(np.mean(found)) < 4 * error


def test_mmd_has_no_unit():
    S, T = torch.tensor(_rows(8)), torch.tensor(_rows(8, seed=1) + 1)
    expected = multi_kernel_mmd(S, T).item()
    assert multi_kernel_mmd(1e3 * S, 1e3 * T).item() == pytest.approx(expected)
    S, T = S.float() + 1e3, T.float() + 1e3
    assert multi_kernel_mmd(S, T).item() == pytest.approx(expected, abs=1e-3)


def test_equal_rows_have_no_width_and_no_discrepancy():
    rows = torch.zeros(4, 2, requires_grad=True)
    loss = multi_kernel_mmd(rows, rows)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(rows.grad, torch.zeros(4, 2))


def test_mmd_in_half_precision():
    S, T = torch.tensor(_rows(9)).half(), torch.tensor(_rows(9, seed=1)).half() + 1
    found = multi_kernel_mmd(S, T)
    assert found.dtype == torch.float32
    assert found.item() == multi_kernel_mmd(S.float(), T.float()).item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert multi_kernel_mmd(S.float(), T.float()).item() == found.item()


def test_refusals_of_mmd(rotated_blobs):
    with pytest.raises(ValueError, match="two rows or more and equal n_features, got"):
        multi_kernel_mmd(torch.zeros(1, 2), torch.zeros(4, 2))
    X, y, ids, _ = rotated_blobs(0, n=20)
    for widths in ((), (1.0, 0.0)):
        with pytest.raises(ValueError, match="bandwidths must be one or more positive"):
            multi_kernel_mmd(torch.eye(2), torch.eye(2), bandwidths=widths)
        with pytest.raises(ValueError, match="bandwidths must be one or more positive"):
            DANClassifier(bandwidths=widths).fit(X, y, sample_domain=ids)


def test_dan_on_rotated_blobs(rotated_blobs, mean_scores):
    source, adapted = mean_scores(
        DANClassifier(lr=0.01),
        draw=lambda seed: rotated_blobs(seed, angle=40),
        n_seeds=3,
    )
    assert adapted > source
