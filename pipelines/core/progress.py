"""Progress on long work: a bar on a terminal, a line every 30 seconds elsewhere."""

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import TypeVar

_interrupted = threading.Event()
_commanded = threading.Event()  # set where the process is a command of ours, and SIGTERM is ours to answer
_numbers: list[int] = []


def remember_interrupts() -> None:
    """Have Ctrl-C and SIGTERM remembered as well as raised, unless the process is deaf to one or answers it itself."""
    _interrupted.clear()
    _numbers.clear()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _remember)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _remember)
        _commanded.set()


def heed_interrupt() -> None:
    """Raise KeyboardInterrupt where the process was told to stop and works on."""
    if _interrupted.is_set():
        _interrupted.clear()
        raise KeyboardInterrupt


def is_interrupted() -> bool:
    """Tell whether the process was ever told to stop, by Ctrl-C or SIGTERM, also after that was heeded."""
    return bool(_numbers)


def exit_code_of_stop() -> int:
    """Return what a shell expects of a process that was told to stop: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (_numbers[0] if _numbers else signal.SIGINT)


@contextmanager
def interrupts_first() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the block as KeyboardInterrupt, also where a library made another error of it."""
    with _own_termination():
        try:
            yield
        except Exception as error:
            # It stays remembered: what is raised here may be swallowed or changed again further out.
            if is_interrupted():
                raise KeyboardInterrupt from error
            raise


@contextmanager
def _own_termination() -> Iterator[None]:
    """Answer SIGTERM as the command does, inside a flow too: Prefect's own answer there may be swallowed unseen.

    A flow of a worker is no command: its worker says by Prefect's channel what the signal means, and Prefect answers.
    """
    found = signal.getsignal(signal.SIGTERM)
    in_main = threading.current_thread() is threading.main_thread()
    if not (in_main and _commanded.is_set() and callable(found)):
        yield
        return
    signal.signal(signal.SIGTERM, _remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, found)


def _remember(number: int, _frame: FrameType | None) -> None:
    _interrupted.set()
    _numbers.append(number)
    raise KeyboardInterrupt


_Item = TypeVar("_Item")
_EVERY = 30.0  # seconds
_SHORT = 3.0  # seconds; what takes less needs no line


class _Voice:
    """When the process last said how far it is: several steps of 29 seconds are a long silence together."""

    last = time.monotonic()


log = logging.getLogger(__name__)


class Pace:
    """Says every 30 seconds how far some work is, where no terminal shows a bar."""

    def __init__(self, label: str, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin to measure.

        Args:
            label: What the line begins with.
            total: Number of items.
            clock: Seconds that only rise.
        """
        self._label, self._total, self._clock = label, total, clock
        self._began = self._said = clock()

    def note(self, done: int) -> None:
        """Say how far it is, unless that was said within 30 seconds; what is left is estimated from what was done."""
        now = self._clock()
        if now - self._said < _EVERY or not 0 < done < self._total:
            return
        self._said, _Voice.last = now, time.monotonic()
        left = (now - self._began) / done * (self._total - done)
        log.info("%s: %d of %d, about %.0f s left", self._label, done, self._total, left)


def track(items: Iterable[_Item], total: int, label: str) -> Iterator[_Item]:
    """Yield the items, with a bar on a terminal where there are more than a few; a Ctrl-C that was lost ends it.

    Args:
        items: May be computed as they are taken.
        total: Number of items, for bar and lines alone; below 20 there is no bar.
        label: What stands before the bar, and begins the lines.

    Yields:
        The items as they come.

    Raises:
        KeyboardInterrupt: Before an item, if the process was told to stop and works on.
    """
    if not sys.stderr.isatty():
        pace = Pace(label, total)
        for number, item in enumerate(_heeding(items), 1):
            yield item
            pace.note(number)
        return
    if total < 20:
        yield from _heeding(items)
        return
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(_heeding(items), description=label, total=total, console=Console(stderr=True), transient=True)


@contextmanager
def waiting(label: str) -> Iterator[None]:
    """Say every 30 seconds that a block of unknown length still works, by a turning sign on a terminal.

    Seconds are counted from the last such line, of whatever: a block that begins in a long silence speaks after 3.

    Args:
        label: What is done, in a few words.

    Yields:
        Nothing; the block ends the lines.
    """
    if sys.stderr.isatty():
        from rich.console import Console

        with Console(stderr=True).status(label):
            yield
        return
    ended, began = threading.Event(), time.monotonic()

    def speak() -> None:
        silent = max(_SHORT, _Voice.last + _EVERY - began)
        while not ended.wait(silent):
            _Voice.last, silent = time.monotonic(), _EVERY
            log.info("%s: %.0f s so far", label, _Voice.last - began)

    speaker = threading.Thread(target=speak, name="waiting", daemon=True)
    speaker.start()
    try:
        yield
    finally:
        ended.set()
        speaker.join()


Steps = Callable[[int, float], None]
_steps: ContextVar[Steps | None] = ContextVar("_steps", default=None)


@contextmanager
def watching_steps(act: Steps) -> Iterator[None]:
    """Within the block, be told how training by steps goes.

    Args:
        act: Called with the step and what the validation split says then, the lower the better; what it raises ends
            the training.

    Yields:
        Nothing.
    """
    token = _steps.set(act)
    try:
        yield
    finally:
        _steps.reset(token)


def note_step(step: int, value: float) -> None:
    """Tell whoever watches how training goes.

    Args:
        step: That was taken last.
        value: What the validation split says, the lower the better.
    """
    act = _steps.get()
    if act is not None:
        act(step, value)


def _heeding(items: Iterable[_Item]) -> Iterator[_Item]:
    for item in items:
        heed_interrupt()
        yield item
