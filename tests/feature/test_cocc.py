"""CoCC against a straight-line restatement by Kullback-Leibler divergences.

The objective and both half-steps are stated again from the lemmas of Dai et al. (2007)
on dense tables: the loss as KL(f || f^) + lam KL(g || g^), and each move as the
candidate of the least divergence. Nothing is taken from the package but its answers.
"""

import warnings

import numpy as np
import pytest
from scipy import sparse
from scipy.special import rel_entr, xlogy
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import KNeighborsClassifier

from skadapt import CoCC, NoAdaptationWarning, TransferClassifier, stack_domains
from skadapt.datasets import fetch_20newsgroups_domains

TIE = 1e-13
both_orders = pytest.mark.parametrize("order", ["documents-first", "words-first"])


# ---------------------------------------------------------------------------
# The referee
# ---------------------------------------------------------------------------


def conditional(joint):
    """Rows as shares of themselves; rows without mass are 0."""
    total = joint.sum(axis=1, keepdims=True)
    return np.divide(joint, total, out=np.zeros_like(joint), where=total > 0)


def collapse(joint, rows, columns, n_rows, n_columns):
    """f(d^, w^): sum a table over clusters of its rows and of its columns."""
    return np.eye(n_rows)[rows].T @ joint @ np.eye(n_columns)[columns]


def spread(coarse, joint, rows, columns):
    """f^(d, w) = f(d^, w^) f(d) / f(d^) f(w) / f(w^), equation 4."""
    shares = []
    for axis, labels in ((1, rows), (0, columns)):
        single = joint.sum(axis=axis)
        whole = np.bincount(labels, single, minlength=labels.max() + 1)
        of_cluster = whole[labels]
        shares.append(
            np.divide(single, of_cluster, out=np.zeros_like(single), where=single > 0)
        )
    return coarse[np.ix_(rows, columns)] * np.outer(*shares)


def losses(f, g, rows, words, k):
    """KL(f || f^) and KL(g || g^), with f^ and g^."""
    classes = np.arange(len(g))
    f_hat = spread(collapse(f, rows, words, len(g), k), f, rows, words)
    g_hat = spread(collapse(g, classes, words, len(g), k), g, classes, words)
    return rel_entr(f, f_hat).sum(), rel_entr(g, g_hat).sum(), f_hat, g_hat


def least(divergences, present):
    """The candidate of the least divergence, or the present one if it is as good."""
    best = int(np.argmin(divergences))
    better = divergences[best] < divergences[present] - TIE
    return best if better else present


def move_rows(f, g, rows, words, k):
    """Each document to the class d^ of the least KL(f(.|d) || f^(.|d^)), equation 6."""
    by_class = conditional(collapse(f, rows, words, len(g), k))
    of_word = f.sum(axis=0)
    of_cluster = np.bincount(words, of_word, minlength=k)[words]
    inside = np.divide(
        of_word, of_cluster, out=np.zeros_like(of_word), where=of_word > 0
    )
    f_hat = by_class[:, words] * inside
    moved = rows.copy()
    for d, document in enumerate(conditional(f)):
        if document.any():
            moved[d] = least(rel_entr(document, f_hat).sum(axis=1), rows[d])
    return moved


def move_words(f, g, rows, words, k, lam):
    """Each word to the w^ of the least divergence, equations 6 and 7."""
    by_cluster = conditional(collapse(f, rows, words, len(g), k).T)
    of_row = f.sum(axis=1)
    of_class = np.bincount(rows, of_row, minlength=len(g))[rows]
    inside = np.divide(of_row, of_class, out=np.zeros_like(of_row), where=of_row > 0)
    f_hat = by_cluster[:, rows] * inside
    g_hat = conditional(collapse(g, np.arange(len(g)), words, len(g), k).T)
    moved = words.copy()
    for w in range(len(words)):
        divergence = np.zeros(k)
        if f[:, w].any():
            share = f[:, w].sum()
            divergence += share * rel_entr(f[:, w] / share, f_hat).sum(axis=1)
        if lam and g[:, w].any():
            share = g[:, w].sum()
            divergence += lam * share * rel_entr(g[:, w] / share, g_hat).sum(axis=1)
        moved[w] = least(divergence, words[w])
    return moved


def referee(f, g, rows, words, k, lam, max_iter, words_first):
    """Labels, clusters and the objective at the start and after each half-step."""

    def objective():
        of_target, of_source, *_ = losses(f, g, rows, words, k)
        return of_target + lam * of_source

    path = [objective()]
    if words_first:
        words = move_words(f, g, rows, words, k, lam)
        path.append(objective())
    for _ in range(max_iter):
        before = rows, words
        rows = move_rows(f, g, rows, words, k)
        path.append(objective())
        words = move_words(f, g, rows, words, k, lam)
        path.append(objective())
        if all(np.array_equal(a, b) for a, b in zip(before, (rows, words))):
            break
    return rows, words, np.array(path)


# ---------------------------------------------------------------------------
# Problems
# ---------------------------------------------------------------------------


