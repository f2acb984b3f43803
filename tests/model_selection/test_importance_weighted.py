"""Importance-weighted cross-validation against its formula and scikit-learn's own.

With folds T_k of the labelled source rows and w = p_target / p_source the scores are
``1/|T_k| sum_{i in T_k} w(x_i) score(y_i, f_-k(x_i))``. The formula is stated again
here, rows and folds included; nothing is taken from the package but its answers.
"""

import pickle
import warnings
from functools import cache

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.cluster import KMeans
from sklearn.ensemble import AdaBoostClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    LeaveOneGroupOut,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skadapt import (
    CORAL,
    KLIEP,
    KMM,
    BaseWeighter,
    DegenerateWeightsWarning,
    PerDomain,
    SourceKFold,
    TransferClassifier,
    TransferRegressor,
    importance_weighted_cv_score,
    importance_weighted_scorer,
)

both_routings = pytest.mark.parametrize("routing", [False, True])


def _data(seed=0, n_source=60, n_target=40):
    """Rows of two sources and a target in any order, all labelled (0, 1)."""
    rng = np.random.default_rng(seed)
    sizes = [n_source // 2, n_source - n_source // 2, n_target]
    ids = rng.permutation(np.repeat([1, 3, -1], sizes))
    X = rng.normal(size=(len(ids), 3))
    X[ids == 3] += [0.0, 0.5, 0.0]
    X[ids < 0] += [0.8, 0.0, -0.4]
    y = (X[:, 0] - X[:, 1] ** 2 + 0.7 * rng.normal(size=len(ids)) > -0.6).astype(int)
    return X, y, ids


X, Y, IDS = _data()
SOURCE = IDS > 0
ROWS = np.flatnonzero(SOURCE)
XS, YS = X[SOURCE], Y[SOURCE]
VALUES = X[:, 0] - X[:, 1] ** 2
HIDDEN = np.where(SOURCE, Y, np.nan)


def ratio(X):
    """A ratio of Gaussians, up to a constant that is not 1."""
    return 0.6 * np.exp(0.8 * X[:, 0] - 0.4 * X[:, 2])


WEIGHTS = ratio(XS)


class KnownRatio(BaseWeighter):
    """A weighter that is told the ratio, and counts its fits."""

    _parameter_constraints = {
        **BaseWeighter._parameter_constraints,
        "ratio": [callable],
    }
    fits = 0

    def __init__(self, ratio=ratio, *, flatten=1.0, clip=None):
        self.ratio = ratio
        self.flatten = flatten
        self.clip = clip

    def _fit_weights(self, X, source, target):
        type(self).fits += 1
        self.rows_ = X
        return self.ratio(X[source])


def _score(estimator, y=Y, X=X, ids=IDS, **arguments):
    return importance_weighted_cv_score(estimator, X, y, sample_domain=ids, **arguments)


# ---------------------------------------------------------------------------
# The formula
# ---------------------------------------------------------------------------

FOLDS = KFold(7, shuffle=True, random_state=0)  # 60 rows: folds of 8 and 9


def _by_hand(fit_predict, loss, weights, divide, folds=FOLDS):
    """Scores of all folds; `fit_predict` is given rows of X, ascending."""
    scores = []
    for train, test in folds.split(XS):
        train = np.sort(np.concatenate([ROWS[train], np.flatnonzero(~SOURCE)]))
        losses = loss(ROWS[test], fit_predict(train, ROWS[test]))
        total = {
            None: len(test),
            "all": len(test) * np.mean(weights),
            "fold": np.sum(weights[test]),
        }[divide]
        scores.append(np.sum(weights[test] * losses) / total)
    return scores


def _kmm_logistic(train, test):
    kmm = KMM(flatten=0.5).fit(X[train], sample_domain=IDS[train])
    source = train[SOURCE[train]]
    weights = kmm.weights_ / kmm.weights_.mean()
    return (
        LogisticRegression().fit(X[source], Y[source], weights).predict_proba(X[test])
    )


@pytest.mark.parametrize("divide", ["all", "fold", None])
@pytest.mark.parametrize("scoring", ["accuracy", "neg_log_loss"])
def test_formula_with_an_adapter_that_is_fitted_in_each_fold(scoring, divide):
    def loss(rows, proba):
        if scoring == "accuracy":
            return proba.argmax(axis=1) == Y[rows]
        return np.log(proba[np.arange(len(rows)), Y[rows]])

    scores = _score(
        TransferClassifier(LogisticRegression(), KMM(flatten=0.5)),
        HIDDEN,
        weights=WEIGHTS,
        scoring=scoring,
        cv=FOLDS,
        self_normalized=divide,
    )
    expected = _by_hand(_kmm_logistic, loss, WEIGHTS, divide)
    np.testing.assert_allclose(scores, expected, rtol=1e-7)
    plain = _by_hand(_kmm_logistic, loss, np.ones(len(ROWS)), divide)
    assert np.abs(np.subtract(scores, plain)).max() > 1e-2


@pytest.mark.parametrize("divide", ["all", "fold", None])
def test_formula_with_any_estimator(divide):
    def fit_predict(train, test):
        source = train[SOURCE[train]]
        return Ridge().fit(X[source], VALUES[source]).predict(X[test])

    def loss(rows, predicted):
        return -((VALUES[rows] - predicted) ** 2)

    scores = _score(
        Ridge(),
        np.where(SOURCE, VALUES, np.nan),
        weights=WEIGHTS,
        scoring="neg_mean_squared_error",
        cv=FOLDS,
        self_normalized=divide,
    )
    expected = _by_hand(fit_predict, loss, WEIGHTS, divide)
    np.testing.assert_allclose(scores, expected, rtol=1e-12)


def test_scale_of_the_weights():
    def scores(factor, divide):
        return _score(
            LogisticRegression(), weights=factor * WEIGHTS, self_normalized=divide
        )

    for divide in ("all", "fold"):
        np.testing.assert_allclose(scores(7, divide), scores(1, divide), rtol=1e-12)
    np.testing.assert_allclose(scores(7, None), 7 * scores(1, None), rtol=1e-12)
    np.testing.assert_allclose(
        scores(1, "all"), scores(1, None) / WEIGHTS.mean(), rtol=1e-12
    )


def test_a_score_that_is_no_mean_counts_by_the_weight_of_its_fold():
    scores = _score(Ridge(), VALUES, weights=WEIGHTS, scoring="r2", cv=FOLDS)
    by_fold = _score(
        Ridge(), VALUES, weights=WEIGHTS, scoring="r2", cv=FOLDS, self_normalized="fold"
    )
    shares = [WEIGHTS[test].mean() / WEIGHTS.mean() for _, test in FOLDS.split(XS)]
    np.testing.assert_allclose(scores, by_fold * shares, rtol=1e-12)


def test_folds_without_weight_score_nothing():
    weights = WEIGHTS.copy()
    weights[:20] = 0
    scores = _score(Ridge(), VALUES, weights=weights, cv=KFold(6))
    np.testing.assert_array_equal(scores[:2], 0)
    assert (scores[2:] != 0).all()
    with pytest.raises(ValueError, match="fewer folds"):
        _score(Ridge(), VALUES, weights=weights, cv=KFold(6), self_normalized="fold")


# ---------------------------------------------------------------------------
# Limits
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("divide", ["all", "fold", None])
@pytest.mark.parametrize("scoring", [None, "accuracy", "neg_log_loss", "roc_auc"])
@pytest.mark.parametrize("transfer", [False, True])
def test_weights_of_one_are_cross_val_score_classifier(transfer, scoring, divide):
    inner = LogisticRegression()
    forms = [HIDDEN, Y, np.array(["no", "yes"])[Y], Y.astype(bool)]
    for y in forms if divide == "all" else forms[:1]:
        scores = _score(
            TransferClassifier(inner) if transfer else inner,
            y,
            weights=np.ones(len(ROWS)),
            scoring=scoring,
            self_normalized=divide,
        )
        expected = cross_val_score(inner, XS, y[SOURCE], scoring=scoring)
        np.testing.assert_array_equal(scores, expected)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "scoring",
    [None, "neg_mean_squared_error", "neg_mean_absolute_error", "explained_variance"],
)
@pytest.mark.parametrize("outputs", [1, 2])
def test_weights_of_one_are_cross_val_score_regressor(scoring, dtype, outputs):
    y = VALUES if outputs == 1 else np.column_stack([VALUES, X[:, 2] ** 3])
    rows, y = X.astype(dtype), y.astype(dtype)
    arguments = {"scoring": scoring, "cv": KFold(4, shuffle=True, random_state=0)}
    scores = _score(Ridge(), y, rows, weights=np.ones(len(X)), **arguments)
    np.testing.assert_array_equal(
        scores, cross_val_score(Ridge(), rows[SOURCE], y[SOURCE], **arguments)
    )
    if dtype == np.float64:
        transfer = TransferRegressor(Ridge())
        np.testing.assert_array_equal(
            _score(transfer, y, rows, weights=np.ones(len(X)), **arguments), scores
        )


