"""The process's peak memory, counted anew for each fit where the system allows it."""

import resource
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


# Writing 5 here sets Linux' high-water mark of resident memory back to what is resident now (man 5 proc).
_CLEAR = Path("/proc/self/clear_refs")


def reset_peak() -> bool:
    """Start the peak anew; False where the system refuses, and the next peak is the whole process's so far."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def peak_rss_mb() -> float:
    """Return the process's peak resident memory so far, MB (Linux counts it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
