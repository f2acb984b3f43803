"""Fine-tuning: what is trained, towards what, and what comes back when it fails."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso, LogisticRegression
from sklearn.model_selection import GridSearchCV
from torch import nn

from skadapt import NoAdaptationWarning, stack_domains
from skadapt.deep import FineTuneClassifier, FineTuneRegressor, TorchFeatures
from skadapt.deep._loop import Batch, SupervisedObjective, train


def _problem(n=120, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5)).astype(np.float32)
    y = (X @ rng.normal(size=(5, n_classes)) + rng.normal(size=(n, n_classes))).argmax(
        axis=1
    )
    return X, y


def _trunk(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh()
    )


def _images(n=40, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 256, size=(n, 3, 6, 6), dtype=np.uint8)
    y = (X[:, 0].mean((1, 2)) > X[:, 1].mean((1, 2))).astype(int)
    return X, y


def _cnn(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3)
    )


def _state(model):
    return {k: v.clone() for k, v in model.module_.state_dict().items()}


def _same(first, second):
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


class _Recording:
    """An optimizer that notes what it is given and what it moves."""

    def __init__(self):
        self.groups, self.moved = None, []

    def __deepcopy__(self, memo):
        return self  # a clone records to the same place

    def __call__(self, groups, lr):
        self.groups = [dict(group) for group in groups]
        optimizer = torch.optim.SGD(groups, lr=lr)
        step = optimizer.step

        def recorded():
            params = [p for group in optimizer.param_groups for p in group["params"]]
            self.moved.append(sum(p.grad is not None for p in params))
            return step()

        optimizer.step = recorded
        return optimizer


# ------------------------------------------------------------------- freezing


def test_frozen_backbone_is_bitwise_unchanged_and_not_in_the_optimizer():
    X, y = _problem()
    trunk, record = _trunk(), _Recording()
    for cache in (True, False):
        model = FineTuneClassifier(
            trunk, freeze="backbone", optimizer=record, lr=0.1, max_epochs=3
        ).set_params(cache_features=cache, random_state=0)
        model.fit(X, y)
        assert _same(model.module_.backbone.state_dict(), trunk.state_dict())
        trained = [p for group in record.groups for p in group["params"]]
        assert {id(p) for p in trained} == {
            id(p) for p in model.module_.head.parameters()
        }
        assert model.history_[-1]["train_loss"] < model.history_[0]["train_loss"]


def test_cached_features_change_nothing():
    X, y = _problem()
    models = [
        FineTuneClassifier(
            _trunk(), freeze="backbone", cache_features=cache, random_state=0
        ).fit(X, y)
        for cache in (True, False)
    ]
    np.testing.assert_allclose(*(m.predict_proba(X) for m in models), atol=1e-5)


def test_frozen_blocks_keep_weights_and_statistics():
    X, y = _images()
    net = _cnn()
    model = FineTuneClassifier(net, freeze=1, max_epochs=2, random_state=0).fit(X, y)
    before, after = net.state_dict(), model.module_.backbone.state_dict()
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor) == name.startswith(("0.", "1.")), name


def test_all_frozen_is_logistic_regression_on_the_features():
    X, y = _problem(300)
    trunk, decay = _trunk(), 0.01
    features = TorchFeatures(trunk).fit_transform(X).astype(float)
    referee = LogisticRegression(C=1 / (decay * len(X)), tol=1e-8, max_iter=10_000)
    referee.fit(features, y)
    model = FineTuneClassifier(
        trunk,
        freeze="backbone",
        optimizer="sgd",
        lr=1.0,
        weight_decay=decay,
        batch_size=len(X),
        max_epochs=400,
        random_state=0,
    ).fit(X, y)

    def loss(proba, coef):
        likelihood = -np.log(proba[np.arange(len(y)), y]).mean()
        return likelihood + decay / 2 * (coef**2).sum()

    ours = loss(
        model.predict_proba(X).astype(float), model.module_.head.weight.detach().numpy()
    )
    expected = loss(referee.predict_proba(features), referee.coef_)
    assert ours == pytest.approx(expected, abs=1e-4)


def test_gradual_unfreezing_lets_one_more_block_learn_in_each_epoch():
    X, y = _problem(128)
    record = _Recording()
    model = FineTuneClassifier(
        _trunk(),
        gradual_unfreeze=True,
        optimizer=record,
        max_epochs=5,
        batch_size=64,
        random_state=0,
    ).fit(X, y)
    # Two steps an epoch; head (2), last linear (2), first linear with its norm (4).
    assert record.moved == [2, 2, 4, 4, 8, 8, 8, 8, 8, 8]
    first = FineTuneClassifier(
        _trunk(), gradual_unfreeze=True, max_epochs=1, random_state=0
    ).fit(X, y)
    assert _same(first.module_.backbone.state_dict(), _trunk().state_dict())
    assert not _same(model.module_.backbone.state_dict(), _trunk().state_dict())


def test_layer_decay_is_a_geometric_row_of_rates():
    X, y = _problem()
    record = _Recording()
    model = FineTuneClassifier(_trunk(), optimizer=record, max_epochs=1, lr=0.1)
    model.set_params(layer_decay=0.5).fit(X, y)
    names = {id(p): name for name, p in model.module_.named_parameters()}
    rates = {
        names[id(p)]: group["lr"] for group in record.groups for p in group["params"]
    }
    depth = {"head": 0, "backbone.3": 1, "backbone.1": 2, "backbone.0": 2}
    assert len(rates) == 8
    for name, rate in rates.items():
        assert rate == pytest.approx(0.1 * 0.5 ** depth[name.rpartition(".")[0]])
    model.set_params(layer_decay=1.0).fit(X, y)
    assert {group["lr"] for group in record.groups} == {0.1}


# ------------------------------------------------- holding on to what was learned


def test_l2_sp_without_bound_gives_the_pretrained_weights():
    X, y = _problem()
    trunk = _trunk()
    model = FineTuneClassifier(trunk, l2_sp=1e9, lr=0.01, freeze_bn=True).fit(X, y)
    for name, parameter in model.module_.backbone.named_parameters():
        assert (parameter - trunk.get_parameter(name)).norm() < 1e-3, name
    assert model.history_[-1]["train_loss"] < model.history_[0]["train_loss"]


def test_l2_sp_of_zero_is_plain_fine_tuning():
    X, y = _problem()
    plain, zero = (
        FineTuneClassifier(_trunk(), random_state=0, max_epochs=3, **penalty).fit(X, y)
        for penalty in ({}, {"l2_sp": 0.0, "l1": 0.0, "conservative": 0.0})
    )
    assert _same(_state(plain), _state(zero))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_l2_sp_minimizes_the_penalized_loss(momentum):
    """Against a solver of the same convex problem: a linear map that is kept."""
    X, y = _problem(200)
    torch.manual_seed(0)
    given = nn.Sequential(nn.Flatten(), nn.Linear(5, 3))
    start = np.column_stack(
        [given[1].weight.detach().numpy(), given[1].bias.detach().numpy()]
    ).astype(float)
    alpha = 0.3

    def objective(flat):
        coef = flat.reshape(3, 6)
        scores = log_softmax(X @ coef[:, :5].T + coef[:, 5], axis=1)
        return (
            -scores[np.arange(len(y)), y].mean()
            + alpha / 2 * ((coef - start) ** 2).sum()
        )

    referee = minimize(objective, start.ravel(), tol=1e-10)
    model = FineTuneClassifier(
        given,
        l2_sp=alpha,
        optimizer="sgd",
        momentum=momentum,
        lr=0.3 * (1 - momentum),
        batch_size=200,
        max_epochs=300,
    ).fit(X, y)
    head = model.module_.head
    ours = np.column_stack([head.weight.detach().numpy(), head.bias.detach().numpy()])
    # The two halves of a step are taken in turn: the fixed point is off by O(lr).
    assert objective(ours.ravel()) == pytest.approx(referee.fun, rel=2e-3)
    assert objective(start.ravel()) > 1.1 * referee.fun


def test_weight_decay_leaves_pretrained_weights_alone_beside_l2_sp():
    X, y = _problem()
    record = _Recording()
    FineTuneClassifier(
        _trunk(), optimizer=record, l2_sp=0.1, weight_decay=0.5, max_epochs=1
    ).fit(X, y)
    decayed = [p.shape for g in record.groups if g["weight_decay"] for p in g["params"]]
    assert decayed == [(3, 6)]


def test_l1_is_the_lasso():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 6))
    X -= X.mean(axis=0)
    y = X @ [2.0, 0, 0, 1, 0, 0] + 0.1 * rng.normal(size=200)
    y = (y - y.mean()) / y.std()
    referee = Lasso(alpha=0.1, tol=1e-10).fit(X, y)
    # The squared error here has no factor 1/2.
    model = FineTuneRegressor(
        nn.Flatten(),
        l1=0.2,
        optimizer="sgd",
        momentum=0.0,
        lr=0.05,
        batch_size=200,
        max_epochs=300,
    ).fit(X, y)
    ours = model.module_.head.weight.detach().numpy()[0]
    np.testing.assert_allclose(ours, referee.coef_, atol=1e-4)
    np.testing.assert_array_equal(ours == 0, referee.coef_ == 0)


def test_conservative_training_alone_moves_nothing():
    X, y = _problem()
    given = nn.Sequential(*_trunk(), nn.Linear(6, 3)).eval()
    model = FineTuneClassifier(
        given, conservative=1.0, freeze_bn=True, optimizer="sgd", lr=0.1, max_epochs=5
    ).fit(X, y)
    expected = softmax(given(torch.from_numpy(X)).detach().numpy(), axis=1)
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-4)
    free = model.set_params(conservative=0.0).fit(X, y)
    assert np.abs(free.predict_proba(X) - expected).max() > 0.05


@pytest.mark.filterwarnings("ignore::skadapt.NoAdaptationWarning")
def test_nothing_to_hold_on_to():
    X, y = _problem()
    with pytest.raises(ValueError, match="of which there are none: give a backbone"):
        FineTuneClassifier(l2_sp=0.1).fit(X, y)
    with pytest.raises(ValueError, match="its head is replaced"):
        FineTuneClassifier(_trunk(), conservative=0.5).fit(X, y)


def _objective_value(logits, before, labels, weights, rho, smoothing):
    """The loss as it is written in the docstring."""
    n_classes = logits.shape[1]
    scores = log_softmax(logits, axis=1)
    onehot = np.eye(n_classes)[labels] * (1 - smoothing) + smoothing / n_classes
    loss = -(onehot * scores).sum(axis=1)
    towards = -(softmax(before, axis=1) * scores).sum(axis=1)
    return (weights * ((1 - rho) * loss + rho * towards)).mean()


def test_loss_and_its_gradient():
    rng = np.random.default_rng(0)
    logits, before = rng.normal(size=(2, 7, 4))
    labels, weights = rng.integers(0, 4, 7), rng.random(7)
    model = FineTuneClassifier(label_smoothing=0.1)
    objective = SupervisedObjective(
        model._loss, (), torch.from_numpy(before), model._loss_of_before, 0.3
    )
    index = torch.arange(7)
    batch = Batch(None, torch.from_numpy(labels), torch.from_numpy(weights), index)

    def loss(outputs):
        return objective(batch, None, outputs, 0.0)

    outputs = torch.from_numpy(logits).requires_grad_()
    expected = _objective_value(logits, before, labels, weights, 0.3, 0.1)
    assert loss(outputs).item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(loss, (outputs,))
    values = torch.from_numpy(rng.normal(size=7))
    squares = SupervisedObjective(
        FineTuneRegressor._loss,
        (),
        torch.from_numpy(before[:, :1]),
        FineTuneRegressor._loss_of_before,
        0.3,
    )
    batch = Batch(None, values, None, index)
    outputs = torch.from_numpy(logits[:, :1]).requires_grad_()
    assert torch.autograd.gradcheck(lambda o: squares(batch, None, o, 0.0), (outputs,))


# ---------------------------------------------------------------------- weights


def test_class_weights_are_row_repetition():
    """In one batch; in several, rows that are repeated make more of them."""
    X, y = _problem()
    settings = {"batch_size": 1000, "max_epochs": 30, "random_state": 0}
    repeated = np.repeat(np.arange(len(X)), np.where(y == 1, 3, 1))
    trunk = nn.Sequential(nn.Linear(5, 8), nn.Tanh())  # no statistics of batches
    models = [
        FineTuneClassifier(trunk, class_weight={1: 3}, **settings).fit(X, y),
        FineTuneClassifier(trunk, **settings).fit(X[repeated], y[repeated]),
    ]
    np.testing.assert_allclose(
        models[1].predict_proba(X), models[0].predict_proba(X), atol=1e-5
    )
    settings["batch_size"] = 16
    weighted = FineTuneClassifier(_trunk(), **settings)
    weighted.fit(X, y, np.where(y == 1, 3.0, 1.0))
    twice = FineTuneClassifier(_trunk(), **settings).fit(X[repeated], y[repeated])
    np.testing.assert_array_equal(weighted.predict_proba(X), twice.predict_proba(X))


def test_balanced_weights_and_sampler_help_the_small_class():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [300, 15])
    X = rng.normal(size=(315, 2)) + 1.2 * y[:, None]
    recalls = {}
    for name, choice in {
        "plain": {},
        "weights": {"class_weight": "balanced"},
        "sampler": {"sampler": "balanced"},
    }.items():
        model = FineTuneClassifier(nn.Flatten(), lr=0.05, random_state=0, **choice)
        recalls[name] = np.mean(model.fit(X, y).predict(X[y == 1]) == 1)
    assert recalls["plain"] < 0.5
    assert recalls["weights"] > 0.6
    assert recalls["sampler"] > 0.6


def test_balanced_weights_are_those_of_scikit_learn():
    y = _problem()[1]
    model = FineTuneClassifier(class_weight="balanced")
    model.classes_ = np.unique(y)
    from sklearn.utils.class_weight import compute_sample_weight

    np.testing.assert_allclose(
        model._factors(y, None), compute_sample_weight("balanced", y)
    )


# ---------------------------------------------------------------------- domains


def _two_domains(seed=0, n_target=20):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, 300)
    centers = np.array([[2, 0], [-1, 1.7], [-1, -1.7]])
    X = centers[y] + rng.normal(size=(300, 2))
    turn = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    yt = rng.integers(0, 3, 300)
    Xt = (centers[yt] + rng.normal(size=(300, 2))) @ turn
    known = np.where(np.arange(300) < n_target, yt, np.nan)
    X, labels, sample_domain = stack_domains(X, y, Xt, known)
    return X[:300], y, X, labels, sample_domain, Xt[n_target:], yt[n_target:]


@pytest.mark.filterwarnings("ignore::skadapt.NoAdaptationWarning")
def test_pretrained_on_the_source_beats_scratch():
    ours, scratch = [], []
    for seed in range(3):
        _, _, X, y, ids, X_new, y_new = _two_domains(seed)
        model = FineTuneClassifier(lr=0.01, random_state=seed)
        ours.append(model.fit(X, y, sample_domain=ids).score(X_new, y_new))
        few = ~np.isnan(y) & (ids < 0)
        scratch.append(model.fit(X[few], y[few]).score(X_new, y_new))
    assert np.mean(ours) > np.mean(scratch)


def test_two_stages_are_two_fits():
    _, _, X, y, ids, X_new, _ = _two_domains()
    model = FineTuneClassifier(
        l2_sp=1e9, lr=0.01, random_state=0, max_epochs=5, head="auto"
    ).fit(X, y, sample_domain=ids)
    assert [e["stage"] for e in model.history_] == ["source"] * 5 + ["target"] * 5
    # Held back without bound, the second stage leaves what the first has learned.
    with pytest.warns(NoAdaptationWarning):
        source = model.set_params(l2_sp=0.0).fit(X[ids > 0], y[ids > 0])
    again = FineTuneClassifier(l2_sp=1e9, lr=0.01, random_state=0, max_epochs=5).fit(
        X, y, sample_domain=ids
    )
    np.testing.assert_allclose(
        again.predict_proba(X_new), source.predict_proba(X_new), atol=1e-5
    )


def test_classes_of_the_target_alone_get_a_head_of_their_own():
    _, _, X, y, ids, _, _ = _two_domains()
    y = np.where(ids < 0, y + 10, y)
    model = FineTuneClassifier(random_state=0, max_epochs=2)
    model.fit(X, y, sample_domain=ids)
    assert model.classes_.tolist() == [10, 11, 12]
    some = np.where((ids < 0) & (y == 12), np.nan, np.where(ids < 0, y - 10, y))
    assert model.fit(X, some, sample_domain=ids).classes_.tolist() == [0, 1, 2]


def test_no_warning_where_a_backbone_brings_knowledge():
    X, y = _problem()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FineTuneClassifier(_trunk(), max_epochs=1).fit(X, y)


# ------------------------------------------------------------- epochs and failures


class _HeldOut(FineTuneClassifier):
    def _hold_out(self, targets, index, random_state):
        parts = super()._hold_out(targets, index, random_state)
        self.held_out = targets, parts
        return parts

    def _train(self, network, X, *args, **kwargs):
        self.rows = X
        return super()._train(network, X, *args, **kwargs)


def test_early_stopping_gives_the_weights_of_the_best_epoch():
    X, y = _problem(90)
    model = _HeldOut(
        _trunk(),
        early_stopping=True,
        n_iter_no_change=3,
        validation_fraction=0.3,
        lr=0.05,
        max_epochs=60,
        random_state=0,
    ).fit(X, y)
    losses = [epoch["valid_loss"] for epoch in model.history_]
    assert len(losses) == np.argmin(losses) + 4 < 60
    targets, (train, held_out) = model.held_out
    assert not set(train.tolist()) & set(held_out.tolist())
    assert len(held_out) == 27
    proba = model.predict_proba(model.rows[held_out])
    loss = -np.log(proba[np.arange(27), targets[held_out]]).mean()
    assert loss == pytest.approx(min(losses), rel=1e-5)


def test_early_stopping_needs_rows():
    X, y = _problem(1)
    with pytest.raises(ValueError, match="leaves no row to train on"):
        FineTuneClassifier(_trunk(), early_stopping=True).fit(X, y)


def test_infinite_loss_stops_and_keeps_the_last_good_weights():
    X, y = _problem()
    settings = {"batch_size": 40, "random_state": 0}
    with pytest.warns(ConvergenceWarning, match="not finite in epoch 3.*after epoch 2"):
        model = FineTuneClassifier(
            _trunk(),
            schedule=lambda p: 1.0 if p < 0.5 else 1e30,
            max_epochs=4,
            **settings,
        ).fit(X, y)
    good = FineTuneClassifier(_trunk(), max_epochs=2, **settings).fit(X, y)
    assert len(model.history_) == 2
    assert _same(_state(model), _state(good))


class _Failing(nn.Module):
    """Raises at a forward pass in training."""

    def __init__(self, error, at):
        super().__init__()
        self.trunk, self.error, self.at, self.calls = _trunk(), error, at, 0

    def forward(self, rows):
        self.calls += self.training
        if self.training and self.calls == self.at:
            raise self.error
        return self.trunk(rows)


def test_interrupted_training_keeps_the_weights():
    X, y = _problem()
    settings = {"batch_size": 40, "random_state": 0}
    with pytest.warns(ConvergenceWarning, match="Interrupted in epoch 3.*epoch 2"):
        model = FineTuneClassifier(_Failing(KeyboardInterrupt(), 8), **settings)
        model.fit(X, y)
    good = FineTuneClassifier(_Failing(None, -1), max_epochs=2, **settings).fit(X, y)
    assert _same(_state(model), _state(good))
    assert np.isfinite(model.predict_proba(X)).all()


def test_memory_that_does_not_hold_a_batch():
    X, y = _problem()
    error = RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
    with pytest.raises(MemoryError, match="batch_size=17.*smaller batch_size"):
        FineTuneClassifier(_Failing(error, 2), batch_size=17).fit(X, y)
    with pytest.raises(RuntimeError, match="something else"):
        FineTuneClassifier(_Failing(RuntimeError("something else"), 2)).fit(X, y)


def test_wrong_channels_are_said():
    X, y = _images()
    with pytest.raises(ValueError, match="1 channels .*takes 3"):
        FineTuneClassifier(_cnn()).fit(X[:, :1], y)
    model = FineTuneClassifier(_cnn(), max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match="with 1 channels .*fitted on rows with 3"):
        model.predict(X[:, :1])
    with pytest.raises(ValueError, match=r"fitted on rows of shape \(3, 6, 6\)"):
        model.predict(X[:, :, 0])


def test_last_batch_of_one_row():
    X, y = _problem(65)
    model = FineTuneClassifier(_trunk(), batch_size=16, max_epochs=1).fit(X, y)
    assert np.isfinite(model.predict_proba(X[:1])).all()


# ------------------------------------------------------------------------- inputs


def test_bytes_are_images_between_0_and_1():
    X, y = _images()
    settings = {"max_epochs": 2, "random_state": 0}
    first = FineTuneClassifier(_cnn(), **settings).fit(X, y)
    second = FineTuneClassifier(_cnn(), **settings).fit(X / 255.0, y)
    np.testing.assert_allclose(
        first.predict_proba(X), second.predict_proba(X / 255.0), atol=1e-6
    )


def test_normalized_images():
    X, y = _images()
    mean, deviation = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.3, 0.4])
    settings = {"max_epochs": 2, "random_state": 0}
    inside = FineTuneClassifier(_cnn(), normalize=(mean, deviation), **settings)
    by_hand = (X / 255.0 - mean[:, None, None]) / deviation[:, None, None]
    outside = FineTuneClassifier(_cnn(), **settings)
    np.testing.assert_allclose(
        inside.fit(X, y).predict_proba(X),
        outside.fit(by_hand, y).predict_proba(by_hand),
        atol=3e-4,
    )


def test_layout_and_half_precision_change_little():
    X, y = _images()
    settings = {"max_epochs": 2, "random_state": 0}
    plain = FineTuneClassifier(_cnn(), **settings).fit(X, y).predict_proba(X)
    last = FineTuneClassifier(_cnn(), channels_last=True, **settings).fit(X, y)
    np.testing.assert_allclose(last.predict_proba(X), plain, atol=3e-4)
    half = FineTuneClassifier(_cnn(), autocast="bfloat16", **settings).fit(X, y)
    np.testing.assert_allclose(half.predict_proba(X), plain, atol=0.05)
    assert next(half.module_.parameters()).dtype == torch.float32


def _letters(text):
    return np.array([ord(letter) - 96 for letter in text])


def test_texts_of_any_length():
    rng = np.random.default_rng(0)
    texts = [
        "".join(rng.choice(list("ab" if i % 2 else "cd"), rng.integers(2, 9)))
        for i in range(60)
    ]
    y = np.where(np.arange(60) % 2, "left", "right")
    torch.manual_seed(0)
    embedding = nn.Embedding(27, 4, padding_idx=0)
    for n_jobs in (None, 2):
        model = FineTuneClassifier(
            embedding, preprocess=_letters, lr=0.05, n_jobs=n_jobs, random_state=0
        ).fit(texts, y)
        assert model.score(texts, y) > 0.95
        assert set(model.classes_) == {"left", "right"}
    with pytest.raises(ValueError, match="X holds strings: give .*preprocess"):
        FineTuneClassifier(embedding).fit(texts, y)


def test_images_of_several_sizes_are_refused():
    def load(n):
        return np.zeros((3, n, n), dtype=np.float32)

    with pytest.raises(ValueError, match="give all images one size"):
        FineTuneClassifier(_cnn(), preprocess=load).fit([6, 7, 8, 6], [0, 1, 0, 1])


def test_head_that_is_kept_gives_values_as_they_are():
    X, _ = _problem()
    y = 100 + 20 * X[:, 0]
    given = nn.Sequential(nn.Flatten(), nn.Linear(5, 1))
    with torch.no_grad():
        given[1].weight.copy_(torch.tensor([[20.0, 0, 0, 0, 0]]))
        given[1].bias.fill_(100.0)
    model = FineTuneRegressor(given, lr=1e-8, max_epochs=1).fit(X, y)
    np.testing.assert_allclose(model.predict(X), y, rtol=1e-5)
    new = FineTuneRegressor(given, "replace", lr=0.1, random_state=0).fit(X, y)
    assert new.score(X, y) > 0.99


def test_fitted_estimator_lends_its_head_for_the_same_classes_alone():
    X, y = _problem()
    parent = FineTuneClassifier(_trunk(), max_epochs=2, random_state=0).fit(X, y)
    still = {"lr": 1e-9, "max_epochs": 1, "freeze_bn": True}
    same = FineTuneClassifier(parent, **still).fit(X, y)
    np.testing.assert_allclose(
        same.predict_proba(X), parent.predict_proba(X), atol=1e-5
    )
    other = FineTuneClassifier(parent, **still).fit(X, y + 3)
    assert np.abs(other.predict_proba(X) - parent.predict_proba(X)).max() > 0.05
    values = FineTuneRegressor(_trunk(), random_state=0).fit(X, 50 + 9 * X[:, 0])
    child = FineTuneRegressor(values, **still).fit(X, X[:, 0])
    np.testing.assert_allclose(child.predict(X), values.predict(X), rtol=1e-5)


# ------------------------------------------------------------------ as estimators


def test_module_of_the_caller_and_generator_of_torch_stay():
    X, y = _images()
    net = _cnn().eval()
    for parameter in net[0].parameters():
        parameter.requires_grad_(False)
    before = copy.deepcopy(net.state_dict())
    state = torch.random.get_rng_state()
    FineTuneClassifier(net, dropout=0.5, max_epochs=2).fit(X, y).predict(X)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert _same(net.state_dict(), before)
    assert not net.training
    assert not net[0].weight.requires_grad


def test_seeds():
    X, y = _problem()
    first, again, other = (
        FineTuneClassifier(_trunk(), dropout=0.3, max_epochs=2, random_state=seed)
        .fit(X, y)
        .predict_proba(X)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_grid_search_over_what_is_kept():
    X, y = _problem()
    search = GridSearchCV(
        FineTuneClassifier(_trunk(), max_epochs=2, random_state=0),
        {"freeze": [None, 1, "backbone"], "l2_sp": [0, 0.1], "lr": [1e-3, 1e-2]},
        cv=2,
        error_score="raise",
    ).fit(X, np.array(["a", "b", "c"])[y])
    assert len(search.cv_results_["params"]) == 12
    assert search.predict(X).dtype.kind == "U"


def test_pickle_of_images():
    X, y = _images()
    model = FineTuneClassifier(_cnn(), max_epochs=1, channels_last=True).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


@pytest.mark.filterwarnings("ignore::skadapt.NoAdaptationWarning")
def test_partial_fit_is_fit_one_epoch_at_a_time():
    X, y = _problem()
    settings = {"batch_size": len(X), "random_state": 0, "lr": 0.01}
    whole = FineTuneClassifier(max_epochs=4, **settings).fit(X, y)
    parts = FineTuneClassifier(**settings)
    with pytest.raises(ValueError, match="classes must be passed"):
        parts.partial_fit(X, y)
    for _ in range(4):
        parts.partial_fit(X, y, classes=[0, 1, 2])
    np.testing.assert_allclose(
        parts.predict_proba(X), whole.predict_proba(X), atol=1e-5
    )
    assert [epoch["epoch"] for epoch in parts.history_] == [1, 2, 3, 4]
    with pytest.raises(ValueError, match="not among classes"):
        parts.partial_fit(X, y + 1)
    with pytest.raises(ValueError, match="differ from those of the first call"):
        parts.partial_fit(X, y, classes=[0, 1])
    again = pickle.loads(pickle.dumps(parts)).partial_fit(X, y)
    np.testing.assert_array_equal(
        again.predict_proba(X), parts.partial_fit(X, y).predict_proba(X)
    )
    regressor = FineTuneRegressor(**settings).partial_fit(X, y).partial_fit(X, y)
    assert len(regressor.history_) == 2


def test_warm_start_goes_on():
    X, y = _problem()
    model = FineTuneClassifier(_trunk(), warm_start=True, lr=0.01, random_state=0)
    cold = model.fit(X, y).history_[0]["train_loss"]
    warm = model.fit(X, y).history_[0]["train_loss"]
    assert warm < 0.7 * cold
    again = model.set_params(warm_start=False).fit(X, y)
    assert again.history_[0]["train_loss"] == cold


def test_progress_bar_and_history(capsys):
    pytest.importorskip("matplotlib").use("Agg")
    X, y = _problem()
    model = FineTuneClassifier(
        _trunk(), verbose=True, early_stopping=True, max_epochs=3
    ).fit(X, y)
    assert "epoch" in capsys.readouterr().err
    ax = model.plot_history()
    drawn = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert set(drawn) == {"train_loss", "valid_loss"}
    np.testing.assert_array_equal(
        drawn["valid_loss"], [epoch["valid_loss"] for epoch in model.history_]
    )


def test_search_over_a_fitted_backbone():
    """Clones keep it fitted: it is data, not a model to be fitted."""
    X, y = _problem()
    source = FineTuneClassifier(max_epochs=2, random_state=0)
    with pytest.warns(NoAdaptationWarning):
        source.fit(X, y)
    model = FineTuneClassifier(source, max_epochs=2, random_state=0)
    search = GridSearchCV(model, {"freeze": [None, "backbone"]}, cv=2).fit(X, y)
    assert set(search.predict(X)) <= set(y)
    assert clone(model).backbone is source


def test_repeated_rows_are_as_many_steps():
    """Columns of few values are trained like jittered ones, which are all distinct."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (1000, 4)).astype(np.float32)
    y = (X[:, 0] != X[:, 1]).astype(int)
    for rows in (X, X + rng.normal(0, 1e-4, X.shape).astype(np.float32)):
        model = FineTuneClassifier(source_backbone(), lr=0.01, random_state=0)
        assert model.fit(rows, y).score(rows, y) == 1.0