def test_estimators_that_refuse_to_be_routed():
    """Some of scikit-learn's say so with an error, and take no domains."""
    inner = AdaBoostClassifier(n_estimators=3, random_state=0)
    scores = _score(inner, weights=np.ones(len(ROWS)))
    np.testing.assert_array_equal(scores, cross_val_score(inner, XS, YS))
    scorer = importance_weighted_scorer(weights=ratio)
    fitted = inner.fit(XS, YS)
    expected = np.mean(WEIGHTS * (fitted.predict(XS) == YS))
    assert scorer(fitted, XS, YS) == pytest.approx(expected)


def test_weights_that_differ_from_one_differ_from_cross_val_score():
    scores = _score(LogisticRegression(), weights=WEIGHTS)
    assert (scores != cross_val_score(LogisticRegression(), XS, YS)).all()


@pytest.mark.parametrize(
    "estimator, y",
    [(LogisticRegression(), Y), (Ridge(), VALUES), (LinearRegression(), VALUES)],
)
def test_fully_flattened_training_is_unweighted_training(estimator, y):
    transfer = TransferRegressor if y is VALUES else TransferClassifier
    scores = _score(transfer(estimator, KnownRatio(flatten=0.0)), y)
    np.testing.assert_array_equal(scores, _score(estimator, y, weights=WEIGHTS))
    np.testing.assert_array_equal(
        scores, _score(transfer(estimator), y, weights=WEIGHTS)
    )
    assert (scores != _score(transfer(estimator, KnownRatio()), y)).any()


# ---------------------------------------------------------------------------
# Labels, rows, folds
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("train_on", ["source", "labeled"])
@pytest.mark.parametrize("strings", [False, True])
def test_target_labels_change_nothing(train_on, strings):
    model = TransferClassifier(LogisticRegression(), KMM(), train_on=train_on)
    y = np.array(["no", "yes"], dtype=object)[Y] if strings else Y.astype(float)
    scores = _score(model, y)
    for label in (None, "other") if strings else (np.nan, 5.0):
        scrambled = y.copy()
        scrambled[~SOURCE] = label
        np.testing.assert_array_equal(_score(model, scrambled), scores)
    scrambled = y.copy()
    scrambled[~SOURCE] = np.random.default_rng(0).permutation(y[~SOURCE])
    np.testing.assert_array_equal(_score(model, scrambled), scores)
    np.testing.assert_array_equal(
        _score(LogisticRegression(), scrambled, weights=WEIGHTS),
        _score(LogisticRegression(), y, weights=WEIGHTS),
    )


