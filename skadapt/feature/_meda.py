"""MEDA: kernel regression that aligns domains and classes on a manifold."""

from numbers import Integral, Real

import numpy as np
from scipy import sparse
from scipy.special import softmax
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.preprocessing import normalize
from sklearn.utils import (
    ClassifierTags,
    InputTags,
    TargetTags,
    check_consistent_length,
    check_random_state,
)
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from skadapt._base import row_blocks, some_rows
from skadapt._domains import (
    as_labels,
    check_sample_domain,
    is_labeled,
    mask_target_labels,
    natural_labels,
)
from skadapt._predictor import (
    BasePredictor,
    TargetClassifierMixin,
    fit_weighted,
    takes_domains,
    weight_parameter,
)
from skadapt._transfer import _as_pipeline, _call
from skadapt.feature._gap_balance import GapBalance
from skadapt.solvers._class_gaps import class_gaps
from skadapt.solvers._class_shares import column_scales, resolve_prior
from skadapt.solvers._geodesic_flow import axes_of_domains, geodesic_factor
from skadapt.solvers._manifold_regression import (
    KernelSmoother,
    LandmarkSmoother,
    graph_laplacian,
    penalised_values,
)

__all__ = ["MEDA"]

# Rows up to which the kernel is centred at all of them, and landmarks beyond.
_MOST_ROWS = 3000
_LANDMARKS = 700
# Scores are fitted to 0 and 1, so that a softmax of them as they are would give sure
# rows of ten classes a probability of .2.
_SHARPNESS = 5.0


