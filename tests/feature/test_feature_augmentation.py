"""Feature augmentation against its block form, its kernel, and its equivalents.

A row x of domain k becomes ``[c x | 0 .. x (block k) .. 0]`` (Daume 2007). EA++ adds,
for an unlabelled target row, ``[0 | .. x .. | .. -x ..]`` with every label.
"""

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

import skadapt
from skadapt import EasyAdaptClassifier, FeatureAugmentation, TransferClassifier

TIGHT = {"tol": 1e-10, "max_iter": 10_000}


def four_domains(seed=0, d=5):
    """Sources 1 and 7, targets -2 and -1, interleaved."""
    rng = np.random.default_rng(seed)
    domain = rng.permutation(np.repeat([1, 7, -2, -1], [30, 20, 25, 15]))
    X = rng.normal(size=(90, d)) + 0.1 * domain[:, np.newaxis]
    return X, domain


def by_hand(X, domain, order, scale):
    blocks = [scale * X] + [X * (domain == k)[:, np.newaxis] for k in order]
    return np.hstack(blocks)


def two_domains(n_target_labels, seed=0, n=400, d=8, n_classes=2):
    """Classes by a linear rule that differs a little between the domains."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    domain = rng.permutation(np.repeat([1, -1], [n // 2, n - n // 2]))
    W = rng.normal(size=(d, n_classes))
    scores = X @ W
    scores[domain < 0] += X[domain < 0] @ rng.normal(size=(d, n_classes)) * 0.5
    truth = scores.argmax(axis=1)
    y = truth.astype(float)
    y[np.flatnonzero(domain < 0)[n_target_labels:]] = np.nan
    return X, y, truth, domain


# The mapper


@pytest.mark.parametrize("scale", [1.0, 0.3, 5.0])
def test_blocks(scale):
    X, domain = four_domains()
    mapper = FeatureAugmentation(scale).fit(X, sample_domain=domain)
    assert sorted(mapper.domains_.tolist()) == [-2, -1, 1, 7]
    assert (mapper.domains_[:2] > 0).all() and (mapper.domains_[2:] < 0).all()
    Z = mapper.transform(X, sample_domain=domain)
    np.testing.assert_array_equal(Z, by_hand(X, domain, mapper.domains_, scale))


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_kernel_identity(scale):
    """Inner products are doubled within a domain (c = 1) and kept between domains."""
    X, domain = four_domains()
    mapper = FeatureAugmentation(scale)
    Z = mapper.fit_transform(X, sample_domain=domain)
    same = domain[:, np.newaxis] == domain
    np.testing.assert_allclose(Z @ Z.T, (scale**2 + same) * (X @ X.T), atol=1e-12)


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csr_matrix])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_csr_stays_csr(container, dtype):
    X, domain = four_domains(d=6)
    X[np.abs(X) < 1] = 0
    X = X.astype(dtype)
    mapper = FeatureAugmentation(0.5)
    dense = mapper.fit_transform(X, sample_domain=domain)
    Z = mapper.fit_transform(container(X), sample_domain=domain)
    assert isinstance(Z, container) and Z.dtype == dtype == dense.dtype
    assert Z.nnz == 2 * np.count_nonzero(X)
    assert Z.has_sorted_indices
    np.testing.assert_array_equal(Z.toarray(), dense)


def test_unsorted_and_repeated_entries():
    rows = sparse.csr_array(
        (np.array([1.0, 2.0, 3.0, 4.0]), np.array([2, 0, 2, 1]), np.array([0, 3, 3, 4]))
    )
    domain = np.array([1, -1, -1])
    Z = FeatureAugmentation().fit_transform(rows, sample_domain=domain)
    expected = FeatureAugmentation().fit_transform(rows.toarray(), sample_domain=domain)
    np.testing.assert_array_equal(Z.toarray(), expected)


def test_many_columns_need_no_memory():
    """Blocks of 2^30 columns: beyond 32-bit column numbers, and only 4 entries."""
    X = sparse.csr_array(([1.0, 2.0], ([0, 1], [5, 2**30 - 1])), shape=(2, 2**30))
    place = skadapt.feature._feature_augmentation._augmented
    Z = place(X, np.array([0, 1]), 2, 1.0)
    assert Z.shape == (2, 3 * 2**30)
    assert Z.indices.tolist() == [5, 2**30 + 5, 2**30 - 1, 3 * 2**30 - 1]
    assert Z.data.tolist() == [1.0, 1.0, 2.0, 2.0]


def test_ids_are_names():
    X, domain = four_domains()
    names = {1: 90, 7: 3, -2: -1, -1: -50}
    other = np.array([names[k] for k in domain])
    first, second = FeatureAugmentation(), FeatureAugmentation()
    Z = first.fit_transform(X, sample_domain=domain)
    np.testing.assert_array_equal(second.fit_transform(X, sample_domain=other), Z)
    assert second.domains_.tolist() == [names[k] for k in first.domains_]


def test_unseen_domain_and_several_targets():
    X, domain = four_domains()
    mapper = FeatureAugmentation().fit(X, sample_domain=domain)
    for unseen in (2, 100, -3, -100):
        with pytest.raises(ValueError, match=f"not fitted on domain {unseen}: .*knows"):
            mapper.transform(X, sample_domain=unseen)
    with pytest.raises(ValueError, match=r"targets \[-2, -1\]: say which"):
        mapper.transform(X)
    one = np.where(domain < 0, -2, domain)
    mapper.fit(X, sample_domain=one)
    np.testing.assert_array_equal(mapper.transform(X), mapper.transform(X, -2))


def test_without_domains():
    X, _ = four_domains()
    with pytest.warns(skadapt.NoAdaptationWarning):
        mapper = FeatureAugmentation().fit(X)
    np.testing.assert_array_equal(mapper.transform(X, 3), np.hstack([X, X]))


def test_names_of_columns():
    X, domain = four_domains(d=2)
    mapper = FeatureAugmentation().fit(X, sample_domain=np.where(domain > 0, 4, -1))
    assert mapper.get_feature_names_out().tolist() == [
        *("shared_x0", "shared_x1", "domain4_x0", "domain4_x1"),
        *("domain-1_x0", "domain-1_x1"),
    ]
    assert mapper.get_feature_names_out(["a", "b"])[0] == "shared_a"


# Models on augmented rows


def ridge_parts(X, y, domain, alpha, scale=1.0):
    """Weights of the shared block, source and target, of a ridge regression."""
    mapper = FeatureAugmentation(scale)
    Z = mapper.fit_transform(X, sample_domain=domain)
    coef = Ridge(alpha, fit_intercept=False).fit(Z, y).coef_
    return coef.reshape(3, X.shape[1])


def test_one_domain_is_a_plain_model_with_half_the_penalty():
    X, _ = four_domains()
    y = X @ np.arange(5.0) + np.sin(X[:, 0])
    with pytest.warns(skadapt.NoAdaptationWarning):
        Z = FeatureAugmentation().fit_transform(X)
    augmented = Ridge(3.0, fit_intercept=False).fit(Z, y)
    plain = Ridge(1.5, fit_intercept=False).fit(X, y)
    np.testing.assert_allclose(
        augmented.coef_[:5] + augmented.coef_[5:], plain.coef_, atol=1e-10
    )


def test_equal_domains_have_equal_weights():
    X, _ = four_domains()
    y = X @ np.arange(5.0) + np.sin(X[:, 0])
    domain = np.repeat([1, -1], 90)
    _, source, target = ridge_parts(np.vstack([X, X]), np.tile(y, 2), domain, 2.0)
    np.testing.assert_allclose(source, target, atol=1e-10)


def test_scale_leads_from_separate_models_to_a_pooled_one():
    rng = np.random.default_rng(0)
    X, domain = rng.normal(size=(90, 4)), np.repeat([1, -1], [60, 30])
    y = X @ rng.normal(size=4) + (domain < 0) * (X @ rng.normal(size=4))
    shared, _, target = ridge_parts(X, y, domain, 2.0, scale=1e-4)
    alone = Ridge(2.0, fit_intercept=False).fit(X[domain < 0], y[domain < 0])
    np.testing.assert_allclose(1e-4 * shared + target, alone.coef_, atol=1e-5)
    # Weights of single domains cost c^2 times as much as those of all: with the latter
    # held at 2, nothing is left of the former.
    shared, _, target = ridge_parts(X, y, domain, 2.0 * 1e6, scale=1e3)
    pooled = Ridge(2.0, fit_intercept=False).fit(X, y)
    np.testing.assert_allclose(1e3 * shared, pooled.coef_, atol=1e-4)
    np.testing.assert_allclose(target, 0, atol=1e-4)


def test_it_learns_what_differs():
    """Where the rule of the target is another, pooling is wrong at once."""
    pooled, augmented = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X, domain = rng.normal(size=(1200, 10)), np.repeat([1, -1], 600)
        signs = np.where(np.arange(10) < 7, 1, -1)
        truth = np.where(domain > 0, X.sum(axis=1), X @ signs) > 0
        y = truth.astype(float)
        y[800:] = np.nan
        for scores, adapter in ((pooled, None), (augmented, FeatureAugmentation())):
            model = TransferClassifier(adapter=adapter, train_on="labeled")
            model.fit(X, y, sample_domain=domain)
            scores.append(model.score(X[800:], truth[800:]))
    assert np.mean(augmented) > np.mean(pooled) + 0.05


@pytest.mark.parametrize("n_labels", [30, 150])
def test_no_loss_where_domains_agree(n_labels):
    """Not of the mapper with 30 labels: twice the weights cost it 7 points there."""
    losses = {"mapper": [], "EA++": []}
    for seed in range(10):
        X, truth = make_classification(
            900, 6, n_informative=4, n_redundant=0, n_classes=3, random_state=seed
        )
        new, truth_new = X[300:], truth[300:]
        X, y = X[:300], truth[:300].astype(float)
        domain = np.repeat([1, -1], 150)
        y[150 + n_labels :] = np.nan
        augmented = TransferClassifier(None, FeatureAugmentation(), "labeled")
        floor, *scores = (
            model.fit(X, y, sample_domain=domain).score(new, truth_new)
            for model in (
                TransferClassifier(train_on="labeled"),
                augmented,
                EasyAdaptClassifier(),
            )
        )
        for name, score in zip(losses, scores):
            losses[name].append(floor - score)
    assert np.mean(losses["EA++"]) < 0.03
    if n_labels == 150:
        assert np.mean(losses["mapper"]) < 0.03


# EA++


def coregularised_objective(W, X, y, domain, C, weight, n_classes):
    """The objective of EA++ for logistic regression, domain by domain.

    W are the weights of the shared, the source and the target part, with a constant
    column; every unlabelled target row is charged the log-losses of all its classes
    under the difference of the two models.
    """
    d = X.shape[1] + 1
    shared, source, target = W.reshape(3, d, n_classes)
    X = np.hstack([X, np.ones((len(X), 1))])
    scores = np.where(
        (domain > 0)[:, np.newaxis], X @ (shared + source), X @ (shared + target)
    )

    def log_proba(F):
        F = F - F.max(axis=1, keepdims=True)
        return F - np.log(np.exp(F).sum(axis=1, keepdims=True))

    known = ~np.isnan(y)
    labels = y[known].astype(int)
    loss = -log_proba(scores[known])[np.arange(len(labels)), labels].sum()
    free = ~known & (domain < 0)
    loss -= weight * log_proba(X[free] @ (source - target)).sum()
    return 0.5 * (W**2).sum() + C * loss


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_ea_plus_plus_is_its_objective(n_classes, container):
    X, y, _, domain = two_domains(20, n=120, d=3, n_classes=n_classes)
    model = EasyAdaptClassifier(LogisticRegression(C=0.7, **TIGHT))
    model.set_params(unlabeled_weight=0.3).fit(container(X), y, sample_domain=domain)
    # For two classes scikit-learn has one vector w with the penalty w'w / 2; the
    # softmax has w / 2 and -w / 2, and half that penalty.
    C = 0.7 / (2 if n_classes == 2 else 1)
    arguments = (X, y, domain, C, 0.3, n_classes)
    best = minimize(
        coregularised_objective,
        np.zeros(3 * 4 * n_classes),
        arguments,
        options={"gtol": 1e-9, "maxiter": 2000},
    )
    W = best.x.reshape(3, 4, n_classes)
    if n_classes == 2:
        found = model.estimator_.coef_.reshape(3, 4)
        np.testing.assert_allclose(found, W[..., 1] - W[..., 0], atol=1e-4)
    else:
        found = model.estimator_.coef_.reshape(3, 3, 4).transpose(1, 2, 0)
        np.testing.assert_allclose(found, W, atol=1e-4)
        mine = coregularised_objective(found.ravel(), *arguments)
        assert mine == pytest.approx(best.fun, rel=1e-8)


def test_no_weight_is_feature_augmentation():
    X, y, _, domain = two_domains(30)
    model = EasyAdaptClassifier(LogisticRegression(**TIGHT), unlabeled_weight=0)
    model.fit(X, y, sample_domain=domain)
    with_constant = np.hstack([X, np.ones((len(X), 1))])
    plain = TransferClassifier(
        LogisticRegression(fit_intercept=False, **TIGHT),
        FeatureAugmentation(),
        train_on="labeled",
    ).fit(with_constant, y, sample_domain=domain)
    expected = plain.predict_proba(with_constant, domain)
    np.testing.assert_allclose(model.predict_proba(X, domain), expected, atol=1e-8)


def test_heavy_weight_makes_the_models_agree():
    X, y, _, domain = two_domains(30)
    gaps = []
    for weight in (0.0, 0.1, 1e6):
        model = EasyAdaptClassifier(unlabeled_weight=weight)
        model.fit(X, y, sample_domain=domain)
        free = np.isnan(y)
        scores = [model.decision_function(X[free], k) for k in (1, -1)]
        gaps.append(np.abs(scores[0] - scores[1]).max())
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-3 * gaps[0]


def test_class_shares_are_not_pulled_to_equal():
    """With an intercept in common the asked rows would draw it to 0."""
    rng = np.random.default_rng(0)
    X, domain = rng.normal(size=(2000, 3)), np.repeat([1, -1], [200, 1800])
    y = (rng.random(2000) < 0.9).astype(float)  # nine of ten, whatever X says
    y[260:] = np.nan
    model = EasyAdaptClassifier(unlabeled_weight=1.0).fit(X, y, sample_domain=domain)
    assert model.predict_proba(X[260:])[:, 1].mean() == pytest.approx(0.9, abs=0.06)


def test_every_source_is_compared_with_every_target():
    """One row for each pair, of the weight of its unlabelled row."""
    X, domain = four_domains()
    y = np.where(np.arange(90) % 3, 1.0, 0.0)
    y[(domain < 0) & (np.arange(90) % 2 == 0)] = np.nan
    seen = {}

    class Recorder(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            seen.update(X=X, y=y, weights=sample_weight)
            return super().fit(X, y, sample_weight)

    weights = np.linspace(0.5, 1.5, 90)
    model = EasyAdaptClassifier(Recorder(), unlabeled_weight=0.2)
    model.fit(X, y, weights, sample_domain=domain)
    free = np.flatnonzero(np.isnan(y))
    n_known = 90 - len(free)
    asked = seen["X"][n_known:].reshape(2, 2, len(free), 5, 6)  # class, source, row
    given = seen["weights"][n_known:].reshape(2, 2, len(free))
    np.testing.assert_allclose(given, np.tile(0.2 * weights[free], (2, 2, 1)))
    assert set(seen["y"][n_known : n_known + 2 * len(free)]) == {0}
    with_constant = np.hstack([X[free], np.ones((len(free), 1))])
    order = model.domains_.tolist()
    for k in range(2):
        expected = np.zeros((len(free), 5, 6))
        expected[:, 1 + k] = with_constant
        block = [1 + order.index(t) for t in domain[free]]
        expected[np.arange(len(free)), block] = -with_constant
        for label in range(2):
            np.testing.assert_array_equal(asked[label, k], expected)


def test_unlabelled_source_rows_are_left_out():
    X, y, _, domain = two_domains(30)
    y[np.flatnonzero(domain > 0)[:40]] = np.nan
    model = EasyAdaptClassifier(LogisticRegression(**TIGHT))
    model.fit(X, y, sample_domain=domain)
    kept = ~np.isnan(y) | (domain < 0)
    again = EasyAdaptClassifier(LogisticRegression(**TIGHT))
    again.fit(X[kept], y[kept], sample_domain=domain[kept])
    np.testing.assert_allclose(
        model.estimator_.coef_, again.estimator_.coef_, atol=1e-7
    )


def test_the_given_classifier_stays_as_it_is():
    X, y, _, domain = two_domains(30)
    given = LinearSVC(dual=False)
    model = EasyAdaptClassifier(given).fit(X, y, sample_domain=domain)
    assert given.fit_intercept and not model.estimator_.fit_intercept
    assert not hasattr(model, "predict_proba")
    assert model.score(X, two_domains(30)[2], sample_domain=domain) > 0.7


def test_refusals():
    X, y, _, domain = two_domains(30)
    with pytest.raises(ValueError, match="no parameter fit_intercept"):
        EasyAdaptClassifier(GaussianNB()).fit(X, y, sample_domain=domain)
    with pytest.raises(ValueError, match="KNeighborsClassifier"):
        EasyAdaptClassifier(KNeighborsClassifier()).fit(X, y, sample_domain=domain)
    X3, y3, _, domain3 = two_domains(30, n_classes=3)
    with pytest.raises(ValueError, match="one against the rest"):
        EasyAdaptClassifier(RidgeClassifier()).fit(X3, y3, sample_domain=domain3)
    EasyAdaptClassifier(RidgeClassifier(), unlabeled_weight=0).fit(
        X3, y3, sample_domain=domain3
    )
    with pytest.raises(ValueError, match="no labelled target row"):
        EasyAdaptClassifier().fit(
            X, np.where(domain > 0, y, np.nan), sample_domain=domain
        )
    with pytest.raises(ValueError, match="takes sample_domain itself"):
        EasyAdaptClassifier(TransferClassifier()).fit(X, y, sample_domain=domain)