def test_unlabelled_source_rows_shape_the_weights_and_are_not_scored():
    y = HIDDEN.copy()
    dropped = ROWS[::3]
    y[dropped] = np.nan
    labelled = np.setdiff1d(ROWS, dropped)
    model = TransferClassifier(LogisticRegression(), KMM())
    expected = []
    for train, test in KFold(4).split(labelled):
        kept = np.setdiff1d(np.arange(len(X)), labelled[test])
        kmm = KMM().fit(X[kept], sample_domain=IDS[kept])
        trained = np.isin(kept[SOURCE[kept]], labelled[train])
        predicted = (
            LogisticRegression()
            .fit(
                X[labelled[train]],
                Y[labelled[train]],
                kmm.weights_[trained] / kmm.weights_[trained].mean(),
            )
            .predict(X[labelled[test]])
        )
        right = predicted == Y[labelled[test]]
        expected.append(np.mean(ratio(X[labelled[test]]) * right))
    for weights in (WEIGHTS, ratio(X)):
        scores = _score(model, y, weights=weights, cv=KFold(4), self_normalized=None)
        np.testing.assert_allclose(scores, expected, rtol=1e-12)
    # Of the plain estimator nothing is left of these rows.
    without = np.setdiff1d(np.arange(len(X)), dropped)
    np.testing.assert_array_equal(
        _score(LogisticRegression(), y, weights=ratio(X)),
        _score(
            LogisticRegression(),
            y[without],
            X[without],
            IDS[without],
            weights=ratio(X[without]),
        ),
    )


@pytest.mark.parametrize("adapter", [CORAL(), PerDomain()])
def test_held_out_rows_are_predicted_as_rows_of_their_source(adapter):
    def fit_predict(train, test):
        mapper = clone(adapter).fit(X[train], sample_domain=IDS[train])
        Z = mapper.transform(X[train], IDS[train])[SOURCE[train]]
        model = LogisticRegression().fit(Z, Y[train[SOURCE[train]]])
        as_target = model.predict_proba(mapper.transform(X[test], -1))
        proba = model.predict_proba(mapper.transform(X[test], IDS[test]))
        assert np.abs(proba - as_target).max() > 0.005
        return proba

    def loss(rows, proba):
        return np.log(proba[np.arange(len(rows)), Y[rows]])

    model = TransferClassifier(LogisticRegression(), adapter)
    expected = _by_hand(fit_predict, loss, WEIGHTS, "all")
    arguments = {"weights": WEIGHTS, "scoring": "neg_log_loss", "cv": FOLDS}
    np.testing.assert_allclose(_score(model, **arguments), expected, rtol=1e-8)
    pipeline = make_pipeline("passthrough", model)
    np.testing.assert_allclose(_score(pipeline, **arguments), expected, rtol=1e-8)


def test_rows_in_another_order():
    order = np.random.default_rng(5).permutation(len(X))
    place = np.argsort(order)  # of old rows in the new order
    new_source = np.flatnonzero(IDS[order] > 0)
    splits = list(KFold(4).split(XS))
    moved = [
        tuple(np.searchsorted(new_source, np.sort(place[ROWS[part]])) for part in split)
        for split in splits
    ]
    model = TransferClassifier(LogisticRegression(), KMM())
    np.testing.assert_allclose(
        _score(
            model,
            Y[order],
            X[order],
            IDS[order],
            weights=ratio(X[order]),
            scoring="neg_log_loss",
            cv=moved,
        ),
        _score(model, weights=ratio(X), scoring="neg_log_loss", cv=splits),
        rtol=1e-6,
    )


def test_forms_of_cv():
    model = TransferClassifier(LogisticRegression(), KnownRatio())
    expected = _score(model, cv=KFold(3))
    for cv in (list(KFold(3).split(XS)), SourceKFold(3)):
        np.testing.assert_array_equal(_score(model, cv=cv), expected)
    np.testing.assert_array_equal(
        _score(model, cv=3), _score(model, cv=StratifiedKFold(3))
    )
    np.testing.assert_array_equal(
        _score(model, cv=SourceKFold(3, stratify=True)), _score(model, cv=3)
    )
    regressor = TransferRegressor(Ridge(), KnownRatio())
    np.testing.assert_array_equal(
        _score(regressor, VALUES, cv=3), _score(regressor, VALUES, cv=KFold(3))
    )
    # A source held out at a time.
    one_source = LeaveOneGroupOut().split(XS, groups=IDS[SOURCE])
    assert len(_score(model, cv=one_source)) == 2


def test_several_jobs_give_the_same():
    model = TransferClassifier(LogisticRegression(), KMM())
    np.testing.assert_array_equal(_score(model, n_jobs=2), _score(model))


def test_containers_give_the_same():
    pd = pytest.importorskip("pandas")
    model = TransferClassifier(LogisticRegression(), KMM())
    expected = _score(model, HIDDEN)
    frame = pd.DataFrame(X, columns=list("abc"), index=np.arange(len(X)) + 1000)
    series = pd.Series(HIDDEN, index=frame.index)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # about names of features, above all
        np.testing.assert_array_equal(_score(model, series, frame), expected)
    np.testing.assert_array_equal(
        _score(model, HIDDEN.tolist(), X.tolist(), IDS.tolist()), expected
    )
    np.testing.assert_allclose(_score(model, HIDDEN, csr_array(X)), expected, rtol=1e-7)