def source_backbone():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 32), nn.ReLU())


# --------------------------------------------------------- weights of drawn rows


class _Sets(FineTuneClassifier):
    """Keeps the sets that it is trained and judged with."""

    def _train(self, network, X, targets, weights, objective, **kwargs):
        self.trained_rows, self.codes = X, targets
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("skadapt.deep._training.train", self._caught)
            return super()._train(network, X, targets, weights, objective, **kwargs)

    def _caught(self, network, forward, objective, train_set, valid_set, *args, **kw):
        self.sets = train_set, valid_set
        return train(network, forward, objective, train_set, valid_set, *args, **kw)


@pytest.mark.parametrize("class_weight", [None, {0: 1.0, 1: 3.0}])
def test_balanced_sampler_draws_a_row_as_often_as_its_repetitions(class_weight):
    """Weights that are no repeats: as chances, once, and not as factors again."""
    X, y = _problem(60, 2)
    whole = np.random.default_rng(0).integers(1, 5, 60).astype(float)
    expected = {}
    for scale in (1.0, 0.5):  # repeated rows, and rows with weights
        model = _Sets(
            _trunk(),
            sampler="balanced",
            class_weight=class_weight,
            early_stopping=True,
            max_epochs=1,
            random_state=0,
        ).fit(X, y, scale * whole)
        drawn, judged = model.sets
        chances = drawn.chances.numpy()
        codes = model.codes[drawn.index.numpy()]
        np.testing.assert_allclose(np.bincount(codes, chances), 1)
        assert (drawn.weights is None) == (class_weight is None)
        if class_weight is not None:
            factors = drawn.weights.numpy()[drawn.index.numpy()]
            ratio = factors[codes == 1].mean() / factors[codes == 0].mean()
            assert ratio == pytest.approx(3)
            np.testing.assert_allclose(factors[codes == 1], factors[codes == 1][0])
        expected[scale] = chances, model, drawn
        # What judges the epochs counts each row by its weight.
        assert (judged.weights is None) == (class_weight is None and scale == 1.0)
    chances, model, drawn = expected[0.5]
    at = drawn.index.numpy()
    own = np.array([whole[(row == X).all(axis=1)][0] for row in model.trained_rows[at]])
    codes = model.codes[at]
    np.testing.assert_allclose(chances, own / np.bincount(codes, own)[codes])


