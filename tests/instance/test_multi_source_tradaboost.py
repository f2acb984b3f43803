"""MultiSourceTrAdaBoost against a straight-line restatement of Algorithm 1.

The two-class form is stated again here in the paper's own terms, labels -1 and 1,
alphas, products and loops, and the form for several classes in logarithms of weights;
nothing is taken from the package but its answers. What depends on the losses alone is
tested with a learner that plays a prescribed table of them.
"""

import warnings
from math import exp, log, sqrt

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from skadapt import (
    MultiSourceTrAdaBoostClassifier,
    NegativeTransferWarning,
    NoAdaptationWarning,
    TrAdaBoostClassifier,
)

TINY = 1e-12  # a min_error that no error of these tests is below, 0 excepted
SLACK = 1e-9  # of numbers that would be equal without rounding
STUMP = DecisionTreeClassifier(max_depth=1)
LOGISTIC = LogisticRegression(solver="newton-cholesky", tol=1e-10)
GAUSSIAN = GaussianNB(var_smoothing=1e-9)

both_factors = pytest.mark.parametrize("source_factor", ["tradaboost", "multisource"])
both_decays = pytest.mark.parametrize("decay", ["all", "chosen"])
both_starts = pytest.mark.parametrize("initial_weight", ["row", "domain"])


# ---------------------------------------------------------------------------
# Learners that play a script or write down what they are given
# ---------------------------------------------------------------------------


class Shared(list):
    """A list that clones of an estimator share."""

    def __deepcopy__(self, memo):
        return self


class Scripted(ClassifierMixin, BaseEstimator):
    """Wrong about the rows that the script names for its source and round.

    X has row numbers, domain ids and labels 0 and 1 for columns. ``script[k]`` are
    the rounds of source k: sets of row numbers. A fit without target rows is right
    about ``alone``.
    """

    def __init__(self, script, alone="all"):
        self.script = script
        self.alone = alone

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        if (X[:, 1] > 0).all():
            self.wrong_ = set() if self.alone == "all" else set(range(10**4))
        else:
            self.wrong_ = self.script[int(X[:, 1].max()) - 1].pop(0)
        return self

    def predict(self, X):
        wrong = np.isin(X[:, 0].astype(int), list(self.wrong_))
        return np.where(wrong, 1 - X[:, 2], X[:, 2]).astype(int)


class Spy(ClassifierMixin, BaseEstimator):
    """Writes down what `fit` is given, and leaves the work to another learner."""

    def __init__(self, learner, seen):
        self.learner = learner
        self.seen = seen

    def fit(self, X, y, sample_weight=None):
        self.seen.append((X, y, sample_weight))
        self.learner_ = clone(self.learner).fit(X, y, sample_weight=sample_weight)
        self.classes_ = self.learner_.classes_
        return self

    def predict(self, X):
        return self.learner_.predict(X)


def play(script, sizes, n_target, *, alone="all", sample_weight=None, **parameters):
    """Fit on a script; the rows of source 1 come first, the target rows last.

    Labels alternate.
    """
    ids = np.repeat([*range(1, len(sizes) + 1), -1], [*sizes, n_target])
    y = np.arange(len(ids)) % 2
    X = np.column_stack([np.arange(len(ids)), ids, y]).astype(float)
    parameters = {"initial_weight": "row", "min_error": TINY} | parameters
    parameters.setdefault("n_estimators", len(script[0]))
    rounds = Shared(Shared(set(rows) for rows in source) for source in script)
    model = MultiSourceTrAdaBoostClassifier(
        Scripted(rounds, alone), store_weights=True, **parameters
    )
    return model.fit(X, y, sample_weight, sample_domain=ids), X, y, ids


# ---------------------------------------------------------------------------
# Referees
# ---------------------------------------------------------------------------


def first_weights(initial_weight, groups, sample_weight):
    w = np.array(sample_weight, dtype=float)
    if initial_weight == "domain":
        for group in np.unique(groups):
            w[groups == group] /= w[groups == group].sum()
    return w / w.sum()


def preferred(errors, learners, X, y, groups, sources, sample_weight):
    """The source whose learner is taken: each tie is broken by the next criterion."""

    def error(h, rows):
        return np.average(h.predict(X[rows]) != y[rows], weights=sample_weight[rows])

    everything = np.ones(len(y), dtype=bool)
    keys = {
        k: (
            errors[k],
            error(learners[k], groups == k),
            error(learners[k], everything),
            -sample_weight[groups == k].sum(),
            k,
        )
        for k in sources
    }
    left = list(sources)
    for level in range(5):
        least = min(keys[k][level] for k in left)
        left = [k for k in left if keys[k][level] < least + SLACK]
    return left[0]


