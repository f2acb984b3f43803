"""Networks of a trunk and a head: how they are put together, cut and frozen."""

import copy
from fnmatch import fnmatchcase
from numbers import Integral

import torch
from torch import nn

from skadapt.deep._devices import parameter_dtype

__all__ = ["Network", "parameter_blocks", "transfer_layers"]

_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
)

# Layers whose features are on the last axis of a sequence.
_FEATURES_LAST = (
    nn.Linear,
    nn.LayerNorm,
    nn.Embedding,
    nn.RNNBase,
    nn.MultiheadAttention,
)


class Network(nn.Module):
    """A trunk that gives features, and a head that makes outputs of them.

    Parameters
    ----------
    backbone : torch.nn.Module
        The trunk. Outputs with positions (images, tokens) are averaged over them:
        outputs of three axes are (rows, positions, features), as transformers give
        them, or (rows, channels, positions) if the last layer of the trunk with
        features of its own is a one-dimensional convolution.
    head : torch.nn.Module
        From features to outputs.
    dropout : float, default=0.0
        Share of the features that the head does not see in training.

    Examples
    --------
    >>> import torch
    >>> from skadapt.deep import Network
    >>> network = Network(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2))
    >>> rows = torch.zeros(5, 4)
    >>> network.features(rows).shape, network(rows).shape
    (torch.Size([5, 3]), torch.Size([5, 2]))
    """

    def __init__(self, backbone, head, dropout=0.0):
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = head
        self._channels = sequence_channels(backbone)
        self._resting = []

    def features(self, rows):
        """Features of rows, two-dimensional."""
        return pooled(self.backbone(rows), channels=self._channels)

    def outputs(self, features):
        """Outputs of the head."""
        return self.head(self.dropout(features))

    def forward(self, rows):
        """Outputs of rows."""
        return self.outputs(self.features(rows))

    def train(self, mode=True):
        """Training mode, except for frozen parts and frozen batch norms."""
        super().train(mode)
        for module in self._resting:
            module.eval()
        return self

    def rest(self, *, batch_norm=False):
        """Note which modules stay in evaluation mode: those wholly frozen.

        A normalisation without parameters goes with the layer before it, or with the
        first layer where there is none.
        """
        self._resting = []
        for module in self.modules():
            parameters = list(module.parameters())
            frozen = parameters and not any(p.requires_grad for p in parameters)
            is_batch_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
            if frozen or (batch_norm and is_batch_norm):
                self._resting.append(module)
        first = next(self.backbone.parameters(), None)
        learns = first is not None and first.requires_grad
        for module in self.backbone.modules():
            own = [p.requires_grad for p in module.parameters(recurse=False)]
            if own:
                learns = any(own)
            elif isinstance(module, nn.modules.batchnorm._NormBase) and not learns:
                self._resting.append(module)


def sequence_channels(module, layer=None):
    """Number of channels, if a network's sequences have their positions on axis 2.

    None if the last layer with features of its own, in the order of definition, is no
    one-dimensional convolution: the positions are on axis 1 then. `layer` is the name
    of the module whose output is meant; None is the network.
    """
    parts = list(module.named_modules())
    if layer is not None:
        end = max(
            i for i, (name, _) in enumerate(parts) if f"{name}.".startswith(f"{layer}.")
        )
        parts = parts[: end + 1]
    for _, part in reversed(parts):
        if isinstance(part, (nn.Conv1d, nn.ConvTranspose1d)):
            return part.out_channels
        if isinstance(part, _FEATURES_LAST):
            return None
    return None


def pooled(features, pooling="mean", *, channels=None):
    """One row of features for each row of the input.

    `channels` is what `sequence_channels` says of the module that gave them.
    """
    if hasattr(features, "last_hidden_state"):
        features = features.last_hidden_state
    elif isinstance(features, (tuple, list)):
        features = features[0]
    if not isinstance(features, torch.Tensor) or features.ndim < 2:
        found = getattr(features, "shape", type(features).__name__)
        raise ValueError(
            f"The network gives {found if isinstance(found, str) else tuple(found)} "
            "where a tensor of shape (n_rows, n_features), or with positions beside "
            "that, is needed: end it with a layer that gives one row a row, such as "
            "torch.nn.Flatten."
        )
    if pooling == "flatten" or features.ndim == 2:
        return features.flatten(1)
    # Positions lie on all axes from 2, but those of tokens on axis 1. A network may
    # turn what its convolution gave: the number of channels tells.
    if features.ndim == 3 and features.shape[1] != channels:
        features = features.transpose(1, 2)
    if pooling == "first":
        return features.flatten(2)[:, :, 0]
    axes = tuple(range(2, features.ndim))
    return features.amax(axes) if pooling == "max" else features.mean(axes)


