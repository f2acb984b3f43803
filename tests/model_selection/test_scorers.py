"""Scorers against their formulas, stated again from what the model predicts."""

import copy
import pickle

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize_scalar
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.cluster import KMeans
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import AdaBoostClassifier
from sklearn.linear_model import LogisticRegression, Perceptron, Ridge
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.utils import get_tags

import skadapt
from skadapt import (
    CORAL,
    KMM,
    DomainKFold,
    PerDomain,
    SourceKFold,
    TransferClassifier,
    get_transfer_scorer,
    get_transfer_scorer_names,
)
from skadapt.model_selection._scores import domain_ratio, mixing_partners

SCORERS = {name: get_transfer_scorer(name) for name in get_transfer_scorer_names()}
OF_SOURCE = {"source_accuracy", "iwcv", "dev", "atc", "reverse"}
OF_TARGET = set(SCORERS) - {"source_accuracy"}
OF_COLUMNS = {"iwcv", "dev", "mixval"}
OF_LABELS = {"source_accuracy", "iwcv", "reverse"}

every_scorer = pytest.mark.parametrize("name", SCORERS)
both_routings = pytest.mark.parametrize("routing", [False, True])


def _data(seed, n_source=90, n_target=60):
    rng = np.random.default_rng(seed)
    sizes = [n_source // 2, n_source - n_source // 2, n_target]
    ids = rng.permutation(np.repeat([1, 3, -1], sizes))
    X = rng.normal(size=(len(ids), 4))
    X[ids < 0] = X[ids < 0] * [1.5, 1.0, 0.7, 1.0] + [0.5, 0.0, 0.0, -0.3]
    y = np.digitize(X[:, 0] + X[:, 1] + 0.5 * rng.normal(size=len(ids)), [-0.6, 0.9])
    return X, y, ids


TRAIN, (X, Y, IDS) = _data(0), _data(1)
SOURCE, TARGET = np.flatnonzero(IDS > 0), np.flatnonzero(IDS < 0)
HIDDEN = np.where(IDS > 0, Y, np.nan)


def _fit(model, train=TRAIN):
    rows, y, ids = train
    y = np.where(ids > 0, y, np.nan)
    with config_context(enable_metadata_routing=True):
        return clone(model).fit(rows, y, sample_domain=ids)


MODEL = _fit(TransferClassifier(LogisticRegression(), CORAL()))


def _score(name, model=MODEL, X=X, y=Y, ids=IDS):
    return SCORERS[name](model, X, y, sample_domain=ids)


# ---------------------------------------------------------------------------
# Formulas
# ---------------------------------------------------------------------------


def _softmax(scores):
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _calibrated(model):
    """Probabilities of source and target rows at the temperature of least log loss.

    True classes count (n + 1) / (n + k), others 1 / (n + k).
    """
    scores = model.decision_function(X, sample_domain=IDS)
    n, k = len(SOURCE), scores.shape[1]
    truth = (np.eye(k)[Y[SOURCE]] * n + 1) / (n + k)

    def loss(log_temperature):
        P = _softmax(scores[SOURCE] / np.exp(log_temperature))
        return -np.sum(truth * np.log(P))

    best = minimize_scalar(loss, bounds=(-5, 5), method="bounded").x
    P = _softmax(scores / np.exp(best))
    return P[SOURCE], P[TARGET]


def _entropies(P):
    return -np.sum(P * np.log(P), axis=-1)


def _formula(name):
    Q, P = _calibrated(MODEL)
    predicted = MODEL.predict(X, sample_domain=IDS)
    right = predicted[SOURCE] == Y[SOURCE]
    if name == "source_accuracy":
        return np.mean(right)
    if name in ("iwcv", "dev"):
        w = domain_ratio(X, IDS < 0)
        if name == "iwcv":
            return np.sum(w * right) / np.sum(w)
        losses = -np.log(Q[np.arange(len(Q)), Y[SOURCE]])
        eta = -np.cov(w * losses, w)[0, 1] / np.var(w, ddof=1)
        return -(np.mean(w * losses) + eta * (np.mean(w) - 1))
    if name == "entropy":
        return -_entropies(P).mean()
    if name == "information_maximization":
        return _entropies(P.mean(axis=0)) - _entropies(P).mean()
    if name == "mano":
        log_p = np.log(np.maximum(P, 1e-12))
        q = log_p - log_p.mean(axis=1, keepdims=True)
        r = 1 + q + q**2 / 2
        return np.mean((r / r.sum(axis=1, keepdims=True)) ** 4) ** 0.25
    if name == "mixval":
        first, shares = predicted[TARGET], []
        for partner in mixing_partners(X[TARGET]):
            mixed = MODEL.predict(0.55 * X[TARGET] + 0.45 * X[TARGET][partner])
            same = first == first[partner]
            shares += [np.mean((mixed == first)[pairs]) for pairs in (same, ~same)]
        return np.mean(shares)
    if name == "atc":
        sure = np.sort(Q.max(axis=1))[::-1]
        return np.mean(P.max(axis=1) >= sure[np.sum(Q.argmax(axis=1) == Y[SOURCE]) - 1])
    back = clone(MODEL).fit(X, np.where(IDS < 0, predicted, np.nan), sample_domain=-IDS)
    return np.mean(back.predict(X[SOURCE]) == Y[SOURCE])


@every_scorer
def test_formula(name):
    assert _score(name) == pytest.approx(_formula(name), rel=1e-5)
    assert isinstance(_score(name), float)


def test_held_out_source_rows_are_predicted_as_rows_of_the_source():
    """A map of each domain to mean 0, and a source that is 5 off."""
    rows, y, ids = TRAIN
    pipeline = make_pipeline(PerDomain(StandardScaler()), TransferClassifier())
    pipeline = _fit(pipeline, (rows + 5 * (ids[:, np.newaxis] == 3), y, ids))
    moved = X + 5 * (IDS[:, np.newaxis] == 3)
    found = _score("source_accuracy", pipeline, moved)
    predicted = _predict_with_domains(pipeline, moved[SOURCE], IDS[SOURCE])
    assert found == np.mean(predicted == Y[SOURCE]) > 0.7
    assert np.mean(pipeline.predict(moved[SOURCE]) == Y[SOURCE]) < 0.6


def _predict_with_domains(model, rows, ids):
    with config_context(enable_metadata_routing=True):
        return model.predict(rows, sample_domain=ids)


# ---------------------------------------------------------------------------
# What must not matter
# ---------------------------------------------------------------------------


@every_scorer
def test_target_labels_change_nothing(name):
    expected = _score(name)
    for labels in (Y[np.random.default_rng(0).permutation(len(Y))], 17, np.nan):
        assert _score(name, y=np.where(IDS > 0, Y, labels)) == expected
    words = np.array(["a", "b", "c"], dtype=object)[Y]
    model = clone(MODEL).fit(
        TRAIN[0], np.array(["a", "b", "c"])[TRAIN[1]], sample_domain=TRAIN[2]
    )
    assert _score(name, model, y=words) == pytest.approx(expected, rel=1e-12)
    words[IDS < 0] = None
    assert _score(name, model, y=words) == pytest.approx(expected, rel=1e-12)


@every_scorer
def test_labels_that_differ_in_length(name):
    names = np.array(["no", "yes, of course", "maybe"])
    model = clone(MODEL).fit(TRAIN[0], names[TRAIN[1]], sample_domain=TRAIN[2])
    order = np.argsort(np.argsort(names))
    relabelled = clone(MODEL).fit(TRAIN[0], order[TRAIN[1]], sample_domain=TRAIN[2])
    expected = _score(name, relabelled, y=order[Y])
    assert _score(name, model, y=names[Y]) == pytest.approx(expected, rel=1e-9)


@every_scorer
def test_numbers_of_the_domains_change_nothing(name):
    ids = np.where(IDS > 0, 5, np.where(X[:, 0] > 0, -2, -40))
    assert _score(name, ids=ids) == _score(name)


@every_scorer
def test_order_of_the_rows_changes_nothing(name):
    order = np.random.default_rng(3).permutation(len(X))
    moved = _score(name, X=X[order], y=Y[order], ids=IDS[order])
    assert moved == pytest.approx(_score(name), rel=1e-9)


@every_scorer
def test_unlabelled_rows_are_those_of_the_target(name):
    expected = _score(name, ids=np.sign(IDS))
    assert SCORERS[name](MODEL, X, HIDDEN) == expected


@every_scorer
def test_unlabelled_source_rows_are_left_out(name):
    dropped = SOURCE[::4]
    y = Y.astype(float)
    y[dropped] = np.nan
    kept = np.setdiff1d(np.arange(len(X)), dropped)
    assert _score(name, y=y) == _score(name, X=X[kept], y=Y[kept], ids=IDS[kept])
    assert name not in ("iwcv", "dev", "reverse") or _score(name, y=y) != _score(name)


@every_scorer
@pytest.mark.parametrize("kind", ["list", "frame", "float32", "read-only"])
def test_containers(name, kind):
    rows = X
    if kind == "list":
        rows = X.tolist()
    elif kind == "frame":
        pd = pytest.importorskip("pandas")
        rows = pd.DataFrame(X, columns=list("abcd"), index=np.arange(len(X)) + 9)
        train = (pd.DataFrame(TRAIN[0], columns=list("abcd")), *TRAIN[1:])
        model = _fit(MODEL, train)
        assert _score(name, model, rows) == pytest.approx(_score(name), rel=1e-9)
        return
    elif kind == "float32":
        rows = X.astype(np.float32)
    else:
        rows = X.copy()
        y, ids = Y.copy(), IDS.copy()
        for array in (rows, y, ids):
            array.setflags(write=False)
        assert _score(name, X=rows, y=y, ids=ids) == _score(name)
        return
    # A row near a boundary may change sides in single precision.
    assert _score(name, X=rows) == pytest.approx(_score(name), rel=0.03)


@every_scorer
def test_sparse_rows(name):
    def words(rows):
        return sparse.csr_array(np.where(rows > 0.3, rows, 0))

    model = TransferClassifier(MultinomialNB(), MaxAbsScaler())
    model = _fit(model, (words(TRAIN[0]), *TRAIN[1:]))
    dense = _fit(model, (words(TRAIN[0]).toarray(), *TRAIN[1:]))
    found = _score(name, model, words(X))
    if name in ("iwcv", "dev"):  # not centred, so that weights differ a little
        assert found == pytest.approx(_score(name, dense, words(X).toarray()), rel=0.2)
    else:
        assert found == pytest.approx(_score(name, dense, words(X).toarray()))


# ---------------------------------------------------------------------------
# Estimators
# ---------------------------------------------------------------------------


@every_scorer
@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        LinearSVC(),
        KNeighborsClassifier(1),
        AdaBoostClassifier(n_estimators=3, random_state=0),
        make_pipeline(StandardScaler(), SVC()),
        Perceptron(),
    ],
    ids=lambda model: type(model).__name__,
)
def test_estimators_that_know_no_domains(name, model):
    """They learn from source rows alone, and on the way back from target rows."""
    source = TRAIN[2] > 0
    fitted = clone(model).fit(TRAIN[0][source], TRAIN[1][source])
    transfer = _fit(TransferClassifier(model))
    assert _score(name, fitted) == pytest.approx(_score(name, transfer), rel=1e-9)


