"""The guard against its two models, fitted and scored by hand."""

import pickle
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from skadapt import (
    CORAL,
    MEDA,
    AdapterEnsembleClassifier,
    DomainKFold,
    EasyTL,
    NegativeTransferGuard,
    NoAdaptationWarning,
    PerDomain,
    TrAdaBoostClassifier,
    TransferClassifier,
    get_transfer_scorer,
    get_transfer_scorer_names,
)
from skadapt import NegativeTransferWarning as Warned

pytestmark = pytest.mark.filterwarnings("ignore::skadapt.NegativeTransferWarning")


def make_task(seed=0, n=160, shift=1.0):
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.repeat([1, -1], n // 2))
    truth = rng.integers(0, 2, n)
    X = rng.normal(size=(n, 3)) + 2.0 * truth[:, np.newaxis] * (np.arange(3) < 2)
    X[ids < 0] = X[ids < 0] * (1 + shift) + shift
    return X, np.where(ids > 0, truth, np.nan), ids, truth


def prefers(adapted):
    """A scorer that likes models with an adapter, or without; else ties."""

    def scorer(model, X, y, *, sample_domain=None):
        has = getattr(model, "adapter", None) is not None
        return 0.5 if adapted is None else float(has == adapted)

    return scorer


def with_coral():
    return TransferClassifier(LogisticRegression(), CORAL())


# ---------------------------------------------------------------------------
# Which of the two
# ---------------------------------------------------------------------------


@pytest.mark.parametrize(("preferred", "adopted"), [(True, 1), (False, 0), (None, 0)])
def test_the_model_of_the_larger_score_predicts(preferred, adopted):
    X, y, ids, _ = make_task()
    baseline = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    guard = NegativeTransferGuard(with_coral(), baseline, scorer=prefers(preferred))
    if adopted:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            guard.fit(X, y, sample_domain=ids)
    else:
        with pytest.warns(Warned, match="The baseline is used") as seen:
            guard.fit(X, y, sample_domain=ids)
        assert [one.filename for one in seen] == [__file__]
        assert str(seen[0].message) == guard.verdict_
    assert guard.adopted_ is bool(adopted)
    source = ids > 0
    by_hand = [
        clone(baseline).fit(X[source], y[source]),
        with_coral().fit(X, y, sample_domain=ids),
    ][adopted]
    np.testing.assert_array_equal(guard.predict_proba(X), by_hand.predict_proba(X))
    np.testing.assert_array_equal(guard.predict(X), by_hand.predict(X))
    assert guard.model_ is (guard.estimator_ if adopted else guard.baseline_)
    np.testing.assert_array_equal(guard.classes_, [0, 1])
    if not adopted:
        coef = guard.baseline_.estimator_[-1].coef_
        np.testing.assert_array_equal(coef, by_hand[-1].coef_)


@pytest.mark.parametrize("seed", range(3))
def test_models_that_are_alike_are_a_tie(seed):
    X, y, ids, _ = make_task(seed)
    guard = NegativeTransferGuard(LogisticRegression(), LogisticRegression())
    with pytest.warns(Warned):
        guard.fit(X, y, sample_domain=ids)
    assert guard.scores_["estimator"] == guard.scores_["baseline"]
    assert not guard.adopted_


def test_mixval_is_that_of_the_target_rows_of_fit():
    X, y, ids, _ = make_task()
    guard = NegativeTransferGuard(with_coral()).fit(X, y, sample_domain=ids)
    scorer = get_transfer_scorer("mixval")
    for name, model in (
        ("estimator", with_coral()),
        ("baseline", TransferClassifier()),
    ):
        model.fit(X, y, sample_domain=ids)
        assert guard.scores_[name] == scorer(model, X, y, sample_domain=ids)
        assert f"{guard.scores_[name]:.3g}" in guard.verdict_
    assert guard.adopted_ == (guard.scores_["estimator"] > guard.scores_["baseline"])


@pytest.mark.parametrize("name", sorted(set(get_transfer_scorer_names()) - {"mixval"}))
def test_other_scores_are_of_held_out_rows(name):
    X, y, ids, _ = make_task()
    guard = NegativeTransferGuard(with_coral(), scorer=name, cv=2)
    guard.fit(X, y, sample_domain=ids)
    scorer = get_transfer_scorer(name)
    folds = DomainKFold(2, stratify=True, shuffle=True, random_state=0)
    found = []
    for train, test in folds.split(X, y, sample_domain=ids):
        model = with_coral().fit(X[train], y[train], sample_domain=ids[train])
        found.append(scorer(model, X[test], y[test], sample_domain=ids[test]))
    assert guard.scores_["estimator"] == pytest.approx(np.mean(found), abs=1e-9)


def test_a_scorer_of_the_user_gets_held_out_rows_without_target_labels():
    X, _, ids, truth = make_task()
    seen = []

    def scorer(model, X, y, *, sample_domain):
        assert np.isnan(y[sample_domain < 0]).all()
        seen.append(sample_domain)
        return float(len(seen) == 1)

    guard = NegativeTransferGuard(with_coral(), scorer=scorer, cv=4)
    guard.fit(X, truth, sample_domain=ids)
    assert len(seen) == 8
    assert sum(len(part) for part in seen) == 2 * len(X)
    assert guard.adopted_
    assert guard.verdict_ == "The adapted model is used (score 0.25 against 0 " + (
        "without adaptation)."
    )


def test_adapted_where_it_helps():
    """Classes apart in clusters, moved so that the old rule cuts one in two."""
    rng = np.random.default_rng(0)
    truth, ids = np.arange(400) % 2, np.repeat([1, -1], 200)
    X = 0.4 * rng.normal(size=(400, 2)) + 3.0 * truth[:, np.newaxis]
    X[ids < 0] += 1.5
    guard = NegativeTransferGuard(TransferClassifier(adapter=PerDomain()))
    guard.fit(X, np.where(ids > 0, truth, np.nan), sample_domain=ids)
    target = ids < 0
    assert guard.adopted_
    assert guard.score(X[target], truth[target]) == 1.0
    assert guard.baseline_.score(X[target], truth[target]) < 0.9


# ---------------------------------------------------------------------------
# Labels of the target
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("scorer", ["mixval", "atc"])
def test_target_labels_change_nothing(scorer):
    X, y, ids, truth = make_task()
    wrong = np.where(ids > 0, truth, 1 - truth)
    models = [
        NegativeTransferGuard(with_coral(), scorer=scorer).fit(X, t, sample_domain=ids)
        for t in (y, truth, wrong)
    ]
    for model in models[1:]:
        assert model.verdict_ == models[0].verdict_
        np.testing.assert_array_equal(
            model.predict_proba(X), models[0].predict_proba(X)
        )


def labelled(n_each, right):
    X, y, ids, truth = make_task()
    for k in (0, 1):
        rows = np.flatnonzero((ids < 0) & (truth == k))[:n_each]
        y[rows] = k if right else 1 - k
    return X, y, ids, truth


@pytest.mark.parametrize("use", [False, True])
@pytest.mark.parametrize("n_each", [0, 2, 3, 20])
@pytest.mark.parametrize("right", [True, False])
def test_labelled_target_rows(use, n_each, right):
    X, y, ids, truth = labelled(n_each, right)
    guard = NegativeTransferGuard(
        TransferClassifier(adapter=PerDomain()),
        scorer=prefers(True),
        use_target_labels=use,
    ).fit(X, y, sample_domain=ids)
    counts = use and n_each >= 3
    assert ("estimator_accuracy" in guard.scores_) == counts
    assert ("labelled target rows" in guard.verdict_) == counts
    rows = np.flatnonzero(~np.isnan(y) & (ids < 0))
    if counts:
        ours, theirs = (
            np.mean(model.predict(X[rows]) == y[rows])
            for model in (guard.estimator_, guard.baseline_)
        )
        assert guard.scores_["estimator_accuracy"] == ours
        assert guard.scores_["baseline_accuracy"] == theirs
        assert guard.adopted_ == (ours >= theirs)
    else:
        assert guard.adopted_
    if n_each == 20:
        assert guard.adopted_ == (right or not use)
    without = NegativeTransferGuard(
        TransferClassifier(adapter=PerDomain()), scorer=prefers(True)
    ).fit(X, np.where(ids > 0, truth, np.nan), sample_domain=ids)
    np.testing.assert_array_equal(
        guard.estimator_.predict_proba(X), without.estimator_.predict_proba(X)
    )


def test_models_that_learn_from_target_labels():
    X, y, ids, _ = labelled(20, True)
    boosting = TrAdaBoostClassifier(n_estimators=2, random_state=0)
    guard = NegativeTransferGuard(boosting, scorer="atc", cv=2)
    guard.fit(X, y, sample_domain=ids)
    by_hand = clone(boosting).fit(X, y, sample_domain=ids)
    np.testing.assert_array_equal(guard.estimator_.predict(X), by_hand.predict(X))
    with pytest.raises(ValueError, match="learns from labels of target rows itself"):
        guard.set_params(use_target_labels=True).fit(X, y, sample_domain=ids)


# ---------------------------------------------------------------------------
# Models and rows of all kinds
# ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "estimator",
    [
        MEDA(2),
        EasyTL(),
        make_pipeline(PerDomain(), MEDA(2)),
        make_pipeline(PerDomain(StandardScaler()), KNeighborsClassifier()),
        AdapterEnsembleClassifier([EasyTL(), with_coral()]),
        NegativeTransferGuard(with_coral()),
        TransferClassifier(LinearSVC(), CORAL()),
        LogisticRegression(C=0.01),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_models_of_all_kinds(estimator):
    X, y, ids, truth = make_task()
    guard = NegativeTransferGuard(estimator, RandomForestClassifier(5, random_state=0))
    with config_context(enable_metadata_routing=False):
        guard.fit(X, y, sample_domain=ids)
    assert guard.score(X, truth, sample_domain=ids) > 0.5
    assert hasattr(guard, "predict_proba") == hasattr(guard.model_, "predict_proba")
    again = pickle.loads(pickle.dumps(guard))
    np.testing.assert_array_equal(again.predict(X), guard.predict(X))


def test_rows_with_gaps_sparse_rows_and_words():
    pd = pytest.importorskip("pandas")
    X, y, ids, _ = make_task()
    forest = HistGradientBoostingClassifier(max_iter=3)
    holes = X.copy()
    holes[::5, 0] = np.nan
    guard = NegativeTransferGuard(forest, forest, scorer="atc")
    guard.fit(holes, y, sample_domain=ids)
    plain = LogisticRegression()
    for rows in (sparse.csr_array(X), sparse.coo_array(X)):
        found = NegativeTransferGuard(plain, plain).fit(rows, y, sample_domain=ids)
        dense = NegativeTransferGuard(plain, plain).fit(X, y, sample_domain=ids)
        assert found.scores_ == pytest.approx(dense.scores_)
    frame = pd.DataFrame(X).add_prefix("c")
    guard = NegativeTransferGuard(with_coral()).fit(frame, y, sample_domain=ids)
    assert list(guard.feature_names_in_) == list(frame.columns)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        guard.predict(frame)
    frame["c0"] = np.where(frame["c0"] > 0, "a", "b")
    encode = make_column_transformer((OneHotEncoder(), ["c0"]), remainder="passthrough")
    baseline = make_pipeline(encode, LogisticRegression())
    adapted = make_pipeline(encode, PerDomain(), LogisticRegression())
    with pytest.raises(ValueError, match="finite numbers: encode and impute"):
        NegativeTransferGuard(adapted, baseline).fit(frame, y, sample_domain=ids)
    guard = NegativeTransferGuard(adapted, baseline, scorer="atc")
    assert guard.fit(frame, y, sample_domain=ids).predict(frame).shape == (160,)


def test_sample_weight_reaches_both_models():
    X, y, ids, _ = make_task()
    w = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    guard = NegativeTransferGuard(with_coral(), LogisticRegression(), scorer="atc")
    guard.fit(X, y, w, sample_domain=ids)
    adapted = with_coral().fit(X, y, w, sample_domain=ids)
    source = ids > 0
    plain = LogisticRegression().fit(X[source], y[source], w[source])
    for model, expected in ((guard.estimator_, adapted), (guard.baseline_, plain)):
        np.testing.assert_allclose(
            model.predict_proba(X), expected.predict_proba(X), atol=1e-12
        )
    unweighted = clone(guard).fit(X, y, sample_domain=ids)
    assert unweighted.scores_ != guard.scores_
    with pytest.raises(ValueError, match="takes no sample_weight"):
        guard.set_params(baseline=make_pipeline(KNeighborsClassifier())).fit(
            X, y, w, sample_domain=ids
        )


def test_row_order_and_names_of_domains():
    X, y, ids, _ = make_task()
    order = np.random.default_rng(0).permutation(len(X))
    guard = NegativeTransferGuard(with_coral()).fit(X, y, sample_domain=ids)
    other = NegativeTransferGuard(with_coral())
    other.fit(X[order], y[order], sample_domain=np.where(ids > 0, 4, -9)[order])
    assert other.adopted_ == guard.adopted_
    assert other.scores_ == pytest.approx(guard.scores_, abs=0.02)
    np.testing.assert_allclose(
        other.predict_proba(X), guard.predict_proba(X), rtol=1e-4
    )


def test_several_sources_and_targets():
    X, y, ids, truth = make_task()
    ids = ids * np.random.default_rng(0).integers(1, 3, len(ids))
    for scorer in ("mixval", "atc"):
        guard = NegativeTransferGuard(
            TransferClassifier(adapter=PerDomain()), scorer=scorer
        ).fit(X, y, sample_domain=ids)
        assert guard.score(X, truth, sample_domain=ids) > 0.5


def test_without_domains_the_baseline_is_fitted_to_all_rows():
    X, _, ids, truth = make_task()
    guard = NegativeTransferGuard(with_coral(), LogisticRegression())
    guard.fit(X, truth, sample_domain=ids)
    with pytest.warns(NoAdaptationWarning) as seen:
        guard.fit(X, truth)
    assert [one.filename for one in seen] == [__file__]
    assert not hasattr(guard, "estimator_")
    expected = LogisticRegression().fit(X, truth).predict_proba(X)
    np.testing.assert_array_equal(guard.predict_proba(X), expected)
    assert guard.verdict_ == "No domains were given: the baseline is used."


def test_the_default_is_the_average_of_many():
    X, y, ids, truth = make_task(n=80)
    guard = NegativeTransferGuard().fit(X, y, sample_domain=ids)
    assert isinstance(guard.estimator_, AdapterEnsembleClassifier)
    assert len(guard.estimator_.estimators_) > 15
    source = ids > 0
    plain = LogisticRegression(max_iter=1000).fit(X[source], truth[source])
    np.testing.assert_array_equal(guard.baseline_.predict(X), plain.predict(X))


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"estimator": Ridge()}, "estimator=Ridge.* is no classifier"),
        ({"baseline": CORAL()}, "'baseline' parameter"),
        ({"baseline": Ridge()}, "baseline=Ridge.* is no classifier"),
        ({"scorer": "accuracy"}, "'scorer' parameter"),
        ({"cv": 1}, "'cv' parameter"),
    ],
)
def test_bad_parameters(parameters, words):
    X, y, ids, _ = make_task()
    with pytest.raises(ValueError, match=words):
        NegativeTransferGuard(**parameters).fit(X, y, sample_domain=ids)


