"""TransferClassifier and TransferRegressor, compared with doing it by hand."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    PredefinedSplit,
    cross_val_score,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator

from skadapt import (
    CORAL,
    KMM,
    TCA,
    DegenerateWeightsWarning,
    LabelShiftEM,
    NoAdaptationWarning,
    PerDomain,
    SubspaceAlignment,
    TransferClassifier,
    TransferRegressor,
    stack_domains,
)
from skadapt.datasets import make_covariate_shift, make_scaling


def _data(seed=0, n_source=40, n_target=30):
    """Rows of both domains in any order, all labelled (0, 1, 2)."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.repeat([1, -1], [n_source, n_target]))
    X = rng.normal(size=(len(ids), 3))
    X[ids < 0] += [0.8, 0.0, -0.4]
    y = np.digitize(X[:, 0] - X[:, 1] + 0.3 * rng.normal(size=len(ids)), [-0.5, 0.8])
    return X, y, ids


X, Y, IDS = _data()
SOURCE = IDS > 0
VALUES = X[:, 0] - X[:, 1] ** 2
OUTPUTS = np.column_stack([VALUES, X[:, 2]])


def _fit(model, y=Y, X=X, ids=IDS, **arguments):
    return clone(model).fit(X, y, sample_domain=ids, **arguments)


def _assert_same_classifier(model, by_hand, rows):
    np.testing.assert_array_equal(model.predict(X), by_hand.predict(rows))
    np.testing.assert_allclose(
        model.predict_proba(X), by_hand.predict_proba(rows), rtol=1e-12, atol=1e-14
    )


class Recorder(ClassifierMixin, BaseEstimator):
    """Remembers what fit was given."""

    def fit(self, X, y, sample_weight=None):
        self.X_, self.y_, self.sample_weight_ = X, y, sample_weight
        self.classes_ = np.unique(y)
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X):
        return np.full(X.shape[0], self.classes_[0])


class FixedWeights(BaseEstimator):
    """A weighter that gives the weights it was told."""

    def __init__(self, weights=None):
        self.weights = weights

    def fit(self, X, y=None, *, sample_domain=None):
        self.weights_ = np.array(self.weights, dtype=float)
        return self


def _recorded(weights=None, y=Y, sample_weight=None, **parameters):
    adapter = None if weights is None else FixedWeights(weights)
    model = TransferClassifier(Recorder(), adapter, **parameters)
    return _fit(model, y, sample_weight=sample_weight).estimator_


# ---------------------------------------------------------------------------
# Adapters
# ---------------------------------------------------------------------------


def test_without_adapter_the_source_is_all_there_is():
    model = _fit(TransferClassifier(LogisticRegression()))
    by_hand = LogisticRegression().fit(X[SOURCE], Y[SOURCE])
    assert model.adapter_ is None
    np.testing.assert_array_equal(model.estimator_.coef_, by_hand.coef_)
    _assert_same_classifier(model, by_hand, X)


def test_defaults():
    model = _fit(TransferClassifier())
    assert isinstance(model.estimator_, LogisticRegression)
    assert model.estimator_.max_iter == 1000
    assert isinstance(_fit(TransferRegressor(), VALUES).estimator_, Ridge)


def test_weights_reach_the_estimator():
    kmm = KMM().fit(X, sample_domain=IDS)
    weights = kmm.weights_ / kmm.weights_.mean()
    by_hand = LogisticRegression().fit(X[SOURCE], Y[SOURCE], sample_weight=weights)
    model = _fit(TransferClassifier(LogisticRegression(), KMM()))
    np.testing.assert_allclose(model.adapter_.weights_, kmm.weights_, rtol=0)
    np.testing.assert_allclose(model.estimator_.coef_, by_hand.coef_, rtol=1e-10)
    _assert_same_classifier(model, by_hand, X)
    plain = LogisticRegression().fit(X[SOURCE], Y[SOURCE])
    assert np.abs(plain.coef_ - by_hand.coef_).max() > 1e-2


def test_regressor_weights_reach_the_estimator():
    kmm = KMM().fit(X, sample_domain=IDS)
    by_hand = LinearRegression().fit(X[SOURCE], VALUES[SOURCE], kmm.weights_)
    model = _fit(TransferRegressor(LinearRegression(), KMM()), VALUES)
    np.testing.assert_allclose(model.predict(X), by_hand.predict(X), rtol=1e-9)


def test_mapper():
    rows = CORAL().fit_transform(X, sample_domain=IDS)
    by_hand = LogisticRegression().fit(rows[SOURCE], Y[SOURCE])
    model = _fit(TransferClassifier(LogisticRegression(), CORAL()))
    assert isinstance(model.adapter_, CORAL)
    _assert_same_classifier(model, by_hand, X)  # target rows stay as they are
    np.testing.assert_array_equal(
        model.predict(X, sample_domain=IDS), by_hand.predict(rows)
    )


def test_pipeline_of_transformers_and_mappers():
    scaler = StandardScaler().fit(X)
    per_domain = PerDomain().fit(scaler.transform(X), sample_domain=IDS)
    rows = per_domain.transform(scaler.transform(X), IDS)
    tca = TCA(n_components=2).fit(rows, sample_domain=IDS)
    by_hand = LogisticRegression().fit(tca.transform(rows)[SOURCE], Y[SOURCE])
    adapter = make_pipeline(StandardScaler(), PerDomain(), TCA(n_components=2))
    model = _fit(TransferClassifier(LogisticRegression(), adapter))
    assert isinstance(model.adapter_, Pipeline)
    assert list(model.adapter_.named_steps) == list(adapter.named_steps)
    targets = tca.transform(per_domain.transform(scaler.transform(X), -1))
    _assert_same_classifier(model, by_hand, targets)
    np.testing.assert_allclose(
        model.predict_proba(X, sample_domain=IDS),
        by_hand.predict_proba(tca.transform(rows)),
        rtol=1e-12,
    )


