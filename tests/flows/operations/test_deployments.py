"""Schedules and what tells of crashed runs, as a real server keeps them."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from flows.operations.automations import automation_name, remove_automation, set_automation
from flows.operations.deployments import (
    RETRAIN,
    WATCH,
    Schedule,
    change_schedule,
    list_schedules,
    refresh_after_move,
    remove_schedule,
    set_active,
    set_schedule,
    set_watch,
)
from flows.operations.pool import POOL, QUEUES, ensure_pool
from flows.operations.worker import find_foreign
from pipelines.core.errors import CallError, ToolError
from pipelines.core.paths import Project
from pipelines.core.records import Layout
from pipelines.core.surface_settings import SourceSettings, SurfaceSettings, write_surface

# Prefect's own, while a flow is loaded from its file.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
NIGHTLY = "0 2 * * 1"


@pytest.fixture
def oak(served: Project) -> Iterator[str]:
    """A surface that has no schedule, and leaves none on the shared server."""
    write(served, "oak", [])
    yield "oak"
    with suppress(CallError):
        remove_schedule(served, "oak")


def write(project: Project, surface: str, blocks: list[str]) -> None:
    source = SourceSettings(layout=Layout.FOLDER, path="/nowhere")
    policy = {"watch": {"notify": blocks}}
    write_surface(project, surface, SurfaceSettings.model_validate({"source": source, "policy": policy}))


def own(project: Project, surface: str) -> list[Schedule]:
    return [found for found in list_schedules(project) if found.surface == surface]


def client() -> Any:
    from prefect.client.orchestration import get_client

    return get_client(sync_client=True)


def test_a_schedule_is_kept_as_it_was_requested(served: Project, oak: str) -> None:
    made = set_schedule(served, oak, NIGHTLY, "Europe/Berlin", "quick")
    assert own(served, oak) == [made]
    with client() as requested:
        deployment = requested.read_deployment_by_name(f"retrain/{oak}")
    assert find_foreign(served, deployment) == [], "its own worker would refuse it"


def test_what_is_not_said_stays(served: Project, oak: str) -> None:
    set_schedule(served, oak, NIGHTLY, "Europe/Berlin", "quick")
    changed = change_schedule(served, oak, "0 3 * * *", None, None)
    assert (changed.cron, changed.timezone, changed.profile) == ("0 3 * * *", "Europe/Berlin", "quick")
    assert own(served, oak) == [changed]


@pytest.mark.parametrize(("cron", "zone"), [("soon", "UTC"), (NIGHTLY, "Europe/Nowhere")])
def test_what_no_clock_knows_is_a_wrong_call(served: Project, oak: str, cron: str, zone: str) -> None:
    with pytest.raises(CallError):
        set_schedule(served, oak, cron, zone, "full")
    assert own(served, oak) == []


def test_looks_are_paused_and_removed_by_themselves(served: Project, oak: str) -> None:
    set_schedule(served, oak, NIGHTLY, "UTC", "full")
    set_watch(served, oak)
    set_active(served, oak, active=False, flow_name=WATCH)
    assert not set_watch(served, oak).active, "scheduled again, a paused look stays paused"
    assert {found.flow: found.active for found in own(served, oak)} == {RETRAIN: True, WATCH: False}
    remove_schedule(served, oak, WATCH)
    assert [found.flow for found in own(served, oak)] == [RETRAIN]
    remove_schedule(served, oak)
    with pytest.raises(CallError, match=oak):
        remove_schedule(served, oak)


def test_a_misspelt_surface_has_no_schedule_and_the_right_one_is_offered(served: Project, oak: str) -> None:
    with pytest.raises(CallError, match="did you mean 'oak'"):
        remove_schedule(served, "oakk")


def test_what_was_deployed_from_another_folder_is_deployed_anew_and_stays_paused(served: Project, oak: str) -> None:
    set_schedule(served, oak, NIGHTLY, "UTC", "quick")
    set_active(served, oak, active=False)
    with client() as requested:
        from prefect.client.schemas.actions import DeploymentUpdate

        deployment = requested.read_deployment_by_name(f"retrain/{oak}")
        requested.update_deployment(deployment.id, DeploymentUpdate(job_variables={"working_dir": "/elsewhere"}))
    assert oak in refresh_after_move(served)
    with client() as requested:
        assert find_foreign(served, requested.read_deployment_by_name(f"retrain/{oak}")) == []
    (found,) = own(served, oak)
    assert (found.active, found.profile) == (False, "quick")
    assert oak not in refresh_after_move(served)


def test_the_pool_is_made_once_with_its_queues(served: Project) -> None:
    for _ in range(2):
        ensure_pool(served)
    with client() as requested:
        assert requested.read_work_pool(POOL).type == "process"
        for name, limit in QUEUES.items():
            assert requested.read_work_queue_by_name(name, work_pool_name=POOL).concurrency_limit == limit


def test_people_are_told_of_crashed_runs_as_long_as_somebody_is_named(served: Project, oak: str) -> None:
    assert set_automation(served, oak) is None, "nobody is named"
    save_block(oak)
    write(served, oak, [f"custom-webhook/{oak}"])
    for _ in range(2):
        assert set_automation(served, oak) == automation_name(oak)
    with client() as requested:
        (kept,) = requested.read_automations_by_name(automation_name(oak))
    assert kept.trigger.expect == {"prefect.flow-run.Crashed"}
    remove_automation(served, oak)
    with client() as requested:
        assert requested.read_automations_by_name(automation_name(oak)) == []


def test_a_block_that_is_not_there_leaves_what_was(served: Project, oak: str) -> None:
    write(served, oak, ["custom-webhook/none-such"])
    with pytest.raises(ToolError, match="none-such"):
        set_automation(served, oak)


def save_block(name: str) -> None:
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    CustomWebhookNotificationBlock(name=name, url="http://127.0.0.1:9/hook", json_data={}).save(name)
