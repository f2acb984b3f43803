"""Joint distribution adaptation."""

import numpy as np

from skadapt.feature._pseudo_labels import PseudoLabelMapper


class JDA(PseudoLabelMapper):
    """Joint distribution adaptation.

    `TCA` that brings not only the means of the domains together but also those of each
    class, for which labels of the target rows are guessed: a classifier of the mapped
    source rows predicts them, the map is learned anew with the guesses, and so on. With
    F the features of all rows, H the centring matrix, ``M_0 = l l'`` as in `TCA`, and
    ``M_c = l_c l_c'`` the same among the rows of class c ::

        min_A  tr( A'F'(M_0 + M_1 + ... + M_C)F A ) + reg tr(A'A)
        s.t.   A'F'H F A = I.

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
        Parameter of the rbf, laplacian and poly kernels. None: 1 / median of the
        squared (laplacian: L1) distances between distinct rows of both domains
        together, over 2,000 rows if there are more; 1 / n_features for poly.
    reg : float, default=1.0
        Weight of the norm of A against the gaps of the means (lambda in [1]_).
    scale : {"unit", "whiten"}, default="unit"
        Length of the components: columns of A of norm 1, with which the published
        figures are reached, or the constraint of the formula.
    normalize : bool, default=True
        Do as the published code does: bring rows to length 1 before the map and after
        it, multiply M_0 by the number of classes, and divide the sum of the M by its
        Frobenius norm. False leaves the formula as it is.
    estimator : classifier, default=None
        Predicts the labels of target rows, fitted to the mapped labelled source rows.
        None: 1-nearest neighbour.
    n_iter : int, default=10
        Largest number of rounds. The first is `TCA`; the loop ends before where no
        label changed, as nothing would from there on.

    Attributes
    ----------
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
    TCA : The first round alone, without labels.
    BDA : The same with a balance between M_0 and the M_c.

    Notes
    -----
    The loop need not end by itself: labels may go round in a cycle of several rounds.
    A class to which no target row was given has no gap and is left out until it has
    some. `reg` is in the units of ``F'MF``: with `normalize` the rows have length 1 and
    M norm 1, and the published values 1 (SURF features) and 0.1 (digits) have a
    meaning; without, it depends on the scale of the rows.

    ``F'HF`` is brought to diagonal form once. All that changes from round to round are
    the C + 1 columns of F'V, with M = V V': the operator of the eigenproblem is a
    diagonal matrix between two of rank C + 1 off the identity, and Lanczos needs
    O(C p) a step for p features. With the linear kernel or the primal problem and
    fewer columns than rows, p is the number of columns and nothing has the size of a
    kernel matrix; otherwise p is the number of rows, and five such matrices are in
    memory (eight for the primal problem). Rows are computed with in double precision.
    For more rows than a kernel matrix allows, ``kernel="primal"`` after scikit-learn's
    Nystroem.

    References
    ----------
    .. [1] M. Long, J. Wang, G. Ding, J. Sun, P. S. Yu. Transfer feature learning with
       joint distribution adaptation. ICCV 2013, equations 8 to 10.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import JDA, stack_domains
    >>> rng = np.random.default_rng(0)
    >>> ys, yt = rng.integers(0, 2, 80), rng.integers(0, 2, 60)
    >>> Xs, Xt = rng.normal(size=(80, 4)), rng.normal(size=(60, 4))
    >>> Xs[:, :2] += np.outer(ys, [4, 4])
    >>> Xt[:, :2] += np.outer(yt, [4, -4])  # the second column turned round
    >>> X, y, sample_domain = stack_domains(Xs, ys, Xt)
    >>> mapper = JDA(n_components=2, kernel="primal", normalize=False)
    >>> mapper = mapper.fit(X, y, sample_domain=sample_domain)
    >>> bool(np.mean(mapper.pseudo_labels_ == yt) > 0.95)
    True
    """

    def __init__(
        self,
        n_components=None,
        kernel="linear",
        gamma=None,
        reg=1.0,
        scale="unit",
        normalize=True,
        estimator=None,
        n_iter=10,
    ):
        self.n_components = n_components
        self.kernel = kernel
        self.gamma = gamma
        self.reg = reg
        self.scale = scale
        self.normalize = normalize
        self.estimator = estimator
        self.n_iter = n_iter

    def _weighting(self, X, is_source):
        def weigh(gaps, labels):
            marginal = gaps.shape[1] - 1 if self.normalize else 1
            return np.c_[np.sqrt(marginal) * gaps[:, :1], gaps[:, 1:]]

        return weigh
