"""TrAdaBoost.R2 against a straight-line restatement of it and of AdaBoost.R2.

Rounds, weights and the weighted median are stated again here from the papers, in
their own products and loops; nothing is taken from the package but its answers. What
depends on the residuals alone is tested with a learner that plays a prescribed table
of them.
"""

import warnings
from math import ceil, exp, log, sqrt

import numpy as np
import pytest
from scipy.sparse import csr_array, csr_matrix, issparse
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from skadapt import (
    NegativeTransferWarning,
    NoAdaptationWarning,
    TargetKFold,
    TrAdaBoostRegressor,
)
from skadapt.instance._tradaboost_regressor import weighted_median

TINY = 1e-12  # a min_error that no mean loss of these tests is below, 0 excepted
TREE = DecisionTreeRegressor(max_depth=2)
LINE = LinearRegression()

LOSSES = {
    "linear": lambda u: u,
    "square": lambda u: u**2,
    "exponential": lambda u: 1 - exp(-u),
}
every_loss = pytest.mark.parametrize("loss", LOSSES)
both_starts = pytest.mark.parametrize("initial_weight", ["row", "domain"])


# ---------------------------------------------------------------------------
# Learners that play a script or write down what they are given
# ---------------------------------------------------------------------------


class Shared(list):
    """A list that clones of an estimator share."""

    def __deepcopy__(self, memo):
        return self


class Scripted(RegressorMixin, BaseEstimator):
    """Its next fit takes the next row of predictions; X holds row numbers.

    A fit on fewer rows than a row of the script has is that on the source alone: it
    takes `alone`.
    """

    def __init__(self, script, alone):
        self.script = script
        self.alone = alone

    def fit(self, X, y, sample_weight=None):
        is_whole = len(y) == len(self.alone)
        self.predictions_ = self.script.pop(0) if is_whole else self.alone
        return self

    def predict(self, X):
        return np.asarray(self.predictions_)[np.asarray(X)[:, 0].astype(int)]


class Spy(RegressorMixin, BaseEstimator):
    """Writes down what `fit` is given, and leaves the work to another learner."""

    def __init__(self, learner, seen):
        self.learner = learner
        self.seen = seen

    def fit(self, X, y, sample_weight=None):
        self.seen.append((X, y, sample_weight))
        X = X.toarray() if issparse(X) else X
        self.learner_ = clone(self.learner).fit(X, y, sample_weight=sample_weight)
        return self

    def predict(self, X):
        return self.learner_.predict(X.toarray() if issparse(X) else X)


def play(residuals, n_source, *, y=None, alone=None, sample_weight=None, **parameters):
    """Fit on prescribed residuals, the source rows being the first ones."""
    residuals = np.asarray(residuals, dtype=float)
    y = np.arange(residuals.shape[1], dtype=float) if y is None else y
    parameters = {"initial_weight": "row", "min_error": TINY} | parameters
    parameters.setdefault("n_estimators", len(residuals))
    model = TrAdaBoostRegressor(
        Scripted(Shared(y + residuals), y if alone is None else y + alone),
        store_weights=True,
        **parameters,
    )
    X = np.arange(len(y), dtype=float)[:, np.newaxis]
    ids = np.where(X[:, 0] < n_source, 1, -1)
    if n_source:
        return model.fit(X, y, sample_weight, sample_domain=ids), X
    with pytest.warns(NoAdaptationWarning):
        return model.fit(X, y, sample_weight), X


# ---------------------------------------------------------------------------
# Referees
# ---------------------------------------------------------------------------


def losses_of(h, X, y, w, loss):
    """e_i of AdaBoost.R2."""
    r = [abs(true - guess) for true, guess in zip(y, h.predict(X))]
    D = max(r_i for r_i, w_i in zip(r, w) if w_i > 0)
    return [LOSSES[loss](r_i / D) for r_i in r]


def adaboost_r2(fit, X, y, w, N, loss):
    """Drucker 1997, the learner being fitted with the weights."""
    w = [w_i / sum(w) for w_i in w]
    ps, betas, hypotheses = [], [], []
    for t in range(N):
        h = fit(t, w)
        e = losses_of(h, X, y, w, loss)
        eps = sum(w_i * e_i for w_i, e_i in zip(w, e))
        if eps >= 0.5:
            break
        beta = eps / (1 - eps)
        ps.append(w)
        betas.append(beta)
        hypotheses.append(h)
        w = [w_i * beta ** (1 - e_i) for w_i, e_i in zip(w, e)]
        w = [w_i / sum(w) for w_i in w]
    return ps, betas, hypotheses


