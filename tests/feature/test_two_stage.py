"""Two-stage features against their objective as it is printed, solved by SciPy.

Referees: the objective over v, u and b with loops over domains and rows of weights for
every class, minimised by BFGS; scikit-learn's LogisticRegression on rows that are
copied into a shared and a domain's own block of columns; and limits in which the
problem is an ordinary logistic regression.
"""

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skadapt import (
    NoAdaptationWarning,
    TransferClassifier,
    TwoStageFeatureClassifier,
    TwoStageFeatureSelector,
)
from skadapt.solvers._shared_logistic import DomainRows, solve_shared_logistic

both_heuristics = pytest.mark.parametrize("heuristic", ["domain-cv", "joint"])
both_estimators = pytest.mark.parametrize(
    "estimator", [TwoStageFeatureSelector(), TwoStageFeatureClassifier()], ids=repr
)
class_numbers = pytest.mark.parametrize("n_classes", [2, 3])
containers = pytest.mark.parametrize(
    "container", [np.asarray, sparse.csr_matrix, sparse.csr_array]
)


# ---------------------------------------------------------------------------
# Problems
# ---------------------------------------------------------------------------


def small_problem(n_classes, seed=0, sizes=(40, 25, 30), n_target=35, d=6):
    """Non-negative columns with zeros, domains of several sizes, interleaved."""
    rng = np.random.default_rng(seed)
    ids = np.repeat([4, 2, 9, -1], [*sizes, n_target])
    ids = rng.permutation(ids)
    X = np.maximum(rng.normal(loc=0.7, size=(len(ids), d)), 0)
    concept = rng.normal(size=(d, n_classes))
    y = np.empty(len(ids), dtype=int)
    for k in np.unique(ids):
        own = concept + 0.7 * rng.normal(size=(d, n_classes))
        noise = rng.gumbel(size=(np.sum(ids == k), n_classes))
        y[ids == k] = (X[ids == k] @ own + noise).argmax(axis=1)
    return X, y, ids


def general_and_specific(seed, n=300, m=600, prior=0.5):
    """Columns 0 to 29 speak for the class everywhere, 30 others in each domain.

    Those of a source are slightly reversed in the target.
    """
    rng = np.random.default_rng(seed)
    X, y, ids = [], [], []
    for k, size in enumerate([n, n, n, m]):
        labels = (rng.random(size) < (prior if k == 3 else 0.5)).astype(int)
        P = np.full((2, 150), 0.2)
        P[:, :30] = [[0.2], [0.45]]
        if k == 3:
            P[:, 30:] = [[0.24], [0.16]]
        P[:, 30 * (k + 1) : 30 * (k + 2)] = [[0.15], [0.55]]
        X.append((rng.random((size, 150)) < P[labels]).astype(float))
        y.append(labels)
        ids.append(np.full(size, k + 1 if k < 3 else -1))
    return np.concatenate(X), np.concatenate(y), np.concatenate(ids)


def hide(y, ids):
    return np.where(ids < 0, np.nan, y)


# ---------------------------------------------------------------------------
# Referees
# ---------------------------------------------------------------------------


def printed_objective(V, U, b, columns, domains, reg, regs):
    """The first problem of the docstring; domains are (X, codes, weights)."""
    A = np.zeros((len(columns), U[0].shape[0]))
    A[np.arange(len(columns)), columns] = 1
    value = reg * (V**2).sum() + sum(r * (u**2).sum() for r, u in zip(regs, U))
    for (X, codes, weights), u in zip(domains, U):
        for x, code, weight in zip(X, codes, weights):
            scores = x @ (A.T @ V + u) + b
            value -= weight * (scores[code] - logsumexp(scores))
    return value


def minimise(columns, domains, reg, regs, n_classes):
    """V, the U_k, b (with sum 0) and the least value of the printed objective."""
    d, h, K = domains[0][0].shape[1], len(columns), len(domains)

    def parts(theta):
        W = theta.reshape(h + K * d + 1, n_classes)
        return W[:h], W[h:-1].reshape(K, d, n_classes), W[-1]

    def loss(theta):
        V, U, b = parts(theta)
        gradient = np.zeros((h + K * d + 1, n_classes))
        gV, gU, gb = parts(gradient.ravel())
        gV += 2 * reg * V
        value = reg * (V**2).sum()
        for k, (X, codes, weights) in enumerate(domains):
            value += regs[k] * (U[k] ** 2).sum()
            gU[k] += 2 * regs[k] * U[k]
            scores = X[:, columns] @ V + X @ U[k] + b
            normaliser = logsumexp(scores, axis=1)
            value -= weights @ (scores[np.arange(len(X)), codes] - normaliser)
            error = np.exp(scores - normaliser[:, None]) - np.eye(n_classes)[codes]
            error *= weights[:, None]
            gV += X[:, columns].T @ error
            gU[k] += X.T @ error
            gb += error.sum(axis=0)
        return value, gradient.ravel()

    start = np.zeros((h + K * d + 1) * n_classes)
    found = minimize(
        loss, start, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 5000}
    )
    V, U, b = parts(found.x)
    value = printed_objective(V, U, b, columns, domains, reg, regs)
    assert value == pytest.approx(found.fun, rel=1e-12)
    return V, U, b - b.mean(), value


