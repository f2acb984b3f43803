"""OTMapping against linear programmes, duals, cone programmes and closed forms."""

import builtins
import sys

import cvxpy as cp
import numpy as np
import ot
import pytest
from scipy.linalg import sqrtm
from scipy.optimize import linprog, minimize
from scipy.spatial.distance import cdist
from scipy.special import logsumexp, xlogy
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from skadapt import OTMapping, TransferClassifier, ot_mapping
from skadapt.solvers._moments import DomainMoments
from skadapt.solvers._transport import GaussianMap

COUPLED = ["emd", "sinkhorn", "sinkhorn_l1l2"]
METHODS = ["linear", *COUPLED]


def pair(n=40, m=30, d=3, seed=0):
    """Two samples whose covariances and means differ, and three classes."""
    rng = np.random.default_rng(seed)
    Xs = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 1
    Xt = rng.normal(size=(m, d)) @ rng.normal(size=(d, d)) - 2
    return Xs, rng.integers(0, 3, n), Xt


def stack(Xs, ys, Xt, seed=1):
    """Both samples, interleaved."""
    order = np.random.default_rng(seed).permutation(len(Xs) + len(Xt))
    X = np.vstack([Xs, Xt])[order]
    y = np.concatenate([ys, np.full(len(Xt), np.nan)])[order]
    return X, y, np.repeat([1, -1], [len(Xs), len(Xt)])[order]


def normalised_costs(Xs, Xt):
    costs = cdist(Xs, Xt, "sqeuclidean")
    return costs / costs.max()


# The linear map

SHAPES = {
    "n > d": (60, 50, 8),
    "n_s < d": (10, 50, 20),
    "n_t < d": (50, 10, 20),
    "n_s + n_t = d": (20, 20, 40),
    "n_s + n_t < d": (12, 9, 40),
}


def monge_matrix(Xs, Xt, reg):
    ridge = reg * np.eye(Xs.shape[1])
    S, T = (np.cov(X.T, ddof=0) + ridge for X in (Xs, Xt))
    root = sqrtm(S).real
    inverse = np.linalg.inv(root)
    return inverse @ sqrtm(root @ T @ root).real @ inverse, S, T