def test_a_heavy_row_is_drawn_by_its_weight_within_its_class():
    """Two labels for one row: what it learns are the shares of the weights."""
    X = np.repeat([[0.0], [1.0]], [2, 1], axis=0).repeat(10, axis=0)
    y = np.repeat([0, 1, 1], 10)
    weights = np.repeat([1.0, 40.0, 120.0], 10)
    model = FineTuneClassifier(
        nn.Flatten(), sampler="balanced", lr=0.05, max_epochs=300, random_state=0
    ).fit(X, y, weights)
    # Half of all draws are of class 0; a quarter of class 1, an eighth, at x = 0.
    assert model.predict_proba([[0.0]])[0, 1] == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize(
    "weight, message",
    [
        ({0: 1.0, 7: 2.0}, r"names the class 7, which is none of \[0, 1, 2\]"),
        ({"a": 2.0}, "names the class 'a'"),
        ({0: 0.0}, "gives class 0 the weight 0.0: it has to be a positive number"),
        ({1: -1.0}, "gives class 1 the weight -1.0"),
        ({1: np.inf}, "gives class 1 the weight inf"),
        ({1: "2"}, "gives class 1 the weight '2'"),
    ],
)
def test_class_weights_that_are_none(weight, message):
    X, y = _problem()
    model = FineTuneClassifier(_trunk(), class_weight=weight)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    with pytest.raises(ValueError, match=message):
        model.partial_fit(X, y, classes=[0, 1, 2])


