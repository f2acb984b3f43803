"""Balanced distribution adaptation."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skadapt.feature._gap_balance import GapBalance
from skadapt.feature._pseudo_labels import PseudoLabelMapper


class BDA(PseudoLabelMapper):
    """Balanced distribution adaptation.

    `JDA` with a balance between the gap of the domains and the gaps of the classes. In
    its notation the matrix between F' and F is ::

        M = (1 - mu) M_0 + mu (M_1 + ... + M_C).

    Parameters
    ----------
    n_components : int, default=None
        Number of components, at most the rank of the centred features.
        None: 30, or the rank if it is lower.
    kernel : {"linear", "rbf", "poly", "laplacian", "primal"} or callable, \
            default="linear"
        F: the kernel matrix of all rows, or with ``"primal"`` the rows themselves.
        ``"poly"`` is ``(gamma x'z + 1)^3``; a callable takes two rows and returns a
        number.
    gamma : float, default=None
        Parameter of the rbf, laplacian and poly kernels, as in `JDA`.
    reg : float, default=1.0
        Weight of the norm of A against the gaps of the means.
    mu : float in [0, 1] or "estimate", default="estimate"
        The balance: 0 is `TCA`, 1 looks at classes only. ``"estimate"``: the share of
        the classes in what tells the domains apart, anew in each round, by proxy
        A-distances; see the notes.
    weighted : bool, default=False
        W-BDA: the target mean of class c counts by the ratio of the class's shares in
        the target and in the source, as labelled in the round.
    scale : {"unit", "whiten"}, default="unit"
        Length of the components: columns of A of norm 1, with which the published
        figures are reached, or ``A'F'HFA = I``.
    normalize : bool, default=True
        Do as the published code does: bring rows to length 1 before the map and after
        it, multiply M_0 by the number of classes, and divide M by its Frobenius norm.
    estimator : classifier, default=None
        Predicts the labels of target rows, fitted to the mapped labelled source rows.
        None: 1-nearest neighbour.
    n_iter : int, default=10
        Largest number of rounds. The first is `TCA`; the loop ends before where no
        label changed.

    Attributes
    ----------
    mu_ : float
        The balance of the last round; 0 if that was the first, which has no labels of
        target rows.
    pseudo_labels_ : ndarray of shape (n_target,)
        Labels of the target rows from the last round, in the order in which these
        stand in X.
    n_changes_ : ndarray of shape (n_rounds,)
        Number of target rows to which each round gave another label than they had
        before it; before the first they have none, so that it counts all of them.
    coefficients_ : ndarray of shape (n_samples, n_components)
        A, where the kernel is neither linear nor primal.
    components_ : ndarray of shape (n_features, n_components)
        ``X'A`` for the linear kernel and A for the primal problem: rows map to ``x
        components_``.
    eigenvalues_ : ndarray of shape (n_components,)
        Generalised eigenvalues phi of ``F'HF a = phi (F'MF + reg I) a``, in
        descending order.
    objective_ : float
        Their sum.
    mmd_ : float
        Squared distance of the domain means in the embedding, before its rows are
        brought to length 1.
    residual_ : float
        ``max_j ||S q_j - phi_j q_j|| / phi_1`` of the symmetric form of the
        eigenproblem of the last round.
    gamma_ : float or None
        The gamma in use; None if the kernel has none.
    X_fit_ : {ndarray, sparse matrix} of shape (n_samples, n_features)
        Rows of `fit`, of length 1 with `normalize`, for kernels that need them.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If no source row is labelled, if labels are no classes, if `n_components`
        exceeds the rank, or if `estimator` is no classifier.
    TypeError
        If X is sparse and the kernel a callable.

    Warns
    -----
    NoAdaptationWarning
        If `fit` gets no `sample_domain`.

    See Also
    --------
    JDA : The same with equal weights, its notes hold here.
    TCA : The first round alone, without labels.

    Notes
    -----
    **The estimate.** With ``A = 2 (1 - 2 e)``, e the error of a linear SVM between
    source and target rows on the rows it was trained on, A_0 for all rows and A_c for
    those of a class, it is ``mean(A_c) / (mean(A_c) + A_0)``, on the rows as they come
    (of length 1 with `normalize`). Where rows are few and columns many the SVM
    separates everything, and mu is near 1/2, with which and `normalize` the method is
    `JDA`. A class with few rows in one of the domains is told apart by its size alone.

    **W-BDA.** With n_c of n labelled source rows and m_c of m target rows in class c,
    its vector is ``1 / n_c`` on those source rows and ``-(m_c / m) / (n_c / n) / m_c``
    on those target rows, as in the authors' code. It does not sum to 0 and so sees the
    offset of the columns: centre them first.

    References
    ----------
    .. [1] J. Wang, Y. Chen, S. Hao, W. Feng, Z. Shen. Balanced distribution adaptation
       for transfer learning. ICDM 2017.
    .. [2] J. Wang et al. Visual domain adaptation with manifold embedded distribution
       alignment. ACM Multimedia 2018, for the estimate of mu.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import BDA, stack_domains
    >>> rng = np.random.default_rng(0)
    >>> ys, yt = rng.integers(0, 2, 80), rng.integers(0, 2, 60)
    >>> Xs, Xt = rng.normal(size=(80, 4)), rng.normal(size=(60, 4))
    >>> Xs[:, :2] += np.outer(ys, [4, 4])
    >>> Xt[:, :2] += np.outer(yt, [4, -4])  # the second column turned round
    >>> X, y, sample_domain = stack_domains(Xs, ys, Xt)
    >>> mapper = BDA(n_components=2, kernel="primal", normalize=False)
    >>> mapper = mapper.fit(X, y, sample_domain=sample_domain)
    >>> bool(np.mean(mapper.pseudo_labels_ == yt) > 0.95)
    True
    >>> 0 < mapper.mu_ < 1
    True
    """

    _parameter_constraints: dict = {
        **PseudoLabelMapper._parameter_constraints,
        "mu": [Interval(Real, 0, 1, closed="both"), StrOptions({"estimate"})],
        "weighted": ["boolean"],
    }

    def __init__(
        self,
        n_components=None,
        kernel="linear",
        gamma=None,
        reg=1.0,
        mu="estimate",
        weighted=False,
        scale="unit",
        normalize=True,
        estimator=None,
        n_iter=10,
    ):
        self.n_components = n_components
        self.kernel = kernel
        self.gamma = gamma
        self.reg = reg
        self.mu = mu
        self.weighted = weighted
        self.scale = scale
        self.normalize = normalize
        self.estimator = estimator
        self.n_iter = n_iter

    def _weighting(self, X, is_source):
        self.mu_ = 0.0
        estimated = self.mu == "estimate" and self.n_iter > 1
        balance = GapBalance(X, is_source) if estimated else None

        def weigh(gaps, labels):
            self.mu_ = balance.estimate(labels) if balance else float(self.mu)
            marginal = gaps.shape[1] - 1 if self.normalize else 1
            roots = np.full(gaps.shape[1], np.sqrt(self.mu_))
            roots[0] = np.sqrt((1 - self.mu_) * marginal)
            V = gaps * roots
            if self.weighted:
                V[~is_source, 1:] *= _share_ratios(labels, is_source, V.shape[1] - 1)
            return V

        return weigh


def _share_ratios(labels, is_source, n_classes):
    """Share of each class in the target over that in the source."""
    source, target = (
        np.bincount(part[part >= 0], minlength=n_classes)
        for part in (labels[is_source], labels[~is_source])
    )
    return (target / max(target.sum(), 1)) / (source / source.sum())