def algorithm_1(learner_of, X, y, groups, w, M, alpha_s, decay, sample_weight):
    """Yao and Doretto 2010, Algorithm 1: y in {-1, 1}, target rows in group -1.

    Stops where no row that could move is wrong.

    Returns the weights, sources, errors and hypotheses of the rounds kept.
    """
    sources = [k for k in np.unique(groups) if k > 0]
    target = [i for i in range(len(y)) if groups[i] < 0]
    w = list(w)
    ws, chosen, epsilons, hypotheses = [], [], [], []
    for t in range(M):
        total = sum(w)
        w = [w_i / total for w_i in w]
        learners, errors = {}, {}
        for k in sources:
            rows = np.isin(groups, [k, -1])
            scale = sample_weight[rows].sum() / sum(np.array(w)[rows])
            learners[k] = learner_of(t).fit(
                X[rows], y[rows], sample_weight=scale * np.array(w)[rows]
            )
            wrong = learners[k].predict(X[target]) != y[target]
            target_mass = sum(w[i] for i in target)
            errors[k] = sum(w[i] for i, bad in zip(target, wrong) if bad) / target_mass
        k = preferred(errors, learners, X, y, groups, sources, sample_weight)
        eps, h = errors[k], learners[k].predict(X)
        if eps >= 0.5 - SLACK and t > 0:
            break
        ws.append(list(w))
        chosen.append(k)
        epsilons.append(eps)
        hypotheses.append(learners[k])
        moves = [g > 0 and (decay == "all" or g == k) for g in groups]
        still = not any(moves[i] and h[i] != y[i] for i in range(len(y)))
        if eps >= 0.5 - SLACK or (eps == 0 and still):
            break
        alpha = 0.5 * log((1 - eps) / eps) if eps > 0 else 0.0
        for i in range(len(y)):
            if moves[i]:
                w[i] *= exp(-alpha_s * abs(h[i] - y[i]))
            elif groups[i] < 0:
                w[i] *= exp(alpha * abs(h[i] - y[i]))
    return ws, chosen, epsilons, hypotheses


def final_hypothesis(hypotheses, epsilons, min_error, X):
    """sign(sum alpha_t h_t(x)), all rounds; 1 for a sum of 0."""
    total = np.zeros(len(X))
    for h, eps in zip(hypotheses, epsilons):
        e = max(eps, min_error)
        total += 0.5 * log((1 - e) / e) * h.predict(X)
    return np.where(total >= -TINY, 1, -1)


def general_rounds(learner_of, X, y, groups, w, M, factor, K, decay, sample_weight):
    """K classes, labels 0 ... K - 1."""
    sources = [k for k in np.unique(groups) if k > 0]
    target = groups < 0
    v = np.log(w)
    ws, chosen, epsilons, hypotheses = [], [], [], []
    for t in range(M):
        p = np.exp(v - v.max())
        p /= p.sum()
        learners, errors = {}, {}
        for k in sources:
            rows = target | (groups == k)
            scale = sample_weight[rows].sum() / p[rows].sum()
            learners[k] = learner_of(t).fit(X[rows], y[rows], scale * p[rows])
            wrong = learners[k].predict(X[target]) != y[target]
            errors[k] = p[target] @ wrong / p[target].sum()
        k = preferred(errors, learners, X, y, groups, sources, sample_weight)
        eps, loss = errors[k], learners[k].predict(X) != y
        if eps >= 1 - 1 / K - SLACK and t > 0:
            break
        ws.append(p)
        chosen.append(k)
        epsilons.append(eps)
        hypotheses.append(learners[k])
        moves = ~target if decay == "all" else groups == k
        if eps >= 1 - 1 / K - SLACK or not (eps or loss[moves].any()):
            break
        if eps > 0:
            v[target] += (log((1 - eps) / eps) + log(K - 1)) * loss[target]
        v[moves] += log(factor) * loss[moves]
    return ws, chosen, epsilons, hypotheses


def factor_of(source_factor, n, M):
    inside = 2 * log(n) / M if source_factor == "tradaboost" else 2 * log(n / M)
    return 1 / (1 + sqrt(inside))


# ---------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------


