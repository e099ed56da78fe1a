"""The process's peak memory, counted anew for each fit where the system allows it."""

from pathlib import Path

# Writing 5 here sets Linux' high-water mark of resident memory back to what is resident now (man 5 proc).
_CLEAR = Path("/proc/self/clear_refs")


def reset_peak() -> bool:
    """Start the peak anew; False where the system refuses, and the next peak is the whole process's so far."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True
