"""TaskTrAdaBoost against a straight-line restatement of Algorithms 2 and 3.

The two-class form is stated again here in the paper's own terms, labels -1 and 1,
alphas and negated hypotheses, and the form for several classes by minimising the
exponential loss of SAMME with SciPy; nothing is taken from the package but its answers.
"""

import warnings
from math import exp, log

import numpy as np
import pytest
from joblib import parallel_config
from scipy.optimize import minimize_scalar
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import AdaBoostClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from skadapt import (
    NegativeTransferWarning,
    NoAdaptationWarning,
    TaskTrAdaBoostClassifier,
    TrAdaBoostClassifier,
)

TINY = 1e-12  # a min_error that no error of these tests is below, 0 excepted
SLACK = 1e-9  # of numbers that would be equal without rounding
STUMP = DecisionTreeClassifier(max_depth=1)
LOGISTIC = LogisticRegression(solver="newton-cholesky", tol=1e-10)
GAUSSIAN = GaussianNB(var_smoothing=1e-9)


# ---------------------------------------------------------------------------
# Learners
# ---------------------------------------------------------------------------


class Shared(list):
    """A list that clones of an estimator share."""

    def __deepcopy__(self, memo):
        return self


class Scripted(ClassifierMixin, BaseEstimator):
    """Wrong about the rows that the script names for its source and round.

    X has row numbers, domain ids and labels for columns. ``script[k]`` are the rounds
    of source k: sets of row numbers, which it mistakes for the next class, modulo the
    number of classes. After them it is wrong about every row, which ends the first
    stage.
    """

    def __init__(self, script, n_classes=2):
        self.script = script
        self.n_classes = n_classes

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        rounds = self.script[int(X[0, 1]) - 1]
        self.wrong_ = rounds.pop(0) if rounds else set(range(100))
        return self

    def predict(self, X):
        wrong = np.isin(X[:, 0].astype(int), list(self.wrong_))
        return np.where(wrong, (X[:, 2] + 1) % self.n_classes, X[:, 2]).astype(int)


class Counted(ClassifierMixin, BaseEstimator):
    """Counts the calls of all of its clones; another learner does the work."""

    def __init__(self, learner, calls):
        self.learner = learner
        self.calls = calls

    def fit(self, X, y, sample_weight=None):
        self.calls.append(("fit", X, y, sample_weight))
        self.learner_ = clone(self.learner).fit(X, y, sample_weight=sample_weight)
        self.classes_ = self.learner_.classes_
        return self

    def predict(self, X):
        self.calls.append(("predict", X))
        return self.learner_.predict(X)


def play(script, sizes, n_target, *, n_classes=2, sample_weight=None, **parameters):
    """Fit on a script; the rows of source 1 come first, the target rows last.

    Labels alternate.
    """
    ids = np.repeat([*range(1, len(sizes) + 1), -1], [*sizes, n_target])
    y = np.arange(len(ids)) % n_classes
    X = np.column_stack([np.arange(len(ids)), ids, y]).astype(float)
    parameters = {"min_error": TINY} | parameters
    parameters.setdefault("n_estimators", len(script[0]))
    rounds = Shared(Shared(set(rows) for rows in source) for source in script)
    model = TaskTrAdaBoostClassifier(
        Scripted(rounds, n_classes), store_weights=True, **parameters
    )
    return model.fit(X, y, sample_weight, sample_domain=ids), X, y, ids


# ---------------------------------------------------------------------------
# Referees
# ---------------------------------------------------------------------------


def algorithm_2(learner_of, X, y, w, M, gamma):
    """Phase I on one source, y in {-1, 1}: (hypothesis, error) that enter H."""
    kept = []
    total = w.sum()
    w = list(w)
    for t in range(M):
        mass = sum(w)
        w = [w_i / mass for w_i in w]
        h = learner_of(t).fit(X, y, sample_weight=total * np.array(w))
        predicted = h.predict(X)
        eps = sum(w_i for w_i, a, b in zip(w, predicted, y) if a != b)
        if eps >= 0.5 - SLACK:
            break
        if eps == 0:
            kept.append((h, eps))
            break
        alpha = 0.5 * log((1 - eps) / eps)
        if alpha > gamma:
            kept.append((h, eps))
        w = [w_i * exp(-alpha * a * b) for w_i, a, b in zip(w, y, predicted)]
    return kept


def preferred(scores, left, H, predicted, w):
    """Of equal scores the smaller error on the source, the earlier round, ...

    ... the one that agrees with more of H on the target, the smaller id.
    """
    agreement = {
        j: sum(
            w[i] * np.mean(predicted[:, i] == predicted[j, i]) for i in range(len(w))
        )
        for j in left
    }
    keys = {
        j: (scores[j], H[j]["error"], H[j]["round"], -agreement[j], H[j]["source"])
        for j in left
    }
    left = list(left)
    for level in range(5):
        least = min(keys[j][level] for j in left)
        left = [j for j in left if keys[j][level] < least + SLACK]
    return left[0]


def algorithm_3(H, X, y, w, M):
    """Phase II, y in {-1, 1}: weights, numbers, errors and signs of the rounds."""
    predicted = np.array([entry["learner"].predict(X) for entry in H])
    w = list(np.array(w) / np.sum(w))
    first = list(w)
    left = set(range(len(H)))
    ws, chosen, epsilons, signs = [], [], [], []
    while left and len(chosen) < M:
        mass = sum(w)
        w = [w_i / mass for w_i in w]
        errors, sign = {}, {}
        for j in left:
            eps = sum(w_i for w_i, a, b in zip(w, predicted[j], y) if a != b)
            sign[j] = -1 if eps > 0.5 else 1
            errors[j] = 1 - eps if eps > 0.5 else eps
        j = preferred(errors, left, H, predicted, first)
        if errors[j] >= 0.5 - SLACK:
            break
        left.remove(j)
        ws.append(list(w))
        chosen.append(j)
        epsilons.append(errors[j])
        signs.append(sign[j])
        if errors[j] > TINY:
            alpha = 0.5 * log((1 - errors[j]) / errors[j])
            w = [
                w_i * exp(-alpha * b * sign[j] * a)
                for w_i, a, b in zip(w, predicted[j], y)
            ]
    return ws, chosen, epsilons, signs


def first_stage(learner_of, X, y, ids, sample_weight, M, gamma):
    H = []
    for k in np.unique(ids[ids > 0]):
        rows = ids == k
        for t, (h, eps) in enumerate(
            algorithm_2(learner_of(k), X[rows], y[rows], sample_weight[rows], M, gamma)
        ):
            H.append({"learner": h, "error": eps, "round": t, "source": k})
    return H


def exponential_loss(error, K):
    """What SAMME's loss is multiplied by, with the best multiple of the learner."""

    def loss(beta):
        return (1 - error) * exp(-beta / (K - 1)) + error * exp(beta / (K - 1) ** 2)

    return minimize_scalar(loss, bracket=(-1.0, 1.0), tol=1e-12).fun


# ---------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------


