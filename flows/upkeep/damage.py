"""Damage: what is wrong with a project's files, what to do, and what mends it where that is safe."""

from collections.abc import Callable
from typing import NamedTuple


class Damage(NamedTuple):
    """One fault.

    `found` and `todo` are sentences. `mend` repairs it and says in a sentence what it did; None where no repair is
    safe, for none removes or overwrites what could be somebody's data.
    """

    found: str
    todo: str
    mend: Callable[[], str] | None = None


REPAIR = "knotwatch doctor --repair"
BACKUP = "restore a backup into a fresh clone (`knotwatch restore`)"
