"""Folds that know domains."""

from abc import abstractmethod

import numpy as np
from sklearn.model_selection import BaseCrossValidator, KFold, StratifiedKFold
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import _num_samples

from skadapt._domains import (
    as_labels,
    check_sample_domain,
    is_labeled,
    natural_labels,
)


class _DomainKFold(BaseCrossValidator):
    """Folds of the rows of one domain or both; every other row is always trained on.

    A subclass says in `_test_folds` which rows are held out.
    """

    __metadata_request__split = {"groups": True, "sample_domain": True}

    def __init__(self, n_splits=5, *, stratify=False, shuffle=False, random_state=None):
        self.n_splits = n_splits
        self.stratify = stratify
        self.shuffle = shuffle
        self.random_state = random_state
        # scikit-learn's splitters refuse bad parameters here, too.
        self._folds(stratify)

    def _folds(self, stratify):
        folds = StratifiedKFold if stratify else KFold
        return folds(
            self.n_splits, shuffle=self.shuffle, random_state=self.random_state
        )

    def split(self, X, y=None, groups=None, sample_domain=None):
        """Generate the rows to train on and to hold out.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of all domains, in any order.
        y : array-like of shape (n_samples,), default=None
            Labels. Rows whose labels are asked for and are missing, NaN or None, are
            never held out; None: every row has one.
        groups : array-like of shape (n_samples,), default=None
            Stands for `sample_domain` where that is None: what scikit-learn's
            searches hand to a splitter without metadata routing.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources and < 0 for targets.

        Yields
        ------
        train : ndarray of shape (n_train,)
            Indices of the rows to train on, of both domains, ascending.
        test : ndarray of shape (n_test,)
            Indices of the rows that are held out, ascending.
        """
        n_samples = _num_samples(X)
        if y is not None:
            y = as_labels(y)
        ids = groups if sample_domain is None else sample_domain
        ids = self._missing_domains(y) if ids is None else ids
        ids = check_sample_domain(ids, n_samples)
        if y is None:
            labeled = np.ones(n_samples, dtype=bool)
        else:
            check_consistent_length(X, y)
            labeled = is_labeled(y)
        if self.stratify and y is None:
            raise ValueError(
                "Stratified folds need labels: pass y, or set stratify=False."
            )
        for test in self._test_folds(ids, labeled, y):
            trained = np.ones(n_samples, dtype=bool)
            trained[test] = False
            yield np.flatnonzero(trained), test

    def _missing_domains(self, y):
        """Domains of the rows where none are given."""
        raise ValueError(
            f"{type(self).__name__} needs the domains of the rows: pass "
            "sample_domain= to split, or groups=sample_domain to the fit of a "
            "search without metadata routing."
        )

    @abstractmethod
    def _test_folds(self, ids, labeled, y):
        """Rows that are held out, one array for each fold."""

    def _folds_of(self, held_out, kind, labels=None):
        """The rows marked in `held_out`, in folds; stratified by `labels` if given."""
        rows = np.flatnonzero(held_out)
        if not len(rows):
            raise ValueError(
                f"There is no {kind} row to hold out: {type(self).__name__} makes its "
                "folds of these."
            )
        if labels is not None:
            labels = natural_labels(labels[rows])
        for _, fold in self._folds(labels is not None).split(rows, labels):
            yield rows[fold]

    def get_n_splits(self, X=None, y=None, groups=None, sample_domain=None):
        """Number of folds.

        Parameters
        ----------
        X : ignored
            Present for the interface.
        y : ignored
            Present for the interface.
        groups : ignored
            Present for the interface.
        sample_domain : ignored
            Present for the interface.

        Returns
        -------
        n_splits : int
            The parameter.
        """
        return self.n_splits


class SourceKFold(_DomainKFold):
    """K folds of the source: the target is in every training part.

    Labelled source rows are held out, a fold at a time. Target rows and unlabelled
    source rows, which shape weights and maps, are always trained on, so that an
    adapter is fitted as it would be on all rows.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    stratify : bool, default=False
        Whether the folds have the class shares of the labelled source.
    shuffle : bool, default=False
        Whether the rows are shuffled before they are put into folds.
    random_state : int, RandomState instance or None, default=None
        Shuffles. Used with ``shuffle=True`` only.

    Raises
    ------
    ValueError
        If a parameter is out of range, if `split` is told no domains, if there is
        no labelled source row, or if there are fewer than folds.

    See Also
    --------
    TargetKFold : Folds of the labelled target rows, where there are any.
    DomainKFold : Folds of source and target, for scores that need both.
    importance_weighted_scorer : What to score the held-out rows with.
    importance_weighted_cv_score : Both in one call.

    Notes
    -----
    With metadata routing a search hands `sample_domain` on by itself. Without, pass
    it as `groups`, which does no harm with routing either:
    ``search.fit(X, y, sample_domain=ids, groups=ids)``. Or give the search the list
    of splits, ``cv=list(SourceKFold().split(X, y, sample_domain=ids))``.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import SourceKFold
    >>> X, sample_domain = np.zeros((6, 1)), [1, 1, -1, 1, 1, -1]
    >>> for train, test in SourceKFold(2).split(X, sample_domain=sample_domain):
    ...     print(train, test)
    [2 3 4 5] [0 1]
    [0 1 2 5] [3 4]
    """

    def _test_folds(self, ids, labeled, y):
        labels = y if self.stratify else None
        return self._folds_of((ids > 0) & labeled, "labelled source", labels)


