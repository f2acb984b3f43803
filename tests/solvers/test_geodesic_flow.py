"""The geodesic flow kernel against quadrature, and PLS against scikit-learn.

With P_s'P_t = U cos(Theta) W', the geodesic is
``Phi(t) = P_s U cos(t Theta) + R sin(t Theta)`` and ``G`` the integral of
``Phi(t) Phi(t)'`` over t from 0 to 1.
"""

import numpy as np
import pytest
from scipy.linalg import expm, subspace_angles
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA

from skadapt.solvers._geodesic_flow import (
    geodesic_factor,
    geodesic_flow,
    pls_axes,
    principal_axes,
    subspace_disagreement,
)
from skadapt.solvers._moments import DomainMoments


def bases(d, p, angles=None, seed=0):
    """Two bases, turned at random within their subspaces, of given angles."""
    rng = np.random.default_rng(seed)
    if angles is None:
        return [np.linalg.qr(rng.normal(size=(d, p)))[0] for _ in range(2)]
    Q = np.linalg.qr(rng.normal(size=(d, 2 * p)))[0]
    A, R = Q[:, :p], Q[:, p:]
    Pt = A * np.cos(angles) + R * np.sin(angles)
    turn = [np.linalg.qr(rng.normal(size=(p, p)))[0] for _ in range(2)]
    return A @ turn[0], Pt @ turn[1]


def by_quadrature(Ps, Pt, n_points=20):
    """Integral by Gauss and Legendre, the geodesic as the flow of its tangent.

    The tangent at P_s is ``H = R Theta U'`` and the flow ``expm(t B) P_s`` with
    ``B = H P_s' - P_s H'``: no angle but that of the tangent is used.
    """
    U, c, Wt = np.linalg.svd(Ps.T @ Pt)
    across = Pt @ Wt.T - Ps @ U * c
    s = np.linalg.norm(across, axis=0)
    H = across * np.where(s > 0, np.arctan2(s, c) / np.where(s > 0, s, 1), 0) @ U.T
    B = H @ Ps.T - Ps @ H.T
    nodes, weights = np.polynomial.legendre.leggauss(n_points)
    flow = [expm((1 + t) / 2 * B) @ Ps for t in nodes]
    # The flow must end in the subspace of P_t, or the referee is wrong.
    end = expm(B) @ Ps
    np.testing.assert_allclose(end @ end.T, Pt @ Pt.T, atol=1e-10)
    return sum(w / 2 * Phi @ Phi.T for w, Phi in zip(weights, flow))


def kernel(Ps, Pt):
    L = geodesic_factor(Ps, Pt)
    return L @ L.T


@pytest.mark.parametrize("d, p", [(12, 3), (12, 6), (12, 9), (12, 12), (7, 1)])
def test_quadrature(d, p):
    Ps, Pt = bases(d, p)
    np.testing.assert_allclose(kernel(Ps, Pt), by_quadrature(Ps, Pt), atol=1e-12)


@pytest.mark.parametrize("exponent", range(-17, 1))
def test_quadrature_at_small_and_large_angles(exponent):
    """Angles next to 0 and next to a right angle, in one pair of subspaces."""
    small = 10.0**exponent
    angles = np.array([small, 0.3, np.pi / 2 - small])
    Ps, Pt = bases(14, 3, angles, seed=exponent + 20)
    np.testing.assert_allclose(kernel(Ps, Pt), by_quadrature(Ps, Pt), atol=1e-12)
    found = geodesic_flow(Ps, Pt).angles
    np.testing.assert_allclose(found, np.sort(angles), atol=1e-14)


def test_known_blocks_of_the_kernel():
    """a, b and e as integrals of cos^2, sin cos and sin^2."""
    for theta in np.concatenate([np.logspace(-12, -1, 20), np.linspace(0.1, 1.57, 40)]):
        Ps = np.array([[1.0], [0.0]])
        Pt = np.array([[np.cos(theta)], [np.sin(theta)]])
        nodes, weights = np.polynomial.legendre.leggauss(30)
        t = (1 + nodes) / 2 * theta
        Phi = np.array([np.cos(t), np.sin(t)])
        expected = (Phi * weights / 2) @ Phi.T
        found = kernel(Ps, Pt)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-30)


def test_one_subspace_gives_its_projection():
    Ps, _ = bases(10, 4)
    turned = Ps @ np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    np.testing.assert_allclose(kernel(Ps, turned), Ps @ Ps.T, atol=1e-14)
    factor = geodesic_factor(Ps, turned)
    np.testing.assert_allclose(factor, np.hstack([Ps, 0 * Ps]), atol=1e-14)
    exact = geodesic_flow(np.eye(10)[:, :4], np.eye(10)[:, :4])
    assert (exact.angles == 0).all() and np.isfinite(exact.factor).all()


