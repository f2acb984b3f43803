"""Pretrained networks by name or from a file, none of which can run code."""

import copy
import os
import warnings
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from skadapt.datasets import get_data_home
from skadapt.deep._network import Network
from skadapt.deep._text import load_text_encoder

__all__ = ["load_backbone"]

# Batch norms count batches since torch 0.4.1; nothing but their momentum=None asks.
_COUNTER = "num_batches_tracked"
# Names of tensors in a sentence.
_SHOWN = 6
_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")


def load_backbone(name, module=None, *, weights=None, strict=False):
    """Load a pretrained network.

    Nothing is downloaded, and a file that holds code is refused: only safetensors,
    and files of torch with nothing but tensors, are read.

    Parameters
    ----------
    name : str or path-like
        ``"torchvision/NAME"`` or ``"timm/NAME"`` for a network of these libraries
        (``pip install skadapt[vision]``); ``"hf/NAME"``, or the path of a folder, for
        a `TextEncoder` (``pip install skadapt[text]``); or the path of a file of
        weights.
    module : torch.nn.Module, default=None
        The network that a file is loaded into; it is copied.
    weights : str, path-like or None, default=None
        File of the weights of a named network. None: NAME with one of the suffixes
        ``.safetensors``, ``.pt``, ``.pth`` or ``.bin``, in the folder
        ``backbones/torchvision`` or ``backbones/timm`` of
        `skadapt.datasets.get_data_home`. ``"random"``: not pretrained. Of
        ``"hf/NAME"``: the folder, or None for ``backbones/hf/NAME``.
    strict : bool, default=False
        Whether the file has to hold all tensors of the network, and no others. If
        not, the head alone, a linear layer at the end, may differ: it is then left as
        it is, with a warning.

    Returns
    -------
    module : torch.nn.Module
        The network.

    Raises
    ------
    FileNotFoundError
        If there is no file of the weights, with the place where it is looked for.
    ValueError
        If the file holds code, no tensors with names, or the weights of another
        network (with the names of the tensors that are missing or left over).
    ImportError
        If the library of a named network is not installed.

    Warns
    -----
    UserWarning
        If the file is of a network with another head, with the names of its tensors.

    Notes
    -----
    The folder of a text encoder holds ``config.json``, ``tokenizer.json`` and
    ``model.safetensors``, as the pages of such models offer them; pooling, length and
    normalisation are those of its files of sentence-transformers, where it has them.
    Its `tokenizer` is to be the `preprocess` of an estimator.

    Examples
    --------
    >>> import tempfile, torch
    >>> from safetensors.torch import save_file
    >>> from skadapt.deep import load_backbone
    >>> source, network = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_file(source.state_dict(), f"{folder}/weights.safetensors")
    ...     network = load_backbone(f"{folder}/weights.safetensors", network)
    >>> torch.equal(network.weight, source.weight)
    True
    """
    library, _, model = str(name).partition("/")
    if module is None and library == "hf" and model:
        place = weights not in (None, "random") and Path(weights)
        folder = place or Path(get_data_home()) / "backbones" / "hf" / model
        pretrained = weights != "random"
        return load_text_encoder(folder, str(name), _read, pretrained=pretrained)
    if module is None and Path(name).is_dir():
        return load_text_encoder(Path(name), str(name), _read)
    if module is None and library in ("torchvision", "timm") and model:
        module = _named(library, model)
        if weights == "random":
            return module
        path = _weights_of(library, model) if weights is None else Path(weights)
    elif module is None:
        raise ValueError(
            f"{str(name)!r} is a file of weights or an unknown name: give the network "
            "they belong to as module=..., or a name such as 'torchvision/resnet18'."
        )
    else:
        module, path = copy.deepcopy(module), Path(name)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path} of weights: put it there.")
    _fill(module, _read(path), path, strict)
    return module


