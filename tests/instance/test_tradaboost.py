"""TrAdaBoost against a straight-line restatement of Algorithm 1.

Rounds, weights and votes are stated again here from the papers, the two-class form in
the paper's own products and loops; nothing is taken from the package but its answers.
What depends on the losses alone is tested with a learner that plays a prescribed table
of them.
"""

import warnings
from math import ceil, exp, log, sqrt

import numpy as np
import pytest
from scipy.sparse import csr_array, csr_matrix, issparse
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import AdaBoostClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from skadapt import (
    DegenerateWeightsWarning,
    NegativeTransferWarning,
    NoAdaptationWarning,
    TargetKFold,
    TrAdaBoostClassifier,
)

TINY = 1e-12  # a min_error that no error of these tests is below, 0 excepted
SLACK = 1e-12  # where two numbers would be equal without rounding
STUMP = DecisionTreeClassifier(max_depth=1)
LOGISTIC = LogisticRegression(solver="newton-cholesky", tol=1e-10)
GAUSSIAN = GaussianNB(var_smoothing=0)

both_routings = pytest.mark.parametrize("routing", [False, True])
both_starts = pytest.mark.parametrize("initial_weight", ["row", "domain"])


# ---------------------------------------------------------------------------
# Learners that play a script or write down what they are given
# ---------------------------------------------------------------------------


class Shared(list):
    """A list that clones of an estimator share."""

    def __deepcopy__(self, memo):
        return self


class Scripted(ClassifierMixin, BaseEstimator):
    """Its next fit on all rows takes the next table of the script.

    A table has the probabilities (n_rows, n_classes) of all rows; X holds row numbers.
    A fit on fewer rows is that on the source alone and takes its own table.
    """

    def __init__(self, script, alone):
        self.script = script
        self.alone = alone

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.arange(self.alone.shape[1])
        self.table_ = self.alone if len(X) < len(self.alone) else self.script.pop(0)
        return self

    def predict_proba(self, X):
        return self.table_[np.asarray(X)[:, 0].astype(int)]

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class Spy(ClassifierMixin, BaseEstimator):
    """Writes down what `fit` is given, and leaves the work to another learner."""

    def __init__(self, learner, seen):
        self.learner = learner
        self.seen = seen

    def fit(self, X, y, sample_weight=None):
        self.seen.append((X, y, sample_weight))
        X = X.toarray() if issparse(X) else X
        self.learner_ = clone(self.learner).fit(X, y, sample_weight=sample_weight)
        self.classes_ = self.learner_.classes_
        return self

    def predict(self, X):
        return self.learner_.predict(X.toarray() if issparse(X) else X)


def script_of(losses, y, n_classes=2):
    """Tables in which row i has the loss l: 1 - l is the probability of its label.

    The next class, modulo the number of classes, has the rest.
    """
    losses, y = np.asarray(losses, dtype=float), np.asarray(y)
    rows = np.arange(len(y))
    tables = np.zeros((*losses.shape, n_classes))
    for table, loss in zip(tables, losses):
        table[rows, y] = 1 - loss
        table[rows, (y + 1) % n_classes] += loss
    return Shared(tables)


def play(
    losses, y, n_source, *, alone=None, n_classes=2, sample_weight=None, **parameters
):
    """Fit on prescribed losses, the source rows being the first ones.

    `alone` are the losses of the learner fitted on these alone; None: all right.
    """
    alone = np.zeros(len(y)) if alone is None else alone
    parameters = {"initial_weight": "row", "min_error": TINY} | parameters
    parameters.setdefault("n_estimators", len(losses))
    learner = Scripted(
        script_of(losses, y, n_classes), script_of([alone], y, n_classes)[0]
    )
    model = TrAdaBoostClassifier(learner, store_weights=True, **parameters)
    X = np.arange(len(y), dtype=float)[:, np.newaxis]
    ids = np.where(X[:, 0] < n_source, 1, -1)
    return model.fit(X, y, sample_weight, sample_domain=ids), X


def at(rows, n_rows):
    """A loss of 1 at these rows."""
    return np.isin(np.arange(n_rows), rows).astype(float)


def random_losses(seed, *, n_classes=2, n_rounds=None, soft=False):
    """Losses with 0 < eps < 1 - 1/K in each round; source row 0 is always right.

    Returns losses, y and the number of source rows.
    """
    rng = np.random.default_rng(seed)
    n, m, N = rng.integers(2, 30), rng.integers(6, 20), rng.integers(1, 25)
    N = n_rounds or N
    y = rng.integers(0, n_classes, n + m)
    y[n : n + n_classes] = np.arange(n_classes)
    shares = rng.uniform(0, 1, n)  # how often a source row is wrong
    shares[0] = 0
    losses = np.zeros((N, n + m))
    w = np.ones(m)
    for loss in losses:
        eps = 1.0
        while not 0 < eps < 0.97 * (1 - 1 / n_classes):
            share = rng.uniform(0, 1 - 1 / n_classes)
            target = rng.random(m) < share
            loss[n:] = target * rng.random(m) if soft else target
            eps = w @ loss[n:] / w.sum()
        loss[:n] = rng.random(n) < shares
        if soft:
            loss[:n] *= rng.random(n)
        w = w * ((n_classes - 1) * (1 - eps) / eps) ** loss[n:]
    return losses, y, n


# ---------------------------------------------------------------------------
# Referees
# ---------------------------------------------------------------------------


def first_weights(initial_weight, source, sample_weight):
    w = np.array(sample_weight, dtype=float)
    if initial_weight == "domain":
        for side in (source, ~source):
            w[side] /= w[side].sum()
    return w / w.sum()


def algorithm_1(fit, X, y, source, w, N, n_source):
    """Dai et al. 2007, Algorithm 1, y in {0, 1}; stops at eps >= 1/2 and where no
    row is wrong.

    The last hypothesis chosen again errs by 1/2, but for rounding: hence the slack.

    Returns p^t, eps_t and h_t of the rounds kept.
    """
    beta = 1 / (1 + sqrt(2 * log(n_source) / N))
    w = list(w)
    rows = range(len(y))
    ps, errors, hypotheses = [], [], []
    for t in range(N):
        total = sum(w)
        p = [w_i / total for w_i in w]
        h = fit(t, p)
        wrong = [int(label != true) for label, true in zip(h.predict(X), y)]
        target_mass = sum(w[i] for i in rows if not source[i])
        eps = sum(w[i] * wrong[i] for i in rows if not source[i]) / target_mass
        if eps >= 0.5 - SLACK and t > 0:
            break
        ps.append(p)
        errors.append(eps)
        hypotheses.append(h)
        if eps >= 0.5 - SLACK or not any(wrong):
            break
        beta_t = eps / (1 - eps)
        for i in rows:
            if source[i]:
                w[i] *= beta ** wrong[i]
            elif eps > 0:
                w[i] *= beta_t ** -wrong[i]
    return ps, errors, hypotheses


def final_hypothesis(hypotheses, errors, min_error, X):
    """h_f of Algorithm 1: 1 where prod beta_t^-h_t(x) >= prod beta_t^-1/2.

    Errors below the floor tie, but for the rounding of the products.
    """
    N = len(hypotheses)
    predicted = []
    for x in X:
        left = right = 1.0
        for t in range(ceil(N / 2), N + 1):
            e = max(errors[t - 1], min_error)
            beta_t = e / (1 - e)
            left *= beta_t ** -int(hypotheses[t - 1].predict([x])[0])
            right *= beta_t**-0.5
        predicted.append(int(left >= right * (1 - SLACK)))
    return predicted


