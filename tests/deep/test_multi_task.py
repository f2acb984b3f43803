"""Several tasks: heads of their own, a trunk for all, shares of the batches."""

import numpy as np
import pytest
import torch
from torch import nn

from skadapt import NoAdaptationWarning, stack_domains
from skadapt.deep import FineTuneClassifier, MultiTaskClassifier
from skadapt.deep._loop import Batch, LabeledSet, SupervisedObjective
from skadapt.deep._multi_task import Heads, LossOfHeads, ProportionalSet
from skadapt.deep._network import Network

FEW = {"max_epochs": 3, "batch_size": 16, "random_state": 0, "lr": 0.01}
rng = np.random.default_rng(0)


def _domain(n, n_classes, shift=0):
    X = rng.normal(size=(n, 4)).astype(np.float32)
    return X, np.digitize(X @ [1, 1, 0, 0], np.linspace(-1, 1, n_classes + 1)[1:-1])


A, B, C = _domain(50, 2), _domain(30, 3), _domain(9, 2)
NAMES = np.array(["no", "yes"])
TASKS = stack_domains([A[0], B[0]], [A[1] + 5, B[1]], C[0], C[1] + 2)


def _fit(model, X, y, sample_domain):
    return model.fit(X, y, sample_domain=sample_domain)


def _trunk():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU())


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"class_weight": "balanced", "label_smoothing": 0.1},
        {"sampler": "balanced", "early_stopping": True},
    ],
)
def test_one_task_is_fine_tuning(extra):
    plain = FineTuneClassifier(_trunk(), **FEW, **extra).fit(*B)
    model = MultiTaskClassifier(_trunk(), **FEW, **extra).fit(*B)
    assert model.domain_classes_.keys() == {-1}
    np.testing.assert_array_equal(model.predict(B[0]), plain.predict(B[0]))
    np.testing.assert_allclose(
        model.predict_proba(B[0]), plain.predict_proba(B[0]), rtol=1e-6
    )
    for first, second in zip(
        model.module_.state_dict().values(), plain.module_.state_dict().values()
    ):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-7)


def test_rows_of_a_task_teach_the_trunk_and_their_own_head():
    heads = Heads({1: nn.Linear(8, 2), -3: nn.Linear(8, 3)})
    network = Network(_trunk(), heads)
    objective = SupervisedObjective(LossOfHeads(np.array([0, 0, 1, 1, 1]), 0.1))
    codes = torch.from_numpy(B[1]) + 2
    rows = torch.from_numpy(B[0])
    batch = Batch(rows, codes, None, torch.arange(len(codes)))
    features = network.features(rows)
    objective(batch, features, network.outputs(features), 0.0).backward()
    for name, parameter in network.named_parameters():
        moved = bool(parameter.grad.abs().sum() > 0)
        assert moved == (not name.startswith("head.tasks.1."))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_is_that_of_each_head_alone(smoothing):
    tasks, sizes = np.array([0, 0, 1, 1, 1, 2]), [2, 3, 1]
    outputs = torch.randn(12, 6, dtype=torch.float64, requires_grad=True)
    codes = torch.arange(12) % 6
    losses = LossOfHeads(tasks, smoothing)(outputs, codes)
    starts = np.cumsum([0, *sizes])
    for i, code in enumerate(codes.tolist()):
        start, stop = starts[tasks[code]], starts[tasks[code] + 1]
        expected = nn.functional.cross_entropy(
            outputs[i, start:stop],
            codes[i] - int(start),
            label_smoothing=smoothing,
        )
        torch.testing.assert_close(losses[i], expected)
    loss = LossOfHeads(tasks, smoothing)
    assert torch.autograd.gradcheck(lambda z: loss(z, codes), outputs)


def test_batches_hold_the_tasks_in_their_shares():
    n = [400, 100, 4]
    codes = np.repeat([0, 1, 2], n)
    index = torch.randperm(504)
    generator = torch.Generator().manual_seed(0)
    labeled = LabeledSet(None, None, None, index, 50, generator)
    shares = np.sqrt(n) / np.sqrt(n).sum()
    batches = ProportionalSet(labeled, torch.from_numpy(codes)[index], shares)
    seen = []
    for _ in range(3):
        order = batches.order()
        seen.append(order)
        counts = np.bincount(codes[order], minlength=3)
        assert np.all(np.abs(counts - 504 * shares) <= 1) and len(order) == 504
        for batch in order.split(50):
            counts = np.bincount(codes[batch], minlength=3)
            assert np.all(np.abs(counts - len(batch) * shares) <= 3)
    times = np.bincount(torch.cat(seen), minlength=504)
    for task in range(3):
        # No row comes again before every other one has.
        assert np.ptp(times[codes == task]) <= 1


