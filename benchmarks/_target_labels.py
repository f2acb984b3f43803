"""What the benchmarks with a few labelled target rows share: draws and baselines."""

from typing import NamedTuple

import numpy as np
from sklearn.base import clone

from skadapt import TrAdaBoostClassifier, TransferClassifier

SOURCE, TARGET, BOTH = "source only", "target only", "both"
AUX, EQUAL = "both, target row costs 4", "equal mass per domain"
HARD, DYNAMIC, SOFT = "TrAdaBoost", "TrAdaBoost, dynamic", "TrAdaBoost, soft"
ROW = "TrAdaBoost, equal rows"


class TargetOnly:
    """The learner on the labelled target rows alone."""

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, X, y, *, sample_domain):
        rows = np.flatnonzero(~np.isnan(y) & (sample_domain < 0))
        self.estimator_ = clone(self.estimator).fit(X[rows], y[rows].astype(int))
        return self

    def predict(self, X):
        return self.estimator_.predict(X)


def baselines(estimator):
    """Models without boosting, by name; the learner is the same in all of them."""
    labeled = {"estimator": estimator, "train_on": "labeled"}
    return {
        SOURCE: TransferClassifier(estimator),
        TARGET: TargetOnly(estimator),
        BOTH: TransferClassifier(**labeled),
        AUX: TransferClassifier(**labeled, target_weight=4.0),
        EQUAL: TransferClassifier(**labeled, target_weight="domain"),
    }


def boosted(estimator, n_estimators, names=(HARD, DYNAMIC, SOFT, ROW)):
    """The forms of TrAdaBoost, by name."""
    forms = {
        HARD: {},
        DYNAMIC: {"dynamic": True},
        SOFT: {"loss": "soft"},
        ROW: {"initial_weight": "row"},
    }
    return {
        name: TrAdaBoostClassifier(estimator, n_estimators, **forms[name])
        for name in names
    }


class Draw(NamedTuple):
    """Labels as a model may see them, and the rows that it is tested on."""

    y: np.ndarray
    test: np.ndarray


def draw_labels(y, sample_domain, n_labeled, seed):
    """Label a few target rows, at least one of each class; the others are the test."""
    rng = np.random.default_rng(seed)
    target = np.flatnonzero(sample_domain < 0)
    classes = np.unique(y[target])
    while True:
        labeled = rng.choice(target, n_labeled, replace=False)
        if len(np.unique(y[labeled])) == len(classes):
            break
    test = np.setdiff1d(target, labeled)
    visible = y.astype(float)
    visible[test] = np.nan
    return Draw(visible, test)


def error(model, X, y, sample_domain, draw):
    """Share of wrong predictions on the test rows of a draw."""
    model.fit(X, draw.y, sample_domain=sample_domain)
    return float(np.mean(model.predict(X[draw.test]) != y[draw.test]))


def mean_and_error(values):
    """Mean and its standard error."""
    values = np.asarray(values)
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
