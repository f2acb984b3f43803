"""Base classes of the adapters: what they share is validation and domains."""

import warnings
from abc import ABCMeta, abstractmethod
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils._chunking import get_chunk_n_rows
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import (
    _num_samples,
    check_array,
    check_is_fitted,
    validate_data,
)

from skadapt._domains import check_sample_domain, warn_no_adaptation

__all__ = [
    "BaseMapper",
    "BaseWeighter",
    "DegenerateWeightsWarning",
    "NegativeTransferWarning",
]


class DegenerateWeightsWarning(UserWarning):
    """Warns that weights leave hardly any row of the source, or none of a class."""


class NegativeTransferWarning(UserWarning):
    """Warns that the source misleads: the target alone may do better."""


def check_rows(estimator, X, *, reset):
    """Check the form of X where an inner estimator judges its contents.

    Returns X as it is if it can be indexed by rows (ndarray, CSR, data frame), as
    an array or in CSR format otherwise.
    """
    if sparse.issparse(X):
        X = X.tocsr()
    elif not hasattr(X, "shape"):
        X = np.asarray(X)
    if len(X.shape) != 2:
        raise ValueError(
            f"Expected 2D array, got shape {X.shape}. Reshape your data with "
            ".reshape(-1, 1) if it has a single feature or .reshape(1, -1) if it is a "
            "single row."
        )
    if not X.shape[0]:
        raise ValueError(
            f"Found array with 0 sample(s) (shape={X.shape}) while a minimum of 1 is "
            f"required by {type(estimator).__name__}."
        )
    if not X.shape[1]:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={X.shape}) while a minimum of 1 is "
            f"required by {type(estimator).__name__}."
        )
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    return X


def check_samples(Xs, Xt, *, same_columns=True, **options):
    """Validate the two samples of a function on plain arrays."""
    options = {"dtype": [np.float64, np.float32], **options}
    Xs = check_array(Xs, input_name="Xs", **options)
    Xt = check_array(Xt, input_name="Xt", **options)
    if sparse.issparse(Xs) != sparse.issparse(Xt):
        Xs, Xt = sparse.csr_array(Xs), sparse.csr_array(Xt)
    if same_columns and Xs.shape[1] != Xt.shape[1]:
        raise ValueError(
            f"Xs has {Xs.shape[1]} columns and Xt {Xt.shape[1]}: give both samples the "
            "same features."
        )
    return Xs, Xt


# Effective sample sizes below this share of the source rows cause a warning.
_LEAST_SHARE = 0.02


class _BaseAdapter(BaseEstimator, metaclass=ABCMeta):
    """Validation common to weighters and mappers."""

    __metadata_request__fit = {"sample_domain": True}

    # What a method accepts, for validation and tags alike.
    _accept_sparse = False
    _min_rows = 1
    _min_rows_per_domain = 1

    def _validate(self, X, *, reset):
        return validate_data(
            self,
            X,
            reset=reset,
            accept_sparse="csr" if self._accept_sparse else False,
            dtype=[np.float64, np.float32],
            ensure_min_samples=(
                max(self._min_rows, self._min_rows_per_domain) if reset else 1
            ),
        )

    def _check_fit(self, X, sample_domain):
        """Validated rows with the indices of the source and of the target rows.

        Without `sample_domain` all rows are both, and a warning says so.
        """
        X = self._validate(X, reset=True)
        n_samples = _num_samples(X)
        if sample_domain is None:
            warn_no_adaptation(self)
            rows = np.arange(n_samples)
            return X, rows, rows
        ids = check_sample_domain(sample_domain, n_samples, both=True)
        source, target = np.flatnonzero(ids > 0), np.flatnonzero(ids < 0)
        for name, rows in (("source", source), ("target", target)):
            if len(rows) < self._min_rows_per_domain:
                raise ValueError(
                    f"{type(self).__name__} needs at least "
                    f"{self._min_rows_per_domain} {name} rows, got n_samples = "
                    f"{len(rows)}."
                )
        return X, source, target

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self._accept_sparse
        return tags