def test_inputs_stay_untouched():
    given = [X.copy(), HIDDEN.copy(), IDS.copy(), WEIGHTS.copy()]
    for array in given:
        array.setflags(write=False)
    model = TransferClassifier(LogisticRegression(), KMM())
    rows, y, ids, weights = given
    scores = _score(model, y, rows, ids, weights=weights)
    np.testing.assert_array_equal(scores, _score(model, HIDDEN, weights=WEIGHTS))
    assert not hasattr(model, "estimator_")
    kliep = KLIEP(gamma=0.1, random_state=0)
    _score(model, weighter=kliep)
    assert not hasattr(kliep, "ratio_")


# ---------------------------------------------------------------------------
# Where the weights come from
# ---------------------------------------------------------------------------


def test_weights_for_source_rows_or_for_all_rows():
    model = LogisticRegression()
    every = ratio(X)
    every[~SOURCE] = np.nan
    np.testing.assert_array_equal(
        _score(model, weights=every), _score(model, weights=WEIGHTS)
    )
    np.testing.assert_array_equal(
        _score(model, weights=WEIGHTS.tolist()), _score(model, weights=WEIGHTS)
    )


@pytest.mark.parametrize("parameters", [{}, {"flatten": 0.3}, {"clip": 0.9}])
def test_the_weights_of_the_adapter_before_it_tempers_them(parameters):
    model = TransferClassifier(LogisticRegression(), KMM(**parameters))
    kmm = KMM().fit(X, sample_domain=IDS)
    np.testing.assert_array_equal(_score(model), _score(model, weights=kmm.ratio_))
    assert np.ptp(kmm.ratio_) > 1


def test_the_weighter_is_fitted_once_on_all_rows():
    model = TransferClassifier(LogisticRegression(), KnownRatio(), train_on="source")
    KnownRatio.fits = 0
    _score(model, cv=5)
    assert KnownRatio.fits == 6
    KnownRatio.fits = 0
    scores = _score(LogisticRegression(), weighter=KnownRatio(flatten=0.2), cv=5)
    assert KnownRatio.fits == 1
    np.testing.assert_array_equal(
        scores, _score(LogisticRegression(), weights=WEIGHTS, cv=5)
    )


def test_the_weights_of_mapped_rows():
    """w is the ratio of what the estimator sees."""
    scaled = StandardScaler().fit_transform(X)
    mapped = PerDomain().fit_transform(scaled, sample_domain=IDS)
    kmm = KMM().fit(mapped, sample_domain=IDS)
    arguments = {"scoring": "neg_log_loss"}
    inner = TransferClassifier(
        LogisticRegression(), make_pipeline(StandardScaler(), PerDomain(), KMM())
    )
    outer = make_pipeline(
        StandardScaler(),
        TransferClassifier(LogisticRegression(), make_pipeline(PerDomain(), KMM())),
    )
    for model in (inner, outer):
        np.testing.assert_array_equal(
            _score(model, **arguments), _score(model, weights=kmm.ratio_, **arguments)
        )
    # One that is given sees the rows as they are, or through its own mappers.
    raw = KMM().fit(X, sample_domain=IDS)
    np.testing.assert_array_equal(
        _score(outer, weighter=KMM(), **arguments),
        _score(outer, weights=raw.ratio_, **arguments),
    )
    np.testing.assert_array_equal(
        _score(
            LogisticRegression(),
            weighter=make_pipeline(StandardScaler(), PerDomain(), KMM()),
            **arguments,
        ),
        _score(LogisticRegression(), weights=kmm.ratio_, **arguments),
    )


@pytest.mark.parametrize(
    "estimator, rows",
    [
        (LogisticRegression(), lambda: X),
        (make_pipeline(StandardScaler(), LogisticRegression()), lambda: X),
        (TransferClassifier(LogisticRegression()), lambda: X),
        (
            TransferClassifier(LogisticRegression(), CORAL()),
            lambda: CORAL().fit_transform(X, sample_domain=IDS),
        ),
        (
            make_pipeline(StandardScaler(), TransferClassifier(LogisticRegression())),
            lambda: StandardScaler().fit_transform(X),
        ),
    ],
    ids=["plain", "plain pipeline", "no adapter", "mapper", "pipeline"],
)
def test_kliep_where_there_is_no_weighter(estimator, rows):
    kliep = KLIEP(random_state=4).fit(rows(), sample_domain=IDS)
    np.testing.assert_array_equal(
        _score(estimator, random_state=4), _score(estimator, weights=kliep.ratio_)
    )


def test_a_weighter_that_knows_no_ratio_gives_its_weights():
    class Foreign(BaseEstimator):
        def fit(self, X, y=None, *, sample_domain=None):
            self.weights_ = ratio(X[sample_domain > 0])
            return self

    np.testing.assert_array_equal(
        _score(LogisticRegression(), weighter=Foreign()),
        _score(LogisticRegression(), weights=WEIGHTS),
    )


def test_weights_on_hardly_any_row_warn_once_and_blame_no_fit():
    rng = np.random.default_rng(0)
    rows = np.vstack([rng.normal(size=(200, 1)), rng.normal(5, 0.3, size=(50, 1))])
    ids, y = np.repeat([1, -1], [200, 50]), rows[:, 0] ** 2
    weights = np.full(200, 1e-6)
    weights[:3] = 1
    spiky = KnownRatio(lambda X: weights)
    for arguments in ({"weights": weights}, {"weighter": spiky}):
        with pytest.warns(DegenerateWeightsWarning, match="3.0 of 200") as caught:
            _score(Ridge(), y, rows, ids, **arguments)
        assert len(caught) == 1
        assert caught[0].filename == __file__, "the warning points to the caller"
    weights[:8] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _score(Ridge(), y, rows, ids, weights=weights)


# ---------------------------------------------------------------------------
# Refusals
# ---------------------------------------------------------------------------


