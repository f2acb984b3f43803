"""Parameters that all predictors with networks have, written once."""

import inspect
import re
import textwrap

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
lora_rank : int or None, default=None
    Rank of updates B A of the weights W of linear layers, with B = 0 at the start:
    beside the head they are all that is trained, and `fit` ends with W + B A in
    place of W (low-rank adaptation). None: no updates.
lora_layers : str, list of str or None, default=None
    Patterns of the linear layers that are updated, such as ``"layers.*"``. None:
    all of the backbone.
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
    Whether `fit` goes on with the network of the last call, trunk and head, whatever
    `backbone` and `head` are, and draws to its weights where it does. The classes
    have to be the same.
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
    Positive weights of the classes, 1 for those that a dict does not name; balanced:
    inverse to their numbers of rows.
sampler : "balanced" or None, default=None
    Balanced: the labelled rows of a batch are drawn, with replacement, from each
    class with the same chance, and within it in proportion to their weights."""


class MergedParameters:
    """``**training`` in the signature of `__init__` stands for those of the base.

    scikit-learn reads the parameters of an estimator from its signature: there, and
    in the docstring at ``{training}``, they are written out, before the class's own.
    An inherited parameter with another default keeps its place.
    """

    _has_classes = False

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        own = cls.__dict__.get("__init__")
        if own is not None:
            _write_out(own, inspect.signature(super(cls, cls).__init__).parameters)
        if cls.__doc__ and "{training}" in cls.__doc__:
            text = PARAMETERS + CLASS_PARAMETERS * cls._has_classes
            for parameter in inspect.signature(cls.__init__).parameters.values():
                default = parameter.default
                shown = f'"{default}"' if isinstance(default, str) else repr(default)
                pattern = rf"(?m)^({parameter.name} : .*default=).*$"
                text = re.sub(pattern, lambda m, s=shown: m[1] + s, text)
            text = textwrap.indent(text, "    ").lstrip()
            cls.__doc__ = cls.__doc__.replace("{training}", text)

    def __new__(cls, *args, **parameters):
        # Else an unknown name would go up to the base, whose error names the base.
        unknown = parameters.keys() - inspect.signature(cls.__init__).parameters.keys()
        if unknown:
            raise TypeError(
                f"{cls.__name__} got an unexpected keyword argument "
                f"{min(unknown)!r}: see {cls.__name__}().get_params()."
            )
        return super().__new__(cls)


def _write_out(init, base):
    """Put the parameters of the base into a signature, in place of its keywords."""
    shown = inspect.signature(init)
    named = [p for p in shown.parameters.values() if p.kind is not p.VAR_KEYWORD]
    if len(named) == len(shown.parameters):
        return
    changed = {
        p.name: p
        for p in named
        if p.kind is p.KEYWORD_ONLY
        and p.name in base
        and p.default != base[p.name].default
    }
    inherited = [
        changed.get(name, parameter)
        for name, parameter in base.items()
        if name in changed or name not in shown.parameters
    ]
    own = [p for p in named if p.name not in changed]
    order = sorted(inherited + own, key=lambda p: p.kind)
    init.__signature__ = shown.replace(parameters=order)
