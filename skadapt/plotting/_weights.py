"""Histogram of weights."""

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted, column_or_1d

from skadapt._base import effective_sample_size

# log10 of the ratios that are told apart on the axis; below lies the end of float64.
_LEAST_LOG = -300.0


class WeightsDisplay:
    """Histogram of the weights of source rows, on a logarithmic axis.

    Use `from_estimator` or `from_weights` rather than the constructor, unless it is
    to be drawn later.

    Parameters
    ----------
    weights : ndarray of shape (n_source,)
        Weights, not negative.
    name : str, default=None
        Name in the legend.

    Attributes
    ----------
    effective_sample_size : float
        ``sum(w)^2 / sum(w^2)``: how many equally weighted rows have the same
        variance.
    n_zeros : int
        Number of weights that are 0, which have no place on the axis.
    ax_ : matplotlib Axes
        Axes of the last `plot`.
    figure_ : matplotlib Figure
        Figure of the last `plot`.
    patches_ : list of matplotlib artists
        What the last `plot` drew.

    See Also
    --------
    skadapt.BaseWeighter : Where weights come from.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from skadapt import KMM
    >>> from skadapt.datasets import make_covariate_shift
    >>> from skadapt.plotting import WeightsDisplay
    >>> data = make_covariate_shift(200, 200, random_state=0)
    >>> kmm = KMM().fit(data.X, sample_domain=data.sample_domain)
    >>> display = WeightsDisplay.from_estimator(kmm)
    >>> display.ax_.get_xlabel()
    'weight / mean weight'
    """

    def __init__(self, *, weights, name=None):
        self.weights = weights
        self.name = name
        self.effective_sample_size = effective_sample_size(weights)
        self.n_zeros = int(np.count_nonzero(np.asarray(weights) == 0))

    def plot(self, ax=None, *, name=None, bins=30, **kwargs):
        """Draw the histogram.

        Weights are divided by their mean, as `TransferClassifier` does, so that
        several weighters can share the axes. The legend counts the weights that are
        0 and gives the effective sample size.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None: new ones.
        name : str, default=None
            Name in the legend. None: that of the display.
        bins : int, default=30
            Number of bins, of equal width in the logarithm.
        **kwargs : dict
            Keywords of ``matplotlib.axes.Axes.hist``.

        Returns
        -------
        display : WeightsDisplay
            The display, with `ax_`, `figure_` and `patches_`.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt
        from matplotlib.ticker import NullFormatter

        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        weights = np.asarray(self.weights, dtype=np.float64)
        positive = weights[weights > 0]
        logs = np.maximum(np.log10(positive) - np.log10(weights.mean()), _LEAST_LOG)
        edges = 10.0 ** np.histogram_bin_edges(logs, bins)
        # Rounding must not push the extreme weights out of the outer bins.
        values = np.clip(10.0**logs, edges[0], edges[-1])
        style = {
            "histtype": "stepfilled",
            "alpha": 0.6,
            "label": self._label(self.name if name is None else name),
            **kwargs,
        }
        _, _, self.patches_ = ax.hist(values, bins=edges, **style)
        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter(NullFormatter())  # they collide
        ax.set_xlabel("weight / mean weight")
        ax.set_ylabel("source rows")
        # Above the axes, where it hides no bar.
        ax.legend(
            title="Effective sample size",
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            alignment="left",
            frameon=False,
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _label(self, name):
        n = len(self.weights)
        label = f"{self.effective_sample_size:.1f} of {n} rows"
        if self.n_zeros:
            label += f" ({self.n_zeros} weights of 0)"
        return label if name is None else f"{name}: {label}"

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, name=None, bins=30, **kwargs):
        """Draw the weights of a fitted weighter.

        Parameters
        ----------
        estimator : weighter, Pipeline, TransferClassifier or TransferRegressor
            A fitted weighter, a Pipeline that ends in one, or a transfer estimator
            that has either for its adapter.
        ax : matplotlib Axes, default=None
            Axes to draw on. None: new ones.
        name : str, default=None
            Name in the legend. None: that of the weighter's class.
        bins : int, default=30
            Number of bins.
        **kwargs : dict
            Keywords of ``matplotlib.axes.Axes.hist``.

        Returns
        -------
        display : WeightsDisplay
            The display, drawn.

        Raises
        ------
        NotFittedError
            If the estimator was not fitted.
        ValueError
            If there are no weights, or all of them are 0.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        weighter = getattr(estimator, "adapter_", estimator)
        if isinstance(weighter, Pipeline):
            weighter = weighter[-1]
        if not hasattr(weighter, "weights_"):
            raise ValueError(
                f"{type(estimator).__name__} gives no weights to source rows: use a "
                "weighter such as KMM, or a transfer estimator with one."
            )
        return cls.from_weights(
            weighter.weights_,
            ax=ax,
            name=type(weighter).__name__ if name is None else name,
            bins=bins,
            **kwargs,
        )

    @classmethod
    def from_weights(cls, weights, *, ax=None, name=None, bins=30, **kwargs):
        """Draw weights.

        Parameters
        ----------
        weights : array-like of shape (n_source,)
            Weights, not negative.
        ax : matplotlib Axes, default=None
            Axes to draw on. None: new ones.
        name : str, default=None
            Name in the legend.
        bins : int, default=30
            Number of bins.
        **kwargs : dict
            Keywords of ``matplotlib.axes.Axes.hist``.

        Returns
        -------
        display : WeightsDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If a weight is negative or not finite, or all are 0.
        """
        check_matplotlib_support(f"{cls.__name__}.from_weights")
        weights = column_or_1d(weights, dtype=np.float64)
        if not np.isfinite(weights).all() or (weights < 0).any():
            raise ValueError("Weights must be finite and not negative.")
        if not weights.any():
            raise ValueError(
                "All weights are 0, or there are none: there is nothing to draw."
            )
        return cls(weights=weights, name=name).plot(ax, bins=bins, **kwargs)
