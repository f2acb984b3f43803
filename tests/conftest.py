"""Settings of all tests."""

import os
from pathlib import Path

import pytest

_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

# Before the first test module is imported: some look for their data then.
if _DATA.is_dir():
    os.environ.setdefault("SKADAPT_DATA", str(_DATA))


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread():
    """Small arrays on one thread.

    The BLAS pools of NumPy and SciPy wait actively for one another:
    ``check_estimator(TransferClassifier())`` takes 11 s with two threads and 0.9 s
    with one.
    """
    import scipy.linalg  # noqa: F401  only loaded pools can be limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield
