"""Features of a network, for classical methods."""

import hashlib
from numbers import Integral

import numpy as np
import torch
from joblib import Memory
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import InputTags, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skadapt.deep._callables import key_of_callable
from skadapt.deep._devices import (
    as_array,
    find_device,
    on_cpu,
    parameter_dtype,
    seeded,
)
from skadapt.deep._network import (
    KeepsBackbone,
    Network,
    as_module,
    multilayer_perceptron,
    pooled,
    probe,
    sequence_channels,
)
from skadapt.deep._rows import ItemRows, Placement, TensorRows, check_network_rows

__all__ = ["TorchFeatures"]


class TorchFeatures(
    KeepsBackbone, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Features of a network as a transformer.

    Rows go through a fixed network; what one of its layers says of them is what
    classical methods work on. Nothing is learned in `fit`.

    Parameters
    ----------
    backbone : torch.nn.Module, callable, str or None, default=None
        The network. It is copied, never changed. A callable without arguments makes
        it; a string names it; a fitted estimator of this module or of skorch lends
        its own. None: a perceptron with one hidden layer of 64 random weights each,
        as a floor.
    layer : str, default=None
        Name of the module whose output is taken, as in ``named_modules()``. None:
        the output of the network, or the features of a fitted estimator of this
        module.
    pooling : {"mean", "max", "first", "flatten"}, default="mean"
        What is made of outputs with positions (images, tokens): their mean, their
        maximum, those of the first position, or all of them side by side. Outputs of
        three axes are (rows, positions, features), as transformers give them, or
        (rows, channels, positions) if the last layer with features of its own, in the
        order of definition, is a one-dimensional convolution.
    batch_size : int, default=64
        Rows that go through the network at once.
    preprocess : callable, default=None
        Makes an array or a tensor of one entry of X, a text or a path or anything
        else; called in `n_jobs` threads. Arrays of one axis may differ in length and
        are filled with 0.
    normalize : tuple of two array-likes or None, default=None
        Mean and standard deviation, one number each or one a channel, that images
        are normalised with, after bytes were divided by 255.
    memory : str or joblib.Memory, default=None
        Folder in which the features of the same rows and weights are kept. Items for
        `preprocess` are told apart by what they are, not by the contents of files;
        `preprocess` is by its code or, if it is an object, by its pickle, and not by
        functions of modules that it calls.
    device : str, default="auto"
        Where to compute: ``"cpu"``, ``"cuda"``, ``"mps"``; auto: the fastest found.
    autocast : {"bfloat16", "float16"} or None, default=None
        Half precision of matrix products.
    channels_last : bool, default=False
        Whether images are laid out with channels last, which is faster for
        convolutions.
    n_jobs : int, default=None
        Threads of `preprocess`; None: one.
    random_state : int, RandomState instance or None, default=None
        Seed of the weights, where `backbone` is None or makes a new network.

    Attributes
    ----------
    module_ : torch.nn.Module
        The copy of the network, in evaluation mode.
    n_features_in_ : int
        Length of axis 1 of X: number of features, or of channels.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If rows do not fit the network, if there is no such layer, if the device is
        not there, or if `memory` cannot tell what `preprocess` does.

    See Also
    --------
    FineTuneClassifier : Lets the network go on learning.

    References
    ----------
    .. [1] J. Donahue et al. DeCAF: a deep convolutional activation feature for
       generic visual recognition. ICML 2014.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_digits
    >>> from skadapt.deep import TorchFeatures
    >>> X, _ = load_digits(return_X_y=True)
    >>> images = X.reshape(-1, 1, 8, 8) / 16
    >>> network = torch.nn.Sequential(
    ...     torch.nn.Conv2d(1, 6, 3), torch.nn.ReLU(), torch.nn.Conv2d(6, 4, 3)
    ... )
    >>> TorchFeatures(network, layer="1").fit_transform(images).shape
    (1797, 6)
    >>> TorchFeatures(network, pooling="flatten").fit_transform(images).shape
    (1797, 64)
    """

    _parameter_constraints: dict = {
        "backbone": "no_validation",
        "layer": [str, None],
        "pooling": [StrOptions({"mean", "max", "first", "flatten"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "preprocess": [callable, None],
        "normalize": [tuple, list, None],
        "memory": [str, HasMethods(["cache"]), None],
        "device": [str, torch.device],
        "autocast": [StrOptions({"bfloat16", "float16"}), None],
        "channels_last": ["boolean"],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        backbone=None,
        layer=None,
        *,
        pooling="mean",
        batch_size=64,
        preprocess=None,
        normalize=None,
        memory=None,
        device="auto",
        autocast=None,
        channels_last=False,
        n_jobs=None,
        random_state=None,
    ):
        self.backbone = backbone
        self.layer = layer
        self.pooling = pooling
        self.batch_size = batch_size
        self.preprocess = preprocess
        self.normalize = normalize
        self.memory = memory
        self.device = device
        self.autocast = autocast
        self.channels_last = channels_last
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Copy the network and see that the rows fit it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, channels, ...)
            Rows, or items for `preprocess`.
        y : ignored
            Present for the interface.

        Returns
        -------
        self : object
            The transformer.
        """
        X = check_network_rows(self, X, reset=True)
        device = find_device(self.device)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        with seeded(seed, device):
            module = as_module(self.backbone)
            if module is None:
                module = multilayer_perceptron(int(np.prod(X.shape[1:])), (64,))
        if isinstance(module, Network) and self.layer is None:
            module = module.backbone
        names = [name for name, _ in module.named_modules() if name]
        if self.layer is not None and self.layer not in names:
            raise ValueError(
                f"The network has no layer {self.layer!r}; its layers are {names}."
            )
        if self.channels_last:
            module = module.to(memory_format=torch.channels_last)
        self.module_ = module.requires_grad_(False).to(device).eval()
        self._n_features_out = self._rows_through(X[:1]).shape[1]
        return self

    def transform(self, X):
        """Features of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, channels, ...)
            Rows, or items for `preprocess`.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out)
            Features, float32 for a network of single precision.
        """
        check_is_fitted(self)
        X = check_network_rows(self, X, reset=False)
        if self.memory is None:
            return self._rows_through(X)
        memory = self.memory
        if isinstance(memory, str):
            memory = Memory(memory, verbose=0)
        cached = memory.cache(_features_of, ignore=["transformer"])
        return cached(X, self._fingerprint(), transformer=self)

    def _fingerprint(self):
        """What the features depend on beside the rows."""
        digest = hashlib.sha256(str(self.module_).encode())
        for name, tensor in self.module_.state_dict().items():
            digest.update(name.encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().tobytes())
        called = None
        if self.preprocess is not None:
            called = key_of_callable(self.preprocess, "preprocess")
        normalize = None if self.normalize is None else str(self.normalize)
        return (
            digest.hexdigest(),
            self.layer,
            self.pooling,
            called,
            normalize,
            self.autocast,
        )

    @torch.no_grad()
    def _rows_through(self, X):
        module = self.module_
        device = find_device(self.device)
        module.to(device).eval()
        placement = Placement(
            device,
            parameter_dtype(module),
            channels_last=self.channels_last,
            normalize=self.normalize,
        )
        if self.preprocess is not None:
            rows = ItemRows(X, self.preprocess, placement, self.n_jobs)
        else:
            rows = TensorRows(X, placement)
        channels = sequence_channels(module, self.layer)
        caught = []
        layer = None if self.layer is None else module.get_submodule(self.layer)
        hook = layer and layer.register_forward_hook(
            lambda *call: caught.append(call[-1])
        )
        casts = torch.autocast(
            device.type,
            dtype=getattr(torch, self.autocast or "bfloat16"),
            enabled=self.autocast is not None,
        )
        parts = []
        try:
            with casts:
                for batch in rows.batches(torch.arange(len(X)).split(self.batch_size)):
                    output = probe(module, batch)
                    if layer is not None:
                        output = caught.pop()
                        caught.clear()
                    part = pooled(output, self.pooling, channels=channels)
                    parts.append(part.to(placement.dtype).cpu())
        finally:
            if hook is not None:
                hook.remove()
        return as_array(torch.cat(parts))

    def __getstate__(self):
        state = super().__getstate__().copy()
        if "module_" in state:
            state["module_"] = on_cpu(state["module_"])
        return state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = InputTags(
            three_d_array=True, string=self.preprocess is not None
        )
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.requires_fit = True
        return tags


def _features_of(X, fingerprint, transformer):
    return transformer._rows_through(X)
