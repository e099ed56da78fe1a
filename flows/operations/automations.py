"""What no run can say itself, because it was killed: Prefect's server tells people of crashed runs."""

from typing import Any

from flows.local_servers.temporary import ensure_server
from pipelines.core.errors import ToolError
from pipelines.core.paths import Project
from pipelines.core.surface_settings import read_surface


def automation_name(surface: str) -> str:
    return f"knotwatch {surface}: crashed runs"


def set_automation(project: Project, surface: str) -> str | None:
    """Have the server notify the blocks of a surface's policy of its crashed runs.

    What there was before is replaced. A server that runs is needed for it to act, `knotwatch ui` or the user's own.

    Args:
        project: Project whose Prefect server keeps the automation.
        surface: Surface whose `policy.watch.notify` names the blocks.

    Returns:
        The automation's name; None where the policy names no block, and there is no automation then.

    Raises:
        ToolError: If Prefect has no block of that name.
    """
    ensure_server(project)
    from prefect.events.actions import SendNotification
    from prefect.events.schemas.automations import AutomationCore, EventTrigger

    blocks = read_surface(project, surface).policy.watch.notify
    actions: list[Any] = [
        SendNotification(
            block_document_id=_block_id(name),
            subject=f"knotwatch, {surface}: a run crashed",
            body="{{ flow.name }} ({{ flow_run.name }}) crashed: {{ flow_run.state.message }}",
        )
        for name in blocks
    ]
    remove_automation(project, surface)
    if not actions:
        return None
    automation = AutomationCore(
        name=automation_name(surface),
        description=f"Made by `knotwatch schedule` from policy.watch.notify of {surface}",
        trigger=EventTrigger(
            expect={"prefect.flow-run.Crashed"},
            match_related={"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{surface}"},
            threshold=1,
        ),
        actions=actions,
    )
    with _client() as client:
        client.create_automation(automation)
    return automation.name


def remove_automation(project: Project, surface: str) -> None:
    """Remove a surface's automation, where it has one.

    Args:
        project: Project whose Prefect server keeps the automation.
        surface: May have no settings any more.
    """
    ensure_server(project)
    with _client() as client:
        for found in client.read_automations_by_name(automation_name(surface)):
            client.delete_automation(found.id)


def _client() -> Any:
    from prefect.client.orchestration import get_client

    return get_client(sync_client=True)


def _block_id(block: str) -> Any:
    from prefect.exceptions import ObjectNotFound

    kind, _, name = block.partition("/")
    with _client() as client:
        try:
            return client.read_block_document_by_name(name, kind).id
        except ObjectNotFound as error:
            raise ToolError(
                f"Prefect has no block '{block}', which policy.watch.notify names",
                hint="make it on Prefect's page under Blocks, then schedule again",
            ) from error
