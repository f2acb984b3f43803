"""BDA against a straight-line restatement with dense matrices, and its limits."""

from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import eigh
from scipy.spatial.distance import cdist
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

import skadapt
from skadapt import BDA, JDA, TCA
from skadapt.datasets import get_data_home


def overlapping_classes(n_source=60, n_target=50, d=12, shares=(0.6, 0.3, 0.1)):
    """Columns of mean 0; class shares are equal in the source, these in the target."""
    rng = np.random.default_rng(0)
    means = 0.8 * rng.normal(size=(3, d))
    y = np.r_[np.arange(n_source) % 3, rng.choice(3, n_target, p=shares)]
    X = rng.normal(size=(len(y), d)) * np.geomspace(2, 0.5, d) + means[y]
    X[n_source:] += 0.5 * rng.normal(size=d)
    X -= X.mean(axis=0)
    return X, y.astype(float), np.repeat([1, -1], [n_source, n_target])


def unit(A):
    return A / np.linalg.norm(A, axis=1, keepdims=True)


def same_up_to_sign(A, B):
    return A * np.where((A * B).sum(axis=0) < 0, -1, 1)


def distance(X, is_source):
    """Proxy A-distance of the rows a linear SVM was fitted to."""
    svm = LinearSVC(dual=False, random_state=0).fit(X, is_source)
    return max(0.0, 2 * (1 - 2 * np.mean(svm.predict(X) != is_source)))


def estimated(X, y, guess, source):
    of_classes = []
    for c in np.unique(y[source]):
        rows = np.where(source, y, guess) == c
        if source[rows].any() and (~source[rows]).any():
            of_classes.append(distance(X[rows], source[rows]))
    mean = np.mean(of_classes)
    return mean / (mean + distance(X, source))


def referee(X, y, domain, k, reg, mu, weighted, normalize, n_iter=10):
    """Embedding, eigenvalues, labels, changes and the balance of the last round."""
    source = domain > 0
    X = unit(X) if normalize else X
    n, m = source.sum(), (~source).sum()
    classes = np.unique(y[source])
    gap = np.where(source, 1 / n, -1 / m)
    guess, changes, balance = np.full(len(y), np.nan), [], 0.0
    centred = X - X.mean(axis=0)
    for turn in range(n_iter):
        M = np.outer(gap, gap)
        if turn:
            balance = estimated(X, y, guess, source) if mu == "estimate" else mu
            M = (1 - balance) * M * (len(classes) if normalize else 1)
            for c in classes:
                n_c, m_c = np.sum(source & (y == c)), np.sum(~source & (guess == c))
                if m_c:
                    ratio = (m_c / m) / (n_c / n) if weighted else 1
                    e = (source & (y == c)) / n_c
                    e = e - ratio * (~source & (guess == c)) / m_c
                    M = M + balance * np.outer(e, e)
        if normalize:
            M = M / np.linalg.norm(M)
        phi, A = eigh(centred.T @ centred, X.T @ M @ X + reg * np.eye(X.shape[1]))
        phi, A = phi[::-1][:k], A[:, ::-1][:, :k]
        Z = X @ (A / np.linalg.norm(A, axis=0))
        Z = unit(Z) if normalize else Z
        new = y[source][cdist(Z[~source], Z[source]).argmin(axis=1)]
        changes.append(np.sum(guess[~source] != new))
        guess[~source] = new
        if not changes[-1]:
            break
    return Z, phi, guess[~source], changes, balance


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("mu", [0.0, 0.3, 1.0, "estimate"])
def test_straight_line_restatement(mu, weighted, normalize):
    X, y, domain = overlapping_classes()
    arguments = {"mu": mu, "weighted": weighted, "normalize": normalize}
    Z, phi, guess, changes, balance = referee(X, y, domain, 4, 0.2, **arguments)
    assert len(changes) > 1
    mapper = BDA(4, kernel="primal", reg=0.2, **arguments)
    found = mapper.fit_transform(X, y, sample_domain=domain)
    np.testing.assert_array_equal(mapper.n_changes_, changes)
    np.testing.assert_array_equal(mapper.pseudo_labels_, guess)
    np.testing.assert_allclose(mapper.eigenvalues_, phi, rtol=1e-8)
    atol = 1e-6 * np.abs(Z).max()
    np.testing.assert_allclose(same_up_to_sign(found, Z), Z, atol=atol)
    assert mapper.mu_ == pytest.approx(balance, rel=1e-12)


