"""Networks are an extra: without it `test_import` alone is collected, and says so."""

from importlib.util import find_spec

import numpy as np
import pytest

from skadapt import stack_domains

collect_ignore_glob = []
if not all(find_spec(name) for name in ("torch", "skorch", "safetensors")):
    collect_ignore_glob = ["test_[!i]*.py"]


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread():
    """Small networks are faster on one thread, and give the same bits everywhere."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def rotated_blobs():
    """Three classes on a circle; in the target, turned by an angle."""

    def draw(seed, n=200, angle=50, shift=0.0):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 3, 2 * n)
        turn = 2 * np.pi * y / 3
        turn[n:] += np.deg2rad(angle)
        X = 3 * np.column_stack([np.cos(turn), np.sin(turn)])
        X += 0.5 * rng.normal(size=X.shape)
        X[n:] += shift
        return (*stack_domains(X[:n], y[:n], X[n:]), y)

    return draw


@pytest.fixture
def mean_scores(rotated_blobs):
    """Accuracy on the target, without adaptation and with it."""

    def score(model, trade_offs=(0.0, 1.0), draw=rotated_blobs, n_seeds=5):
        scores = np.zeros((n_seeds, len(trade_offs)))
        for seed in range(n_seeds):
            X, y, ids, truth = draw(seed)
            for column, trade_off in enumerate(trade_offs):
                model.set_params(random_state=seed, trade_off=trade_off)
                model.fit(X, y, sample_domain=ids)
                scores[seed, column] = model.score(X[ids < 0], truth[ids < 0])
        return scores.mean(axis=0)

    return score


@pytest.fixture
def gradients():
    """Gradients by torch of a loss of float64 tensors."""
    import torch

    def of(loss, *arrays):
        tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
        return [g.numpy() for g in torch.autograd.grad(loss(*tensors), tensors)]

    return of


@pytest.fixture
def finite_differences():
    """Central differences of a function of arrays."""

    def of(function, *arrays, step=1e-6):
        found = []
        for k, array in enumerate(arrays):
            gradient = np.zeros_like(array)
            for at in np.ndindex(array.shape):
                ends = []
                for sign in (1, -1):
                    moved = array.copy()
                    moved[at] += sign * step
                    ends.append(function(*arrays[:k], moved, *arrays[k + 1 :]))
                gradient[at] = (ends[0] - ends[1]) / (2 * step)
            found.append(gradient)
        return found

    return of
