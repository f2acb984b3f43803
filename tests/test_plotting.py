"""What is drawn is counted or computed again here."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

from skadapt import (
    CORAL,
    KMM,
    TCA,
    GaussianWeights,
    LabelShiftEM,
    NearestNeighborWeights,
    PerDomain,
    TransferClassifier,
    diagnose_shift,
)
from skadapt.datasets import make_covariate_shift, make_label_shift, make_scaling
from skadapt.plotting import (
    AdapterAccuracyDisplay,
    AdapterGainDisplay,
    CalibrationComparisonDisplay,
    ClassSharesDisplay,
    ColumnShiftDisplay,
    DomainROCDisplay,
    WeightsDisplay,
    plot_domains,
)

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def pyplot():
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


@pytest.fixture(scope="module")
def data():
    return make_covariate_shift(120, 100, random_state=0)


def heights(display):
    """Bars of a histogram drawn with ``histtype="bar"``."""
    return np.array([bar.get_height() for bar in display.patches_])


def legend(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def test_bars_count_the_weights():
    rng = np.random.default_rng(0)
    weights = np.exp(rng.normal(size=500))
    display = WeightsDisplay.from_weights(weights, bins=12, histtype="bar")
    logs = np.log10(weights / weights.mean())
    counts, edges = np.histogram(logs, bins=12)
    np.testing.assert_array_equal(heights(display), counts)
    left = [bar.get_x() for bar in display.patches_]
    np.testing.assert_allclose(np.log10(left), edges[:-1], atol=1e-12)
    assert display.ax_.get_xscale() == "log"
    assert display.ax_.get_xlabel() == "weight / mean weight"
    assert display.ax_.get_ylabel() == "source rows"
    assert display.figure_ is display.ax_.figure


def test_zeros_are_counted_in_the_legend():
    weights = np.r_[np.zeros(7), np.ones(3), 2.0]
    display = WeightsDisplay.from_weights(weights, name="mine", histtype="bar")
    assert heights(display).sum() == 4
    assert display.n_zeros == 7
    assert display.effective_sample_size == pytest.approx(25 / 7)
    assert legend(display) == ["mine: 3.6 of 11 rows (7 weights of 0)"]
    title = display.ax_.get_legend().get_title().get_text()
    assert title == "Effective sample size"
    plain = WeightsDisplay.from_weights([1.0, 2.0])
    assert legend(plain) == ["1.8 of 2 rows"]


@pytest.mark.parametrize(
    "weights",
    [
        np.full(20, 3.0),
        [5.0],
        np.r_[1e-320, 1e-300, 1.0, 1e140],
        np.r_[1e140, 2e140],
        np.arange(10),
        np.float32([1, 2, 3]),
    ],
    ids=["equal", "one", "far apart", "large", "ints", "single"],
)
def test_every_positive_weight_is_drawn(weights):
    with np.errstate(all="raise", under="ignore"):
        display = WeightsDisplay.from_weights(weights, histtype="bar")
    assert heights(display).sum() == np.count_nonzero(weights)
    assert np.isfinite(display.ax_.get_xlim()).all()
    display.figure_.canvas.draw()


def test_weights_of_an_estimator(data):
    weighter = GaussianWeights().fit(data.X, sample_domain=data.sample_domain)
    display = WeightsDisplay.from_estimator(weighter)
    assert display.weights is not None and display.name == "GaussianWeights"
    np.testing.assert_array_equal(display.weights, weighter.weights_)
    assert display.effective_sample_size == weighter.effective_sample_size_
    assert legend(display)[0].startswith("GaussianWeights: ")
    named = WeightsDisplay.from_estimator(weighter, name="another")
    assert legend(named)[0].startswith("another: ")


@pytest.mark.parametrize(
    "adapter", [KMM(), make_pipeline(PerDomain(), KMM())], ids=["alone", "pipeline"]
)
def test_weights_within_a_transfer_estimator(data, adapter):
    model = TransferClassifier(adapter=adapter)
    model.fit(data.X, data.y, sample_domain=data.sample_domain)
    display = WeightsDisplay.from_estimator(model)
    weighter = model.adapter_ if adapter.__class__ is KMM else model.adapter_[-1]
    np.testing.assert_array_equal(display.weights, weighter.weights_)
    assert display.name == "KMM"


def test_several_weighters_on_one_axes(data, pyplot):
    _, ax = pyplot.subplots()
    for weighter in (NearestNeighborWeights("loog", smoothing=0.0), GaussianWeights()):
        weighter.fit(data.X, sample_domain=data.sample_domain)
        display = WeightsDisplay.from_estimator(weighter, ax=ax, color="k", alpha=0.3)
        assert display.ax_ is ax
    first, second = legend(display)
    assert "weights of 0" in first and second.startswith("GaussianWeights")
    assert display.patches_[0].get_facecolor() == (0, 0, 0, 0.3)


def test_drawn_again(data):
    display = WeightsDisplay(weights=np.array([1.0, 2.0, 4.0]), name="a")
    assert not hasattr(display, "ax_")
    assert display.plot() is display
    first = display.ax_
    display.plot(name="b")
    assert display.ax_ is not first
    assert legend(display)[0].startswith("b: ") and display.name == "a"


def test_legend_hides_no_bar(data):
    weighter = KMM().fit(data.X, sample_domain=data.sample_domain)
    display = WeightsDisplay.from_estimator(weighter)
    display.figure_.canvas.draw()
    box = display.ax_.get_legend().get_window_extent()
    assert box.y0 >= display.ax_.get_window_extent().y1 - 1
    assert box.y1 <= display.figure_.bbox.y1 and box.x1 <= display.figure_.bbox.x1


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, -1.0], "not negative"),
        ([1.0, np.nan], "finite"),
        ([1.0, np.inf], "finite"),
        ([0.0, 0.0], "nothing to draw"),
        ([], "nothing to draw"),
        ([[1.0, 2.0], [3.0, 4.0]], "1d"),
    ],
)
def test_bad_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        WeightsDisplay.from_weights(weights)


def test_estimators_without_weights_are_refused(data):
    with pytest.raises(NotFittedError):
        WeightsDisplay.from_estimator(KMM())
    for model in (TransferClassifier(), TransferClassifier(adapter=CORAL())):
        model.fit(data.X, data.y, sample_domain=data.sample_domain)
        with pytest.raises(ValueError, match="TransferClassifier gives no weights"):
            WeightsDisplay.from_estimator(model)


def test_matplotlib_is_asked_for_when_it_is_needed():
    """Without it the module is imported, and drawing says what is missing."""
    code = """