@pytest.mark.parametrize("reg", [1e-2, 1.0, 30.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_linear_formula(shape, reg):
    Xs, _, Xt = pair(*SHAPES[shape])
    A, S, T = monge_matrix(Xs, Xt, reg)
    result = ot_mapping(Xs, Xt, reg=reg)
    expected = (Xs - Xs.mean(axis=0)) @ A + Xt.mean(axis=0)
    np.testing.assert_allclose(result.X_source, expected, atol=1e-7)
    gap = Xs.mean(axis=0) - Xt.mean(axis=0)
    root = sqrtm(S).real
    distance = gap @ gap + np.trace(S + T - 2 * sqrtm(root @ T @ root).real)
    assert result.objective == pytest.approx(distance, rel=1e-7)
    np.testing.assert_allclose(A @ S @ A, T, atol=1e-6)
    assert result.coupling is None and result.residual == 0


@pytest.mark.parametrize("reg", [1e-3, 1.0])
def test_linear_is_that_of_pot(reg):
    Xs, _, Xt = pair(60, 50, 8)
    peer = ot.da.LinearTransport(reg=reg).fit(Xs=Xs, Xt=Xt)
    X, _, domain = stack(Xs, np.zeros(60), Xt)
    mapper = OTMapping(reg=reg).fit(X, sample_domain=domain)
    new = np.random.default_rng(5).normal(size=(20, 8))
    np.testing.assert_allclose(
        mapper.transform(new, 1), peer.transform(Xs=new), atol=1e-8
    )


def test_linear_without_ridge_has_the_moments_of_the_target():
    Xs, _, Xt = pair(60, 50, 8)
    mapped = ot_mapping(Xs, Xt, reg=0.0).X_source
    np.testing.assert_allclose(mapped.mean(axis=0), Xt.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(
        np.cov(mapped.T, ddof=0), np.cov(Xt.T, ddof=0), atol=1e-10
    )


def test_linear_between_gaussians_that_commute():
    """Diagonal covariances: each column is scaled by the ratio of its deviations."""
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.normal(size=(50, 4)) - 0)[0]
    Q -= Q.mean(axis=0)
    Q = np.linalg.svd(Q, full_matrices=False)[0] * np.sqrt(50)  # covariance I
    a, b = np.array([1.0, 2.0, 3.0, 4.0]), np.array([4.0, 1.0, 0.5, 2.0])
    result = ot_mapping(Q * a, Q * b + 7, reg=0.0)
    np.testing.assert_allclose(result.X_source, Q * b + 7, atol=1e-10)
    assert result.objective == pytest.approx(4 * 49 + ((a - b) ** 2).sum())


def test_linear_drops_what_the_source_does_not_have():
    Xs, _, Xt = pair(60, 50, 5)
    Xs[:, 4] = 3.0
    mapped = ot_mapping(Xs, Xt, reg=0.0).X_source
    A, *_ = monge_matrix(Xs[:, :4], Xt[:, :4], 0.0)
    np.testing.assert_allclose(mapped[:, 4], Xt[:, 4].mean(), atol=1e-10)
    assert np.isfinite(mapped).all() and np.abs(mapped).max() < 100
    assert np.abs(A).max() < 100


def test_linear_keeps_no_matrix_of_all_columns():
    Xs, _, Xt = pair(12, 9, 40)
    moments = DomainMoments.from_rows(Xs), DomainMoments.from_rows(Xt)
    fitted = GaussianMap.between(*moments, 1.0)
    assert fitted.basis.shape == (40, 19)
    assert fitted.matrix.shape == (19, 19)


# Couplings


def test_emd_is_the_linear_programme():
    Xs, _, Xt = pair(14, 11)
    costs = normalised_costs(Xs, Xt)
    n, m = costs.shape
    marginals = np.vstack(
        [np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))]
    )
    masses = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    expected = linprog(costs.ravel(), A_eq=marginals, b_eq=masses)
    result = ot_mapping(Xs, Xt, method="emd")
    assert result.objective == pytest.approx(expected.fun, rel=1e-10)
    np.testing.assert_allclose(result.coupling.sum(axis=1), 1 / n, atol=1e-14)
    np.testing.assert_allclose(result.coupling.sum(axis=0), 1 / m, atol=1e-14)
    np.testing.assert_allclose(result.X_source, n * result.coupling @ Xt, atol=1e-10)


@pytest.mark.parametrize("reg", [1.0, 0.1, 0.02, 1e-3])
def test_sinkhorn_is_its_dual(reg):
    """The largest value of the dual, a smooth concave function of g, by L-BFGS."""
    Xs, _, Xt = pair(25, 20)
    costs = normalised_costs(Xs, Xt)

    def negative(g):
        exponents = (g - costs) / reg
        shares = np.exp(exponents - logsumexp(exponents, axis=1, keepdims=True))
        value = g.mean() - reg * logsumexp(exponents, axis=1).mean()
        return -value, shares.mean(axis=0) - 1 / 20

    options = {"maxiter": 100_000, "maxfun": 100_000, "gtol": 1e-11, "ftol": 0}
    best = minimize(
        negative, np.zeros(20), jac=True, method="L-BFGS-B", options=options
    )
    result = ot_mapping(
        Xs, Xt, method="sinkhorn", reg=reg, tol=1e-11, max_iter=1_000_000
    )
    assert result.objective == pytest.approx(-best.fun - reg * np.log(25), rel=1e-8)
    G = result.coupling
    assert result.objective == pytest.approx(
        (G * costs).sum() + reg * xlogy(G, G).sum()
    )
    assert np.abs(G.sum(axis=0) - 1 / 20).sum() == pytest.approx(
        result.residual, abs=1e-13
    )
    np.testing.assert_allclose(result.X_source, 25 * G @ Xt, atol=1e-9)


