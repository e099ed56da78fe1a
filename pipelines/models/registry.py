"""The algorithms that there are: those of this package, and those that installed packages bring.

A package brings one by an entry point of the group `knotwatch.algorithms` that names an `Algorithm`.
"""

import logging
import re
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from pipelines.core.errors import SettingsError, offer_closest
from pipelines.models.algorithm import Algorithm
from pipelines.models.anomalydino.algorithm import ANOMALYDINO
from pipelines.models.efficientad.algorithm import EFFICIENTAD
from pipelines.models.fastflow.algorithm import FASTFLOW, FASTFLOW_DINOV2
from pipelines.models.padim.algorithm import PADIM
from pipelines.models.settings import AlgorithmSettings

GROUP = "knotwatch.algorithms"
BUILT_IN: tuple[Algorithm, ...] = (PADIM, FASTFLOW, EFFICIENTAD, FASTFLOW_DINOV2, ANOMALYDINO)
_NAME = re.compile(r"[a-z][a-z0-9_]*")

log = logging.getLogger(__name__)


@cache
def algorithms() -> dict[str, Algorithm]:
    """Map the names of all algorithms to them, built-in ones first.

    One that cannot be loaded, or whose name is taken, is left out with a warning: the others must not suffer from it.
    """
    found = {algorithm.name: algorithm for algorithm in BUILT_IN}
    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
        try:
            brought = _load(entry)
        except Exception as error:  # another package's code fails in its own ways
            log.warning("algorithm %s of %s cannot be used: %s", entry.name, _package(entry), error)
            continue
        if found.setdefault(brought.name, brought) is not brought:
            log.warning("algorithm %s of %s is left out: the name is taken", entry.name, _package(entry))
    return found


def find_algorithm(name: str) -> Algorithm:
    """Return an algorithm by its name; raise SettingsError where there is none such."""
    known = algorithms()
    if name not in known:
        hint = f"choose among {', '.join(known)}, or install the package that brings it"
        raise SettingsError(f"no algorithm '{name}'", hint=offer_closest(hint, name, known))
    return known[name]


def by_preference(names: "list[str] | tuple[str, ...]") -> list[str]:
    """Sort the names of algorithms by what is proposed where figures do not decide; unknown ones come last."""
    known = algorithms()
    return sorted(names, key=lambda name: (known[name].preference if name in known else 1000, name))


@cache
def package_of(name: str) -> str:
    """Name the package and version that brings an algorithm; empty for a built-in one."""
    if any(algorithm.name == name for algorithm in BUILT_IN):
        return ""
    return next((_package(e) for e in entry_points(group=GROUP) if e.name == name), "")


def _load(entry: EntryPoint) -> Algorithm:
    brought: Algorithm = entry.load()
    if entry.name != brought.name or not _NAME.fullmatch(brought.name):
        raise ValueError(f"it calls itself {brought.name!r}; the entry point and it need one name of a-z, 0-9 and _")
    if not isinstance(brought.settings, AlgorithmSettings):
        raise TypeError("its settings are not derived from AlgorithmSettings")
    return brought


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
