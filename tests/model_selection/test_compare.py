"""compare_adapters: its table restated by hand, its verdicts where truth is known."""

import json
import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from skadapt import (
    CORAL,
    KMM,
    AdapterComparison,
    LabelShiftEM,
    PerDomain,
    SubspaceAlignment,
    TransferClassifier,
    atc_scorer,
    compare_adapters,
    diagnose_shift,
)
from skadapt.datasets import make_label_shift
from skadapt.model_selection import _compare, _evidence
from skadapt.model_selection._compare import AVERAGE, CORRECTED

SMALL = {"adapters": {"scaled": PerDomain(), "coral": CORAL()}, "random_state": 0}


def make_task(seed=0, n=240, d=4, shift=1.0, shares=(0.5, 0.5)):
    """Two classes; the target is shifted and stretched."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.repeat([1, -1], n // 2))
    truth = (rng.random(n) < np.where(ids > 0, shares[0], shares[1])).astype(int)
    X = rng.normal(size=(n, d)) + 1.5 * truth[:, np.newaxis] * (np.arange(d) < 2)
    X[ids < 0] = X[ids < 0] * (1 + shift) + shift
    return X, np.where(ids > 0, truth, np.nan), ids, truth


@pytest.fixture
def diagnosed(monkeypatch):
    """A function that fixes the kind of shift that is diagnosed."""

    def fix(kind):
        def diagnose(*args, **parameters):
            return diagnose_shift(*args, **parameters)._replace(kind=kind)

        monkeypatch.setattr(_compare, "diagnose_shift", diagnose)

    return fix


@pytest.fixture(scope="module")
def small():
    X, y, ids, truth = make_task()
    model = LogisticRegression()
    return compare_adapters(X, y, ids, model, **SMALL), (X, y, ids, truth)


# ---------------------------------------------------------------------------
# What nothing is to change
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        make_pipeline(StandardScaler(), LogisticRegression(C=0.1)),
        KNeighborsClassifier(3),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_without_shift_the_model_is_the_one_fitted_by_hand(estimator, seed):
    X, y, ids, _ = make_task(seed, shift=0.0)
    found = compare_adapters(X, y, ids, estimator, **SMALL)
    assert found.shift.kind == "none"
    assert found.best_.startswith("none, ")
    assert found.estimator_ is found.baseline_
    source = ids > 0
    by_hand = estimator.fit(X[source], y[source].astype(int))
    np.testing.assert_array_equal(found.estimator_.predict(X), by_hand.predict(X))
    np.testing.assert_array_equal(
        found.estimator_.predict_proba(X), by_hand.predict_proba(X)
    )
    inner = found.estimator_.estimator_
    inner, expected = (
        model[-1] if hasattr(model, "steps") else model for model in (inner, by_hand)
    )
    if hasattr(expected, "coef_"):
        np.testing.assert_array_equal(inner.coef_, expected.coef_)


def figures(found):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in found.rows]


def assert_same(found, expected, X, rows=slice(None)):
    assert found.verdict == expected.verdict
    assert found.best_ == expected.best_
    for row, other in zip(figures(found), figures(expected), strict=True):
        np.testing.assert_equal(row, other)
    np.testing.assert_array_equal(
        found.estimator_.predict(X), expected.estimator_.predict(X)
    )
    np.testing.assert_array_equal(
        found.average_.predict_proba(X), expected.average_.predict_proba(X)
    )


def test_target_labels_change_nothing(small):
    expected, (X, _, ids, truth) = small
    for labels in (truth, np.where(ids > 0, truth, 1 - truth)):
        found = compare_adapters(X, labels, ids, LogisticRegression(), **SMALL)
        assert_same(found, expected, X)
        np.testing.assert_array_equal(
            found.average_.transduction_, expected.average_.transduction_
        )


def test_row_order_and_names_of_domains_change_nothing(small):
    expected, (X, y, ids, _) = small
    order = np.random.default_rng(1).permutation(len(X))
    found = compare_adapters(
        X[order],
        y[order],
        np.where(ids > 0, 7, -3)[order],
        LogisticRegression(),
        **SMALL,
    )
    assert found.best_ == expected.best_
    assert str(found.shift) == str(expected.shift)
    for row, other in zip(figures(found), figures(expected)):
        for name, value in other.items():
            if isinstance(value, str):
                assert row[name] == value
            else:
                np.testing.assert_allclose(row[name], value, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(
        found.average_.predict_proba(X), expected.average_.predict_proba(X), atol=1e-4
    )


def test_inputs_stay_as_they_are(small):
    expected, (X, y, ids, _) = small
    parts = [part.copy() for part in (X, y, ids)]
    for part in parts:
        part.setflags(write=False)
    estimator = LogisticRegression()
    assert_same(compare_adapters(*parts, estimator, **SMALL), expected, X)
    assert not hasattr(estimator, "coef_")
    assert not hasattr(SMALL["adapters"]["coral"], "transform_")


# ---------------------------------------------------------------------------
# The table
# ---------------------------------------------------------------------------


def test_rows_by_hand(small):
    found, (X, y, ids, _) = small
    names = ["none", "scaled", "coral"]
    names = [f"{name}, LogisticRegression" for name in names] + [AVERAGE]
    target = ids < 0
    Xt = X[target]
    proba = [
        TransferClassifier(LogisticRegression(), adapter).fit(X, y, sample_domain=ids)
        for adapter in (None, *SMALL["adapters"].values())
    ]
    scores = [model.decision_function(Xt) for model in proba]
    ones = [
        1 / (1 + np.exp(-score / temperature))
        for score, temperature in zip(scores, found.average_.temperatures_)
    ]
    mean = np.mean(ones, axis=0)
    unadapted = ones[0] > 0.5
    assert [row["name"] for row in found.rows] == names
    assert [row["adapter"] for row in found.rows] == ["none", "scaled", "coral", "all"]
    for row, own in zip(found.rows, [*ones, mean]):
        labels = own > 0.5
        expected = np.where(labels, mean, 1 - mean).mean()
        assert row["predicted_accuracy"] == pytest.approx(expected, abs=1e-9)
        assert row["agreement"] == pytest.approx(np.mean(labels == unadapted))
        assert 0 <= row["mixval"] <= 1
        assert np.isnan(row["target_label_accuracy"])
        assert row["failure"] == ""
        assert row["seconds"] > 0
    assert np.isnan(found.rows[-1]["source_accuracy"])
    assert found.rows[0]["agreement"] == 1.0


def test_source_accuracy_is_of_rows_held_out():
    """1-NN is right on all rows that it has seen."""
    X, _, ids, truth = make_task(shift=0.0)
    rng = np.random.default_rng(0)
    noise = np.where(ids > 0, rng.permutation(truth), np.nan)
    found = compare_adapters(X, noise, ids, KNeighborsClassifier(1), **SMALL)
    assert 0.35 < found.rows[0]["source_accuracy"] < 0.65


def test_identical_candidates_agree_and_do_not_adapt(diagnosed):
    """The average of models that are all alike is each of them: a tie, so no change."""
    diagnosed("feature")

    class Nothing(StandardScaler):
        """Maps rows to themselves."""

        def __init__(self):
            super().__init__(with_mean=False, with_std=False)

    X, y, ids, _ = make_task()
    adapters = {"a": Nothing(), "b": Nothing()}
    found = compare_adapters(X, y, ids, LogisticRegression(), adapters=adapters)
    for name in ("predicted_accuracy", "mixval"):
        assert len({round(row[name], 12) for row in found.rows}) == 1
    assert all(row["agreement"] == 1.0 for row in found.rows)
    assert found.best_ == "none, LogisticRegression"


class Fails(CORAL):
    """Cannot be fitted."""

    def fit(self, X, y=None, *, sample_domain=None):
        raise RuntimeError("<b>no luck</b>")


def test_a_failing_candidate_is_a_row_with_the_reason():
    X, y, ids, _ = make_task()
    adapters = {"<i>bad</i>": Fails(), "coral": CORAL(), "KMM": KMM()}
    with pytest.warns(UserWarning, match="2 of 4 candidates.*no luck"):
        found = compare_adapters(X, y, ids, KNeighborsClassifier(), adapters=adapters)
    by_name = {row["name"]: row for row in found.rows}
    bad = by_name["<i>bad</i>, KNeighborsClassifier"]
    assert bad["failure"] == "<b>no luck</b>"
    assert all(np.isnan(bad[name]) for name in ("mixval", "atc", "seconds"))
    assert "takes no sample_weight" in by_name["KMM, KNeighborsClassifier"]["failure"]
    assert len(found.average_.estimators_) == 2
    pytest.importorskip("pandas")
    html = found._repr_html_()
    assert "&lt;i&gt;bad" in html and "&lt;b&gt;no luck" in html
    assert "<i>" not in html and "<b>no" not in html


def test_table(small):
    pd = pytest.importorskip("pandas")
    found, _ = small
    table = found.table
    assert isinstance(table, pd.DataFrame)
    assert table.index.name == "name"
    assert list(table.columns) == [
        "adapter",
        "estimator",
        "source_accuracy",
        "predicted_accuracy",
        "mixval",
        "atc",
        "agreement",
        "target_label_accuracy",
        "seconds",
        "failure",
    ]
    assert table.loc[AVERAGE, "mixval"] == found.rows[-1]["mixval"]


def test_representations(small, monkeypatch):
    found, _ = small
    assert isinstance(found, AdapterComparison)
    assert repr(found) == f"AdapterComparison(4 models): {found.verdict}"
    assert pickle.loads(pickle.dumps(found)).verdict == found.verdict
    html = found._repr_html_()
    assert html.startswith("<p><b>") and "coral, LogisticRegression" in html
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    assert "coral, Log" not in found._repr_html_()
    with pytest.raises(ImportError, match="pip install pandas.*in rows"):
        found.table  # noqa: B018


def test_verdict_is_escaped(small):
    found, _ = small
    again = AdapterComparison(found.rows, "<shift>", "<verdict>", *[None] * 4)
    html = again._repr_html_()
    assert "&lt;verdict&gt;" in html and "&lt;shift&gt;" in html


def test_plot(small):
    plt = pytest.importorskip("matplotlib.pyplot")
    found, _ = small
    _, ax = plt.subplots()
    display = found.plot(ax)
    assert display.ax_ is ax
    drawn = np.vstack([points.get_offsets() for points in ax.collections])
    for row in found.rows[:-1]:
        point = [row["source_accuracy"], row["predicted_accuracy"]]
        assert np.abs(drawn - point).sum(axis=1).min() < 1e-12
    plt.close("all")


# ---------------------------------------------------------------------------
# Verdicts
# ---------------------------------------------------------------------------


def test_label_shift_is_corrected_by_maximum_likelihood():
    data = make_label_shift(random_state=0)
    X, y, ids = data.X, data.y, data.sample_domain
    found = compare_adapters(X, y, ids, LogisticRegression(), **SMALL)
    assert found.shift.kind == "label"
    assert found.best_ == CORRECTED
    by_hand = LabelShiftEM(LogisticRegression(), random_state=0)
    by_hand.fit(X, y, sample_domain=ids)
    np.testing.assert_array_equal(
        found.estimator_.predict_proba(X), by_hand.predict_proba(X)
    )
    target = ids < 0
    gain = found.estimator_.score(X[target], y[target])
    gain -= found.baseline_.score(X[target], y[target])
    assert gain >= 0


@pytest.mark.parametrize(
    "estimator", [LinearSVC(), make_pipeline(StandardScaler(), LinearSVC())]
)
def test_label_shift_with_a_classifier_of_scores_and_few_rows_of_a_class(
    diagnosed, estimator
):
    diagnosed("label")
    X, y, ids, truth = make_task(shift=0.0)
    y[np.flatnonzero(y == 1)[3:]] = np.nan
    found = compare_adapters(X, y, ids, estimator, **SMALL)
    assert found.best_ == CORRECTED
    proba = found.estimator_.predict_proba(X[ids < 0])
    assert np.isfinite(proba).all()
    right, wrong = (proba[truth[ids < 0] == k, 1].mean() for k in (1, 0))
    assert right > wrong + 0.1


def compared(diagnosed, monkeypatch, better=True, **parameters):
    """The name of the advised row, where the average mixes well or badly."""
    diagnosed("feature")
    table = _compare._table

    def with_mixval(*args):
        rows = table(*args)
        for row in rows:
            row["mixval"] = 0.5
        rows[-1]["mixval"] += 0.2 if better else -0.2
        return rows

    monkeypatch.setattr(_compare, "_table", with_mixval)
    X, y, ids, truth = make_task()
    labels = parameters.pop("labels", lambda y, ids, truth: y)(y, ids, truth)
    return compare_adapters(X, labels, ids, LogisticRegression(), **SMALL, **parameters)


def test_mixtures_decide(diagnosed, monkeypatch):
    found = compared(diagnosed, monkeypatch)
    assert found.best_ == AVERAGE
    assert found.estimator_ is found.average_
    assert "Check that the classes have like shares" in found.verdict
    found = compared(diagnosed, monkeypatch, better=False)
    assert found.best_ == "none, LogisticRegression"
    assert "Mixtures of target rows" in found.verdict


@pytest.mark.parametrize("kind", ["none", "unclear"])
def test_without_a_clear_shift_nothing_else_matters(diagnosed, monkeypatch, kind):
    monkeypatch.setattr(_compare, "_against", lambda *args: "")
    diagnosed(kind)
    X, y, ids, _ = make_task()
    found = compare_adapters(X, y, ids, LogisticRegression(), **SMALL)
    assert found.best_ == "none, LogisticRegression"
    assert found.estimator_ is found.baseline_


def shares_of(distance):
    y = make_task()[1]
    share = np.nanmean(y)
    return [1 - share - distance, share + distance]


@pytest.mark.parametrize(
    ("class_shares", "adapts", "words"),
    [
        ("unknown", True, "Check that the classes have like shares"),
        ("same", True, None),
        ("different", False, "Class shares differ, and"),
        (shares_of(0.0), True, None),
        (shares_of(0.14), True, None),
        (shares_of(0.16), False, "Class shares differ by 16 %"),
    ],
)
def test_class_shares(diagnosed, monkeypatch, class_shares, adapts, words):
    found = compared(diagnosed, monkeypatch, class_shares=class_shares)
    assert found.best_ == (AVERAGE if adapts else "none, LogisticRegression")
    assert (words or "") in found.verdict
    assert ("Check that" in found.verdict) == (words is not None and adapts)


def some_labels(n_each, right):
    """Labels of a few target rows, on which a model is right or wrong."""

    def labels(y, ids, truth):
        y = y.copy()
        for k in (0, 1):
            rows = np.flatnonzero((ids < 0) & (truth == k))[:n_each]
            y[rows] = k if right else 1 - k
        return y

    return labels


@pytest.mark.parametrize("use", [False, True])
def test_labels_of_the_target(diagnosed, monkeypatch, use):
    found = compared(
        diagnosed, monkeypatch, labels=some_labels(20, True), use_target_labels=use
    )
    assert found.best_ == AVERAGE
    shown = [row["target_label_accuracy"] for row in found.rows]
    assert np.isfinite(shown).all() == use
    X, y, ids, truth = make_task()
    rows = np.flatnonzero(~np.isnan(some_labels(20, True)(y, ids, truth)) & (ids < 0))
    assert len(rows) == 40
    if use:
        expected = np.mean(found.baseline_.predict(X[rows]) == truth[rows])
        assert shown[0] == pytest.approx(expected)
        expected = np.mean(found.average_.predict(X[rows]) == truth[rows])
        assert shown[-1] == pytest.approx(expected)
        assert shown[-1] > shown[0], "the shift is one that adapters undo"
    found = compared(
        diagnosed, monkeypatch, labels=some_labels(20, False), use_target_labels=use
    )
    assert (found.best_ == AVERAGE) == (not use)
    assert ("labelled target rows" in found.verdict) == use
    found = compared(
        diagnosed, monkeypatch, labels=some_labels(2, False), use_target_labels=use
    )
    assert found.best_ == AVERAGE, "two rows of each class are too few"
    found = compared(diagnosed, monkeypatch, use_target_labels=use)
    assert found.best_ == AVERAGE, "there are none"


def test_models_do_not_learn_from_the_labels_that_judge_them(diagnosed, monkeypatch):
    first, second = (
        compared(
            diagnosed,
            monkeypatch,
            labels=some_labels(20, right),
            use_target_labels=True,
        )
        for right in (True, False)
    )
    X = make_task()[0]
    np.testing.assert_array_equal(
        first.average_.predict_proba(X), second.average_.predict_proba(X)
    )
    np.testing.assert_array_equal(
        first.baseline_.predict_proba(X), second.baseline_.predict_proba(X)
    )


def test_labels_of_classes_that_the_source_lacks(diagnosed, monkeypatch):
    found = compared(
        diagnosed,
        monkeypatch,
        labels=lambda y, ids, truth: np.where((ids < 0) & (truth == 1), 9, y),
        use_target_labels=True,
    )
    assert all(row["target_label_accuracy"] == 0.0 for row in found.rows)


def test_figures_are_those_of_the_evidence(diagnosed, monkeypatch, tmp_path):
    figures = json.loads(_evidence.PATH.read_text())
    assert set(figures) == {"adopted", "declined", "label", "error"}
    assert set(figures["error"]) == {"average", "atc", "doc"}
    for number, kind in enumerate(("adopted", "declined", "label")):
        figures[kind] = {"n_tasks": 711 + number, "gained": 631, "lost": 77}
    figures["error"]["average"] = 0.314
    path = tmp_path / "evidence.json"
    path.write_text(json.dumps(figures))
    monkeypatch.setattr(_evidence, "PATH", path)
    _evidence.evidence.cache_clear()
    try:
        adopted = compared(diagnosed, monkeypatch).verdict
        declined = compared(diagnosed, monkeypatch, better=False).verdict
        diagnosed("label")
        X, y, ids, _ = make_task()
        label = compare_adapters(X, y, ids, LogisticRegression(), **SMALL).verdict
    finally:
        _evidence.evidence.cache_clear()
    for verdict, n_tasks in ((adopted, 711), (declined, 712), (label, 713)):
        for number in (n_tasks, 631, 77):
            assert str(number) in verdict
    assert "31 points" in adopted and "31 points" in declined


# ---------------------------------------------------------------------------
# Kinds of data
# ---------------------------------------------------------------------------


def make_frame(pd):
    X, y, ids, truth = make_task(n=320)
    rng = np.random.default_rng(0)
    colours = np.where(rng.random(320) < 0.2 + 0.6 * truth, "red", "blue")
    frame = pd.DataFrame(X).add_prefix("c").assign(colour=colours)
    frame["colour"] = frame["colour"].astype(object)
    frame.loc[::9, "c0"] = np.nan
    frame.loc[4, "colour"] = None
    labels = np.array(["no", "yes"], dtype=object)[truth]
    y = np.where(ids > 0, labels, None)
    frame.index = rng.permutation(1000)[:320]
    return frame, y, ids, labels


def test_words_and_gaps_with_a_pipeline(diagnosed):
    pd = pytest.importorskip("pandas")
    frame, y, ids, labels = make_frame(pd)
    numbers = [c for c in frame if c != "colour"]
    words = SimpleImputer(strategy="constant", fill_value="?")
    pipeline = make_pipeline(
        make_column_transformer(
            (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            (make_pipeline(words, OneHotEncoder(handle_unknown="ignore")), ["colour"]),
        ),
        LogisticRegression(),
    )
    Xt, truth = frame[ids < 0], labels[ids < 0]
    diagnosed("none")
    found = compare_adapters(frame, y, ids, pipeline, **SMALL)
    source = ids > 0
    by_hand = pipeline.fit(frame[source], labels[source])
    np.testing.assert_array_equal(found.estimator_.predict(Xt), by_hand.predict(Xt))
    inner = found.baseline_.estimator_[-1]
    np.testing.assert_array_equal(inner.coef_, by_hand[-1].coef_)
    for kind in ("feature", "label"):
        diagnosed(kind)
        found = compare_adapters(frame, y, ids, pipeline, **SMALL)
        predicted = found.estimator_.predict(Xt)
        assert set(predicted) == {"no", "yes"}
        assert np.mean(predicted == truth) > (0.65 if kind == "feature" else 0.5)
    other = compare_adapters(frame, labels, ids, pipeline, **SMALL)
    assert_same_rows(other, found)


def assert_same_rows(found, expected):
    for row, other in zip(figures(found), figures(expected), strict=True):
        for name, value in other.items():
            if isinstance(value, str):
                assert row[name] == value
            else:
                np.testing.assert_allclose(row[name], value, rtol=1e-9, err_msg=name)


def test_a_frame_of_numbers_keeps_its_names(recwarn, small):
    pd = pytest.importorskip("pandas")
    expected, (X, y, ids, _) = small
    frame = pd.DataFrame(X).add_prefix("length ")
    found = compare_adapters(frame, pd.Series(y), ids, LogisticRegression(), **SMALL)
    assert_same_rows(found, expected)
    assert "length " in str(found.shift)
    for model in (found.estimator_, found.baseline_, found.average_):
        model.predict(frame)
        assert list(model.feature_names_in_) == list(frame.columns)
    assert not [w for w in recwarn if "feature names" in str(w.message)]


def test_words_without_a_pipeline_are_refused():
    pd = pytest.importorskip("pandas")
    frame, y, ids, _ = make_frame(pd)
    for estimator in (None, LogisticRegression()):
        with pytest.raises(ValueError, match="no numbers.*Pipeline"):
            compare_adapters(frame, y, ids, estimator)


def test_several_sources_and_targets():
    X, y, ids, truth = make_task(n=320)
    rng = np.random.default_rng(0)
    ids = ids * rng.integers(1, 3, len(ids))
    X[ids == -2] += 1.0
    found = compare_adapters(X, y, ids, LogisticRegression(), **SMALL)
    assert not any(row["failure"] for row in found.rows)
    other = np.array([0, 5, 9])[np.abs(ids)] * np.sign(ids)
    again = compare_adapters(X, y, other, LogisticRegression(), **SMALL)
    assert_same_rows(again, found)
    for model in (found.estimator_, found.baseline_, found.average_):
        predicted = model.predict(X, sample_domain=ids)
        assert np.mean(predicted[ids < 0] == truth[ids < 0]) > 0.5


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.coo_array])
def test_sparse_rows(kind):
    X, y, ids, _ = make_task(d=8)
    X = np.where(np.abs(X) > 0.7, X, 0)
    adapters = {"kmm": KMM()}
    dense, found = (
        compare_adapters(
            rows, y, ids, LogisticRegression(), adapters=adapters, random_state=0
        )
        for rows in (X, kind(X))
    )
    for row, other in zip(found.rows, dense.rows, strict=True):
        for name in ("source_accuracy", "predicted_accuracy", "mixval", "agreement"):
            assert row[name] == pytest.approx(other[name], abs=0.02, nan_ok=True)
    assert found.baseline_.predict(sparse.csr_array(X)).shape == (240,)


def test_more_rows_than_are_compared():
    X, y, ids, truth = make_task(n=600)
    order = np.random.default_rng(0).permutation(600)
    found, other = (
        compare_adapters(
            X[rows], y[rows], ids[rows], LogisticRegression(), max_samples=200, **SMALL
        )
        for rows in (np.arange(600), order)
    )
    for row, permuted in zip(found.rows, other.rows):
        for name in ("source_accuracy", "predicted_accuracy", "mixval"):
            np.testing.assert_allclose(row[name], permuted[name], atol=1e-4)
    average = found.average_
    if found.best_ == AVERAGE:
        assert average.transduction_.shape == (300,)
    source = ids > 0
    by_hand = LogisticRegression().fit(X[source], truth[source])
    np.testing.assert_array_equal(found.baseline_.estimator_.coef_, by_hand.coef_)


def test_default():
    X, y, ids, truth = make_task(n=160)
    found = compare_adapters(X, y, ids, random_state=0)
    assert [row["name"] for row in found.rows][:3] == [
        "none, 1-NN",
        "none, logistic",
        "none, SVM",
    ]
    assert not any(row["failure"] for row in found.rows)
    best = max(found.rows[:3], key=lambda row: row["source_accuracy"])["name"]
    single = found.average_.named_estimators_[best]
    np.testing.assert_array_equal(found.baseline_.predict(X), single.predict(X))
    wrong = compare_adapters(X, np.where(ids > 0, truth, 0), ids, random_state=0)
    assert_same(wrong, found, X)


# ---------------------------------------------------------------------------
# Sentences
# ---------------------------------------------------------------------------


class OnlyLabels(ClassifierMixin, BaseEstimator):
    """Says nothing of how sure it is."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"estimator": CORAL()}, "CORAL is no classifier"),
        ({"estimator": TransferClassifier()}, "takes sample_domain itself"),
        ({"estimator": OnlyLabels()}, "neither decision_function nor predict_proba"),
        ({"estimator": 3}, "'estimator' parameter"),
        ({"adapters": {}}, "adapters is empty"),
        ({"adapters": "all"}, "'adapters' parameter"),
        ({"adapters": {"none": CORAL()}}, "'none'"),
        ({"class_shares": "alike"}, "'class_shares' parameter"),
        ({"class_shares": [0.5, 0.4]}, "share of each of the 2 classes"),
        ({"class_shares": [1.0]}, "share of each of the 2 classes"),
        ({"class_shares": [1.5, -0.5]}, "share of each of the 2 classes"),
        ({"class_shares": [np.nan, 1.0]}, "share of each of the 2 classes"),
        ({"cv": 1}, "'cv' parameter"),
        ({"max_samples": 3}, "'max_samples' parameter"),
    ],
)
def test_bad_parameters(parameters, words):
    X, y, ids, _ = make_task(n=60)
    parameters = {"estimator": LogisticRegression(), **parameters}
    with pytest.raises(ValueError, match=words):
        compare_adapters(X, y, ids, **parameters)