@every_scorer
def test_two_classes(name):
    """The decision function is one column, and probabilities two."""
    train = (TRAIN[0], TRAIN[1] > 1, TRAIN[2])
    model = _fit(TransferClassifier(LinearSVC(), KMM()), train)
    assert np.isfinite(_score(name, model, y=Y > 1))
    calibrated = _fit(TransferClassifier(LogisticRegression(), CORAL()), train)
    found = _score(name, calibrated, y=Y > 1)

    class NoFunction(TransferClassifier):
        @property
        def decision_function(self):
            raise AttributeError

    other = NoFunction(LogisticRegression(), CORAL())
    assert _score(name, _fit(other, train), y=Y > 1) == pytest.approx(found, rel=1e-3)


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_scores_do_not_depend_on_how_sure_a_model_is_of_itself(factor):
    class Scaled(TransferClassifier):
        def decision_function(self, X, sample_domain=None):
            return factor * super().decision_function(X, sample_domain)

    scaled = _fit(Scaled(LogisticRegression(), CORAL()))
    for name in SCORERS:
        assert _score(name, scaled) == pytest.approx(_score(name), rel=1e-3)


@every_scorer
def test_one_class_throughout(name):
    model = DummyClassifier().fit(X, np.zeros(len(X)))
    expected = {
        "source_accuracy": np.mean(Y[SOURCE] == 0),
        "reverse": np.mean(Y[SOURCE] == 0),
        "entropy": 0,
        "information_maximization": 0,
        "mixval": 0.5,
        "mano": 1,
    }
    found = _score(name, model)
    if name in expected:
        assert found == pytest.approx(expected[name])
    assert np.isfinite(found)


