"""The worker of `knotwatch ui`: it starts what this project deployed, and nothing else."""

import asyncio
import os
from contextlib import suppress
from typing import Any

from prefect.utilities.processutils import setup_signal_handlers_worker
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

from flows.operations.deployments import entrypoint, job_variables
from flows.operations.pool import LIMIT, POOL, QUEUES
from pipelines.core.errors import KnotwatchError
from pipelines.core.paths import Project, find_project
from pipelines.tracking.guard import end_group_with_parent


class ForeignRunError(KnotwatchError):
    """A run asks for something that no deployment of this project asks for."""


class OwnWorker(ProcessWorker):
    """A process worker that looks at what it is to start.

    Whoever can write to Prefect's server can write a deployment whose pull steps, entry point, storage or job
    variables run a command of theirs.
    """

    @classmethod
    def __dispatch_key__(cls) -> str:
        # Beside Prefect's own process worker, whose type it keeps.
        return "knotwatch"

    async def run(self, flow_run: Any, configuration: Any, task_status: Any = None) -> Any:
        """Start a run, unless it is foreign.

        Args:
            flow_run: Run that Prefect's server has scheduled.
            configuration: What is to be started, made of the deployment, the run's own variables and the work pool.
            task_status: Is told the process's number once it runs; None where nobody waits for that.

        Returns:
            Prefect's result, when the process has ended.

        Raises:
            ForeignRunError: If anything is not as this project deploys it; the run crashes with these words.
        """
        project = find_project()
        deployment = flow_run.deployment_id and await self.client.read_deployment(flow_run.deployment_id)
        foreign = find_foreign(project, deployment) if deployment else ["the run has no deployment"]
        # Its variables may also come from the run itself and from the work pool.
        expected = ProcessJobConfiguration(**job_variables(project))
        flow = await self.client.read_flow(flow_run.flow_id)
        expected.prepare_for_flow_run(flow_run, deployment, flow, self.work_pool, self.name, self.backend_id)
        starts = ("command", "env", "working_dir")
        foreign += [name for name in starts if getattr(configuration, name) != getattr(expected, name)]
        if foreign:
            raise ForeignRunError(
                f"not started: not as `knotwatch schedule` writes it: {', '.join(foreign)}",
                hint="knotwatch schedule SURFACE; find out who changed it",
            )
        return await super().run(flow_run, configuration, task_status)


def find_foreign(project: Project, deployment: Any) -> list[str]:
    """Name what in a deployment is not as this project's own are.

    Args:
        project: Project that the worker works for.
        deployment: As Prefect's server gives it.

    Returns:
        Words for an error; empty for a deployment of this project.
    """
    steps = [{"prefect.deployments.steps.set_working_directory": {"directory": str(project.root)}}]
    own = {
        "pull steps": deployment.pull_steps == steps,
        "entry point": deployment.entrypoint in {entrypoint(name) for name in QUEUES},
        "path": deployment.path is None,
        "storage": deployment.storage_document_id is None,
        "job variables": deployment.job_variables == job_variables(project),
    }
    return [name for name, as_own in own.items() if not as_own]


async def work() -> None:
    """Work until SIGTERM or Ctrl-C, or until the servers' process ends."""
    end_group_with_parent()
    # Here, inside the loop, whose own handler they call.
    setup_signal_handlers_worker(os.getpid(), "the worker", print)
    worker = OwnWorker(work_pool_name=POOL, name="knotwatch", limit=LIMIT, create_pool_if_not_found=False)
    with suppress(asyncio.CancelledError):
        await worker.start()


if __name__ == "__main__":
    asyncio.run(work())
