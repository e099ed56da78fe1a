"""Telling people what happened, through the notification blocks of Prefect that a surface's policy names."""

import logging
from collections.abc import Sequence
from typing import Any

from flows.local_servers.temporary import ensure_server
from flows.runtime.session import look_at
from pipelines.core.errors import GateError, ToolError
from pipelines.core.paths import Project, find_project

log = logging.getLogger(__name__)


def notify(project: Project, surface: str, subject: str, body: str) -> tuple[str, ...]:
    """Send a message through each block of the surface's policy.

    One that fails is logged and stops neither the others nor the run: a model is worth more than the news of it.

    Args:
        project: Project that holds the surface.
        surface: Surface whose `policy.watch.notify` names the blocks; named in the subject, too.
        subject: A few words.
        body: Plain text, of any number of lines.

    Returns:
        The blocks that took it, in the policy's order.

    Raises:
        SettingsError: If there is no such surface, or its settings are wrong.
    """
    took = []
    for name in look_at(surface, project=project).settings.policy.watch.notify:
        try:
            ensure_server(project)
            send(name, f"knotwatch, {surface}: {subject}", body)
        except Exception as error:
            log.warning("notify %s: %s did not take '%s': %s", surface, name, subject, error)
        else:
            took.append(name)
    return tuple(took)


def send(block: str, subject: str, body: str) -> None:
    """Send a message through one block.

    Args:
        block: KIND/NAME as on Prefect's page, for example `custom-webhook/factory`.
        subject: Handed on as it is.
        body: Handed on as it is.

    Raises:
        ToolError: If the block is not there, or is none that notifies.
    """
    from prefect.blocks.abstract import NotificationBlock

    found = _load(block)
    if not isinstance(found, NotificationBlock):
        raise ToolError(f"block '{block}' cannot notify", hint="name a notification block, e.g. custom-webhook/factory")
    sent: Any = found
    sent.notify(body, subject=subject)


def _load(block: str) -> Any:
    # Importing the kinds registers them: a block is loaded as what it is.
    import prefect.blocks.notifications  # noqa: F401
    from prefect.blocks.core import Block

    try:
        return Block.load(block)
    except ValueError as error:
        raise ToolError(
            f"Prefect has no block '{block}'",
            hint="make it on Prefect's page under Blocks, or correct policy.watch.notify",
        ) from error


def tell_failure(flow: Any, flow_run: Any, state: Any) -> None:
    """Tell people that a flow failed: a hook for `on_failure`. It never fails itself.

    Args:
        flow: Prefect's flow, whose name is told.
        flow_run: Its parameter `surface`, else `target`, says whose policy names the people.
        state: The failed state; its result is the error that is told.
    """
    try:
        words = flow_run.parameters
        surface = str(words["surface"] if "surface" in words else words["target"])
        problem = state.result(raise_on_failure=False)
        refused = isinstance(problem, GateError)
        subject = "its data was refused" if refused else f"{flow.name} failed"
        said = str(problem) if isinstance(problem, BaseException) else str(state.message)
        notify(find_project(), surface, subject, said)
    except Exception as error:
        log.warning("notify: a failure was told to nobody: %s", error)


def list_files(files: Sequence[Any], most: int = 20) -> str:
    """Write quarantined files with their reasons, one a line.

    Args:
        files: Each has a `path` and a `reason`.
        most: Files that are listed, from the first; the others are counted in a last line.

    Returns:
        The lines; empty for no files.
    """
    lines = [f"{file.path}: {file.reason}" for file in files[:most]]
    return "\n".join(lines + ([f"and {len(files) - most} more"] if len(files) > most else []))