class Corpus:
    """Counts whose classes differ in shared words and in words of one domain."""

    def __init__(self, seed=0, n_source=60, n_target=50, n_classes=2, n_words=40):
        rng = np.random.default_rng(seed)
        self.ys = rng.integers(n_classes, size=n_source)
        self.truth = rng.integers(n_classes, size=n_target)
        self.ys[:n_classes] = self.truth[:n_classes] = np.arange(n_classes)
        only = rng.integers(
            4, size=n_words
        )  # 0: source only, 1: target only, else both
        laws = rng.dirichlet(np.full(n_words, 0.4), size=n_classes)
        lengths = rng.poisson(25, size=n_source + n_target) + 2
        self.Xs, self.Xt = (
            np.stack([rng.multinomial(n, laws[c]) for n, c in zip(size, y)])
            * (only != o)
            for size, y, o in (
                (lengths[:n_source], self.ys, 1),
                (lengths[n_source:], self.truth, 0),
            )
        )
        self.k = int(rng.integers(n_classes, 12))
        self.rows = np.where(
            rng.random(n_target) < 0.3,
            rng.integers(n_classes, size=n_target),
            self.truth,
        )
        self.words = rng.integers(self.k, size=n_words)
        self.words[: self.k] = np.arange(self.k)
        self.weights = rng.choice([0.5, 1.0, 2.0], size=n_source + n_target)
        self.n_classes = n_classes

    @property
    def stacked(self):
        return stack_domains(self.Xs.astype(float), self.ys, self.Xt.astype(float))

    def tables(self, weights=None):
        """f (n_target, n_words) and g (n_classes, n_words), each of sum 1."""
        weights = (
            np.ones(len(self.ys) + len(self.truth)) if weights is None else weights
        )
        ws, wt = weights[: len(self.ys)], weights[len(self.ys) :]
        f = self.Xt * wt[:, None]
        g = np.eye(self.n_classes)[self.ys].T @ (self.Xs * ws[:, None])
        return f / f.sum(), g / g.sum()

    def fit(self, sample_weight=None, **parameters):
        X, y, sample_domain = self.stacked
        parameters = {"init": self.rows, "word_init": self.words, **parameters}
        model = CoCC(**parameters)
        return model.fit(X, y, sample_weight, sample_domain=sample_domain)


def fit_stacked(Xs, ys, Xt, sample_weight=None, **parameters):
    X, y, sample_domain = stack_domains(Xs, ys, Xt)
    return CoCC(**parameters).fit(X, y, sample_weight, sample_domain=sample_domain)


def make_text(effect, length, n=300, n_words=400):
    """Documents of two domains, a third of the words being each one's own.

    Returns X, y, the domains and the true labels of the target.
    """
    rng = np.random.default_rng(0)
    speaks_for = rng.integers(-1, 2, size=n_words)  # -1: for no class
    only = rng.integers(3, size=n_words)
    y = np.repeat([0, 1], n)
    parts = []
    for other in (1, 0):
        base = rng.dirichlet(np.full(n_words, 0.5)) * (only != other)
        laws = [base * np.exp(effect * (speaks_for == c)) for c in (0, 1)]
        counts = [
            rng.multinomial(rng.poisson(length) + 5, law / law.sum())
            for law in (laws[c] for c in y)
        ]
        parts.append(sparse.csr_array(np.stack(counts), dtype=float))
    return *stack_domains(parts[0], y, parts[1]), y


@pytest.fixture(scope="module")
def text():
    return make_text(0.9, 25)


# ---------------------------------------------------------------------------
# Objective and half-steps
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_every_half_step_is_that_of_the_divergences(seed):
    """The path to 1e-10, the labels and the clusters, over both orders."""
    corpus = Corpus(seed, n_classes=2 + seed % 3)
    weights = corpus.weights if seed % 2 else None
    lam = [0.0, 0.25, 4.0][seed % 3]
    f, g = corpus.tables(weights)
    for order in ("documents-first", "words-first"):
        model = corpus.fit(weights, lam=lam, order=order, max_iter=6)
        rows, words, path = referee(
            f, g, corpus.rows, corpus.words, corpus.k, lam, 6, order == "words-first"
        )
        np.testing.assert_allclose(model.objective_path_, path, rtol=0, atol=1e-10)
        np.testing.assert_array_equal(model.transduction_, rows)
        known = f.any(axis=0) | g.any(axis=0)
        np.testing.assert_array_equal(model.word_clusters_, np.where(known, words, -1))
        assert model.n_iter_ == (len(path) - 1) // 2


@pytest.mark.parametrize("seed", range(20))
def test_objective_never_rises(seed):
    rng = np.random.default_rng(seed)
    corpus = Corpus(seed, 200, 150, 2 + seed % 4, n_words=300)
    words = rng.integers(20, size=300)
    for order in ("documents-first", "words-first"):
        model = corpus.fit(word_init=words, order=order, max_iter=50)
        assert np.diff(model.objective_path_).max() <= 1e-13
        assert model.objective_path_[-1] < model.objective_path_[0]
        assert model.n_iter_ < 50, "it stops by itself"
        turns = model.objective_path_[order == "words-first" :]
        assert len(turns) == 2 * model.n_iter_ + 1
        np.testing.assert_allclose(turns[-3:], turns[-1], rtol=0, atol=1e-13)


