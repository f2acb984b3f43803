"""What predictors with networks share: parameters, rows, training, files."""

import copy
import inspect
import textwrap
from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.utils import (
    ClassifierTags,
    InputTags,
    RegressorTags,
    TargetTags,
    assert_all_finite,
)
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _num_samples, check_is_fitted, validate_data
from torch import nn

from skadapt._domains import check_sample_domain
from skadapt._predictor import (
    BasePredictor,
    TargetClassifierMixin,
    TargetRegressorMixin,
)
from skadapt.deep._files import read_model, write_model
from skadapt.deep._loop import LabeledSet, Recipe, SupervisedObjective, train
from skadapt.deep._network import build_network, freeze_parameters, probe
from skadapt.deep._rows import ItemRows, Placement, TensorRows
from skadapt.deep._schedules import SCHEDULES

PARAMETERS = """\
backbone : torch.nn.Module, callable, str or None, default=None
    The network to start from. It is copied, never changed. A callable without
    arguments makes it; a string names it; a fitted estimator of this module or
    of skorch lends its own. None: a multilayer perceptron with random weights.
head : "auto", "replace", "linear", torch.nn.Module or callable, default="auto"
    What makes outputs of features. ``"auto"``: the last linear layer of the
    backbone, if that makes its output; it is kept where the number of outputs
    fits (and, of a fitted estimator, the classes), and is replaced otherwise.
    ``"replace"``: it is always replaced.
    ``"linear"``: a new linear layer on the output of the whole backbone. A
    module, or a callable ``head(n_features, n_outputs)``, likewise.
freeze : "backbone", int, str, list of str or None, default=None
    What is not trained: all but the head, so many leading blocks
    (`parameter_blocks`), or the layers that match a pattern such as
    ``"layer1*"``. Frozen modules stay in evaluation mode, batch norm included.
gradual_unfreeze : bool, default=False
    Whether the head is trained alone in the first epoch and each epoch lets one
    more block learn.
freeze_bn : bool, default=False
    Whether no batch norm updates its statistics.
layer_decay : float in (0, 1], default=1.0
    Ratio of the learning rate of a block to that of the block above it.
lr : float, default=0.001
    Learning rate of the head.
optimizer : {"adamw", "adam", "sgd"} or callable, default="adamw"
    Name, or a class of ``torch.optim``.
momentum : float in [0, 1), default=0.9
    Momentum of ``"sgd"``.
schedule : str or callable, default="constant"
    Schedule of the learning rate: ``"constant"``, ``"inv_sqrt"``, ``"cosine"``,
    ``"one_cycle"``, ``"slanted"``, ``"dann"``, or a function of the progress in
    [0, 1] (`learning_rate_factor`).
warmup : float in [0, 1], default=0.0
    Share of the steps in which the rate rises linearly to that of the schedule.
max_epochs : int, default=30
    Passes through the training rows.
batch_size : int, default=64
    Rows of a step.
weight_decay : float, default=0.0
    Weight decay of matrices; biases and normalisations have none. With `l2_sp`
    it concerns new layers alone.
l1 : float, default=0.0
    Weight of the sum of the absolute entries of trained matrices; gives zeros.
l2_sp : float, default=0.0
    Weight of half the squared distance to the pretrained parameters.
conservative : float in [0, 1], default=0.0
    Share of the loss that asks for the outputs of the pretrained network in
    place of the labels.
dropout : float in [0, 1), default=0.0
    Share of the features that the head does not see in training.
early_stopping : bool, default=False
    Whether a part of the rows is held out, training stops after
    `n_iter_no_change` epochs without a lower loss there, and the weights of the
    best epoch are kept.
validation_fraction : float in (0, 1), default=0.1
    Share of the rows held out.
n_iter_no_change : int, default=5
    Epochs to wait for a lower loss.
hidden_layer_sizes : tuple of int, default=(64,)
    Widths of the perceptron that is the default backbone.
preprocess : callable, default=None
    Makes an array or a tensor of one entry of X, a text or a path or anything
    else; called in `n_jobs` threads. Arrays of one axis may differ in length and
    are filled with 0.
normalize : tuple of two array-likes or None, default=None
    Mean and standard deviation, one number each or one a channel, that images
    are normalised with, after bytes were divided by 255.
cache_features : bool, default=True
    Whether the features of a frozen backbone are computed once instead of in
    each epoch. False where `preprocess` is random.
warm_start : bool, default=False
    Whether `fit` goes on with the weights of the last call.
device : str, default="auto"
    Where to compute: ``"cpu"``, ``"cuda"``, ``"mps"``; auto: the fastest found.
autocast : {"bfloat16", "float16"} or None, default=None
    Half precision of matrix products.
channels_last : bool, default=False
    Whether images are laid out with channels last, which is faster for
    convolutions.
compile : bool, default=False
    Whether ``torch.compile`` is used in training; pays in long ones.
n_jobs : int, default=None
    Threads of `preprocess`; None: one.
random_state : int, RandomState instance or None, default=None
    Seed of new weights, of dropout and of the order of the rows.
verbose : bool, default=False
    Whether a bar shows the progress."""