def tradaboost_r2(fit, X, y, source, w, N, n_source, loss, dynamic=False):
    """Pardoe & Stone 2010."""
    beta = 1 / (1 + sqrt(2 * log(n_source) / N))
    w, rows = list(w), range(len(y))
    ps, betas, hypotheses = [], [], []
    for t in range(N):
        total = sum(w)
        p = [w_i / total for w_i in w]
        h = fit(t, p)
        e = losses_of(h, X, y, p, loss)
        mass = sum(w[i] for i in rows if not source[i])
        eps = sum(w[i] * e[i] for i in rows if not source[i]) / mass
        if eps >= 0.5:
            break
        beta_t = eps / (1 - eps)
        ps.append(p)
        betas.append(beta_t)
        hypotheses.append(h)
        for i in rows:
            w[i] *= beta ** e[i] if source[i] else beta_t ** -e[i]
        if dynamic:
            growth = sum(w[i] for i in rows if not source[i]) / mass
            w = [w[i] * growth if source[i] else w[i] for i in rows]
    return ps, betas, hypotheses


def median_by_the_formula(predictions, betas):
    """The smallest y with sum_{h_t <= y} ln(1/beta_t) >= half of the sum."""
    half = 0.5 * sum(log(1 / beta) for beta in betas)
    for value in sorted(predictions):
        below = sum(log(1 / b) for p, b in zip(predictions, betas) if p <= value)
        if below >= half * (1 - 1e-12):
            return value


def final_hypothesis(hypotheses, betas, X, first):
    outputs = np.array([h.predict(X) for h in hypotheses[first:]])
    return [median_by_the_formula(column, betas[first:]) for column in outputs.T]


def first_weights(initial_weight, source, sample_weight):
    w = np.array(sample_weight, dtype=float)
    if initial_weight == "domain":
        for side in (source, ~source):
            w[side] /= w[side].sum()
    return w / w.sum()


# ---------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------