def test_orthogonal_subspaces():
    """a = e = 1/2 and b = 1/pi."""
    Ps, Pt = np.eye(8)[:, :1], np.eye(8)[:, 4:5]
    G = kernel(Ps, Pt)
    expected = np.zeros((8, 8))
    expected[0, 0] = expected[4, 4] = 1 / 2
    expected[0, 4] = expected[4, 0] = 1 / np.pi
    np.testing.assert_allclose(G, expected, atol=1e-15)
    # Which axis goes to which is not defined for several: the blocks are.
    Ps, Pt = np.eye(8)[:, :3], np.eye(8)[:, 3:6]
    G = kernel(Ps, Pt)
    np.testing.assert_allclose(G[:3, :3], np.eye(3) / 2, atol=1e-15)
    np.testing.assert_allclose(G[3:6, 3:6], np.eye(3) / 2, atol=1e-15)
    np.testing.assert_allclose(G[:3, 3:6] @ G[3:6, :3], np.eye(3) / np.pi**2)


def test_symmetric_in_the_domains():
    Ps, Pt = bases(12, 4)
    np.testing.assert_allclose(kernel(Ps, Pt), kernel(Pt, Ps), atol=1e-14)


@pytest.mark.parametrize("p", [2, 5, 8])
def test_bases_of_the_same_subspaces_give_the_same_kernel(p):
    Ps, Pt = bases(12, p)
    rng = np.random.default_rng(3)
    turn = [np.linalg.qr(rng.normal(size=(p, p)))[0] for _ in range(2)]
    np.testing.assert_allclose(
        kernel(Ps @ turn[0], Pt @ turn[1]), kernel(Ps, Pt), atol=1e-13
    )


@pytest.mark.parametrize("p", [2, 4, 9])
def test_factor_does_not_depend_on_how_equal_angles_are_turned(p):
    """Subspaces with an intersection; the second basis turned leaves all bits but."""
    Ps, Pt = bases(10, p)
    Pt[:, 0] = Ps[:, 0] + 1e-9 * Pt[:, 0]
    Pt = np.linalg.qr(Pt)[0]
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(p, p)))[0]
    np.testing.assert_allclose(
        geodesic_factor(Ps, Pt @ turn), geodesic_factor(Ps, Pt), atol=1e-12
    )


def test_semidefinite_and_of_low_rank():
    for p in (1, 3, 5):
        values = np.linalg.eigvalsh(kernel(*bases(12, p)))
        assert values[0] > -1e-15 and values[-1] < 1 + 1e-15
        assert np.count_nonzero(values > 1e-12) == 2 * p


def test_angles_against_scipy():
    Ps, Pt = bases(15, 6)
    np.testing.assert_allclose(
        geodesic_flow(Ps, Pt).angles, subspace_angles(Ps, Pt)[::-1], atol=1e-12
    )


def test_bases_of_different_width_are_refused():
    Ps, Pt = bases(12, 4)
    with pytest.raises(ValueError, match="as many axes"):
        geodesic_factor(Ps, Pt[:, :3])


# Bases


@pytest.mark.parametrize("n, d", [(50, 8), (8, 50)])
def test_principal_axes_against_pca(n, d):
    X = np.random.default_rng(0).normal(size=(n, d)) * np.linspace(1, 3, d) + 5
    axes = principal_axes(X, 4)
    expected = PCA(4, svd_solver="full").fit(X).components_.T
    flip = np.sign((axes * expected).sum(axis=0))
    np.testing.assert_allclose(axes * flip, expected, atol=1e-8)
    assert (axes[np.abs(axes).argmax(axis=0), range(4)] > 0).all()
    moments = DomainMoments.from_rows(X)
    np.testing.assert_array_equal(principal_axes(moments, 4), axes)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("share", [1.0, 1e-2, 1e-4, 1e-6], ids="{:.0e}".format)
@pytest.mark.parametrize("p", [1, 4, 20, 28, 29])
def test_few_axes_are_the_first_of_all(p, share, dtype):
    """From R R' (30, 30) or a decomposition of R (30, 200), by falling spread."""
    rng = np.random.default_rng(0)
    left = np.linalg.qr(np.c_[np.ones(30), rng.normal(size=(30, 29))])[0][:, 1:]
    axes = np.linalg.qr(rng.normal(size=(200, 29)))[0]
    singular = np.geomspace(1, share, 29) * np.linspace(1.3, 1, 29)
    X = ((left * singular) @ axes.T).astype(dtype)
    values, vectors = DomainMoments.from_rows(X).spectrum(p)
    X = X.astype(np.float64)
    _, expected, rows = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(values, expected[:p] ** 2 / 29, rtol=1e-6)
    flip = np.sign((vectors * rows[:p].T).sum(axis=0))
    np.testing.assert_allclose(vectors * flip, rows[:p].T, atol=1e-7)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(p), atol=1e-13)


@pytest.mark.parametrize("rank", [1, 5, 19])
def test_few_axes_are_as_many_as_all(rank):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(30, rank)) @ rng.normal(size=(rank, 200))
    moments = DomainMoments.from_rows(X)
    whole = moments.spectrum()[0]
    assert len(whole) == rank
    for p in range(1, 31):
        assert len(moments.spectrum(p)[0]) == min(p, rank)


