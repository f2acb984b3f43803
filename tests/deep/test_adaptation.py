"""The base of deep adaptation, with the smallest method there is, and all others."""

import numpy as np
import pytest
import torch
from torch import nn

from skadapt import NoAdaptationWarning, stack_domains
from skadapt.deep import (
    BaseAdaptationClassifier,
    DANClassifier,
    DANNClassifier,
    DeepCORALClassifier,
    FineTuneClassifier,
    MCCClassifier,
)


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


# What all methods have in common

METHODS = [DANClassifier, DANNClassifier, DeepCORALClassifier, MCCClassifier]
every_method = pytest.mark.parametrize("method", METHODS)
ON_FEATURES = {DANClassifier: {"layers": "features"}, DANNClassifier: {}}


def _fit_method(method, X, y, ids, **settings):
    settings = {"max_epochs": 3, "lr": 0.01, "random_state": 0, **settings}
    return method(**settings).fit(X, y, sample_domain=ids)


def _assert_same(first, second, X):
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))


@every_method
def test_target_rows_take_part_and_their_labels_do_not(method, rotated_blobs):
    X, y, ids, truth = rotated_blobs(0, n=50)
    model = _fit_method(method, X, y, ids)
    scrambled = np.random.default_rng(0).permutation(truth[ids < 0])
    _assert_same(
        model, _fit_method(method, X, np.r_[truth[ids > 0], scrambled], ids), X
    )
    turned = np.where((ids < 0)[:, None], X[:, ::-1], X)
    other = _fit_method(method, turned, y, ids)
    assert not np.array_equal(model.predict_proba(X), other.predict_proba(X))


@every_method
def test_domains_of_one_side_are_pooled(method, rotated_blobs):
    X, y, ids, _ = rotated_blobs(0, n=50)
    several = ids * np.random.default_rng(0).integers(1, 4, len(ids))
    _assert_same(_fit_method(method, X, y, ids), _fit_method(method, X, y, several), X)


@every_method
def test_unlabelled_source_rows_are_left_out(method, rotated_blobs):
    X, y, ids, _ = rotated_blobs(0, n=50)
    hidden = y.copy()
    hidden[:20] = np.nan
    without = _fit_method(method, X[20:], y[20:], ids[20:])
    _assert_same(_fit_method(method, X, hidden, ids), without, X)


@every_method
@pytest.mark.parametrize("n", [1, 33])
def test_a_last_batch_of_one_row(method, n, rotated_blobs):
    X, y, ids, _ = rotated_blobs(0, n=40)
    kept = np.r_[0:33, 40 : 40 + n]
    model = _fit_method(method, X[kept], y[kept], ids[kept], batch_size=32)
    assert np.isfinite([epoch["train_loss"] for epoch in model.history_]).all()
    assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize("method", [DANClassifier, DeepCORALClassifier])
def test_batches_of_one_row_are_refused(method, rotated_blobs):
    X, y, ids, _ = rotated_blobs(0, n=10)
    with pytest.raises(ValueError, match="batch_size=1 leaves .* use 16 or more"):
        _fit_method(method, X, y, ids, batch_size=1)


@pytest.mark.parametrize("method", ON_FEATURES)
def test_features_that_are_frozen_cannot_adapt(method, rotated_blobs):
    X, y, ids, _ = rotated_blobs(0, n=10)
    with pytest.raises(ValueError, match="freeze='backbone' leaves .* nothing"):
        _fit_method(method, X, y, ids, freeze="backbone", **ON_FEATURES[method])


