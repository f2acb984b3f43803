"""DAN, Deep CORAL, MCC and DANN: losses against their formulas, and what they do."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn

from skadapt import stack_domains
from skadapt.deep import (
    DANClassifier,
    DANNClassifier,
    DeepCORALClassifier,
    FineTuneClassifier,
    MCCClassifier,
    deep_coral_loss,
    minimum_class_confusion,
    multi_kernel_mmd,
    reverse_gradient,
)


def _rotated_blobs(seed, n=200, angle=50, shift=0.0):
    """Three classes on a circle; in the target, turned by an angle."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, 2 * n)
    turn = 2 * np.pi * y / 3
    turn[n:] += np.deg2rad(angle)
    X = 3 * np.column_stack([np.cos(turn), np.sin(turn)])
    X += 0.5 * rng.normal(size=X.shape)
    X[n:] += shift
    return (*stack_domains(X[:n], y[:n], X[n:]), y)


def _mean_scores(model, trade_offs=(0.0, 1.0), draw=None, n_seeds=5):
    """Accuracy on the target, without adaptation and with it."""
    scores = np.zeros((n_seeds, len(trade_offs)))
    for seed in range(n_seeds):
        X, y, ids, truth = (draw or _rotated_blobs)(seed)
        for column, trade_off in enumerate(trade_offs):
            model.set_params(random_state=seed, trade_off=trade_off)
            model.fit(X, y, sample_domain=ids)
            scores[seed, column] = model.score(X[ids < 0], truth[ids < 0])
    return scores.mean(axis=0)


def _gradients(loss, *arrays):
    """Gradients by torch of a loss of float64 tensors."""
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    return [g.numpy() for g in torch.autograd.grad(loss(*tensors), tensors)]


def _finite_differences(function, *arrays, step=1e-6):
    """Central differences of a function of arrays."""
    found = []
    for k, array in enumerate(arrays):
        gradient = np.zeros_like(array)
        for at in np.ndindex(array.shape):
            ends = []
            for sign in (1, -1):
                moved = array.copy()
                moved[at] += sign * step
                ends.append(function(*arrays[:k], moved, *arrays[k + 1 :]))
            gradient[at] = (ends[0] - ends[1]) / (2 * step)
        found.append(gradient)
    return found


# What all methods have in common

METHODS = [DANClassifier, DANNClassifier, DeepCORALClassifier, MCCClassifier]
every_method = pytest.mark.parametrize("method", METHODS)
ON_FEATURES = {DANClassifier: {"layers": "features"}, DANNClassifier: {}}


def _fit(method, X, y, ids, **settings):
    settings = {"max_epochs": 3, "lr": 0.01, "random_state": 0, **settings}
    return method(**settings).fit(X, y, sample_domain=ids)


def _assert_same(first, second, X):
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))


@every_method
def test_target_rows_take_part_and_their_labels_do_not(method):
    X, y, ids, truth = _rotated_blobs(0, n=50)
    model = _fit(method, X, y, ids)
    scrambled = np.random.default_rng(0).permutation(truth[ids < 0])
    _assert_same(model, _fit(method, X, np.r_[truth[ids > 0], scrambled], ids), X)
    turned = np.where((ids < 0)[:, None], X[:, ::-1], X)
    other = _fit(method, turned, y, ids)
    assert not np.array_equal(model.predict_proba(X), other.predict_proba(X))


@every_method
def test_domains_of_one_side_are_pooled(method):
    X, y, ids, _ = _rotated_blobs(0, n=50)
    several = ids * np.random.default_rng(0).integers(1, 4, len(ids))
    _assert_same(_fit(method, X, y, ids), _fit(method, X, y, several), X)


@every_method
def test_unlabelled_source_rows_are_left_out(method):
    X, y, ids, _ = _rotated_blobs(0, n=50)
    hidden = y.copy()
    hidden[:20] = np.nan
    without = _fit(method, X[20:], y[20:], ids[20:])
    _assert_same(_fit(method, X, hidden, ids), without, X)


@every_method
@pytest.mark.parametrize("n", [1, 33])
def test_a_last_batch_of_one_row(method, n):
    X, y, ids, _ = _rotated_blobs(0, n=40)
    kept = np.r_[0:33, 40 : 40 + n]
    model = _fit(method, X[kept], y[kept], ids[kept], batch_size=32)
    assert np.isfinite([epoch["train_loss"] for epoch in model.history_]).all()
    assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize("method", [DANClassifier, DeepCORALClassifier])
def test_batches_of_one_row_are_refused(method):
    X, y, ids, _ = _rotated_blobs(0, n=10)
    with pytest.raises(ValueError, match="batch_size=1 leaves .* use 16 or more"):
        _fit(method, X, y, ids, batch_size=1)