class MEDA(TargetClassifierMixin, BasePredictor):
    r"""Manifold embedded distribution alignment.

    Rows are mapped by the geodesic flow between a subspace of the source and one of
    the target, and brought to unit length. There, a function of a Gaussian kernel is
    fitted to the labels of the source, whose means in both domains agree, of all rows
    and of each class, and which is smooth along a graph of neighbours [1]_. Classes of
    target rows are what the function predicted last.

    Parameters
    ----------
    n_components : int, default=20
        Directions of each subspace; fewer if a domain has no more.
    subspace : {"pca", "pls"}, transformer or None, default="pca"
        What makes the columns: the geodesic flow from the principal directions of the
        source to those of the target; the same from the directions of partial least
        squares of the source on its labels [2]_; a mapper such as `JGSA`, any
        transformer or a Pipeline of such; or, with None, nothing.
    mu : float in [0, 1] or "estimate", default=0.5
        Balance of the gaps of class means (1) against the gap of all means (0).
        ``"estimate"``: by how well linear SVMs tell the domains apart, in each round.
    prior : {"uniform"} or array-like of shape (n_classes,), default=None
        Shares of the classes, in sorted order, in the target. None assumes nothing.
    lam : float, default=10.0
        Weight of the gaps, >= 0.
    eta : float, default=0.1
        Weight of the norm of the function, > 0.
    rho : float, default=1.0
        Weight of the graph, >= 0.
    gamma : float, default=0.5
        Width of the kernel, :math:`k(x, z) = \exp(-\gamma \|x - z\|^2)` of rows of unit
        length.
    n_neighbors : int, default=10
        Neighbours of a row in the graph, beside itself.
    n_iter : int, default=10
        Largest number of rounds. They end before where no label changes.
    estimator : classifier, default=None
        Gives the labels to start from, fitted to the mapped source. None:
        ``KNeighborsClassifier(1)``.
    n_landmarks : int or "all", default=None
        Rows, drawn from both domains, for Nystroem's approximation of the kernel.
        ``"all"``, or as many as there are rows: the kernel itself. None: all of up to
        3,000 rows, else 700.
    random_state : int, RandomState instance or None, default=None
        Draws the landmarks.

    Attributes
    ----------
    transduction_ : ndarray of shape (n_target,)
        Labels of the target rows of `fit`, in the order of X.
    n_changes_ : ndarray of shape (n_rounds,)
        Number of target rows to which each round gave another label than they had
        before it; before the first they have those that `estimator_` predicted.
    mu_ : float
        The balance in the last round.
    X_fit_ : ndarray of shape (n_landmarks, n_columns)
        Mapped rows of unit length: all of `fit`, or the landmarks.
    dual_coef_ : ndarray of shape (n_landmarks, n_classes)
        The function is ``k(x, X_fit_) @ dual_coef_``.
    estimator_ : classifier
        The classifier of the start, fitted to the mapped source.
    mapper_ : transformer
        The fitted transformer, if `subspace` is one.
    classes_ : ndarray of shape (n_classes,)
        Class labels, in the natural dtype of the labelled values.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If the rows of a domain do not vary, if ``subspace="pls"`` meets one class only
        or classes of one mean, if `sample_domain` lacks sources or
        targets, if no source row is labelled, if labels are no classes, or if `prior`
        does not fit the classes.

    Warns
    -----
    NoAdaptationWarning
        If `fit` gets no `sample_domain`. This is kernel least squares on X with rows of
        unit length then, without gaps, graph or subspaces.

    See Also
    --------
    GFK : The geodesic flow alone.
    AdapterEnsembleClassifier : Averages several, of different subspaces.
    EasyTL : Without rounds and without a kernel.

    Notes
    -----
    With K the kernel matrix of all N rows, Y the indicators of the classes, E diagonal
    with 1 at labelled source rows and 0 elsewhere, and C classes ::

        min_F  ||E (Y - F)||^2 + eta ||f||^2_K + tr(F' (lam M + rho Lap) F)
        M = ((1 - mu) C M_0 + mu (M_1 + ... + M_C)) / ||.||

    where ``tr(F' M_0 F)`` is the squared gap of the means of F, source less target,
    and M_c that of class c by the labels of the source and those predicted for the
    target last; a class without rows in a domain has none. Lap is the normalised
    Laplacian of the cosines of neighbours. Everything in it but M stays from round to
    round: it is factored once, and a round costs products with C + 1 columns.

    Memory is two N x N matrices, or N x `n_landmarks`. Landmarks hardly move the mean
    of many problems, but single ones: with 700, by 7 points at most in 12 tasks of
    450 to 2,100 rows. The graph is exact in any case; its neighbours take O(N^2) time.
    Of rows that are equally near, their order decides which are neighbours.

    New rows are mapped, and predicted by the same function, whatever their domain.
    Unlabelled source rows count in the subspaces, the gap of all means and the graph.
    Several sources are pooled, and several targets. Weights of rows multiply their
    entries in E, and the estimator's loss if it takes any.

    `predict_proba` is ``softmax(5 F)``, which makes scores that are fitted to 0 and 1
    comparable between models; it is not calibrated. With `prior`, its columns are
    multiplied by the factors that give the target rows of `fit` the shares of the
    prior in the mean, by Sinkhorn's algorithm; new rows get the same factors.

    The columns should be standardised in each domain, ``PerDomain(StandardScaler())``.
    Rows of unit length have only a direction: a handful of columns loses by it.

    References
    ----------
    .. [1] J. Wang, W. Feng, Y. Chen, H. Yu, M. Huang, P. Yu. Visual domain adaptation
       with manifold embedded distribution alignment. ACM Multimedia 2018.
    .. [2] B. Gong, Y. Shi, F. Sha, K. Grauman. Geodesic flow kernel for unsupervised
       domain adaptation. CVPR 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from skadapt import MEDA
    >>> from skadapt.datasets import load_mnist_optdigits
    >>> data = load_mnist_optdigits()
    >>> X, y, domain = data.X[::5], data.y[::5], data.sample_domain[::5]
    >>> source, target = domain > 0, domain < 0
    >>> floor = KNeighborsClassifier(1).fit(X[source], y[source])
    >>> print(f"{floor.score(X[target], y[target]):.2f}")
    0.46
    >>> model = MEDA().fit(X, y, sample_domain=domain)
    >>> print(f"{np.mean(model.transduction_ == y[target]):.2f}")
    0.84
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "subspace": [
            StrOptions({"pca", "pls"}),
            HasMethods(["fit_transform", "transform"]),
            None,
        ],
        "mu": [Interval(Real, 0, 1, closed="both"), StrOptions({"estimate"})],
        "prior": [StrOptions({"uniform"}), "array-like", None],
        "lam": [Interval(Real, 0, None, closed="left")],
        "eta": [Interval(Real, 0, None, closed="neither")],
        "rho": [Interval(Real, 0, None, closed="left")],
        "gamma": [Interval(Real, 0, None, closed="neither")],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "estimator": [HasMethods(["fit", "predict"]), None],
        "n_landmarks": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"all"}),
            None,
        ],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components=20,
        subspace="pca",
        *,
        mu=0.5,
        prior=None,
        lam=10.0,
        eta=0.1,
        rho=1.0,
        gamma=0.5,
        n_neighbors=10,
        n_iter=10,
        estimator=None,
        n_landmarks=None,
        random_state=None,
    ):
        self.n_components = n_components
        self.subspace = subspace
        self.mu = mu
        self.prior = prior
        self.lam = lam
        self.eta = eta
        self.rho = rho
        self.gamma = gamma
        self.n_neighbors = n_neighbors
        self.n_iter = n_iter
        self.estimator = estimator
        self.n_landmarks = n_landmarks
        self.random_state = random_state

    def _resolve_estimator(self):
        if self.estimator is None:
            # Trees are of no use in 40 columns, and pickle differently each time.
            return KNeighborsClassifier(1, algorithm="brute")
        if not is_classifier(self.estimator):
            raise ValueError(
                f"estimator must be a classifier, got {self.estimator!r}: give, for "
                "example, LogisticRegression()."
            )
        return self.estimator

    def _check_rows(self, X, *, reset):
        return validate_data(self, X, reset=reset, dtype=[np.float64, np.float32])

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, *, sample_domain=None):
        """Label the target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of all domains, in any order.
        y : array-like of shape (n_samples,)
            Labels; NaN (in an array of floats) or None (in an array of objects)
            marks an unlabelled row. Labels of target rows are never used, whatever
            y holds there.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the labelled source rows in the squared loss.
            Those of other rows are not used.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources and < 0 for targets. None fits kernel
            least squares to all rows, with a `NoAdaptationWarning`.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        X, estimator = self._check_start(X, y)
        self._forget()
        if sample_domain is None:
            self._fit_one_domain(X, y, sample_weight)
            return self
        if takes_domains(estimator):
            raise ValueError(
                f"{type(estimator).__name__} takes sample_domain itself, but the start "
                "is fitted to mapped source rows alone: use a plain classifier."
            )
        check_consistent_length(X, y)
        y = column_or_1d(as_labels(y))
        ids = check_sample_domain(sample_domain, X.shape[0], both=True)
        y = mask_target_labels(y, ids)
        labeled = is_labeled(y)
        self._check_training_rows(labeled, ids)
        weights = self._check_weights(X, sample_weight, labeled)
        codes = np.full(len(y), -1)
        codes[weights > 0] = self._encode(y[weights > 0])
        shares = resolve_prior(self.prior, len(self.classes_))

        columns = self._fit_columns(X, y, ids, codes)
        Z = normalize(columns)
        labels = self._start(estimator, Z, codes, weights, ids)
        smoother = self._smoother(Z, weights)
        values = self._align(smoother, columns, labels, weights, ids)
        self._set_shares(values[ids < 0], shares)
        scores = values[ids < 0] + self._offsets
        self.transduction_ = self.classes_[scores.argmax(axis=1)]
        return self

    def _forget(self):
        """Drop what an earlier fit set and the next may not set."""
        for name in ("transduction_", "n_changes_", "mu_", "estimator_", "mapper_"):
            vars(self).pop(name, None)

    def _check_weights(self, X, sample_weight, training):
        """Diagonal of E: 0 where a row is not to be fitted."""
        if sample_weight is None:
            return training.astype(np.float64)
        weights = _check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )
        weights = np.where(training, weights, 0.0)
        if not weights.any():
            raise ValueError(
                "sample_weight is 0 for every labelled source row: give some of them a "
                "positive weight."
            )
        return weights

    def _encode(self, y):
        labels = natural_labels(y)
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        return codes

    def _fit_one_domain(self, X, y, sample_weight):
        """Kernel least squares on all rows."""
        y = column_or_1d(self._check_one_domain(X, y))
        check_consistent_length(X, y)
        weights = self._check_weights(X, sample_weight, np.ones(len(y), dtype=bool))
        codes = np.full(len(y), -1)
        codes[weights > 0] = self._encode(y[weights > 0])
        self._map = None
        Z = normalize(X.astype(np.float64, copy=False))
        smoother = self._smoother(Z, weights, alone=True)
        self.dual_coef_ = smoother.dual(
            smoother.solve(self._indicators(codes, weights))
        )
        self._offsets = np.zeros(len(self.classes_))

    def _fit_columns(self, X, y, ids, codes):
        """The columns of all rows, float64, before they are brought to unit length."""
        self._map = None
        if hasattr(self.subspace, "transform"):
            self.mapper_ = clone(self.subspace)
            chain = _as_pipeline(self.mapper_)
            Z = _call(chain, "fit_transform", X, y, sample_domain=ids)
            return check_array(Z, dtype=np.float64)
        if self.subspace is not None:
            labelled = None
            if self.subspace == "pls":
                labelled = X[codes >= 0], codes[codes >= 0]
            Ps, Pt = axes_of_domains(
                X[ids > 0], X[ids < 0], self.n_components, labelled
            )
            p = min(Ps.shape[1], Pt.shape[1])
            self._map = geodesic_factor(Ps[:, :p], Pt[:, :p])
        return self._columns(X, ids)

    def _columns(self, X, ids):
        if hasattr(self, "mapper_"):
            Z = _call(_as_pipeline(self.mapper_), "transform", X, None, ids)
            return check_array(Z, dtype=np.float64)
        X = X.astype(np.float64, copy=False)
        return X if self._map is None else X @ self._map

    def _start(self, estimator, Z, codes, weights, ids):
        """Class numbers of all rows: of the target as predicted, -1 where unknown."""
        known = codes >= 0
        takes_weights = weight_parameter(estimator) is not None
        self.estimator_ = fit_weighted(
            estimator,
            Z[known],
            self.classes_[codes[known]],
            weights[known] if takes_weights else None,
        )
        labels = codes.copy()
        predicted = self.estimator_.predict(Z[ids < 0])
        labels[ids < 0] = np.searchsorted(self.classes_, predicted)
        return labels

    def _smoother(self, Z, weights, alone=False):
        """The factored problem without gaps; `alone`: without a graph, too."""
        A = sparse.diags_array(weights, format="csr")
        if self.rho and not alone:
            A = A + self.rho * graph_laplacian(_neighbours(Z, self.n_neighbors))
        n_landmarks = self.n_landmarks
        if n_landmarks is None:
            n_landmarks = _LANDMARKS if len(Z) > _MOST_ROWS else len(Z)
        if n_landmarks == "all" or n_landmarks >= len(Z):
            self.X_fit_ = Z
            return KernelSmoother(rbf_kernel(Z, gamma=self.gamma), A, self.eta)
        rng = check_random_state(self.random_state)
        self.X_fit_ = some_rows(Z, n_landmarks, rng)
        return LandmarkSmoother(
            lambda rows: rbf_kernel(Z[rows], self.X_fit_, gamma=self.gamma),
            rbf_kernel(self.X_fit_, gamma=self.gamma),
            A,
            self.eta,
        )

    def _indicators(self, codes, weights):
        """``E Y``."""
        indicators = np.zeros((len(codes), len(self.classes_)))
        rows = np.flatnonzero(codes >= 0)
        indicators[rows, codes[rows]] = weights[rows]
        return indicators

    def _align(self, smoother, columns, labels, weights, ids):
        """The rounds; values of the function at all rows."""
        n_classes, is_source, target = len(self.classes_), ids > 0, ids < 0
        codes = np.where(weights > 0, labels, -1)
        indicators = self._indicators(codes, weights)
        fitted = smoother.values(smoother.solve(indicators))
        balance = GapBalance(columns, is_source) if self.mu == "estimate" else None
        n_changes = []
        for _ in range(self.n_iter):
            self.mu_ = balance.estimate(labels) if balance else float(self.mu)
            V = _scaled_gaps(class_gaps(labels, is_source, n_classes), self.mu_)
            values, gaps = penalised_values(smoother, fitted, V, self.lam)
            predicted = values[target].argmax(axis=1)
            n_changes.append(np.count_nonzero(predicted != labels[target]))
            labels[target] = predicted
            if not n_changes[-1]:
                break
        self.n_changes_ = np.array(n_changes)
        coefficients = smoother.solve(indicators - self.lam * (V @ gaps))
        self.dual_coef_ = smoother.dual(coefficients)
        return values

    def _set_shares(self, values, shares):
        """What is added to the scores so that the target has the given shares."""
        self._offsets = np.zeros(len(self.classes_))
        if shares is not None:
            proba = softmax(_SHARPNESS * values, axis=1)
            self._offsets = np.log(column_scales(proba, shares)) / _SHARPNESS

    def predict(self, X, sample_domain=None):
        """Predict the class of the largest score.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. It changes something only
            if `subspace` is a mapper that treats domains differently. None: target
            rows.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Class labels.
        """
        best = self._scores(X, sample_domain).argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, X, sample_domain=None):
        """Predict class probabilities, ``softmax(5 F)``; they are not calibrated.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row, as in `predict`.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities, columns in the order of `classes_`.
        """
        return softmax(_SHARPNESS * self._scores(X, sample_domain), axis=1)

    def decision_function(self, X, sample_domain=None):
        """Values of the function that was fitted to 0 and 1.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row, as in `predict`.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            One for each class; of two classes the second's less the first's. With
            `prior`, a number for each class is added.
        """
        scores = self._scores(X, sample_domain)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def _scores(self, X, sample_domain):
        check_is_fitted(self)
        X = self._check_rows(X, reset=False)
        if sample_domain is not None:
            sample_domain = check_sample_domain(sample_domain, X.shape[0], scalar=True)
        Z = normalize(self._columns(X, sample_domain))
        scores = np.empty((X.shape[0], len(self.classes_)))
        for rows in row_blocks(len(Z), len(self.X_fit_)):
            K = rbf_kernel(Z[rows], self.X_fit_, gamma=self.gamma)
            scores[rows] = K @ self.dual_coef_
        return scores + self._offsets

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # The estimator never meets X: its tags say nothing about it.
        tags.input_tags = InputTags()
        tags.target_tags = TargetTags(required=True)
        tags.classifier_tags = ClassifierTags()
        return tags