def test_pipeline_that_ends_in_a_weighter():
    per_domain = PerDomain().fit(X, sample_domain=IDS)
    rows = per_domain.transform(X, IDS)
    kmm = KMM().fit(rows, sample_domain=IDS)
    weights = kmm.weights_ / kmm.weights_.mean()
    by_hand = LogisticRegression().fit(rows[SOURCE], Y[SOURCE], weights)
    model = _fit(
        TransferClassifier(LogisticRegression(), make_pipeline(PerDomain(), KMM()))
    )
    assert list(model.adapter_.named_steps) == ["perdomain", "kmm"]
    np.testing.assert_array_equal(model.adapter_[-1].weights_, kmm.weights_)
    _assert_same_classifier(model, by_hand, per_domain.transform(X, -1))


def test_plain_transformer():
    """A transformer that knows no domains is fitted on the rows of all of them."""
    scaler = StandardScaler().fit(X)
    by_hand = LogisticRegression().fit(scaler.transform(X)[SOURCE], Y[SOURCE])
    model = _fit(TransferClassifier(LogisticRegression(), StandardScaler()))
    np.testing.assert_array_equal(model.adapter_.mean_, X.mean(axis=0))
    _assert_same_classifier(model, by_hand, scaler.transform(X))


@pytest.mark.parametrize("estimator", [LogisticRegression(C=0.1), SVC(), GaussianNB()])
@pytest.mark.parametrize("adapter", [KMM(), CORAL(), SubspaceAlignment()])
def test_what_it_is_given_stays_unfitted(estimator, adapter):
    model = TransferClassifier(clone(estimator), clone(adapter))
    before = {
        name: set(vars(getattr(model, name))) for name in ("estimator", "adapter")
    }
    model.fit(X, Y, sample_domain=IDS)
    for name, attributes in before.items():
        assert set(vars(getattr(model, name))) == attributes


def test_parameters_of_the_parts_can_be_set():
    model = TransferClassifier(LogisticRegression(), KMM())
    model.set_params(adapter__gamma=0.25, estimator__C=3.0)
    model.fit(X, Y, sample_domain=IDS)
    assert model.adapter_.gamma_ == 0.25
    assert model.estimator_.C == 3.0
    other = _fit(model.set_params(adapter__gamma=4.0))
    assert np.abs(other.adapter_.weights_ - model.adapter_.weights_).max() > 1e-3


@pytest.mark.parametrize("absent", ["passthrough", None])
def test_steps_that_pass_through(absent):
    expected = _fit(TransferClassifier(adapter=CORAL()))
    for steps in (
        [("off", absent), ("coral", CORAL())],
        [("coral", CORAL()), ("off", absent)],
    ):
        model = _fit(TransferClassifier(adapter=Pipeline(steps)))
        np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(X))
        assert not get_tags(model).input_tags.sparse
    nothing = TransferClassifier(adapter=Pipeline([("off", absent)]))
    assert get_tags(nothing).input_tags.sparse
    by_hand = LogisticRegression(max_iter=1000).fit(X[SOURCE], Y[SOURCE])
    _assert_same_classifier(_fit(nothing), by_hand, X)


def test_search_over_a_step_that_may_be_absent():
    adapter = Pipeline([("scale", PerDomain()), ("coral", CORAL())])
    search = GridSearchCV(
        TransferClassifier(SVC(), adapter),
        {"adapter__scale": ["passthrough", PerDomain()]},
        cv=KFold(3, shuffle=True, random_state=0),
        error_score="raise",
    ).fit(X, Y, sample_domain=IDS)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


class _ForgetsWeights(FixedWeights):
    def fit(self, X, y=None, *, sample_domain=None):
        return self