def problem(seed, K=2, sizes=(25, 20, 15), m=30, d=6, shifts=(0.4, 1.0, 3.0)):
    """Linear concepts, of which source k is off by shifts[k]; a few noisy labels.

    Domains interleave. Returns X, y in 0 ... K - 1, sample_domain.
    """
    rng = np.random.default_rng(seed)
    ids = np.repeat([*range(1, len(sizes) + 1), -1, -2], [*sizes, m - m // 2, m // 2])
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


def small(learner=LOGISTIC, n_estimators=6, **parameters):
    return TaskTrAdaBoostClassifier(
        learner, n_estimators, store_weights=True, **parameters
    )


def seeded_like(model, learner):
    """For each source the learner of round t, with the seed of the model."""
    seeds = {}
    for k, h in zip(model.hypothesis_sources_, model.hypotheses_):
        seeds.setdefault(k, []).append(h.get_params().get("random_state"))
    longest = max(seeds.values(), key=len)

    def of_source(k):
        def learner_of(t):
            h = clone(learner)
            if "random_state" in h.get_params() and t < len(longest):
                h.set_params(random_state=longest[t])
            return h

        return learner_of

    return of_source


# ---------------------------------------------------------------------------
# The restatements
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("gamma", [0.0, 0.4])
@pytest.mark.parametrize("learner", [STUMP, LOGISTIC], ids=["stump", "logistic"])
def test_is_algorithms_2_and_3(learner, gamma, seed):
    X, y, ids = problem(seed, sizes=(60, 50, 40))
    signs, target, M, min_error = 2 * y - 1, ids < 0, 8, 0.01
    given, sample_weight = None, np.ones(len(y))
    if learner is STUMP:  # no two splits are equally good then
        given = sample_weight = np.random.default_rng(seed).lognormal(size=len(y))
    model = small(
        learner, M, min_vote=2 * gamma, min_error=min_error, random_state=seed
    )
    model.fit(X, signs, given, sample_domain=ids)
    H = first_stage(seeded_like(model, learner), X, signs, ids, sample_weight, M, gamma)
    np.testing.assert_array_equal(model.hypothesis_sources_, [h["source"] for h in H])
    np.testing.assert_allclose(
        model.hypothesis_errors_, [h["error"] for h in H], rtol=0, atol=1e-12
    )
    ws, chosen, epsilons, negated = algorithm_3(
        H, X[target], signs[target], sample_weight[target], M
    )
    assert len(ws) > 1
    np.testing.assert_allclose(model.round_weights_, ws, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(
        model.chosen_sources_, [H[j]["source"] for j in chosen]
    )
    errors = np.where(np.array(negated) > 0, epsilons, 1 - np.array(epsilons))
    np.testing.assert_allclose(model.estimator_errors_, errors, rtol=0, atol=1e-12)
    total = np.zeros(len(y))
    for j, eps, sign in zip(chosen, epsilons, negated):
        e = max(eps, min_error)
        total += 0.5 * log((1 - e) / e) * sign * H[j]["learner"].predict(X)
    np.testing.assert_array_equal(model.predict(X), np.where(total >= -TINY, 1, -1))


def test_restatement_negates_and_chooses_from_all_sources():
    """Else the test above would be about less."""
    used, votes = set(), []
    for seed in range(8):
        X, y, ids = problem(seed, sizes=(60, 50, 40))
        model = small(STUMP, 8, random_state=seed).fit(X, y, sample_domain=ids)
        used |= set(model.chosen_sources_)
        votes += list(model.estimator_weights_)
    assert used == {1, 2, 3}
    assert 0 < np.mean(np.array(votes) < 0) < 0.5


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("K", [2, 3, 4])
def test_is_the_general_form(K, seed):
    """Each round takes the learner with which the exponential loss falls most."""
    X, y, ids = problem(seed, K, sizes=(50, 40, 40), m=40)
    target, M, floor = ids < 0, 8, 0.01
    sample_weight = np.random.default_rng(seed).lognormal(size=len(y))
    model = small(GAUSSIAN, M, min_error=floor)
    model.fit(X, y, sample_weight, sample_domain=ids)
    wrong = np.array([h.predict(X[target]) != y[target] for h in model.hypotheses_])
    v = np.log(sample_weight[target])
    left = list(range(len(wrong)))
    votes = np.zeros((len(y), K))
    for t, h in enumerate(model.estimators_):
        w = np.exp(v - v.max())
        w /= w.sum()
        np.testing.assert_allclose(model.round_weights_[t], w, rtol=0, atol=1e-12)
        errors = wrong[left] @ w
        losses = [exponential_loss(e, K) for e in np.clip(errors, 1e-9, 1 - 1e-9)]
        (best,) = (j for j in left if model.hypotheses_[j] is h)
        assert losses[left.index(best)] <= min(losses) + 1e-7
        eps = wrong[best] @ w
        assert model.estimator_errors_[t] == pytest.approx(eps, abs=1e-12)
        e = min(max(eps, floor), 1 - floor / (K - 1))
        a = log((1 - e) / e) + log(K - 1)
        assert model.estimator_weights_[t] == pytest.approx(a, abs=1e-9)
        votes += a * np.eye(K)[h.predict(X)]
        v = v + (log((1 - eps) / eps) + log(K - 1)) * wrong[best] * (0 < eps < 1)
        left.remove(best)
    assert len(model.estimators_) > 3
    np.testing.assert_array_equal(model.predict(X), later_best(votes))


def later_best(votes):
    """Number of the largest vote of each row, the later one of several."""
    best = votes >= votes.max(axis=1, keepdims=True) - SLACK
    return votes.shape[1] - 1 - best[:, ::-1].argmax(axis=1)


@pytest.mark.parametrize("K", [2, 3])
def test_first_stage_is_adaboost_of_scikit_learn(K):
    X, y, ids = problem(3, K, sizes=(60, 50, 40))
    weights = np.random.default_rng(0).lognormal(size=len(y))
    model = small(STUMP, 10, random_state=0).fit(X, y, weights, sample_domain=ids)
    for k in (1, 2, 3):
        rows = ids == k
        peer = AdaBoostClassifier(STUMP, n_estimators=10, random_state=0)
        peer.fit(X[rows], y[rows], weights[rows])
        ours = model.hypothesis_sources_ == k
        assert ours.sum() == len(peer.estimators_) > 3
        np.testing.assert_allclose(
            model.hypothesis_errors_[ours], peer.estimator_errors_, rtol=0, atol=1e-10
        )
        learners = [h for h, own in zip(model.hypotheses_, ours) if own]
        for h, other in zip(learners, peer.estimators_):
            np.testing.assert_array_equal(h.predict(X), other.predict(X))


# ---------------------------------------------------------------------------
# The second stage
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("K", [2, 3])
def test_another_target_is_as_if_fitted_with_it(K):
    X, y, ids = problem(1, K)
    Z, z, other = problem(2, K)
    Z, z = Z[other < 0], z[other < 0]
    weights = np.random.default_rng(0).lognormal(size=len(y))
    of_z = np.random.default_rng(1).lognormal(size=len(z))
    source = ids > 0
    fresh = small(STUMP, random_state=0)
    fresh.fit(
        np.r_[Z, X[source]],
        np.r_[z, y[source]],
        np.r_[of_z, weights[source]],
        sample_domain=np.r_[np.full(len(z), -1), ids[source]],
    )
    model = small(STUMP, random_state=0).fit(X, y, weights, sample_domain=ids)
    before = model.predict_proba(X)
    assert model.fit_target(Z, z, of_z) is model
    for name in (
        "round_weights_",
        "chosen_sources_",
        "estimator_errors_",
        "estimator_weights_",
        "classes_",
    ):
        np.testing.assert_array_equal(getattr(model, name), getattr(fresh, name))
    np.testing.assert_array_equal(model.predict_proba(X), fresh.predict_proba(X))
    assert (model.predict_proba(X) != before).any()
    # And back.
    model.fit_target(X[~source], y[~source], weights[~source])
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_second_stage_fits_nothing_and_predicts_once():
    X, y, ids = problem(1)
    calls = Shared()
    model = small(Counted(STUMP, calls), 6).fit(X, y, sample_domain=ids)
    target = ids < 0
    for kind, rows, *_ in calls:
        if kind == "fit":  # on the rows of one source
            assert any(np.array_equal(rows, X[ids == k]) for k in (1, 2, 3))
    calls.clear()
    model.fit_target(X[target], y[target])
    assert [kind for kind, *_ in calls] == ["predict"] * len(model.hypotheses_)
    for _, rows in calls:
        np.testing.assert_array_equal(rows, X[target])


def test_flipped_target_is_the_negated_hypotheses():
    X, y, ids = problem(4)
    target = ids < 0
    model = small(STUMP, random_state=0).fit(X, y, sample_domain=ids)
    votes, proba = model.estimator_weights_, model.predict_proba(X)
    errors = model.estimator_errors_
    model.fit_target(X[target], 1 - y[target])
    np.testing.assert_allclose(model.estimator_weights_, -votes, rtol=1e-9)
    np.testing.assert_allclose(model.estimator_errors_, 1 - errors, atol=1e-12)
    np.testing.assert_allclose(model.predict_proba(X), 1 - proba, atol=1e-12)


def test_vote_against_a_class_is_one_for_the_others():
    """Of three classes; the second learner is always wrong, by one class."""
    target = set(range(8, 14))
    script = [[{0, 8}, {1, *target}]]
    model, X, y, _ = play(script, (8,), 6, n_classes=3, n_estimators=2, min_error=0.1)
    # Wrong always: named class c, so not c; the floor of 0.1 as far from 1 as from 0.
    against = -(log(0.05 / 0.95) + log(2))
    favour = log(5) + log(2)
    order = model.estimator_errors_.argsort()
    np.testing.assert_allclose(model.estimator_errors_[order], [1 / 6, 1])
    np.testing.assert_allclose(model.estimator_weights_[order], [favour, -against])
    total = favour + 2 * against
    proba = model.predict_proba(X[9:14]) * total
    truth, named = y[9:14], (y[9:14] + 1) % 3
    rows = np.arange(5)
    np.testing.assert_allclose(proba[rows, truth], favour + against)
    np.testing.assert_allclose(proba[rows, named], 0, atol=1e-12)
    np.testing.assert_allclose(proba[rows, 3 - truth - named], against)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)


def test_learners_without_an_error_move_no_weight_and_are_followed_by_others():
    """Perfect ones and their opposites have the same vote, that of the floor."""
    target = set(range(6, 14))
    script = [[{0}, {1, *target}, {2, 6}], [{3}, {4, 7, 8}, {5}]]
    model, *_ = play(script, (3, 3), 8, n_estimators=7, min_error=None)
    assert model.termination_condition_ == "no_hypothesis_left"
    floor = log((1 - 1 / 8) / (1 / 8))
    np.testing.assert_allclose(model.estimator_errors_[:4] % 1, 0)
    np.testing.assert_allclose(np.abs(model.estimator_weights_[:4]), floor)
    assert (model.estimator_weights_[:4] < 0).sum() == 1
    np.testing.assert_allclose(model.round_weights_[:5], 1 / 8)
    np.testing.assert_allclose(model.estimator_errors_[4], 1 / 8)
    expected = np.where(np.arange(8) == 0, 1 / 2, 1 / 14)
    np.testing.assert_allclose(model.round_weights_[5], expected)


@pytest.mark.parametrize("weight, floor", [(1, 1 / 8), (2, 1 / 16), (0.2, 1 / 4)])
def test_default_min_error_counts_target_rows(weight, floor):
    script = [[{0}], [{3, 6}]]
    model, *_ = play(
        script, (3, 3), 8, min_error=None, sample_weight=np.full(14, weight)
    )
    assert model.estimator_errors_.tolist() == [0]
    np.testing.assert_allclose(model.estimator_weights_, [log((1 - floor) / floor)])


def test_stops_where_all_that_are_left_are_at_chance():
    script = [[{0, 6}, {1, 6}], [{3, 6}, {4, 6}]]
    model, *_ = play(script, (3, 3), 8, n_estimators=9)
    assert len(model.hypotheses_) == 4
    assert len(model.estimators_) == 1
    assert model.termination_condition_ == "no_better_than_chance"


def test_at_chance_from_the_start():
    script = [[{0, 6, 7}], [{3, 8, 9}]]
    with pytest.warns(NegativeTransferWarning, match="better or worse") as caught:
        model, X, y, _ = play(script, (3, 3), 4)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert len(model.estimators_) == 1
    assert model.termination_condition_ == "no_better_than_chance"
    assert model.estimator_weights_.tolist() == [1]
    assert (model.predict(X) != y).sum() == 3
    with pytest.warns(NegativeTransferWarning, match="better or worse") as caught:
        model.fit_target(X[6:], y[6:])
    assert caught[0].filename == __file__


def test_takes_at_most_the_rounds_planned():
    X, y, ids = problem(0)
    model = small(STUMP, 5, random_state=0).fit(X, y, sample_domain=ids)
    assert len(model.hypotheses_) == 15
    assert len(model.estimators_) == 5
    assert model.termination_condition_ == "n_estimators"
    assert len({id(h) for h in model.estimators_}) == 5
    model.set_params(n_estimators=100).fit_target(X[ids < 0], y[ids < 0])
    assert len(model.hypotheses_) == 15 >= len(model.estimators_) > 5


@pytest.mark.parametrize(
    "first, second, sizes, winner",
    [
        ([{0, 12}], [{6, 12, 13}], (6, 6), 1),  # the target comes first
        ([{0, 12, 13}], [{6, 7, 12}], (6, 6), 2),
        ([{0, 1, 12}], [{6, 13}], (6, 6), 2),  # then the own source,
        ([{0, 12}], [{5, 13}], (5, 7), 2),  # by its share of errors,
        ([{0, 12}], [{6, 13}], (6, 6), 1),  # then the smaller id
    ],
)
def test_ties(first, second, sizes, winner):
    model, *_ = play([first, second], sizes, 6)
    assert model.chosen_sources_[0] == winner


@pytest.mark.parametrize("first, second", [((12, 13), (14,)), ((14,), (12, 13))])
def test_equal_errors_are_equal_however_they_are_summed(first, second):
    """0.1 + 0.2 is not 0.3 in floats."""
    weights = np.r_[np.ones(12), np.tile([0.1, 0.2, 0.3], 2)]
    script = [[{0, 1, *first}], [{6, *second}]]
    model, *_ = play(script, (6, 6), 6, sample_weight=weights)
    assert model.chosen_sources_.tolist() == [2]


def test_ties_go_to_the_earlier_round():
    """Round 2 of source 1 and round 1 of source 2 have the error 1/4 there."""
    script = [[{0, 1, 14, 16}, {2, 3, 14}], [{6, 7, 15}]]
    model, *_ = play(script, (6, 8), 6)
    np.testing.assert_allclose(model.hypothesis_errors_, [1 / 3, 1 / 4, 1 / 4])
    assert model.chosen_sources_[0] == 2


def test_ties_go_to_agreement():
    # Equal on their sources; two of three hypotheses are wrong about row 18.
    script = [[{0, 18}], [{6, 19}], [{12, 19}]]
    model, *_ = play(script, (6, 6, 6), 6)
    assert model.chosen_sources_[0] == 2
    script = [[{0, 18}], [{6, 19}], [{12, 18}]]
    model, *_ = play(script, (6, 6, 6), 6)
    assert model.chosen_sources_[0] == 1
    # Two rows of half a weight count as one: the agreement is the same.
    script = [[{0, 18, 19}], [{6, 20}], [{12, 21, 22}]]
    weights = np.r_[np.ones(18), 0.5, 0.5, np.ones(4)]
    model, *_ = play(script, (6, 6, 6), 6, sample_weight=weights)
    assert model.chosen_sources_[0] == 1


@pytest.mark.parametrize("seed", range(10))
def test_always_wrong_is_as_good_as_always_right(seed):
    """Whatever the weights of the target sum to; a row without weight has no say."""
    rng = np.random.default_rng(seed)
    weights = np.r_[np.ones(12), rng.lognormal(size=7), 0]
    always = set(range(12, 19))
    script = [[{0, 1}], [{6, *always}]]
    model, *_ = play(script, (6, 6), 8, sample_weight=weights, n_estimators=2)
    assert model.chosen_sources_.tolist() == [2, 1]
    assert model.estimator_errors_.tolist() == [1, 0]
    np.testing.assert_array_equal(*model.round_weights_)


# ---------------------------------------------------------------------------
# What enters
# ---------------------------------------------------------------------------


def test_source_that_no_learner_understands_is_named_and_left_out():
    """Source 3 has the same row again and again, as often in one class as the other."""
    X, y, ids = problem(0)
    rows = np.flatnonzero(ids == 3)
    X[rows] = 0.5
    y[rows] = np.arange(len(rows)) % 2
    weights = np.ones(len(y))
    weights[rows[0]] = 0  # there are 15
    model = small(STUMP, 5, random_state=0)
    with pytest.warns(NegativeTransferWarning, match=r"source 3 has") as caught:
        model.fit(X, y, weights, sample_domain=ids)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert set(model.hypothesis_sources_) == {1, 2}
    rest = ids != 3
    other = small(STUMP, 5, random_state=0)
    other.fit(X[rest], y[rest], weights[rest], sample_domain=ids[rest])
    np.testing.assert_array_equal(model.predict_proba(X), other.predict_proba(X))


def test_where_nothing_enters_the_first_learners_are_kept():
    X, y, ids = problem(0)
    model = small(STUMP, 5, min_vote=50.0, random_state=0)
    with pytest.warns(NegativeTransferWarning, match="1 or 2 or 3 has a vote above 50"):
        model.fit(X, y, sample_domain=ids)
    assert model.hypothesis_sources_.tolist() == [1, 2, 3]
    for k, h in zip((1, 2, 3), model.hypotheses_):
        alone = clone(STUMP).set_params(random_state=h.random_state)
        alone.fit(X[ids == k], y[ids == k])
        np.testing.assert_array_equal(h.predict(X), alone.predict(X))


def test_no_warning_without_negative_transfer():
    X, y, ids = problem(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small(STUMP).fit(X, y, sample_domain=ids)


def test_source_of_one_class_has_a_constant_learner():
    X, y, ids = problem(0)
    y[ids == 2] = 1
    model = small().fit(X, y, sample_domain=ids)
    (learner,) = (
        h for h, k in zip(model.hypotheses_, model.hypothesis_sources_) if k == 2
    )
    np.testing.assert_array_equal(learner.predict(X), 1)
    assert model.hypothesis_errors_[model.hypothesis_sources_ == 2].tolist() == [0]


def test_first_stage_of_a_source_has_its_own_classes():
    """Two of three: an error above 1/2 is no better than chance there."""
    X, y, ids = problem(0, 3, sizes=(40, 40, 40))
    y[ids == 1] %= 2
    model = small(STUMP, 40, random_state=0).fit(X, y, sample_domain=ids)
    errors = model.hypothesis_errors_
    assert errors[model.hypothesis_sources_ == 1].max() < 0.5
    assert 0.5 < errors[model.hypothesis_sources_ == 2].max() < 2 / 3


def test_sources_that_help_are_chosen():
    """One of five has the concept of the target; the votes are mostly its."""
    shares, gains = [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        ids = np.repeat([1, 2, 3, 4, 5, -1], [80] * 5 + [430])
        X = rng.normal(size=(len(ids), 8))
        concept = rng.normal(size=8)
        y = (X @ concept > 0).astype(float)
        for k in (1, 2, 4, 5):
            y[ids == k] = X[ids == k] @ rng.normal(size=8) > 0
        test = np.arange(len(ids)) >= 430
        labels = np.where(test, np.nan, y)
        model = TaskTrAdaBoostClassifier(n_estimators=10)
        model.fit(X, labels, sample_domain=ids)
        votes = np.abs(model.estimator_weights_)
        shares.append(votes[model.chosen_sources_ == 3].sum() / votes.sum())
        alone = LinearSVC(C=0.1, dual=False).fit(X[400:430], y[400:430])
        gains.append(
            model.score(X[test], y[test])
            - accuracy_score(y[test], alone.predict(X[test]))
        )
    assert np.mean(shares) > 0.5
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
    X = rng.normal(size=(len(ids), 3)) + y[:, np.newaxis]
    X[ids > 0] += 0.3 * ids[ids > 0, np.newaxis]
    return X, y, ids


@pytest.mark.parametrize("learner", [None, LOGISTIC])
@pytest.mark.parametrize("data", [problem, tied_problem])
def test_order_of_rows_and_names_of_sources_do_not_matter(data, learner):
    names = {1: 40, 2: 7, 3: 1, -1: -3, -2: -1}
    used = set()
    for seed in range(4):
        X, y, ids = data(seed)
        order = np.random.default_rng(seed).permutation(len(y))
        renamed = np.array([names[i] for i in ids])
        plain, other = small(learner, 10), small(learner, 10)
        plain.fit(X, y, sample_domain=ids)
        other.fit(X[order], y[order], sample_domain=renamed[order])
        used |= set(plain.chosen_sources_)
        np.testing.assert_array_equal(
            [names[k] for k in plain.chosen_sources_], other.chosen_sources_
        )
        place = np.cumsum(ids < 0) - 1
        np.testing.assert_allclose(
            other.round_weights_,
            plain.round_weights_[:, place[order][ids[order] < 0]],
            rtol=0,
            atol=1e-9,
        )
        np.testing.assert_allclose(
            other.predict_proba(X), plain.predict_proba(X), rtol=0, atol=1e-7
        )
    assert used == {1, 2, 3}


def test_whole_weights_are_repeated_rows():
    X, y, ids = problem(10)
    times = np.random.default_rng(0).integers(1, 4, len(y))
    weighted = small().fit(X, y, times, sample_domain=ids)
    X_many, y_many, ids_many = (np.repeat(a, times, axis=0) for a in (X, y, ids))
    repeated = small().fit(X_many, y_many, sample_domain=ids_many)
    assert len(weighted.estimators_) == len(repeated.estimators_) > 2
    of_target = times[ids < 0]
    np.testing.assert_allclose(
        np.repeat(weighted.round_weights_ / of_target, of_target, axis=1),
        repeated.round_weights_,
        rtol=0,
        atol=1e-12,
    )
    np.testing.assert_allclose(
        weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-9
    )


def test_rows_without_weight_do_not_count():
    X, y, ids = problem(10)
    weights = np.ones(len(y))
    weights[np.flatnonzero(ids < 0)[::3]] = 0
    model = small(min_error=0.01).fit(X, y, weights, sample_domain=ids)
    kept = weights > 0
    other = small(min_error=0.01).fit(X[kept], y[kept], sample_domain=ids[kept])
    np.testing.assert_allclose(model.predict_proba(X), other.predict_proba(X))


@pytest.mark.parametrize("weighted", [False, True])
def test_learner_gets_weights_on_the_scale_of_the_user(weighted):
    X, y, ids = problem(9)
    given = np.random.default_rng(0).lognormal(2, 1, len(y)) if weighted else None
    weights = given if weighted else np.ones(len(y))
    calls = Shared()
    small(Counted(STUMP, calls), 4).fit(X, y, given, sample_domain=ids)
    fits = [call for call in calls if call[0] == "fit"]
    assert len(fits) == 12
    for _, rows, labels, w in fits:
        (k,) = (k for k in (1, 2, 3) if np.array_equal(rows, X[ids == k]))
        np.testing.assert_array_equal(labels, y[ids == k])
        assert w.sum() == pytest.approx(weights[ids == k].sum(), rel=1e-12)
    np.testing.assert_allclose(fits[0][3], weights[ids == 1], rtol=1e-12)


def test_jobs_do_not_change_a_bit():
    X, y, ids = problem(1)
    one = small(STUMP, random_state=0).fit(X, y, sample_domain=ids)
    with parallel_config(backend="threading"):
        two = small(STUMP, random_state=0, n_jobs=2).fit(X, y, sample_domain=ids)
    np.testing.assert_array_equal(one.round_weights_, two.round_weights_)
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


def test_learners_that_draw_are_seeded():
    X, y, ids = problem(1)
    drawing = DecisionTreeClassifier(max_depth=2, max_features=1)
    proba = [
        small(drawing, random_state=seed).fit(X, y, sample_domain=ids).predict_proba(X)
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(proba[0], proba[1])
    assert (proba[0] != proba[2]).any()


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
    alone = small(STUMP, random_state=0).fit(X, y, sample_domain=ids)
    among = small(STUMP, random_state=0).fit(X_all, y_all, sample_domain=ids_all)
    expected = alone.predict_proba(X)
    np.testing.assert_array_equal(among.classes_, np.unique(y))
    np.testing.assert_array_equal(among.round_weights_, alone.round_weights_)
    np.testing.assert_array_equal(among.predict_proba(X), expected)
    target = ids_all < 0
    among.fit_target(X_all[target], y_all[target])
    np.testing.assert_array_equal(among.predict_proba(X), expected)


def test_default_learner():
    X, y, ids = problem(11)
    model = TaskTrAdaBoostClassifier(n_estimators=3).fit(X, y, sample_domain=ids)
    learner = model.hypotheses_[0]
    assert isinstance(learner, LinearSVC)
    assert (learner.C, learner.class_weight, learner.dual) == (0.1, "balanced", False)


def test_weights_of_an_earlier_fit_are_forgotten():
    X, y, ids = problem(11)
    model = small(n_estimators=3).fit(X, y, sample_domain=ids)
    assert hasattr(model, "round_weights_")
    model.set_params(store_weights=False).fit(X, y, sample_domain=ids)
    assert not hasattr(model, "round_weights_")


# ---------------------------------------------------------------------------
# Votes
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("K", [2, 3])
def test_stages_are_the_votes_of_the_rounds_so_far(K):
    X, y, ids = problem(4, K)
    names = np.array(["ash", "birch", "cedar"])[y]
    model = small(STUMP, 12, random_state=0).fit(X, names, sample_domain=ids)
    assert (model.estimator_weights_ < 0).any()
    stages = list(model.staged_predict(X))
    assert len(stages) == len(model.estimators_) > 4
    votes = np.zeros((len(X), K))
    for stage, h, vote in zip(stages, model.estimators_, model.estimator_weights_):
        votes += vote * (h.predict(X)[:, np.newaxis] == model.classes_)
        np.testing.assert_array_equal(stage, model.classes_[later_best(votes)])
    proba, decision = model.predict_proba(X), model.decision_function(X)
    against = -model.estimator_weights_[model.estimator_weights_ < 0].sum()
    shares = votes + against
    np.testing.assert_allclose(proba, shares / shares.sum(axis=1, keepdims=True))
    expected = proba if K > 2 else proba[:, 1] - proba[:, 0]
    np.testing.assert_allclose(decision, expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(stages[-1], model.predict(X))
    assert any((stage != stages[-1]).any() for stage in stages)
    weights = np.random.default_rng(0).random(len(y))
    scores = list(model.staged_score(X, names, sample_weight=weights))
    expected = [accuracy_score(names, stage, sample_weight=weights) for stage in stages]
    np.testing.assert_allclose(scores, expected, rtol=1e-12)


def test_classes_of_another_target():
    """Those of the sources and those of the target."""
    X, y, ids = problem(2, 3)
    target = ids < 0
    model = small(GAUSSIAN).fit(X, y, sample_domain=ids)
    model.fit_target(X[target], y[target] + 1)
    assert model.classes_.tolist() == [0, 1, 2, 3]
    assert model.predict_proba(X).shape == (len(X), 4)
    model.fit_target(X[target][y[target] > 0], y[target][y[target] > 0])
    assert model.classes_.tolist() == [0, 1, 2]


# ---------------------------------------------------------------------------
# One domain
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("learner", [GAUSSIAN, STUMP])
@pytest.mark.parametrize("K", [2, 3])
def test_one_domain_is_adaboost(K, learner):
    X, y, _ = problem(5, K)
    model, one = (
        cls(learner, 8, store_weights=True, random_state=0)
        for cls in (TaskTrAdaBoostClassifier, TrAdaBoostClassifier)
    )
    weights = np.random.default_rng(0).lognormal(size=len(y))
    for fitted in (model, one):
        with pytest.warns(NoAdaptationWarning):
            fitted.fit(X, y, weights)
    assert len(model.estimators_) == len(one.estimators_) > 2
    for name in ("round_weights_", "estimator_errors_", "estimator_weights_"):
        np.testing.assert_allclose(
            getattr(model, name), getattr(one, name), rtol=0, atol=1e-10
        )
    assert model.termination_condition_ == one.termination_condition_
    np.testing.assert_allclose(model.predict_proba(X), one.predict_proba(X), atol=1e-10)
    assert model.hypotheses_ == [] and model.chosen_sources_.shape == (0,)


def test_one_domain_ends():
    X = np.arange(8.0)[:, np.newaxis]
    model = small(STUMP, 5)
    with pytest.warns(NoAdaptationWarning):
        model.fit(X, X[:, 0] > 3)
    assert model.termination_condition_ == "perfect_fit"
    assert len(model.estimators_) == 1
    with pytest.warns(NoAdaptationWarning):
        model.fit(np.ones((8, 1)), X[:, 0] > 3)
    assert model.termination_condition_ == "no_better_than_chance"
    assert model.estimator_weights_.tolist() == [1]


# ---------------------------------------------------------------------------
# Bad input
# ---------------------------------------------------------------------------


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


@pytest.mark.parametrize("parameters", [{"min_vote": -0.1}, {"min_error": 0.5}])
def test_bad_parameters(parameters):
    X, y, ids = problem(12)
    model = small().fit(X, y, sample_domain=ids).set_params(**parameters)
    with pytest.raises(ValueError, match=next(iter(parameters))):
        model.fit(X, y, sample_domain=ids)
    with pytest.raises(ValueError, match=next(iter(parameters))):
        model.fit_target(X[ids < 0], y[ids < 0])


def test_no_source_may_be_without_weight():
    X, y, ids = problem(12)
    with pytest.raises(ValueError, match="source 2: give"):
        small().fit(X, y, (ids != 2).astype(float), sample_domain=ids)


def test_bad_second_stages():
    X, y, ids = problem(12)
    target = ids < 0
    Z, z = X[target], y[target].astype(float)
    with pytest.raises(NotFittedError):
        small().fit_target(Z, z)
    model = small()
    with pytest.warns(NoAdaptationWarning):
        model.fit(X, y)
    with pytest.raises(ValueError, match="call fit with the sources"):
        model.fit_target(Z, z)
    model.fit(X, y, sample_domain=ids)
    for labels, words in (
        (np.full(len(z), np.nan), "no labelled target row"),
        (np.ones(len(z)), "one class, 1"),
        (np.where(z > 0, "yes", "no"), "spell them alike"),
        (z[:-1], "inconsistent numbers"),
    ):
        with pytest.raises(ValueError, match=words):
            model.fit_target(Z, labels)
    with pytest.raises(ValueError, match="features"):
        model.fit_target(Z[:, :-1], z)
    with pytest.raises(ValueError, match="(?i)sample weight"):
        model.fit_target(Z, z, np.zeros(len(z)))
    with pytest.raises(ValueError, match="(?i)sample_weight"):
        model.fit_target(Z, z, np.ones(len(z) - 1))
