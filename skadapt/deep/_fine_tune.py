"""Fine-tuning: a pretrained network goes on learning, from the rows at hand."""

import copy

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import (
    assert_all_finite,
    check_consistent_length,
    check_random_state,
)
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, column_or_1d

from skadapt._domains import as_labels, is_labeled, natural_labels
from skadapt.deep._base import BaseNetworkClassifier, BaseNetworkRegressor
from skadapt.deep._loop import Past
from skadapt.deep._rows import canonical_rows, take

__all__ = ["FineTuneClassifier", "FineTuneRegressor"]


class _FineTuneMixin:
    """Training in one or two stages."""

    _uses_target_labels = True
    _reads = "labelled rows"

    def _brings_knowledge(self):
        return self.backbone is not None

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, sample_domain=None):
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, channels, ...)
            Rows; bytes with channels are images. With `preprocess`, a sequence of
            texts, paths or other items.
        y : array-like of shape (n_samples,)
            Labels; with `sample_domain`, NaN (in an array of floats) or None (in an
            array of objects) marks an unlabelled row, which is left out.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative row weights; a row of weight 2 counts as two, a row of
            weight 0 is left out.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources and < 0 for targets. The network is
            trained on the source rows, then fine-tuned on the target rows. None: it
            is fine-tuned on all rows, with a `NoAdaptationWarning` if there is no
            `backbone` either.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        given = self._check_fit(X, y, sample_weight, sample_domain)
        self._check_labels(natural_labels(given.y[given.labeled]))
        names, stages = ("",), [given.labeled]
        if given.ids is not None:
            names, stages = ("source", "target"), self._two_stages(given)
        random_state = check_random_state(self.random_state)
        network, history = None, []
        with self._seeded(random_state.randint(2**31 - 1)):
            for name, rows in zip(names, stages):
                part = self._part(given.X, given.y, given.weights, rows, name)
                network, training = self._fit_stage(
                    *part, random_state, network, plain=name == "source"
                )
                history += [
                    {"stage": name, **e} if name else e for e in training.history
                ]
                if training.interrupted:
                    break
        vars(self).pop("_past", None)
        self.module_, self.history_ = network, history
        return self

    def _two_stages(self, given):
        labeled, ids = given.labeled, given.ids
        if not labeled[ids < 0].any():
            raise ValueError(
                "y holds no labelled target row, which is what the network is "
                "fine-tuned on: label some, or use a method that needs none, such as "
                "MCCClassifier."
            )
        return [labeled & (ids > 0), labeled & (ids < 0)]

    def _part(self, X, y, weights, rows, name):
        """Rows, labels and weights of a stage, in an order of their own."""
        check_consistent_length(X, y)
        if weights is not None:
            rows = rows & (weights > 0)
        rows = np.flatnonzero(rows)
        if not len(rows):
            side = f"{name} " if name else ""
            raise ValueError(
                f"sample_weight is 0 for every labelled {side}row: give some of them "
                "a positive weight."
            )
        labels = natural_labels(y[rows])
        keys = np.unique(self._checked(labels), return_inverse=True)[1]
        weights = None if weights is None else weights[rows]
        index, weights = canonical_rows(take(X, rows), keys, weights)
        rows = rows[index]
        return take(X, rows), labels[index], weights

    def _fit_stage(self, X, labels, weights, random_state, network, *, plain):
        """The network, trained on from the stage before if there was one."""
        first = network is None
        if first:
            self._learn_labels(labels)
            network, pretrained = self._start(X)
        elif self._head_fits(labels):
            pretrained = {name for name, _ in network.named_parameters()}
        else:
            self._replace_labels(labels)
            head = "replace" if self.head == "auto" else self.head
            network, pretrained = self._initial_network(
                X, self._n_outputs, network, head
            )
        kept = _keeps_head(pretrained)
        if first and not self._goes_on:
            self._learn_unit(labels, weights, kept)
        if not plain:
            self._check_pull(pretrained, kept)
        training = self._train(
            network,
            X,
            self._targets(labels),
            weights,
            lambda rows, forward: self._supervised(rows, forward, pretrained, plain),
            random_state=random_state,
            plain=plain,
        )
        return network, training

    def _check_labels(self, labels):
        """Refuse parameters that do not fit the labels of all rows."""

    def _learn_labels(self, labels):
        """Set the number of outputs that labels ask for."""

    def _replace_labels(self, labels):
        """The same, in place of those of the stage before."""

    def _learn_unit(self, labels, weights, kept):
        """Set the unit of the outputs, which a pretrained head brings along."""

    def _partial_fit(self, X, y, sample_weight):
        if self.early_stopping:
            raise ValueError(
                "partial_fit is one epoch, which early_stopping=True cannot stop: use "
                "fit, or early_stopping=False."
            )
        if self.lora_rank is not None:
            raise ValueError(
                "partial_fit would add an update of low rank in each call, of which "
                "the sum has any rank: use fit, or lora_rank=None."
            )
        first = not hasattr(self, "module_")
        X = self._check_rows(X, reset=first)
        y = column_or_1d(as_labels(y))
        check_consistent_length(X, y)
        if not is_labeled(y).all():
            raise ValueError(
                "Rows without labels (NaN or None in y) teach nothing: leave them out."
            )
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        every = np.ones(len(y), dtype=bool)
        X, labels, weights = self._part(X, y, sample_weight, every, "")
        past = getattr(self, "_past", None)
        random_state = (
            check_random_state(self.random_state)
            if past is None
            else past["random_state"]
        )
        with self._seeded(random_state.randint(2**31 - 1)):
            if first:
                network, pretrained = self._initial_network(X, self._n_outputs)
                self._learn_unit(labels, weights, _keeps_head(pretrained))
            else:
                network, pretrained = self._again(self.module_, X)
            pulls = self.l2_sp > 0 or self.conservative > 0
            if past is None:
                past = {
                    "random_state": random_state,
                    "pretrained": pretrained,
                    "before": copy.deepcopy(network) if pulls else None,
                    "state": None,
                }
            training = self._next_epoch(network, X, labels, weights, past)
        done = getattr(self, "history_", [])
        self.module_, self.history_ = network, done + training.history
        if training.history:  # else the weights are still those before
            past["state"] = training.state
        self._past = past
        return self

    def _next_epoch(self, network, X, labels, weights, past):
        pretrained, before = past["pretrained"], past["before"]
        self._check_pull(pretrained, _keeps_head(pretrained))
        anchors, outputs = {}, None
        if self.l2_sp or self.conservative:
            if before is None:
                raise ValueError(
                    "l2_sp and conservative draw to the network before the first call "
                    "of partial_fit, which is kept only if one of them was set in that "
                    "call: set it from the start."
                )
            placement = self._placement(network)
            before.to(placement.device).eval()
            anchors = dict(before.named_parameters())
            if self.conservative:
                outputs = self._in_batches(before, self._rows(X, placement))
        return self._train(
            network,
            X,
            self._targets(labels),
            weights,
            lambda rows, forward: self._supervised(
                rows, forward, pretrained, before=outputs
            ),
            random_state=past["random_state"],
            past=Past(len(getattr(self, "history_", [])), past["state"], anchors),
        )