class Odd(BaseEstimator):
    """Predicts, but is neither classifier nor regressor."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.zeros(len(X))


def _spoiled(value):
    weights = WEIGHTS.copy()
    weights[5] = value
    return weights


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"weights": WEIGHTS, "weighter": KMM()}, "Both weights and a weighter"),
        ({"weights": WEIGHTS[:-1]}, "60 source rows, or for each of the 100 rows"),
        ({"weights": WEIGHTS[:, np.newaxis]}, "weights has shape"),
        ({"weights": _spoiled(-1.0)}, "not negative"),
        ({"weights": _spoiled(np.nan)}, "finite"),
        ({"weights": _spoiled(np.inf)}, "finite"),
        ({"weights": np.zeros(60)}, "do not overlap"),
        ({"weighter": StandardScaler()}, "StandardScaler is no weighter"),
        ({"weighter": make_pipeline(KMM(), CORAL())}, "CORAL is no weighter"),
        ({"weighter": Ridge()}, "Ridge is no weighter"),
        ({"weighter": make_pipeline("passthrough")}, "Pipeline is no weighter"),
        (
            {"weights": WEIGHTS, "scoring": "adjusted_rand_score"},
            "takes no sample_weight",
        ),
        (
            {"weights": WEIGHTS, "scoring": lambda estimator, X, y: 0.0},
            "takes no sample_weight",
        ),
        ({"scoring": "no such score"}, "scoring"),
        ({"self_normalized": "source"}, "self_normalized"),
        ({"cv": 1}, "cv"),
        ({"weights": WEIGHTS, "cv": 99}, "n_splits=99"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        _score(Ridge(), VALUES, **arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "estimator, y, ids, message",
    [
        (Ridge(), VALUES, None, "sample_domain"),
        (Ridge(), VALUES, IDS[:-1], "99 entries for 100 rows"),
        (Ridge(), VALUES, np.abs(IDS), "no target row"),
        (Ridge(), VALUES[:-1], IDS, "inconsistent"),
        (Ridge(), np.where(SOURCE, np.nan, VALUES), IDS, "no labelled source row"),
        (Odd(), Y, IDS, "say which scoring"),
        (
            make_pipeline(PerDomain(), LogisticRegression()),
            Y,
            IDS,
            r"TransferClassifier\(LogisticRegression\(\), adapter\)",
        ),
    ],
)
def test_bad_input_is_refused(estimator, y, ids, message):
    with pytest.raises(ValueError, match=message):
        _score(estimator, y, ids=ids, weights=WEIGHTS)


def test_an_odd_estimator_is_scored_as_told():
    scores = _score(
        Odd(), VALUES, weights=WEIGHTS, scoring="neg_mean_squared_error", cv=KFold(3)
    )
    expected = [
        -np.mean(WEIGHTS[test] * VALUES[ROWS[test]] ** 2) / WEIGHTS.mean()
        for _, test in KFold(3).split(XS)
    ]
    np.testing.assert_allclose(scores, expected, rtol=1e-12)
    with pytest.raises(ValueError, match="must be an object implementing 'fit'"):
        _score("ridge", VALUES)


# ---------------------------------------------------------------------------
# Searches
# ---------------------------------------------------------------------------

MODEL = TransferClassifier(LogisticRegression(), KnownRatio())
GRID = {"adapter__flatten": [0.0, 0.5, 1.0], "estimator__C": [0.01, 1.0]}
CANDIDATES = [
    {"adapter__flatten": flatten, "estimator__C": C}
    for flatten in GRID["adapter__flatten"]
    for C in GRID["estimator__C"]
]


@cache
def _expected_of_model(divide):
    return _expected(self_normalized=divide)


def _expected(model=MODEL, y=Y, candidates=CANDIDATES, scoring="neg_log_loss", **given):
    """What the search must find, one candidate at a time."""
    return [
        _score(
            clone(model).set_params(**candidate),
            y,
            weights=WEIGHTS,
            scoring=scoring,
            cv=KFold(3),
            **{"self_normalized": None, **given},
        )
        for candidate in candidates
    ]


def _search(scorer, y=Y, model=MODEL, grid=GRID, X=X, **arguments):
    search = GridSearchCV(
        model, grid, cv=SourceKFold(3), scoring=scorer, error_score="raise"
    )
    return search.fit(X, y, sample_domain=IDS, groups=IDS, **arguments)


def _found(search):
    results = search.cv_results_
    return np.column_stack([results[f"split{k}_test_score"] for k in range(3)])


SCORERS = {
    "callable": lambda **given: importance_weighted_scorer(
        "neg_log_loss", weights=ratio, **given
    ),
    "source rows": lambda **given: importance_weighted_scorer(
        "neg_log_loss", weights=WEIGHTS, X=XS, **given
    ),
    "all rows": lambda **given: importance_weighted_scorer(
        "neg_log_loss", weights=ratio(X), X=X, **given
    ),
}


@both_routings
@pytest.mark.parametrize("divide", [None, "fold"])
@pytest.mark.parametrize("form", SCORERS)
def test_search_scores_as_the_function(form, divide, routing):
    with config_context(enable_metadata_routing=routing):
        search = _search(SCORERS[form](self_normalized=divide))
    expected = _expected_of_model(divide)
    np.testing.assert_allclose(_found(search), expected, rtol=1e-12)
    best = CANDIDATES[np.argmax(np.mean(expected, axis=1))]
    assert search.best_params_ == best
    fitted = clone(MODEL).set_params(**best).fit(X, Y, sample_domain=IDS)
    np.testing.assert_array_equal(search.predict_proba(X), fitted.predict_proba(X))
    plain = cross_validate(
        MODEL,
        X,
        Y,
        cv=list(SourceKFold(3).split(X, Y, IDS)),
        scoring="neg_log_loss",
        params={"sample_domain": IDS},
    )["test_score"]
    assert np.abs(plain - expected[-1]).min() > 1e-3


def test_search_routes_the_weights_and_the_domains():
    weights = ratio(X)
    weights[~SOURCE] = np.nan
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            MODEL,
            GRID,
            cv=SourceKFold(3),
            scoring=importance_weighted_scorer("neg_log_loss"),
            error_score="raise",
        ).fit(X, Y, sample_domain=IDS, importance_weight=weights)
    np.testing.assert_allclose(_found(search), _expected_of_model(None), rtol=1e-12)


@both_routings
def test_search_takes_a_list_of_splits(routing):
    search = GridSearchCV(
        MODEL,
        GRID,
        cv=list(SourceKFold(3).split(X, Y, sample_domain=IDS)),
        scoring=SCORERS["callable"](),
    )
    with config_context(enable_metadata_routing=routing):
        search.fit(X, Y, sample_domain=IDS)
    np.testing.assert_allclose(_found(search), _expected_of_model(None), rtol=1e-12)


@both_routings
def test_search_sees_no_target_label(routing):
    scorer = SCORERS["source rows"]()
    with config_context(enable_metadata_routing=routing):
        first, second = _search(scorer, Y.astype(float)), _search(scorer, HIDDEN)
    np.testing.assert_array_equal(_found(first), _found(second))


@both_routings
def test_search_over_a_mapper_predicts_source_rows_as_such(routing):
    """Domains reach the scorer with routing; CORAL needs their sign only."""
    model, grid = (
        TransferClassifier(LogisticRegression(), CORAL()),
        {"adapter__reg": [0.1, 1.0]},
    )
    candidates = [{"adapter__reg": reg} for reg in grid["adapter__reg"]]
    with config_context(enable_metadata_routing=routing):
        search = _search(SCORERS["callable"](), model=model, grid=grid)
    np.testing.assert_allclose(
        _found(search), _expected(model, candidates=candidates), rtol=1e-10
    )
    per_domain, grid = TransferClassifier(adapter=PerDomain()), {"estimator__C": [1.0]}
    per_domain.set_params(estimator=LogisticRegression())
    with config_context(enable_metadata_routing=True):
        search = _search(SCORERS["callable"](), model=per_domain, grid=grid)
    expected = _expected(per_domain, candidates=[{}])
    np.testing.assert_allclose(_found(search), expected, rtol=1e-10)


@both_routings
def test_search_over_a_pipeline(routing):
    model = make_pipeline(StandardScaler(), MODEL)
    step = "transferclassifier__"
    grid = {step + name: values for name, values in GRID.items()}
    candidates = [{step + k: v for k, v in c.items()} for c in CANDIDATES]
    search = GridSearchCV(
        model,
        grid,
        cv=SourceKFold(3),
        scoring=SCORERS["source rows"](),
        error_score="raise",
    )
    name = "sample_domain" if routing else f"{step}sample_domain"
    with config_context(enable_metadata_routing=routing):
        search.fit(X, Y, groups=IDS, **{name: IDS})
    np.testing.assert_allclose(
        _found(search), _expected(model, candidates=candidates), rtol=1e-12
    )


def test_search_over_any_estimator_is_given_the_source_alone():
    """There is no domain to route, and rows are looked up."""
    search = GridSearchCV(
        Ridge(),
        {"alpha": [0.1, 10.0]},
        cv=KFold(3),
        scoring=importance_weighted_scorer(weights=WEIGHTS, X=XS),
    ).fit(XS, VALUES[SOURCE])
    expected = _expected(
        Ridge(), VALUES, [{"alpha": 0.1}, {"alpha": 10.0}], scoring="r2"
    )
    np.testing.assert_allclose(_found(search), expected, rtol=1e-12)


@both_routings
def test_search_with_several_scorers_and_row_weights(routing):
    row_weights = np.random.default_rng(3).uniform(0.5, 2.0, len(X))
    model = TransferClassifier(LogisticRegression(), KnownRatio())
    with config_context(enable_metadata_routing=routing):
        if routing:
            model.set_fit_request(sample_weight=True)
        search = GridSearchCV(
            model,
            {"estimator__C": [1.0]},
            cv=SourceKFold(3),
            scoring={
                "log": importance_weighted_scorer("neg_log_loss", weights=ratio),
                "right": importance_weighted_scorer(weights=ratio),
                "flat": importance_weighted_scorer(weights=lambda X: np.ones(len(X))),
            },
            refit="log",
            error_score="raise",
        ).fit(X, Y, sample_domain=IDS, groups=IDS, sample_weight=row_weights)
    for k, (train, test) in enumerate(SourceKFold(3).split(X, Y, IDS)):
        fitted = clone(model).fit(
            X[train], Y[train], row_weights[train], sample_domain=IDS[train]
        )
        u, w = row_weights[test], ratio(X[test])
        proba = fitted.predict_proba(X[test])
        right = proba.argmax(axis=1) == Y[test]
        expected = {
            "log": np.sum(u * w * np.log(proba[np.arange(len(test)), Y[test]])),
            "right": np.sum(u * w * right),
            "flat": np.sum(u * right),
        }
        for name, total in expected.items():
            found = search.cv_results_[f"split{k}_test_{name}"][0]
            assert found == pytest.approx(total / np.sum(u), rel=1e-12)


def test_search_in_several_processes():
    scorer = importance_weighted_scorer("neg_log_loss", weights=WEIGHTS, X=XS)
    search = GridSearchCV(MODEL, GRID, cv=SourceKFold(3), scoring=scorer, n_jobs=2)
    search.fit(X, Y, sample_domain=IDS, groups=IDS)
    np.testing.assert_allclose(_found(search), _expected_of_model(None), rtol=1e-12)
    again = pickle.loads(pickle.dumps(scorer))
    model = clone(MODEL).fit(X, Y, sample_domain=IDS)
    assert again(model, XS, YS) == scorer(model, XS, YS)


# ---------------------------------------------------------------------------
# The scorer by itself
# ---------------------------------------------------------------------------

FITTED = clone(MODEL).fit(X, Y, sample_domain=IDS)


def test_scorer_is_a_weighted_mean():
    right = FITTED.predict(XS) == YS
    scorer = importance_weighted_scorer(weights=ratio)
    assert scorer(FITTED, XS, YS) == pytest.approx(np.mean(WEIGHTS * right))
    scorer = importance_weighted_scorer(
        "accuracy", weights=ratio, self_normalized="fold"
    )
    expected = accuracy_score(YS, FITTED.predict(XS), sample_weight=WEIGHTS)
    assert scorer(FITTED, XS, YS) == pytest.approx(expected)
    scorer = importance_weighted_scorer(
        "neg_log_loss", weights=lambda X: np.ones(len(X))
    )
    assert scorer(FITTED, XS, YS) == -log_loss(YS, FITTED.predict_proba(XS))
    assert repr(scorer) == "importance_weighted_scorer('neg_log_loss')"


def test_scorer_takes_labels_as_they_come():
    """Floats for NaN's sake, strings and booleans in arrays of objects."""
    for name in (None, "neg_log_loss", "roc_auc"):
        scorer = importance_weighted_scorer(name, weights=ratio)
        expected = scorer(FITTED, XS, YS)
        assert scorer(FITTED, XS, YS.astype(float)) == expected
        for labels in (np.array(["no", "yes"]), np.array([False, True])):
            y = labels.astype(object)[Y]
            model = clone(MODEL).fit(X, y, sample_domain=IDS)
            assert scorer(model, XS, y[SOURCE]) == expected