@pytest.mark.parametrize("group_reg", [0.05, 1.0])
@pytest.mark.parametrize("unlabelled", [False, True])
def test_group_lasso_is_the_cone_programme(group_reg, unlabelled):
    Xs, ys, Xt = pair(12, 9)
    ys = ys.astype(float)
    if unlabelled:
        ys[:3] = np.nan
    costs, reg = normalised_costs(Xs, Xt), 0.05
    G = cp.Variable(costs.shape)
    groups = sum(
        cp.norm(G[np.flatnonzero(ys == c), j]) for c in range(3) for j in range(9)
    )
    entropy = -cp.sum(cp.entr(G))
    problem = cp.Problem(
        cp.Minimize(cp.sum(cp.multiply(costs, G)) + reg * entropy + group_reg * groups),
        [cp.sum(G, axis=1) == 1 / 12, cp.sum(G, axis=0) == 1 / 9],
    )
    problem.solve(solver="CLARABEL")
    result = ot_mapping(
        Xs,
        Xt,
        ys,
        method="sinkhorn_l1l2",
        reg=reg,
        group_reg=group_reg,
        tol=1e-10,
        max_iter=2000,
    )
    assert result.objective == pytest.approx(problem.value, rel=1e-6)
    np.testing.assert_allclose(result.coupling, G.value, atol=1e-4)
    assert result.residual <= 1e-10


def group_objective(G, costs, ys, reg, group_reg):
    norms = sum(np.sqrt((G[ys == c] ** 2).sum(axis=0)).sum() for c in np.unique(ys))
    return (G * costs).sum() + reg * xlogy(G, G).sum() + group_reg * norms


def test_group_lasso_reaches_what_pot_stops_short_of():
    """Its line search fails with a small weight, and the coupling stays Sinkhorn's."""
    Xs, ys, Xt = pair(60, 50, 40)
    costs = normalised_costs(Xs, Xt)
    peer = ot.da.SinkhornL1l2Transport(reg_e=0.02, reg_cl=0.1, norm="max", max_iter=200)
    peer.fit(Xs=Xs, ys=ys, Xt=Xt)
    theirs = group_objective(peer.coupling_, costs, ys, 0.02, 0.1)
    result = ot_mapping(Xs, Xt, ys, method="sinkhorn_l1l2")
    ours = group_objective(result.coupling, costs, ys, 0.02, 0.1)
    assert result.objective == pytest.approx(ours, rel=1e-10)
    # The gap is a bound on the excess: nobody can be lower by more.
    assert ours < theirs + result.residual


def test_residual_of_the_group_lasso_bounds_the_excess():
    Xs, ys, Xt = pair(30, 25)
    exact = ot_mapping(Xs, Xt, ys, method="sinkhorn_l1l2", tol=1e-10, max_iter=2000)
    for tol in (1e-2, 1e-4):
        rough = ot_mapping(Xs, Xt, ys, method="sinkhorn_l1l2", tol=tol)
        excess = rough.objective - exact.objective
        assert -1e-9 < excess < rough.residual + 1e-9
        assert rough.residual <= tol


@pytest.mark.parametrize("method", ["emd", "sinkhorn"])
def test_fitted_rows_are_those_of_pot(method):
    Xs, ys, Xt = pair(40, 30, 5)
    peer = {
        "emd": ot.da.EMDTransport(norm="max"),
        "sinkhorn": ot.da.SinkhornTransport(reg_e=0.05, norm="max", tol=1e-12),
    }[method]
    expected = peer.fit_transform(Xs=Xs, Xt=Xt)
    X, y, domain = stack(Xs, ys, Xt)
    mapper = OTMapping(method, reg=0.05, tol=1e-11)
    Z = mapper.fit_transform(X, y, sample_domain=domain)
    result = ot_mapping(Xs, Xt, method=method, reg=0.05, tol=1e-11)
    np.testing.assert_allclose(result.X_source, expected, atol=1e-8)
    order = np.random.default_rng(1).permutation(70)
    place = np.argsort(order)
    np.testing.assert_allclose(Z[place[:40]], expected, atol=1e-8)
    np.testing.assert_array_equal(Z[domain < 0], X[domain < 0])


