"""The part of a check that concerns data: what is new at the remembered source is taken in."""

import time
from pathlib import Path

from flows.dataset.surface import update_surface
from flows.operations.notify import list_files, notify
from flows.runtime.data_stages import read_verdict
from flows.runtime.session import Session
from flows.watching.results import SourceCheck
from flows.watching.state import WatchState
from pipelines.core.errors import GateError, SourceError
from pipelines.core.paths import Project
from pipelines.core.records import Layout
from pipelines.data.intake import compare_source
from pipelines.data.layouts import has_table


def take_in_news(session: Session, state: WatchState, *, at_once: bool) -> tuple[WatchState, SourceCheck | None]:
    """Take in what is new at the source, when it is time to check there.

    What was seen there before is left alone, so that an old data version that was checked out stays.
    Images that are put into quarantine are told to people, and a source that cannot be read.

    Args:
        session: Open on the surface.
        state: From the last check.
        at_once: Whether the policy's interval counts as passed.

    Returns:
        What is to be remembered (not written yet), and what came of the source; None where it was not checked: it is
        not time, or the surface is drawn and has none.

    Raises:
        BusyError: If another process changes the surface; the next check sees the same again.
    """
    project, surface, own = session.project, session.surface, session.settings
    now = time.time()
    # A clock that was set back must not mean that the source is left alone until it has caught up.
    due = at_once or not 0 <= now - state.source_checked < 60 * own.policy.watch.source_minutes
    if own.source.layout == Layout.PROCEDURAL or not due:
        return state, None
    seen = state.model_copy(update={"source_checked": now})
    if own.source.git_url:
        return seen, _update(project, surface)
    try:
        mirror, settle = project.surface(surface).source, own.policy.watch.settle_seconds
        news = compare_source(own.source.layout, Path(own.source.path or ""), mirror, settle)
    except SourceError as error:
        # Kept in the place of the source's state: told once, until it is there again.
        if state.source != error.problem:
            notify(project, surface, "its source cannot be read", str(error))
        return seen.model_copy(update={"source": error.problem}), SourceCheck(problem=error.problem)
    if not news.stale or news.state == state.source:
        return seen.model_copy(update={"source": news.state}), SourceCheck()
    # A table may name what is still being copied.
    waits = news.moving and (len(news.moving) == news.stale or has_table(own.source.layout))
    taken = SourceCheck() if waits else _update(project, surface, news.moving)
    if news.moving and not taken.problem:
        # Checked again a minute later, whatever the interval.
        return state, taken.model_copy(update={"waiting": news.stale if waits else len(news.moving)})
    return seen.model_copy(update={"source": news.state}), taken


def _update(project: Project, surface: str, moving: frozenset[str] = frozenset()) -> SourceCheck:
    before = _quarantined(project, surface)
    try:
        change = update_surface(project, surface, leave=moving)
    except (GateError, SourceError) as error:
        notify(project, surface, "its new data was refused", str(error))
        return SourceCheck(problem=error.problem)
    fresh = [file for file in change.verdict.quarantined if (file.path, file.reason) not in before]
    if fresh:
        notify(project, surface, f"{len(fresh)} images put into quarantine", list_files(fresh))
    return SourceCheck(new=change.intake.new, changed=change.intake.changed, warnings=change.intake.warnings)


def _quarantined(project: Project, surface: str) -> set[tuple[str, str]]:
    if not project.surface(surface).verdict.is_file():
        return set()
    return {(file.path, file.reason) for file in read_verdict(project, surface).quarantined}