def problem(seed, K=2, sizes=(25, 20, 15), m=30, d=6, shifts=(0.4, 1.0, 3.0)):
    """Linear concepts, of which source k is off by shifts[k]; a few noisy labels.

    Domains interleave. Returns X, y in 0 ... K - 1, sample_domain.
    """
    rng = np.random.default_rng(seed)
    halves = [m - m // 2, m // 2]
    ids = np.repeat([*range(1, len(sizes) + 1), -1, -2], [*sizes, *halves])
    ids = rng.permutation(ids)
    X = rng.normal(size=(len(ids), d)) + 0.3 * (ids > 0)[:, np.newaxis]
    concept = rng.normal(size=(d, K))
    y = (X @ concept).argmax(axis=1)
    for k, shift in enumerate(shifts[: len(sizes)], start=1):
        other = concept + shift * rng.normal(size=(d, K))
        y[ids == k] = (X[ids == k] @ other).argmax(axis=1)
    noisy = rng.random(len(ids)) < 0.05
    y[noisy] = rng.integers(0, K, noisy.sum())
    return X, y, ids


def groups_of(ids):
    return np.where(ids > 0, ids, -1)


def fit(model, X, y, ids, sample_weight=None):
    """Fit, whether or not there is a negative transfer to be warned of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NegativeTransferWarning)
        return model.fit(X, y, sample_weight, sample_domain=ids)


def learner_like(model, learner):
    """The learner of round t; its seed is that of the model."""

    def learner_of(t):
        h = clone(learner)
        if "random_state" in h.get_params() and t < len(model.estimators_):
            h.set_params(random_state=model.estimators_[t].random_state)
        return h

    return learner_of


# ---------------------------------------------------------------------------
# The restatements
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@both_starts
@both_decays
@both_factors
@pytest.mark.parametrize("learner", [STUMP, LOGISTIC], ids=["stump", "logistic"])
def test_is_algorithm_1(learner, source_factor, decay, initial_weight, seed):
    X, y, ids = problem(seed)
    signs, groups, M, min_error = 2 * y - 1, groups_of(ids), 10, 0.01
    given, sample_weight = None, np.ones(len(y))
    if learner is STUMP:  # no two splits are equally good then
        given = sample_weight = np.random.default_rng(seed).lognormal(size=len(y))
    model = MultiSourceTrAdaBoostClassifier(
        learner,
        M,
        initial_weight=initial_weight,
        source_factor=source_factor,
        decay=decay,
        min_error=min_error,
        store_weights=True,
        random_state=seed,
    )
    fit(model, X, signs, ids, given)
    n = sample_weight[ids > 0].sum()
    inside = 2 * log(n) / M if source_factor == "tradaboost" else 2 * log(n / M)
    ws, chosen, epsilons, hypotheses = algorithm_1(
        learner_like(model, learner),
        X,
        signs,
        groups,
        first_weights(initial_weight, groups, sample_weight),
        M,
        0.5 * log(1 + sqrt(inside)),
        decay,
        sample_weight,
    )
    assert len(ws) > 1
    np.testing.assert_allclose(model.round_weights_, ws, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(model.chosen_sources_, chosen)
    np.testing.assert_allclose(model.estimator_errors_, epsilons, rtol=0, atol=1e-12)
    mass = np.array(ws)[:, ids < 0].sum(axis=1)
    np.testing.assert_allclose(model.target_mass_, mass, rtol=0, atol=1e-12)
    expected = final_hypothesis(hypotheses, epsilons, min_error, X)
    np.testing.assert_array_equal(model.predict(X), expected)


@pytest.mark.parametrize("seed", range(5))
@both_decays
@pytest.mark.parametrize("K", [2, 3, 4])
def test_is_the_general_form(K, decay, seed):
    X, y, ids = problem(seed, K, sizes=(40, 30, 30), m=40)
    groups, M, min_error = groups_of(ids), 10, 0.01
    model = MultiSourceTrAdaBoostClassifier(
        GAUSSIAN, M, decay=decay, min_error=min_error, store_weights=True
    )
    fit(model, X, y, ids)
    ones = np.ones(len(y))
    ws, chosen, epsilons, hypotheses = general_rounds(
        learner_like(model, GAUSSIAN),
        X,
        y,
        groups,
        first_weights("domain", groups, ones),
        M,
        factor_of("tradaboost", (ids > 0).sum(), M),
        K,
        decay,
        ones,
    )
    assert len(ws) > 1
    np.testing.assert_allclose(model.round_weights_, ws, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(model.chosen_sources_, chosen)
    np.testing.assert_allclose(model.estimator_errors_, epsilons, rtol=0, atol=1e-12)
    votes = [
        log((1 - e) / e) + log(K - 1) for e in (max(e, min_error) for e in epsilons)
    ]
    shares = sum(a * np.eye(K)[h.predict(X)] for a, h in zip(votes, hypotheses))
    shares /= sum(votes)
    np.testing.assert_allclose(model.estimator_weights_, votes, rtol=1e-10)
    np.testing.assert_allclose(model.predict_proba(X), shares, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(model.predict(X), shares.argmax(axis=1))


def test_rounds_of_the_restatements_choose_several_sources():
    """Else the tests above would be about one source."""
    used = set()
    for seed in range(4):
        X, y, ids = problem(seed)
        used |= set(fit(small(STUMP, 10), X, y, ids).chosen_sources_)
    assert used == {1, 2, 3}


def small(learner=LOGISTIC, n_estimators=8, **parameters):
    return MultiSourceTrAdaBoostClassifier(
        learner, n_estimators, store_weights=True, **parameters
    )


@pytest.mark.parametrize("K", [2, 3])
@both_decays
@both_starts
@pytest.mark.parametrize("learner", [STUMP, LOGISTIC, GAUSSIAN])
@pytest.mark.parametrize("seed", [1, 2])
def test_one_source_has_the_weights_of_tradaboost(
    seed, learner, initial_weight, decay, K
):
    X, y, ids = problem(seed, K, sizes=(60,), shifts=(0.4,))
    sample_weight = np.random.default_rng(seed).lognormal(size=len(y))
    ours = small(
        learner, 12, initial_weight=initial_weight, decay=decay, random_state=0
    )
    one = TrAdaBoostClassifier(
        learner, 12, initial_weight=initial_weight, store_weights=True, random_state=0
    )
    for model in (ours, one):
        fit(model, X, y, ids, sample_weight)
    assert len(ours.estimators_) == len(one.estimators_) > 1
    for name in (
        "round_weights_",
        "source_weights_",
        "estimator_errors_",
        "estimator_weights_",
        "target_mass_",
    ):
        np.testing.assert_allclose(
            getattr(ours, name), getattr(one, name), rtol=0, atol=1e-9, err_msg=name
        )
    assert ours.termination_condition_ == one.termination_condition_
    assert set(ours.chosen_sources_) == {1}
    assert ours.source_errors_ == pytest.approx([one.source_error_])
    # All rounds vote, and not the later half.
    shares = np.zeros((len(y), K))
    for h, vote in zip(one.estimators_, one.estimator_weights_):
        shares += vote * np.eye(K)[h.predict(X)]
    shares /= one.estimator_weights_.sum()
    np.testing.assert_allclose(ours.predict_proba(X), shares, rtol=0, atol=1e-9)


# ---------------------------------------------------------------------------
# What depends on the losses alone
# ---------------------------------------------------------------------------


@both_decays
@both_factors
def test_source_rows_lose_weight_by_being_wrong_only(source_factor, decay):
    """Rows 0-3 and 4-8 are sources, 9-14 the target; rows 1 and 5 are always wrong."""
    rounds = 6
    script = [
        [{1, 5, 9 + t, 10 + t} - {15} for t in range(rounds)],
        [{1, 5, 9 + t} for t in range(rounds)],
    ]
    script[0][2] = {1, 5, 2, 4}  # right on the target: source 1 is chosen
    model, *_ = play(script, (4, 5), 6, source_factor=source_factor, decay=decay)
    np.testing.assert_array_equal(model.chosen_sources_, [2, 2, 1, 2, 2, 2])
    beta = factor_of(source_factor, 9, rounds)
    w = model.round_weights_ / model.round_weights_[:, [0]]  # row 0 is never wrong
    t = np.arange(rounds)
    after = t > 2
    if decay == "all":
        expected = {1: beta**t, 5: beta**t, 2: beta**after, 4: beta**after, 3: 1.0**t}
    else:
        expected = {1: beta**after, 5: beta ** (t - after), 2: beta**after, 4: 1.0**t}
    for row, factor in expected.items():
        np.testing.assert_allclose(w[:, row], factor, rtol=1e-12)
    raw = w[-1, :9].copy()
    raw[[1, 5] if decay == "all" else [5]] *= beta
    np.testing.assert_allclose(model.source_weights_, raw / raw.mean(), rtol=1e-12)


@pytest.mark.parametrize("weight, floor", [(1, 1 / 15), (2, 1 / 30), (0.2, 1 / 4)])
def test_default_min_error_is_a_floor_in_the_votes_only(weight, floor):
    script = [[{9}, {10, 0}, {0}], [{9, 10}] * 3]
    model, *_ = play(
        script, (4, 5), 6, min_error=None, sample_weight=np.full(15, weight)
    )
    errors = [1 / 6, 1 / 10, 0]
    np.testing.assert_allclose(model.estimator_errors_, errors, atol=1e-15)
    e = np.maximum(errors, floor)
    np.testing.assert_allclose(model.estimator_weights_, np.log((1 - e) / e))
    target = model.round_weights_[2, 9:] / model.round_weights_[2, 14]
    np.testing.assert_allclose(target, [5, 9, 1, 1, 1, 1])


@pytest.mark.parametrize(
    "first, second, sizes, winner",
    [
        ({9}, {9, 10}, (4, 5), 1),  # the target comes first
        ({9, 10}, {9}, (4, 5), 2),
        ({9, 0}, {10}, (4, 5), 2),  # then the own source,
        ({9}, {10, 5}, (4, 5), 1),
        ({9, 0, 1}, {10, 4, 5}, (4, 5), 2),  # by its share of errors,
        ({9}, {10, 0, 1}, (4, 5), 1),  # then all rows,
        ({9, 5}, {10}, (4, 5), 2),
        ({9}, {10}, (4, 5), 2),  # then the larger source,
        ({9}, {10}, (5, 4), 1),
        ({10}, {11}, (5, 5), 1),  # then the smaller id
    ],
)
def test_ties_between_sources(first, second, sizes, winner):
    model, *_ = play([[first], [second]], sizes, 6)
    assert model.chosen_sources_.tolist() == [winner]


@pytest.mark.parametrize("first, second", [((9, 10), (11,)), ((11,), (9, 10))])
def test_equal_errors_are_equal_however_they_are_summed(first, second):
    """0.1 + 0.2 is not 0.3 in floats."""
    weights = np.r_[np.ones(9), np.tile([0.1, 0.2, 0.3], 2)]
    model, *_ = play([[{0, *first}], [set(second)]], (4, 5), 6, sample_weight=weights)
    assert model.chosen_sources_.tolist() == [2]


@pytest.mark.parametrize("seed", range(15))
def test_hypothesis_chosen_again_is_at_chance(seed):
    """Its error is 1/2 by construction: rounding must not keep it in the vote."""
    rng = np.random.default_rng(seed)
    m = rng.integers(4, 20)
    wrong = set(9 + rng.choice(m, size=rng.integers(1, (m + 1) // 2), replace=False))
    script = [[wrong] * 2, [set(range(9, 9 + m))] * 2]
    model, *_ = play(script, (4, 5), m)
    assert len(model.estimators_) == 1
    assert model.termination_condition_ == "no_better_than_chance"


# ---------------------------------------------------------------------------
# Which sources help
# ---------------------------------------------------------------------------


def one_of_five(seed, n=80, m=30, d=8):
    """Source 3 has the concept of the target, the others one of their own."""
    rng = np.random.default_rng(seed)
    ids = np.repeat([1, 2, 3, 4, 5, -1], [n] * 5 + [m + 400])
    X = rng.normal(size=(len(ids), d))
    concept = rng.normal(size=d)
    y = X @ concept > 0
    for k in (1, 2, 4, 5):
        y[ids == k] = X[ids == k] @ rng.normal(size=d) > 0
    test = np.arange(len(ids)) >= 5 * n + m
    return X, y.astype(float), ids, test


@pytest.mark.parametrize("learner", [None, STUMP])
def test_sources_that_do_not_help_are_not_chosen(learner):
    helped, gains = [], []
    for seed in range(4):
        X, y, ids, test = one_of_five(seed)
        labels = np.where(test, np.nan, y)
        model = MultiSourceTrAdaBoostClassifier(learner, 10, random_state=0)
        pooled = TrAdaBoostClassifier(learner, 10, random_state=0)
        for fitted in (model, pooled):
            fit(fitted, X, labels, ids)
        helped.append(np.mean(model.chosen_sources_ == 3))
        gains.append(model.score(X[test], y[test]) - pooled.score(X[test], y[test]))
        if learner is None:
            assert model.sources_[model.source_errors_.argmin()] == 3
            of_row = ids[ids > 0]
            trust = [model.source_weights_[of_row == k].mean() for k in range(1, 6)]
            assert np.argmax(trust) == 2
    # A stump sees one column, in which sources agree that disagree in the others.
    assert np.mean(helped) > (0.9 if learner is None else 0.4)
    assert np.mean(gains) > 0.03


# ---------------------------------------------------------------------------
# Invariances
# ---------------------------------------------------------------------------


def tied_problem(seed):
    """Few target rows and well-separated classes: equal errors are the rule."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.repeat([1, 2, 3, -1], [20, 21, 22, 8]))
    y = rng.integers(0, 2, len(ids))
    y[np.flatnonzero(ids < 0)[:2]] = 0, 1
    X = rng.normal(size=(len(ids), 3)) + 2.0 * y[:, np.newaxis]
    X[ids > 0] += 0.3 * ids[ids > 0, np.newaxis]
    return X, y, ids


@pytest.mark.parametrize("learner", [None, LOGISTIC])
@pytest.mark.parametrize("data", [problem, tied_problem])
def test_order_of_rows_and_names_of_sources_do_not_matter(data, learner):
    names = {1: 40, 2: 7, 3: 1, -1: -3, -2: -1}
    used = set()
    for seed in range(3):
        X, y, ids = data(seed)
        order = np.random.default_rng(seed).permutation(len(y))
        renamed = np.array([names[i] for i in ids])
        plain = fit(small(learner), X, y, ids)
        other = fit(small(learner), X[order], y[order], renamed[order])
        used |= set(plain.chosen_sources_)
        np.testing.assert_array_equal(
            [names[k] for k in plain.chosen_sources_], other.chosen_sources_
        )
        np.testing.assert_allclose(
            other.round_weights_, plain.round_weights_[:, order], rtol=0, atol=1e-9
        )
        np.testing.assert_allclose(
            other.predict_proba(X), plain.predict_proba(X), rtol=0, atol=1e-7
        )
        place = np.cumsum(ids > 0) - 1
        np.testing.assert_allclose(
            other.source_weights_,
            plain.source_weights_[place[order][ids[order] > 0]],
            rtol=1e-7,
        )
    assert len(used) > 1


def test_names_of_the_classes_do_not_matter():
    X, y, ids = problem(3)
    plain, swapped = fit(small(), X, y, ids), fit(small(), X, 1 - y, ids)
    np.testing.assert_allclose(
        plain.round_weights_, swapped.round_weights_, rtol=0, atol=1e-9
    )
    untied = np.abs(plain.decision_function(X)) > 1e-9
    assert untied.mean() > 0.9 and len(plain.round_weights_) > 2
    np.testing.assert_array_equal(
        plain.predict(X)[untied], 1 - swapped.predict(X)[untied]
    )


@both_starts
def test_whole_weights_are_repeated_rows(initial_weight):
    X, y, ids = problem(10)
    times = np.random.default_rng(0).integers(1, 4, len(y))
    weighted, repeated = (small(initial_weight=initial_weight) for _ in range(2))
    fit(weighted, X, y, ids, times)
    fit(repeated, *(np.repeat(a, times, axis=0) for a in (X, y, ids)))
    assert len(weighted.estimators_) == len(repeated.estimators_) > 2
    np.testing.assert_allclose(
        np.repeat(weighted.round_weights_ / times, times, axis=1),
        repeated.round_weights_,
        rtol=0,
        atol=1e-12,
    )
    np.testing.assert_array_equal(weighted.chosen_sources_, repeated.chosen_sources_)
    np.testing.assert_allclose(
        weighted.estimator_weights_, repeated.estimator_weights_, rtol=1e-9
    )
    np.testing.assert_allclose(
        weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-9
    )


def test_jobs_do_not_change_a_bit():
    X, y, ids = problem(1)
    one = fit(small(STUMP, random_state=0), X, y, ids)
    with parallel_config(backend="threading"):
        two = fit(small(STUMP, random_state=0, n_jobs=2), X, y, ids)
    np.testing.assert_array_equal(one.round_weights_, two.round_weights_)
    np.testing.assert_array_equal(one.source_errors_, two.source_errors_)
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


def test_learners_that_draw_are_seeded():
    X, y, ids = problem(1)
    drawing = DecisionTreeClassifier(max_depth=2, max_features=1)
    proba = [
        fit(small(drawing, 5, random_state=seed), X, y, ids).predict_proba(X)
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(proba[0], proba[1])
    assert (proba[0] != proba[2]).any()


# ---------------------------------------------------------------------------
# Rows, labels and weights as users give them
# ---------------------------------------------------------------------------


@both_starts
@pytest.mark.parametrize("weighted", [False, True])
def test_learners_get_one_source_and_the_target(weighted, initial_weight):
    """With weights that sum to those of the user over these rows."""
    X, y, ids = problem(9)
    X = np.c_[X, np.arange(len(y))]
    given = np.random.default_rng(0).lognormal(2, 1, len(y)) if weighted else None
    weights = given if weighted else np.ones(len(y))
    seen = Shared()
    model = small(Spy(STUMP, seen), 4, initial_weight=initial_weight)
    fit(model, X, y, ids, given)
    alone, together = seen[:3], seen[3:]
    assert len(together) >= 3 * len(model.estimators_) > 3
    for k, (rows, labels, w) in enumerate(alone, start=1):
        numbers = np.flatnonzero(ids == k)
        np.testing.assert_array_equal(rows[:, -1], numbers)
        np.testing.assert_array_equal(labels, y[numbers])
        np.testing.assert_array_equal(w, weights[numbers])
    for i, (rows, labels, w) in enumerate(together):
        numbers = np.flatnonzero((ids == i % 3 + 1) | (ids < 0))
        np.testing.assert_array_equal(rows[:, -1], numbers)
        np.testing.assert_array_equal(labels, y[numbers])
        assert w.sum() == pytest.approx(weights[numbers].sum(), rel=1e-12)
        if i // 3 < len(model.estimators_):
            p = model.round_weights_[i // 3, numbers]
            np.testing.assert_allclose(w / w.sum(), p / p.sum(), rtol=1e-10)


def test_each_source_has_the_mass_of_the_target():
    X, y, ids = problem(7)
    weights = np.random.default_rng(0).lognormal(size=len(y))
    first = fit(small(), X, y, ids, weights).round_weights_[0]
    for group in (1, 2, 3, -1):
        rows = groups_of(ids) == group
        share = weights[rows] / weights[rows].sum()
        np.testing.assert_allclose(first[rows], share / 4, rtol=1e-12)


def test_initial_weights_of_the_user():
    X, y, ids = problem(7)
    w = np.random.default_rng(0).lognormal(size=len(y))
    first = fit(small(initial_weight=5 * w), X, y, ids).round_weights_[0]
    np.testing.assert_allclose(first, w / w.sum(), rtol=1e-12)


@pytest.mark.parametrize("kind", ["floats", "objects", "strings"])
def test_unlabeled_target_rows_change_nothing(kind):
    X, y, ids = problem(6)
    old = np.sort(np.random.default_rng(0).choice(len(y) + 20, len(y), replace=False))
    X_all, ids_all = np.zeros((len(y) + 20, X.shape[1])), np.full(len(y) + 20, -4)
    y_all = np.full(len(y) + 20, np.nan)
    if kind != "floats":
        y = np.array(["no", "yes"])[y] if kind == "strings" else y
        y_all = np.full(len(y) + 20, None)
    X_all[old], y_all[old], ids_all[old] = X, y, ids
    alone = fit(small(STUMP, random_state=0), X, y, ids)
    among = fit(small(STUMP, random_state=0), X_all, y_all, ids_all)
    np.testing.assert_array_equal(among.classes_, np.unique(y))
    np.testing.assert_array_equal(among.round_weights_, alone.round_weights_)
    np.testing.assert_array_equal(among.source_weights_, alone.source_weights_)
    np.testing.assert_array_equal(among.predict_proba(X), alone.predict_proba(X))


def test_a_source_may_lack_a_class():
    """Its learner sees the others in the target."""
    X, y, ids = problem(2, 3, m=60)
    keep = (ids != 1) | (y == 0)
    model = fit(small(GAUSSIAN), X[keep], y[keep], ids[keep])
    assert model.classes_.tolist() == [0, 1, 2]
    expected = np.mean(y[ids < 0] != 0)
    assert model.source_errors_[0] == pytest.approx(expected)


def test_default_learner():
    X, y, ids = problem(11)
    model = fit(MultiSourceTrAdaBoostClassifier(n_estimators=3), X, y, ids)
    learner = model.estimators_[0]
    assert isinstance(learner, LinearSVC)
    assert (learner.C, learner.class_weight, learner.dual) == (0.1, "balanced", False)


def test_weights_of_an_earlier_fit_are_forgotten():
    X, y, ids = problem(11)
    model = fit(small(n_estimators=3), X, y, ids)
    assert hasattr(model, "round_weights_")
    fit(model.set_params(store_weights=False), X, y, ids)
    assert not hasattr(model, "round_weights_")


# ---------------------------------------------------------------------------
# Votes
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("K", [2, 3])
def test_stages_are_the_votes_of_the_rounds_so_far(K):
    X, y, ids = problem(4, K)
    names = np.array(["ash", "birch", "cedar"])[y]
    model = fit(small(GAUSSIAN, 9), X, names, ids)
    stages = list(model.staged_predict(X))
    assert len(stages) == len(model.estimators_) > 4
    shares = np.zeros((len(X), K))
    for stage, h, vote in zip(stages, model.estimators_, model.estimator_weights_):
        shares += vote * (h.predict(X)[:, np.newaxis] == model.classes_)
        np.testing.assert_array_equal(stage, model.classes_[shares.argmax(axis=1)])
    shares /= shares.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(X), shares, rtol=0, atol=1e-12)
    decision = model.decision_function(X)
    expected = shares if K > 2 else shares[:, 1] - shares[:, 0]
    np.testing.assert_allclose(decision, expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(stages[-1], model.predict(X))
    assert any((stage != stages[-1]).any() for stage in stages)
    weights = np.random.default_rng(0).random(len(y))
    scores = list(model.staged_score(X, names, sample_weight=weights))
    expected = [accuracy_score(names, stage, sample_weight=weights) for stage in stages]
    np.testing.assert_allclose(scores, expected, rtol=1e-12)


def test_ties_go_to_the_second_class():
    """Two equal votes, of which one is wrong about rows 0 and 1."""
    for order in (1, -1):
        script = [[{0, 1, 4}, {5}][::order]]
        model, X, *_ = play(script, (4,), 6, min_error=0.4)
        np.testing.assert_allclose(model.estimator_weights_, [log(1.5)] * 2)
        np.testing.assert_array_equal(model.predict(X)[:2], [1, 1])
        np.testing.assert_array_equal(model.predict_proba(X)[:2], 0.5)


# ---------------------------------------------------------------------------
# One domain
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("source_factor", ["tradaboost", "multisource"])
@both_decays
@pytest.mark.parametrize("K", [2, 3])
def test_one_domain_is_samme(K, decay, source_factor):
    X, y, _ = problem(5, K)
    model = small(GAUSSIAN, 8, decay=decay, source_factor=source_factor, min_error=TINY)
    with pytest.warns(NoAdaptationWarning):
        model.fit(X, y)
    w, votes = np.full(len(y), 1 / len(y)), np.zeros((len(y), K))
    assert len(model.estimators_) > 2
    for t in range(len(model.estimators_)):
        np.testing.assert_allclose(model.round_weights_[t], w, rtol=0, atol=1e-12)
        predicted = clone(GAUSSIAN).fit(X, y, sample_weight=len(y) * w).predict(X)
        eps = w[predicted != y].sum()
        a = log((1 - eps) / eps) + log(K - 1)
        assert model.estimator_weights_[t] == pytest.approx(a, abs=1e-9)
        votes += a * np.eye(K)[predicted]
        w = w * np.exp(a * (predicted != y))
        w /= w.sum()
    np.testing.assert_array_equal(model.predict(X), votes.argmax(axis=1))
    for name in ("chosen_sources_", "sources_", "source_errors_", "source_weights_"):
        assert getattr(model, name).shape == (0,), name


# ---------------------------------------------------------------------------
# Where boosting ends early
# ---------------------------------------------------------------------------


def test_goes_on_while_a_row_that_could_move_is_wrong():
    """Right on the target: with decay="chosen" only the chosen source could move."""
    script = [[{5}, {5}, set(), set()], [{9, 10}] * 4]
    model, *_ = play(script, (4, 5), 6, n_estimators=4)
    assert len(model.estimators_) == 3
    assert model.termination_condition_ == "perfect_fit"
    assert set(model.chosen_sources_) == {1}
    np.testing.assert_array_equal(model.estimator_errors_, 0)
    beta = factor_of("tradaboost", 9, 4)
    row = model.round_weights_[:, 5] / model.round_weights_[:, 0]
    np.testing.assert_allclose(row, beta ** np.arange(3), rtol=1e-12)
    model, *_ = play(script, (4, 5), 6, n_estimators=4, decay="chosen")
    assert len(model.estimators_) == 1
    assert model.termination_condition_ == "perfect_fit"


def test_rows_without_weight_keep_nothing_going():
    weights = np.ones(15)
    weights[5] = 0
    script = [[{5}] * 3, [{9, 10}] * 3]
    model, *_ = play(script, (4, 5), 6, sample_weight=weights)
    assert len(model.estimators_) == 1
    assert model.termination_condition_ == "perfect_fit"


def test_first_round_at_chance_is_kept_alone():
    """Of two learners at chance and worse, the better one."""
    script = [[{9, 10, 11, 12}] * 2, [{9, 10, 11}] * 2]
    with pytest.warns(NegativeTransferWarning, match="first round") as caught:
        model, X, y, _ = play(script, (4, 5), 6)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert len(model.estimators_) == 1
    assert model.chosen_sources_.tolist() == [2]
    assert model.termination_condition_ == "no_better_than_chance"
    assert model.estimator_weights_.tolist() == [1]
    wrong = np.isin(np.arange(15), [9, 10, 11])
    np.testing.assert_array_equal(model.predict(X) != y, wrong)


def test_sources_that_are_worse_than_chance_are_warned_of_once():
    script = [[{9, 10, 11, 12}], [{9, 10, 11}]]
    with pytest.warns(NegativeTransferWarning, match="source alone") as caught:
        play(script, (4, 5), 6, alone="none")
    assert len(caught) == 1 and caught[0].filename == __file__


def test_one_source_that_helps_is_enough():
    X, y, ids, test = one_of_five(0)
    flipped = np.where((ids == 1) | (ids == 2), 1 - y, y)
    flipped[test] = np.nan
    model = MultiSourceTrAdaBoostClassifier(LOGISTIC, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NegativeTransferWarning)
        model.fit(X, flipped, sample_domain=ids)
    assert model.source_errors_.max() > 0.5 > model.source_errors_.min()


def test_opposite_sources_are_warned_of():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    ids = np.repeat([1, 2, -1], 100)
    y = np.where(ids > 0, X[:, 0] > 0, X[:, 0] <= 0)
    model = MultiSourceTrAdaBoostClassifier(STUMP, 5)
    with pytest.warns(NegativeTransferWarning, match="source alone"):
        model.fit(X, y, sample_domain=ids)
    np.testing.assert_array_equal(model.source_errors_ > 0.9, True)


# ---------------------------------------------------------------------------
# Bad input
# ---------------------------------------------------------------------------

N_ROWS = len(problem(12)[1])


@pytest.mark.parametrize(
    "parameters, words",
    [
        ({"source_factor": "yao"}, "source_factor"),
        ({"decay": "none"}, "decay"),
        ({"initial_weight": np.r_[-1.0, np.ones(N_ROWS - 1)]}, "initial_weight"),
        ({"initial_weight": np.ones(N_ROWS - 1)}, "initial_weight"),
        ({"min_error": 0.5}, "min_error"),
        (
            {"source_factor": "multisource", "n_estimators": 60},
            r"more source rows than rounds.*60.*n_estimators=60.*fewer rounds",
        ),
    ],
)
def test_bad_parameters(parameters, words):
    X, y, ids = problem(12)
    model = small(LOGISTIC, 3).set_params(**parameters)
    with pytest.raises(ValueError, match=f"(?s){words}"):
        model.fit(X, y, sample_domain=ids)


def test_number_of_source_rows_is_that_of_the_user():
    """60 rows of weight 2 are more than 60 rounds."""
    X, y, ids = problem(12)
    model = small(LOGISTIC, 60, source_factor="multisource")
    fit(model, X, y, ids, np.full(len(y), 2.0))
    assert len(model.estimators_) > 1
    with pytest.raises(ValueError, match="count 30"):
        model.fit(X, y, np.full(len(y), 0.5), sample_domain=ids)


def test_no_source_may_be_without_weight():
    X, y, ids = problem(12)
    with pytest.raises(ValueError, match=r"source rows of sample_domain 2\b"):
        small().fit(X, y, (ids != 2).astype(float), sample_domain=ids)


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda y, ids: np.where(ids < 0, np.nan, y), "labelled target row"),
        (lambda y, ids: np.where(ids < 0, 1.0, y), "one class, 1"),
        (lambda y, ids: np.where(ids == 2, np.nan, y), "unlabelled source rows"),
        (lambda y, ids: np.where(ids > 0, np.nan, y), "labelled source row"),
    ],
)
def test_bad_labels(spoil, words):
    X, y, ids = problem(12)
    with pytest.raises(ValueError, match=words):
        small().fit(X, spoil(y.astype(float), ids), sample_domain=ids)
