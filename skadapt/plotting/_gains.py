"""What adapters gain, and what they cost."""

import numpy as np
from sklearn.utils._param_validation import validate_params
from sklearn.utils.validation import column_or_1d

from skadapt.plotting._axes import (
    GAIN,
    GREY,
    LOSS,
    given_or_new_axes,
    height_of_rows,
)


class AdapterGainDisplay:
    """Gain of each adapter over no adaptation, with error bars and a line at zero.

    Green where the whole bar is above zero, red where it is below, grey between.

    Use `from_gains` rather than the constructor.

    Parameters
    ----------
    names : list of str
        Names of the adapters, from top to bottom.
    gains : ndarray of shape (n_adapters,)
        Gains, in points of accuracy for example.
    errors : ndarray of shape (n_adapters,), default=None
        Half lengths of the error bars.
    label : str, default="gain over no adaptation (points)"
        Label of the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last `plot`.
    figure_ : matplotlib Figure
        Figure of the last `plot`.
    points_ : list of matplotlib ErrorbarContainer
        One for each adapter.

    See Also
    --------
    skadapt.TransferClassifier : Joins an adapter to an estimator.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from skadapt.plotting import AdapterGainDisplay
    >>> display = AdapterGainDisplay.from_gains(
    ...     ["TCA", "CORAL", "KMM"], [6.1, 2.0, -15.1], errors=[1.2, 2.5, 1.8]
    ... )
    >>> display.names
    ['TCA', 'CORAL', 'KMM']
    """

    def __init__(
        self, *, names, gains, errors=None, label="gain over no adaptation (points)"
    ):
        self.names = names
        self.gains = gains
        self.errors = errors
        self.label = label

    def plot(self, ax=None):
        """Draw the gains.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None: new ones.

        Returns
        -------
        display : AdapterGainDisplay
            The display, with `ax_`, `figure_` and `points_`.
        """
        size = (5.6, height_of_rows(len(self.names)))
        ax = given_or_new_axes(ax, f"{type(self).__name__}.plot", size)
        errors = np.zeros(len(self.gains)) if self.errors is None else self.errors
        ax.axvline(0, color="k", lw=0.8, zorder=1)
        self.points_ = []
        for place, (gain, error) in enumerate(zip(self.gains, errors)):
            colour = GAIN if gain > error else LOSS if gain < -error else GREY
            style = {"fmt": "o", "ms": 5, "color": colour, "capsize": 2.5}
            width = None if self.errors is None else error
            self.points_.append(ax.errorbar(gain, place, xerr=width, **style))
        ax.set_yticks(range(len(self.names)), [str(name) for name in self.names])
        ax.set_ylim(len(self.names) - 0.4, -0.6)
        ax.grid(axis="y", lw=0.4, alpha=0.5)
        ax.set_axisbelow(True)
        ax.set_xlabel(self.label)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    @validate_params(
        {"sort": ["boolean"], "label": [str]}, prefer_skip_nested_validation=True
    )
    def from_gains(
        cls,
        names,
        gains,
        *,
        errors=None,
        sort=True,
        label="gain over no adaptation (points)",
        ax=None,
    ):
        """Draw gains.

        Parameters
        ----------
        names : sequence of str
            Names of the adapters.
        gains : array-like of shape (n_adapters,)
            Gains.
        errors : array-like of shape (n_adapters,), default=None
            Half lengths of the error bars, such as 1.96 paired standard errors.
        sort : bool, default=True
            Whether the largest gain is drawn first, or the order is kept.
        label : str, default="gain over no adaptation (points)"
            Label of the axis.
        ax : matplotlib Axes, default=None
            Axes to draw on. None: new ones.

        Returns
        -------
        display : AdapterGainDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the lengths differ, a gain is not finite or an error is negative.
        """
        names, gains = list(names), column_or_1d(gains, dtype=np.float64)
        if errors is not None:
            errors = column_or_1d(errors, dtype=np.float64)
            if not (errors >= 0).all():
                raise ValueError(
                    "errors must be at least 0: give half lengths of error bars."
                )
        lengths = {len(part) for part in (names, gains, errors) if part is not None}
        if len(lengths) > 1 or not names:
            raise ValueError(
                f"There are {len(names)} names, {len(gains)} gains and "
                f"{'no' if errors is None else len(errors)} errors: give as many of "
                "each, at least one."
            )
        if not np.isfinite(gains).all():
            raise ValueError("gains must be finite: leave out adapters that failed.")
        if sort:
            order = np.argsort(-gains, kind="stable")
            names, gains = [names[i] for i in order], gains[order]
            errors = None if errors is None else errors[order]
        return cls(names=names, gains=gains, errors=errors, label=label).plot(ax)
