"""Commands of tests in forks of an interpreter that has imported what takes long.

To import MLflow, torch and anomalib takes eight seconds of computing, more than what most tests' commands do. Each
command is a process of its own as ever: own memory, folder, environment and end. Prefect is not imported beforehand,
since it reads settings from the environment when it is.
"""

import array
import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_PRELOADED = (
    "pipelines.training.train",
    "pipelines.training.fitting",
    "pipelines.tracking.store",
    "mlflow.pyfunc",
    "nncf",
    "anomalib.models",
)
_SECONDS = 600  # that a command may take
_MOST = 2**20  # bytes of a request


class Said(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


class Forks:
    """An interpreter that forks a process for each call; it ends with the process that made it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forked", str(theirs.fileno())],
                cwd=Path(__file__).parents[1],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._socket = ours
        atexit.register(self.close)

    def close(self) -> None:
        self._socket.close()
        self._process.wait(timeout=30)

    def call(self, folder: Path, words: tuple[str, ...], environment: Mapping[str, str], before: str) -> Said:
        """Run `knotwatch WORDS` in a folder, once the Python of `before` was run in its process.

        Returns:
            The exit code, negative for a signal, and what was written.

        Raises:
            TimeoutError: If it has not ended after ten minutes; it is killed.
        """
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = self.start(folder, words, environment, before, out.fileno(), err.fileno())
            try:
                code = process.wait(_SECONDS)
            except TimeoutError:
                process.kill()
                raise
            return Said(code, *(_read(file.fileno()) for file in (out, err)))

    def start(
        self, folder: Path, words: tuple[str, ...], environment: Mapping[str, str], before: str, out: int, err: int
    ) -> "Forked":
        """Start it as `call` does, with open files for what it writes; they may be closed afterwards."""
        request = json.dumps({
            "folder": str(folder), "words": words, "environment": dict(environment), "before": before
        }).encode()  # fmt: skip
        answer, theirs = socket.socketpair()
        with theirs:
            files = array.array("i", [theirs.fileno(), out, err])
            length = len(request).to_bytes(4, "big")
            self._socket.sendmsg([length], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
            self._socket.sendall(request)
        return Forked(answer)


class Forked:
    """A process that was started, as `subprocess.Popen` shows one."""

    def __init__(self, answer: socket.socket) -> None:
        self._answer = answer
        self.pid = int.from_bytes(answer.recv(4), "big")
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._answer], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; raise TimeoutError where that takes longer than `timeout` seconds."""
        if self.returncode is None:
            self._answer.settimeout(timeout)
            self.returncode = int.from_bytes(self._answer.recv(4), "big", signed=True)
            self._answer.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _read(file: int) -> str:
    os.lseek(file, 0, os.SEEK_SET)
    with os.fdopen(os.dup(file), encoding="utf-8", errors="replace") as text:
        return text.read()


def _serve(control: socket.socket) -> str:
    """Fork for each request; return in the fork, as what it is to run. Without requests, the process ends."""
    while True:
        header, files, _, _ = socket.recv_fds(control, 4, 3)
        if not header:
            sys.exit(0)
        length, request = int.from_bytes(header, "big"), b""
        while len(request) < length:
            request += control.recv(min(_MOST, length - len(request)))
        # A process between waits for the command, so that the next request need not.
        between = os.fork()
        if between == 0:
            control.close()
            return _fork(json.loads(request), *files)
        for file in files:
            os.close(file)
        os.waitpid(-1, os.WNOHANG)


def _fork(request: dict[str, object], answer: int, out: int, err: int) -> str:
    """Fork the command and return in it; wait for it, tell how it ended, and end."""
    command = os.fork()
    if command:
        os.write(answer, command.to_bytes(4, "big"))
        _, status = os.waitpid(command, 0)
        os.write(answer, os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
        os._exit(0)
    os.close(answer)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    os.chdir(str(request["folder"]))
    os.environ.clear()
    os.environ.update(request["environment"])  # type: ignore[call-overload]
    sys.argv[1:] = request["words"]  # type: ignore[assignment]
    return str(request["before"])


def _preload() -> None:
    import importlib
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in _PRELOADED:
            importlib.import_module(name)
    # What is there now is never looked at again, nor copied to look at it.
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    _control = socket.socket(fileno=int(sys.argv[1]))
    _preload()
    _before = _serve(_control)
    sys.path[0] = ""
    exec(_before, {"__name__": "__main__"})  # noqa: S102 - a test's own
    from flows.cli import main

    main()
