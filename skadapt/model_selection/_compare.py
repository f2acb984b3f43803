"""Which adapter, or none: a table and a verdict, without labels of the target."""

from html import escape
from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_consistent_length
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_params,
)
from sklearn.utils.validation import _num_samples, column_or_1d

from skadapt._calibration import _SoftmaxClassifier
from skadapt._candidates import NONE, check_columns, default_candidates
from skadapt._domains import (
    as_labels,
    check_sample_domain,
    is_labeled,
    mask_target_labels,
    natural_labels,
)
from skadapt._ensemble import AdapterEnsembleClassifier
from skadapt._members import rows_to_fit
from skadapt._predictor import takes_domains
from skadapt._transfer import TransferClassifier
from skadapt.instance import LabelShiftEM
from skadapt.model_selection._diagnose import diagnose_shift
from skadapt.model_selection._evidence import evidence, percent, record
from skadapt.model_selection._guard import LEAST_LABELS
from skadapt.model_selection._scores import (
    atc_score,
    mixed_rows,
    mixing_partners,
    mixval_score,
)
from skadapt.solvers._class_shares import share_distance

# Rows of a domain: folds of `diagnose_shift`.
_LEAST_ROWS = 5
# Weight of the model without adaptation in the average, see docs/decisions.md.
_HEDGE = 0.4
# Total variation between class shares from which on alignment is not trusted.
_LARGEST_SHARE_SHIFT = 0.15
_FIGURES = (
    "source_accuracy",
    "predicted_accuracy",
    "mixval",
    "atc",
    "agreement",
    "target_label_accuracy",
    "seconds",
)
AVERAGE, CORRECTED = "average of all", "corrected class shares"


class AdapterComparison:
    """What `compare_adapters` found.

    Attributes
    ----------
    verdict : str
        What to do, why, and how far such advice could be trusted on benchmark tasks.
    shift : ShiftDiagnosis
        What `diagnose_shift` says of the domains.
    best_ : str
        The recommended row of the table: ``"none, ..."``, ``"average of all"`` or
        ``"corrected class shares"``.
    estimator_ : classifier
        The recommended model, fitted: ``predict(X)`` is for target rows, and with
        several targets ``predict(X, sample_domain=...)`` says of which.
    baseline_ : classifier
        The model without adaptation, fitted to the labelled source rows.
    average_ : AdapterEnsembleClassifier
        The average of all models, whether it is recommended or not. It takes the
        columns that the steps of a Pipeline before its last return.
    rows : list of dict
        The table: one dict a model, in the order in which they were fitted, of

        - name, adapter, estimator : str
        - source_accuracy : float, of held-out source rows
        - predicted_accuracy : float, expected on the target by the plain mean of all
        - mixval, atc : float, see `mixval_scorer` and `atc_scorer`
        - agreement : float, share of target rows labelled as without adaptation
        - target_label_accuracy : float, on labelled target rows, if these are used
        - seconds : float, of the fit
        - failure : str, why there are no figures, or empty
    """

    def __init__(self, rows, shift, verdict, best, estimator, baseline, average):
        self.rows = rows
        self.shift = shift
        self.verdict = verdict
        self.best_ = best
        self.estimator_ = estimator
        self.baseline_ = baseline
        self.average_ = average

    @property
    def table(self):
        """The rows as a data frame, by name."""
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "The table is a data frame of pandas: pip install pandas, or read the "
                "list of dicts in rows."
            ) from error
        return pd.DataFrame(self.rows).set_index("name")

    def plot(self, ax=None):
        """Draw the accuracy predicted for the target over that on the source.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.

        Returns
        -------
        display : AdapterAccuracyDisplay
            With `ax_` and `figure_`.
        """
        from skadapt.plotting import AdapterAccuracyDisplay

        return AdapterAccuracyDisplay.from_comparison(self, ax=ax)

    def __repr__(self):
        return f"AdapterComparison({len(self.rows)} models): {self.verdict}"

    def _repr_html_(self):
        heading = (
            f"<p><b>{escape(self.verdict)}</b></p><p>{escape(str(self.shift))}</p>"
        )
        try:
            table = self.table.sort_values("predicted_accuracy", ascending=False)
        except ImportError:
            return heading
        table = table.drop(columns=["adapter", "estimator"]).dropna(axis=1, how="all")
        return heading + table.to_html(float_format="{:.3f}".format, max_rows=50)