@pytest.mark.parametrize(
    "adapter",
    [
        LogisticRegression(),
        _ForgetsWeights(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        make_pipeline(PerDomain(), make_pipeline(StandardScaler(), KMM())),
    ],
    ids=["predictor", "no weights_", "ends in a predictor", "nested weighter"],
)
def test_what_is_no_adapter_is_refused(adapter):
    with pytest.raises(ValueError, match="is no adapter") as error:
        _fit(TransferClassifier(adapter=adapter))
    assert "weights_" in str(error.value)
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------------------
# Estimators
# ---------------------------------------------------------------------------


def test_pipeline_as_estimator_weighs_its_last_step():
    weights = np.linspace(0.5, 1.5, SOURCE.sum())
    rows = StandardScaler().fit_transform(X[SOURCE])
    by_hand = LogisticRegression().fit(rows, Y[SOURCE], sample_weight=weights)
    model = _fit(
        TransferClassifier(
            make_pipeline(StandardScaler(), LogisticRegression()),
            FixedWeights(weights),
        )
    )
    np.testing.assert_allclose(model.estimator_[-1].coef_, by_hand.coef_, rtol=1e-10)


@pytest.mark.parametrize("routing", [False, True])
def test_search_as_estimator_gets_the_weights(routing):
    weights = np.linspace(0.5, 1.5, SOURCE.sum())
    # With a split that leaves no choice the search must equal its estimator.
    search = GridSearchCV(
        LogisticRegression(),
        {"C": [0.5]},
        cv=PredefinedSplit(np.arange(SOURCE.sum()) % 2),
    )
    by_hand = LogisticRegression(C=0.5).fit(X[SOURCE], Y[SOURCE], weights)
    with config_context(enable_metadata_routing=routing):
        model = _fit(TransferClassifier(search, FixedWeights(weights)))
    np.testing.assert_allclose(
        model.estimator_.best_estimator_.coef_, by_hand.coef_, rtol=1e-10
    )


def _logistic(weights):
    return LogisticRegression().fit(X[SOURCE], Y[SOURCE], weights)


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: VotingClassifier([("a", inner), ("b", "drop")], voting="soft"),
        lambda inner: make_pipeline(StandardScaler(), VotingClassifier([("a", inner)])),
    ],
    ids=["voting", "pipeline"],
)
@pytest.mark.parametrize(
    "inner",
    [LogisticRegression(), make_pipeline(StandardScaler(), LogisticRegression())],
    ids=["plain", "pipeline"],
)
def test_meta_estimators_hand_the_weights_on(wrap, inner, routing):
    """The weights are 0 on half of the rows: as good as leaving these out."""
    weights = np.repeat([1.0, 0.0], SOURCE.sum() / 2)
    kept = np.flatnonzero(SOURCE)[: len(weights) // 2]
    # Scalers see no weights: their rows are all of them, in both models.
    scaler = StandardScaler().fit(X[SOURCE])
    scaled = isinstance(inner, Pipeline) or isinstance(wrap(inner), Pipeline)
    rows = scaler.transform(X) if scaled else X
    by_hand = LogisticRegression().fit(rows[kept], Y[kept])
    with config_context(enable_metadata_routing=routing):
        model = _fit(
            TransferClassifier(
                wrap(inner), FixedWeights(weights), normalize_weights=False
            )
        )
    np.testing.assert_array_equal(model.predict(X), by_hand.predict(rows))
    plain = LogisticRegression().fit(rows[SOURCE], Y[SOURCE])
    assert (plain.predict(rows) != by_hand.predict(rows)).any()


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("domains", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_weights_of_one_vs_rest(routing, domains, nested):
    """scikit-learn hands them on by routing only; nobody has to set it up."""
    weights = np.where(SOURCE, np.linspace(0.2, 3.0, len(X)), 0.7)
    rows = SOURCE if domains else np.ones(len(X), bool)
    estimator = OneVsRestClassifier(LogisticRegression())
    if nested:
        estimator = GridSearchCV(
            make_pipeline(StandardScaler(), estimator),
            {"onevsrestclassifier__estimator__C": [1.0]},
            cv=KFold(2),
        )
    model = TransferClassifier(estimator)
    with config_context(enable_metadata_routing=routing), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # such as scores that failed
        if domains:
            model = _fit(model, sample_weight=weights)
        else:
            with pytest.warns(NoAdaptationWarning):
                model.fit(X, Y, weights)
    Z = StandardScaler().fit(X[rows]).transform(X) if nested else X
    by_hand = np.column_stack(
        [
            LogisticRegression()
            .fit(Z[rows], np.equal(Y, c)[rows], weights[rows])
            .predict_proba(Z)[:, 1]
            for c in (0, 1, 2)
        ]
    )
    by_hand /= by_hand.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(X), by_hand, rtol=1e-6)


def test_weights_of_a_transformed_target():
    weights = np.linspace(0.5, 1.5, SOURCE.sum())
    by_hand = Ridge().fit(X[SOURCE], VALUES[SOURCE], weights)
    for inner in (Ridge(), make_pipeline("passthrough", Ridge())):
        estimator = TransformedTargetRegressor(inner)
        model = _fit(TransferRegressor(estimator, FixedWeights(weights)), VALUES)
        np.testing.assert_allclose(model.predict(X), by_hand.predict(X), rtol=1e-8)


def test_stacking_has_predict_only_once_it_is_fitted():
    weights = np.linspace(0.5, 1.5, SOURCE.sum())
    estimator = StackingClassifier([("a", LogisticRegression())], cv=2)
    model = _fit(TransferClassifier(estimator, FixedWeights(weights)))
    inner = model.estimator_.estimators_[0]
    np.testing.assert_allclose(inner.coef_, _logistic(weights).coef_, rtol=1e-6)
    assert model.predict(X).shape == Y.shape


def test_estimator_on_a_precomputed_kernel_is_refused():
    K = rbf_kernel(X)
    for estimator in (
        SVC(kernel="precomputed"),
        make_pipeline("passthrough", SVC(kernel="precomputed")),
        KNeighborsClassifier(metric="precomputed"),
    ):
        with pytest.raises(ValueError, match="kernel or metric by name"):
            _fit(TransferClassifier(estimator), X=K)


def test_adapter_on_a_precomputed_kernel_in_a_search():
    """Folds cut the columns of the kernel as well as its rows."""
    K = rbf_kernel(X)
    adapter = make_pipeline("passthrough", TCA(2, kernel="precomputed"))
    model = TransferClassifier(LogisticRegression(), adapter)
    assert get_tags(model).input_tags.pairwise
    assert not get_tags(TransferClassifier(adapter=TCA(2))).input_tags.pairwise
    folds = list(KFold(2, shuffle=True, random_state=0).split(X))
    scores = cross_val_score(
        model, K, Y, cv=folds, params={"sample_domain": IDS}, error_score="raise"
    )
    plain = TransferClassifier(LogisticRegression(), TCA(2, kernel="rbf", gamma=1 / 3))
    expected = cross_val_score(plain, X, Y, cv=folds, params={"sample_domain": IDS})
    np.testing.assert_allclose(scores, expected)


WITHOUT_WEIGHTS = [
    VotingClassifier([("a", LogisticRegression()), ("b", KNeighborsClassifier())]),
    OneVsRestClassifier(KNeighborsClassifier()),
    KNeighborsClassifier(),
    LinearDiscriminantAnalysis(),
    make_pipeline(StandardScaler(), KNeighborsClassifier()),
    GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [1]}),
]


@pytest.mark.parametrize("estimator", WITHOUT_WEIGHTS, ids=lambda e: type(e).__name__)
def test_estimator_without_weights_is_refused(estimator):
    """It is neither fitted without them nor on a random resample."""
    name = type(estimator).__name__
    words = f"{name} takes no sample_weight.*use an estimator that does"
    for adapter in (KMM(), make_pipeline(PerDomain(), KMM())):
        with pytest.raises(ValueError, match=words) as error:
            _fit(TransferClassifier(estimator, adapter))
        assert "KMM" in str(error.value)
        assert "LogisticRegression" in str(error.value)
    with pytest.raises(ValueError, match=words):
        _fit(TransferClassifier(estimator), sample_weight=np.ones(len(X)))
    with pytest.raises(ValueError, match=words):
        _fit(TransferClassifier(estimator, train_on="labeled", target_weight=2.0))
    with (
        pytest.warns(NoAdaptationWarning),
        pytest.raises(ValueError, match=words),
    ):
        TransferClassifier(estimator).fit(X, Y, sample_weight=np.ones(len(X)))


@pytest.mark.parametrize("estimator", WITHOUT_WEIGHTS, ids=lambda e: type(e).__name__)
def test_estimator_without_weights_takes_mapped_rows(estimator):
    model = _fit(TransferClassifier(estimator, CORAL(), train_on="labeled"))
    assert model.predict(X).shape == Y.shape


def test_regressor_without_weights_is_refused():
    with pytest.raises(ValueError, match="KNeighborsRegressor takes no sample_weight"):
        _fit(TransferRegressor(KNeighborsRegressor(), KMM()), VALUES)


