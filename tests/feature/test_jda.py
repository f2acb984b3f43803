"""JDA against a straight-line restatement with dense matrices, and its limits.

With F the rows (or their kernel matrix), H the centring matrix and M the sum of the
outer products of the gap vectors, the referee forms every matrix, solves
``F'HF a = phi (F'MF + reg I) a`` with LAPACK, predicts with argmin of the distances,
and turns round as often as the paper says.
"""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import eigh, subspace_angles
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

import skadapt
from skadapt import JDA, TCA
from skadapt.datasets import fetch_office_caltech, get_data_home

KERNELS = {
    "primal": lambda A, B: A,
    "linear": lambda A, B: A @ B.T,
    "rbf": lambda A, B: np.exp(-0.5 * cdist(A, B, "sqeuclidean")),
}
SIZES = {"n > d": (60, 50, 12), "n < d": (22, 19, 60)}


def classes_and_shift(n_source, n_target, d, separation=0.8):
    """Three classes that overlap, and another mean of the target."""
    rng = np.random.default_rng(0)
    spread = 2.0 ** -np.minimum(np.arange(d) / 4, 4)
    means = separation * rng.normal(size=(3, d)) * spread
    n = n_source + n_target
    y = np.arange(n) % 3
    X = rng.normal(size=(n, d)) * spread + means[y] + 0.3
    X[n_source:] += rng.normal(size=d) * spread
    return X, y.astype(float), np.repeat([1, -1], [n_source, n_target])


def unit(A):
    return A / np.linalg.norm(A, axis=1, keepdims=True)


def same_up_to_sign(A, B):
    return A * np.where((A * B).sum(axis=0) < 0, -1, 1)


def mean_gaps(y, guess, source, classes):
    """M_0 and the sum of M_c, straight from the definition."""
    n = len(y)
    gap = np.where(source, 1 / source.sum(), -1 / (~source).sum())
    of_classes = np.zeros((n, n))
    for c in classes:
        rows, others = source & (y == c), ~source & (guess == c)
        if rows.any() and others.any():
            e = rows / rows.sum() - others / others.sum()
            of_classes += np.outer(e, e)
    return np.outer(gap, gap), of_classes


def referee(
    X, y, domain, k, reg, kernel="linear", normalize=True, n_iter=10, never=None
):
    """Embedding, all eigenvalues, A, labels and the changes of each round.

    Target rows take no label from source rows of the class `never`.
    """
    source = domain > 0
    teachers = source & (y != never)
    if normalize:
        X = unit(X)
    classes = np.unique(y[source])
    F = KERNELS[kernel](X, X)
    centred = F - F.mean(axis=0)
    guess = np.full(len(y), np.nan)
    changes = []
    for turn in range(n_iter):
        marginal, of_classes = mean_gaps(y, guess, source, classes)
        M = marginal * (len(classes) if normalize else 1) + of_classes
        if turn == 0:
            M = marginal
        if normalize:
            M = M / np.linalg.norm(M)
        phi, A = eigh(centred.T @ centred, F.T @ M @ F + reg * np.eye(F.shape[1]))
        phi, A = phi[::-1][:k], A[:, ::-1][:, :k]
        A /= np.linalg.norm(A, axis=0)
        Z = unit(F @ A) if normalize else F @ A
        nearest = cdist(Z[~source], Z[teachers]).argmin(axis=1)
        changes.append(np.sum(guess[~source] != y[teachers][nearest]))
        guess[~source] = y[teachers][nearest]
        if changes[-1] == 0:
            break
    return Z, phi, A, guess[~source], changes


# The solution


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_straight_line_restatement(kernel, size, normalize):
    X, y, domain = classes_and_shift(*SIZES[size])
    k, reg = 4, 0.1
    Z, phi, A, guess, changes = referee(X, y, domain, k, reg, kernel, normalize)
    mapper = JDA(k, kernel=kernel, gamma=0.5, reg=reg, normalize=normalize)
    found = mapper.fit_transform(X, y, sample_domain=domain)
    assert len(changes) > 1
    np.testing.assert_array_equal(mapper.n_changes_, changes)
    np.testing.assert_array_equal(mapper.pseudo_labels_, guess)
    assert mapper.objective_ == pytest.approx(phi.sum(), rel=1e-8)
    np.testing.assert_allclose(mapper.eigenvalues_, phi, rtol=1e-8)
    assert mapper.residual_ < 1e-8
    expected = A
    if kernel == "linear":
        expected = (unit(X) if normalize else X).T @ A
    coefficients = mapper.coefficients_ if kernel == "rbf" else mapper.components_
    assert subspace_angles(coefficients, expected).max() < 1e-6
    np.testing.assert_allclose(same_up_to_sign(found, Z), Z, atol=1e-6)