def source_domains(X, y, ids, mass=1.0):
    """Rows of each source, its rows of the same weight, all sources of the same."""
    sources = np.unique(ids[ids > 0])
    return [
        (
            X[ids == k],
            y[ids == k],
            np.full(np.sum(ids == k), mass / len(sources) / np.sum(ids == k)),
        )
        for k in sources
    ]


def contrast(W):
    """(..., d, c) in the form of `coef_`."""
    W = np.moveaxis(W, -1, -2)
    return W[..., 1:, :] - W[..., :1, :] if W.shape[-2] == 2 else W


def offset(b):
    return b[1:] - b[:1] if len(b) == 2 else b


def spread(V, columns, d):
    W = np.zeros((d, V.shape[1]))
    W[columns] = V
    return W


def logistic(X, y, reg, sample_weight):
    """scikit-learn's weights (d, c), for the penalty reg on weights of each class."""
    assert sample_weight.sum() == pytest.approx(1)
    C = 1 / reg if len(np.unique(y)) == 2 else 1 / (2 * reg)
    model = LogisticRegression(C=C, solver="newton-cg", tol=1e-12, max_iter=1000)
    coef = model.fit(X, y, sample_weight=sample_weight).coef_
    return np.vstack([-coef / 2, coef / 2]).T if len(coef) == 1 else coef.T


# ---------------------------------------------------------------------------
# The first stage
# ---------------------------------------------------------------------------


@containers
@class_numbers
def test_first_stage_solves_the_printed_problem(n_classes, container):
    X, y, ids = small_problem(n_classes)
    reg, ratio = 0.02, 3.0
    model = TwoStageFeatureClassifier(
        3, reg=reg, source_penalty=ratio, n_rounds=0, tol=1e-10
    ).fit(container(X), hide(y, ids), sample_domain=ids)
    columns = np.flatnonzero(model.support_)
    assert len(columns) == 3
    domains = source_domains(X, y, ids)
    V, U, b, value = minimise(columns, domains, reg, [ratio * reg] * 3, n_classes)
    V = spread(V, columns, X.shape[1])

    assert model.objective_ == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(model.shared_coef_, contrast(V), atol=1e-6)
    np.testing.assert_allclose(model.source_coef_, contrast(V + U), atol=1e-6)
    np.testing.assert_allclose(model.source_intercept_, offset(b), atol=1e-6)
    kept = [domain[0].mean(axis=0) @ u for domain, u in zip(domains, U)]
    np.testing.assert_allclose(
        model.shared_intercept_, offset(b + np.mean(kept, axis=0)), atol=1e-6
    )
    # The target's model is the shared part.
    np.testing.assert_array_equal(model.coef_, model.shared_coef_)
    np.testing.assert_array_equal(model.intercept_, model.shared_intercept_)
    assert model.sources_.tolist() == [2, 4, 9]
    assert model.label_changes_.shape == (0,)
    assert model.residual_ <= 1e-10


@class_numbers
def test_objective_in_columns_of_one_block_for_each_domain(n_classes):
    """One penalty on rows ``[sqrt(lambda_s / lambda_v) x_A, 0, x, 0]``."""
    X, y, ids = small_problem(n_classes, seed=1)
    reg, ratio = 0.01, 4.0
    model = TwoStageFeatureClassifier(
        0.5, reg=reg, source_penalty=ratio, n_rounds=0, tol=1e-10
    ).fit(X, y, sample_domain=ids)
    columns, d = np.flatnonzero(model.support_), X.shape[1]
    rows, labels, weights = [], [], []
    for k, (Xk, yk, wk) in enumerate(source_domains(X, y, ids)):
        blocks = np.zeros((len(Xk), 3 * d))
        blocks[:, k * d : (k + 1) * d] = Xk
        rows.append(np.hstack([np.sqrt(ratio) * Xk[:, columns], blocks]))
        labels.append(yk)
        weights.append(wk)
    W = logistic(
        np.vstack(rows), np.concatenate(labels), ratio * reg, np.concatenate(weights)
    )
    V = spread(np.sqrt(ratio) * W[:3], columns, d)
    np.testing.assert_allclose(model.shared_coef_, contrast(V), atol=1e-6)
    U = W[3:].reshape(3, d, n_classes)
    np.testing.assert_allclose(model.source_coef_, contrast(V + U), atol=1e-6)


