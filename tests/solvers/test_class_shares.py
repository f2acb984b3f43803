"""Sinkhorn's factors against its alternations, its dual problem and a linear program.

The factors ``exp(v)`` minimise ``sum_i log sum_j P_ij exp(v_j) - n shares'v``, which is
convex and has a minimum iff the shares can be met. The shares nearest to those asked
for are a linear program: rows give their mass to the classes they hold possible.
"""

import warnings

import numpy as np
import pytest
from scipy.optimize import linprog, minimize
from scipy.special import logsumexp, softmax

from skadapt.solvers._class_shares import (
    column_scales,
    rescale,
    share_distance,
    warn_of_missed_shares,
)


def make_rows(seed=0, n=60, n_classes=4, zeros=0.0):
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.full(n_classes, 0.5), size=n)
    hidden = rng.random(P.shape) < zeros
    hidden[np.arange(n), P.argmax(axis=1)] = False
    P[hidden] = 0
    return P / P.sum(axis=1, keepdims=True), rng.dirichlet(np.full(n_classes, 3.0))


def alternations(P, shares, n_rounds=100):
    """Columns, then rows, as it is published."""
    A = P.copy()
    for _ in range(n_rounds):
        A *= shares / A.mean(axis=0)
        A /= A.sum(axis=1, keepdims=True)
    return A


def least_distance(P, shares):
    """The shares that rows can have by giving mass to what they hold possible."""
    rows, columns = np.nonzero(P > 0)
    n, n_classes, m = *P.shape, len(rows)
    of_rows, of_classes = np.zeros((n, m)), np.zeros((n_classes, m))
    of_rows[rows, np.arange(m)] = 1
    of_classes[columns, np.arange(m)] = 1
    eye = np.eye(n_classes)
    found = linprog(
        np.r_[np.zeros(m), np.full(2 * n_classes, 0.5)],
        A_eq=np.block(
            [
                [of_rows, np.zeros((n, 2 * n_classes))],
                [of_classes / n, eye, -eye],
            ]
        ),
        b_eq=np.r_[np.ones(n), shares],
    )
    assert found.status == 0
    return found.fun


@pytest.mark.parametrize("seed", range(5))
def test_the_published_alternations(seed):
    P, shares = make_rows(seed)
    scaled = rescale(P, column_scales(P, shares))
    np.testing.assert_allclose(scaled, alternations(P, shares), atol=1e-12)
    np.testing.assert_allclose(scaled.mean(axis=0), shares, atol=1e-9)


@pytest.mark.parametrize("zeros", [0.0, 0.3])
def test_the_dual_problem(zeros):
    P, shares = make_rows(1, zeros=zeros)
    assert least_distance(P, shares) < 1e-9, "can be met"
    with np.errstate(divide="ignore"):
        logs = np.log(P)

    def dual(v):
        z = logs + v
        gradient = softmax(z, axis=1).mean(axis=0) - shares
        return logsumexp(z, axis=1).mean() - shares @ v, gradient

    v = minimize(dual, np.zeros(len(shares)), jac=True, tol=1e-12).x
    scales = column_scales(P, shares)
    np.testing.assert_allclose(rescale(P, scales), rescale(P, np.exp(v)), atol=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_shares_that_cannot_be_met(seed):
    """Finite factors, and as near as the linear program says is possible."""
    P, shares = make_rows(seed, zeros=0.9)
    least = least_distance(P, shares)
    assert least > 0.03, "cannot be met"
    scales = column_scales(P, shares)
    means = rescale(P, scales).mean(axis=0)
    assert share_distance(means, shares) <= least + 0.01 + 1e-9
    assert (scales > 0).all()
    assert scales.max() / scales.min() < 1e6
    some = P > 0
    assert (rescale(P, scales)[some] > 0).all()


@pytest.mark.parametrize("n", [301, 5001])
def test_certain_rows_are_left_alone(n):
    P = np.tile([1.0, 0.0], (n, 1))
    P[0] = [0, 1]
    np.testing.assert_array_equal(column_scales(P, np.array([0.5, 0.5])), [1, 1])


def test_a_class_without_probability():
    P, _ = make_rows(3, n_classes=3)
    P = np.c_[P[:, :1], np.zeros(len(P)), P[:, 1:]]
    shares = np.array([0.2, 0.4, 0.3, 0.1])
    scales = column_scales(P, shares)
    assert scales[1] == 1
    distance = share_distance(rescale(P, scales).mean(axis=0), shares)
    assert 0.4 - 1e-12 <= distance <= 0.41


@pytest.mark.parametrize("tiny", [1e-100, 1e-200, 1e-300, 5e-324])
def test_probabilities_next_to_nothing(tiny):
    """Nothing overflows, and no row loses its sum."""
    P = np.r_[np.tile([1.0, tiny], (50, 1)), [[tiny, 1.0]]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scales = column_scales(P, np.array([0.5, 0.5]))
        scaled = rescale(P, scales)
    assert np.isfinite(scales).all()
    np.testing.assert_allclose(scaled.sum(axis=1), 1)


def test_the_warning_names_the_class_that_lacks_most():
    shares, classes = np.array([0.5, 0.3, 0.2]), np.array(["a", "b", "c"])
    near, far = (
        np.tile(row, (10, 1)) for row in ([0.505, 0.3, 0.195], [0.8, 0.1, 0.1])
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_missed_shares(near, shares, classes)
    with pytest.warns(
        UserWarning, match=r"0\.3 of the target rows in class b, .* to 0\.1 .* 0\.3 of"
    ):
        warn_of_missed_shares(far, shares, classes)
