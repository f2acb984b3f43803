"""The splitters against scikit-learn's folds of the rows that they hold out."""

import numpy as np
import pytest
from sklearn.model_selection import KFold, StratifiedKFold

from skadapt import DomainKFold, SourceKFold, TargetKFold

rng = np.random.default_rng(0)
IDS = rng.permutation(np.repeat([1, 3, -1], [30, 30, 40]))
X = rng.normal(size=(100, 3))
Y = (X[:, 0] - X[:, 1] ** 2 + 0.7 * rng.normal(size=100) > -0.6).astype(int)
SOURCE = IDS > 0
ROWS = np.flatnonzero(SOURCE)
XS, YS = X[SOURCE], Y[SOURCE]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("stratify", [False, True])
def test_source_folds_are_those_of_scikit_learn(stratify, shuffle):
    seed = 3 if shuffle else None
    folds = (StratifiedKFold if stratify else KFold)(
        4, shuffle=shuffle, random_state=seed
    )
    splitter = SourceKFold(4, stratify=stratify, shuffle=shuffle, random_state=seed)
    splits = list(splitter.split(X, Y, sample_domain=IDS))
    assert len(splits) == splitter.get_n_splits() == 4
    for (train, test), (_, fold) in zip(splits, folds.split(XS, YS)):
        np.testing.assert_array_equal(test, ROWS[fold])
        np.testing.assert_array_equal(train, np.setdiff1d(np.arange(len(X)), test))


@pytest.mark.parametrize("kind", ["float", "object"])
def test_unlabelled_rows_are_always_trained_on(kind):
    rng = np.random.default_rng(1)
    missing = rng.random(len(X)) < 0.3
    if kind == "float":
        y = np.where(missing, np.nan, Y)
    else:
        y = np.array(["no", "yes"], dtype=object)[Y]
        y[missing] = None
    held = np.concatenate([test for _, test in SourceKFold().split(X, y, IDS)])
    np.testing.assert_array_equal(np.sort(held), np.flatnonzero(SOURCE & ~missing))
    for train, test in SourceKFold(2, stratify=True).split(X, y, sample_domain=IDS):
        assert not set(train) & set(test)
        assert len(train) + len(test) == len(X)


def test_domains_come_as_groups_too():
    assert _same_splits(
        SourceKFold(3).split(X, Y, groups=IDS),
        SourceKFold(3).split(X, Y, sample_domain=IDS),
    )
    # Groups that are something else do no harm where the domains are named.
    assert _same_splits(
        SourceKFold(3).split(X, Y, groups=np.zeros(len(X)), sample_domain=IDS),
        SourceKFold(3).split(X, Y, sample_domain=IDS),
    )


def _same_splits(first, second):
    pairs = list(zip(first, second, strict=True))
    return pairs and all(
        np.array_equal(a, b) for one, two in pairs for a, b in zip(one, two)
    )


def test_splitter_without_labels_holds_out_every_source_row():
    held = np.concatenate([t for _, t in SourceKFold(7).split(X, sample_domain=IDS)])
    np.testing.assert_array_equal(held, ROWS)


def test_splitter_refuses():
    with pytest.raises(ValueError, match="groups=sample_domain"):
        next(SourceKFold().split(X, Y))
    with pytest.raises(ValueError, match="must not hold 0"):
        next(SourceKFold().split(X, Y, groups=(IDS > 0).astype(int)))
    with pytest.raises(ValueError, match="no labelled source row"):
        next(SourceKFold().split(X, np.full(len(X), np.nan), sample_domain=IDS))
    with pytest.raises(ValueError, match="pass y, or set stratify=False"):
        next(SourceKFold(stratify=True).split(X, sample_domain=IDS))
    with pytest.raises(ValueError, match="n_splits=99"):
        next(SourceKFold(99).split(X, Y, sample_domain=IDS))
    with pytest.raises(ValueError, match="inconsistent"):
        next(SourceKFold().split(X, Y[:-1], sample_domain=IDS))
    for bad, message in (
        ({"n_splits": 1}, "n_splits=2 or more"),
        ({"n_splits": 2.5}, "folds must be of Integral type"),
        ({"random_state": 0}, "shuffle=True"),
    ):
        with pytest.raises(ValueError, match=message):
            SourceKFold(**bad)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("stratify", [False, True])