def test_equal_rows_share_the_mean_of_their_weights():
    rows = np.vstack([XS, XS[:5], XS[:5]])
    weights = np.concatenate([WEIGHTS, np.zeros(5), 2 * WEIGHTS[:5]])
    scorer = importance_weighted_scorer(weights=weights, X=rows)
    expected = importance_weighted_scorer(weights=WEIGHTS, X=XS)
    assert scorer(FITTED, XS, YS) == pytest.approx(expected(FITTED, XS, YS), rel=1e-12)


@pytest.mark.parametrize(
    "kind", ["float32", "csr", "frame", "mixed frame", "read-only"]
)
def test_rows_are_found_in_any_container(kind):
    rows = X.astype(np.float32) if kind == "float32" else X.copy()
    rows[np.abs(rows) < 0.3] = 0
    if kind == "csr":
        rows = csr_array(rows)
    elif kind.endswith("frame"):
        pd = pytest.importorskip("pandas")
        rows = pd.DataFrame(rows, columns=list("abc"))
        if kind == "mixed frame":
            rows["kind"] = pd.Categorical(np.array(["red", "blue"])[Y])
    elif kind == "read-only":
        rows.setflags(write=False)
    scorer = importance_weighted_scorer(
        "neg_mean_squared_error", weights=np.arange(1.0, 101.0), X=rows
    )
    order = np.random.default_rng(0).permutation(100)[:30]
    held_out = rows.iloc[order] if hasattr(rows, "iloc") else rows[order]

    class Zero(Odd):
        def predict(self, X):
            return np.zeros(X.shape[0])

    score = scorer(Zero(), held_out, VALUES[order])
    assert score == pytest.approx(-np.mean((order + 1) * VALUES[order] ** 2))


