"""Candidates whose predictions are known, as skada's scorers want to see them.

The worker imports this file in skada's environment. A scorer asks a fitted model for
predictions; the models here look them up, so that a scorer of skada judges models that
were fitted elsewhere.
"""

import numpy as np
from skada import metrics
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import Pipeline


class GivenMap(TransformerMixin, BaseEstimator):
    """Mapped columns by the number of the row, the first column of X."""

    def __init__(self, columns=None):
        self.columns = columns

    def __sklearn_is_fitted__(self):
        return True

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return self.columns[X[:, 0].astype(int)]


class GivenModel(Pipeline):
    """Known probabilities at known rows, as a pipeline: scorers look into its steps.

    Parameters
    ----------
    steps : list
        A `GivenMap` and whatever stands for the classifier.

    Attributes
    ----------
    rows, table : ndarray of shape (r, 2) and (r, n_classes)
        Rows and their probabilities.

    backward : ndarray of shape (n,) or None
        Classes of the source rows, the first n of `rows`, once the model was fitted
        again.
    """

    def know(self, rows, table, backward):
        # From the last to the first: a row that is its own partner remains itself.
        self.place = {rows[k].tobytes(): k for k in reversed(range(len(rows)))}
        self.table, self.backward, self.refitted = table, backward, False
        return self

    def fit(self, X, y, **ignored):
        # The scorer numbers the classes that were predicted and asks for numbers.
        self.numbers, self.refitted = np.unique(y[y >= 0]), True
        self.predicted = np.unique(self.predict_known(X[y >= 0]))
        return self

    def predict_known(self, X):
        return self.table[self._places(X)].argmax(axis=1)

    def predict(self, X, **ignored):
        if not self.refitted:
            return self.predict_known(X)
        codes = self.backward[self._places(X)]
        if not np.isin(codes, self.predicted).all():
            raise ValueError("reverse holds a class that the target rows did not get")
        return np.searchsorted(self.predicted, codes)

    def predict_proba(self, X, **ignored):
        return self.table[self._places(X)]

    def predict_log_proba(self, X, **ignored):
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def score(self, X, y, **ignored):
        return np.mean(self.predict(X) == y)

    def _places(self, X):
        return [self.place[row.tobytes()] for row in np.ascontiguousarray(X)]


class GivenOrder(ClassifierMixin, BaseEstimator):
    """Known classes of the source rows in their order; scores with weights."""

    __metadata_request__score = {"sample_weight": True}

    def __init__(self, classes=None):
        self.classes = classes

    def fit(self, X, y):
        return self

    def score(self, X, y, sample_weight=None, **ignored):
        return np.average(self.classes == y, weights=sample_weight)


class OneDensity(KernelDensity):
    """The default density of skada's scorer, which every candidate needs again."""

    known = {}

    def fit(self, X, y=None):
        self.fitted_on = X.tobytes()
        return super().fit(X)

    def score_samples(self, X):
        key = self.fitted_on, X.tobytes()
        if key not in self.known:
            if len(self.known) > 1:  # those of another task
                self.known.clear()
            self.known[key] = super().score_samples(X)
        return self.known[key]


class GivenPartners(np.random.RandomState):
    """A random state whose permutation is given."""

    def __init__(self, order):
        super().__init__(0)
        self.order = order

    def permutation(self, n):
        return self.order


class Scores:
    """The scores of all candidates, larger is better, and what failed.

    The arguments are those of the worker's task.
    """

    def __init__(self, X, y, probabilities, mixed, partner, reverse, maps):
        source = y >= 0
        self.X, self.source = X, source
        self.y = np.where(source, y, -1).astype(int)  # as skada masks labels
        self.mark = np.where(source, 1, -2)
        self.probabilities, self.mixed, self.reverse = probabilities, mixed, reverse
        self.maps = maps
        # By these two columns a model knows its rows again, mixed ones too.
        noise = np.random.default_rng(0).uniform(size=len(y))
        self.keys = np.c_[np.arange(len(y), dtype=float), noise]
        self.scorers = {
            "ImportanceWeightedScorer": metrics.ImportanceWeightedScorer(OneDensity()),
            "PredictionEntropyScorer": metrics.PredictionEntropyScorer(),
            "SoftNeighborhoodDensity": metrics.SoftNeighborhoodDensity(),
            "MaNoScorer": metrics.MaNoScorer(),
        }
        if maps:
            dev = metrics.DeepEmbeddedValidation(random_state=0)
            self.scorers["DeepEmbeddedValidation"] = dev
        if mixed is not None:
            self.partners = GivenPartners(partner[~source].astype(int))
            mixval = metrics.MixValScorer(random_state=self.partners)
            self.scorers["MixValScorer"] = mixval
        if reverse is not None:
            self.scorers["CircularValidation"] = metrics.CircularValidation()
        self.failures = {}

    def all(self):
        """One array for each scorer; NaN where it failed."""
        return {
            name: np.array(
                [self._one(name, j) for j in range(self.probabilities.shape[1])]
            )
            for name in self.scorers
        }

    def _one(self, name, j):
        try:
            if name == "ImportanceWeightedScorer":
                rows = self.X
                model = GivenOrder(self.probabilities[self.source, j].argmax(axis=1))
            else:
                rows, model = self.keys, self._model(name, j)
            with config_context(enable_metadata_routing=True):
                scorer = self.scorers[name]
                return float(scorer(model, rows, self.y, sample_domain=self.mark))
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            self.failures.setdefault(name, f"candidate {j}: {text}")
            return np.nan

    def _model(self, name, j):
        rows, table, columns, backward = self.keys, self.probabilities[:, j], None, None
        if name == "MixValScorer":
            first = self.keys[~self.source]
            # The expression of the scorer, so that the bits agree.
            mixed = 0.55 * first + (1 - 0.55) * first[self.partners.order]
            rows = np.r_[rows, mixed]
            table = np.r_[table, self.mixed[~self.source, j]]
        elif name == "DeepEmbeddedValidation":
            columns = self.maps[f"map{int(self.maps['map_of'][j])}"]
        elif name == "CircularValidation":
            # Places of the rows count the target, too.
            backward = self.reverse[:, j].astype(int)
        steps = [("map", GivenMap(columns)), ("model", "passthrough")]
        if columns is None:
            steps = [("model", GivenOrder())]
        return GivenModel(steps).know(rows, table, backward)
