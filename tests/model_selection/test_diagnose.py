"""diagnose_shift: kinds where the truth is known; its tests, stated again."""

import warnings

import numpy as np
import pytest
from scipy import sparse, stats
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.naive_bayes import GaussianNB

from skadapt import LabelShiftEM, diagnose_shift, mmd_test, stack_domains
from skadapt.datasets import (
    make_covariate_shift,
    make_label_shift,
    make_rotation,
    make_scaling,
)
from skadapt.model_selection import ShiftDiagnosis, _diagnose
from skadapt.model_selection._column_shift import column_shifts, holm
from skadapt.model_selection._domain_test import (
    DomainViews,
    _Columns,
    _cross_fitted_auc,
    _View,
    _won_pairs,
    domain_test,
    permuted_within,
)


@pytest.fixture(autouse=True)
def few_permutations(monkeypatch):
    monkeypatch.setattr(_diagnose, "_N_PERMUTATIONS", 120)


def classes_in_normals(n, d, rng):
    y = rng.integers(3, size=n)
    X = rng.normal(size=(n, d))
    X[np.arange(n), y] += 2
    return X, y


def two_halves(n, d, seed):
    X, y = classes_in_normals(2 * n, d, np.random.default_rng(seed))
    return stack_domains(X[:n], y[:n], X[n:])


def kinds(draw, seeds):
    return [str(diagnose_shift(*draw(s), random_state=s).kind) for s in range(seeds)]


def of(make, **options):
    def draw(seed):
        data = make(random_state=seed, **options)
        return data.X, data.y, data.sample_domain

    return draw


def digits_by_class(seed):
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(y))
    source, rest = rows[:400], rows[400:]
    counts = rng.multinomial(300, rng.dirichlet(np.full(10, 0.5)))
    target = np.concatenate([rest[y[rest] == j][:c] for j, c in enumerate(counts)])
    return stack_domains(X[source], y[source], X[target])


@pytest.mark.parametrize(("n", "d"), [(60, 3), (150, 40), (60, 200)])
def test_halves_of_one_sample_do_not_differ(n, d):
    found = kinds(lambda seed: two_halves(n, d, seed), 5)
    assert found.count("none") >= 4
    assert "feature" not in found


@pytest.mark.parametrize(
    "draw",
    [of(make_label_shift, n_source=400, n_target=400, class_sep=3.0), digits_by_class],
    ids=["normal", "digits"],
)
def test_class_shares_alone(draw):
    assert kinds(draw, 3).count("label") >= 2


@pytest.mark.parametrize(
    "draw",
    [
        of(make_covariate_shift, n_source=200, n_target=200),
        of(make_rotation, n_source=150, n_target=150),
        of(make_scaling, n_source=150, n_target=150),
    ],
    ids=["covariate shift", "rotation", "scaling"],
)
def test_features(draw):
    assert kinds(draw, 3) == ["feature"] * 3


def test_a_change_that_no_linear_classifier_sees():
    """The spread of all columns grows, means stay where they are."""
    X, y = classes_in_normals(800, 4, np.random.default_rng(0))
    X[400:] = X.mean(axis=0) + 1.5 * (X[400:] - X[400:].mean(axis=0))
    found = diagnose_shift(*stack_domains(X[:400], y[:400], X[400:]), random_state=0)
    assert found.kind == "feature"
    assert np.abs(found.columns.difference).max() < 0.3


def test_shares_of_the_target_and_effective_sample_size():
    data = make_label_shift(
        1000, 1000, priors_target=(0.8, 0.2), class_sep=4, random_state=0
    )
    found = diagnose_shift(data.X, data.y, data.sample_domain, random_state=0)
    source, target = data.sample_domain > 0, data.sample_domain < 0
    true = np.bincount(data.y[target]) / target.sum()
    assert np.abs(found.target_priors - true).max() < 0.02
    assert (found.target_priors_std < 0.03).all()
    shares = np.bincount(data.y[source]) / source.sum()
    np.testing.assert_allclose(found.source_priors, shares)
    np.testing.assert_array_equal(found.classes, [0, 1])
    weights = (found.target_priors / shares)[data.y[source]]
    size = weights.sum() ** 2 / (weights @ weights)
    assert found.effective_sample_size == pytest.approx(size)