import sys
sys.modules["matplotlib"] = None
from skadapt.plotting import WeightsDisplay
display = WeightsDisplay(weights=[1.0, 2.0])
for draw in (display.plot, lambda: WeightsDisplay.from_weights([1.0, 2.0])):
    try:
        draw()
    except ImportError as error:
        assert "requires matplotlib" in str(error), error
    else:
        raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# Both domains, before and after mappers


@pytest.fixture(scope="module")
def scaled():
    """Four columns, domains interleaved."""
    data = make_scaling(60, 50, random_state=0)
    rows = np.random.default_rng(0).permutation(110)
    X = np.c_[data.X, data.X[:, ::-1] ** 2][rows][:, :4]
    return X, data.y[rows], data.sample_domain[rows]


def drawn(ax):
    """All points of one Axes."""
    return np.vstack([part.get_offsets() for part in ax.collections])


def sorted_rows(Z):
    return Z[np.lexsort(Z.T)]


def test_every_row_is_drawn_where_its_mapper_puts_it(scaled):
    X, y, ids = scaled
    mappers = [PerDomain(), make_pipeline(PerDomain(), TCA(2))]
    plot = plot_domains(X, y, ids, mappers)
    titles = [ax.get_title() for ax in plot.axes]
    assert titles == ["before", "PerDomain", "PerDomain, TCA"]
    Z = PerDomain().fit(X, y, sample_domain=ids).transform(X, sample_domain=ids)
    Z = Z - Z.mean(axis=0)
    _, vectors = np.linalg.eigh(Z.T @ Z)
    np.testing.assert_allclose(
        np.abs(plot.points[1]), np.abs(Z @ vectors[:, :-3:-1]), atol=1e-9
    )
    # Two columns are drawn as they are.
    Z = PerDomain().fit(X, y, sample_domain=ids).transform(X, sample_domain=ids)
    mapped = TCA(2).fit(Z, sample_domain=ids).transform(Z)
    np.testing.assert_allclose(plot.points[2], mapped)
    for ax, points in zip(plot.axes, plot.points):
        np.testing.assert_allclose(sorted_rows(drawn(ax)), sorted_rows(points))
        assert ax.figure is plot.figure
    plot.figure.canvas.draw()


