"""compare_adapters: its table restated by hand, its verdicts where truth is known."""

import json
import pickle
import re

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    PolynomialFeatures,
    StandardScaler,
)
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
from skadapt._calibration import _SoftmaxClassifier
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
    assert found.shift.kind in ("none", "unclear")
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
    hedged = 0.6 * mean + 0.4 * ones[0]
    np.testing.assert_allclose(found.average_.predict_proba(Xt)[:, 1], hedged)
    assert found.average_.unadapted_ == names[0]
    unadapted = ones[0] > 0.5
    assert [row["name"] for row in found.rows] == names
    assert [row["adapter"] for row in found.rows] == ["none", "scaled", "coral", "all"]
    for row, own in zip(found.rows, [*ones, hedged], strict=True):
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
    assert "labels every target row as without" in found.verdict


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


def test_label_shift_is_corrected_with_the_model_of_the_best_source_accuracy(diagnosed):
    """Rings, which no linear model tells apart: nearest neighbours, whose scores are no
    probabilities."""
    diagnosed("label")
    rng = np.random.default_rng(0)
    ids, truth = np.repeat([1, -1], 80), np.arange(160) % 2
    X = rng.normal(size=(160, 2))
    X *= (1 + 2 * truth / np.linalg.norm(X, axis=1))[:, np.newaxis]
    y = np.where(ids > 0, truth, np.nan)
    found = compare_adapters(X, y, ids, random_state=0)
    accuracy = {row["name"]: row["source_accuracy"] for row in found.rows[:3]}
    assert max(accuracy, key=accuracy.get) == "none, 1-NN" == found.average_.unadapted_
    assert found.best_ == CORRECTED
    own = found.average_.named_estimators_["none, 1-NN"].estimator
    by_hand = LabelShiftEM(_SoftmaxClassifier(clone(own)), random_state=0)
    by_hand.fit(X, y, sample_domain=ids)
    np.testing.assert_array_equal(
        found.estimator_.predict_proba(X), by_hand.predict_proba(X)
    )
    assert found.estimator_.score(X[ids < 0], truth[ids < 0]) > 0.9


def compared(diagnosed, **parameters):
    """The comparison where the columns are said to differ."""
    diagnosed("feature")
    X, y, ids, truth = make_task()
    labels = parameters.pop("labels", lambda y, ids, truth: y)(y, ids, truth)
    return compare_adapters(X, labels, ids, LogisticRegression(), **SMALL, **parameters)


def test_the_hedged_average_is_advised_where_the_columns_differ(diagnosed):
    found = compared(diagnosed)
    assert found.best_ == AVERAGE
    assert found.estimator_ is found.average_
    assert found.average_.hedge == 0.4
    assert found.average_.unadapted_ == "none, LogisticRegression"
    weights = [0.4 + 0.2, 0.2, 0.2]
    np.testing.assert_allclose(found.average_.estimator_weights_, weights, rtol=1e-12)
    assert "Use the average of 3 models" in found.verdict
    assert "Check that class shares are alike in both domains" in found.verdict


@pytest.mark.parametrize("mixval", [0.0, 1.0])
def test_mixtures_decide_nothing(diagnosed, monkeypatch, mixval):
    expected = compared(diagnosed)
    monkeypatch.setattr(
        _compare,
        "_mixval",
        lambda ensemble, *args: (
            np.full(len(ensemble.estimator_weights_), 0.5),
            mixval,
        ),
    )
    found = compared(diagnosed)
    assert found.rows[-1]["mixval"] == mixval
    assert (found.best_, found.verdict) == (AVERAGE, expected.verdict)


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
        ("unknown", True, "Check that class shares are alike"),
        ("same", True, None),
        ("different", False, "Class shares differ, and"),
        (shares_of(0.0), True, None),
        (shares_of(0.14), True, None),
        (shares_of(0.16), False, "16 % of the rows would have to change class"),
    ],
)
def test_class_shares(diagnosed, class_shares, adapts, words):
    found = compared(diagnosed, class_shares=class_shares)
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
def test_labels_of_the_target(diagnosed, use):
    found = compared(diagnosed, labels=some_labels(20, True), use_target_labels=use)
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
    found = compared(diagnosed, labels=some_labels(20, False), use_target_labels=use)
    assert (found.best_ == AVERAGE) == (not use)
    assert ("labelled target rows" in found.verdict) == use
    found = compared(diagnosed, labels=some_labels(2, False), use_target_labels=use)
    assert found.best_ == AVERAGE, "two rows of each class are too few"
    found = compared(diagnosed, use_target_labels=use)
    assert found.best_ == AVERAGE, "there are none"


