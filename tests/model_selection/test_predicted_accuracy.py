"""Predicted accuracies against straight lines, and against the truth."""

import json

import numpy as np
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from skadapt import (
    CORAL,
    AdapterEnsembleClassifier,
    EasyTL,
    NoAdaptationWarning,
    PerDomain,
    PredictedAccuracy,
    TransferClassifier,
    compare_adapters,
    predict_target_accuracy,
)
from skadapt.model_selection import _evidence

METHODS = ["average", "atc", "doc"]


def make_task(seed=0, n=200, shift=1.0, names=False):
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.repeat([1, -1], n // 2))
    truth = np.arange(n) % 3
    X = rng.normal(size=(n, 4)) + 2.5 * np.eye(3, 4)[truth]
    X[ids < 0] += shift
    if names:
        truth = np.array(["a", "b", "c"], dtype=object)[truth]
        return X, np.where(ids > 0, truth, None), ids, truth
    return X, np.where(ids > 0, truth, np.nan), ids, truth


def fitted(X, y, ids, model=None):
    model = LogisticRegression() if model is None else model
    source = ids > 0
    return model.fit(X[source], list(y[source]))


def average_of_three():
    adapters = [None, PerDomain(), CORAL()]
    return AdapterEnsembleClassifier([TransferClassifier(adapter=a) for a in adapters])


@pytest.mark.parametrize("names", [False, True])
def test_average_by_hand(names):
    X, y, ids, _ = make_task(names=names)
    model = fitted(X, y, ids)
    average = average_of_three().fit(X, y, sample_domain=ids)
    found = predict_target_accuracy(model, X, y, sample_domain=ids, average=average)
    Xt = X[ids < 0]
    classes = list(average.classes_)
    expected = np.mean(
        [
            proba[classes.index(label)]
            for proba, label in zip(average.predict_proba(Xt), model.predict(Xt))
        ]
    )
    assert isinstance(found, PredictedAccuracy)
    assert found.accuracy == pytest.approx(expected, abs=1e-12)
    assert found.method == "average"
    assert np.isnan(found.source_accuracy)


@pytest.mark.parametrize(
    "parameters",
    [{"hedge": 0.4}, {"weights": [0, 0, 1]}, {"hedge": 0.9, "prior": [0.1, 0.1, 0.8]}],
)
def test_weights_of_the_average_do_not_count(parameters):
    """Each of its models has one voice."""
    X, y, ids, _ = make_task(shift=1.5)
    model = fitted(X, y, ids)
    found = []
    for average in (average_of_three(), average_of_three().set_params(**parameters)):
        average.fit(X, y, sample_domain=ids)
        one = predict_target_accuracy(model, X, y, sample_domain=ids, average=average)
        found.append((one.accuracy, average.predict_proba(X)))
    assert found[1][0] == pytest.approx(found[0][0], abs=1e-12)
    assert np.abs(found[1][1] - found[0][1]).max() > 0.01


def by_hand(X, y, ids, method):
    """With the held-out probabilities of the ensemble of one, without its help."""
    single = AdapterEnsembleClassifier([LogisticRegression()])
    single.fit(X, y, sample_domain=ids)
    held, correct = single._members[0].held_out, single._members[0].correct
    confidence = held.max(axis=1)
    on_target = single.predict_proba(X[ids < 0]).max(axis=1)
    accuracy = correct.mean()
    if method == "doc":
        return accuracy, accuracy - (confidence.mean() - on_target.mean())
    threshold = np.sort(confidence)[::-1][correct.sum() - 1]
    return accuracy, np.mean(on_target >= threshold)


@pytest.mark.parametrize("method", ["atc", "doc"])
def test_confidences_by_hand(method):
    X, y, ids, _ = make_task()
    model = fitted(X, y, ids)
    found = predict_target_accuracy(model, X, y, sample_domain=ids, method=method)
    accuracy, expected = by_hand(X, y, ids, method)
    assert found.source_accuracy == accuracy
    assert found.accuracy == pytest.approx(expected, abs=1e-9)
    assert found.method == method


@pytest.mark.parametrize("method", METHODS)
def test_without_shift_it_is_the_accuracy(method):
    errors = []
    for seed in range(4):
        X, y, ids, truth = make_task(seed, n=400, shift=0.0)
        model = fitted(X, y, ids)
        average = None
        if method == "average":
            average = average_of_three().fit(X, y, sample_domain=ids)
        found = predict_target_accuracy(
            model, X, y, sample_domain=ids, method=method, average=average
        )
        errors.append(found.accuracy - model.score(X[ids < 0], truth[ids < 0]))
    assert np.abs(np.mean(errors)) < 0.03
    assert np.abs(errors).max() < 0.08


@pytest.mark.parametrize("method", METHODS)
def test_target_labels_row_order_and_names_of_domains(method):
    X, y, ids, truth = make_task()
    model = fitted(X, y, ids)
    order = np.random.default_rng(0).permutation(len(X))

    def predicted(X, y, ids):
        average = average_of_three().fit(X, y, sample_domain=ids)
        return predict_target_accuracy(
            model, X, y, sample_domain=ids, method=method, average=average
        )

    expected = predicted(X, y, ids)
    for labels in (truth, np.where(ids > 0, truth, truth[::-1])):
        found = predicted(X, labels, ids)
        assert (found.accuracy, str(found)) == (expected.accuracy, str(expected))
    found = predicted(X[order], y[order], np.where(ids > 0, 3, -5)[order])
    assert found.accuracy == pytest.approx(expected.accuracy, abs=1e-4)


def test_the_default_average_is_that_of_compare_adapters():
    X, y, ids, _ = make_task(n=120)
    found = compare_adapters(X, y, ids, random_state=0)
    row = next(row for row in found.rows if row["name"] == "none, logistic")
    model = found.average_.named_estimators_["none, logistic"]
    predicted = predict_target_accuracy(model, X, y, sample_domain=ids, random_state=0)
    assert predicted.accuracy == pytest.approx(row["predicted_accuracy"], abs=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "model",
    [
        KNeighborsClassifier(),
        LinearSVC(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        TransferClassifier(adapter=CORAL()),
        EasyTL(),
        make_pipeline(PerDomain(), EasyTL()),
        average_of_three(),
    ],
    ids=lambda model: type(model).__name__,
)
def test_models_of_all_kinds(model, method):
    X, y, ids, truth = make_task(shift=0.3)
    with config_context(enable_metadata_routing=True):
        try:
            model.fit(X, y, sample_domain=ids)
        except TypeError:
            fitted(X, y, ids, model)
    average = average_of_three().fit(X, y, sample_domain=ids)
    found = predict_target_accuracy(
        model, X, y, sample_domain=ids, method=method, average=average
    )
    target = ids < 0
    with config_context(enable_metadata_routing=True):
        right = np.mean(model.predict(X[target]) == truth[target])
    assert abs(found.accuracy - right) < 0.12
    assert 0 <= found.accuracy <= 1


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.coo_array])
def test_sparse_rows(container):
    X, y, ids, _ = make_task()
    model = fitted(X, y, ids)
    for method in ("atc", "doc"):
        dense, found = (
            predict_target_accuracy(model, rows, y, sample_domain=ids, method=method)
            for rows in (X, container(X))
        )
        assert found.accuracy == pytest.approx(dense.accuracy, abs=0.02)
    found = predict_target_accuracy(model, container(X), y, sample_domain=ids)
    assert 0.3 < found.accuracy <= 1


