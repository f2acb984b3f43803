"""The protocol between a benchmark and a peer, with this python as the peer's."""

import importlib.util
import sys
import time
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def _load(path):
    # By its path, because this folder is called benchmarks, too.
    spec = importlib.util.spec_from_file_location(f"loaded_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


peers = _load(BENCHMARKS / "_peers.py")


@pytest.fixture
def peer():
    peer = peers.Peer("here", sys.executable)
    yield peer
    peer.close()


def test_arrays_return_exactly_and_printing_does_no_harm(peer):
    rng = np.random.default_rng(0)
    given = {
        "double": rng.normal(size=(7, 3)),
        "single": rng.normal(size=5).astype(np.float32),
        "whole": np.arange(4),
    }
    for text in ("", '{"seconds": -1}\n'):
        made, seconds, info = peer.run("echo", given, text=text)
        assert made.keys() == given.keys()
        for name, array in given.items():
            assert made[name].dtype == array.dtype
            np.testing.assert_array_equal(made[name], array)
        assert 0 <= seconds < 60
        assert info["cpu_seconds"] >= 0
        assert info["versions"]["numpy"] == np.__version__


def test_time_covers_the_call_only(peer):
    start = time.perf_counter()
    _, seconds, info = peer.run("echo", {}, pause=0.2)
    assert 0.2 <= seconds < time.perf_counter() - start
    assert info["cpu_seconds"] < seconds
    if "rss_mb" in info:
        assert 0 < info["rss_mb"] <= info["peak_rss_mb"] + 1.0


def test_errors_are_sentences_and_the_worker_goes_on(peer):
    with pytest.raises(peers.PeerError, match=r"here, nothing: .*no task 'nothing'"):
        peer.run("nothing", {})
    with pytest.raises(peers.PeerError, match="TypeError"):
        peer.run("echo", {}, pause="long")
    process = peer._process
    assert peer.run("echo", {"a": np.ones(2)})[0]["a"].sum() == 2
    assert peer._process is process


@pytest.mark.parametrize(
    "library, task",
    [("skada", "kmm_skada"), ("adapt", "kmm_adapt")],
)
def test_absent_library_is_an_error_answer(tmp_path, library, task):
    # The stub makes the library absent on a machine that has it, too.
    (tmp_path / f"{library}.py").write_text(f"raise ImportError('no {library}')\n")
    peer = peers.Peer("here", sys.executable, environment={"PYTHONPATH": str(tmp_path)})
    X = np.random.default_rng(0).normal(size=(8, 2))
    try:
        with pytest.raises(peers.PeerError, match=f"lacks a library: no {library}"):
            peer.run(task, {"Xs": X, "Xt": X}, gamma=1.0)
    finally:
        peer.close()


def test_absent_environment(tmp_path):
    assert peers.absence("skada", home=tmp_path) == (
        "skada: not installed (make peers)"
    )
    with peers.open_peer("skada", home=tmp_path) as peer:
        assert peer is None


def test_environment_is_found_and_its_worker_ends_with_the_block(tmp_path):
    python = peers.interpreter("here", home=tmp_path)
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    assert peers.absence("here", home=tmp_path) is None
    with peers.open_peer("here", home=tmp_path) as peer:
        peer.run("echo", {})
        process = peer._process
        assert process.poll() is None
    assert process.poll() is not None


def test_time_limit_kills_and_the_next_run_starts_afresh(peer):
    peer.run("echo", {})
    process = peer._process
    with pytest.raises(peers.PeerTimeout, match="here, echo: killed at its time limit"):
        peer.run("echo", {}, pause=60.0, timeout=0.5)
    assert process.poll() is not None
    assert peer.run("echo", {"a": np.zeros(1)})[0]["a"].shape == (1,)


def test_worker_that_ended_is_an_error(tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho broken environment >&2\nexit 3\n")
    program.chmod(0o755)
    peer = peers.Peer("here", program)
    try:
        with pytest.raises(
            peers.PeerError, match=r"worker ended \(3\): broken environment"
        ):
            peer.run("echo", {})
    finally:
        peer.close()


def test_thread_count_reaches_the_worker(monkeypatch, tmp_path):
    # A numpy that cannot be imported reports what the worker was started with.
    (tmp_path / "numpy.py").write_text(
        "import os\n"
        "names = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS')\n"
        "raise SystemExit('threads ' + ' '.join(os.environ[n] for n in names))\n"
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    for threads, said in ((None, "threads 3 3"), (2, "threads 2 2")):
        peer = peers.Peer(
            "here",
            sys.executable,
            threads=threads,
            environment={"PYTHONPATH": str(tmp_path)},
        )
        try:
            with pytest.raises(peers.PeerError, match=said):
                peer.run("echo", {})
        finally:
            peer.close()


def test_each_task_is_warmed_up_once_on_other_arrays(tmp_path):
    worker = _load(peers.WORKER)
    seen = []

    @worker.task
    def record(X, n_components):
        def call():
            seen.append((X.shape, n_components))
            return X

        return call, lambda X: ({"X": X}, {})

    X = np.ones((30, 6))
    np.savez(tmp_path / "given.npz", X=X)
    request = {
        "task": "record",
        "arrays": str(tmp_path / "given.npz"),
        "params": {"n_components": 5},
        "out": str(tmp_path / "made.npz"),
    }
    warm = set()
    for _ in range(2):
        worker.answer(request, warm)
        np.testing.assert_array_equal(np.load(request["out"])["X"], X)
    assert seen == [((12, 4), 1), ((30, 6), 5), ((30, 6), 5)]