def test_class_weights_and_row_weights_multiply():
    weights = np.linspace(0.5, 1.5, SOURCE.sum())
    estimator = LogisticRegression(class_weight={0: 1.0, 1: 5.0, 2: 0.2})
    model = _fit(TransferClassifier(estimator, FixedWeights(weights)))
    by_hand = clone(estimator).fit(X[SOURCE], Y[SOURCE], weights)
    np.testing.assert_allclose(model.estimator_.coef_, by_hand.coef_, rtol=1e-10)


def test_seeded_estimator():
    estimator = RandomForestClassifier(5, random_state=3)
    first, again = (_fit(TransferClassifier(estimator, KMM())) for _ in range(2))
    np.testing.assert_array_equal(first.predict_proba(X), again.predict_proba(X))


# ---------------------------------------------------------------------------
# Weights
# ---------------------------------------------------------------------------

N_SOURCE = int(SOURCE.sum())
WEIGHTS = np.random.default_rng(5).uniform(0.5, 4.0, N_SOURCE)


def test_nobody_weighs_without_need():
    assert _recorded().sample_weight_ is None
    assert _recorded(train_on="labeled").sample_weight_ is None


def test_weights_have_mean_one():
    recorder = _recorded(WEIGHTS)
    np.testing.assert_allclose(recorder.sample_weight_, WEIGHTS / WEIGHTS.mean())
    np.testing.assert_array_equal(recorder.X_, X[SOURCE])
    np.testing.assert_array_equal(recorder.y_, Y[SOURCE])


def test_weights_as_they_are():
    recorder = _recorded(WEIGHTS, normalize_weights=False)
    np.testing.assert_array_equal(recorder.sample_weight_, WEIGHTS)


def test_scale_of_the_weights_does_not_matter_unless_asked():
    small, large = _recorded(WEIGHTS), _recorded(WEIGHTS * 1e6)
    np.testing.assert_allclose(small.sample_weight_, large.sample_weight_, rtol=1e-12)


def test_weights_have_mean_one_over_labelled_rows():
    y = Y.astype(float)
    unlabelled = np.flatnonzero(SOURCE)[:7]
    y[unlabelled] = np.nan
    recorder = _recorded(WEIGHTS, y)
    np.testing.assert_allclose(
        recorder.sample_weight_, WEIGHTS[7:] / WEIGHTS[7:].mean(), rtol=1e-12
    )
    np.testing.assert_array_equal(recorder.X_, X[SOURCE][7:])


def test_weights_of_the_user_multiply():
    own = np.random.default_rng(6).uniform(0.0, 2.0, len(X))
    np.testing.assert_allclose(
        _recorded(WEIGHTS, sample_weight=own).sample_weight_,
        WEIGHTS / WEIGHTS.mean() * own[SOURCE],
    )
    np.testing.assert_array_equal(
        _recorded(sample_weight=own).sample_weight_, own[SOURCE]
    )


def test_target_weight_by_hand():
    own = np.random.default_rng(6).uniform(0.5, 2.0, len(X))
    expected = np.full(len(X), 3.0)
    expected[SOURCE] = WEIGHTS / WEIGHTS.mean()
    options = {"train_on": "labeled", "target_weight": 3.0}
    recorder = _recorded(WEIGHTS, **options)
    np.testing.assert_allclose(recorder.sample_weight_, expected)
    np.testing.assert_array_equal(recorder.X_, X)
    recorder = _recorded(WEIGHTS, sample_weight=own, **options)
    np.testing.assert_allclose(recorder.sample_weight_, expected * own)
    recorder = _recorded(**options)
    np.testing.assert_array_equal(recorder.sample_weight_, np.where(SOURCE, 1.0, 3.0))


def test_target_weight_of_equal_domains():
    """Labelled rows of both domains weigh the same, whatever the adapter says."""
    own = np.random.default_rng(6).uniform(0.5, 2.0, len(X))
    y = Y.astype(float)
    y[np.flatnonzero(~SOURCE)[::2]] = np.nan
    labelled = ~np.isnan(y)
    options = {"train_on": "labeled", "target_weight": "domain"}
    for weights, sample_weight in (
        (None, None),
        (WEIGHTS, None),
        (None, own),
        (WEIGHTS, own),
    ):
        given = _recorded(weights, y, sample_weight, **options).sample_weight_
        source = SOURCE[labelled]
        np.testing.assert_allclose(given[source].sum(), given[~source].sum())
    plain = _recorded(y=y, **options).sample_weight_
    np.testing.assert_array_equal(plain[source], 1.0)
    raw = _recorded(WEIGHTS, y, normalize_weights=False, **options).sample_weight_
    np.testing.assert_array_equal(raw[source], WEIGHTS)
    np.testing.assert_allclose(raw[~source].sum(), WEIGHTS.sum())
    for side, name in ((SOURCE, "source"), (~SOURCE, "target")):
        with pytest.raises(ValueError, match=f"rows of the {name} have no weight"):
            _recorded(None, y, np.where(side, 0.0, 1.0), **options)
    # Without labelled target rows there is nothing to weigh.
    y[~SOURCE] = np.nan
    assert _recorded(y=y, **options).sample_weight_ is None


def test_estimator_that_knows_no_routing():
    """Some of scikit-learn's estimators cannot say what metadata they take."""
    model = _fit(TransferClassifier(AdaBoostClassifier(n_estimators=3)))
    assert len(model.estimator_.estimators_) == 3


def test_labelled_target_rows_are_used():
    labelled = SOURCE.copy()
    labelled[np.flatnonzero(~SOURCE)[::3]] = True
    y = np.where(labelled, Y, np.nan)
    by_hand = LogisticRegression().fit(
        X[labelled], Y[labelled], sample_weight=np.where(SOURCE, 1.0, 2.5)[labelled]
    )
    model = _fit(
        TransferClassifier(LogisticRegression(), train_on="labeled", target_weight=2.5),
        y,
    )
    np.testing.assert_array_equal(model.estimator_.coef_, by_hand.coef_)
    without = _fit(TransferClassifier(LogisticRegression()), y)
    assert np.abs(without.estimator_.coef_ - by_hand.coef_).max() > 1e-2