def test_models_do_not_learn_from_the_labels_that_judge_them(diagnosed):
    first, second = (
        compared(
            diagnosed,
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


def test_labels_of_classes_that_the_source_lacks(diagnosed):
    found = compared(
        diagnosed,
        labels=lambda y, ids, truth: np.where((ids < 0) & (truth == 1), 9, y),
        use_target_labels=True,
    )
    assert all(row["target_label_accuracy"] == 0.0 for row in found.rows)


# Of which each is another.
EVIDENCE = {
    "adopted": {"n_tasks": 711, "gained": 613, "lost": 57},
    "label": {"n_tasks": 829, "gained": 741, "lost": 63},
    "error": {"average": 0.214, "atc": 0.415, "doc": 0.516},
    "error_of_average": 0.314,
}


def test_form_of_the_evidence():
    shipped = json.loads(_evidence.PATH.read_text())
    assert shipped.keys() == EVIDENCE.keys()
    for kind in ("adopted", "label", "error"):
        assert shipped[kind].keys() == EVIDENCE[kind].keys()
    for kind in ("adopted", "label"):
        found = shipped[kind]
        assert found["gained"] + found["lost"] <= found["n_tasks"]
    errors = [shipped["error_of_average"], *shipped["error"].values()]
    assert all(0 <= error < 1 for error in errors)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """Comparisons that end in each verdict, by what decides, with made-up evidence."""
    path = tmp_path_factory.mktemp("evidence") / "evidence.json"
    path.write_text(json.dumps(EVIDENCE))
    X, y, ids, truth = make_task()
    wrong = some_labels(20, False)(y, ids, truth)
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_evidence, "PATH", path)
        patch.setattr(_evidence, "evidence", _evidence.evidence.__wrapped__)
        patch.setattr(_compare, "evidence", _evidence.evidence)

        def compare(name, kind, y=y, adapters=SMALL["adapters"], **parameters):
            patch.setattr(
                _compare,
                "diagnose_shift",
                lambda *args, **kw: diagnose_shift(*args, **kw)._replace(kind=kind),
            )
            found[name] = compare_adapters(
                X,
                y,
                ids,
                LogisticRegression(),
                adapters=adapters,
                random_state=0,
                **parameters,
            )

        for kind in ("none", "unclear", "label"):
            compare(kind, kind)
        compare("average", "feature")
        compare("same", "feature", class_shares="same")
        compare("same, label", "label", class_shares="same")
        compare("different", "feature", class_shares="different")
        compare("shares", "feature", class_shares=shares_of(0.3))
        compare("labels", "feature", wrong, use_target_labels=True)
        with pytest.warns(UserWarning, match="1 of 2 candidates"):
            compare("failed", "feature", adapters={"broken": Fails()})
        patch.setattr(_compare, "_HEDGE", 0.99)
        compare("agreement", "feature")
    return found


def test_an_average_that_changes_no_label_is_not_advised(verdicts):
    """Its models may well disagree: it is the average that counts."""
    found = verdicts["agreement"]
    agreement = [row["agreement"] for row in found.rows]
    assert min(agreement) < 1.0 == agreement[-1]
    X, _, ids, _ = make_task()
    labels = found.baseline_.predict(X[ids < 0])
    np.testing.assert_array_equal(found.average_.transduction_, labels)
    assert found.best_ == "none, LogisticRegression"
    assert found.estimator_ is found.baseline_
    assert "labels every target row as without" in found.verdict


def test_figures_of_the_verdict(verdicts):
    """Those of the evidence, and predicted accuracies as in the table; no others."""
    ours, theirs = (
        f"{100 * verdicts['average'].rows[at]['predicted_accuracy']:.0f}"
        for at in (-1, 0)
    )
    assert ours != theirs
    stay, record = [theirs, "31"], ["711", "2", "613", "2", "57"]
    right = [
        f"{100 * verdicts['labels'].rows[at]['target_label_accuracy']:.0f}"
        for at in (-1, 0)
    ]
    for name, expected in {
        "none": stay,
        "unclear": stay,
        "label": ["829", "2", "741", "2", "63"],
        "average": ["3", ours, *stay, *record],
        "same": ["3", ours, *stay, *record],
        "same, label": stay,
        "different": stay,
        "failed": [
            f"{100 * verdicts['failed'].rows[0]['predicted_accuracy']:.0f}",
            "31",
        ],
        "shares": ["30", *stay],
        "labels": ["40", *right, *stay],
        "agreement": stay,
    }.items():
        found = verdicts[name]
        own = found.verdict.removeprefix(found.shift.finding)
        assert own != found.verdict
        assert re.findall(r"\d+", own) == expected, name


def test_no_verdict_says_anything_twice(verdicts):
    assert len({found.verdict for found in verdicts.values()}) == len(verdicts) == 11
    for name, found in verdicts.items():
        verdict = found.verdict
        assert verdict.startswith(found.shift.finding + " ")
        assert verdict.endswith(".") and ".." not in verdict and "  " not in verdict
        sentences = re.split(r"\.\s", verdict)
        assert len(set(sentences)) == len(sentences) > 1
        small = verdict.lower()
        advice = ("do not adapt", "use the average of", "correct the class shares")
        assert sum(small.count(words) for words in advice) == 1
        assert "compare adapters" not in small and "give more rows" not in small
        assert small.count("check that class shares are alike") == (name == "average")
        of_others = " (three classifiers and the default adapters) "
        quotes = name in ("label", "average", "same")
        assert verdict.count(of_others) == verdict.count("benchmark tasks") == quotes


def test_a_diagnosis_that_the_user_contradicts(verdicts):
    found = verdicts["same, label"]
    assert found.best_ == "none, LogisticRegression"
    assert "You say that these shares are alike" in found.verdict


def test_without_any_adapted_model_there_is_nothing_to_advise(verdicts):
    found = verdicts["failed"]
    assert found.best_ == "none, LogisticRegression"
    assert found.estimator_ is found.baseline_
    assert "No adapted model could be fitted." in found.verdict


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


def test_columns_of_the_report_are_named_by_the_steps_of_the_pipeline():
    pd = pytest.importorskip("pandas")
    X, y, ids, _ = make_task(d=2)
    frame = pd.DataFrame(X, columns=["length", "width"])
    products = PolynomialFeatures(2, include_bias=False)
    pipeline = make_pipeline(products, StandardScaler(), LogisticRegression())
    names = ["length", "width", "length^2", "length width", "width^2"]
    found = compare_adapters(frame, y, ids, pipeline, **SMALL)
    assert list(found.shift.columns.names) == names
    assert re.search(r"most in (length|width)", found.verdict)
    assert set(found.shift.columns.to_frame().index) == set(names)


def test_steps_that_name_no_columns():
    X, y, ids, _ = make_task()
    for pipeline in (
        make_pipeline(FunctionTransformer(np.abs), LogisticRegression()),
        make_pipeline(
            make_column_transformer((FunctionTransformer(np.abs), [0, 2])),
            LogisticRegression(),
        ),
    ):
        found = compare_adapters(X, y, ids, pipeline, **SMALL)
        n_columns = pipeline[:-1].fit_transform(X).shape[1]
        np.testing.assert_array_equal(found.shift.columns.names, np.arange(n_columns))


def test_the_recommended_pipeline_takes_rows_as_they_were_given(diagnosed):
    """Also where its steps have the name of the one that is added."""
    diagnosed("feature")
    X, y, ids, _ = make_task()
    steps = [("average", StandardScaler()), ("last", LogisticRegression())]
    found = compare_adapters(X, y, ids, Pipeline(steps), **SMALL)
    assert found.best_ == AVERAGE
    assert list(found.estimator_.named_steps) == ["average", "average_of_all"]
    assert found.estimator_[-1] is found.average_
    source = ids > 0
    Z = StandardScaler().fit(X[source]).transform(X)
    np.testing.assert_allclose(
        found.estimator_.predict_proba(X), found.average_.predict_proba(Z), rtol=1e-12
    )


def test_steps_of_a_pipeline_that_learn_from_labels_are_refused():
    X, y, ids, _ = make_task()
    select = SelectKBest(k=2)
    with pytest.raises(ValueError, match="without labels.*with the classifier"):
        compare_adapters(
            X, y, ids, make_pipeline(select, LogisticRegression()), **SMALL
        )
    cure = make_pipeline(StandardScaler(), make_pipeline(select, LogisticRegression()))
    found = compare_adapters(X, y, ids, cure, **SMALL)
    assert not any(row["failure"] for row in found.rows)


@pytest.mark.parametrize("seed", range(3))
def test_steps_that_follow_the_rows_they_were_fitted_to_are_no_shift(seed):
    """Components of the source alone tell halves of one population apart."""
    X = np.random.default_rng(seed).normal(size=(200, 300))
    ids, truth = np.repeat([1, -1], 100), np.arange(200) % 2
    y = np.where(ids > 0, truth, np.nan)
    steps = PCA(20, random_state=0), StandardScaler()
    of_source = make_pipeline(*steps).fit(X[ids > 0]).transform(X)
    assert diagnose_shift(of_source, y, ids, random_state=0).kind == "feature"
    pipeline = make_pipeline(*steps, LogisticRegression())
    found = compare_adapters(X, y, ids, pipeline, **SMALL)
    assert found.shift.kind == "none"
    assert found.best_ == "none, LogisticRegression"


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
    assert found.average_.unadapted_ == best
    assert "the default adapters" not in found.verdict, "these are the default"
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
        ({"adapters": {"a": CORAL}}, r"adapters\['a'\] is .*has no fit"),
        ({"adapters": {"a": "passthrough"}}, r"adapters\['a'\] is .*has no fit"),
        ({"class_shares": {0: 0.5, 1: 0.5}}, "'class_shares' parameter|share of each"),
        ({"class_shares": ["a", "b"]}, "share of each of the 2 classes"),
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
