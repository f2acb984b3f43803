"""How well domains are told apart before and after mappers."""

from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import _safe_indexing, check_consistent_length, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, validate_params
from sklearn.utils.validation import _num_samples

from skadapt._domains import as_labels, check_sample_domain, mask_target_labels
from skadapt._transfer import _as_pipeline, _call
from skadapt.plotting._axes import GREY, given_or_new_axes, without_leading_zero
from skadapt.plotting._domains import titled_mapper

# Rates of source rows at which the curves of the folds are averaged.
_GRID = np.linspace(0.0, 1.0, 201)
# Landmarks of the kernel of the default classifier.
_N_LANDMARKS = 100


class DomainROCDisplay:
    """ROC curves of a classifier of the domains, before and after mappers.

    A mapper that aligns the domains brings the curve to the diagonal. Mapper and
    classifier are fitted to the training rows of each fold, and held-out rows are
    mapped as new rows are.

    That matters: a mapper that has seen all rows makes their means equal, so that
    the held-out rows of a domain lie opposite to its training rows. The AUC of held-out
    rows is then far below .5 (.11 to .40 after standardisation per domain, in 12
    benchmark tasks) and says nothing of the map.

    Use `from_mappers` rather than the constructor.

    Parameters
    ----------
    fpr : ndarray of shape (n_points,)
        Share of source rows that are taken for target rows.
    tpr : ndarray of shape (n_curves, n_points)
        Share of target rows that are found, mean over the folds.
    auc : ndarray of shape (n_curves,)
        Area under the curve, mean over the folds.
    auc_std : ndarray of shape (n_curves,)
        Standard deviation of the area over the folds.
    names : list of str
        Names of the curves.

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
    skadapt.proxy_a_distance : The same question as a number.
    skadapt.diagnose_shift : Whether the domains differ at all.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from skadapt import CORAL, PerDomain
    >>> from skadapt.datasets import make_scaling
    >>> from skadapt.plotting import DomainROCDisplay
    >>> data = make_scaling(200, 200, random_state=0)
    >>> display = DomainROCDisplay.from_mappers(
    ...     data.X, data.y, data.sample_domain, [PerDomain(), CORAL()], random_state=0
    ... )
    >>> display.names
    ['before', 'PerDomain', 'CORAL']
    >>> display.auc.round(1)
    array([1. , 0.5, 0.9])
    """

    def __init__(self, *, fpr, tpr, auc, auc_std, names):
        self.fpr = fpr
        self.tpr = tpr
        self.auc = auc
        self.auc_std = auc_std
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
        display : DomainROCDisplay
            The display, with `ax_`, `figure_` and `lines_`.
        """
        ax = given_or_new_axes(ax, f"{type(self).__name__}.plot", (4.8, 4.6))
        ax.plot([0, 1], [0, 1], ls="--", lw=1, color=GREY, zorder=1)
        self.lines_ = []
        for tpr, auc, std, name in zip(self.tpr, self.auc, self.auc_std, self.names):
            area = f"{without_leading_zero(auc)} ± {without_leading_zero(std)}"
            style = {"label": f"{name}: {area}", **kwargs}
            self.lines_ += ax.plot(self.fpr, tpr, **style)
        ax.set(
            xlabel="source rows taken for target rows",
            ylabel="target rows found",
            xlim=(-0.01, 1.01),
            ylim=(-0.01, 1.01),
            aspect="equal",
        )
        ax.legend(title="AUC of the domains", loc="lower right", frameon=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    @validate_params(
        {
            "mappers": [list, tuple],
            "estimator": [HasMethods(["fit", "predict_proba"]), None],
            "cv": [Interval(Integral, 2, None, closed="left")],
            "random_state": ["random_state"],
        },
        prefer_skip_nested_validation=True,
    )
    def from_mappers(
        cls,
        X,
        y,
        sample_domain,
        mappers=(),
        *,
        estimator=None,
        cv=5,
        random_state=None,
        ax=None,
        **kwargs,
    ):
        """Cross-fit mappers and classifiers of the domains, and draw their curves.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows of all domains, in any order.
        y : array-like of shape (n_samples,) or None
            Labels for mappers that use those of the source; no mapper sees those of
            target rows.
        sample_domain : array-like of shape (n_samples,)
            Domain of each row, > 0 for sources and < 0 for targets.
        mappers : list of mappers or of (str, mapper), default=()
            Mappers, transformers or Pipelines of them, each with a name if there is a
            better one than the names of its classes. Clones are fitted.
        estimator : classifier with predict_proba, default=None
            Classifier of the domains. None: logistic regression with ``C=10`` and
            ``class_weight="balanced"`` on 100 columns of a Gaussian kernel, of columns
            scaled to unit variance. It sees differences of spread and shape; a linear
            classifier sees none once the means are equal.
        cv : int, default=5
            Number of folds, shuffled and with each domain's share of rows.
        random_state : int, RandomState instance or None, default=None
            Shuffles the folds.
        ax : matplotlib Axes, default=None
            Axes to draw on. None: new ones.
        **kwargs : dict
            Keywords of ``matplotlib.axes.Axes.plot``, for all curves.

        Returns
        -------
        display : DomainROCDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there are rows of one sign only, if a domain has fewer rows than there
            are folds, if a mapper maps no rows, or if estimator is no classifier.
        """
        ids = check_sample_domain(sample_domain, _num_samples(X), both=True)
        named = [titled_mapper(mapper) for mapper in mappers]
        if estimator is not None and not is_classifier(estimator):
            raise ValueError(
                f"estimator must be a classifier, got {estimator!r}: give, for "
                "example, LogisticRegression(class_weight='balanced')."
            )
        domains, counts = np.unique(ids, return_counts=True)
        if counts.min() < cv:
            raise ValueError(
                f"cv={cv} folds need at least {cv} rows in each domain, and domain "
                f"{domains[counts.argmin()]} has {counts.min()}: lower cv or give more "
                "rows."
            )
        shown = None
        if y is not None:
            shown = as_labels(y)
            check_consistent_length(X, shown)
            shown = mask_target_labels(shown, ids)
        folds = StratifiedKFold(
            cv, shuffle=True, random_state=check_random_state(random_state)
        )
        splits = list(folds.split(np.empty(len(ids)), ids))
        curves = [
            _mean_curve(X, shown, ids, mapper, estimator, splits)
            for mapper in [None, *(mapper for _, mapper in named)]
        ]
        tpr, auc, auc_std = (np.array(part) for part in zip(*curves))
        names = ["before", *(name for name, _ in named)]
        display = cls(fpr=_GRID, tpr=tpr, auc=auc, auc_std=auc_std, names=names)
        return display.plot(ax, **kwargs)


def _mean_curve(X, y, ids, mapper, estimator, splits):
    """Mean curve over the folds, mean and standard deviation of their areas."""
    curves, areas = [], []
    for train, test in splits:
        Z, held_out = _safe_indexing(X, train), _safe_indexing(X, test)
        if mapper is not None:
            fitted = _as_pipeline(clone(mapper))
            labels = None if y is None else y[train]
            Z = _call(fitted, "fit_transform", Z, labels, ids[train])
            held_out = _call(fitted, "transform", held_out, None, ids[test])
        model = clone(estimator) if estimator is not None else _domain_classifier(Z)
        model.fit(Z, ids[train] < 0)
        score = model.predict_proba(held_out)[:, 1]
        is_target = ids[test] < 0
        fpr, tpr, _ = roc_curve(is_target, score, drop_intermediate=False)
        curve = np.interp(_GRID, fpr, tpr)
        curve[0] = 0.0
        curves.append(curve)
        areas.append(roc_auc_score(is_target, score))
    return np.mean(curves, axis=0), np.mean(areas), np.std(areas)


def _domain_classifier(X):
    n, d = X.shape
    return make_pipeline(
        StandardScaler(with_mean=not sparse.issparse(X)),
        Nystroem(gamma=0.5 / d, n_components=min(_N_LANDMARKS, n), random_state=0),
        LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000),
    )