def test_a_frame_keeps_its_names(recwarn):
    pd = pytest.importorskip("pandas")
    X, y, ids, _ = make_task()
    frame = pd.DataFrame(X).add_prefix("c")
    model = fitted(frame, y, ids)
    for method in METHODS:
        predict_target_accuracy(model, frame, y, sample_domain=ids, method=method)
    assert not [w for w in recwarn if "feature names" in str(w.message)]


def test_labels_that_the_average_does_not_know_count_as_wrong():
    X, y, ids, _ = make_task()
    labels = np.where(y == 2, 7.0, y)
    model = fitted(X, labels, ids)
    average = average_of_three().fit(X, y, sample_domain=ids)
    found = predict_target_accuracy(model, X, y, sample_domain=ids, average=average)
    Xt = X[ids < 0]
    codes = model.predict(Xt).astype(int)
    proba = average.predict_proba(Xt)
    known = codes < 3
    expected = proba[known, codes[known]].sum() / len(Xt)
    assert found.accuracy == pytest.approx(expected, abs=1e-12)


def test_errors_are_those_of_the_evidence(monkeypatch, tmp_path):
    X, y, ids, _ = make_task()
    model = fitted(X, y, ids)
    average = average_of_three().fit(X, y, sample_domain=ids)
    figures = json.loads(_evidence.PATH.read_text())
    figures["error"] = {"average": 0.123, "atc": 0.234, "doc": 0.345}
    path = tmp_path / "evidence.json"
    path.write_text(json.dumps(figures))
    monkeypatch.setattr(_evidence, "PATH", path)
    _evidence.evidence.cache_clear()
    try:
        found = [
            predict_target_accuracy(
                model, X, y, sample_domain=ids, method=method, average=average
            )
            for method in METHODS
        ]
    finally:
        _evidence.evidence.cache_clear()
    assert [one.usual_error for one in found] == [0.123, 0.234, 0.345]
    for one, error in zip(found, (12, 23, 34)):
        share = f"{100 * one.accuracy:.0f}"
        assert str(one) == f"about {share} % (usual error {error} points)"


