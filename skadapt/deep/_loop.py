"""The training loop: skorch's, fed whole batches by index."""

import copy
import math
import warnings
from typing import NamedTuple

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor, nn

from skadapt.deep._network import parameter_blocks
from skadapt.deep._schedules import learning_rate_factor


class Batch(NamedTuple):
    """What one step looks at; labelled rows come first.

    Attributes
    ----------
    rows : Tensor of shape (n_rows, ...)
        Input of the network, or its features where the trunk is frozen.
    labels : Tensor of shape (n_labeled,)
        Class numbers or values of the first rows.
    weights : Tensor of shape (n_labeled,) or None
        Weights of these rows, of mean 1 over all rows of the training.
    index : Tensor of shape (n_labeled,)
        Numbers of these rows in the training set.
    """

    rows: Tensor
    labels: Tensor
    weights: Tensor | None
    index: Tensor


class LabeledSet:
    """Rows with labels, in batches, shuffled anew in each epoch.

    Parameters
    ----------
    rows : TensorRows or ItemRows
    labels, weights : Tensor on the device
    index : Tensor of int64
        The rows that take part.
    batch_size : int
    generator : torch.Generator or None
        None: in the order of `index`, each row once.
    chances : Tensor or None
        Chance of each row of `index` to be drawn, with replacement; None: each row
        once an epoch.
    """

    def __init__(
        self, rows, labels, weights, index, batch_size, generator=None, chances=None
    ):
        self.rows, self.labels, self.weights = rows, labels, weights
        self.index, self.batch_size = index, batch_size
        self.generator, self.chances = generator, chances

    def __len__(self):
        return max(1, math.ceil(len(self.index) / self.batch_size))

    def order(self):
        """Row numbers in the order of an epoch."""
        n = len(self.index)
        if self.generator is None:
            return self.index
        if self.chances is not None:
            drawn = torch.multinomial(
                self.chances, n, replacement=True, generator=self.generator
            )
        else:
            drawn = torch.randperm(n, generator=self.generator)
        return self.index[drawn]

    def indices(self):
        """Row numbers of each batch of an epoch."""
        parts = list(self.order().split(self.batch_size))
        # A batch norm cannot be trained with one row.
        if self.generator is not None and len(parts) > 1 and len(parts[-1]) == 1:
            last = parts.pop()
            parts[-1] = torch.cat([parts[-1], last])
        return parts

    def __iter__(self):
        indices = self.indices()
        return self.join(self.rows.batches(indices), indices)

    def join(self, batches, indices):
        """Batches of rows with the labels and weights of their first rows."""
        sizes = [len(index) for index in indices]
        at = torch.cat(indices).to(self.labels.device)
        weights = [None] * len(sizes)
        if self.weights is not None:
            weights = self.weights[at].split(sizes)
        labels = self.labels[at].split(sizes)
        return map(Batch, batches, labels, weights, at.split(sizes))


class PairedSet:
    """Batches of as many source rows as target rows; the shorter set is cycled."""

    def __init__(self, source, target):
        self.source, self.target = source, target

    def __len__(self):
        return max(len(self.source), len(self.target))

    def __iter__(self):
        n = max(len(self.source.index), len(self.target.index))
        size = self.source.batch_size
        source, target = (_cycled(part, n) for part in (self.source, self.target))
        first = source.split(size)
        both = [torch.cat(pair) for pair in zip(first, target.split(size))]
        return self.source.join(self.source.rows.batches(both), first)


def _cycled(part, n):
    """`n` row numbers: epochs of a set, one after the other."""
    orders = []
    while sum(map(len, orders)) < n:
        orders.append(part.order())
    return torch.cat(orders)[:n]


class Recipe(NamedTuple):
    """How a network is trained; names and meanings as in the estimators."""

    max_epochs: int
    lr: float
    optimizer: object
    momentum: float
    layer_decay: float
    weight_decay: float
    l1: float
    l2_sp: float
    schedule: object
    warmup: float
    gradual_unfreeze: bool
    patience: int | None
    autocast: str | None
    compile: bool
    verbose: bool
    batch_size: int