def test_identities_of_the_lemma():
    """Loss of information is a divergence, and f^ has the margins of f."""
    corpus = Corpus(3, n_classes=3)
    f, g = corpus.tables()
    of_target, of_source, f_hat, g_hat = losses(
        f, g, corpus.rows, corpus.words, corpus.k
    )
    for axis in (0, 1):
        np.testing.assert_allclose(f_hat.sum(axis), f.sum(axis), atol=1e-15)
        np.testing.assert_allclose(g_hat.sum(axis), g.sum(axis), atol=1e-15)
    model = corpus.fit(lam=0.5, order="documents-first")
    assert model.objective_path_[0] == pytest.approx(
        of_target + 0.5 * of_source, rel=0, abs=1e-12
    )


def test_stops_where_nothing_moves(text):
    X, y, sample_domain, _ = text
    done = CoCC(order="documents-first", max_iter=200, random_state=0)
    done.fit(X, y, sample_domain=sample_domain)
    assert done.n_iter_ < 200
    again = CoCC(
        init=done.transduction_,
        word_init=np.maximum(done.word_clusters_, 0),
        order="documents-first",
    ).fit(X, y, sample_domain=sample_domain)
    assert again.n_iter_ == 1
    np.testing.assert_array_equal(again.transduction_, done.transduction_)
    np.testing.assert_array_equal(again.word_clusters_, done.word_clusters_)


# ---------------------------------------------------------------------------
# Invariances and limits
# ---------------------------------------------------------------------------


@both_orders
def test_target_rows_twice_and_other_units_change_nothing(order):
    corpus = Corpus(5, n_classes=3)
    once = corpus.fit(order=order)
    shared = {"word_init": corpus.words, "order": order}
    Xs, Xt = corpus.Xs.astype(float), corpus.Xt.astype(float)
    twice = fit_stacked(
        Xs, corpus.ys, np.vstack([Xt, Xt]), init=np.tile(corpus.rows, 2), **shared
    )
    other_units = fit_stacked(8 * Xs, corpus.ys, Xt / 8, init=corpus.rows, **shared)
    np.testing.assert_array_equal(twice.transduction_, np.tile(once.transduction_, 2))
    np.testing.assert_array_equal(other_units.transduction_, once.transduction_)
    for model in (twice, other_units):
        np.testing.assert_array_equal(model.word_clusters_, once.word_clusters_)
        # Doubling the documents adds nothing that a word says about the class.
        np.testing.assert_allclose(
            np.diff(model.objective_path_), np.diff(once.objective_path_), atol=1e-12
        )


@pytest.mark.parametrize("word_init", ["svd", "posterior"])
def test_default_starts_see_no_units(text, word_init):
    """Halves or doubles of all counts, and frequencies in each row, cluster alike."""
    X, y, sample_domain, _ = text
    init = np.zeros(np.count_nonzero(sample_domain < 0), dtype=int)
    init[::2] = 1
    options = {"word_init": word_init, "init": init, "order": "words-first"}
    options |= {"max_iter": 1, "n_word_clusters": 16, "random_state": 0}
    one = CoCC(**options).fit(X, y, sample_domain=sample_domain)
    other = CoCC(**options).fit(4.0 * X, y, sample_domain=sample_domain)
    if word_init == "svd":
        np.testing.assert_array_equal(other.word_clusters_, one.word_clusters_)
    else:  # Laplace's smoothing counts in words
        assert len(np.unique(other.word_clusters_)) > 1


@both_orders
def test_order_of_rows_and_columns(order):
    corpus = Corpus(6)
    expected = corpus.fit(order=order)
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(len(corpus.truth)), rng.permutation(40)
    model = fit_stacked(
        corpus.Xs[::-1][:, columns].astype(float),
        corpus.ys[::-1],
        corpus.Xt[rows][:, columns].astype(float),
        init=corpus.rows[rows],
        word_init=corpus.words[columns],
        order=order,
    )
    np.testing.assert_array_equal(model.transduction_, expected.transduction_[rows])
    np.testing.assert_array_equal(
        model.word_clusters_, expected.word_clusters_[columns]
    )


def test_names_of_classes_have_no_part():
    corpus = Corpus(7, n_classes=3)
    expected = corpus.fit(order="documents-first")
    names = np.array(["zebra", "ant", "mole"])
    model = fit_stacked(
        corpus.Xs.astype(float),
        names[corpus.ys],
        corpus.Xt.astype(float),
        init=names[corpus.rows],
        word_init=corpus.words,
        order="documents-first",
    )
    np.testing.assert_array_equal(model.transduction_, names[expected.transduction_])
    np.testing.assert_array_equal(model.word_clusters_, expected.word_clusters_)
    np.testing.assert_allclose(
        model.cluster_log_prob_[[2, 0, 1]], expected.cluster_log_prob_, atol=1e-12
    )