def test_where_a_linear_classifier_knows_no_class():
    """Two rings about one centre; the shares of a logistic regression are useless."""
    rng = np.random.default_rng(0)
    y = np.r_[rng.random(400) < 0.5, rng.random(400) < 0.8].astype(int)
    angle = rng.uniform(0, 2 * np.pi, 800)
    X = (1 + y)[:, np.newaxis] * np.column_stack([np.cos(angle), np.sin(angle)])
    X += 0.2 * rng.normal(size=X.shape)
    data = stack_domains(X[:400], y[:400], X[400:])
    found = diagnose_shift(*data, random_state=0)
    assert found.kind == "label"
    np.testing.assert_allclose(found.target_priors, [0.2, 0.8], atol=0.06)
    linear = diagnose_shift(*data, LogisticRegression(), random_state=0)
    assert np.abs(linear.target_priors - [0.2, 0.8]).max() > 0.1


def test_estimator_gives_the_shares():
    data = make_label_shift(400, 300, random_state=0)
    found = diagnose_shift(
        data.X, data.y, data.sample_domain, GaussianNB(), random_state=0
    )
    em = LabelShiftEM(GaussianNB(), random_state=0)
    em.fit(data.X, data.y, sample_domain=data.sample_domain)
    np.testing.assert_allclose(found.target_priors, em.target_prior_, atol=0.03)


# --- what must not change the result


@pytest.fixture(scope="module")
def stacked():
    rng = np.random.default_rng(1)
    X, y = classes_in_normals(260, 3, rng)
    X[150:, 0] += 1
    return X, y.astype(float), np.repeat([1, 2, -1, -2], [100, 50, 60, 50])


def assert_same(a, b):
    """Bitwise, field by field; the two tuples of arrays are compared in their turn."""
    for x, y in zip(a, b, strict=True):
        if isinstance(x, tuple):
            assert_same(x, y)
        else:
            np.testing.assert_array_equal(x, y)


def test_labels_of_the_target_change_nothing(stacked):
    X, y, ids = stacked
    first = diagnose_shift(X, y, ids, random_state=0)
    rng = np.random.default_rng(0)
    scrambled = np.where(ids < 0, rng.integers(7, size=len(y)), y)
    assert_same(first, diagnose_shift(X, scrambled, ids, random_state=0))
    hidden = np.where(ids < 0, np.nan, y)
    assert_same(first, diagnose_shift(X, hidden, ids, random_state=0))


def test_order_of_rows_and_ids_of_domains_change_nothing(stacked):
    X, y, ids = stacked
    X = np.round(X)  # many rows are equal, with different labels
    first = diagnose_shift(X, y, ids, random_state=0)
    order = np.random.default_rng(0).permutation(len(y))
    again = diagnose_shift(X[order], y[order], ids[order], random_state=0)
    assert_same(first, again)
    assert_same(first, diagnose_shift(X, y, np.sign(ids), random_state=0))
    assert_same(first, diagnose_shift(X, y, 7 * ids, random_state=0))


def test_forms_of_rows(stacked):
    pd = pytest.importorskip("pandas")
    X, y, ids = stacked
    first = diagnose_shift(X, y, ids, random_state=0)
    frame = diagnose_shift(pd.DataFrame(X, columns=list("abc")), y, ids, random_state=0)
    np.testing.assert_array_equal(frame.columns.names, list("abc"))
    assert_same(first[:-1], frame[:-1])
    X.setflags(write=False)
    words = np.array(["x", "y", "z"], dtype=object)[y.astype(int)]
    words[ids < 0] = None
    named = diagnose_shift(X, words, ids, random_state=0)
    assert named.classes.tolist() == ["x", "y", "z"]
    assert named.z == first.z
    single = diagnose_shift(X.astype(np.float32), y, ids, random_state=0)
    assert single.z == pytest.approx(first.z, abs=0.3)


@pytest.mark.parametrize("d", [20, 400], ids=["fewer columns", "more columns"])
def test_sparse_rows_are_rows(d):
    rng = np.random.default_rng(0)
    X = sparse.random_array((160, d), density=0.1, format="lil", rng=rng)
    X[100:, 0] = 1.0
    X = X.tocsr()
    y = np.arange(160) % 2
    ids = np.repeat([1, -1], [100, 60])
    one = diagnose_shift(X, y, ids, random_state=0)
    two = diagnose_shift(X.toarray(), y, ids, random_state=0)
    for a, b in zip(one[1:6], two[1:6]):
        # Rows are ordered by numbers that round differently, which changes no law.
        assert a == pytest.approx(b, rel=1e-6, abs=1e-6)
    np.testing.assert_allclose(one.columns.ks, two.columns.ks)