def test_a_size_at_which_lanczos_takes_over():
    X, y, domain = classes_and_shift(400, 350, 450)
    Z, phi, _, guess, changes = referee(X, y, domain, 5, 0.5, "primal", n_iter=3)
    mapper = JDA(5, kernel="primal", reg=0.5, n_iter=3)
    found = mapper.fit_transform(X, y, sample_domain=domain)
    np.testing.assert_array_equal(mapper.n_changes_, changes)
    np.testing.assert_array_equal(mapper.pseudo_labels_, guess)
    np.testing.assert_allclose(mapper.eigenvalues_, phi, rtol=1e-8)
    np.testing.assert_allclose(same_up_to_sign(found, Z), Z, atol=1e-6)


def test_the_constraint_of_the_paper():
    X, y, domain = classes_and_shift(60, 50, 12)
    mapper = JDA(4, kernel="primal", scale="whiten", normalize=False)
    Z = mapper.fit_transform(X, y, sample_domain=domain)
    centred = Z - Z.mean(axis=0)
    np.testing.assert_allclose(centred.T @ centred, np.eye(4), atol=1e-10)


def test_the_loop_ends_at_a_fixed_point():
    """The map of the labels gives the labels, and more rounds change nothing."""
    X, y, domain = classes_and_shift(60, 50, 12, separation=2.0)
    source = domain > 0
    mapper = JDA(4, reg=0.1, n_iter=50).fit(X, y, sample_domain=domain)
    assert mapper.n_changes_[-1] == 0 < len(mapper.n_changes_) < 50
    assert (mapper.n_changes_[:-1] > 0).all() and mapper.n_changes_[0] == 50
    more = JDA(4, reg=0.1, n_iter=500).fit(X, y, sample_domain=domain)
    np.testing.assert_array_equal(more.components_, mapper.components_)
    Z = mapper.transform(X)
    nearest = KNeighborsClassifier(1).fit(Z[source], y[source]).predict(Z[~source])
    np.testing.assert_array_equal(nearest, mapper.pseudo_labels_)


# Limits


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", SIZES)
def test_one_round_is_tca(kernel, size):
    X, y, domain = classes_and_shift(*SIZES[size])
    l2 = 1 / np.sum(domain > 0) + 1 / np.sum(domain < 0)
    mapper = JDA(4, kernel=kernel, gamma=0.5, reg=0.3, n_iter=1)
    Z = mapper.fit_transform(X, y, sample_domain=domain)
    normalized = TCA(4, kernel=kernel, gamma=0.5, reg=0.3, normalize=True)
    expected = normalized.fit_transform(X, sample_domain=domain)
    np.testing.assert_allclose(same_up_to_sign(Z, expected), expected, atol=1e-9)
    plain = TCA(4, kernel=kernel, gamma=0.5, reg=0.3 * l2)
    expected = unit(plain.fit_transform(unit(X), sample_domain=domain))
    np.testing.assert_allclose(same_up_to_sign(Z, expected), expected, atol=1e-9)
    assert len(mapper.n_changes_) == 1
    bare = JDA(4, kernel=kernel, gamma=0.5, reg=0.3, n_iter=1, normalize=False)
    Z = bare.fit_transform(X, y, sample_domain=domain)
    plain = TCA(4, kernel=kernel, gamma=0.5, reg=0.3)
    expected = plain.fit_transform(X, sample_domain=domain)
    atol = 1e-9 * np.abs(expected).max()
    np.testing.assert_allclose(same_up_to_sign(Z, expected), expected, atol=atol)
    assert bare.mmd_ == pytest.approx(plain.mmd_, rel=1e-7)


def test_large_reg_is_pca():
    X, y, domain = classes_and_shift(60, 50, 12)
    mapper = JDA(4, kernel="primal", reg=1e12, normalize=False)
    Z = mapper.fit_transform(X, y, sample_domain=domain)
    _, _, axes = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    expected = X @ axes[:4].T
    np.testing.assert_allclose(same_up_to_sign(Z, expected), expected, atol=1e-6)