@pytest.mark.parametrize("method", [DANClassifier, DeepCORALClassifier])
def test_layers(method, rotated_blobs):
    X, y, ids, _ = rotated_blobs(0, n=50)
    found = [
        _fit_method(method, X, y, ids, layers=layers).predict_proba(X)
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
    model = _fit_method(
        method, X, y, ids, backbone=trunk, autocast="bfloat16", batch_size=16
    )
    assert np.isfinite(model.predict_proba(X)).all()
    assert all(np.isfinite(epoch["train_loss"]) for epoch in model.history_)


@every_method
def test_no_global_state_is_left(method, rotated_blobs):
    X, y, ids, _ = rotated_blobs(0, n=20)
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    _fit_method(method, X, y, ids)
    assert torch.equal(torch.rand(3), expected)


@every_method
def test_history_splits_the_loss(method, rotated_blobs):
    X, y, ids, _ = rotated_blobs(0, n=40)
    settings = {"trade_off": 0.7, "early_stopping": True, "batch_size": 16}
    for epoch in _fit_method(method, X, y, ids, **settings).history_:
        parts = epoch["label_loss"] + 0.7 * epoch["adaptation_loss"]
        assert epoch["train_loss"] == pytest.approx(parts, rel=1e-5)
        assert "valid_loss" in epoch
    with pytest.warns(NoAdaptationWarning):
        alone = method(max_epochs=1).fit(X[ids > 0], y[ids > 0])
    assert "adaptation_loss" not in alone.history_[0]


def test_loss_of_adaptation_is_the_mean_over_rows():
    """Batches of 32 and 8 rows; nothing moves."""
    X, y, ids = _domains(40, 40)
    trunk = nn.Sequential(nn.Linear(3, 6), nn.Tanh())

    class Rows(BaseAdaptationClassifier):
        def _adaptation_loss(self, source, target, progress, parts):
            return target.features.mean()

    model = Rows(trunk, lr=1e-12, batch_size=32, max_epochs=1, random_state=0)
    model.fit(X, y, sample_domain=ids)
    rows = torch.from_numpy(X[ids < 0]).float()
    expected = model.module_.features(rows).mean().item()
    assert model.history_[0]["adaptation_loss"] == pytest.approx(expected, rel=1e-5)


@every_method
def test_warm_start_keeps_trunk_and_head(method, rotated_blobs):
    X, y, ids, _ = rotated_blobs(0, n=30)
    with pytest.warns(NoAdaptationWarning):
        parent = FineTuneClassifier(max_epochs=1, random_state=0).fit(
            X[ids > 0], y[ids > 0] + 1
        )
    for given in ({"backbone": parent}, {"head": "replace"}, {"head": "linear"}):
        model = _fit_method(method, X, y, ids, warm_start=True, **given)
        expected = model.predict_proba(X)
        model.set_params(lr=1e-12).fit(X, y, sample_domain=ids)
        np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"classes are \[0, 1, 2\], but now .* \[0, 1"):
        model.fit(X, np.minimum(y, 1), sample_domain=ids)
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-6)


@every_method
def test_balanced_sampler_with_weights_that_are_no_repeats(method, rotated_blobs):
    """Rows of no weight to speak of are hardly drawn: what they say is not learned."""
    X, y, ids, _ = rotated_blobs(0, n=60, angle=0)
    wrong = np.flatnonzero(ids > 0)[::3]
    weights = np.full(len(y), 20.5)
    weights[wrong] = 0.01
    y[wrong] = (y[wrong] + 1) % 3
    settings = {"max_epochs": 20, "lr": 0.05, "sampler": "balanced", "random_state": 0}
    model = method(**settings).fit(X, y, weights, sample_domain=ids)
    right = np.setdiff1d(np.flatnonzero(ids > 0), wrong)
    assert model.score(X[right], y[right]) > 0.97


@every_method
def test_class_weights_of_no_class(method, rotated_blobs):
    X, y, ids, _ = rotated_blobs(0, n=10)
    with pytest.raises(ValueError, match="class_weight names the class 9"):
        _fit_method(method, X, y, ids, class_weight={9: 1.0})


def test_no_decay_of_the_biases_of_its_own_parts():
    X, y, ids = _domains()
    groups = []

    class Affine(MeanDifference):
        def _adaptation_parts(self, n_features, n_classes):
            return nn.Sequential(nn.Linear(n_features, 4), nn.LayerNorm(4))

        def _adaptation_loss(self, source, target, progress, parts):
            return parts(target.features).square().mean()

    def optimizer(given, lr):
        groups.extend(given)
        return torch.optim.SGD(given, lr=lr)

    model = Affine(_trunk(), weight_decay=0.1, optimizer=optimizer, max_epochs=1)
    _fit(model, X, y, ids)
    for group in groups:
        for parameter in group["params"]:
            assert group["weight_decay"] == (0.1 if parameter.ndim > 1 else 0.0)
    assert sum(len(group["params"]) for group in groups) == 10
