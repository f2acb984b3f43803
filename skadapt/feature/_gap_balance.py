"""How much of the gap between two domains lies within the classes."""

import numpy as np
from sklearn.svm import LinearSVC


class GapBalance:
    """Share mu of the class gaps in what tells the domains apart.

    With ``A = max(0, 2 (1 - 2 e))``, e the error on its own training rows of a linear
    SVM that tells source from target rows, A_0 that of all rows and A_c that of the
    rows of class c ::

        mu = mean(A_c) / (mean(A_c) + A_0)

    over the classes that both domains have.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
        Rows.
    is_source : ndarray of shape (n_samples,), bool
        Whether a row is of the source.
    """

    def __init__(self, X, is_source):
        self._X, self._is_source = X, is_source
        self._marginal = self._distance(np.arange(len(is_source)))

    def estimate(self, labels):
        """mu for classes as integers, -1 where unknown.

        0 if no class has rows of both domains, 1/2 if nothing tells the domains apart.
        """
        shared = np.intersect1d(labels[self._is_source], labels[~self._is_source])
        of_classes = [
            self._distance(np.flatnonzero(labels == c)) for c in shared[shared >= 0]
        ]
        if not of_classes:
            return 0.0
        mean = float(np.mean(of_classes))
        total = mean + self._marginal
        return mean / total if total > 0 else 0.5

    def _distance(self, rows):
        X, is_source = self._X[rows], self._is_source[rows]
        if is_source.all():  # there is one domain only
            return 0.0
        svm = LinearSVC(dual=False, random_state=0).fit(X, is_source)
        return max(0.0, 2 - 4 * float(np.mean(svm.predict(X) != is_source)))