def test_scorer_refuses():
    with pytest.raises(ValueError, match="needs the rows X"):
        importance_weighted_scorer(weights=WEIGHTS)
    with pytest.raises(ValueError, match="leave X out"):
        importance_weighted_scorer(weights=ratio, X=XS)
    with pytest.raises(ValueError, match="leave X out"):
        importance_weighted_scorer(X=XS)
    with pytest.raises(ValueError, match="for 60 rows of X"):
        importance_weighted_scorer(weights=WEIGHTS[:-1], X=XS)
    with pytest.raises(ValueError, match="not negative"):
        importance_weighted_scorer(weights=_spoiled(-1.0), X=XS)
    for rows in (XS.astype(object), XS[:, 0]):
        with pytest.raises(ValueError, match="a matrix of numbers or a data frame"):
            importance_weighted_scorer(weights=WEIGHTS, X=rows)
    with pytest.raises(ValueError, match="'scoring' parameter"):
        importance_weighted_scorer("no such score")
    with pytest.raises(ValueError, match="'self_normalized' parameter"):
        importance_weighted_scorer(self_normalized="all")


def test_scorer_in_use_refuses():
    scorer = importance_weighted_scorer(weights=ratio)
    with pytest.raises(ValueError, match="importance_weight= to the search"):
        importance_weighted_scorer()(FITTED, XS, YS)
    with pytest.raises(ValueError, match="40 of 100 held-out rows are not among"):
        importance_weighted_scorer(weights=WEIGHTS, X=XS)(FITTED, X, Y)
    with pytest.raises(ValueError, match="use cv=SourceKFold"):
        scorer(FITTED, X, Y, sample_domain=IDS)
    with pytest.raises(ValueError, match="60 held-out rows"):
        importance_weighted_scorer(weights=lambda X: 1.0)(FITTED, XS, YS)
    with pytest.raises(ValueError, match="finite"):
        importance_weighted_scorer(weights=lambda X: -ratio(X))(FITTED, XS, YS)
    with pytest.raises(ValueError, match="say which scoring"):
        scorer(KMeans(2, n_init=1).fit(XS), XS, YS)
    with pytest.raises(ValueError, match="takes no sample_weight"):
        importance_weighted_scorer("adjusted_rand_score", weights=ratio)(FITTED, XS, YS)