def test_unlabelled_source_rows(stacked):
    X, y, ids = stacked
    y = y.copy()
    y[:40] = np.nan
    found = diagnose_shift(X, y, ids, random_state=0)
    assert found.n_source == 150
    shares = np.bincount(y[40:150].astype(int)) / 110
    np.testing.assert_allclose(found.source_priors, shares)


def test_many_rows_are_tested_on_a_sample(monkeypatch, stacked):
    X, y, ids = stacked
    monkeypatch.setattr(_diagnose, "_MOST_ROWS", 50)
    sizes = []

    class Views(DomainViews):
        def __init__(self, X, *rest):
            sizes.append(len(X))
            super().__init__(X, *rest)

    monkeypatch.setattr(_diagnose, "DomainViews", Views)
    y = y.copy()
    y[:2] = 9  # a class that a sample of 50 may miss
    y[2:150][y[2:150] == 9] = 0
    found = diagnose_shift(X, y, ids, random_state=0)
    assert 100 <= sizes[0] <= 102
    assert (found.n_source, found.n_target) == (150, 110)
    assert len(found.classes) == 4
    assert np.isfinite(found.source_priors).all()
    assert (found.source_priors > 0).all()


# --- the tests, stated again


def test_won_pairs_are_counted_pair_by_pair():
    rng = np.random.default_rng(0)
    scores = rng.integers(6, size=(40, 3)).astype(float)
    T = (rng.random((40, 3)) < 0.4).astype(bool)
    V = np.where(T, 0.0, rng.exponential(size=(40, 3)))
    won, pairs = _won_pairs(scores, T, V)
    for j in range(3):
        ahead = np.sign(scores[T[:, j], j][:, np.newaxis] - scores[~T[:, j], j])
        weights = V[~T[:, j], j]
        assert won[j] == pytest.approx(((ahead + 1) / 2 @ weights).sum())
        assert pairs[j] == pytest.approx(T[:, j].sum() * weights.sum())
        auc = roc_auc_score(T[:, j], scores[:, j], sample_weight=V[:, j] + T[:, j])
        assert won[j] / pairs[j] == pytest.approx(auc)


@pytest.mark.parametrize("is_gram", [False, True])
def test_scores_are_those_of_ridge_regression(is_gram):
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(50, 4))
    D = rng.normal(size=(30, 2))
    train, test = np.arange(30), np.arange(30, 50)
    G = Z[train] @ Z[train].T if is_gram else Z[train].T @ Z[train]
    referee = Ridge(0.1 * np.trace(G) / len(G), fit_intercept=False)
    expected = referee.fit(Z[train], D).predict(Z[test])
    own = _Columns(Z @ Z.T, True) if is_gram else _Columns(Z)
    np.testing.assert_allclose(own.ridge(train, test)(D), expected, rtol=1e-9)


def test_auc_is_that_of_fisher_s_direction_within_folds():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(60, 3))
    folds, T = np.arange(60) % 3, (rng.random((60, 1)) < 0.5)
    V = np.where(T, 0.0, rng.exponential(size=(60, 1)))
    view = _View([_Columns(Z)] * 3, folds)
    won = pairs = 0.0
    for fold in range(3):
        train, test = folds != fold, folds == fold
        S = Z[train].T @ Z[train]
        S += 0.1 * np.trace(S) / 3 * np.eye(3)
        t, v = T[train, 0], V[train, 0]
        contrast = Z[train][t].mean(axis=0) - v @ Z[train] / v.sum()
        score = Z[test] @ np.linalg.solve(S, contrast)
        t, v = T[test, 0], V[test, 0]
        gaps = score[t][:, np.newaxis] > score[~t]
        won += (gaps @ v[~t]).sum()
        pairs += t.sum() * v.sum()
    assert _cross_fitted_auc(view, T, V)[0] == pytest.approx(won / pairs)


def test_class_scores_of_a_fold_do_not_know_its_labels():
    """What is judged in fold 0 is the same whatever the classes there."""
    rng = np.random.default_rng(0)
    X, codes = classes_in_normals(90, 4, rng)
    folds = np.arange(90) % 3
    codes[60:] = -1
    other = np.where((folds == 0) & (codes >= 0), (codes + 1) % 3, codes)
    first, second = (
        DomainViews(X, c, folds, np.random.RandomState(0)) for c in (codes, other)
    )
    D = (np.arange(90) < 60).astype(float)[:, np.newaxis]
    predictions = [
        next(iter(views.classes.predict(lambda rows: D[rows])))[1]
        for views in (first, second)
    ]
    np.testing.assert_array_equal(*predictions)
    assert np.abs(first.class_scores - second.class_scores).max() > 0.01
    own = folds == 0
    np.testing.assert_allclose(first.class_scores[own], second.class_scores[own])


