"""What predictors with networks share: parameters, what they are given, files."""

import math
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils import (
    ClassifierTags,
    InputTags,
    RegressorTags,
    TargetTags,
    check_consistent_length,
)
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    _check_sample_weight,
    _num_samples,
    check_is_fitted,
    column_or_1d,
)
from torch import nn

from skadapt._domains import (
    as_labels,
    check_sample_domain,
    is_labeled,
    mask_target_labels,
)
from skadapt._predictor import (
    BasePredictor,
    TargetClassifierMixin,
    TargetRegressorMixin,
)
from skadapt.deep._devices import as_array, on_cpu
from skadapt.deep._files import read_model, write_model
from skadapt.deep._lora import check_update_parameters
from skadapt.deep._network import KeepsBackbone
from skadapt.deep._parameters import MergedParameters
from skadapt.deep._rows import check_network_rows
from skadapt.deep._schedules import SCHEDULES
from skadapt.deep._training import TrainingMixin


class Rows(NamedTuple):
    """What `fit` is given, checked.

    Attributes
    ----------
    X : ndarray or list
        Rows or items.
    y : ndarray of shape (n_samples,)
        Labels; those of target rows hidden where they are not used.
    labeled : ndarray of bool of shape (n_samples,)
        Rows with a label.
    ids : ndarray of int of shape (n_samples,) or None
        Their domains.
    weights : ndarray of shape (n_samples,) or None
    """

    X: object
    y: np.ndarray
    labeled: np.ndarray
    ids: np.ndarray | None
    weights: np.ndarray | None