def test_colour_is_the_class_and_marker_the_domain(scaled):
    X, y, ids = scaled
    ids = np.where(ids < 0, ids, 1 + (X[:, 0] > np.median(X[:, 0])))
    plot = plot_domains(X, y, ids)
    (ax,), (Z,) = plot.axes, plot.points
    places = {tuple(point): row for row, point in enumerate(Z)}
    seen = {}
    for part in ax.collections:
        if len(part.get_offsets()):
            key = tuple(part.get_facecolor()[0]), len(part.get_paths()[0].vertices)
            rows = [places[tuple(point)] for point in part.get_offsets()]
            assert len(set(y[rows])) == len(set(ids[rows])) == 1
            seen.setdefault(key, set()).add((y[rows[0]], ids[rows[0]]))
    assert all(len(group) == 1 for group in seen.values())
    assert len(seen) == len({*zip(y, ids)})
    texts = [text.get_text() for text in plot.figure.legends[0].get_texts()]
    classes = sorted({str(label) for label in y})
    assert texts == ["source 1", "source 2", "target", *classes]


@pytest.mark.parametrize("labels", ["float", "object", None])
def test_rows_without_label_are_grey(scaled, labels):
    X, y, ids = scaled
    y = y.astype(float) if labels == "float" else y.astype(object)
    y[ids < 0] = np.nan if labels == "float" else None
    plot = plot_domains(X, None if labels is None else y, ids)
    grey = [
        part
        for part in plot.axes[0].collections
        if len(part.get_offsets()) and len({*part.get_facecolor()[0][:3]}) == 1
    ]
    points = np.vstack([part.get_offsets() for part in grey])
    expected = plot.points[0][ids < 0] if labels else plot.points[0]
    np.testing.assert_allclose(sorted_rows(points), sorted_rows(expected))


def test_mappers_see_no_target_label(scaled):
    X, y, ids = scaled
    seen = []

    class Recorder(PerDomain):
        def fit(self, X, y=None, *, sample_domain=None):
            seen.append(y)
            return super().fit(X, y, sample_domain=sample_domain)

    mapper = Recorder()
    plot_domains(X, y, ids, [mapper])
    np.testing.assert_array_equal(np.isnan(seen[0]), ids < 0)
    np.testing.assert_array_equal(seen[0][ids > 0], y[ids > 0])
    assert not hasattr(mapper, "n_features_in_")  # a clone was fitted


def test_at_most_max_rows_of_each_domain(scaled):
    X, y, ids = scaled
    plot = plot_domains(X, y, ids, max_rows=7)
    places = {tuple(point) for point in drawn(plot.axes[0])}
    kept = np.array([tuple(point) in places for point in plot.points[0]])
    assert kept[ids > 0].sum() == kept[ids < 0].sum() == 7
    again = drawn(plot_domains(X, y, ids, max_rows=7).axes[0])
    np.testing.assert_array_equal(again, drawn(plot.axes[0]))
    assert len(drawn(plot_domains(X, y, ids, max_rows=None).axes[0])) == 110