@pytest.mark.parametrize("method", ON_FEATURES)
def test_features_that_are_frozen_cannot_adapt(method):
    X, y, ids, _ = _rotated_blobs(0, n=10)
    with pytest.raises(ValueError, match="freeze='backbone' leaves .* nothing"):
        _fit(method, X, y, ids, freeze="backbone", **ON_FEATURES[method])


@pytest.mark.parametrize("method", [DANClassifier, DeepCORALClassifier])
def test_layers(method):
    X, y, ids, _ = _rotated_blobs(0, n=50)
    found = [
        _fit(method, X, y, ids, layers=layers).predict_proba(X)
        for layers in ("features", "outputs", "both")
    ]
    assert not np.array_equal(found[0], found[1])
    assert not np.array_equal(found[1], found[2])
    assert not np.array_equal(found[0], found[2])


@every_method
def test_images_batch_norm_and_half_precision(method):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (60, 1, 8, 8), dtype=np.uint8)
    y, ids = np.arange(60) % 3.0, np.repeat([1, -1], 30)
    trunk = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()
    )
    model = _fit(method, X, y, ids, backbone=trunk, autocast="bfloat16", batch_size=16)
    assert np.isfinite(model.predict_proba(X)).all()
    assert all(np.isfinite(epoch["train_loss"]) for epoch in model.history_)


@every_method
def test_no_global_state_is_left(method):
    X, y, ids, _ = _rotated_blobs(0, n=20)
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    _fit(method, X, y, ids)
    assert torch.equal(torch.rand(3), expected)


# DAN: the discrepancy pair by pair, and what it does

WIDTHS = (0.125, 0.25, 0.5, 1.0, 2.0)