def test_sources_with_nothing_of_their_own_are_pooled():
    X, y, ids = small_problem(3)
    model = TwoStageFeatureClassifier(
        4, source_penalty=1e10, n_rounds=0, tol=1e-10
    ).fit(X, y, sample_domain=ids)
    columns, parts = np.flatnonzero(model.support_), source_domains(X, y, ids)
    W = logistic(
        np.vstack([X[:, columns] for X, _, _ in parts]),
        np.concatenate([y for _, y, _ in parts]),
        model.reg,
        np.concatenate([w for _, _, w in parts]),
    )
    expected = contrast(spread(W, columns, X.shape[1]))
    np.testing.assert_allclose(model.coef_, expected, atol=1e-6)
    for own in model.source_coef_:
        np.testing.assert_allclose(own, expected, atol=1e-6)


def test_without_domains_it_is_logistic_regression():
    X, y, _ = small_problem(2)
    with pytest.warns(NoAdaptationWarning):
        model = TwoStageFeatureClassifier(reg=0.03, tol=1e-10).fit(X, y)
    C = 1 / (0.03 * len(X))
    plain = LogisticRegression(C=C, solver="newton-cg", tol=1e-12).fit(X, y)
    np.testing.assert_allclose(model.coef_, plain.coef_, atol=1e-6)
    np.testing.assert_allclose(model.intercept_, plain.intercept_, atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(X), plain.predict_proba(X))
    assert model.support_.all()


# ---------------------------------------------------------------------------
# Scores of the columns
# ---------------------------------------------------------------------------


@containers
@class_numbers
def test_domain_cv_scores(n_classes, container):
    X, y, ids = small_problem(n_classes)
    selector = TwoStageFeatureSelector(3, reg=0.02, tol=1e-10)
    selector.fit(container(X), hide(y, ids), sample_domain=ids)
    expected = np.zeros(X.shape[1])
    for k in (2, 4, 9):
        alone, others = ids == k, (ids > 0) & (ids != k)
        counts = {j: np.sum(ids == j) for j in (2, 4, 9)}
        weights = np.array([0.5 / counts[j] for j in ids[others]])
        w = logistic(X[alone], y[alone], 0.02, np.full(counts[k], 1 / counts[k]))
        expected += (w * logistic(X[others], y[others], 0.02, weights)).sum(axis=1)
    assert selector.heuristic_ == "domain-cv"
    np.testing.assert_allclose(selector.scores_, expected, atol=1e-6)
    kept = np.sort(np.argsort(-expected)[:3])
    np.testing.assert_array_equal(selector.get_support(indices=True), kept)
    mapped = selector.transform(container(X))
    assert sparse.issparse(mapped) == sparse.issparse(container(X))
    dense = mapped.toarray() if sparse.issparse(mapped) else mapped
    np.testing.assert_array_equal(dense, X[:, kept])


@class_numbers
def test_joint_scores(n_classes):
    X, y, ids = small_problem(n_classes)
    selector = TwoStageFeatureSelector(
        2, "joint", reg=0.02, source_penalty=2.0, tol=1e-10
    ).fit(X, hide(y, ids), sample_domain=ids)
    domains = source_domains(X, y, ids)
    V, *_ = minimise(np.arange(X.shape[1]), domains, 0.02, [0.04] * 3, n_classes)
    np.testing.assert_allclose(selector.scores_, (V**2).sum(axis=1), atol=1e-6)


@both_heuristics
def test_selector_and_classifier_agree(heuristic):
    X, y, ids = small_problem(3)
    selector = TwoStageFeatureSelector(4, heuristic).fit(X, y, sample_domain=ids)
    model = TwoStageFeatureClassifier(4, heuristic).fit(X, y, sample_domain=ids)
    np.testing.assert_array_equal(model.scores_, selector.scores_)
    np.testing.assert_array_equal(model.support_, selector.get_support())
    assert model.heuristic_ == selector.heuristic_ == heuristic


def test_single_source_is_ranked_by_its_weights():
    X, y, ids = small_problem(3)
    keep = np.isin(ids, (2, -1))
    X, y, ids = X[keep], y[keep], ids[keep]
    model = TwoStageFeatureSelector(3, tol=1e-10).fit(X, y, sample_domain=ids)
    assert model.heuristic_ == "joint"
    source = ids > 0
    # With lambda on v and on u the optimum has v = u = w / 2, and lambda / 2 on w.
    w = logistic(X[source], y[source], 0.005, np.full(source.sum(), 1 / source.sum()))
    np.testing.assert_allclose(model.scores_, (w**2).sum(axis=1) / 4, atol=1e-6)
    with pytest.warns(NoAdaptationWarning):
        alone = TwoStageFeatureSelector(3, tol=1e-10).fit(X[source], y[source])
    np.testing.assert_allclose(alone.scores_, model.scores_, atol=1e-7)