def test_no_group_weight_is_sinkhorn():
    Xs, ys, Xt = pair()
    plain = ot_mapping(Xs, Xt, method="sinkhorn", tol=1e-12)
    grouped = ot_mapping(Xs, Xt, ys, method="sinkhorn_l1l2", group_reg=0.0, tol=1e-11)
    np.testing.assert_allclose(grouped.coupling, plain.coupling, atol=1e-10)
    np.testing.assert_allclose(grouped.X_source, plain.X_source, atol=1e-6)


def test_rows_of_a_class_go_together():
    """With more weight of the groups, classes come apart in the target."""
    Xs, _, Xt = pair(60, 50, 10)
    ys = np.digitize(Xs[:, 0], [-1, 1])
    within, shares = [], []
    for weight in (0.0, 0.1, 1.0):
        T, G, *_ = ot_mapping(Xs, Xt, ys, method="sinkhorn_l1l2", group_reg=weight)
        scatter = sum(
            ((T[ys == c] - T[ys == c].mean(axis=0)) ** 2).sum() for c in range(3)
        )
        within.append(scatter / ((T - T.mean(axis=0)) ** 2).sum())
        of_classes = np.array([G[ys == c].sum(axis=0) for c in range(3)])
        shares.append((of_classes.max(axis=0) / of_classes.sum(axis=0)).mean())
    assert within[0] > within[1] > 2 * within[2]
    assert shares[0] < shares[1] < shares[2]


# Limits


@pytest.mark.parametrize("method", ["sinkhorn", "sinkhorn_l1l2"])
def test_much_entropy_maps_all_rows_to_the_mean(method):
    Xs, ys, Xt = pair()
    mapped = ot_mapping(Xs, Xt, ys, method=method, reg=1e7).X_source
    np.testing.assert_allclose(mapped, np.tile(Xt.mean(axis=0), (40, 1)), atol=1e-5)


def test_emd_of_a_shuffled_copy_returns_the_copy():
    Xs, *_ = pair()
    shuffled = Xs[np.random.default_rng(3).permutation(40)]
    np.testing.assert_allclose(
        ot_mapping(Xs, shuffled, method="emd").X_source, Xs, atol=1e-12
    )


