"""Networks are an extra: without it `test_import` alone is collected, and says so."""

from importlib.util import find_spec

import pytest

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
