"""How many target rows a model gets right, as far as that shows without labels."""

from numbers import Integral
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.utils import _safe_indexing, check_consistent_length
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_params,
)
from sklearn.utils.validation import _num_samples, check_is_fitted, column_or_1d

from skadapt._domains import (
    as_labels,
    check_sample_domain,
    is_labeled,
    mask_target_labels,
    natural_labels,
)
from skadapt._ensemble import AdapterEnsembleClassifier
from skadapt._members import call_of
from skadapt.model_selection._evidence import evidence, percent
from skadapt.model_selection._scores import atc_score, doc_score


class PredictedAccuracy(NamedTuple):
    """What `predict_target_accuracy` returns.

    Attributes
    ----------
    accuracy : float
        Share of target rows that are expected to be predicted right.
    usual_error : float
        Mean absolute error of such predictions on benchmark tasks with feature shift,
        for models that are not adapted.
    source_accuracy : float
        Share of right predictions of held-out source rows; NaN for the method
        ``"average"``, which holds out no rows of this model.
    method : str
        How it was found.
    """

    accuracy: float
    usual_error: float
    source_accuracy: float
    method: str

    def __str__(self):
        error = 100 * self.usual_error
        return f"about {percent(self.accuracy)} (usual error {error:.0f} points)"


@validate_params(
    {
        "model": [HasMethods(["fit", "predict"])],
        "X": "no_validation",
        "y": "no_validation",
        "sample_domain": "no_validation",
        "method": [StrOptions({"average", "atc", "doc"})],
        "average": [AdapterEnsembleClassifier, None],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=False,
)
def predict_target_accuracy(
    model,
    X,
    y,
    *,
    sample_domain,
    method="average",
    average=None,
    cv=3,
    n_jobs=None,
    random_state=None,
):
    """Predict the accuracy of a fitted model on the target, without its labels.

    Parameters
    ----------
    model : classifier
        The fitted model. Of one that takes `sample_domain`, target rows are predicted
        as such.
    X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
        Rows of all domains, in any order.
    y : array-like of shape (n_samples,)
        Labels; NaN or None marks an unlabelled row. Labels of target rows are not
        looked at.
    sample_domain : array-like of shape (n_samples,)
        Domain of each row, > 0 for sources and < 0 for targets.
    method : {"average", "atc", "doc"}, default="average"
        ``"average"``: the mean probability that the average of many adapted models
        gives to the label that the model predicts. ``"atc"``: the share of target
        rows above the confidence that as many held-out source rows exceed as are
        predicted right [1]_. ``"doc"``: the accuracy on held-out source rows less the
        fall of the mean confidence from source to target [2]_.
    average : AdapterEnsembleClassifier, default=None
        The average, fitted to the same rows with `sample_domain`. None: fits the
        default one, which takes columns of numbers. Used with ``method="average"``.
    cv : int, default=3
        Stratified folds of source rows that are held out, for the calibration of
        probabilities and for the accuracy on the source.
    n_jobs : int, default=None
        Models of the default average that are fitted at a time.
    random_state : int, RandomState instance or None, default=None
        Of the default average.

    Returns
    -------
    result : PredictedAccuracy
        Named tuple of `accuracy`, `usual_error`, `source_accuracy` and `method`. As a
        str, "about 63 % (usual error 8 points)".

    Raises
    ------
    ValueError
        If the model is no classifier, if a domain is missing, if no source row is
        labelled, if the average was fitted without domains or knows no class of the
        model, or if the method needs probabilities that the model lacks.
    NotFittedError
        If the model or the average is not fitted.

    See Also
    --------
    compare_adapters : The same for every candidate, and a verdict.

    Notes
    -----
    The error is what such predictions were off by in the mean on benchmark tasks. It is
    no interval: nothing in unlabelled rows bounds the error on a task of its own, and
    where only the class shares differ, or what a class looks like, each method may be
    far off. ``"atc"`` and ``"doc"`` take confidences as they are on the source, and
    promised about ten points too much under feature shift; they fit clones of the
    model, to the source rows of a fold and to all.

    References
    ----------
    .. [1] S. Garg, S. Balakrishnan, Z. C. Lipton, B. Neyshabur, H. Sedghi. Leveraging
       unlabeled data to predict out-of-distribution performance. ICLR 2022.
    .. [2] D. Guillory, V. Shankar, S. Ebrahimi, T. Darrell, L. Schmidt. Predicting
       with confidence on unseen distributions. ICCV 2021.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skadapt import predict_target_accuracy
    >>> from skadapt.datasets import make_scaling
    >>> data = make_scaling(random_state=0)
    >>> X, y, domain = data.X, data.y, data.sample_domain
    >>> model = LogisticRegression().fit(X[domain > 0], y[domain > 0])
    >>> found = predict_target_accuracy(
    ...     model, X, y, sample_domain=domain, random_state=0
    ... )
    >>> float(model.score(X[domain < 0], y[domain < 0])), round(found.accuracy, 2)
    (0.84, 0.83)
    """
    check_is_fitted(model)
    if not is_classifier(model):
        raise ValueError(
            f"{type(model).__name__} is no classifier, and shares of right labels are "
            "what is predicted."
        )
    check_consistent_length(X, y)
    if sparse.issparse(X):
        X = X.tocsr()
    elif not hasattr(X, "iloc"):
        X = np.asarray(X)
    ids = check_sample_domain(sample_domain, _num_samples(X), both=True)
    y = mask_target_labels(column_or_1d(as_labels(y)), ids)
    if not is_labeled(y).any():
        raise ValueError(
            "y holds no labelled source row: give labels of the rows that the model "
            "was fitted to."
        )
    target = np.flatnonzero(ids < 0)
    Xt, t_ids = _safe_indexing(X, target), ids[target]
    usual_error = evidence()["error"][method]
    if method == "average":
        _check_average(average)
        predicted = call_of(model, "predict", Xt, t_ids)
        known = (
            natural_labels(y[is_labeled(y)]) if average is None else average.classes_
        )
        _check_shared(getattr(model, "classes_", predicted), known)
        if average is None:
            average = AdapterEnsembleClassifier(
                cv=cv, n_jobs=n_jobs, random_state=random_state
            ).fit(X, y, sample_domain=ids)
        accuracy = _mean_probability(
            average.classes_,
            # Each model alike, whatever weights the average itself has.
            np.mean(list(average._each_probability(Xt, t_ids)), axis=0),
            predicted,
        )
        return PredictedAccuracy(accuracy, usual_error, np.nan, method)
    single = AdapterEnsembleClassifier([clone(model)], cv=cv, max_samples=None)
    single.fit(X, y, sample_domain=ids)
    member, P = single._members[0], single.predict_proba(Xt, t_ids)
    if not len(member.correct):
        raise ValueError(
            "No class has two labelled source rows, and the accuracy on held-out ones "
            "is what the prediction starts from: give more rows."
        )
    score = {"atc": atc_score, "doc": doc_score}[method]
    accuracy = float(np.clip(score(member.held_out, member.correct, P), 0.0, 1.0))
    source_accuracy = float(member.correct.mean())
    return PredictedAccuracy(accuracy, usual_error, source_accuracy, method)


def _check_average(average):
    if average is None:
        return
    check_is_fitted(average)
    if not hasattr(average, "transduction_"):
        raise ValueError(
            "average was fitted without sample_domain, and what it says is no guide to "
            "the target then: fit it with sample_domain, or give average=None."
        )


def _check_shared(classes, known):
    """Refuse a model none of whose classes the average knows."""
    classes, known = np.unique(classes).tolist(), np.unique(known).tolist()
    # As Python compares them: in an array 0 and "0" would become alike.
    if set(classes).isdisjoint(known):
        raise ValueError(
            f"The model knows the classes {_few(classes)} and y, or the average, the "
            f"classes {_few(known)}: name the classes alike in both."
        )


def _few(classes):
    more = ", ..." if len(classes) > 4 else ""
    return f"{', '.join(map(repr, classes[:4]))}{more}"


def _mean_probability(classes, proba, labels):
    """Mean probability of the labels; 0 for one that `classes` lacks."""
    codes = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
    own = proba[np.arange(len(labels)), codes]
    return float(np.where(classes[codes] == labels, own, 0.0).mean())
