"""Distillation: the loss, who takes part in it, and teachers of all kinds."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from torch import nn

from skadapt import stack_domains
from skadapt.deep import DistillationClassifier, FineTuneClassifier
from skadapt.deep._distillation import DistillationObjective
from skadapt.deep._loop import Batch, SupervisedObjective

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4))
y = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
X = X.astype(np.float32)
FEW = {"max_epochs": 3, "batch_size": 16, "random_state": 0, "lr": 0.01}


def _state(model):
    return {name: t.clone() for name, t in model.module_.state_dict().items()}


def _assert_same(first, second):
    first, second = _state(first), _state(second)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def _teacher():
    return LogisticRegression().fit(X, y)


@pytest.mark.parametrize("extra", [{}, {"early_stopping": True, "dropout": 0.1}])
def test_no_share_of_the_teacher_is_plain_training(extra):
    plain = FineTuneClassifier(nn.Linear(4, 8), **FEW, **extra)
    student = DistillationClassifier(
        _teacher(), plain.backbone, alpha=0, **FEW, **extra
    )
    plain.fit(X, y)
    _assert_same(student.fit(X, y), plain)
    # Rows without labels are the teacher's: without it there is nothing in them.
    more, labels, _ = stack_domains(X, y, X + 1)
    _assert_same(student.fit(more, labels), plain)


def _objective(logits, temperature, alpha, weights, n_labeled):
    soft = (logits / temperature).softmax(1)
    weights = [weights[:n_labeled], weights[n_labeled:]]
    loss = SupervisedObjective(
        lambda outputs, labels: nn.functional.cross_entropy(
            outputs, labels, reduction="none"
        )
    )
    return DistillationObjective(loss, soft, weights, temperature, alpha)


def _batch(n_labeled, n):
    labels = torch.arange(n_labeled) % 3
    return Batch(torch.zeros(n, 1), labels, None, torch.arange(n))


@pytest.mark.parametrize("alpha", [0.3, 1.0])
@pytest.mark.parametrize("n_labeled", [4, 7])
def test_loss_and_its_gradient(alpha, n_labeled):
    """Straight from the formula, and the gradient by finite differences."""
    generator = torch.Generator().manual_seed(0)
    teacher, outputs = torch.randn(2, 7, 3, generator=generator, dtype=torch.float64)
    weights = rng.uniform(0.5, 2, 7)
    objective = _objective(3 * teacher, 2.5, alpha, weights, n_labeled)
    batch = _batch(n_labeled, 7)

    def loss(outputs):
        return objective(batch, None, outputs, 0.0)

    p = (3 * teacher / 2.5).softmax(1).numpy()
    q = (outputs / 2.5).softmax(1).numpy()
    distance = np.average((p * np.log(p / q)).sum(axis=1), weights=weights)
    log_q = outputs.log_softmax(1).numpy()
    ce = -log_q[np.arange(n_labeled), batch.labels].mean()
    expected = (1 - alpha) * ce + alpha * 2.5**2 * distance
    np.testing.assert_allclose(loss(outputs).item(), expected, rtol=1e-12)
    assert torch.autograd.gradcheck(loss, outputs.requires_grad_())


def test_halves_of_a_batch_count_by_the_size_of_their_sets():
    """Two labelled rows of 10, two others of 90: 10 % and 90 % of the mean."""
    logits = torch.randn(100, 3, generator=torch.Generator().manual_seed(1))
    objective = _objective(logits, 1.0, 1.0, np.ones(100), 10)
    index = torch.tensor([0, 1, 10, 11])
    batch = Batch(torch.zeros(4, 1), torch.zeros(2).long(), None, index)
    outputs = torch.zeros(4, 3)
    p = logits[index].softmax(1)
    distances = (p * (3 * p).log()).sum(1)
    expected = 0.1 * distances[:2].mean() + 0.9 * distances[2:].mean()
    torch.testing.assert_close(objective(batch, None, outputs, 0.0), expected)


def test_temperature_keeps_the_size_of_the_gradient():
    generator = torch.Generator().manual_seed(0)
    teacher, outputs = torch.randn(2, 200, 5, generator=generator)
    sizes = []
    for temperature in (1.0, 2.0, 3.0, 4.0, 5.0):
        objective = _objective(teacher, temperature, 1.0, np.ones(200), 200)
        variable = outputs.clone().requires_grad_()
        batch = _batch(200, 200)
        objective(batch, None, variable, 0.0).backward()
        sizes.append(variable.grad.norm().item())
    assert max(sizes) / min(sizes) < 2


def test_student_becomes_its_teacher():
    """All of the share, rows without labels alone to learn from, a known answer."""
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Linear(4, 3))
    labels = np.where(np.arange(60) < 3, np.arange(60), np.nan)
    student = DistillationClassifier(
        teacher, nn.Identity(), alpha=1.0, max_epochs=200, lr=0.05, random_state=0
    ).fit(X, labels)
    with torch.no_grad():
        expected = teacher(torch.from_numpy(X)).softmax(1).numpy()
    np.testing.assert_allclose(student.predict_proba(X), expected, atol=0.01)


def test_logits_are_those_of_the_probabilities():
    """A network, as a module, as a classifier: one teacher."""
    network = FineTuneClassifier(**FEW).fit(X, y, sample_domain=np.r_[[1] * 59, -1])
    trunk = nn.Linear(4, 3)
    students = [
        DistillationClassifier(teacher, trunk, **FEW).fit(X, y)
        for teacher in (network, network.module_)
    ]
    np.testing.assert_allclose(
        students[0].predict_proba(X), students[1].predict_proba(X), atol=1e-5
    )
    before = [p.clone() for p in network.module_.parameters()]
    assert all(map(torch.equal, before, network.module_.parameters()))


def test_sure_teachers_and_unknown_classes():
    """Probabilities of 0, string labels, and a class without a labelled row."""
    names = np.array(["a", "b", "c"])[y]
    forest = RandomForestClassifier(5, max_depth=None, random_state=0).fit(X, names)
    assert (forest.predict_proba(X) == 0).any()
    some = np.where(names == "c", None, names)
    student = DistillationClassifier(forest, lr=0.01, max_epochs=100, random_state=0)
    student.fit(X, some)
    assert student.classes_.tolist() == ["a", "b", "c"]
    assert (student.predict(X) == "c").any()
    assert student.score(X, names) > 0.9


def test_target_rows_take_part_without_their_labels():
    Xt = X + 1
    data = stack_domains(X, y, Xt, np.zeros(60))
    hidden = stack_domains(X, y, Xt)
    models = [
        DistillationClassifier(_teacher(), **FEW).fit(rows[0], rows[1], sample_domain=d)
        for rows, d in ((data, data[2]), (hidden, hidden[2]))
    ]
    _assert_same(*models)
    alone = DistillationClassifier(_teacher(), **FEW).fit(X, y)
    assert not torch.equal(
        _state(models[0])["head.weight"], _state(alone)["head.weight"]
    )


class _Told:
    """A teacher that answers by domain."""

    def predict_proba(self, X, sample_domain=None):
        self.told = sample_domain
        return np.full((len(X), 3), 1 / 3)


def test_teacher_is_told_the_domains():
    rows, labels, ids = stack_domains(X, y, X)
    teacher = _Told()
    DistillationClassifier(teacher, **FEW).fit(rows, labels, sample_domain=ids)
    np.testing.assert_array_equal(teacher.told, ids)


def test_weights_are_repetitions():
    weights = np.r_[np.full(20, 2.0), np.ones(40)]
    twice = np.r_[:20, :60]
    labels = np.where(np.arange(60) % 3 == 0, np.nan, y)
    model = DistillationClassifier(_teacher(), **FEW)
    first = clone(model).fit(X, labels, weights)
    second = clone(model).fit(X[twice], labels[twice])
    _assert_same(first, second)
    assert not torch.equal(
        _state(first)["head.weight"], _state(model.fit(X, labels))["head.weight"]
    )


def test_born_again_without_a_teacher():
    rows, labels, ids = stack_domains(X, y, X + 1)
    model = DistillationClassifier(**FEW).fit(rows, labels, sample_domain=ids)
    again = clone(model).fit(rows, labels, sample_domain=ids)
    _assert_same(model, again)
    assert len(model.history_) == 3


def test_clone_keeps_the_teacher_fitted():
    teacher = _teacher()
    model = clone(DistillationClassifier(teacher, alpha=0.2))
    assert model.teacher is teacher and model.alpha == 0.2


def test_search_with_a_fitted_teacher():
    grid = {"alpha": [0.0, 1.0], "temperature": [1.0, 4.0]}
    search = GridSearchCV(DistillationClassifier(_teacher(), **FEW), grid, cv=2)
    scores = search.fit(X, y).cv_results_["mean_test_score"]
    assert np.isfinite(scores).all() and scores[0] == scores[1]


def test_saved_without_its_teacher(tmp_path):
    model = DistillationClassifier(_teacher(), **FEW).fit(X, y)
    model.save(tmp_path / "m")
    again = DistillationClassifier.load(tmp_path / "m")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.teacher is None


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (LogisticRegression(), "LogisticRegression, is not fitted: fit it first"),
        (LogisticRegression().fit(X, y > 0), "class 2, which the teacher"),
        (nn.Linear(4, 2), r"gives an array of shape \(60, 2\)"),
        (nn.Linear(3, 3), "does not take rows of shape"),
    ],
)
def test_teachers_that_cannot_teach(teacher, message):
    with pytest.raises(ValueError, match=message):
        DistillationClassifier(teacher, **FEW).fit(X, y)


def test_teacher_that_gives_nan():
    teacher = nn.Linear(4, 3)
    nn.init.constant_(teacher.weight, np.nan)
    with pytest.raises(ValueError, match="one with NaN"):
        DistillationClassifier(teacher, **FEW).fit(X, y)


def test_balanced_sampler_counts_a_weight_once():
    """Drawn by their weights, labelled rows count alike in training."""
    logits, soft = np.zeros((2, 3)), np.eye(3)[[0, 1]]
    given = [np.array([1.0, 3.0]), np.zeros(0)]
    losses = {}
    for drawn in (False, True):
        objective = DistillationObjective(
            SupervisedObjective(nn.CrossEntropyLoss(reduction="none")),
            torch.tensor(0.9 * soft + 0.1 / 3),
            given,
            1.0,
            1.0,
            drawn=drawn,
        )
        outputs = torch.tensor(logits + [[1.0, 0, 0], [1.0, 0, 0]])
        batch = Batch(outputs, torch.tensor([0, 1]), None, torch.arange(2))
        for training in (False, True):
            objective.train(training)
            losses[drawn, training] = objective(batch, None, outputs, 0.0).item()
    own = 0.9 * soft + 0.1 / 3
    logs = torch.tensor([1.0, 0, 0]).double().log_softmax(0).numpy()
    rows = (own * (np.log(own) - logs)).sum(axis=1)
    weighted = np.average(rows, weights=given[0])
    assert losses[False, True] == pytest.approx(weighted)
    assert losses[False, False] == losses[True, False] == pytest.approx(weighted)
    assert losses[True, True] == pytest.approx(rows.mean())


class _Interrupting(nn.Module):
    def __init__(self, at):
        super().__init__()
        self.at, self.calls = at, 0
        self.trunk = nn.Sequential(nn.Linear(4, 8), nn.ReLU())

    def forward(self, rows):
        self.calls += self.training
        if self.training and self.calls == self.at:
            raise KeyboardInterrupt
        return self.trunk(rows)


def test_interrupted_teacher_of_ones_own_is_the_model():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        settings = {**FEW, "max_epochs": 5}
        more, labels, ids = stack_domains(X, y, X + 1)
        model = DistillationClassifier(backbone=_Interrupting(10), **settings)
        model.fit(more, labels, sample_domain=ids)
    assert [w.category for w in caught] == [ConvergenceWarning]
    assert [epoch["epoch"] for epoch in model.history_] == [1, 2]
    plain = FineTuneClassifier(_Interrupting(-1), **{**FEW, "max_epochs": 2})
    plain.backbone.trunk = model.backbone.trunk
    _assert_same(model, plain.fit(X, y))


def test_warm_start_goes_on():
    student = DistillationClassifier(
        _teacher(), head="replace", warm_start=True, **FEW
    ).fit(X, y)
    expected = student.predict_proba(X)
    student.set_params(lr=1e-12).fit(X, y)
    np.testing.assert_allclose(student.predict_proba(X), expected, atol=1e-6)
    with pytest.raises(ValueError, match="warm_start=True goes on with .* classes"):
        student.set_params(teacher=None, alpha=0.0, backbone=nn.Linear(4, 3)).fit(
            X, np.minimum(y, 1), sample_domain=np.where(np.arange(60) % 2, 1, -1)
        )


def test_class_weights_of_classes_of_the_teacher():
    few = np.where(y == 2, np.nan, y)
    settings = {**FEW, "max_epochs": 1}
    DistillationClassifier(_teacher(), class_weight={2: 2.0}, **settings).fit(X, few)
    with pytest.raises(ValueError, match="class_weight names the class 3"):
        DistillationClassifier(_teacher(), class_weight={3: 1.0}, **settings).fit(X, y)