class BaseNetworkPredictor(
    TrainingMixin, MergedParameters, KeepsBackbone, BasePredictor
):
    """Parameters, checks, outputs and files of all predictors with networks."""

    _uses_target_labels = False
    # What `fit` reads, in the sentence that asks for it.
    _reads = "labelled source rows"
    _parameter_constraints: dict = {
        "backbone": "no_validation",
        "head": [
            StrOptions({"auto", "replace", "linear"}),
            nn.Module,
            callable,
        ],
        "freeze": [str, list, tuple, Interval(Integral, 1, None, closed="left"), None],
        "gradual_unfreeze": ["boolean"],
        "freeze_bn": ["boolean"],
        "lora_rank": [Interval(Integral, 1, None, closed="left"), None],
        "lora_layers": [str, list, tuple, None],
        "layer_decay": [Interval(Real, 0, 1, closed="right")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "optimizer": [StrOptions({"adamw", "adam", "sgd"}), callable],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "schedule": [StrOptions(set(SCHEDULES)), callable],
        "warmup": [Interval(Real, 0, 1, closed="both")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "l1": [Interval(Real, 0, None, closed="left")],
        "l2_sp": [Interval(Real, 0, None, closed="left")],
        "conservative": [Interval(Real, 0, 1, closed="both")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": [tuple, list],
        "preprocess": [callable, None],
        "normalize": [tuple, list, None],
        "cache_features": ["boolean"],
        "warm_start": ["boolean"],
        "device": [str, torch.device],
        "autocast": [StrOptions({"bfloat16", "float16"}), None],
        "channels_last": ["boolean"],
        "compile": ["boolean"],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        backbone=None,
        head="auto",
        *,
        freeze=None,
        gradual_unfreeze=False,
        freeze_bn=False,
        lora_rank=None,
        lora_layers=None,
        layer_decay=1.0,
        lr=1e-3,
        optimizer="adamw",
        momentum=0.9,
        schedule="constant",
        warmup=0.0,
        max_epochs=30,
        batch_size=64,
        weight_decay=0.0,
        l1=0.0,
        l2_sp=0.0,
        conservative=0.0,
        dropout=0.0,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=5,
        hidden_layer_sizes=(64,),
        preprocess=None,
        normalize=None,
        cache_features=True,
        warm_start=False,
        device="auto",
        autocast=None,
        channels_last=False,
        compile=False,
        n_jobs=None,
        random_state=None,
        verbose=False,
    ):
        self.backbone = backbone
        self.head = head
        self.freeze = freeze
        self.gradual_unfreeze = gradual_unfreeze
        self.freeze_bn = freeze_bn
        self.lora_rank = lora_rank
        self.lora_layers = lora_layers
        self.layer_decay = layer_decay
        self.lr = lr
        self.optimizer = optimizer
        self.momentum = momentum
        self.schedule = schedule
        self.warmup = warmup
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.weight_decay = weight_decay
        self.l1 = l1
        self.l2_sp = l2_sp
        self.conservative = conservative
        self.dropout = dropout
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.hidden_layer_sizes = hidden_layer_sizes
        self.preprocess = preprocess
        self.normalize = normalize
        self.cache_features = cache_features
        self.warm_start = warm_start
        self.device = device
        self.autocast = autocast
        self.channels_last = channels_last
        self.compile = compile
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    # ------------------------------------------------------------------ rows

    def _check_rows(self, X, *, reset):
        """X as an array of numbers, or as a list of items for `preprocess`."""
        return check_network_rows(self, X, reset=reset)

    def _brings_knowledge(self):
        """Whether there is something to transfer where no domains are given."""
        return False

    def _takes_unlabeled(self):
        """Whether rows without labels are of use where no domains are given."""
        return False

    def _check_fit(self, X, y, sample_weight, sample_domain):
        """What `fit` is given, as `Rows`."""
        check_update_parameters(self)
        X = self._check_rows(X, reset=True)
        if y is None:
            raise ValueError(
                "requires y to be passed, but the target y is None: "
                f"{type(self).__name__} learns from {self._reads}."
            )
        ids = None
        if sample_domain is not None:
            check_consistent_length(X, y)
            y = as_labels(y)
            ids = check_sample_domain(sample_domain, len(y), both=True)
            if not self._uses_target_labels:
                y = mask_target_labels(y, ids)
        elif not self._brings_knowledge():
            y = self._check_one_domain(X, y)
        y = column_or_1d(as_labels(y))
        check_consistent_length(X, y)
        labeled = is_labeled(y)
        if ids is None and not (labeled.all() or self._takes_unlabeled()):
            raise ValueError(
                f"{np.count_nonzero(~labeled)} of {len(y)} rows are unlabelled (NaN "
                "or None in y): pass labelled rows only."
            )
        self._check_training_rows(labeled, np.ones(len(y)) if ids is None else ids)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
            learned = labeled if ids is None else labeled & (ids > 0)
            if not (sample_weight[learned] > 0).any():
                side = "" if ids is None else "source "
                raise ValueError(
                    f"sample_weight is 0 for every labelled {side}row: give some of "
                    "them a positive weight."
                )
        return Rows(X, y, labeled, ids, sample_weight)

    # ------------------------------------------------------------- afterwards

    def _outputs(self, X, sample_domain=None):
        check_is_fitted(self)
        X = self._check_rows(X, reset=False)
        if sample_domain is not None:
            check_sample_domain(sample_domain, _num_samples(X), scalar=True)
        network = self.module_
        placement = self._placement(network)
        network.to(placement.device).eval()
        rows = self._rows(X, placement)
        return as_array(self._in_batches(self._answer, rows))

    def _answer(self, batch):
        """Outputs of the network; rows of a shape that it does not take are refused."""
        try:
            return self.module_(batch)
        except RuntimeError as error:
            shape, known = tuple(batch.shape[1:]), self._example[0]
            if shape == known or "out of memory" in str(error).lower():
                raise
            raise ValueError(
                f"X has rows of shape {shape}, which the network does not take: "
                f"{type(self).__name__} was fitted on rows of shape {known}, so bring "
                "X to that."
            ) from error

    def plot_history(self, ax=None):
        """Draw the losses of the epochs, as `history_` has them.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw into; None: those of a new figure.

        Returns
        -------
        ax : matplotlib.axes.Axes
            The axes.
        """
        check_is_fitted(self)
        import matplotlib.pyplot as plt

        ax = plt.subplots()[1] if ax is None else ax
        epochs = range(1, len(self.history_) + 1)
        # Training may have stopped in its first epoch.
        for name in self.history_[0] if self.history_ else ():
            if name.endswith("_loss"):
                ax.plot(epochs, [e.get(name) for e in self.history_], label=name)
        ax.set(xlabel="epoch", ylabel="loss")
        if ax.lines:
            ax.legend()
        return ax

    def __getstate__(self):
        state = super().__getstate__().copy()
        for name in ("module_", "_past"):
            if name in state:
                state[name] = on_cpu(state[name])
        return state

    def save(self, path):
        """Write the fitted model into one safetensors file, without pickle.

        The file holds the tensors of the network and, as JSON, the parameters and
        what else `predict` needs. Modules and callables among the parameters cannot
        be written: `load` asks for them again.

        Parameters
        ----------
        path : str or path-like
            The file.

        Returns
        -------
        self : object
            The fitted model.
        """
        check_is_fitted(self)
        write_model(self, path)
        return self

    @classmethod
    def load(cls, path, **parameters):
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : str or path-like
            The file.
        parameters : dict
            Keywords: modules and callables that the model was made with (`backbone`,
            `preprocess`, ...), and other parameters to change, such as `device`.

        Returns
        -------
        model : object
            The fitted model.
        """
        return read_model(cls, path, parameters)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = InputTags(
            three_d_array=True, string=self.preprocess is not None
        )
        tags.target_tags = TargetTags(required=True)
        return tags


class BaseNetworkClassifier(TargetClassifierMixin, BaseNetworkPredictor):
    """What classifiers with networks share: classes, their weights, the loss."""

    _has_classes = True
    _parameter_constraints: dict = {
        **BaseNetworkPredictor._parameter_constraints,
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "sampler": [StrOptions({"balanced"}), None],
    }
    _saved = ("classes_", "history_", "n_features_in_", "feature_names_in_")

    def __init__(
        self,
        backbone=None,
        head="auto",
        *,
        label_smoothing=0.0,
        class_weight=None,
        sampler=None,
        **training,
    ):
        super().__init__(backbone, head, **training)
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.sampler = sampler

    def _resolve_estimator(self):
        return LogisticRegression()

    def _head(self):
        """As many classes are not the same classes, where they are known."""
        known = getattr(self.backbone, "classes_", self.classes_)
        # The heads of several tasks were never compared with one another.
        several = len(getattr(self.backbone, "domain_classes_", ())) > 1
        if self.head == "auto" and (
            several or not np.array_equal(known, self.classes_)
        ):
            return "replace"
        return self.head

    def _set_classes(self, classes):
        """The classes from now on; a network that goes on has to have the same."""
        if self._goes_on and not np.array_equal(classes, self.classes_):
            self._refuse_classes(self.classes_.tolist(), classes.tolist())
        self.classes_, self._n_outputs = classes, len(classes)

    def _refuse_classes(self, known, found):
        raise ValueError(
            "warm_start=True goes on with the network of the last call, whose classes "
            f"are {known}, but now they are {found}: use warm_start=False, or that "
            "model as backbone=... of a new one."
        )

    def _check_class_weight(self, classes):
        """Refuse weights of classes that are none, and what is no weight."""
        if not isinstance(self.class_weight, dict):
            return
        known = classes.tolist()
        for name, weight in self.class_weight.items():
            if name not in known:
                raise ValueError(
                    f"class_weight names the class {name!r}, which is none of {known}."
                )
            if not isinstance(weight, Real) or not 0 < weight < math.inf:
                raise ValueError(
                    f"class_weight gives class {name!r} the weight {weight!r}: it has "
                    "to be a positive number. To leave a class out, leave out its rows."
                )

    def _factors(self, codes, weights):
        """Weights of the classes of rows."""
        if self.class_weight is None:
            return None
        if self.class_weight == "balanced":
            totals = np.bincount(codes, weights, minlength=len(self.classes_))
            present = totals > 0
            of_class = np.ones(len(totals))
            of_class[present] = totals.sum() / (present.sum() * totals[present])
        else:
            given = self.class_weight
            of_class = np.array([given.get(c, 1.0) for c in self.classes_.tolist()])
        return of_class[codes]

    def _loss(self, outputs, labels):
        return nn.functional.cross_entropy(
            outputs, labels, reduction="none", label_smoothing=self.label_smoothing
        )

    @staticmethod
    def _loss_of_before(outputs, before):
        return nn.functional.cross_entropy(outputs, before.softmax(1), reduction="none")

    def _strata(self, targets, n_held):
        counts = np.bincount(targets)
        n_classes = np.count_nonzero(counts)
        enough = counts[counts > 0].min() >= 2
        fits = n_classes <= n_held <= len(targets) - n_classes
        return targets if enough and fits else None

    def _chances(self, targets, weights, index):
        if self.sampler is None:
            return None
        drawn = targets[index.numpy()]
        own = np.ones(len(drawn)) if weights is None else weights[index.numpy()]
        return torch.from_numpy(own / np.bincount(drawn, own)[drawn])

    def predict(self, X, sample_domain=None):
        """Predict the most probable class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, channels, ...)
            Rows, or items for `preprocess`.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. It changes nothing.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Class labels.
        """
        outputs = self._outputs(X, sample_domain)
        return self.classes_[outputs.argmax(axis=1)]

    def predict_proba(self, X, sample_domain=None):
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, channels, ...)
            Rows, or items for `preprocess`.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. It changes nothing.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities, columns in the order of `classes_`.
        """
        return softmax(self._outputs(X, sample_domain), axis=1)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags = ClassifierTags()
        return tags


class BaseNetworkRegressor(TargetRegressorMixin, BaseNetworkPredictor):
    """What regressors with networks share: the unit of y, the loss."""

    _saved = ("_center", "_unit", "history_", "n_features_in_", "feature_names_in_")

    def _resolve_estimator(self):
        return Ridge()

    @staticmethod
    def _loss(outputs, values):
        return (outputs[:, 0] - values) ** 2

    @staticmethod
    def _loss_of_before(outputs, before):
        return (outputs[:, 0] - before[:, 0]) ** 2

    def predict(self, X, sample_domain=None):
        """Predict values.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, channels, ...)
            Rows, or items for `preprocess`.
        sample_domain : array-like of shape (n_samples,) or int, default=None
            Domain of each row; one int stands for all rows. It changes nothing.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Values.
        """
        outputs = self._outputs(X, sample_domain)[:, 0]
        return self._center + self._unit * outputs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.regressor_tags = RegressorTags()
        return tags