class Past(NamedTuple):
    """What calls before left, where one more epoch is added to them.

    Attributes
    ----------
    n_epochs : int
        Epochs done.
    state : dict or None
        State of the optimizer, as `Training` has it.
    anchors : dict of str to Tensor
        Parameters that the penalty L2-SP draws to.
    """

    n_epochs: int
    state: dict | None
    anchors: dict


class Training(NamedTuple):
    """What training gives, beside the network.

    Attributes
    ----------
    history : list of dict
        One entry an epoch.
    state : dict
        State of the optimizer, by the names of the parameters, and its kind: rates and
        frozen layers may be others in the next call.
    interrupted : bool
        Whether the user ended it.
    """

    history: list
    state: dict
    interrupted: bool


def train(network, forward, objective, train_set, valid_set, recipe, *, past=None):
    """Train a network in place.

    Parameters
    ----------
    network : Network
        Frozen as it is to be, on its device.
    forward : callable
        From the rows of a batch to features and outputs.
    objective : torch.nn.Module
        ``objective(batch, features, outputs, progress)`` is the loss of a batch; its
        parameters are trained, too. In evaluation mode: what is compared between
        epochs. What it has in `recorded` after a training step, scalar tensors by
        name, is averaged in the history.
    train_set, valid_set : iterable of Batch
    recipe : Recipe
    past : Past, default=None
        What is gone on with, for one epoch; None: all epochs from the start.

    Returns
    -------
    training : Training
    """
    loop = _Loop(
        network,
        objective,
        optimizer=None,
        callbacks="disable",
        train_split=None,
        verbose=0,
        device=None,
    )
    n_epochs = recipe.max_epochs if past is None else 1
    past = Past(0, None, {}) if past is None else past
    loop.plan = _Plan(network, forward, objective, recipe, len(train_set), past)
    loop.initialize()
    watch = _Watch(network, objective, recipe, valid_set is not None, past.n_epochs)
    loop.callbacks_ = [("watch", watch)]
    interrupted = False
    try:
        loop.fit_loop((train_set, valid_set), epochs=n_epochs)
    except _Stop:
        pass
    except KeyboardInterrupt:
        interrupted = True
        watch.interrupted()
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ValueError(
            "A batch norm learns nothing from a batch of one row (batch_size="
            f"{recipe.batch_size}): give more rows and a larger batch_size, or "
            "freeze_bn=True."
        ) from error
    except RuntimeError as error:
        text = str(error).lower()
        if "out of memory" not in text and "can't allocate memory" not in text:
            raise
        raise MemoryError(
            f"The memory does not hold batches of batch_size={recipe.batch_size} "
            "rows: give a smaller batch_size, autocast='bfloat16', or freeze more."
        ) from error
    finally:
        watch.close()
    watch.restore()
    network.eval()
    network.zero_grad(set_to_none=True)
    return Training(watch.history, loop.plan.state_of(loop.optimizer_), interrupted)


class _Stop(Exception):
    """Training is over before its last epoch."""


