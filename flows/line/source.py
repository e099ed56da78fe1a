"""What every source has in common."""

from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from threading import Event
from typing import NamedTuple, Protocol


class Behind(StrEnum):
    """What becomes of frames that come faster than they are inspected."""

    DROP_OLDEST = "drop-oldest"
    DROP_NEWEST = "drop-newest"
    BLOCK = "block"


class Arrival(NamedTuple):
    """An image that is whole.

    `key` is another one's never, also after a restart; `name` is for people; `since` is the monotonic time at which it
    was whole; `read` returns its bytes, and raises OSError where they are gone.
    """

    key: str
    name: str
    since: float
    read: Callable[[], bytes]


class Source(Protocol):
    """Yields images in the order in which they came."""

    @property
    def problem(self) -> str:
        """Why none comes; empty where all is well."""

    @property
    def dropped(self) -> int:
        """Number of images that were left out because inspection was slower."""

    @property
    def waiting(self) -> int:
        """Number of images that are there and not finished, or may still come."""

    def images(self, stop: Event) -> Iterator[Arrival | None]:
        """Yield what is whole, and None at least every second: whoever asks shows that it is alive.

        Args:
            stop: Ends it.

        Yields:
            Images that `finish` was not called for.
        """

    def finish(self, arrival: Arrival) -> Path | None:
        """Put an image away whose verdict is kept.

        Args:
            arrival: As it was yielded.

        Returns:
            The file that it lies in now; None where it is no file.
        """