@both_heuristics
def test_equal_columns_are_a_tie_that_the_first_wins(heuristic):
    X, y, ids = small_problem(2)
    scores = TwoStageFeatureSelector(1, heuristic).fit(X, y, sample_domain=ids).scores_
    best = X[:, [np.argmax(scores)]]
    doubled = np.hstack([X[:, :1] * 0, best, best])
    for order in (slice(None), np.random.default_rng(0).permutation(len(X))):
        selector = TwoStageFeatureSelector(1, heuristic)
        selector.fit(doubled[order], y[order], sample_domain=ids[order])
        assert selector.get_support().tolist() == [False, True, False]


# ---------------------------------------------------------------------------
# The second stage
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("class_shares", [None, (0.3, 0.7), (0.2, 0.5, 0.3)])
@pytest.mark.parametrize("final_share", [0.35, 1.0])
def test_rounds(class_shares, final_share):
    """Every round restated: who joins with which label, and the problem solved."""
    n_classes = 3 if class_shares is None else len(class_shares)
    X, y, ids = small_problem(n_classes, seed=3)
    parameters = {"reg": 0.02, "source_penalty": 2.0, "target_penalty": 0.2}
    first = TwoStageFeatureClassifier(4, n_rounds=0, tol=1e-10, **parameters)
    first.fit(X, y, sample_domain=ids)
    columns, Xt = np.flatnonzero(first.support_), X[ids < 0]
    m, d = Xt.shape
    scores = first.decision_function(Xt)
    if n_classes == 2:
        scores = np.column_stack([-scores / 2, scores / 2])
    changes = []
    for t in (1, 2):
        share = final_share * t / 2
        predicted = scores.argmax(axis=1)
        claims = {}
        for c in range(n_classes):
            others = [k for k in range(n_classes) if k != c]
            lead = scores[:, c] - scores[:, others].max(axis=1)
            expected = np.mean(predicted == c)
            if class_shares is not None:
                expected = class_shares[c]
            for i in np.argsort(-lead)[: int(np.ceil(round(share * m * expected, 6)))]:
                claims.setdefault(i, []).append((lead[i], c))
        rows = sorted(claims)
        codes = np.array([max(claims[i])[1] for i in rows])
        if class_shares is None:
            np.testing.assert_array_equal(codes, predicted[rows])
        target = (Xt[rows], codes, np.full(len(rows), 1 / 4 / len(rows)))
        domains = [*source_domains(X, y, ids, mass=3 / 4), target]
        regs = [0.04, 0.04, 0.04, 0.004]
        V, U, b, value = minimise(columns, domains, 0.02, regs, n_classes)
        W = spread(V, columns, d) + U[3]
        scores = Xt @ W + b
        changes.append(np.mean(scores.argmax(axis=1) != predicted))
    model = TwoStageFeatureClassifier(
        4,
        n_rounds=2,
        final_share=final_share,
        class_shares=class_shares,
        tol=1e-10,
        **parameters,
    ).fit(X, hide(y, ids), sample_domain=ids)
    assert model.objective_ == pytest.approx(value, rel=1e-10)
    np.testing.assert_allclose(model.coef_, contrast(W), atol=1e-5)
    np.testing.assert_allclose(model.intercept_, offset(b), atol=1e-5)
    np.testing.assert_allclose(
        model.source_coef_, contrast(W - U[3] + U[:3]), atol=1e-5
    )
    np.testing.assert_array_equal(model.label_changes_, changes)


def test_all_columns_and_one_penalty_are_feature_augmentation():
    """K + 1 domains alike, the last with the labels of the first stage."""
    X, y, ids = small_problem(2, seed=2)
    first = TwoStageFeatureClassifier(1.0, n_rounds=0, tol=1e-10)
    first.fit(X, y, sample_domain=ids)
    labels = np.where(ids < 0, first.predict(X), y)
    d, weights = X.shape[1], np.empty(len(X))
    rows = np.zeros((len(X), 5 * d))
    rows[:, :d] = X
    for k, domain in enumerate(np.unique(ids), start=1):
        rows[ids == domain, k * d : (k + 1) * d] = X[ids == domain]
        weights[ids == domain] = 1 / 4 / np.sum(ids == domain)
    W = logistic(rows, labels, 0.01, weights)
    model = TwoStageFeatureClassifier(1.0, n_rounds=1, target_penalty=1.0, tol=1e-10)
    model.fit(X, y, sample_domain=ids)
    np.testing.assert_allclose(model.coef_, contrast(W[:d] + W[d : 2 * d]), atol=1e-6)


def test_wrong_class_shares_force_wrong_labels_and_none_do_not():
    """A fifth of the target is of the second class, and nobody says so."""
    X, y, ids = general_and_specific(0, prior=0.2)
    target = ids < 0
    scores = [
        TwoStageFeatureClassifier(30, class_shares=shares)
        .fit(X, y, sample_domain=ids)
        .score(X[target], y[target])
        for shares in (None, (0.8, 0.2), (0.5, 0.5))
    ]
    assert scores[0] > 0.95
    assert scores[1] > 0.95
    assert scores[2] < 0.85


