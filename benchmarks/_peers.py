"""Other transfer libraries, each run in its own environment beside skadapt.

`make peers` installs the environments; `benchmarks/peers/worker.py` holds the
tasks. A benchmark opens a peer once and alternates its own calls with the peer's:

    with open_peer("skada") as skada:
        if skada is None:
            print(absence("skada"))
        else:
            outputs, seconds, info = skada.run(
                "kmm_skada", {"Xs": Xs, "Xt": Xt}, gamma=0.05
            )
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
WORKER = HERE / "peers" / "worker.py"
HOME = HERE.parent / ".peers"

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


class PeerError(RuntimeError):
    """The peer answered with an error, or its process ended."""


class PeerTimeout(PeerError):
    """The peer took longer than the run's limit and was killed."""


def interpreter(name, home=HOME):
    """Path of the python of the environment of peer ``name``."""
    return Path(home) / name / "bin" / "python"


def absence(name, home=HOME):
    """Sentence that says that peer ``name`` is not installed, or None if it is."""
    if interpreter(name, home).exists():
        return None
    return f"{name}: not installed (make peers)"


@contextlib.contextmanager
def open_peer(name, *, threads=None, home=HOME):
    """Start the worker of peer ``name`` for the length of a ``with`` block.

    Parameters
    ----------
    name : str
        Name of the environment, such as "skada" or "adapt".

    threads : int, default=None
        Number of threads of the peer's numerical libraries; None takes this
        process's ``OMP_NUM_THREADS`` and, where that is unset, leaves both sides
        to their defaults.

    home : path, default=HOME
        Folder of the environments.

    Yields
    ------
    peer : Peer or None
        None when the environment is absent; `absence` then has the sentence.
    """
    if absence(name, home):
        yield None
        return
    peer = Peer(name, interpreter(name, home), threads=threads)
    try:
        yield peer
    finally:
        peer.close()


class Peer:
    """A worker process in another python environment.

    The process starts with the first `run`, and again after one that killed it.

    Parameters
    ----------
    name : str
        What errors call the peer.

    python : path
        Interpreter that runs the worker.

    threads : int, default=None
        As in `open_peer`.

    environment : dict, default=None
        Environment variables to add for the worker.
    """

    def __init__(self, name, python, *, threads=None, environment=None):
        self.name = name
        self.python = python
        self.threads = threads
        self.environment = environment
        self._process = None
        self._folder = tempfile.TemporaryDirectory(prefix="peer-")

    def run(self, task, arrays, *, timeout=600.0, **params):
        """Run one task of the worker.

        Parameters
        ----------
        task : str
            Name of a task of the worker.

        arrays : dict of ndarray
            Arrays that the task takes, by name.

        timeout : float, default=600.0
            Seconds after which the worker is killed, its start included.

        **params : numbers, strings or None
            Parameters of the task.

        Returns
        -------
        outputs : dict of ndarray
            What the task computed.

        seconds : float
            Wall time of the calls that computed it.

        info : dict
            The rest of the answer: ``cpu_seconds``, ``versions``, and, where the
            system tells them, ``rss_mb`` and ``peak_rss_mb``; tasks may add more.

        Raises
        ------
        PeerTimeout
            If the time ran out.

        PeerError
            If the task failed or the worker ended.
        """
        deadline = time.monotonic() + timeout
        folder = Path(self._folder.name)
        given, made = folder / "given.npz", folder / "made.npz"
        np.savez(given, **arrays)
        made.unlink(missing_ok=True)
        request = {
            "task": task,
            "arrays": str(given),
            "params": params,
            "out": str(made),
        }
        reply = self._ask(json.dumps(request).encode() + b"\n", deadline, task)
        if "error" in reply:
            raise PeerError(f"{self.name}, {task}: {reply['error']}")
        with np.load(made, allow_pickle=False) as file:
            outputs = dict(file)
        return outputs, reply.pop("seconds"), reply

    def close(self):
        """End the worker and remove its files."""
        self._kill(grace=1.0)
        self._folder.cleanup()

    def _start(self):
        variables = os.environ | {"PYTHONNOUSERSITE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        variables.pop("PYTHONPATH", None)  # this side's modules are not the peer's
        threads = self.threads or os.environ.get("OMP_NUM_THREADS")
        if threads:
            variables |= dict.fromkeys(THREAD_VARIABLES, str(threads))
        # A session of its own lets a kill reach what the library itself started.
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [self.python, WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                env=variables | (self.environment or {}),
                start_new_session=True,
            )

    @property
    def _log(self):
        return Path(self._folder.name) / "log"

    def _ask(self, line, deadline, task):
        if self._process is None:
            self._start()
        try:
            self._process.stdin.write(line)
            return json.loads(self._read_line(deadline))
        except TimeoutError:
            self._kill()
            raise PeerTimeout(
                f"{self.name}, {task}: killed at its time limit"
            ) from None
        except (BrokenPipeError, EOFError):
            status = self._kill(grace=5.0)
            said = self._log.read_text(errors="replace").strip().rpartition("\n")[2]
            raise PeerError(
                f"{self.name}, {task}: the worker ended ({status}): {said}"
            ) from None
        except BaseException:
            # An interrupt leaves an answer on its way, which the next request
            # would take for its own.
            self._kill()
            raise

    def _read_line(self, deadline):
        answers = self._process.stdout.fileno()
        line = b""
        while not line.endswith(b"\n"):
            left = max(0.0, deadline - time.monotonic())
            if not select.select([answers], [], [], left)[0]:
                raise TimeoutError
            part = os.read(answers, 65536)
            if not part:
                raise EOFError
            line += part
        return line

    def _kill(self, grace=0.0):
        # The end of its input ends an idle worker, within the seconds of grace.
        process, self._process = self._process, None
        if process is None:
            return None
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=grace)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
        return process.wait()
