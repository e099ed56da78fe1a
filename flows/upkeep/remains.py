"""What killed processes left behind: scratch folders, half-written files, open runs, servers without a flow.

Locks are none of it: the system frees them with the process that held them.
"""

import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from flows.runtime.leftovers import clear_up, find_lost_servers
from flows.runtime.locks import is_held
from flows.runtime.report_index import index_path, update_index
from flows.runtime.session import hold, look_at
from flows.upkeep.damage import REPAIR, Damage
from pipelines.core.paths import Project
from pipelines.core.wording import count_in_words
from pipelines.tracking.orphans import find_orphans
from pipelines.tracking.store import Tracking

_OLD = 3600.0  # seconds: what was not touched for so long, nobody is writing
# As `whole_file` calls what it writes to; none of the folders below holds hidden files of anybody else's.
_HALF = re.compile(r"\..+\.[a-z0-9_]{8}")
_PLACES = ("data/surfaces/*", "data/work/*/*", "data/work/*/history/*", "data/reports/**/*", ".knotwatch/**/*")
_END = b"</html>"


def find_remains(project: Project, tracking: Tracking | None) -> Iterator[Damage]:
    """Look for what killed processes left.

    Args:
        project: Whose folders, runs and servers are looked at; a surface that some process holds is left out.
        tracking: None where MLflow's store does not open.

    Yields:
        What was found, with what would clear it up.
    """
    surfaces = project.surface_names()
    for surface in surfaces:
        if not is_held(project, surface):
            yield from _look_at_surface(project, surface, tracking)
    if (servers := find_lost_servers(project)) and surfaces:
        found = f"{count_in_words(len(servers), 'server')} of Prefect's, left running by a command that is gone"
        yield Damage(found, REPAIR, lambda: _clear_up(project, surfaces[0]))
    scratch = (path for path in (project.state / "scratch").glob("*") if path.name not in surfaces)
    half = (path for place in _PLACES for path in project.root.glob(place) if _HALF.fullmatch(path.name))
    old = [path for path in (*(child for path in scratch for child in path.glob("*")), *half) if _is_old(path)]
    if old:
        yield Damage(
            f"{count_in_words(len(old), 'leftover')} of killed processes, e.g. {old[0]}", REPAIR, lambda: _remove(old)
        )
    yield from _look_at_pages(project)


def _look_at_surface(project: Project, surface: str, tracking: Tracking | None) -> Iterator[Damage]:
    what = []
    if any((project.state / "scratch" / surface).glob("*")):
        what.append("half-made files")
    orphans = find_orphans(tracking, surface) if tracking else []
    if orphans:
        what.append(f"{count_in_words(len(orphans), 'run')} in MLflow that no process writes")
    if what:
        found = f"a killed process left {' and '.join(what)} of '{surface}'"
        yield Damage(found, f"{REPAIR}; the next retrain does it, too", lambda: _clear_up(project, surface))


def _clear_up(project: Project, surface: str) -> str:
    with hold(look_at(surface, project=project), "doctor") as session:
        clear_up(session)
    return f"{surface}: what a killed process left was cleared up, its runs in MLflow ended as killed"


def _look_at_pages(project: Project) -> Iterator[Damage]:
    """Find pages that are cut off: of a full disk, or of a program that writes in place, as Great Expectations does."""
    for page in sorted(index_path(project).parent.rglob("*.html")):
        if not _tail(page).rstrip().endswith(_END):
            if page == index_path(project):
                yield Damage(f"{page} is half written", REPAIR, lambda: _write_index(project))
            else:
                yield Damage(f"{page} is half written", "repeat the command that wrote it, or remove it")


def _write_index(project: Project) -> str:
    update_index(project)
    return f"{index_path(project)} was written again"


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 100))
        return file.read()


def _is_old(path: Path) -> bool:
    times = [found.lstat().st_mtime for found in (path, *path.rglob("*"))]
    return time.time() - max(times) > _OLD


def _remove(paths: Sequence[Path]) -> str:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return f"{count_in_words(len(paths), 'leftover')} of killed processes removed: {', '.join(map(str, paths[:3]))}"