def test_tasks_with_labels_of_their_own():
    model = _fit(MultiTaskClassifier(lr=0.02, random_state=0), *TASKS)
    assert model.classes_.tolist() == [0, 1, 2, 3, 5, 6]
    classes = {d: c.tolist() for d, c in model.domain_classes_.items()}
    assert classes == {1: [5, 6], 2: [0, 1, 2], -1: [2, 3]}
    for domain, (X, y) in {1: (A[0], A[1] + 5), 2: B, -1: (C[0], C[1] + 2)}.items():
        assert np.mean(model.predict(X, sample_domain=domain) == y) > 0.7
        proba = model.predict_proba(X, sample_domain=domain)
        np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-6)
        own = np.isin(model.classes_, classes[domain])
        assert (proba[:, ~own] == 0).all() and (proba[:, own] > 0).all()
    X, y, ids = TASKS
    np.testing.assert_array_equal(
        model.predict(X, ids)[ids == 2], model.predict(B[0], sample_domain=2)
    )
    np.testing.assert_array_equal(
        model.predict(C[0]), model.predict(C[0], sample_domain=-1)
    )
    assert model.score(X, y, sample_domain=ids) == model.score(C[0], C[1] + 2)


def test_head_is_asked_for_where_it_is_not_known():
    X, y, ids = TASKS
    ids = np.where(ids == 2, -7, ids)
    model = _fit(MultiTaskClassifier(**FEW), X, y, ids)
    for ask in (model.predict, model.predict_proba):
        with pytest.raises(ValueError, match=r"domains \[-1, -7\], .*sample_domain=-1"):
            ask(X)
        with pytest.raises(ValueError, match=r"domain 2, .*name one of \[-7, -1, 1\]"):
            ask(X, sample_domain=2)
        with pytest.raises(ValueError, match="domain 3"):
            ask(X, sample_domain=np.r_[3, ids[1:]])
    assert model.predict(X, sample_domain=ids).shape == y.shape


def test_domain_without_labels():
    X, y, ids = stack_domains(A[0], A[1], B[0])
    with pytest.raises(ValueError, match="Domain -1 holds no labelled target row"):
        _fit(MultiTaskClassifier(**FEW), X, y, ids)
    X, y, ids = TASKS
    with pytest.raises(ValueError, match="Domain 2 holds no labelled source row"):
        MultiTaskClassifier(**FEW).fit(X, y, 1.0 * (ids != 2), sample_domain=ids)


def test_unlabelled_rows_are_left_out():
    X, y, ids = TASKS
    kept = np.arange(len(y)) % 4 > 0
    model = _fit(MultiTaskClassifier(**FEW), X, np.where(kept, y, np.nan), ids)
    again = _fit(MultiTaskClassifier(**FEW), X[kept], y[kept], ids[kept])
    np.testing.assert_array_equal(
        model.predict_proba(X, ids), again.predict_proba(X, ids)
    )


def test_names_of_the_domains_do_not_matter():
    X, y, ids = TASKS
    model = _fit(MultiTaskClassifier(**FEW), X, y, ids)
    names = np.select([ids == 1, ids == 2], [30, 4], -9)
    again = _fit(MultiTaskClassifier(**FEW), X, y, names)
    np.testing.assert_array_equal(
        model.predict_proba(X, ids), again.predict_proba(X, names)
    )


def test_weights_of_rows_are_repetitions_in_the_shares_too():
    X, y, ids = TASKS
    weights = np.where(ids == -1, 4.0, 1.0)
    times = np.repeat(np.arange(len(y)), weights.astype(int))
    model = MultiTaskClassifier(**FEW).fit(X, y, weights, sample_domain=ids)
    again = _fit(MultiTaskClassifier(**FEW), X[times], y[times], ids[times])
    np.testing.assert_array_equal(
        model.predict_proba(X, ids), again.predict_proba(X, ids)
    )


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 3.0, 5: 2.0}])
def test_row_weights(class_weight):
    X, y, ids = TASKS
    model = MultiTaskClassifier(class_weight=class_weight, task_weight={2: 5.0}, **FEW)
    _fit(model, X, y, ids)
    y = y.astype(int)
    weights = model._factors(model._codes(y, ids), None)
    of_task = np.where(ids == 2, 5.0, 1.0)
    if class_weight == "balanced":
        for domain in (1, 2, -1):
            of_class = (weights / of_task)[ids == domain]
            _, codes = np.unique(y[ids == domain], return_inverse=True)
            sums = np.bincount(codes, of_class)
            np.testing.assert_allclose(sums, sums.mean())
            assert of_class.mean() == pytest.approx(1)
    else:
        of_class = np.array([(class_weight or {}).get(c, 1.0) for c in y.tolist()])
        np.testing.assert_allclose(weights, of_class * of_task)