class _Plan:
    """Rates of the blocks, and what is done to the weights after a step."""

    def __init__(self, network, forward, objective, recipe, n_steps, past):
        self.network, self.forward, self.recipe = network, forward, recipe
        self.n_steps = n_steps * recipe.max_epochs
        self.past, self.epoch = past, past.n_epochs
        self.step = n_steps * past.n_epochs
        self.factor = None
        parameters = dict(network.named_parameters())
        pretrained = objective.pretrained if recipe.l2_sp else ()
        self.blocks = []
        alike = {}  # few groups: an optimizer takes its time for each of them
        for depth, (_, names) in enumerate(reversed(parameter_blocks(network))):
            trained = [name for name in names if parameters[name].requires_grad]
            self.blocks.append([parameters[name] for name in trained])
            rate = recipe.lr * recipe.layer_decay**depth
            for name in trained:
                decays = parameters[name].ndim > 1 and name not in pretrained
                decay = recipe.weight_decay if decays else 0.0
                alike.setdefault((rate, decay), []).append(parameters[name])
        for parameter in objective.parameters():
            decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
            alike.setdefault((recipe.lr, decay), []).append(parameter)
        self.groups = [
            {"params": chosen, "lr": rate, "weight_decay": decay, "peak": rate}
            for (rate, decay), chosen in alike.items()
        ]
        self.anchors = {
            parameters[name]: past.anchors.get(name, parameters[name]).detach().clone()
            for name in pretrained
            if parameters[name].requires_grad
        }
        # With momentum m a gradient moves a weight 1 / (1 - m) times; so do penalties,
        # that the balance between the two is that of the loss plus the penalty.
        is_sgd = recipe.optimizer == "sgd"
        self.gain = 1 / (1 - recipe.momentum) if is_sgd else 1.0

    def optimizer(self):
        """The optimizer, of trained parameters only, with what it knew before."""
        optimizer = self._new_optimizer()
        state = self.past.state
        if state is None or state["optimizer"] != self.recipe.optimizer:
            return optimizer
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad and name in state["parameters"]:
                own = copy.deepcopy(state["parameters"][name])
                for key, value in own.items():
                    if isinstance(value, Tensor) and value.shape == parameter.shape:
                        own[key] = value.to(parameter.device)
                optimizer.state[parameter] = own
        return optimizer

    def state_of(self, optimizer):
        """What an optimizer knows, by the names of the parameters."""
        named = self.network.named_parameters()
        states = {name: optimizer.state[p] for name, p in named if p in optimizer.state}
        return {"optimizer": self.recipe.optimizer, "parameters": states}

    def _new_optimizer(self):
        kind = self.recipe.optimizer
        if not self.groups:
            raise ValueError("Every parameter is frozen: leave the head to be trained.")
        groups = [dict(group) for group in self.groups]
        if kind == "sgd":
            return torch.optim.SGD(
                groups, lr=self.recipe.lr, momentum=self.recipe.momentum
            )
        if kind in ("adam", "adamw"):
            kind = torch.optim.Adam if kind == "adam" else torch.optim.AdamW
        return kind(groups, lr=self.recipe.lr)

    def set_rates(self, optimizer):
        """Rates of the coming step."""
        factor = learning_rate_factor(
            self.recipe.schedule,
            min(self.step, self.n_steps),
            self.n_steps,
            epoch=self.epoch,
            warmup=self.recipe.warmup,
        )
        if factor != self.factor:
            self.factor = factor
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor

    @property
    def progress(self):
        return min(1.0, self.step / self.n_steps)

    @torch.no_grad()
    def shrink(self, optimizer):
        """Proximal steps of the penalties, stable however strong they are."""
        if not self.recipe.l2_sp and not self.recipe.l1:
            return
        for group in optimizer.param_groups:
            step = group["lr"] * self.gain
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                anchor = self.anchors.get(weight)
                if anchor is not None:
                    strength = step * self.recipe.l2_sp
                    weight.lerp_(anchor, strength / (1 + strength))
                if self.recipe.l1 and weight.ndim > 1:
                    # nn.functional.softshrink lets nothing through at infinity.
                    size = weight.abs().sub_(step * self.recipe.l1).clamp_(min=0)
                    weight.copy_(size.copysign_(weight))

    def unfreeze(self):
        """Let the blocks learn that have their turn: one more in each epoch."""
        if not self.recipe.gradual_unfreeze:
            return
        for turn, block in enumerate(self.blocks):
            for parameter in block:
                parameter.requires_grad_(turn <= self.epoch)
        self.network.rest(batch_norm=self.network.batch_norm_rests)