def problem(seed, n=50, m=30, d=4, shift=0.5):
    """Bent planes, the source's being others; noise with outliers; domains mixed.

    Returns X, y, sample_domain.
    """
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.r_[np.tile([1, 2], n // 2), np.tile([-1, -2], m // 2)])
    X = rng.normal(size=(n + m, d)) + 0.3 * (ids > 0)[:, np.newaxis]
    slopes, other = rng.normal(size=d), rng.normal(size=d)
    y = X @ slopes + np.abs(X[:, 0]) + 0.3 * rng.standard_t(2, size=n + m)
    y[ids > 0] += shift * (X @ other)[ids > 0]
    return X, y, ids


def with_unlabeled(X, y, ids, seed=0, n_unlabeled=30):
    """The same with unlabelled target rows in between; also where the old rows are."""
    rng = np.random.default_rng(seed)
    total = len(y) + n_unlabeled
    old = np.sort(rng.choice(total, len(y), replace=False))
    X_all, y_all = rng.normal(size=(total, X.shape[1])), np.full(total, np.nan)
    ids_all = np.full(total, -1)
    X_all[old], y_all[old], ids_all[old] = X, y, ids
    return X_all, y_all, ids_all, old


def fit(model, X, y, ids, sample_weight=None):
    """Fit, whether or not there is a negative transfer to be warned of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NegativeTransferWarning)
        return model.fit(X, y, sample_weight, sample_domain=ids)


def learner_like(model, learner, X, y, total):
    """The learner of round t, fitted on weights p^t; its seed is that of the model."""

    def fit_at(t, p):
        h = clone(learner)
        if "random_state" in h.get_params() and t < len(model.estimators_):
            h.set_params(random_state=model.estimators_[t].random_state)
        return h.fit(X, y, sample_weight=total * np.asarray(p))

    return fit_at


# ---------------------------------------------------------------------------
# Hand examples
# ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss, eps, beta, second",
    [
        ("linear", 0.4375, 0.777778, [0.222993, 0.237452, 0.252850, 0.286705]),
        ("square", 0.328125, 0.488372, [0.189048, 0.197709, 0.226144, 0.387099]),
        ("exponential", 0.311697, 0.452849, [0.192040, 0.228820, 0.262279, 0.316862]),
    ],
)
def test_hand_example_of_adaboost_r2(loss, eps, beta, second):
    """Residuals 0, 1, 2, 4 of either sign; the same weights to begin with."""
    model, _ = play([[0, -1, 2, -4]] * 2, 0, loss=loss)
    assert model.estimator_errors_[0] == pytest.approx(eps, abs=1e-6)
    assert model.estimator_weights_[0] == pytest.approx(-log(beta), abs=2e-6)
    np.testing.assert_allclose(model.round_weights_[0], 0.25)
    np.testing.assert_allclose(model.round_weights_[1], second, rtol=0, atol=1e-6)


def test_hand_example_of_the_transfer():
    """Residuals 0 and 4 in the source, 1 and 2 in the target: eps = 3/8, beta_t = .6.

    beta = 1 / (1 + sqrt(2 ln 2 / 1)) = .459261 for N = 1.
    """
    model, _ = play([[0, 4, 1, 2]], 2)
    assert model.estimator_errors_[0] == pytest.approx(3 / 8)
    assert model.estimator_weights_[0] == pytest.approx(log(5 / 3))
    raw = np.array([1, 0.459261])
    np.testing.assert_allclose(model.source_weights_, raw / raw.mean(), atol=1e-6)
    longer, _ = play([[0, 4, 1, 2]] * 2, 2)
    beta = 1 / (1 + sqrt(log(2)))
    raw = np.array([1, beta, 0.6**-0.25, 0.6**-0.5])
    np.testing.assert_allclose(longer.round_weights_[1], raw / raw.sum(), rtol=1e-12)


@pytest.mark.parametrize(
    "values, votes, expected",
    [
        ([3, 1, 2, 10], [1, 1, 1, 1], 2),
        ([3, 1, 2], [0.2, 0.5, 0.3], 1),
        ([3, 1, 2], [0.2, 0.4, 0.3], 2),
        ([5, 5, 1], [0.3, 0.3, 0.4], 5),
        ([7], [0.1], 7),
    ],
)
def test_hand_examples_of_the_median(values, votes, expected):
    values = np.array(values, dtype=float)[:, np.newaxis]
    assert weighted_median(values, np.array(votes)) == expected


@pytest.mark.parametrize("seed", range(20))
def test_median_is_that_of_the_formula(seed):
    """With ties between values; votes that are multiples of .1 sum up to halves."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 6, (rng.integers(1, 12), 40)).astype(float)
    votes = rng.integers(1, 8, len(values)) / 10
    expected = [median_by_the_formula(c, np.exp(-votes)) for c in values.T]
    np.testing.assert_array_equal(weighted_median(values, votes), expected)
    order = rng.permutation(len(values))
    shuffled = weighted_median(values[order], votes[order])
    np.testing.assert_array_equal(shuffled, expected)


# ---------------------------------------------------------------------------
# The restatements
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
@every_loss
@pytest.mark.parametrize("learner", [TREE, LINE], ids=["tree", "line"])
def test_one_domain_is_adaboost_r2(learner, loss, seed):
    X, y, _ = problem(seed)
    weights = np.random.default_rng(seed).lognormal(size=len(y))  # no two splits tie
    model = TrAdaBoostRegressor(
        learner, 10, loss=loss, min_error=TINY, store_weights=True, random_state=seed
    )
    with pytest.warns(NoAdaptationWarning):
        model.fit(X, y, weights)
    ps, betas, hypotheses = adaboost_r2(
        learner_like(model, learner, X, y, weights.sum()), X, y, weights, 10, loss
    )
    assert len(ps) > 1
    np.testing.assert_allclose(model.round_weights_, ps, rtol=0, atol=1e-12)
    votes = -np.log(betas)
    np.testing.assert_allclose(model.estimator_weights_, votes, rtol=0, atol=1e-10)
    expected = final_hypothesis(hypotheses, betas, X, 0)
    np.testing.assert_allclose(model.predict(X), expected, rtol=0, atol=1e-10)
    assert model.target_mass_ == pytest.approx(np.ones(len(ps)))
    assert not hasattr(model, "source_error_") and not len(model.source_weights_)


@pytest.mark.parametrize("seed", range(10))
@every_loss
@both_starts
@pytest.mark.parametrize("learner", [TREE, LINE], ids=["tree", "line"])
def test_is_tradaboost_r2(learner, initial_weight, loss, seed):
    X, y, ids = problem(seed)
    source, N = ids > 0, 11
    given, sample_weight = None, np.ones(len(y))
    if learner is TREE:  # no two splits are equally good then
        given = sample_weight = np.random.default_rng(seed).lognormal(size=len(y))
    dynamic = bool(seed % 2)
    model = TrAdaBoostRegressor(
        learner,
        N,
        loss=loss,
        initial_weight=initial_weight,
        dynamic=dynamic,
        min_error=TINY,
        store_weights=True,
        random_state=seed,
    )
    fit(model, X, y, ids, given)
    ps, betas, hypotheses = tradaboost_r2(
        learner_like(model, learner, X, y, sample_weight.sum()),
        X,
        y,
        source,
        first_weights(initial_weight, source, sample_weight),
        N,
        sample_weight[source].sum(),
        loss,
        dynamic,
    )
    assert len(ps) > 1
    np.testing.assert_allclose(model.round_weights_, ps, rtol=0, atol=1e-12)
    errors = np.array(betas) / (1 + np.array(betas))
    np.testing.assert_allclose(model.estimator_errors_, errors, rtol=0, atol=1e-12)
    mass = [sum(p[i] for i in np.flatnonzero(~source)) for p in ps]
    np.testing.assert_allclose(model.target_mass_, mass, rtol=0, atol=1e-12)
    expected = final_hypothesis(hypotheses, betas, X, ceil(len(ps) / 2) - 1)
    np.testing.assert_allclose(model.predict(X), expected, rtol=0, atol=1e-10)


# ---------------------------------------------------------------------------
# What holds for any sequence of hypotheses
# ---------------------------------------------------------------------------


def random_residuals(seed):
    """A table in which the target's mean loss is below 1/2; row 0 has the largest.

    Returns residuals and the number of source rows.
    """
    rng = np.random.default_rng(seed)
    n, m, N = rng.integers(2, 30), rng.integers(6, 20), rng.integers(2, 25)
    residuals = rng.normal(size=(N, n + m)) * rng.lognormal(size=n + m)
    residuals[:, 0] = 3 * np.abs(residuals).max()
    residuals[:, 1] = 0
    return residuals, n


@every_loss
@pytest.mark.parametrize("seed", range(10))
def test_hedge_bound_of_the_source(seed, loss):
    """The weighted loss is near that of the best source row."""
    residuals, n = random_residuals(seed)
    residuals[:, 1] = np.random.default_rng(seed).normal(size=len(residuals))
    model, _ = play(residuals, n, loss=loss)
    assert len(model.round_weights_) == len(residuals)
    u = np.abs(residuals) / np.abs(residuals).max(axis=1, keepdims=True)
    e = np.vectorize(LOSSES[loss])(u[:, :n])
    q = model.round_weights_[:, :n]
    spent = (q / q.sum(axis=1, keepdims=True) * e).sum()
    bound = e.sum(axis=0).min() + sqrt(2 * len(residuals) * log(n)) + log(n)
    assert spent <= bound


@every_loss
def test_source_rows_lose_weight_by_their_losses(loss):
    """Row 0 is always the worst, row 1 always right."""
    residuals, n = random_residuals(4)
    N = len(residuals)
    model, _ = play(residuals, n, loss=loss)
    beta = 1 / (1 + sqrt(2 * log(n) / N))
    w = model.round_weights_
    worst = beta ** (LOSSES[loss](1) * np.arange(N))
    np.testing.assert_allclose(w[:, 0] / w[:, 1], worst, rtol=1e-11)
    u = np.abs(residuals) / np.abs(residuals).max(axis=1, keepdims=True)
    lost = np.cumsum(np.vectorize(LOSSES[loss])(u[:, :n]), axis=0)[-1]
    expected = beta**lost
    np.testing.assert_allclose(
        model.source_weights_, expected / expected.mean(), rtol=1e-10
    )


def test_dynamic_keeps_right_source_rows_level_with_the_target():
    residuals, n = random_residuals(2)
    model, _ = play(residuals, n, dynamic=True)
    share = model.round_weights_[:, 1] / model.target_mass_
    np.testing.assert_allclose(share, share[0], rtol=1e-11)
    assert np.ptp(model.target_mass_) > 0.01


@every_loss
def test_rows_without_weight_set_no_scale(loss):
    """However far they are off."""
    residuals = np.array([[0, 3, 4, 1, 0.5, 0.5]] * 4)
    weights = np.array([1, 0, 1, 1, 0, 1.0])
    near, _ = play(residuals, 3, loss=loss, sample_weight=weights)
    residuals[:, [1, 4]] = 1e300
    far, _ = play(residuals, 3, loss=loss, sample_weight=weights)
    assert len(near.round_weights_) == 4
    np.testing.assert_array_equal(near.round_weights_, far.round_weights_)
    np.testing.assert_array_equal(near.round_weights_[:, [1, 4]], 0)


@pytest.mark.parametrize("min_error", [None, 0.2])
def test_min_error_is_a_floor_in_the_votes_only(min_error):
    residuals = [[4, 0, 0, 0.2, 0, 0]] * 2
    model, _ = play(residuals, 2, min_error=min_error)
    eps = 0.05 / 4
    assert model.estimator_errors_[0] == pytest.approx(eps)
    floor = 1 / 6 if min_error is None else min_error
    np.testing.assert_allclose(model.estimator_weights_, log((1 - floor) / floor))
    w = model.round_weights_[1]
    assert w[3] / w[2] == pytest.approx(((1 - eps) / eps) ** 0.05)


# ---------------------------------------------------------------------------
# Votes
# ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def boosted():
    """A model of several rounds and its data."""
    X, y, ids = problem(4)
    model = TrAdaBoostRegressor(TREE, 15, store_weights=True, random_state=0)
    model = fit(model, X, y, ids)
    assert len(model.estimators_) >= 9
    return model, X, y, ids


def test_staged_predict_is_the_vote_of_each_round(boosted):
    model, X, _, _ = boosted
    stages = list(model.staged_predict(X))
    assert len(stages) == len(model.estimators_)
    for t, stage in enumerate(stages, start=1):
        first = ceil(t / 2) - 1
        expected = final_hypothesis(
            model.estimators_[:t], np.exp(-model.estimator_weights_[:t]), X, first
        )
        np.testing.assert_array_equal(stage, expected)
    np.testing.assert_array_equal(stages[-1], model.predict(X))
    assert any((stage != stages[-1]).any() for stage in stages)


def test_scores(boosted):
    model, X, y, ids = boosted
    weights = np.random.default_rng(0).random(len(y))
    expected = [
        r2_score(y, stage, sample_weight=weights) for stage in model.staged_predict(X)
    ]
    scores = list(model.staged_score(X, y, sample_weight=weights))
    np.testing.assert_allclose(scores, expected, rtol=1e-12)
    assert len(set(scores)) > 1
    target = ids < 0
    assert model.score(X, y, weights, sample_domain=ids) == pytest.approx(
        r2_score(y[target], model.predict(X[target]), sample_weight=weights[target])
    )


def test_predictions_are_those_of_learners(boosted):
    """A median takes a value that was given: no average of extremes."""
    model, X, _, _ = boosted
    outputs = np.array([learner.predict(X) for learner in model.estimators_])
    assert (outputs == model.predict(X)).any(axis=0).all()


# ---------------------------------------------------------------------------
# Invariances
# ---------------------------------------------------------------------------


@every_loss
def test_unit_of_the_values_does_not_matter(loss):
    X, y, ids = problem(1)
    model = TrAdaBoostRegressor(LINE, 8, loss=loss, store_weights=True)
    plain = fit(clone(model), X, y, ids)
    scaled = fit(clone(model), X, 1000 * y - 7, ids)
    assert len(plain.estimators_) > 2
    np.testing.assert_allclose(
        plain.round_weights_, scaled.round_weights_, rtol=0, atol=1e-10
    )
    np.testing.assert_allclose(
        1000 * plain.predict(X) - 7, scaled.predict(X), rtol=1e-9, atol=1e-6
    )
    assert scaled.source_error_ == pytest.approx(plain.source_error_, rel=1e-9)


@both_starts
def test_order_of_rows_does_not_matter(initial_weight):
    X, y, ids = problem(2)
    order = np.random.default_rng(0).permutation(len(y))
    model = TrAdaBoostRegressor(
        LINE, 8, initial_weight=initial_weight, store_weights=True
    )
    shuffled = fit(clone(model), X[order], y[order], ids[order])
    fit(model, X, y, ids)
    assert len(model.round_weights_) > 2
    np.testing.assert_allclose(
        shuffled.round_weights_, model.round_weights_[:, order], rtol=0, atol=1e-12
    )
    place = np.cumsum(ids > 0) - 1
    np.testing.assert_allclose(
        shuffled.source_weights_,
        model.source_weights_[place[order][ids[order] > 0]],
        rtol=1e-10,
    )
    assert np.ptp(model.source_weights_) > 0.1
    assert model.source_weights_.mean() == pytest.approx(1)
    np.testing.assert_allclose(model.predict(X), shuffled.predict(X), atol=1e-10)


@both_starts
@every_loss
def test_whole_weights_are_repeated_rows(initial_weight, loss):
    X, y, ids = problem(10)
    times = np.random.default_rng(0).integers(0, 4, len(y))
    model = TrAdaBoostRegressor(
        LINE, 8, loss=loss, initial_weight=initial_weight, store_weights=True
    )
    weighted = fit(clone(model), X, y, ids, times)
    repeated = fit(clone(model), *(np.repeat(a, times, axis=0) for a in (X, y, ids)))
    assert len(weighted.estimators_) == len(repeated.estimators_) > 2
    shares = weighted.round_weights_ / np.maximum(times, 1)
    np.testing.assert_allclose(
        np.repeat(shares, times, axis=1), repeated.round_weights_, rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), atol=1e-9)
    assert weighted.source_error_ == pytest.approx(repeated.source_error_)


@pytest.mark.parametrize("kind", ["floats", "objects"])
def test_unlabeled_target_rows_change_nothing(kind):
    """Not a bit: the learner is given the same rows and weights."""
    X, y, ids = problem(6)
    X_all, y_all, ids_all, old = with_unlabeled(X, y, ids)
    if kind == "objects":
        y_all = y_all.astype(object)
        y_all[np.setdiff1d(np.arange(len(y_all)), old)] = None
    model = TrAdaBoostRegressor(TREE, 8, store_weights=True, random_state=0)
    alone = fit(clone(model), X, y, ids)
    among = fit(clone(model), X_all, y_all, ids_all)
    assert among.round_weights_.shape == (len(among.estimators_), len(y))
    np.testing.assert_array_equal(among.round_weights_, alone.round_weights_)
    np.testing.assert_array_equal(among.source_weights_, alone.source_weights_)
    np.testing.assert_array_equal(among.predict(X_all[old]), alone.predict(X))
    assert np.isfinite(among.predict(X_all)).all()


@pytest.mark.parametrize("container", [csr_matrix, csr_array])
def test_sparse_rows_stay_sparse(container):
    X, y, ids = problem(8)
    X_all, y_all, ids_all, _ = with_unlabeled(np.where(X > 0.5, X, 0), y, ids)
    seen = Shared()
    model = TrAdaBoostRegressor(Spy(TREE, seen), 6, random_state=0, store_weights=True)
    dense = fit(clone(model), X_all, y_all, ids_all)
    seen.clear()
    sparse = fit(clone(model), container(X_all), y_all, ids_all)
    assert len(seen) >= len(sparse.estimators_) > 2
    assert all(issparse(rows) for rows, _, _ in seen)
    np.testing.assert_array_equal(dense.round_weights_, sparse.round_weights_)
    np.testing.assert_array_equal(
        dense.predict(X_all), sparse.predict(container(X_all))
    )


def test_learner_gets_weights_on_the_scale_of_the_user():
    X, y, ids = problem(9)
    X_all, y_all, ids_all, old = with_unlabeled(X, y, ids)
    weights = np.random.default_rng(0).lognormal(2, 1, len(y_all))
    seen = Shared()
    model = TrAdaBoostRegressor(Spy(TREE, seen), 6, store_weights=True)
    fit(model, X_all, y_all, ids_all, weights)
    rounds = [given for given in seen if len(given[1]) == len(old)]
    assert len(rounds) >= len(model.estimators_) > 2
    for (_, values, w), expected in zip(rounds, model.round_weights_):
        np.testing.assert_array_equal(values, y)
        assert values.dtype == np.float64
        np.testing.assert_allclose(w / weights[old].sum(), expected, rtol=1e-10)


def test_default_learner():
    X, y, ids = problem(11)
    learner = fit(TrAdaBoostRegressor(n_estimators=3), X, y, ids).estimators_[0]
    assert isinstance(learner, Ridge) and learner.alpha == 1


def test_seeds():
    """Learners that draw: another seed for each round, and the same ones again."""
    X, y, ids = problem(3)
    learner = make_pipeline(DecisionTreeRegressor(max_features=1, max_depth=3))
    model = TrAdaBoostRegressor(learner, 6, random_state=0)
    first, again = (fit(clone(model), X, y, ids) for _ in range(2))
    other = fit(clone(model).set_params(random_state=1), X, y, ids)
    seeds = [h[-1].random_state for h in first.estimators_]
    assert len(set(seeds)) == len(seeds) > 2
    np.testing.assert_array_equal(first.predict(X), again.predict(X))
    assert (first.predict(X) != other.predict(X)).any()


def test_search_over_folds_of_the_target():
    X, y, ids = problem(3, m=40)
    y[np.flatnonzero(ids < 0)[::2]] = np.nan
    search = GridSearchCV(
        TrAdaBoostRegressor(Ridge(), 5),
        {"loss": list(LOSSES)},
        cv=list(TargetKFold(4).split(X, y, sample_domain=ids)),
        error_score="raise",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NegativeTransferWarning)
        search.fit(X, y, sample_domain=ids)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


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
        (_put(np.nan, lambda ids: ids > 0), "no labelled source row"),
        (_put(np.nan, lambda ids: np.argmax(ids > 0)), "unlabelled source rows.*drop"),
        (_put(np.inf, lambda ids: 0), "y contains infinity"),
        (lambda y, ids: np.column_stack([y, y]), "y should be a 1d array.*fit one"),
        (lambda y, ids: np.where(y > 0, "high", "low"), "could not convert string"),
    ],
)
def test_bad_values(spoil, words):
    X, y, ids = problem(12)
    model = TrAdaBoostRegressor(LINE, 3)
    fit(clone(model), X, y, ids)
    with pytest.raises(ValueError, match=f"(?is){words}"):
        model.fit(X, spoil(y, ids), sample_domain=ids)