def test_one_column_and_sparse_rows(scaled):
    X, y, ids = scaled
    lines = plot_domains(X[:, :1], y, ids).points[0]
    np.testing.assert_array_equal(lines[:, 0], X[:, 0])
    assert set(lines[ids > 0, 1]) == {1} and set(lines[ids < 0, 1]) == {0}
    counts = np.abs(X)
    plot = plot_domains(
        sparse.csr_array(counts), y, ids, [PerDomain(MaxAbsScaler()), MaxAbsScaler()]
    )
    centred = counts - counts.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    np.testing.assert_allclose(
        np.abs(plot.points[0]), np.abs(centred @ vectors[:, :-3:-1]), atol=1e-9
    )


def test_panels_wrap_and_axes_can_be_given(scaled, pyplot):
    X, y, ids = scaled
    plot = plot_domains(X, y, ids, [("a", StandardScaler())] * 4)
    assert len(plot.axes) == len(plot.figure.axes) == 5
    figure, axes = pyplot.subplots(1, 3)
    plot = plot_domains(X, y, ids, [CORAL()], axes=axes[:2])
    assert plot.figure is figure and plot.axes[1] is axes[1]
    assert not axes[2].collections
    assert axes[1].get_legend() is not None and not figure.legends


def test_many_classes_have_no_legend():
    rng = np.random.default_rng(0)
    X, y, ids = rng.normal(size=(60, 3)), np.arange(60) % 12, np.repeat([1, -1], 30)
    plot = plot_domains(X, y, ids)
    texts = [text.get_text() for text in plot.figure.legends[0].get_texts()]
    assert texts == ["source", "target"]
    colours = {tuple(part.get_facecolor()[0]) for part in plot.axes[0].collections}
    assert len(colours) == 12


def test_inputs_stay_as_they_are(scaled):
    X, y, ids = (array.copy() for array in scaled)
    for array in (X, y, ids):
        array.flags.writeable = False
    plot_domains(X, y, ids, [PerDomain()])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mappers": [KMM()]}, "KMM maps no rows"),
        ({"mappers": [make_pipeline(PerDomain(), KMM())]}, "Pipeline maps no rows"),
        ({"mappers": [None]}, "NoneType maps no rows"),
        ({"mappers": CORAL()}, "'mappers' parameter"),
        ({"axes": [1, 2]}, "2 axes for 1 panels"),
        ({"max_rows": 0}, "'max_rows' parameter"),
        ({"y": [0, 1]}, "inconsistent"),
        ({"sample_domain": np.ones(110, dtype=int)}, "target"),
    ],
)
def test_bad_plots_are_refused(scaled, change, message):
    X, y, ids = scaled
    with pytest.raises(ValueError, match=message):
        plot_domains(**{"X": X, "y": y, "sample_domain": ids, **change})


def test_plot_domains_takes_classes_only():
    rng = np.random.default_rng(0)
    X, ids = rng.normal(size=(40, 3)), np.repeat([1, -1], 20)
    with pytest.raises(ValueError, match="continuous"):
        plot_domains(X, rng.normal(size=40), ids)


# --- ROC of the domains


class _NoClassifier(Ridge):
    def predict_proba(self, X):
        raise NotImplementedError


@pytest.fixture(scope="module")
def domains():
    return make_scaling(120, 90, random_state=0)


def test_roc_before_is_that_of_cross_validation(domains):
    X, ids = domains.X, domains.sample_domain
    model = LogisticRegression()
    display = DomainROCDisplay.from_mappers(
        X, domains.y, ids, estimator=model, cv=4, random_state=0
    )
    folds = StratifiedKFold(4, shuffle=True, random_state=np.random.RandomState(0))
    splits = list(folds.split(X, ids))
    score = cross_val_predict(model, X, ids < 0, cv=splits, method="predict_proba")
    areas = [roc_auc_score(ids[test] < 0, score[test, 1]) for _, test in splits]
    assert display.auc[0] == pytest.approx(np.mean(areas))
    assert display.auc_std[0] == pytest.approx(np.std(areas))
    assert np.trapezoid(display.tpr[0], display.fpr) == pytest.approx(
        np.mean(areas), abs=0.01
    )
    assert legend(display)[0].startswith("before: ")
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), display.tpr[0])