def test_small_reg_closes_the_gaps_of_the_classes():
    X, y, domain = classes_and_shift(60, 50, 12)
    source = domain > 0
    left = {}
    for reg in (1e6, 1e-6):
        first, second = (
            JDA(4, "primal", reg=reg, normalize=False, scale="whiten", n_iter=n_iter)
            for n_iter in (1, 2)
        )
        guess = y.copy()
        guess[~source] = first.fit(X, y, sample_domain=domain).pseudo_labels_
        Z = second.fit_transform(X, y, sample_domain=domain)
        means = [
            Z[rows & (guess == c)].mean(axis=0)
            for rows in (source, ~source)
            for c in range(3)
        ]
        left[reg] = np.sum((np.array(means[:3]) - means[3:]) ** 2)
    assert left[1e-6] < 1e-6 * left[1e6]


# Labels


class BlindToClassTwo(KNeighborsClassifier):
    def fit(self, X, y):
        return super().fit(X[y != 2], y[y != 2])


def test_class_without_pseudo_labels_is_dropped():
    """No division by zero, and no pull of that class's mean to the origin."""
    X, y, domain = classes_and_shift(60, 50, 12)
    Z, phi, _, guess, changes = referee(X, y, domain, 4, 0.1, never=2)
    assert len(changes) > 1 and 2 not in guess
    mapper = JDA(4, reg=0.1, estimator=BlindToClassTwo(1))
    with np.errstate(divide="raise", invalid="raise"):
        found = mapper.fit_transform(X, y, sample_domain=domain)
    np.testing.assert_array_equal(mapper.pseudo_labels_, guess)
    np.testing.assert_allclose(mapper.eigenvalues_, phi, rtol=1e-7)
    np.testing.assert_allclose(same_up_to_sign(found, Z), Z, atol=1e-6)


@pytest.mark.parametrize(
    "names", [[0, 1, 2], [1, 2, 3], [-1, 7, 0], ["c", "a", "b"]], ids=str
)
def test_names_of_the_classes_are_no_matter(names):
    """A class named 0 is a class: some loops run over 1 ... C."""
    X, y, domain = classes_and_shift(60, 50, 12)
    expected = JDA(4, reg=0.1).fit(X, y, sample_domain=domain)
    named = np.array(names)[y.astype(int)]
    mapper = JDA(4, reg=0.1).fit(X, named, sample_domain=domain)
    np.testing.assert_allclose(
        same_up_to_sign(mapper.components_, expected.components_),
        expected.components_,
        atol=1e-9,
    )
    assert mapper.pseudo_labels_.dtype == named.dtype
    by_name = np.array(names)[expected.pseudo_labels_]
    np.testing.assert_array_equal(mapper.pseudo_labels_, by_name)


def test_target_labels_take_no_part():
    X, y, domain = classes_and_shift(60, 50, 12)
    hidden = np.where(domain > 0, y, np.nan)
    expected = JDA(4, reg=0.1).fit(X, hidden, sample_domain=domain)
    wrong = np.where(domain > 0, y, 7.0)
    mapper = JDA(4, reg=0.1).fit(X, wrong, sample_domain=domain)
    np.testing.assert_array_equal(mapper.components_, expected.components_)


def test_unlabelled_source_rows():
    """They have their part in the gap of the domains, and none in the labels."""
    X, y, domain = classes_and_shift(60, 50, 12)
    some = y.copy()
    some[:20] = np.nan
    mapper = JDA(4, n_iter=1).fit(X, some, sample_domain=domain)
    whole = JDA(4, n_iter=1).fit(X, y, sample_domain=domain)
    np.testing.assert_array_equal(mapper.components_, whole.components_)
    Z = mapper.transform(X)
    known = np.flatnonzero((domain > 0) & ~np.isnan(some))
    nearest = KNeighborsClassifier(1).fit(Z[known], y[known])
    predicted = nearest.predict(Z[domain < 0])
    np.testing.assert_array_equal(mapper.pseudo_labels_, predicted)


@pytest.mark.parametrize("estimator", [NearestCentroid(), LogisticRegression()])
def test_any_classifier(estimator):
    X, y, domain = classes_and_shift(60, 50, 12)
    source = domain > 0
    mapper = JDA(4, reg=0.1, estimator=estimator).fit(X, y, sample_domain=domain)
    Z = mapper.transform(X)
    predicted = estimator.fit(Z[source], y[source]).predict(Z[~source])
    np.testing.assert_array_equal(predicted, mapper.pseudo_labels_)


