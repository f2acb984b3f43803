"""Two-stage TrAdaBoost.R2 against a straight-line restatement of Algorithm 3.

Steps, folds, rounds and the weighted median are stated again here from the paper, in
loops over rows, with a plain bisection; nothing is taken from the package but its
answers.
"""

import warnings
from math import exp, log

import numpy as np
import pytest
from scipy.sparse import csr_array, issparse
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import KFold, LeaveOneOut
from sklearn.neighbors import KNeighborsRegressor
from sklearn.tree import DecisionTreeRegressor

from skadapt import (
    NoAdaptationWarning,
    TrAdaBoostRegressor,
    TwoStageTrAdaBoostRegressor,
)
from skadapt.instance._two_stage_tradaboost import shrunken

TINY = 1e-12  # a min_error that no mean loss of these tests is below, 0 excepted
TREE = DecisionTreeRegressor(max_depth=2)
LINE = LinearRegression()
LOSSES = {
    "linear": lambda u: u,
    "square": lambda u: u**2,
    "exponential": lambda u: 1 - exp(-u),
}
every_loss = pytest.mark.parametrize("loss", LOSSES)


class Shared(list):
    """A list that clones of an estimator share."""

    def __deepcopy__(self, memo):
        return self


class Spy(RegressorMixin, BaseEstimator):
    """Writes down what `fit` is given, and leaves the work to another learner.

    The first column of X is the number of the row, which the learner does not see.
    """

    def __init__(self, learner, seen):
        self.learner = learner
        self.seen = seen

    def fit(self, X, y, sample_weight=None):
        self.seen.append((X[:, 0].astype(int), y, sample_weight))
        self.learner_ = clone(self.learner).fit(X[:, 1:], y, sample_weight)
        return self

    def predict(self, X):
        return self.learner_.predict(X[:, 1:])


class Sparse(RegressorMixin, BaseEstimator):
    """Takes sparse rows only."""

    def fit(self, X, y, sample_weight=None):
        assert issparse(X)
        self.learner_ = Ridge().fit(X.toarray(), y, sample_weight)
        return self

    def predict(self, X):
        assert issparse(X)
        return self.learner_.predict(X.toarray())


# ---------------------------------------------------------------------------
# Referees
# ---------------------------------------------------------------------------


def losses_of(h, X, y, w, loss):
    """e_i of AdaBoost.R2."""
    r = [abs(true - guess) for true, guess in zip(y, h.predict(X))]
    D = max(r_i for r_i, w_i in zip(r, w) if w_i > 0)
    return [LOSSES[loss](r_i / D) for r_i in r]


def fit_like(learner, X, y, w, sample_weight):
    """The learner on rows with weight, scaled to the sum of their sample_weight."""
    kept = np.array(w) > 0
    w = np.array(w)[kept]
    scaled = w / w.sum() * sample_weight[kept].sum()
    return clone(learner).fit(X[kept], y[kept], sample_weight=scaled)


def adaboost_r2_of_target(learner, X, y, source, w, sample_weight, N, loss):
    """AdaBoost.R2': the weights of source rows stay, and so does the target's sum."""
    w = [w_i / sum(w) for w_i in w]
    target = [i for i in range(len(y)) if not source[i]]
    mass = sum(w[i] for i in target)
    kept = []
    for _ in range(N):
        h = fit_like(learner, X, y, w, sample_weight)
        e = losses_of(h, X, y, w, loss)
        eps = sum(w_i * e_i for w_i, e_i in zip(w, e))
        if eps >= 0.5:
            return kept or [(h, exp(-1), list(w), eps)]
        kept.append((h, eps / (1 - eps), list(w), eps))
        for i in target:
            w[i] *= (eps / (1 - eps)) ** (1 - e[i])
        total = sum(w[i] for i in target)
        for i in target:
            w[i] *= mass / total
    return kept


def weighted_median(rounds, X):
    """The smallest y with sum_{h_t <= y} ln(1/beta_t) >= half of the sum."""
    outputs = np.array([h.predict(X) for h, *_ in rounds])
    votes = [log(1 / beta) for _, beta, *_ in rounds]
    predicted = []
    for column in outputs.T:
        below = {v: sum(a for p, a in zip(column, votes) if p <= v) for v in column}
        half = 0.5 * sum(votes) * (1 - 1e-12)
        predicted.append(min(v for v, a in below.items() if a >= half))
    return np.array(predicted)