def _neighbours(Z, n_neighbors):
    """Cosines of rows and their neighbours, symmetric, none below 0, 1 on the diagonal.

    Rows have unit length; those of length 0 have no neighbours.
    """
    n = len(Z)
    n_neighbors = min(n_neighbors, n - 1)
    if not n_neighbors:
        return sparse.eye_array(n, format="csr")
    nearest = NearestNeighbors(n_neighbors=n_neighbors).fit(Z)
    columns = nearest.kneighbors(return_distance=False)
    cosines = [np.einsum("ij,ij->i", Z, Z[column]) for column in columns.T]
    cosines = np.maximum(np.stack(cosines, axis=1), 0.0)
    pointers = np.arange(0, n * n_neighbors + 1, n_neighbors)
    W = sparse.csr_array((cosines.ravel(), columns.ravel(), pointers), shape=(n, n))
    return W.maximum(W.T) + sparse.eye_array(n, format="csr")


def _scaled_gaps(gaps, mu):
    """V with ``V V' = ((1 - mu) C M_0 + mu (M_1 + ... + M_C)) / ||.||``."""
    n_classes = gaps.shape[1] - 1
    roots = np.sqrt(np.r_[(1 - mu) * n_classes, np.full(n_classes, mu)])
    V = gaps * roots
    # V'V has the norm of V V', and is small.
    norm = np.linalg.norm(V.T @ V)
    return V / np.sqrt(norm) if norm > 0 else V
