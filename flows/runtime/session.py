"""One surface at work: its settings, paths, lock and tracking, opened once a command or flow run and handed on."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from flows.runtime.environment import log_stages, prepare_environment
from flows.runtime.locks import surface_lock
from flows.runtime.report_index import update_index
from pipelines.core.paths import Project, SurfacePaths, find_project
from pipelines.core.settings import read_yaml
from pipelines.core.surface_settings import SurfaceSettings, read_surface

if TYPE_CHECKING:
    from pipelines.tracking.store import Tracking
    from pipelines.training.run_settings import RunSettings

Found = TypeVar("Found")


class Session:
    """A surface as a command or flow run found it: `settings` stay what they were when it was opened."""

    def __init__(self, project: Project, surface: str, settings: SurfaceSettings) -> None:
        self.project, self.surface, self.settings = project, surface, settings
        self._done: dict[Hashable, Any] = {}

    @property
    def paths(self) -> SurfacePaths:
        return self.project.surface(self.surface)

    @cached_property
    def tracking(self) -> "Tracking":
        """The project's MLflow store, opened on first use: some commands need none, and MLflow loads slowly."""
        from pipelines.tracking.store import Tracking

        return Tracking(self.project)

    def run_settings(self, profile: str, assignments: list[str]) -> "RunSettings":
        """Resolve the settings of a run, from params.yaml as it was when it was first asked for.

        Args:
            profile: Profile of params.yaml.
            assignments: KEY=VALUE words, which win over the surface's own settings; of two of the same key the later.

        Returns:
            Common settings, and a section for each algorithm.

        Raises:
            SettingsError: For an unknown profile or key, or a value out of range.
        """
        from pipelines.training.run_settings import lay_settings

        params = self.once("params", lambda: read_yaml(self.project.params))
        return lay_settings(params, self.project.params, self.settings, profile, assignments)

    def once(self, what: Hashable, act: Callable[[], Found]) -> Found:
        """Do something the first time it is requested, and return what came of it from then on.

        Args:
            what: Key within this session; everything that the result depends on belongs into it.
            act: Not called again for this key, unless it raised.

        Returns:
            What `act` returned, the same object each time.
        """
        if what not in self._done:
            self._done[what] = act()
        found: Found = self._done[what]
        return found


# What this command or flow run has open, and what of it under lock; a flow that a command calls finds both.
_open: ContextVar[tuple[Session, ...]] = ContextVar("_open", default=())
_held: ContextVar[tuple[Session, ...]] = ContextVar("_held", default=())


def look_at(surface: str, *, project: Project | None = None) -> Session:
    """Open a surface to read it, without its lock; where this command or flow run has it open, return that session.

    Args:
        surface: Name.
        project: Project that holds the surface; None is the one around the current folder.

    Returns:
        A session whose settings are as when it was opened.

    Raises:
        SettingsError: If there is no such surface, or its settings are wrong.
    """
    project = project or find_project()
    # Again where one is open: Prefect, imported since, has reset what its own logs let through.
    prepare_environment(project)
    log_stages()
    known = (s for s in reversed(_open.get()) if (s.surface, s.project) == (surface, project))
    return next(known, None) or Session(project, surface, read_surface(project, surface))


@contextmanager
def keep_open(session: Session) -> Iterator[Session]:
    """Within the block, give a session to whoever opens its surface."""
    with _within(_open, session):
        yield session


@contextmanager
def hold(session: Session, verb: str) -> Iterator[Session]:
    """Take the lock of a surface that was looked at, or go on with the one that is held already.

    Args:
        session: From `look_at`; within the block it is what is open of its surface.
        verb: What is done, told to whoever finds the surface held.

    Yields:
        `session`.

    Raises:
        BusyError: At once, if another process changes the surface.
    """
    if session in _held.get():
        yield session
        return
    with surface_lock(session.project, session.surface, verb), _changing(session):
        yield session


@contextmanager
def open_session(surface: str, verb: str, *, wait: float = 0.0, project: Project | None = None) -> Iterator[Session]:
    """Look at a surface and hold it while it is changed; within the same command or flow run, yield what is open.

    Args:
        surface: Name.
        verb: What is done, told to whoever finds the surface held.
        wait: Seconds to wait for another change to end; settings are read after that. 0 does not wait.
        project: Project that holds the surface; None is the one around the current folder.

    Yields:
        A session that holds the surface's lock until the block ends.

    Raises:
        BusyError: If another process still changes the surface after `wait` seconds.
        SettingsError: If there is no such surface, or its settings are wrong.
    """
    session = look_at(surface, project=project)
    if session in _held.get() or not wait:
        with hold(session, verb):
            yield session
        return
    with surface_lock(session.project, surface, verb, wait=wait):
        # Whom it waited for may have changed the settings.
        session = Session(session.project, surface, read_surface(session.project, surface))
        with _changing(session):
            yield session


@contextmanager
def _changing(session: Session) -> Iterator[None]:
    """Have a session open and held within the block, and bring the page of all results up to date at its end."""
    try:
        with _within(_open, session), _within(_held, session):
            yield
    except Exception:
        _update_index(session)
        raise
    except BaseException:
        # Told to stop: MLflow, whose database others may hold, is not asked.
        update_index(session.project, session.surface)
        raise
    _update_index(session)


def _update_index(session: Session) -> None:
    # Not opened for this alone, nor asked where its server is gone, which may be what ended the block.
    tracking = vars(session).get("tracking")
    update_index(session.project, session.surface, tracking if tracking and tracking.answers() else None)


@contextmanager
def _within(sessions: ContextVar[tuple[Session, ...]], session: Session) -> Iterator[None]:
    token = sessions.set((*sessions.get(), session))
    try:
        yield
    finally:
        sessions.reset(token)