# ---------------------------------------------------------------------------
# What it is for, and the two traps
# ---------------------------------------------------------------------------


def test_general_columns_are_found_and_used():
    results = []
    for seed in range(3):
        X, y, ids = general_and_specific(seed)
        target = ids < 0
        Xt, yt = X[target], y[target]
        pooled = LogisticRegression(C=0.1).fit(X[~target], y[~target])
        first = TwoStageFeatureClassifier(30, n_rounds=0)
        second = TwoStageFeatureClassifier(30)
        for model in (first, second):
            model.fit(X, hide(y, ids), sample_domain=ids)
        as_fitted = (Xt @ first.coef_.T + first.source_intercept_)[:, 0] > 0
        results.append(
            [
                pooled.score(Xt, yt),
                first.support_[:30].mean(),
                first.score(Xt, yt),
                second.score(Xt, yt),
                np.mean(as_fitted == yt),
            ]
        )
        # The columns that the sources have to themselves are what contradicts.
        assert first.scores_[30:120].mean() < 0.1 * first.scores_[:30].mean()
    pooled, found, first, second, as_fitted = np.mean(results, axis=0)
    assert pooled <= 0.70
    assert found >= 0.85
    assert first >= 0.88
    assert second >= 0.96
    # Without the mean of what is dropped, every row is of the same class.
    assert as_fitted < 0.6


def test_no_column_carries_the_intercept():
    """Swapping 0 and 1 turns signs, so that scores stay, if intercepts are free.

    A penalised intercept gives all columns that are mostly 1 a weight of its sign.
    """
    X, y, ids = general_and_specific(0, m=100)
    swapped = X.copy()
    swapped[:, ::2] = 1 - swapped[:, ::2]
    scores, swapped_scores = (
        TwoStageFeatureSelector(tol=1e-10).fit(Z, y, sample_domain=ids).scores_
        for Z in (X, swapped)
    )
    np.testing.assert_allclose(swapped_scores, scores, atol=1e-7 * scores.max())


@both_heuristics
def test_constant_columns_are_no_columns(heuristic):
    """A column of ones could only take the place of the intercept."""
    X, y, ids = general_and_specific(0, n=100, m=50)
    y[ids == 1] = np.random.default_rng(0).random(100) < 0.8  # a biased source
    with_ones = np.hstack([X, np.ones((len(X), 1)), np.zeros((len(X), 1))])
    selector = TwoStageFeatureSelector(30, heuristic)
    scores = selector.fit(with_ones, y, sample_domain=ids).scores_
    if heuristic == "domain-cv":
        assert abs(scores[150]) < 1e-12
    assert scores[150] < scores[:30].mean() / 100
    assert scores[151] == 0


def test_target_probabilities_do_not_lean_to_one_class():
    """The correction puts the mean score of the sources where it was."""
    X, y, ids = general_and_specific(1)
    model = TwoStageFeatureClassifier(30, n_rounds=0).fit(X, y, sample_domain=ids)
    shared = [
        (X[ids == k] @ model.shared_coef_.T + model.shared_intercept_).mean()
        for k in (1, 2, 3)
    ]
    own = [model.decision_function(X[ids == k], k).mean() for k in (1, 2, 3)]
    assert np.mean(shared) == pytest.approx(np.mean(own), abs=1e-12)


# ---------------------------------------------------------------------------
# Domains, rows and columns
# ---------------------------------------------------------------------------


@both_heuristics
def test_order_of_rows_columns_and_domains(heuristic):
    X, y, ids = small_problem(3)
    rng = np.random.default_rng(5)
    rows, columns = rng.permutation(len(X)), rng.permutation(X.shape[1])
    names = {2: 3, 4: 1, 9: 2, -1: -7}
    renamed = np.array([names[i] for i in ids])
    plain = TwoStageFeatureClassifier(3, heuristic, tol=1e-10)
    plain.fit(X, y, sample_domain=ids)
    moved = TwoStageFeatureClassifier(3, heuristic, tol=1e-10)
    moved.fit(X[rows][:, columns], y[rows], sample_domain=renamed[rows])
    np.testing.assert_array_equal(moved.support_, plain.support_[columns])
    np.testing.assert_allclose(moved.coef_, plain.coef_[:, columns], atol=1e-7)
    np.testing.assert_allclose(moved.scores_, plain.scores_[columns], atol=1e-7)
    first = np.flatnonzero(plain.sources_ == 9)[0]
    second = np.flatnonzero(moved.sources_ == 2)[0]
    np.testing.assert_allclose(
        moved.source_coef_[second], plain.source_coef_[first][:, columns], atol=1e-7
    )


@both_estimators
@pytest.mark.parametrize("form", [float, object])
def test_target_labels_do_not_move_a_bit(estimator, form):
    X, y, ids = small_problem(3)
    names = ("scores_", "coef_", "intercept_", "label_changes_", "source_coef_")
    seen = []
    for labels in (y, np.roll(y, 7), np.full(len(y), 8)):
        given = np.where(ids < 0, labels, y).astype(form)
        model = type(estimator)().fit(X, given, sample_domain=ids)
        seen.append([getattr(model, n).tobytes() for n in names if hasattr(model, n)])
    assert seen[0] == seen[1] == seen[2]


