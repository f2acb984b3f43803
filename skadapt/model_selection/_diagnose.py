"""What kind of shift there is: none, of class shares, or of the features."""

from numbers import Integral
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.utils import check_array, check_consistent_length, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, validate_params
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _get_feature_names

from skadapt._base import effective_sample_size
from skadapt._domains import (
    as_labels,
    check_sample_domain,
    is_labeled,
    mask_target_labels,
    natural_labels,
)
from skadapt.instance import LabelShiftEM
from skadapt.model_selection._column_shift import ColumnShifts, column_shifts
from skadapt.model_selection._domain_test import (
    DomainViews,
    domain_test,
    permuted_within,
)

# z from which on domains are said to differ, and from which on nothing is said. The
# null is that of permutations, and equal domains give them in about .5 % and 1.5 %.
_CERTAIN, _DOUBTFUL = 2.6, 2.2
# The latter with fewer rows than this in a domain, where a test misses much.
_FEW_ROWS, _DOUBTFUL_IF_FEW = 150, 2.0
_N_PERMUTATIONS = 500
# Source rows that have to be left, in effect, by weights that explain a difference.
_LEAST_EFFECTIVE = 30
# Rows of each domain that are tested, at most: with few and with many columns.
_MOST_ROWS, _MANY_COLUMNS, _MOST_ROWS_IF_MANY = 5000, 300, 1000
# Columns that the sentence names.
_NAMED_COLUMNS = 3


class ShiftDiagnosis(NamedTuple):
    """What `diagnose_shift` found; ``print`` gives it as a sentence.

    Parameters
    ----------
    kind : {"none", "label", "feature", "unclear"}
        Whether the domains differ and, if so, whether class shares alone do.
    auc : float
        Area under the ROC curve of the domain classifier that sees most, of rows held
        out of its training: .5 where it sees no difference.
    z : float
        How far that is above what rows of equal domains give, in standard deviations.
    pvalue : float
        The same as a permutation p-value, at least 1/501.
    z_label : float
        As z, once source rows are weighted to the estimated class shares.
    detectable_auc : float
        AUC from which on z would have been 2.6: what cannot be seen with these rows
        lies below.
    classes : ndarray of shape (n_classes,)
        Class labels.
    source_priors : ndarray of shape (n_classes,)
        Class shares of the labelled source rows.
    target_priors : ndarray of shape (n_classes,)
        Class shares of the target by maximum likelihood. They are estimates of the
        target's shares only if ``kind`` is "label" or "none".
    target_priors_std : ndarray of shape (n_classes,)
        Their standard errors.
    n_source : int
        Number of source rows.
    n_target : int
        Number of target rows.
    effective_sample_size : float
        How many of the labelled source rows are left, in effect, after weighting them
        to the target's shares.
    columns : ColumnShifts
        How much each column differs, with p-values adjusted by Holm's method;
        ``columns.to_frame()`` gives a data frame.
    """

    kind: str
    auc: float
    z: float
    pvalue: float
    z_label: float
    detectable_auc: float
    classes: np.ndarray
    source_priors: np.ndarray
    target_priors: np.ndarray
    target_priors_std: np.ndarray
    n_source: int
    n_target: int
    effective_sample_size: float
    columns: ColumnShifts

    @property
    def finding(self):
        """What was found, in a sentence."""
        return _FINDINGS[self.kind](self)

    def __str__(self):
        """What was found, and what to do about it."""
        return f"{self.finding} {_ADVICE[self.kind]}"


