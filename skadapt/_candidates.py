"""The models that `AdapterEnsembleClassifier` averages by default."""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances_argmin_min
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils import _safe_indexing
from sklearn.utils.extmath import row_norms
from sklearn.utils.validation import check_array

from skadapt._predictor import weight_parameter
from skadapt._transfer import TransferClassifier
from skadapt.feature import CORAL, GFK, MEDA, TCA, PerDomain, SubspaceAlignment
from skadapt.instance import KMM

NONE = "none"
# Numbers of components of the maps.
_ALIGNED = (20, 40, 80)
_TRANSFER = (20, 50, 100)
_PRINCIPAL = 50
_FLOW = 20
# Columns that sparse rows have when they are mapped.
_REDUCED = 100
# Columns are taken for those of one unit, such as pixels, if there are so many and half
# of them span this part of the range of all.
_LEAST_IN_ONE_UNIT = 16
_SPAN = 0.8


class Candidate(NamedTuple):
    """A model, and the names of its parts in a table."""

    adapter: str
    estimator: str
    model: object

    @property
    def name(self):
        return f"{self.adapter}, {self.estimator}"


def default_candidates(X, ids, estimator=None, adapters=None, *, random_state=None):
    """The default models for given rows. Those of one adapter share the object.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
        Rows of all domains.
    ids : ndarray of shape (n_samples,) or None
        Their domains. None: models without adapter only.
    estimator : classifier or None
        What the adapters are joined to; None: three classifiers.
    adapters : dict of str to adapter or None
        None: the default ones, and two models that are adapters by themselves.
    random_state : int, RandomState instance or None
        Of these models.

    Returns
    -------
    candidates : list of Candidate
    """
    if estimator is None:
        estimators = _estimators()
        first = [] if sparse.issparse(X) else [_scaler(X)]
        unadapted = {
            name: make_pipeline(*first, own) for name, own in estimators.items()
        }
    else:
        estimators = unadapted = {type(estimator).__name__: estimator}
    found = [
        Candidate(NONE, name, TransferClassifier(own))
        for name, own in unadapted.items()
    ]
    if ids is None:
        return found
    own_models, given = [], adapters
    if adapters is None:
        adapters, own_models = _default_adapters(X, ids, random_state)
    for adapter_name, adapter in adapters.items():
        for name, own in estimators.items():
            if given is None and adapter_name == "KMM" and not weight_parameter(own):
                continue
            model = TransferClassifier(own, adapter)
            found.append(Candidate(adapter_name, name, model))
    return [*found, *own_models]


def check_columns(X):
    """X as numbers, dense or CSR."""
    if not _holds_numbers(X):
        raise ValueError(
            "X has columns that are no numbers: give compare_adapters a Pipeline whose "
            "first steps encode them as its estimator, make_pipeline(ColumnTransformer("
            "...), LogisticRegression()), or fit these steps to source rows beforehand."
        )
    return check_array(X, accept_sparse="csr", dtype=np.float64, input_name="X")


def _holds_numbers(X):
    if hasattr(X, "iloc"):
        return all(getattr(kind, "kind", "O") in "biufc" for kind in X.dtypes)
    if X.dtype.kind != "O":
        return X.dtype.kind in "biufc"
    try:
        return X.astype(np.float64) is not None
    except (TypeError, ValueError):
        return False


def _estimators():
    return {
        "1-NN": make_pipeline(_MeanNorm(), _NearestRow()),
        "logistic": make_pipeline(
            _MeanNorm(), LogisticRegression(C=10.0, max_iter=1000)
        ),
        "SVM": make_pipeline(_MeanNorm(), LinearSVC(random_state=0, max_iter=10_000)),
    }


