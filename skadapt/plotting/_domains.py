"""Rows of all domains before and after mappers."""

from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.utils import check_array, check_consistent_length, check_random_state
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _num_samples, column_or_1d

from skadapt._domains import (
    as_labels,
    check_sample_domain,
    is_labeled,
    mask_target_labels,
    natural_labels,
)
from skadapt._predictor import steps_of
from skadapt._transfer import _as_pipeline, _call

# Of each domain in its turn; filled for sources, lines for targets.
_SOURCE_MARKERS, _TARGET_MARKERS = "os^Dv", "x+123"
_GREY = "#9a9a9a"
_PANELS_IN_A_ROW = 4
# More classes than this share a colour map, and no legend names them.
_NAMED_CLASSES = 10


class DomainsPlot(NamedTuple):
    """What `plot_domains` drew.

    Parameters
    ----------
    figure : matplotlib Figure
        The figure.
    axes : ndarray of shape (1 + n_mappers,)
        The matplotlib Axes: before any mapping, then after each mapper.
    points : list of 1 + n_mappers ndarray of shape (n_samples, 2)
        Where each row of X is in each of the axes, whether it was drawn or not.
    """

    figure: Any
    axes: np.ndarray
    points: list


@validate_params(
    {
        "mappers": [list, tuple],
        "axes": ["array-like", None],
        "max_rows": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def plot_domains(
    X, y, sample_domain, mappers=(), *, axes=None, max_rows=1000, random_state=0
):
    """Draw the rows of all domains before and after mappers, in two dimensions.

    Colours are classes and markers are domains: filled for sources, crosses for
    targets, grey for rows without a label. Rows of more than two columns are drawn at
    their first two principal components, those of one column on a line for each
    domain. Each panel has components of its own, so that places compare within a panel
    only: whether the domains overlap, and classes with their like.

    Parameters
    ----------
    X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
        Rows of all domains, in any order.
    y : array-like of shape (n_samples,) or None
        Classes; NaN or None marks a row without a label. Labels of target rows are
        drawn, and no mapper sees them.
    sample_domain : array-like of shape (n_samples,)
        Domain of each row, > 0 for sources and < 0 for targets.
    mappers : list of mappers or of (str, mapper), default=()
        Mappers, transformers or Pipelines of them, each with a title if there is a
        better one than the names of its classes. Clones are fitted.
    axes : sequence of 1 + n_mappers matplotlib Axes, default=None
        Axes to draw on. None: those of a new figure, up to four in a row.
    max_rows : int, default=1000
        Largest number of rows of each domain that are drawn; all are mapped. None
        draws all.
    random_state : int, RandomState instance or None, default=0
        Draws those rows.

    Returns
    -------
    plot : DomainsPlot
        The figure, its axes and where each row is in them.

    Raises
    ------
    ValueError
        If there are rows of one sign only, if y is continuous, if a mapper maps no
        rows, or if the number of axes is wrong.

    See Also
    --------
    skadapt.mmd : How far apart the domains are, as a number.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from skadapt import CORAL, PerDomain
    >>> from skadapt.datasets import make_scaling
    >>> from skadapt.plotting import plot_domains
    >>> data = make_scaling(100, 100, random_state=0)
    >>> plot = plot_domains(
    ...     data.X, data.y, data.sample_domain, [PerDomain(), ("r = 1", CORAL())]
    ... )
    >>> [ax.get_title() for ax in plot.axes]
    ['before', 'PerDomain', 'r = 1']
    """
    check_matplotlib_support("plot_domains")
    ids = check_sample_domain(sample_domain, _num_samples(X), both=True)
    titles, mappers = ["before"], [titled_mapper(mapper) for mapper in mappers]
    labels = np.full(len(ids), np.nan) if y is None else as_labels(column_or_1d(y))
    check_consistent_length(X, labels)
    values = natural_labels(labels[is_labeled(labels)])
    if len(values) and type_of_target(values).startswith("continuous"):
        raise ValueError(
            "y holds continuous values, and colours are classes: pass None, or cut y "
            "into a few intervals."
        )
    shown = None if y is None else mask_target_labels(labels, ids)
    points = [_in_two_dimensions(X, ids)]
    for title, mapper in mappers:
        titles.append(title)
        mapped = _call(_as_pipeline(clone(mapper)), "fit_transform", X, shown, ids)
        points.append(_in_two_dimensions(mapped, ids))
    figure, axes, own = _panels(axes, len(points))

    rows = _drawn_rows(ids, max_rows, check_random_state(random_state))
    groups = _colours(labels)
    for ax, title, Z in zip(axes, titles, points):
        for domain, marker in _markers(ids).items():
            for colour, members in groups.values():
                mine = rows[members[rows] & (ids[rows] == domain)]
                width = 0.0 if domain > 0 else 0.8
                ax.scatter(
                    *Z[mine].T, s=12, marker=marker, color=colour, alpha=0.6, lw=width
                )
        ax.set(title=title, xticks=[], yticks=[])
    _add_legend(figure if own else axes[-1], ids, groups)
    return DomainsPlot(figure, axes, points)


def titled_mapper(mapper):
    """A title and the mapper, which is refused if it is none."""
    title, mapper = mapper if isinstance(mapper, tuple) else (None, mapper)
    steps = steps_of(mapper)
    if not steps or not all(hasattr(step, "transform") for step in steps):
        raise ValueError(
            f"{type(mapper).__name__} maps no rows: give mappers such as CORAL() or "
            "TCA(), transformers, or Pipelines of them."
        )
    return title or ", ".join(type(step).__name__ for step in steps), mapper


def _in_two_dimensions(X, ids):
    X = check_array(X, accept_sparse="csr", dtype=[np.float64, np.float32])
    if X.shape[1] == 1:
        X = X.toarray() if sparse.issparse(X) else X
        return np.column_stack([X, np.unique(ids, return_inverse=True)[1]])
    if X.shape[1] > 2:
        solver = "arpack" if sparse.issparse(X) else "auto"
        return PCA(2, svd_solver=solver, random_state=0).fit_transform(X)
    return X.toarray() if sparse.issparse(X) else X


def _panels(axes, n_panels):
    """Figure, one Axes for each panel, and whether they are new."""
    if axes is not None:
        axes = np.asarray(axes, dtype=object).ravel()
        if len(axes) != n_panels:
            raise ValueError(
                f"{len(axes)} axes for {n_panels} panels: give one for the rows before "
                "mapping and one for each mapper."
            )
        return axes[0].figure, axes, False
    import matplotlib.pyplot as plt

    n_rows = -(-n_panels // _PANELS_IN_A_ROW)
    n_columns = -(-n_panels // n_rows)
    figure, axes = plt.subplots(
        n_rows,
        n_columns,
        figsize=(3.2 * n_columns + 1.2, 3.2 * n_rows),
        layout="constrained",
        squeeze=False,
    )
    for ax in axes.flat[n_panels:]:
        ax.remove()
    return figure, axes.ravel()[:n_panels], True


def _drawn_rows(ids, max_rows, random_state):
    drawn = [
        random_state.permutation(np.flatnonzero(ids == domain))[:max_rows]
        for domain in np.unique(ids)
    ]
    return np.concatenate(drawn)


def _colours(labels):
    """Colour and rows of each class; those without a label come first, grey."""
    import matplotlib

    labeled = is_labeled(labels)
    values = natural_labels(labels[labeled]) if labeled.any() else labels[labeled]
    classes, inverse = np.unique(values, return_inverse=True)
    codes = np.full(len(labels), -1)
    codes[labeled] = inverse
    few = len(classes) <= _NAMED_CLASSES
    colours = matplotlib.colormaps["tab10" if few else "turbo"]
    groups = {} if labeled.all() else {"no label": (_GREY, codes < 0)}
    for code, label in enumerate(classes):
        place = code if few else code / (len(classes) - 1)
        groups[str(label)] = (colours(place), codes == code)
    return groups


def _markers(ids):
    """Marker of each domain, sources first."""
    domains = sorted(np.unique(ids).tolist(), key=lambda domain: (domain < 0, domain))
    sources = [domain for domain in domains if domain > 0]
    targets = [domain for domain in domains if domain < 0][::-1]
    return {
        domain: markers[place % len(markers)]
        for own, markers in ((sources, _SOURCE_MARKERS), (targets, _TARGET_MARKERS))
        for place, domain in enumerate(own)
    }


def _add_legend(place, ids, groups):
    from matplotlib.lines import Line2D

    markers = _markers(ids)
    sides = {side: sum((domain > 0) == side for domain in markers) for side in (0, 1)}
    handles = []
    for domain, marker in markers.items():
        side = "source" if domain > 0 else "target"
        name = side if sides[domain > 0] == 1 else f"{side} {abs(domain)}"
        handles.append(Line2D([], [], ls="", marker=marker, color="k", label=name))
    if len(groups) <= _NAMED_CLASSES + 1:
        handles += [
            Line2D([], [], ls="", marker="s", color=colour, label=label)
            for label, (colour, _) in groups.items()
        ]
    options = {"loc": "outside right upper"}
    if hasattr(place, "transAxes"):  # of one Axes, beside it
        options = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    place.legend(handles=handles, frameon=False, **options)