def test_validation_takes_rows_of_all_tasks_and_their_heads():
    X, y, ids = TASKS
    settings = {**FEW, "early_stopping": True, "validation_fraction": 0.3}
    for seed in range(3):
        model = MultiTaskClassifier(**{**settings, "random_state": seed})
        history = _fit(model, X, y, ids).history_
        assert all(np.isfinite(epoch["valid_loss"]) for epoch in history)
    # One row of a task, which may be held out: the others are trained.
    rows = np.flatnonzero((ids != -1) | (np.cumsum(ids == -1) == 1))
    for seed in range(3):
        model = MultiTaskClassifier(**{**settings, "random_state": seed})
        _fit(model, X[rows], y[rows], ids[rows])
        assert model.module_.head.tasks["-1"].out_features == 1


def test_a_heavy_task_is_learned_better():
    """Two tasks that contradict each other, and a trunk too narrow for both."""
    X = rng.normal(size=(200, 4))
    y, z = (X[:, 0] > 0).astype(int), (X[:, 1] > 0).astype(int)
    data = stack_domains(X, y, X, z)
    losses = []
    for weights in ({1: 9.0}, None, {-1: 9.0}):
        model = MultiTaskClassifier(
            hidden_layer_sizes=(1,),
            task_weight=weights,
            lr=0.02,
            max_epochs=20,
            random_state=1,
        )
        proba = _fit(model, *data).predict_proba(X, sample_domain=1)
        losses.append(-np.log(proba[np.arange(200), y]).mean())
    assert losses[0] < losses[1] < losses[2]


def test_balanced_sampler_within_tasks():
    X, y, ids = TASKS
    model = MultiTaskClassifier(sampler="balanced", **FEW)
    codes = _fit(model, X, y, ids)._codes(y.astype(int), ids)
    chances = model._chances(codes, None, torch.arange(len(y))).numpy()
    for domain, n in {1: 50, 2: 30, -1: 9}.items():
        share = chances[ids == domain].sum() / chances.sum()
        assert share == pytest.approx(
            np.sqrt(n) / np.sqrt([50, 30, 9]).sum(), abs=1e-12
        )
        _, of_class = np.unique(y[ids == domain], return_inverse=True)
        sums = np.bincount(of_class, chances[ids == domain])
        np.testing.assert_allclose(sums, sums[0])


@pytest.mark.parametrize("n_heads", ["module", "callable", "linear"])
def test_heads_of_the_users(n_heads):
    X, y, ids = stack_domains(A[0], A[1], C[0], C[1])
    head = {
        "module": nn.Linear(64, 2),
        "callable": lambda n, k: nn.Sequential(nn.Linear(n, 3), nn.Linear(3, k)),
        "linear": "linear",
    }[n_heads]
    model = _fit(MultiTaskClassifier(head=head, **FEW), X, y, ids)
    first, second = model.module_.head.tasks.values()
    assert str(first) == str(second)
    for one, other in zip(first.parameters(), second.parameters()):
        assert not torch.equal(one, other)


def test_pretrained_trunk_and_heads():
    """Those of a fitted model go on where the tasks are the same."""
    frozen = {**FEW, "freeze": "backbone"}
    parent = _fit(MultiTaskClassifier(**FEW), *TASKS)
    child = _fit(MultiTaskClassifier(parent, **{**FEW, "lr": 1e-12}), *TASKS)
    X, _, ids = TASKS
    np.testing.assert_allclose(
        child.predict_proba(X, ids), parent.predict_proba(X, ids), atol=1e-6
    )
    other = _fit(MultiTaskClassifier(parent, **frozen), *stack_domains(*A, *B))
    for model in (child, other):
        torch.testing.assert_close(
            model.module_.backbone.state_dict(), parent.module_.backbone.state_dict()
        )
    assert other.module_.head.tasks["1"].out_features == 2