def test_reverse_with_one_predicted_class_is_its_share_without_a_fit():
    class One(LogisticRegression):
        def predict(self, X):
            return np.full(len(X), 2)

    model = One().fit(X[SOURCE], Y[SOURCE])
    assert _score("reverse", model) == np.mean(Y[SOURCE] == 2)


def test_classes_that_the_model_does_not_know():
    rows, y, ids = (part[TRAIN[1] < 2] for part in TRAIN)
    model = _fit(MODEL, (rows, y, ids))
    known = (IDS < 0) | (Y < 2)
    for name in SCORERS:
        assert np.isfinite(_score(name, model)), name
    share = np.mean(Y[SOURCE] < 2)
    expected = share * _score("source_accuracy", model, X[known], Y[known], IDS[known])
    assert _score("source_accuracy", model) == pytest.approx(expected)


# ---------------------------------------------------------------------------
# Searches
# ---------------------------------------------------------------------------


def _search(scorer):
    return GridSearchCV(
        TransferClassifier(LogisticRegression()),
        {"adapter": [None, CORAL()], "estimator__C": [0.01, 1.0]},
        scoring=scorer,
        cv=DomainKFold(3),
        error_score="raise",
    )


@every_scorer
def test_search(name):
    """With and without routing, and by hand."""
    ids = np.sign(IDS)
    plain = _search(SCORERS[name]).fit(X, HIDDEN, sample_domain=ids, groups=ids)
    with config_context(enable_metadata_routing=True):
        routed = _search(SCORERS[name]).fit(X, Y, sample_domain=ids)
    found = routed.cv_results_["mean_test_score"]
    np.testing.assert_array_equal(plain.cv_results_["mean_test_score"], found)
    assert len(np.unique(found)) > 1
    model = routed.best_estimator_
    scores = []
    for train, test in DomainKFold(3).split(X, Y, sample_domain=ids):
        fitted = clone(model).fit(X[train], HIDDEN[train], sample_domain=ids[train])
        scores.append(_score(name, fitted, X[test], Y[test], ids[test]))
    assert np.mean(scores) == pytest.approx(found.max(), rel=1e-12)