def test_one_cluster_a_word_is_naive_bayes_without_prior():
    """The document step is then that of its own labels, unsmoothed."""
    corpus = Corpus(8)
    model = corpus.fit(word_init=np.arange(40), order="documents-first", max_iter=1)
    counts = np.eye(2)[corpus.rows].T @ corpus.Xt
    scores = xlogy(corpus.Xt[:, None], conditional(counts)).sum(axis=2)
    np.testing.assert_array_equal(model.transduction_, scores.argmax(axis=1))


def test_posterior_of_as_many_clusters_as_classes_is_naive_bayes_of_two_words():
    corpus = Corpus(9)
    model = corpus.fit(
        word_init="posterior", n_word_clusters=2, order="documents-first", max_iter=1
    )
    start = corpus.fit(
        word_init="posterior",
        n_word_clusters=2,
        order="words-first",
        max_iter=1,
        lam=0.0,
        init=np.zeros(len(corpus.truth), dtype=int),
    ).word_clusters_  # with one class of documents no word has a reason to move
    known = start >= 0
    smoothed = np.eye(2)[corpus.ys].T @ corpus.Xs[:, known] + 1.0
    odds = np.log(smoothed[1] / smoothed[1].sum()) - np.log(
        smoothed[0] / smoothed[0].sum()
    )
    halves = start[known]
    assert odds[halves == 0].max() <= odds[halves == 1].min() + 1e-12
    assert abs(np.bincount(halves) - known.sum() / 2).max() <= 0.5
    counts = corpus.Xt[:, known] @ np.eye(2)[halves]
    shares = conditional(np.eye(2)[corpus.rows].T @ counts)
    np.testing.assert_array_equal(
        model.transduction_, (counts @ np.log(shares).T).argmax(axis=1)
    )


def test_large_lam_leaves_the_words_to_the_source():
    """The target then has no say in the clusters of words that the source has."""
    corpus, other = Corpus(10), Corpus(11)
    models = [
        fit_stacked(
            corpus.Xs.astype(float),
            corpus.ys,
            Xt + 0.1,  # a share of 0 would outweigh any lam
            init=rows,
            word_init=corpus.words,
            order="documents-first",
            lam=1e12,
        )
        for Xt, rows in ((corpus.Xt, corpus.rows), (other.Xt, other.rows))
    ]
    assert (models[0].transduction_ != models[1].transduction_).any()
    in_source = corpus.Xs.any(axis=0)
    np.testing.assert_array_equal(
        *(model.word_clusters_[in_source] for model in models)
    )
    _, g = corpus.tables()
    nothing = np.zeros((0, 40))
    words, before = corpus.words, None
    while before is None or (words != before).any():
        before = words
        words = move_words(nothing, g, np.zeros(0, int), words, corpus.k, 1.0)
    np.testing.assert_array_equal(models[0].word_clusters_[in_source], words[in_source])


def test_source_enters_by_the_sums_of_its_classes():
    corpus = Corpus(12, n_classes=3)
    expected = corpus.fit(order="documents-first")
    sums = np.eye(3)[corpus.ys].T @ corpus.Xs.astype(float)
    model = fit_stacked(
        sums,
        np.arange(3),
        corpus.Xt.astype(float),
        init=corpus.rows,
        word_init=corpus.words,
        order="documents-first",
    )
    np.testing.assert_array_equal(model.transduction_, expected.transduction_)
    np.testing.assert_array_equal(model.word_clusters_, expected.word_clusters_)


@both_orders
@pytest.mark.parametrize("word_init", ["svd", "posterior"])
def test_weight_two_is_the_row_twice(text, order, word_init):
    X, y, sample_domain, _ = text
    rows = np.random.default_rng(1).permutation(X.shape[0])[:900]
    again = np.random.default_rng(2).random(900) < 0.4
    weights = np.where(again, 2.0, 1.0)
    doubled = np.concatenate([rows, rows[again]])
    options = {"order": order, "word_init": word_init, "n_word_clusters": 12}
    one = CoCC(**options, random_state=0).fit(
        X[rows], y[rows], weights, sample_domain=sample_domain[rows]
    )
    two = CoCC(**options, random_state=0).fit(
        X[doubled], y[doubled], sample_domain=sample_domain[doubled]
    )
    np.testing.assert_array_equal(one.word_clusters_, two.word_clusters_)
    n_target = np.count_nonzero(sample_domain[rows] < 0)
    np.testing.assert_array_equal(one.transduction_, two.transduction_[:n_target])


def test_target_rows_of_weight_zero_move_nothing():
    corpus = Corpus(13)
    weights = np.ones(len(corpus.ys) + len(corpus.truth))
    weights[-10:] = 0
    model = corpus.fit(weights, order="documents-first")
    without = fit_stacked(
        corpus.Xs.astype(float),
        corpus.ys,
        corpus.Xt[:-10].astype(float),
        init=corpus.rows[:-10],
        word_init=corpus.words,
        order="documents-first",
    )
    np.testing.assert_array_equal(model.transduction_[:-10], without.transduction_)
    np.testing.assert_allclose(model.objective_path_, without.objective_path_)
    assert np.mean(model.transduction_[-10:] == corpus.truth[-10:]) > 0.5