def test_order_of_the_pseudo_labels_is_that_of_the_rows():
    X, y, domain = classes_and_shift(60, 50, 12)
    order = np.random.default_rng(1).permutation(len(X))
    straight = JDA(4, reg=0.1).fit(X, y, sample_domain=domain)
    shuffled = JDA(4, reg=0.1).fit(X[order], y[order], sample_domain=domain[order])
    labels = np.full(len(X), -1)
    labels[domain < 0] = straight.pseudo_labels_
    expected = labels[order][domain[order] < 0]
    np.testing.assert_array_equal(shuffled.pseudo_labels_, expected)


# Arrays


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", SIZES)
def test_csr_equals_dense(kernel, size):
    X, y, domain = classes_and_shift(*SIZES[size])
    X[np.abs(X) < 0.2] = 0
    mapper = JDA(3, kernel=kernel, gamma=0.5)
    Z = mapper.fit_transform(X, y, sample_domain=domain)
    sparse = mapper.fit_transform(csr_array(X), y, sample_domain=domain)
    assert type(sparse) is np.ndarray
    np.testing.assert_allclose(same_up_to_sign(sparse, Z), Z, atol=1e-7)


def test_new_rows_and_single_precision():
    X, y, domain = classes_and_shift(60, 50, 12)
    X = X.astype(np.float32)
    new = np.random.default_rng(5).normal(size=(10, 12)).astype(np.float32)
    mapper = JDA(4, reg=0.1).fit(X, y, sample_domain=domain)
    Z = mapper.transform(new)
    assert Z.dtype == np.float32
    np.testing.assert_allclose(Z, unit(unit(new) @ mapper.components_), atol=1e-5)
    double = JDA(4, reg=0.1).fit(X.astype(float), y, sample_domain=domain)
    np.testing.assert_array_equal(double.pseudo_labels_, mapper.pseudo_labels_)


def test_no_matrix_of_the_rows_in_the_primal():
    X, y, domain = classes_and_shift(3000, 2500, 20)
    small = classes_and_shift(40, 30, 20)
    JDA(5, kernel="primal", n_iter=2).fit(small[0], small[1], sample_domain=small[2])
    mapper = JDA(5, kernel="primal", n_iter=2, estimator=NearestCentroid())
    tracemalloc.start()
    try:
        mapper.fit(X, y, sample_domain=domain)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * X.nbytes < 0.1 * 8 * len(X) ** 2


def test_no_domains_is_no_adaptation():
    X, y, _ = classes_and_shift(60, 50, 12)
    with pytest.warns(skadapt.NoAdaptationWarning):
        mapper = JDA(3, kernel="primal", normalize=False).fit(X, y)
    _, _, axes = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    Z, expected = mapper.transform(X), X @ axes[:3].T
    np.testing.assert_allclose(same_up_to_sign(Z, expected), expected, atol=1e-8)
    assert mapper.pseudo_labels_.shape == (110,)


# Refusals


def test_bad_calls():
    X, y, domain = classes_and_shift(60, 50, 12)
    with pytest.raises(ValueError, match="requires y"):
        JDA().fit(X, sample_domain=domain)
    with pytest.raises(ValueError, match="no labelled source row"):
        JDA().fit(X, np.where(domain > 0, np.nan, y), sample_domain=domain)
    with pytest.raises(ValueError, match="must be a classifier"):
        JDA(estimator=LinearRegression()).fit(X, y, sample_domain=domain)
    with pytest.raises(ValueError, match="Unknown label type"):
        JDA().fit(X, X[:, 0], sample_domain=domain)
    with pytest.raises(ValueError, match="rank 12 of the centred rows: .* at most 12"):
        JDA(13, kernel="primal").fit(X, y, sample_domain=domain)
    with pytest.raises(ValueError, match="rank 12 of the centred kernel matrix: "):
        JDA(13).fit(X, y, sample_domain=domain)
    with pytest.raises(ValueError, match="n_features = 1: set normalize=False"):
        JDA().fit(X[:, :1], y, sample_domain=domain)
    for name, value in [("n_iter", 0), ("reg", 0.0), ("kernel", "precomputed")]:
        with pytest.raises(ValueError, match=name):
            JDA(**{name: value}).fit(X, y, sample_domain=domain)