def test_labelled_target_rows_may_bring_a_class():
    y = Y.copy()
    y[np.flatnonzero(~SOURCE)[:5]] = 9
    assert 9 not in _fit(TransferClassifier(), y).classes_
    assert 9 in _fit(TransferClassifier(train_on="labeled"), y).classes_


def test_target_labels_alone_are_not_enough():
    y = np.where(SOURCE, np.nan, Y)
    for train_on in ("source", "labeled"):
        with pytest.raises(ValueError, match="no labelled source row"):
            _fit(TransferClassifier(train_on=train_on), y)


def test_no_weight_at_all_is_refused():
    with pytest.raises(ValueError, match="no weight to any labelled source row.*wider"):
        _recorded(np.zeros(N_SOURCE))
    y = Y.astype(float)
    y[np.flatnonzero(SOURCE)[:3]] = np.nan
    only_unlabelled = np.repeat([1.0, 0.0], [3, N_SOURCE - 3])
    with pytest.raises(ValueError, match="no weight to any labelled source row"):
        _recorded(only_unlabelled, y)


@pytest.mark.parametrize("adapter", [None, KMM()])
@pytest.mark.parametrize("rows", [np.ones(len(X), bool), SOURCE], ids=["all", "source"])
def test_sample_weight_without_weight_is_refused(adapter, rows):
    """All zero, or zero on every row that is trained on."""
    with pytest.raises(ValueError, match="(?i)sample.weight"):
        _fit(
            TransferClassifier(adapter=adapter),
            sample_weight=np.where(rows, 0.0, 1.0),
        )


def test_rows_of_sample_weight_zero_have_no_say():
    own = np.ones(len(X))
    drop = np.flatnonzero(SOURCE)[:10]
    own[drop] = 0.0
    by_hand = Ridge().fit(np.delete(X, drop, 0)[np.delete(SOURCE, drop)],
                          np.delete(VALUES, drop)[np.delete(SOURCE, drop)])  # fmt: skip
    model = _fit(TransferRegressor(), VALUES, sample_weight=own)
    np.testing.assert_allclose(model.predict(X), by_hand.predict(X), rtol=1e-9)


@pytest.mark.parametrize("target_weight", [0.0, -1.0, "2"])
def test_target_weight_must_be_positive(target_weight):
    with pytest.raises(ValueError, match="target_weight"):
        _fit(TransferClassifier(target_weight=target_weight))


def test_class_without_weight_is_named():
    values = np.array(["blue", "green", "red"])
    y = values[Y]
    weights = np.where(Y[SOURCE] == 1, 0.0, 2.0)
    with pytest.warns(DegenerateWeightsWarning, match=r"\['green'\]") as caught:
        _recorded(weights, y)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    tiny = np.where(Y[SOURCE] == 1, 1e-9, 2.0)  # as an interior point method leaves
    with pytest.warns(DegenerateWeightsWarning, match=r"\['green'\]"):
        _recorded(tiny, y)


def test_classes_with_some_weight_are_not_named():
    with warnings.catch_warnings():
        warnings.simplefilter("error", DegenerateWeightsWarning)
        _recorded(np.where(Y[SOURCE] == 1, 0.01, 2.0))
        weights = np.where(Y[SOURCE] == 1, 0.0, 2.0)
        # Labelled target rows bring the class back; zeros of the user are his own.
        _recorded(weights, train_on="labeled")
        _recorded(np.ones(N_SOURCE), sample_weight=np.where(Y == 1, 0.0, 1.0))
        _fit(TransferRegressor(Ridge(), FixedWeights(weights)), VALUES)


def test_kernel_that_reaches_one_class_only():
    """Source at 0 (class 0) and 10 (class 1), target at 0."""
    rng = np.random.default_rng(0)
    Xs = rng.normal(0, 0.3, (100, 1)) + np.repeat([0, 10], 50)[:, None]
    rows, y, ids = stack_domains(Xs, np.repeat([0, 1], 50), rng.normal(0, 0.3, (40, 1)))
    with pytest.warns(DegenerateWeightsWarning, match=r"classes \[1\]"):
        _fit(TransferClassifier(adapter=KMM(gamma=1.0)), y, rows, ids)


# ---------------------------------------------------------------------------
# Labels and scores
# ---------------------------------------------------------------------------