def test_little_entropy_is_a_permutation():
    Xs, _, Xt = pair(20, 20)
    plan = ot_mapping(Xs, Xt, method="emd").coupling
    assert np.count_nonzero(plan) == 20
    soft = ot_mapping(Xs, Xt, method="sinkhorn", reg=5e-5, max_iter=20_000, tol=1e-4)
    np.testing.assert_allclose(soft.coupling, plan, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_units_and_axes_do_not_matter(method):
    """Rows that are scaled, turned and moved together are mapped alike."""
    Xs, ys, Xt = pair()
    Q = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    reg = {"reg": 0.0} if method == "linear" else {}
    plain = ot_mapping(Xs, Xt, ys, method=method, **reg).X_source
    moved = [7.0 * X @ Q + 1000.0 for X in (Xs, Xt)]
    turned = ot_mapping(*moved, ys, method=method, **reg).X_source
    np.testing.assert_allclose(turned, 7.0 * plain @ Q + 1000.0, atol=1e-5)


# New rows


@pytest.mark.parametrize("method", METHODS)
def test_no_jump_on_the_way_from_row_to_row(method):
    """The image moves by as little as one likes if the row does.

    Between two rows as with the displacement of the nearest row, which jumps.
    """
    Xs, ys, Xt = pair(20, 20, 2)
    X, y, domain = stack(Xs, ys, Xt)
    mapper = OTMapping(method, reg=0.05).fit(X, y, sample_domain=domain)
    longest = []
    for n_steps in (4_000, 40_000):
        way = np.linspace(0, 1, n_steps)[:, np.newaxis]
        path = np.vstack([Xs[i] + way * (Xs[i + 1] - Xs[i]) for i in range(5)])
        image = mapper.transform(path, 1)
        longest.append(np.linalg.norm(np.diff(image, axis=0), axis=1).max())
    assert longest[1] < 0.2 * longest[0]


def test_the_usual_rule_jumps():
    """So the test above can fail: POT's rule does not pass it."""
    Xs, _, Xt = pair(20, 20, 2)
    peer = ot.da.EMDTransport(norm="max").fit(Xs=Xs, Xt=Xt)
    longest = []
    for n_steps in (4_000, 40_000):
        way = np.linspace(0, 1, n_steps)[:, np.newaxis]
        image = peer.transform(Xs=Xs[0] + way * (Xs[1] - Xs[0]) + 1e-9)
        longest.append(np.linalg.norm(np.diff(image, axis=0), axis=1).max())
    assert longest[1] > 0.9 * longest[0]


def test_new_rows_of_sinkhorn_are_those_of_pot():
    Xs, ys, Xt = pair(40, 30, 5)
    peer = ot.da.SinkhornTransport(
        reg_e=0.05, norm="max", tol=1e-12, out_of_sample_map="continuous"
    ).fit(Xs=Xs, Xt=Xt)
    X, _, domain = stack(Xs, ys, Xt)
    mapper = OTMapping("sinkhorn", reg=0.05, tol=1e-11).fit(X, sample_domain=domain)
    new = Xs[:20] + np.random.default_rng(5).normal(size=(20, 5))
    expected = peer.transform(Xs=new)
    np.testing.assert_allclose(mapper.transform(new, 1), expected, atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_rows_near_fitted_rows_follow_them(method):
    Xs, ys, Xt = pair()
    X, y, domain = stack(Xs, ys, Xt)
    mapper = OTMapping(method).fit(X, y, sample_domain=domain)
    at, beside = (mapper.transform(rows, 1) for rows in (Xs, Xs + 1e-9))
    np.testing.assert_allclose(beside, at, atol=1e-6)
    images = ot_mapping(Xs, Xt, ys, method=method)
    np.testing.assert_allclose(at, images.X_source, atol=1e-6)


@pytest.mark.parametrize("method", ["emd", "sinkhorn_l1l2"])
def test_fitted_rows_go_where_the_coupling_says(method):
    Xs, ys, Xt = pair()
    result = ot_mapping(Xs, Xt, ys, method=method)
    G = result.coupling
    expected = G @ Xt / G.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(result.X_source, expected, atol=1e-12)


@pytest.mark.parametrize("method", COUPLED)
def test_new_rows_are_mapped_as_well_as_fitted_ones(method):
    """The map between these laws is known: it scales the columns and moves them."""
    rng = np.random.default_rng(0)
    Xs = rng.normal(size=(400, 2))
    ys = (Xs[:, 0] > 0).astype(int)
    Xt = rng.normal(size=(300, 2)) * [2.0, 0.5] + 4
    X, y, domain = stack(Xs[:200], ys[:200], Xt)
    mapper = OTMapping(method, reg=0.003).fit(X, y, sample_domain=domain)
    errors = ((mapper.transform(Xs, 1) - Xs * [2.0, 0.5] - 4) ** 2).sum(axis=1)
    fitted, new = errors[:200].mean(), errors[200:].mean()
    assert new < 1.3 * fitted
    assert new < 0.5  # the rows themselves: 33


def test_transform_in_blocks_is_transform():
    from sklearn import config_context

    Xs, ys, Xt = pair(60, 50)
    X, y, domain = stack(Xs, ys, Xt)
    mapper = OTMapping("sinkhorn_l1l2").fit(X, y, sample_domain=domain)
    Z = mapper.transform(X, domain)
    with config_context(working_memory=0.01):
        np.testing.assert_allclose(mapper.transform(X, domain), Z, atol=1e-12)


# Labels, domains, types


@pytest.mark.parametrize("method", COUPLED)
def test_row_order(method):
    Xs, ys, Xt = pair()
    X, y, domain = stack(Xs, ys, Xt)
    order = np.random.default_rng(7).permutation(70)
    Z = OTMapping(method).fit_transform(X, y, sample_domain=domain)
    again = OTMapping(method).fit_transform(
        X[order], y[order], sample_domain=domain[order]
    )
    np.testing.assert_allclose(again, Z[order], atol=1e-6)


def test_target_labels_have_no_say():
    Xs, ys, Xt = pair()
    X, y, domain = stack(Xs, ys, Xt)
    Z = OTMapping("sinkhorn_l1l2").fit_transform(X, y, sample_domain=domain)
    scrambled = np.where(domain < 0, np.arange(70) % 5, y)
    again = OTMapping("sinkhorn_l1l2").fit_transform(X, scrambled, sample_domain=domain)
    np.testing.assert_array_equal(again, Z)
    names = np.where(
        domain < 0, None, np.array(["a", "b", "c"])[np.nan_to_num(y).astype(int)]
    )
    again = OTMapping("sinkhorn_l1l2").fit_transform(X, names, sample_domain=domain)
    np.testing.assert_array_equal(again, Z)


@pytest.mark.parametrize("method", ["linear", "emd", "sinkhorn"])
def test_labels_are_needed_by_the_group_lasso_only(method):
    Xs, ys, Xt = pair()
    X, y, domain = stack(Xs, ys, Xt)
    Z = OTMapping(method).fit_transform(X, y, sample_domain=domain)
    again = OTMapping(method).fit_transform(X, sample_domain=domain)
    np.testing.assert_array_equal(again, Z)


def test_refusals_about_labels():
    Xs, ys, Xt = pair()
    X, _, domain = stack(Xs, ys, Xt)
    mapper = OTMapping("sinkhorn_l1l2")
    with pytest.raises(ValueError, match="requires y to be passed"):
        mapper.fit(X, sample_domain=domain)
    with pytest.raises(ValueError, match="no labelled source row"):
        mapper.fit(X, np.full(70, np.nan), sample_domain=domain)
    with pytest.raises(ValueError, match="(?i)continuous|classes"):
        mapper.fit(X, np.where(domain > 0, X[:, 0], np.nan), sample_domain=domain)
    with pytest.raises(ValueError, match="ys is None"):
        ot_mapping(Xs, Xt, method="sinkhorn_l1l2")
    with pytest.raises(ValueError, match="inconsistent numbers"):
        ot_mapping(Xs, Xt, ys[:-1], method="sinkhorn_l1l2")


@pytest.mark.parametrize("method", METHODS)
def test_float32_stays(method):
    Xs, ys, Xt = pair()
    double = ot_mapping(Xs, Xt, ys, method=method).X_source
    single = ot_mapping(Xs.astype("f4"), Xt.astype("f4"), ys, method=method).X_source
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, atol=1e-3 * np.abs(double).max())


@pytest.mark.parametrize("method", COUPLED)
def test_rows_that_are_all_alike(method):
    ones = np.ones((6, 2))
    result = ot_mapping(ones, ones[:4], np.arange(6) % 2, method=method)
    np.testing.assert_allclose(result.X_source, ones, atol=1e-12)
    single = ot_mapping(ones[:1], 3 * ones[:1], [0], method=method)
    np.testing.assert_allclose(single.X_source, 3 * ones[:1], atol=1e-12)


@pytest.mark.parametrize("method", COUPLED)
def test_repeated_rows_share_their_image(method):
    Xs, ys, Xt = pair(20, 30)
    Xs, ys = np.vstack([Xs, Xs[:5]]), np.concatenate([ys, ys[:5]])
    X, y, domain = stack(Xs, ys, Xt)
    mapper = OTMapping(method).fit(X, y, sample_domain=domain)
    image = mapper.transform(Xs, 1)
    assert np.isfinite(image).all()
    np.testing.assert_allclose(image[20:], image[:5], atol=1e-9)


# Refusals and warnings


@pytest.mark.parametrize("method", COUPLED)
def test_without_pot_there_is_a_sentence(method, monkeypatch):
    Xs, ys, Xt = pair()
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(ImportError, match=r"pip install skadapt\[ot\]") as error:
        ot_mapping(Xs, Xt, ys, method=method)
    assert "\n" not in str(error.value)


def test_linear_needs_no_pot(monkeypatch):
    real = builtins.__import__

    def without_ot(name, *arguments, **options):
        assert name.partition(".")[0] != "ot"
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_ot)
    Xs, _, Xt = pair()
    assert ot_mapping(Xs, Xt).X_source.shape == (40, 3)