class BaseWeighter(_BaseAdapter):
    """Base class of methods that weight the rows of the source.

    A subclass implements ``_fit_weights(X, source, target)``: given the validated
    rows and the indices of the source and of the target rows, it returns the
    weights of the source rows and sets whatever else it has to report. Its
    ``__init__`` takes ``flatten=1.0`` and ``clip=None`` beside its own parameters.

    Parameters
    ----------
    flatten : float in [0, 1], default=1.0
        Exponent of the weights: 1 leaves them as they are, 0 makes them all 1,
        between the two lies less variance for more bias [1]_.
    clip : float in (0, 1], default=None
        Quantile of the source rows' weights at which larger ones are cut, before
        they are flattened. None cuts nothing.

    Attributes
    ----------
    ratio_ : ndarray of shape (n_source,)
        The method's own solution for the source rows, in the order in which they
        stand in X, not rescaled.
    weights_ : ndarray of shape (n_source,)
        The same after `clip` and `flatten`.
    effective_sample_size_ : float
        ``sum(w)^2 / sum(w^2)`` of `weights_`: how many equally weighted rows have
        the same variance.

    References
    ----------
    .. [1] H. Shimodaira. Improving predictive inference under covariate shift by
       weighting the log-likelihood function. Journal of Statistical Planning and
       Inference 90, 2000.
    """

    _parameter_constraints: dict = {
        "flatten": [Interval(Real, 0, 1, closed="both")],
        "clip": [Interval(Real, 0, 1, closed="right"), None],
    }

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, sample_domain=None):
        """Weight the source rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of source and target, in any order.
        y : ignored
            Present for the interface; labels do not change the weights.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources and < 0 for targets. Several of
            either are pooled. None takes all rows as source and as target, with
            a `NoAdaptationWarning`.

        Returns
        -------
        self : object
            The fitted weighter.
        """
        X, source, target = self._check_fit(X, sample_domain)
        self.ratio_ = self._fit_weights(X, source, target)
        self._limit, self._exponent = np.inf, self.flatten
        if self.clip is not None and self.clip < 1:
            self._limit = float(np.quantile(self.ratio_, self.clip))
        self.weights_ = self._temper(self.ratio_)
        self.effective_sample_size_ = effective_sample_size(self.weights_)
        if self.effective_sample_size_ < _LEAST_SHARE * len(source):
            warnings.warn(
                f"The weights of {type(self).__name__} leave an effective sample of "
                f"{self.effective_sample_size_:.1f} of {len(source)} source rows: "
                "the domains hardly overlap for it. Flatten the weights "
                "(flatten=0.5), clip them (clip=0.95), or use a mapping adapter.",
                DegenerateWeightsWarning,
                stacklevel=3,
            )
        return self

    @abstractmethod
    def _fit_weights(self, X, source, target):
        """Weights of the rows ``source``, shape (n_source,)."""

    def _temper(self, ratio):
        """The ratio after `clip` and `flatten`."""
        if np.isfinite(self._limit):
            ratio = np.minimum(ratio, self._limit)
        # 0 ** 0 is 1: flatten=0 means equal weights, wherever the ratio is 0 too.
        return ratio if self._exponent == 1 else ratio**self._exponent


