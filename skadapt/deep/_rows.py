"""Rows of any form as batches of tensors on a device."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from joblib import effective_n_jobs
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import validate_data
from torch.nn.utils.rnn import pad_sequence

from skadapt.deep._devices import parameter_dtype

# Share of the free memory of a device that the rows may take.
_SHARE_OF_MEMORY = 0.5
# Mean of whole row weights up to which rows are repeated instead.
_REPEATS = 10
# Numbers of which a second copy, in the order of an epoch, is no matter.
_GATHERED = 2**22


class TensorRows:
    """An array of rows; it lies on the device if it takes at most half of its memory.

    Rows of uint8 with channels are images: they stay bytes, and become numbers in
    [0, 1] batch by batch.
    """

    def __init__(self, X, placement):
        self.placement = placement
        is_image = X.dtype == np.uint8 and X.ndim > 2
        self.scale = 255.0 if is_image else None
        # A copy, always: X may be read-only, and the caller's to overwrite.
        kept = torch.uint8 if is_image else placement.dtype
        rows = torch.from_numpy(np.array(X)).to(kept)
        self.rows = rows.to(placement.device) if placement.holds(rows) else rows

    @classmethod
    def of_tensor(cls, rows, placement):
        """Rows that are already what the network takes."""
        self = cls.__new__(cls)
        self.rows, self.placement, self.scale = rows, placement, None
        return self

    def __len__(self):
        return len(self.rows)

    def batch(self, index):
        """The rows of an index, as the network takes them."""
        index = index.to(self.rows.device, non_blocking=True)
        rows = self.rows.index_select(0, index)
        return self.placement.place(rows, self.scale)

    def batches(self, indices):
        """The rows of each index in turn."""
        if self.rows.numel() > _GATHERED:
            return map(self.batch, indices)
        # Small rows: one look-up for all batches, of which each is a view.
        rows = self.batch(torch.cat(list(indices)))
        return iter(rows.split([len(index) for index in indices]))


class ItemRows:
    """Items, such as texts or paths, that a callable turns into arrays, in threads.

    Arrays of one axis may differ in length (token numbers): they are filled with 0.
    While one batch is used the next one is made.
    """

    def __init__(self, items, preprocess, placement, n_jobs=None):
        self.items = items
        self.preprocess = preprocess
        self.placement = placement
        self.n_threads = effective_n_jobs(n_jobs)

    def __len__(self):
        return len(self.items)

    def batch(self, index):
        """The rows of an index, as the network takes them."""
        return self._stack([self._load(i) for i in index.tolist()])

    def batches(self, indices):
        """The rows of each index in turn; those of the next one are being made."""
        with ThreadPoolExecutor(self.n_threads) as pool:
            waiting = None
            for index in indices:
                following = [pool.submit(self._load, i) for i in index.tolist()]
                if waiting is not None:
                    yield self._stack([future.result() for future in waiting])
                waiting = following
            if waiting is not None:
                yield self._stack([future.result() for future in waiting])

    def _load(self, i):
        row = self.preprocess(self.items[i])
        if isinstance(row, torch.Tensor):
            return row
        return torch.from_numpy(np.array(row))

    def _stack(self, rows):
        shapes = {row.shape for row in rows}
        if len(shapes) == 1:
            stacked = torch.stack(rows)
        elif all(row.ndim == 1 for row in rows):
            stacked = pad_sequence(rows, batch_first=True)
        else:
            raise ValueError(
                f"preprocess gives arrays of the shapes {sorted(map(tuple, shapes))}: "
                "let it give all images one size."
            )
        is_image = stacked.dtype == torch.uint8 and stacked.ndim > 2
        return self.placement.place(stacked, 255.0 if is_image else None)


class Placement:
    """Where tensors go, and in which form: device, dtype, layout and normalisation."""

    def __init__(self, device, dtype, *, channels_last=False, normalize=None):
        self.device = device
        self.dtype = dtype
        self.channels_last = channels_last
        self.normalize = None
        if normalize is not None:
            if len(normalize) != 2:
                raise ValueError(
                    "normalize takes two entries, mean and standard deviation, got "
                    f"{len(normalize)}."
                )
            self.normalize = [
                torch.as_tensor(np.asarray(part, dtype=np.float64), dtype=dtype).to(
                    device
                )
                for part in normalize
            ]

    def holds(self, rows):
        """Whether rows fit the memory of the device."""
        if self.device.type != "cuda":
            return True
        free, _ = torch.cuda.mem_get_info(self.device)
        return rows.numel() * rows.element_size() <= _SHARE_OF_MEMORY * free

    def place(self, rows, scale=None):
        """A batch on the device, as the network takes it."""
        rows = rows.to(self.device, non_blocking=True)
        if scale is not None:
            rows = rows.to(self.dtype) / scale
        elif rows.is_floating_point():
            rows = rows.to(self.dtype)
        if self.normalize is not None:
            for part in self.normalize:
                if part.numel() not in (1, rows.shape[1]):
                    raise ValueError(
                        f"normalize has {part.numel()} channels, but the rows have "
                        f"{rows.shape[1]}: give one number each, or one a channel."
                    )
            mean, deviation = (
                part.reshape(-1, *[1] * (rows.ndim - 2)) for part in self.normalize
            )
            rows = (rows - mean) / deviation
        if self.channels_last and rows.ndim == 4:
            rows = rows.contiguous(memory_format=torch.channels_last)
        return rows


def canonical_rows(X, codes, weights):
    """Rows in an order of their own, as often as their weights say.

    What is drawn from them with a seed then depends neither on how they were stacked
    nor on whether a row is repeated or has the weight of as many: whole weights, of at
    most 10 in the mean, become repeats. Rows stand in the order of a projection onto
    one fixed random direction, items in that of their names.

    Returns
    -------
    index : ndarray of int
        The rows to take from X.
    weights : ndarray or None
        Their weights; None if all are 1.
    """
    own = np.ones(len(X)) if weights is None else weights
    if not isinstance(X, np.ndarray) or X.dtype.kind not in "fu":
        # A stable order for items that have none but by their text.
        order = np.array(
            sorted(range(len(X)), key=lambda i: (str(X[i]), codes[i], own[i])),
            dtype=int,
        )
    else:
        flat = X.reshape(len(X), -1)
        direction = np.random.default_rng(0).standard_normal(flat.shape[1])
        # Blocks: images of bytes become float64 for the product.
        step = max(1, 2**22 // flat.shape[1])
        keys = np.concatenate(
            [
                flat[start : start + step].astype(np.float64) @ direction
                for start in range(0, len(flat), step)
            ]
        )
        order = np.lexsort((own, codes, keys))
    if weights is None:
        return order, None
    weights = weights[order]
    if (weights == np.rint(weights)).all() and weights.sum() <= _REPEATS * len(weights):
        return np.repeat(order, weights.astype(int)), None
    return order, weights


def take(X, index):
    """Rows or items of an index."""
    return X[index] if isinstance(X, np.ndarray) else [X[i] for i in index]


def join(first, second):
    """Rows or items of both."""
    if isinstance(first, np.ndarray):
        return np.concatenate([first, second])
    return [*first, *second]


def check_network_rows(estimator, X, *, reset):
    """X as an array of numbers, or as a list of items for `preprocess`.

    Arrays may have more than two axes, the channels on axis 1. They keep double
    precision where the network that is given, or fitted, has it.
    """
    name = type(estimator).__name__
    if estimator.preprocess is not None:
        items = X if isinstance(X, np.ndarray) else list(X)
        if isinstance(X, str) or not len(items):
            raise ValueError(
                f"Found 0 sample(s), or one text, while {name} takes a sequence of "
                "them: wrap it in a list."
            )
        return items
    first = X[0] if isinstance(X, (list, tuple)) and len(X) else X
    if isinstance(first, str) or getattr(getattr(X, "dtype", None), "kind", "") in (
        "U",
        "T",
    ):
        raise ValueError(
            f"X holds strings: give {name} preprocess=..., a callable that makes an "
            "array of one of them."
        )
    if not reset and hasattr(X, "shape"):
        # What scikit-learn calls features is channels here.
        _check_axes(X.shape[1:], estimator._row_shape, name)
    X = validate_data(
        estimator,
        X,
        reset=reset,
        dtype=[np.float64, np.float32, np.uint8],
        allow_nd=True,
    )
    if not all(X.shape):
        raise ValueError(
            f"Found array with 0 feature(s) (shape={X.shape}) while a minimum of 1 is "
            f"required by {name}."
        )
    goes_on = not reset or getattr(estimator, "warm_start", False)
    network = getattr(estimator, "module_", None) if goes_on else None
    network = estimator.backbone if network is None else network
    if X.dtype == np.float64 and parameter_dtype(network) != torch.float64:
        # Beyond float32 numbers are infinite; what the networks see is checked.
        with np.errstate(over="ignore"):
            X = X.astype(np.float32)
        assert_all_finite(X, input_name="X", estimator_name=name)
    if reset:
        estimator._row_shape = X.shape[1:]
    else:
        _check_axes(X.shape[1:], estimator._row_shape, name)
    return X


def _check_axes(shape, known, name):
    """Refuse rows with other axes, or other channels, than those of `fit`."""
    if len(shape) < 2 and len(known) < 2:
        return
    if len(shape) != len(known):
        raise ValueError(
            f"X has rows of shape {shape}, but {name} was fitted on rows of shape "
            f"{known}."
        )
    if shape[0] != known[0]:
        raise ValueError(
            f"X has rows with {shape[0]} channels (of shape {shape}), but {name} was "
            f"fitted on rows with {known[0]} (of shape {known})."
        )