def general_rounds(fit, X, y, source, w, N, n_source, K, soft=False, dynamic=False):
    """K classes, labels 0 ... K - 1; losses 1 - p(true class) if soft."""
    beta = 1 / (1 + sqrt(2 * log(n_source) / N))
    v = np.log(w)
    ps, errors, hypotheses = [], [], []
    for t in range(N):
        p = np.exp(v - v.max())
        p /= p.sum()
        h = fit(t, p)
        if soft:
            loss = 1 - h.predict_proba(X)[np.arange(len(y)), y]
        else:
            loss = (h.predict(X) != y).astype(float)
        eps = p[~source] @ loss[~source] / p[~source].sum()
        if eps >= 1 - 1 / K - SLACK and t > 0:
            break
        ps.append(p)
        errors.append(eps)
        hypotheses.append(h)
        if eps >= 1 - 1 / K - SLACK or not loss.any():
            break
        before = np.exp(v[~source]).sum()
        if eps > 0:
            v[~source] += (log((1 - eps) / eps) + log(K - 1)) * loss[~source]
        v[source] += log(beta) * loss[source]
        if dynamic:
            v[source] += log(np.exp(v[~source]).sum() / before)
    return ps, errors, hypotheses


def vote_shares(hypotheses, errors, min_error, X, K, soft=False):
    shares = np.zeros((len(X), K))
    for t in range(ceil(len(errors) / 2), len(errors) + 1):
        e = max(errors[t - 1], min_error)
        a = log((1 - e) / e) + log(K - 1)
        h = hypotheses[t - 1]
        shares += a * (h.predict_proba(X) if soft else np.eye(K)[h.predict(X)])
    return shares / shares.sum(axis=1, keepdims=True)


def samme(learner, X, y, n_rounds):
    """Zhu et al. 2009, all rounds voting; labels 0 ... K - 1."""
    K = y.max() + 1
    w = np.full(len(y), 1 / len(y))
    rounds, votes = [], np.zeros((len(y), K))
    for _ in range(n_rounds):
        predicted = clone(learner).fit(X, y, sample_weight=len(y) * w).predict(X)
        wrong = predicted != y
        eps = w[wrong].sum()
        a = log((1 - eps) / eps) + log(K - 1)
        rounds.append((w, eps, a))
        votes += a * np.eye(K)[predicted]
        w = w * np.exp(a * wrong)
        w /= w.sum()
    return rounds, votes.argmax(axis=1)


# ---------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------