def test_target_folds_are_source_folds_of_the_mirrored_problem(stratify, shuffle):
    """What holds for the one splitter holds for the other, with the signs swapped."""
    missing = np.random.default_rng(2).random(len(X)) < 0.3
    y = np.where(missing, np.nan, Y)
    options = {
        "stratify": stratify,
        "shuffle": shuffle,
        "random_state": 3 if shuffle else None,
    }
    target = list(TargetKFold(3, **options).split(X, y, sample_domain=IDS))
    assert _same_splits(target, SourceKFold(3, **options).split(X, y, groups=-IDS))
    held = np.concatenate([test for _, test in target])
    np.testing.assert_array_equal(np.sort(held), np.flatnonzero(~SOURCE & ~missing))
    for train, _ in target:
        assert set(ROWS) <= set(train), "every source row is trained on"
    with pytest.raises(ValueError, match="no labelled target row"):
        next(TargetKFold().split(X, np.where(SOURCE, Y, np.nan), sample_domain=IDS))


def test_splitter_is_shown_with_its_parameters():
    assert repr(SourceKFold(3, stratify=True)) == (
        "SourceKFold(n_splits=3, random_state=None, shuffle=False, stratify=True)"
    )


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("stratify", [False, True])
def test_domain_folds_are_those_of_scikit_learn_on_either_side(stratify, shuffle):
    options = {"shuffle": shuffle, "random_state": 3 if shuffle else None}
    missing = np.random.default_rng(2).random(len(X)) < 0.3
    y = np.where(missing, np.nan, Y)
    labelled = np.flatnonzero(SOURCE & ~missing)
    target = np.flatnonzero(~SOURCE)
    splitter = DomainKFold(4, stratify=stratify, **options)
    splits = list(splitter.split(X, y, sample_domain=IDS))
    assert len(splits) == splitter.get_n_splits() == 4
    folds = (StratifiedKFold if stratify else KFold)(4, **options)
    expected = zip(
        folds.split(labelled, Y[labelled]), KFold(4, **options).split(target)
    )
    for (train, test), ((_, of_source), (_, of_target)) in zip(splits, expected):
        held = np.union1d(labelled[of_source], target[of_target])
        np.testing.assert_array_equal(test, held)
        np.testing.assert_array_equal(train, np.setdiff1d(np.arange(len(X)), held))
    assert _same_splits(splitter.split(X, y, groups=IDS), splits)


def test_domain_folds_do_not_look_at_target_labels_nor_at_the_numbers_of_domains():
    splits = list(DomainKFold(3, stratify=True).split(X, Y, sample_domain=IDS))
    other = np.where(SOURCE, Y, 9 - Y)
    missing = np.where(SOURCE, Y, np.nan)
    ids = np.where(SOURCE, 7, np.where(X[:, 0] > 0, -2, -5))
    for y, domains in ((other, IDS), (missing, IDS), (Y, ids)):
        found = DomainKFold(3, stratify=True).split(X, y, sample_domain=domains)
        assert _same_splits(found, splits)


def test_domain_folds_hold_every_row_out_once_in_proportion():
    tests = [test for _, test in DomainKFold(7).split(X, Y, sample_domain=IDS)]
    np.testing.assert_array_equal(np.sort(np.concatenate(tests)), np.arange(len(X)))
    for test in tests:
        assert np.count_nonzero(SOURCE[test]) in (60 // 7, 60 // 7 + 1)
        assert np.count_nonzero(~SOURCE[test]) in (40 // 7, 40 // 7 + 1)


@pytest.mark.parametrize("kind", ["float", "object"])
def test_domain_folds_take_unlabelled_rows_for_target_rows(kind):
    if kind == "float":
        y = np.where(SOURCE, Y, np.nan)
    else:
        y = np.array(["no", "yes"], dtype=object)[Y]
        y[~SOURCE] = None
    assert _same_splits(
        DomainKFold(3).split(X, y), DomainKFold(3).split(X, y, sample_domain=IDS)
    )


def test_domain_folds_refuse():
    for y in (None, Y):
        with pytest.raises(ValueError, match="leave the target rows unlabelled in y"):
            next(DomainKFold().split(X, y))
    with pytest.raises(ValueError, match="no target row"):
        next(DomainKFold().split(X, Y, sample_domain=np.ones(len(X), dtype=int)))
    with pytest.raises(ValueError, match="no labelled source row"):
        next(DomainKFold().split(X, np.full(len(X), np.nan)))
    with pytest.raises(ValueError, match="3 target rows do not make n_splits=5"):
        next(DomainKFold().split(XS, YS, sample_domain=np.repeat([1, -1], [57, 3])))
    with pytest.raises(ValueError, match="pass y, or set stratify=False"):
        next(DomainKFold(stratify=True).split(X, sample_domain=IDS))
    with pytest.raises(ValueError, match="inconsistent"):
        next(DomainKFold().split(X, Y[:-1], sample_domain=IDS))
    with pytest.raises(ValueError, match="n_splits=2 or more"):
        DomainKFold(1)