def bisect(f, goal):
    """ln b with f(ln b) = goal, f rising, b in [exp(-1e12), 1]."""
    low, high = -1e12, 0.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if f(middle) < goal else (low, middle)
    return (low + high) / 2


def algorithm_3(learner, X, y, source, sample_weight, S, folds, N, loss):
    """Pardoe & Stone 2010; `folds` are arrays of target rows that are held out.

    Returns the weights of each step, its error, and the rounds of the best.
    """
    n_rows = len(y)
    rows = range(n_rows)
    w = [w_i / sum(sample_weight) for w_i in sample_weight]
    share_0 = sum(w[i] for i in rows if not source[i])
    steps, errors = [], []
    for t in range(1, S + 1):
        steps.append(list(w))
        squares = 0.0
        for fold in folds:
            v = list(w)
            left = [i for i in rows if not source[i] and i not in fold]
            mass = sum(w[i] for i in rows if not source[i])
            factor = mass / sum(w[i] for i in left)
            for i in left:
                v[i] *= factor
            train = np.array([i for i in rows if i not in fold and v[i] > 0])
            rounds = adaboost_r2_of_target(
                learner,
                X[train],
                y[train],
                source[train],
                [v[i] for i in train],
                sample_weight[train],
                N,
                loss,
            )
            residuals = y[fold] - weighted_median(rounds, X[fold])
            squares += sample_weight[fold] @ residuals**2
        errors.append((squares / sum(sample_weight[~source])) ** 0.5)
        if t == S:
            break
        share = share_0 + t / (S - 1) * (1 - share_0)
        if t == S - 1:
            w = [0.0 if source[i] else w[i] for i in rows]
        else:
            h = fit_like(learner, X, y, w, sample_weight)
            e = losses_of(h, X, y, w, loss)
            goal = sum(w[i] for i in rows if not source[i]) * (1 - share) / share
            sources = [i for i in rows if source[i]]
            log_b = bisect(
                lambda log_b: sum(w[i] * exp(log_b * e[i]) for i in sources), goal
            )
            w = [w[i] * exp(log_b * e[i]) if source[i] else w[i] for i in rows]
        w = [w_i / sum(w) for w_i in w]
    best = int(np.argmin(errors))
    kept = np.array(steps[best]) > 0
    rounds = adaboost_r2_of_target(
        learner,
        X[kept],
        y[kept],
        source[kept],
        np.array(steps[best])[kept],
        sample_weight[kept],
        N,
        loss,
    )
    return np.array(steps), errors, best, rounds


# ---------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------


