"""How long the parts of this machine's own runs took: the best guess at how long the next will take."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from pipelines.core.files import write_whole
from pipelines.core.parsing import MalformedError, parse_json
from pipelines.core.paths import Project

# What is remembered last of a whole retrain, and of a whole adaptation, where the chosen attempt is made again.
DECIDING = "decide"
COMPARING = "decide against a champion"  # takes several times as long: the champion scores the same images
FINISHING = "adapt, the version"


def usual_seconds(project: Project, surface: str, *, adapting: bool) -> float | None:
    """Return what all parts took together by the profile that was run last to its end; None where none was.

    Args:
        project: Its state folder remembers.
        surface: May have been trained by several profiles.
        adapting: Whether adaptations count, or retrains.
    """
    files = sorted((project.state / "durations" / surface).glob("*.json"), key=lambda file: file.stat().st_mtime)
    for file in reversed(files):
        parts = Durations(project, surface, file.stem).read()
        own = {part: seconds for part, seconds in parts.items() if part.startswith("adapt") == adapting}
        if COMPARING in own:
            own.pop(DECIDING, None)
        # A run that is under way, or was stopped, has left the first of its parts alone.
        if own.keys() & {DECIDING, COMPARING, FINISHING}:
            return sum(own.values())
    return None


class Expected(NamedTuple):
    """Seconds that parts will take; `whole` where each was run before, else those that never were come on top."""

    seconds: float
    whole: bool


# A machine beside other work has been up to four times as slow; beyond that a part did something else than last time.
_MOST_SLOWER = 4.0


class Durations:
    """Seconds by part, such as an algorithm, of the last run of a surface by a profile.

    What is expected of parts follows how fast those went that this object has timed, compared with their last time:
    other work may have the machine now, or may have had it then. A short part says little of it.
    """

    def __init__(self, project: Project, surface: str, profile: str) -> None:
        self._file = project.state / "durations" / surface / f"{profile}.json"
        self._taken = self._expected = 0.0

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Remember how long the block takes, unless an error or Ctrl-C leaves it."""
        started = time.monotonic()
        yield
        self.remember(part, time.monotonic() - started)

    def remember(self, part: str, seconds: float) -> None:
        """Write down how long a part took; what it took before is forgotten.

        Args:
            part: Its name.
            seconds: 0 or more.
        """
        known = self.read()
        if known.get(part):
            self._taken += seconds
            self._expected += known[part]
        write_whole(self._file, json.dumps({**known, part: round(seconds, 2)}, indent=1))

    def expect(self, parts: Sequence[str]) -> "Expected":
        """Return how many seconds parts will take together at today's pace.

        The pace is drawn towards that of last time by a third of what is left: a part of seconds, timed twice, differs
        by chance.
        """
        known = self.read()
        left, whole = sum(known.get(part, 0.0) for part in parts), all(part in known for part in parts)
        if not left:
            return Expected(0.0, whole)
        steady = left / 3
        pace = (self._taken + steady) / (self._expected + steady)
        return Expected(left * min(max(pace, 1 / _MOST_SLOWER), _MOST_SLOWER), whole)

    def read(self) -> dict[str, float]:
        """Return the seconds of each part that was ever run."""
        # A guess is not worth an error: what is damaged is as if it were not there.
        with suppress(OSError, MalformedError):
            found = parse_json(self._file.read_text("utf-8"))
            if isinstance(found, dict):
                return {part: float(s) for part, s in found.items() if isinstance(s, int | float) and s >= 0}
        return {}
