"""Fitted models as one safetensors file: tensors and JSON, no pickle."""

import json

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

# What a user gives as code, and gives again when a model is read.
_CODE = ("backbone", "head", "optimizer", "schedule", "preprocess")


def write_model(model, path):
    """Write a fitted model."""
    parameters, code = {}, []
    for name, value in model.get_params(deep=False).items():
        try:
            parameters[name] = _encode(value)
        except TypeError:
            if name in _CODE:
                code.append(name)
    own = vars(model)
    header = {
        "class": type(model).__name__,
        "parameters": parameters,
        "code": code,
        "fitted": {name: _encode(own[name]) for name in model._saved if name in own},
        "row_shape": list(getattr(model, "_row_shape", ())),
        "example": [list(model._example[0]), model._example[1]],
        "n_outputs": model._n_outputs,
    }
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in model.module_.state_dict().items()
    }
    safetensors.torch.save_file(tensors, path, {"skadapt": json.dumps(header)})


def read_model(cls, path, parameters):
    """Read what `write_model` wrote, with what the caller gives again."""
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get("skadapt", "null"))
    except SafetensorError as error:
        raise ValueError(
            f"{path} is no file of safetensors, as model.save(path) writes them; "
            "pickles, which can run code, are not read: open one you trust with "
            "pickle or joblib, and call save on the model."
        ) from error
    if header is None or header["class"] != cls.__name__:
        found = "no model of skadapt" if header is None else f"a {header['class']}"
        raise ValueError(f"{path} holds {found}, not a {cls.__name__}.")
    lacking = [name for name in header["code"] if name not in parameters]
    if lacking:
        raise ValueError(
            f"The model in {path} was made with {', '.join(lacking)} of the user's, "
            f"which no such file holds: pass {lacking[0]}=... to load."
        )
    own = {name: _decode(value) for name, value in header["parameters"].items()}
    model = cls(**{**own, **parameters})
    for name, value in header["fitted"].items():
        setattr(model, name, _decode(value))
    if header["row_shape"]:
        model._row_shape = tuple(header["row_shape"])
    model._n_outputs = header["n_outputs"]
    shape, dtype = header["example"]
    model._example = (tuple(shape), dtype)
    example = torch.zeros(1, *shape, dtype=getattr(torch, dtype))
    with torch.random.fork_rng([]):
        network, _ = model._network_for(example, model._n_outputs)
    network.load_state_dict(safetensors.torch.load_file(path))
    network.requires_grad_(True).eval()
    model.module_ = network
    return model


def _encode(value):
    """A value as JSON can hold it; TypeError if it is code."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, np.ndarray):
        dtype = "object" if value.dtype == object else value.dtype.str
        return {"array": [_encode(entry) for entry in value.tolist()], "dtype": dtype}
    if isinstance(value, (list, tuple)):
        return {type(value).__name__: [_encode(entry) for entry in value]}
    if isinstance(value, dict):
        return {"dict": [[_encode(k), _encode(v)] for k, v in value.items()]}
    raise TypeError(f"{type(value).__name__} is code")


def _decode(value):
    if not isinstance(value, dict):
        return value
    if "array" in value:
        entries = [_decode(entry) for entry in value["array"]]
        return np.array(entries, dtype=value["dtype"])
    if "dict" in value:
        return {_decode(k): _decode(v) for k, v in value["dict"]}
    kind, entries = next(iter(value.items()))
    return (tuple if kind == "tuple" else list)(_decode(entry) for entry in entries)