class _Loop(NeuralNet):
    """skorch's loop with our steps: the data come in batches, on the device."""

    def initialize_optimizer(self, triggered_directly=None):
        self.optimizer_ = self.plan.optimizer()
        recipe = self.plan.recipe
        device = next(self.module_.parameters()).device.type
        self.casts = None
        if recipe.autocast is not None:
            self.casts = torch.autocast(device, dtype=getattr(torch, recipe.autocast))
        scales = recipe.autocast == "float16" and device == "cuda"
        self.scaler = torch.amp.GradScaler(device) if scales else None
        self.call = self.plan.forward
        if recipe.compile:
            self.call = torch.compile(self.call)
        return self

    def get_split_datasets(self, X, y=None, **fit_params):
        return X

    def get_iterator(self, dataset, training=False):
        return dataset

    def _set_training(self, training=True):
        """Only where it changes: walking through all modules takes time."""
        if self.module_.training != training:
            self.module_.train(training)
            self.criterion_.train(training)

    def _loss(self, batch):
        features, outputs = self.call(batch.rows)
        return self.criterion_(batch, features, outputs, self.plan.progress)

    def evaluate_loss(self, batch):
        if self.casts is None:
            return self._loss(batch)
        with self.casts:
            return self._loss(batch)

    def train_step(self, batch, **fit_params):
        self._set_training(True)
        optimizer, plan = self.optimizer_, self.plan
        plan.set_rates(optimizer)
        optimizer.zero_grad(set_to_none=True)
        loss = self.evaluate_loss(batch)
        if self.scaler is None:
            loss.backward()
            optimizer.step()
        else:
            self.scaler.scale(loss).backward()
            self.scaler.step(optimizer)
            self.scaler.update()
        plan.shrink(optimizer)
        plan.step += 1
        return {"loss": loss}

    def validation_step(self, batch, **fit_params):
        self._set_training(False)
        with torch.no_grad():
            return {"loss": self.evaluate_loss(batch)}