class TargetKFold(_DomainKFold):
    """K folds of the labelled target rows: every source row is always trained on.

    The way to choose the parameters of a model that learns from a few labelled
    target rows, such as `TrAdaBoostClassifier`: it is fitted on the whole source and
    the other folds, and judged where it is to be used. Unlabelled target rows are
    always trained on, too, or left out by what is fitted.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    stratify : bool, default=False
        Whether the folds have the class shares of the labelled target rows.
    shuffle : bool, default=False
        Whether the rows are shuffled before they are put into folds.
    random_state : int, RandomState instance or None, default=None
        Shuffles. Used with ``shuffle=True`` only.

    Raises
    ------
    ValueError
        If a parameter is out of range, if `split` is told no domains, if there is
        no labelled target row, or if there are fewer than folds.

    See Also
    --------
    SourceKFold : Folds of the source, for targets without labels.
    DomainKFold : Folds of source and target, for scores that need no label there.

    Notes
    -----
    With metadata routing a search hands `sample_domain` on by itself. Without, pass
    it as `groups`, too: ``search.fit(X, y, sample_domain=ids, groups=ids)``. Or give
    the search the list of splits,
    ``cv=list(TargetKFold().split(X, y, sample_domain=ids))``.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import TargetKFold
    >>> X, sample_domain = np.zeros((6, 1)), [1, 1, -1, -1, -1, -1]
    >>> y = [0, 1, 0, 1, 0, np.nan]
    >>> for train, test in TargetKFold(3).split(X, y, sample_domain=sample_domain):
    ...     print(train, test)
    [0 1 3 4 5] [2]
    [0 1 2 4 5] [3]
    [0 1 2 3 5] [4]
    """

    def _test_folds(self, ids, labeled, y):
        labels = y if self.stratify else None
        return self._folds_of((ids < 0) & labeled, "labelled target", labels)


class DomainKFold(_DomainKFold):
    """K folds that hold out rows of the source and of the target, in proportion.

    For scores that look at both, such as those of `get_transfer_scorer`: an adapter
    is fitted without the rows that it is judged on, also without the target rows
    among them. Each fold has a K-th of the labelled source rows and a K-th of the
    target rows. Unlabelled source rows are always trained on. Labels of target rows
    are not looked at.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    stratify : bool, default=False
        Whether the source rows of the folds have the class shares of all labelled
        source rows.
    shuffle : bool, default=False
        Whether the rows are shuffled before they are put into folds.
    random_state : int, RandomState instance or None, default=None
        Shuffles. Used with ``shuffle=True`` only.

    Raises
    ------
    ValueError
        If a parameter is out of range, if there is no labelled source row or no
        target row, if either are fewer than folds, or if `split` is told no domains
        and no row of y is unlabelled.

    See Also
    --------
    get_transfer_scorer : Scores of such folds, without labels of the target.
    SourceKFold : Holds out source rows alone.

    Notes
    -----
    With metadata routing a search hands `sample_domain` on by itself. Without, pass
    it as `groups`, too: ``search.fit(X, y, sample_domain=ids, groups=ids)``. With
    neither, the rows that are unlabelled in y, NaN or None, are taken as those of the
    target: the scorers of `get_transfer_scorer`, which routing alone tells the
    domains, do the same.

    Examples
    --------
    >>> import numpy as np
    >>> from skadapt import DomainKFold
    >>> X, sample_domain = np.zeros((6, 1)), [1, 1, -1, 1, 1, -1]
    >>> for train, test in DomainKFold(2).split(X, sample_domain=sample_domain):
    ...     print(train, test)
    [3 4 5] [0 1 2]
    [0 1 2] [3 4 5]
    """

    def _missing_domains(self, y):
        if y is None or is_labeled(y).all():
            raise ValueError(
                "DomainKFold cannot tell which rows are of the target: pass "
                "sample_domain= to split (groups=sample_domain to the fit of a search "
                "without metadata routing), or leave the target rows unlabelled in y, "
                "NaN or None."
            )
        return np.where(is_labeled(y), 1, -1)

    def _test_folds(self, ids, labeled, y):
        source, target = (ids > 0) & labeled, ids < 0
        sides = ((source, "labelled source"), (target, "target"))
        for rows, kind in sides:
            n_rows = np.count_nonzero(rows)
            if 0 < n_rows < self.n_splits:
                raise ValueError(
                    f"{n_rows} {kind} rows do not make n_splits={self.n_splits} folds: "
                    "lower n_splits."
                )
        labels = y if self.stratify else None
        folds = zip(
            self._folds_of(source, "labelled source", labels),
            self._folds_of(target, "target"),
        )
        for pair in folds:
            yield np.sort(np.concatenate(pair))