def _default_adapters(X, ids, random_state):
    """Adapters by name, and models that are adapters by themselves."""
    first = []
    if sparse.issparse(X):
        if X.shape[1] < 2:
            raise ValueError(
                "Sparse rows with one column cannot be brought to fewer: use "
                "X.toarray()."
            )
        size = min(_REDUCED, min(X.shape) - 1)
        first = [TruncatedSVD(size, random_state=0)]
        X = first[0].fit_transform(X)
    scaler = _scaler(X)
    rank = _rank(PerDomain(scaler).fit_transform(X, sample_domain=ids), ids)
    first.append(PerDomain(scaler))
    joined = {"PerDomain": make_pipeline(*first)}
    joined["CORAL"] = aligned = make_pipeline(*first, CORAL())
    for size in _sizes(_ALIGNED, rank):
        joined[f"SubspaceAlignment({size})"] = make_pipeline(
            *first, SubspaceAlignment(size)
        )
    for size in _sizes((_PRINCIPAL,), rank):
        joined[f"PCA({size})"] = make_pipeline(*first, PCA(size, random_state=0))
    for size in _sizes(_TRANSFER, rank):
        joined[f"TCA({size})"] = make_pipeline(*first, TCA(size))
    flow = min(_FLOW, rank // 2)
    if flow:
        joined[f"GFK({flow})"] = make_pipeline(*first, GFK(flow))
    joined["KMM"] = make_pipeline(*first[:-1], scaler, KMM(approximation=_kmm_rows(X)))
    nearest = TransferClassifier(_NearestMean(), aligned)
    own_models = [Candidate("CORAL", "nearest mean", nearest)]
    if flow:
        meda = MEDA(flow, n_iter=5, random_state=random_state)
        model = make_pipeline(*first, meda)
        own_models.append(Candidate("MEDA", "its own", model))
    return joined, own_models


# Rows from which on KMM has its kernel approximated.
_KMM_ROWS = 3000


def _kmm_rows(X):
    return "nystroem" if len(X) > _KMM_ROWS else None


def _sizes(wanted, rank):
    """Numbers of components that there are, each once."""
    return sorted({min(size, rank) for size in wanted}) if rank else []


def _rank(X, ids):
    """Rank of the rows of source or target, the smaller."""
    return int(min(np.linalg.matrix_rank(X[ids * sign > 0]) for sign in (1, -1)))


def _scaler(X):
    """Centring, and unit variances unless the columns are measured in one unit.

    Unit variances would make the pixels at the rim, which are rarely on, as large as
    those of the image.
    """
    least, most = X.min(axis=0), X.max(axis=0)
    spans = (most - least)[least < most]
    in_one_unit = len(spans) >= _LEAST_IN_ONE_UNIT and np.median(spans) >= _SPAN * (
        most.max() - least.min()
    )
    return StandardScaler(with_std=not in_one_unit)


class _MeanNorm(TransformerMixin, BaseEstimator):
    """Divides rows by the root of their mean square norm, so that C has one meaning."""

    def fit(self, X, y=None):
        size = np.sqrt(row_norms(X, squared=True).mean())
        self.scale_ = size if size > 0 else 1.0
        return self

    def transform(self, X):
        return X / self.scale_


class _NearestRow(ClassifierMixin, BaseEstimator):
    """Nearest neighbour, with a score: minus the distance to the nearest of a class."""

    def fit(self, X, y):
        self.classes_, codes = np.unique(y, return_inverse=True)
        self._rows = [
            self._shown(_safe_indexing(X, np.flatnonzero(codes == code)))
            for code in range(len(self.classes_))
        ]
        return self

    def _shown(self, rows):
        """What distances to a class are measured to."""
        return rows

    def decision_function(self, X):
        distances = [pairwise_distances_argmin_min(X, rows)[1] for rows in self._rows]
        scores = -np.column_stack(distances)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict(self, X):
        scores = self.decision_function(X)
        best = scores.argmax(axis=1) if scores.ndim == 2 else (scores > 0).astype(int)
        return self.classes_[best]


class _NearestMean(_NearestRow):
    """Nearest class mean, whose distance is the score.

    That of scikit-learn's NearestCentroid is another than what it predicts with.
    """

    def _shown(self, rows):
        return rows.mean(axis=0, keepdims=True)