class OnlyLabels(ClassifierMixin, BaseEstimator):
    """Says nothing of how sure it is."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


def test_a_model_of_labels_only():
    X, y, ids, _ = make_task()
    model = fitted(X, y, ids, OnlyLabels())
    average = average_of_three().fit(X, y, sample_domain=ids)
    found = predict_target_accuracy(model, X, y, sample_domain=ids, average=average)
    assert 0.2 < found.accuracy < 0.5
    with pytest.raises(ValueError, match="neither decision_function nor predict_proba"):
        predict_target_accuracy(model, X, y, sample_domain=ids, method="atc")


def test_sentences():
    X, y, ids, _ = make_task()
    model = fitted(X, y, ids)
    for bad, words in (
        ((Ridge().fit(X, ids), X, y, ids), "Ridge is no classifier"),
        ((LogisticRegression(), X, y, ids), "not fitted"),
        ((model, X, np.full(200, np.nan), ids), "no labelled source row"),
        ((model, X, y, np.abs(ids)), "no target row"),
        ((model, X, y[:-1], ids), "inconsistent numbers"),
    ):
        with pytest.raises(ValueError, match=words):
            predict_target_accuracy(*bad[:3], sample_domain=bad[3], method="atc")
    with pytest.raises(ValueError, match="'method' parameter"):
        predict_target_accuracy(model, X, y, sample_domain=ids, method="guess")
    few = np.full(200, np.nan)
    rows = [np.flatnonzero(y == k)[0] for k in range(3)]
    few[rows] = range(3)
    with pytest.raises(ValueError, match="No class has two labelled source rows"):
        predict_target_accuracy(model, X, few, sample_domain=ids, method="doc")


def test_classes_of_other_names_are_refused():
    X, y, ids, _ = make_task()
    words = np.array(["a", "b", "c"])[np.nan_to_num(y).astype(int)]
    model = LogisticRegression().fit(X[ids > 0], words[ids > 0])
    average = average_of_three().fit(X, y, sample_domain=ids)
    for given in (None, average):
        with pytest.raises(ValueError, match="name the classes alike"):
            predict_target_accuracy(model, X, y, sample_domain=ids, average=given)


def test_averages_that_were_not_fitted_to_domains_are_refused():
    X, y, ids, _ = make_task()
    model = fitted(X, y, ids)
    with pytest.raises(NotFittedError):
        predict_target_accuracy(
            model, X, y, sample_domain=ids, average=average_of_three()
        )
    with pytest.warns(NoAdaptationWarning):
        average = average_of_three().fit(X[ids > 0], y[ids > 0])
    with pytest.raises(ValueError, match="without sample_domain"):
        predict_target_accuracy(model, X, y, sample_domain=ids, average=average)