def _named(library, model):
    try:
        if library == "timm":
            import timm

            return timm.create_model(model, pretrained=False)
        import torchvision

        return torchvision.models.get_model(model, weights=None)
    except ImportError as error:
        raise ImportError(
            f"{library}/{model} needs {library}: pip install skadapt[vision]"
        ) from error


def _weights_of(library, model):
    folder = Path(get_data_home()) / "backbones" / library
    for suffix in _SUFFIXES:
        path = folder / f"{model}{suffix}"
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"The weights of {library}/{model} are not in {folder}: put them there as "
        f"{model}.safetensors or {model}.pth, pass weights=PATH, or weights='random'."
    )


def _read(path):
    """Tensors of a file by name."""
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except SafetensorError as error:
            raise ValueError(
                f"{path} is no file of safetensors: {error}; no other file is read "
                "under that name."
            ) from error
    try:
        state = torch.load(os.fspath(path), map_location="cpu", weights_only=True)
    except Exception as error:  # of several types, UnpicklingError the usual one
        raise ValueError(
            f"{path} holds more than tensors, or is no file of torch; code is never "
            "run: where the network can be made, save its tensors alone, as in "
            "safetensors.torch.save_file(network.state_dict(), 'weights.safetensors')."
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    named = {}
    if isinstance(state, dict):
        for key, value in state.items():
            if isinstance(key, str) and isinstance(value, torch.Tensor):
                named[key.removeprefix("module.")] = value
    if not named:
        raise ValueError(
            f"{path} holds a {type(state).__name__} where tensors with names are "
            "needed: save the state_dict() of the network."
        )
    return named


def _fill(module, state, path, strict):
    """Fill a network with tensors; its head alone may differ, unless `strict`."""
    own = module.state_dict()
    fitting = {
        key: tensor
        for key, tensor in state.items()
        if key in own and own[key].shape == tensor.shape
    }
    lacking = [
        key
        for key in own
        if key not in fitting and (strict or not key.endswith(_COUNTER))
    ]
    others = [key for key in state if key not in fitting]
    if lacking or others:
        lists = {
            "missing": [key for key in lacking if key not in state],
            "of another shape": [key for key in others if key in own],
            "left over": [key for key in others if key not in own],
        }
        report = f"{path} holds {len(fitting)} of the {len(own)} tensors of the network"
        for what, names in lists.items():
            if names:
                report += f"; {what}: {_listed(names)}"
        if strict or not fitting or not _is_head(module, own, lacking, others):
            raise ValueError(
                f"{report}. It belongs to another network: fill yours in part with "
                "load_state_dict or transfer_layers, and give it as backbone."
            )
        warnings.warn(
            f"{report}. The head differs: that of the network stays as it is.",
            UserWarning,
            stacklevel=3,
        )
    module.load_state_dict(fitting, strict=False)


def _is_head(module, own, lacking, others):
    """Whether tensors that a network lacks, or that a file has besides, are a head."""
    layers = [(name, part) for name, part in module.named_modules() if part._parameters]
    name, last = layers[-1] if layers else ("", None)
    head = (f"{name}.",) if name and isinstance(last, nn.Linear) else ()
    if isinstance(module, Network):
        head = ("head.",)
    if not all(key.startswith(head) for key in lacking):
        return False
    foreign = [key for key in others if key not in own and not key.startswith(head)]
    if head and not lacking:
        return not foreign
    # Without a head, or with one of another name.
    parts = {_new_part(key, own) for key in foreign}
    return len(parts) <= 1 and None not in parts


def _new_part(key, own):
    """The outermost module in a tensor's name that a network does not have."""
    parts = key.split(".")
    for i in range(1, len(parts)):
        path = ".".join(parts[:i])
        if not any(name.startswith(f"{path}.") for name in own):
            return path
    return None


def _listed(names):
    """Names in a sentence: some of them, and how many more."""
    shown = ", ".join(map(repr, names[:_SHOWN]))
    more = len(names) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