def test_roc_after_a_map_is_honest(domains):
    """Halves of one sample: .5, where a map of all rows gives far less."""
    rng = np.random.default_rng(0)
    X, ids = rng.normal(size=(120, 30)), np.repeat([1, -1], 60)
    linear = LogisticRegression()
    display = DomainROCDisplay.from_mappers(
        X, None, ids, [PerDomain()], estimator=linear, random_state=0
    )
    assert display.names == ["before", "PerDomain"]
    assert display.auc[1] > 0.4
    mapped = PerDomain().fit_transform(X, sample_domain=ids)
    dishonest = DomainROCDisplay.from_mappers(
        mapped, None, ids, estimator=linear, random_state=0
    )
    assert dishonest.auc[0] < 0.25


def test_roc_of_mappers(domains):
    X, y, ids = domains.X, domains.y, domains.sample_domain
    display = DomainROCDisplay.from_mappers(
        X, y, ids, [("mine", PerDomain()), make_pipeline(PerDomain(), CORAL())],
        random_state=0,
    )  # fmt: skip
    assert display.names == ["before", "mine", "PerDomain, CORAL"]
    assert display.auc[0] > 0.9
    assert (np.abs(display.auc[1:] - 0.5) < 0.12).all()
    assert ((display.tpr >= 0) & (display.tpr <= 1)).all()
    hidden = np.where(ids < 0, 1 - y, y)
    again = DomainROCDisplay.from_mappers(X, hidden, ids, [PerDomain()], random_state=0)
    np.testing.assert_array_equal(again.tpr, display.tpr[:2])


def test_roc_of_sparse_rows_and_given_axes(domains, pyplot):
    _, ax = pyplot.subplots()
    X = sparse.csr_array(np.where(domains.X > 0, domains.X, 0))
    display = DomainROCDisplay.from_mappers(
        X, domains.y, domains.sample_domain, [MaxAbsScaler()], random_state=0, ax=ax
    )
    assert display.ax_ is ax and display.figure_ is ax.figure
    assert display.auc[0] > 0.7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mappers": [GaussianWeights()]}, "maps no rows"),
        ({"cv": 100}, "at least 100 rows in each domain, and domain -1 has 90"),
        ({"estimator": _NoClassifier()}, "must be a classifier"),
    ],
)
def test_roc_refuses(domains, options, message):
    with pytest.raises(ValueError, match=message):
        DomainROCDisplay.from_mappers(
            domains.X, domains.y, domains.sample_domain, **options
        )


# --- calibration


def test_reliability_is_counted_again():
    rng = np.random.default_rng(0)
    P = rng.dirichlet(np.ones(3), size=90)
    y = np.array(["a", "b", "c"])[rng.integers(3, size=90)]
    display = CalibrationComparisonDisplay.from_predictions(y, {"m": P}, n_bins=3)
    order = np.argsort(P.max(axis=1))
    error = 0.0
    for group in range(3):
        rows = order[30 * group : 30 * group + 30]
        x = P[rows].max(axis=1).mean()
        hit = np.mean([y[i] == "abc"[P[i].argmax()] for i in rows])
        assert display.confidence[0][group] == pytest.approx(x)
        assert display.accuracy[0][group] == pytest.approx(hit)
        error += abs(x - hit) / 3
    assert display.error[0] == pytest.approx(error)
    np.testing.assert_array_equal(
        display.lines_[0].get_xydata()[:, 1], display.accuracy[0]
    )
    assert legend(display) == [f"m: {error:.3f}".replace("0.", ".")]


