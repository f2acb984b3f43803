"""The truths that the generators return, each checked by a second road."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm
from sklearn.linear_model import LogisticRegression

from skadapt.datasets import (
    make_concept_shift,
    make_covariate_shift,
    make_label_shift,
    make_rotation,
    make_scaling,
)

GENERATORS = [
    make_concept_shift,
    make_covariate_shift,
    make_label_shift,
    make_rotation,
    make_scaling,
]


def _assert_mean(values, expected, n_errors=4.5):
    """The mean of `values` is `expected`, up to `n_errors` standard errors."""
    error = values.std(axis=0) / np.sqrt(len(values))
    assert (np.abs(values.mean(axis=0) - expected) <= n_errors * error).all()


def _assert_covariance(rows, expected):
    """Mean products about the true mean, entry by entry."""
    rows = rows - rows.mean(axis=0)
    _assert_mean(rows[:, :, None] * rows[:, None, :], expected)


@pytest.mark.parametrize("make", GENERATORS)
def test_layout(make):
    data = make(30, 20, random_state=0)
    assert len(data.X) == len(data.y) == len(data.sample_domain) == 50
    assert data.X.dtype == np.float64
    assert data.y.dtype == np.int64
    assert data.sample_domain.dtype == np.int64
    np.testing.assert_array_equal(data.sample_domain, [1] * 30 + [-1] * 20)
    assert np.isfinite(data.X).all()
    assert set(data.y) == {0, 1}


@pytest.mark.parametrize("make", GENERATORS)
def test_same_seed_same_bits_and_no_global_state(make):
    before = np.random.get_state()
    first, again = make(40, 30, random_state=3), make(40, 30, random_state=3)
    from_state = make(40, 30, random_state=np.random.RandomState(3))
    other = make(40, 30, random_state=4)
    after = np.random.get_state()
    assert before[0] == after[0] and before[2:] == after[2:]
    np.testing.assert_array_equal(before[1], after[1])
    for key, value in first.items():
        np.testing.assert_array_equal(value, again[key])
        np.testing.assert_array_equal(value, from_state[key])
    assert not np.array_equal(first.X, other.X)


@pytest.mark.parametrize("make", GENERATORS)
def test_one_row_per_domain(make):
    assert make(1, 1, random_state=0).X.shape[0] == 2


# Covariate shift


@pytest.mark.parametrize(
    "n_features, shift, mean, scale",
    [
        (1, 0.5, [0.5], 1.0),
        (2, 1.0, [1.0, 0.0], 0.6),
        (3, [0.5, -1.0, 0.25], [0.5, -1.0, 0.25], 1.3),
    ],
)
def test_density_ratio_is_that_of_the_two_laws(n_features, shift, mean, scale):
    data = make_covariate_shift(
        20_000, 10_000, n_features, shift=shift, scale=scale, random_state=0
    )
    identity = np.eye(n_features)
    p_source = multivariate_normal(np.zeros(n_features), identity)
    p_target = multivariate_normal(mean, scale**2 * identity)
    np.testing.assert_allclose(
        data.density_ratio, p_target.pdf(data.X) / p_source.pdf(data.X), rtol=1e-10
    )
    np.testing.assert_allclose(
        data.log_density_ratio,
        p_target.logpdf(data.X) - p_source.logpdf(data.X),
        atol=1e-10,
    )
    # The rows follow the laws whose densities these are.
    source, target = data.sample_domain > 0, data.sample_domain < 0
    _assert_mean(data.X[source], 0.0)
    _assert_covariance(data.X[source], identity)
    _assert_mean(data.X[target], mean)
    _assert_covariance(data.X[target], scale**2 * identity)


@pytest.mark.parametrize("shift, scale", [(0.7, 0.9), (0.0, 0.5), ([0.3, 0.4], 1.2)])
def test_density_ratio_turns_source_means_into_target_means(shift, scale):
    data = make_covariate_shift(
        40_000, 10, shift=shift, scale=scale, noise=0.1, random_state=1
    )
    X, ratio = data.X[:40_000], data.density_ratio[:40_000]
    _assert_mean(ratio, 1.0)
    expected = shift if np.ndim(shift) else [shift, 0.0]
    _assert_mean(ratio[:, None] * X, expected)


def test_density_ratio_far_in_the_tail():
    data = make_covariate_shift(10, 10, shift=100.0, scale=1.0, random_state=0)
    assert np.isfinite(data.log_density_ratio).all()
    assert np.isinf(data.density_ratio[10:]).all()


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5])
def test_covariate_shift_keeps_one_labelling_rule(noise):
    data = make_covariate_shift(10_000, 10_000, 3, noise=noise, random_state=0)
    inside = data.X[:, 1] + 1 > data.X[:, 0] ** 2
    np.testing.assert_array_equal(
        data.labeling_probability, np.where(inside, 1 - noise, noise)
    )
    for domain in (1, -1):
        for side in (inside, ~inside):
            rows = (data.sample_domain == domain) & side
            _assert_mean(data.y[rows], data.labeling_probability[rows][0])


def test_covariate_shift_rule_with_one_feature():
    data = make_covariate_shift(200, 200, 1, random_state=0)
    np.testing.assert_array_equal(data.y, np.abs(data.X[:, 0]) < 1)


def test_scalar_shift_moves_the_first_column():
    scalar = make_covariate_shift(20, 20, 3, shift=2.0, random_state=0)
    array = make_covariate_shift(20, 20, 3, shift=[2.0, 0.0, 0.0], random_state=0)
    np.testing.assert_array_equal(scalar.X, array.X)
    np.testing.assert_array_equal(scalar.density_ratio, array.density_ratio)


def test_a_linear_model_has_to_choose_where_to_be_right():
    data = make_covariate_shift(4000, 4000, random_state=0)
    source, target = data.sample_domain > 0, data.sample_domain < 0
    Xs, ys, Xt, yt = data.X[source], data.y[source], data.X[target], data.y[target]
    plain = LogisticRegression().fit(Xs, ys).score(Xt, yt)
    weighted = LogisticRegression().fit(Xs, ys, data.density_ratio[source])
    ceiling = LogisticRegression().fit(Xt, yt).score(Xt, yt)
    assert plain < ceiling - 0.15
    assert weighted.score(Xt, yt) > ceiling - 0.02


# Label shift


def test_label_shift_priors_and_weights():
    priors_source, priors_target = [0.5, 0.3, 0.2], [0.1, 0.3, 0.6]
    data = make_label_shift(
        20_000,
        10_000,
        priors_source=priors_source,
        priors_target=priors_target,
        random_state=0,
    )
    np.testing.assert_array_equal(data.priors_source, priors_source)
    np.testing.assert_array_equal(data.priors_target, priors_target)
    np.testing.assert_allclose(data.class_weights, [0.2, 1.0, 3.0])
    one_hot = data.y[:, None] == np.arange(3)
    source, target = data.sample_domain > 0, data.sample_domain < 0
    _assert_mean(one_hot[source], priors_source)
    _assert_mean(one_hot[target], priors_target)
    # The weights carry source frequencies over to the target.
    _assert_mean(one_hot[source] * data.class_weights, priors_target)


def test_label_shift_keeps_the_law_inside_each_class():
    data = make_label_shift(20_000, 20_000, n_features=3, class_sep=1.5, random_state=0)
    np.testing.assert_allclose(data.class_means, [[-0.75, 0, 0], [0.75, 0, 0]])
    for domain in (1, -1):
        for k in (0, 1):
            rows = data.X[(data.sample_domain == domain) & (data.y == k)]
            _assert_mean(rows, data.class_means[k])
            _assert_covariance(rows, np.eye(3))


def test_label_shift_neighbouring_means_are_class_sep_apart():
    priors = [0.25] * 4
    data = make_label_shift(
        priors_source=priors, priors_target=priors, class_sep=3.0, random_state=0
    )
    np.testing.assert_allclose(data.class_means[:, 0], [-4.5, -1.5, 1.5, 4.5])


def test_label_shift_target_may_lack_a_class():
    data = make_label_shift(
        priors_source=[0.4, 0.3, 0.3], priors_target=[0.5, 0.5, 0.0], random_state=0
    )
    assert 2 in data.y[data.sample_domain > 0]
    assert 2 not in data.y[data.sample_domain < 0]
    assert data.class_weights[2] == 0


# Rotation


@pytest.mark.parametrize("angle", [0.0, 30.0, -45.0, 200.0])
def test_rotation_takes_the_source_law_to_the_target_law(angle):
    data = make_rotation(10_000, 10_000, angle=angle, noise=0.2, random_state=0)
    R = data.rotation
    np.testing.assert_allclose(R @ R.T, np.eye(2), atol=1e-15)
    np.testing.assert_allclose(np.linalg.det(R), 1.0)
    first_axis = np.exp(1j * np.deg2rad(angle))
    np.testing.assert_allclose(R[:, 0], [first_axis.real, first_axis.imag], atol=1e-15)
    source, target = data.sample_domain > 0, data.sample_domain < 0
    # Means of a half circle, less the centre of the pair; and the second moments of
    # one coordinate: 1/2 along, 1/2 - (2 / pi)^2 across, plus the noise.
    mean = np.array([-0.5, 2 / np.pi - 0.25])
    covariance = np.diag([0.5, 0.5 - 4 / np.pi**2]) + 0.04 * np.eye(2)
    for k, sign in ((0, 1), (1, -1)):
        rows = data.X[source & (data.y == k)]
        _assert_mean(rows, sign * mean)
        _assert_covariance(rows, covariance)
        rows = data.X[target & (data.y == k)]
        _assert_mean(rows, R @ (sign * mean))
        _assert_covariance(rows, R @ covariance @ R.T)


def test_rotation_without_noise_lies_on_the_moons():
    data = make_rotation(200, 200, angle=70, noise=0.0, random_state=0)
    X = data.X.copy()
    X[200:] = X[200:] @ data.rotation  # the inverse, the rows being the points
    X[data.y == 1] *= -1
    X += [0.5, 0.25]
    np.testing.assert_allclose(np.linalg.norm(X, axis=1), 1.0)
    assert (X[:, 1] >= -1e-12).all()


# Scaling


@pytest.mark.parametrize("n_features", [1, 3])
def test_scaling_maps_the_source_law_to_the_target_law(n_features):
    data = make_scaling(20_000, 20_000, n_features=n_features, random_state=0)
    covariance = np.eye(n_features) + 1.5**2 / n_features
    source, target = data.sample_domain > 0, data.sample_domain < 0
    for rows in (
        data.X[source],
        (data.X[target] - data.offset) / data.scale,
    ):
        _assert_mean(rows, 0.0)
        _assert_covariance(rows, covariance)
    # And the labels go with it: the best rule is the sign of the sum.
    back = (data.X[target] - data.offset) / data.scale
    for rows, y in ((data.X[source], data.y[source]), (back, data.y[target])):
        _assert_mean((rows.sum(axis=1) > 0) == y, norm.cdf(1.5))


def test_scaling_given_values_and_ranges():
    data = make_scaling(
        n_features=3, scale=[0.5, 1.0, 2.0], offset=np.arange(3), random_state=0
    )
    np.testing.assert_array_equal(data.scale, [0.5, 1.0, 2.0])
    np.testing.assert_array_equal(data.offset, [0.0, 1.0, 2.0])
    data = make_scaling(n_features=4, scale=2, offset=-1.0, random_state=0)
    np.testing.assert_array_equal(data.scale, [2.0] * 4)
    np.testing.assert_array_equal(data.offset, [-1.0] * 4)
    data = make_scaling(
        n_features=2000, scale=(0.1, 10.0), offset=(3, 4), random_state=0
    )
    assert data.scale.shape == data.offset.shape == (2000,)
    assert data.scale.min() > 0.0999 and data.scale.max() < 10.001
    assert data.offset.min() >= 3 and data.offset.max() <= 4
    # Uniform on the log scale: half of the factors shrink.
    _assert_mean(np.log10(data.scale), 0.0)
    _assert_mean(data.offset, 3.5)


def test_scaling_leaves_the_given_arrays_alone():
    given = np.array([1.0, 2.0])
    data = make_scaling(n_features=2, scale=given, offset=given, random_state=0)
    data.scale[0] = data.offset[0] = 9.0
    np.testing.assert_array_equal(given, [1.0, 2.0])


# Concept shift


@pytest.mark.parametrize("flip", [0.0, 0.3, 1.0])
def test_concept_shift_rules_agree_where_it_says(flip):
    data = make_concept_shift(10_000, 10_000, n_features=3, flip=flip, random_state=0)
    source, target = data.sample_domain > 0, data.sample_domain < 0
    source_rule = data.X[:, 1] > 0
    np.testing.assert_array_equal(data.y[source], source_rule[source])
    np.testing.assert_array_equal(
        data.y[target] == source_rule[target], data.agree[target]
    )
    np.testing.assert_array_equal(data.agree, data.X[:, 0] <= data.threshold)
    assert norm.sf(data.threshold) == pytest.approx(flip)
    for rows in (source, target):
        _assert_mean(data.agree[rows], 1 - flip)
        _assert_mean(data.X[rows], 0.0)
        _assert_covariance(data.X[rows], np.eye(3))


def test_concept_shift_noise():
    data = make_concept_shift(10_000, 10_000, noise=0.2, random_state=0)
    opposite = (data.sample_domain < 0) & ~data.agree
    rule = (data.X[:, 1] > 0) != opposite
    for domain in (1, -1):
        rows = data.sample_domain == domain
        _assert_mean(data.y[rows] == rule[rows], 0.8)


# Bad inputs


@pytest.mark.parametrize(
    "make, parameters, message",
    [
        (make_covariate_shift, {"n_source": 0}, "n_source"),
        (make_covariate_shift, {"n_target": 2.5}, "n_target"),
        (make_covariate_shift, {"scale": 0.0}, "scale"),
        (make_covariate_shift, {"scale": np.nan}, "scale"),
        (make_covariate_shift, {"noise": 0.6}, "noise"),
        (make_covariate_shift, {"shift": [1.0, 2.0, 3.0]}, r"shape \(2,\)"),
        (make_covariate_shift, {"shift": [1.0, np.inf]}, "shift must be finite"),
        (make_covariate_shift, {"shift": np.nan}, "shift must be finite"),
        (make_covariate_shift, {"shift": ["a", "b"]}, "shift must hold numbers"),
        (make_covariate_shift, {"random_state": "seed"}, "random_state"),
        (make_label_shift, {"priors_target": [1.0]}, "at least two"),
        (make_label_shift, {"priors_target": [[0.5, 0.5]]}, "at least two"),
        (make_label_shift, {"priors_target": ["a", "b"]}, "at least two"),
        (make_label_shift, {"priors_target": [0.5, 0.6]}, "sum 1"),
        (make_label_shift, {"priors_target": [1.5, -0.5]}, "non-negative"),
        (make_label_shift, {"priors_target": [np.nan, 0.5]}, "non-negative"),
        (make_label_shift, {"priors_target": [0.2, 0.3, 0.5]}, "2 classes and"),
        (make_label_shift, {"priors_source": [1.0, 0.0]}, "must be positive"),
        (make_label_shift, {"class_sep": -1.0}, "class_sep"),
        (make_rotation, {"angle": np.inf}, "angle"),
        (make_rotation, {"noise": -0.1}, "noise"),
        (make_scaling, {"scale": 0.0}, "scale must be positive"),
        (make_scaling, {"scale": (-1.0, 2.0)}, "scale must be positive"),
        (make_scaling, {"scale": (2.0, 1.0)}, "low > high"),
        (make_scaling, {"scale": (1.0, 2.0, 3.0)}, "range"),
        (make_scaling, {"scale": [1.0, 2.0]}, r"shape \(5,\)"),
        (make_scaling, {"offset": (0.0, np.inf)}, "offset must be finite"),
        (make_concept_shift, {"n_features": 1}, "n_features"),
        (make_concept_shift, {"flip": 1.1}, "flip"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(make, parameters, message):
    with pytest.raises(ValueError, match=message) as refusal:
        make(**parameters)
    assert "\n" not in str(refusal.value)