def problem(seed, n=40, m=20, d=3, shift=0.5, noise=0.3):
    """Bent planes, the source's being others; noise with outliers; domains mixed.

    Returns X, y, sample_domain.
    """
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.r_[np.tile([1, 2], n // 2), np.tile([-1, -2], m // 2)])
    X = rng.normal(size=(n + m, d)) + 0.3 * (ids > 0)[:, np.newaxis]
    slopes, other = rng.normal(size=d), rng.normal(size=d)
    y = X @ slopes + np.abs(X[:, 0]) + noise * rng.standard_t(2, size=n + m)
    y[ids > 0] += shift * (X @ other)[ids > 0]
    return X, y, ids


def splits(m, n_folds=4):
    """(train, test) pairs that count the target rows."""
    return list(KFold(n_folds, shuffle=True, random_state=1).split(np.zeros(m)))


# ---------------------------------------------------------------------------
# Taking weight off the source
# ---------------------------------------------------------------------------


def test_hand_examples_of_the_bisection():
    """n = 3, m = 2, every weight .2, the target's share from .4 to .7."""
    goal = 0.4 * 0.3 / 0.7
    e = np.array([1, 0.5, 0.2])
    weights = shrunken(np.full(3, 0.2), e, goal)
    np.testing.assert_allclose(weights, 0.2 * 0.0565144**e, rtol=3e-6)
    assert 0.4 / (0.4 + weights.sum()) == pytest.approx(0.7, rel=1e-12)
    weights = shrunken(np.full(3, 0.2), np.array([1, 0.5, 0]), goal)
    np.testing.assert_array_equal(weights, [0, 0, 0.2])


@pytest.mark.parametrize("seed", range(30))
def test_weights_get_the_sum_by_powers_of_one_number(seed):
    """Over many orders of magnitude, also where the number itself is no float."""
    rng = np.random.default_rng(seed)
    n = rng.integers(1, 30)
    weights = rng.lognormal(sigma=2, size=n)
    losses = rng.random(n) ** rng.integers(1, 20)
    losses[rng.random(n) < 0.2] = 0
    losses[0] = rng.choice([1, 0.5, 1e-3])
    fixed = weights[losses == 0].sum()
    goal = fixed + rng.random() * rng.choice([1, 1e-6]) * (weights.sum() - fixed)
    found = shrunken(weights, losses, goal)
    assert found.sum() == pytest.approx(goal, rel=1e-12)
    np.testing.assert_array_equal(found[losses == 0], weights[losses == 0])
    assert (found <= weights).all()
    alive = np.flatnonzero((losses > 0) & (found > 1e-290))
    if len(alive):
        ratio = np.log(found[alive] / weights[alive])
        most = ratio.argmin()  # rounding is least there
        log_b = ratio[most] / losses[alive[most]]
        np.testing.assert_allclose(
            found, weights * np.exp(log_b * losses), rtol=1e-9, atol=1e-280
        )


def test_goals_at_the_ends():
    weights, losses = np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.0, 0.1])
    np.testing.assert_array_equal(shrunken(weights, losses, 6.0), weights)
    np.testing.assert_array_equal(shrunken(weights, np.zeros(3), 2.0), weights)
    assert shrunken(weights, losses, 1e-200).sum() == pytest.approx(1e-200, rel=1e-10)
    assert shrunken(weights, losses, 6 - 1e-9).sum() == pytest.approx(6 - 1e-9)


# ---------------------------------------------------------------------------
# The restatement
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weighted", [False, True])
@every_loss
def test_is_algorithm_3(loss, weighted, seed):
    X, y, ids = problem(seed)
    source = ids > 0
    weights = np.random.default_rng(seed).lognormal(size=len(y))
    given, sample_weight = (weights, weights) if weighted else (None, np.ones(len(y)))
    cv = splits(20)
    model = TwoStageTrAdaBoostRegressor(
        LINE, 4, 5, cv=cv, loss=loss, min_error=TINY, store_weights=True
    )
    model.fit(X, y, given, sample_domain=ids)
    target = np.flatnonzero(~source)
    steps, errors, best, rounds = algorithm_3(
        LINE, X, y, source, sample_weight, 5, [target[test] for _, test in cv], 4, loss
    )
    np.testing.assert_allclose(model.step_errors_, errors, rtol=1e-8)
    assert model.best_step_ == best
    shares = steps[:, ~source].sum(axis=1)
    np.testing.assert_allclose(model.target_mass_, shares, rtol=1e-10)
    _, betas, expected, errors = (np.array(part) for part in zip(*rounds))
    kept = steps[best] > 0
    assert (model.round_weights_[:, ~kept] == 0).all()
    np.testing.assert_allclose(model.round_weights_[:, kept], expected, atol=1e-10)
    np.testing.assert_allclose(model.estimator_weights_, -np.log(betas), rtol=1e-8)
    np.testing.assert_allclose(model.estimator_errors_, errors, rtol=1e-8)
    np.testing.assert_allclose(model.predict(X), weighted_median(rounds, X), rtol=1e-8)
    trusted = steps[best][source]
    expected = trusted / trusted.mean() if trusted.any() else trusted
    np.testing.assert_allclose(model.source_weights_, expected, rtol=1e-7)


def test_restated_problems_have_different_best_steps():
    """What the test above would otherwise not see."""
    found = set()
    for seed in range(5):
        X, y, ids = problem(seed)
        model = TwoStageTrAdaBoostRegressor(LINE, 4, 5, cv=splits(20), min_error=TINY)
        found.add(model.fit(X, y, sample_domain=ids).best_step_)
    assert len(found) > 1


