"""Several tasks at once: one trunk, and a head for each domain."""

import copy
from numbers import Real

import numpy as np
import torch
from scipy.special import softmax
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_parameter_constraints
from sklearn.utils.multiclass import check_classification_targets
from torch import nn

from skadapt._domains import check_sample_domain, natural_labels
from skadapt.deep._base import BaseNetworkClassifier
from skadapt.deep._loop import LabeledSet, SupervisedObjective
from skadapt.deep._rows import canonical_rows, take

__all__ = ["MultiTaskClassifier"]

_PER_WEIGHT = {"weight": [Interval(Real, 0, None, closed="neither")]}


class MultiTaskClassifier(BaseNetworkClassifier):
    r"""Train one network for several tasks: a shared trunk, a head for each domain.

    Each domain is a task, with classes of its own. With l_t the mean cross-entropy of
    the n_t labelled rows of task t, as its own head sees them through the trunk that
    all tasks share [1]_, the loss is ::

        sum_t s_t w_t l_t,    s_t = sqrt(n_t) / sum_u sqrt(n_u)

    Batches hold rows of the tasks in the shares s_t: small tasks are not drowned, as
    with shares n_t, nor repeated as often as with equal ones.

    Parameters
    ----------
    {training}
    task_weight : dict or None, default=None
        Weight w_t of a domain by its id; 1 for those it does not name.

    Attributes
    ----------
    module_ : Network
        The fitted network; its `head` gives the outputs of all heads, one beside the
        other.
    domain_classes_ : dict of int to ndarray
        The classes of each domain, in the order of the heads.
    history_ : list of dict
        Losses and learning rate of each epoch.
    classes_ : ndarray of shape (n_classes,)
        Class labels of all tasks.
    n_features_in_ : int
        Length of axis 1 of X: number of features, or of channels.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If a domain has no labelled row, if `predict` is not told which of several
        heads to use, or is told of a domain that has none, and as in
        `FineTuneClassifier`.
    MemoryError
        If the memory does not hold a batch.

    Warns
    -----
    NoAdaptationWarning
        If `fit` gets neither a `backbone` nor `sample_domain`: nothing is transferred.
    ConvergenceWarning
        If the loss became infinite or NaN, or if training was interrupted: the last
        good weights are kept.

    See Also
    --------
    FineTuneClassifier : One task after the other.

    Notes
    -----
    A domain id is the name of a task, its sign included: 1 and -1 have two heads. Rows
    that `predict` is told nothing of are target rows, and belong to the only target
    domain; where `fit` saw several, they have to be named, as in
    ``predict(X, sample_domain=-2)``. The probability of a class that a task does not
    have is 0.

    `class_weight` and `sampler` balance the classes within each task. As in
    `FineTuneClassifier` a model depends on neither the order nor the repetition of its
    rows; nor does it on the names of the domains.

    References
    ----------
    .. [1] R. Caruana. Multitask learning. Machine Learning 28, 41-75, 1997.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import stack_domains
    >>> from skadapt.deep import MultiTaskClassifier
    >>> rng = np.random.default_rng(0)
    >>> Xs, Xt = rng.normal(size=(400, 2)), rng.normal(size=(330, 2))
    >>> side = np.array(["left", "right"])[(Xs.prod(axis=1) > 0).astype(int)]
    >>> color = np.array(["red", "blue"])[(Xt.prod(axis=1) > 0).astype(int)]
    >>> X, y, sample_domain = stack_domains(Xs, side, Xt[:30], color[:30])
    >>> model = MultiTaskClassifier(lr=0.02, random_state=0)
    >>> model = model.fit(X, y, sample_domain=sample_domain)
    >>> model.classes_
    array(['blue', 'left', 'red', 'right'], dtype='<U5')
    >>> bool(model.score(Xt[30:], color[30:]) > 0.85)
    True
    >>> model.predict([[1.0, 1.0]], sample_domain=1)
    array(['right'], dtype='<U5')
    """

    _uses_target_labels = True
    _reads = "labelled rows"
    _saved = (*BaseNetworkClassifier._saved, "domain_classes_")
    _parameter_constraints: dict = {
        **BaseNetworkClassifier._parameter_constraints,
        "task_weight": [dict, None],
    }

    def __init__(self, backbone=None, head="auto", *, task_weight=None, **training):
        super().__init__(backbone, head, **training)
        self.task_weight = task_weight

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, sample_domain=None):
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, channels, ...)
            Rows of all domains, in any order; bytes with channels are images. With
            `preprocess`, a sequence of texts, paths or other items.
        y : array-like of shape (n_samples,)
            Labels; with `sample_domain`, NaN (in an array of floats) or None (in an
            array of objects) marks an unlabelled row, which is left out.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative row weights; a row of weight 2 counts as two, also in n_t, a
            row of weight 0 is left out.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain, that is task, of each row: > 0 for sources and < 0 for targets,
            at least one of either. None: all rows are of one task, -1, with a
            `NoAdaptationWarning` if there is no `backbone` either.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        for weight in (self.task_weight or {}).values():
            validate_parameter_constraints(
                _PER_WEIGHT, {"weight": weight}, "task_weight"
            )
        X, y, labeled, ids, weights = self._check_fit(
            X, y, sample_weight, sample_domain
        )
        ids = np.full(len(y), -1) if ids is None else ids
        if weights is not None:
            labeled = labeled & (weights > 0)
            weights = weights[labeled]
        without = np.setdiff1d(ids, ids[labeled])
        if len(without):
            side = "source" if without[0] > 0 else "target"
            raise ValueError(
                f"Domain {without[0]} holds no labelled {side} row (in y, of positive "
                "weight) to train its head on: label some rows, or leave the domain "
                "out."
            )
        labels = natural_labels(y[labeled])
        check_classification_targets(labels)
        random_state = check_random_state(self.random_state)
        with self._seeded(random_state.randint(2**31 - 1)):
            X = take(X, np.flatnonzero(labeled))
            self._fit_tasks(X, labels, ids[labeled], weights, random_state)
        return self

    def _brings_knowledge(self):
        return self.backbone is not None

    def _fit_tasks(self, X, labels, ids, weights, random_state):
        classes, codes = np.unique(labels, return_inverse=True)
        self._check_class_weight(classes)
        # Heads stand in the order of their first rows: the ids are names.
        order, _ = canonical_rows(X, codes, None)
        named, first = np.unique(ids[order], return_index=True)
        found = [*named[np.argsort(first)], *np.setdiff1d(ids, named)]
        found = {int(d): np.unique(labels[ids == d]) for d in found}
        unknown = [d for d in self.task_weight or {} if d not in found]
        if unknown:
            raise ValueError(
                f"task_weight names domain {unknown[0]!r}, which is none of "
                f"{sorted(found)}."
            )
        if not self._goes_on:
            self.domain_classes_ = found
        elif not _equal(self.domain_classes_, found):
            known = [
                {domain: own.tolist() for domain, own in of_domains.items()}
                for of_domains in (self.domain_classes_, found)
            ]
            self._refuse_classes(*known)
        self.classes_ = classes
        self._n_outputs = sum(map(len, self.domain_classes_.values()))
        codes = self._codes(labels, ids)
        index, weights = canonical_rows(X, codes, weights)
        X, codes = take(X, index), codes[index]

        network, pretrained = self._start(X)
        self._check_pull(
            pretrained, any(name.startswith("head.") for name in pretrained)
        )
        if self.conservative and len(self.domain_classes_) > 1:
            raise ValueError(
                f"conservative={self.conservative} is for one task, of "
                f"{len(self.domain_classes_)}: use l2_sp to stay near the weights."
            )

        def sets(rows, labeled, generator):
            if labeled.chances is not None:
                return labeled
            groups = torch.from_numpy(self._tasks_of(codes))[labeled.index]
            return ProportionalSet(labeled, groups, self._shares(codes, weights))

        training = self._train(
            network,
            X,
            codes,
            weights,
            lambda rows, forward: self._supervised(rows, forward, pretrained),
            random_state=random_state,
            make_sets=sets if len(self.domain_classes_) > 1 else None,
        )
        self.module_, self.history_ = network, training.history

    # ----------------------------------------------------------------- heads

    def _head(self):
        if self.head != "auto":
            return self.head
        known = getattr(self.backbone, "domain_classes_", None)
        if known is not None:
            return "auto" if _equal(known, self.domain_classes_) else "replace"
        return "replace" if len(self.domain_classes_) > 1 else super()._head()

    def _network_for(self, example, n_outputs, backbone=None, head=None):
        head = self._head() if head is None else head
        sizes = {d: len(classes) for d, classes in self.domain_classes_.items()}
        if not isinstance(head, str):
            given = head

            def head(n_features, _):
                if isinstance(given, nn.Module):
                    return Heads({d: copy.deepcopy(given) for d in sizes})
                return Heads({d: given(n_features, n) for d, n in sizes.items()})

        network, pretrained = super()._network_for(example, n_outputs, backbone, head)
        kept = any(name.startswith("head.") for name in pretrained)
        if not isinstance(network.head, Heads):
            network.head = Heads.of(network.head, sizes)
        names = (name for name, _ in network.named_parameters())
        prefixes = ("backbone.",) * bool(pretrained) + ("head.",) * kept
        return network, {name for name in names if name.startswith(prefixes)}

    def _offsets(self):
        """First output of each head, by domain."""
        sizes = [len(classes) for classes in self.domain_classes_.values()]
        starts = np.cumsum([0, *sizes[:-1]]).tolist()
        return dict(zip(self.domain_classes_, starts))

    def _codes(self, labels, ids):
        """Number of the output that stands for the label of a row."""
        codes = np.zeros(len(labels), dtype=int)
        for domain, start in self._offsets().items():
            own = ids == domain
            classes = self.domain_classes_[domain]
            codes[own] = start + np.searchsorted(classes, labels[own])
        return codes

    def _tasks_of(self, codes):
        """Number of the head that an output belongs to."""
        starts = list(self._offsets().values())
        return np.searchsorted(starts, codes, side="right") - 1

    # -------------------------------------------------------------- training

    def _shares(self, codes, weights):
        """Shares of the tasks in a batch."""
        sizes = np.sqrt(np.bincount(self._tasks_of(codes), weights))
        return sizes / sizes.sum()

    def _supervised(self, rows, forward, pretrained):
        if len(self.domain_classes_) == 1:
            return super()._supervised(rows, forward, pretrained)
        tasks = self._tasks_of(np.arange(self._n_outputs))
        return SupervisedObjective(LossOfHeads(tasks, self.label_smoothing), pretrained)

    def _groups(self, codes):
        return self._tasks_of(codes)

    def _factors(self, codes, weights):
        """Weights of the tasks and of the classes of rows."""
        if self.task_weight is None and self.class_weight is None:
            return None
        tasks = self._tasks_of(codes)
        of_code = np.ones(self._n_outputs)
        if self.class_weight == "balanced":
            totals = np.bincount(codes, weights, minlength=self._n_outputs)
            of_task = np.bincount(tasks, weights)
            heads = self._tasks_of(np.arange(self._n_outputs))
            present = totals > 0
            n_present = np.bincount(heads[present], minlength=len(of_task))
            of_code[present] = (of_task / n_present)[heads[present]] / totals[present]
        elif self.class_weight is not None:
            labels = np.concatenate(list(self.domain_classes_.values())).tolist()
            of_code = np.array([self.class_weight.get(c, 1.0) for c in labels])
        given = self.task_weight or {}
        of_task = np.array([given.get(d, 1.0) for d in self.domain_classes_])
        return of_code[codes] * of_task[tasks]

    def _chances(self, targets, weights, index):
        chances = super()._chances(targets, weights, index)
        if chances is None or len(self.domain_classes_) == 1:
            return chances
        # So far every class of every task has the same.
        drawn = targets[index.numpy()]
        own = None if weights is None else weights[index.numpy()]
        n_classes = np.bincount(self._tasks_of(np.unique(drawn)))
        per_class = self._shares(drawn, own) / np.maximum(n_classes, 1)
        return chances * torch.from_numpy(per_class[self._tasks_of(drawn)])

    # ------------------------------------------------------------ afterwards

    def _outputs_by_head(self, X, sample_domain):
        """Number of rows; for each head: rows, their outputs, numbers of classes."""
        outputs = self._outputs(X)
        heads = self._offsets()
        targets = [domain for domain in heads if domain < 0]
        if sample_domain is None:
            if len(targets) > 1:
                raise ValueError(
                    f"fit saw the target domains {sorted(targets)[::-1]}, each with a "
                    "head of its own: name that of the rows, as in "
                    f"sample_domain={max(targets)}."
                )
            sample_domain = targets[0]
        ids = check_sample_domain(sample_domain, len(outputs), scalar=True)
        unknown = np.setdiff1d(ids, list(heads))
        if len(unknown):
            raise ValueError(
                f"sample_domain names domain {unknown[0]}, which fit did not see and "
                f"which has no head: name one of {sorted(heads)}."
            )
        parts = []
        for domain, start in heads.items():
            rows, classes = np.flatnonzero(ids == domain), self.domain_classes_[domain]
            columns = np.searchsorted(self.classes_, classes)
            part = outputs[rows, start : start + len(classes)]
            parts.append((rows, part, columns))
        return len(outputs), parts

    def predict(self, X, sample_domain=None):
        """Predict the most probable class of the task of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, channels, ...)
            Rows, or items for `preprocess`.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row, whose head is used; one int stands for all rows.
            None: the target domain, if there was only one.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Class labels.
        """
        n, parts = self._outputs_by_head(X, sample_domain)
        codes = np.zeros(n, dtype=int)
        for rows, outputs, columns in parts:
            codes[rows] = columns[outputs.argmax(axis=1)]
        return self.classes_[codes]

    def predict_proba(self, X, sample_domain=None):
        """Predict class probabilities of the task of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, channels, ...)
            Rows, or items for `preprocess`.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row, whose head is used; one int stands for all rows.
            None: the target domain, if there was only one.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities, columns in the order of `classes_`; 0 for classes that the
            task does not have.
        """
        n, parts = self._outputs_by_head(X, sample_domain)
        proba = np.zeros((n, len(self.classes_)), dtype=parts[0][1].dtype)
        for rows, outputs, columns in parts:
            proba[np.ix_(rows, columns)] = softmax(outputs, axis=1)
        return proba