@both_routings
def test_several_scorers_at_once(routing):
    ids = np.sign(IDS)
    model = TransferClassifier(LogisticRegression(), CORAL())
    with config_context(enable_metadata_routing=routing):
        metadata = {"sample_domain": ids}
        found = cross_validate(
            model,
            X,
            HIDDEN,
            cv=DomainKFold(3),
            scoring=SCORERS,
            params=metadata,
            groups=None if routing else ids,
            error_score="raise",
        )
    for name in SCORERS:
        alone = cross_validate(
            model,
            X,
            HIDDEN,
            cv=DomainKFold(3),
            groups=ids,
            scoring=SCORERS[name],
            params=metadata,
            error_score="raise",
        )
        np.testing.assert_array_equal(found[f"test_{name}"], alone["test_score"])


def test_search_is_cloned_and_shown():
    search = _search(SCORERS["mixval"])
    assert "scoring=mixval_scorer" in repr(search)
    assert clone(search).scoring is SCORERS["mixval"]


# ---------------------------------------------------------------------------
# The scorers as objects
# ---------------------------------------------------------------------------


@every_scorer
def test_scorer_is_known_by_its_name(name):
    scorer = SCORERS[name]
    assert repr(scorer) == scorer.__name__ == f"{name}_scorer"
    assert getattr(skadapt, f"{name}_scorer") is scorer
    assert pickle.loads(pickle.dumps(scorer)) is scorer
    assert copy.deepcopy(scorer) is scorer
    assert get_transfer_scorer(scorer) is scorer


@every_scorer
def test_docstring(name):
    doc = SCORERS[name].__doc__
    for section in ("Parameters", "Returns", "Raises", "See Also", "Notes", "Examples"):
        assert f"\n    {section}\n    {'-' * len(section)}\n" in doc
    assert "of the 82 tasks lost more than 2 points" in doc
    assert "<" not in doc.replace("< 0", "").replace("<=", "")
    assert max(map(len, doc.splitlines())) <= 88