# ---------------------------------------------------------------------------
# Steps
# ---------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("n_steps", [2, 3, 10, 30])
def test_shares_of_the_target_are_even_steps(n_steps, loss):
    """From the rows as they are to the target alone, both included."""
    X, y, ids = problem(1)
    model = TwoStageTrAdaBoostRegressor(LINE, 1, n_steps, cv=2, loss=loss)
    model.fit(X, y, sample_domain=ids)
    t, m, n = np.arange(n_steps), 20, 40
    expected = m / (n + m) + t / (n_steps - 1) * (1 - m / (n + m))
    np.testing.assert_allclose(model.target_mass_, expected, rtol=1e-10)
    assert model.target_mass_[-1] == 1


def test_rows_without_a_loss_never_lose_weight():
    """A tree that is right everywhere: the share cannot rise until the last step."""
    X, y, ids = problem(1)
    model = TwoStageTrAdaBoostRegressor(
        DecisionTreeRegressor(random_state=0), 2, 4, random_state=0
    )
    model.fit(X, y, sample_domain=ids)
    np.testing.assert_allclose(model.target_mass_, [1 / 3, 1 / 3, 1 / 3, 1])
    # 2 * 1.5 of 9 source rows are too many for the second step and are all it keeps.
    X = np.r_[np.arange(9.0), 100 + np.arange(3)][:, np.newaxis]
    y = np.r_[np.zeros(6), 1, 2, 3, np.zeros(3)]
    ids = np.repeat([1, -1], [9, 3])
    model = TwoStageTrAdaBoostRegressor(Halves(), 1, 5, cv=3).fit(
        X, y, sample_domain=ids
    )
    # Only rows 6, 7 and 8 have a loss, and 6 others are left: 3 / (3 + 6).
    np.testing.assert_allclose(
        model.target_mass_, [3 / 12, 3 / 9, 3 / 9, 3 / 9, 1], rtol=1e-12
    )


class Halves(RegressorMixin, BaseEstimator):
    """Predicts 0."""

    def fit(self, X, y, sample_weight=None):
        return self

    def predict(self, X):
        return np.zeros(len(X))


def test_source_stays_frozen_in_the_rounds():
    X, y, ids = problem(2)
    model = TwoStageTrAdaBoostRegressor(TREE, 8, 4, store_weights=True, random_state=0)
    model.fit(X, y, sample_domain=ids)
    w, source = model.round_weights_, ids > 0
    assert len(w) == len(model.estimators_) > 3
    assert model.best_step_ < 3 and (w[0, source] > 0).all()
    np.testing.assert_array_equal(w[:, source], np.tile(w[0, source], (len(w), 1)))
    share = model.target_mass_[model.best_step_]
    np.testing.assert_allclose(w[:, ~source].sum(axis=1), share, rtol=1e-12)
    assert np.ptp(w[:, ~source], axis=0).max() > 1e-3
    np.testing.assert_allclose(
        model.source_weights_, w[0, source] / w[0, source].mean(), rtol=1e-12
    )


def test_last_step_is_the_target_alone():
    """A source of the opposite sign: nothing of it is left, nor seen by a learner."""
    rng = np.random.default_rng(0)
    X = np.c_[np.arange(140), rng.normal(size=(140, 2))]
    ids = np.repeat([1, -1], [60, 80])
    y = np.where(ids > 0, -1, 1) * (X[:, 1] + np.abs(X[:, 2])) + 20.0 * (ids > 0)
    seen = Shared()
    model = TwoStageTrAdaBoostRegressor(
        Spy(TREE, seen), 6, 5, min_error=0.01, store_weights=True, random_state=0
    )
    model.fit(X, y, sample_domain=ids)
    assert model.best_step_ == 4 == np.argmin(model.step_errors_)
    np.testing.assert_array_equal(model.source_weights_, np.zeros(60))
    np.testing.assert_array_equal(model.round_weights_[:, :60], 0)
    last = seen[-len(model.estimators_) :]
    assert all((rows >= 60).all() for rows, _, _ in last)
    np.testing.assert_allclose([w.sum() for _, _, w in last], 80)
    alone = TrAdaBoostRegressor(Spy(TREE, Shared()), 6, min_error=0.01)
    with pytest.warns(NoAdaptationWarning):
        alone.fit(X[60:], y[60:])
    np.testing.assert_allclose(alone.predict(X), model.predict(X), rtol=1e-12)
    np.testing.assert_allclose(alone.estimator_weights_, model.estimator_weights_)


