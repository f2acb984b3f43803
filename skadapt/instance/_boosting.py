"""What the members of the TrAdaBoost family share: rows, rounds, weights."""

import math
import warnings
from abc import abstractmethod
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import train_test_split
from sklearn.utils import _safe_indexing, check_consistent_length, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import (
    _check_sample_weight,
    _num_samples,
    check_is_fitted,
)

from skadapt._base import NegativeTransferWarning
from skadapt._domains import (
    as_labels,
    check_sample_domain,
    is_labeled,
)
from skadapt._predictor import BasePredictor, fit_weighted, takes_domains

# The floor of the error in the votes, where rows are so few that one of them is more.
_LARGEST_FLOOR = 0.25
# Errors closer together than this are equal, but for rounding: a learner that is fitted
# a second time is at chance exactly, as its mistakes then weigh half of the target.
TIE = 1e-10
# Attributes with one entry a round.
_PER_ROUND = (
    "estimators_",
    "estimator_errors_",
    "estimator_weights_",
    "target_mass_",
    "round_weights_",
)


class LabeledRows(NamedTuple):
    """The labelled rows of all domains, in the order in which they stand in X."""

    X: object
    y: np.ndarray
    weights: np.ndarray  # the user's; ones if there are none
    source: np.ndarray  # which of them are source rows
    index: np.ndarray  # their row numbers in the X of fit
    ids: np.ndarray  # their domains

    def take(self, chosen):
        """A part of them, by row numbers that count labelled rows only."""
        return LabeledRows(
            _safe_indexing(self.X, chosen), *(a[chosen] for a in self[1:])
        )


def source_factor(n_source, n_rounds):
    """``beta = 1 / (1 + sqrt(2 ln(n) / N))``: what a wrong source row is multiplied by.

    A sample of less than one row counts as one.
    """
    return 1.0 / (1.0 + math.sqrt(2.0 * math.log(max(n_source, 1.0)) / n_rounds))


def vote_weight(error, n_classes=2):
    """``ln((1 - error) / error) + ln(n_classes - 1)``; infinite where error is 0."""
    if error == 0:
        return math.inf
    return math.log((1.0 - error) / error) + math.log(n_classes - 1)


def vote_floor(min_error, total):
    """The least error that counts in a vote; `total` is the number of rows."""
    return min(1.0 / total, _LARGEST_FLOOR) if min_error is None else min_error


def set_random_states(estimator, seed):
    """Seed every `random_state` of an estimator and of those inside it."""
    names = sorted(
        name
        for name in estimator.get_params()
        if name == "random_state" or name.endswith("__random_state")
    )
    if names:
        rng = np.random.RandomState(seed)
        largest = np.iinfo(np.int32).max
        estimator.set_params(**{name: rng.randint(largest) for name in names})


def fit_seeded(estimator, X, y, weights, seed):
    """A fresh copy of the estimator, seeded and fitted with weights."""
    learner = clone(estimator)
    set_random_states(learner, seed)
    return fit_weighted(learner, X, y, weights)


