"""MSDA against its least squares problem, corrupted row by row, and its limits.

A layer minimises the expected squared error of reconstructing rows of which each entry
was set to 0 with probability p, and maps rows, not corrupted, to ``tanh(W x + b)``.
"""

import inspect
import warnings
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.linear_model import LogisticRegression

from skadapt import MSDA, NoAdaptationWarning, TransferClassifier, msda
from skadapt.solvers._denoising import (
    column_means,
    denoising_map,
    hidden_rows,
    partial_denoising_map,
)


def texts(n=80, d=12, seed=0):
    """0/1 rows with correlated columns, of all frequencies, and their domains."""
    rng = np.random.default_rng(seed)
    topic = rng.integers(0, 3, n)
    share = rng.beta(0.6, 1.5, (3, d)) * np.linspace(1, 0.3, d)
    X = (rng.random((n, d)) < share[topic]).astype(float)
    X[: min(n, d), :] += np.eye(min(n, d), d) * (X[: min(n, d)] == 0)  # no column of 0
    return X, np.where(np.arange(n) % 2, 1, -1)


def fit(X, domain, **parameters):
    return MSDA(**parameters).fit(X, sample_domain=domain)


def by_enumeration(X, Z, noise):
    """The same problem with every corruption of every row, weighted by its chance."""
    rows, targets, weights = [], [], []
    for mask in product([0, 1], repeat=X.shape[1]):
        chance = np.prod(np.where(mask, 1 - noise, noise))
        rows.append(np.column_stack([X * mask, np.ones(len(X))]))
        targets.append(Z)
        weights.append(np.full(len(X), np.sqrt(chance)))
    weights = np.concatenate(weights)[:, None]
    solution, *_ = np.linalg.lstsq(
        weights * np.concatenate(rows), weights * np.concatenate(targets), rcond=None
    )
    return solution[:-1], solution[-1]


def by_the_equations_of_the_paper(X, noise, reg):
    """With a column of ones, which is never corrupted; the ridge spares it."""
    n, d = X.shape
    ones = np.column_stack([X, np.ones(n)])
    q = np.append(np.full(d, 1 - noise), 1.0)
    S = ones.T @ ones
    Q = S * np.outer(q, q)
    np.fill_diagonal(Q, q * np.diag(S))
    P = (S * q)[:d]
    W = np.linalg.solve(Q + reg * np.diag(np.append(np.ones(d), 0.0)), P.T)
    return W[:-1], W[-1]


# One layer


@pytest.mark.parametrize("noise", [0.1, 0.5, 0.9])
def test_all_corruptions_one_by_one(noise):
    X, _ = texts(d=5)
    coef, intercept = denoising_map(X, noise, 0.0)
    expected = by_enumeration(X, X, noise)
    np.testing.assert_allclose(coef, expected[0], atol=1e-10)
    np.testing.assert_allclose(intercept, expected[1], atol=1e-10)
    coef, intercept = partial_denoising_map(X[:, :3], X, noise, 0.0)
    expected = by_enumeration(X[:, :3], X, noise)
    np.testing.assert_allclose(coef, expected[0], atol=1e-10)
    np.testing.assert_allclose(intercept, expected[1], atol=1e-10)


