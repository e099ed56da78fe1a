"""Other processes that tests start, wait for and end."""

import signal
import socket
import subprocess
import time
from typing import Any

from tests.forked import Forked


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(test: Any, what: str, process: "subprocess.Popen[Any] | Forked | None" = None, seconds: float = 240) -> None:
    """Wait for something that other processes bring about."""
    deadline = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        assert process is None or process.poll() is None, f"{what}: the process ended"
        time.sleep(0.3)


def stop(process: "subprocess.Popen[Any]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
