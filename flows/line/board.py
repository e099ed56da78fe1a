"""What the line's page shows: the last verdicts, how fast they come, and how the sinks are. Threads may share it."""

import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from flows.line.delivery import Delivery
from flows.line.journal import Journal
from flows.line.source import Source
from flows.line.verdict import Answer, Verdict

SHOWN = 50
_WINDOW = 60.0  # seconds over which the rate is taken


class Judged(NamedTuple):
    """A verdict, where its image lies now, and whether there is a picture of it."""

    verdict: Verdict
    file: Path | None
    pictured: bool


class Board:
    """Collects what happens; `changes` counts up whenever there is something new."""

    def __init__(self, surface: str) -> None:
        self.surface, self.model, self.changes = surface, "", 0
        self._lock = Lock()
        self._last: deque[Judged] = deque(maxlen=SHOWN)
        self._counts = dict.fromkeys(Answer, 0)
        self._seconds: deque[float] = deque(maxlen=500)
        self._moments: deque[float] = deque(maxlen=10_000)

    def add(self, judged: Judged) -> None:
        with self._lock:
            self._last.append(judged)
            self._counts[judged.verdict.verdict] += 1
            self._seconds.append(judged.verdict.seconds)
            self._moments.append(time.monotonic())
            self.model = judged.verdict.model
            self.changes += 1

    def find(self, number: int) -> Judged | None:
        """Return one of the last verdicts by its number."""
        with self._lock:
            return next((judged for judged in self._last if judged.verdict.number == number), None)

    def counts(self) -> dict[Answer, int]:
        with self._lock:
            return dict(self._counts)

    def p95(self) -> float | None:
        """Return the seconds from a whole image to its verdict that 95 % of the last 500 kept to; None before any."""
        with self._lock:
            return float(np.quantile(list(self._seconds), 0.95)) if self._seconds else None

    def state(self, deliveries: Sequence[Delivery], journal: Journal, source: Source) -> dict[str, Any]:
        """Return all that the page shows, as JSON values.

        Args:
            deliveries: Of the line's sinks.
            journal: Tells what each has not got.
            source: Tells what was dropped, and why nothing comes.

        Returns:
            Counts, rate in images a second, p95 in seconds, sinks, and the last verdicts, the newest first.
        """
        late, counts = self.p95(), self.counts()
        with self._lock:
            recent = sum(moment > time.monotonic() - _WINDOW for moment in self._moments)
            last = [_describe(judged) for judged in reversed(self._last)]
        return {
            "surface": self.surface,
            "model": self.model,
            "counts": {answer.value: number for answer, number in counts.items()},
            "rate": round(recent / _WINDOW, 2),
            "p95": None if late is None else round(late, 3),
            "sinks": [
                {"name": d.sink.name, "waiting": journal.waiting(d.sink.name), "problem": d.problem} for d in deliveries
            ],
            "dropped": source.dropped,
            "problem": source.problem,
            "last": last,
        }


def _describe(judged: Judged) -> dict[str, Any]:
    verdict = judged.verdict
    return {
        "number": verdict.number,
        "image": verdict.image,
        "verdict": verdict.verdict.value,
        "reason": verdict.reason,
        "score": verdict.score,
        "threshold": verdict.image_threshold,
        "defects": [defect.type for defect in verdict.defects],
        "time": verdict.time.isoformat(timespec="seconds"),
        "picture": judged.pictured,
    }