@pytest.mark.parametrize(
    ("method", "max_iter"), [("emd", 1), ("sinkhorn", 2), ("sinkhorn_l1l2", 1)]
)
def test_warning_where_it_did_not_converge(method, max_iter):
    Xs, ys, Xt = pair()
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        result = ot_mapping(
            Xs, Xt, ys, method=method, reg=0.005, max_iter=max_iter, tol=1e-10
        )
    assert np.isfinite(result.X_source).all()


@pytest.mark.parametrize("method", COUPLED)
def test_no_entropy_is_refused(method):
    Xs, ys, Xt = pair()
    with pytest.raises(ValueError, match="reg=0"):
        ot_mapping(Xs, Xt, ys, method=method, reg=0)


@pytest.mark.parametrize(
    "parameters",
    [
        {"method": "nearest"},
        {"reg": -1.0},
        {"group_reg": -0.1},
        {"tol": 0.0},
        {"max_iter": 0},
    ],
)
def test_bad_parameters_are_named(parameters):
    Xs, _, Xt = pair()
    X, _, domain = stack(Xs, np.zeros(40), Xt)
    with pytest.raises(ValueError, match=next(iter(parameters))):
        ot_mapping(Xs, Xt, **parameters)
    with pytest.raises(ValueError, match=next(iter(parameters))):
        OTMapping(**parameters).fit(X, sample_domain=domain)


