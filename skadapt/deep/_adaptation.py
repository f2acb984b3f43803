"""Base of deep adaptation: a loss of source and target rows beside that of labels."""

from abc import abstractmethod
from numbers import Real
from typing import NamedTuple

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor, arange, nn

from skadapt._domains import natural_labels
from skadapt.deep._base import BaseNetworkClassifier
from skadapt.deep._loop import LabeledSet, PairedSet
from skadapt.deep._rows import canonical_rows, join, take

__all__ = ["BaseAdaptationClassifier"]


class Side(NamedTuple):
    """Rows of one domain in a batch.

    Attributes
    ----------
    features : Tensor of shape (n_rows, n_features)
        Output of the trunk.
    outputs : Tensor of shape (n_rows, n_classes)
        Logits.
    labels : Tensor of shape (n_rows,) or None
        Class numbers; None for target rows.
    """

    features: Tensor
    outputs: Tensor
    labels: Tensor | None


class BaseAdaptationClassifier(BaseNetworkClassifier):
    """Base class of networks that adapt to unlabelled target rows.

    Each step sees as many source rows as target rows, through one trunk; the shorter
    domain is cycled. The loss is that of the labelled source rows plus `trade_off`
    times ``_adaptation_loss(source, target, progress, parts)``, which is all a subclass
    has to give:

    - ``source`` and ``target`` have `features`, `outputs` (logits) and, in the source,
      `labels`;
    - ``progress`` grows from 0 to 1 in training;
    - ``parts`` is what ``_adaptation_parts(n_features, n_classes)`` made, a
      ``torch.nn.Module`` whose parameters are trained at the rate of the head, such as
      a domain classifier; None by default.

    Parameters
    ----------
    {training}
    trade_off : float, default=1.0
        Weight of the loss of adaptation.

    Notes
    -----
    With target rows `history_` has the `label_loss` and the `adaptation_loss` of each
    epoch, that before `trade_off`, beside their sum, the `train_loss`; a `valid_loss`
    is that of labels alone.
    """

    _parameter_constraints: dict = {
        **BaseNetworkClassifier._parameter_constraints,
        "trade_off": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, backbone=None, head="auto", *, trade_off=1.0, **training):
        super().__init__(backbone, head, **training)
        self.trade_off = trade_off

    @abstractmethod
    def _adaptation_loss(self, source, target, progress, parts):
        """The loss of adaptation, a scalar tensor."""

    def _adaptation_parts(self, n_features, n_classes):
        """A module with parameters of the adaptation's own, or None."""
        return None

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, sample_domain=None):
        """Train the network on source rows, adapting it to target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, channels, ...)
            Rows of all domains, in any order; bytes with channels are images. With
            `preprocess`, a sequence of texts, paths or other items.
        y : array-like of shape (n_samples,)
            Labels; NaN (in an array of floats) or None (in an array of objects)
            marks an unlabelled row. Labels of target rows are never used, whatever
            y holds there.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative row weights, in the loss of the labels; those of target rows
            are not used.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources and < 0 for targets. Several of
            either are pooled. None trains on all rows, with a
            `NoAdaptationWarning`.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        X, y, labeled, ids, weights = self._check_fit(
            X, y, sample_weight, sample_domain
        )
        if weights is not None:
            labeled = labeled & (weights > 0)
            weights = weights[labeled]
        labels = natural_labels(y[labeled])
        check_classification_targets(labels)
        Xt = X[:0] if ids is None else take(X, np.flatnonzero(ids < 0))
        random_state = check_random_state(self.random_state)
        with self._seeded(random_state.randint(2**31 - 1)):
            Xs = take(X, np.flatnonzero(labeled))
            self._fit_domains(Xs, labels, weights, Xt, random_state)
        return self

    def _fit_domains(self, Xs, labels, weights, Xt, random_state):
        adapts = len(Xt) > 0
        classes, codes = np.unique(labels, return_inverse=True)
        self._check_class_weight(classes)
        self._set_classes(classes)
        index, weights = canonical_rows(Xs, codes, weights)
        Xs, codes = take(Xs, index), codes[index]
        network, pretrained = self._start(Xs)
        self._check_pull(
            pretrained, any(name.startswith("head.") for name in pretrained)
        )
        parts, X = None, Xs
        if adapts:
            index, _ = canonical_rows(Xt, np.zeros(len(Xt), dtype=int), None)
            X = join(Xs, take(Xt, index))
            n_features = self._n_features(network)
            parts = self._adaptation_parts(n_features, self._n_outputs)

        def objective(rows, forward):
            supervised = self._supervised(rows, forward, pretrained)
            return (
                _AdaptationObjective(supervised, self, parts)
                if adapts
                else (supervised)
            )

        def sets(rows, source, generator):
            index = arange(len(Xs), len(rows))
            target = LabeledSet(rows, None, None, index, self.batch_size, generator)
            return PairedSet(source, target)

        training = self._train(
            network,
            X,
            codes,
            weights,
            objective,
            random_state=random_state,
            make_sets=sets if adapts else None,
        )
        self.module_, self.history_ = network, training.history


class _AdaptationObjective(nn.Module):
    """Loss of the labels plus, in training, that of the adaptation."""

    def __init__(self, supervised, method, parts):
        super().__init__()
        self.supervised, self.parts = supervised, parts
        self.loss, self.trade_off = method._adaptation_loss, method.trade_off
        self.pretrained, self.recorded = supervised.pretrained, {}

    def forward(self, batch, features, outputs, progress):
        loss = self.supervised(batch, features, outputs, progress)
        n = len(batch.labels)
        if not self.training or len(features) == n:
            return loss
        source = Side(features[:n], outputs[:n], batch.labels)
        target = Side(features[n:], outputs[n:], None)
        adaptation = self.loss(source, target, progress, self.parts)
        self.recorded = {
            "label_loss": loss.detach(),
            "adaptation_loss": adaptation.detach(),
        }
        return loss + self.trade_off * adaptation
