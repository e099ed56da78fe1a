"""Ctrl-C that is not lost: some libraries swallow it with all other errors, or answer it with an error of their own."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_asked = threading.Event()


def remember_interrupts() -> None:
    """Have Ctrl-C remembered as well as raised, unless the process is deaf to it or answers it in its own way."""
    _asked.clear()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _remember)


def heed_interrupt() -> None:
    """Raise KeyboardInterrupt where Ctrl-C was pressed and the process works on."""
    if _asked.is_set():
        _asked.clear()
        raise KeyboardInterrupt


@contextmanager
def interrupts_first() -> Iterator[None]:
    """Let Ctrl-C end the block as KeyboardInterrupt, also where a library made another error of it."""
    try:
        yield
    except Exception as error:
        # It stays remembered: what is raised here may be swallowed or changed again further out.
        if _asked.is_set():
            raise KeyboardInterrupt from error
        raise


def _remember(_number: int, _frame: FrameType | None) -> None:
    _asked.set()
    raise KeyboardInterrupt