def test_size_of_a_source_is_nothing():
    """Every source weighs the same: its rows three times over change nothing."""
    X, y, ids = small_problem(2)
    again = np.concatenate([np.arange(len(X)), *[np.flatnonzero(ids == 4)] * 2])
    weights = np.where(ids == 4, 5.0, 1.0)
    plain = TwoStageFeatureClassifier(tol=1e-10).fit(X, y, sample_domain=ids)
    copies = TwoStageFeatureClassifier(tol=1e-10)
    copies.fit(X[again], y[again], sample_domain=ids[again])
    weighted = TwoStageFeatureClassifier(tol=1e-10)
    weighted.fit(X, y, weights, sample_domain=ids)
    for model in (copies, weighted):
        np.testing.assert_allclose(model.coef_, plain.coef_, atol=1e-7)


def test_sample_weight_counts_rows_within_a_source():
    X, y, ids = small_problem(3)
    weights = np.random.default_rng(0).integers(0, 4, len(X))
    again = np.repeat(np.arange(len(X)), np.where(ids > 0, weights, 1))
    weighted = TwoStageFeatureClassifier(tol=1e-10)
    weighted.fit(X, y, weights, sample_domain=ids)
    copies = TwoStageFeatureClassifier(tol=1e-10)
    copies.fit(X[again], y[again], sample_domain=ids[again])
    np.testing.assert_allclose(weighted.coef_, copies.coef_, atol=1e-7)


@both_heuristics
def test_unlabelled_source_rows_are_left_out(heuristic):
    X, y, ids = small_problem(3)
    given = hide(y, ids)
    given[np.flatnonzero(ids > 0)[::3]] = np.nan
    given[ids == 9] = np.nan  # this source has no labels at all
    model = TwoStageFeatureClassifier(heuristic=heuristic)
    model.fit(X, given, sample_domain=ids)
    kept = ~np.isnan(given) | (ids < 0)
    expected = TwoStageFeatureClassifier(heuristic=heuristic)
    expected.fit(X[kept], given[kept], sample_domain=ids[kept])
    assert model.sources_.tolist() == [2, 4]
    np.testing.assert_array_equal(model.coef_, expected.coef_)


@both_heuristics
def test_source_that_lacks_a_class(heuristic):
    """Its own model has no weights for that class: the limit of low intercepts."""
    X, y, ids = small_problem(3)
    given = hide(y, ids)
    given[(ids == 9) & (y == 2)] = np.nan
    given[(ids == 4) & (y > 0)] = np.nan  # and one that has a single class
    model = TwoStageFeatureClassifier(heuristic=heuristic, tol=1e-10)
    model.fit(X, given, sample_domain=ids)
    assert model.classes_.tolist() == [0, 1, 2]
    assert np.isfinite(model.predict_proba(X, ids)).all()
    if heuristic == "joint":
        return
    expected, labeled = np.zeros(X.shape[1]), ~np.isnan(given)
    for k, others in ((2, (4, 9)), (9, (2, 4))):  # source 4 alone has weights of 0
        alone, rest = labeled & (ids == k), labeled & np.isin(ids, others)
        weights = sum((ids == j) / (2 * np.sum(labeled & (ids == j))) for j in others)
        w = logistic(X[alone], y[alone], 0.01, np.full(alone.sum(), 1 / alone.sum()))
        v = logistic(X[rest], y[rest], 0.01, weights[rest])
        both = min(w.shape[1], v.shape[1])  # the last class may be absent
        expected += (w[:, :both] * v[:, :both]).sum(axis=1)
    np.testing.assert_allclose(model.scores_, expected, atol=1e-6)


def test_rows_of_a_source_are_scored_by_its_own_weights():
    X, y, ids = small_problem(3)
    model = TwoStageFeatureClassifier().fit(X, y, sample_domain=ids)
    for k, coef in zip(model.sources_, model.source_coef_):
        expected = X @ coef.T + model.source_intercept_
        np.testing.assert_allclose(model.decision_function(X, k), expected)
    stranger = X @ model.shared_coef_.T + model.shared_intercept_
    np.testing.assert_allclose(model.decision_function(X, 77), stranger)
    target = X @ model.coef_.T + model.intercept_
    np.testing.assert_allclose(model.decision_function(X), target)
    np.testing.assert_allclose(model.decision_function(X, -5), target)
    mixed = model.decision_function(X, np.where(ids == 4, 4, -1))
    own = model.decision_function(X, 4)
    np.testing.assert_allclose(mixed, np.where(ids[:, None] == 4, own, target))


