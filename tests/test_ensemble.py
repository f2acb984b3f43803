"""The ensemble against its models, fitted one by one and averaged by hand."""

import pickle
import sys
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
from joblib import parallel_config
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.feature_selection import SelectFromModel, SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import LinearSVC

from skadapt import (
    CORAL,
    KMM,
    MEDA,
    AdapterEnsembleClassifier,
    EasyTL,
    NoAdaptationWarning,
    PerDomain,
    SourceKFold,
    TrAdaBoostClassifier,
    TransferClassifier,
)


def make_task(seed=0, n=120, d=8, n_classes=3, shift=1.0, spread=1.5):
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.repeat([1, 2, -1], n // 3))
    truth = rng.permutation(np.arange(n) % n_classes)
    X = spread * rng.normal(size=(n_classes, d))[truth] + rng.normal(size=(n, d))
    X[ids < 0] = X[ids < 0] * (1 + 0.5 * shift) + 0.5 * shift
    y = np.where(ids > 0, truth, np.nan)
    return X, y, ids, truth


def candidates():
    return [
        make_pipeline(
            Normalizer("l1"), PerDomain(StandardScaler()), MEDA(n_components=4)
        ),
        TransferClassifier(LogisticRegression(), CORAL()),
        EasyTL(),
        LogisticRegression(),
    ]


class OnlyTwo(ClassifierMixin, BaseEstimator):
    """Knows two of three classes, and takes no weights."""

    __metadata_request__fit = {"sample_domain": True}

    def fit(self, X, y, sample_domain=None):
        self.classes_ = np.array([0, 2])
        return self

    def predict_proba(self, X):
        return np.tile([0.25, 0.75], (len(X), 1))


class OnlyLabels(ClassifierMixin, BaseEstimator):
    """Says nothing of how sure it is."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


def raw_average(*args, **parameters):
    """The average of what models say, as they say it."""
    return AdapterEnsembleClassifier(*args, calibrate=False, **parameters)


def fit_by_hand(X, y, ids):
    """The models of `candidates`, fitted as a user would fit each."""
    models = [clone(model) for model in candidates()]
    with config_context(enable_metadata_routing=True):
        for model in models[:3]:
            model.fit(X, y, sample_domain=ids)
    models[3].fit(X[ids > 0], y[ids > 0].astype(int))
    return models


def probabilities(models, X, ids):
    with config_context(enable_metadata_routing=True):
        domains = [{"sample_domain": ids}] * 3 + [{}]
        return [m.predict_proba(X, **kw) for m, kw in zip(models, domains)]


# ---------------------------------------------------------------------------
# The average
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.0, 0.5]])
def test_average(weights, routing):
    X, y, ids, _ = make_task()
    model = raw_average(candidates(), weights=weights)
    with config_context(enable_metadata_routing=routing):
        model.fit(X, y, sample_domain=ids)
        found = model.predict_proba(X, sample_domain=ids)
    parts = probabilities(fit_by_hand(X, y, ids), X, ids)
    expected = np.average(parts, axis=0, weights=weights)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    labels = expected[ids < 0].argmax(axis=1)
    np.testing.assert_array_equal(model.transduction_, labels)
    np.testing.assert_array_equal(model.predict(X[ids < 0]), labels)
    assert list(model.classes_) == [0, 1, 2]


def test_new_rows_are_target_rows():
    X, y, ids, _ = make_task()
    new = make_task(1)[0]
    model = raw_average(candidates()).fit(X, y, sample_domain=ids)
    parts = probabilities(fit_by_hand(X, y, ids), new, np.full(len(new), -1))
    expected = np.mean(parts, axis=0)
    np.testing.assert_allclose(model.predict_proba(new), expected, atol=1e-12)
    of_source = model.predict_proba(new, sample_domain=1)
    assert np.abs(of_source - expected).max() > 1e-3


def test_one_candidate_is_that_model():
    X, y, ids, _ = make_task()
    alone = MEDA(n_components=4).fit(X, y, sample_domain=ids)
    model = raw_average([MEDA(n_components=4)])
    model.fit(X, y, sample_domain=ids)
    np.testing.assert_array_equal(model.transduction_, alone.transduction_)
    np.testing.assert_allclose(model.predict_proba(X), alone.predict_proba(X))


def test_meda_is_five_sizes_of_pls_subspaces():
    X, y, ids, _ = make_task(d=20)
    model = raw_average("meda").fit(X, y, sample_domain=ids)
    sizes = (10, 20, 30, 40, 60)
    assert [m.n_components for m in model.estimators_] == list(sizes)
    parts = [
        MEDA(p, "pls").fit(X, y, sample_domain=ids).predict_proba(X) for p in sizes
    ]
    np.testing.assert_allclose(model.predict_proba(X), np.mean(parts, axis=0))
    assert list(model.named_estimators_) == [f"meda-{p}" for p in sizes]


def test_jobs():
    X, y, ids, _ = make_task()
    # Processes take 15 s to start on a busy machine.
    with parallel_config(backend="threading"):
        one, two = (
            AdapterEnsembleClassifier(candidates(), n_jobs=n).fit(
                X, y, sample_domain=ids
            )
            for n in (1, 2)
        )
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


def test_models_of_other_classes_are_aligned():
    """A model that knows fewer classes gives the others nothing."""

    X, y, ids, _ = make_task()
    model = raw_average([EasyTL(), OnlyTwo()])
    found = model.fit(X, y, sample_domain=ids).predict_proba(X)
    easy = EasyTL().fit(X, y, sample_domain=ids).predict_proba(X)
    np.testing.assert_allclose(found, (easy + [0.25, 0, 0.75]) / 2)


# ---------------------------------------------------------------------------
# Prior
# ---------------------------------------------------------------------------


def test_prior():
    X, y, ids, _ = make_task(shift=2.0)
    target = X[ids < 0]
    plain, model = (
        AdapterEnsembleClassifier(candidates(), prior=prior).fit(
            X, y, sample_domain=ids
        )
        for prior in (None, [0.5, 0.3, 0.2])
    )
    proba = model.predict_proba(target)
    np.testing.assert_allclose(proba.mean(axis=0), [0.5, 0.3, 0.2], atol=1e-6)
    np.testing.assert_array_equal(model.predict(target), model.transduction_)
    ratio = proba / plain.predict_proba(target)
    ratio /= ratio[:, :1]
    np.testing.assert_allclose(ratio, np.tile(ratio[0], (len(ratio), 1)), rtol=1e-8)
    even = AdapterEnsembleClassifier(candidates(), prior="uniform")
    even = even.fit(X, y, sample_domain=ids).predict_proba(target)
    np.testing.assert_allclose(even.mean(axis=0), 1 / 3, atol=1e-6)


def test_prior_of_the_wrong_length():
    X, y, ids, _ = make_task()
    with pytest.raises(ValueError, match="one number for each of the 3 classes"):
        AdapterEnsembleClassifier([EasyTL()], prior=[0.5, 0.5]).fit(
            X, y, sample_domain=ids
        )


class CountsFits(EasyTL):
    """Says how often it was fitted."""

    n_fits = 0

    def fit(self, X, y, sample_weight=None, *, sample_domain=None):
        CountsFits.n_fits += 1
        return super().fit(X, y, sample_weight, sample_domain=sample_domain)


@pytest.mark.parametrize("domains", [True, False])
@pytest.mark.parametrize("prior", [[0.5, 0.5], [0.2, 0.2, 0.2], [1.0, 1.0, -1.0]])
def test_prior_is_checked_before_models_are_fitted(prior, domains):
    X, y, ids, truth = make_task()
    before = CountsFits.n_fits
    model = raw_average([CountsFits()], prior=prior)
    data = (X, y, None, ids) if domains else (X, truth, None, None)
    with (
        pytest.warns() if not domains else nullcontext(),
        pytest.raises(ValueError, match="one number for each of the 3 classes"),
    ):
        model.fit(*data[:3], sample_domain=data[3])
    assert CountsFits.n_fits == before
    raw_average([CountsFits()]).fit(X, y, sample_domain=ids)
    assert CountsFits.n_fits == before + 1


@pytest.mark.parametrize("n_target", [301, 5001])
def test_prior_that_certain_models_cannot_meet(n_target):
    """One target row is surely of the rare class; 0 and 1 cannot be rescaled."""
    X = np.r_[np.zeros(20), np.ones(20), np.zeros(n_target - 1), 1.0][:, np.newaxis]
    ids = np.repeat([1, -1], [40, n_target])
    y = np.where(ids > 0, X[:, 0], np.nan)
    model = raw_average([KNeighborsClassifier(1)], prior="uniform")
    with pytest.warns(UserWarning, match=r"0\.5 of the target rows in class 1") as seen:
        model.fit(X, y, sample_domain=ids)
    assert seen[0].filename == __file__
    assert model.transduction_.sum() == 1
    np.testing.assert_array_equal(model.predict_proba([[0.0], [1.0]]), np.eye(2))


def test_prior_that_cannot_be_met_leaves_doubtful_rows_in_doubt():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(330, 2))
    X[300:] += 3
    X, ids = np.r_[X, X + 0.1], np.repeat([1, -1], 330)
    y = np.where(ids > 0, np.tile(np.arange(330) >= 300, 2), np.nan)
    plain, model = (
        raw_average([KNeighborsClassifier(20)], prior=prior)
        for prior in (None, "uniform")
    )
    with pytest.warns(UserWarning, match="prior asks for"):
        model.fit(X, y, sample_domain=ids)
    before = plain.fit(X, y, sample_domain=ids).predict_proba(X[330:])[:, 1]
    after = model.predict_proba(X[330:])[:, 1]
    unsure = (before > 0) & (before < 1)
    assert unsure.any()
    assert (after[unsure] > before[unsure]).all()
    assert (after[unsure] < 1).all()
    possible = np.mean(before > 0)
    assert possible - 0.01 <= after.mean() <= possible


# ---------------------------------------------------------------------------
# What a candidate may be
# ---------------------------------------------------------------------------


def test_plain_classifiers_do_not_see_the_target():
    X, y, ids, truth = make_task()
    scrambled = np.where(ids > 0, truth, truth[::-1])
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=3)
    for candidate in (
        LogisticRegression(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        search,
    ):
        expected = clone(candidate).fit(X[ids > 0], truth[ids > 0]).predict_proba(X)
        for labels in (y, truth, scrambled):
            model = raw_average([candidate])
            model.fit(X, labels, sample_domain=ids)
            np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-12)


def labelings(y, ids, truth):
    """y without target labels, with the right ones, and with wrong ones."""
    wrong = np.random.default_rng(5).permutation(truth)
    return y, truth, np.where(ids > 0, truth, wrong)


def search(model, **grid):
    return GridSearchCV(model, grid, cv=SourceKFold(3))


@pytest.mark.parametrize("names", [False, True], ids=["numbers", "names"])
@pytest.mark.parametrize(
    "candidate",
    [
        make_pipeline(PerDomain(), make_pipeline(PerDomain(), KNeighborsClassifier(1))),
        make_pipeline(
            PerDomain(), make_pipeline(PerDomain(), make_pipeline(CORAL(), MEDA(4)))
        ),
        make_pipeline(PerDomain(), make_pipeline(SelectKBest(k=3), GaussianNB())),
        make_pipeline(
            PerDomain(), make_pipeline(LinearDiscriminantAnalysis(), GaussianNB())
        ),
        make_pipeline(StandardScaler(), PCA(4), MEDA(subspace=None)),
        search(MEDA(), n_components=[2, 6]),
        search(make_pipeline(PerDomain(), MEDA()), meda__n_components=[2, 6]),
        search(TransferClassifier(GaussianNB(), CORAL()), adapter__reg=[0.01, 1.0]),
        raw_average([make_pipeline(PerDomain(), GaussianNB())]),
        TransferClassifier(adapter=CORAL(), train_on="source"),
        OnlyTwo(),
    ],
    ids=lambda candidate: type(candidate).__name__,
)
def test_target_labels_are_hidden(candidate, names):
    X, y, ids, truth = make_task(n=90)
    found = []
    for labels in labelings(y, ids, truth):
        if names:
            objects = np.array(["a", "b", "c"], dtype=object)[
                np.nan_to_num(labels).astype(int)
            ]
            objects[np.isnan(labels)] = None
            labels = objects
        # What OnlyTwo knows are no names, and a search takes four times as long.
        calibrate = not isinstance(candidate, (OnlyTwo, GridSearchCV))
        model = AdapterEnsembleClassifier([candidate], calibrate=calibrate)
        model.fit(X, labels, sample_domain=ids)
        found.append(model.predict_proba(X, sample_domain=ids))
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


def test_nested_pipelines_are_flat_ones():
    X, y, ids, _ = make_task()
    nested, flat = (
        raw_average([candidate]).fit(X, y, sample_domain=ids)
        for candidate in (
            make_pipeline(PerDomain(), make_pipeline(CORAL(), KNeighborsClassifier(5))),
            make_pipeline(PerDomain(), CORAL(), KNeighborsClassifier(5)),
        )
    )
    np.testing.assert_allclose(
        nested.predict_proba(X, sample_domain=ids),
        flat.predict_proba(X, sample_domain=ids),
        atol=1e-12,
    )


@pytest.mark.parametrize(
    "candidate",
    [
        make_pipeline(SelectKBest(k=2), MEDA(2)),
        make_pipeline(LinearDiscriminantAnalysis(), MEDA(subspace=None)),
        make_pipeline(PerDomain(), SelectFromModel(LogisticRegression()), GaussianNB()),
        make_pipeline(PerDomain(), make_pipeline(SelectKBest(k=2), CORAL(), MEDA(2))),
        make_pipeline(make_column_transformer((SelectKBest(k=1), [0, 1])), EasyTL()),
        TransferClassifier(adapter=make_pipeline(SelectKBest(k=2), CORAL())),
        search(make_pipeline(SelectKBest(k=2), MEDA()), meda__n_components=[1, 2]),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
def test_steps_that_learn_from_y_are_refused(candidate):
    X, y, ids, truth = make_task()
    for labels in (*labelings(y, ids, truth), np.where(ids > 0, truth, None)):
        with pytest.raises(ValueError, match="learns from y.*fit it to source rows"):
            AdapterEnsembleClassifier([candidate]).fit(X, labels, sample_domain=ids)


def test_other_errors_of_steps_stay_as_they_are():
    X, y, ids, _ = make_task()
    for candidate, words in (
        (make_pipeline(PCA(500), MEDA()), "n_components=500 must be between"),
        (make_pipeline(CORAL(reg=-1.0), MEDA()), "'reg' parameter of CORAL"),
        (make_pipeline(PerDomain(), MEDA(-1)), "'n_components' parameter of MEDA"),
        (MEDA(-1), "'n_components' parameter of MEDA"),
        (make_pipeline(CORAL(), SelectKBest(k=-1), MEDA()), "'k' parameter"),
    ):
        with pytest.raises(ValueError, match=words):
            AdapterEnsembleClassifier([candidate]).fit(X, y, sample_domain=ids)


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (
            VotingClassifier(
                [("meda", MEDA()), ("plain", LogisticRegression())], voting="soft"
            ),
            "VotingClassifier of models that take sample_domain.*as candidates",
        ),
        (CalibratedClassifierCV(MEDA()), "CalibratedClassifierCV of models"),
        (
            make_pipeline(PerDomain(), CalibratedClassifierCV(MEDA())),
            "CalibratedClassifierCV of models",
        ),
        (search(CalibratedClassifierCV(MEDA())), "CalibratedClassifierCV of models"),
        (
            search(make_pipeline(PerDomain(), GaussianNB())),
            r"GridSearchCV search TransferClassifier\(GaussianNB\(\), adapter\)",
        ),
    ],
)
def test_meta_estimators_that_mix_domains_are_refused(candidate, words):
    X, y, ids, truth = make_task()
    for labels in labelings(y, ids, truth):
        with pytest.raises(ValueError, match=words):
            AdapterEnsembleClassifier([candidate]).fit(X, labels, sample_domain=ids)


@pytest.mark.filterwarnings("ignore::skadapt.NegativeTransferWarning")
@pytest.mark.parametrize(
    "candidate",
    [
        TrAdaBoostClassifier(n_estimators=2, random_state=0),
        make_pipeline(PerDomain(), TrAdaBoostClassifier(n_estimators=2)),
        GridSearchCV(
            TrAdaBoostClassifier(n_estimators=2, random_state=0),
            {"n_estimators": [2]},
            cv=[(np.arange(100), np.arange(100, 120))],
        ),
        TransferClassifier(train_on="labeled"),
        AdapterEnsembleClassifier([EasyTL(), TransferClassifier(train_on="labeled")]),
    ],
    ids=lambda candidate: type(candidate).__name__,
)
def test_models_made_to_learn_from_target_labels_do(candidate):
    X, y, ids, truth = make_task(n_classes=2)
    _, right, wrong = labelings(y, ids, truth)
    models = [
        raw_average([MEDA(), candidate]).fit(X, labels, sample_domain=ids)
        for labels in (right, wrong)
    ]
    first, second = (model.predict_proba(X) for model in models)
    assert np.abs(first - second).max() > 1e-3
    first, second = (model.estimators_[0].predict_proba(X) for model in models)
    np.testing.assert_array_equal(first, second)


def test_classes_of_the_target_alone_are_known_to_those_who_see_them():
    X, y, ids, truth = make_task()
    y = np.where((ids < 0) & (truth == 2), 5, truth)
    labeled = TransferClassifier(train_on="labeled")
    for candidates, classes in (
        ([EasyTL()], [0, 1, 2]),
        ([EasyTL(), labeled], [0, 1, 2, 5]),
    ):
        shares = np.full(len(classes), 1 / len(classes))
        model = AdapterEnsembleClassifier(candidates, prior=shares)
        assert list(model.fit(X, y, sample_domain=ids).classes_) == classes


def test_a_pipeline_of_mappers_ends_in_any_classifier():
    X, y, ids, _ = make_task()
    chain = make_pipeline(PerDomain(StandardScaler()), CORAL(), LogisticRegression())
    model = raw_average([chain]).fit(X, y, sample_domain=ids)
    same = TransferClassifier(
        LogisticRegression(), make_pipeline(PerDomain(StandardScaler()), CORAL())
    )
    same.fit(X, y, sample_domain=ids)
    np.testing.assert_allclose(
        model.predict_proba(X, sample_domain=ids),
        same.predict_proba(X, sample_domain=ids),
        rtol=1e-12,
    )


def test_predictors_are_no_estimators_of_a_transfer_classifier():
    """The sentence names the form that works, which is a candidate here."""
    X, y, ids, _ = make_task()
    adapter = PerDomain(StandardScaler())
    with pytest.raises(ValueError, match=r"Pipeline.*make_pipeline\(adapter, MEDA\(\)"):
        TransferClassifier(MEDA(), adapter).fit(X, y, sample_domain=ids)
    model = AdapterEnsembleClassifier([make_pipeline(adapter, MEDA())])
    assert len(model.fit(X, y, sample_domain=ids).transduction_) == np.sum(ids < 0)


def test_voting_classifier_refuses_unlabelled_rows():
    """Why this class exists: the day this fails, scikit-learn's may do."""
    X, y, ids, _ = make_task()
    voting = VotingClassifier([("easytl", EasyTL())], voting="soft")
    with (
        config_context(enable_metadata_routing=True),
        pytest.raises(ValueError, match="NaN"),
    ):
        voting.fit(X, y, sample_domain=ids)


def test_names():
    X, y, ids, _ = make_task()
    given = [("a", EasyTL()), ("b", EasyTL(None))]
    for model, names in (
        (AdapterEnsembleClassifier(given), ["a", "b"]),
        (AdapterEnsembleClassifier([EasyTL(), EasyTL(None)]), ["easytl-1", "easytl-2"]),
    ):
        model.fit(X, y, sample_domain=ids)
        assert list(model.named_estimators_) == names
        assert list(model.named_estimators_.values()) == model.estimators_


def test_without_domains():
    X, _, _, truth = make_task()
    model = raw_average([EasyTL(), LogisticRegression()])
    with pytest.warns(NoAdaptationWarning) as caught:
        model.fit(X, truth)
    assert len(caught) == 1
    plain = LogisticRegression().fit(X, truth).predict_proba(X)
    easy = model.estimators_[0].predict_proba(X)
    np.testing.assert_allclose(model.predict_proba(X), (plain + easy) / 2)
    assert not hasattr(model, "transduction_")


def test_sample_weight_reaches_every_model():
    X, y, ids, _ = make_task()
    weights = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    chain = make_pipeline(PerDomain(StandardScaler()), MEDA(n_components=4))
    models = [chain, EasyTL(), LogisticRegression(), TransferClassifier(adapter=KMM())]
    ensemble = raw_average(models).fit(X, y, weights, sample_domain=ids)
    Z = PerDomain(StandardScaler()).fit_transform(X, sample_domain=ids)
    meda = MEDA(n_components=4).fit(Z, y, weights, sample_domain=ids)
    easy = EasyTL().fit(X, y, weights, sample_domain=ids)
    source = ids > 0
    plain = LogisticRegression().fit(X[source], y[source], weights[source])
    kmm = TransferClassifier(adapter=KMM()).fit(X, y, weights, sample_domain=ids)
    expected = [
        meda.predict_proba(Z),
        *(m.predict_proba(X) for m in (easy, plain, kmm)),
    ]
    found = ensemble.predict_proba(X, sample_domain=ids)
    np.testing.assert_allclose(found, np.mean(expected, axis=0), atol=1e-12)
    assert not hasattr(models[0][-1], "_metadata_request"), "candidates stay as given"
    for refused in (KNeighborsClassifier(), OnlyTwo()):
        with pytest.raises(ValueError, match="takes no sample_weight"):
            raw_average([refused]).fit(X, y, weights, sample_domain=ids)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"candidates": []}, "candidates is empty"),
        ({"candidates": [CORAL()]}, "CORAL.*no classifier: join an adapter"),
        ({"candidates": ["meda"]}, "'meda', which is no classifier"),
        ({"candidates": [("a", EasyTL()), EasyTL()]}, "not of both"),
        ({"candidates": [("a", EasyTL(), 1)]}, "not of both"),
        ({"candidates": [("a", EasyTL()), ("a", MEDA())]}, "not unique"),
        (
            {"candidates": [("a", LinearSVC())], "calibrate": False},
            "'a' has no predict_proba.*calibrate=True",
        ),
        ({"candidates": [("a", OnlyLabels())]}, "neither decision_function nor"),
        ({"cv": 1}, "'cv' parameter"),
        ({"max_samples": 9}, "'max_samples' parameter"),
        (
            {"candidates": [EasyTL()], "weights": [1, 1]},
            "finite number for each of the 1",
        ),
        ({"candidates": [EasyTL()], "weights": [0]}, "not all 0"),
        ({"candidates": [EasyTL()], "weights": [-1]}, "none below 0"),
        ({"candidates": [EasyTL(), MEDA()], "weights": [np.inf, 1]}, "finite number"),
        ({"candidates": [EasyTL(), MEDA()], "weights": [np.nan, 1]}, "finite number"),
        ({"candidates": [("prior", EasyTL())]}, "conflict with constructor arguments"),
        ({"candidates": [("a__b", EasyTL())]}, "must not contain __"),
    ],
)
def test_bad_parameters(parameters, words):
    X, y, ids, _ = make_task()
    with pytest.raises(ValueError, match=words):
        AdapterEnsembleClassifier(**parameters).fit(X, y, sample_domain=ids)