def problem(seed, K=2, n=60, m=40, d=6, shift=0.7, noise=0.05):
    """Linear concepts, the source's being another; noisy labels; domains interleaved.

    Returns X, y, sample_domain.
    """
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.r_[np.tile([1, 2], n // 2), np.tile([-1, -2], m // 2)])
    X = rng.normal(size=(n + m, d)) + 0.3 * (ids > 0)[:, np.newaxis]
    target_concept = rng.normal(size=(d, K))
    source_concept = target_concept + shift * rng.normal(size=(d, K))
    ys, yt = (X @ source_concept).argmax(axis=1), (X @ target_concept).argmax(axis=1)
    y = np.where(ids > 0, ys, yt)
    noisy = rng.random(n + m) < noise
    y[noisy] = rng.integers(0, K, noisy.sum())
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


def fit_one_domain(model, X, y):
    with pytest.warns(NoAdaptationWarning):
        return model.fit(X, y)


def learner_like(model, learner, X, y, total):
    """The learner of round t, fitted on weights p^t; its seed is that of the model."""

    def fit_at(t, p):
        h = clone(learner)
        if "random_state" in h.get_params() and t < len(model.estimators_):
            h.set_params(random_state=model.estimators_[t].random_state)
        return h.fit(X, y, sample_weight=total * np.asarray(p))

    return fit_at


# ---------------------------------------------------------------------------
# The hand example
# ---------------------------------------------------------------------------

HAND_Y = np.array([0, 1, 0, 1, 0, 1, 0, 1])
HAND_LOSSES = np.array([at([0, 4], 8), at([1, 5], 8), at([0, 6], 8)])


def test_hand_example():
    """n = m = 4, N = 3; wrong are s1 t1, s2 t2, s1 t3."""
    model, X = play(HAND_LOSSES, HAND_Y, 4)
    expected = [
        [0.125] * 8,
        [0.053613, 0.105154, 0.105154, 0.105154]
        + [0.315462, 0.105154, 0.105154, 0.105154],
        [0.039160, 0.039160, 0.076807, 0.076807]
        + [0.230420, 0.384033, 0.076807, 0.076807],
    ]
    np.testing.assert_allclose(model.round_weights_, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(model.estimator_errors_, [1 / 4, 1 / 6, 1 / 10])
    np.testing.assert_allclose(
        model.estimator_weights_, [1.098612, 1.609438, 2.197225], atol=1e-6
    )
    np.testing.assert_allclose(
        model.target_mass_, [0.5, 0.630925, 0.768067], rtol=0, atol=1e-6
    )
    # After the last round: beta^2, beta, 1, 1.
    raw = np.array([0.509853**2, 0.509853, 1, 1])
    np.testing.assert_allclose(model.source_weights_, raw / raw.mean(), atol=2e-6)
    assert model.termination_condition_ == "n_estimators"

    # Rounds 2 and 3 vote, 1.609438 against 2.197225: who is wrong in round 3 is wrong.
    wrong = at([0, 6], 8).astype(bool)
    np.testing.assert_array_equal(model.predict(X) != HAND_Y, wrong)
    truth = model.predict_proba(X)[np.arange(8), HAND_Y]
    np.testing.assert_allclose(truth[[0, 6]], 1.609438 / 3.806663, atol=1e-6)
    np.testing.assert_allclose(truth[[1, 5]], 2.197225 / 3.806663, atol=1e-6)
    np.testing.assert_array_equal(truth[[2, 3, 4, 7]], 1)


@pytest.mark.parametrize(
    "dynamic, expected",
    [
        (False, [0.5, 0.630925, 0.768067, 0.866643]),
        (True, [0.5, 0.532634, 0.569825, 0.590859]),
    ],
)
def test_hand_example_target_mass(dynamic, expected):
    """The mass after the last round is that of a round fitted later."""
    model, X = play(HAND_LOSSES, HAND_Y, 4, dynamic=dynamic, warm_start=True)
    model.estimator.script.extend(script_of(HAND_LOSSES[:1], HAND_Y))
    model.set_params(n_estimators=4)
    model.fit(X, HAND_Y, sample_domain=np.repeat([1, -1], 4))
    np.testing.assert_allclose(model.target_mass_, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("weight, floor", [(1, 1 / 8), (2, 1 / 16), (0.25, 1 / 4)])
def test_default_min_error_is_a_floor_in_the_votes_only(weight, floor):
    model, _ = play(
        HAND_LOSSES, HAND_Y, 4, min_error=None, sample_weight=np.full(8, weight)
    )
    errors = np.array([1 / 4, 1 / 6, 1 / 10])
    np.testing.assert_allclose(model.estimator_errors_, errors)
    e = np.maximum(errors, floor)
    np.testing.assert_allclose(model.estimator_weights_, np.log((1 - e) / e))
    # Target rows are weighted up by the error itself.
    target = model.round_weights_[2, 4:] / model.round_weights_[2, 7]
    np.testing.assert_allclose(target, [3, 5, 1, 1])


# ---------------------------------------------------------------------------
# The restatements
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
@both_starts
@pytest.mark.parametrize("learner", [STUMP, LOGISTIC], ids=["stump", "logistic"])
def test_is_algorithm_1(learner, initial_weight, seed):
    X, y, ids = problem(seed)
    source = ids > 0
    given, sample_weight = None, np.ones(len(y))
    if learner is STUMP:  # no two splits are equally good then
        given = sample_weight = np.random.default_rng(seed).lognormal(size=len(y))
    N, min_error = 10, 0.01
    model = TrAdaBoostClassifier(
        learner,
        N,
        initial_weight=initial_weight,
        min_error=min_error,
        store_weights=True,
        random_state=seed,
    )
    fit(model, X, y, ids, given)
    ps, errors, hypotheses = algorithm_1(
        learner_like(model, learner, X, y, sample_weight.sum()),
        X,
        y,
        source,
        first_weights(initial_weight, source, sample_weight),
        N,
        sample_weight[source].sum(),
    )
    assert len(ps) > 1
    np.testing.assert_allclose(model.round_weights_, ps, rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.estimator_errors_, errors, rtol=0, atol=1e-12)
    mass = [sum(p[i] for i in np.flatnonzero(~source)) for p in ps]
    np.testing.assert_allclose(model.target_mass_, mass, rtol=0, atol=1e-12)
    expected = final_hypothesis(hypotheses, errors, min_error, X)
    np.testing.assert_array_equal(model.predict(X), expected)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("loss", ["hard", "soft"])
@pytest.mark.parametrize("K", [2, 3, 4])
def test_is_the_general_form(K, loss, dynamic, seed):
    X, y, ids = problem(seed, K)
    source = ids > 0
    N, min_error = 10, 0.01
    soft = loss == "soft"
    model = TrAdaBoostClassifier(
        GAUSSIAN, N, loss=loss, dynamic=dynamic, min_error=min_error, store_weights=True
    )
    fit(model, X, y, ids)
    ps, errors, hypotheses = general_rounds(
        learner_like(model, GAUSSIAN, X, y, len(y)),
        X,
        y,
        source,
        first_weights("domain", source, np.ones(len(y))),
        N,
        source.sum(),
        K,
        soft,
        dynamic,
    )
    assert len(ps) > 1
    np.testing.assert_allclose(model.round_weights_, ps, rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.estimator_errors_, errors, rtol=0, atol=1e-12)
    shares = vote_shares(hypotheses, errors, min_error, X, K, soft)
    np.testing.assert_allclose(model.predict_proba(X), shares, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(model.predict(X), shares.argmax(axis=1))


# ---------------------------------------------------------------------------
# What holds for any sequence of hypotheses
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["hard", "soft"])
@pytest.mark.parametrize("seed", range(20))
def test_hedge_bound_of_the_source(seed, loss):
    """T1: the weighted loss is near that of the best source row."""
    losses, y, n = random_losses(seed, soft=loss == "soft")
    # Nobody is right all the time: the bound has a best row to be compared with.
    losses[:, 0] = np.random.default_rng(seed).random(len(losses)) < 0.3
    model, _ = play(losses, y, n, loss=loss)
    assert len(model.round_weights_) == len(losses)
    q = model.round_weights_[:, :n]
    q = q / q.sum(axis=1, keepdims=True)
    spent = (q * losses[:, :n]).sum()
    best = losses[:, :n].sum(axis=0).min()
    assert spent <= best + sqrt(2 * len(losses) * log(n)) + log(n) + 1e-9


@pytest.mark.parametrize("seed", range(30))
def test_training_error_bound_of_the_target(seed):
    """T3: weighted as at round ceil(N/2), where the vote starts."""
    losses, y, n = random_losses(seed)
    model, X = play(losses, y, n)
    first = ceil(len(losses) / 2) - 1
    u = model.round_weights_[first, n:]
    u = u / u.sum()
    wrong = model.predict(X[n:]) != y[n:]
    eps = np.asarray(model.estimator_errors_[first:])
    assert len(model.estimator_errors_) == len(losses)
    assert u @ wrong <= np.prod(2 * np.sqrt(eps * (1 - eps))) + 1e-12


@pytest.mark.parametrize("K", [2, 3, 4])
@pytest.mark.parametrize("seed", range(10))
def test_growth_of_the_target_mass(seed, K):
    """By K (1 - eps) a round; the always-right source row 0 is the yardstick."""
    losses, y, n = random_losses(seed, n_classes=K)
    model, _ = play(losses, y, n, n_classes=K)
    mass = model.target_mass_ / model.round_weights_[:, 0]
    eps = np.asarray(model.estimator_errors_)
    assert len(mass) == len(losses)
    np.testing.assert_allclose(mass[1:] / mass[:-1], K * (1 - eps[:-1]), rtol=1e-10)


@pytest.mark.parametrize("dynamic", [False, True])
def test_source_rows_lose_weight_by_being_wrong_only(dynamic):
    """Row 0 is always right, row 1 always wrong, row 2 wrong in round 2."""
    n, N = 5, 9
    losses = np.array([at([1, 5 + t % 7], 12) for t in range(N)])
    losses[1, 2] = 1
    model, _ = play(losses, np.arange(12) % 2, n, dynamic=dynamic)
    beta = 1 / (1 + sqrt(2 * log(n) / N))
    w = model.round_weights_
    t = np.arange(N)
    np.testing.assert_allclose(w[:, 1] / w[:, 0], beta**t, rtol=1e-12)
    np.testing.assert_allclose(w[:, 2] / w[:, 0], np.where(t > 1, beta, 1), rtol=1e-12)
    raw = np.array([1, beta**N, beta, 1, 1])
    np.testing.assert_allclose(model.source_weights_, raw / raw.mean(), rtol=1e-12)


@pytest.mark.parametrize("soft", [False, True])
def test_dynamic_keeps_right_source_rows_level_with_the_target(soft):
    """Also through a round without a target error, in which the target stays."""
    losses, y, n = random_losses(3, n_rounds=12, soft=soft)
    losses = np.insert(losses, 4, at([1], len(y)), axis=0)
    loss = "soft" if soft else "hard"
    model, _ = play(losses, y, n, dynamic=True, loss=loss)
    assert len(model.estimator_errors_) == len(losses)
    assert model.estimator_errors_[4] == 0
    share = model.round_weights_[:, 0] / model.target_mass_
    np.testing.assert_allclose(share, share[0], rtol=1e-11)
    assert np.ptp(model.target_mass_) > 0.01


def test_one_source_row_keeps_its_weight():
    """ln 1 = 0, so beta = 1."""
    losses = np.array([at([0, 1 + t], 7) for t in range(5)])
    model, _ = play(losses, np.array([0, 1, 0, 0, 1, 0, 0]), 1)
    growth = model.target_mass_ / model.round_weights_[:, 0]
    eps = np.asarray(model.estimator_errors_)
    np.testing.assert_allclose(growth[1:] / growth[:-1], 2 * (1 - eps[:-1]), rtol=1e-12)


def test_more_rounds_than_the_exponents_of_floats():
    """Each round the lightest target row is wrong: the target grows 2^1200 times."""
    n, m, N = 4, 20, 1200
    losses = np.zeros((N, n + m))
    v, errors = np.zeros(m), []
    for t, loss in enumerate(losses):
        lightest = v.argmin()
        loss[n + lightest] = 1
        loss[1] = t % 2
        eps = exp(v[lightest]) / np.exp(v).sum()
        v[lightest] += log((1 - eps) / eps)
        v -= v.max()
        errors.append(eps)
    model, X = play(losses, np.arange(n + m) % 2, n)
    assert len(model.estimators_) == N
    np.testing.assert_allclose(model.estimator_errors_, errors, rtol=1e-6)
    np.testing.assert_allclose(model.round_weights_.sum(axis=1), 1, rtol=1e-12)
    assert (model.round_weights_ >= 0).all()
    assert 1 - model.target_mass_[-1] < 1e-15
    assert np.isfinite(model.source_weights_).all()
    target = np.arange(n, n + m)
    np.testing.assert_array_equal(model.predict(X[n:]), target % 2)


# ---------------------------------------------------------------------------
# Votes
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("label", [0, 1])
def test_ties_go_to_the_second_class(label):
    """Two equal votes, of which one is wrong about source row 0."""
    y = np.array([label, 0, 1, 0, 1])
    losses = [at([0, 1], 5), at([1], 5)]
    for order in (1, -1):
        model, X = play(losses[::order], y, 3, min_error=0.1)
        a = log(9)
        np.testing.assert_allclose(model.estimator_weights_, [a, a])
        assert model.predict(X)[0] == 1
        np.testing.assert_allclose(model.predict_proba(X)[0], [0.5, 0.5])
        assert model.decision_function(X)[0] == 0


def test_ties_go_to_the_later_of_several_classes():
    y = np.array([0, 0, 1, 2, 0, 1, 2])
    model, X = play([at([0, 1], 7), at([1], 7)], y, 4, n_classes=3, min_error=0.1)
    np.testing.assert_allclose(model.predict_proba(X)[0], [0.5, 0.5, 0])
    assert model.predict(X)[0] == 1


@pytest.fixture(scope="module", params=[2, 3], ids=["binary", "three"])
def boosted(request):
    """A model of at least 9 rounds and its data."""
    X, y, ids = problem(4, request.param)
    names = np.array(["ash", "birch", "cedar"])
    model = TrAdaBoostClassifier(STUMP, 15, store_weights=True, random_state=0)
    model = fit(model, X, names[y], ids)
    assert len(model.estimators_) >= 9
    return model, X, names[y], ids


@pytest.mark.parametrize("loss", ["hard", "soft"])
@pytest.mark.parametrize("K", [2, 3])
def test_staged_predict_is_the_vote_of_each_round(K, loss):
    X, y, ids = problem(4, K)
    model = fit(TrAdaBoostClassifier(GAUSSIAN, 9, loss=loss), X, y, ids)
    stages = list(model.staged_predict(X))
    assert len(stages) == len(model.estimators_) > 4
    for t, stage in enumerate(stages, start=1):
        voters = range(ceil(t / 2) - 1, t)
        shares = np.zeros((len(X), K))
        for v in voters:
            h = model.estimators_[v]
            p = h.predict_proba(X) if loss == "soft" else np.eye(K)[h.predict(X)]
            shares += model.estimator_weights_[v] * p
        np.testing.assert_array_equal(stage, shares.argmax(axis=1))
    np.testing.assert_array_equal(stages[-1], model.predict(X))
    assert any((stage != stages[-1]).any() for stage in stages)


def test_staged_score(boosted):
    model, X, y, _ = boosted
    stages = list(model.staged_predict(X))
    weights = np.random.default_rng(0).random(len(y))
    for given in (None, weights):
        expected = [accuracy_score(y, stage, sample_weight=given) for stage in stages]
        scores = list(model.staged_score(X, y, sample_weight=given))
        np.testing.assert_allclose(scores, expected, rtol=1e-12)
    assert len(set(scores)) > 1


def test_probabilities_and_decisions_agree_with_the_labels(boosted):
    model, X, _, _ = boosted
    K = len(model.classes_)
    proba, decision = model.predict_proba(X), model.decision_function(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    assert (proba >= 0).all()
    later = K - 1 - proba[:, ::-1].argmax(axis=1)
    np.testing.assert_array_equal(model.predict(X), model.classes_[later])
    if K == 2:
        np.testing.assert_allclose(decision, proba[:, 1] - proba[:, 0], atol=1e-12)
    else:
        np.testing.assert_allclose(decision, proba, atol=1e-12)
    assert len(np.unique(proba)) > 2


def test_score_counts_target_rows(boosted):
    model, X, y, ids = boosted
    right = model.predict(X) == y
    weights = np.random.default_rng(1).random(len(y))
    target = ids < 0
    assert model.score(X, y) == pytest.approx(right.mean())
    assert model.score(X, y, sample_domain=ids) == pytest.approx(right[target].mean())
    assert model.score(X, y, weights, sample_domain=ids) == pytest.approx(
        np.average(right[target], weights=weights[target])
    )
    assert right.mean() != right[target].mean()


# ---------------------------------------------------------------------------
# One domain
# ---------------------------------------------------------------------------


def noisy(load):
    """The data set with standardised columns and a label in ten drawn anew."""
    X, y = load(return_X_y=True)
    rng = np.random.default_rng(0)
    drawn = rng.random(len(y)) < 0.1
    y[drawn] = rng.integers(0, y.max() + 1, drawn.sum())
    return StandardScaler().fit_transform(X), y


@pytest.mark.parametrize("learner", [GAUSSIAN, LinearSVC(C=0.1, dual=False)])
@pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
def test_one_domain_is_samme(load, learner):
    X, y = noisy(load)
    model = TrAdaBoostClassifier(learner, 8, min_error=TINY, store_weights=True)
    fit_one_domain(model, X, y)
    rounds, predicted = samme(learner, X, y, len(model.estimators_))
    assert len(rounds) > 2
    for t, (w, eps, a) in enumerate(rounds):
        np.testing.assert_allclose(model.round_weights_[t], w, rtol=0, atol=1e-12)
        assert model.estimator_errors_[t] == pytest.approx(eps, abs=1e-12)
        assert model.estimator_weights_[t] == pytest.approx(a, abs=1e-9)
    np.testing.assert_array_equal(model.predict(X), predicted)
    assert model.target_mass_ == pytest.approx(np.ones(len(rounds)))
    assert not hasattr(model, "source_error_") and len(model.source_weights_) == 0


@pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
def test_one_domain_is_adaboost_of_scikit_learn(load):
    X, y = noisy(load)
    weights = np.random.default_rng(0).lognormal(size=len(y))  # no two splits tie
    model = TrAdaBoostClassifier(STUMP, 20, min_error=TINY, random_state=0)
    with pytest.warns(NoAdaptationWarning):
        model.fit(X, y, weights)
    peer = AdaBoostClassifier(STUMP, n_estimators=20, random_state=0)
    peer.fit(X, y, sample_weight=weights)
    assert len(model.estimators_) == len(peer.estimators_) == 20
    np.testing.assert_allclose(
        model.estimator_errors_, peer.estimator_errors_, rtol=0, atol=1e-10
    )
    np.testing.assert_allclose(
        model.estimator_weights_, peer.estimator_weights_, rtol=0, atol=1e-8
    )
    np.testing.assert_array_equal(model.predict(X), peer.predict(X))


# ---------------------------------------------------------------------------
# Invariances
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1e-6, 7.0, 1e9])
def test_scale_of_the_initial_weights_does_not_matter(factor):
    X, y, ids = problem(1)
    w = np.random.default_rng(0).lognormal(size=len(y))
    models = [
        fit(
            TrAdaBoostClassifier(LOGISTIC, 8, initial_weight=v, store_weights=True),
            X,
            y,
            ids,
        )
        for v in (w, factor * w)
    ]
    weights = [model.round_weights_ for model in models]
    assert len(weights[0]) > 2
    np.testing.assert_allclose(weights[0][0], w / w.sum(), rtol=1e-12)
    np.testing.assert_allclose(*weights, rtol=0, atol=1e-12)


@both_starts
@pytest.mark.parametrize(
    "data", [{"seed": 2}, *({"seed": i, "d": 3, "m": 24} for i in (4, 25, 46, 52))]
)
def test_order_of_rows_does_not_matter(data, initial_weight):
    """In some of these a hypothesis is chosen again, and rounding would decide."""
    X, y, ids = problem(**data)
    order = np.random.default_rng(0).permutation(len(y))
    parameters = {"initial_weight": initial_weight, "store_weights": True}
    model = TrAdaBoostClassifier(LOGISTIC, 8, **parameters)
    shuffled = clone(model)
    fit(model, X, y, ids)
    fit(shuffled, X[order], y[order], ids[order])
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
    np.testing.assert_array_equal(model.predict(X), shuffled.predict(X))


@both_starts
def test_names_of_the_classes_do_not_matter(initial_weight):
    X, y, ids = problem(3)
    model = TrAdaBoostClassifier(
        LOGISTIC, 8, initial_weight=initial_weight, store_weights=True
    )
    swapped = fit(clone(model), X, 1 - y, ids)
    fit(model, X, y, ids)
    np.testing.assert_allclose(
        model.round_weights_, swapped.round_weights_, rtol=0, atol=1e-12
    )
    untied = np.abs(model.decision_function(X)) > 1e-9
    assert untied.mean() > 0.9 and len(model.round_weights_) > 2
    np.testing.assert_array_equal(
        model.predict(X)[untied], 1 - swapped.predict(X)[untied]
    )


# ---------------------------------------------------------------------------
# Labels, rows and weights as users give them
# ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        np.array(["no", "yes"]),
        np.array([7, -3]),
        np.array([2.0, 3.0]),
        np.array([False, True]),
        np.array(["no", "yes"], dtype=object),
    ],
    ids=["strings", "ints", "floats", "bools", "objects"],
)
def test_labels_keep_their_names(names):
    X, y, ids = problem(5)
    plain = fit(TrAdaBoostClassifier(LOGISTIC, 6), X, y, ids)
    named = fit(TrAdaBoostClassifier(LOGISTIC, 6), X, names[y], ids)
    assert set(named.classes_) == set(names)
    assert list(named.classes_) == sorted(named.classes_)
    assert set(named.estimators_[0].classes_) == set(names)
    untied = np.abs(plain.decision_function(X)) > 1e-9
    np.testing.assert_array_equal(
        named.predict(X)[untied], names[plain.predict(X)][untied]
    )


@pytest.mark.parametrize("kind", ["floats", "objects", "strings"])
def test_unlabeled_target_rows_change_nothing(kind):
    """Not a bit: the learner is given the same rows and weights."""
    X, y, ids = problem(6)
    X_all, y_all, ids_all, old = with_unlabeled(X, y, ids)
    if kind != "floats":
        names = np.array(["no", "yes"]) if kind == "strings" else np.array([0, 1])
        y, y_all = names[y], np.full(len(y_all), None)
        y_all[old] = y
    model = TrAdaBoostClassifier(STUMP, 8, store_weights=True, random_state=0)
    alone, among = clone(model), clone(model)
    fit(alone, X, y, ids)
    fit(among, X_all, y_all, ids_all)
    assert among.classes_.dtype == alone.classes_.dtype
    assert among.classes_.dtype.kind == ("U" if kind == "strings" else "i")
    assert among.round_weights_.shape == (len(among.estimators_), len(y))
    np.testing.assert_array_equal(among.round_weights_, alone.round_weights_)
    np.testing.assert_array_equal(among.source_weights_, alone.source_weights_)
    np.testing.assert_array_equal(
        among.predict_proba(X_all[old]), alone.predict_proba(X)
    )
    assert set(among.predict(X_all)) == set(alone.classes_)


def test_initial_weights_are_those_of_all_rows():
    """Entries at unlabelled rows play no part, and labelled rows may have none."""
    X, y, ids = problem(7)
    X_all, y_all, ids_all, old = with_unlabeled(X, y, ids)
    w = np.random.default_rng(0).lognormal(size=len(y_all))
    w[old[:5]] = 0
    model = TrAdaBoostClassifier(LOGISTIC, 3, initial_weight=w, store_weights=True)
    fit(model, X_all, y_all, ids_all)
    np.testing.assert_allclose(
        model.round_weights_[0], w[old] / w[old].sum(), rtol=1e-12
    )
    assert len(model.round_weights_) > 1 and (model.round_weights_[:, :5] == 0).all()


def test_sources_share_half_of_the_mass():
    """ "domain" pools the sources, and sample_weight counts within a side."""
    X, y, ids = problem(7)
    ids[ids > 0] = 1 + (np.arange((ids > 0).sum()) > 9)
    weights = np.random.default_rng(0).lognormal(size=len(y))
    model = TrAdaBoostClassifier(LOGISTIC, 2, store_weights=True)
    fit(model, X, y, ids, weights)
    first = model.round_weights_[0]
    for side in (ids > 0, ids < 0):
        share = weights[side] / weights[side].sum()
        np.testing.assert_allclose(first[side], share / 2, rtol=1e-12)


@pytest.mark.parametrize("container", [csr_matrix, csr_array])
def test_sparse_rows_stay_sparse(container):
    X, y, ids = problem(8)
    X_all, y_all, ids_all, _ = with_unlabeled(np.where(X > 0.5, X, 0), y, ids)
    seen = Shared()
    model = TrAdaBoostClassifier(
        Spy(STUMP, seen), 6, random_state=0, store_weights=True
    )
    dense, sparse = clone(model), clone(model)
    fit(dense, X_all, y_all, ids_all)
    seen.clear()
    fit(sparse, container(X_all), y_all, ids_all)
    assert len(seen) > len(sparse.estimators_) > 2
    assert all(issparse(rows) for rows, _, _ in seen)
    np.testing.assert_array_equal(dense.round_weights_, sparse.round_weights_)
    np.testing.assert_array_equal(
        dense.predict_proba(X_all), sparse.predict_proba(container(X_all))
    )


@both_starts
@pytest.mark.parametrize("weighted", [False, True])
def test_learner_gets_weights_on_the_scale_of_the_user(weighted, initial_weight):
    X, y, ids = problem(9)
    X_all, y_all, ids_all, old = with_unlabeled(X, y, ids)
    weights = np.random.default_rng(0).lognormal(2, 1, len(y_all)) if weighted else None
    seen = Shared()
    model = TrAdaBoostClassifier(
        Spy(STUMP, seen), 6, initial_weight=initial_weight, store_weights=True
    )
    fit(model, X_all, y_all, ids_all, weights)
    total = weights[old].sum() if weighted else len(old)
    rounds = [given for given in seen if len(given[0]) == len(old)]
    assert len(rounds) >= len(model.estimators_) > 2
    for t, (_, labels, w) in enumerate(rounds):
        np.testing.assert_array_equal(labels, y)
        assert w.sum() == pytest.approx(total, rel=1e-12)
        if t < len(model.estimators_):
            np.testing.assert_allclose(w / total, model.round_weights_[t], rtol=1e-10)


@both_starts
@pytest.mark.parametrize("dynamic", [False, True])
def test_whole_weights_are_repeated_rows(initial_weight, dynamic):
    X, y, ids = problem(10)
    times = np.random.default_rng(0).integers(1, 4, len(y))
    model = TrAdaBoostClassifier(
        LOGISTIC, 8, initial_weight=initial_weight, dynamic=dynamic, store_weights=True
    )
    weighted, repeated = clone(model), clone(model)
    fit(weighted, X, y, ids, times)
    fit(repeated, *(np.repeat(a, times, axis=0) for a in (X, y, ids)))
    assert len(weighted.estimators_) == len(repeated.estimators_) > 2
    np.testing.assert_allclose(
        np.repeat(weighted.round_weights_ / times, times, axis=1),
        repeated.round_weights_,
        rtol=0,
        atol=1e-12,
    )
    np.testing.assert_allclose(
        weighted.estimator_weights_, repeated.estimator_weights_, rtol=1e-9
    )
    np.testing.assert_allclose(
        weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-9
    )


@pytest.mark.parametrize("nested", [False, True])
def test_each_round_draws_anew_from_the_seed(nested):
    X, y, ids = problem(11)
    learner = DecisionTreeClassifier(max_depth=2, max_features=1)
    if nested:
        learner = make_pipeline(StandardScaler(), learner)
    fitted = [
        fit(TrAdaBoostClassifier(learner, 8, random_state=seed), X, y, ids)
        for seed in (0, 0, 1)
    ]
    probas = [model.predict_proba(X) for model in fitted]
    np.testing.assert_array_equal(probas[0], probas[1])
    assert (probas[0] != probas[2]).any()
    trees = [h[-1] if nested else h for h in fitted[0].estimators_]
    assert len({tree.random_state for tree in trees}) == len(trees) > 2


def test_default_learner():
    X, y, ids = problem(11)
    model = fit(TrAdaBoostClassifier(n_estimators=3), X, y, ids)
    learner = model.estimators_[0]
    assert isinstance(learner, LinearSVC)
    assert (learner.C, learner.class_weight, learner.dual) == (0.1, "balanced", False)
    assert model.n_features_in_ == X.shape[1]


# ---------------------------------------------------------------------------
# Bad input
# ---------------------------------------------------------------------------


def _no_labeled_target(y, ids):
    y[ids < 0] = np.nan


def _one_target_class(y, ids):
    y[ids < 0] = 1


def _unlabeled_source_rows(y, ids):
    y[np.flatnonzero(ids > 0)[:5]] = np.nan


def _no_labeled_source(y, ids):
    y[ids > 0] = np.nan


def _no_source(y, ids):
    ids[:] = -1


def _no_target(y, ids):
    ids[:] = 1


@pytest.mark.parametrize(
    "spoil, words",
    [
        (_no_labeled_target, "label.* target|target.* label"),
        (_one_target_class, "target.* class|class.* target"),
        (_unlabeled_source_rows, "unlabelled source rows.*drop"),
        (_no_labeled_source, "label.*source"),
        (_no_source, "source"),
        (_no_target, "target"),
    ],
)
def test_bad_labels_and_domains(spoil, words):
    X, y, ids = problem(12)
    y = y.astype(float)
    model = TrAdaBoostClassifier(LOGISTIC, 3)
    fit(clone(model), X, y, ids)
    spoil(y, ids)
    with pytest.raises(ValueError, match=f"(?is){words}"):
        model.fit(X, y, sample_domain=ids)


def test_missing_labels_need_domains():
    X, y, _ = problem(12)
    y = y.astype(float)
    y[3] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoAdaptationWarning)
        with pytest.raises(ValueError, match="sample_domain"):
            TrAdaBoostClassifier(LOGISTIC, 3).fit(X, y)