def test_names():
    assert get_transfer_scorer_names() == sorted(SCORERS)
    assert len(SCORERS) == 9
    for bad in ("no such scorer", 3):
        with pytest.raises(ValueError, match="'scoring' parameter"):
            get_transfer_scorer(bad)


# ---------------------------------------------------------------------------
# Bad input
# ---------------------------------------------------------------------------


@every_scorer
def test_refuses(name):
    scorer = SCORERS[name]
    with pytest.raises(ValueError, match="leave the target rows unlabelled in y"):
        scorer(MODEL, X, Y)
    for model in (Ridge().fit(X, Y), KMeans(2, n_init=1).fit(X)):
        assert get_tags(model).estimator_type != "classifier"
        with pytest.raises(ValueError, match=f"{name}_scorer judges classifiers"):
            scorer(model, X, Y, sample_domain=IDS)
    with pytest.raises(ValueError, match="inconsistent"):
        scorer(MODEL, X, Y[:-1], sample_domain=IDS)
    with pytest.raises(ValueError, match="must not hold 0"):
        scorer(MODEL, X, Y, sample_domain=(IDS > 0).astype(int))


@every_scorer
def test_missing_rows(name):
    cure = r"no {} row among them: use cv=DomainKFold\(\)"
    if name in OF_TARGET:
        with pytest.raises(ValueError, match=cure.format("target")):
            _score(name, X=X[SOURCE], y=Y[SOURCE], ids=IDS[SOURCE])
    if name in OF_SOURCE:
        with pytest.raises(ValueError, match=cure.format("labelled source")):
            _score(name, X=X[TARGET], y=Y[TARGET], ids=IDS[TARGET])
        with pytest.raises(ValueError, match=cure.format("labelled source")):
            _score(name, y=np.full(len(X), np.nan))
    else:
        found = _score(name, X=X[TARGET], y=None, ids=-1)
        assert found == SCORERS[name](MODEL, X[TARGET], None)


def test_source_accuracy_of_folds_of_the_source():
    _, test = next(SourceKFold(3).split(X, Y, sample_domain=IDS))
    assert 0 < _score("source_accuracy", X=X[test], y=Y[test], ids=IDS[test]) < 1


@pytest.mark.parametrize("name", sorted(OF_COLUMNS))
def test_columns_that_are_no_numbers(name):
    pd = pytest.importorskip("pandas")
    model = DummyClassifier().fit(X, Y)
    words = pd.DataFrame(X).assign(colour=np.array(["red", "blue", "green"])[Y])
    spoiled = X.copy()
    spoiled[3, 1] = np.nan
    for rows in (words, spoiled):
        with pytest.raises(ValueError, match="encode and impute them"):
            _score(name, model, rows)
    if name == "mixval":
        numbers = LogisticRegression().fit(X, Y)  # which cannot be asked about words
        with pytest.raises(ValueError, match="encode and impute them"):
            _score(name, numbers, words.to_numpy())
    for other in set(SCORERS) - OF_COLUMNS:
        assert np.isfinite(_score(other, model, words)), other


@every_scorer
def test_too_few_rows(name):
    rows = np.concatenate([SOURCE[:1], TARGET[:1]])
    few = {"X": X[rows], "y": Y[rows], "ids": IDS[rows]}
    if name in OF_COLUMNS:
        with pytest.raises(ValueError, match="hold out more"):
            _score(name, **few)


class Labels(ClassifierMixin, BaseEstimator):
    """A classifier that gives labels alone."""

    def fit(self, X, y):
        self.inner_ = LogisticRegression().fit(X, y)
        self.classes_ = self.inner_.classes_
        return self

    def predict(self, X):
        return self.inner_.predict(X)


@pytest.mark.parametrize("name", sorted(set(SCORERS) - OF_LABELS))
def test_estimators_that_give_labels_alone(name):
    model = Labels().fit(X[SOURCE], Y[SOURCE])
    with pytest.raises(ValueError, match="neither predict_proba nor decision_function"):
        _score(name, model)
    for other in OF_LABELS:
        assert 0 < _score(other, model) < 1
    pairs = SVC(decision_function_shape="ovo").fit(X, np.arange(len(X)) % 4)
    with pytest.raises(ValueError, match="leave it at 'ovr'"):
        _score(name, pairs)