def test_weights_count_as_shares_of_their_sum():
    X, y, ids, _ = make_task()
    found = [
        AdapterEnsembleClassifier([EasyTL(), MEDA()], weights=weights)
        .fit(X, y, sample_domain=ids)
        .predict_proba(X)
        for weights in ([1e308, 1e308], None)
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


@pytest.mark.parametrize("kind", [list, tuple])
def test_parameters_of_named_candidates(kind):
    chain = make_pipeline(PerDomain(), MEDA())
    given = kind([("easy", EasyTL()), ("chain", chain)])
    model = AdapterEnsembleClassifier(given)
    assert list(model.get_params(deep=False)) == [
        "calibrate",
        "candidates",
        "cv",
        "hedge",
        "max_samples",
        "n_jobs",
        "prior",
        "random_state",
        "verbose",
        "weights",
    ]
    assert model.get_params()["chain__meda__n_components"] == 20
    assert model.get_params()["chain"] is chain
    assert model.set_params(chain__meda__n_components=7, n_jobs=2) is model
    assert (chain[-1].n_components, model.n_jobs) == (7, 2)
    copied = clone(model)
    assert copied.candidates[1][1] is not chain
    assert copied.get_params()["chain__meda__n_components"] == 7
    other = MEDA()
    model.set_params(chain=other, chain__n_components=3)
    assert model.candidates[1] == ("chain", other)
    assert other.n_components == 3
    assert given[1][1] is chain, "the list that was given stays"
    model.set_params(candidates=[("new", EasyTL())], new=other)
    assert model.candidates == [("new", other)]
    with pytest.raises(ValueError, match="Invalid parameter 'easy'"):
        model.set_params(easy__n_components=3)


@pytest.mark.parametrize(
    "candidates",
    ["default", [], [make_pipeline(PerDomain(), MEDA())], ["ab"], [("a", EasyTL)], 3],
)
def test_candidates_without_names_have_no_parameters(candidates):
    """Pipelines of two steps and strings of two letters look like pairs."""
    model = AdapterEnsembleClassifier(candidates)
    assert model.get_params() == model.get_params(deep=False)
    assert model.set_params(weights=[1]).weights == [1]


def test_search_over_a_named_candidate():
    X, y, ids, truth = make_task(d=20)
    model = AdapterEnsembleClassifier([("meda", MEDA()), ("easy", EasyTL())])
    grid = {"meda__n_components": [2, 8], "easy": [EasyTL(None), LogisticRegression()]}
    with config_context(enable_metadata_routing=True):
        found = GridSearchCV(model, grid, cv=SourceKFold(3))
        found.fit(X, y, sample_domain=ids)
    assert len(found.cv_results_["params"]) == 4
    best = found.best_estimator_.named_estimators_["meda"]
    assert best.n_components == found.best_params_["meda__n_components"]
    assert found.score(X[ids < 0], truth[ids < 0]) > 0.5


def test_tags_are_those_of_all_models():
    for models, is_sparse, allow_nan in (
        ([EasyTL(None), LogisticRegression()], True, False),
        ([EasyTL(None), EasyTL()], True, False),  # one is left out
        ([EasyTL(), MEDA()], False, False),
        ([EasyTL(), HistGradientBoostingClassifier()], False, True),
        ("default", True, False),
        ("meda", False, False),
    ):
        tags = AdapterEnsembleClassifier(models).__sklearn_tags__().input_tags
        assert (tags.sparse, tags.allow_nan) == (is_sparse, allow_nan)
        assert not tags.positive_only


# ---------------------------------------------------------------------------
# What it is for
# ---------------------------------------------------------------------------


def test_no_loss_where_nothing_has_shifted():
    gains = []
    for seed in range(10):
        X, y, ids, truth = make_task(seed, 300, 6, shift=0.0)
        source, target = ids > 0, ids < 0
        floor = LogisticRegression().fit(X[source], truth[source])
        model = AdapterEnsembleClassifier(
            [MEDA(), EasyTL(), TransferClassifier(adapter=CORAL())]
        )
        labels = model.fit(X, y, sample_domain=ids).transduction_
        gains.append(np.mean(labels == truth[target]))
        gains[-1] -= floor.score(X[target], truth[target])
    assert np.mean(gains) >= -0.03


def test_better_than_the_mean_of_its_models():
    gains = []
    for seed in range(8):
        X, y, ids, truth = make_task(seed, 240, 20, shift=2.0, spread=0.5)
        model = raw_average([MEDA(p) for p in (4, 6, 8, 12)])
        model.fit(X, y, sample_domain=ids)
        truth = truth[ids < 0]
        single = [np.mean(m.transduction_ == truth) for m in model.estimators_]
        gains.append(np.mean(model.transduction_ == truth) - np.mean(single))
    assert np.mean(gains) > 0


# ---------------------------------------------------------------------------
# Calibration
# ---------------------------------------------------------------------------


class Remembers(ClassifierMixin, BaseEstimator):
    """Sure of the label of rows that it has seen, and of nothing else."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.seen_ = {row.tobytes(): label for row, label in zip(X, y)}
        return self

    def predict_proba(self, X):
        known = [self.seen_.get(row.tobytes()) for row in np.asarray(X)]
        proba = 1 + 99.0 * (np.array(known)[:, np.newaxis] == self.classes_)
        return proba / proba.sum(axis=1, keepdims=True)


class RemembersSources(Remembers):
    """The same as a model that knows of domains."""

    __metadata_request__fit = {"sample_domain": True}

    def fit(self, X, y, sample_domain=None):
        rows = sample_domain > 0
        return super().fit(X[rows], y[rows].astype(int))


@pytest.mark.parametrize("candidate", [Remembers(), RemembersSources()])
def test_temperatures_come_from_rows_that_a_model_has_not_seen(candidate):
    X, y, ids, _ = make_task()
    model = AdapterEnsembleClassifier([candidate]).fit(X, y, sample_domain=ids)
    member = model._members[0]
    np.testing.assert_allclose(member.held_out, 1 / 3)
    assert member.held_out.shape == (80, 3)
    np.testing.assert_array_equal(model.temperatures_, [1.0])


@pytest.mark.parametrize(
    "candidate",
    [
        LogisticRegression(C=1e3),
        KNeighborsClassifier(4),
        LinearSVC(),
        TransferClassifier(GaussianNB(), CORAL()),
        MEDA(n_components=4),
        make_pipeline(PerDomain(), MEDA(n_components=4)),
        EasyTL(),
    ],
    ids=lambda candidate: type(candidate).__name__,
)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_calibration_keeps_the_labels_of_a_model(candidate, n_classes):
    X, y, ids, _ = make_task(n_classes=n_classes, spread=0.7)
    model = AdapterEnsembleClassifier([candidate]).fit(X, y, sample_domain=ids)
    (single,) = model.estimators_
    with config_context(enable_metadata_routing=True):
        expected = single.predict(X)
        np.testing.assert_array_equal(model.predict(X), expected)
        if not hasattr(single, "predict_proba"):
            return
        raw = np.log(np.maximum(single.predict_proba(X), 1e-12))
    # Powers of what the model says, for models whose scores are their logarithms.
    if not hasattr(single, "decision_function"):
        powers = np.exp(raw / model.temperatures_[0])
        powers /= powers.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(model.predict_proba(X), powers, atol=1e-12)


def test_probabilities_of_separable_classes_are_finite_and_not_certain():
    X, y, ids, _ = make_task(shift=0.0, spread=300.0)
    models = [LogisticRegression(C=1e6), LinearSVC(C=1e3), EasyTL(), MEDA(4)]
    model = AdapterEnsembleClassifier(models).fit(X, y, sample_domain=ids)
    assert (model.temperatures_ > 0).all()
    for proba in model._each_probability(X, ids):
        assert np.isfinite(proba).all()
        assert 0.8 < proba.max(axis=1).mean() < 0.995


def test_calibration_makes_a_boaster_modest():
    """What it is for: 1-NN votes 0 and 1, right or wrong."""
    X, y, ids, truth = make_task(spread=0.4, n=300)
    boaster = [KNeighborsClassifier(1)]
    target = ids < 0
    losses = []
    for calibrate in (False, True):
        model = AdapterEnsembleClassifier(boaster, calibrate=calibrate)
        proba = model.fit(X, y, sample_domain=ids).predict_proba(X[target])
        right = proba[np.arange(target.sum()), truth[target]]
        losses.append(-np.log(np.maximum(right, 1e-12)).mean())
        assert np.isnan(model.temperatures_).all() == (not calibrate)
    assert losses[1] < 1.3 < losses[0]


def test_row_order_of_calibrated_models():
    X, y, ids, _ = make_task(spread=0.7)
    model = AdapterEnsembleClassifier(candidates()).fit(X, y, sample_domain=ids)
    order = np.random.default_rng(0).permutation(len(X))
    other = AdapterEnsembleClassifier(candidates())
    other.fit(X[order], y[order], sample_domain=ids[order])
    np.testing.assert_allclose(other.temperatures_, model.temperatures_, rtol=1e-4)
    np.testing.assert_allclose(
        other.predict_proba(X, ids), model.predict_proba(X, ids), atol=1e-5
    )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_class_of_one_row(n_classes):
    X, y, ids, _ = make_task(n_classes=n_classes)
    y[np.flatnonzero(y == 1)[1:]] = np.nan
    models = [LogisticRegression(), LinearSVC(), MEDA(4), EasyTL()]
    model = AdapterEnsembleClassifier(models).fit(X, y, sample_domain=ids)
    assert not model.failures_
    proba = model.predict_proba(X)
    assert proba.shape == (120, n_classes)
    assert (proba[:, 1] > 0).any()
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    others = np.count_nonzero(y[ids > 0] >= 0) - 1
    assert all(len(member.correct) == others for member in model._members)


@pytest.mark.parametrize("n_rows", [1, 2])
def test_few_rows_of_each_class(n_rows):
    X, y, ids, truth = make_task()
    rows = [np.flatnonzero((ids == 1) & (truth == k))[:n_rows] for k in range(3)]
    rows = np.concatenate([*rows, np.flatnonzero(ids < 0)])
    model = AdapterEnsembleClassifier([LogisticRegression(), MEDA(1), EasyTL()])
    model.fit(X[rows], y[rows], sample_domain=ids[rows])
    assert not model.failures_
    assert (model.temperatures_ > 0).all()
    assert np.mean(model.transduction_ == truth[ids < 0]) > 0.6


# ---------------------------------------------------------------------------
# Classifiers that share an adapter
# ---------------------------------------------------------------------------


class CountsMaps(CORAL):
    """Says how often it was fitted."""

    n_fits = 0

    def fit(self, X, y=None, *, sample_domain=None):
        CountsMaps.n_fits += 1
        return super().fit(X, y, sample_domain=sample_domain)


def joined(adapters):
    heads = [LogisticRegression(), GaussianNB(), LinearSVC(random_state=0)]
    return [TransferClassifier(head, adapter) for head, adapter in zip(heads, adapters)]


@pytest.mark.parametrize("calibrate", [False, True])
def test_a_shared_adapter_is_fitted_once_and_changes_nothing(calibrate):
    X, y, ids, _ = make_task()
    n_models = 3 if calibrate else 2
    weights = np.random.default_rng(0).uniform(0.5, 2, len(y))
    found = []
    for adapters in ([CountsMaps()] * 3, [CountsMaps() for _ in range(3)]):
        before = CountsMaps.n_fits
        models = [*joined(adapters)[:n_models], EasyTL()]
        model = AdapterEnsembleClassifier(models, calibrate=calibrate)
        model.fit(X, y, weights, sample_domain=ids)
        found.append(model)
        fits = CountsMaps.n_fits - before
        assert fits == (1 if adapters[0] is adapters[1] else n_models)
    shared, apart = found
    np.testing.assert_array_equal(shared.temperatures_, apart.temperatures_)
    np.testing.assert_array_equal(
        shared.predict_proba(X, ids), apart.predict_proba(X, ids)
    )
    for model, other in zip(shared.estimators_, apart.estimators_):
        np.testing.assert_array_equal(model.predict(X), other.predict(X))
        assert repr(model) == repr(other)
    adapters = {id(model.adapter_) for model in shared.estimators_[:n_models]}
    assert len(adapters) == 1


def test_a_shared_weighter_keeps_the_parameters_of_each():
    X, y, ids, _ = make_task()
    kmm = KMM()
    models = [
        TransferClassifier(LogisticRegression(C=0.01), kmm, normalize_weights=normalize)
        for normalize in (True, False)
    ]
    model = raw_average(models).fit(X, y, sample_domain=ids)
    for single, own in zip(model.estimators_, models):
        expected = clone(own).fit(X, y, sample_domain=ids).predict_proba(X)
        np.testing.assert_allclose(single.predict_proba(X), expected, atol=1e-12)
    first, second = (one.estimator_.coef_ for one in model.estimators_)
    # Of these, the weights sum to something else than their number.
    assert abs(kmm.fit(X, sample_domain=ids).weights_.mean() - 1) > 1e-3
    assert np.abs(first - second).max() > 1e-6


def test_parameters_of_joined_models_are_checked():
    X, y, ids, _ = make_task()
    model = TransferClassifier(adapter=CORAL(), target_weight=-1.0)
    with pytest.raises(ValueError, match="'target_weight' parameter of Transfer"):
        AdapterEnsembleClassifier([model]).fit(X, y, sample_domain=ids)
    with pytest.raises(ValueError, match="MEDA takes sample_domain itself"):
        AdapterEnsembleClassifier([TransferClassifier(MEDA(), CORAL())]).fit(
            X, y, sample_domain=ids
        )


def test_candidates_that_take_missing_values_get_them():
    X, y, ids, _ = make_task()
    X[::7, 0] = np.nan
    forest = HistGradientBoostingClassifier(max_iter=5)
    chain = make_pipeline(PerDomain(SimpleImputer()), LogisticRegression())
    for calibrate in (False, True):
        model = AdapterEnsembleClassifier([forest, chain], calibrate=calibrate)
        assert not model.fit(X, y, sample_domain=ids).failures_
        with pytest.warns(UserWarning, match="1 of 2 .*logisticregression.*NaN"):
            model.set_params(candidates=[forest, LogisticRegression()]).fit(
                X, y, sample_domain=ids
            )


# ---------------------------------------------------------------------------
# Candidates that cannot be fitted
# ---------------------------------------------------------------------------


class Fails(LogisticRegression):
    """Cannot be fitted."""

    def fit(self, X, y, sample_weight=None):
        raise RuntimeError("no luck")


class FailsToMap(CORAL):
    """Cannot be fitted."""

    def fit(self, X, y=None, *, sample_domain=None):
        raise ZeroDivisionError("division by nothing")


def test_failing_candidates_are_left_out_and_named():
    X, y, ids, _ = make_task()
    coral, broken = CORAL(), FailsToMap()
    given = [
        ("a", EasyTL()),
        ("b", Fails()),
        ("c", TransferClassifier(GaussianNB(), coral)),
        ("d", TransferClassifier(Fails(), coral)),
        ("e", TransferClassifier(GaussianNB(), broken)),
        ("f", TransferClassifier(LogisticRegression(), broken)),
    ]
    model = AdapterEnsembleClassifier(given, weights=[1, 5, 3, 5, 5, 5])
    words = r"4 of 6 candidates .*b; d: no luck e; f: division by nothing"
    with pytest.warns(UserWarning, match=words) as seen:
        model.fit(X, y, sample_domain=ids)
    assert [one.filename for one in seen] == [__file__]
    assert model.failures_ == {
        "b": "no luck",
        "d": "no luck",
        "e": "division by nothing",
        "f": "division by nothing",
    }
    assert list(model.named_estimators_) == ["a", "c"]
    good = AdapterEnsembleClassifier([given[0], given[2]], weights=[1, 3])
    good.fit(X, y, sample_domain=ids)
    assert good.failures_ == {}
    np.testing.assert_allclose(model.predict_proba(X), good.predict_proba(X))
    assert len(model.fit_times_) == len(model.temperatures_) == 2


def test_all_candidates_fail():
    X, y, ids, _ = make_task()
    models = [("a", Fails()), ("b", TransferClassifier(adapter=FailsToMap()))]
    with pytest.raises(RuntimeError, match="no luck"):
        AdapterEnsembleClassifier(models).fit(X, y, sample_domain=ids)


# ---------------------------------------------------------------------------
# Hedge
# ---------------------------------------------------------------------------


def named():
    """Adapted models, and two without adapter of which the second is better."""
    return [
        ("easy", EasyTL()),
        ("guess", DummyClassifier()),
        ("plain", make_pipeline(StandardScaler(), LogisticRegression())),
        ("coral", TransferClassifier(GaussianNB(), CORAL())),
    ]


@pytest.mark.parametrize("hedge", [0.1, 0.4, 0.9])
@pytest.mark.parametrize("weights", [None, [3, 0, 0, 1]])
@pytest.mark.parametrize("prior", [None, [0.5, 0.3, 0.2]])
def test_hedged_average_by_hand(hedge, weights, prior):
    X, y, ids, _ = make_task(shift=2.0)
    model = AdapterEnsembleClassifier(
        named(), weights=weights, hedge=hedge, prior=prior
    ).fit(X, y, sample_domain=ids)
    assert model.unadapted_ == "plain"
    base = [0.25] * 4 if weights is None else [0.75, 0, 0, 0.25]
    expected = [(1 - hedge) * w + hedge * (k == 2) for k, w in enumerate(base)]
    np.testing.assert_allclose(model.estimator_weights_, expected, rtol=1e-12)
    assert model.estimator_weights_.sum() == pytest.approx(1.0, abs=1e-12)
    each = [
        AdapterEnsembleClassifier([one]).fit(X, y, sample_domain=ids) for one in named()
    ]
    proba = [one.predict_proba(X, sample_domain=ids) for one in each]
    P = (1 - hedge) * np.average(proba, axis=0, weights=weights) + hedge * proba[2]
    found = model.predict_proba(X, sample_domain=ids)
    if prior is not None:
        target = found[ids < 0]
        np.testing.assert_allclose(target.mean(axis=0), prior, atol=1e-6)
        factors = found / P  # alike in all rows up to a factor of the row
        factors /= factors[:, :1]
        np.testing.assert_allclose(factors, factors[:1].repeat(len(X), 0), rtol=1e-8)
        P = found
    np.testing.assert_allclose(found, P, atol=1e-12)
    np.testing.assert_array_equal(model.transduction_, P[ids < 0].argmax(axis=1))


def test_no_hedge_is_the_plain_mean():
    X, y, ids, _ = make_task()
    plain = AdapterEnsembleClassifier(named()).fit(X, y, sample_domain=ids)
    model = AdapterEnsembleClassifier(named(), hedge=0.7).fit(X, y, sample_domain=ids)
    assert hasattr(model, "unadapted_") and not hasattr(plain, "unadapted_")
    assert np.abs(model.predict_proba(X) - plain.predict_proba(X)).max() > 0.01
    model.set_params(hedge=0.0).fit(X, y, sample_domain=ids)
    assert not hasattr(model, "unadapted_")
    np.testing.assert_array_equal(model.estimator_weights_, [0.25] * 4)
    np.testing.assert_array_equal(model.predict_proba(X), plain.predict_proba(X))
    np.testing.assert_array_equal(model.transduction_, plain.transduction_)
    # Without hedge there need be no plain candidate, and no held-out rows.
    raw_average([EasyTL()], hedge=0.0).fit(X, y, sample_domain=ids)


def test_most_weight_of_the_hedge_leaves_the_unadapted_labels():
    X, y, ids, truth = make_task(shift=2.0)
    model = AdapterEnsembleClassifier(named(), hedge=0.999)
    model.fit(X, y, sample_domain=ids)
    source = ids > 0
    alone = named()[2][1].fit(X[source], truth[source])
    np.testing.assert_array_equal(model.predict(X), alone.predict(X))


class SelectColumns(BaseEstimator):
    """Some columns, without learning anything."""

    def __init__(self, columns):
        self.columns = columns

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X[:, self.columns]

    def __sklearn_is_fitted__(self):
        return True


def test_the_hedge_goes_by_accuracy_on_the_source():
    """The candidate that is best on the target is not asked."""
    X, y, ids, truth = make_task()
    X = np.column_stack([X, np.where(ids > 0, 5.0 * truth, truth[::-1])])
    given = [
        ("of the target", make_pipeline(SelectColumns(slice(0, 8)), GaussianNB())),
        ("of the source", make_pipeline(SelectColumns(slice(8, 9)), GaussianNB())),
        ("easy", EasyTL()),
    ]
    found = []
    for labels in labelings(y, ids, truth):
        model = AdapterEnsembleClassifier(given, hedge=0.4)
        model.fit(X, labels, sample_domain=ids)
        assert model.unadapted_ == "of the source"
        found.append(model.predict_proba(X))
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])
    Xt, truth = X[ids < 0], truth[ids < 0]
    right = [np.mean(m.predict(Xt) == truth) for m in model.estimators_[:2]]
    assert right[0] > right[1] + 0.2


def test_the_first_of_equals_gets_the_hedge():
    X, y, ids, _ = make_task()
    given = [EasyTL(), LogisticRegression(), LogisticRegression()]
    model = AdapterEnsembleClassifier(given, hedge=0.4).fit(X, y, sample_domain=ids)
    assert model.unadapted_ == "logisticregression-1"
    np.testing.assert_allclose(model.estimator_weights_, [0.2, 0.6, 0.2])


@pytest.mark.parametrize(
    ("candidate", "unadapted"),
    [
        (LogisticRegression(), True),
        (make_pipeline(StandardScaler(), make_pipeline(PCA(2), GaussianNB())), True),
        (GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2), True),
        (TransferClassifier(), True),
        (TransferClassifier(adapter=CORAL()), False),
        (TransferClassifier(EasyTL()), False),
        (make_pipeline(PerDomain(), GaussianNB()), False),
        (EasyTL(), False),
    ],
)
def test_what_is_without_adapter(candidate, unadapted):
    X, y, ids, _ = make_task(n=60)
    model = AdapterEnsembleClassifier([("one", candidate)], hedge=0.4)
    if unadapted:
        model.fit(X, y, sample_domain=ids)
        assert model.unadapted_ == "one"
        assert model.estimator_weights_ == pytest.approx([1.0])
        return
    with pytest.raises(ValueError, match="add a plain classifier.*or set hedge=0"):
        model.fit(X, y, sample_domain=ids)


@pytest.mark.parametrize("domains", [True, False])
@pytest.mark.parametrize(
    "parameters",
    [
        {"candidates": [CountsFits()]},
        {"candidates": [CountsFits(), GaussianNB()], "calibrate": False},
        {"candidates": "meda"},
    ],
)
def test_hedge_needs_a_calibrated_candidate_without_adapter(parameters, domains):
    """And says so before models are fitted in vain."""
    X, y, ids, truth = make_task()
    before = CountsFits.n_fits
    model = AdapterEnsembleClassifier(hedge=0.4, **parameters)
    words = "add a plain classifier to the candidates, with calibrate=True, or set"
    data = (X, y, None, ids) if domains else (X, truth, None, None)
    with (
        pytest.warns() if not domains else nullcontext(),
        pytest.raises(ValueError, match=words),
    ):
        model.fit(*data[:3], sample_domain=data[3])
    assert CountsFits.n_fits == before


@pytest.mark.parametrize("hedge", [1.0, -0.1, np.nan, "much", None])
def test_hedge_is_a_share_below_1(hedge):
    X, y, ids, _ = make_task()
    with pytest.raises(ValueError, match="'hedge' parameter"):
        AdapterEnsembleClassifier(hedge=hedge).fit(X, y, sample_domain=ids)


def test_hedge_where_candidates_fail():
    X, y, ids, _ = make_task()
    given = [
        ("easy", EasyTL()),
        ("broken", TransferClassifier(adapter=FailsToMap())),
        ("fails", Fails()),
        ("guess", DummyClassifier()),
    ]
    model = AdapterEnsembleClassifier(given, weights=[1, 5, 5, 3], hedge=0.4)
    with pytest.warns(UserWarning, match="2 of 4 candidates"):
        model.fit(X, y, sample_domain=ids)
    assert model.unadapted_ == "guess"
    np.testing.assert_allclose(model.estimator_weights_, [0.6 / 4, 0.6 * 3 / 4 + 0.4])
    # What is wrong with the only one is what the user has to know.
    model = AdapterEnsembleClassifier(given[:3], hedge=0.4)
    with (
        pytest.warns(UserWarning, match="2 of 3 candidates"),
        pytest.raises(RuntimeError, match="no luck"),
    ):
        model.fit(X, y, sample_domain=ids)


def test_hedge_without_held_out_rows():
    """One row of each class: no candidate is better than another."""
    X, y, ids, truth = make_task()
    few = np.full(len(y), np.nan)
    for k in range(3):
        few[np.flatnonzero((ids > 0) & (truth == k))[0]] = k
    model = AdapterEnsembleClassifier(named(), hedge=0.4)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        model.fit(X, few, sample_domain=ids)
    assert model.unadapted_ == "guess"
    assert np.isfinite(model.predict_proba(X)).all()


def test_hedge_without_domains_with_jobs_and_in_a_pickle():
    X, y, ids, truth = make_task()
    model = AdapterEnsembleClassifier(named(), hedge=0.4)
    with pytest.warns(NoAdaptationWarning):
        model.fit(X, truth)
    assert model.unadapted_ == "plain"
    np.testing.assert_allclose(model.estimator_weights_, [0.15, 0.15, 0.55, 0.15])
    expected = model.fit(X, y, sample_domain=ids).predict_proba(X)
    with parallel_config(backend="threading"):
        again = clone(model).set_params(n_jobs=2).fit(X, y, sample_domain=ids)
    np.testing.assert_array_equal(again.predict_proba(X), expected)
    again = pickle.loads(pickle.dumps(model))
    assert again.unadapted_ == "plain"
    np.testing.assert_array_equal(again.predict_proba(X), expected)


def test_candidates_stay_as_they_are():
    X, y, ids, _ = make_task()
    nested = make_pipeline(PerDomain(), make_pipeline(PerDomain(), GaussianNB()))
    given = [("nested", nested), ("plain", LogisticRegression())]
    before = repr(given)
    model = AdapterEnsembleClassifier(given, hedge=0.4)
    model.fit(X, y, np.ones(len(y)), sample_domain=ids)
    assert repr(given) == before
    assert not hasattr(given[1][1], "coef_")


# ---------------------------------------------------------------------------
# Many rows, several at a time, progress, pickles
# ---------------------------------------------------------------------------


class KeepsRows(LogisticRegression):
    """Knows what it was fitted to."""

    def fit(self, X, y, sample_weight=None):
        self.rows_ = np.asarray(X)
        return super().fit(X, y, sample_weight)


def rows_of(model):
    return sorted(model.estimators_[0].estimator_.rows_[:, 0])


@pytest.mark.parametrize("as_frame", [False, True])
def test_models_of_some_rows(as_frame):
    X, y, ids, truth = make_task(n=240)
    y[np.flatnonzero(ids == 2)[:20]] = np.nan
    order = np.random.default_rng(1).permutation(len(X))
    wrap = pytest.importorskip("pandas").DataFrame if as_frame else np.asarray
    found = []
    for rows, seed in ((np.arange(240), 0), (order, 0), (np.arange(240), 1)):
        model = AdapterEnsembleClassifier(
            [KeepsRows(), EasyTL()], max_samples=100, random_state=seed
        )
        model.fit(wrap(X[rows]), y[rows], sample_domain=ids[rows])
        found.append(model)
    model, permuted, other = found
    assert rows_of(model) == rows_of(permuted)
    assert rows_of(model) != rows_of(other)
    assert len(rows_of(model)) == 50, "half of them, all labelled"
    assert set(rows_of(model)) <= set(X[~np.isnan(y), 0])
    np.testing.assert_allclose(
        model.predict_proba(wrap(X)), permuted.predict_proba(wrap(X)), atol=1e-6
    )
    assert model.transduction_.shape == ((ids < 0).sum(),)
    np.testing.assert_array_equal(model.transduction_, model.predict(wrap(X[ids < 0])))
    assert np.mean(model.transduction_ == truth[ids < 0]) > 0.8


def test_enough_rows_are_all_taken():
    X, y, ids, _ = make_task()
    for limit in (None, 120, 10_000):
        model = AdapterEnsembleClassifier([KeepsRows()], max_samples=limit)
        assert len(rows_of(model.fit(X, y, sample_domain=ids))) == 80


def test_progress_bar(capsys, monkeypatch):
    X, y, ids, _ = make_task()
    models = [EasyTL(), *joined([CORAL()] * 3)]
    AdapterEnsembleClassifier(models).fit(X, y, sample_domain=ids)
    assert not capsys.readouterr().err
    pytest.importorskip("tqdm")
    AdapterEnsembleClassifier(models, verbose=1).fit(X, y, sample_domain=ids)
    assert "/4" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match="needs tqdm: pip install tqdm, or set verb"):
        AdapterEnsembleClassifier(models, verbose=1).fit(X, y, sample_domain=ids)


def test_jobs_of_shared_adapters():
    X, y, ids, _ = make_task()
    models = [*joined([CORAL()] * 3), *joined([PerDomain()] * 3), MEDA(4)]
    with parallel_config(backend="threading"):
        one, two = (
            AdapterEnsembleClassifier(models, n_jobs=n).fit(X, y, sample_domain=ids)
            for n in (1, 2)
        )
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))
    np.testing.assert_array_equal(one.temperatures_, two.temperatures_)


def test_pickled_models_share_their_adapters_still():
    X, y, ids, _ = make_task()
    models = [*joined([CORAL()] * 3), MEDA(4)]
    model = AdapterEnsembleClassifier(models).fit(X, y, sample_domain=ids)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.estimators_[0].adapter_ is again.estimators_[2].adapter_
    copied = clone(model).fit(X, y, sample_domain=ids)
    np.testing.assert_array_equal(copied.predict_proba(X), model.predict_proba(X))


# ---------------------------------------------------------------------------
# The default
# ---------------------------------------------------------------------------


def test_default():
    X, y, ids, truth = make_task(spread=0.4, shift=2.0, d=25)
    wrong = np.where(ids > 0, truth, np.random.default_rng(5).permutation(truth))
    model = AdapterEnsembleClassifier().fit(X, y, sample_domain=ids)
    assert len(model.estimators_) == len(model.temperatures_) == 31
    assert not model.failures_
    other = AdapterEnsembleClassifier(n_jobs=2)
    with parallel_config(backend="threading"):
        other.fit(X, wrong, sample_domain=ids)
    np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.transduction_, model.transduction_)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert np.mean(model.transduction_ == truth[ids < 0]) > 0.8


def edge_of(kind):
    X, y, ids, truth = make_task()
    ids = np.sign(ids)
    if kind == "one column":
        X = X[:, :1]
    elif kind == "constant columns":
        X = np.column_stack([X, np.ones((120, 2)), ids > 0])
    elif kind == "all alike":
        X = np.ones((120, 3))
    elif kind == "two rows a class":
        rows = [np.flatnonzero((ids > 0) & (truth == k))[:2] for k in range(3)]
        rows = np.concatenate([*rows, np.flatnonzero(ids < 0)[:6]])
        X, y, ids = X[rows], y[rows], ids[rows]
    elif kind == "class of one row":
        y[np.flatnonzero(y == 2)[1:]] = np.nan
    elif kind == "CSR":
        X = sparse.csr_array(np.where(np.abs(X) > 1, X, 0))
    elif kind == "far away":
        X = 1e8 + X
    return X, y, ids


@pytest.mark.filterwarnings("ignore::skadapt.DegenerateWeightsWarning")
@pytest.mark.parametrize(
    "kind",
    [
        "one column",
        "constant columns",
        "all alike",
        "two rows a class",
        "class of one row",
        "CSR",
        "far away",
    ],
)
def test_default_at_the_edges(kind):
    X, y, ids = edge_of(kind)
    model = AdapterEnsembleClassifier().fit(X, y, sample_domain=ids)
    assert model.failures_ == {}
    proba = model.predict_proba(X)
    assert np.isfinite(proba).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    assert proba.shape == (len(ids), 3)
    np.testing.assert_array_equal(model.transduction_, model.predict(X[ids < 0]))


def test_default_of_rows_in_any_sparse_format():
    X, y, ids = edge_of("CSR")
    model = AdapterEnsembleClassifier().fit(X, y, sample_domain=ids)
    other = AdapterEnsembleClassifier().fit(X.tocoo(), y, sample_domain=ids)
    np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))


def test_default_refuses_what_it_cannot_learn_from():
    pd = pytest.importorskip("pandas")
    X, y, ids, _ = make_task()
    frame = pd.DataFrame(X).add_prefix("c").assign(colour="red")
    with pytest.raises(ValueError, match="no numbers.*encode them"):
        AdapterEnsembleClassifier().fit(frame, y, sample_domain=ids)
    with pytest.raises(ValueError, match="one class, 1.*label source rows of at least"):
        AdapterEnsembleClassifier().fit(X, np.where(ids > 0, 1, -1), sample_domain=ids)
    X[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        AdapterEnsembleClassifier().fit(X, y, sample_domain=ids)


def test_default_without_domains_is_the_models_without_adapter():
    X, _, _, truth = make_task()
    with pytest.warns(NoAdaptationWarning) as caught:
        model = AdapterEnsembleClassifier().fit(X, truth)
    assert [one.filename for one in caught] == [__file__]
    names = ["none, 1-NN", "none, logistic", "none, SVM"]
    assert list(model.named_estimators_) == names
    assert model.score(X, truth) > 0.9


def test_weights_below_0_are_refused():
    X, y, ids, _ = make_task()
    weights = np.where(np.arange(len(y)) == 5, -1.0, 1.0)
    with pytest.raises(ValueError, match="Negative values"):
        AdapterEnsembleClassifier([LogisticRegression(), EasyTL()]).fit(
            X, y, weights, sample_domain=ids
        )