CLASS_PARAMETERS = """
label_smoothing : float in [0, 1), default=0.0
    Share of each label that is spread over all classes.
class_weight : "balanced", dict or None, default=None
    Weights of the classes; balanced: inverse to their numbers of rows.
sampler : "balanced" or None, default=None
    Balanced: the labelled rows of a batch are drawn, with replacement, from each
    class with the same chance."""


class _MergedParameters:
    """``**training`` in the signature of `__init__` stands for those of the base.

    scikit-learn reads the parameters of an estimator from its signature: there, and
    in the docstring at ``{training}``, they are written out, before the class's own.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        own = cls.__dict__.get("__init__")
        if own is not None:
            shown = inspect.signature(own)
            rest = shown.parameters.values()
            if any(p.kind is p.VAR_KEYWORD for p in rest):
                named = [p for p in rest if p.kind is not p.VAR_KEYWORD]
                base = inspect.signature(super(cls, cls).__init__).parameters
                inherited = [p for n, p in base.items() if n not in shown.parameters]
                order = sorted(inherited + named, key=lambda p: p.kind)
                own.__signature__ = shown.replace(parameters=order)
        if cls.__doc__ and "{training}" in cls.__doc__:
            text = PARAMETERS + CLASS_PARAMETERS * (cls._has_classes)
            text = textwrap.indent(text, "    ").lstrip()
            cls.__doc__ = cls.__doc__.replace("{training}", text)


class BaseNetworkPredictor(_MergedParameters, BasePredictor):
    """Parameters and training of all predictors with networks."""

    _has_classes = False
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

    def _rows(self, X, placement):
        if self.preprocess is not None:
            return ItemRows(X, self.preprocess, placement, self.n_jobs)
        return TensorRows(X, placement)

    def _placement(self, network):
        floats = (p.dtype for p in network.parameters() if p.is_floating_point())
        return Placement(
            find_device(self.device),
            next(floats, torch.float32),
            channels_last=self.channels_last,
            normalize=self.normalize,
        )

    # -------------------------------------------------------------- training

    def __sklearn_clone__(self):
        # A backbone is data, not a model to be fitted: its clone would know nothing.
        copied = super().__sklearn_clone__()
        copied.backbone = self.backbone
        return copied

    def _initial_network(self, X, n_outputs, backbone=None, head=None):
        """A network for rows like these, on the device; its pretrained parameters."""
        dtype = torch.float32
        if isinstance(self.backbone, nn.Module):
            floats = (p.dtype for p in self.backbone.parameters())
            dtype = next((d for d in floats if d.is_floating_point), dtype)
        device = find_device(self.device)
        placement = Placement(device, dtype, normalize=self.normalize)
        example = self._rows(X[:1], placement).batch(torch.arange(1))
        self._example = (tuple(example.shape[1:]), str(example.dtype).split(".")[1])
        return self._network_for(example, n_outputs, backbone, head)

    def _head(self):
        return self.head

    def _n_features(self, network):
        """Number of features that the trunk gives."""
        shape, dtype = self._example
        example = torch.zeros(1, *shape, dtype=getattr(torch, dtype))
        device = next(network.parameters()).device
        return probe(network.backbone, example.to(device), network.features).shape[1]

    def _network_for(self, example, n_outputs, backbone=None, head=None):
        """A network for one example row."""
        network, pretrained = build_network(
            self.backbone if backbone is None else backbone,
            self._head() if head is None else head,
            n_outputs,
            example,
            dropout=self.dropout,
            hidden_layer_sizes=self.hidden_layer_sizes,
        )
        network.batch_norm_rests = bool(self.freeze_bn)
        if self.channels_last:
            network.to(memory_format=torch.channels_last)
        return network, pretrained

    def _train(
        self,
        network,
        X,
        targets,
        weights,
        make_objective,
        *,
        random_state,
        freeze=None,
        max_epochs=None,
        plain=False,
        state=None,
        make_sets=None,
    ):
        """Train a network on labelled rows.

        ``make_objective(rows, forward)`` gives the loss, once the frozen part is known.
        With `plain`, nothing is frozen and nothing holds on to what was before.
        ``make_sets(rows, features)`` replaces the training set.
        """
        if not plain:
            freeze_parameters(network, freeze)
        else:
            network.requires_grad_(True)
        network.rest(batch_norm=network.batch_norm_rests)
        placement = self._placement(network)
        device = placement.device
        rows = self._rows(X, placement)
        network.eval()
        trunk_rests = not any(p.requires_grad for p in network.backbone.parameters())

        if trunk_rests and self.cache_features:
            features = self._in_batches(network.features, rows)
            rows = TensorRows.of_tensor(features, Placement(device, placement.dtype))

            def forward(features):
                return features, network.outputs(features)
        else:

            def forward(batch):
                features = network.features(batch)
                return features, network.outputs(features)

        objective = make_objective(rows, forward).to(device)
        index = torch.arange(len(targets))
        held_out = None
        if self.early_stopping:
            index, held_out = self._hold_out(targets, index, random_state)
        labels = torch.as_tensor(targets)
        if labels.is_floating_point():
            labels = labels.to(placement.dtype)
        labels = labels.to(device)
        if weights is not None:
            scaled = weights / weights[index.numpy()].mean()
            weights = torch.as_tensor(scaled).to(placement.dtype).to(device)
        generator = torch.Generator().manual_seed(random_state.randint(2**31 - 1))

        def part(of, generator=None, chances=None):
            return LabeledSet(
                rows, labels, weights, of, self.batch_size, generator, chances
            )

        train_set = part(index, generator, self._chances(targets, index))
        valid_set = None if held_out is None else part(held_out)
        if make_sets is not None:
            train_set = make_sets(rows, train_set, generator)
        recipe = self._recipe(max_epochs, plain)
        return train(
            network, forward, objective, train_set, valid_set, recipe, state=state
        )

    def _check_pull(self, pretrained, kept):
        if self.l2_sp and not pretrained:
            raise ValueError(
                f"l2_sp={self.l2_sp} draws the weights to pretrained ones, of which "
                "there are none: give a backbone, or sample_domain with source rows."
            )
        if self.conservative and not kept:
            raise ValueError(
                f"conservative={self.conservative} asks for the outputs of the "
                "pretrained network, but its head is replaced: give a network whose "
                "outputs are those of y, or sample_domain with equal classes."
            )

    def _supervised(self, rows, forward, pretrained, plain=False):
        """The loss of the labelled rows."""
        before = None
        if self.conservative and not plain:
            before = self._in_batches(lambda batch: forward(batch)[1], rows)
        return SupervisedObjective(
            self._loss, pretrained, before, self._loss_of_before, self.conservative
        )

    def _recipe(self, max_epochs, plain):
        return Recipe(
            max_epochs=self.max_epochs if max_epochs is None else max_epochs,
            lr=self.lr,
            optimizer=self.optimizer,
            momentum=self.momentum,
            layer_decay=1.0 if plain else self.layer_decay,
            weight_decay=self.weight_decay,
            l1=self.l1,
            l2_sp=0.0 if plain else self.l2_sp,
            schedule=self.schedule,
            warmup=self.warmup,
            gradual_unfreeze=self.gradual_unfreeze and not plain,
            patience=self.n_iter_no_change if self.early_stopping else None,
            autocast=self.autocast,
            compile=self.compile,
            verbose=bool(self.verbose),
            batch_size=self.batch_size,
        )

    def _hold_out(self, targets, index, random_state):
        """Rows to train on, and rows to judge epochs by."""
        n_held = max(1, round(self.validation_fraction * len(index)))
        if n_held >= len(index):
            raise ValueError(
                f"early_stopping holds out {n_held} of {len(index)} rows, which leaves "
                "no row to train on: give more rows or early_stopping=False."
            )
        parts = train_test_split(
            index.numpy(),
            test_size=n_held,
            random_state=random_state,
            stratify=self._strata(targets, n_held),
        )
        return [torch.from_numpy(np.sort(part)) for part in parts]

    def _row_weights(self, targets, weights):
        return weights

    def _strata(self, targets, n_held):
        return None

    def _chances(self, targets, index):
        """Chances of rows to be drawn; None: each row once an epoch."""
        return None

    @torch.no_grad()
    def _in_batches(self, function, rows):
        """`function` of all rows, joined; the network rests."""
        size = self.batch_size
        if isinstance(rows, TensorRows) and rows.rows.ndim == 2:
            size = max(size, _ROWS_AT_ONCE)
        indices = torch.arange(len(rows)).split(size)
        casts = torch.autocast(
            rows.placement.device.type,
            dtype=getattr(torch, self.autocast or "bfloat16"),
            enabled=self.autocast is not None,
        )
        with casts:
            parts = [function(batch) for batch in rows.batches(indices)]
        return torch.cat(parts).to(rows.placement.dtype)

    def _seeded(self, seed):
        """Context in which torch draws from a seed, and is as it was afterwards."""
        return seeded(seed, find_device(self.device))

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
        return as_array(self._in_batches(network, rows))

    def plot_history(self, ax=None):
        """Draw the losses of the epochs.

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
        for name in ("train_loss", "valid_loss"):
            if name in self.history_[0]:
                ax.plot(epochs, [e[name] for e in self.history_], label=name)
        ax.set(xlabel="epoch", ylabel="loss")
        ax.legend()
        return ax

    def __getstate__(self):
        state = super().__getstate__().copy()
        if "module_" in state:
            state["module_"] = on_cpu(state["module_"])
        if "_optimizer_state" in state:
            state["_optimizer_state"] = _state_on_cpu(state["_optimizer_state"])
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