LABELS = {
    "int": (np.array([4, 7, 9]), "i"),
    "negative": (np.array([-1, 0, 1]), "i"),
    "float": (np.array([1.0, 2.0, 3.0]), "i"),
    "str": (np.array(["blue", "green", "red"]), "U"),
    "bool": (np.array([False, True, True]), "b"),
    "strings of signs": (np.array(["+1", "+1", "-1"]), "U"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels(kind):
    values, dtype = LABELS[kind]
    y = values[Y]
    model = _fit(TransferClassifier(LogisticRegression(), KMM()), y)
    assert model.classes_.dtype.kind == dtype
    np.testing.assert_array_equal(model.classes_, np.unique(values))
    assert model.predict(X).dtype.kind == dtype
    by_hand = np.mean(model.predict(X[~SOURCE]) == y[~SOURCE])
    assert model.score(X, y, sample_domain=IDS) == by_hand
    assert by_hand > 0.5


def test_column_of_labels():
    with pytest.warns(UserWarning, match="1d array"):
        model = _fit(TransferClassifier(), Y[:, None])
    np.testing.assert_array_equal(
        model.predict(X), _fit(TransferClassifier()).predict(X)
    )


@pytest.mark.parametrize("domains", [False, True])
def test_labels_of_mixed_types(domains):
    """Python's ints and NumPy's are the same labels."""
    y = np.array([int(v) if i % 2 else v for i, v in enumerate(Y)], dtype=object)
    if domains:
        model = _fit(TransferClassifier(), y)
    else:
        with pytest.warns(NoAdaptationWarning):
            model = TransferClassifier().fit(X, y)
    assert model.classes_.dtype.kind == "i"
    assert model.score(X, y) == np.mean(model.predict(X) == Y)


METHODS = ["predict_proba", "predict_log_proba", "decision_function"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "estimator", [LogisticRegression(), LinearSVC(), SVC(), GaussianNB()], ids=str
)
def test_methods_are_forwarded_if_there_are_any(estimator, method):
    model = TransferClassifier(estimator, CORAL())
    assert hasattr(model, method) == hasattr(estimator, method)
    model.fit(X, Y, sample_domain=IDS)
    assert hasattr(model, method) == hasattr(estimator, method)
    if hasattr(estimator, method):
        np.testing.assert_array_equal(
            getattr(model, method)(X), getattr(model.estimator_, method)(X)
        )
        mapped = model.adapter_.transform(X, IDS)
        np.testing.assert_array_equal(
            getattr(model, method)(X, sample_domain=IDS),
            getattr(model.estimator_, method)(mapped),
        )
    else:
        with pytest.raises(AttributeError, match=method):
            getattr(model, method)


def test_regressor_has_no_probabilities():
    assert not any(hasattr(TransferRegressor(), method) for method in METHODS)


def test_score_on_one_domain_by_its_int():
    model = _fit(TransferClassifier(GaussianNB(), SubspaceAlignment(n_components=2)))
    mapped = model.adapter_.transform(X, 1)
    as_source = np.mean(model.estimator_.predict(mapped) == Y)
    assert model.score(X, Y, sample_domain=1) == as_source
    assert model.score(X, Y, sample_domain=-1) == np.mean(model.predict(X) == Y)
    assert model.score(X, Y) == model.score(X, Y, sample_domain=-1)


def test_predict_with_one_int():
    """Domain 2 is the second source: its rows are mapped as such."""
    ids = np.where(SOURCE, 1 + np.arange(len(X)) % 2, -1)
    model = _fit(TransferClassifier(GaussianNB(), PerDomain()), ids=ids)
    rows = model.adapter_.transformers_[2].transform(X)
    np.testing.assert_array_equal(
        model.predict(X, sample_domain=2), model.estimator_.predict(rows)
    )
    with pytest.raises(ValueError, match="not fitted on domain 3"):
        model.predict(X, sample_domain=3)


def test_several_targets_have_to_be_named():
    ids = np.where(SOURCE, 1, -1 - np.arange(len(X)) % 2)
    model = _fit(TransferClassifier(GaussianNB(), PerDomain()), ids=ids)
    with pytest.raises(ValueError, match="say which one the rows belong to"):
        model.predict(X)
    rows = model.adapter_.transformers_[-2].transform(X)
    np.testing.assert_array_equal(
        model.predict(X, sample_domain=-2), model.estimator_.predict(rows)
    )


def test_r2_of_the_target():
    model = _fit(TransferRegressor(adapter=KMM()), VALUES)
    truth, predicted = VALUES[~SOURCE], model.predict(X[~SOURCE])
    residual = ((truth - predicted) ** 2).sum()
    by_hand = 1 - residual / ((truth - truth.mean()) ** 2).sum()
    assert model.score(X, VALUES, sample_domain=IDS) == pytest.approx(by_hand)
    own = np.random.default_rng(0).uniform(size=len(X))
    centre = np.average(truth, weights=own[~SOURCE])
    by_hand = (
        1
        - (own[~SOURCE] * (truth - predicted) ** 2).sum()
        / (own[~SOURCE] * (truth - centre) ** 2).sum()
    )
    assert model.score(X, VALUES, own, sample_domain=IDS) == pytest.approx(by_hand)


def test_several_outputs():
    y = OUTPUTS.copy()
    y[~SOURCE] = np.nan
    kmm = KMM().fit(X, sample_domain=IDS)
    weights = kmm.weights_ / kmm.weights_.mean()
    by_hand = Ridge().fit(X[SOURCE], OUTPUTS[SOURCE], sample_weight=weights)
    model = _fit(TransferRegressor(adapter=KMM()), y)
    np.testing.assert_allclose(model.predict(X), by_hand.predict(X), rtol=1e-9)
    assert model.score(X, OUTPUTS, sample_domain=IDS) == pytest.approx(
        by_hand.score(X[~SOURCE], OUTPUTS[~SOURCE])
    )


def test_row_with_one_missing_output_is_unlabelled():
    y = OUTPUTS.copy()
    missing = np.flatnonzero(SOURCE)[4]
    y[missing, 1] = np.nan
    keep = SOURCE & (np.arange(len(X)) != missing)
    by_hand = Ridge().fit(X[keep], OUTPUTS[keep])
    np.testing.assert_allclose(
        _fit(TransferRegressor(), y).predict(X), by_hand.predict(X), rtol=1e-10
    )


def test_values_in_an_array_of_objects():
    y = VALUES.astype(object)
    y[~SOURCE] = None
    np.testing.assert_array_equal(
        _fit(TransferRegressor(), y).predict(X),
        _fit(TransferRegressor(), VALUES).predict(X),
    )


# ---------------------------------------------------------------------------
# Unlabelled source rows, no domains
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [np.nan, None])
def test_unlabelled_source_rows_shape_the_adapter_only(mark):
    some = np.flatnonzero(SOURCE)[::4]
    y = Y.astype(float if mark is np.nan else object)
    y[some] = mark
    keep = SOURCE.copy()
    keep[some] = False
    rows = CORAL().fit_transform(X, sample_domain=IDS)
    by_hand = LogisticRegression().fit(rows[keep], Y[keep])
    model = _fit(TransferClassifier(LogisticRegression(), CORAL()), y)
    np.testing.assert_array_equal(model.estimator_.coef_, by_hand.coef_)
    kmm = KMM().fit(X, sample_domain=IDS)
    weighted = _fit(TransferClassifier(LogisticRegression(), KMM()), y)
    np.testing.assert_array_equal(weighted.adapter_.weights_, kmm.weights_)


def test_supervised_adapter_step_sees_no_target_label():
    """A transformer that uses y gets that of the source, and a mark elsewhere."""

    class Spy(StandardScaler):
        def fit(self, X, y=None):
            self.seen_ = y
            return super().fit(X)

    model = _fit(TransferClassifier(adapter=Spy()))
    np.testing.assert_array_equal(model.adapter_.seen_[SOURCE], Y[SOURCE])
    assert np.isnan(model.adapter_.seen_[~SOURCE]).all()
    model = _fit(TransferClassifier(adapter=Spy(), train_on="labeled"))
    np.testing.assert_array_equal(model.adapter_.seen_, Y)


@pytest.mark.parametrize("adapter", [None, KMM(), CORAL()])
def test_without_domains_the_estimator_is_fitted_on_all_rows(adapter):
    with pytest.warns(NoAdaptationWarning, match="TransferClassifier.*sample_domain"):
        model = TransferClassifier(LogisticRegression(), adapter).fit(X, Y)
    assert model.adapter_ is None
    _assert_same_classifier(model, LogisticRegression().fit(X, Y), X)
    own = np.linspace(0, 1, len(X))
    with pytest.warns(NoAdaptationWarning):
        model = TransferClassifier(LogisticRegression(), adapter).fit(X, Y, own)
    _assert_same_classifier(model, LogisticRegression().fit(X, Y, own), X)


@pytest.mark.parametrize(
    "y",
    [np.where(SOURCE, Y, np.nan), np.where(SOURCE, Y.astype(object), None)],
    ids=["NaN", "None"],
)
def test_unlabelled_rows_without_domains_are_named(y):
    with (
        pytest.warns(NoAdaptationWarning),
        pytest.raises(ValueError, match="30 of 70 rows are unlabelled.*sample_domain"),
    ):
        TransferClassifier().fit(X, y)
    with (
        pytest.warns(NoAdaptationWarning),
        pytest.raises(ValueError, match="30 of 70 rows are unlabelled.*sample_domain"),
    ):
        TransferRegressor().fit(X, y)


# ---------------------------------------------------------------------------
# Held-out source rows
# ---------------------------------------------------------------------------


def _source_folds(ids):
    """Folds that keep all target rows and hold out source rows."""
    source, target = np.flatnonzero(ids > 0), np.flatnonzero(ids < 0)
    return [
        (np.concatenate([source[train], target]), source[test])
        for train, test in KFold(3, shuffle=True, random_state=0).split(source)
    ]


def test_held_out_source_rows_are_scored_as_what_routing_says():
    data = make_scaling(random_state=0)
    rows, y, ids = data.X, data.y, data.sample_domain
    folds = _source_folds(ids)
    model = TransferClassifier(SVC(C=0.1), PerDomain())
    by_hand = {
        domain: [
            clone(model)
            .fit(rows[train], y[train], sample_domain=ids[train])
            .score(rows[test], y[test], sample_domain=domain)
            for train, test in folds
        ]
        for domain in (1, -1)
    }
    assert np.mean(by_hand[1]) > np.mean(by_hand[-1]) + 0.1
    for routing, scoring, domain in (
        (True, None, 1),
        (True, "accuracy", -1),
        (False, None, -1),
        (False, "accuracy", -1),
    ):
        search = GridSearchCV(model, {"estimator__C": [0.1]}, cv=folds, scoring=scoring)
        with config_context(enable_metadata_routing=routing):
            search.fit(rows, y, sample_domain=ids)
            scores = cross_val_score(
                model, rows, y, cv=folds, scoring=scoring, params={"sample_domain": ids}
            )
        np.testing.assert_array_equal(scores, by_hand[domain])
        assert search.best_score_ == pytest.approx(np.mean(by_hand[domain]))


# ---------------------------------------------------------------------------
# Frames, sparse rows, tags
# ---------------------------------------------------------------------------


def test_frame_with_a_column_transformer():
    pd = pytest.importorskip("pandas")
    towns = np.array(["a", "b", "c"])[Y]
    frame = pd.DataFrame({"x": X[:, 0], "z": X[:, 1], "town": towns})
    estimator = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(), ["town"]), (StandardScaler(), ["x", "z"])
        ),
        LogisticRegression(),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = _fit(TransferClassifier(estimator), X=frame)
        by_hand = clone(estimator).fit(frame[SOURCE], Y[SOURCE])
        np.testing.assert_array_equal(
            model.predict_proba(frame), by_hand.predict_proba(frame)
        )
    assert list(model.feature_names_in_) == ["x", "z", "town"]
    assert list(model.estimator_.feature_names_in_) == ["x", "z", "town"]


