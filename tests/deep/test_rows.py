"""Rows as batches of tensors: their order, repetition, form and place."""

import numpy as np
import pytest
import torch

from skadapt.deep._rows import (
    ItemRows,
    Placement,
    TensorRows,
    canonical_rows,
    join,
    take,
)

CPU = torch.device("cpu")
SINGLE = Placement(CPU, torch.float32)


def _batches(rows, size=4):
    return list(rows.batches(torch.arange(len(rows)).split(size)))


# ------------------------------------------------------------ order and repetition


def test_order_does_not_depend_on_how_rows_are_stacked():
    rng = np.random.default_rng(0)
    X, codes = rng.integers(0, 2, (40, 3)).astype(np.float32), rng.integers(0, 2, 40)
    weights = rng.integers(1, 4, 40).astype(float)
    order = rng.permutation(40)
    for own in (None, weights, weights / 2):
        index, found = canonical_rows(X, codes, own)
        mixed = None if own is None else own[order]
        again, others = canonical_rows(X[order], codes[order], mixed)
        np.testing.assert_array_equal(X[index], X[order][again])
        np.testing.assert_array_equal(codes[index], codes[order][again])
        if found is not None:
            np.testing.assert_array_equal(found, others)


@pytest.mark.parametrize(
    "weights, repeats", [([1, 3, 2], True), ([1, 2.5, 2], False), ([1, 1, 29], False)]
)
def test_whole_weights_become_repeats_up_to_ten_in_the_mean(weights, repeats):
    X, weights = np.array([[0.0], [1.0], [2.0]]), np.array(weights, dtype=float)
    index, found = canonical_rows(X, np.zeros(3, dtype=int), weights)
    if repeats:
        assert found is None
        np.testing.assert_array_equal(np.bincount(index), weights)
    else:
        np.testing.assert_array_equal(found, weights[index])
        assert sorted(index) == [0, 1, 2]


def test_items_stand_in_the_order_of_their_names():
    items = ["b", "a", "c", "a"]
    index, weights = canonical_rows(items, np.array([0, 1, 0, 0]), None)
    assert index.tolist() == [3, 1, 0, 2]
    assert weights is None


def test_large_images_are_put_in_order_in_blocks():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (20, 3, 400, 400), dtype=np.uint8)
    direction = np.random.default_rng(0).standard_normal(X[0].size)
    keys = X.reshape(20, -1).astype(np.float64) @ direction
    index, _ = canonical_rows(X, np.zeros(20, dtype=int), None)
    np.testing.assert_array_equal(index, np.argsort(keys))


def test_parts_of_arrays_and_of_lists():
    X = np.arange(6).reshape(3, 2)
    np.testing.assert_array_equal(take(X, np.array([2, 0])), X[[2, 0]])
    assert take(["a", "b", "c"], np.array([2, 0])) == ["c", "a"]
    np.testing.assert_array_equal(join(X, X[:1]), X[[0, 1, 2, 0]])
    assert join(["a"], ["b"]) == ["a", "b"]


# -------------------------------------------------------------------------- tensors


def test_batches_are_the_rows():
    X = np.random.default_rng(0).normal(size=(10, 3))
    X.flags.writeable = False
    rows = TensorRows(X, SINGLE)
    batches = _batches(rows)
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert torch.equal(torch.cat(batches), torch.from_numpy(X.astype(np.float32)))
    index = torch.tensor([7, 0, 7])
    assert torch.equal(rows.batch(index), torch.cat(batches)[index])


def test_large_rows_are_looked_up_batch_by_batch(monkeypatch):
    X = np.random.default_rng(0).normal(size=(10, 3))
    expected = _batches(TensorRows(X, SINGLE))
    monkeypatch.setattr("skadapt.deep._rows._GATHERED", 10)
    for first, second in zip(_batches(TensorRows(X, SINGLE)), expected, strict=True):
        assert torch.equal(first, second)


def test_rows_are_a_copy():
    X = np.zeros((3, 2), dtype=np.float32)
    rows = TensorRows(X, SINGLE)
    X[:] = 1
    assert not rows.batch(torch.arange(3)).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bytes_with_channels_are_images(dtype):
    X = np.random.default_rng(0).integers(0, 256, (5, 2, 3, 3), dtype=np.uint8)
    mean, deviation = np.array([0.4, 0.5]), np.array([0.2, 0.3])
    placement = Placement(CPU, dtype, normalize=(mean, deviation))
    expected = (X / 255 - mean[:, None, None]) / deviation[:, None, None]
    for rows in (TensorRows(X, placement), ItemRows(list(X), lambda x: x, placement)):
        found = rows.batch(torch.arange(5))
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert TensorRows(X, placement).rows.dtype == torch.uint8
    # Two axes of bytes are columns.
    columns = TensorRows(X[:, 0, 0], SINGLE).batch(torch.arange(5))
    np.testing.assert_array_equal(columns, X[:, 0, 0])


def test_layout():
    placement = Placement(CPU, torch.float32, channels_last=True)
    found = placement.place(torch.zeros(2, 3, 4, 4))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert placement.place(torch.zeros(2, 3)).is_contiguous()


# ---------------------------------------------------------------------------- items


@pytest.mark.parametrize("n_jobs", [None, 3])
def test_items_of_any_length_are_filled_with_0(n_jobs):
    items = [[1, 2], [3], [4, 5, 6], [7], [8]]
    rows = ItemRows(items, np.array, SINGLE, n_jobs)
    assert len(rows) == 5
    found = [batch.tolist() for batch in _batches(rows, 2)]
    assert found == [[[1, 2], [3, 0]], [[4, 5, 6], [7, 0, 0]], [[8]]]
    assert rows.batch(torch.tensor([4, 1])).tolist() == [[8], [3]]


def test_items_may_become_tensors_but_of_one_size():
    rows = ItemRows([2, 3], lambda n: torch.ones(n, n), SINGLE)
    assert rows.batch(torch.tensor([1])).shape == (1, 3, 3)
    with pytest.raises(ValueError, match=r"shapes \[\(2, 2\), \(3, 3\)\]: let it give"):
        rows.batch(torch.arange(2))


def test_errors_of_preprocess_come_through():
    rows = ItemRows(["1", "x"], float, SINGLE, 2)
    with pytest.raises(ValueError, match="could not convert string"):
        _batches(rows)
