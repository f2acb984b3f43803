"""The eigenproblem of JGSA against a dense generalised solver.

``diag(beta S_b, mu S_t) W = Smin W Phi`` for W = [A; B], with ``Smin`` formed as the
(2 d, 2 d) matrix it is.
"""

import numpy as np
import pytest
from scipy.linalg import eigh, subspace_angles

from skadapt.solvers._class_gaps import class_gaps
from skadapt.solvers._joint_alignment import JointAlignment

SHAPES = {
    "n > d": (60, 50, 7),
    "n_s < d": (20, 70, 40),
    "n_t < d": (60, 15, 40),
    "both < d": (20, 15, 40),
    "one column": (30, 20, 1),
}


def problem(n, m, d, seed=0):
    rng = np.random.default_rng(seed)
    spread = np.linspace(2, 0.5, d)
    Xs, Xt = rng.normal(size=(n, d)) * spread, rng.normal(size=(m, d)) * spread + 0.3
    classes, pseudo = rng.permutation(np.arange(n) % 3), np.arange(m) % 3
    Xs[np.arange(n), classes % d] += 1
    V = class_gaps(np.concatenate([classes, pseudo]), np.arange(n + m) < n, 3)
    return Xs, classes, Xt, 5 * V[:n], 5 * V[n:]


def scatters(X, classes):
    labelled = X[classes >= 0]
    mean = labelled.mean(axis=0)
    between = within = 0
    for c in np.unique(classes[classes >= 0]):
        part = X[classes == c]
        gap = part.mean(axis=0) - mean
        between = between + len(part) * np.outer(gap, gap)
        centred = part - part.mean(axis=0)
        within = within + centred.T @ centred
    return between, within


def dense(Xs, classes, Xt, Vs, Vt, lam, beta, mu):
    """Smax and Smin."""
    between, within = scatters(Xs, classes)
    centred = Xt - Xt.mean(axis=0)
    eye, zero = np.eye(Xs.shape[1]), np.zeros((Xs.shape[1],) * 2)
    G = np.vstack([Xs.T @ Vs, Xt.T @ Vt])
    upper = np.block([[beta * between, zero], [zero, mu * centred.T @ centred]])
    lower = np.block(
        [[lam * eye + beta * within, -lam * eye], [-lam * eye, (lam + mu) * eye]]
    )
    return upper, lower + G @ G.T


def solve(Xs, classes, Xt, Vs, Vt, lam, beta, mu, k):
    alignment = JointAlignment(Xs, classes, Xt, lam=lam, beta=beta, mu=mu)
    return alignment.solve(Vs, Vt, k)


@pytest.mark.parametrize("lam, beta, mu", [(1, 0.1, 1), (0.01, 2, 0.3), (50, 0, 7)])
@pytest.mark.parametrize("shape", SHAPES)
def test_dense_eigenproblem(shape, lam, beta, mu):
    parts = problem(*SHAPES[shape])
    upper, lower = dense(*parts, lam, beta, mu)
    phi, W = eigh(upper, lower)
    rank = np.count_nonzero(phi > 1e-9 * phi[-1])
    k = min(5, rank)
    phi, W = phi[::-1][:k], W[:, ::-1][:, :k]
    found = solve(*parts, lam, beta, mu, k)
    assert found.eigenvalues.sum() == pytest.approx(phi.sum(), rel=1e-10)
    np.testing.assert_allclose(found.eigenvalues, phi, rtol=1e-8)
    joint = np.vstack([found.source, found.target])
    assert subspace_angles(joint, W).max() < 1e-6
    np.testing.assert_allclose(np.linalg.norm(joint, axis=0), 1)
    np.testing.assert_allclose(
        upper @ joint, lower @ joint * found.eigenvalues, atol=1e-8 * phi[0]
    )


@pytest.mark.parametrize("shape", ["n > d", "both < d"])
def test_large_scatters_keep_accuracy(shape):
    """Rows of length 1000, where the ridge is small beside S_w."""
    Xs, classes, Xt, Vs, Vt = problem(*SHAPES[shape])
    parts = 1e3 * Xs, classes, 1e3 * Xt, Vs / 1e3, Vt / 1e3
    phi = eigh(*dense(*parts, 1.0, 0.1, 1.0), eigvals_only=True)[::-1]
    found = solve(*parts, 1.0, 0.1, 1.0, 5)
    np.testing.assert_allclose(found.eigenvalues, phi[:5], rtol=1e-7)


def test_whole_rank_and_no_more():
    Xs, classes, Xt, Vs, Vt = problem(60, 50, 7)
    found = solve(Xs, classes, Xt, Vs, Vt, 1.0, 0.1, 1.0, 100)
    assert len(found.eigenvalues) == 7 + 2  # rank(S_t) + C - 1
    assert found.source.shape == found.target.shape == (7, 9)
    assert (found.eigenvalues > 0).all() and (np.diff(found.eigenvalues) <= 0).all()
    without = solve(Xs, classes, Xt, Vs, Vt, 1.0, 0.0, 1.0, 100)
    assert len(without.eigenvalues) == 7


def test_unknown_classes_have_no_part_in_the_scatters():
    Xs, classes, Xt, Vs, Vt = problem(60, 50, 7)
    partly = np.where(np.arange(60) < 20, -1, classes)
    found = solve(Xs, partly, Xt, Vs, Vt, 1.0, 0.5, 1.0, 5)
    phi = eigh(*dense(Xs, partly, Xt, Vs, Vt, 1.0, 0.5, 1.0), eigvals_only=True)
    np.testing.assert_allclose(found.eigenvalues, phi[::-1][:5], rtol=1e-9)


@pytest.mark.parametrize("shape", ["n > d", "n_t < d"])
def test_large_ridge_makes_one_map_of_both(shape):
    """lam -> inf is ``(beta S_b + mu S_t) a = (T + beta S_w + mu I) a phi``."""
    Xs, classes, Xt, Vs, Vt = problem(*SHAPES[shape])
    found = solve(Xs, classes, Xt, Vs, Vt, 1e7, 0.5, 0.7, 3)
    np.testing.assert_allclose(found.source, found.target, atol=1e-4)
    between, within = scatters(Xs, classes)
    centred, G = Xt - Xt.mean(axis=0), Xs.T @ Vs + Xt.T @ Vt
    phi, W = eigh(
        0.5 * between + 0.7 * centred.T @ centred,
        0.5 * within + 0.7 * np.eye(len(G)) + G @ G.T,
    )
    np.testing.assert_allclose(found.eigenvalues, phi[::-1][:3], rtol=1e-4)
    assert subspace_angles(found.source, W[:, ::-1][:, :3]).max() < 1e-3


def test_rows_of_one_point_in_each_class():
    """S_w is 0, and so has no eigenvector to work in."""
    rng = np.random.default_rng(0)
    points, classes = rng.normal(size=(3, 6)), np.arange(12) % 3
    Xt = rng.normal(size=(20, 6))
    V = class_gaps(np.concatenate([classes, np.arange(20) % 3]), np.arange(32) < 12, 3)
    parts = points[classes], classes, Xt, V[:12], V[12:]
    found = solve(*parts, 1.0, 0.1, 1.0, 5)
    phi = eigh(*dense(*parts, 1.0, 0.1, 1.0), eigvals_only=True)[::-1]
    np.testing.assert_allclose(found.eigenvalues, phi[:5], rtol=1e-9)
