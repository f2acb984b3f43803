"""How much each column differs between source and target."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skadapt.plotting._axes import GREY, TARGET, given_or_new_axes, height_of_rows

_LABELS = {
    "ks": "Kolmogorov-Smirnov distance",
    "difference": "difference of means (source standard deviations)",
}


class ColumnShiftDisplay:
    """Bars of how much columns differ between source and target, the largest first.

    Coloured where the p-value, adjusted for the number of columns, is below `alpha`:
    with many rows that is soon so, and what counts is the length of the bar.

    Use `from_diagnosis` rather than the constructor.

    Parameters
    ----------
    names : ndarray of shape (n_columns,)
        Names of the columns, from top to bottom.
    effect : ndarray of shape (n_columns,)
        Length of the bars.
    significant : ndarray of shape (n_columns,), bool
        Which are coloured.
    n_hidden : int, default=0
        Number of columns that are not drawn.
    label : str, default=""
        What the effect is.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last `plot`.
    figure_ : matplotlib Figure
        Figure of the last `plot`.
    bars_ : matplotlib BarContainer
        The bars of the last `plot`.

    See Also
    --------
    skadapt.diagnose_shift : Compares the columns.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from skadapt import diagnose_shift
    >>> from skadapt.datasets import make_scaling
    >>> from skadapt.plotting import ColumnShiftDisplay
    >>> data = make_scaling(random_state=0)
    >>> found = diagnose_shift(data.X, data.y, data.sample_domain, random_state=0)
    >>> display = ColumnShiftDisplay.from_diagnosis(found)
    >>> display.ax_.get_xlabel()
    'Kolmogorov-Smirnov distance'
    """

    def __init__(self, *, names, effect, significant, n_hidden=0, label=""):
        self.names = names
        self.effect = effect
        self.significant = significant
        self.n_hidden = n_hidden
        self.label = label

    def plot(self, ax=None):
        """Draw the bars.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None: new ones.

        Returns
        -------
        display : ColumnShiftDisplay
            The display, with `ax_`, `figure_` and `bars_`.
        """
        n_columns = len(self.names)
        size = (6.2, height_of_rows(n_columns))
        ax = given_or_new_axes(ax, f"{type(self).__name__}.plot", size)
        colours = [TARGET if significant else GREY for significant in self.significant]
        places = np.arange(n_columns)
        self.bars_ = ax.barh(places, self.effect, 0.7, color=colours)
        ax.set_yticks(places, [str(name) for name in self.names])
        ax.set_ylim(n_columns - 0.4, -0.6)
        ax.axvline(0, color="k", lw=0.8)
        ax.set(xlabel=self.label, ylabel="column")
        if self.n_hidden:
            ax.set_title(f"{self.n_hidden} columns differ less", fontsize="medium")
        self._add_legend(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _add_legend(self, ax):
        from matplotlib.patches import Patch

        names = {True: (TARGET, "significant"), False: (GREY, "not significant")}
        handles = [
            Patch(color=colour, label=label)
            for is_so, (colour, label) in names.items()
            if is_so in np.asarray(self.significant)
        ]
        ax.legend(handles=handles, loc="lower right", frameon=False)

    @classmethod
    @validate_params(
        {
            "effect": [StrOptions(set(_LABELS))],
            "n_columns": [Interval(Integral, 1, None, closed="left")],
            "alpha": [Interval(Real, 0, 1, closed="both")],
        },
        prefer_skip_nested_validation=True,
    )
    def from_diagnosis(
        cls, diagnosis, *, effect="ks", n_columns=20, alpha=0.05, ax=None
    ):
        """Draw the columns that differ most.

        Parameters
        ----------
        diagnosis : ShiftDiagnosis
            What `diagnose_shift` returned.
        effect : {"ks", "difference"}, default="ks"
            Kolmogorov-Smirnov distance, which sees any change of a column, or the
            difference of the means in standard deviations of the source.
        n_columns : int, default=20
            Number of columns to draw, those of largest effect.
        alpha : float, default=0.05
            Adjusted p-value below which a bar is coloured.
        ax : matplotlib Axes, default=None
            Axes to draw on. None: new ones.

        Returns
        -------
        display : ColumnShiftDisplay
            The display, drawn.
        """
        columns = diagnosis.columns
        values = getattr(columns, effect)
        order = np.argsort(-np.abs(values), kind="stable")[:n_columns]
        return cls(
            names=columns.names[order],
            effect=values[order],
            significant=columns.pvalue_adjusted[order] < alpha,
            n_hidden=len(values) - len(order),
            label=_LABELS[effect],
        ).plot(ax)