N_ROWS = len(problem(12)[1])


@pytest.mark.parametrize(
    "parameters, words",
    [
        ({"estimator": KNeighborsClassifier()}, "sample_weight"),
        (
            {"estimator": make_pipeline(StandardScaler(), KNeighborsClassifier())},
            "sample_weight",
        ),
        ({"estimator": LinearSVC(), "loss": "soft"}, "predict_proba"),
        ({"initial_weight": np.r_[-1.0, np.ones(N_ROWS - 1)]}, "initial_weight"),
        ({"initial_weight": np.r_[np.nan, np.ones(N_ROWS - 1)]}, "initial_weight"),
        ({"initial_weight": np.ones(N_ROWS - 1)}, "initial_weight"),
        ({"initial_weight": np.zeros(N_ROWS)}, "initial_weight"),
        ({"initial_weight": "target"}, "initial_weight"),
        ({"loss": "square"}, "loss"),
        ({"min_error": 0.0}, "min_error"),
        ({"n_estimators": 0}, "n_estimators"),
    ],
)
def test_bad_parameters(parameters, words):
    X, y, ids = problem(12)
    model = TrAdaBoostClassifier(LOGISTIC, 3).set_params(**parameters)
    with pytest.raises(ValueError, match=f"(?s){words}"):
        model.fit(X, y, sample_domain=ids)