@validate_params(
    {
        "estimator": [HasMethods(["fit", "predict_proba"]), None],
        "cv": [Interval(Integral, 3, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def diagnose_shift(X, y, sample_domain, estimator=None, *, cv=5, random_state=None):
    """Say whether source and target differ, and whether only in class shares.

    Two tests in a row, without labels of the target:

    1. A classifier of source against target rows is cross-fitted, and z is the
       distance of its AUC from that of permuted domains in standard deviations. Below
       2.2 the domains are not told apart, ``kind="none"``: do not adapt.
    2. The class shares of the target are estimated by maximum likelihood
       (`LabelShiftEM`), and the test is repeated with source rows weighted to them,
       z_label. Below 2.2 class shares explain the difference, ``kind="label"``:
       correct the priors and leave the columns alone. From 2.6 on they do not,
       ``kind="feature"``: compare adapters.

    A z or z_label between 2.2 (2.0 with fewer than 150 rows in a domain) and 2.6 is
    "unclear", and so is a difference that class shares would explain with weights that
    leave fewer than 30 source rows in effect.

    Parameters
    ----------
    X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
        Rows of all domains as they were measured: after a map that was fitted to each
        domain, or to make the domains alike, this test means nothing.
    y : array-like of shape (n_samples,)
        Classes; NaN or None marks an unlabelled row. Labels of target rows are not
        used, whatever y holds there.
    sample_domain : array-like of shape (n_samples,)
        Domain of each row, > 0 for sources and < 0 for targets. Several of either are
        pooled.
    estimator : classifier with predict_proba, default=None
        Classifier of the classes, whose calibrated probabilities give the class shares
        of the target; it gets X as an array. None: logistic regression with ``C=1`` on
        cross-fitted class scores, the sum of a linear and a kernel ridge regression.
    cv : int, default=5
        Number of folds, at least 3.
    random_state : int, RandomState instance or None, default=None
        Draws folds, permutations and samples of rows.

    Returns
    -------
    diagnosis : ShiftDiagnosis
        Named tuple with the kind, the figures behind it, and a report on each column.

    Raises
    ------
    ValueError
        If a domain has fewer rows than there are folds, if the labelled source rows
        hold one class or a class with one row, if y is continuous, or if no column of
        X varies.

    Warns
    -----
    UserWarning
        If the predictions of the estimator do not determine the class shares.

    See Also
    --------
    mmd_test : Whether two samples differ, by a kernel.
    LabelShiftEM : Corrects class shares.
    skadapt.plotting.ColumnShiftDisplay : Draws the report on the columns.

    Notes
    -----
    **Classifiers of the domains.** Ridge regression on the columns scaled to unit
    variance over all rows, on 150 columns of a Gaussian kernel of median width, and on
    the class scores of models fitted to source rows of other folds. Their scores are
    linear in the domains, which gives the AUC of 500 permutations within the folds for
    the price of one. The largest standardised AUC is the statistic, and z is that
    standardised in turn.

    **The null of the second test.** Were class shares all that differs, target rows
    would have the labels that the corrected posterior gives them. So labels are drawn
    from it, and domains are exchanged at random within each class, with the weights
    that this gives. Also where the posterior is wrong, both sides of such a partition
    have one law.

    **Size.** At most 5,000 rows of each domain are tested, 1,000 with more than 300
    columns, drawn at random; `columns` is about all rows. Columns may be sparse and
    stay so, as long as there are more of them than tested rows.

    **Level.** Halves of one sample came out as "none" in at least 97 of 100 draws in
    each of eight settings, and as "label" or "feature" in at most 2.

    **What it cannot see.** A rule from columns to classes that changed while the
    columns did not (concept shift). With few rows, most things: see
    `detectable_auc`.

    References
    ----------
    .. [1] D. Lopez-Paz, M. Oquab. Revisiting classifier two-sample tests. ICLR 2017.
    .. [2] M. Saerens, P. Latinne, C. Decaestecker. Adjusting the outputs of a
       classifier to new a priori probabilities: a simple procedure. Neural
       Computation 14, 2002.
    .. [3] Z. Lipton, Y.-X. Wang, A. Smola. Detecting and correcting for label shift
       with black box predictors. ICML 2018.

    Examples
    --------
    >>> from skadapt import diagnose_shift
    >>> from skadapt.datasets import make_label_shift, make_rotation
    >>> data = make_label_shift(random_state=0)
    >>> found = diagnose_shift(data.X, data.y, data.sample_domain, random_state=0)
    >>> found.kind, found.target_priors.round(1)
    ('label', array([0.8, 0.2]))
    >>> data = make_rotation(random_state=0)
    >>> diagnose_shift(data.X, data.y, data.sample_domain, random_state=0).kind
    'feature'
    """
    names = _get_feature_names(X)
    X = check_array(X, accept_sparse="csr", dtype=[np.float64, np.float32])
    ids = check_sample_domain(sample_domain, X.shape[0], both=True)
    check_consistent_length(X, y)
    labels = mask_target_labels(as_labels(y), ids)
    codes, classes = _source_codes(labels)
    rng = check_random_state(random_state)
    names = np.arange(X.shape[1]) if names is None else np.asarray(names)

    # In an order of their own, rows give the same result however they are stacked.
    is_target = ids < 0
    order = np.lexsort((codes, is_target, _row_keys(X)))
    X, codes, is_target = X[order], codes[order], is_target[order]
    n_source, n_target = np.bincount(is_target)
    if min(n_source, n_target) < cv:
        raise ValueError(
            f"cv={cv} folds need at least {cv} rows in each domain, got {n_source} "
            f"source and {n_target} target rows: lower cv or give more rows."
        )
    if not _varies(X):
        raise ValueError("No column of X varies: there is nothing to compare.")
    columns = column_shifts(X, is_target, names)

    rows = _tested_rows(X.shape[1], codes, is_target, rng)
    X, codes, is_target = X[rows].astype(np.float64), codes[rows], is_target[rows]
    if sparse.issparse(X) and X.shape[1] <= X.shape[0]:
        X = X.toarray()  # fewer numbers than the Gram matrix
    folds = _folds(is_target, cv, rng)
    views = DomainViews(X, codes, folds, rng)
    T = permuted_within(folds[:, np.newaxis], is_target, _N_PERMUTATIONS, rng)
    weights = np.ones((1, T.shape[1]))
    first = domain_test([*views.columns, views.classes], T, weights, _CERTAIN)

    # The second test knows the labels of its source rows.
    model = LabelShiftEM(estimator, cv=cv, random_state=rng)
    Z = X
    if estimator is None:
        model.set_params(estimator=LogisticRegression(max_iter=1000))
        Z = views.class_scores
    labeled = codes >= 0
    known = is_target | labeled
    hidden = np.where(labeled, codes, np.nan)
    model.fit(Z, hidden, sample_domain=np.where(is_target, -1, 1))
    shares = np.bincount(codes[labeled]) / np.count_nonzero(labeled)
    ratio = model.target_prior_ / shares
    draws = _imputed_classes(model.predict_proba(Z[is_target]), rng)
    classes_of_rows = np.repeat(codes[:, np.newaxis], draws.shape[1], axis=1)
    classes_of_rows[is_target] = draws
    classes_of_rows[~known] = len(classes)  # to themselves
    T = permuted_within(classes_of_rows, is_target, draws.shape[1], rng)
    weights = _class_weights(classes_of_rows, is_target, shares)
    weights = np.column_stack([ratio[codes], weights])
    weights[~known] = 0.0
    second = domain_test(views.columns, T, weights, _CERTAIN)

    effective = effective_sample_size(ratio[codes[labeled]])
    return ShiftDiagnosis(
        kind=_kind(first.z, second.z, min(n_source, n_target), effective),
        auc=first.auc,
        z=first.z,
        pvalue=first.pvalue,
        z_label=second.z,
        detectable_auc=first.detectable_auc,
        classes=classes,
        source_priors=shares,
        target_priors=model.target_prior_,
        target_priors_std=model.target_prior_std_,
        n_source=int(n_source),
        n_target=int(n_target),
        effective_sample_size=effective,
        columns=columns,
    )


def _source_codes(labels):
    """Class of each labelled source row, -1 elsewhere, and the classes."""
    labeled = is_labeled(labels)
    if not labeled.any():
        raise ValueError(
            "No source row is labelled: give labels of some source rows of each class."
        )
    values = natural_labels(labels[labeled])
    if values.ndim > 1 or type_of_target(values).startswith("continuous"):
        raise ValueError(
            "y holds continuous values, and shares are of classes: cut y into a few "
            "intervals, np.digitize(y, np.quantile(y, [.25, .5, .75]))."
        )
    classes, inverse = np.unique(values, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"The labelled source rows hold one class, {classes[0]!s}: give rows of at "
            "least two, or test the columns alone with mmd_test."
        )
    counts = np.bincount(inverse)
    if counts.min() < 2:
        raise ValueError(
            f"Class {classes[counts.argmin()]!s} has 1 labelled source row, and class "
            "shares take predictions for held-out rows: add rows of it or leave it out."
        )
    codes = np.full(len(labels), -1)
    codes[labeled] = inverse
    return codes, classes


def _row_keys(X):
    """A number for each row that depends on what it holds and not on its place."""
    direction = np.random.default_rng(0).standard_normal(X.shape[1])
    if sparse.issparse(X):
        return X.astype(np.float64) @ direction
    # A product with a matrix rounds equal rows differently in different places.
    keys = np.empty(len(X))
    step = max(1, 1_000_000 // X.shape[1])
    for start in range(0, len(X), step):
        part = slice(start, start + step)
        keys[part] = (X[part] * direction).sum(axis=1)
    return keys


def _varies(X):
    if sparse.issparse(X):
        X = X.tocsc()
        return bool((X.max(axis=0) - X.min(axis=0)).count_nonzero())
    return bool(np.ptp(X, axis=0).any())


def _tested_rows(n_columns, codes, is_target, rng):
    """All rows, or a random sample of each domain with two rows of each class."""
    most = _MOST_ROWS if n_columns <= _MANY_COLUMNS else _MOST_ROWS_IF_MANY
    order = rng.permutation(len(codes))
    chosen = np.zeros(len(codes), dtype=bool)
    for side in (False, True):
        chosen[order[is_target[order] == side][:most]] = True
    for code in range(codes.max() + 1):
        chosen[order[codes[order] == code][:2]] = True
    return np.flatnonzero(chosen)


def _folds(is_target, n_folds, rng):
    """Fold of each row, as many of each domain in each.

    Not as many of each class: that would hold for the source rows alone, and the
    domains would not be exchangeable.
    """
    order = np.lexsort((rng.random_sample(len(is_target)), is_target))
    folds = np.empty(len(is_target), dtype=np.intp)
    folds[order] = np.arange(len(is_target)) % n_folds
    return folds


def _imputed_classes(posterior, rng):
    """Classes drawn from each row of the posterior, one column a permutation."""
    upto = posterior.cumsum(axis=1)
    upto /= upto[:, -1:]
    uniform = rng.random_sample((len(posterior), _N_PERMUTATIONS))
    classes = np.zeros(uniform.shape, dtype=np.intp)
    for bound in upto[:, :-1].T:
        classes += uniform >= bound[:, np.newaxis]
    return classes


def _class_weights(classes, is_target, shares):
    """Weights that give source rows the class shares of the imputed target rows."""
    n_classes = len(shares)
    weights = np.empty(classes.shape)
    for column, own in enumerate(classes.T):
        counts = np.bincount(own[is_target], minlength=n_classes)
        ratio = np.append(counts / counts.sum() / shares, 0.0)
        weights[:, column] = ratio[own]
    return weights


def _kind(z, z_label, n_rows, effective):
    """The diagnosis from both tests, rows of the smaller domain, and effective rows."""
    doubtful = _DOUBTFUL if n_rows >= _FEW_ROWS else _DOUBTFUL_IF_FEW
    if z < doubtful:
        return "none"
    if z < _CERTAIN:
        return "unclear"
    if z_label < doubtful and effective >= _LEAST_EFFECTIVE:
        return "label"
    return "feature" if z_label >= _CERTAIN else "unclear"


def _none(found):
    small = min(found.n_source, found.n_target)
    caution = ""
    if small < _FEW_ROWS:
        caution = f" {small} rows in a domain show large differences only."
    return (
        f"No detectable difference between the domains (AUC {_auc(found.auc)}, z "
        f"{found.z:.1f}; it takes an AUC of {_auc(found.detectable_auc)} to be sure)."
        f"{caution}"
    )


def _label(found):
    largest = (found.target_priors - found.source_priors).argmax()
    before, after = found.source_priors[largest], found.target_priors[largest]
    return (
        f"The domains differ (AUC {_auc(found.auc)}, z {found.z:.1f}), and class "
        f"shares explain it (z {found.z_label:.1f} with the source weighted to them; "
        f"class {found.classes[largest]}: {before:.0%} of the source, about "
        f"{after:.0%} of the target)."
    )


def _feature(found):
    columns = found.columns
    order = np.argsort(-columns.ks, kind="stable")[:_NAMED_COLUMNS]
    named = [
        f"{columns.names[i]} ({_auc(columns.ks[i])})"
        for i in order
        if columns.pvalue_adjusted[i] < 0.05
    ]
    most = "no single column does so clearly"
    if named:
        most = "by Kolmogorov-Smirnov distance most in " + ", ".join(named)
    return (
        f"The columns differ (AUC {_auc(found.auc)}, z {found.z:.1f}), and class "
        f"shares do not explain it (z {found.z_label:.1f} with the source weighted to "
        f"them); {most}."
    )


def _unclear(found):
    if found.z < _CERTAIN:
        what = f"Whether the domains differ is not clear (AUC {_auc(found.auc)}, z "
        what += f"{found.z:.1f}"
    else:
        what = f"The domains differ (AUC {_auc(found.auc)}, z {found.z:.1f}), and "
        what += "whether class shares explain it is not clear (z "
        what += f"{found.z_label:.1f} with the source weighted to them, "
        what += f"{found.effective_sample_size:.0f} rows in effect"
    return (
        f"{what}; it takes {_CERTAIN}) with {found.n_source} source and "
        f"{found.n_target} target rows."
    )


_FINDINGS = {"none": _none, "label": _label, "feature": _feature, "unclear": _unclear}
_ADVICE = {
    "none": "Do not adapt.",
    "label": "Correct the class shares and leave the columns alone.",
    "feature": "Compare adapters.",
    "unclear": "Give more rows, or do not adapt.",
}


def _auc(value):
    return f"{value:.2f}".removeprefix("0")
