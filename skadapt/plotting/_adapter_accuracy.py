"""What adapted models promise on the target, over what they do on the source."""

import numpy as np

from skadapt.plotting._axes import GREY, SOURCE, TARGET, given_or_new_axes


class AdapterAccuracyDisplay:
    """Accuracy predicted for the target over the accuracy on held-out source rows.

    One point a model. An adapter that pays moves a point up from the models without
    adaptation, one that merely costs accuracy on the source moves it to the left. On
    the diagonal a model is as good on the target as on the source. The average of the
    models, which has no accuracy on held-out rows, is a horizontal line.

    Use `from_comparison` rather than the constructor.

    Parameters
    ----------
    names : list of str
        Names of the models.
    source : ndarray of shape (n_models,)
        Accuracy on held-out source rows.
    predicted : ndarray of shape (n_models,)
        Accuracy predicted for the target.
    unadapted : ndarray of shape (n_models,), bool
        Which models have no adapter.
    best : str, default=None
        Name of the model to mark as recommended.
    average : str, default=None
        Name of the model that is drawn as a line at its predicted accuracy.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last `plot`.
    figure_ : matplotlib Figure
        Figure of the last `plot`.

    See Also
    --------
    skadapt.compare_adapters : Makes the comparison.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> import numpy as np
    >>> from skadapt.plotting import AdapterAccuracyDisplay
    >>> display = AdapterAccuracyDisplay(
    ...     names=["none, SVC", "TCA, SVC"],
    ...     source=np.array([0.9, 0.85]),
    ...     predicted=np.array([0.6, 0.75]),
    ...     unadapted=np.array([True, False]),
    ...     best="TCA, SVC",
    ... ).plot()
    >>> display.ax_.get_ylabel()
    'predicted accuracy on the target'
    """

    def __init__(self, *, names, source, predicted, unadapted, best=None, average=None):
        self.names = names
        self.source = source
        self.predicted = predicted
        self.unadapted = unadapted
        self.best = best
        self.average = average

    def plot(self, ax=None):
        """Draw the points, those without adaptation on top, and the average.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None: new ones.

        Returns
        -------
        display : AdapterAccuracyDisplay
            The display, with `ax_` and `figure_`. Models without one of the two figures
            are left out.
        """
        ax = given_or_new_axes(ax, f"{type(self).__name__}.plot", (5.2, 4.2))
        source, predicted = np.asarray(self.source), np.asarray(self.predicted)
        known = np.isfinite(source) & np.isfinite(predicted)
        is_line = np.array([name == self.average for name in self.names], dtype=bool)
        known &= ~is_line
        for label, rows, colour in (
            ("adapted", ~np.asarray(self.unadapted), TARGET),
            ("no adaptation", self.unadapted, SOURCE),
        ):
            rows = rows & known
            if rows.any():
                style = {"color": colour, "label": label, "s": 26, "alpha": 0.8}
                ax.scatter(source[rows], predicted[rows], **style)
        for name, at, level in zip(self.names, source, predicted):
            is_best = name == self.best
            label = f"recommended: {name}" if is_best else name
            if name == self.average and np.isfinite(level):
                style = {"color": "k", "lw": 1.4 if is_best else 0.8, "zorder": 1}
                ax.axhline(level, label=label, **style)
            elif is_best and np.isfinite(at) and np.isfinite(level):
                ring = {"s": 110, "facecolors": "none", "edgecolors": "k", "lw": 1.4}
                ax.scatter(at, level, label=label, **ring)
        low, high = _limits(np.concatenate([source[known], predicted[known]]))
        diagonal = {"color": GREY, "label": "as on the source", "zorder": 1}
        ax.plot([low, high], [low, high], ls="--", lw=1, **diagonal)
        ax.set(
            xlabel="accuracy on held-out source rows",
            ylabel="predicted accuracy on the target",
        )
        ax.legend(frameon=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_comparison(cls, comparison, *, ax=None):
        """Draw what `compare_adapters` found.

        Parameters
        ----------
        comparison : AdapterComparison
            What `compare_adapters` returned.
        ax : matplotlib Axes, default=None
            Axes to draw on. None: new ones.

        Returns
        -------
        display : AdapterAccuracyDisplay
            The display, drawn.
        """
        rows = comparison.rows

        def column(name):
            values = [row.get(name) for row in rows]
            return np.array([np.nan if v is None else v for v in values], dtype=float)

        return cls(
            names=[row["name"] for row in rows],
            source=column("source_accuracy"),
            predicted=column("predicted_accuracy"),
            unadapted=np.array([row["adapter"] == "none" for row in rows]),
            best=comparison.best_,
            average=next((r["name"] for r in rows if r["adapter"] == "all"), None),
        ).plot(ax)


def _limits(values):
    """Ends of the diagonal."""
    return (values.min(), values.max()) if len(values) else (0.0, 1.0)