def test_weight_of_the_target_may_not_vanish():
    X, y, ids = problem(12)
    with pytest.raises(ValueError, match="(?i)weight.*target|target.*weight"):
        TrAdaBoostClassifier(LOGISTIC, 3).fit(
            X, y, (ids > 0).astype(float), sample_domain=ids
        )


# ---------------------------------------------------------------------------
# Where boosting ends early
# ---------------------------------------------------------------------------


def flipped_source(seed=0, n=300, m=60, d=5):
    """Every source label is the opposite of the target's concept."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n + m, d))
    y = (X @ rng.normal(size=d) > 0).astype(int)
    y[:n] = 1 - y[:n]
    return X, y, np.repeat([1, -1], [n, m])


@pytest.mark.parametrize("loss", ["hard", "soft"])
def test_opposite_source_is_warned_of(loss):
    """The first hypothesis is wrong about most of the target, and is kept alone."""
    X, y, ids = flipped_source()
    model = TrAdaBoostClassifier(STUMP, 20, initial_weight="row", loss=loss)
    with pytest.warns(NegativeTransferWarning):
        model.fit(X, y, sample_domain=ids)
    assert len(model.estimators_) == len(model.estimator_errors_) == 1
    assert len(model.target_mass_) == 1 and list(model.estimator_weights_) == [1]
    assert model.estimator_errors_[0] >= 0.5
    assert model.termination_condition_ == "no_better_than_chance"
    np.testing.assert_array_equal(model.predict(X), model.estimators_[0].predict(X))
    proba = model.predict_proba(X)
    assert (proba >= 0).all() and np.isfinite(model.decision_function(X)).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(proba.argmax(axis=1), model.predict(X))
    np.testing.assert_array_equal(next(model.staged_predict(X)), model.predict(X))


@pytest.mark.parametrize("K, wrong_rows", [(2, 2), (3, 4)])
def test_first_round_at_chance_is_kept_alone(K, wrong_rows):
    """eps = 1 - 1/K exactly: a vote of weight 0 is a vote all the same."""
    m = 4 if K == 2 else 6
    y = np.r_[np.arange(3) % K, np.arange(m) % K]
    wrong = at(3 + np.arange(wrong_rows), 3 + m)
    with pytest.warns(NegativeTransferWarning):
        model, X = play([wrong] * 2, y, 3, n_classes=K)
    assert len(model.estimators_) == 1
    np.testing.assert_array_equal(model.predict(X) != y, wrong)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)


@pytest.mark.filterwarnings("error::skadapt.NegativeTransferWarning")
@pytest.mark.parametrize("K", [2, 3])
def test_later_round_no_better_than_chance_is_dropped(K):
    """With K = 3 an error of 0.6 is still better than chance.

    It is how AdaBoost ends, and no sign of a misleading source.
    """
    y = np.r_[np.arange(4) % K, np.arange(10) % K]
    good, fair, bad = at([0, 4], 14), at(np.arange(6, 14), 14), at(np.arange(4, 14), 14)
    losses = [good, bad] if K == 2 else [good, fair, bad]
    model, _ = play(losses, y, 4, n_classes=K, n_estimators=9)
    kept = len(losses) - 1
    assert len(model.estimators_) == len(model.estimator_errors_) == kept
    assert model.round_weights_.shape == (kept, 14)
    assert model.termination_condition_ == "no_better_than_chance"
    assert max(model.estimator_errors_) < 1 - 1 / K


@pytest.mark.parametrize("K", [2, 3, 4])
@pytest.mark.parametrize("seed", range(15))
def test_hypothesis_chosen_again_is_at_chance(seed, K):
    """Its error is 1 - 1/K by construction: rounding must not keep it in the vote."""
    losses, y, n = random_losses(seed, n_classes=K)
    model, _ = play(np.vstack([losses, losses[-1:]]), y, n, n_classes=K)
    assert len(model.estimators_) == len(losses)


@pytest.mark.parametrize("K, n_wrong, misleads", [(2, 1, 0), (2, 2, 1), (3, 3, 0)])
def test_source_alone_at_chance_is_warned_of(K, n_wrong, misleads):
    """2 of 4 target rows wrong are chance for two classes, 3 of 6 not for three."""
    m = 4 if K == 2 else 6
    y = np.r_[np.arange(4) % K, np.arange(m) % K]
    losses = [at([0, 4], 4 + m), at([1, 5], 4 + m)]
    alone = at(4 + np.arange(n_wrong), 4 + m)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model, _ = play(losses, y, 4, alone=alone, n_classes=K)
    assert [w.category for w in caught] == [NegativeTransferWarning] * misleads
    assert model.source_error_ == pytest.approx(n_wrong / m)
    assert len(model.estimators_) == 2
    assert model.termination_condition_ == "n_estimators"


def test_one_warning_is_enough():
    """Both the source alone and the first round are at chance."""
    wrong = at([4, 5], 8)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        play([wrong], HAND_Y, 4, alone=wrong)
    assert [w.category for w in caught] == [NegativeTransferWarning]
    assert caught[0].filename == __file__  # where fit was called


@both_starts
@pytest.mark.parametrize("loss", ["hard", "soft"])
def test_error_of_the_source_alone(loss, initial_weight):
    X, y, ids = problem(1)
    source = ids > 0
    weights = np.random.default_rng(0).lognormal(size=len(y))
    model = TrAdaBoostClassifier(GAUSSIAN, 3, loss=loss, initial_weight=initial_weight)
    fit(model, X, y, ids, weights)
    alone = clone(GAUSSIAN).fit(X[source], y[source], sample_weight=weights[source])
    wrong = alone.predict(X[~source]) != y[~source]
    expected = np.average(wrong, weights=weights[~source])
    assert model.source_error_ == pytest.approx(expected, rel=1e-12)
    assert 0 < expected < 1


@pytest.mark.parametrize("loss", ["hard", "soft"])
@pytest.mark.parametrize("missing", [[2], [1, 2]])
def test_classes_without_source_rows(missing, loss):
    """A learner such as logistic regression cannot be fitted on one class alone."""
    X, y, ids = problem(2, 3)
    kept = (ids < 0) | ~np.isin(y, missing)
    X, y, ids = X[kept], y[kept], ids[kept]
    model = fit(TrAdaBoostClassifier(LOGISTIC, 5, loss=loss), X, y, ids)
    assert list(model.classes_) == [0, 1, 2]
    assert set(model.predict(X[ids < 0])) == {0, 1, 2}
    if len(missing) == 2:
        assert model.source_error_ == pytest.approx(np.mean(y[ids < 0] != 0))
    else:
        assert np.mean(y[ids < 0] == 2) <= model.source_error_ < 1


@pytest.mark.filterwarnings("error::skadapt.NegativeTransferWarning")
@both_starts
def test_fixed_point_is_the_plain_weighted_learner(initial_weight):
    X, y, ids = problem(13, shift=0, noise=0)
    learner = LogisticRegression(C=1e6, solver="newton-cholesky")
    model = TrAdaBoostClassifier(learner, 20, initial_weight=initial_weight)
    model.fit(X, y, sample_domain=ids)
    w = first_weights(initial_weight, ids > 0, np.ones(len(y)))
    plain = clone(learner).fit(X, y, sample_weight=len(y) * w)
    assert model.termination_condition_ == "perfect_fit"
    assert len(model.estimators_) == 1 and list(model.estimator_errors_) == [0]
    np.testing.assert_allclose(model.estimators_[0].coef_, plain.coef_, rtol=1e-9)
    rows = np.random.default_rng(0).normal(size=(500, X.shape[1]))
    np.testing.assert_array_equal(model.predict(rows), plain.predict(rows))
    np.testing.assert_allclose(model.source_weights_, 1, rtol=1e-12)


def test_without_target_errors_goes_on_while_source_rows_are_wrong():
    """The target stays, source row 0 sinks; the votes are those of the floor."""
    losses = np.array([at([0], 8)] * 5 + [at([], 8)] + [at([1], 8)])
    model, _ = play(losses, HAND_Y, 4, min_error=None, n_estimators=50)
    beta = 1 / (1 + sqrt(2 * log(4) / 50))
    assert len(model.estimators_) == 6
    assert model.termination_condition_ == "perfect_fit"
    np.testing.assert_array_equal(model.estimator_errors_, 0)
    np.testing.assert_allclose(model.estimator_weights_, log(7))
    w = model.round_weights_
    np.testing.assert_allclose(w[:, 4:] / w[:, [3]], 1, rtol=1e-12)
    np.testing.assert_allclose(w[:, 0] / w[:, 3], beta ** np.arange(6), rtol=1e-12)


def test_rows_without_weight_keep_nothing_going():
    weights = np.ones(8)
    weights[0] = 0
    model, _ = play([at([0], 8)] * 3, HAND_Y, 4, sample_weight=weights)
    assert len(model.estimators_) == 1
    assert model.termination_condition_ == "perfect_fit"


# ---------------------------------------------------------------------------
# Early stopping and warm start
# ---------------------------------------------------------------------------


def test_early_stopping_keeps_the_best_rounds():
    """Held-out rows are those the learner never saw; their scores are the vote's."""
    X, y, ids = problem(9, m=60, d=4)
    X = np.c_[X, np.arange(len(y))]  # the last column is the number of the row
    seen = Shared()
    model = TrAdaBoostClassifier(
        Spy(STUMP, seen),
        60,
        early_stopping=True,
        validation_fraction=0.25,
        n_iter_no_change=5,
        random_state=0,
    )
    model.fit(X, y, sample_domain=ids)
    rounds = [rows for rows, _, _ in seen if (ids[rows[:, -1].astype(int)] < 0).any()]
    held_out = np.setdiff1d(np.arange(len(y)), rounds[0][:, -1])
    for rows in rounds:
        np.testing.assert_array_equal(rows, rounds[0])
    assert (ids[held_out] < 0).all() and len(held_out) == 15
    target_share = y[ids < 0].mean()
    assert abs(y[held_out].mean() - target_share) <= 1 / 15

    kept = len(model.estimators_)
    assert model.termination_condition_ == "early_stopping"
    assert kept + 5 <= len(rounds) < 60
    assert kept == np.argmax(model.validation_scores_) + 1
    assert max(model.validation_scores_) > model.validation_scores_[0]
    assert len(model.estimator_weights_) == len(model.target_mass_) == kept
    scores = list(model.staged_score(X[held_out], y[held_out]))
    np.testing.assert_allclose(scores, model.validation_scores_[:kept], rtol=1e-12)