class BaseBoosting(BasePredictor):
    """Rows, learners and bad input of every boosting method that knows domains."""

    _uses_target_labels = True
    _needs_source_labels = True

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def _labeled_rows(self, X, y, estimator, sample_weight, sample_domain):
        """The rows to boost on, all of them target rows if there are no domains."""
        self._check_takes_weights(estimator)
        if takes_domains(estimator):
            raise ValueError(
                f"{type(estimator).__name__} takes sample_domain itself: fit it by "
                f"itself instead of as the estimator of {type(self).__name__}."
            )
        n_samples = _num_samples(X)
        if sample_domain is None:
            y = self._check_one_domain(X, y)
            check_consistent_length(X, y)
            ids = np.full(n_samples, -1)
            labeled = np.ones(n_samples, dtype=bool)
        else:
            check_consistent_length(X, y)
            y = as_labels(y)
            ids = check_sample_domain(sample_domain, n_samples, both=True)
            labeled = is_labeled(y)
            self._check_labels(labeled, ids)
        return self._rows(X, y, labeled, ids, sample_weight)

    def _rows(self, X, y, labeled, ids, sample_weight):
        """The labelled ones of some rows."""
        n_samples = _num_samples(X)
        if sample_weight is None:
            weights = np.ones(n_samples)
        else:
            weights = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        total = weights[labeled].sum()
        if 0 < total < 2 <= np.count_nonzero(labeled):
            raise ValueError(
                f"The sample_weight of all labelled rows is {total:.3g} together, less "
                "than two rows: a row of weight 1 counts as one row, so scale the "
                "weights to the mean 1."
            )
        if not weights[labeled & (ids < 0)].any():
            raise ValueError(
                "sample_weight is 0 for every labelled target row: give some of them "
                "a positive weight."
            )
        index = np.flatnonzero(labeled)
        return LabeledRows(
            X if labeled.all() else _safe_indexing(X, index),
            self._training_labels(y[index]),
            weights[index],
            ids[index] > 0,
            index,
            ids[index],
        )

    def _check_labels(self, labeled, ids):
        self._check_training_rows(labeled, ids)
        self._check_target_labels(labeled[ids < 0])
        missing = np.count_nonzero(~labeled[ids > 0])
        if missing:
            raise ValueError(
                f"{missing} unlabelled source rows (NaN or None in y) cannot take part "
                f"in {type(self).__name__}: drop them; unlabelled target rows may stay."
            )

    def _check_target_labels(self, labeled):
        if not labeled.any():
            raise ValueError(
                "y holds no labelled target row, and boosting is led by its error on "
                "these: label some target rows, or use a method that needs none, such "
                "as TransferClassifier with an adapter."
            )

    def _check_prediction_rows(self, X, sample_domain):
        """Validated rows; one model serves all domains, so ids only have to be ids."""
        check_is_fitted(self)
        X = self._check_rows(X, reset=False)
        if sample_domain is not None:
            check_sample_domain(sample_domain, _num_samples(X), scalar=True)
        return X

    @abstractmethod
    def _training_labels(self, y):
        """Labels of the labelled rows as the learner is to see them."""