def _rows(n, d=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def _unit(S, T):
    """Mean squared distance of all pairs of different rows."""
    rows = np.concatenate([S, T])
    pairs = [(a, b) for i, a in enumerate(rows) for b in rows[:i]]
    return np.mean([np.sum((a - b) ** 2) for a, b in pairs])


def _mmd(S, T, unit, widths=WIDTHS, unbiased=True):
    def k(a, b):
        square = np.sum((a - b) ** 2)
        return np.mean([np.exp(-square / (2 * u * unit)) for u in widths])

    def within(rows):
        return np.mean(
            [
                k(a, b)
                for i, a in enumerate(rows)
                for j, b in enumerate(rows)
                if i != j or not unbiased
            ]
        )

    between = np.mean([k(a, b) for a in S for b in T])
    return within(S) + within(T) - 2 * between


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("widths", [WIDTHS, (0.3,)])
def test_mmd_is_the_mean_over_pairs(unbiased, widths):
    S, T = _rows(8), _rows(5, seed=1) + 0.5
    found = multi_kernel_mmd(
        torch.tensor(S), torch.tensor(T), bandwidths=widths, unbiased=unbiased
    ).item()
    assert found == pytest.approx(_mmd(S, T, _unit(S, T), widths, unbiased), abs=1e-12)


def test_gradient_of_mmd_with_the_width_held():
    S, T = _rows(5), 1 + _rows(4, seed=1)
    unit = _unit(S, T)
    expected = _finite_differences(lambda S, T: _mmd(S, T, unit), S, T)
    found = _gradients(multi_kernel_mmd, S, T)
    for pair in zip(found, expected):
        np.testing.assert_allclose(*pair, atol=1e-8)
    free = _finite_differences(lambda S, T: _mmd(S, T, _unit(S, T)), S, T)
    assert np.abs(found[0] - free[0]).max() > 1e-3, "the width is no constant"


def test_mmd_of_a_batch_with_itself_and_a_shifted_one():
    S = torch.tensor(_rows(40))
    assert multi_kernel_mmd(S, S, unbiased=False).item() == pytest.approx(0, abs=1e-12)
    found = [multi_kernel_mmd(S, S + shift).item() for shift in (0, 0.5, 1, 2)]
    assert found == sorted(found) and found[0] < 0 < found[1]


def test_unbiased_mmd_is_0_on_average_where_the_domains_are_one():
    rows = torch.tensor(_rows(4000, seed=2)).reshape(200, 20, 3)
    for unbiased, away in ((True, False), (False, True)):
        found = [
            multi_kernel_mmd(r[:10], r[10:], unbiased=unbiased).item() for r in rows
        ]
        error = np.std(found) / np.sqrt(len(found))
        assert bool(np.mean(found) > 4 * error) is away
        assert away or abs(np.mean(found)) < 4 * error


def test_mmd_has_no_unit():
    S, T = torch.tensor(_rows(8)), torch.tensor(_rows(8, seed=1) + 1)
    expected = multi_kernel_mmd(S, T).item()
    assert multi_kernel_mmd(1e3 * S, 1e3 * T).item() == pytest.approx(expected)
    S, T = S.float() + 1e3, T.float() + 1e3
    assert multi_kernel_mmd(S, T).item() == pytest.approx(expected, abs=1e-3)


def test_equal_rows_have_no_width_and_no_discrepancy():
    rows = torch.zeros(4, 2, requires_grad=True)
    loss = multi_kernel_mmd(rows, rows)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(rows.grad, torch.zeros(4, 2))


def test_mmd_in_half_precision():
    S, T = torch.tensor(_rows(9)).half(), torch.tensor(_rows(9, seed=1)).half() + 1
    found = multi_kernel_mmd(S, T)
    assert found.dtype == torch.float32
    assert found.item() == multi_kernel_mmd(S.float(), T.float()).item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert multi_kernel_mmd(S.float(), T.float()).item() == found.item()


def test_refusals_of_mmd():
    with pytest.raises(ValueError, match="two rows or more and equal n_features, got"):
        multi_kernel_mmd(torch.zeros(1, 2), torch.zeros(4, 2))
    X, y, ids, _ = _rotated_blobs(0, n=20)
    for widths in ((), (1.0, 0.0)):
        with pytest.raises(ValueError, match="bandwidths must be one or more positive"):
            multi_kernel_mmd(torch.eye(2), torch.eye(2), bandwidths=widths)
        with pytest.raises(ValueError, match="bandwidths must be one or more positive"):
            DANClassifier(bandwidths=widths).fit(X, y, sample_domain=ids)


def test_dan_on_rotated_blobs():
    source, adapted = _mean_scores(
        DANClassifier(lr=0.01),
        draw=lambda seed: _rotated_blobs(seed, angle=40),
        n_seeds=3,
    )
    assert adapted > source


# Deep CORAL, against covariances by NumPy


def _coral(S, T):
    difference = np.cov(S, rowvar=False) - np.cov(T, rowvar=False)
    return np.linalg.norm(difference) ** 2 / (4 * S.shape[1] ** 2)


def test_coral_is_the_distance_of_covariances():
    S, T = _rows(9), 2 * _rows(6, seed=1)
    found = deep_coral_loss(torch.tensor(S), torch.tensor(T)).item()
    assert found == pytest.approx(_coral(S, T), rel=1e-12)


def test_gradient_of_coral():
    S, T = _rows(6), 2 * _rows(5, seed=1)
    for found, expected in zip(
        _gradients(deep_coral_loss, S, T), _finite_differences(_coral, S, T)
    ):
        np.testing.assert_allclose(found, expected, atol=1e-8)


def test_coral_of_a_shift_and_of_equal_covariances_is_0():
    S, T = torch.tensor(_rows(9)), torch.tensor(_rows(9, seed=1))
    loss = deep_coral_loss(S, T).item()
    assert loss > 1e-3
    assert deep_coral_loss(S + 7, T - 3).item() == pytest.approx(loss, rel=1e-9)
    # Rows mirrored at a point, and in another order: the same covariance.
    assert deep_coral_loss(S, (4 - S).flip(0)).item() == pytest.approx(0, abs=1e-25)


def test_coral_in_half_precision():
    S = torch.tensor(_rows(9)).half()
    found = deep_coral_loss(S, 3 * S)
    assert found.dtype == torch.float32
    assert found.item() == deep_coral_loss(S.float(), (3 * S).float()).item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = deep_coral_loss(S.float(), (3 * S).float()).item()
    assert inside == found.item()


@pytest.mark.parametrize("shapes", [((1, 2), (4, 2)), ((4, 2), (4, 3)), ((4,), (4,))])
def test_refusals_of_coral(shapes):
    with pytest.raises(ValueError, match="two rows or more and equal n_features, got"):
        deep_coral_loss(*(torch.zeros(shape) for shape in shapes))


@pytest.mark.parametrize("layers", ["features", "outputs"])
def test_covariances_of_the_layer_come_closer(layers):
    X, y, ids, _ = _rotated_blobs(0)
    X[ids < 0] *= [1.5, 0.5]
    found = []
    for trade_off in (0.0, 1.0):
        model = DeepCORALClassifier(
            layers=layers, trade_off=trade_off, lr=0.01, random_state=0
        )
        network = model.fit(X, y, sample_domain=ids).module_
        rows = torch.tensor(X).float()
        with torch.no_grad():
            layer = network.features(rows) if layers == "features" else network(rows)
        layer = layer.numpy()
        found.append(_coral(layer[ids > 0], layer[ids < 0]))
    assert found[1] < 0.2 * found[0]


# MCC, against the formula of the paper and in its limits


def _weights(Z, temperature):
    """Eq. 5, of mean 1."""
    P = softmax(Z / temperature, axis=1)
    entropy = -(P * np.log(P)).sum(axis=1)
    sure = 1 + np.exp(-entropy)
    return len(Z) * sure / sure.sum()


def _confusion(Z, temperature, weights):
    """Eq. 6 to 8, line by line."""
    P = softmax(Z / temperature, axis=1)
    M = P.T @ np.diag(weights) @ P
    M /= M.sum(axis=1, keepdims=True)
    return (M.sum() - np.trace(M)) / Z.shape[1]


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_confusion_is_the_formula_of_the_paper(temperature):
    Z = 3 * np.random.default_rng(0).normal(size=(20, 4))
    expected = _confusion(Z, temperature, _weights(Z, temperature))
    found = minimum_class_confusion(torch.tensor(Z), temperature=temperature)
    assert found.item() == pytest.approx(expected, abs=1e-12)


def test_gradient_of_the_confusion_with_weights_held():
    Z = 5 * np.random.default_rng(1).normal(size=(7, 3))
    weights = _weights(Z, 2.5)
    expected = _finite_differences(lambda Z: _confusion(Z, 2.5, weights), Z)
    found = _gradients(minimum_class_confusion, Z)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-8)
    free = _finite_differences(lambda Z: _confusion(Z, 2.5, _weights(Z, 2.5)), Z)
    assert np.abs(found[0] - free[0]).max() > 1e-4, "the weights are no constants"


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_limits_of_the_confusion(n_classes):
    sure = 1e4 * torch.eye(n_classes).repeat(3, 1)
    assert minimum_class_confusion(sure).item() == 0
    doubt = minimum_class_confusion(torch.ones(8, n_classes)).item()
    assert doubt == pytest.approx((n_classes - 1) / n_classes, abs=1e-6)


