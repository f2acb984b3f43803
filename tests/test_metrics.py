"""MMD against the naive double sum, its invariances and its limits in gamma."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist, pdist
from sklearn import config_context

from skadapt import mmd


def naive(Xs, Xt, gamma, unbiased=False):
    """Card (1) and (2), by three dense kernels."""
    Kss, Ktt, Kst = (
        np.exp(-gamma * cdist(A, B, "sqeuclidean"))
        for A, B in ((Xs, Xs), (Xt, Xt), (Xs, Xt))
    )
    if not unbiased:
        return Kss.mean() + Ktt.mean() - 2 * Kst.mean()
    m, n = Kst.shape
    source = (Kss.sum() - np.trace(Kss)) / (m * (m - 1))
    target = (Ktt.sum() - np.trace(Ktt)) / (n * (n - 1))
    return source + target - 2 * Kst.mean()


def gaussian_pair(n_source, n_target, d=3, shift=0.5, seed=0):
    rng = np.random.default_rng(seed)
    Xs, Xt = rng.normal(size=(n_source, d)), rng.normal(size=(n_target, d))
    Xt[:, 0] += shift
    return Xs, Xt


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("sizes", [(2, 2), (7, 30), (200, 150)])
@pytest.mark.parametrize("gamma", [1e-3, 0.3, 20.0])
def test_equals_the_double_sum(unbiased, sizes, gamma):
    Xs, Xt = gaussian_pair(*sizes)
    expected = naive(Xs, Xt, gamma, unbiased)
    assert mmd(Xs, Xt, gamma=gamma, unbiased=unbiased) == pytest.approx(
        expected, rel=1e-10, abs=1e-12
    )


def test_is_the_quadratic_form_of_the_stacked_kernel():
    Xs, Xt = gaussian_pair(60, 45)
    Z = np.vstack([Xs, Xt])
    v = np.repeat([1 / 60, -1 / 45], [60, 45])
    K = np.exp(-0.3 * cdist(Z, Z, "sqeuclidean"))
    assert mmd(Xs, Xt, gamma=0.3) == pytest.approx(v @ K @ v, abs=1e-12)


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("sizes", [(1024, 1024), (1025, 3), (1023, 1026), (2500, 700)])
@pytest.mark.parametrize("working_memory", [1, 1024])
def test_block_boundaries_leave_no_trace(unbiased, sizes, working_memory):
    Xs, Xt = gaussian_pair(*sizes, d=2)
    expected = naive(Xs, Xt, 0.4, unbiased)
    with config_context(working_memory=working_memory):
        value = mmd(Xs, Xt, gamma=0.4, unbiased=unbiased)
    assert value == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("unbiased", [False, True])
def test_linear_kernel_is_the_distance_of_means(unbiased):
    Xs, Xt = gaussian_pair(60, 45)
    gap = Xs.mean(axis=0) - Xt.mean(axis=0)
    expected = gap @ gap
    if unbiased:
        expected -= sum(
            np.trace(np.cov(X.T)) / len(X) for X in (Xs, Xt)
        )  # E of the biased one exceeds the truth by the variances of the means
    value = mmd(Xs, Xt, kernel="linear", unbiased=unbiased)
    assert value == pytest.approx(expected, rel=1e-10)
    sparse = mmd(csr_array(Xs), csr_array(Xt), kernel="linear", unbiased=unbiased)
    assert sparse == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("unbiased", [False, True])
def test_linear_kernel_far_from_the_origin(unbiased):
    Xs, Xt = gaussian_pair(60, 45)
    near = mmd(Xs, Xt, kernel="linear", unbiased=unbiased)
    far = mmd(Xs + 1e4, Xt + 1e4, kernel="linear", unbiased=unbiased)
    assert far == pytest.approx(near, rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_is_never_negative(seed):
    Xs, Xt = gaussian_pair(20, 25, d=2, shift=0.0, seed=seed)
    for gamma in (1e-8, 1e-3, 1.0, 1e3):
        assert mmd(Xs, Xt, gamma=gamma) >= 0
        assert mmd(Xs + 1e3, Xt + 1e3, gamma=gamma) >= 0


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_same_rows_give_zero(kernel):
    Xs, _ = gaussian_pair(80, 1)
    shuffled = Xs[np.random.default_rng(1).permutation(80)]
    assert 0 <= mmd(Xs, shuffled, kernel=kernel, gamma=0.3) <= 1e-14
    assert 0 <= mmd(Xs, np.vstack([Xs, shuffled]), kernel=kernel, gamma=0.3) <= 1e-14


def test_unbiased_on_same_rows_is_slightly_negative():
    """T1: 2 (S_xx / m - T_x) / (m (m - 1)), S and T the sum and the trace of K."""
    X, _ = gaussian_pair(80, 1)
    K = np.exp(-0.3 * cdist(X, X, "sqeuclidean"))
    expected = 2 * (K.sum() / 80 - 80) / (80 * 79)
    assert expected < 0
    value = mmd(X, X[::-1], gamma=0.3, unbiased=True)
    assert value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("unbiased", [False, True])
def test_symmetries(unbiased):
    Xs, Xt = gaussian_pair(60, 45)
    rng = np.random.default_rng(1)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    value = mmd(Xs, Xt, gamma=0.3, unbiased=unbiased)
    for other in (
        (Xt, Xs),
        (rng.permutation(Xs), rng.permutation(Xt)),
        (Xs + 10, Xt + 10),
        (Xs @ rotation, Xt @ rotation),
    ):
        moved = mmd(*other, gamma=0.3, unbiased=unbiased)
        assert moved == pytest.approx(value, rel=1e-10)


@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e5])
def test_default_gamma_makes_units_no_matter(factor):
    Xs, Xt = gaussian_pair(60, 45)
    assert mmd(factor * Xs, factor * Xt) == pytest.approx(mmd(Xs, Xt), rel=1e-9)
    assert mmd(factor * Xs, factor * Xt, gamma=0.3) != pytest.approx(
        mmd(Xs, Xt, gamma=0.3), rel=1e-3
    )


def test_default_gamma_is_one_over_the_median():
    Xs, Xt = gaussian_pair(60, 45)
    gamma = 1 / np.median(pdist(np.vstack([Xs, Xt]), "sqeuclidean"))
    assert mmd(Xs, Xt) == pytest.approx(naive(Xs, Xt, gamma), rel=1e-10)


def test_default_gamma_where_most_rows_are_equal():
    Xs, Xt = np.zeros((30, 2)), np.zeros((20, 2))
    Xt[:4] = np.random.default_rng(0).normal(size=(4, 2))
    distances = pdist(np.vstack([Xs, Xt]), "sqeuclidean")
    gamma = 1 / np.median(distances[distances > 0])
    assert mmd(Xs, Xt) == pytest.approx(naive(Xs, Xt, gamma), rel=1e-10)


def test_default_gamma_above_2000_rows():
    Xs, Xt = gaussian_pair(1500, 1200, d=2)
    order = np.random.default_rng(1).permutation
    value = mmd(Xs, Xt)
    assert value == pytest.approx(mmd(order(Xs), order(Xt)), rel=1e-10)
    gamma = 1 / np.median(pdist(np.vstack([Xs, Xt]), "sqeuclidean"))
    assert value == pytest.approx(naive(Xs, Xt, gamma), rel=0.1)


def test_gaussian_shift_formula():
    """T4: 2 (1 + 4g)^(-d/2) (1 - exp(-g delta^2 / (1 + 4g))) = 0.0153."""
    Xs, Xt = gaussian_pair(5000, 5000, d=5)
    gamma = 0.1
    expected = 2 * (1 + 4 * gamma) ** -2.5 * -np.expm1(-gamma * 0.25 / (1 + 4 * gamma))
    assert expected == pytest.approx(0.0153, abs=5e-5)
    value = mmd(Xs, Xt, gamma=gamma, unbiased=True)
    assert value == pytest.approx(expected, abs=0.005)


def test_unbiased_has_mean_zero_under_one_law():
    rng = np.random.default_rng(0)
    pairs = [rng.normal(size=(2, 30, 3)) for _ in range(300)]
    unbiased = np.array([mmd(*pair, gamma=0.2, unbiased=True) for pair in pairs])
    biased = np.array([mmd(*pair, gamma=0.2) for pair in pairs])
    error = unbiased.std() / np.sqrt(300)
    assert abs(unbiased.mean()) < 3 * error < biased.mean()


def test_small_gamma_compares_means():
    Xs, Xt = gaussian_pair(60, 45)
    gap = Xs.mean(axis=0) - Xt.mean(axis=0)
    value = mmd(Xs, Xt, gamma=1e-6)
    assert value == pytest.approx(2e-6 * gap @ gap, rel=1e-4)


def test_large_gamma_sees_only_equal_rows():
    Xs, Xt = gaussian_pair(60, 45)
    assert mmd(Xs, Xt, gamma=1e9) == pytest.approx(1 / 60 + 1 / 45, rel=1e-12)
    assert mmd(Xs, Xt, gamma=1e9, unbiased=True) == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize("unbiased", [False, True])
def test_csr_equals_dense(unbiased):
    Xs, Xt = gaussian_pair(80, 60, d=6)
    Xs[np.abs(Xs) < 1] = 0
    Xt[np.abs(Xt) < 1] = 0
    for gamma in (None, 0.3):
        dense = mmd(Xs, Xt, gamma=gamma, unbiased=unbiased)
        sparse = mmd(csr_array(Xs), csr_array(Xt), gamma=gamma, unbiased=unbiased)
        assert sparse == pytest.approx(dense, rel=1e-10)


def test_float32_is_summed_in_float64():
    Xs, Xt = gaussian_pair(1500, 1100)
    expected = naive(Xs, Xt, 0.3)
    value = mmd(Xs.astype(np.float32), Xt.astype(np.float32), gamma=0.3)
    assert value == pytest.approx(expected, rel=1e-4)


def test_float32_far_from_the_origin():
    """The rows are rounded to 1e-4 there; distances must not lose more."""
    Xs, Xt = (X.astype(np.float32) for X in gaussian_pair(200, 150))
    Xs, Xt = Xs + np.float32(1e3), Xt + np.float32(1e3)
    expected = naive(Xs.astype(float), Xt.astype(float), 0.3)
    assert mmd(Xs, Xt, gamma=0.3) == pytest.approx(expected, rel=1e-3)


def test_constant_feature_adds_nothing():
    Xs, Xt = gaussian_pair(60, 45)
    constant = [np.column_stack([X, np.full(len(X), 3.0)]) for X in (Xs, Xt)]
    for gamma in (None, 0.3):
        assert mmd(*constant, gamma=gamma) == pytest.approx(
            mmd(Xs, Xt, gamma=gamma), rel=1e-10
        )
    assert mmd(np.ones((5, 2)), np.ones((4, 2))) == 0


def test_unbiased_needs_two_rows():
    Xs, Xt = gaussian_pair(30, 20)
    for kernel in ("rbf", "linear"):
        for pair in ((Xs[:1], Xt), (Xs, Xt[:1])):
            biased = naive(*pair, 0.3)
            assert mmd(*pair, gamma=0.3) == pytest.approx(biased, rel=1e-10)
            with pytest.raises(ValueError, match="unbiased|two rows|one row"):
                mmd(*pair, kernel=kernel, unbiased=True)


BAD_CALLS = {
    "columns differ": (lambda Xs, Xt: (Xs, Xt[:, :2]), {}, "feature|column"),
    "columns differ, gamma": (
        lambda Xs, Xt: (Xs, Xt[:, :2]),
        {"gamma": 1.0},
        "feature|column",
    ),
    "columns differ, linear": (
        lambda Xs, Xt: (Xs, Xt[:, :2]),
        {"kernel": "linear"},
        "feature|column",
    ),
    "nan": (lambda Xs, Xt: (Xs, np.where(Xt > 1, np.nan, Xt)), {}, "NaN"),
    "empty": (lambda Xs, Xt: (Xs, Xt[:0]), {}, "0 sample|empty|at least|minimum"),
    "kernel": (lambda Xs, Xt: (Xs, Xt), {"kernel": "poly-ish"}, "kernel"),
    "gamma": (lambda Xs, Xt: (Xs, Xt), {"gamma": 0.0}, "gamma"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_calls_are_refused(case):
    spoil, parameters, message = BAD_CALLS[case]
    with pytest.raises(ValueError, match=message):
        mmd(*spoil(*gaussian_pair(30, 20)), **parameters)
