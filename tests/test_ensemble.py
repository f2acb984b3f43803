"""The ensemble against its models, fitted one by one and averaged by hand."""

import numpy as np
import pytest
from joblib import parallel_config
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
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
    model = AdapterEnsembleClassifier(candidates(), weights=weights)
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
    model = AdapterEnsembleClassifier(candidates()).fit(X, y, sample_domain=ids)
    parts = probabilities(fit_by_hand(X, y, ids), new, np.full(len(new), -1))
    expected = np.mean(parts, axis=0)
    np.testing.assert_allclose(model.predict_proba(new), expected, atol=1e-12)
    of_source = model.predict_proba(new, sample_domain=1)
    assert np.abs(of_source - expected).max() > 1e-3


def test_one_candidate_is_that_model():
    X, y, ids, _ = make_task()
    alone = MEDA(n_components=4).fit(X, y, sample_domain=ids)
    model = AdapterEnsembleClassifier([MEDA(n_components=4)])
    model.fit(X, y, sample_domain=ids)
    np.testing.assert_array_equal(model.transduction_, alone.transduction_)
    np.testing.assert_allclose(model.predict_proba(X), alone.predict_proba(X))


def test_default_is_five_sizes_of_pls_subspaces():
    X, y, ids, _ = make_task(d=20)
    model = AdapterEnsembleClassifier().fit(X, y, sample_domain=ids)
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
    model = AdapterEnsembleClassifier([EasyTL(), OnlyTwo()])
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
            model = AdapterEnsembleClassifier([candidate])
            model.fit(X, labels, sample_domain=ids)
            np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-12)


def test_a_pipeline_of_mappers_ends_in_any_classifier():
    X, y, ids, _ = make_task()
    chain = make_pipeline(PerDomain(StandardScaler()), CORAL(), LogisticRegression())
    model = AdapterEnsembleClassifier([chain]).fit(X, y, sample_domain=ids)
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
    model = AdapterEnsembleClassifier([EasyTL(), LogisticRegression()])
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
    ensemble = AdapterEnsembleClassifier(models).fit(X, y, weights, sample_domain=ids)
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
            AdapterEnsembleClassifier([refused]).fit(X, y, weights, sample_domain=ids)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"candidates": []}, "candidates is empty"),
        ({"candidates": [CORAL()]}, "CORAL.*no classifier: join an adapter"),
        ({"candidates": ["meda"]}, "'meda', which is no classifier"),
        ({"candidates": [("a", EasyTL()), EasyTL()]}, "not of both"),
        ({"candidates": [("a", EasyTL(), 1)]}, "not of both"),
        ({"candidates": [("a", EasyTL()), ("a", MEDA())]}, "must be unique"),
        ({"candidates": [("a", LinearSVC())]}, "'a' has no predict_proba"),
        ({"candidates": [EasyTL()], "weights": [1, 1]}, "each of the 1 candidates"),
        ({"candidates": [EasyTL()], "weights": [0]}, "not all 0"),
        ({"candidates": [EasyTL()], "weights": [-1]}, "none below 0"),
    ],
)
def test_bad_parameters(parameters, words):
    X, y, ids, _ = make_task()
    with pytest.raises(ValueError, match=words):
        AdapterEnsembleClassifier(**parameters).fit(X, y, sample_domain=ids)


def test_tags_are_those_of_all_models():
    sparse = AdapterEnsembleClassifier([EasyTL(None), LogisticRegression()])
    assert sparse.__sklearn_tags__().input_tags.sparse
    dense = AdapterEnsembleClassifier([EasyTL(None), EasyTL()])
    assert not dense.__sklearn_tags__().input_tags.sparse


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
        model = AdapterEnsembleClassifier([MEDA(p) for p in (4, 6, 8, 12)])
        model.fit(X, y, sample_domain=ids)
        truth = truth[ids < 0]
        single = [np.mean(m.transduction_ == truth) for m in model.estimators_]
        gains.append(np.mean(model.transduction_ == truth) - np.mean(single))
    assert np.mean(gains) > 0