def test_no_balance_is_tca():
    X, y, domain = overlapping_classes()
    for normalize in (True, False):
        mapper = BDA(4, mu=0, reg=0.3, normalize=normalize)
        Z = mapper.fit_transform(X, y, sample_domain=domain)
        tca = TCA(4, reg=0.3, normalize=normalize)
        expected = tca.fit_transform(X, sample_domain=domain)
        np.testing.assert_allclose(same_up_to_sign(Z, expected), expected, atol=1e-9)
        assert list(mapper.n_changes_) == [50, 0]


def test_equal_balance_is_jda():
    X, y, domain = overlapping_classes()
    balanced = BDA(4, mu=0.5, reg=0.3).fit(X, y, sample_domain=domain)
    jda = JDA(4, reg=0.3).fit(X, y, sample_domain=domain)
    np.testing.assert_array_equal(balanced.n_changes_, jda.n_changes_)
    np.testing.assert_allclose(balanced.components_, jda.components_, atol=1e-10)


class EvenShares(KNeighborsClassifier):
    """As many rows of each class as there are in the source."""

    def predict(self, X):
        return np.arange(len(X)) % 3


def test_equal_shares_leave_nothing_to_weight():
    X, y, domain = (part[:108] for part in overlapping_classes())
    plain, weighted = (
        BDA(4, mu=0.7, weighted=weighted, estimator=EvenShares(1))
        .fit(X, y, sample_domain=domain)
        .components_
        for weighted in (False, True)
    )
    np.testing.assert_allclose(weighted, plain, atol=1e-10)


def test_estimate_follows_what_differs():
    """The classes move apart in opposite directions: as wholes the domains agree."""
    rng = np.random.default_rng(0)
    domain, y = np.repeat([1, -1], 200), np.tile([0, 1], 200)
    X = rng.normal(size=(400, 3))
    X[:, 0] += 6 * y
    X[:, 1] += np.where((domain > 0) == (y == 1), 3, -3)
    mapper = BDA(kernel="primal", normalize=False, n_iter=2)
    assert mapper.fit(X, y, sample_domain=domain).mu_ > 0.7


def test_balance_of_a_single_round_and_without_domains():
    X, y, domain = overlapping_classes()
    assert BDA(4, mu=0.7, n_iter=1).fit(X, y, sample_domain=domain).mu_ == 0
    with pytest.warns(skadapt.NoAdaptationWarning):
        mapper = BDA(4).fit(X, y)
    assert mapper.mmd_ == 0


def test_bad_calls():
    X, y, domain = overlapping_classes()
    for parameters in ({"mu": 1.5}, {"mu": "auto"}, {"weighted": 2}):
        with pytest.raises(ValueError, match=next(iter(parameters))):
            BDA(**parameters).fit(X, y, sample_domain=domain)
    with pytest.raises(ValueError, match="no labelled source row"):
        BDA().fit(X, np.where(domain > 0, np.nan, y), sample_domain=domain)


@pytest.mark.parametrize("weighted", [False, True])
def test_no_loss_on_samples_of_one_law(weighted):
    gains = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        means = 1.5 * rng.normal(size=(3, 6))
        y = rng.integers(0, 3, 300)
        X = rng.normal(size=(300, 6)) + means[y]
        source = np.arange(300) < 150
        mapper = BDA(weighted=weighted)
        mapper.fit(X, y, sample_domain=np.where(source, 1, -1))
        plain = KNeighborsClassifier(1).fit(X[source], y[source])
        gains.append(
            np.mean(mapper.pseudo_labels_ == y[~source])
            - plain.score(X[~source], y[~source])
        )
    assert 100 * np.mean(gains) >= -3


def test_digits():
    """USPS to MNIST: the balance of JDA gives its 59.65 %."""
    path = Path(get_data_home(), "usps-mnist.npz")
    if not path.exists():
        pytest.skip(f"usps-mnist.npz is not in {get_data_home()}")
    data = np.load(path)
    domain = np.where(data["domain"] == 1, 1, -1)
    mapper = BDA(100, kernel="primal", reg=0.1, mu=0.5)
    mapper.fit(data["X"], data["y"], sample_domain=domain)
    score = 100 * np.mean(mapper.pseudo_labels_ == data["y"][domain < 0])
    assert score == pytest.approx(59.65, abs=0.1)