def test_good_source_is_kept():
    """Few noisy target rows and a source that agrees: fewer steps are better."""
    X, y, ids = problem(3, n=200, m=10, d=8, shift=0)
    model = TwoStageTrAdaBoostRegressor(Ridge(), 5, random_state=0)
    model.fit(X, y, sample_domain=ids)
    assert model.best_step_ < 5
    assert model.step_errors_[-1] > model.step_errors_.min()
    assert model.source_weights_.mean() == pytest.approx(1)


# ---------------------------------------------------------------------------
# Folds
# ---------------------------------------------------------------------------


def folds_seen(m, cv, n_steps=3, seed=0):
    """Target rows that learners of the first step did without, fold by fold."""
    X, y, ids = problem(4, m=m)
    X = np.c_[np.arange(len(y)), X]
    seen = Shared()
    model = TwoStageTrAdaBoostRegressor(
        Spy(LINE, seen), 1, n_steps, cv=cv, random_state=seed
    )
    model.fit(X, y, sample_domain=ids)
    source, target = np.flatnonzero(ids > 0), np.flatnonzero(ids < 0)
    # One learner a step, then folds of steps of one round each, then the best step.
    folds = seen[n_steps - 2 : -1]
    n_folds = len(folds) // n_steps
    for rows, _, weights in folds[:-n_folds]:
        assert np.isin(source, rows).all()
        assert weights.sum() == pytest.approx(len(rows))
    for rows, _, _ in folds[-n_folds:]:
        assert not np.isin(source, rows).any()
    held_out = [np.setdiff1d(target, rows) for rows, _, _ in folds]
    for t in range(n_steps):
        step = held_out[t * n_folds : (t + 1) * n_folds]
        np.testing.assert_array_equal(np.sort(np.concatenate(step)), target)
    for step in range(n_steps):
        for k in range(n_folds):
            np.testing.assert_array_equal(held_out[k], held_out[step * n_folds + k])
    shares = [w[np.isin(rows, target)].sum() / w.sum() for rows, _, w in folds]
    np.testing.assert_allclose(
        shares, np.repeat(model.target_mass_, n_folds), rtol=1e-10
    )
    return held_out[:n_folds], target


@pytest.mark.parametrize("m, cv, sizes", [(20, 5, {4}), (22, 5, {4, 5}), (8, 2, {4})])
def test_folds(m, cv, sizes):
    """They part the target, at random; each step has the same; the share stays."""
    held_out, target = folds_seen(m, cv)
    assert len(held_out) == cv and {len(fold) for fold in held_out} == sizes
    runs = np.array_split(target, cv)
    assert not all(any(np.array_equal(fold, run) for run in runs) for fold in held_out)
    other, _ = folds_seen(m, cv, seed=1)
    assert any(not np.array_equal(a, b) for a, b in zip(held_out, other))


@pytest.mark.parametrize("m, cv", [(2, 5), (4, 5), (4, 10), (10, LeaveOneOut())])
def test_fewer_target_rows_than_folds_leave_one_out(m, cv):
    held_out, _ = folds_seen(m, cv)
    assert len(held_out) == m and all(len(fold) == 1 for fold in held_out)


def test_none_is_five_folds():
    X, y, ids = problem(5)
    errors = [
        TwoStageTrAdaBoostRegressor(LINE, 2, 3, cv=cv, random_state=0)
        .fit(X, y, sample_domain=ids)
        .step_errors_
        for cv in (None, 5, 4)
    ]
    np.testing.assert_array_equal(errors[0], errors[1])
    assert (errors[1] != errors[2]).any()