# Rows of two axes that a network sees at once when nothing is trained.
_ROWS_AT_ONCE = 4096


def find_device(device):
    """The device that a name stands for."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        mps = getattr(torch.backends, "mps", None)
        return torch.device("mps" if mps and mps.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device={device!r} is no device of torch: use 'auto', 'cpu', 'cuda' or "
            "'mps'."
        ) from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device={str(device)!r} was asked for, but torch finds no CUDA device: "
            "use device='auto', or install a build of torch for your GPU."
        )
    return found


def as_array(tensor):
    """An array of the numbers of a tensor; half precision becomes single."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.element_size() < 4 else tensor).numpy()


def on_cpu(module):
    """The module, or a copy of it, with all tensors in the memory of the CPU."""
    if all(tensor.device.type == "cpu" for tensor in module.state_dict().values()):
        return module
    return copy.deepcopy(module).cpu()


def _state_on_cpu(state):
    if isinstance(state, torch.Tensor):
        return state.cpu()
    if isinstance(state, dict):
        return {key: _state_on_cpu(value) for key, value in state.items()}
    if isinstance(state, list):
        return [_state_on_cpu(value) for value in state]
    return state


@contextmanager
def seeded(seed, device):
    """torch draws from a seed, and goes on afterwards as if nothing had happened."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


def check_network_rows(estimator, X, *, reset):
    """X as an array of numbers, or as a list of items for `preprocess`.

    Arrays may have more than two axes, the channels on axis 1.
    """
    name = type(estimator).__name__
    if estimator.preprocess is not None:
        items = X if isinstance(X, np.ndarray) else list(X)
        if isinstance(X, str) or not len(items):
            raise ValueError(
                f"Found 0 sample(s), or one text, while {name} takes a sequence of "
                "them: wrap it in a list."
            )
        return items
    first = X[0] if isinstance(X, (list, tuple)) and len(X) else X
    if isinstance(first, str) or getattr(getattr(X, "dtype", None), "kind", "") in (
        "U",
        "T",
    ):
        raise ValueError(
            f"X holds strings: give {name} preprocess=..., a callable that makes an "
            "array of one of them."
        )
    X = validate_data(
        estimator,
        X,
        reset=reset,
        dtype=[np.float64, np.float32, np.uint8],
        allow_nd=True,
    )
    if not all(X.shape):
        raise ValueError(
            f"Found array with 0 feature(s) (shape={X.shape}) while a minimum of 1 is "
            f"required by {name}."
        )
    if X.dtype == np.float64:
        # Beyond float32 numbers are infinite; what the networks see is checked.
        with np.errstate(over="ignore"):
            X = X.astype(np.float32)
        assert_all_finite(X, input_name="X", estimator_name=name)
    if reset:
        estimator._row_shape = X.shape[1:]
    elif len(X.shape[1:]) != len(estimator._row_shape):
        raise ValueError(
            f"X has rows of shape {X.shape[1:]}, but {name} was fitted on rows of "
            f"shape {estimator._row_shape}."
        )
    return X


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
        if self.head == "auto" and not np.array_equal(known, self.classes_):
            return "replace"
        return self.head

    def _row_weights(self, codes, weights):
        """Row weights times those of the classes."""
        if self.class_weight is None:
            return weights
        own = np.ones(len(codes)) if weights is None else weights
        if self.class_weight == "balanced":
            totals = np.bincount(codes, own, minlength=len(self.classes_))
            present = totals > 0
            of_class = np.ones(len(totals))
            of_class[present] = totals.sum() / (present.sum() * totals[present])
        else:
            given = self.class_weight
            of_class = np.array([given.get(c, 1.0) for c in self.classes_.tolist()])
        return own * of_class[codes]

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

    def _chances(self, targets, index):
        if self.sampler is None:
            return None
        drawn = targets[index.numpy()]
        return torch.from_numpy(1 / np.bincount(drawn)[drawn])

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