@validate_params(
    {
        "X": "no_validation",
        "y": "no_validation",
        "sample_domain": "no_validation",
        "estimator": [HasMethods(["fit"]), None],
        "adapters": [dict, StrOptions({"default"})],
        "class_shares": [StrOptions({"unknown", "same", "different"}), "array-like"],
        "use_target_labels": ["boolean"],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "max_samples": [Interval(Integral, 10, None, closed="left"), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=False,
)
def compare_adapters(
    X,
    y,
    sample_domain,
    estimator=None,
    *,
    adapters="default",
    class_shares="unknown",
    use_target_labels=False,
    cv=3,
    max_samples=5000,
    n_jobs=None,
    random_state=None,
    verbose=0,
):
    """Diagnose the shift, compare adapted models without target labels, and advise.

    The advice follows three questions in this order. Do the domains differ at all, and
    if so, do class shares alone (`diagnose_shift`)? If neither, is the average of many
    adapted models to be trusted here? It is never the adapter with the largest score:
    no score that does without labels of the target picks adapters well enough.

    Parameters
    ----------
    X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
        Rows of all domains as they were measured, in any order.
    y : array-like of shape (n_samples,)
        Classes; NaN or None marks an unlabelled row. Labels of target rows are not
        looked at, unless `use_target_labels` is set.
    sample_domain : array-like of shape (n_samples,)
        Domain of each row, > 0 for sources and < 0 for targets.
    estimator : classifier, default=None
        What adapters are joined to. Of a Pipeline, the steps before the last are fitted
        to the labelled source rows and prepare the columns, which may then be words or
        have missing values, and the last step is joined. None: nearest neighbour,
        logistic regression and linear SVM, for columns of numbers.
    adapters : {"default"} or dict of str to adapter, default="default"
        Adapters by name. ``"default"``: those of `AdapterEnsembleClassifier`.
    class_shares : {"unknown", "same", "different"} or array-like of shape \
            (n_classes,), default="unknown"
        What you know of the shares of the classes in the target, compared with those
        of the labelled source rows; an array holds them in the order of the sorted
        labels. Where they differ, by .15 in total variation in case of an array, the
        average is not recommended. ``"unknown"`` adds the advice to check them.
    use_target_labels : bool, default=False
        Whether labels of target rows count as well, if y has at least 3 of each class:
        the average is not recommended if it is right on fewer of them than the model
        without adaptation. No model is fitted to them.
    cv : int, default=3
        Stratified folds in which source rows are held out.
    max_samples : int or None, default=5000
        Largest number of rows that models are compared on. The model without
        adaptation and the one with corrected class shares are fitted to all rows in
        the end, the average labels them all. None: all.
    n_jobs : int, default=None
        Models fitted at a time. None: one, unless in a joblib context.
    random_state : int, RandomState instance or None, default=None
        Draws rows, and is the seed of models.
    verbose : int, default=0
        1 shows a progress bar, with tqdm.

    Returns
    -------
    comparison : AdapterComparison
        With `verdict`, a table, and the recommended model, fitted.

    Raises
    ------
    ValueError
        If a domain is missing or has too few rows, if fewer than two classes are
        labelled in the source or one of them in a single row, if the estimator is no
        classifier or adapts by itself, if columns are no numbers and no Pipeline
        encodes them, or if the model without adaptation cannot be fitted.

    Warns
    -----
    UserWarning
        If some of the adapted models could not be fitted: the table says why.

    See Also
    --------
    diagnose_shift : The first two questions alone.
    AdapterEnsembleClassifier : The average, as a model of its own.
    NegativeTransferGuard : Wraps any model in the third question.
    predict_target_accuracy : The predicted accuracy, for any model.

    Notes
    -----
    **The table.** `predicted_accuracy` is the mean probability that the plain mean of
    all models gives to the labels of a model [1]_, the best of the figures without
    labels;
    `mixval` [2]_ and `atc` [3]_ are those of the scorers of these names;
    `source_accuracy` is of held-out source rows, which the adapter of a model may have
    seen without their labels: it promises too much.

    **The average.** The model without adaptation has weight .4 in it on top of its own
    (`hedge`), which limits what it can lose. It is recommended if the columns differ,
    class shares are not known to differ, labelled target rows, if there are enough, do
    not speak against it, and it does not label every target row as that model does. In
    all other cases the advice is not to adapt, or to correct class shares. The verdict
    says how often such advice was right on benchmark tasks that no rule was tuned on.

    **No adaptation** is the model without adapter of the largest accuracy on held-out
    source rows.

    References
    ----------
    .. [1] D. Hu, M. Luo, J. Liang, C.-S. Foo. Towards reliable model selection for
       unsupervised domain adaptation: an empirical study and a certified baseline.
       NeurIPS 2024.
    .. [2] D. Hu, J. Liang, J. H. Liew, C. Xue, S. Bai, X. Wang. Mixed samples as
       probes for unsupervised model selection in domain adaptation. NeurIPS 2023.
    .. [3] S. Garg, S. Balakrishnan, Z. C. Lipton, B. Neyshabur, H. Sedghi. Leveraging
       unlabeled data to predict out-of-distribution performance. ICLR 2022.

    Examples
    --------
    >>> from skadapt import compare_adapters
    >>> from skadapt.datasets import make_label_shift
    >>> data = make_label_shift(random_state=0)
    >>> X, y, domain = data.X, data.y, data.sample_domain
    >>> found = compare_adapters(X, y, domain, random_state=0)
    >>> found.best_
    'corrected class shares'
    >>> for model in (found.estimator_, found.baseline_):
    ...     print(f"{model.score(X[domain < 0], y[domain < 0]):.2f}")
    0.90
    0.88
    """
    X, y, ids = _check_rows(X, y, sample_domain)
    before, last = _parts(estimator)
    hidden = mask_target_labels(y, ids)
    trained = np.flatnonzero(is_labeled(hidden))
    labels = natural_labels(hidden[trained])
    classes = np.unique(labels)
    shares = _check_shares(class_shares, classes)
    columns = diagnosed = X
    if before is not None:
        # Rows that steps were fitted to differ from others, in the same domain, too.
        of_all = _fit_steps(before, X)
        diagnosed = of_all.transform(X)
        before = _fit_steps(before, _safe_indexing(X, trained))
        columns = before.transform(X)
    numbers = check_columns(columns)
    if not hasattr(columns, "iloc"):  # a frame has names that models want to know
        columns = numbers
    if estimator is not None:  # what fails in use fails before the work is done
        own = estimator
        baseline = TransferClassifier(clone(own)).fit(X, hidden, sample_domain=ids)

    shift = diagnose_shift(diagnosed, hidden, ids, random_state=random_state)
    names = None if before is None else _names_out(of_all)
    if names is not None:
        shift = shift._replace(columns=shift.columns._replace(names=names))
    drawn = rows_to_fit(numbers, hidden, ids, max_samples, random_state)
    drawn = np.arange(len(ids)) if drawn is None else drawn
    Z, z_ids = _safe_indexing(columns, drawn), ids[drawn]
    candidates = _candidates(numbers[drawn], z_ids, last, adapters, random_state)
    ensemble = AdapterEnsembleClassifier(
        "default"
        if last is None and adapters == "default"
        else [(one.name, one.model) for one in candidates],
        hedge=_HEDGE,
        cv=cv,
        max_samples=max_samples,
        n_jobs=n_jobs,
        random_state=random_state,
        verbose=verbose,
    ).fit(Z, hidden[drawn], sample_domain=z_ids)

    few = None
    if use_target_labels:
        few = np.flatnonzero(is_labeled(y) & (ids < 0))
        few = few, natural_labels(y[few])
    at = drawn[z_ids < 0]
    rows = _table(candidates, ensemble, _safe_indexing(columns, at), ids[at])
    if few is not None:
        labelled = _safe_indexing(columns, few[0])
        _score_labels(rows, ensemble, labelled, ids[few[0]], few[1])
    unadapted = next(row for row in rows if row["name"] == ensemble.unadapted_)
    is_default = estimator is None and adapters == "default"
    best, verdict = _decide(shift, rows, unadapted, shares, labels, few, is_default)

    if estimator is None:
        own = next(c.model.estimator for c in candidates if c.name == unadapted["name"])
        baseline = TransferClassifier(clone(own)).fit(X, hidden, sample_domain=ids)
    chosen = baseline
    if best == AVERAGE:
        if len(drawn) < len(ids):
            target = np.flatnonzero(ids < 0)
            ensemble.transduction_ = ensemble.predict(
                _safe_indexing(columns, target), ids[target]
            )
        chosen = ensemble
        if before is not None:
            names = dict(before.steps)
            name = next(n for n in ("average", "average_of_all", "_") if n not in names)
            chosen = Pipeline([*before.steps, (name, ensemble)])
    elif best == CORRECTED:
        chosen = _corrected(own, random_state)
        chosen.fit(X, hidden, sample_domain=ids)
    return AdapterComparison(rows, shift, verdict, best, chosen, baseline, ensemble)


def _check_rows(X, y, sample_domain):
    check_consistent_length(X, y)
    if sparse.issparse(X):
        X = X.tocsr()
    elif not hasattr(X, "iloc"):
        X = np.asarray(X)
    y = column_or_1d(as_labels(y))
    ids = check_sample_domain(sample_domain, _num_samples(X), both=True)
    n_rows = np.count_nonzero(ids > 0), np.count_nonzero(ids < 0)
    if min(n_rows) < _LEAST_ROWS:
        raise ValueError(
            f"There are {n_rows[0]} source and {n_rows[1]} target rows, and models are "
            f"compared on no fewer than {_LEAST_ROWS} of each: give more rows."
        )
    if not (is_labeled(y) & (ids > 0)).any():
        raise ValueError(
            "y holds no labelled source row: the labels of the source are what models "
            "learn from."
        )
    return X, y, ids


def _parts(estimator):
    """The steps that prepare columns, or None, and the classifier."""
    if estimator is None:
        return None, None
    if not is_classifier(estimator):
        raise ValueError(
            f"{type(estimator).__name__} is no classifier, and classes are what is "
            "compared: give a classifier, or a Pipeline that ends in one."
        )
    if takes_domains(estimator):
        raise ValueError(
            f"{type(estimator).__name__} takes sample_domain itself: give the "
            "classifier that is to be adapted, and adapters in adapters."
        )
    if isinstance(estimator, Pipeline) and len(estimator.steps) > 1:
        return estimator[:-1], estimator.steps[-1][1]
    return None, estimator


def _fit_steps(before, X):
    """The steps before the classifier, fitted to rows without labels."""
    try:
        return clone(before).fit(X)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "The steps of the Pipeline before its last could not be fitted without "
            "labels, as they are for adapters: put steps that learn from y into one "
            "with the classifier, make_pipeline(steps, make_pipeline(SelectKBest(), "
            f"LogisticRegression())). {error}"
        ) from error


def _names_out(before):
    """Names of the columns that the steps return; None if one of them gives none."""
    try:
        return np.asarray(before.get_feature_names_out())
    except (AttributeError, ValueError):
        return None


def _check_shares(class_shares, classes):
    """The word, or the shares as an array."""
    if isinstance(class_shares, str):
        return class_shares
    try:
        shares = np.asarray(class_shares, dtype=np.float64)
    except (TypeError, ValueError):
        shares = np.empty(0)
    if (
        shares.shape != classes.shape
        or not (shares >= 0).all()
        or abs(shares.sum() - 1.0) > 1e-6
    ):
        raise ValueError(
            f"class_shares must hold the share of each of the {len(classes)} classes "
            f"in the target, of sum 1 and in the order {classes.tolist()}, got "
            f"{class_shares!r}."
        )
    return shares


def _candidates(Z, ids, estimator, adapters, random_state):
    if adapters == "default":
        adapters = None
    elif not adapters:
        raise ValueError("adapters is empty: give at least one, or 'default'.")
    elif NONE in adapters:
        raise ValueError(
            f"adapters holds the name {NONE!r}, which stands for no adaptation: use "
            "another name."
        )
    else:
        for name, adapter in adapters.items():
            if not hasattr(adapter, "fit") or isinstance(adapter, type):
                raise ValueError(
                    f"adapters[{name!r}] is {adapter!r}, which has no fit: give an "
                    "adapter such as CORAL(), or a Pipeline of adapters."
                )
    return default_candidates(Z, ids, estimator, adapters, random_state=random_state)


def _table(candidates, ensemble, Xt, ids):
    """A row for each candidate, and one for the average, which is the last."""
    proba = np.array(list(ensemble._each_probability(Xt, ids)))
    mean = proba.mean(axis=0)  # what accuracies are predicted by, without hedge
    P = np.tensordot(ensemble.estimator_weights_, proba, axes=1)
    codes, code = proba.argmax(axis=2), P.argmax(axis=1)
    mixval, mixval_of_average = _mixval(ensemble, Xt, ids, codes, code)
    seconds = ensemble.fit_times_
    place = {member.name: at for at, member in enumerate(ensemble._members)}
    unadapted = codes[place[ensemble.unadapted_]]
    each = np.arange(len(mean))
    rows = []
    for candidate in candidates:
        row = {
            "name": candidate.name,
            "adapter": candidate.adapter,
            "estimator": candidate.estimator,
            **dict.fromkeys(_FIGURES, np.nan),
            "failure": ensemble.failures_.get(candidate.name, ""),
        }
        rows.append(row)
        if candidate.name in place:
            at = place[candidate.name]
            member = ensemble._members[at]
            row["source_accuracy"] = float(member.correct.mean())
            row["predicted_accuracy"] = float(mean[each, codes[at]].mean())
            row["mixval"] = float(mixval[at])
            row["atc"] = atc_score(member.held_out, member.correct, proba[at])
            row["agreement"] = float(np.mean(codes[at] == unadapted))
            row["seconds"] = float(seconds[at])
    average = {
        "name": AVERAGE,
        "adapter": "all",
        "estimator": "all",
        **dict.fromkeys(_FIGURES, np.nan),
        "predicted_accuracy": float(mean[each, code].mean()),
        "mixval": mixval_of_average,
        "agreement": float(np.mean(code == unadapted)),
        "seconds": float(seconds.sum()),
        "failure": "",
    }
    return [*rows, average]


def _mixval(ensemble, Xt, ids, codes, code):
    """`mixval_score` of each model, and of the average, as means over partners."""
    of_models, of_average = [], []
    for partner in mixing_partners(check_columns(Xt)):
        mixed = mixed_rows(Xt, partner)
        P = np.zeros((len(code), len(ensemble.classes_)))
        scores = []
        for weight, own, labels in zip(
            ensemble.estimator_weights_, ensemble._each_probability(mixed, ids), codes
        ):
            P += weight * own
            scores.append(mixval_score(own, labels, labels[partner]))
        of_models.append(scores)
        of_average.append(mixval_score(P, code, code[partner]))
    return np.mean(of_models, axis=0), float(np.mean(of_average))


def _score_labels(rows, ensemble, X, ids, labels):
    """Accuracy on labelled target rows, which no model was fitted to."""
    if not len(labels):
        return
    codes = np.searchsorted(ensemble.classes_, labels)
    codes = np.minimum(codes, len(ensemble.classes_) - 1)
    known = ensemble.classes_[codes] == labels
    proba = list(ensemble._each_probability(X, ids))
    by_name = dict(zip(ensemble.named_estimators_, proba))
    by_name[AVERAGE] = np.tensordot(ensemble.estimator_weights_, proba, axes=1)
    for row in rows:
        if row["name"] in by_name:
            right = (by_name[row["name"]].argmax(axis=1) == codes) & known
            row["target_label_accuracy"] = float(right.mean())


def _decide(shift, rows, unadapted, shares, labels, few, is_default):
    """The name of the recommended row, and why."""
    average = rows[-1]
    fitted = [row for row in rows[:-1] if not row["failure"]]
    found = evidence()
    error = 100 * max(found["error"]["average"], found["error_of_average"])
    before = percent(unadapted["predicted_accuracy"])
    stay = (
        f"Do not adapt: {unadapted['name']}, predicted to be right on about {before} "
        f"of the target rows (usual error {error:.0f} points)."
    )
    if shift.kind in ("none", "unclear"):
        return unadapted["name"], f"{shift.finding} {stay}"
    if shift.kind == "label":
        if isinstance(shares, str) and shares == "same":
            reason = "You say that these shares are alike, and nothing else differs."
            return unadapted["name"], f"{shift.finding} {reason} {stay}"
        advice = "Correct the class shares and leave the columns alone."
        return CORRECTED, f"{shift.finding} {advice} {record('label', is_default)}"
    if all(row["adapter"] == NONE for row in fitted):
        return unadapted["name"], (
            f"{shift.finding} No adapted model could be fitted. {stay}"
        )
    reason = _against(average, unadapted, shares, labels, few)
    if reason:
        return unadapted["name"], f"{shift.finding} {reason} {stay}"
    verdict = (
        f"{shift.finding} Use the average of {len(fitted)} models, predicted to be "
        f"right on about {percent(average['predicted_accuracy'])} of the target rows, "
        f"against {before} without adaptation (usual error {error:.0f} points). "
        f"{record('adopted', is_default)}"
    )
    if isinstance(shares, str) and shares == "unknown":
        verdict += " Check that class shares are alike in both domains."
    return AVERAGE, verdict


def _against(average, unadapted, shares, labels, few):
    """Why the average is not to be used, or nothing."""
    if isinstance(shares, str):
        if shares == "different":
            return "Class shares differ, and aligned columns then mix classes up."
    else:
        source = np.unique(labels, return_counts=True)[1] / len(labels)
        distance = share_distance(source, shares)
        if distance >= _LARGEST_SHARE_SHIFT:
            return (
                f"{percent(distance)} of the rows would have to change class to make "
                "class shares alike, and aligned columns then mix classes up."
            )
    if few is not None and len(few[1]):
        counts = [np.count_nonzero(few[1] == one) for one in np.unique(labels)]
        worse = average["target_label_accuracy"] < unadapted["target_label_accuracy"]
        if min(counts) >= LEAST_LABELS and worse:
            return (
                f"On {len(few[1])} labelled target rows the average is right in "
                f"{percent(average['target_label_accuracy'])}, and without adaptation "
                f"{percent(unadapted['target_label_accuracy'])} are."
            )
    if average["agreement"] == 1:
        return "The average of all models labels every target row as without them."
    return ""


def _corrected(model, random_state):
    """The classifier with shares of the classes in the target, not yet fitted."""
    if not hasattr(model, "predict_proba"):
        model = _SoftmaxClassifier(model)
    return LabelShiftEM(clone(model), random_state=random_state)
