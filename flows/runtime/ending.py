"""An end that comes in time: a process that was told to stop, and hangs, is ended with all that it started."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread, Timer

# An orderly end takes two or three seconds. What takes longer waits for something: a locked database, a long call of a
# library that lets no signal through. With a second for what the process started, ten in all.
_SECONDS = 8.0
_CHILDREN = 1.0  # seconds that what it started may take, after SIGTERM and again after SIGKILL

_bounded = {signal.SIGTERM}
_last: list[Callable[[], None]] = []


def watch_over_end() -> None:
    """Have the process ended by force, with what it started, where SIGTERM has not ended it within seconds.

    Ctrl-C is not bounded: who pressed it is there, and may press it again.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # Python's own answer to a signal waits for the library that is being called; these bytes do not.
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    # A child would write into its parent's pipe, and end the parent.
    os.register_at_fork(after_in_child=_forget)
    Thread(target=_watch, args=(reader,), name="ending", daemon=True).start()


@contextmanager
def bound_interrupts(last: Callable[[], None]) -> Iterator[None]:
    """Bound an end by Ctrl-C too, while the block runs, and end by force at once with a second signal.

    `last` is called before that, for a second.
    """
    _bounded.add(signal.SIGINT)
    _last.append(last)
    try:
        yield
    finally:
        _last.remove(last)


def _forget() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _watch(reader: int) -> None:
    requested = False
    while numbers := os.read(reader, 1):
        number = numbers[0]
        if number not in _bounded:
            continue
        # Elsewhere a second one may be Prefect's, which raises the first again after it looked at it.
        if requested and _last:
            _end(number)
        requested = True
        timer = Timer(_SECONDS, _end, (number,))
        timer.daemon = True
        timer.start()


def _end(number: int) -> None:
    """End the process now. Its locks fall with it; runs and files that it leaves open, the next command clears up."""
    sys.stderr.write("knotwatch: ended by force; the next command clears up what was left open\n")
    for act in list(_last):
        worker = Thread(target=act, daemon=True)
        worker.start()
        worker.join(_CHILDREN)
    with suppress(Exception):
        _end_children()
    os._exit(128 + number)


def _end_children() -> None:
    import psutil

    children = psutil.Process().children(recursive=True)
    for act in (psutil.Process.terminate, psutil.Process.kill):
        for child in children:
            with suppress(psutil.NoSuchProcess):
                act(child)
        _, children = psutil.wait_procs(children, timeout=_CHILDREN)