def test_reliability_of_estimators_is_of_labelled_target_rows():
    data = make_label_shift(200, 150, random_state=0)
    X, ids = data.X, data.sample_domain
    y = data.y.astype(float)
    y[ids < 0] = np.where(np.arange((ids < 0).sum()) < 100, y[ids < 0], np.nan)
    model = LabelShiftEM(random_state=0).fit(X, data.y, sample_domain=ids)
    models = {"before": model.estimator_, "after": model}
    display = CalibrationComparisonDisplay.from_estimators(
        models, X, y, sample_domain=ids
    )
    rows = (ids < 0) & ~np.isnan(y)
    expected = CalibrationComparisonDisplay.from_predictions(
        data.y[rows], {name: m.predict_proba(X[rows]) for name, m in models.items()}
    )
    assert display.names == ["before", "after"]
    np.testing.assert_allclose(display.error, expected.error)
    assert len(display.lines_) == 2


@pytest.mark.parametrize(
    ("y", "models", "message"),
    [
        ([0, 1], {"m": np.eye(2)}, "do not fill n_bins=10"),
        ([0, 1], {"m": np.ones((2, 3))}, "have shape"),
        ([0, 1], {}, "at least one by name"),
    ],
)
def test_reliability_refuses(y, models, message):
    with pytest.raises(ValueError, match=message):
        CalibrationComparisonDisplay.from_predictions(y, models)


def test_reliability_refuses_estimators(data):
    X = data.X
    with pytest.raises(NotFittedError):
        CalibrationComparisonDisplay.from_estimators(
            {"m": LogisticRegression()}, X, data.y
        )
    ridge = Ridge().fit(X, data.y)
    with pytest.raises(ValueError, match="no predict_proba"):
        CalibrationComparisonDisplay.from_estimators({"m": ridge}, X, data.y)
    hidden = np.full(len(X), np.nan)
    with pytest.raises(ValueError, match="No target row is labelled"):
        CalibrationComparisonDisplay.from_estimators({"m": ridge}, X, hidden)


# --- class shares, columns, gains


@pytest.fixture(scope="module")
def diagnosis():
    data = make_label_shift(200, 200, n_features=3, random_state=0)
    return diagnose_shift(data.X, data.y, data.sample_domain, random_state=0)


def test_class_shares(diagnosis):
    display = ClassSharesDisplay.from_diagnosis(diagnosis, true=[0.8, 0.2])
    for bars, shares in zip(
        display.bars_, (diagnosis.source_priors, diagnosis.target_priors)
    ):
        np.testing.assert_allclose([bar.get_height() for bar in bars], shares)
    assert set(legend(display)) == {"source", "target, estimated", "target, true"}
    ticks = [text.get_text() for text in display.ax_.get_xticklabels()]
    assert ticks == ["0", "1"]


def test_class_shares_of_an_estimator(data):
    model = LabelShiftEM(random_state=0)
    model.fit(data.X, data.y, sample_domain=data.sample_domain)
    display = ClassSharesDisplay.from_estimator(model)
    np.testing.assert_array_equal(display.target, model.target_prior_)
    np.testing.assert_array_equal(display.std, model.target_prior_std_)
    assert "target, true" not in legend(display)
    plain = LogisticRegression().fit(data.X, data.y)
    with pytest.raises(ValueError, match="no target_prior_"):
        ClassSharesDisplay.from_estimator(plain)


def test_class_shares_without_and_with_endless_errors():
    names = ["a class of a long name", "b"]
    plain = ClassSharesDisplay.from_shares(names, [0.5, 0.5], [0.1, 0.9])
    assert plain.ax_.get_xticklabels()[0].get_rotation() == 30
    endless = ClassSharesDisplay.from_shares(
        names, [0.5, 0.5], [0.1, 0.9], std=[np.inf, 0.2]
    )
    (segments,) = [line.get_segments() for line in endless.ax_.collections]
    assert len(segments) == 1
    np.testing.assert_allclose(segments[0][:, 1], [0.5, 1.0])
    with pytest.raises(ValueError, match="true has 3 values for 2 classes"):
        ClassSharesDisplay.from_shares(names, [0.5] * 2, [0.5] * 2, true=[0, 0, 1])