def test_pairs_of_arrays_count_the_labelled_target_rows():
    X, y, ids = problem(5)
    y[np.flatnonzero(ids < 0)[::4]] = np.nan  # 15 are left
    pairs = splits(15, 3)
    given = TwoStageTrAdaBoostRegressor(LINE, 2, 3, cv=iter(pairs))
    by_splitter = clone(given).set_params(cv=KFold(3, shuffle=True, random_state=1))
    a, b = (m.fit(X, y, sample_domain=ids) for m in (given, by_splitter))
    np.testing.assert_array_equal(a.step_errors_, b.step_errors_)
    some = TwoStageTrAdaBoostRegressor(LINE, 2, 3, cv=pairs[:1])
    some.fit(X, y, sample_domain=ids)
    assert (some.step_errors_ != a.step_errors_).all()


# ---------------------------------------------------------------------------
# Invariances
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("learner", [LINE, TREE], ids=["line", "tree"])
def test_order_of_rows_does_not_matter(learner):
    """Neither for the folds."""
    X, y, ids = problem(6)
    order = np.random.default_rng(0).permutation(len(y))
    model = TwoStageTrAdaBoostRegressor(learner, 3, 5, random_state=0)
    shuffled = clone(model).fit(X[order], y[order], sample_domain=ids[order])
    model.fit(X, y, sample_domain=ids)
    np.testing.assert_allclose(shuffled.step_errors_, model.step_errors_, rtol=1e-9)
    np.testing.assert_allclose(shuffled.predict(X), model.predict(X), atol=1e-9)
    place = np.cumsum(ids > 0) - 1
    np.testing.assert_allclose(
        shuffled.source_weights_,
        model.source_weights_[place[order][ids[order] > 0]],
        rtol=1e-8,
    )


@every_loss
def test_whole_weights_are_repeated_rows(loss):
    """With folds in which copies of a row stay together."""
    X, y, ids = problem(7)
    rng = np.random.default_rng(0)
    times = rng.integers(1, 4, len(y))
    times[ids > 0] -= 1  # source rows may be absent
    m = np.count_nonzero(ids < 0)
    fold = rng.permutation(np.arange(m) % 3)
    folds = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(3)]
    copies = np.repeat(fold, times[ids < 0])
    again = [
        (np.flatnonzero(copies != k), np.flatnonzero(copies == k)) for k in range(3)
    ]
    model = TwoStageTrAdaBoostRegressor(LINE, 4, 5, loss=loss)
    weighted = clone(model).set_params(cv=folds).fit(X, y, times, sample_domain=ids)
    X_r, y_r, ids_r = (np.repeat(a, times, axis=0) for a in (X, y, ids))
    repeated = clone(model).set_params(cv=again).fit(X_r, y_r, sample_domain=ids_r)
    np.testing.assert_allclose(weighted.target_mass_, repeated.target_mass_, rtol=1e-10)
    np.testing.assert_allclose(weighted.step_errors_, repeated.step_errors_, rtol=1e-8)
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), atol=1e-8)


def test_rows_without_weight_are_absent():
    """Neither in folds nor as the worst residual."""
    X, y, ids = problem(8)
    weights = np.ones(len(y))
    for side in (ids > 0, ids < 0):
        weights[np.flatnonzero(side)[::5]] = 0
    model = TwoStageTrAdaBoostRegressor(LINE, 4, 4, random_state=0)
    kept = weights > 0
    absent = clone(model).fit(X[kept], y[kept], sample_domain=ids[kept])
    y[~kept] = 1e6
    model.fit(X, y, weights, sample_domain=ids)
    np.testing.assert_allclose(model.step_errors_, absent.step_errors_, rtol=1e-9)
    np.testing.assert_allclose(model.predict(X), absent.predict(X), atol=1e-9)
    np.testing.assert_array_equal(model.source_weights_[~kept[ids > 0]], 0)


def test_processes_change_nothing():
    X, y, ids = problem(9)
    model = TwoStageTrAdaBoostRegressor(
        DecisionTreeRegressor(max_depth=3, max_features=1), 3, 3, cv=2, random_state=0
    )
    alone = clone(model).fit(X, y, sample_domain=ids)
    shared = clone(model).set_params(n_jobs=2).fit(X, y, sample_domain=ids)
    np.testing.assert_array_equal(alone.step_errors_, shared.step_errors_)
    np.testing.assert_array_equal(alone.predict(X), shared.predict(X))


