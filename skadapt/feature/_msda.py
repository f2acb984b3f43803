"""MSDA: layers that fill in what chance takes away, in closed form."""

import warnings
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn import get_config
from sklearn.base import ClassNamePrefixFeaturesOutMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, validate_params

from skadapt._base import BaseMapper, check_samples
from skadapt.solvers._denoising import (
    denoising_map,
    hidden_rows,
    partial_denoising_map,
)

_CONSTRAINTS = {
    "n_layers": [Interval(Integral, 1, None, closed="left")],
    "noise": [Interval(Real, 0, 1, closed="left")],
    "max_features": [Interval(Integral, 1, None, closed="left"), None],
    "include_input": ["boolean"],
    "reg": [Interval(Real, 0, None, closed="left")],
    "dtype": [Options(type, {np.float64, np.float32}), None],
    "random_state": ["random_state"],
}


class MSDAResult(NamedTuple):
    """Result of `msda`.

    Attributes
    ----------
    X_source : ndarray of shape (n_source, n_features_out)
        Mapped source rows.
    X_target : ndarray of shape (n_target, n_features_out)
        Mapped target rows.
    coefs : list of n_layers ndarrays of shape (n_inputs, n_hidden)
        Weights of the layers.
    intercepts : list of n_layers ndarrays of shape (n_hidden,)
        Intercepts of the layers.
    """

    X_source: np.ndarray
    X_target: np.ndarray
    coefs: list
    intercepts: list


class MSDA(ClassNamePrefixFeaturesOutMixin, BaseMapper):
    r"""Marginalised stacked denoising autoencoder.

    Each layer learns to reconstruct rows of which a share `noise` of the entries was
    set to 0: words that one domain alone uses are filled in from their company, and
    company is what they share with the words of the other domain. The expectation
    over all corruptions is taken in closed form, so that nothing is drawn and nothing
    descends a gradient.

    Parameters
    ----------
    n_layers : int, default=3
        Number of layers L.
    noise : float in [0, 1), default=0.7
        Probability p that an entry is set to 0. Strong noise wants few layers.
    max_features : int, default=5000
        Number of columns r that are reconstructed, those that are not 0 in most rows,
        if X has more. The first layer then sees all columns in random parts of about
        r. None: all columns.
    include_input : bool, default=True
        Whether the result begins with the columns of X that are reconstructed.
    reg : float, default=1e-5
        Ridge >= 0 on the weights of a layer, in the units of the sum of squares of a
        column.
    dtype : {numpy.float32, numpy.float64}, default=None
        That of the layers and of the result. None: that of X. Products of rows are in
        this precision, their sums and the solution of a layer in float64.
    random_state : int, RandomState instance or None, default=None
        Draws the parts, where X has more than `max_features` columns. None: from
        entropy.

    Attributes
    ----------
    coefs_ : list of n_layers ndarrays of shape (n_inputs, n_hidden)
        Weights: a layer maps a row h to ``tanh(h @ coef + intercept)``.
    intercepts_ : list of n_layers ndarrays of shape (n_hidden,)
        Intercepts.
    columns_ : ndarray of shape (n_hidden,)
        The columns of X that are reconstructed, ascending.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If the second moments are singular, with a tiny `reg` and little noise.

    Warns
    -----
    UserWarning
        If layers or result take more than scikit-learn's ``working_memory``, with an
        estimate of the memory.
    NoAdaptationWarning
        If `fit` gets no `sample_domain`. The map is the same: it takes all rows alike.

    See Also
    --------
    msda : The same as a function.
    DCI : Another map of texts, with the labels of the source.

    Notes
    -----
    With q = 1 - p, x~ a corrupted row, m the mean of the rows, C their scatter about
    it and D the diagonal of their second moments, a layer solves ::

        min_{W, b}  sum_i E |x_i - W x~_i - b|^2 + reg |W|^2
        W = q C (q^2 C + q p D + reg I)^(-1),    b = m - q W m

    over the rows of all domains, and maps x, not corrupted, to tanh(W x + b), which is
    the input of the next. The result is [x, h_1, ..., h_L]. Labels are not used, and
    every row is mapped alike, whatever its domain.

    Without noise h_1 is tanh(x). As p tends to 1 (and reg to 0), W tends to C D^(-1)
    and b to m.

    X holds presence (0 or 1) or tf-idf weights, CSR or dense: tanh takes counts of 3
    and of 30 for the same. Negative values are numbers like any others here. The norm
    of a row grows with the number of layers: choose C of an SVM anew.

    **Cost.** A layer of r columns takes O(r^3) operations for an inverse, n r^2 for the
    scatter of the rows and 2 n r^2 for mapping them, and one r x r matrix of float64
    beside its weights. The result is dense, n (L + 1) r numbers. Rows of CSR are never
    made dense.

    **More than r columns.** The parts are disjoint; each reconstructs the r columns
    from its own, and the outputs are averaged before tanh. Later layers are as usual.
    The columns left out of the result can stand beside it in a
    :class:`~sklearn.pipeline.FeatureUnion`.

    References
    ----------
    .. [1] M. Chen, Z. Xu, K. Weinberger, F. Sha. Marginalized denoising autoencoders
       for domain adaptation. ICML 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import MSDA
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 400)
    >>> sample_domain = np.repeat([1, -1], 200)
    >>> likes = np.array([1, 0, 1, 0, 1, 0])  # the class that uses each word
    >>> share = np.where(y[:, None] == likes, 0.6, 0.1)
    >>> share[:200, 4:] = 0  # words of the target alone
    >>> share[200:, 2:4] = 0  # words of the source alone
    >>> X = rng.binomial(1, share).astype(float)
    >>> mapper = MSDA(n_layers=1, include_input=False)
    >>> H = mapper.fit_transform(X, sample_domain=sample_domain)
    >>> Hs, ys = H[:200], y[:200]
    >>> contrast = Hs[ys == 1].mean(axis=0) - Hs[ys == 0].mean(axis=0)
    >>> bool(contrast[4] > 0 > contrast[5])  # filled in for rows that lack them
    True
    """

    _parameter_constraints: dict = _CONSTRAINTS
    _accept_sparse = True

    def __init__(
        self,
        n_layers=3,
        noise=0.7,
        max_features=5000,
        include_input=True,
        *,
        reg=1e-5,
        dtype=None,
        random_state=None,
    ):
        self.n_layers = n_layers
        self.noise = noise
        self.max_features = max_features
        self.include_input = include_input
        self.reg = reg
        self.dtype = dtype
        self.random_state = random_state

    def _fit_map(self, X, source, target):
        self._learn(X, with_result=False)

    # `fit` has all rows in every layer but the last: nothing is mapped twice.
    @_fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X, y=None, *, sample_domain=None):
        """Learn the layers and map the same rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of source and target, in any order.
        y : ignored
            Present for the interface.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, as in `fit`.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features_out)
            Mapped rows, in the order of X.
        """
        X, *_ = self._check_fit(X, sample_domain)
        return self._learn(X, with_result=True)

    def _learn(self, X, with_result):
        parameters = self.get_params(deep=False)
        layers, result = _learn_layers(X, with_result, **parameters)
        self.coefs_, self.intercepts_, self.columns_ = layers
        return result

    def _transform(self, X, is_source):
        H = X.astype(X.dtype if self.dtype is None else self.dtype, copy=False)
        n_bytes = X.shape[0] * self._n_features_out * H.dtype.itemsize
        _warn_of_memory(n_bytes, f"Mapping {X.shape[0]} rows")
        result, places = _begin_result(
            H, self.columns_, self.n_layers, self.include_input
        )
        for coef, intercept, place in zip(self.coefs_, self.intercepts_, places):
            H = hidden_rows(
                H, coef.astype(H.dtype, copy=False), intercept, result[:, place]
            )
        return result

    @property
    def _n_features_out(self):
        return len(self.columns_) * (self.n_layers + self.include_input)


