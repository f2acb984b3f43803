"""Deep CORAL, against covariances by NumPy."""

import numpy as np
import pytest
import torch

from skadapt.deep import DeepCORALClassifier, deep_coral_loss


def _rows(n, d=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def _coral(S, T):
    difference = np.cov(S, rowvar=False) - np.cov(T, rowvar=False)
    return np.linalg.norm(difference) ** 2 / (4 * S.shape[1] ** 2)


def test_coral_is_the_distance_of_covariances():
    S, T = _rows(9), 2 * _rows(6, seed=1)
    found = deep_coral_loss(torch.tensor(S), torch.tensor(T)).item()
    assert found == pytest.approx(_coral(S, T), rel=1e-12)


def test_gradient_of_coral(gradients, finite_differences):
    S, T = _rows(6), 2 * _rows(5, seed=1)
    for found, expected in zip(
        gradients(deep_coral_loss, S, T), finite_differences(_coral, S, T)
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
def test_covariances_of_the_layer_come_closer(layers, rotated_blobs):
    X, y, ids, _ = rotated_blobs(0)
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