def test_corrupted_copies_come_closer_as_they_are_more():
    X, _ = texts(60, 6)
    rng = np.random.default_rng(0)
    coef, _ = denoising_map(X, 0.5, 0.0)
    errors = []
    for n_copies in (100, 10_000):
        moment, cross = np.zeros((7, 7)), np.zeros((7, 6))
        for _ in range(n_copies // 100):
            kept = rng.random((100, *X.shape)) < 0.5
            rows = np.concatenate([kept * X, np.ones((100, len(X), 1))], axis=2)
            rows = rows.reshape(-1, 7)
            moment += rows.T @ rows
            cross += rows.T @ np.tile(X, (100, 1))
        errors.append(np.abs(np.linalg.solve(moment, cross)[:-1] - coef).max())
    # A hundred times the copies, a tenth of the error; its chance is in the bounds.
    assert errors[1] < 0.01
    assert 3 < errors[0] / errors[1] < 40


@pytest.mark.parametrize("reg", [0.0, 1e-5, 1.0])
@pytest.mark.parametrize("noise", [0.0, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("shape", [(80, 12), (9, 40)])
def test_equations_of_the_paper(shape, noise, reg):
    X, _ = texts(*shape)
    X = X[:, X.any(axis=0)]  # of the others the paper says nothing
    if noise == 0 and shape[0] < shape[1]:
        reg = max(reg, 1e-3)  # the paper's matrix is singular
    coef, intercept = denoising_map(X, noise, reg)
    expected = by_the_equations_of_the_paper(X, noise, reg)
    np.testing.assert_allclose(coef, expected[0], atol=1e-9)
    np.testing.assert_allclose(intercept, expected[1], atol=1e-9)
    single = partial_denoising_map(X, X, noise, max(reg, 1e-9))
    np.testing.assert_allclose(single[0], coef, atol=1e-6)
    np.testing.assert_allclose(single[1], intercept, atol=1e-6)


def test_no_noise_is_the_identity():
    X, domain = texts()
    mapper = fit(X, domain, n_layers=1, noise=0.0, reg=0.0, include_input=False)
    np.testing.assert_array_equal(mapper.coefs_[0], np.eye(12))
    np.testing.assert_array_equal(mapper.intercepts_[0], np.zeros(12))
    np.testing.assert_allclose(mapper.transform(X), np.tanh(X), rtol=1e-15)


def test_nearly_no_noise_is_nearly_the_identity():
    X, domain = texts()
    mapper = fit(X, domain, n_layers=1, noise=1e-7, reg=1e-7)
    np.testing.assert_allclose(mapper.coefs_[0], np.eye(12), atol=1e-5)


def test_nothing_but_noise_has_a_limit():
    X, domain = texts()
    mean = X.mean(axis=0)
    scatter = (X - mean).T @ (X - mean)
    mapper = fit(X, domain, n_layers=1, noise=1 - 1e-6, reg=0.0)
    limit = scatter / (X**2).sum(axis=0)[:, None]
    np.testing.assert_allclose(mapper.coefs_[0], limit, atol=1e-5)
    np.testing.assert_allclose(mapper.intercepts_[0], mean, atol=1e-5)


def test_mean_of_the_reconstructions_is_the_mean():
    """E x~ = q m maps to m, whatever the ridge."""
    X, _ = texts()
    for reg in (0.0, 5.0):
        coef, intercept = denoising_map(X, 0.6, reg)
        np.testing.assert_allclose(
            0.4 * X.mean(axis=0) @ coef + intercept, X.mean(axis=0), atol=1e-12
        )


def test_singular_moments_are_refused():
    X = np.ones((4, 30))
    X[0] = 0.5
    domain = [1, 1, -1, -1]
    with pytest.raises(ValueError, match="increase reg, or noise"):
        fit(X, domain, noise=0.0, reg=1e-300)


# Rows and columns


def test_a_column_of_zeros_is_left_alone():
    X, domain = texts()
    padded = np.insert(X, 4, 0.0, axis=1)
    for reg in (0.0, 1e-5):
        mapper = fit(padded, domain, reg=reg, include_input=False)
        plain = fit(X, domain, reg=reg, include_input=False)
        H = mapper.transform(padded)
        kept = np.arange(39) % 13 != 4
        np.testing.assert_allclose(H[:, kept], plain.transform(X), atol=1e-12)
        np.testing.assert_array_equal(H[:, ~kept], 0.0)
        # A word that was never seen says nothing.
        new = padded.copy()
        new[:, 4] = 1.0
        np.testing.assert_allclose(mapper.transform(new), H, atol=1e-12)


def test_empty_rows_are_mapped_to_what_the_intercepts_say():
    X, domain = texts()
    X[[3, 50]] = 0.0
    mapper = fit(X, domain, n_layers=2)
    Z = mapper.transform(X)
    first = np.tanh(mapper.intercepts_[0])
    second = np.tanh(first @ mapper.coefs_[1] + mapper.intercepts_[1])
    expected = np.concatenate([np.zeros(12), first, second])
    np.testing.assert_allclose(Z[3], expected, atol=1e-12)
    np.testing.assert_array_equal(Z[50], Z[3])


def test_duplicated_rows_change_nothing():
    X, domain = texts()
    twice = fit(np.tile(X, (2, 1)), np.tile(domain, 2), reg=2.0)
    np.testing.assert_allclose(
        twice.transform(X), fit(X, domain, reg=1.0).transform(X), atol=1e-12
    )


def test_columns_are_permuted_with_the_input():
    X, domain = texts()
    order = np.random.default_rng(0).permutation(12)
    Z = fit(X[:, order], domain).transform(X[:, order])
    places = (np.arange(0, 48, 12)[:, None] + order).ravel()
    np.testing.assert_allclose(Z, fit(X, domain).transform(X)[:, places], atol=1e-12)


def test_signs_pass_through():
    """Negative values are numbers like any others."""
    X, domain = texts()
    Z = fit(X, domain).transform(X)
    np.testing.assert_allclose(fit(-X, domain).transform(-X), -Z, atol=1e-12)


def test_domains_do_not_matter():
    X, domain = texts()
    mapper = fit(X, domain)
    other = fit(X, -domain)
    np.testing.assert_array_equal(mapper.transform(X, 1), mapper.transform(X, -1))
    np.testing.assert_array_equal(other.transform(X), mapper.transform(X))
    with pytest.warns(NoAdaptationWarning):
        alone = MSDA().fit(X)
    np.testing.assert_array_equal(alone.transform(X), mapper.transform(X))


# Layers


def test_a_layer_is_learnt_from_the_one_below():
    X, domain = texts()
    mapper = fit(X, domain, n_layers=3, noise=0.4, reg=1e-3)
    assert len(mapper.coefs_) == len(mapper.intercepts_) == 3
    Z = mapper.transform(X)
    np.testing.assert_array_equal(Z[:, :12], X)
    H = X
    for layer in range(3):
        W, b = by_the_equations_of_the_paper(H, 0.4, 1e-3)
        H = np.tanh(H @ W + b)
        place = slice(12 * (layer + 1), 12 * (layer + 2))
        np.testing.assert_allclose(Z[:, place], H, atol=1e-9)
    without = fit(X, domain, n_layers=3, noise=0.4, reg=1e-3, include_input=False)
    np.testing.assert_array_equal(without.transform(X), Z[:, 12:])
    assert without.get_feature_names_out().shape == (36,)


@pytest.mark.parametrize("include_input", [True, False])
@pytest.mark.parametrize("n_layers", [1, 2, 4])
@pytest.mark.parametrize("max_features", [None, 7])
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_fit_and_fit_transform_learn_the_same(
    container, max_features, n_layers, include_input
):
    X, domain = texts()
    parameters = {
        "n_layers": n_layers,
        "max_features": max_features,
        "include_input": include_input,
        "random_state": 0,
    }
    mapper = fit(container(X), domain, **parameters)
    both = MSDA(**parameters)
    Z = both.fit_transform(container(X), sample_domain=domain)
    np.testing.assert_allclose(mapper.transform(container(X)), Z, atol=1e-13)
    for first, second in zip(mapper.coefs_, both.coefs_):
        np.testing.assert_allclose(first, second, atol=1e-13)
    assert Z.shape == (80, (max_features or 12) * (n_layers + include_input))


def test_hidden_rows_may_replace_their_input():
    X, _ = texts()
    coef, intercept = denoising_map(X, 0.5, 1e-5)
    expected = np.tanh(X @ coef + intercept)
    wide = np.zeros((80, 40))
    hidden_rows(X, coef, intercept, wide[:, 20:32])
    np.testing.assert_allclose(wide[:, 20:32], expected, atol=1e-13)
    assert not wide[:, :20].any() and not wide[:, 32:].any()
    held = X.copy()
    assert hidden_rows(held, coef, intercept, held) is held
    np.testing.assert_allclose(held, expected, atol=1e-13)


# More columns than are reconstructed


def test_parts_are_averaged():
    X, domain = texts(d=13)
    mapper = fit(X, domain, n_layers=2, max_features=5, reg=0.0, random_state=3)
    columns = mapper.columns_
    parts = np.array_split(np.random.RandomState(3).permutation(13), 3)
    assert sorted(np.concatenate(parts)) == list(range(13))
    total = np.zeros((80, 5))
    for part in parts:
        W, b = by_enumeration(X[:, part], X[:, columns], 0.7)
        total += X[:, part] @ W + b
    first = np.tanh(total / 3)
    W, b = by_the_equations_of_the_paper(first, 0.7, 0.0)
    expected = [X[:, columns], first, np.tanh(first @ W + b)]
    np.testing.assert_allclose(mapper.transform(X), np.hstack(expected), atol=1e-9)
    assert [coef.shape for coef in mapper.coefs_] == [(13, 5), (5, 5)]


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_the_most_frequent_columns_are_reconstructed(container):
    X = np.zeros((20, 6))
    for column, frequency in enumerate([3, 9, 9, 1, 12, 9]):
        X[:frequency, column] = 1.0
    X[0, 3] = 100.0  # large, but rare
    mapper = fit(container(X), np.repeat([1, -1], 10), max_features=3)
    assert mapper.columns_.tolist() == [1, 2, 4]


def test_stored_zeros_are_no_occurrences():
    X, domain = texts()
    stored = sparse.csr_array(X)
    dense = sparse.csr_array(np.ones_like(X))
    dense.data[:] = X.ravel()
    for parameters in ({}, {"max_features": 5, "random_state": 0}):
        first, second = (fit(rows, domain, **parameters) for rows in (stored, dense))
        np.testing.assert_array_equal(first.columns_, second.columns_)
        np.testing.assert_allclose(
            first.transform(stored), second.transform(dense), atol=1e-13
        )


def test_as_many_features_as_there_are_is_all_of_them():
    X, domain = texts()
    Z = fit(X, domain, max_features=12).transform(X)
    for max_features in (None, 5000):
        mapper = fit(X, domain, max_features=max_features)
        np.testing.assert_array_equal(mapper.transform(X), Z)


# Arrays


@pytest.mark.parametrize("max_features", [None, 7])
def test_sparse_is_dense(max_features):
    X, domain = texts()
    parameters = {"max_features": max_features, "random_state": 0}
    dense, rows = fit(X, domain, **parameters), sparse.csr_array(X)
    mapper = fit(rows, domain, **parameters)
    Z = mapper.transform(rows)
    assert isinstance(Z, np.ndarray)
    np.testing.assert_allclose(Z, dense.transform(X), atol=1e-13)
    np.testing.assert_allclose(mapper.transform(X), Z, atol=1e-13)


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("max_features", [None, 7])
def test_single_precision(container, max_features):
    X, domain = texts(400, 30)
    rows = container(X)
    options = {"max_features": max_features, "random_state": 0}
    Z = fit(rows, domain, **options).transform(rows)
    asked = MSDA(dtype=np.float32, **options).fit(rows, sample_domain=domain)
    given = fit(rows.astype(np.float32), domain, **options)
    for mapper, argument in ((asked, rows), (given, rows.astype(np.float32))):
        single = mapper.transform(argument)
        assert single.dtype == np.float32
        assert {coef.dtype for coef in mapper.coefs_} == {np.dtype(np.float32)}
        np.testing.assert_allclose(single, Z, atol=2e-5)
    wide = MSDA(dtype=np.float64, **options)
    assert wide.fit(argument, sample_domain=domain).transform(argument).dtype == float


def test_blocks_of_rows_do_not_matter():
    X, domain = texts(3000, 12)
    for rows in (X, X.astype(np.float32), sparse.csr_array(X)):
        whole = fit(rows, domain).transform(rows)
        with config_context(working_memory=0.01), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # which says so
            parts = fit(rows, domain).transform(rows)
        atol = 1e-12 if rows.dtype == np.float64 else 2e-5
        np.testing.assert_allclose(parts, whole, atol=atol)


def test_means_far_from_zero_keep_their_digits():
    """The scatter is about the mean; raw sums of squares would lose 12 digits."""
    X, _ = texts()
    far = X + 1e6
    coef, _ = denoising_map(far, 0.5, 0.0)
    centred = X - X.mean(axis=0)
    scatter, moment = centred.T @ centred, (far**2).sum(axis=0)
    expected = np.linalg.solve(0.25 * scatter + 0.25 * np.diag(moment), 0.5 * scatter)
    for matrix in (coef, expected):
        np.fill_diagonal(matrix, 0.0)  # a difference from 2, which has 16 digits
    np.testing.assert_allclose(coef, expected, rtol=0, atol=1e-6 * expected.max())


def test_means_of_columns():
    X, _ = texts()
    for rows in (X, X.astype(np.float32), sparse.csr_array(X)):
        mean = column_means(rows)
        assert mean.dtype == np.float64
        np.testing.assert_allclose(mean, X.mean(axis=0), rtol=1e-14)


def test_memory_is_announced():
    X, domain = texts(400, 40)
    with config_context(working_memory=1):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            mapper = fit(X, domain, n_layers=5)
            mapper.transform(X)
        many = np.tile(X, (10, 1))
        size = mapper.transform(X).nbytes * 10 / 2**20
        with pytest.warns(UserWarning, match=f" {size:.0f} MiB, .*memory of 1 MiB"):
            mapper.transform(many)
    many, ids = np.tile(X, (50, 1)), np.tile(domain, 50)
    with (
        config_context(working_memory=1),
        # 20,000 rows of 80 numbers, the weights and a scatter.
        pytest.warns(UserWarning, match="1 layers of 40 .* 20000 rows takes 12 MiB"),
    ):
        MSDA(n_layers=1).fit_transform(many, sample_domain=ids)


def test_frames_keep_their_names():
    X, domain = texts(d=3)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    mapper = MSDA(n_layers=1).set_output(transform="pandas")
    Z = mapper.fit_transform(frame, sample_domain=domain)
    assert list(Z.columns) == [f"msda{k}" for k in range(6)]


# The function, and what it is for


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_function_and_estimator_agree(container):
    X, domain = texts(d=9)
    source = domain > 0
    parameters = {"n_layers": 2, "noise": 0.3, "max_features": 5, "random_state": 0}
    result = msda(container(X[source]), container(X[~source]), **parameters)
    order = np.r_[np.flatnonzero(source), np.flatnonzero(~source)]
    mapper = fit(X[order], domain[order], **parameters)
    Z = mapper.transform(X)
    np.testing.assert_allclose(result.X_source, Z[source], atol=1e-12)
    np.testing.assert_allclose(result.X_target, Z[~source], atol=1e-12)
    np.testing.assert_allclose(result.coefs[1], mapper.coefs_[1], atol=1e-12)
    np.testing.assert_allclose(result.intercepts[1], mapper.intercepts_[1], atol=1e-12)
    defaults = inspect.signature(MSDA).parameters
    for name, parameter in inspect.signature(msda).parameters.items():
        if name not in ("Xs", "Xt"):
            assert parameter.default == defaults[name].default, name


def test_bad_calls_are_refused():
    X, domain = texts()
    for parameters in (
        {"noise": 1.0},
        {"noise": -0.1},
        {"n_layers": 0},
        {"max_features": 0},
        {"reg": -1.0},
        {"dtype": np.int64},
        {"include_input": None},
    ):
        (name,) = parameters
        with pytest.raises(ValueError, match=f"'{name}' parameter"):
            fit(X, domain, **parameters)
        with pytest.raises(ValueError, match=f"'{name}' parameter"):
            msda(X[:40], X[40:], **parameters)
    with pytest.raises(ValueError, match="same features"):
        msda(X, X[:, :5])


def test_words_of_the_target_are_understood():
    """Each domain has words of its own; a few are shared, and keep company with all."""
    rng = np.random.default_rng(0)
    n, shared, own = 1200, 8, 40
    y = rng.integers(0, 2, n)
    domain = np.repeat([1, -1], n // 2)
    likes = np.arange(shared + 2 * own) % 2
    share = np.where(y[:, None] == likes, 0.12, 0.04)
    share[:, :shared] = np.where(y[:, None] == likes[:shared], 0.2, 0.1)
    share[domain > 0, shared + own :] = 0
    share[domain < 0, shared : shared + own] = 0
    X = (rng.random(share.shape) < share).astype(float)
    target = domain < 0
    scores = [
        TransferClassifier(LogisticRegression(C=0.1), adapter)
        .fit(X, np.where(target, np.nan, y), sample_domain=domain)
        .score(X[target], y[target])
        for adapter in (None, MSDA(n_layers=2))
    ]
    assert scores[1] > scores[0] + 0.05