@pytest.mark.parametrize(
    "parameters, words",
    [
        ({"estimator": KNeighborsRegressor()}, "takes no sample_weight"),
        (
            {"estimator": make_pipeline(StandardScaler(), KNeighborsRegressor())},
            "takes no sample_weight",
        ),
        ({"estimator": TrAdaBoostRegressor()}, "takes sample_domain itself"),
        ({"loss": "hard"}, "'loss' parameter"),
        ({"min_error": 0.5}, "'min_error' parameter"),
        ({"n_estimators": 0}, "'n_estimators' parameter"),
        ({"initial_weight": np.ones(3)}, "initial_weight has shape"),
    ],
)
def test_bad_parameters(parameters, words):
    X, y, ids = problem(12)
    model = TrAdaBoostRegressor(LINE, 3).set_params(**parameters)
    with pytest.raises(ValueError, match=words):
        model.fit(X, y, sample_domain=ids)


# ---------------------------------------------------------------------------
# Where boosting ends early
# ---------------------------------------------------------------------------


@pytest.mark.filterwarnings("error::skadapt.NegativeTransferWarning")
def test_perfect_fit_is_kept_and_ends_it():
    model, X = play([[0, 2, 1, 0, 0], [0] * 5, [1] * 5], 2)
    assert len(model.estimators_) == 2
    assert model.termination_condition_ == "perfect_fit"
    assert model.estimator_errors_[1] == 0
    assert model.estimator_weights_[1] == pytest.approx(log((1 - TINY) / TINY))
    np.testing.assert_array_equal(model.predict(X), np.arange(5))