@validate_params(
    {
        "Xs": ["array-like", "sparse matrix"],
        "Xt": ["array-like", "sparse matrix"],
        **_CONSTRAINTS,
    },
    prefer_skip_nested_validation=True,
)
def msda(
    Xs,
    Xt,
    *,
    n_layers=3,
    noise=0.7,
    max_features=5000,
    include_input=True,
    reg=1e-5,
    dtype=None,
    random_state=None,
):
    """Map two samples by a marginalised stacked denoising autoencoder.

    Parameters
    ----------
    Xs : {array-like, sparse matrix} of shape (n_source, n_features)
        Source rows.
    Xt : {array-like, sparse matrix} of shape (n_target, n_features)
        Target rows.
    n_layers : int, default=3
        Number of layers.
    noise : float in [0, 1), default=0.7
        Probability that an entry is set to 0.
    max_features : int, default=5000
        Number of columns that are reconstructed, if there are more. None: all.
    include_input : bool, default=True
        Whether the result begins with the columns that are reconstructed.
    reg : float, default=1e-5
        Ridge on the weights of a layer.
    dtype : {numpy.float32, numpy.float64}, default=None
        That of the layers and of the result. None: that of the samples.
    random_state : int, RandomState instance or None, default=None
        Draws the parts, where there are more columns than `max_features`.

    Returns
    -------
    result : MSDAResult
        Named tuple ``(X_source, X_target, coefs, intercepts)``: the mapped rows, and
        the layers.

    Raises
    ------
    ValueError
        If the samples differ in their columns, or if the second moments are singular,
        with a tiny `reg` and little noise.

    Warns
    -----
    UserWarning
        If layers and result take more than scikit-learn's ``working_memory``.

    See Also
    --------
    MSDA : The estimator, with the formula.

    References
    ----------
    .. [1] M. Chen, Z. Xu, K. Weinberger, F. Sha. Marginalized denoising autoencoders
       for domain adaptation. ICML 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import msda
    >>> rng = np.random.default_rng(0)
    >>> Xs, Xt = rng.random((50, 4)), rng.random((40, 4))
    >>> result = msda(Xs, Xt, n_layers=2)
    >>> result.X_source.shape
    (50, 12)
    >>> untouched = msda(Xs, Xt, n_layers=1, noise=0.0, reg=0.0, include_input=False)
    >>> bool(np.allclose(untouched.X_target, np.tanh(Xt)))
    True
    """
    Xs, Xt = check_samples(Xs, Xt, accept_sparse="csr")
    if sparse.issparse(Xs):
        X = sparse.vstack([Xs, Xt], format="csr")
    else:
        X = np.concatenate([Xs, Xt])
    layers, result = _learn_layers(
        X, True, n_layers, noise, max_features, include_input, reg, dtype, random_state
    )
    n_source = Xs.shape[0]
    return MSDAResult(
        result[:n_source], result[n_source:], layers.coefs, layers.intercepts
    )