def test_warm_start_goes_on():
    X, y, ids = TASKS
    model = MultiTaskClassifier(warm_start=True, **FEW)
    first = _fit(model, X, y, ids).history_[-1]["train_loss"]
    assert _fit(model, X, y, ids).history_[-1]["train_loss"] < first
    fewer = stack_domains(*A, *C)
    with pytest.raises(ValueError, match="warm_start=True goes on .* classes"):
        _fit(model, *fewer)
    assert model.domain_classes_.keys() == {1, 2, -1}
    model.set_params(warm_start=False)
    assert _fit(model, *fewer).domain_classes_.keys() == {1, -1}


def test_round_trip(tmp_path):
    X, y, ids = TASKS
    model = _fit(MultiTaskClassifier(**FEW), X, y, ids)
    model.save(tmp_path / "m")
    again = MultiTaskClassifier.load(tmp_path / "m")
    np.testing.assert_array_equal(
        again.predict_proba(X, ids), model.predict_proba(X, ids)
    )


def test_what_is_refused():
    with pytest.raises(ValueError, match="conservative=0.5 is for one task"):
        parent = _fit(MultiTaskClassifier(**FEW), *TASKS)
        _fit(MultiTaskClassifier(parent, conservative=0.5, **FEW), *TASKS)
    with pytest.raises(ValueError, match="task_weight names domain 4"):
        _fit(MultiTaskClassifier(task_weight={4: 1.0}, **FEW), *TASKS)
    with pytest.raises(ValueError, match="'weight' parameter of task_weight"):
        _fit(MultiTaskClassifier(task_weight={1: 0.0}, **FEW), *TASKS)
    with pytest.warns(NoAdaptationWarning):
        model = MultiTaskClassifier(**FEW).fit(*A)
    with pytest.raises(ValueError, match="domain 1, .*did not see"):
        model.predict(A[0], sample_domain=1)


class _Sets(MultiTaskClassifier):
    """Keeps its rows, their factors in the loss and the shares of the tasks."""

    def _train(self, network, X, targets, *args, **kwargs):
        self.rows, self.tasks = X, self._tasks_of(targets)
        return super()._train(network, X, targets, *args, **kwargs)

    def _loss_weights(self, *args, **kwargs):
        self.factors = super()._loss_weights(*args, **kwargs)
        return self.factors

    def _shares(self, codes, weights):
        self.shares = super()._shares(codes, weights)
        return self.shares


@pytest.mark.parametrize("of_second", [1.0, 3.0])
def test_weights_count_once(of_second):
    """In the share of a task, and within the task; halves as well as repeats."""
    X, y, ids = TASKS
    weights = np.random.default_rng(0).integers(1, 6, len(y)) * (1.0 + 2 * (ids == 1))
    settings = {**FEW, "task_weight": {2: of_second}}
    repeated, halves = (
        _Sets(**settings).fit(X, y, scale * weights, sample_domain=ids)
        for scale in (1.0, 0.5)
    )
    assert len(repeated.rows) == weights.sum()
    assert len(halves.rows) == len(y)
    np.testing.assert_allclose(halves.shares, repeated.shares)
    own = np.array([weights[(row == X).all(axis=1)][0] for row in halves.rows])
    for task in range(3):
        rows = halves.tasks == task
        expected = own[rows] / own[rows].mean()
        np.testing.assert_allclose(
            halves.factors[rows],
            expected * repeated.factors[repeated.tasks == task][0],
        )
    assert np.ptp(repeated.factors) == pytest.approx(
        (of_second - 1) * repeated.factors.min()
    )


def test_balanced_sampler_draws_by_weight():
    X, y, ids = TASKS
    weights = np.random.default_rng(0).integers(1, 6, len(y)).astype(float)
    model = _fit(MultiTaskClassifier(sampler="balanced", **FEW), X, y, ids)
    codes = model._codes(y.astype(int), ids)
    times = np.repeat(np.arange(len(y)), weights.astype(int))
    expected = model._chances(codes[times], None, torch.arange(len(times))).numpy()
    found = model._chances(codes, weights / 2, torch.arange(len(y))).numpy()
    np.testing.assert_allclose(found, np.bincount(times, expected))
    assert model._loss_weights(codes, weights, np.arange(len(y)), drawn=True) is None
