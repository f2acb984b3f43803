"""skada's scorers on given predictions, against their formulas."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KernelDensity

ROOT = Path(__file__).resolve().parents[2]
N, M, K, C = 70, 55, 3, 4


@pytest.fixture(scope="module")
def peer():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        from benchmarks._peers import absence, open_peer

        if absence("skada"):
            pytest.skip(absence("skada"))
        with open_peer("skada", threads=1) as peer:
            yield peer


@pytest.fixture(scope="module")
def skada_scores():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        from benchmarks._peer_scorers import skada_scores

        yield skada_scores


@pytest.fixture(scope="module")
def case():
    """Arguments of one call; source and target rows are interleaved."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N + M, 5))
    sample_domain = rng.permutation(np.repeat([3, -7], [N, M]))
    X[sample_domain < 0] += 0.4
    y = rng.integers(C, size=N + M)
    one, other = rng.normal(size=(N + M, 3)), rng.normal(size=(N + M, 6))
    one[sample_domain < 0] += 0.7
    target = rng.dirichlet(np.full(C, 0.5), size=(K, M))
    # Candidate 1 never predicts the last class, candidate 2 predicts one only.
    target[1, :, -1] = 0
    target[2] = [0.1, 0.2, 0.6, 0.1]
    reverse = rng.integers(C - 1, size=(K, N))
    reverse[2] = 2
    mixed = rng.dirichlet(np.full(C, 0.5), size=(K, M))
    partner = rng.permutation(M)
    alone = partner == np.arange(M)
    assert alone.any()
    mixed[:, alone] = target[:, alone]
    return {
        "X": X,
        "y": y,
        "sample_domain": sample_domain,
        "held_out": rng.dirichlet(np.full(C, 0.5), size=(K, N)),
        "target": target,
        "mixed": mixed,
        "partner": partner,
        "reverse": reverse,
        "maps": [one, other, one],
    }


@pytest.fixture(scope="module")
def answer(peer, skada_scores, case):
    scores, failures = skada_scores(peer, **case)
    assert failures == {}
    return scores


def test_all_scorers_answer(answer):
    assert set(answer) == {
        "ImportanceWeightedScorer",
        "PredictionEntropyScorer",
        "SoftNeighborhoodDensity",
        "MaNoScorer",
        "DeepEmbeddedValidation",
        "MixValScorer",
        "CircularValidation",
    }
    for name, values in answer.items():
        assert values.shape == (K,) and np.isfinite(values).all(), name


def test_scores_of_target_probabilities(answer, case):
    P = case["target"]
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(P > 0, P * np.log(P), 0.0)
    # A mean over rows and classes, so that it is 1 / C of the mean entropy.
    np.testing.assert_allclose(
        answer["PredictionEntropyScorer"], terms.mean(axis=(1, 2)), rtol=1e-12
    )
    np.testing.assert_allclose(
        answer["MaNoScorer"], (P**4).mean(axis=(1, 2)) ** 0.25, rtol=1e-12
    )
    for j in range(K):
        rows = P[j] / np.linalg.norm(P[j], axis=1, keepdims=True)
        near = rows @ rows.T / 0.05
        np.fill_diagonal(near, -20.0)
        near = np.exp(near - near.max(axis=1, keepdims=True))
        near /= near.sum(axis=1, keepdims=True)
        expected = -(near * np.log(near)).sum(axis=1).mean()
        assert answer["SoftNeighborhoodDensity"][j] == pytest.approx(expected)


def test_importance_weights_are_kernel_densities(answer, case):
    source = case["sample_domain"] > 0
    Xs, Xt = case["X"][source], case["X"][~source]
    weights = np.exp(
        KernelDensity().fit(Xt).score_samples(Xs)
        - KernelDensity().fit(Xs).score_samples(Xs)
    )
    right = case["held_out"].argmax(axis=2) == case["y"][source]
    np.testing.assert_allclose(
        answer["ImportanceWeightedScorer"], right @ weights / weights.sum()
    )


def test_mixval_is_the_mean_of_two_shares(answer, case):
    for j in range(K):
        first = case["target"][j].argmax(axis=1)
        same = first == first[case["partner"]]
        right = case["mixed"][j].argmax(axis=1) == first
        shares = [right[mask].mean() for mask in (same, ~same) if mask.any()]
        assert answer["MixValScorer"][j] == pytest.approx(np.mean(shares))


def test_circular_validation_takes_the_reverse_model(answer, case):
    y = case["y"][case["sample_domain"] > 0]
    with np.errstate(all="ignore"):
        expected = [balanced_accuracy_score(y, given) for given in case["reverse"]]
    np.testing.assert_allclose(answer["CircularValidation"], expected)


def test_embedded_validation(answer, case):
    source = case["sample_domain"] > 0
    y = case["y"][source]
    for j in range(K):
        columns = case["maps"][j]
        train, held = train_test_split(
            np.arange(N), test_size=0.33, random_state=np.random.RandomState(0)
        )
        Zs, Zt = columns[source], columns[~source]
        labels = np.repeat([1, 0], [len(train), M])
        model = LogisticRegression().fit(np.r_[Zs[train], Zt], labels)
        odds = np.exp(-model.decision_function(Zs[held]))
        w = len(train) / M * odds
        loss = -np.log(case["held_out"][j][held, y[held]])
        # skada 0.6.0 multiplies weights (n, 1) by losses (n,), which are then all
        # products: the mean is that of the weights times that of the losses, and the
        # covariance that of the first two columns, loss 1 times w and loss 2 times w.
        eta = -loss[0] * loss[1]
        risk = np.mean(w) * np.mean(loss) + eta * np.mean(w) - eta
        assert answer["DeepEmbeddedValidation"][j] == pytest.approx(-risk, rel=1e-6)


def test_target_labels_change_nothing(peer, skada_scores, case, answer):
    y = case["y"].copy()
    target = case["sample_domain"] < 0
    y[target] = (y[target] + 1) % C
    again, _ = skada_scores(peer, **case | {"y": y})
    for name, values in answer.items():
        np.testing.assert_array_equal(again[name], values)


def test_what_is_not_given_is_left_out(peer, skada_scores, case):
    some = {"X", "y", "sample_domain", "held_out", "target"}
    scores, failures = skada_scores(peer, **{name: case[name] for name in some})
    assert failures == {}
    assert not {"MixValScorer", "CircularValidation", "DeepEmbeddedValidation"} & set(
        scores
    )


def test_a_failure_is_a_sentence_and_nan(peer, skada_scores, case):
    reverse = case["reverse"].copy()
    reverse[1, 0] = C - 1  # no target row got this class from candidate 1
    scores, failures = skada_scores(peer, **case | {"reverse": reverse})
    assert np.isnan(scores["CircularValidation"]).tolist() == [False, True, False]
    assert set(failures) == {"CircularValidation"}
    assert "candidate 1: reverse holds a class" in failures["CircularValidation"]
