"""DCI against a restatement with dense matrices, its limits, and bad input."""

import inspect
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.metrics import mutual_info_score
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.svm import LinearSVC

from skadapt import DCI, NoAdaptationWarning, TransferClassifier, dci, stack_domains
from skadapt.solvers import _correspondence
from skadapt.solvers._correspondence import scale_rows, term_profiles

DCFS = ("cosine", "linear", "pmi")


def texts(n_source=90, n_target=70, d=25, seed=0):
    """Counts whose columns differ in frequency, class and domain; no empty row."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n_source + n_target)
    rates = rng.gamma(0.7, 0.6, (3, d))
    X = rng.poisson(rates[y]).astype(float)
    X[:n_source, : d // 5] = 0  # words of the target alone
    X[n_source:, -d // 5 :] = 0
    X[:, d // 2] += 1
    return X[:n_source], y[:n_source], X[n_source:]


def fit(Xs, ys, Xt, **parameters):
    X, y, domain = stack_domains(Xs, ys, Xt)
    return DCI(**parameters).fit(X, y, sample_domain=domain)


def correspondence(weights, f, pivot, dcf):
    """Of one term and one pivot, from the documents."""
    first, second = weights[:, f], weights[:, pivot]
    with_f, with_pivot = first > 0, second > 0
    if dcf == "cosine":
        lengths = np.linalg.norm(first) * np.linalg.norm(second)
        expected = np.sqrt(with_f.mean() * with_pivot.mean())
        return first @ second / lengths - expected if lengths else 0.0
    if dcf == "linear":
        if with_pivot.all():
            return 0.0
        return with_f[with_pivot].mean() - with_f[~with_pivot].mean()
    joint = (with_f & with_pivot).mean()
    return np.log2(joint / (with_f.mean() * with_pivot.mean())) if joint else 0.0


def profiles_one_by_one(weights, pivots, dcf):
    d = weights.shape[1]
    table = np.array(
        [[correspondence(weights, f, p, dcf) for p in pivots] for f in range(d)]
    )
    present = (weights > 0).any(axis=0)
    scaled = np.zeros_like(table)
    spread = np.maximum(table[present].std(axis=0), 1e-5)
    scaled[present] = (table[present] - table[present].mean(axis=0)) / spread
    return normalize(scaled)


def strengths_one_by_one(Xs, ys, Xt, min_df):
    strengths = []
    for column in range(Xs.shape[1]):
        source, target = Xs[:, column] > 0, Xt[:, column] > 0
        if min(source.sum(), target.sum()) < min_df:
            strengths.append(-1.0)
            continue
        shares = source.mean(), target.mean()
        gain = mutual_info_score(ys, source[: len(ys)])
        strengths.append(gain * min(shares) / max(shares))
    return np.array(strengths)


def restated(Xs, ys, Xt, n_pivots, dcf="cosine", min_df=2, unify="pivots", post=None):
    """The whole method with dense matrices; labelled source rows come first."""
    strengths = strengths_one_by_one(Xs, ys, Xt, min_df)
    pivots = np.argsort(-strengths)[:n_pivots]
    vectorizers = [TfidfTransformer(sublinear_tf=True).fit(X) for X in (Xs, Xt)]
    weights = [v.transform(X).toarray() for v, X in zip(vectorizers, (Xs, Xt))]
    E = [profiles_one_by_one(W, pivots, dcf) for W in weights]
    shared = (Xs > 0).any(axis=0) & (Xt > 0).any(axis=0)
    for column in range(Xs.shape[1]):
        if column in pivots or (unify == "all" and shared[column]):
            E[0][column] = E[1][column] = (E[0][column] + E[1][column]) / 2
    Z = [normalize(W @ profiles) for W, profiles in zip(weights, E)]
    if post is not None:
        scalers = [
            StandardScaler().fit(Z[0 if post == "source" else k]) for k in (0, 1)
        ]
        Z = [scaler.transform(rows) for scaler, rows in zip(scalers, Z)]
    return pivots, E, Z


# The formula


@pytest.mark.parametrize("post", ["source", "domain", None])
@pytest.mark.parametrize("unify", ["pivots", "all"])
@pytest.mark.parametrize("dcf", DCFS)
def test_restatement(dcf, unify, post):
    Xs, ys, Xt = texts()
    parameters = {"n_pivots": 7, "dcf": dcf, "unify": unify, "post": post}
    pivots, E, Z = restated(Xs, ys, Xt, **parameters)
    result = dci(Xs, ys, Xt, **parameters)
    np.testing.assert_array_equal(result.pivots, pivots)
    np.testing.assert_allclose(result.source_embedding, E[0], atol=1e-12)
    np.testing.assert_allclose(result.target_embedding, E[1], atol=1e-12)
    np.testing.assert_allclose(result.X_source, Z[0], atol=1e-10)
    np.testing.assert_allclose(result.X_target, Z[1], atol=1e-10)


@pytest.mark.parametrize("dcf", DCFS)
@pytest.mark.parametrize("block_size", [1, 40, 2**19])
def test_profiles_in_blocks(block_size, dcf, monkeypatch):
    monkeypatch.setattr(_correspondence, "_BLOCK_SIZE", block_size)
    Xs, _, _ = texts()
    pivots = np.array([20, 7, 12])
    expected = profiles_one_by_one(Xs, pivots, dcf)
    found = term_profiles(sparse.csr_array(Xs), pivots, dcf)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    single = term_profiles(sparse.csr_array(Xs), pivots, dcf, np.float32)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, atol=1e-6)


def raw_correspondences(X, pivot, dcf):
    """Before they are standardised: of each column of X with one of them."""
    return np.array([correspondence(X, f, pivot, dcf) for f in range(X.shape[1])])


def test_meaning_of_the_correspondences():
    """Signs and zeros that the definitions promise, found in the profiles."""
    rng = np.random.default_rng(0)
    X = (rng.random((20_000, 4)) < [0.3, 0.2, 0.6, 0.5]).astype(float)
    X = np.column_stack([X, X[:, 0], 1 - X[:, 0]])  # the pivot again; its opposite
    for dcf in DCFS:
        values = raw_correspondences(X, 0, dcf)
        np.testing.assert_allclose(values[1:4], 0, atol=0.03)  # independent terms
        assert values[4] == values[0] > 0.5 and values[5] <= 0
        # Standardised, with one pivot, only the sign and the order of them is left.
        profile = term_profiles(sparse.csr_array(X), np.array([0]), dcf)[:, 0]
        np.testing.assert_allclose(profile, np.sign(values - values.mean()))
    assert raw_correspondences(X, 0, "linear")[0] == 1
    assert raw_correspondences(X, 0, "linear")[5] == -1


def test_strengths():
    Xs, ys, Xt = texts()
    for min_df in (1, 15):
        mapper = fit(Xs, ys, Xt, min_df=min_df)
        expected = strengths_one_by_one(Xs, ys, Xt, min_df)
        candidates = np.flatnonzero(expected >= 0)
        assert sorted(mapper.pivots_) == candidates.tolist()
        np.testing.assert_allclose(
            mapper.strengths_, expected[mapper.pivots_], atol=1e-12
        )
        assert (np.diff(mapper.strengths_) <= 0).all()


def test_ties_go_to_the_more_common_term():
    Xs, Xt = np.zeros((20, 5)), np.zeros((20, 5))
    for column, n_rows in enumerate([4, 8, 12, 8, 20]):
        Xs[:n_rows, column] = Xt[:n_rows, column] = 1.0
    mapper = fit(Xs, np.zeros(20), Xt)  # one class: nobody knows anything
    assert mapper.pivots_.tolist() == [4, 2, 1, 3, 0]
    np.testing.assert_array_equal(mapper.strengths_, 0.0)


# Counts


def test_counts_are_damped_and_weights_are_not():
    """0.5 stays; 1 + log c from 1 on; so half of a row of ones maps as the row."""
    Xs, ys, Xt = texts()
    mapper = fit(Xs, ys, Xt)
    ones = (Xt > 0).astype(float)
    np.testing.assert_allclose(
        mapper.transform(0.5 * ones), mapper.transform(ones), atol=1e-12
    )
    counts = np.where(Xt > 1, 1 + np.log(np.maximum(Xt, 1)), Xt)
    weights = counts / 100
    np.testing.assert_allclose(
        mapper.transform(weights), mapper.transform(Xt), atol=1e-12
    )
    assert np.abs(mapper.transform(10 * Xt) - mapper.transform(Xt)).max() > 0.01


def test_stored_zeros_and_split_entries():
    Xs, ys, Xt = texts()
    expected = dci(Xs, ys, Xt)
    everything = sparse.csr_array(np.ones_like(Xs))
    everything.data[:] = Xs.ravel()
    halves = sparse.csr_array(Xt)
    indptr = 2 * halves.indptr
    split = np.repeat(halves.data / 2, 2), np.repeat(halves.indices, 2), indptr
    split = sparse.csr_array(split, shape=Xt.shape)
    found = dci(everything, ys, split)
    for first, second in zip(found, expected):
        np.testing.assert_allclose(first, second, atol=1e-12)
    assert everything.nnz == Xs.size and split.nnz == 2 * halves.nnz


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csr_matrix])
def test_sparse_is_dense(container):
    Xs, ys, Xt = texts()
    dense, rows = dci(Xs, ys, Xt), dci(container(Xs), ys, container(Xt))
    for first, second in zip(rows, dense):
        assert isinstance(first, np.ndarray)
        np.testing.assert_allclose(first, second, atol=1e-12)


def test_single_precision():
    Xs, ys, Xt = texts()
    double = dci(Xs, ys, Xt)
    single = dci(Xs.astype(np.float32), ys, Xt.astype(np.float32))
    assert single.X_source.dtype == single.target_embedding.dtype == np.float32
    for first, second in zip(single, double):
        np.testing.assert_allclose(first, second, atol=2e-5)


def test_terms_that_a_domain_lacks():
    Xs, ys, Xt = texts()
    mapper = fit(Xs, ys, Xt)
    lacking = ~(Xt > 0).any(axis=0)
    assert lacking.any()
    np.testing.assert_array_equal(mapper.target_embedding_[lacking], 0.0)
    new = Xt.copy()
    new[:, lacking] = 3.0  # words that nobody has met there
    np.testing.assert_allclose(mapper.transform(new), mapper.transform(Xt), atol=1e-12)
    assert np.abs(mapper.transform(new, 1) - mapper.transform(Xt, 1)).max() > 0.1


# Domains and labels


def test_one_law_in_both_domains():
    """Equal domains: equal profiles and maps, and nothing to unify."""
    Xs, ys, _ = texts()
    for post in ("source", "domain", None):
        result = dci(Xs, ys, Xs[::-1], post=post)
        np.testing.assert_allclose(
            result.source_embedding, result.target_embedding, atol=1e-12
        )
        np.testing.assert_allclose(result.X_source, result.X_target[::-1], atol=1e-10)
        every = dci(Xs, ys, Xs[::-1], post=post, unify="all")
        np.testing.assert_allclose(every.X_source, result.X_source, atol=1e-10)


def test_domains_in_exchange():
    Xs, ys, Xt = texts(80, 80)
    yt = ys[::-1]
    first, second = (
        dci(*samples, post=None) for samples in ((Xs, ys, Xt), (Xt, yt, Xs))
    )
    # Labels choose the order of the pivots; all candidates are taken here.
    order, back = (np.argsort(result.pivots) for result in (first, second))
    np.testing.assert_allclose(
        first.source_embedding[:, order], second.target_embedding[:, back], atol=1e-12
    )
    np.testing.assert_allclose(
        first.X_target[:, order], second.X_source[:, back], atol=1e-10
    )


def test_rows_are_mapped_by_their_domain():
    Xs, ys, Xt = texts()
    mapper = fit(Xs, ys, Xt)
    result = dci(Xs, ys, Xt)
    np.testing.assert_allclose(mapper.transform(Xs, 1), result.X_source, atol=1e-12)
    np.testing.assert_allclose(mapper.transform(Xt), result.X_target, atol=1e-12)
    mixed = mapper.transform(np.vstack([Xt[:3], Xs[:3]]), [-1, -1, -1, 1, 1, 1])
    np.testing.assert_allclose(mixed[:3], result.X_target[:3], atol=1e-12)
    np.testing.assert_allclose(mixed[3:], result.X_source[:3], atol=1e-12)


def test_unlabelled_source_rows_shape_profiles():
    Xs, ys, Xt = texts()
    some = ys.astype(float)
    some[60:] = np.nan
    pivots, E, Z = restated(Xs, ys[:60], Xt, 7, post="source")
    for labels in (some, np.array([None if np.isnan(v) else int(v) for v in some])):
        result = dci(Xs, labels, Xt, n_pivots=7)
        np.testing.assert_array_equal(result.pivots, pivots)
        np.testing.assert_allclose(result.source_embedding, E[0], atol=1e-12)
        np.testing.assert_allclose(result.X_target, Z[1], atol=1e-10)
    alone = dci(Xs[:60], ys[:60], Xt, n_pivots=7)
    assert np.abs(alone.X_target - result.X_target).max() > 0.01


def test_labels_are_names():
    Xs, ys, Xt = texts()
    expected = dci(Xs, ys, Xt)
    for labels in (ys * 5 - 3, ys.astype(float), np.array(["u", "v", "w"])[ys]):
        result = dci(Xs, labels, Xt)
        np.testing.assert_array_equal(result.pivots, expected.pivots)
        np.testing.assert_array_equal(result.X_target, expected.X_target)


def test_several_sources_are_pooled():
    Xs, ys, Xt = texts()
    X, y, domain = stack_domains(Xs, ys, Xt)
    split = domain.copy()
    split[:30], split[-20:] = 4, -2
    pooled = DCI().fit_transform(X, y, sample_domain=domain)
    np.testing.assert_array_equal(
        DCI().fit_transform(X, y, sample_domain=split), pooled
    )


def test_no_domains_is_no_adaptation():
    Xs, ys, _ = texts()
    with pytest.warns(NoAdaptationWarning):
        mapper = DCI().fit(Xs, ys)
    np.testing.assert_array_equal(mapper.source_embedding_, mapper.target_embedding_)
    np.testing.assert_array_equal(mapper.transform(Xs), mapper.transform(Xs, 1))


# Names and numbers of columns


def test_columns_are_named_after_pivots():
    Xs, ys, Xt = texts()
    X, y, domain = stack_domains(Xs, ys, Xt)
    frame = pd.DataFrame(X).add_prefix("word")
    mapper = DCI(n_pivots=3).set_output(transform="pandas")
    Z = mapper.fit_transform(frame, y, sample_domain=domain)
    assert list(Z.columns) == [f"dci_word{pivot}" for pivot in mapper.pivots_]
    names = fit(Xs, ys, Xt, n_pivots=3).get_feature_names_out()
    assert names.tolist() == [f"dci_x{pivot}" for pivot in mapper.pivots_]


def test_fewer_candidates_than_pivots():
    Xs, ys, Xt = texts()
    n = np.count_nonzero(np.minimum((Xs > 0).sum(axis=0), (Xt > 0).sum(axis=0)) >= 20)
    assert 0 < n < 15
    with pytest.warns(UserWarning, match=f"^Only {n} terms .* so {n} pivots are used"):
        mapper = fit(Xs, ys, Xt, n_pivots=15, min_df=20)
    assert mapper.transform(Xt).shape == (70, n)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(
            fit(Xs, ys, Xt, min_df=20).transform(Xt), mapper.transform(Xt)
        )
        fit(Xs, ys, Xt, n_pivots=n, min_df=20)


def test_no_more_than_500_pivots_unasked():
    rng = np.random.default_rng(0)
    Xs, Xt = (rng.random((60, 600)) < 0.5 for _ in range(2))
    assert fit(Xs, np.arange(60) % 2, Xt).transform(Xt).shape == (60, 500)


# Bad input


def test_empty_rows_are_counted_and_harmless():
    Xs, ys, Xt = texts()
    Xs[[1, 5]], Xt[3] = 0.0, 0.0
    with pytest.warns(UserWarning, match="3 of 160 rows hold no term"):
        result = dci(Xs, ys, Xt)
    with pytest.warns(UserWarning, match="3 of 160 rows hold no term") as caught:
        mapper = fit(Xs, ys, Xt)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(result.X_source[1], result.X_source[5])
    new = mapper.transform(np.zeros((1, 25)))
    np.testing.assert_array_equal(new[0], result.X_target[3])
    with pytest.warns(UserWarning, match="3 of 160 rows"):
        assert not dci(Xs, ys, Xt, post=None).X_target[3].any()
    Xs[[1, 5]] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one row in a hundred is nothing to tell
        dci(Xs, ys, Xt)


def test_negative_values_are_refused():
    Xs, ys, Xt = texts()
    mapper = fit(Xs, ys, Xt)
    negative = Xt.copy()
    negative[4, 9] = -1.0
    for rows in (negative, sparse.csr_array(negative)):
        for call in (
            lambda: fit(Xs, ys, rows),
            lambda: dci(Xs, ys, rows),
            lambda: mapper.transform(rows),
        ):
            with pytest.raises(ValueError, match="Negative values .* counts of terms"):
                call()


def test_no_shared_vocabulary_is_refused():
    Xs, ys, Xt = texts()
    apart = np.hstack([Xs, np.zeros_like(Xs)]), np.hstack([np.zeros_like(Xt), Xt])
    for min_df, samples in ((1, apart), (1000, (Xs, Xt))):
        with pytest.raises(ValueError, match=f"min_df={min_df} rows .* one vocabulary"):
            fit(samples[0], ys, samples[1], min_df=min_df)


@pytest.mark.parametrize(
    "labels, words",
    [
        (np.full(90, np.nan), "no labelled source row"),
        (np.linspace(0, 1, 90) ** 2, "y is continuous: .* KBinsDiscretizer"),
        (np.zeros((90, 2)), "one class label a row"),
        (np.zeros(5), "inconsistent numbers of samples"),
    ],
)
def test_bad_labels_are_refused(labels, words):
    Xs, _, Xt = texts()
    with pytest.raises(ValueError, match=words):
        dci(Xs, labels, Xt)


def test_labels_are_asked_for():
    Xs, ys, Xt = texts()
    X, _, domain = stack_domains(Xs, ys, Xt)
    with pytest.raises(ValueError, match="requires y to be passed"):
        DCI().fit(X, sample_domain=domain)
    with pytest.raises(ValueError, match="no labelled source row"):
        DCI().fit(X, np.full(160, np.nan), sample_domain=domain)


def test_bad_calls_are_refused():
    Xs, ys, Xt = texts()
    for parameters in (
        {"n_pivots": 0},
        {"dcf": "jaccard"},
        {"min_df": 0},
        {"unify": "none"},
        {"post": "normal"},
    ):
        (name,) = parameters
        with pytest.raises(ValueError, match=f"'{name}' parameter"):
            fit(Xs, ys, Xt, **parameters)
        with pytest.raises(ValueError, match=f"'{name}' parameter"):
            dci(Xs, ys, Xt, **parameters)
    with pytest.raises(ValueError, match="same features"):
        dci(Xs, ys, Xt[:, :5])


def test_defaults_of_function_and_estimator():
    defaults = inspect.signature(DCI).parameters
    for name, parameter in inspect.signature(dci).parameters.items():
        if name not in ("Xs", "ys", "Xt"):
            assert parameter.default == defaults[name].default, name


def test_rows_of_zeros_stay():
    rows = scale_rows(np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float32))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0]], rtol=1e-7)


# What it is for


def test_words_of_the_target_are_understood():
    """Each domain has words of its own; a few are shared, and keep company with all."""
    rng = np.random.default_rng(0)
    n, shared, own = 2000, 8, 40
    y = rng.integers(0, 2, n)
    domain = np.repeat([1, -1], n // 2)
    likes = np.arange(shared + 2 * own) % 2
    share = np.where(y[:, None] == likes, 0.12, 0.04)
    share[:, :shared] = np.where(y[:, None] == likes[:shared], 0.2, 0.1)
    share[domain > 0, shared + own :] = 0
    share[domain < 0, shared : shared + own] = 0
    X = (rng.random(share.shape) < share).astype(float)
    target = domain < 0
    scores = [
        TransferClassifier(LinearSVC(C=0.01), adapter)
        .fit(X, np.where(target, np.nan, y), sample_domain=domain)
        .score(X[target], y[target])
        for adapter in (None, DCI())
    ]
    assert scores[1] > scores[0] + 0.1