def test_source_rows_of_weight_zero_have_no_class():
    corpus = Corpus(14, n_classes=3)
    weights = np.ones(len(corpus.ys) + len(corpus.truth))
    weights[: len(corpus.ys)][corpus.ys == 2] = 0
    rows = np.minimum(corpus.rows, 1)
    model = corpus.fit(weights, init=rows, order="documents-first")
    assert model.classes_.tolist() == [0, 1]


# ---------------------------------------------------------------------------
# What is empty
# ---------------------------------------------------------------------------


@both_orders
def test_empty_documents_keep_the_label_of_the_start(order):
    corpus = Corpus(15)
    corpus.Xt[[3, 7]] = 0
    start = corpus.rows.copy()
    start[[3, 7]] = [0, 1]
    model = corpus.fit(order=order, init=start)
    assert model.transduction_[[3, 7]].tolist() == [0, 1]
    f, g = corpus.tables()
    rows, _, path = referee(
        f, g, start, corpus.words, corpus.k, 0.25, 15, order == "words-first"
    )
    np.testing.assert_array_equal(model.transduction_, rows)
    np.testing.assert_allclose(model.objective_path_, path, rtol=0, atol=1e-10)


def test_long_documents_that_take_a_class_away(text):
    """A few documents that outweigh the others have a class for themselves, aloud."""
    X, y, sample_domain, _ = text
    giants = sparse.lil_array((4, X.shape[1]))
    giants[:, :3] = 1e5
    stacked = sparse.vstack([X, giants.tocsr()], format="csr")
    y, sample_domain = np.append(y, [np.nan] * 4), np.append(sample_domain, [-1] * 4)
    model = CoCC(random_state=0)
    with pytest.warns(UserWarning, match=r"has \d+ of 604 .* 1 \+ log") as caught:
        model.fit(stacked, y, sample_domain=sample_domain)
    assert caught[0].filename == __file__
    assert np.bincount(model.transduction_).min() < 10
    stacked.data = 1 + np.log(stacked.data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(stacked, y, sample_domain=sample_domain)
    assert np.bincount(model.transduction_).min() > 200


@both_orders
def test_a_class_without_documents_stays_empty(order):
    corpus = Corpus(16, n_classes=3)
    model = corpus.fit(order=order, init=np.minimum(corpus.rows, 1))
    assert set(model.transduction_) <= {0, 1}
    X = corpus.Xt.astype(float)
    assert set(model.predict(X)) <= {0, 1}
    proba = model.predict_proba(X)
    assert np.isfinite(proba).all()
    np.testing.assert_array_equal(proba[X.any(axis=1), 2], 0)


def test_empty_clusters_and_words_of_one_domain():
    corpus = Corpus(17)
    words = corpus.words.copy()
    words[words == 1] = 0
    only_source = corpus.Xs.any(axis=0) & ~corpus.Xt.any(axis=0)
    only_target = corpus.Xt.any(axis=0) & ~corpus.Xs.any(axis=0)
    assert only_source.any() and only_target.any()
    words[only_source] = corpus.k  # a cluster that the target has nothing of
    model = corpus.fit(word_init=words, order="documents-first", lam=0.0)
    assert (model.word_clusters_ != 1).all()
    assert (model.word_clusters_[only_source] == corpus.k).all()
    assert model.cluster_log_prob_.shape == (2, corpus.k + 1)
    assert np.isfinite(model.cluster_log_prob_).all()
    assert np.isfinite(model.objective_path_).all()
    X = corpus.Xt.astype(float)
    new = X + 3 * only_source  # words of the source alone say nothing here
    np.testing.assert_allclose(model.predict_proba(new), model.predict_proba(X))


def test_words_of_no_row_have_no_cluster():
    corpus = Corpus(18)
    corpus.Xs[:, :4] = corpus.Xt[:, :4] = 0
    model = corpus.fit(order="documents-first")
    assert (model.word_clusters_[:4] == -1).all()
    assert (model.word_clusters_[4:] >= 0).sum() == corpus.Xs[:, 4:].any(0).sum() + (
        corpus.Xt[:, 4:].any(0) & ~corpus.Xs[:, 4:].any(0)
    ).sum()
    X = corpus.Xt.astype(float)
    unknown = X.copy()
    unknown[:, :4] = 9
    np.testing.assert_array_equal(model.predict_proba(unknown), model.predict_proba(X))
    nothing = model.predict_proba(np.zeros((1, 40)))
    np.testing.assert_array_equal(nothing, [[0.5, 0.5]])


# ---------------------------------------------------------------------------
# Starts
# ---------------------------------------------------------------------------


def test_default_start_is_naive_bayes(text):
    X, y, sample_domain, _ = text
    source = sample_domain > 0
    bayes = MultinomialNB().fit(X[source], y[source])
    options = {"order": "documents-first", "random_state": 0}
    model = CoCC(**options).fit(X, y, sample_domain=sample_domain)
    given = CoCC(init=bayes.predict(X[~source]), **options)
    given.fit(X, y, sample_domain=sample_domain)
    np.testing.assert_array_equal(
        model.estimator_.feature_log_prob_, bayes.feature_log_prob_
    )
    np.testing.assert_array_equal(given.transduction_, model.transduction_)
    np.testing.assert_array_equal(given.objective_path_, model.objective_path_)
    assert not hasattr(given, "estimator_")


def test_any_classifier_may_start(text):
    X, y, sample_domain, _ = text
    source = sample_domain > 0
    start = LogisticRegression(C=0.1)
    options = {"order": "documents-first", "random_state": 0}
    model = CoCC(init=start, **options).fit(X, y, sample_domain=sample_domain)
    labels = start.fit(X[source], y[source]).predict(X[~source])
    given = CoCC(init=labels, **options).fit(X, y, sample_domain=sample_domain)
    assert isinstance(model.estimator_, LogisticRegression)
    np.testing.assert_array_equal(given.objective_path_, model.objective_path_)


def test_labels_of_the_start_may_be_strings():
    corpus = Corpus(19)
    names = np.array(["no", "yes"])
    model = fit_stacked(
        corpus.Xs.astype(float),
        names[corpus.ys],
        corpus.Xt.astype(float),
        init=names[corpus.rows].tolist(),
        word_init=corpus.words.tolist(),
    )
    assert model.transduction_.dtype == names.dtype
    assert np.mean(model.transduction_ == names[corpus.truth]) > 0.8


def test_unlabelled_source_rows_shape_the_words_only(text):
    X, y, sample_domain, _ = text
    hidden = np.where(np.arange(len(y)) % 3 == 0, np.nan, y)
    kept = ~np.isnan(hidden) | (sample_domain < 0)
    for word_init, same in (("posterior", True), ("svd", False)):
        options = {"word_init": word_init, "order": "words-first", "random_state": 0}
        options |= {"n_word_clusters": 10, "max_iter": 1}
        model = CoCC(**options).fit(X, hidden, sample_domain=sample_domain)
        without = CoCC(**options).fit(
            X[kept], hidden[kept], sample_domain=sample_domain[kept]
        )
        equal = np.array_equal(model.word_clusters_, without.word_clusters_)
        assert equal is same, word_init


@pytest.mark.parametrize("word_init", ["svd", "posterior", "random"])
def test_number_of_word_clusters(text, word_init):
    X, y, sample_domain, _ = text
    for k in (2, 7, 30):
        model = CoCC(k, word_init=word_init, order="words-first", random_state=0)
        model.fit(X, y, sample_domain=sample_domain)
        assert model.cluster_log_prob_.shape == (2, k)
        assert model.word_clusters_.max() < k
    default = CoCC(word_init=word_init, order="words-first", random_state=0)
    default.fit(X, y, sample_domain=sample_domain)
    assert default.cluster_log_prob_.shape == (2, 64)


@pytest.mark.parametrize("word_init", ["svd", "posterior", "random"])
def test_more_clusters_than_words(word_init):
    corpus = Corpus(20)
    corpus.Xs[:, :5] = corpus.Xt[:, :5] = 0
    n_words = int((corpus.Xs.any(axis=0) | corpus.Xt.any(axis=0)).sum())
    options = {"word_init": word_init, "order": "words-first", "random_state": 0}
    with pytest.warns(UserWarning, match=f"{n_words} in all") as caught:
        model = corpus.fit(n_word_clusters=41, **options)
    assert caught[0].filename == __file__
    assert model.cluster_log_prob_.shape[1] <= n_words
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        silent = corpus.fit(n_word_clusters=None, **options)
    np.testing.assert_array_equal(silent.word_clusters_, model.word_clusters_)


# ---------------------------------------------------------------------------
# Which order
# ---------------------------------------------------------------------------


def test_auto_keeps_the_more_consistent_run(text):
    X, y, sample_domain, _ = text
    runs = {
        order: CoCC(order=order, random_state=3).fit(X, y, sample_domain=sample_domain)
        for order in ("auto", "documents-first", "words-first")
    }
    auto = runs.pop("auto")
    errors = auto.consistency_errors_
    assert list(errors) == ["start", "documents-first", "words-first"]
    assert auto.order_ == min(runs, key=errors.get)
    kept = runs[auto.order_]
    for name in ("transduction_", "word_clusters_", "objective_path_"):
        np.testing.assert_array_equal(getattr(auto, name), getattr(kept, name))
    for run in runs.values():
        assert not hasattr(run, "consistency_errors_")


def test_of_equal_errors_the_start_decides():
    """Two runs that find the same classes may give them each other's names."""
    X, y, sample_domain, truth = make_text(1.5, 60)
    words = np.random.default_rng(16).integers(2, size=X.shape[1])
    models = {
        order: CoCC(word_init=words, order=order).fit(X, y, sample_domain=sample_domain)
        for order in ("auto", "documents-first", "words-first")
    }
    errors = [np.mean(model.transduction_ != truth) for model in models.values()]
    assert errors == [0, 1, 0]
    consistency = models["auto"].consistency_errors_
    assert consistency["documents-first"] == consistency["words-first"]


def test_consistency_error_is_that_of_unpredictable_labels(text):
    """Coin flips are predicted as badly as they deserve, the classes well."""
    X, y, sample_domain, truth = text
    options = {"word_init": "posterior", "max_iter": 1}
    coins = np.random.default_rng(0).integers(2, size=len(truth))
    by_chance = CoCC(init=coins, **options).fit(X, y, sample_domain=sample_domain)
    by_truth = CoCC(init=truth, **options).fit(X, y, sample_domain=sample_domain)
    assert 0.4 < by_chance.consistency_errors_["start"] < 0.6
    assert by_truth.consistency_errors_["start"] < 0.1


def test_consistency_error_gives_each_class_the_same_weight(text):
    """Three documents that nobody can tell from the rest are not lost in a mean."""
    X, y, sample_domain, truth = text
    few = np.zeros_like(truth)
    few[[0, 200, 400]] = 1
    options = {"word_init": "posterior", "max_iter": 1}
    model = CoCC(init=few, **options).fit(X, y, sample_domain=sample_domain)
    assert model.consistency_errors_["start"] >= 0.5


def test_labels_that_are_all_the_same_are_not_consistent(text):
    X, y, sample_domain, truth = text
    model = CoCC(init=np.zeros_like(truth), random_state=0)
    model.fit(X, y, sample_domain=sample_domain)
    assert all(np.isnan(error) for error in model.consistency_errors_.values())
    assert set(model.transduction_) == {0}


def test_random_words_move_first(text):
    X, y, sample_domain, truth = text
    auto = CoCC(word_init="random", random_state=0)
    auto.fit(X, y, sample_domain=sample_domain)
    assert auto.order_ == "words-first"
    assert list(auto.consistency_errors_) == ["start", "words-first"]
    assert np.mean(auto.transduction_ != truth) < 0.1
    refused = CoCC(word_init="random", order="documents-first")
    with pytest.raises(ValueError, match="use order='words-first'"):
        refused.fit(X, y, sample_domain=sample_domain)


# ---------------------------------------------------------------------------
# New documents
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
def test_new_documents_follow_the_document_step(n_classes):
    corpus = Corpus(21, n_classes=n_classes)
    model = corpus.fit(order="documents-first")
    new = Corpus(22, n_classes=n_classes).Xt.astype(float)
    table = collapse(
        corpus.tables()[0],
        model.transduction_,
        np.maximum(model.word_clusters_, 0),
        n_classes,
        corpus.k,
    )
    # A share of 0 counts as the least number that is not 0.
    log_share = np.log(np.maximum(conditional(table), np.finfo(float).tiny))
    log_share[:, ~table.any(axis=0)] = 0
    np.testing.assert_allclose(model.cluster_log_prob_, log_share, atol=1e-12)
    known = model.word_clusters_ >= 0
    scores = new[:, known] @ log_share[:, model.word_clusters_[known]].T
    np.testing.assert_array_equal(model.predict(new), scores.argmax(axis=1))
    proba = np.exp(scores - scores.max(axis=1, keepdims=True))
    proba /= proba.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(new), proba, atol=1e-12)
    expected = scores if n_classes > 2 else scores[:, 1] - scores[:, 0]
    np.testing.assert_allclose(model.decision_function(new), expected, atol=1e-9)