class _Layers(NamedTuple):
    coefs: list
    intercepts: list
    columns: np.ndarray


def _learn_layers(
    X,
    with_result,
    n_layers,
    noise,
    max_features,
    include_input,
    reg,
    dtype,
    random_state,
):
    """Learn the layers; the mapped rows, too, if they are wanted."""
    dtype = X.dtype if dtype is None else np.dtype(dtype)
    H = X.astype(dtype, copy=False)
    if sparse.issparse(H):
        H = sparse.csr_array(H)
    columns = _most_frequent(H, max_features or H.shape[1])
    layers, r = _Layers([], [], columns), len(columns)
    n_held = n_layers + include_input if with_result else min(n_layers - 1, 1)
    _warn_of_memory(
        H.shape[0] * r * n_held * dtype.itemsize
        + r * r * (n_layers * dtype.itemsize + 8),
        f"Learning {n_layers} layers of {r} columns from {H.shape[0]} rows",
    )
    result, places = None, [slice(0, r)] * n_layers
    if with_result:
        result, places = _begin_result(H, columns, n_layers, include_input)
    elif n_held:
        held = np.empty((H.shape[0], r), dtype)
    for layer, place in enumerate(places):
        if layer == 0 and r < H.shape[1]:
            coef, intercept = _first_of_parts(H, columns, noise, reg, random_state)
        else:
            coef, intercept = denoising_map(H, noise, reg)
        layers.coefs.append(coef.astype(dtype, copy=False))
        layers.intercepts.append(intercept.astype(dtype, copy=False))
        del coef
        if with_result or layer < n_layers - 1:
            into = result[:, place] if with_result else held
            H = hidden_rows(H, layers.coefs[-1], layers.intercepts[-1], into)
    return layers, result


def _most_frequent(X, n_columns):
    """The columns that are not 0 in most rows, ascending; earlier ones in a tie."""
    if n_columns >= X.shape[1]:
        return np.arange(X.shape[1])
    if sparse.issparse(X):
        frequency = np.bincount(X.indices[X.data != 0], minlength=X.shape[1])
    else:
        frequency = np.count_nonzero(X, axis=0)
    return np.sort(np.argsort(-frequency, kind="stable")[:n_columns])


def _first_of_parts(X, columns, noise, reg, random_state):
    """The mean of maps from disjoint random parts of all columns to `columns`."""
    d, r = X.shape[1], len(columns)
    order = check_random_state(random_state).permutation(d)
    parts = np.array_split(order, -(-d // r))
    coef, intercept = np.zeros((d, r), X.dtype), np.zeros(r)
    targets = X[:, columns]
    for part in parts:
        part_coef, part_intercept = partial_denoising_map(
            X[:, part], targets, noise, reg
        )
        coef[part] = part_coef / len(parts)
        intercept += part_intercept / len(parts)
    return coef, intercept


def _begin_result(X, columns, n_layers, include_input):
    """The result with room for the layers, and their places."""
    n, r = X.shape[0], len(columns)
    result = np.empty((n, r * (n_layers + include_input)), X.dtype)
    if include_input:
        chosen = X if r == X.shape[1] else X[:, columns]
        if sparse.issparse(chosen):
            # Zeros first: what is stored goes to its places.
            result[:, :r] = 0
            rows = np.repeat(np.arange(n), np.diff(chosen.indptr))
            np.add.at(result, (rows, chosen.indices), chosen.data)
        else:
            result[:, :r] = chosen
    starts = r * (np.arange(n_layers) + include_input)
    return result, [slice(start, start + r) for start in starts]


def _warn_of_memory(n_bytes, what):
    allowed = get_config()["working_memory"]
    if n_bytes > allowed * 2**20:
        warnings.warn(
            f"{what} takes {n_bytes / 2**20:,.0f} MiB, more than scikit-learn's "
            f"working_memory of {allowed} MiB: lower n_layers or max_features, set "
            "dtype=numpy.float32, or raise working_memory if there is room.",
            UserWarning,
            stacklevel=4,
        )