def test_frame_with_a_column_transformer_as_adapter():
    """Categories become columns first; the weighter sees numbers."""
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"x": X[:, 0], "town": np.array(["a", "b", "c"])[Y]})
    adapter = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["town"]), ("passthrough", ["x"])),
        KMM(),
    )
    model = _fit(TransferClassifier(adapter=adapter), X=frame)
    assert model.score(frame, Y, sample_domain=IDS) > 0.9


def test_per_domain_scales_named_columns():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    scaler = make_column_transformer((StandardScaler(), ["a"]), remainder="passthrough")
    model = _fit(TransferClassifier(adapter=PerDomain(scaler)), X=frame)
    reference = X.copy()
    for rows in (SOURCE, ~SOURCE):
        column = X[rows, 0]
        reference[rows, 0] = (column - column.mean()) / column.std()
    by_hand = LogisticRegression(max_iter=1000).fit(reference[SOURCE], Y[SOURCE])
    np.testing.assert_allclose(
        model.predict_proba(frame, sample_domain=IDS),
        by_hand.predict_proba(reference),
        rtol=1e-8,
    )


@pytest.mark.parametrize("adapter", [None, KMM(), TCA(n_components=2)])
def test_sparse_rows(adapter):
    rows = np.where(np.abs(X) < 0.5, 0.0, X)
    model = TransferClassifier(LogisticRegression(), adapter)
    assert get_tags(model).input_tags.sparse
    dense = _fit(model, X=rows).predict_proba(rows)
    for container in (sparse.csr_array, sparse.csc_matrix):
        given = container(rows)
        np.testing.assert_allclose(
            _fit(model, X=given).predict_proba(given), dense, atol=1e-7
        )


def test_tags_are_those_of_the_parts():
    tags = get_tags(TransferClassifier(LogisticRegression()))
    assert tags.input_tags.sparse
    assert tags.classifier_tags.multi_class
    assert not tags.input_tags.allow_nan
    assert not get_tags(
        TransferClassifier(LogisticRegression(), CORAL())
    ).input_tags.sparse
    assert not get_tags(
        TransferClassifier(LinearDiscriminantAnalysis())
    ).input_tags.sparse
    assert get_tags(TransferClassifier(DecisionTreeClassifier())).input_tags.allow_nan
    assert get_tags(TransferRegressor(LinearRegression())).target_tags.multi_output