def test_early_stopping_is_seeded():
    X, y, ids = problem(14, m=60)
    model = TrAdaBoostClassifier(STUMP, 30, early_stopping=True, n_iter_no_change=1)
    scores = [
        fit(clone(model).set_params(random_state=seed), X, y, ids).validation_scores_
        for seed in (0, 0, 1, 2, 3)
    ]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert any(not np.array_equal(scores[0], other) for other in scores[2:])


@pytest.mark.parametrize("dynamic", [False, True])
def test_warm_start_goes_on_where_it_stopped(dynamic):
    """Round 11 has the weights that round 10 left, beta being that of its own N."""
    X, y, ids = problem(15)
    source = ids > 0
    model = TrAdaBoostClassifier(
        STUMP, 10, dynamic=dynamic, warm_start=True, store_weights=True
    )
    model.fit(X, y, sample_domain=ids)
    old, old_weights = list(model.estimators_), model.round_weights_.copy()
    final_source = model.source_weights_.copy()
    assert len(old) == 10
    model.set_params(n_estimators=20).fit(X, y, sample_domain=ids)
    assert len(model.estimators_) == 20
    assert all(a is b for a, b in zip(old, model.estimators_))
    for name in ("estimator_errors_", "estimator_weights_", "target_mass_"):
        assert len(getattr(model, name)) == 20
    assert model.round_weights_.shape == (20, len(y))
    np.testing.assert_array_equal(model.round_weights_[:10], old_weights)
    eleventh = model.round_weights_[10]
    np.testing.assert_allclose(
        eleventh[source] / eleventh[source].mean(), final_source, rtol=1e-10
    )
    last, eps = old_weights[9], model.estimator_errors_[9]
    wrong = old[9].predict(X) != y
    factor = np.where(wrong, (1 - eps) / eps, 1)
    beta = 1 / (1 + sqrt(2 * log(source.sum()) / 10))
    growth = 2 * (1 - eps) if dynamic else 1
    factor[source] = growth * np.where(wrong, beta, 1)[source]
    expected = last * factor
    np.testing.assert_allclose(eleventh, expected / expected.sum(), rtol=1e-9)