def test_unlabeled_target_rows_change_nothing():
    X, y, ids = problem(10)
    hidden = np.random.default_rng(0).permutation(np.flatnonzero(ids < 0))[:8]
    kept = np.setdiff1d(np.arange(len(y)), hidden)
    y_masked = y.copy()
    y_masked[hidden] = np.nan
    model = TwoStageTrAdaBoostRegressor(TREE, 4, 4, store_weights=True, random_state=0)
    among = clone(model).fit(X, y_masked, sample_domain=ids)
    alone = clone(model).fit(X[kept], y[kept], sample_domain=ids[kept])
    np.testing.assert_array_equal(among.step_errors_, alone.step_errors_)
    np.testing.assert_array_equal(among.round_weights_, alone.round_weights_)
    np.testing.assert_array_equal(among.predict(X), alone.predict(X))


def test_sparse_rows_stay_sparse():
    X, y, ids = problem(11)
    X = np.where(X > 0, X, 0)
    model = TwoStageTrAdaBoostRegressor(Sparse(), 3, 3, random_state=0)
    model.fit(csr_array(X), y, sample_domain=ids)
    dense = clone(model).set_params(estimator=Ridge()).fit(X, y, sample_domain=ids)
    np.testing.assert_array_equal(model.step_errors_, dense.step_errors_)
    np.testing.assert_array_equal(model.predict(csr_array(X)), dense.predict(X))


# ---------------------------------------------------------------------------
# One domain; rounds that end early
# ---------------------------------------------------------------------------


@every_loss
def test_one_domain_is_adaboost_r2(loss):
    X, y, _ = problem(12)
    two_stage = TwoStageTrAdaBoostRegressor(
        TREE, 8, loss=loss, store_weights=True, random_state=0
    )
    plain = TrAdaBoostRegressor(TREE, 8, loss=loss, store_weights=True, random_state=0)
    for model in (two_stage, plain):
        with pytest.warns(NoAdaptationWarning):
            model.fit(X, y)
    assert len(two_stage.estimators_) > 2
    np.testing.assert_allclose(
        two_stage.round_weights_, plain.round_weights_, rtol=1e-10
    )
    np.testing.assert_allclose(two_stage.predict(X), plain.predict(X), rtol=1e-10)
    np.testing.assert_array_equal(two_stage.target_mass_, [1])
    assert two_stage.best_step_ == 0 and not len(two_stage.source_weights_)
    assert not hasattr(two_stage, "step_errors_")


def test_refit_without_domains_forgets_the_steps():
    X, y, ids = problem(12)
    model = TwoStageTrAdaBoostRegressor(TREE, 2, 3, store_weights=True)
    model.fit(X, y, sample_domain=ids)
    assert len(model.step_errors_) == 3 and model.round_weights_.shape[1] == len(y)
    with pytest.warns(NoAdaptationWarning):
        model.set_params(store_weights=False).fit(X, y)
    assert not hasattr(model, "step_errors_") and not hasattr(model, "round_weights_")


def test_perfect_fit_ends_the_rounds():
    X, y, ids = problem(13)
    model = TwoStageTrAdaBoostRegressor(DecisionTreeRegressor(), 20, 3, random_state=0)
    model.fit(X, y, sample_domain=ids)
    assert len(model.estimators_) == 1 and list(model.estimator_errors_) == [0]
    assert np.isfinite(model.estimator_weights_).all()


class Wild(RegressorMixin, BaseEstimator):
    """Off by one everywhere but at its first row of fit."""

    def fit(self, X, y, sample_weight=None):
        self.rows_, self.values_ = np.asarray(X)[:, 0], np.asarray(y)
        return self

    def predict(self, X):
        found = np.asarray(X)[:, :1] == self.rows_
        known = np.where(found.any(axis=1), self.values_[found.argmax(axis=1)], 0.0)
        return known + (np.asarray(X)[:, 0] != self.rows_[0])


