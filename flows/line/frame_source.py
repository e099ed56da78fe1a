"""Frames of a camera, a stream or a video, taken by OpenCV on a thread of its own."""

import logging
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Condition, Event, Thread
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from flows.line.source import Arrival, Behind
from pipelines.core.errors import CallError

_SECONDS = 5000  # milliseconds that a stream may take to open, and to hand over a frame
_FIRST, _LONGEST = 0.5, 10.0  # seconds between two tries to reach a camera again
_LOOK = 0.5  # seconds until the line is told that nothing came
_HELD = 8  # frames that wait for inspection; more would be old news

log = logging.getLogger(__name__)


class _Frame(NamedTuple):
    pixels: NDArray[np.uint8]  # BGR
    number: int
    since: float


class FrameSource:
    """Takes frames, at most so many a second; a camera that is lost is tried again, ever more slowly."""

    def __init__(self, address: str | int, shown: str, rate: float, behind: Behind, *, ends: bool) -> None:
        """Take frames once `images` is asked for.

        Args:
            address: What OpenCV opens: a number, a file or a URL, which may hold a password.
            shown: The address as it may be shown.
            rate: Frames a second at most; 0 takes all. What lies between is not counted as dropped.
            behind: What becomes of frames that come too fast.
            ends: Whether the end of the frames is the end of the source, as of a video.
        """
        self.problem, self.dropped = "", 0
        self._address, self._shown, self._rate, self._behind, self._ends = address, shown, rate, behind, ends
        self._frames: deque[_Frame] = deque()
        self._news = Condition()
        self._over, self._number = False, 0
        # Frames have no name of their own: another start's number 1 is another frame.
        self._start = uuid.uuid4().hex

    @property
    def waiting(self) -> int:
        """Frames that are there; one more where others may come."""
        with self._news:
            return len(self._frames) + (not self._over)

    def images(self, stop: Event) -> Iterator[Arrival | None]:
        reader = Thread(target=self._read, args=(stop,), name="camera", daemon=True)
        reader.start()
        while not stop.is_set():
            with self._news:
                self._news.wait_for(lambda: self._frames or self._over, _LOOK)
                frame = self._frames.popleft() if self._frames else None
                over = self._over and frame is None
                self._news.notify_all()
            if over:
                yield None
                return
            yield None if frame is None else self._arrive(frame)

    def finish(self, arrival: Arrival) -> Path | None:  # noqa: ARG002 - a frame leaves nothing behind
        return None

    def _arrive(self, frame: _Frame) -> Arrival:
        name = f"frame-{frame.number:08d}.png"
        return Arrival(f"{self._start}\n{frame.number}", name, frame.since, lambda: _encode(frame.pixels))

    def _read(self, stop: Event) -> None:
        pause = _FIRST
        while not stop.is_set():
            capture = _open(self._address)
            try:
                came = self._take(capture, stop)
            finally:
                capture.release()
            if self._ends or stop.is_set():
                break
            if not self.problem:
                log.warning("line: %s hands over no frames; it is tried again", self._shown)
            self.problem = f"{self._shown} hands over no frames"
            pause = _FIRST if came else min(2 * pause, _LONGEST)
            stop.wait(pause)
        with self._news:
            self._over = True
            self._news.notify_all()

    def _take(self, capture: Any, stop: Event) -> bool:
        """Take frames until there are no more; tell whether any came."""
        before, due = self._number, 0.0
        while not stop.is_set():
            came, pixels = capture.read()
            if not came:
                break
            if self.problem:
                log.info("line: %s is back", self._shown)
                self.problem = ""
            now = time.monotonic()
            # A video's frames are not bound to the clock: all of them are taken.
            if self._rate and not self._ends and now < due:
                continue
            due = now + 1 / self._rate if self._rate else 0.0
            self._number += 1
            self._put(_Frame(pixels, self._number, now), stop)
        return self._number > before

    def _put(self, frame: _Frame, stop: Event) -> None:
        with self._news:
            if self._behind == Behind.BLOCK:
                while len(self._frames) >= _HELD and not stop.is_set():
                    self._news.wait(_LOOK)
            elif len(self._frames) >= _HELD:
                self.dropped += 1
                if self._behind == Behind.DROP_NEWEST:
                    return
                self._frames.popleft()
            self._frames.append(frame)
            self._news.notify_all()


def _open(address: str | int) -> Any:
    # OpenCV's own words hold the address, and so a password.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    if isinstance(address, int):
        return cv2.VideoCapture(address)
    limits: Sequence[int] = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _SECONDS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _SECONDS]
    return cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits)


def _encode(pixels: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise CallError("a frame cannot be kept as PNG", hint="check the camera's format")
    return bytes(data)