@pytest.mark.parametrize("kernel", ["linear", "primal"])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("value", [1.0, 0.1, 1e6 / 7])
@pytest.mark.parametrize("n, d", [(60, 4), (500, 450), (450, 500), (20, 90)])
def test_rows_that_are_all_the_same(n, d, value, normalize, kernel):
    """Rounding is no component."""
    X, y, domain = np.full((n, d), value), np.arange(n) % 3, np.repeat([1, -1], n // 2)
    what = "centred rows" if kernel == "primal" else "centred kernel matrix"
    for n_iter in (1, 2):
        mapper = JDA(kernel=kernel, normalize=normalize, n_iter=n_iter)
        with pytest.raises(ValueError, match=f"rank of the {what} is 0"):
            mapper.fit(X, y, sample_domain=domain)


@pytest.mark.parametrize("n_iter", [1, 2])
def test_rows_that_are_all_the_same_under_a_kernel(n_iter):
    """At this size Lanczos meets a matrix of zeros."""
    X, y, domain = np.ones((500, 3)), np.arange(500) % 3, np.repeat([1, -1], 250)
    with pytest.raises(ValueError, match="rank of the centred kernel matrix is 0"):
        JDA(5, kernel="rbf", n_iter=n_iter, normalize=False).fit(
            X, y, sample_domain=domain
        )


@pytest.mark.parametrize("d, offset", [(12, 1e6), (150, 1e3)])
def test_little_variance_far_from_zero_is_kept(d, offset):
    X, y, domain = classes_and_shift(60, 50, d)
    mapper = JDA(kernel="primal", normalize=False)
    near = mapper.fit(X, y, sample_domain=domain).eigenvalues_
    far = mapper.fit(X + offset, y, sample_domain=domain).eigenvalues_
    np.testing.assert_allclose(far, near, rtol=1e-3)


# What it is worth


def one_law(seed):
    """Two samples of the same law: three classes, six columns."""
    rng = np.random.default_rng(seed)
    means = 1.5 * rng.normal(size=(3, 6))
    y = rng.integers(0, 3, 300)
    return rng.normal(size=(300, 6)) + means[y], y, np.repeat([1, -1], 150)


@pytest.mark.parametrize("kernel", ["linear", "primal"])
def test_no_loss_on_samples_of_one_law(kernel):
    gains = []
    for seed in range(10):
        X, y, domain = one_law(seed)
        source = domain > 0
        mapper = JDA(kernel=kernel).fit(X, y, sample_domain=domain)
        plain = KNeighborsClassifier(1).fit(X[source], y[source])
        gains.append(
            np.mean(mapper.pseudo_labels_ == y[~source])
            - plain.score(X[~source], y[~source])
        )
    assert 100 * np.mean(gains) >= -3


def data_file(name):
    path = Path(get_data_home(), name)
    if not path.exists():
        pytest.skip(f"{name} is not in {get_data_home()}")
    return path


@pytest.mark.parametrize("source, accuracy", [("usps", 59.65), ("mnist", 67.28)])
def test_digits_figures(source, accuracy):
    """Long 2013: 100 components, reg = .1 on digits, ten rounds, 1-NN."""
    data = np.load(data_file("usps-mnist.npz"))
    number = 1 + list(data["domain_names"]).index(source)
    domain = np.where(data["domain"] == number, 1, -1)
    mapper = JDA(100, kernel="primal", reg=0.1)
    mapper.fit(data["X"], data["y"], sample_domain=domain)
    score = 100 * np.mean(mapper.pseudo_labels_ == data["y"][domain < 0])
    assert score == pytest.approx(accuracy, abs=0.1)


@pytest.mark.parametrize(
    "source, target, accuracy",
    [("webcam", "dslr", 89.2), ("dslr", "webcam", 89.5), ("amazon", "dslr", 39.5)],
)
def test_office_caltech_figures(source, target, accuracy):
    """Table 1 of Long 2013: linear kernel, 100 components, reg = 1, ten rounds, 1-NN.

    All twelve are in ``python -m benchmarks office_caltech``.
    """
    data_file("office-caltech-surf.npz")
    data = fetch_office_caltech(source=source, target=target, download_if_missing=False)
    X, is_source = data.X / data.X.sum(axis=1, keepdims=True), data.sample_domain > 0
    for rows in (is_source, ~is_source):
        spread = X[rows].std(axis=0)
        X[rows] = (X[rows] - X[rows].mean(axis=0)) / np.where(spread > 0, spread, 1)
    mapper = JDA(100).fit(X, data.y, sample_domain=data.sample_domain)
    score = 100 * np.mean(mapper.pseudo_labels_ == data.y[~is_source])
    assert score == pytest.approx(accuracy, abs=0.1)