def test_several_targets_are_one():
    X, y, ids = small_problem(3)
    split = np.where((ids < 0) & (np.arange(len(ids)) % 2 == 0), -2, ids)
    one = TwoStageFeatureClassifier().fit(X, y, sample_domain=ids)
    two = TwoStageFeatureClassifier().fit(X, y, sample_domain=split)
    np.testing.assert_array_equal(two.coef_, one.coef_)


def test_one_class():
    X, y, ids = small_problem(2)
    model = TwoStageFeatureClassifier().fit(X, y * 0 + 5, sample_domain=ids)
    assert set(model.predict(X)) == {5}
    np.testing.assert_array_equal(model.predict_proba(X), np.ones((len(X), 1)))
    np.testing.assert_array_equal(model.scores_, np.zeros(X.shape[1]))


# ---------------------------------------------------------------------------
# Arrays, company
# ---------------------------------------------------------------------------


@both_estimators
def test_csr_is_never_made_dense(estimator, monkeypatch):
    X, y, ids = general_and_specific(0, n=60, m=60)
    rows = sparse.csr_array(X)

    def refuse(*args, **kwargs):
        raise AssertionError("made dense")

    for form in (sparse.csr_array, sparse.csc_array, sparse.coo_array):
        monkeypatch.setattr(form, "toarray", refuse)
        monkeypatch.setattr(form, "todense", refuse)
    model = type(estimator)().fit(rows, y, sample_domain=ids)
    dense = type(estimator)().fit(X, y, sample_domain=ids)
    np.testing.assert_allclose(model.scores_, dense.scores_, atol=1e-9)
    if hasattr(model, "transform"):
        assert model.transform(rows).format == "csr"
    else:
        np.testing.assert_allclose(model.predict_proba(rows), dense.predict_proba(X))


@both_estimators
def test_float32_is_summed_in_float64(estimator):
    X, y, ids = small_problem(3)
    single = X.astype(np.float32)
    first = type(estimator)().fit(single, y, sample_domain=ids)
    second = type(estimator)().fit(single.astype(float), y, sample_domain=ids)
    np.testing.assert_array_equal(first.scores_, second.scores_)
    if hasattr(first, "transform"):
        assert first.transform(single).dtype == np.float32


def test_as_an_adapter_and_as_a_selector():
    pd = pytest.importorskip("pandas")
    X, y, ids = general_and_specific(0)
    target = ids < 0
    frame = pd.DataFrame(X).add_prefix("word ")
    selector = TwoStageFeatureSelector(30)
    model = TransferClassifier(LogisticRegression(C=0.1), selector)
    model.fit(frame, y, sample_domain=ids)
    floor = TransferClassifier(LogisticRegression(C=0.1)).fit(X, y, sample_domain=ids)
    gain = model.score(frame[target], y[target]) - floor.score(X[target], y[target])
    assert gain > 0.15
    fitted = model.adapter_
    kept = fitted.get_support(indices=True)
    assert list(fitted.get_feature_names_out()) == [f"word {j}" for j in kept]
    restored = fitted.inverse_transform(fitted.transform(frame))
    np.testing.assert_array_equal(restored[:, kept], X[:, kept])
    assert restored.shape == X.shape and not restored[:, ~fitted.get_support()].any()
    # Target labels in y are hidden by TransferClassifier, and by the selector.
    piped = make_pipeline(TwoStageFeatureSelector(30), LogisticRegression())
    piped.fit(X, y, twostagefeatureselector__sample_domain=ids)
    np.testing.assert_array_equal(piped[0].get_support(), fitted.get_support())


@pytest.mark.parametrize(
    "asked, n_features, expected",
    [(None, 7, 3), (None, 1, 1), (0.5, 6, 3), (0.01, 6, 1), (1.0, 6, 6), (1, 6, 1)],
)
def test_number_of_columns(asked, n_features, expected):
    X, y, ids = small_problem(2, d=n_features)
    selector = TwoStageFeatureSelector(asked).fit(X, y, sample_domain=ids)
    assert selector.get_support().sum() == expected


# ---------------------------------------------------------------------------
# The solver
# ---------------------------------------------------------------------------

_UNITS = {
    "unit": lambda X: X,
    "very different units": lambda X: X * np.geomspace(1e-6, 1e6, X.shape[1]),
    "far from 0": lambda X: X + 100,
    "twice the columns": lambda X: np.hstack([X, X]),
    "heavy tails": lambda X: np.exp(3 * X),
    "empty columns": lambda X: np.hstack([X, np.zeros_like(X)]),
}