class BaseVote(BaseBoosting):
    """Boosting whose rounds vote, all of them unless a subclass says otherwise.

    A subclass says what a learner puts to the vote and how votes are combined.
    """

    def _initial_weights(self, rows, ids, n_samples):
        """The first weights of the labelled rows, with sum 1.

        Those of one id have as much as those of another if it goes by domain.
        """
        weights = rows.weights.copy()
        if not isinstance(self.initial_weight, str):
            given = np.asarray(self.initial_weight, dtype=np.float64)
            if given.shape != (n_samples,):
                raise ValueError(
                    f"initial_weight has shape {given.shape}, but there are "
                    f"{n_samples} rows: give one number a row."
                )
            given = given[rows.index]
            if not (np.isfinite(given).all() and (given >= 0).all()):
                raise ValueError(
                    "initial_weight must be finite and not negative in every labelled "
                    "row."
                )
            weights *= given
        for i in np.unique(ids):
            domain = ids == i
            total = weights[domain].sum()
            if not total > 0:
                raise ValueError(
                    f"initial_weight and sample_weight leave no weight to the labelled "
                    f"{'source' if i > 0 else 'target'} rows of sample_domain "
                    f"{', '.join(map(str, np.unique(rows.ids[domain])))}: give some of "
                    "them a positive weight."
                )
            if isinstance(self.initial_weight, str) and self.initial_weight == "domain":
                weights[domain] /= total
        return weights / weights.sum()

    def _error_of_source(self, estimator, rows, chosen, seed):
        """Error on the target of the learner fitted on the chosen rows alone."""
        chosen = np.flatnonzero(chosen)
        weights = rows.weights[chosen]
        if is_classifier(self) and len(np.unique(rows.y[chosen[weights > 0]])) == 1:
            estimator = DummyClassifier()  # many a learner refuses a single class
        learner = fit_seeded(
            estimator, _safe_indexing(rows.X, chosen), rows.y[chosen], weights, seed
        )
        return self._error(learner, rows.take(np.flatnonzero(~rows.source)))

    def _warn_of_source(self, finding):
        warnings.warn(
            f"{finding}, and {type(self).__name__} may be worse than the learner "
            "fitted on the target rows alone. Compare the two, or leave such sources "
            "out.",
            NegativeTransferWarning,
            stacklevel=5,
        )

    def _voters(self, n_rounds):
        """Rounds that vote after `n_rounds`."""
        return slice(0, n_rounds)

    def _vote(self, X):
        """The votes of all voters on validated rows, combined."""
        voters = self._voters(len(self.estimators_))
        return self._combine(
            (self._output(learner, X) for learner in self.estimators_[voters]),
            self.estimator_weights_[voters],
        )

    def _staged_votes(self, X):
        """The combined votes after 1, 2, ... rounds."""
        outputs = []
        for n_rounds, learner in enumerate(self.estimators_, start=1):
            outputs.append(self._output(learner, X))
            voters = self._voters(n_rounds)
            # Those of rounds that will vote no more take no room.
            outputs[: voters.start] = [None] * voters.start
            yield self._combine(outputs[voters], self.estimator_weights_[voters])

    def predict(self, X, sample_domain=None):
        """Predict.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. Present for the
            interface: one model serves all domains.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Predictions.
        """
        X = self._check_prediction_rows(X, sample_domain)
        return self._decide(self._vote(X))

    def staged_predict(self, X):
        """Predict with the first 1, 2, ... rounds.

        After t rounds those vote that would vote if t were all.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.

        Yields
        ------
        y_pred : ndarray of shape (n_samples,)
            Predictions after each round.
        """
        X = self._check_prediction_rows(X, None)
        for combined in self._staged_votes(X):
            yield self._decide(combined)

    def staged_score(self, X, y, sample_weight=None):
        """Score on target rows with the first 1, 2, ... rounds.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            True labels or values.
        sample_weight : array-like of shape (n_samples,), default=None
            Row weights.

        Yields
        ------
        score : float
            What `score` would be after each round.
        """
        X, y, sample_weight, _ = self._score_rows(X, y, sample_weight, None)
        for predicted in self.staged_predict(X):
            yield self._score(y, predicted, sample_weight)

    def _validation_score(self, y, predicted, sample_weight):
        """Score of predictions of the rows that are held out: larger is better."""
        return self._score(y, predicted, sample_weight)

    @abstractmethod
    def _error(self, learner, rows):
        """Error of a learner on rows, where `_chance_error()` is that of a constant."""

    @abstractmethod
    def _chance_error(self):
        """Error that takes no learning."""

    @abstractmethod
    def _output(self, learner, X):
        """What a learner puts to the vote."""

    @abstractmethod
    def _combine(self, outputs, votes):
        """The outputs of several learners, weighted by their votes."""

    @abstractmethod
    def _decide(self, combined):
        """Predictions from combined outputs."""