def _equal(first, second):
    """Whether the domains have the same classes."""
    return first.keys() == second.keys() and all(
        np.array_equal(first[domain], second[domain]) for domain in first
    )


class Heads(nn.Module):
    """Heads of several tasks; their outputs stand side by side.

    Parameters
    ----------
    heads : dict of int to torch.nn.Module
        Head of each domain.
    """

    def __init__(self, heads):
        super().__init__()
        self.tasks = nn.ModuleDict({str(d): head for d, head in heads.items()})

    @classmethod
    def of(cls, head, sizes):
        """The heads that one linear layer of all outputs consists of."""
        if len(sizes) == 1:
            return cls(dict.fromkeys(sizes, head))
        heads, start = {}, 0
        for domain, size in sizes.items():
            part = copy.deepcopy(head)
            part.out_features = size
            for name in ("weight", "bias"):
                own = getattr(head, name).detach()[start : start + size].clone()
                setattr(part, name, nn.Parameter(own))
            heads[domain] = part
            start += size
        return cls(heads)

    def forward(self, features):
        return torch.cat([head(features) for head in self.tasks.values()], dim=1)


class LossOfHeads(nn.Module):
    """Cross-entropy of each row among the outputs of its own head.

    Parameters
    ----------
    tasks : ndarray of shape (n_outputs,)
        Number of the head of each output.
    label_smoothing : float
        Share of each label that is spread over the classes of its task.
    """

    def __init__(self, tasks, label_smoothing):
        super().__init__()
        self.label_smoothing = label_smoothing
        others = torch.from_numpy(tasks[:, None] != tasks)
        self.register_buffer("others", others)

    def forward(self, outputs, codes):
        others = self.others[codes]
        lowest = torch.finfo(outputs.dtype).min
        logs = outputs.masked_fill(others, lowest).log_softmax(1)
        losses = nn.functional.nll_loss(logs, codes, reduction="none")
        if self.label_smoothing:
            spread = logs.masked_fill(others, 0).sum(1) / (~others).sum(1)
            losses = torch.lerp(losses, -spread, self.label_smoothing)
        return losses