@pytest.mark.parametrize("reg", [1.0, 1e-2, 1e-6])
@pytest.mark.parametrize("units", _UNITS)
def test_residual_is_reached_and_is_what_it_says(units, reg):
    X, y, ids = small_problem(3)
    X = _UNITS[units](X)
    columns = np.arange(3)
    domains = [DomainRows(*rows, reg) for rows in source_domains(X, y, ids)]
    solution = solve_shared_logistic(domains, columns, reg, 3, tol=1e-9, max_iter=100)
    assert solution.residual <= 1e-9

    V, U, b = solution.shared, solution.specific, solution.intercept
    gradients = [2 * reg * V]
    limits = [np.zeros((3, 1))]
    of_b = np.zeros(3)
    for domain, u in zip(domains, U):
        scores = domain.X[:, columns] @ V + domain.X @ u + b
        P = np.exp(scores - logsumexp(scores, axis=1, keepdims=True))
        E = (P - np.eye(3)[domain.codes]) * domain.weights[:, None]
        sums = np.abs(domain.X).T @ domain.weights[:, None]
        gradients[0] = gradients[0] + domain.X[:, columns].T @ E
        limits[0] = limits[0] + sums[columns]
        gradients.append(domain.X.T @ E + 2 * reg * u)
        limits.append(sums)
        of_b += E.sum(axis=0)
    gradient, limit = np.vstack(gradients), np.vstack(limits)
    found = limit[:, 0] > 0
    assert np.abs(gradient[found] / limit[found]).max() <= 1e-8
    assert np.abs(of_b).max() <= 1e-8
    np.testing.assert_allclose(U.sum(axis=2), 0, atol=1e-9 * np.abs(U).max())


def test_start_is_kept_where_nothing_is_left_to_do():
    X, y, ids = small_problem(3)
    domains = [DomainRows(*rows, 0.1) for rows in source_domains(X, y, ids)]
    options = {"tol": 1e-10, "max_iter": 100}
    solution = solve_shared_logistic(domains, np.arange(2), 0.1, 3, **options)
    again = solve_shared_logistic(
        domains, np.arange(2), 0.1, 3, start=solution, **options
    )
    assert solution.n_iter > 1
    assert again.n_iter == 0
    np.testing.assert_allclose(again.specific, solution.specific, rtol=1e-12)


@both_estimators
def test_too_few_steps_are_said(estimator):
    X, y, ids = small_problem(3)
    model = type(estimator)(max_iter=1)
    with pytest.warns(ConvergenceWarning, match="increase max_iter or reg") as caught:
        model.fit(X, y, sample_domain=ids)
    assert [w.filename for w in caught] == [__file__]
    assert model.n_iter_ == 1
    assert model.residual_ > model.tol
    with (
        pytest.warns(ConvergenceWarning, match="reached the residual") as caught,
        pytest.warns(NoAdaptationWarning),
    ):
        model.fit(X, y)
    assert {w.filename for w in caught} == {__file__}


# ---------------------------------------------------------------------------
# Bad input
# ---------------------------------------------------------------------------


@both_estimators
def test_more_columns_than_there_are(estimator):
    X, y, ids = small_problem(2)
    model = type(estimator)(n_features_to_select=7)
    with pytest.raises(ValueError, match="=7 is more than the 6 columns of X: ask for"):
        model.fit(X, y, sample_domain=ids)


@both_estimators
def test_one_source_cannot_be_cross_validated(estimator):
    X, y, ids = small_problem(2)
    words = "only one has labelled rows: give each source an id of its own"
    for single in (np.sign(ids), ids):
        given = y.astype(float)
        given[np.isin(ids, (2, 9))] = np.nan if single is ids else 0
        model = type(estimator)(heuristic="domain-cv")
        with pytest.raises(ValueError, match=words):
            model.fit(X, given, sample_domain=single)


@both_estimators
@pytest.mark.parametrize(
    "labels, words",
    [
        (None, "requires y to be passed"),
        (np.full(130, np.nan), "no labelled source row"),
        (np.linspace(0, 1, 130), "Unknown label type"),
        (np.zeros((130, 2)), "1d array"),
        (np.zeros(129), "inconsistent numbers of samples"),
    ],
    ids=["None", "unlabelled", "numbers", "two columns", "too short"],
)
def test_bad_labels(estimator, labels, words):
    X, _, ids = small_problem(2)
    with pytest.raises(ValueError, match=words):
        type(estimator)().fit(X, labels, sample_domain=ids)


@pytest.mark.parametrize("shares", [(0.5, 0.4), (1.2, -0.2), (1.0,), (0.2, 0.3, 0.5)])
def test_bad_class_shares(shares):
    X, y, ids = small_problem(2)
    model = TwoStageFeatureClassifier(class_shares=shares)
    with pytest.raises(ValueError, match="one number for each of the 2 classes"):
        model.fit(X, y, sample_domain=ids)


@pytest.mark.parametrize(
    "weight, words", [(0.0, "is 0 for every labelled row"), (-1.0, "(?i)negative")]
)
def test_bad_sample_weight(weight, words):
    X, y, ids = small_problem(2)
    weights = np.where(ids > 0, weight, 1.0)
    with pytest.raises(ValueError, match=words):
        TwoStageFeatureClassifier().fit(X, y, weights, sample_domain=ids)