def test_converged_rows_are_predicted_as_they_were_labelled(text):
    X, y, sample_domain, _ = text
    model = CoCC(max_iter=200, random_state=0).fit(X, y, sample_domain=sample_domain)
    assert model.n_iter_ < 200
    target = X[sample_domain < 0]
    np.testing.assert_array_equal(model.predict(target), model.transduction_)


def test_a_share_of_zero_rules_a_class_out():
    """A word of a cluster that only one class has decides, and stays finite."""
    Xs = np.array([[5.0, 0, 1], [0, 5, 1]])
    Xt = np.array([[4.0, 0, 1], [0, 4, 1]])
    model = fit_stacked(Xs, [0, 1], Xt, init=[0, 1], word_init=[0, 1, 2])
    new = np.array([[1.0, 0, 0], [2, 1, 0], [1, 2, 0]])
    assert model.predict(new).tolist() == [0, 0, 1]
    assert np.isfinite(model.decision_function(new)).all()


def test_without_domains_naive_bayes(text):
    X, _, sample_domain, truth = text
    Xt = X[sample_domain < 0]
    weights = np.random.default_rng(0).random(len(truth))
    with pytest.warns(NoAdaptationWarning):
        model = CoCC(init=KNeighborsClassifier()).fit(Xt, truth, weights)
    bayes = MultinomialNB().fit(Xt, truth, weights)
    np.testing.assert_array_equal(model.predict(Xt), bayes.predict(Xt))
    np.testing.assert_allclose(model.predict_proba(Xt), bayes.predict_proba(Xt))
    assert not hasattr(model, "transduction_")
    assert not hasattr(model, "decision_function")


