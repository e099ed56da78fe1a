"""Links into MLflow's pages, for the answers of commands."""

from flows.runtime.environment import mlflow_address
from flows.runtime.session import Session
from flows.steps.results import MlflowPages
from pipelines.core.errors import ModelError
from pipelines.tracking.pages import experiment_page, run_page, version_page


def link_version(session: Session, version: int | None) -> MlflowPages | None:
    """Link to the pages of a version, its run and its experiment, where a server shows them.

    Args:
        session: Open on the surface.
        version: Number of the version; None links to the experiment alone.

    Returns:
        Links; None where no server of the user's is named and `knotwatch ui` does not run.
    """
    server = mlflow_address(session.project)
    if not server:
        return None
    surface, experiment = session.surface, session.tracking.experiment(session.surface)
    pages = MlflowPages(experiment=experiment_page(server, experiment))
    try:
        found = session.tracking.version(surface, version) if version else None
    except ModelError:
        found = None
    if found is None:
        return pages
    run = run_page(server, experiment, found.run_id) if found.run_id else None
    return pages.model_copy(update={"run": run, "version": version_page(server, surface, found.version)})