def test_permutations_stay_within_groups():
    rng = np.random.RandomState(0)
    groups, flags = rng.randint(4, size=(80, 1)), rng.rand(80) < 0.3
    T = permuted_within(groups, flags, 30, rng)
    np.testing.assert_array_equal(T[:, 0], flags)
    for group in range(4):
        rows = groups[:, 0] == group
        assert (T[rows].sum(axis=0) == flags[rows].sum()).all()
    assert len(np.unique(T, axis=1).T) == 31


def test_level_of_the_test_of_equal_domains():
    """p-values of 100 pairs of equal samples look uniform, z standard."""
    found = []
    for seed in range(100):
        rng = np.random.RandomState(seed)
        X, codes = rng.normal(size=(60, 3)), rng.randint(2, size=60)
        is_target = np.arange(60) >= 30
        codes[is_target] = -1
        folds = np.arange(60) % 3
        views = DomainViews(X, codes, folds, rng)
        T = permuted_within(folds[:, np.newaxis], is_target, 60, rng)
        own = [*views.columns, views.classes]
        found.append(domain_test(own, T, np.ones((1, 61)), 2.6))
    pvalues = np.array([result.pvalue for result in found])
    assert stats.kstest(pvalues, "uniform").pvalue > 0.01
    z = np.array([result.z for result in found])
    assert abs(z.mean()) < 0.3
    assert 0.8 < z.std() < 1.2


def test_detectable_auc_is_where_z_is_the_threshold():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(80, 2))
    folds, is_target = np.arange(80) % 4, np.arange(80) >= 40
    views = DomainViews(X, np.where(is_target, -1, folds % 2), folds, rng).columns
    T = permuted_within(folds[:, np.newaxis], is_target, 50, rng)
    weights = np.ones((1, 51))
    z = domain_test(views, T, weights, 2.6).z
    same = domain_test(views, T, weights, z)
    assert same.detectable_auc == pytest.approx(same.auc)


# --- columns


def test_column_report_against_scipy():
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    X = np.column_stack(
        [
            rng.normal(size=300),
            rng.integers(3, size=300),
            np.r_[rng.normal(size=200), rng.normal(1, 1, 100)],
            np.full(300, 0.1),
            np.repeat([0.0, 1.0], [200, 100]),
        ]
    )
    is_target = np.arange(300) >= 200
    names = np.array(list("abcde"))
    found = column_shifts(X, is_target, names)
    for j in range(5):
        referee = stats.ks_2samp(X[:200, j], X[200:, j])
        assert found.ks[j] == pytest.approx(referee.statistic, abs=1e-12)
        law = stats.kstwobign.sf(np.sqrt(200 * 100 / 300) * referee.statistic)
        assert found.pvalue[j] == pytest.approx(law)
    gap = (X[200:, 2].mean() - X[:200, 2].mean()) / X[:200, 2].std()
    assert found.difference[2] == pytest.approx(gap)
    assert found.difference[3] == 0
    assert found.difference[4] == pytest.approx(1 / X[:, 4].std())
    frame = found.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert frame.index[:2].tolist() == ["e", "c"]
    assert "5 columns, 2 with" in repr(found)
    sparse_rows = column_shifts(sparse.csr_array(X), is_target, names)
    np.testing.assert_array_equal(sparse_rows.ks, found.ks)


def test_holm_step_by_step():
    rng = np.random.default_rng(0)
    p = rng.random(30) ** 4
    order = np.argsort(p)
    expected, largest = np.empty(30), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, (30 - rank) * p[i])
        expected[i] = min(1.0, largest)
    np.testing.assert_allclose(holm(p), expected)


def test_blocks_of_columns(monkeypatch):
    rng = np.random.default_rng(0)
    X, is_target = rng.normal(size=(50, 9)), np.arange(50) < 20
    whole = column_shifts(X, is_target, np.arange(9))
    monkeypatch.setattr("skadapt.model_selection._column_shift._BLOCK_NUMBERS", 100)
    parts = column_shifts(X, is_target, np.arange(9))
    for one, two in zip(whole, parts):
        np.testing.assert_allclose(one, two, rtol=1e-12)


# --- sentences