def test_without_target_residuals_goes_on_while_the_source_has_some():
    model, _ = play([[2, 1, 0, 0]] * 5, 2, min_error=None)
    assert len(model.estimators_) == 5
    np.testing.assert_array_equal(model.estimator_errors_, 0)
    np.testing.assert_allclose(model.estimator_weights_, log(3))
    w = model.round_weights_
    beta = 1 / (1 + sqrt(2 * log(2) / 5))
    np.testing.assert_allclose(w[:, 0] / w[:, 2], beta ** np.arange(5), rtol=1e-12)
    np.testing.assert_allclose(w[:, 3] / w[:, 2], 1)


@pytest.mark.filterwarnings("error::skadapt.NegativeTransferWarning")
@pytest.mark.parametrize("learner", [TREE, LINE], ids=["tree", "line"])
@pytest.mark.parametrize("value", [0.1, 1e9 / 3, 0.0])
def test_rounding_is_no_residual(value, learner):
    """A constant comes back but for rounding, which says nothing about rows."""
    X, _, ids = problem(0)
    model = TrAdaBoostRegressor(learner, 10)
    model.fit(X, np.full(len(ids), value), sample_domain=ids)
    assert model.termination_condition_ == "perfect_fit"
    assert len(model.estimators_) == 1 and list(model.estimator_errors_) == [0]
    np.testing.assert_allclose(model.predict(X), value, rtol=1e-12)
    np.testing.assert_allclose(model.source_weights_, 1)
    assert np.isnan(model.source_error_)


