"""Low-rank updates of the linear layers of a trunk that is frozen otherwise."""

import math
from fnmatch import fnmatchcase

import torch
from torch import nn
from torch.nn.utils import parametrize


class LowRankUpdate(nn.Module):
    """W + B A, of which W rests; B starts at 0.

    Parameters
    ----------
    weight : Tensor of shape (n_outputs, n_inputs)
        W, for the form of the update; it is not changed.
    rank : int
        Rows of A, columns of B.

    References
    ----------
    .. [1] E. J. Hu et al. LoRA: low-rank adaptation of large language models. ICLR
       2022.
    """

    def __init__(self, weight, rank):
        super().__init__()
        n_outputs, n_inputs = weight.shape
        self.down = nn.Parameter(weight.new_empty(rank, n_inputs))
        self.up = nn.Parameter(weight.new_zeros(n_outputs, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))  # as nn.Linear's own

    def forward(self, weight):
        return weight + self.up @ self.down


def check_update_parameters(model):
    """Refuse parameters of a model that its `lora_rank` leaves nothing to do."""
    if model.lora_rank is None:
        return
    if model.freeze not in (None, "backbone"):
        raise ValueError(
            f"lora_rank={model.lora_rank} freezes the backbone but for its updates: "
            "leave freeze=None, and choose layers with lora_layers."
        )
    if model.l2_sp:
        raise ValueError(
            f"l2_sp={model.l2_sp} draws to pretrained weights, which rest with "
            f"lora_rank={model.lora_rank}: use weight_decay, which draws the updates "
            "to 0."
        )


def add_updates(network, rank, patterns=None):
    """Freeze a trunk in place but for updates of its linear layers.

    Parameters
    ----------
    network : Network
        Its head is trained as a whole.
    rank : int
        Rank of the updates.
    patterns : str, list of str or None, default=None
        Names of linear layers, or of modules around them; None: all of the trunk.
    """
    trunk = network.backbone
    linear = {
        name: part
        for name, part in trunk.named_modules()
        if isinstance(part, nn.Linear)
    }
    if patterns is not None:
        patterns = [patterns] if isinstance(patterns, str) else patterns
        chosen = {name for name in linear if _matches(name, patterns)}
    else:
        chosen = set(linear)
    if not chosen:
        named = "" if patterns is None else f" that match {patterns}"
        raise ValueError(
            f"lora_rank={rank} is for linear layers, but the backbone has none{named}: "
            f"its linear layers are {list(linear)}."
        )
    trunk.requires_grad_(False)
    network.head.requires_grad_(True)
    for name in chosen:
        weight = linear[name].weight
        update = LowRankUpdate(weight.detach(), min(rank, *weight.shape))
        parametrize.register_parametrization(linear[name], "weight", update)


def _matches(name, patterns):
    parts = name.split(".")
    prefixes = [".".join(parts[:i]) for i in range(1, len(parts) + 1)]
    return any(fnmatchcase(prefix, p) for prefix in prefixes for p in patterns)


@torch.no_grad()
def merge_updates(network):
    """Put the updates into the weights, in place: the network is plain again."""
    for part in list(network.backbone.modules()):
        if parametrize.is_parametrized(part, "weight") and any(
            isinstance(p, LowRankUpdate) for p in part.parametrizations.weight
        ):
            parametrize.remove_parametrizations(part, "weight")
