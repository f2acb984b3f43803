"""MCC, against the formula of the paper and in its limits."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from skadapt.deep import MCCClassifier, minimum_class_confusion


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


def test_gradient_of_the_confusion_with_weights_held(gradients, finite_differences):
    Z = 5 * np.random.default_rng(1).normal(size=(7, 3))
    weights = _weights(Z, 2.5)
    expected = finite_differences(lambda Z: _confusion(Z, 2.5, weights), Z)
    found = gradients(minimum_class_confusion, Z)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-8)
    free = finite_differences(lambda Z: _confusion(Z, 2.5, _weights(Z, 2.5)), Z)
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


def test_mcc_on_rotated_blobs(mean_scores):
    source, adapted = mean_scores(MCCClassifier(lr=0.01))
    assert adapted > source + 0.05


def test_the_head_of_a_frozen_trunk_adapts(mean_scores):
    trunk = torch.nn.Sequential(torch.nn.Linear(2, 30), torch.nn.ReLU())
    model = MCCClassifier(trunk, freeze="backbone", lr=0.03, max_epochs=60)
    source, adapted = mean_scores(model, n_seeds=2)
    assert adapted > source