class KeepsBackbone:
    """Mixin of estimators whose clones have the same backbone, fitted or not."""

    def __sklearn_clone__(self):
        # A backbone is data, not a model to be fitted: its clone would know nothing.
        copied = super().__sklearn_clone__()
        copied.backbone = self.backbone
        return copied


def as_module(backbone):
    """A copy of what a user may give as backbone; None stays None."""
    if backbone is None:
        return None
    if isinstance(backbone, str):
        from skadapt.deep._backbones import load_backbone

        return load_backbone(backbone)
    if hasattr(backbone, "module_"):  # a fitted estimator, or a net of skorch
        backbone = backbone.module_
    if isinstance(backbone, nn.Module):
        return copy.deepcopy(backbone)
    name = backbone.__name__ if isinstance(backbone, type) else type(backbone).__name__
    if hasattr(backbone, "fit") and not isinstance(backbone, type):
        raise ValueError(
            f"The backbone, a {name}, has no network: give one of skadapt.deep or of "
            "skorch, and fit it first."
        )
    try:
        made = backbone()
    except TypeError as error:
        raise ValueError(
            f"The backbone, {name}, is neither a network nor a callable that makes one "
            f"without arguments: {error}."
        ) from error
    if not isinstance(made, nn.Module):
        raise ValueError(
            f"The backbone, {name}, makes a {type(made).__name__}, which is no "
            "torch.nn.Module: give a network, or a callable that makes one."
        )
    return made


def multilayer_perceptron(n_inputs, hidden_layer_sizes):
    """The default trunk: fully connected layers with ReLU."""
    layers, n = [nn.Flatten()], n_inputs
    for width in hidden_layer_sizes:
        layers += [nn.Linear(n, width), nn.ReLU()]
        n = width
    return nn.Sequential(*layers)


def build_network(
    backbone, head, n_outputs, example, *, dropout=0.0, hidden_layer_sizes=(64,)
):
    """Join a trunk and a head for rows like those of `example`.

    Returns
    -------
    network : Network
    pretrained : set of str
        Names of the parameters that the caller's network brought along.
    """
    trunk, old_head = as_module(backbone), None
    given = trunk is not None
    if not given:
        n_inputs = example[0].numel()
        trunk = multilayer_perceptron(n_inputs, hidden_layer_sizes)
    trunk = trunk.to(example.device)
    if isinstance(trunk, Network):
        trunk, old_head = trunk.backbone, trunk.head
    elif given and head in ("auto", "replace"):
        trunk, old_head = _without_head(trunk, example)
    features = probe(trunk, example)  # which also gives lazy layers their shapes
    trunk.requires_grad_(True)
    n_features = pooled(features, channels=sequence_channels(trunk)).shape[1]
    kept = (
        head == "auto"
        and old_head is not None
        and _n_outputs(old_head, n_features, example) == n_outputs
    )
    if kept:
        new_head = old_head.requires_grad_(True)
    elif isinstance(head, str):
        new_head = nn.Linear(n_features, n_outputs)
    elif isinstance(head, nn.Module):
        new_head = copy.deepcopy(head)
    else:
        new_head = head(n_features, n_outputs)
    new_head = new_head.to(example.device, _dtype_of(trunk, example))
    found = _n_outputs(new_head, n_features, example)
    if found != n_outputs:
        raise ValueError(
            f"The head gives {found} outputs, but {n_outputs} are needed: give a "
            "callable head(n_features, n_outputs), or leave it to head='auto'."
        )
    network = Network(trunk, new_head, dropout)
    names = (name for name, _ in network.named_parameters())
    parts = ("backbone.",) * given + ("head.",) * kept
    return network, {name for name in names if name.startswith(parts)}


def _dtype_of(module, example):
    default = example.dtype if example.is_floating_point() else torch.float32
    return parameter_dtype(module, default)


def _n_outputs(head, n_features, example):
    dtype = _dtype_of(head, example)
    features = torch.zeros(2, n_features, device=example.device, dtype=dtype)
    try:
        return probe(head, features).shape[1]
    except (ValueError, IndexError):
        return None


