"""How busy the machine is: what is measured on a busy one says little."""

import os

from pipelines.core.records import Record

# Our own threads make a load of one a core.
_BUSY = 1.5


class Load(Record):
    """The load average of the last minute, and how many cores this process may use."""

    average: float
    cores: int

    @property
    def is_busy(self) -> bool:
        """Tell whether other work ran beside ours."""
        return self.average > _BUSY * self.cores

    @property
    def message(self) -> str:
        """Write it for people.

        >>> Load(average=1.92, cores=2).message, Load(average=7.0, cores=2).message
        ('load average 1.9 on 2 cores', 'load average 7.0 on 2 cores: other work ran meanwhile')
        """
        more = ": other work ran meanwhile" if self.is_busy else ""
        return f"load average {self.average:.1f} on {self.cores} core{'s' if self.cores != 1 else ''}{more}"


def read_load() -> Load:
    """Read the load average of the last minute, which nearly all that is timed takes less than."""
    return Load(average=os.getloadavg()[0], cores=len(os.sched_getaffinity(0)))


def latency_in_words(milliseconds: float | None, load: Load | None) -> str:
    """Write how long a version takes for a megapixel, and how busy the machine was.

    Args:
        milliseconds: At best; None where nothing was timed.
        load: While it was timed; older versions have none.

    Returns:
        A sentence; empty where nothing was timed.

    >>> latency_in_words(130.4, Load(average=2.0, cores=2))
    'A megapixel takes 130 ms at best (load average 2.0 on 2 cores).'
    """
    if milliseconds is None:
        return ""
    return f"A megapixel takes {milliseconds:.0f} ms at best{f' ({load.message})' if load else ''}."