# What it is for


@pytest.mark.parametrize("method", METHODS)
def test_no_loss_where_domains_agree(method):
    losses = []
    for seed in range(10):
        X, truth = make_classification(
            300, 6, n_informative=4, n_redundant=0, n_classes=3, random_state=seed
        )
        domain = np.repeat([1, -1], 150)
        y = np.where(domain > 0, truth, np.nan)
        scores = [
            TransferClassifier(LogisticRegression(), adapter)
            .fit(X, y, sample_domain=domain)
            .score(X[150:], truth[150:])
            for adapter in (None, OTMapping(method))
        ]
        losses.append(scores[0] - scores[1])
    assert np.mean(losses) < 0.03


@pytest.mark.parametrize("method", METHODS)
def test_it_undoes_a_linear_change(method):
    """A symmetric positive definite matrix and a shift: the optimal map itself."""
    rng = np.random.default_rng(0)
    ys, yt = rng.integers(0, 2, 200), rng.integers(0, 2, 200)
    Xs = rng.normal(size=(200, 2)) + 3 * np.column_stack([ys, ys])
    Xt = rng.normal(size=(200, 2)) + 3 * np.column_stack([yt, yt])
    Xt = Xt @ [[1.5, 0.7], [0.7, 1.0]] + 10
    X, y, domain = np.vstack([Xs, Xt]), np.append(ys, yt), np.repeat([1, -1], 200)
    reg = 0.0 if method == "linear" else None
    floor, moved = (
        TransferClassifier(LogisticRegression(), adapter)
        .fit(X, y, sample_domain=domain)
        .score(Xt, yt)
        for adapter in (None, OTMapping(method, reg=reg))
    )
    assert floor < 0.6
    assert moved > 0.9
