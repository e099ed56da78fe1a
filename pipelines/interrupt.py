"""Ctrl-C that is not lost: some libraries, while they are imported, swallow it with all other errors."""

import signal
import threading
from types import FrameType

_asked = threading.Event()


def remember_interrupts() -> None:
    """Have Ctrl-C remembered as well as raised, unless the process is deaf to it or answers it in its own way."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _remember)


def heed_interrupt() -> None:
    """Raise KeyboardInterrupt where Ctrl-C was pressed and nothing came of it."""
    if _asked.is_set():
        _asked.clear()
        raise KeyboardInterrupt


def _remember(_number: int, _frame: FrameType | None) -> None:
    _asked.set()
    raise KeyboardInterrupt