def test_first_round_of_half_the_worst_residual_is_kept_alone():
    X, y, ids = problem(14)
    model = TwoStageTrAdaBoostRegressor(Wild(), 20, 3, random_state=0)
    model.fit(X, y, sample_domain=ids)
    assert len(model.estimators_) == 1 and list(model.estimator_weights_) == [1]
    assert model.estimator_errors_[0] > 0.5
    np.testing.assert_array_equal(model.predict(X), model.estimators_[0].predict(X))


def test_staged_predict_has_the_rounds_of_the_best_step():
    X, y, ids = problem(15)
    model = TwoStageTrAdaBoostRegressor(LINE, 6, 3, cv=2, min_error=TINY)
    model.fit(X, y, sample_domain=ids)
    stages = list(model.staged_predict(X))
    assert len(stages) == len(model.estimators_) > 2
    rounds = list(zip(model.estimators_, np.exp(-model.estimator_weights_), stages))
    for t, stage in enumerate(stages, start=1):
        np.testing.assert_array_equal(stage, weighted_median(rounds[:t], X))
    np.testing.assert_array_equal(stages[-1], model.predict(X))


def test_defaults():
    X, y, ids = problem(16)
    model = TwoStageTrAdaBoostRegressor(n_estimators=1, n_steps=2)
    model.fit(X, y, sample_domain=ids)
    (learner,) = model.estimators_
    assert isinstance(learner, Ridge) and learner.alpha == 1


# ---------------------------------------------------------------------------
# Bad input
# ---------------------------------------------------------------------------


def _put(value, where):
    def spoil(y, ids):
        y[where(ids)] = value
        return y

    return spoil


@pytest.mark.parametrize(
    "spoil, words",
    [
        (_put(np.nan, lambda ids: ids < 0), "no labelled target row"),
        (
            _put(np.nan, lambda ids: np.flatnonzero(ids < 0)[1:]),
            "only one with weight: label more",
        ),
        (_put(np.nan, lambda ids: ids > 0), "no labelled source row"),
        (_put(np.nan, lambda ids: np.argmax(ids > 0)), "unlabelled source rows.*drop"),
        (_put(np.inf, lambda ids: 0), "y contains infinity"),
        (lambda y, ids: np.column_stack([y, y]), "y should be a 1d array.*fit one"),
    ],
)
def test_bad_values(spoil, words):
    X, y, ids = problem(12)
    model = TwoStageTrAdaBoostRegressor(LINE, 2, 2)
    clone(model).fit(X, y, sample_domain=ids)
    with pytest.raises(ValueError, match=f"(?is){words}"):
        model.fit(X, spoil(y, ids), sample_domain=ids)


def test_weights_may_not_vanish():
    X, y, ids = problem(12)
    model = TwoStageTrAdaBoostRegressor(LINE, 2, 2)
    one = np.where(ids > 0, 1.0, 0.0)
    one[np.argmax(ids < 0)] = 1
    for weights, words in (
        (ids > 0, "every labelled target row"),
        (ids < 0, "every source row"),
        (one, "only one with weight"),
    ):
        with pytest.raises(ValueError, match=words):
            model.fit(X, y, np.asarray(weights, dtype=float), sample_domain=ids)


@pytest.mark.parametrize(
    "parameters, words",
    [
        ({"estimator": KNeighborsRegressor()}, "takes no sample_weight"),
        ({"estimator": TwoStageTrAdaBoostRegressor()}, "takes sample_domain itself"),
        ({"n_steps": 1}, "'n_steps' parameter"),
        ({"cv": 1}, "'cv' parameter"),
        ({"cv": [(np.arange(0), np.arange(20))]}, "A split of cv leaves no"),
        ({"cv": [(np.arange(20), np.arange(0))]}, "A split of cv leaves no"),
        ({"loss": "hard"}, "'loss' parameter"),
        ({"min_error": 0.5}, "'min_error' parameter"),
    ],
)
def test_bad_parameters(parameters, words):
    X, y, ids = problem(12)
    model = TwoStageTrAdaBoostRegressor(LINE, 2, 2).set_params(**parameters)
    with pytest.raises(ValueError, match=words), warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, y, sample_domain=ids)