class BaseTrAdaBoost(BaseVote):
    """Boost on source and target rows, trusting the target.

    A subclass says what the loss of a row is.
    """

    _chance = "chance"  # the name of what has the error `_chance_error()`

    _parameter_constraints: dict = {
        **BaseBoosting._parameter_constraints,
        "initial_weight": [StrOptions({"domain", "row"}), "array-like"],
        "dynamic": ["boolean"],
        "min_error": [Interval(Real, 0, 0.5, closed="neither"), None],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "store_weights": ["boolean"],
    }

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, *, sample_domain=None):
        """Boost on the labelled rows of source and target.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows of all domains, in any order.
        y : array-like of shape (n_samples,)
            Labels or values; NaN (in an array of floats) or None (in an array of
            objects) marks an unlabelled target row, which takes no part.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative row weights; they multiply the initial weights, and a row
            of weight 2 counts as two rows.
        sample_domain : array-like of shape (n_samples,), default=None
            Domain of each row, > 0 for sources and < 0 for targets; several of
            either are pooled. None boosts on all rows as on target rows, all
            rounds voting, with a `NoAdaptationWarning`.

        Returns
        -------
        self : object
            The fitted model.
        """
        if self.warm_start and self.early_stopping:
            raise ValueError(
                "warm_start goes on from the last round, which early_stopping drops: "
                "use one of the two."
            )
        X, estimator = self._check_start(X, y)
        rows = self._labeled_rows(X, y, estimator, sample_weight, sample_domain)
        self._check_training_labels(rows)
        rng = check_random_state(self.random_state)
        seeds = rng.randint(np.iinfo(np.int32).max, size=self.n_estimators)
        validation = None
        if self.early_stopping:
            rows, validation = self._hold_out(rows, rng)
        initial = self._initial_weights(
            rows, np.where(rows.source, 1, -1), _num_samples(X)
        )
        if self.warm_start and hasattr(self, "estimators_"):
            self._go_on(rows)
        else:
            self._start(rows, initial)
            if rows.source.any():
                self._judge_source(estimator, rows, seeds[0])
        if self.termination_condition_ == "n_estimators":
            self._boost(estimator, rows, seeds, validation)
        self._report(rows)
        return self

    def _check_training_labels(self, rows):
        """Refuse labels that cannot be boosted on."""

    def _hold_out(self, rows, rng):
        """The rows to boost on, and the target rows that judge the rounds."""
        target = np.flatnonzero(~rows.source & (rows.weights > 0))
        try:
            _, held_out = train_test_split(
                target,
                test_size=self.validation_fraction,
                random_state=rng,
                stratify=self._strata(rows.y[target]),
            )
        except ValueError as error:
            raise ValueError(
                f"early_stopping cannot hold out {self.validation_fraction:g} of "
                f"{len(target)} labelled target rows: {error} Label more target rows, "
                "or leave early_stopping at False."
            ) from error
        kept = np.setdiff1d(np.arange(len(rows.y)), held_out)
        return rows.take(kept), rows.take(np.sort(held_out))

    def _start(self, rows, initial):
        """Forget the rounds of an earlier fit."""
        self._fitted_rows = rows.y, rows.source, self.n_features_in_
        self._all_vote = not rows.source.any()
        self.estimators_, self.target_mass_ = [], []
        self.estimator_errors_, self.estimator_weights_ = [], []
        self.termination_condition_ = "n_estimators"
        self._weights = initial
        for name in ("round_weights_", "validation_scores_", "source_error_"):
            vars(self).pop(name, None)
        if self.store_weights:
            self.round_weights_ = []

    def _go_on(self, rows):
        """Take up the rounds of an earlier fit."""
        y, source, n_features = self._fitted_rows
        same = (
            n_features == self.n_features_in_
            and np.array_equal(source, rows.source)
            and np.array_equal(y, rows.y)
        )
        if not same:
            raise ValueError(
                f"warm_start goes on with the weights of {len(y)} labelled rows and "
                f"{n_features} columns, which are not those of now: pass the same rows "
                "and labels, or set warm_start=False."
            )
        if self.store_weights != hasattr(self, "round_weights_"):
            raise ValueError(
                "warm_start goes on with the rounds of an earlier fit, whose "
                "store_weights was not the same: leave it, or set warm_start=False."
            )
        if self.n_estimators < len(self.estimators_):
            raise ValueError(
                f"n_estimators={self.n_estimators} is less than the "
                f"{len(self.estimators_)} rounds that warm_start goes on from: raise "
                "it, or set warm_start=False."
            )
        for name in _PER_ROUND:
            if hasattr(self, name):
                setattr(self, name, list(getattr(self, name)))

    def _boost(self, estimator, rows, seeds, validation):
        """Rounds 1 to `n_estimators`; appends to the lists of fitted attributes."""
        total = rows.weights.sum()
        source, target = rows.source, ~rows.source
        beta = source_factor(rows.weights[source].sum(), self.n_estimators)
        n_classes = self._n_classes()
        floor = vote_floor(self.min_error, total)
        outputs, scores, best_weights = [], [], self._weights
        for t in range(len(self.estimators_), self.n_estimators):
            weights = self._weights
            learner = fit_seeded(estimator, rows.X, rows.y, weights * total, seeds[t])
            loss = self._losses(learner, rows, weights)
            mass = weights[target].sum()
            error = float(weights[target] @ loss[target] / mass)
            is_chance = error >= 1.0 - 1.0 / n_classes - TIE
            if is_chance:
                self.termination_condition_ = "no_better_than_chance"
                if t:
                    break
            self.estimators_.append(learner)
            self.estimator_errors_.append(error)
            self.estimator_weights_.append(
                1.0 if is_chance else vote_weight(max(error, floor), n_classes)
            )
            self.target_mass_.append(float(mass))
            if self.store_weights:
                self.round_weights_.append(weights)
            if is_chance:
                # A source that was found wanting has been warned of.
                if source.any() and not self.source_error_ >= self._chance_error():
                    self._warn_of_source(self._finding_of_first(error))
            elif error == 0 and not weights[source] @ loss[source]:
                self.termination_condition_ = "perfect_fit"
            else:
                self._weights = self._reweight(
                    weights, loss, source, vote_weight(error, n_classes), beta
                )
            if validation is not None:
                outputs.append(self._output(learner, validation.X))
                voters = self._voters(len(outputs))
                combined = self._combine(
                    outputs[voters], self.estimator_weights_[voters]
                )
                scores.append(
                    self._validation_score(
                        validation.y, self._decide(combined), validation.weights
                    )
                )
                best = int(np.argmax(scores))
                if best == t:
                    best_weights = self._weights
                if t - best >= self.n_iter_no_change:
                    self.termination_condition_ = "early_stopping"
            if self.termination_condition_ != "n_estimators":
                break
        if scores:
            self._weights = best_weights
            self.validation_scores_ = np.array(scores)
            for name in _PER_ROUND:
                if hasattr(self, name):
                    setattr(self, name, getattr(self, name)[: best + 1])

    def _reweight(self, weights, loss, source, vote, beta):
        """Weights of the next round, with sum 1."""
        weights = weights.copy()
        weights[source] *= beta ** loss[source]
        target = ~source
        if math.isfinite(vote):  # else no target row is wrong, and none moves
            before = weights[target].sum()
            weights[target] *= np.exp(vote * loss[target])
            if self.dynamic:
                weights[source] *= weights[target].sum() / before
        return weights / weights.sum()

    def _judge_source(self, estimator, rows, seed):
        """Set `source_error_`; warn if the source alone is no better than chance."""
        self.source_error_ = self._error_of_source(estimator, rows, rows.source, seed)
        if self.source_error_ >= self._chance_error():
            self._warn_of_source(
                f"The learner fitted on the source alone has the error "
                f"{self.source_error_:.3f} on the labelled target rows, no better than "
                f"{self._chance}: the source contradicts the target"
            )

    def _finding_of_first(self, error):
        """What is wrong with a first learner that is no better than chance."""
        return (
            f"The first learner, fitted on both domains, has the error {error:.3f} on "
            f"the labelled target rows, no better than {self._chance}: the source "
            "contradicts the target"
        )

    def _report(self, rows):
        """Turn lists into arrays, and the last weights into those of the source."""
        for name in _PER_ROUND[1:]:
            if hasattr(self, name):
                setattr(self, name, np.array(getattr(self, name)))
        weights = self._weights[rows.source]
        mean = weights.mean() if len(weights) else 1.0
        self.source_weights_ = weights / (mean if mean > 0 else 1.0)

    def _voters(self, n_rounds):
        """Rounds that vote after `n_rounds`: the later half, all without a source."""
        first = 0 if self._all_vote else math.ceil(n_rounds / 2) - 1
        return slice(first, n_rounds)

    @abstractmethod
    def _n_classes(self):
        """Number of classes; 2 for regressors, whose updates are those of two."""

    @abstractmethod
    def _strata(self, y):
        """What the rows that are held out are stratified by; None for nothing."""

    @abstractmethod
    def _losses(self, learner, rows, weights):
        """Loss of each labelled row, in [0, 1]."""