def test_bad_rows():
    X, y, ids, _ = make_task(n=60)
    for labels, domain, words in (
        (np.full(60, np.nan), ids, "no labelled source row"),
        (np.where(ids > 0, 1.0, np.nan), ids, "one class"),
        (y, np.abs(ids), "no target row"),
        (y[:-1], ids, "inconsistent numbers"),
        (y, np.where(np.arange(60) < 56, 1, -1), "4 target rows.*no fewer than 5"),
    ):
        with pytest.raises(ValueError, match=words):
            compare_adapters(X, labels, domain, LogisticRegression(), **SMALL)
    with pytest.raises(ValueError, match="No column of X varies"):
        compare_adapters(np.ones((60, 2)), y, ids, LogisticRegression(), **SMALL)
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        compare_adapters(X, y, ids, LogisticRegression(), **SMALL)


def test_scorers_and_table_agree(small):
    """The same figure by the scorer, for a model that holds out what the table does."""
    found, (X, y, ids, _) = small
    member = found.average_._members[0]
    held = member.held_out.max(axis=1)
    scores = found.average_.estimators_[0].decision_function(X[ids < 0])
    confidence = 1 / (1 + np.exp(-np.abs(scores) / member.temperature))
    share = member.correct.mean()
    threshold = np.sort(held)[::-1][round(share * len(held)) - 1]
    expected = np.mean(confidence >= threshold)
    assert found.rows[0]["atc"] == pytest.approx(expected, abs=0.02)
    assert atc_scorer(found.baseline_, X, y, sample_domain=ids) == pytest.approx(
        found.rows[0]["atc"], abs=0.1
    )


def test_adapters_of_any_kind():
    X, y, ids, _ = make_task()
    adapters = {
        "chain": make_pipeline(PerDomain(), SubspaceAlignment(2)),
        "weights": KMM(),
    }
    found = compare_adapters(X, y, ids, LogisticRegression(), adapters=adapters)
    assert not any(row["failure"] for row in found.rows)