# ---------------------------------------------------------------------------
# Forms of X
# ---------------------------------------------------------------------------


def test_entries_in_parts_are_their_sum():
    """Repeated, unsorted and zero entries of a CSR matrix, and wide indices."""
    corpus = Corpus(23)
    X, y, sample_domain = corpus.stacked
    rows, columns = np.nonzero(X)
    order = np.random.default_rng(0).permutation(3 * len(rows))
    data = np.concatenate([X[rows, columns] - 0.5, np.full(len(rows), 0.5), 0 * rows])
    rows, columns = np.tile(rows, 3)[order], np.tile(columns, 3)[order]
    by_row = np.argsort(rows, kind="stable")
    indptr = np.concatenate([[0], np.bincount(rows, minlength=len(y)).cumsum()])
    parts = sparse.csr_array(
        (data[order][by_row], columns[by_row].astype(np.int64), indptr), shape=X.shape
    )
    before = [part.copy() for part in (parts.data, parts.indices, parts.indptr)]
    options = {"init": corpus.rows, "random_state": 0, "n_word_clusters": 6}
    expected = CoCC(**options).fit(X, y, sample_domain=sample_domain)
    model = CoCC(**options).fit(parts, y, sample_domain=sample_domain)
    np.testing.assert_array_equal(model.word_clusters_, expected.word_clusters_)
    np.testing.assert_allclose(
        model.objective_path_, expected.objective_path_, rtol=0, atol=1e-12
    )
    for part, copy in zip((parts.data, parts.indices, parts.indptr), before):
        np.testing.assert_array_equal(part, copy)