def test_tags_do_not_promise_nan_that_the_adapter_refuses():
    model = TransferClassifier(DecisionTreeClassifier(), KMM())
    assert not get_tags(model).input_tags.allow_nan
    with pytest.raises(ValueError, match="NaN"):
        _fit(model, X=np.where(np.arange(len(X))[:, None] == 3, np.nan, X))


@pytest.mark.parametrize(
    "adapter",
    [make_pipeline(SimpleImputer(), PerDomain()), PerDomain(SimpleImputer())],
    ids=["pipeline", "per domain"],
)
@pytest.mark.parametrize("frame", [False, True])
def test_nan_that_the_adapter_fills(adapter, frame):
    rows = X.copy()
    rows[::7, 0] = np.nan
    if frame:
        rows = pytest.importorskip("pandas").DataFrame(rows).add_prefix("c")
    model = TransferClassifier(LogisticRegression(), adapter)
    model = _fit(model, X=rows)
    filled = clone(adapter).fit_transform(rows, **_domains_for(adapter))
    by_hand = LogisticRegression().fit(filled[SOURCE], Y[SOURCE])
    np.testing.assert_allclose(
        model.predict_proba(rows, sample_domain=IDS), by_hand.predict_proba(filled)
    )


def test_nan_that_the_adapter_leaves_is_refused_by_the_estimator():
    """A scaler accepts NaN and passes it on: the tags promise nothing."""
    rows = np.where(np.arange(len(X))[:, None] % 7 == 3, np.nan, X)
    model = TransferClassifier(LogisticRegression(), PerDomain())
    assert not get_tags(model).input_tags.allow_nan
    with pytest.raises(ValueError, match="LogisticRegression does not accept missing"):
        _fit(model, X=rows)


def test_nan_that_the_estimator_fills():
    rows = X.copy()
    rows[::7, 0] = np.nan
    pipe = make_pipeline("passthrough", SimpleImputer(), LogisticRegression())
    model = _fit(TransferClassifier(pipe), X=rows)
    by_hand = clone(pipe).fit(rows[SOURCE], Y[SOURCE])
    np.testing.assert_array_equal(
        model.predict_proba(rows), by_hand.predict_proba(rows)
    )
    nothing = make_pipeline("passthrough", "passthrough")
    with pytest.raises(ValueError, match="NaN"):
        TransferClassifier(nothing)._check_rows(rows, reset=True)


def _domains_for(adapter):
    name = (
        "perdomain__sample_domain"
        if isinstance(adapter, Pipeline)
        else ("sample_domain")
    )
    return {name: IDS}


def test_sparse_rows_that_the_adapter_makes_dense():
    """Whether the estimator takes them is no matter then."""
    rows = sparse.csr_array(np.where(np.abs(X) < 0.5, 0.0, X))
    model = TransferClassifier(LinearDiscriminantAnalysis(), TCA(2))
    assert get_tags(model).input_tags.sparse
    assert _fit(model, X=rows).predict(rows).shape == Y.shape
    weighted = TransferClassifier(GaussianNB(), KMM())
    assert not get_tags(weighted).input_tags.sparse


@pytest.mark.filterwarnings("ignore::skadapt.NoAdaptationWarning")
@pytest.mark.parametrize("estimator", [DecisionTreeClassifier(random_state=0)])
@pytest.mark.parametrize("adapter", [None, KMM()])
def test_check_estimator_with_other_estimators(estimator, adapter):
    check_estimator(TransferClassifier(estimator, adapter), on_skip=None)


def test_nan_goes_through_to_an_estimator_that_takes_it():
    rows = X.copy()
    rows[np.flatnonzero(SOURCE)[0], 1] = np.nan
    model = _fit(TransferClassifier(DecisionTreeClassifier(random_state=0)), X=rows)
    by_hand = DecisionTreeClassifier(random_state=0).fit(rows[SOURCE], Y[SOURCE])
    np.testing.assert_array_equal(model.predict(X), by_hand.predict(X))


# ---------------------------------------------------------------------------
# What it is for
# ---------------------------------------------------------------------------


def _gain(data, estimator, adapter):
    """Target accuracy with the adapter, less that without."""
    target = data.sample_domain < 0
    y = np.where(target, np.nan, data.y)
    scores = [
        TransferClassifier(estimator, part)
        .fit(data.X, y, sample_domain=data.sample_domain)
        .score(data.X[target], data.y[target])
        for part in (adapter, None)
    ]
    return scores[0] - scores[1]


def _mean_gain(make, estimator, adapter, n=5, **options):
    return np.mean(
        [_gain(make(random_state=i, **options), estimator, adapter) for i in range(n)]
    )


def test_weights_help_under_covariate_shift():
    gain = _mean_gain(
        make_covariate_shift,
        LogisticRegression(),
        KMM(),
        n_source=300,
        n_target=300,
        shift=1.5,
    )
    assert gain > 0.05


def test_scaling_per_domain_undoes_scales():
    assert _mean_gain(make_scaling, LogisticRegression(), PerDomain()) > 0.1


def test_weights_help_regression():
    rng = np.random.default_rng(0)
    Xs, Xt = rng.normal(0.5, 0.5, (150, 1)), rng.normal(0.0, 0.3, (150, 1))

    def curve(x):
        return x[:, 0] ** 3 - x[:, 0]

    rows, y, ids = stack_domains(Xs, curve(Xs), Xt)
    scores = [
        TransferRegressor(LinearRegression(), adapter)
        .fit(rows, y, sample_domain=ids)
        .score(Xt, curve(Xt))
        for adapter in (KMM(), None)
    ]
    assert scores[0] > scores[1] + 0.2


@pytest.mark.parametrize(
    "inner", [LabelShiftEM(), make_pipeline(PerDomain(), LogisticRegression())]
)
def test_estimator_that_adapts_by_itself_is_refused(inner):
    X, ids = np.random.default_rng(0).normal(size=(20, 2)), np.repeat([1, -1], 10)
    with pytest.raises(ValueError, match="fit it by itself"):
        TransferClassifier(inner).fit(X, np.tile([0, 1], 10), sample_domain=ids)