@pytest.mark.parametrize("n, d", [(60, 4), (40, 90)])
def test_rounding_of_the_mean_is_no_axis(n, d):
    X = np.full((n, d), 0.1)
    assert principal_axes(X, 2).shape == (d, 0)
    X[0, 1] += 1e-10
    assert principal_axes(X, 2).shape == (d, 1)


def test_no_more_principal_axes_than_the_rank():
    X = np.random.default_rng(0).normal(size=(5, 20))
    assert principal_axes(X, 10).shape == (20, 4)
    assert principal_axes(np.ones((5, 20)), 10).shape == (20, 0)


def labelled_rows(n, d, n_classes, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    centres = 2 * rng.normal(size=(n_classes, d))
    return centres[y] + rng.normal(size=(n, d)) * np.linspace(1, 2, d) + 3, y


@pytest.mark.parametrize("n, d, n_classes, p", [(90, 12, 4, 9), (40, 70, 3, 12)])
def test_pls_against_scikit_learn(n, d, n_classes, p):
    X, y = labelled_rows(n, d, n_classes)
    pls = PLSRegression(p, scale=False, tol=1e-14, max_iter=100000)
    expected = pls.fit(X, np.eye(n_classes)[y]).x_weights_
    axes = pls_axes(X, y, p)
    flip = np.sign((axes * expected).sum(axis=0))
    np.testing.assert_allclose(axes * flip, expected, atol=1e-5)
    np.testing.assert_allclose(axes.T @ axes, np.eye(p), atol=1e-13)


def test_pls_of_many_axes_stays_orthonormal():
    X, y = labelled_rows(300, 200, 5)
    axes = pls_axes(X, y, 120)
    np.testing.assert_allclose(axes.T @ axes, np.eye(120), atol=1e-12)


def test_pls_ends_where_the_rows_do():
    X, y = labelled_rows(60, 5, 3)
    axes = pls_axes(np.hstack([X, X[:, :2]]), y, 7)
    assert axes.shape == (7, 5)
    X, y = labelled_rows(8, 30, 2)
    assert pls_axes(X, y, 20).shape[1] <= 7
    assert pls_axes(np.ones((10, 3)), np.arange(10) % 2, 2).shape == (3, 0)
    assert pls_axes(X, np.zeros(8), 2).shape == (30, 0)


def test_pls_takes_any_labels_and_float32():
    X, y = labelled_rows(60, 6, 3)
    axes = pls_axes(X, y, 3)
    named = pls_axes(X, np.array(list("abz"))[y], 3)
    np.testing.assert_array_equal(named, axes)
    single = pls_axes(X.astype(np.float32), y, 3)
    assert single.dtype == np.float64
    np.testing.assert_allclose(single, axes, atol=1e-5)


# The number of axes


def disagreement_by_definition(Xs, Xt, p):
    pooled, *own = (
        PCA(p, svd_solver="full").fit(X).components_.T
        for X in (np.vstack([Xs, Xt]), Xs, Xt)
    )
    return np.mean([np.sin(subspace_angles(P, pooled).max()) for P in own])


def test_disagreement_against_its_definition():
    rng = np.random.default_rng(0)
    spread = 1.4 ** -np.arange(12.0)
    Xs, Xt = (rng.normal(size=(n, 12)) * spread for n in (60, 50))
    Xt = Xt @ expm(0.2 * np.triu(np.ones((12, 12)), 1) - 0.2 * np.tri(12, k=-1))
    moments = [DomainMoments.from_rows(X) for X in (Xs, Xt)]
    n_components, values = subspace_disagreement(*moments, 6)
    expected = [disagreement_by_definition(Xs, Xt, p) for p in range(1, 7)]
    first = np.flatnonzero(np.round(expected, 2) >= 1)
    assert n_components == (first[0] + 1 if len(first) else 6)
    np.testing.assert_allclose(values, expected[:n_components], atol=1e-7)


def test_disagreement_finds_the_axes_in_common():
    """Two axes in common, then one in each domain that the other has not."""
    rng = np.random.default_rng(0)
    spread = {
        "s": [9, 7, 5, 0, 0.1, 0.1, 0.1, 0.1],
        "t": [9, 7, 0, 3, 0.1, 0.1, 0.1, 0.1],
    }
    Xs, Xt = (rng.normal(size=(4000, 8)) * spread[name] for name in "st")
    moments = [DomainMoments.from_rows(X) for X in (Xs, Xt)]
    n_components, values = subspace_disagreement(*moments, 4)
    assert (values[:2] < 0.1).all()
    # The third axis of all rows is the source's: half of the disagreement.
    assert values[2] == pytest.approx(0.5, abs=0.05)
    assert n_components == 4 and values[3] >= 0.995
    assert subspace_disagreement(*moments, 8)[0] == 4


def test_disagreement_of_one_sample_never_ends_early():
    X = np.random.default_rng(0).normal(size=(50, 8)) * np.linspace(1, 3, 8)
    moments = DomainMoments.from_rows(X)
    n_components, values = subspace_disagreement(moments, moments, 4)
    assert n_components == 4
    np.testing.assert_allclose(values, 0, atol=1e-7)