@pytest.mark.parametrize(
    "losses",
    [[at([], 8)], [at([0, 4], 8), at([4, 5, 6], 8)], [at([4, 5, 6], 8)]],
    ids=["perfect", "later round at chance", "first round at chance"],
)
def test_warm_start_does_not_revive_what_has_ended(losses):
    """A learner without chance finds the same hypothesis again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NegativeTransferWarning)
        model, X = play(losses, HAND_Y, 4, n_estimators=5, warm_start=True)
        before = model.predict(X), model.termination_condition_
        assert before[1] != "n_estimators" and len(model.estimators_) == 1
        model.estimator.script.extend(script_of(losses[-1:], HAND_Y))
        ids = np.repeat([1, -1], 4)
        model.set_params(n_estimators=9).fit(X, HAND_Y, sample_domain=ids)
    assert len(model.estimators_) == len(model.estimator_errors_) == 1
    assert model.termination_condition_ == before[1]
    np.testing.assert_array_equal(model.predict(X), before[0])


def test_warm_start_needs_more_rounds_and_the_same_rows():
    X, y, ids = problem(15)
    model = TrAdaBoostClassifier(STUMP, 5, warm_start=True, random_state=0)
    model.fit(X, y, sample_domain=ids)
    with pytest.raises(ValueError, match="n_estimators.*warm_start"):
        model.set_params(n_estimators=4).fit(X, y, sample_domain=ids)
    with pytest.raises(ValueError, match="rows.*warm_start"):
        model.set_params(n_estimators=9).fit(X[3:], y[3:], sample_domain=ids[3:])


def test_without_warm_start_fit_starts_anew():
    X, y, ids = problem(15)
    model = TrAdaBoostClassifier(GAUSSIAN, 6, store_weights=True)
    first = fit(model, X, y, ids).estimators_
    weights = model.round_weights_
    fit(model, X, y, ids)
    assert all(a is not b for a, b in zip(first, model.estimators_))
    np.testing.assert_array_equal(weights, model.round_weights_)


# ---------------------------------------------------------------------------
# With scikit-learn's machinery
# ---------------------------------------------------------------------------

SEARCHED = with_unlabeled(*problem(16))[:3]


def by_hand(model, splitter):
    X, y, ids = SEARCHED
    scores = []
    for train, test in splitter.split(X, y, sample_domain=ids):
        fitted = fit(clone(model), X[train], y[train], ids[train])
        scores.append(np.mean(fitted.predict(X[test]) == y[test]))
    return scores


@both_routings
def test_grid_search_over_target_folds(routing):
    X, y, ids = SEARCHED
    model = TrAdaBoostClassifier(LOGISTIC)
    splitter = TargetKFold(4, stratify=True, shuffle=True, random_state=0)
    grid = {"n_estimators": [1, 6], "estimator__C": [1e-3, 1.0]}
    search = GridSearchCV(model, grid, cv=splitter, error_score="raise")
    with config_context(enable_metadata_routing=routing):
        fit_all = {"sample_domain": ids, "groups": ids}
        search.fit(X, y, **fit_all)
    expected = [
        np.mean(by_hand(clone(model).set_params(**parameters), splitter))
        for parameters in search.cv_results_["params"]
    ]
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], expected)
    assert np.ptp(expected) > 0
    refitted = (
        clone(model).set_params(**search.best_params_).fit(X, y, sample_domain=ids)
    )
    np.testing.assert_array_equal(search.predict(X), refitted.predict(X))


@both_routings
def test_cross_validate_over_target_folds(routing):
    X, y, ids = SEARCHED
    model = TrAdaBoostClassifier(LOGISTIC, 5)
    splitter = TargetKFold(4)
    groups = {} if routing else {"groups": ids}
    with config_context(enable_metadata_routing=routing):
        found = cross_validate(
            model,
            X,
            y,
            cv=splitter,
            params={"sample_domain": ids},
            error_score="raise",
            **groups,
        )
    np.testing.assert_allclose(found["test_score"], by_hand(model, splitter))
    assert np.ptp(found["test_score"]) > 0


@both_routings
def test_last_step_of_a_pipeline(routing):
    X, y, ids = SEARCHED
    model = TrAdaBoostClassifier(LOGISTIC, 5)
    pipeline = make_pipeline(StandardScaler(), model)
    name = "sample_domain" if routing else "tradaboostclassifier__sample_domain"
    with config_context(enable_metadata_routing=routing):
        pipeline.fit(X, y, **{name: ids})
        proba = pipeline.predict_proba(X)
    Z = StandardScaler().fit_transform(X)
    expected = clone(model).fit(Z, y, sample_domain=ids).predict_proba(Z)
    np.testing.assert_array_equal(proba, expected)


@both_routings
def test_pipeline_as_the_learner(routing):
    """The weights go to its last step; all labelled rows go through the others."""
    X, y, ids = problem(17)
    X = 5 * X + 3
    pipeline = make_pipeline(StandardScaler(), LOGISTIC)
    model = TrAdaBoostClassifier(pipeline, 6, store_weights=True)
    with config_context(enable_metadata_routing=routing):
        fit(model, X, y, ids)
    Z = StandardScaler().fit_transform(X)
    scaled = fit(TrAdaBoostClassifier(LOGISTIC, 6, store_weights=True), Z, y, ids)
    assert len(model.estimators_) > 2
    np.testing.assert_allclose(
        model.round_weights_, scaled.round_weights_, rtol=0, atol=1e-12
    )
    np.testing.assert_array_equal(model.predict(X), scaled.predict(Z))


def test_early_stopping_and_warm_start_exclude_each_other():
    X, ids = np.random.default_rng(0).normal(size=(20, 2)), np.repeat([1, -1], 10)
    model = TrAdaBoostClassifier(early_stopping=True, warm_start=True)
    with pytest.raises(ValueError, match="use one of the two"):
        model.fit(X, np.tile([0, 1], 10), sample_domain=ids)


def test_class_that_the_source_loses_is_named():
    """A learner that takes a class of the source for the other, round after round."""
    y = np.array([0, 1, 1, 1, 0, 0, 0, 1, 0, 1])  # six source rows, four target rows
    ids = np.repeat([1, -1], [6, 4])
    X = np.arange(10.0)[:, np.newaxis]
    script = Shared(
        np.eye(2)[np.where(np.isin(np.arange(10), [1, 2, 3, 6 + t % 4]), 1 - y, y)]
        for t in range(40)
    )
    model = TrAdaBoostClassifier(Scripted(script, np.eye(2)[y]), 40)
    with pytest.warns(DegenerateWeightsWarning, match=r"classes \[1\]") as caught:
        model.fit(X, y, sample_domain=ids)
    assert [w.filename for w in caught] == [__file__]
    weights = model.source_weights_
    assert weights[1:4].max() < 0.01 < 1 < weights[[0, 4, 5]].min()


def _blobs(n_source=60, n_target=40, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n_source + n_target)
    X = rng.normal(size=(len(y), 3)) + y[:, np.newaxis]
    return X, y, np.repeat([1, -1], [n_source, n_target])


@pytest.mark.parametrize("change", ["labels", "columns", "domains", "store_weights"])
def test_warm_start_on_something_else_is_refused(change):
    X, y, ids = _blobs()
    model = TrAdaBoostClassifier(LogisticRegression(), 5, warm_start=True)
    model.fit(X, y, sample_domain=ids).set_params(n_estimators=6)
    if change == "labels":
        y = np.where(y == 1, 7, 3)
    elif change == "columns":
        X = X[:, :2]
    elif change == "domains":
        ids = -ids
    else:
        model.set_params(store_weights=True)
    with pytest.raises(ValueError, match="warm_start goes on"):
        model.fit(X, y, sample_domain=ids)


def test_perfect_first_round_is_judged_by_early_stopping():
    X, y, ids = _blobs()
    X[:, 0] = y
    model = TrAdaBoostClassifier(
        DecisionTreeClassifier(max_depth=1), 5, early_stopping=True, random_state=0
    ).fit(X, y, sample_domain=ids)
    assert model.termination_condition_ == "perfect_fit"
    assert model.validation_scores_.tolist() == [1.0]


def test_rows_without_weight_are_not_held_out():
    X, y, ids = _blobs()
    weights = np.ones(len(y))
    weights[60:90] = 0.0
    model = TrAdaBoostClassifier(
        LogisticRegression(), 5, early_stopping=True, random_state=0
    )
    model.fit(X, y, weights, sample_domain=ids)
    assert len(model.validation_scores_)
    assert np.isfinite(model.validation_scores_).all()


def test_error_of_the_source_is_not_left_over():
    X, y, ids = _blobs()
    model = TrAdaBoostClassifier(LogisticRegression(), 3)
    assert 0 <= model.fit(X, y, sample_domain=ids).source_error_ < 0.5
    with pytest.warns(NoAdaptationWarning):
        model.fit(X, y)
    assert not hasattr(model, "source_error_")


def test_weights_that_count_no_row_are_refused():
    X, y, ids = _blobs()
    with pytest.raises(ValueError, match="scale the weights to the mean 1"):
        TrAdaBoostClassifier().fit(X, y, np.full(len(y), 0.01), sample_domain=ids)
