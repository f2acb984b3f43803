"""From checked rows to a trained network, for all predictors with networks."""

import copy

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import nn

from skadapt.deep._devices import find_device, parameter_dtype, seeded
from skadapt.deep._loop import LabeledSet, Recipe, SupervisedObjective, train
from skadapt.deep._lora import add_updates, merge_updates
from skadapt.deep._network import as_module, build_network, freeze_parameters, probe
from skadapt.deep._rows import ItemRows, Placement, TensorRows

# Rows of two axes that a network sees at once when nothing is trained.
_ROWS_AT_ONCE = 4096


class TrainingMixin:
    """Training, as the parameters of an estimator say.

    What differs between kinds of labels is overridden: `_loss`, `_strata`, `_chances`,
    `_factors` and `_groups`.
    """

    def _rows(self, X, placement):
        if self.preprocess is not None:
            return ItemRows(X, self.preprocess, placement, self.n_jobs)
        return TensorRows(X, placement)

    def _placement(self, network):
        return Placement(
            find_device(self.device),
            parameter_dtype(network),
            channels_last=self.channels_last,
            normalize=self.normalize,
        )

    @property
    def _goes_on(self):
        """Whether `fit` starts from the network of the last call."""
        return self.warm_start and hasattr(self, "module_")

    def _start(self, X):
        """The network that `fit` starts from, and its pretrained parameters."""
        if not self._goes_on:
            return self._initial_network(X, self._n_outputs)
        return self._again(copy.deepcopy(self.module_), X)

    def _again(self, network, X):
        """A network that goes on, and its parameters, all of them pretrained."""
        placement = self._placement(network)
        self._set_up(network.to(placement.device))
        probe(network, self._example_of(X, placement))
        return network, {name for name, _ in network.named_parameters()}

    def _initial_network(self, X, n_outputs, backbone=None, head=None):
        """A network for rows like these, on the device; its pretrained parameters."""
        backbone = self.backbone if backbone is None else backbone
        if callable(backbone) and not isinstance(backbone, nn.Module):
            backbone = as_module(backbone)
        dtype = parameter_dtype(backbone)
        placement = Placement(find_device(self.device), dtype, normalize=self.normalize)
        example = self._example_of(X, placement)
        return self._network_for(example, n_outputs, backbone, head)

    def _example_of(self, X, placement):
        example = self._rows(X[:1], placement).batch(torch.arange(1))
        self._example = (tuple(example.shape[1:]), str(example.dtype).split(".")[1])
        return example

    def _set_up(self, network):
        network.dropout.p = self.dropout
        network.batch_norm_rests = bool(self.freeze_bn)
        if self.channels_last:
            network.to(memory_format=torch.channels_last)

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
            hidden_layer_sizes=self.hidden_layer_sizes,
        )
        self._set_up(network)
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
        plain=False,
        past=None,
        make_sets=None,
    ):
        """Train a network on labelled rows.

        ``make_objective(rows, forward)`` gives the loss, once the frozen part is known.
        With `plain`, nothing is frozen and nothing holds on to what was before.
        ``make_sets(rows, labeled, generator)`` replaces the training set.
        """
        updates = self.lora_rank is not None and not plain
        if updates:
            add_updates(network, self.lora_rank, self.lora_layers)
        else:
            freeze_parameters(network, None if plain else self.freeze)
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
        generator = torch.Generator().manual_seed(random_state.randint(2**31 - 1))

        def part(of, own, generator=None, chances=None):
            if own is not None:
                own = torch.as_tensor(own).to(placement.dtype).to(device)
            return LabeledSet(
                rows, labels, own, of, self.batch_size, generator, chances
            )

        chances = self._chances(targets, weights, index)
        own = self._loss_weights(
            targets,
            weights,
            index.numpy(),
            groups=None if chances is not None else self._groups(targets),
            drawn=chances is not None,
        )
        train_set, valid_set = part(index, own, generator, chances), None
        if held_out is not None:
            own = self._loss_weights(targets, weights, index.numpy())
            valid_set = part(held_out, own)
        if make_sets is not None:
            train_set = make_sets(rows, train_set, generator)
        training = train(
            network,
            forward,
            objective,
            train_set,
            valid_set,
            self._recipe(plain),
            past=past,
        )
        if updates:
            merge_updates(network)
        return training

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

    def _supervised(self, rows, forward, pretrained, plain=False, before=None):
        """The loss of the labelled rows.

        `before` is what the pretrained network says of them; None: what it says now.
        """
        if self.conservative and not plain and before is None:
            before = self._in_batches(lambda batch: forward(batch)[1], rows)
        return SupervisedObjective(
            self._loss, pretrained, before, self._loss_of_before, self.conservative
        )

    def _recipe(self, plain):
        return Recipe(
            max_epochs=self.max_epochs,
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

    def _strata(self, targets, n_held):
        return None

    def _chances(self, targets, weights, index):
        """Chances of rows to be drawn; None: each row once an epoch."""
        return None

    def _factors(self, targets, weights):
        """Factors of rows in the loss beside their weights; None: all 1."""
        return None

    def _groups(self, targets):
        """Groups of rows of which batches hold fixed shares; None: all are one."""
        return None

    def _loss_weights(self, targets, weights, index, *, groups=None, drawn=False):
        """Factors of rows in the loss, of mean 1 over those of `index`.

        Where rows are `drawn` their chances hold the weights already. Where batches
        hold shares of `groups`, so do the shares, but for the weights within a group.
        None: all factors are 1.
        """
        factors = self._factors(targets, weights)
        if factors is None and (weights is None or drawn):
            return None
        own = np.ones(len(targets))
        if weights is not None and not drawn:
            groups = np.zeros(len(targets), dtype=int) if groups is None else groups
            totals = np.bincount(groups[index], weights[index], groups.max() + 1)
            counts = np.bincount(groups[index], minlength=groups.max() + 1)
            totals[counts == 0] = 1.0  # of a group that is held out as a whole
            own = weights * (np.maximum(counts, 1) / totals)[groups]
        if factors is not None:
            by = None if weights is None else weights[index]
            own = own * factors / np.average(factors[index], weights=by)
        return own

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
