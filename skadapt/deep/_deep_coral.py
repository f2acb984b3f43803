"""Deep CORAL: a network whose outputs have one covariance in both domains."""

from sklearn.utils._param_validation import validate_params
from torch import Tensor

from skadapt.deep._layers import (
    BaseLayerAlignmentClassifier,
    at_least_single,
    check_pair,
    without_autocast,
)

__all__ = ["DeepCORALClassifier", "deep_coral_loss"]


class DeepCORALClassifier(BaseLayerAlignmentClassifier):
    r"""Deep CORAL: align the covariances of both domains in a network.

    The loss of a batch is ::

        1/b sum_i w_i CE(y_i, f(x_i)) + a ||C_S - C_T||_F^2 / (4 d^2)

    over b labelled source rows, with C_S and C_T the covariance matrices of the d
    outputs of as many source and target rows [1]_ (Eq. 1-3 and 6), a = `trade_off` and
    w the row weights of mean 1.

    Parameters
    ----------
    {training}
    layers : {"features", "outputs", "both"}, default="outputs"
        Where covariances are aligned: in the output of the trunk, in that of the head,
        as in the paper, or in the sum of both.
    trade_off : float, default=1.0
        Weight a of the loss of adaptation. The paper sets it so that at the end of
        training the two losses are about the same (`deep_coral_loss` gives the
        second one), which needs no target labels.

    Attributes
    ----------
    module_ : Network
        The fitted network, a ``torch.nn.Module`` with a `backbone` and a `head`.
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
        network, if `freeze` leaves no layer to align, or if `batch_size` is 1.
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
    DANClassifier : All moments, by kernels.
    skadapt.CORAL : The same alignment as a linear map of the columns.
    deep_coral_loss : The loss alone.

    Notes
    -----
    Several sources are pooled, and so are several targets. Source rows without a label
    are left out; labels of target rows are not looked at.

    Means are not aligned: a shift of all rows costs nothing. The loss is of the fourth
    degree in the scale of the layer, which for outputs grows as the network becomes
    sure, so a `trade_off` right for ten epochs may be too much for a hundred.

    It hurts where the class shares of the domains differ, since those change the
    covariance of good outputs (99 % became 94 % where shares of a third each met 90, 5
    and 5 %), and in small batches: with b rows a covariance is off
    by about 1/sqrt(b) even if the domains are one.

    References
    ----------
    .. [1] B. Sun, K. Saenko. Deep CORAL: correlation alignment for deep domain
       adaptation. ECCV workshops 2016.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skadapt import stack_domains
    >>> from skadapt.deep import DeepCORALClassifier, deep_coral_loss
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, size=200)
    >>> Xs = rng.normal(size=(200, 3)) + 1.5 * np.outer(y, [1, 0, 0.5])
    >>> Xt = rng.normal(size=(200, 3)) * [1, 1, 4]
    >>> X, y, sample_domain = stack_domains(Xs, y, Xt)
    >>> model = DeepCORALClassifier(lr=0.01, random_state=0)
    >>> distances = []
    >>> for a in (0, 1):
    ...     model = model.set_params(trade_off=a)
    ...     network = model.fit(X, y, sample_domain=sample_domain).module_
    ...     with torch.no_grad():
    ...         outputs = [network(torch.tensor(part).float()) for part in (Xs, Xt)]
    ...     distances.append(deep_coral_loss(*outputs).item())
    >>> distances[1] < 0.1 * distances[0]
    True
    """

    def __init__(
        self, backbone=None, head="auto", *, layers="outputs", trade_off=1.0, **training
    ):
        super().__init__(backbone, head, layers=layers, trade_off=trade_off, **training)

    def _discrepancy(self, source, target):
        return deep_coral_loss(source, target)


@validate_params(
    {"source": [Tensor], "target": [Tensor]}, prefer_skip_nested_validation=True
)
def deep_coral_loss(source, target):
    r"""Squared distance of two covariance matrices, ``||C_S - C_T||_F^2 / (4 d^2)``.

    Parameters
    ----------
    source : Tensor of shape (n_source, d)
        Rows of one domain.
    target : Tensor of shape (n_target, d)
        Rows of the other.

    Returns
    -------
    loss : Tensor, scalar
        The distance, at least in single precision; it can be differentiated.

    Raises
    ------
    ValueError
        If one of them has fewer than two rows, or if their columns differ in number.

    References
    ----------
    .. [1] B. Sun, K. Saenko. Deep CORAL: correlation alignment for deep domain
       adaptation. ECCV workshops 2016. Eq. 1-3.

    Examples
    --------
    >>> import torch
    >>> from skadapt.deep import deep_coral_loss
    >>> rows = torch.tensor([[0.0, 1.0], [2.0, 1.0]])
    >>> deep_coral_loss(rows, rows + 5), deep_coral_loss(rows, 2 * rows)
    (tensor(0.), tensor(2.2500))
    """
    check_pair(source, target)
    source, target = at_least_single(source, target)
    with without_autocast(source):
        difference = _covariance(source) - _covariance(target)
        return difference.square().sum() / (4 * source.shape[1] ** 2)


def _covariance(rows):
    rows = rows - rows.mean(0)
    return rows.T @ rows / (len(rows) - 1)
