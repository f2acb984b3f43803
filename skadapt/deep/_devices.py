"""Where networks compute: devices, their random numbers, their tensors."""

import copy
from contextlib import contextmanager

import torch
from torch import nn


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
    if found.type == "cpu":
        return found
    try:
        torch.zeros(1, device=found).cpu()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device={str(device)!r} was asked for, but torch finds none of that name: "
            "use device='auto', or install a build of torch for it."
        ) from error
    return found


def parameter_dtype(module, default=torch.float32):
    """Precision of a network; the default if it has no parameters, or is none yet.

    Parameters
    ----------
    module : torch.nn.Module, fitted estimator with a `module_` or anything else
    default : torch.dtype, default=torch.float32
    """
    module = getattr(module, "module_", module)
    if not isinstance(module, nn.Module):
        return default
    floats = (p.dtype for p in module.parameters() if p.is_floating_point())
    return next(floats, default)


def as_array(tensor):
    """An array of the numbers of a tensor; half precision becomes single."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.element_size() < 4 else tensor).numpy()


def on_cpu(state):
    """Tensors and modules in the memory of the CPU, copied if they are elsewhere.

    Dicts and lists of them likewise; what is neither stays as it is.
    """
    if isinstance(state, nn.Module):
        if all(tensor.device.type == "cpu" for tensor in state.state_dict().values()):
            return state
        return copy.deepcopy(state).cpu()
    if isinstance(state, torch.Tensor):
        return state.cpu()
    if isinstance(state, dict):
        return {key: on_cpu(value) for key, value in state.items()}
    if isinstance(state, list):
        return [on_cpu(value) for value in state]
    return state


@contextmanager
def seeded(seed, device):
    """torch draws from a seed, and goes on afterwards as if nothing had happened.

    No generator but those of the CPU and of the device is touched.
    """
    kind = device.type
    devices = [] if kind == "cpu" else [device]
    with torch.random.fork_rng(devices, device_type="cuda" if kind == "cpu" else kind):
        torch.default_generator.manual_seed(seed)
        if kind == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif kind == "mps":
            torch.mps.manual_seed(seed)
        yield
