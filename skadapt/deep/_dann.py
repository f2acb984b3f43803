"""DANN: a network whose features do not tell the domain."""

import math
from numbers import Real

import torch
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from torch import Tensor, nn

from skadapt.deep._adaptation import BaseAdaptationClassifier
from skadapt.deep._layers import refuse_frozen_trunk
from skadapt.deep._network import multilayer_perceptron

__all__ = ["DANNClassifier", "reverse_gradient"]

# Ganin et al. 2016, Eq. 14 and below: how fast the strength of the reversal rises.
_RISE = 10


class DANNClassifier(BaseAdaptationClassifier):
    r"""Domain-adversarial network: learn features that do not tell the domain.

    A domain classifier g learns to tell source from target rows by their features
    h(x); the trunk h learns, beside the labels, to mislead it. With as many source
    rows S as target rows T in a batch, the saddle point [1]_ (Eq. 9-11) is that of ::

        1/b sum_i w_i CE(y_i, f(h(x_i))) - a lambda D,
        D = 1/(2b) [sum_S BCE(1, g(h(x_i))) + sum_T BCE(0, g(h(x_i)))]

    minimal in h and the head f, while g minimizes D at the full rate. It is found by
    gradient descent alone: between h and g lies a layer that changes nothing and turns
    the gradient into -lambda times it (`reverse_gradient`). With p in [0, 1] the
    progress of training,
    ``lambda = 2 / (1 + exp(-10 p)) - 1`` and the learning rate is
    ``lr / (1 + 10 p) ** 0.75``, as in the paper, whose are also `lr`, `momentum` and
    the 64 rows of each domain.

    Parameters
    ----------
    {training}
    reversal : "sigmoid", float or callable, default="sigmoid"
        The strength lambda: as above, a constant, or a function of p.
    domain_hidden_layer_sizes : tuple of int, default=(100, 100)
        Widths of the hidden layers of g.
    domain_dropout : float in [0, 1), default=0.5
        Share of each hidden layer of g that is left out in training.
    trade_off : float, default=1.0
        Weight a of the domain classifier, in its own training, too: what changes the
        trunk alone is `reversal`.

    Attributes
    ----------
    module_ : Network
        The fitted network, a ``torch.nn.Module`` with a `backbone` and a `head`; the
        domain classifier is no part of it.
    history_ : list of dict
        Learning rate and losses of each epoch: `train_loss` is the sum of `label_loss`
        and `trade_off` times `adaptation_loss`, `valid_loss` that of held-out labels.
    classes_ : ndarray of shape (n_classes,)
        Class labels, in the natural dtype of the labelled values.
    n_features_in_ : int
        Length of axis 1 of X: number of features, or of channels.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If there is no labelled source row or no target row, if rows do not fit the
        network, or if `freeze` leaves no feature to change.
    MemoryError
        If the memory does not hold a batch.

    Warns
    -----
    NoAdaptationWarning
        If `fit` gets no `sample_domain`.
    ConvergenceWarning
        If the loss became infinite or NaN, or if training was interrupted: the last
        good weights are kept.

    See Also
    --------
    MCCClassifier : No second network, no game.
    reverse_gradient : The layer alone.

    Notes
    -----
    Several sources are pooled, and so are several targets: the domain classifier tells
    two sides apart. Source rows without a label are left out; labels of target rows are
    not looked at.

    It hurts where the class shares of the domains differ: features that do not tell the
    domain then put rows of one class where those of another belong. A game has no loss
    that falls: results vary with the seed more than those of the other methods, so
    look at several, and judge them without target labels. The `adaptation_loss` in
    `history_` is D: near log 2 = 0.69, g has nothing to go by.

    References
    ----------
    .. [1] Y. Ganin, E. Ustinova, H. Ajakan, P. Germain, H. Larochelle, F. Laviolette,
       M. Marchand, V. Lempitsky. Domain-adversarial training of neural networks. JMLR
       17, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import stack_domains
    >>> from skadapt.deep import DANNClassifier
    >>> rng = np.random.default_rng(2)
    >>> y = rng.integers(0, 2, size=400)
    >>> X = rng.normal(size=(400, 2)) + 3 * np.outer(y - 0.5, [1, 0])
    >>> X[:200, 1] += 2 * y[:200] - 1  # helps in the source
    >>> X[200:, 1] += 3  # and tells the domain
    >>> Xt, yt = X[200:], y[200:]
    >>> X, y, sample_domain = stack_domains(X[:200], y[:200], Xt)
    >>> model = DANNClassifier(
    ...     hidden_layer_sizes=(4,), lr=0.05, max_epochs=60, random_state=0
    ... )
    >>> scores = [
    ...     model.set_params(reversal=strength)
    ...     .fit(X, y, sample_domain=sample_domain)
    ...     .score(Xt, yt)
    ...     for strength in (0.0, "sigmoid")
    ... ]
    >>> bool(scores[1] > scores[0] + 0.03)
    True
    """

    _parameter_constraints: dict = {
        **BaseAdaptationClassifier._parameter_constraints,
        "reversal": [
            StrOptions({"sigmoid"}),
            Interval(Real, 0, None, closed="left"),
            callable,
        ],
        "domain_hidden_layer_sizes": [tuple, list],
        "domain_dropout": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        backbone=None,
        head="auto",
        *,
        lr=0.01,
        optimizer="sgd",
        schedule="dann",
        reversal="sigmoid",
        domain_hidden_layer_sizes=(100, 100),
        domain_dropout=0.5,
        trade_off=1.0,
        **training,
    ):
        super().__init__(
            backbone,
            head,
            lr=lr,
            optimizer=optimizer,
            schedule=schedule,
            trade_off=trade_off,
            **training,
        )
        self.reversal = reversal
        self.domain_hidden_layer_sizes = domain_hidden_layer_sizes
        self.domain_dropout = domain_dropout

    def _adaptation_parts(self, n_features, n_classes):
        refuse_frozen_trunk(self)
        sizes = tuple(self.domain_hidden_layer_sizes)
        layers = []
        for layer in multilayer_perceptron(n_features, sizes):
            layers.append(layer)
            if isinstance(layer, nn.ReLU):
                layers.append(nn.Dropout(self.domain_dropout))
        return nn.Sequential(*layers, nn.Linear((n_features, *sizes)[-1], 1))

    def _adaptation_loss(self, source, target, progress, parts):
        features = torch.cat([source.features, target.features])
        outputs = parts(reverse_gradient(features, self._strength(progress)))[:, 0]
        is_source = torch.zeros_like(outputs)
        is_source[: len(source.features)] = 1
        return nn.functional.binary_cross_entropy_with_logits(outputs, is_source)

    def _strength(self, progress):
        if self.reversal == "sigmoid":
            return 2 / (1 + math.exp(-_RISE * progress)) - 1
        return self.reversal(progress) if callable(self.reversal) else self.reversal


@validate_params(
    {"tensor": [Tensor], "strength": [Real]}, prefer_skip_nested_validation=True
)
def reverse_gradient(tensor, strength=1.0):
    """The tensor itself, its gradient times ``-strength``.

    Parameters
    ----------
    tensor : Tensor
        Anything that has a gradient.
    strength : float, default=1.0
        lambda.

    Returns
    -------
    tensor : Tensor
        A view of the same values.

    References
    ----------
    .. [1] Y. Ganin et al. Domain-adversarial training of neural networks. JMLR 17,
       2016. Eq. 16-17.

    Examples
    --------
    >>> import torch
    >>> from skadapt.deep import reverse_gradient
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> (3 * reverse_gradient(x, 0.5)).sum().backward()
    >>> x.grad
    tensor([-1.5000, -1.5000])
    """
    return _Reversal.apply(tensor, strength)


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor, strength):
        ctx.strength = strength
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.strength * gradient, None