def test_a_class_that_no_row_may_be_of_divides_nothing_by_zero():
    outputs = torch.tensor([[1e3, 0.0, -1e3], [0.0, 1e3, -1e3]], requires_grad=True)
    loss = minimum_class_confusion(outputs)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(outputs.grad).all()


def test_confusion_in_half_precision():
    outputs = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    expected = minimum_class_confusion(outputs.bfloat16().float())
    found = minimum_class_confusion(outputs.bfloat16())
    assert found.dtype == torch.float32
    assert found.item() == expected.item()


def test_refusals_of_the_confusion():
    with pytest.raises(ValueError, match=r"shape \(n_rows, n_classes\), got \(3,\)"):
        minimum_class_confusion(torch.zeros(3))
    with pytest.raises(ValueError, match="temperature"):
        minimum_class_confusion(torch.zeros(3, 2), temperature=0)


def test_mcc_on_rotated_blobs():
    source, adapted = _mean_scores(MCCClassifier(lr=0.01))
    assert adapted > source + 0.05


def test_the_head_of_a_frozen_trunk_adapts():
    trunk = torch.nn.Sequential(torch.nn.Linear(2, 30), torch.nn.ReLU())
    model = MCCClassifier(trunk, freeze="backbone", lr=0.03, max_epochs=60)
    source, adapted = _mean_scores(model, n_seeds=2)
    assert adapted > source


# DANN, against a loop without the layer of the trick

CE, BCE = nn.functional.cross_entropy, nn.functional.binary_cross_entropy_with_logits


def _tanh_trunk():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 6), nn.Tanh())


def test_reversal_is_the_identity_forwards():
    x = torch.randn(5, 3, requires_grad=True)
    assert torch.equal(reverse_gradient(x, 0.3), x)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_gradient_is_turned_in_the_trunk_alone(strength):
    """Both sides against finite differences of the loss of the domain classifier."""
    rng = np.random.default_rng(0)
    X, W, v = rng.normal(size=(8, 3)), rng.normal(size=(3, 4)), rng.normal(size=4)
    side = (np.arange(8) < 4).astype(float)

    def loss(W, v):
        z = np.tanh(X @ W) @ v
        return np.mean(np.logaddexp(0, z) - side * z)

    trunk, own = _finite_differences(loss, W, v)
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


def test_steps_are_those_of_a_loop_with_two_gradients():
    """Eq. 11-13 of the paper written out: no layer, one gradient for each player."""
    X, y, ids, truth = _rotated_blobs(0, n=30)
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


def test_without_reversal_it_is_training_on_the_source():
    X, y, ids, truth = _rotated_blobs(0, n=60)
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


def test_dann_unlearns_what_tells_the_domain():
    model = DANNClassifier(hidden_layer_sizes=(4,), lr=0.05, max_epochs=60)
    source, adapted = _mean_scores(model, draw=_misleading_column, n_seeds=3)
    assert adapted > source + 0.05


def test_dann_on_rotated_blobs():
    source, adapted = _mean_scores(DANNClassifier())
    assert adapted >= source - 0.01


def test_domain_classifier_has_the_layers_that_are_asked_for():
    X, y, ids, _ = _rotated_blobs(0, n=20)
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