class ProportionalSet(LabeledSet):
    """Batches with given shares of groups of rows, evenly mixed.

    An epoch has as many rows as there are; of a group with a smaller share than its
    size not every row comes in each epoch, but none comes again before all others
    have.

    Parameters
    ----------
    labeled : LabeledSet
        The rows; its generator shuffles them.
    groups : Tensor of shape (n_rows,)
        Group of each row of its index.
    shares : array-like of shape (n_groups,)
        Shares of the groups, which add up to 1.
    """

    def __init__(self, labeled, groups, shares):
        super().__init__(
            labeled.rows,
            labeled.labels,
            labeled.weights,
            labeled.index,
            labeled.batch_size,
            labeled.generator,
        )
        self.members = [self.index[groups == g] for g in range(len(shares))]
        self.waiting = [members[:0] for members in self.members]
        exact = len(groups) * np.asarray(shares)
        counts = np.floor(exact).astype(int)
        largest = np.argsort(counts - exact, kind="stable")
        counts[largest[: len(groups) - counts.sum()]] += 1
        self.counts = np.maximum(counts, 1).tolist()

    def order(self):
        drawn, places = [], []
        for group, count in enumerate(self.counts):
            members = self.members[group]
            while len(self.waiting[group]) < count and len(members):
                again = torch.randperm(len(members), generator=self.generator)
                self.waiting[group] = torch.cat([self.waiting[group], members[again]])
            drawn.append(self.waiting[group][:count])
            self.waiting[group] = self.waiting[group][count:]
            shift = torch.rand(len(drawn[-1]), generator=self.generator)
            places.append((torch.arange(len(shift)) + shift) / count)
        return torch.cat(drawn)[torch.cat(places).argsort()]
