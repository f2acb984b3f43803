"""The base of deep adaptation, with the smallest method there is."""

import numpy as np
import pytest
import torch
from torch import nn

from skadapt import stack_domains
from skadapt.deep import BaseAdaptationClassifier, FineTuneClassifier


class MeanDifference(BaseAdaptationClassifier):
    """Squared distance of the means of the features, seen through a learned map."""

    def __init__(self, backbone=None, head="auto", *, seen=None, **training):
        super().__init__(backbone, head, **training)
        self.seen = seen

    _parameter_constraints = {
        **BaseAdaptationClassifier._parameter_constraints,
        "seen": "no_validation",
    }

    def _adaptation_parts(self, n_features, n_classes):
        return nn.Linear(n_features, n_classes, bias=False)

    def _adaptation_loss(self, source, target, progress, parts):
        if self.seen is not None:
            self.seen.append((source, target, progress, parts.weight.detach().clone()))
        return (source.features.mean(0) - target.features.mean(0)).square().sum()


def _domains(n_source=90, n_target=50):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n_source)
    Xs = rng.normal(size=(n_source, 3)) + 2 * y[:, None]
    Xt = rng.normal(size=(n_target, 3)) + 2 * rng.integers(0, 2, n_target)[:, None] - 1
    return stack_domains(Xs, y, Xt)


def _trunk():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.ReLU())


def _fit(model, X, y, sample_domain):
    return model.set_params(random_state=0).fit(X, y, sample_domain=sample_domain)


@pytest.mark.parametrize("sizes", [(90, 50), (50, 90), (33, 33)])
def test_batches_hold_as_many_rows_of_both_domains(sizes):
    X, y, ids = _domains(*sizes)
    seen = []
    model = _fit(MeanDifference(_trunk(), batch_size=32, max_epochs=2), X, y, ids)
    model.seen = seen
    model.fit(X, y, sample_domain=ids)
    n_batches = -(-max(sizes) // 32)
    assert len(seen) == 2 * n_batches
    for source, target, _, _ in seen:
        assert len(source.features) == len(target.features) == len(source.labels)
        assert source.outputs.shape == (len(source.labels), 2)
        assert target.labels is None
    progress = [step[2] for step in seen]
    np.testing.assert_allclose(progress, np.arange(len(seen)) / len(seen))
    rows = sum(len(step[0].features) for step in seen[:n_batches])
    assert rows == max(sizes)


def test_domains_come_closer_the_more_they_are_to():
    X, y, ids = _domains()
    gaps = []
    for trade_off in (0.0, 1.0, 10.0):
        model = MeanDifference(_trunk(), trade_off=trade_off, lr=0.01)
        model = _fit(model, X, y, ids)
        features = model.module_.features(torch.from_numpy(X).float()).detach().numpy()
        means = [features[ids > 0].mean(axis=0), features[ids < 0].mean(axis=0)]
        gaps.append(np.sum((means[0] - means[1]) ** 2))
        if trade_off < 10:
            assert model.score(X[ids > 0], y[ids > 0]) > 0.85
    assert gaps[0] > gaps[1] > gaps[2]


def test_without_weight_it_is_training_on_the_source():
    """Full batches, and no batch norm: the same steps, but for rounding."""
    X, y, ids = _domains(40, 40)
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(3, 6), nn.ReLU())
    settings = {"batch_size": 40, "max_epochs": 10, "random_state": 0}
    model = MeanDifference(trunk, trade_off=0.0, **settings)
    model.fit(X, y, sample_domain=ids)
    plain = FineTuneClassifier(trunk, **settings).fit(X[ids > 0], y[ids > 0])
    np.testing.assert_allclose(
        model.predict_proba(X), plain.predict_proba(X), atol=1e-5
    )


def test_its_own_parts_are_trained():
    X, y, ids = _domains()

    class Learned(MeanDifference):
        def _adaptation_loss(self, source, target, progress, parts):
            super()._adaptation_loss(source, target, progress, parts)
            return (parts(source.features) - parts(target.features)).square().mean()

    seen = []
    model = Learned(_trunk(), max_epochs=2)
    model.seen = seen
    _fit(model, X, y, ids)
    assert not torch.equal(seen[0][3], seen[-1][3])


def test_target_labels_and_row_order_change_nothing():
    X, y, ids = _domains()
    expected = _fit(MeanDifference(_trunk(), max_epochs=2), X, y, ids).predict_proba(X)
    y[ids < 0] = 1
    order = np.random.default_rng(1).permutation(len(X))
    model = MeanDifference(_trunk(), max_epochs=2)
    model = _fit(model, X[order], y[order], ids[order])
    np.testing.assert_array_equal(model.predict_proba(X), expected)


def test_early_stopping_looks_at_source_rows_and_their_labels_alone():
    X, y, ids = _domains()
    seen = []
    model = MeanDifference(_trunk(), early_stopping=True, max_epochs=40, lr=0.05)
    model.seen = seen
    model = _fit(model, X, y, ids)
    losses = [epoch["valid_loss"] for epoch in model.history_]
    assert np.argmin(losses) + 6 == len(losses) or len(losses) == 40
    assert len(seen) == 2 * len(losses)


def test_parameters_are_written_out():
    names = set(MeanDifference().get_params())
    assert {"seen", "trade_off", "class_weight", "lr", "backbone"} <= names
    assert repr(MeanDifference(lr=0.1, trade_off=2)) == (
        "MeanDifference(lr=0.1, trade_off=2)"
    )


def test_repeated_target_rows_count_as_often():
    """Means of the target that the loss sees are those of its rows, repeats too."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)).astype(np.float32)
    X[40:] = X[40]  # one row, twenty times, of 30 target rows
    y = np.where(np.arange(60) < 30, np.arange(60) % 2, np.nan)
    seen = []

    class Watching(BaseAdaptationClassifier):
        def _adaptation_loss(self, source, target, progress, parts):
            seen.append(len(target.features))
            return 0.0 * target.outputs.sum()

    model = Watching(max_epochs=1, batch_size=30, random_state=0)
    model.fit(X, y, sample_domain=np.repeat([1, -1], 30))
    assert sum(seen) == 30