@pytest.mark.parametrize("n_source", [0, 2])
def test_first_round_of_half_the_worst_residual_is_kept_alone(n_source):
    bad = [0] * n_source + [1, 1, 0, 0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model, X = play([bad] * 2, n_source)
    transfer = [w for w in caught if w.category is NegativeTransferWarning]
    assert len(transfer) == (n_source > 0)
    if transfer:
        assert "has the mean loss 0.500 on the labelled target rows" in str(
            transfer[0].message
        )
        assert transfer[0].filename == __file__  # where fit was called
    assert len(model.estimators_) == 1 and list(model.estimator_weights_) == [1]
    assert model.termination_condition_ == "no_better_than_chance"
    np.testing.assert_array_equal(model.predict(X), np.arange(len(bad)) + bad)


@pytest.mark.filterwarnings("error::skadapt.NegativeTransferWarning")
def test_later_round_of_half_the_worst_residual_is_dropped():
    model, _ = play([[2, 0, 1, 0, 0], [0, 0, 1, 1, 1]], 2, n_estimators=9)
    assert len(model.estimators_) == 1 and model.round_weights_.shape == (1, 5)
    assert model.termination_condition_ == "no_better_than_chance"
    assert model.estimator_errors_[0] == pytest.approx(1 / 6)


@pytest.mark.parametrize("n_source", [0, 3])
def test_mean_loss_of_a_half_is_out_however_it_is_weighted(n_source):
    """Only the worst third of the target is off, by weights that made it a half."""
    rows = n_source + 6
    first = np.zeros(rows)
    first[n_source : n_source + 2] = 1.0
    model, _ = play([first, first], n_source)
    w = model.round_weights_[0] * np.where(first > 0, 2.0, 1.0)
    assert w[n_source : n_source + 2].sum() == pytest.approx(w[n_source + 2 :].sum())
    assert len(model.estimators_) == 1
    assert model.termination_condition_ == "no_better_than_chance"


@pytest.mark.parametrize("off, misleads", [(1.0, 0), (2.5, 1)])
def test_source_alone_worse_than_a_constant_is_warned_of(off, misleads):
    """Values 0 ... 3 and 4 ... 7: the latter have the variance 5/4."""
    residuals = [[0, 2, 0, 0, 1, 0, 0, 0]] * 2
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model, _ = play(residuals, 4, alone=np.full(8, off))
    assert [w.category for w in caught] == [NegativeTransferWarning] * misleads
    assert model.source_error_ == pytest.approx(off**2 / 1.25)
    assert len(model.estimators_) == 2
    for warning in caught:
        assert "no better than a constant" in str(warning.message)
        assert warning.filename == __file__


def test_error_of_the_source_alone():
    X, y, ids = problem(1)
    source = ids > 0
    weights = np.random.default_rng(0).lognormal(size=len(y))
    model = fit(TrAdaBoostRegressor(LINE, 3), X, y, ids, weights)
    alone = clone(LINE).fit(X[source], y[source], sample_weight=weights[source])
    predicted = alone.predict(X[~source])
    score = r2_score(y[~source], predicted, sample_weight=weights[~source])
    assert model.source_error_ == pytest.approx(1 - score, rel=1e-10)


# ---------------------------------------------------------------------------
# Early stopping and warm start
# ---------------------------------------------------------------------------


def test_early_stopping_keeps_the_best_rounds():
    """Held-out rows are those the learner never saw; their scores are the vote's."""
    X, y, ids = problem(9, m=60)
    X = np.c_[X, np.arange(len(y))]  # the last column is the number of the row
    seen = Shared()
    model = TrAdaBoostRegressor(
        Spy(TREE, seen),
        60,
        early_stopping=True,
        validation_fraction=0.25,
        n_iter_no_change=5,
        random_state=0,
    )
    fit(model, X, y, ids)
    rounds = [rows for rows, _, _ in seen if (ids[rows[:, -1].astype(int)] < 0).any()]
    held_out = np.setdiff1d(np.arange(len(y)), rounds[0][:, -1])
    assert (ids[held_out] < 0).all() and len(held_out) == 15
    kept = len(model.estimators_)
    assert model.termination_condition_ == "early_stopping"
    assert len(rounds) == len(model.validation_scores_) == kept + 5
    assert kept == np.argmax(model.validation_scores_) + 1
    assert len(model.estimator_weights_) == len(model.target_mass_) == kept
    expected = [
        -np.mean((stage - y[held_out]) ** 2)
        for stage in model.staged_predict(X[held_out])
    ]
    np.testing.assert_allclose(model.validation_scores_[:kept], expected, rtol=1e-12)


def test_one_row_can_be_held_out():
    X, y, ids = problem(9)
    y[np.flatnonzero(ids < 0)[4:]] = np.nan
    model = TrAdaBoostRegressor(TREE, 10, early_stopping=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", NegativeTransferWarning)
        model.fit(X, y, sample_domain=ids)
    assert len(np.unique(model.validation_scores_)) > 1
    assert len(model.estimators_) == np.argmax(model.validation_scores_) + 1


@every_loss
def test_warm_start_goes_on_where_it_stopped(loss):
    """Round 7 has the weights that round 6 left, beta being that of its own N."""
    X, y, ids = problem(15)
    source = ids > 0
    model = TrAdaBoostRegressor(
        LINE, 6, loss=loss, initial_weight="row", warm_start=True, store_weights=True
    )
    fit(model, X, y, ids)
    old, before = list(model.estimators_), model.round_weights_.copy()
    assert len(old) == 6
    fit(model.set_params(n_estimators=9), X, y, ids)
    assert len(model.estimators_) > 6
    assert all(a is b for a, b in zip(old, model.estimators_))
    np.testing.assert_array_equal(model.round_weights_[:6], before)
    e = np.array(losses_of(old[5], X, y, before[5], loss))
    eps = before[5][~source] @ e[~source] / before[5][~source].sum()
    beta = 1 / (1 + sqrt(2 * log(source.sum()) / 6))
    expected = before[5] * np.where(source, beta**e, ((1 - eps) / eps) ** e)
    np.testing.assert_allclose(
        model.round_weights_[6], expected / expected.sum(), rtol=1e-9
    )