@pytest.mark.parametrize(
    ("z", "z_label", "n", "effective", "kind"),
    [
        (1.0, 9.0, 500, 50, "none"),
        (2.1, 9.0, 500, 50, "none"),
        (2.1, 9.0, 100, 50, "unclear"),
        (2.5, 0.0, 500, 50, "unclear"),
        (2.6, 0.0, 500, 50, "label"),
        (9.0, 2.1, 500, 50, "label"),
        (9.0, 2.1, 100, 50, "unclear"),
        (9.0, 2.5, 500, 50, "unclear"),
        (9.0, 2.6, 500, 50, "feature"),
        (9.0, 0.0, 500, 29, "unclear"),
        (9.0, 2.6, 500, 29, "feature"),
    ],
)
def test_kind_of_the_figures(z, z_label, n, effective, kind):
    assert _diagnose._kind(z, z_label, n, effective) == kind


def test_sentences(stacked):
    X, y, ids = stacked
    found = diagnose_shift(X, y, ids, random_state=0)
    assert isinstance(found, ShiftDiagnosis)
    assert found.kind == "feature"
    assert "most in 0 (" in str(found)
    assert found._replace(kind="none").finding.endswith(
        "110 rows in a domain show large differences only."
    )
    assert "rows in a domain" not in str(found._replace(kind="none", n_target=500))
    for kind, advice in (
        ("none", "Do not adapt."),
        ("label", "Correct the class shares and leave the columns alone."),
        ("feature", "Compare adapters."),
        ("unclear", "Give more rows, or do not adapt."),
    ):
        own = found._replace(kind=kind)
        assert str(own) == f"{own.finding} {advice}"
        assert own.finding.endswith(".") and advice not in own.finding
    label = found._replace(
        kind="label",
        source_priors=np.array([0.5, 0.3, 0.2]),
        target_priors=np.array([0.2, 0.3, 0.5]),
    )
    assert "class 2: 20% of the source, about 50% of the target" in str(label)
    assert str(found._replace(kind="unclear", z=2.4)).startswith("Whether the domains")
    assert str(found._replace(kind="unclear", z=9.0)).startswith("The domains differ")
    quiet = found.columns._replace(pvalue_adjusted=np.ones(3))
    assert "no single column" in str(found._replace(columns=quiet))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": lambda y, ids: np.where(ids > 0, 1.0, np.nan)}, "one class, 1"),
        ({"y": lambda y, ids: np.full(len(y), np.nan)}, "No source row is labelled"),
        ({"y": lambda y, ids: y + 0.5 * np.arange(len(y))}, "continuous values"),
        ({"y": lambda y, ids: np.r_[8.0, y[1:]]}, "Class 8 has 1 labelled"),
        ({"ids": lambda y, ids: np.r_[-1, -1, np.ones(len(y) - 2, int)]}, "at least 5"),
        ({"ids": lambda y, ids: np.abs(ids)}, "no target row"),
        ({"X": lambda X: np.ones_like(X)}, "No column of X varies"),
        ({"X": lambda X: np.where(X > 2, np.nan, X)}, "NaN"),
        ({"cv": 2}, "'cv' parameter"),
        ({"estimator": Ridge()}, "'estimator' parameter"),
    ],
)
def test_bad_input(stacked, change, message):
    X, y, ids = stacked
    arguments = {"X": X, "y": y, "ids": ids, "cv": 5, "estimator": None}
    for name, value in change.items():
        if callable(value):
            value = value(X) if name == "X" else value(y, ids)
        arguments[name] = value
    with pytest.raises(ValueError, match=message):
        diagnose_shift(
            arguments["X"],
            arguments["y"],
            arguments["ids"],
            arguments["estimator"],
            cv=arguments["cv"],
        )


def test_to_frame_names_what_it_lacks(monkeypatch, stacked):
    X, _, ids = stacked
    found = column_shifts(X, ids < 0, np.arange(3))
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        found.to_frame()


def test_a_constant_column_and_few_rows_give_no_warning():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=12), np.ones(12)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = diagnose_shift(
            X, np.arange(12) % 2, np.repeat([1, -1], 6), cv=3, random_state=0
        )
    assert found.columns.pvalue[1] == 1
    assert np.isfinite([found.z, found.z_label, found.auc]).all()


def test_agrees_with_a_kernel_test():
    X, y, ids = two_halves(150, 3, 0)
    X[150:, 1] += 0.8
    assert mmd_test(X[:150], X[150:], random_state=0).pvalue < 0.01
    assert diagnose_shift(X, y, ids, random_state=0).pvalue < 0.01
