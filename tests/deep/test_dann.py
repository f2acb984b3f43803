"""DANN, against a loop without the layer of the trick."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from skadapt import stack_domains
from skadapt.deep import (
    DANNClassifier,
    DeepCORALClassifier,
    FineTuneClassifier,
    reverse_gradient,
)

CE, BCE = nn.functional.cross_entropy, nn.functional.binary_cross_entropy_with_logits


def _tanh_trunk():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 6), nn.Tanh())


def test_reversal_is_the_identity_forwards():
    x = torch.randn(5, 3, requires_grad=True)
    assert torch.equal(reverse_gradient(x, 0.3), x)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_gradient_is_turned_in_the_trunk_alone(strength, finite_differences):
    """Both sides against finite differences of the loss of the domain classifier."""
    rng = np.random.default_rng(0)
    X, W, v = rng.normal(size=(8, 3)), rng.normal(size=(3, 4)), rng.normal(size=4)
    side = (np.arange(8) < 4).astype(float)

    def loss(W, v):
        z = np.tanh(X @ W) @ v
        return np.mean(np.logaddexp(0, z) - side * z)

    trunk, own = finite_differences(loss, W, v)
    W, v = (torch.tensor(a, requires_grad=True) for a in (W, v))
    features = reverse_gradient(torch.tanh(torch.tensor(X) @ W), strength)
    BCE(features @ v, torch.tensor(side)).backward()
    np.testing.assert_allclose(W.grad, -strength * trunk, atol=1e-8)
    np.testing.assert_allclose(v.grad, own, atol=1e-8)


def test_strength_is_that_of_the_paper():
    model = DANNClassifier()
    assert model._strength(0.0) == 0
    assert model._strength(1.0) == pytest.approx(0.99991, abs=5e-6)
    assert model._strength(0.5) == pytest.approx(2 / (1 + math.exp(-5)) - 1)
    assert model.set_params(reversal=0.2)._strength(0.5) == 0.2
    assert model.set_params(reversal=np.square)._strength(0.5) == 0.25


def test_defaults_of_dann_are_those_of_the_paper():
    shown = DANNClassifier().get_params()
    expected = {"lr": 0.01, "optimizer": "sgd", "momentum": 0.9, "schedule": "dann"}
    assert shown.items() >= expected.items()


class _Caught(DANNClassifier):
    """Keeps the domain classifier, as it is made."""

    def _adaptation_parts(self, n_features, n_classes):
        self.parts = super()._adaptation_parts(n_features, n_classes)
        self.first = copy.deepcopy(self.parts)
        return self.parts


def test_steps_are_those_of_a_loop_with_two_gradients(rotated_blobs):
    """Eq. 11-13 of the paper written out: no layer, one gradient for each player."""
    X, y, ids, truth = rotated_blobs(0, n=30)
    torch.manual_seed(1)
    head, a, n_steps, lr = nn.Linear(6, 3), 0.7, 5, 0.1
    model = _Caught(
        _tanh_trunk(),
        head,
        trade_off=a,
        reversal=lambda progress: 1 + progress,
        domain_hidden_layer_sizes=(4,),
        domain_dropout=0.0,
        lr=lr,
        momentum=0.0,
        schedule="constant",
        max_epochs=n_steps,
        random_state=0,
    ).fit(X, y, sample_domain=ids)

    trunk, own = _tanh_trunk(), model.first
    rows, labels = torch.tensor(X).float(), torch.tensor(truth[ids > 0])
    is_source = torch.tensor(ids > 0).float()
    for step in range(n_steps):
        features = trunk(rows)
        supervised = CE(head(features[ids > 0]), labels)
        domain = BCE(own(features)[:, 0], is_source)
        players = [(trunk, 0.0), (head, 0.0), (own, a)]
        players[0] = (trunk, -a * (1 + step / n_steps))
        moves = []
        for module, factor in players:
            weights = list(module.parameters())
            for part, share in ((supervised, module is not own), (domain, factor)):
                if share:
                    found = torch.autograd.grad(part, weights, retain_graph=True)
                    moves += [(w, share * g) for w, g in zip(weights, found)]
        with torch.no_grad():
            for weight, gradient in moves:
                weight -= lr * gradient
    for mine, theirs in ((model.module_.backbone, trunk), (model.parts, own)):
        for pair in zip(mine.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(*pair, rtol=0, atol=1e-5)


def test_without_reversal_it_is_training_on_the_source(rotated_blobs):
    X, y, ids, truth = rotated_blobs(0, n=60)
    settings = {
        "lr": 0.05,
        "optimizer": "sgd",
        "schedule": "dann",
        "batch_size": 60,
        "max_epochs": 10,
        "random_state": 0,
    }
    model = DANNClassifier(_tanh_trunk(), reversal=0.0, **settings)
    found = model.fit(X, y, sample_domain=ids).predict_proba(X)
    other = DeepCORALClassifier(_tanh_trunk(), trade_off=0.0, **settings)
    expected = other.fit(X, y, sample_domain=ids).predict_proba(X)
    np.testing.assert_array_equal(found, expected)
    plain = FineTuneClassifier(_tanh_trunk(), **settings).fit(
        X[ids > 0], truth[ids > 0]
    )
    np.testing.assert_allclose(found, plain.predict_proba(X), atol=1e-6)


def _misleading_column(seed, n=200):
    """The last column tells the domain and, in the source, a little of the class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, 2 * n)
    X = rng.normal(size=(2 * n, 3))
    X[:, 0] += 3 * y - 1.5
    X[:n, 2] += 1.5 * y[:n] - 0.75
    X[n:, 2] += 3
    return (*stack_domains(X[:n], y[:n], X[n:]), y)


def test_dann_unlearns_what_tells_the_domain(mean_scores):
    model = DANNClassifier(hidden_layer_sizes=(4,), lr=0.05, max_epochs=60)
    source, adapted = mean_scores(model, draw=_misleading_column, n_seeds=3)
    assert adapted > source + 0.05


def test_dann_on_rotated_blobs(mean_scores):
    source, adapted = mean_scores(DANNClassifier())
    assert adapted >= source - 0.01


def test_domain_classifier_has_the_layers_that_are_asked_for(rotated_blobs):
    X, y, ids, _ = rotated_blobs(0, n=20)
    model = _Caught(
        _tanh_trunk(), domain_hidden_layer_sizes=(7, 5), domain_dropout=0.25
    )
    model.set_params(max_epochs=1).fit(X, y, sample_domain=ids)
    linear = [part for part in model.parts if isinstance(part, nn.Linear)]
    assert [part.out_features for part in linear] == [7, 5, 1]
    assert [part.p for part in model.parts if isinstance(part, nn.Dropout)] == [
        0.25
    ] * 2
    model.set_params(domain_hidden_layer_sizes=()).fit(X, y, sample_domain=ids)
    shapes = [tuple(weight.shape) for weight in model.parts.parameters()]
    assert shapes == [(1, 6), (1,)]