class PointwiseWeighter(BaseWeighter):
    """Base class of weighters that define a weight at any point.

    A subclass implements ``_fit_ratio(Xs, Xt, random_state)``, which fits on the
    rows of both domains (a sample of them, if `max_samples` says so) and returns the
    ratio at the fitted source rows if each of them is to be judged without itself, or
    None if they are rows like any others; and ``_ratio(X)``, the density ratio at
    validated rows, of which ``_block_columns()`` says how many float64 numbers a row
    takes. Its ``__init__`` takes ``max_samples=None`` and ``random_state=None`` beside
    the parameters of `BaseWeighter`.
    """

    _parameter_constraints: dict = {
        **BaseWeighter._parameter_constraints,
        "max_samples": [Interval(Integral, 4, None, closed="left"), None],
        "random_state": ["random_state"],
    }

    def _fit_weights(self, X, source, target):
        return self._fit_values(X, source, target, self._ratio)

    def _fit_values(self, X, source, target, function):
        """Fit; values of `function` at all source rows, held out where they are."""
        rng = check_random_state(self.random_state)
        fitted, fitted_target = sample_rows(source, target, self.max_samples, rng)
        held_out = self._fit_ratio(X[fitted], X[fitted_target], rng)
        return _at_source_rows(
            source, fitted, held_out, lambda rows: self._in_blocks(function, X, rows)
        )

    @abstractmethod
    def _fit_ratio(self, Xs, Xt, random_state):
        """Fit on the rows of both domains; ratio at Xs held out, or None."""

    @abstractmethod
    def _ratio(self, X):
        """Density ratio at validated rows, shape (n_samples,), float64."""

    @abstractmethod
    def _block_columns(self):
        """float64 numbers that `_ratio` holds for each row."""

    def _in_blocks(self, function, X, rows=None):
        """Values of `function` at rows, in blocks that fit the working memory."""
        n_rows = X.shape[0] if rows is None else len(rows)
        values = np.empty(n_rows)
        for block in row_blocks(n_rows, self._block_columns()):
            values[block] = function(X[block if rows is None else rows[block]])
        return values

    def predict_weights(self, X):
        """Weights at any rows, after `clip` and `flatten` as in `fit`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        weights : ndarray of shape (n_samples,)
            Weights, larger where the target is denser than the source.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        return self._temper(self._in_blocks(self._ratio, X))


def row_blocks(n_rows, n_columns):
    """Slices of rows, with `n_columns` float64 each, that fit the working memory."""
    chunk = get_chunk_n_rows(8 * max(1, n_columns), max_n_rows=n_rows)
    return gen_batches(n_rows, chunk)


def _at_source_rows(source, fitted, held_out, at_rows):
    """One value a source row: `held_out` at those of the fit, `at_rows` elsewhere.

    `source` and `fitted` are ascending row numbers. If `held_out` is None, rows of
    the fit are rows like any others.
    """
    if held_out is None:
        return at_rows(source)
    if len(fitted) == len(source):
        return held_out
    values = np.empty(len(source))
    in_fit = np.isin(source, fitted, assume_unique=True)
    values[in_fit] = held_out
    values[~in_fit] = at_rows(source[~in_fit])
    return values


def spread_order(X):
    """Order of the rows along one fixed random direction.

    The same rows stand in the same order however they come, so that what is drawn
    from them with a seed does not depend on how they were stacked.
    """
    direction = np.random.default_rng(0).standard_normal(X.shape[1])
    return np.argsort(X @ direction, kind="stable")


def some_rows(X, n_rows, random_state):
    """At most `n_rows` rows of X, drawn independently of their order."""
    if X.shape[0] <= n_rows:
        return X
    drawn = np.sort(random_state.choice(X.shape[0], n_rows, replace=False))
    return X[spread_order(X)[drawn]]


def sample_rows(source, target, max_samples, random_state):
    """At most `max_samples` row indices, half of each domain if both have as many."""
    if max_samples is None or len(source) + len(target) <= max_samples:
        return source, target
    half = max_samples // 2
    n_source = min(len(source), max(half, max_samples - len(target)))
    n_target = min(len(target), max_samples - n_source)
    return tuple(
        np.sort(random_state.choice(rows, n, replace=False))
        for rows, n in ((source, n_source), (target, n_target))
    )


def effective_sample_size(weights):
    """``sum(w)^2 / sum(w^2)``; 0 if all weights are 0."""
    weights = np.asarray(weights, dtype=np.float64)
    square = float(weights @ weights)
    return float(weights.sum() ** 2 / square) if square > 0 else 0.0


class BaseMapper(TransformerMixin, _BaseAdapter):
    """Base class of methods that map the columns of source and target.

    A subclass implements ``_fit_map(X, source, target)``, given the validated
    rows and the indices of the source and of the target rows, and
    ``_transform(X, is_source)``, given rows and a bool array. (`PerDomain`, which
    tells single domains apart, overrides `fit` and `transform` instead.) Rows
    come out in the order in which they went in, whatever the order of the
    domains.
    """

    __metadata_request__transform = {"sample_domain": True}

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, sample_domain=None):
        """Learn the map.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of source and target, in any order.
        y : ignored
            Present for the interface; labels do not change the map.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources and < 0 for targets. Several of
            either are pooled. None takes all rows as source and as target, with
            a `NoAdaptationWarning`.

        Returns
        -------
        self : object
            The fitted mapper.
        """
        X, source, target = self._check_fit(X, sample_domain)
        self._fit_map(X, source, target)
        return self

    # TransformerMixin.fit_transform does not hand sample_domain to transform.
    def fit_transform(self, X, y=None, *, sample_domain=None):
        """Learn the map and apply it to the same rows.

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
        return self.fit(X, y, sample_domain=sample_domain).transform(X, sample_domain)

    def transform(self, X, sample_domain=None):
        """Map rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, not necessarily those of `fit`.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. None: target rows.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features_out)
            Mapped rows, in the order of X.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        if sample_domain is None:
            is_source = np.zeros(_num_samples(X), dtype=bool)
        else:
            is_source = (
                check_sample_domain(sample_domain, _num_samples(X), scalar=True) > 0
            )
        return self._transform(X, is_source)

    @abstractmethod
    def get_feature_names_out(self, input_features=None):
        """Names of the columns of the output."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
