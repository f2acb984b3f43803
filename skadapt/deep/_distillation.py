"""Distillation: a network learns what another model says."""

import copy
import inspect
from numbers import Real

import numpy as np
import torch
from scipy.special import softmax
from sklearn.base import _fit_context
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skadapt._domains import natural_labels
from skadapt.deep._base import BaseNetworkClassifier
from skadapt.deep._devices import as_array
from skadapt.deep._loop import LabeledSet, PairedSet, _cycled
from skadapt.deep._network import pooled, probe
from skadapt.deep._rows import canonical_rows, join, take

__all__ = ["DistillationClassifier"]


class DistillationClassifier(BaseNetworkClassifier):
    r"""Distill a teacher into a network, the student.

    With labels y of the labelled rows L, logits z of the student, z0 of the teacher, T
    = `temperature` and a = `alpha`, the loss is, as in section 2 of [1]_, ::

        (1 - a) mean_{i in L} CE(y_i, softmax(z_i))
        + a T^2 mean_i KL(softmax(z0_i / T) || softmax(z_i / T))

    The second mean is over all rows: those without labels and, with `sample_domain`,
    those of the target. The factor T^2 keeps the size of its gradient, which is that
    of the logits divided by T, twice.

    Parameters
    ----------
    teacher : fitted classifier, torch.nn.Module or None, default=None
        Whose answers are learned: a fitted classifier with `predict_proba`, of any
        kind, the logarithms of whose probabilities are its logits; or a module that
        gives the logits, one column a class in the order of `classes_`. It gets the
        rows as they are given to `fit`, a module after `preprocess` and `normalize`,
        and it is not changed. None: a network like the student, trained on the
        labels alone (born again [2]_).
    {training}
    temperature : float, default=2.0
        T: the larger, the more count the probabilities of the less likely classes.
    alpha : float in [0, 1], default=0.5
        a, the share of the teacher. 0 is training without one, 1 leaves the labels
        out.

    Attributes
    ----------
    module_ : Network
        The fitted student, a ``torch.nn.Module`` with a `backbone` and a `head`.
    history_ : list of dict
        Losses and learning rate of each epoch.
    classes_ : ndarray of shape (n_classes,)
        Class labels: those of the teacher, if it has `classes_`, otherwise those of
        the labelled rows.
    n_features_in_ : int
        Length of axis 1 of X: number of features, or of channels.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If the teacher is not fitted, if it does not know a label, if it does not give
        one finite number a row and class, and as in `FineTuneClassifier`.
    MemoryError
        If the memory does not hold a batch.

    Warns
    -----
    NoAdaptationWarning
        If `fit` gets neither a `teacher` nor `sample_domain`: nothing is transferred.
    ConvergenceWarning
        If the loss became infinite or NaN, or if training was interrupted: the last
        good weights are kept.

    See Also
    --------
    FineTuneClassifier : Starts from a pretrained network instead.

    Notes
    -----
    A batch has as many rows without labels as with labels; the shorter of the two sets
    is cycled, and the two parts of the second mean have the weights of the sets. Row
    weights count in both means, class weights in the first. With `warm_start` a student
    without a teacher goes on from the last one, and so does the network it learns from.

    `clone` keeps the teacher as it is, fitted. `save` leaves it out: `predict` does not
    need it.

    References
    ----------
    .. [1] G. Hinton, O. Vinyals, J. Dean. Distilling the knowledge in a neural
       network. NIPS deep learning workshop, 2014. arXiv:1503.02531.
    .. [2] T. Furlanello, Z. Lipton, M. Tschannen, L. Itti, A. Anandkumar. Born again
       neural networks. ICML 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.ensemble import ExtraTreesClassifier
    >>> from skadapt.deep import DistillationClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X = X / 16
    >>> teacher = ExtraTreesClassifier(random_state=0).fit(X[:1000], y[:1000])
    >>> few = np.where(np.arange(1000) < 50, y[:1000], np.nan)
    >>> student = DistillationClassifier(teacher, lr=0.01, alpha=0.9, random_state=0)
    >>> student = student.fit(X[:1000], few)
    >>> bool(student.score(X[1000:], y[1000:]) > 0.9)
    True
    """

    _parameter_constraints: dict = {
        **BaseNetworkClassifier._parameter_constraints,
        "teacher": [HasMethods("predict_proba"), nn.Module, None],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "alpha": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        teacher=None,
        backbone=None,
        head="auto",
        *,
        temperature=2.0,
        alpha=0.5,
        **training,
    ):
        super().__init__(backbone, head, **training)
        self.teacher = teacher
        self.temperature = temperature
        self.alpha = alpha

    def __sklearn_clone__(self):
        # A teacher is data, not a model to be fitted: its clone would know nothing.
        copied = super().__sklearn_clone__()
        copied.teacher = self.teacher
        return copied

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, sample_domain=None):
        """Train the student.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, channels, ...)
            Rows of all domains, in any order; bytes with channels are images. With
            `preprocess`, a sequence of texts, paths or other items.
        y : array-like of shape (n_samples,)
            Labels; NaN (in an array of floats) or None (in an array of objects)
            marks an unlabelled row, on which the student learns from the teacher
            alone. Labels of target rows are never used, whatever y holds there.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative row weights; a row of weight 2 counts as two, a row of
            weight 0 is left out.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources and < 0 for targets. Several of
            either are pooled. A teacher whose `predict_proba` takes `sample_domain`
            is told. None: all rows are those of one domain, with a
            `NoAdaptationWarning` if there is no `teacher` either.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        given = X
        X, y, labeled, _, weights = self._check_fit(X, y, sample_weight, sample_domain)
        counts = np.ones(len(y), dtype=bool) if weights is None else weights > 0
        labels = natural_labels(y[labeled])
        check_classification_targets(labels)
        random_state = check_random_state(self.random_state)
        with self._seeded(random_state.randint(2**31 - 1)):
            logits = self._learn_classes(given, X, labels, sample_domain)
            codes = np.zeros(len(y), dtype=int)
            codes[labeled] = np.searchsorted(self.classes_, labels)
            parts = [labeled & counts, ~labeled & counts & (self.alpha > 0)]
            self._fit_student(X, codes, weights, parts, logits, random_state)
        return self

    def _brings_knowledge(self):
        return self.teacher is not None

    _takes_unlabeled = _brings_knowledge

    def _learn_classes(self, given, X, labels, sample_domain):
        """Set `classes_`; logits of the teacher in that order, if there is one."""
        classes, teacher = np.unique(labels), self.teacher
        if teacher is None or self.alpha == 0:
            logits = None
        elif isinstance(teacher, nn.Module):
            logits = self._logits_of_module(X)
        else:
            logits, classes = self._logits_of_classifier(given, labels, sample_domain)
        self._check_class_weight(classes)
        self._set_classes(classes)
        if logits is not None and (
            logits.shape != (len(X), self._n_outputs)
            or np.isnan(logits).any()
            or not np.isfinite(logits.max(axis=1)).all()
        ):
            raise ValueError(
                f"The teacher gives an array of shape {logits.shape}, or one with NaN "
                f"or infinity, where finite numbers for {len(X)} rows and "
                f"{self._n_outputs} classes are needed."
            )
        return logits

    def _logits_of_module(self, X):
        module = copy.deepcopy(self.teacher)
        placement = self._placement(module)
        module.to(placement.device)
        rows = self._rows(X, placement)
        return as_array(self._in_batches(lambda b: pooled(probe(module, b)), rows))

    def _logits_of_classifier(self, X, labels, sample_domain):
        teacher = self.teacher
        try:
            if hasattr(teacher, "fit"):
                check_is_fitted(teacher)
        except NotFittedError as error:
            raise ValueError(
                f"The teacher, a {type(teacher).__name__}, is not fitted: fit it first."
            ) from error
        arguments = {}
        taken = inspect.signature(teacher.predict_proba).parameters
        if sample_domain is not None and "sample_domain" in taken:
            arguments["sample_domain"] = sample_domain
        proba = np.asarray(teacher.predict_proba(X, **arguments))
        known = natural_labels(np.asarray(getattr(teacher, "classes_", labels)))
        unknown = labels[~np.isin(labels, known)]
        if len(unknown):
            raise ValueError(
                f"y holds the class {unknown[:1].tolist()[0]!r}, which the teacher "
                f"does not know; its classes are {known.tolist()}."
            )
        classes, first = np.unique(known, return_index=True)
        if proba.ndim == 2 and proba.shape[1] == len(known):
            proba = proba[:, first]
        with np.errstate(divide="ignore"):  # a tree is sure of what it says
            return np.log(proba), classes

    def _fit_student(self, X, codes, weights, parts, logits, random_state):
        rows, own = [], []
        for part in map(np.flatnonzero, parts):
            of_part = None if weights is None else weights[part]
            if len(part):
                index, of_part = canonical_rows(take(X, part), codes[part], of_part)
                part = part[index]
            rows.append(part)
            own.append(of_part)
        totals = [np.ones(len(r)) if w is None else w for r, w in zip(rows, own)]
        Xl, codes = take(X, rows[0]), codes[rows[0]]
        X = join(Xl, take(X, rows[1])) if len(rows[1]) else Xl

        def train(soft):
            network, pretrained = self._start(Xl)
            kept = any(name.startswith("head.") for name in pretrained)
            self._check_pull(pretrained, kept)

            def objective(rows, forward):
                supervised = self._supervised(rows, forward, pretrained)
                if soft is None:
                    return supervised
                dtype = rows.placement.dtype
                return DistillationObjective(
                    supervised,
                    soft.to(dtype),
                    totals,
                    self.temperature,
                    self.alpha,
                    drawn=self.sampler is not None,
                )

            def sets(rows, labeled, generator):
                index = torch.arange(len(Xl), len(rows))
                size = self.batch_size
                return _AllRows(
                    labeled, LabeledSet(rows, None, None, index, size, generator)
                )

            training = self._train(
                network,
                X,
                codes,
                own[0],
                objective,
                random_state=random_state,
                make_sets=sets if soft is not None and len(X) > len(Xl) else None,
            )
            return network, training

        if self.alpha == 0 or logits is None:
            network, training = train(None)
        if self.alpha > 0 and not (logits is None and training.interrupted):
            if logits is None:
                placed = self._rows(X, self._placement(network))
                logits = as_array(self._in_batches(network, placed))
            else:
                logits = logits[np.concatenate(rows)]
            logits = logits.astype(np.float64) / self.temperature
            network, training = train(torch.from_numpy(softmax(logits, axis=1)))
        self.module_, self.history_ = network, training.history


class DistillationObjective(nn.Module):
    """Loss of the labels and, times T^2, that of the answers of a teacher.

    Parameters
    ----------
    supervised : SupervisedObjective
        Loss of the labelled rows.
    soft : Tensor of shape (n_rows, n_classes)
        Probabilities of the teacher at the temperature, labelled rows first.
    weights : sequence of two ndarrays
        Weights of the labelled and of the other rows.
    temperature, alpha : float
        T and a.
    drawn : bool, default=False
        Whether the chances of labelled rows to be drawn hold their weights.
    """

    def __init__(self, supervised, soft, weights, temperature, alpha, *, drawn=False):
        super().__init__()
        self.drawn, self.recorded = drawn, {}
        self.supervised, self.pretrained = supervised, supervised.pretrained
        self.temperature, self.alpha = temperature, alpha
        totals = [own.sum() for own in weights]
        self.share = float(totals[0] / sum(totals))
        scaled = [own / own.mean() for own in weights if len(own)]
        self.register_buffer("soft", soft)
        scaled = torch.from_numpy(np.concatenate(scaled)).to(soft.dtype)
        self.register_buffer("weights", scaled)

    def forward(self, batch, features, outputs, progress):
        n = len(batch.labels)
        labeled = batch._replace(index=batch.index[:n])
        loss = self.supervised(labeled, features, outputs, progress)
        soft = self.soft[batch.index]
        logs = (outputs / self.temperature).log_softmax(1)
        distances = nn.functional.kl_div(logs, soft, reduction="none").sum(1)
        weights = self.weights[batch.index]
        if self.drawn and self.training:
            weights[:n] = 1
        distances = distances * weights
        distance = distances[:n].mean()
        if len(distances) > n:
            distance = torch.lerp(distances[n:].mean(), distance, self.share)
        return (1 - self.alpha) * loss + self.alpha * self.temperature**2 * distance


class _AllRows(PairedSet):
    """Pairs of rows with and without labels; a batch knows the numbers of both."""

    def __iter__(self):
        labeled, others = self.source, self.target
        n = max(len(labeled.index), len(others.index))
        first, second = (
            _cycled(part, n).split(labeled.batch_size) for part in (labeled, others)
        )
        both = [torch.cat(pair) for pair in zip(first, second)]
        batches = labeled.join(labeled.rows.batches(both), first)
        device = labeled.labels.device
        for batch, index in zip(batches, both):
            yield batch._replace(index=index.to(device))