def _keeps_head(pretrained):
    """Whether the head is among the pretrained parameters."""
    return any(name.startswith("head.") for name in pretrained)


class FineTuneClassifier(_FineTuneMixin, BaseNetworkClassifier):
    r"""Fine-tune a pretrained network, as a classifier.

    The network keeps what it has learned elsewhere as far as the parameters say: parts
    of it are frozen, learn more slowly, or are drawn back to where they came from. The
    loss of a batch of b rows is ::

        1/b sum_i w_i [(1 - rho) CE(y_i, f(x_i)) + rho CE(f0(x_i), f(x_i))]
        + alpha/2 ||v - v0||^2

    with f0 the network before, v its parameters, w the row weights of mean 1, rho =
    `conservative` [2]_ and alpha = `l2_sp` [1]_.

    Parameters
    ----------
    {training}

    Attributes
    ----------
    module_ : Network
        The fitted network, a ``torch.nn.Module`` with a `backbone` and a `head`.
    history_ : list of dict
        Losses and learning rate of each epoch, and its stage with `sample_domain`.
    classes_ : ndarray of shape (n_classes,)
        Class labels, in the natural dtype of the labelled values. With
        `sample_domain`, those of the source if all target labels are among them,
        those of the target otherwise.
    n_features_in_ : int
        Length of axis 1 of X: number of features, or of channels.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If rows do not fit the network (with the number of channels it takes), if
        `freeze` matches nothing, if `l2_sp` or `conservative` have nothing to draw
        to, if `sample_domain` lacks labelled source or target rows, or if the device
        is not there.
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
    FineTuneRegressor : The same for values.
    TorchFeatures : The features of a network for classical methods.

    Notes
    -----
    With `sample_domain` there are two stages: the network, `backbone` or not, is first
    trained on the labelled source rows, with nothing frozen and nothing drawn back,
    then fine-tuned on the labelled target rows. Rows without labels are left out.

    The penalties are proximal steps after those of the optimizer, which are stable
    however strong they are: `l2_sp` towards infinity gives the pretrained weights
    back. With ``"sgd"`` their minimum is that of the loss above; Adam's steps are
    rescaled and the penalty's are not, as with AdamW's weight decay.

    With `lora_rank` = r a linear layer of the backbone has the weights W + B A [4]_, of
    which A with r rows, drawn as those of a new layer, and B = 0 with r columns learn:
    r (m + n) numbers for a layer of m inputs and n outputs. They are not scaled: `lr`
    does that. The fitted network holds the sums.

    Rows are put into an order of their own before batches are drawn, and whole weights
    of at most 10 in the mean become repeated rows: a model depends neither on how its
    rows were stacked nor on whether a row is repeated or has such a weight. Other
    weights, and those of classes, are factors in the loss; with ``sampler="balanced"``
    row weights are chances to be drawn. Rows have the precision of the network.

    References
    ----------
    .. [1] X. Li, Y. Grandvalet, F. Davoine. Explicit inductive bias for transfer
       learning with convolutional networks. ICML 2018.
    .. [2] D. Yu, K. Yao, H. Su, G. Li, F. Seide. KL-divergence regularized deep
       neural network adaptation for improved large vocabulary speech recognition.
       ICASSP 2013.
    .. [3] J. Howard, S. Ruder. Universal language model fine-tuning for text
       classification. ACL 2018.
    .. [4] E. J. Hu et al. LoRA: low-rank adaptation of large language models. ICLR
       2022.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skadapt import stack_domains
    >>> from skadapt.deep import FineTuneClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X, old = X / 16, y < 5
    >>> labels = np.where(np.arange(len(y)) < 300, y, np.nan)
    >>> data = stack_domains(X[old], y[old], X[~old], labels[~old])
    >>> model = FineTuneClassifier(lr=0.01, layer_decay=0.3, random_state=0)
    >>> model = model.fit(data[0], data[1], sample_domain=data[2])
    >>> model.classes_
    array([5, 6, 7, 8, 9])
    >>> new = ~old & np.isnan(labels)
    >>> bool(model.score(X[new], y[new]) > 0.85)
    True
    """

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """One more epoch, on these rows.

        A call is the next epoch of a training of `max_epochs`, those of `fit` and of
        calls before counted: `schedule`, `warmup` and `gradual_unfreeze` stand where
        they would in `fit`, and stay at their end after `max_epochs` epochs. The
        optimizer goes on with what it knows; parameters set between two calls, such
        as `lr` or `freeze`, count from then on. `l2_sp` and `conservative` draw to the
        network before the first call. There is one stage: pass rows of one domain.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, channels, ...)
            Rows, or items for `preprocess`.
        y : array-like of shape (n_samples,)
            Labels.
        classes : array-like of shape (n_classes,), default=None
            All labels there will be. Needed in the first call, unless `fit` was
            called before.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative row weights, which are brought to mean 1 in each call.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            If labels are not among `classes`, and with `early_stopping`.
        """
        if not hasattr(self, "module_"):
            if classes is None:
                raise ValueError("classes must be passed on the first call.")
            self._replace_labels(natural_labels(column_or_1d(classes)))
        elif classes is not None:
            given = np.unique(natural_labels(column_or_1d(classes)))
            if not np.array_equal(given, self.classes_):
                raise ValueError(
                    f"classes={given.tolist()} differ from those of the first call, "
                    f"{self.classes_.tolist()}."
                )
        unknown = ~np.isin(natural_labels(column_or_1d(as_labels(y))), self.classes_)
        if unknown.any():
            raise ValueError(
                f"y holds labels that are not among classes={self.classes_.tolist()}."
            )
        self._check_class_weight(self.classes_)
        return self._partial_fit(X, y, sample_weight)

    def _checked(self, labels):
        check_classification_targets(labels)
        return labels

    def _check_labels(self, labels):
        self._check_class_weight(np.unique(self._checked(labels)))

    def _learn_labels(self, labels):
        self._set_classes(np.unique(labels))

    def _replace_labels(self, labels):
        self.classes_ = np.unique(labels)
        self._n_outputs = len(self.classes_)

    def _head_fits(self, labels):
        return bool(np.isin(labels, self.classes_).all())

    def _targets(self, labels):
        return np.searchsorted(self.classes_, labels)