class _Watch(Callback):
    """What happens between epochs: records, best weights, early stopping."""

    def __init__(self, network, objective, recipe, validates, n_before):
        self.network, self.objective, self.recipe = network, objective, recipe
        self.validates, self.n_before = validates, n_before
        self.history, self.recorded = [], []
        self.best, self.waited = np.inf, 0
        # What may change at all; gradual unfreezing has not begun yet.
        self.names = [n for n, p in network.named_parameters() if p.requires_grad]
        self.names += [name for name, _ in network.named_buffers()]
        self.kept = None
        self.keep()
        self.bar = None
        if recipe.verbose:
            from tqdm.auto import tqdm

            self.bar = tqdm(total=recipe.max_epochs, unit="epoch", leave=False)

    def keep(self):
        """Remember the weights that are good so far."""
        own = self._tensors()
        if self.kept is None:
            self.kept = {name: own[name].detach().clone() for name in self.names}
        for name, kept in self.kept.items():
            kept.copy_(own[name].detach())

    def _tensors(self):
        own = dict(self.network.named_parameters())
        return {**own, **dict(self.network.named_buffers())}

    @torch.no_grad()
    def restore(self):
        """Go back to the weights that were kept last."""
        own = self._tensors()
        for name, tensor in self.kept.items():
            own[name].copy_(tensor)

    def on_epoch_begin(self, net, **kwargs):
        net.plan.epoch = self._n_epochs
        net.plan.unfreeze()
        # Modes change when blocks are let go.
        self.network.eval()

    def on_batch_end(self, net, batch, training, **kwargs):
        loss = net.history[-1]["batches"][-1]["train_loss" if training else _VALID]
        if training and not math.isfinite(loss):
            self.diverged()
        if training and self.objective.recorded:
            self.recorded.append(list(self.objective.recorded.values()))

    @property
    def _n_epochs(self):
        """Epochs done, in calls before, too."""
        return self.n_before + len(self.history)

    def on_epoch_end(self, net, **kwargs):
        batches = net.history[-1]["batches"]
        entry = {"epoch": self._n_epochs + 1}
        for name in ("train_loss", _VALID):
            losses = [batch for batch in batches if name in batch]
            if losses:
                sizes = [b[name.replace("loss", "batch_size")] for b in losses]
                entry[name] = float(
                    np.average([b[name] for b in losses], weights=sizes)
                )
        if self.recorded:
            sizes = [b["train_batch_size"] for b in batches if "train_loss" in b]
            for name, losses in zip(self.objective.recorded, zip(*self.recorded)):
                losses = torch.stack(losses).double().cpu()
                entry[name] = float(np.average(losses, weights=sizes))
            self.recorded.clear()
        entry["lr"] = float(max(g["lr"] for g in net.optimizer_.param_groups))
        batches.clear()
        if self.validates and not math.isfinite(entry[_VALID]):
            self.diverged()
        if not _all_finite(self.network):
            self.diverged()
        self.history.append(entry)
        if self.bar is not None:
            self.bar.update()
            self.bar.set_postfix({k: v for k, v in entry.items() if k != "epoch"})
        if not self.validates:
            self.keep()
            return
        if entry[_VALID] < self.best:
            self.best, self.waited = entry[_VALID], 0
            self.keep()
        else:
            self.waited += 1
            if self.recipe.patience is not None and self.waited >= self.recipe.patience:
                raise _Stop

    def diverged(self):
        warnings.warn(
            f"The loss is not finite in epoch {self._n_epochs + 1}: training stopped "
            f"there, with the last good weights, those {self._moment()}. Use a lower "
            "lr.",
            ConvergenceWarning,
            stacklevel=2,
        )
        raise _Stop

    def interrupted(self):
        warnings.warn(
            f"Interrupted in epoch {self._n_epochs + 1}: the weights are those "
            f"{self._moment()}.",
            ConvergenceWarning,
            stacklevel=2,
        )

    def _moment(self):
        if not self._n_epochs:
            return "before training"
        if not self.history or not self.validates:
            return f"after epoch {self._n_epochs}"
        return f"after epoch {1 + int(np.argmin([e[_VALID] for e in self.history]))}"

    def close(self):
        if self.bar is not None:
            self.bar.close()


_VALID = "valid_loss"


def _all_finite(network):
    """The last step of an epoch may spoil weights that no batch has seen."""
    trained = [p.detach() for p in network.parameters() if p.requires_grad]
    if not trained:
        return True
    norms = torch._foreach_norm(trained)
    return bool(torch.isfinite(torch.stack([n.float() for n in norms])).all())


class SupervisedObjective(nn.Module):
    """Loss of the labelled rows of a batch, drawn towards the network before.

    ``(1 - rho) loss(labels, outputs) + rho loss(before, outputs)``, the mean over
    rows, each with its weight.

    Parameters
    ----------
    loss : callable
        ``loss(outputs, labels)``, one value a row.
    pretrained : set of str
        Parameters that the penalty L2-SP draws back.
    before : Tensor or None
        What the network said about each row of the training set.
    loss_of_before : callable
        ``loss(outputs, before)``, one value a row.
    conservative : float
        rho.
    """

    def __init__(
        self, loss, pretrained=(), before=None, loss_of_before=None, conservative=0.0
    ):
        super().__init__()
        self.recorded = {}
        self.loss, self.pretrained = loss, pretrained
        self.before, self.loss_of_before = before, loss_of_before
        self.conservative = conservative

    def forward(self, batch, features, outputs, progress):
        outputs = outputs[: len(batch.labels)]
        losses = self.loss(outputs, batch.labels)
        if self.before is not None and self.training:
            towards = self.loss_of_before(outputs, self.before[batch.index])
            losses = torch.lerp(losses, towards, self.conservative)
        if batch.weights is not None:
            losses = losses * batch.weights
        return losses.mean()