def test_class_weights_may_be_those_of_either_stage():
    _, _, X, y, ids, _, _ = _two_domains()
    y = np.where(ids < 0, y + 3, y)
    weights = {0: 2.0, 3: 2.0}
    model = FineTuneClassifier(class_weight=weights, max_epochs=1)
    model.fit(X, y, sample_domain=ids)
    assert model.classes_.tolist() == [3, 4, 5]


# ------------------------------------------------------------- one epoch at a time


def _source_network():
    """With a head that is kept."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 6), nn.Linear(6, 3))


@pytest.mark.parametrize(
    "settings",
    [
        {"l2_sp": 3.0},
        {"conservative": 0.7},
        {"schedule": "cosine"},
        {"schedule": "slanted", "warmup": 0.5},
        {"schedule": "inv_sqrt", "momentum": 0.0},
        {"gradual_unfreeze": True, "layer_decay": 0.5},
        {"optimizer": "adamw", "schedule": "one_cycle", "freeze": np.int64(1)},
    ],
    ids=str,
)
def test_calls_of_partial_fit_are_the_epochs_of_fit(settings):
    X, y = _problem()
    settings = {
        "optimizer": "sgd",
        "batch_size": len(X),
        "max_epochs": 4,
        "lr": 0.05,
        "random_state": 0,
        **settings,
    }
    whole = FineTuneClassifier(_source_network(), **settings).fit(X, y)
    parts = FineTuneClassifier(_source_network(), **settings)
    for _ in range(4):
        parts.partial_fit(X, y, classes=[0, 1, 2])
    for name, tensor in _state(whole).items():
        torch.testing.assert_close(_state(parts)[name], tensor, rtol=0, atol=1e-5)
    rates = [[e["lr"] for e in m.history_] for m in (whole, parts)]
    np.testing.assert_allclose(*rates)
    beyond = parts.partial_fit(X, y).history_[-1]
    assert beyond["epoch"] == 5
    assert np.isfinite(beyond["train_loss"])


def test_parameters_set_between_calls_count():
    X, y = _problem()
    model = FineTuneClassifier(_source_network(), lr=0.01, random_state=0)
    before = _state(model.partial_fit(X, y, classes=[0, 1, 2]))
    assert not _same(_state(model.partial_fit(X, y)), before)
    before = _state(model)
    model.set_params(lr=1e-30).partial_fit(X, y)
    assert _same(_state(model), before)
    assert model.history_[-1]["lr"] == 1e-30
    model.set_params(lr=0.01, freeze="backbone").partial_fit(X, y)
    changed = {n for n, t in _state(model).items() if not torch.equal(t, before[n])}
    assert changed == {"head.weight", "head.bias"}
    model.set_params(freeze=None, optimizer="sgd", layer_decay=0.5).partial_fit(X, y)
    assert not torch.equal(
        _state(model)["backbone.0.weight"], before["backbone.0.weight"]
    )


def test_calls_draw_other_batches():
    """As the epochs of fit do: a call goes on with the generator of the last."""
    X, y = _problem()
    settings = {"lr": 1e-12, "batch_size": 16, "dropout": 0.5, "random_state": 0}
    model = FineTuneClassifier(_source_network(), **settings)
    for _ in range(2):
        model.partial_fit(X, y, classes=[0, 1, 2])
    losses = [epoch["train_loss"] for epoch in model.history_]
    assert abs(losses[0] - losses[1]) > 1e-3


def test_infinite_loss_of_the_first_call():
    pytest.importorskip("matplotlib").use("Agg")
    X, y = _problem()
    model = FineTuneClassifier(_source_network(), lr=1e30, batch_size=20)
    with pytest.warns(ConvergenceWarning, match="not finite in epoch 1.*before train"):
        model.partial_fit(X, y, classes=[0, 1, 2])
    assert model.history_ == []
    assert not model.plot_history().lines
    assert torch.equal(model.module_.backbone[0].weight, _source_network()[0].weight)
    # Nor does the optimizer remember it.
    fresh = FineTuneClassifier(_source_network(), random_state=0, batch_size=200)
    fresh.partial_fit(X, y, classes=[0, 1, 2])
    model.set_params(lr=1e-3, batch_size=200).partial_fit(X, y)
    assert model.history_[0]["epoch"] == 1
    np.testing.assert_allclose(
        model.predict_proba(X), fresh.predict_proba(X), atol=1e-4
    )
    state = _state(model)
    model.set_params(lr=1e30, batch_size=20)
    with pytest.warns(ConvergenceWarning, match="not finite in epoch 2.*after epoch 1"):
        model.partial_fit(X, y)
    assert _same(_state(model), state)
    model.set_params(lr=1e-3).partial_fit(X, y)
    assert np.isfinite(model.predict_proba(X)).all()


def test_what_partial_fit_refuses():
    X, y = _problem()
    model = FineTuneClassifier(_source_network(), early_stopping=True)
    with pytest.raises(ValueError, match="which early_stopping=True cannot stop"):
        model.partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="which early_stopping=True cannot stop"):
        FineTuneRegressor(early_stopping=True).partial_fit(X, y)
    model.set_params(early_stopping=False).partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="l2_sp and conservative .*from the start"):
        model.set_params(l2_sp=0.1).partial_fit(X, y)
    with pytest.raises(ValueError, match="draws the weights to pretrained ones"):
        FineTuneClassifier(l2_sp=0.1).partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(TypeError, match="sample_domain"):
        model.partial_fit(X, y, sample_domain=np.ones(len(y)))


# ---------------------------------------------------------------- warm start, once


@pytest.mark.parametrize("head", ["auto", "replace", "linear"])
def test_warm_start_keeps_the_head(head):
    X, y = _problem()
    parent = FineTuneClassifier(_trunk(), max_epochs=1, random_state=0).fit(X, y + 1)
    model = FineTuneClassifier(
        parent, head, warm_start=True, freeze_bn=True, max_epochs=2, random_state=0
    ).fit(X, y)
    expected = model.predict_proba(X)
    again = model.set_params(lr=1e-12).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(again, expected, atol=1e-6)


def test_warm_start_with_other_classes():
    X, y = _problem()
    model = FineTuneClassifier(_trunk(), warm_start=True, max_epochs=1).fit(X, y)
    expected = model.predict_proba(X)
    for labels in (np.where(y == 2, 0, y), y + 1, np.array(list("abc"))[y]):
        with pytest.raises(ValueError, match=r"whose classes are \[0, 1, 2\], but now"):
            model.fit(X, labels)
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    with pytest.raises(ValueError, match=r"does not take rows of shape \(4,\)"):
        model.fit(X[:, :4], y)


def test_warm_start_with_other_parameters():
    X, y = _problem()
    model = FineTuneClassifier(_trunk(), warm_start=True, max_epochs=1).fit(X, y)
    model.set_params(freeze_bn=True, dropout=0.25)
    statistics = model.module_.backbone[1].running_mean.clone()
    model.fit(X, y)
    assert torch.equal(model.module_.backbone[1].running_mean, statistics)
    assert model.module_.dropout.p == 0.25
    assert not torch.equal(
        model.set_params(freeze_bn=False)
        .partial_fit(X, y)
        .module_.backbone[1]
        .running_mean,
        statistics,
    )


def test_warm_start_of_two_stages_and_of_values():
    _, _, X, y, ids, _, _ = _two_domains()
    model = FineTuneClassifier(warm_start=True, lr=0.01, max_epochs=10, random_state=0)
    losses = [
        model.fit(X, y, sample_domain=ids).history_[0]["train_loss"] for _ in range(2)
    ]
    assert losses[1] < 0.7 * losses[0]
    values = FineTuneRegressor(nn.Flatten(), warm_start=True, lr=0.05).fit(X, 50 + ids)
    expected = values.predict(X)
    values.set_params(lr=1e-12).fit(X, 500 + ids)
    np.testing.assert_allclose(values.predict(X), expected, rtol=1e-5)


# --------------------------------------------------------- what is said, and when


def test_interrupt_in_the_first_stage_ends_all_training():
    _, _, X, y, ids, _, _ = _two_domains()
    error = KeyboardInterrupt()

    class Interrupted(_Failing):
        def __init__(self):
            super().__init__(error, 8)
            self.trunk = nn.Sequential(nn.Linear(2, 8), nn.ReLU())

    model = FineTuneClassifier(Interrupted(), batch_size=100, random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y, sample_domain=ids)
    assert [w.category for w in caught] == [ConvergenceWarning]
    assert {epoch["stage"] for epoch in model.history_} == {"source"}
    assert model.score(X[ids > 0], y[ids > 0]) > 0.3


def test_networks_of_double_precision_see_all_digits():
    X = 1 + np.arange(8.0)[:, None] * 1e-12
    given = nn.Sequential(nn.Flatten(), nn.Linear(1, 1)).double()
    with torch.no_grad():
        given[1].weight.fill_(1.0)
        given[1].bias.fill_(-1.0)
    still = {"lr": 1e-300, "max_epochs": 1}
    model = FineTuneRegressor(given, **still).fit(X, X[:, 0])
    np.testing.assert_allclose(model.predict(X), X[:, 0] - 1, rtol=1e-3)
    child = FineTuneRegressor(model, **still).fit(X, X[:, 0])
    np.testing.assert_array_equal(child.predict(X), model.predict(X))
    made = FineTuneRegressor(lambda: nn.Linear(1, 3).double(), max_epochs=1)
    assert made.fit(X, X[:, 0]).predict(X).dtype == np.float64
    features = TorchFeatures(given).fit_transform(X)
    np.testing.assert_allclose(features[:, 0], X[:, 0] - 1, rtol=1e-3)


def test_numbers_of_blocks_of_any_kind():
    X, y = _problem()
    settings = {"max_epochs": 1, "random_state": 0}
    first, second = (
        FineTuneClassifier(_trunk(), freeze=freeze, **settings).fit(X, y)
        for freeze in (np.int64(1), 1)
    )
    assert _same(_state(first), _state(second))
    assert torch.equal(first.module_.backbone[0].weight, _trunk()[0].weight)


def test_batch_norm_of_one_row():
    X, y = _problem()
    for settings, n in (({"batch_size": 1}, 20), ({}, 1)):
        with pytest.raises(ValueError, match="batch norm learns nothing from a batch"):
            FineTuneClassifier(_trunk(), **settings).fit(X[:n], y[:n])
    model = FineTuneClassifier(_trunk(), batch_size=1, freeze_bn=True, max_epochs=1)
    assert np.isfinite(model.fit(X[:20], y[:20]).predict_proba(X)).all()


def test_images_of_another_size():
    X, y = _images()
    flat = nn.Sequential(_cnn(), nn.Flatten(), nn.Linear(24, 5))
    model = FineTuneClassifier(flat, max_epochs=1).fit(X, y)
    larger = np.zeros((2, 3, 8, 8), dtype=np.uint8)
    message = r"rows of shape \(3, 8, 8\), which the network .*fitted on .*\(3, 6, 6\)"
    with pytest.raises(ValueError, match=message):
        model.predict(larger)
    with pytest.raises(ValueError, match="with 6 channels .* rows with 3"):
        model.predict(np.zeros((2, 6, 6, 3)))
    # Where positions are averaged the size is free.
    free = FineTuneClassifier(_cnn(), max_epochs=1).fit(X, y)
    assert free.predict(larger).shape == (2,)


@pytest.mark.parametrize(
    "backbone, message",
    [
        (nn.Sequential(nn.Linear(5, 1), nn.Flatten(0)), r"gives \(1,\) where a tensor"),
        (FineTuneClassifier(), "a FineTuneClassifier, has no network.*fit it first"),
        (FineTuneClassifier, "makes a FineTuneClassifier, which is no torch.nn.Module"),
        (nn.Linear, "Linear, is neither a network nor a callable .* without arguments"),
        (7, "int, is neither a network nor a callable"),
    ],
    ids=["one axis", "unfitted", "class", "class of a module", "number"],
)
def test_backbones_that_are_none(backbone, message):
    X, y = _problem()
    with pytest.raises(ValueError, match=message):
        FineTuneClassifier(backbone).fit(X, y)


def test_stages_whose_rows_weigh_nothing():
    _, _, X, y, ids, _, _ = _two_domains()
    for side, name in ((ids > 0, "source"), (ids < 0, "target")):
        with pytest.raises(ValueError, match=f"0 for every labelled {name} row"):
            FineTuneClassifier().fit(X, y, 1.0 - side, sample_domain=ids)