class FineTuneRegressor(_FineTuneMixin, BaseNetworkRegressor):
    r"""Fine-tune a pretrained network, as a regressor.

    Like `FineTuneClassifier`, with the squared error in place of the cross-entropy. A
    new head learns y in units of its standard deviation, around its mean; a head that
    is kept gives y as it is.

    Parameters
    ----------
    {training}

    Attributes
    ----------
    module_ : Network
        The fitted network, a ``torch.nn.Module`` with a `backbone` and a `head`.
    history_ : list of dict
        Losses and learning rate of each epoch, and its stage with `sample_domain`.
    n_features_in_ : int
        Length of axis 1 of X: number of features, or of channels.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        As in `FineTuneClassifier`.
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
    FineTuneClassifier : The same for classes.

    References
    ----------
    .. [1] X. Li, Y. Grandvalet, F. Davoine. Explicit inductive bias for transfer
       learning with convolutional networks. ICML 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import stack_domains
    >>> from skadapt.deep import FineTuneRegressor
    >>> rng = np.random.default_rng(0)
    >>> Xs, Xt = rng.normal(size=(400, 3)), rng.normal(size=(100, 3))
    >>> def surface(X):
    ...     return np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2]
    >>> yt = np.where(np.arange(100) < 20, surface(Xt) + 1, np.nan)
    >>> X, y, sample_domain = stack_domains(Xs, surface(Xs), Xt, yt)
    >>> model = FineTuneRegressor(lr=0.01, l2_sp=0.1, random_state=0)
    >>> model = model.fit(X, y, sample_domain=sample_domain)
    >>> bool(model.score(Xt[20:], surface(Xt[20:]) + 1) > 0.7)
    True
    """

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """One more epoch, on these rows, as in `FineTuneClassifier`.

        The first call fixes the unit of y.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, channels, ...)
            Rows, or items for `preprocess`.
        y : array-like of shape (n_samples,)
            Values.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative row weights, which are brought to mean 1 in each call.

        Returns
        -------
        self : object
            The fitted regressor.

        Raises
        ------
        ValueError
            With `early_stopping`.
        """
        return self._partial_fit(X, y, sample_weight)

    _n_outputs = 1

    def _checked(self, labels):
        if labels.dtype.kind not in "iuf":
            try:
                labels = labels.astype(np.float64)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"y must hold numbers, got values of type {labels.dtype}."
                ) from error
        assert_all_finite(labels, input_name="y")
        return labels

    def _head_fits(self, labels):
        return True

    def _learn_unit(self, labels, weights, kept):
        self._center = getattr(self.backbone, "_center", 0.0)
        self._unit = getattr(self.backbone, "_unit", 1.0)
        if not kept:
            labels = self._checked(labels).astype(np.float64)
            self._center = float(np.average(labels, weights=weights))
            spread = np.average((labels - self._center) ** 2, weights=weights)
            self._unit = float(np.sqrt(spread)) or 1.0

    def _targets(self, labels):
        return (self._checked(labels).astype(np.float64) - self._center) / self._unit