def probe(module, example, function=None):
    """Output of a module in evaluation mode, which it does not stay in."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            return (function or module)(example)
    except RuntimeError as error:
        raise ValueError(_refusal(module, example, error)) from error
    finally:
        for part, mode in modes.items():
            part.training = mode


def _refusal(module, example, error):
    shape = tuple(example.shape[1:])
    convolution = next(
        (m for m in module.modules() if isinstance(m, nn.modules.conv._ConvNd)), None
    )
    if convolution is not None and example.ndim > 2:
        expected = convolution.in_channels
        if expected != shape[0]:
            return (
                f"X has rows with {shape[0]} channels (of shape {shape}), but the "
                f"backbone takes {expected}: repeat or average the channels of X, as "
                f"in X.mean(axis=1, keepdims=True).repeat({expected}, axis=1)."
            )
    reason = str(error).splitlines()[0]
    return f"The network does not take rows of shape {shape}: {reason}"


def _without_head(module, example):
    """The module without the linear layer that makes its output, if any; and it."""
    linear = {
        name: part
        for name, part in module.named_modules()
        if name and isinstance(part, nn.Linear)
    }
    shapes = {name: [] for name in linear}
    hooks = [
        part.register_forward_hook(
            lambda *call, name=name: shapes[name].append(call[-1].shape)
        )
        for name, part in linear.items()
    ]
    try:
        output = probe(module, example)
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(output, torch.Tensor) or output.ndim != 2:
        return module, None
    for name, head in reversed(linear.items()):
        fits = shapes[name] == [output.shape]
        if fits and _makes_output(head, module, example, output):
            parent, _, attribute = name.rpartition(".")
            setattr(module.get_submodule(parent), attribute, nn.Identity())
            return module, head
    return module, None


def _makes_output(layer, module, example, output):
    """Whether a network gives out what a layer gives, whatever that is.

    An activation may leave alone what the layer makes of a few rows: large numbers of
    both signs go in its place, and have to come out.
    """
    numbers = torch.linspace(*_LARGE, output.numel()).reshape(output.shape).to(output)
    for given in (numbers, -numbers):
        hook = layer.register_forward_hook(lambda *call, given=given: given.clone())
        try:
            found = probe(module, example)
        finally:
            hook.remove()
        if not torch.equal(found, given):
            return False
    return True


# Beyond what activations let through, and within half precision.
_LARGE = 1000.0, 2000.0


def parameter_blocks(network):
    """Blocks of a network from the input to the head, in the order of definition.

    ``nn.Sequential`` and ``nn.ModuleList`` are taken apart, and so is any module with
    more than half of all parameters. Every other module with parameters is a block,
    such as a layer or a residual block; a normalisation belongs to the block before.
    The head is the last block.

    Parameters
    ----------
    network : torch.nn.Module
        A network; of a `Network` the head is kept apart.

    Returns
    -------
    blocks : list of (str, list of str)
        Name of each block and the names of its parameters.

    Examples
    --------
    >>> from torch import nn
    >>> from skadapt.deep import parameter_blocks
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    >>> for name, parameters in parameter_blocks(net):
    ...     print(name, parameters)
    0 ['0.weight', '0.bias', '1.weight', '1.bias']
    2 ['2.weight', '2.bias']
    """
    if not isinstance(network, Network):
        return _blocks_of(network, "")
    blocks = _blocks_of(network.backbone, "backbone.")
    tied = {name for _, names in blocks for name in names}
    head = [n for n, _ in network.named_parameters() if n.startswith("head.")]
    return [*blocks, ("head", [name for name in head if name not in tied])]


def _blocks_of(root, prefix):
    total = sum(p.numel() for p in root.parameters())
    blocks, seen = [], set()

    def new_parameters(module, name, recurse):
        found = []
        for key, parameter in module.named_parameters(recurse=recurse):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                found.append(f"{prefix}{name}{key}")
        return found

    def walk(module, name):
        names = new_parameters(module, name, recurse=False)
        if names:
            blocks.append((f"{prefix}{name}".rstrip("."), names))
        for key, child in module.named_children():
            path = f"{name}{key}."
            size = sum(p.numel() for p in child.parameters())
            has_children = any(True for _ in child.children())
            apart = type(child) in (nn.Sequential, nn.ModuleList)
            if has_children and (apart or 2 * size > total):
                walk(child, path)
                continue
            names = new_parameters(child, path, recurse=True)
            if names and isinstance(child, _NORMS) and blocks:
                blocks[-1][1].extend(names)
            elif names:
                blocks.append((f"{prefix}{path}".rstrip("."), names))

    walk(root, "")
    return blocks


def freeze_parameters(network, freeze):
    """Freeze parameters in place, as `freeze` says; the others are trained."""
    blocks = parameter_blocks(network)
    frozen = set()
    if isinstance(freeze, bool):
        raise ValueError(
            f"freeze={freeze} is neither a number of blocks nor a name: use 'backbone' "
            "to train the head alone, or None to train everything."
        )
    if freeze == "backbone":
        frozen = {name for _, names in blocks[:-1] for name in names}
    elif isinstance(freeze, Integral):
        if freeze >= len(blocks):
            raise ValueError(
                f"freeze={freeze}, but the backbone has {len(blocks) - 1} blocks: "
                f"{[name for name, _ in blocks[:-1]]}."
            )
        frozen = {name for _, names in blocks[:freeze] for name in names}
    elif freeze is not None:
        frozen = _matching(network, [freeze] if isinstance(freeze, str) else freeze)
    for name, parameter in network.named_parameters():
        # Whole numbers, as in quantised layers, take no gradient.
        trained = name not in frozen and parameter.is_floating_point()
        parameter.requires_grad_(trained)


def _matching(network, patterns):
    """Names of parameters that a pattern names, or a module of theirs."""
    found = set()
    names = [name for name, _ in network.named_parameters()]
    for pattern in patterns:
        matches = set()
        for name in names:
            for path in {name, name.removeprefix("backbone.")}:
                parts = path.split(".")
                prefixes = (".".join(parts[:i]) for i in range(1, len(parts) + 1))
                if any(fnmatchcase(prefix, pattern) for prefix in prefixes):
                    matches.add(name)
        if not matches:
            raise ValueError(
                f"freeze={pattern!r} matches no layer: the blocks are "
                f"{[name for name, _ in parameter_blocks(network)]}."
            )
        found |= matches
    return found


def transfer_layers(source, target, *, first=None, last=None, names=None):
    """Copy of a network, with some layers of another one.

    Parameters
    ----------
    source : torch.nn.Module
        Network the layers are taken from.
    target : torch.nn.Module
        Network of the same form in these layers; it is not changed.
    first : int, default=None
        Number of blocks from the input on that are copied (`parameter_blocks`).
    last : int, default=None
        Number of blocks before the output that are copied.
    names : list of str, default=None
        Names of modules that are copied.

    Returns
    -------
    network : torch.nn.Module
        `target` with the parameters and buffers of these layers of `source`.

    Raises
    ------
    ValueError
        If not exactly one of `first`, `last`, `names` is given, or if a layer is not
        in both networks with the same shapes.

    References
    ----------
    .. [1] M. Oquab, L. Bottou, I. Laptev, J. Sivic. Learning and transferring
       mid-level image representations using convolutional neural networks. CVPR
       2014.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skadapt.deep import transfer_layers
    >>> source = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 5))
    >>> target = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> joined = transfer_layers(source, target, first=1)
    >>> torch.equal(joined[0].weight, source[0].weight)
    True
    """
    if sum(choice is not None for choice in (first, last, names)) != 1:
        raise ValueError("Give exactly one of first, last and names.")
    if names is None:
        blocks = parameter_blocks(source)
        chosen = blocks[:first] if last is None else blocks[len(blocks) - last :]
        paths = {path.rpartition(".")[0] for _, keys in chosen for path in keys}
    else:
        paths = set(names)
    state = source.state_dict()
    wanted = [key for key in state if _within(key, paths)]
    network = copy.deepcopy(target)
    own = network.state_dict()
    misfits = [k for k in wanted if k not in own or own[k].shape != state[k].shape]
    if misfits or not wanted:
        raise ValueError(
            f"The networks differ in the layers {misfits or sorted(paths)}: choose "
            "layers that both have, with the same shapes."
        )
    with torch.no_grad():
        for key in wanted:
            own[key].copy_(state[key])
    return network


def _within(key, paths):
    parts = key.split(".")
    return any(".".join(parts[:i]) in paths for i in range(len(parts) + 1))
