"""Class shares of source and target."""

import numpy as np
from sklearn.utils.validation import check_is_fitted, column_or_1d

from skadapt.plotting._axes import SOURCE, TARGET, given_or_new_axes

# Longer names of classes are written at an angle.
_SHORT = 6


class ClassSharesDisplay:
    """Class shares of the source, and what is estimated of the target.

    Use `from_diagnosis`, `from_estimator` or `from_shares` rather than the
    constructor.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        Class labels.
    source : ndarray of shape (n_classes,)
        Shares of the source.
    target : ndarray of shape (n_classes,)
        Estimated shares of the target.
    std : ndarray of shape (n_classes,), default=None
        Their standard errors.
    true : ndarray of shape (n_classes,), default=None
        True shares of the target, where they are known.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last `plot`.
    figure_ : matplotlib Figure
        Figure of the last `plot`.
    bars_ : list of two matplotlib BarContainer
        Bars of the source and of the target.

    See Also
    --------
    skadapt.LabelShiftEM : Estimates the shares.
    skadapt.diagnose_shift : Whether the shares are all that differs.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from skadapt import diagnose_shift
    >>> from skadapt.datasets import make_label_shift
    >>> from skadapt.plotting import ClassSharesDisplay
    >>> data = make_label_shift(random_state=0)
    >>> found = diagnose_shift(data.X, data.y, data.sample_domain, random_state=0)
    >>> display = ClassSharesDisplay.from_diagnosis(found, true=[0.8, 0.2])
    >>> display.ax_.get_ylabel()
    'share of the rows'
    """

    def __init__(self, *, classes, source, target, std=None, true=None):
        self.classes = classes
        self.source = source
        self.target = target
        self.std = std
        self.true = true

    def plot(self, ax=None):
        """Draw the shares.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None: new ones.

        Returns
        -------
        display : ClassSharesDisplay
            The display, with `ax_`, `figure_` and `bars_`. Error bars are two standard
            errors long on either side, those that are infinite are left out.
        """
        n_classes = len(self.classes)
        size = (max(4.2, 1.8 + 0.55 * n_classes), 3.6)
        ax = given_or_new_axes(ax, f"{type(self).__name__}.plot", size)
        places, width = np.arange(n_classes), 0.38
        source = ax.bar(
            places - width / 2, self.source, width, color=SOURCE, label="source"
        )
        label = "target, estimated"
        target = ax.bar(
            places + width / 2, self.target, width, color=TARGET, label=label
        )
        if self.std is not None:
            known = np.isfinite(self.std)
            length = 2 * np.asarray(self.std)[known]
            height = np.asarray(self.target)[known]
            # A share is not below 0, nor above 1.
            ends = [np.minimum(length, height), np.minimum(length, 1 - height)]
            ax.errorbar(
                places[known] + width / 2, height, ends, fmt="none", color="k", lw=1
            )
        if self.true is not None:
            ax.hlines(
                self.true,
                places,
                places + width,
                color="k",
                lw=2.5,
                label="target, true",
            )
        names = [str(label) for label in self.classes]
        turned = max(map(len, names)) > _SHORT
        ax.set_xticks(
            places,
            names,
            rotation=30 if turned else 0,
            ha="right" if turned else "center",
        )
        ax.set_ylabel("share of the rows")
        # Above the axes, where it hides no bar.
        ax.legend(
            loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False,
            handlelength=1.2, columnspacing=1.2,
        )  # fmt: skip
        self.bars_ = [source, target]
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_diagnosis(cls, diagnosis, *, true=None, ax=None):
        """Draw the shares that `diagnose_shift` found.

        Parameters
        ----------
        diagnosis : ShiftDiagnosis
            What `diagnose_shift` returned.
        true : array-like of shape (n_classes,), default=None
            True shares of the target, where they are known.
        ax : matplotlib Axes, default=None
            Axes to draw on. None: new ones.

        Returns
        -------
        display : ClassSharesDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If `true` has another length than there are classes.
        """
        return cls.from_shares(
            diagnosis.classes,
            diagnosis.source_priors,
            diagnosis.target_priors,
            std=diagnosis.target_priors_std,
            true=true,
            ax=ax,
        )

    @classmethod
    def from_estimator(cls, estimator, *, true=None, ax=None):
        """Draw the shares that an estimator of label shift found.

        Parameters
        ----------
        estimator : LabelShiftEM, BBSE or RLLS
            A fitted estimator.
        true : array-like of shape (n_classes,), default=None
            True shares of the target, where they are known.
        ax : matplotlib Axes, default=None
            Axes to draw on. None: new ones.

        Returns
        -------
        display : ClassSharesDisplay
            The display, drawn.

        Raises
        ------
        NotFittedError
            If the estimator was not fitted.
        ValueError
            If it estimates no class shares.
        """
        check_is_fitted(estimator)
        if not hasattr(estimator, "target_prior_"):
            raise ValueError(
                f"{type(estimator).__name__} has no target_prior_: fit LabelShiftEM, "
                "BBSE or RLLS, with sample_domain."
            )
        return cls.from_shares(
            estimator.classes_,
            estimator.source_prior_,
            estimator.target_prior_,
            std=estimator.target_prior_std_,
            true=true,
            ax=ax,
        )

    @classmethod
    def from_shares(cls, classes, source, target, *, std=None, true=None, ax=None):
        """Draw class shares.

        Parameters
        ----------
        classes : array-like of shape (n_classes,)
            Class labels.
        source, target : array-like of shape (n_classes,)
            Shares of the source, and shares estimated for the target.
        std : array-like of shape (n_classes,), default=None
            Standard errors of the latter.
        true : array-like of shape (n_classes,), default=None
            True shares of the target.
        ax : matplotlib Axes, default=None
            Axes to draw on. None: new ones.

        Returns
        -------
        display : ClassSharesDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the lengths differ.
        """
        classes = column_or_1d(classes)
        shares = {"source": source, "target": target, "std": std, "true": true}
        for name, values in shares.items():
            if values is None:
                continue
            shares[name] = column_or_1d(values, dtype=np.float64)
            if len(shares[name]) != len(classes):
                raise ValueError(
                    f"{name} has {len(shares[name])} values for {len(classes)} "
                    "classes: give one for each, in the order of the classes."
                )
        return cls(classes=classes, **shares).plot(ax)