def test_one_class_and_too_few_rows_for_the_folds():
    X, y, ids, truth = make_task()
    with pytest.raises(ValueError, match="y holds one class"):
        NegativeTransferGuard().fit(
            X, np.where(ids > 0, 1.0, np.nan), sample_domain=ids
        )
    rare = np.where((ids > 0) & (truth == 1), np.nan, y)
    rare[np.flatnonzero((ids > 0) & (truth == 1))[:2]] = 1.0
    guard = NegativeTransferGuard(with_coral(), scorer="atc")
    with pytest.raises(ValueError, match="there are 2 labelled source rows of class 1"):
        guard.fit(X, rare, sample_domain=ids)


def test_a_failed_refit_leaves_nothing():
    X, y, ids, _ = make_task()
    guard = NegativeTransferGuard(with_coral()).fit(X, y, sample_domain=ids)
    with pytest.raises(ValueError, match="Negative values in data"):
        guard.fit(X, y, -np.ones(len(y)), sample_domain=ids)
    with pytest.raises(NotFittedError):
        guard.predict(X)
    assert not hasattr(guard, "verdict_")


def test_an_imputer_in_the_baseline_takes_missing_values():
    X, y, ids, _ = make_task()
    X[::7, 2] = np.nan
    model = make_pipeline(SimpleImputer(), LogisticRegression())
    guard = NegativeTransferGuard(
        TransferClassifier(model), model, scorer="source_accuracy"
    ).fit(X, y, sample_domain=ids)
    by_hand = model.fit(X[ids > 0], y[ids > 0])
    np.testing.assert_array_equal(guard.predict(X), by_hand.predict(X))


def test_tags():
    guard = NegativeTransferGuard(LogisticRegression(), RandomForestClassifier())
    assert guard.__sklearn_tags__().input_tags.sparse
    guard.set_params(baseline=EasyTL())
    assert not guard.__sklearn_tags__().input_tags.sparse