# ---------------------------------------------------------------------------
# Bad input
# ---------------------------------------------------------------------------


def _negative(corpus):
    corpus.Xt = corpus.Xt - 1


def _no_target(corpus):
    corpus.Xt[:] = 0


def _no_source(corpus):
    corpus.Xs[:] = 0


def _apart(corpus):
    corpus.Xs[:, ::2] = corpus.Xt[:, 1::2] = 0


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_negative, "Negative values in data passed to CoCC: give it counts"),
        (_no_target, "The target rows hold no word: .* fit the vectoriser on the"),
        (_no_source, "The labelled source rows hold no word: .* fit the vectoriser"),
        (_apart, "share no word: .* fit the vectoriser on the documents of both"),
    ],
)
def test_bad_counts(spoil, words):
    corpus = Corpus(24)
    spoil(corpus)
    with pytest.raises(ValueError, match=words):
        corpus.fit()


def test_negative_rows_are_refused_afterwards():
    corpus = Corpus(24)
    model = corpus.fit()
    with pytest.raises(ValueError, match="Negative values"):
        model.predict(corpus.Xt - 1.0)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"init": np.zeros(7)}, "init has 7 labels for 50 target rows"),
        ({"init": np.full(50, 8)}, r"init gives the label .*8.* among \[0, 1\]"),
        ({"init": TransferClassifier()}, "TransferClassifier takes sample_domain"),
        ({"word_init": np.zeros(7, dtype=int)}, "one int for each of the 40 columns"),
        ({"word_init": np.zeros(40)}, "one int for each of the 40 columns"),
        ({"word_init": np.full(40, -1)}, "count the clusters from 0"),
    ],
)
def test_bad_starts(parameters, words):
    with pytest.raises(ValueError, match=words):
        Corpus(25).fit(**parameters)


def test_bad_weights():
    corpus = Corpus(26)
    weights = np.ones(110)
    weights[60:] = 0
    with pytest.raises(ValueError, match="target rows hold no word.*sample_weight"):
        corpus.fit(weights)
    weights = np.ones(110)
    weights[:60] = 0
    with pytest.raises(ValueError, match="sample_weight is 0 for every labelled"):
        corpus.fit(weights)
    with pytest.raises(ValueError, match="takes no sample_weight"):
        corpus.fit(np.ones(110), init=KNeighborsClassifier())


def test_numbers_are_no_classes():
    corpus = Corpus(27)
    X, y, sample_domain = corpus.stacked
    with pytest.raises(ValueError, match="Unknown label type"):
        CoCC().fit(X, y + 0.5, sample_domain=sample_domain)


# ---------------------------------------------------------------------------
# Text
# ---------------------------------------------------------------------------


def test_beats_naive_bayes_on_text_of_other_words(text):
    X, y, sample_domain, truth = text
    model = CoCC(random_state=0).fit(X, y, sample_domain=sample_domain)
    floor = 1 - model.estimator_.score(X[sample_domain < 0], truth)
    assert np.mean(model.transduction_ != truth) < 0.5 * floor


def test_newsgroups():
    """The error of naive Bayes on rec-talk falls to a sixth or less."""
    try:
        data = fetch_20newsgroups_domains(
            "rec-talk", vectorizer="counts", min_df=10, download_if_missing=False
        )
    except FileNotFoundError as error:
        pytest.skip(str(error))
    y = np.where(data.sample_domain > 0, data.y, np.nan)
    model = CoCC(random_state=0).fit(data.X, y, sample_domain=data.sample_domain)
    truth = data.y[data.sample_domain < 0]
    floor = np.mean(model.estimator_.predict(data.X[data.sample_domain < 0]) != truth)
    assert np.mean(model.transduction_ != truth) < min(0.035, floor / 6)