@pytest.mark.parametrize("effect", ["ks", "difference"])
def test_columns_are_drawn_by_effect(diagnosis, effect):
    columns = diagnosis.columns
    display = ColumnShiftDisplay.from_diagnosis(diagnosis, effect=effect, n_columns=2)
    values = getattr(columns, effect)
    order = np.argsort(-np.abs(values))[:2]
    widths = [bar.get_width() for bar in display.bars_]
    np.testing.assert_allclose(widths, values[order])
    ticks = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert ticks == [str(name) for name in columns.names[order]]
    assert display.ax_.get_title() == "1 columns differ less"
    assert display.ax_.yaxis_inverted()


def test_columns_are_coloured_by_significance(diagnosis):
    columns = diagnosis.columns._replace(pvalue_adjusted=np.array([0.5, 0.01, 0.03]))
    own = diagnosis._replace(columns=columns)
    display = ColumnShiftDisplay.from_diagnosis(own, alpha=0.02)
    colours = {bar.get_facecolor() for bar in display.bars_}
    assert len(colours) == 2
    assert display.significant.sum() == 1
    assert display.names[display.significant] == [columns.names[1]]
    assert set(legend(display)) == {"significant", "not significant"}
    none = ColumnShiftDisplay.from_diagnosis(own, alpha=0.0)
    assert legend(none) == ["not significant"]


def test_gains_are_sorted_and_coloured():
    names, gains, errors = ["a", "b", "c"], [-5.0, 3.0, 1.0], [1.0, 2.0, 4.0]
    display = AdapterGainDisplay.from_gains(names, gains, errors=errors)
    assert display.names == ["b", "c", "a"]
    np.testing.assert_array_equal(display.gains, [3, 1, -5])
    colours = [bars[0].get_color() for bars in display.points_]
    assert len(set(colours)) == 3
    for place, bars in enumerate(display.points_):
        assert bars[0].get_xydata().tolist() == [[display.gains[place], place]]
        (segment,) = bars[2][0].get_segments()
        assert np.ptp(segment[:, 0]) == pytest.approx(2 * display.errors[place])
    kept = AdapterGainDisplay.from_gains(names, gains, sort=False, label="points")
    assert kept.names == names
    assert kept.ax_.get_xlabel() == "points"
    assert all(not bars.has_xerr for bars in kept.points_)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["a"], [1.0, 2.0]), "1 names, 2 gains and no errors"),
        (([], []), "at least one"),
        ((["a"], [np.nan]), "finite"),
        ((["a"], [1.0], [-1.0]), "at least 0"),
        ((["a"], [1.0], [1.0, 2.0]), "2 errors"),
    ],
)
def test_gains_refused(arguments, message):
    names, gains, *errors = arguments
    with pytest.raises(ValueError, match=message):
        AdapterGainDisplay.from_gains(
            names, gains, errors=errors[0] if errors else None
        )


def test_accuracy_of_adapters():
    class Comparison:
        rows = (
            {"name": "none, A", "adapter": "none", "source_accuracy": 0.9,
             "predicted_accuracy": 0.6},
            {"name": "TCA, A", "adapter": "TCA", "source_accuracy": 0.8,
             "predicted_accuracy": 0.7},
            {"name": "KMM, A", "adapter": "KMM", "source_accuracy": None},
        )  # fmt: skip
        best_ = "TCA, A"

    display = AdapterAccuracyDisplay.from_comparison(Comparison())
    drawn = [points.get_offsets().tolist() for points in display.ax_.collections]
    assert drawn == [[[0.8, 0.7]], [[0.9, 0.6]], [[0.8, 0.7]]]
    points = ["adapted", "no adaptation", "recommended: TCA, A"]
    assert legend(display) == [*points, "as on the source"]
    assert not np.isfinite(display.source[2])

    Comparison.best_ = "average of all"
    Comparison.rows += (
        {"name": "average of all", "adapter": "all", "predicted_accuracy": 0.65,
         "source_accuracy": np.nan},
    )  # fmt: skip
    display = AdapterAccuracyDisplay.from_comparison(Comparison())
    line = display.ax_.lines[0]
    assert list(line.get_ydata()) == [0.65, 0.65]
    assert line.get_label() == "recommended: average of all"
