"""What a killed process leaves behind: half-made files, runs that look alive, and Prefect's server of its own."""

import logging
import shutil
import time
from pathlib import Path

import psutil

from flows.runtime.session import Session
from pipelines.core.paths import Project
from pipelines.reports.overview.unfinished_page import end_killed
from pipelines.tracking.orphans import end_orphans

_KEPT = 7 * 24 * 3600.0  # seconds; nobody goes on with an adaptation of last week
_PATIENCE = 10.0  # seconds that a server may take to end by itself

log = logging.getLogger(__name__)


def scratch_folder(project: Project, surface: str) -> Path:
    """Return the surface's folder for half-made models and maps, made on first use.

    Args:
        project: Its state folder, which git ignores, holds the folder.
        surface: The next change of it clears the folder, where a killed process left something.

    Returns:
        A folder that exists.
    """
    folder = project.state / "scratch" / surface
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def attempts_folder(project: Project, surface: str) -> Path:
    """Return the folder of finished attempts of adaptations that were stopped or failed.

    Args:
        project: Its state folder, which git ignores, holds the folder.
        surface: The target. What lies there for a week is removed by the surface's next change.

    Returns:
        A folder that may be absent.
    """
    return project.state / "attempts" / surface


def _drop_old_attempts(project: Project, surface: str) -> None:
    for kept in attempts_folder(project, surface).glob("*"):
        if time.time() - kept.stat().st_mtime > _KEPT:
            shutil.rmtree(kept, ignore_errors=True)


def clear_up(session: Session) -> None:
    """Remove what a killed process left, and end its runs, pages and servers. The surface's lock must be held."""
    project, surface = session.project, session.surface
    shutil.rmtree(project.state / "scratch" / surface, ignore_errors=True)
    _drop_old_attempts(project, surface)
    end_orphans(session.tracking, surface)
    end_killed(session.paths.reports)
    lost = find_lost_servers(project)
    for server in lost:
        log.info("%s: process %d, Prefect's server of a process that was killed, is ended", surface, server.pid)
        server.terminate()
    for server in psutil.wait_procs(lost, timeout=_PATIENCE)[1]:
        server.kill()


def find_lost_servers(project: Project) -> list[psutil.Process]:
    """Find servers that Prefect started for one flow of this project, and whose flow is gone: nobody else ends them.

    While its flow lives, such a server has a Python process as parent; an orphan is given to the system's first one.
    """
    return [process for process in psutil.process_iter() if _is_lost(process, project)]


def _is_lost(process: psutil.Process, project: Project) -> bool:
    try:
        if "prefect.server.api.server:create_app" not in process.cmdline():
            return False
        told = process.environ()
        own = told.get("PREFECT_HOME") == str(project.state / "prefect") and "PREFECT__SERVER_EPHEMERAL" in told
        parent = process.parent() if own else None
        return own and not (parent and "python" in " ".join(parent.cmdline()[:1]))
    except psutil.Error:
        return False