# ---------------------------------------------------------------------------
# The example of Sugiyama, Krauledat and Mueller (2007)
# ---------------------------------------------------------------------------

LAMS = np.arange(11) / 10


def _toy_ratio(X):
    """N(2, 1/4^2) over N(1, 1/2^2)."""
    x = X[:, 0]
    return 2 * np.exp(((x - 1) / 0.5) ** 2 / 2 - ((x - 2) / 0.25) ** 2 / 2)


class Line(RegressorMixin, BaseEstimator):
    """A straight line by least squares with the weights w^lam."""

    def __init__(self, lam=0.0):
        self.lam = lam

    def fit(self, X, y):
        root = np.sqrt(_toy_ratio(X) ** self.lam)
        rows = np.column_stack([np.ones(len(X)), X[:, 0]])
        self.coef_ = np.linalg.lstsq(root[:, np.newaxis] * rows, root * y)[0]
        return self

    def predict(self, X):
        return self.coef_[0] + self.coef_[1] * X[:, 0]


def _negative_error(model, X, y, sample_weight=None):
    return -np.average((y - model.predict(X)) ** 2, weights=sample_weight)


def _toy(rng, n=150):
    X = np.concatenate([rng.normal(1, 0.5, n), rng.normal(2, 0.25, n)])[:, np.newaxis]
    return X, np.sinc(X[:, 0]) + rng.normal(0, 0.25, 2 * n), np.repeat([1, -1], n)


def _target_error(line):
    """Expected squared error on the target, noise included, by quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    x = 2 + 0.25 * nodes
    squares = (np.sinc(x) - line.predict(x[:, np.newaxis])) ** 2
    return 0.25**2 + weights @ squares / np.sum(weights)


def _ordinary(line, X, y):
    """Scores of unweighted cross-validation."""
    return [
        _negative_error(line.fit(X[train], y[train]), X[test], y[test])
        for train, test in KFold(10).split(X)
    ]


def test_toy_example():
    """Ordinary cross-validation never weights; the importance-weighted one does."""
    rng, n_draws = np.random.default_rng(0), 60
    chosen = {"weighted": [], "ordinary": []}
    for _ in range(n_draws):
        X, y, ids = _toy(rng)
        Xs, ys, weights = X[ids > 0], y[ids > 0], _toy_ratio(X)
        scores = {
            "weighted": [
                importance_weighted_cv_score(
                    Line(lam),
                    X,
                    y,
                    sample_domain=ids,
                    weights=weights,
                    scoring=_negative_error,
                    cv=10,
                )
                for lam in LAMS
            ],
            "ordinary": [_ordinary(Line(lam), Xs, ys) for lam in LAMS],
        }
        for name, folds in scores.items():
            best = LAMS[np.argmax(np.mean(folds, axis=1))]
            chosen[name].append(Line(best).fit(Xs, ys))
    errors = {
        name: np.mean([_target_error(line) for line in lines])
        for name, lines in chosen.items()
    }
    # Mean and standard deviation of 1,000 draws: .0794, .0246 and .363, .088.
    assert errors["weighted"] == pytest.approx(0.0794, abs=3 * 0.0246 / n_draws**0.5)
    assert errors["ordinary"] == pytest.approx(0.363, abs=3 * 0.088 / n_draws**0.5)
    assert {line.lam for line in chosen["ordinary"]} == {0.0}
    assert 0.4 < np.mean([line.lam for line in chosen["weighted"]]) < 0.7


def test_toy_example_with_a_weighter():
    """The same numbers from flattened weights of a weighter."""
    X, y, ids = _toy(np.random.default_rng(1))
    arguments = {
        "sample_domain": ids,
        "scoring": "neg_mean_squared_error",
        "cv": 10,
        "self_normalized": None,
    }
    for lam in LAMS:
        line = TransferRegressor(
            LinearRegression(), KnownRatio(_toy_ratio, flatten=lam)
        )
        np.testing.assert_allclose(
            importance_weighted_cv_score(line, X, y, **arguments),
            importance_weighted_cv_score(
                Line(lam), X, y, weights=_toy_ratio(X), **arguments
            ),
            rtol=1e-8,
        )
    line = TransferRegressor(LinearRegression(), KnownRatio(_toy_ratio))
    search = GridSearchCV(
        line,
        {"adapter__flatten": LAMS},
        cv=SourceKFold(10),
        scoring=importance_weighted_scorer(
            "neg_mean_squared_error", weights=_toy_ratio
        ),
    ).fit(X, y, sample_domain=ids, groups=ids)
    means = [
        importance_weighted_cv_score(
            clone(line).set_params(adapter__flatten=lam), X, y, **arguments
        ).mean()
        for lam in LAMS
    ]
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], means, rtol=1e-12)
    assert search.best_params_["adapter__flatten"] == LAMS[np.argmax(means)]


def test_the_estimate_is_that_of_the_target():
    """Large samples, exact weights: the error on the target, not on the source."""
    rng = np.random.default_rng(2)
    X, y, ids = _toy(rng, 20_000)
    weights = _toy_ratio(X)
    for lam in (0.0, 1.0):
        line = Line(lam).fit(X[ids > 0], y[ids > 0])
        truth = _target_error(line)
        for divide in ("all", "fold", None):
            scores = importance_weighted_cv_score(
                Line(lam),
                X,
                y,
                sample_domain=ids,
                weights=weights,
                scoring="neg_mean_squared_error",
                self_normalized=divide,
            )
            assert -scores.mean() == pytest.approx(truth, rel=0.1)
        source = mean_squared_error(y[ids > 0], line.predict(X[ids > 0]))
        assert abs(source / truth - 1) > 0.3
