"""MCC: a network that does not confuse classes on the target."""

from numbers import Real

from sklearn.utils._param_validation import Interval, validate_params
from torch import Tensor

from skadapt.deep._adaptation import BaseAdaptationClassifier
from skadapt.deep._layers import at_least_single

__all__ = ["MCCClassifier", "minimum_class_confusion"]

_TEMPERATURE = Interval(Real, 0, None, closed="neither")


class MCCClassifier(BaseAdaptationClassifier):
    r"""Minimum class confusion: learn to tell classes apart on the target.

    The loss of a batch is ::

        1/b sum_i w_i CE(y_i, f(x_i)) + a confusion(f(T) / temperature)

    over b labelled source rows and as many target rows T, with a = `trade_off` and w
    the row weights of mean 1 [1]_ (Eq. 8). The confusion is the mean probability with
    which rows of one class are taken for others, by the network's own probabilities
    (`minimum_class_confusion`). Source rows take no part in it, and no layer is
    aligned: it is the cheapest of the methods of this kind, and adapts the head even
    of a frozen trunk.

    Parameters
    ----------
    {training}
    temperature : float, default=2.5
        What outputs are divided by; above 1 it makes the network less sure.
    trade_off : float, default=1.0
        Weight a of the loss of adaptation.

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
        If there is no labelled source row or no target row, or if rows do not fit the
        network.
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
    DANNClassifier : Features that do not tell the domain.
    minimum_class_confusion : The loss alone.

    Notes
    -----
    Several sources are pooled, and so are several targets. Source rows without a label
    are left out; labels of target rows are not looked at.

    It makes the network surer of what it says on the target, and moves its boundaries
    into gaps between groups of rows. So it hurts where many target rows are wrong from
    the start, and where classes are not groups: on two half moons turned by 30 degrees
    83 % become 78 %. Other class shares in the target do it little harm. Batches want
    several times as many rows as there are classes.

    References
    ----------
    .. [1] Y. Jin, X. Wang, M. Long, J. Wang. Minimum class confusion for versatile
       domain adaptation. ECCV 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import stack_domains
    >>> from skadapt.deep import MCCClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 3, size=400)
    >>> angle = 2 * np.pi * y / 3 + np.repeat([0, 0.9], 200)
    >>> X = 3 * np.column_stack([np.cos(angle), np.sin(angle)])
    >>> X += 0.5 * rng.normal(size=X.shape)
    >>> Xt, yt = X[200:], y[200:]
    >>> X, y, sample_domain = stack_domains(X[:200], y[:200], Xt)
    >>> model = MCCClassifier(lr=0.01, random_state=0)
    >>> scores = [
    ...     model.set_params(trade_off=a)
    ...     .fit(X, y, sample_domain=sample_domain)
    ...     .score(Xt, yt)
    ...     for a in (0, 1)
    ... ]
    >>> bool(scores[0] < 0.95 and scores[1] > 0.98)
    True
    """

    _parameter_constraints: dict = {
        **BaseAdaptationClassifier._parameter_constraints,
        "temperature": [_TEMPERATURE],
    }

    def __init__(
        self,
        backbone=None,
        head="auto",
        *,
        temperature=2.5,
        trade_off=1.0,
        **training,
    ):
        super().__init__(backbone, head, trade_off=trade_off, **training)
        self.temperature = temperature

    def _adaptation_loss(self, source, target, progress, parts):
        return minimum_class_confusion(target.outputs, temperature=self.temperature)


@validate_params(
    {"outputs": [Tensor], "temperature": [_TEMPERATURE]},
    prefer_skip_nested_validation=True,
)
def minimum_class_confusion(outputs, *, temperature=2.5):
    r"""Mean probability with which rows of a class are taken for another one.

    With P the softmax of ``outputs / temperature``, H_i the entropy of its row i and
    weights w_i in proportion to ``1 + exp(-H_i)``, sure rows counting more ::

        M = P' diag(w) P with rows scaled to sum 1,
        confusion = (sum M - trace M) / n_classes

    Parameters
    ----------
    outputs : Tensor of shape (n_rows, n_classes)
        Logits of rows of which the class need not be known.
    temperature : float, default=2.5
        What they are divided by.

    Returns
    -------
    loss : Tensor, scalar
        The confusion, in [0, 1], at least in single precision: 0 if each class is
        certain of some row and no row is in doubt, ``(n_classes - 1) / n_classes`` if
        all rows are in full doubt. It can be differentiated; the weights are constants
        in that.

    Raises
    ------
    ValueError
        If outputs are not two-dimensional.

    Notes
    -----
    Since rows of M sum to 1, the sum is n_classes; entry (j, j) is the mean of column j
    of P, weighted with ``w_i P_ij``. These weights are a softmax over rows, so that a
    class that no row may be of divides nothing by 0, and no matrix of all pairs of
    classes is made.

    References
    ----------
    .. [1] Y. Jin, X. Wang, M. Long, J. Wang. Minimum class confusion for versatile
       domain adaptation. ECCV 2020. Eq. 3-7.

    Examples
    --------
    >>> import torch
    >>> from skadapt.deep import minimum_class_confusion
    >>> minimum_class_confusion(100 * torch.eye(4)), minimum_class_confusion(
    ...     torch.zeros(6, 4)
    ... )
    (tensor(0.), tensor(0.7500))
    """
    if outputs.ndim != 2:
        raise ValueError(
            f"outputs must be of shape (n_rows, n_classes), got {tuple(outputs.shape)}."
        )
    (outputs,) = at_least_single(outputs)
    logs = (outputs / temperature).log_softmax(1)
    chances = logs.exp()
    entropy = -(chances * logs).sum(1, keepdim=True).detach()
    sure = (1 + (-entropy).exp()).log()
    own = ((logs + sure).softmax(0) * chances).sum(0)
    return 1 - own.mean()
