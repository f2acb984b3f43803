"""Whether predicted probabilities are right, for several models."""

from numbers import Integral

import numpy as np
from sklearn.utils import _safe_indexing, check_consistent_length
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import _num_samples, check_is_fitted, column_or_1d

from skadapt._domains import as_labels, check_sample_domain, is_labeled, natural_labels
from skadapt.plotting._axes import GREY, given_or_new_axes, without_leading_zero


class CalibrationComparisonDisplay:
    """Reliability of several models on the same labelled rows.

    Rows are sorted by the probability of the predicted class and cut into groups of
    equal size; a point is the accuracy of a group against its mean probability. On
    the diagonal probabilities are right, below it the model promises too much, which
    is usual for a model of the source on the target.

    Use `from_estimators` or `from_predictions` rather than the constructor.

    Parameters
    ----------
    confidence : list of ndarray of shape (n_bins,)
        Mean probability of the predicted class in each group, one array a model.
    accuracy : list of ndarray of shape (n_bins,)
        Share of right predictions in each group.
    error : list of float
        Mean distance between the two, the expected calibration error.
    names : list of str
        Names of the models.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last `plot`.
    figure_ : matplotlib Figure
        Figure of the last `plot`.
    lines_ : list of matplotlib Line2D
        The curves of the last `plot`.

    See Also
    --------
    skadapt.LabelShiftEM : Calibrates, and corrects class shares.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from skadapt import LabelShiftEM
    >>> from skadapt.datasets import make_label_shift
    >>> from skadapt.plotting import CalibrationComparisonDisplay
    >>> data = make_label_shift(1000, 1000, priors_target=(0.95, 0.05), random_state=0)
    >>> target = data.sample_domain < 0
    >>> model = LabelShiftEM(random_state=0)
    >>> model = model.fit(data.X, data.y, sample_domain=data.sample_domain)
    >>> display = CalibrationComparisonDisplay.from_estimators(
    ...     {"before": model.estimator_, "after": model},
    ...     data.X[target],
    ...     data.y[target],
    ... )
    >>> before, after = display.error
    >>> bool(after < before)
    True
    """

    def __init__(self, *, confidence, accuracy, error, names):
        self.confidence = confidence
        self.accuracy = accuracy
        self.error = error
        self.names = names

    def plot(self, ax=None, **kwargs):
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None: new ones.
        **kwargs : dict
            Keywords of ``matplotlib.axes.Axes.plot``, for all curves.

        Returns
        -------
        display : CalibrationComparisonDisplay
            The display, with `ax_`, `figure_` and `lines_`.
        """
        ax = given_or_new_axes(ax, f"{type(self).__name__}.plot", (4.8, 4.6))
        lowest = min(
            min(x.min(), y.min()) for x, y in zip(self.confidence, self.accuracy)
        )
        low = max(0.0, np.floor(10 * lowest) / 10)
        ax.plot([low, 1], [low, 1], ls="--", lw=1, color=GREY, zorder=1)
        self.lines_ = []
        for x, y, error, name in zip(
            self.confidence, self.accuracy, self.error, self.names
        ):
            label = f"{name}: {without_leading_zero(error, 3)}"
            style = {"marker": "o", "ms": 4, "label": label, **kwargs}
            self.lines_ += ax.plot(x, y, **style)
        ax.set(
            xlabel="mean probability of the predicted class",
            ylabel="share of right predictions",
            xlim=(low - 0.01, 1.01),
            ylim=(low - 0.01, 1.01),
            aspect="equal",
        )
        ax.legend(title="Calibration error", loc="upper left", frameon=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_estimators(
        cls, estimators, X, y, *, sample_domain=None, n_bins=10, ax=None, **kwargs
    ):
        """Predict rows with several fitted classifiers, and draw.

        Parameters
        ----------
        estimators : dict of str to classifier
            Fitted classifiers with ``predict_proba``, by name.
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            True labels; rows with NaN or None are left out.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, of which the target rows (< 0) are drawn. None: all
            rows are target rows.
        n_bins : int, default=10
            Number of groups.
        ax : matplotlib Axes, default=None
            Axes to draw on. None: new ones.
        **kwargs : dict
            Keywords of ``matplotlib.axes.Axes.plot``, for all curves.

        Returns
        -------
        display : CalibrationComparisonDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If no row is labelled, if there are fewer of them than groups, or if a
            classifier has no ``predict_proba``.
        NotFittedError
            If a classifier was not fitted.
        """
        y = as_labels(y)
        check_consistent_length(X, y)
        rows = is_labeled(y)
        if sample_domain is not None:
            rows &= check_sample_domain(sample_domain, _num_samples(X)) < 0
        if not rows.any():
            raise ValueError(
                "No target row is labelled: reliability takes the labels of some."
            )
        X, y = _safe_indexing(X, np.flatnonzero(rows)), natural_labels(y[rows])
        probabilities = {}
        for name, estimator in estimators.items():
            check_is_fitted(estimator)
            if not hasattr(estimator, "predict_proba"):
                raise ValueError(
                    f"{type(estimator).__name__} has no predict_proba: wrap it in "
                    "CalibratedClassifierCV before it is fitted."
                )
            probabilities[name] = (estimator.predict_proba(X), estimator.classes_)
        return cls._from_pairs(y, probabilities, n_bins, ax, kwargs)

    @classmethod
    def from_predictions(
        cls, y, probabilities, *, classes=None, n_bins=10, ax=None, **kwargs
    ):
        """Draw predicted probabilities.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
            True labels.
        probabilities : dict of str to array-like of shape (n_samples, n_classes)
            Predicted probabilities, by name of the model.
        classes : array-like of shape (n_classes,), default=None
            Labels of the columns. None: the sorted values of y.
        n_bins : int, default=10
            Number of groups.
        ax : matplotlib Axes, default=None
            Axes to draw on. None: new ones.
        **kwargs : dict
            Keywords of ``matplotlib.axes.Axes.plot``, for all curves.

        Returns
        -------
        display : CalibrationComparisonDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the probabilities do not fit the labels in shape, or there are fewer
            rows than groups.
        """
        y = column_or_1d(y)
        classes = np.unique(y) if classes is None else np.asarray(classes)
        pairs = {
            name: (np.asarray(P, dtype=np.float64), classes)
            for name, P in probabilities.items()
        }
        return cls._from_pairs(y, pairs, n_bins, ax, kwargs)

    @classmethod
    def _from_pairs(cls, y, pairs, n_bins, ax, kwargs):
        if not pairs:
            raise ValueError("There is no model to draw: give at least one by name.")
        curves = [
            _reliability(y, P, classes, name, n_bins)
            for name, (P, classes) in pairs.items()
        ]
        confidence, accuracy, error = (list(part) for part in zip(*curves))
        display = cls(
            confidence=confidence, accuracy=accuracy, error=error, names=list(pairs)
        )
        return display.plot(ax, **kwargs)


@validate_params(
    {"n_bins": [Interval(Integral, 1, None, closed="left")]},
    prefer_skip_nested_validation=True,
)
def _reliability(y, P, classes, name, n_bins):
    """Mean confidence and accuracy of each group, and their mean distance."""
    if P.shape != (len(y), len(classes)):
        raise ValueError(
            f"The probabilities of {name} have shape {P.shape} for {len(y)} rows and "
            f"{len(classes)} classes: give one row a label and one column a class."
        )
    if len(y) < n_bins:
        raise ValueError(
            f"{len(y)} labelled rows do not fill n_bins={n_bins} groups: lower n_bins."
        )
    confidence = P.max(axis=1)
    right = classes[P.argmax(axis=1)] == y
    groups = np.array_split(np.argsort(confidence, kind="stable"), n_bins)
    x = np.array([confidence[rows].mean() for rows in groups])
    accuracy = np.array([right[rows].mean() for rows in groups])
    shares = [len(rows) / len(y) for rows in groups]
    return x, accuracy, float(shares @ np.abs(x - accuracy))
